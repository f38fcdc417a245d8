"""People at work in two tools while their hub is struck, and what must be true afterwards.

Each person is known by an e-mail of its own, and edited in one tool only, with a token of its own:
so what all comes to does not depend on when things happen, and can be compared with what another
hub has made of the same edits. The monitors look into the tools, and into a ledger outside the hub.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import orjson

from connectors._kit.contract import Inbound
from connectors._kit.sandbox import for_admin
from connectors._kit.serve import Served
from hub.env import Hub
from hub.export import golden_lines
from hub.io import history
from hub.io.rows import Rows, unlike
from tests.end_to_end.cluster import Cluster
from tests.end_to_end.conftest import Site, wait

HOMES = {"hubspot": "contacts", "stripe": "customers"}
AT_HOME = 4  # people whose home is one tool
STAMPS = re.compile(r"(create|created|modified|updated|synchub|metadata|hs_|^id$|invoice)")


# -- tools -----------------------------------------------------------------------------------------


@dataclass
class Blow:
    """Who is killed when a tool has a write: as it arrives ("sent"), or when it is "applied"."""

    when: str = ""
    kill: Callable[[], None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def falls(self, when: str) -> bool:
        """Whether it falls now; once."""
        with self._lock:
            if falls := self.when == when:
                self.when = ""
                self.kill()
            return falls


@dataclass
class Watched(Served):
    """A sandbox that counts the writes of programs by record, and strikes who sends one."""

    written: Counter[str] = field(default_factory=Counter)
    blow: Blow = field(default_factory=Blow)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """See `Served`."""
        if for_admin(request) or self.host.sandbox.kind(request) != "write":
            return super().answer(request)
        if self.blow.falls("sent"):
            raise httpx.ReadError("nobody waits for it any more", request=request)
        found = super().answer(request)
        if found.is_success and "Idempotent-Replayed" not in found.headers:
            self.written.update(records_in(found))
        if self.blow.falls("applied"):
            raise httpx.ReadError("nobody waits for it any more", request=request)
        return found


def records_in(answer: httpx.Response) -> Iterator[str]:
    """The ids of the records that a write's answer names."""
    body = orjson.loads(answer.content or b"{}")
    for one in body.get("results", [body]):
        if "id" in one:
            yield str(one["id"])


