"""A small world to try the hub in: simulated tools, a virtual clock, the dict twin, one thread.

The steps of the path are the production ones; only the world around them is made up. Stories run
in it step by step, the simulation lets it stumble (hub/tools/simulate.py).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import greenlet

from connectors._kit.simtool import COMPANY, PERSON, Profile
from hub import capture, deliver, export, replay, resolve, runs, sweep, switches
from hub.env import Hub, System, uuid7
from hub.inputs import link_fields
from hub.io.codec import Codec
from hub.io.log import TableLog
from hub.io.rows import Rows, Store
from hub.io.seal import Seal
from hub.io.state import Vault
from hub.io.twin import DictStore
from hub.pure.decide import Context
from hub.pure.model import Actor, Uid
from hub.pure.rules import FieldRule, Rules, Strategy, Tool
from hub.tools.outside import Hosted, Outside, Simulated
from hub.tools.shaky import Seen

T = TypeVar("T")
START_MS = 1_790_000_000_000
POLL_MS = 1_000
FIELDS: Mapping[str, Mapping[str, tuple[str, Strategy]]] = {
    "person": {
        "name": ("name", "newest"),
        "email": ("email", "newest"),
        "phone": ("phone", "newest"),
        "address": ("address", "newest"),
        "birth_date": ("date", "newest"),
        "job_title": ("text", "newest"),
        "note": ("text", "newest"),
        "tags": ("set", "union"),
        "balance": ("money", "newest"),
        "consent": ("consent", "consent"),
        "companies": ("reference", "union"),
    },
    "company": {
        "legal_name": ("text", "newest"),
        "domain": ("domain", "newest"),
        "phone": ("phone", "newest"),
        "parent": ("reference", "union"),
    },
}


class VirtualClock:
    """Every look at it takes a millisecond (`pace`), so that nothing happens at the same time."""

    def __init__(self, start: int = START_MS) -> None:
        self.time = start
        self.pace = 1

    def __call__(self) -> int:
        """The time."""
        self.time += self.pace
        return self.time

    def pass_time(self, ms: int) -> None:
        """Let time go by."""
        self.time += ms


class RealClock(VirtualClock):
    """The time that it is; it passes by itself."""

    def __init__(self) -> None:
        super().__init__()

    @property
    def time(self) -> int:
        """Now."""
        return time.time_ns() // 1_000_000

    @time.setter
    def time(self, _to: int) -> None:
        """Nobody sets it."""


@dataclass
class WorldEnv:
    """`Env` in a world: seeded chance, virtual time, a hook at every point."""

    clock: VirtualClock
    chance: random.Random
    store: Store
    at_point: Callable[[str], None] = lambda _point: None
    commits: WeakKeyDictionary[object, dict[str, int]] = field(default_factory=WeakKeyDictionary)
    unkept: WeakKeyDictionary[object, list[Seen]] = field(default_factory=WeakKeyDictionary)

    def now(self) -> int:
        """See `Env`."""
        return self.clock()

    def uid(self) -> Uid:
        """See `Env`."""
        return uuid7(self.clock(), self.chance.randbytes)

    def sleep(self, seconds: float) -> None:
        """See `Env`."""
        self.clock.pass_time(int(seconds * 1000))
        self.at_point("sleep")

    def commit(self, work: Callable[[Rows], T], point: str) -> T:
        """See `Env`."""
        self.at_point("before " + point)
        result = self.store.transact(work)
        times = self.commits.setdefault(greenlet.getcurrent(), {})
        times["before " + point] = max(times.values(), default=0)
        times[point] = self.clock.time
        for seen in self.unkept.pop(greenlet.getcurrent(), []):
            seen.kept = self.clock.time
        self.at_point("after " + point)
        return result

    def show(self, seen: Seen) -> None:
        """The loop that is running now was shown this: its next commit keeps it."""
        self.unkept.setdefault(greenlet.getcurrent(), []).append(seen)

    def committed(self, point: str) -> int:
        """When the loop that is running now was at this point last (ms), 0 for never.

        "before" and a point: its commit before that.
        """
        return self.commits.get(greenlet.getcurrent(), {}).get(point, 0)

    def view(self, work: Callable[[Rows], T]) -> T:
        """See `Env`."""
        return self.store.view(work)

    def wake(self, loop: str, at: int = 0) -> None:
        """Nobody sleeps here."""


def rules_for(systems: Iterable[str], changed: Mapping[str, FieldRule] | None = None) -> Rules:
    """Every field by the usual rule, all systems ranked in the order given."""
    ranks = tuple(systems)
    entities = {
        entity: {n: FieldRule(n, kind, strategy, ranks) for n, (kind, strategy) in found.items()}
        for entity, found in FIELDS.items()
    }
    entities["person"] |= changed or {}
    return Rules(1, entities, frozenset({"info", "sales", "billing"}), frozenset({"none@none.com"}))


@dataclass
class World:
    """Tools, a hub that connects them, and hands to move both.

    `vendors` are there with their production connectors and a sandbox of `customers`, whose clock
    may be `ahead` of ours (ms), the simulated tools of `profiles` beside them; the first has the
    highest rank. `wrap` may stand between the hub and each connector. `contended`: how often (0 to
    1) somebody else holds what is to be locked, so that a work is begun anew. `opens` gives another
    store than the twin; `joins`: another world has begun on it.
    """

    profiles: Mapping[str, Profile]
    seed: int = 0
    rules: Rules | None = None
    create: Mapping[str, Any] = field(default_factory=dict)
    widens: frozenset[str] = frozenset()
    vendors: Sequence[str] = ()
    customers: int = 0
    ahead: Mapping[str, int] = field(default_factory=dict)
    wrap: Callable[[Any], Any] = lambda connector: connector
    contended: float = 0
    clock: VirtualClock = field(default_factory=VirtualClock)
    opens: Callable[[], Store] | None = None
    joins: bool = False

    def __post_init__(self) -> None:
        """Build everything; the hub may write from the start."""
        self.chance = random.Random(self.seed)
        races = random.Random(self.seed)
        twin = partial(DictStore, lambda: races.random() < self.contended)
        self.store: Store = (self.opens or twin)()
        self.env = WorldEnv(self.clock, self.chance, self.store)
        simulated = {n: Simulated(n, p, self.env) for n, p in self.profiles.items()}
        hosted = {
            n: Hosted(n, self.seed, self.customers, self.env, self.ahead.get(n, 0))
            for n in self.vendors
        }
        self.tools = {n: s.tool for n, s in simulated.items()}
        self.outside: dict[str, Outside] = {**hosted, **simulated}
        self.seal = Seal(b"world master key, 32 bytes long!", self.chance.randbytes)
        self.hub = self.opened()
        if not self.joins:
            self.store.transact(self.register)

    def opened(self) -> Hub:
        """A hub that starts on the store: whatever an earlier one had in memory is gone."""
        hub = Hub(self.env, Vault(self.seal, b"pepper"), TableLog(2), Codec(), self._context())
        hub.systems = {n: self._system(hub, o) for n, o in self.outside.items()}
        return hub

    def _context(self) -> Context:
        rules = self.rules or rules_for(self.outside)
        found = {}
        for name, outside in self.outside.items():
            for spec in outside.objects:
                found[name, spec.object] = Tool(
                    name,
                    spec.entity,
                    spec.object,
                    spec.fields.by_name,
                    revisions=spec.revisions,
                    conditional=spec.conditional,
                    lag_ms=spec.lag_ms,
                    settle_ms=spec.settle_ms,
                    unique=spec.unique,
                    links=link_fields(spec),
                    required=spec.required,
                    create=self.create.get(name, "all"),
                    widens=name in self.widens,
                )
        return Context(rules, found)

    def _system(self, hub: Hub, outside: Outside) -> System:
        specs = {s.object: s for s in outside.objects}
        return System(
            outside.name,
            self.wrap(outside.connector),
            outside.api(),
            outside.secrets,
            specs,
            {o: hub.tool(outside.name, o) for o in specs},
            poll_ms=POLL_MS,
            sweep_ms=60_000,
        )

    def register(self, rows: Rows) -> None:
        """The tools' rows; the hub may write from the start."""
        switches.turn(rows, self.hub, "applied", "from the start", Actor("system"))
        for name, outside in self.outside.items():
            rows.insert(
                "system",
                {
                    "name": name,
                    "vendor": outside.vendor,
                    "account_id": name,
                    "live": False,
                    "writes": True,
                },
            )

    # -- moving --------------------------------------------------------------------------------

    def capture(self, name: str) -> None:
        """Everything that a system has to show now."""
        system = self.hub.systems[name]
        self.clock.pass_time(POLL_MS)
        for _ in range(40):
            if (
                capture.guarded(self.hub, system, lambda: capture.step(self.hub, system))
                > self.clock.time
            ):
                return

    def resolve(self) -> None:
        """Fold everything that waits."""
        resolve.drain(self.hub)

    def deliver(self, name: str) -> None:
        """One pass of a system's deliver."""
        system = self.hub.systems[name]
        capture.guarded(self.hub, system, lambda: deliver.step(self.hub, system))

    def sweep(self, name: str) -> None:
        """A whole pass over a system."""
        system = self.hub.systems[name]
        self.store.transact(lambda rows: sweep.request(rows, system, self.env.now()))
        for _ in range(100):
            due = capture.guarded(self.hub, system, lambda: sweep.step(self.hub, system))
            if due > self.clock.time:
                return

    def round(self) -> None:
        """Intake, resolve and push for every system, and a moment of time."""
        for name in self.outside:
            self.capture(name)
        self.resolve()
        for name in self.outside:
            self.deliver(name)
        self.resolve()
        self.clock.pass_time(500)

    def quiet(self) -> bool:
        """Whether the hub has nothing left to do."""
        return self.store.view(runs.quiet)

    def sync(self, most: int = 60) -> int:
        """Rounds until all is quiet; how many. Raises AssertionError when it never is."""
        for n in range(most):
            self.round()
            if self.quiet():
                return n + 1
        raise AssertionError(f"not quiet after {most} rounds: {self.restless()}")

    def restless(self) -> dict[str, Any]:
        """What keeps the hub from being quiet."""

        def look(rows: Rows) -> dict[str, Any]:
            return {
                t: rows.select(t, w)
                for t, w in (
                    ("hint", {"state": "open"}),
                    ("input", {"status": "pending"}),
                    ("wanted", {}),
                )
            } | {
                "slot": [r for r in rows.select("slot") if r["dirty"] is not None],
                "intent": [r for r in rows.select("intent") if r["status"] != "settled"],
                "meta": [r for r in rows.select("meta") if r["name"].startswith("failure")],
            }

        return self.store.view(look)

    # -- looking -------------------------------------------------------------------------------

    def writes(self) -> dict[str, int]:
        """Successful and failed write requests so far, counted at the tools."""
        return {n: o.writes() for n, o in self.outside.items()}

    def uid(self, system: str, native_id: str, obj: str = PERSON) -> Uid | None:
        """The record of a native id."""
        row = self.store.view(
            lambda rows: rows.get("alias", system=system, object=obj, native_id=native_id)
        )
        return row["uid"] if row else None

    def exported(self, store: Store | None = None) -> list[bytes]:
        """The export in which runs are compared."""
        return (store or self.store).view(lambda rows: list(export.golden_lines(rows)))

    def digest(self) -> str:
        """Some letters that differ when golden records or what happened at the tools differ."""
        lines = [
            *self.exported(),
            *(repr(e).encode() for o in self.outside.values() for e in o.log),
        ]
        return blake2b(b"\n".join(lines), digest_size=8).hexdigest()

    def orders_agree(self, orders: int = 5, batches: Sequence[int] = (1, 7, 50)) -> bool:
        """Whether folding the stored inputs anew, in other orders, gives the same export."""
        births, inputs = self.store.view(lambda rows: replay.recorded(rows, self.hub))
        wanted = self.exported()
        shuffler = random.Random(self.seed + 1)
        for n in range(orders):
            order = [b.uid for b in births]
            shuffler.shuffle(order)
            place = {u: i for i, u in enumerate(order)}
            shuffled = (
                replay.interleave(inputs, order)
                if n % 2
                else sorted(inputs, key=lambda i: (i.seq, place[i.uid]))
            )
            again = replay.refold(self.hub, births, shuffled, batch=batches[n % len(batches)])
            if self.exported(again) != wanted:
                return False
        return True


OBJECTS = {"person": PERSON, "company": COMPANY}
