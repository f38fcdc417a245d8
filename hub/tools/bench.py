"""Figures of this hub on this machine: `synchub bench resolve | calls`.

Every figure has its unit in its name. What a figure is worth depends on the machine and on what
else runs there: compare ratios within one run.
"""

from __future__ import annotations

import cProfile
import os
import platform
import pstats
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, Protocol

from connectors._kit import serve
from connectors._kit.contract import Reading
from connectors._kit.serve import Served
from connectors._kit.simtool import PERSON, Profile
from hub import capture, commands, deliver, inputs, opening, resolve, runs
from hub.env import Hub, System
from hub.inputs import Intake
from hub.io import state
from hub.io.rows import Rows, Store, above, at_least
from hub.io.store import SqlStore
from hub.opening import Folder
from hub.pure.model import Uid
from hub.tools.demo import linked_pairs
from hub.tools.world import World

Told = Callable[[str], None]
READ_AT_ONCE = 200
PATIENCE_S = 120
STEPS: Mapping[str, tuple[str, str]] = {
    "relay": ("log.py", "relay"),
    "load": ("state.py", "fill"),
    "open inputs": ("resolve.py", "readable"),
    "need": ("decide.py", "need"),
    "decide": ("decide.py", "decide"),
    "store": ("resolve.py", "store"),
    "resolve, all of it": ("resolve.py", "resolve"),
}


