"""How long an edit takes to every other tool: `synchub bench latency`.

Four sandboxes, each a process with a server of its own, and `synchub up` as another. Each sandbox
tells of every write that it has taken. The clock runs from a tool's commit of an edit until a GET
has shown it in the last of the others; a tool is only looked at once it has told of the write.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import httpx

from connectors._kit import serve
from connectors._kit.sandbox import Host
from connectors._kit.serve import Served
from hub import commands, opening, settings, wiring
from hub.io.store import connect
from hub.opening import Folder
from hub.tools.bench import Outcome, Told

TOOLS = ("hubspot", "stripe", "mailchimp", "zendesk")
MANY = 1_000_000
NUMBER = re.compile(r"(?<!\d)1\d{10}(?!\d)")
POLL_SECONDS, LOOK_SECONDS, REST_SECONDS, PATIENCE_S, LATE_S = 30, 0.005, 1, 3_600, 60
FLOORS, WARM_S = 100, 10
HUB = [sys.executable, "-c", "from hub.start import main; main()", "up", "--dir"]
Heard = tuple[str, float]  # which tool has taken a write, and when (monotonic seconds)


# -- a tool, in a process of its own ---------------------------------------------------------------


@dataclass
class Telling(Host):
    """A sandbox that tells of each write it has taken: when, and the telephone numbers in it."""

    tell: Callable[[tuple[float, list[str]]], None] = field(kw_only=True)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """See `Host`."""
        response = super().handle(request)
        if request.method != "GET" and response.is_success:
            self.tell((time.monotonic(), NUMBER.findall(request.content.decode())))
        return response


def tool(vendor: str, customers: int, pipe: Connection) -> None:
    """A sandbox without limits whose customers are those of the others; serves until told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked for the benchmark ends it
    made = serve.host(vendor, 1, 0)
    served = Served(Telling(made.sandbox, made.clock, tell=pipe.send)).start()
    sandbox: Any = made.sandbox
    lift_limits(sandbox)
    spec = person(vendor)
    ids = [
        sandbox.act("create", spec.object, "", spec.fields.give(customer(n)))
        for n in range(customers)
    ]
    pipe.send((serve.described({vendor: served})[vendor], ids))
    while pipe.recv() == "hush":
        sandbox.due = lambda _now: []
    served.stop()


def lift_limits(sandbox: Any) -> None:
    """As many calls as anybody makes."""
    sandbox.calls_per_second = MANY / 1_000
    for each in vars(sandbox).values():
        if hasattr(each, "window_ms"):
            each.calls = MANY


def person(vendor: str) -> Any:
    """The object that holds persons."""
    return next(s for s in wiring.connector(vendor).objects if s.entity == "person")


def customer(n: int) -> dict[str, Any]:
    """Customer n, in our shapes."""
    return {
        "name": {"given": "Ada", "family": f"Lovelace{n}"},
        "email": f"ada.{n}@mail.example.com",
        "phone": number(0, n),
    }


def number(turn: int, n: int) -> str:
    """A telephone number that nobody else has."""
    return f"+1{(212, 415, 312)[turn]}{200 + n // 10_000}{n % 10_000:04d}"


# -- the same, seen from here ----------------------------------------------------------------------