@dataclass
class Balancer:
    """Passes webhooks on to whoever takes them. `taken`: the ledger of what was answered 2xx."""

    port: int
    ports: Callable[[], list[int]]
    taken: list[tuple[str, Inbound]] = field(default_factory=list)

    def passed(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status to answer with."""
        for port in self.ports():
            with suppress(httpx.ConnectError):
                return self.pass_to(port, path, headers, body)
        return 503

    def pass_to(self, port: int, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """One that breaks off may have taken it or not: whoever sent it has to send it again."""
        url = f"http://127.0.0.1:{port}{path}"
        try:
            status = httpx.post(url, content=body, headers=headers, trust_env=False).status_code
        except httpx.ConnectError:
            raise
        except httpx.HTTPError:
            return 502
        if status < 300:
            now = time.time_ns() // 1_000_000
            told = Inbound("POST", f"http://127.0.0.1:{self.port}{path}", headers, body, now)
            self.taken.append((path.rpartition("/")[2], told))
        return status


@contextmanager
def balanced(made: Balancer) -> Iterator[Balancer]:
    """It listens."""

    class Gate(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {k.lower(): v for k, v in self.headers.items()}
            self.send_response(made.passed(self.path, headers, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", made.port), Gate)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


# -- people ----------------------------------------------------------------------------------------


@dataclass
class People:
    """What is typed, round by round: the same for every site. `ledger`: token by token."""

    site: Site
    natives: dict[str, str] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    ledger: dict[str, list[str]] = field(default_factory=dict)

    def begin(self) -> None:
        """Somebody in each tool."""
        for home in HOMES:
            for n in range(AT_HOME):
                self.arrives(home, f"{home}{n}@x.example.com")

    def round(self, n: int) -> None:
        """Everybody is edited at home, and somebody comes to each tool."""
        for mail in list(self.natives):
            if mail.startswith(tuple(HOMES)):
                self.types(mail, f"{n} {mail.partition('@')[0]} Road")
        for home in HOMES:
            self.arrives(home, f"new{n}.{home}@x.example.com")

    def arrives(self, home: str, mail: str) -> None:
        """A new record of a person."""
        name = mail.partition("@")[0].replace(".", " ").title()
        first, last = f"F{name.replace(' ', '')}", f"L{name.replace(' ', '')}"
        named = {"name": f"{first} {last}"} if home == "stripe" else {
            "firstname": first, "lastname": last}  # fmt: skip
        self.natives[mail] = self.site.act(home, "create", HOMES[home], email=mail, **named)
        self.homes[mail] = home
        self.ledger[mail] = []

    def types(self, mail: str, token: str) -> None:
        """A person's street."""
        home = self.homes[mail]
        place = {"city": "Leeds", "country": "GB"}
        told = {"address": token, **place} if home == "hubspot" else {
            f"address.{k}": v for k, v in {"line1": token, **place}.items()}  # fmt: skip
        self.site.act(home, "update", HOMES[home], self.natives[mail], **told)
        self.ledger[mail].append(token)

    def missing(self) -> list[str]:
        """Who is not yet in the other tool, with the last street."""
        streets = {home: streets_in(self.site, home) for home in HOMES}
        return [
            f"{mail} in {home}: {streets[home].get(mail)}, not {tokens[-1:]}"
            for mail, tokens in self.ledger.items()
            for home in HOMES
            if streets[home].get(mail, "nobody") != (tokens[-1] if tokens else None)
        ]


def mail_of(app: Mapping[str, Any]) -> str:
    """Of a record in any tool."""
    return str(app["email"])


def streets_in(site: Site, home: str) -> dict[str, str | None]:
    """The street by e-mail, as the tool holds it."""
    name = {"hubspot": "address", "stripe": "address.line1"}[home]
    return {mail_of(app): app[name] or None for app in holds(site, home).values()}


def holds(site: Site, home: str) -> dict[str, Mapping[str, Any]]:
    """Everything in a tool, by id."""
    one = site.served[home]
    with one._lock:  # noqa: SLF001  one at a time, as its requests
        return {own: r.app for own, r in one.host.sandbox.holds(HOMES[home]).items()}


# -- what it comes to ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What two hubs can be compared by: nothing in it depends on ids or times."""

    golden: list[bytes]
    tools: dict[str, list[bytes]]
    writes: dict[str, Counter[str]]


def outcome(site: Site, hub: Hub) -> Outcome:
    """Of a hub at rest."""
    names = {
        f"{home}/{obj}/{own}": f"{home}/{obj}/{mail_of(app)}"
        for home, obj in HOMES.items()
        for own, app in holds(site, home).items()
    }
    lines = hub.env.view(lambda rows: list(golden_lines(rows)))
    return Outcome(
        sorted(timeless(line, names) for line in lines),
        {home: sorted(map(lasting, holds(site, home).values())) for home in HOMES},
        {home: writes(site, home) for home in HOMES},
    )


def timeless(line: bytes, names: Mapping[str, str]) -> bytes:
    """A golden record without times of edits, its records named by their e-mail.

    Nor is told whether a value was first read by a sweep, which knows no time of its edit.
    """
    text = re.sub(rb'"at":\d+,"bound":(true|false)', b"", line).decode()
    return re.sub(r"\w+/\w+/\w+", lambda m: names.get(m[0], m[0]), text).encode()


def lasting(app: Mapping[str, Any]) -> bytes:
    """A record without its ids and times."""
    kept = {k: v for k, v in app.items() if v and not STAMPS.search(k)}
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def writes(site: Site, home: str) -> Counter[str]:
    """Successful writes by the person's e-mail, counted at the tool."""
    one = site.served[home]
    assert isinstance(one, Watched)
    mails = {own: mail_of(app) for own, app in holds(site, home).items()}
    return Counter({mails.get(own, own): n for own, n in one.written.items()})


# -- monitors --------------------------------------------------------------------------------------


def conserved(rows: Rows) -> None:
    """P1: each input is in one state, numbered without a gap and folded; nothing waits."""
    inputs = rows.select("input", only=("uid", "seq", "status"))
    states = Counter(row["status"] for row in inputs)
    assert states.keys() <= {"applied", "superseded"}, states
    seqs: dict[str, list[int]] = {}
    for row in inputs:
        seqs.setdefault(row["uid"], []).append(row["seq"])
    for record in rows.select("record", only=("uid", "next_seq", "folded")):
        found = sorted(seqs.get(record["uid"], []))
        assert found == list(range(1, record["next_seq"])), record
        assert record["folded"] == record["next_seq"] - 1, record
    hints = Counter(row["state"] for row in rows.select("hint", only=("state",)))
    assert hints.keys() <= {"answered", "nothing new", "our own write"}, hints
    assert not rows.count("recheck")
    assert not rows.count("parked", {"state": unlike("done")})
    assert not rows.count("intent", {"status": unlike("settled")})


def accepted(rows: Rows, hub: Hub, ledger: Iterable[tuple[str, Inbound]]) -> None:
    """P1: whatever was answered with 2xx is known."""
    known = {row["id"] for row in rows.select("hint", only=("id",))}
    for name, inbound in ledger:
        system = hub.systems[name]
        for hint in system.connector.hints(inbound, system.secrets):
            if hint.kind != "other" and hint.object in system.specs and hint.native_id:
                assert f"{name}:{hint.key}" in known, hint


def each_once(rows: Rows, hub: Hub, ledger: Mapping[str, list[str]]) -> None:
    """P2: the history of golden records holds every token once, in the order of typing."""
    shown: dict[str, list[str]] = {mail: [] for mail in ledger}
    whose = {token: mail for mail, tokens in ledger.items() for token in tokens}
    for row in rows.select("golden", only=("uid",)):
        for entry in history.entries(rows, hub, row["uid"]):
            for token in {t for c in entry["changes"] for t in came(c) if t in whose}:
                shown[whose[token]].append(token)
    assert shown == ledger


def came(change: Mapping[str, Any]) -> set[str]:
    """The streets that a change brought."""
    sides = [set(re.findall(r"\d+ \w+ Road", repr(change[s]))) for s in ("before", "after")]
    return sides[1] - sides[0]


def written_once(people: People) -> None:
    """P7: an edit, or a new person, is one successful write in the other tool; none at home."""
    for home in HOMES:
        wanted = {m: 1 + len(told) for m, told in people.ledger.items() if people.homes[m] != home}
        assert writes(people.site, home) == wanted


def sound(made: Cluster, people: People, ledger: Iterable[tuple[str, Inbound]] = ()) -> None:
    """All monitors, once everything has arrived and nothing is on its way."""
    assert made.quiet(60)
    written_once(people)
    made.view(conserved)
    made.view(lambda rows: accepted(rows, made.hub, ledger))
    made.view(lambda rows: each_once(rows, made.hub, people.ledger))


def arrived(people: People, seconds: float) -> float:
    """Wait until everything is where it has to be; how long it took."""
    begun = time.monotonic()
    assert wait(lambda: not people.missing(), seconds), people.missing()
    return time.monotonic() - begun
