"""How long an edit takes to every other tool: `synchub bench latency`.

Four sandboxes, each a process with a server of its own, and `synchub up` as another. The clock
runs from before an edit is sent to the tool until a GET has shown it in the last of the others.
"""

from __future__ import annotations

import multiprocessing
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

from connectors._kit import serve
from hub import commands, opening, runs, wiring
from hub.io.store import connect
from hub.listeners import wait_for
from hub.opening import Folder
from hub.running import running
from hub.tools.bench import Outcome, Told

TOOLS = ("hubspot", "stripe", "mailchimp", "zendesk")
MANY = 1_000_000
POLL_SECONDS, LOOK_SECONDS, PATIENCE_S, LATE_S = 30, 0.005, 900, 60
FLOOR = 200


def tool(vendor: str, customers: int, pipe: Connection) -> None:
    """A sandbox without limits whose customers are those of the others; serves until told."""
    (served,) = serve.start((vendor,), 1, 0).values()
    sandbox: Any = served.host.sandbox
    sandbox.calls_per_second = MANY / 1_000
    for each in vars(sandbox).values():
        if hasattr(each, "window_ms"):
            each.calls = MANY
    spec = person(vendor)
    ids = [
        sandbox.act("create", spec.object, "", spec.fields.give(customer(n)))
        for n in range(customers)
    ]
    pipe.send((serve.described({vendor: served}), ids))
    pipe.recv()
    served.stop()


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


class Tool:
    """A sandbox as a person's program sees it: plain calls, one record each."""

    def __init__(self, vendor: str, described: Mapping[str, Any], ids: Sequence[str]) -> None:
        """`ids`: the native id of each customer."""
        self.vendor, self.described, self.ids = vendor, described, ids
        headers = wiring.connector(vendor).authorize(described["auth"])
        self.http = httpx.Client(
            base_url=described["base_url"], headers=headers, trust_env=False, timeout=30
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
        """Whether a GET shows this number."""
        params = {"properties": "phone"} if self.vendor == "hubspot" else None
        return phone in self.http.get(self.place(n), params=params).raise_for_status().text

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
    """All four, each in a process of its own."""
    context, started = multiprocessing.get_context("spawn"), []
    for vendor in TOOLS:
        ours, theirs = context.Pipe()
        process = context.Process(target=tool, args=(vendor, customers, theirs), daemon=True)
        process.start()
        started.append((vendor, ours, process))
    try:
        told = [(vendor, *pipe.recv()) for vendor, pipe, _ in started]
        made = [Tool(vendor, described[vendor], ids) for vendor, described, ids in told]
        yield made
        for each in made:
            each.http.close()
    finally:
        for _, pipe, process in started:
            pipe.send("stop")
            process.join(10)
            pipe.close()


def stand(folder: Folder, made: Sequence[Tool], told: Told) -> None:
    """Read, plan, apply, until all rest."""
    opening.init(folder, {t.vendor: t.described for t in made}, (0, 0))
    text = (folder.path / opening.HUB).read_text()
    slower = re.sub(r"poll_seconds: [0-9.]+", f"poll_seconds: {POLL_SECONDS}", text)
    (folder.path / opening.HUB).write_text(slower)
    with running(folder) as up:
        hub = up.opened.hub
        done = [(s.name, o) for s in hub.systems.values() for o in s.specs]
        wait_for(lambda: all(runs.snapshot_done(hub, *d) for d in done), PATIENCE_S)
        wait_for(lambda: not hub.env.view(lambda r: r.count("outbox")), PATIENCE_S)
        commands.apply(hub, commands.plan(hub)["run"])
        if not wait_for(lambda: hub.env.view(runs.quiet), PATIENCE_S):
            raise commands.Wrong(f"the hub was not at rest after {PATIENCE_S} s")
    told("every tool stands, the hub is at rest")


@contextmanager
def hub_up(folder: Folder) -> Iterator[None]:
    """`synchub up` as a process of its own."""
    words = [sys.executable, "-c", "from hub.start import main; main()", "up", "--dir"]
    process = subprocess.Popen(  # noqa: S603
        [*words, str(folder.path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        if not wait_for(lambda: opening.hub_is_up(folder), 60):
            raise commands.Wrong("the hub did not come up")
        yield
    finally:
        process.terminate()
        process.wait(60)


def timed(made: Sequence[Tool], at: int, n: int, late: list[int]) -> float:
    """One edit of customer n until it is in the three others (ms); `late` takes those that miss."""
    phone, began = number(1, at), time.monotonic()
    made[at % len(made)].edit(n, phone)
    for other in (t for i, t in enumerate(made) if i != at % len(made)):
        while not other.shows(n, phone):
            if time.monotonic() - began > LATE_S:
                late.append(at)
                break
            time.sleep(LOOK_SECONDS)
    return (time.monotonic() - began) * 1000


def floor(made: Sequence[Tool], file: sqlite3.Connection, at: int, n: int) -> float:
    """The same by a bare script that knows what to do (ms)."""
    phone, began = number(2, at), time.monotonic()
    source, *others = [made[(at + i) % len(made)] for i in range(len(made))]
    source.edit(n, phone)
    source.shows(n, phone)
    for _ in range(2):
        file.execute("INSERT INTO note VALUES (?)", (phone,))

    def work(other: Tool) -> None:
        other.shows(n, phone)
        other.write(n, phone)

    threads = [threading.Thread(target=work, args=(o,)) for o in others]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if not others[-1].shows(n, phone):
        raise commands.Wrong(f"{others[-1].vendor} does not show what was written")
    return (time.monotonic() - began) * 1000


def paced(rate: float, edits: int, work: Callable[[int], float]) -> list[float]:
    """So many a second, each in a thread of its own."""
    began = time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        waiting = []
        for at in range(edits):
            time.sleep(max(0, began + at / rate - time.monotonic()))
            waiting.append(pool.submit(work, at))
        return [w.result() for w in waiting]


def at_share(times: Sequence[float], share: int) -> float:
    """A percentile."""
    return statistics.quantiles(times, n=100, method="inclusive")[share - 1]


def bench_latency(customers: int, edits: int, rate: float, told: Told) -> Outcome:
    """Milliseconds from an edit to the last of the other tools, beside the floor of the same run.

    The sandboxes have no limits and send webhooks at once; the hub's budgets are set to match, and
    it polls every 30 s. Raises `Wrong` where the hub does not come to rest.
    """
    late: list[int] = []
    with ExitStack() as stack:
        folder = Folder(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        made = stack.enter_context(tools(customers))
        stand(folder, made, told)
        with hub_up(folder):
            times = paced(rate, edits, lambda at: timed(made, at, (at * 7919) % customers, late))
        file = connect(folder.path / "floor.db")
        file.execute("CREATE TABLE note (text)")
        floors = [floor(made, file, at, at % customers) for at in range(min(FLOOR, edits))]
        file.close()
    figures = {"customers": customers, "edits": edits, "edits_per_s": rate, "missing": len(late)}
    figures |= {f"edit_to_visible_ms_p{p}": at_share(times, p) for p in (50, 90, 99)}
    figures |= {f"floor_ms_p{p}": at_share(floors, p) for p in (50, 99)}
    return Outcome("latency", figures)