@dataclass
class Tool:
    """A sandbox as a person's program sees it: plain calls, one record each.

    `ids`: the native id of each customer.
    """

    vendor: str
    described: Mapping[str, Any]
    ids: Sequence[str]
    pipe: Connection

    def __post_init__(self) -> None:
        """Its client."""
        self.http = httpx.Client(
            base_url=self.described["base_url"],
            headers=wiring.connector(self.vendor).authorize(self.described["auth"]),
            trust_env=False,
            timeout=30,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
        )

    def edit(self, n: int, phone: str) -> None:
        """A person changes a telephone number in the tool."""
        fields = person(self.vendor).fields.give({"phone": phone})
        act = {"op": "update", "object": person(self.vendor).object}
        body = {**act, "id": self.ids[n], "fields": fields}
        self.http.post("/_sandbox/act", json=body).raise_for_status()

    def place(self, n: int) -> str:
        """Where customer n is."""
        listed = f"/3.0/lists/{self.described['auth'].get('list_id')}/members/"
        return {
            "hubspot": "/crm/v3/objects/contacts/",
            "stripe": "/v1/customers/",
            "mailchimp": listed,
            "zendesk": "/api/v2/users/",
        }[self.vendor] + self.ids[n]

    def shows(self, n: int, phone: str) -> bool:
        """Whether a GET shows this number; one that fails shows nothing."""
        params = {"properties": "phone"} if self.vendor == "hubspot" else None
        try:
            answer = self.http.get(self.place(n), params=params)
        except httpx.HTTPError:
            return False
        return answer.is_success and phone in answer.text

    def write(self, n: int, phone: str) -> None:
        """Change a telephone number by the API."""
        how: dict[str, tuple[str, dict[str, Any]]] = {
            "hubspot": ("PATCH", {"json": {"properties": {"phone": phone}}}),
            "stripe": ("POST", {"data": {"phone": phone}}),
            "mailchimp": ("PATCH", {"json": {"merge_fields": {"PHONE": phone}}}),
            "zendesk": ("PUT", {"json": {"user": {"phone": phone}}}),
        }
        method, body = how[self.vendor]
        self.http.request(method, self.place(n), **body).raise_for_status()


@contextmanager
def tools(customers: int) -> Iterator[list[Tool]]:
    """All four, each in a process of its own. Raises `Wrong` where one of them does not end well.

    They are started together: making the customers takes each of them a while.
    """
    with ExitStack() as stack:
        pipes = {vendor: stack.enter_context(process(vendor, customers)) for vendor in TOOLS}
        made = [Tool(vendor, *ready(vendor, pipe), pipe) for vendor, pipe in pipes.items()]
        for each in made:
            stack.callback(each.http.close)
        yield made


@contextmanager
def process(vendor: str, customers: int) -> Iterator[Connection]:
    """A sandbox's process, until the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    made = context.Process(target=tool, args=(vendor, customers, theirs), daemon=True)
    made.start()
    theirs.close()  # so that its end is heard
    with ours:
        try:
            yield ours
        except BaseException:
            made.terminate()
            raise
        end(vendor, made, ours)


def end(vendor: str, made: BaseProcess, pipe: Connection) -> None:
    """Let a sandbox end; raises `Wrong` where it did not, or did so by itself."""
    with suppress(OSError):
        pipe.send("stop")
    made.join(10)
    if made.exitcode != 0:
        made.kill()
        raise commands.Wrong(f"the sandbox of {vendor} did not end well ({made.exitcode})")


def ready(vendor: str, pipe: Connection) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Its description and its customers' ids; raises `Wrong` where its process ends before."""
    try:
        described, ids = pipe.recv()
    except EOFError:
        raise commands.Wrong(f"the sandbox of {vendor} broke before it served, see above") from None
    return described, ids


class Ears:
    """Who hears what the tools tell: of a write, whoever waits for its telephone number."""

    def __init__(self, made: Sequence[Tool]) -> None:
        """Listens until every tool's process has ended."""
        self._vendors = {each.pipe: each.vendor for each in made}
        self._waiting: dict[str, queue.SimpleQueue[Heard]] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    @contextmanager
    def waiting_for(self, phone: str) -> Iterator[queue.SimpleQueue[Heard]]:
        """Where the writes of this number are told."""
        told: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._waiting[phone[1:]] = told
        try:
            yield told
        finally:
            del self._waiting[phone[1:]]

    def _listen(self) -> None:
        while self._vendors:
            for pipe in connection.wait(list(self._vendors)):
                self._hear(pipe)

    def _hear(self, pipe: Any) -> None:
        try:
            at, phones = pipe.recv()
        except (EOFError, OSError):
            del self._vendors[pipe]
            return
        for told in filter(None, map(self._waiting.get, phones)):
            told.put((self._vendors[pipe], at))


# -- the hub ---------------------------------------------------------------------------------------