@dataclass
class Outcome:
    """What a benchmark found. `shares`: step to its share of the time, 0 to 1.

    `setting`: what a reader has to know of the run to judge its figures.
    """

    bench: str
    figures: dict[str, float]
    shares: dict[str, float] = field(default_factory=dict)
    setting: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The form of every benchmark."""
        return {
            "bench": self.bench,
            "machine": machine(),
            "figures": {name: round(value, 3) for name, value in self.figures.items()},
            **({"shares": self.shares} if self.shares else {}),
            **({"setting": self.setting} if self.setting else {}),
        }


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
    }


def peak_mb() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -- resolve -------------------------------------------------------------------------------------


def bench_resolve(records: int, edits: int, told: Told) -> Outcome:
    """Inputs a second: folded, decided, history written, each touched link marked.

    `records` stand in two simulated tools, linked by exact keys in pairs; `edits` then change one
    field of records spread over all of them.
    """
    with tempfile.TemporaryDirectory(prefix="synchub-bench-") as folder:
        path = Path(folder) / "hub.db"
        world = on_disk(path)
        began = time.monotonic()
        stand(world, records // 2, told)
        loaded = records / (time.monotonic() - began)
        told(f"{records} records stand ({loaded:.0f} a second)")
        size = path.stat().st_size + Path(f"{path}-wal").stat().st_size
        speed = timed(world, edits, records // 2)
        world.store.close()
        stored(world, SqlStore(path, single_thread=True))
        shares = profiled(world, max(edits // 10, 200), records // 2)
        world.store.close()
    figures = {
        "records": records,
        "edits": edits,
        "resolved_per_s": speed,
        "first_readings_per_s": loaded,
        "bytes_per_record": size / records,
        "peak_mb": peak_mb(),
    }
    return Outcome("resolve", figures, shares)


def on_disk(path: Path) -> World:
    """A world of two tools whose store is a file."""
    world = World({"A": Profile(), "B": Profile()})
    stored(world, SqlStore(path))
    world.store.transact(world.register)
    return world


def stored(world: World, store: Store) -> None:
    """The same tools, and a hub that starts on another store."""
    world.store = store
    world.env.store = store
    world.hub = world.opened()


class Taking(Protocol):
    """What readings are made for: a hub, the tools it knows, and its clock."""

    hub: Hub
    store: Store

    @property
    def clock(self) -> Callable[[], int]:
        """The time (ms)."""

    @property
    def tools(self) -> Iterable[str]:
        """Their names."""


def stand(world: Taking, pairs: int, told: Told) -> None:
    """So many customers, each with a record in both tools, resolved."""
    for first in range(0, pairs, READ_AT_ONCE):
        some = range(first, min(first + READ_AT_ONCE, pairs))
        for tool in world.tools:
            take(world, [(tool, n, f"+1202{n % 10_000_000:07d}") for n in some], snapshot=True)
        resolve.drain(world.hub)
        if first % (READ_AT_ONCE * 25) == 0:
            told(f"{first * 2} of {pairs * 2} records")


def timed(world: World, edits: int, pairs: int) -> float:
    """Edits a second, from the committed input on. Raises `Wrong` where some are left."""
    change(world, edits, pairs, 1)
    began = time.monotonic()
    resolve.drain(world.hub)
    took = time.monotonic() - began
    if left := world.store.view(lambda rows: rows.count("input", {"status": "pending"})):
        raise commands.Wrong(f"{left} of {edits} edits were not resolved")
    return edits / took


def profiled(world: World, edits: int, pairs: int) -> dict[str, float]:
    """Where the time of resolving goes, by step; the measuring itself makes it slower."""
    change(world, edits, pairs, 2)
    return shares_of(lambda: resolve.drain(world.hub), STEPS)


def shares_of(work: Callable[[], None], steps: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    """The share of each step (file, function) in the time of a work, with all that it calls."""
    profile = cProfile.Profile()
    profile.runcall(work)
    stats: Any = pstats.Stats(profile)
    whole = stats.total_tt
    found = {name: cumulative(stats, *place) / whole for name, place in steps.items()}
    return {name: round(share, 3) for name, share in found.items()}


def cumulative(stats: Any, file: str, function: str) -> float:
    """Seconds in a function and all that it calls."""
    rows = stats.stats.items()
    return float(
        sum(v[3] for (path, _, name), v in rows if path.endswith(file) and name == function)
    )


def change(world: Taking, edits: int, pairs: int, run: int) -> None:
    """One edit each of records spread over all of them, taken in and not resolved."""
    spread = [(n * 7919) % pairs for n in range(edits)]
    items = [("A", n, f"+1415{run}{at % 1_000_000:06d}") for at, n in enumerate(spread)]
    for first in range(0, edits, READ_AT_ONCE):
        take(world, items[first : first + READ_AT_ONCE])


def take(world: Taking, items: Sequence[tuple[str, int, str]], *, snapshot: bool = False) -> None:
    """Readings of these records (tool, number, telephone), in one transaction."""
    hub = world.hub

    def work(rows: Rows) -> None:
        for tool, n, phone in items:
            system = hub.systems[tool]
            intake = Intake(system, system.specs[PERSON], "bench", snapshot=snapshot)
            inputs.take(rows, hub, intake, reading(world, n, phone))

    world.store.transact(work)


def reading(world: Taking, n: int, phone: str) -> Reading:
    """Customer n with this telephone number."""
    now = world.clock()
    app = {
        "first": f"Given{n}",
        "last": f"Family{n}",
        "mail": f"p{n}@example.com",
        "tel": phone,
        "addr_line1": f"{n} Road",
        "addr_line2": None,
        "addr_city": "Leeds",
        "addr_region": None,
        "addr_postcode": f"{n:06d}",
        "addr_country": "GB",
        "title": "Nurse",
        "note": None,
    }
    return Reading(PERSON, f"n{n}", app, now, world.clock(), source_ms=now)


# -- calls ---------------------------------------------------------------------------------------


def bench_calls(customers: int, edits: int, told: Told) -> Outcome:
    """Calls that deliver makes for a backlog of one-field edits, against the least possible.

    Half of the edits are made in each of two tools; the least is ceil(n / batch) reads and writes
    where the vendor has a batch, else n.
    """
    with site(customers, told) as (hub, served):
        pairs = [p for p, _ in zip(linked_pairs(hub, 1, customers), range(edits), strict=False)]
        half = len(pairs) // 2
        began, edited = hub.env.now(), set[Uid]()
        for system, obj, natives in (
            ("stripe", "customers", [s for _, s in pairs[:half]]),
            ("hubspot", "contacts", [h for h, _ in pairs[half:]]),
        ):
            edit_all(served[system], obj, natives)
            edited |= uids(hub, system, obj, natives)
        told(f"{len(pairs)} edits made; nothing was read yet")
        captured = counted(served, lambda: read_all(hub, edited, began))
        delivered = counted(served, lambda: deliver_all(hub))
        checked = counted(served, lambda: settle(hub))
    least = {"hubspot": 2 * ceil(half / 100), "stripe": 2 * (len(pairs) - half)}
    figures: dict[str, float] = {"edits": len(pairs)}
    for system, calls in delivered.items():
        figures |= {f"{system}_calls": calls, f"{system}_calls_least": least[system]}
    figures["calls_ratio"] = sum(delivered.values()) / sum(least.values())
    reads = sum(captured.values()) + sum(checked.values())
    figures["capture_reads_per_edit"] = reads / len(pairs)
    return Outcome("calls", figures)


@contextmanager
def site(customers: int, told: Told) -> Iterator[tuple[Hub, dict[str, Served]]]:
    """A hub connected to two sandboxes, applied and at rest; no loop runs."""
    with tempfile.TemporaryDirectory(prefix="synchub-bench-") as place:
        served = serve.start(("hubspot", "stripe"), 1, customers)
        folder = Folder(Path(place))
        try:
            opening.init(folder, serve.described(served), (0, 0))
            with opening.opened(folder) as one:
                runs.catch_up(one.hub)
                run = commands.plan(one.hub)["run"]
                commands.apply(one.hub, run)
                settle(one.hub)
                told(f"{customers} customers are in step")
                yield one.hub, served
        finally:
            for each in served.values():
                each.stop()


def edit_all(served: Served, obj: str, natives: Sequence[str]) -> None:
    """A person changes the telephone number of each of these."""
    area = 202 if obj == "contacts" else 303
    for n, native in enumerate(natives):
        served.host.sandbox.act("update", obj, native, {"phone": f"+1{area}556{n:04d}"})
    served.host.sandbox.flush_webhooks()


def counted(served: Mapping[str, Served], work: Callable[[], None]) -> dict[str, int]:
    """Calls of any kind at each sandbox while this work is done."""
    before = {n: sum(s.host.counts.values()) for n, s in served.items()}
    work()
    return {n: sum(s.host.counts.values()) - before[n] for n, s in served.items()}


def read_all(hub: Hub, edited: set[Uid], began: int) -> None:
    """Capture until every edit is there (a tool's index may lag), then resolve. Raises Wrong."""
    end = time.monotonic() + PATIENCE_S
    while missing := edited - seen_since(hub, began):
        if time.monotonic() > end:
            raise commands.Wrong(f"{len(missing)} edits did not show up in {PATIENCE_S} s")
        for system in hub.systems.values():
            for spec in capture.in_order(system):
                stream = capture.Stream(hub, system, spec)
                capture.guarded(hub, system, partial(page, stream))
        hub.env.sleep(0.2)
    resolve.drain(hub)


def page(stream: capture.Stream) -> int:
    """The next page of whatever an object needs, and no hint; returns when to look again (ms)."""
    return capture.follow(stream, stream.hub.env.view(stream.waits))


def seen_since(hub: Hub, began: int) -> set[Uid]:
    """Records of which a reading was news since then."""
    where = {"kind": "observation", "at": at_least(began)}
    return hub.env.view(lambda rows: {row["uid"] for row in rows.select("input", where)})


def uids(hub: Hub, system: str, obj: str, natives: Sequence[str]) -> set[Uid]:
    """The records of these native ids."""
    found = hub.env.view(lambda r: [state.find_alias(r, system, obj, n) for n in natives])
    return {uid for uid in found if uid}


def deliver_all(hub: Hub) -> None:
    """Deliver until no link is dirty."""
    free = {"dirty": above(-1), "held": False}
    while hub.env.view(lambda rows: rows.count("slot", free)):
        for system in hub.systems.values():
            capture.guarded(hub, system, lambda: deliver.step(hub, system))  # noqa: B023
            resolve.drain(hub)


def settle(hub: Hub) -> None:
    """Every loop by turns until nothing is on its way."""
    while not hub.env.view(runs.quiet):
        for system in hub.systems.values():
            turn(hub, system)
        hub.env.sleep(0.05)


def turn(hub: Hub, system: System) -> None:
    """One pass of each loop of a system."""
    capture.guarded(hub, system, lambda: capture.step(hub, system))
    resolve.drain(hub)
    capture.guarded(hub, system, lambda: deliver.step(hub, system))
    resolve.drain(hub)