@contextmanager
def hub_up(folder: Folder) -> Iterator[None]:
    """`synchub up` as a process of its own; raises `Wrong` where it does not come up, or end."""
    log = folder.path / "up.log"
    with log.open("wb") as into:
        made = subprocess.Popen([*HUB, str(folder.path)], stdout=into, stderr=into)  # noqa: S603
        try:
            wait_until(lambda: made.poll() is not None or opening.hub_is_up(folder), 60)
            yield
        finally:
            made.terminate()
            code = made.wait(60)
    if code != 0:
        last = log.read_text(errors="replace")[-2_000:]
        raise commands.Wrong(f"the hub's process ended with {code}. Its last words: {last}")


def stand(folder: Folder, told: Told) -> None:
    """Read, plan, apply, until all rest: every link is agreed on, no note to read is open."""
    wait_until(lambda: resting(folder, "still_reading", "open_hints"), PATIENCE_S)
    told("every record is read")
    opening.ask(folder, "apply", run=opening.ask(folder, "plan")["run"])
    wait_until(lambda: resting(folder, "to_look_at", "to_create", "open_hints"), PATIENCE_S)
    told("every tool stands, the hub is at rest")


def resting(folder: Folder, *what: str) -> bool:
    """Whether nothing of this waits in any system, and nothing to be resolved."""
    found = opening.ask(folder, "status")
    waits = [one[name] for one in found["systems"].values() for name in what]
    return not (any(waits) or found["pending_inputs"])


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    """Look now and then, which takes little from those who work; raises `Wrong` in the end."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise commands.Wrong(f"the hub was not at rest after {seconds} s")
        time.sleep(REST_SECONDS)


def connected(folder: Folder, made: Sequence[Tool], more: str = "") -> None:
    """Connect a hub to the tools; it is told of changes, and polls as often as it would outside.

    `more` is added to hub.yaml.
    """
    opening.init(folder, {t.vendor: t.described for t in made}, (0, 0))
    found = folder.hub()
    polled = {
        name: one.model_copy(update={"poll_seconds": POLL_SECONDS})
        for name, one in found.systems.items()
    }
    text = settings.render_hub(found.model_copy(update={"systems": polled}))
    (folder.path / opening.HUB).write_text(text + more)


# -- measuring -------------------------------------------------------------------------------------


def timed(made: Sequence[Tool], ears: Ears, at: int, n: int) -> float | None:
    """From the commit of one edit of customer n until the last other shows it (ms), None: never."""
    source, *others = turned(made, at)
    phone = number(1, at)
    with ears.waiting_for(phone) as told:
        source.edit(n, phone)
        (_, began), left = told.get(timeout=LATE_S), {o.vendor: o for o in others}
        end = began + LATE_S
        while left:
            try:
                vendor, _ = told.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                return None
            if vendor in left and seen(left[vendor], n, phone, end):
                del left[vendor]
    return (time.monotonic() - began) * 1000


def turned(made: Sequence[Tool], at: int) -> list[Tool]:
    """Each tool is edited in its turn: that one first, then the others."""
    return [made[(at + i) % len(made)] for i in range(len(made))]


def seen(one: Tool, n: int, phone: str, end: float) -> bool:
    """Look until a GET shows it: what was taken as a job is there a little later."""
    while not one.shows(n, phone):
        if time.monotonic() > end:
            return False
        time.sleep(LOOK_SECONDS)
    return True


@dataclass
class Script:
    """What knows what to do, and does nothing else: the floor."""

    made: Sequence[Tool]
    file: sqlite3.Connection
    lock: threading.Lock = field(default_factory=threading.Lock)

    def floor(self, at: int, n: int) -> float:
        """One POST, one GET, two commits, GET and write in three threads, one GET (ms)."""
        phone, began = number(2, at), time.monotonic()
        source, *others = turned(self.made, at)
        source.edit(n, phone)
        source.shows(n, phone)
        for _ in range(2):
            with self.lock:
                self.file.execute("INSERT INTO note VALUES (?)", (phone,))
        threads = [threading.Thread(target=self.work, args=(o, n, phone)) for o in others]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        if not others[-1].shows(n, phone):
            raise commands.Wrong(f"{others[-1].vendor} does not show what was written")
        return (time.monotonic() - began) * 1000

    def work(self, other: Tool, n: int, phone: str) -> None:
        """Read one of the others, then write it."""
        other.shows(n, phone)
        other.write(n, phone)


def floors(made: Sequence[Tool], place: Path, rate: float, many: range) -> list[float]:
    """The floor, as often as the hub is measured: so many a second."""
    file = connect(place)
    try:
        file.execute("CREATE TABLE IF NOT EXISTS note (text)")
        script, customers = Script(made, file), len(made[0].ids)
        return paced(rate, many, lambda at: script.floor(at, at % customers))
    finally:
        file.close()


T = TypeVar("T")


def paced(rate: float, many: range, work: Callable[[int], T]) -> list[T]:
    """So many a second, each in a thread of its own: no one waits for another."""
    began = time.monotonic()
    with ThreadPoolExecutor(len(many)) as pool:
        waiting = []
        for done, at in enumerate(many):
            time.sleep(max(0, began + done / rate - time.monotonic()))
            waiting.append(pool.submit(work, at))
        return [w.result() for w in waiting]


def at_share(times: Sequence[float], share: int) -> float:
    """A percentile."""
    return statistics.quantiles(times, n=100, method="inclusive")[share - 1]


def bench_latency(customers: int, edits: int, rate: float, told: Told, more: str = "") -> Outcome:
    """Milliseconds from an edit to the last of the other tools, beside the floor of the same run.

    The floor is taken before the hub knows the tools, and again after it has ended. Raises
    `Wrong` where the hub does not come to rest, or a process does not end well. `more` is added to
    hub.yaml.
    """
    warm = min(edits, round(WARM_S * rate))
    with ExitStack() as stack:
        folder = Folder(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="synchub-"))))
        made = stack.enter_context(tools(customers))
        told(f"{customers} customers are in each of {len(made)} tools")
        ears = Ears(made)
        first = floors(made, folder.path / "floor.db", rate, range(FLOORS))
        began = time.monotonic()
        connected(folder, made, more)
        with hub_up(folder):
            stand(folder, told)
            stood = time.monotonic() - began
            work = lambda at: timed(made, ears, at, at * 7919 % customers)  # noqa: E731
            found = paced(rate, range(warm + edits), work)[warm:]
        for each in made:
            each.pipe.send("hush")
        last = floors(made, folder.path / "floor.db", rate, range(FLOORS, 2 * FLOORS))
    figures: dict[str, float] = {"customers": customers, "edits": edits, "edits_per_s": rate}
    return Outcome(
        "latency",
        figures | {"stand_s": stood} | spread(found) | floor_figures(first, last),
        setting=setting(warm),
    )


def spread(found: Sequence[float | None]) -> dict[str, float]:
    """Percentiles of the edits that arrived, and how many did not. Raises `Wrong` if none did."""
    times = [ms for ms in found if ms is not None]
    if len(times) < 2:  # noqa: PLR2004
        raise commands.Wrong(f"{len(times)} of {len(found)} edits arrived in the other tools")
    shares = {f"edit_to_visible_ms_p{p}": at_share(times, p) for p in (50, 90, 99)}
    return {**shares, "missing": len(found) - len(times)}


def floor_figures(first: Sequence[float], last: Sequence[float]) -> dict[str, float]:
    """The floor, and how far it moved during the run: a machine that is not alone has two."""
    both = {f"floor_ms_p{p}": at_share([*first, *last], p) for p in (50, 99)}
    sides = {"before": first, "after": last}
    return both | {f"floor_{name}_ms_p50": at_share(times, 50) for name, times in sides.items()}


def setting(warm: int) -> dict[str, Any]:
    """What a reader has to know of the run."""
    return {
        "layout": f"{len(TOOLS)} sandboxes, the hub and the driver, a process each",
        "tools": "calls are not limited, nothing is delayed, webhooks are sent at once",
        "hub_calls_per_s_most": MANY // 1_000,
        "hub_poll_s": POLL_SECONDS,
        "warm_up_edits": warm,
        "load_average": round(os.getloadavg()[0], 2),
    }
