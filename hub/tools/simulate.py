"""The whole hub in a seeded world that stumbles: `synchub simulate --seed N`.

Every loop of the production code runs in a greenlet of its own; at each switch point (a commit, a
sleep, a call to a tool) another loop may go on, the process may die, or the commit may be lost.
Tools are edited by people all the while. Monitors look at the tools and at a ledger outside of the
hub, never at the hub's own counters. The same seed gives the same trace.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import greenlet

from connectors._kit.contract import Hint
from connectors._kit.simtool import PERSON, Profile, SimTool
from hub import capture, deliver, explain, resolve, sweep
from hub.io import state
from hub.io.rows import StoreFull
from hub.pure.model import Record
from hub.tools.world import World

PROFILES = {
    "alpha": Profile(conditional=True, revisions=True, unique_email=True),
    "beta": Profile(settle_ms=1_500, one_line_name=True),
    "gamma": Profile(lag_ms=2_000, settle_ms=5_000, truncates=12),
}
NAMES = ("Ada Byron", "Bo Lind", "Cy Noor", "Di Costa", "Ed Zhou")
SWITCH, CRASH, LOSE_COMMIT = 0.35, 0.004, 0.004
QUIET_ROUNDS = 80


class Died(greenlet.GreenletExit):
    """The process was killed at this point."""


class Broken(AssertionError):
    """A promise does not hold; the first word is its number."""


@dataclass
class Outcome:
    """What a run showed. `why` begins with the broken promise, "" when none is."""

    seed: int
    why: str
    trace: list[str]
    faults: Counter[str]
    rounds: int = 0

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        return not self.why


class Shaky:
    """A tool's connector whose every call is a switch point before and after."""

    def __init__(self, tool: SimTool, run: Run) -> None:
        self._tool = tool
        self._run = run

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._tool, name)
        if name not in ("listing", "changes", "read", "find", "write"):
            return found

        def call(*given: Any) -> Any:
            self._run.point(f"{self._tool.name} {name} asked")
            try:
                return found(*given)
            finally:
                self._run.point(f"{self._tool.name} {name} answered")

        return call


@dataclass
class Run:
    """One seeded run. `ledger` is what was accepted, kept outside of the hub."""

    seed: int
    steps: int = 200
    profiles: dict[str, Profile] = field(default_factory=lambda: dict(PROFILES))

    def __post_init__(self) -> None:
        """Build the world; nothing runs yet."""
        self.dice = random.Random(self.seed)
        self.trace: list[str] = []
        self.faults: Counter[str] = Counter()
        self.world = World(self.profiles, seed=self.seed, wrap=lambda t: Shaky(t, self))
        self.world.env.at_point = self.point
        self.loops: dict[str, greenlet.greenlet] = {}
        self.late: list[tuple[int, str, Hint]] = []
        self.ledger: set[str] = set()
        self.tokens: dict[tuple[str, str, str], Any] = {}
        self.refused: dict[str, int] = {}
        self.calm = False
        self.counter = 0

    # -- the scheduler -------------------------------------------------------------------------

    def point(self, name: str) -> None:
        """A switch point: go on, let another loop run, die, or lose the commit."""
        scheduler = greenlet.getcurrent().parent
        if scheduler is None or self.calm:
            return
        luck = self.dice.random()
        if luck < CRASH:
            self.note("the process dies", name)
            self.faults["crash"] += 1
            raise Died
        if luck < CRASH + LOSE_COMMIT and name.startswith("before "):
            self.faults["commit lost"] += 1
            self.note("the commit is lost", name)
            self.world.store.fail_next("disk full")
        elif luck > 1 - SWITCH:
            scheduler.switch()

    def note(self, what: str, detail: str = "") -> None:
        """A line of the trace."""
        self.trace.append(
            f"t={(self.world.clock.time - 1_790_000_000_000) / 1000:.3f} "
            f"{what}{': ' + detail if detail else ''}"
        )

    def loop_of(self, name: str) -> Callable[[], object]:
        """The step of a loop by its name."""
        hub = self.world.hub
        kind, _, system_name = name.partition(":")
        if kind == "resolve":
            return lambda: resolve.step(hub)
        system = hub.systems[system_name]
        steps = {"capture": capture.step, "deliver": deliver.step, "sweep": sweep.step}
        return lambda: capture.guarded(hub, system, lambda: steps[kind](hub, system))

    def names(self) -> list[str]:
        """All loops."""
        return [
            "resolve",
            *(f"{k}:{s}" for s in self.world.tools for k in ("capture", "deliver", "sweep")),
        ]

    def turn(self) -> None:
        """Let one loop run to its next switch point."""
        name = self.dice.choice(self.names())
        if name.startswith("sweep") and self.dice.random() < 0.9:  # noqa: PLR2004
            return
        current = self.loops.get(name)
        if current is None or current.dead:
            current = greenlet.greenlet(self._life(name))
            self.loops[name] = current
        try:
            if current.switch() == "died":
                self.restart()
        except StoreFull:
            self.loops.pop(name, None)

    def _life(self, name: str) -> Callable[[], str]:
        step = self.loop_of(name)

        def live() -> str:
            try:
                step()
            except Died:
                return "died"
            return "done"

        return live

    def restart(self) -> None:
        """Everything volatile is gone; the store is as it was committed."""
        dead, self.loops = self.loops, {}
        self.calm = True
        for one in dead.values():
            one.throw()
        self.world.store.transact(lambda rows: deliver.recover(rows, self.world.hub))
        self.calm = False

    # -- people and tools ----------------------------------------------------------------------

    def people(self) -> None:
        """Somebody does something in a tool, or a webhook comes in, or something breaks."""
        acts: Sequence[tuple[int, Callable[[], None]]] = (
            (30, self.edit),
            (6, self.create),
            (2, self.delete),
            (3, self.refuse),
            (3, self.opt_in),
            (22, self.webhooks),
            (6, self.fault),
            (28, lambda: self.world.clock.pass_time(self.dice.randrange(2_000))),
        )
        weights, found = zip(*acts, strict=True)
        self.dice.choices(found, weights)[0]()

    def some(self) -> tuple[SimTool, str] | None:
        """A record of some tool."""
        tool = self.dice.choice(list(self.world.tools.values()))
        living = tool.living()
        return (tool, self.dice.choice(living)) if living else None

    def token(self) -> str:
        """Something nobody typed before."""
        self.counter += 1
        return f"n{self.counter}"

    def edit(self) -> None:
        """A person types a new value with a token of its own."""
        if found := self.some():
            tool, native = found
            token = self.token()
            fields = self.dice.choice(
                [
                    {"title": f"Title {token}"},
                    {"note": f"Note {token}"},
                    {"tel": f"+1 202 555 {100 + self.counter % 100:04d}"},
                    {"addr_city": token},
                ]
            )
            tool.act(native, fields)
            self.note(f"{tool.name} {native}", f"a person types {fields}")

    def create(self) -> None:
        """A person makes a record, maybe of a customer that others have too."""
        tool = self.dice.choice(list(self.world.tools.values()))
        n = self.dice.randrange(len(NAMES))
        given, family = NAMES[n].split()
        mail = f"{given.lower()}{n}@example.com"
        if any((tool.latest(i) or {}).get("mail") == mail for i in tool.living()):
            return
        native = f"{tool.name}-p{len(tool.held) + 1}"
        line = (
            {"full_name": NAMES[n]}
            if tool.profile.one_line_name
            else {"first": given, "last": family}
        )
        tool.act(native, {**line, "mail": mail})
        self.note(f"{tool.name} {native}", f"a person creates {mail}")

    def delete(self) -> None:
        """A person deletes a record."""
        if (found := self.some()) and len(found[0].living()) > 2:  # noqa: PLR2004
            found[0].delete(found[1])
            self.note(f"{found[0].name} {found[1]}", "a person deletes it")

    def refuse(self) -> None:
        """A customer unsubscribes in a tool."""
        if found := self.some():
            found[0].act(found[1], {"consent": {"email.marketing": "out"}})
            mail = str((found[0].latest(found[1]) or {}).get("mail"))
            self.refused[mail] = self.world.clock.time
            self.note(f"{found[0].name} {found[1]}", "unsubscribes")

    def opt_in(self) -> None:
        """A tool shows "subscribed" again, with no proof of anybody's act."""
        if found := self.some():
            current = (found[0].latest(found[1]) or {}).get("consent") or {}
            if current.get("email.marketing") != "out":
                found[0].act(found[1], {"consent": {"email.marketing": {"state": "in"}}})

    def webhooks(self) -> None:
        """News of the tools arrive: doubled, lost, late, in any order."""
        for tool in self.world.tools.values():
            news, tool.news = tool.news, []
            self.dice.shuffle(news)
            self.faults["webhooks reordered"] += len(news) > 1
            for hint in news:
                self.arrive(tool.name, hint)
        due = [x for x in self.late if x[0] <= self.world.clock.time]
        self.late = [x for x in self.late if x[0] > self.world.clock.time]
        for _, name, hint in due:
            self.accept(name, hint)

    def arrive(self, name: str, hint: Hint) -> None:
        """One webhook, as the network brings it."""
        luck = self.dice.random()
        if luck < 0.15:  # noqa: PLR2004
            self.faults["webhook lost"] += 1
        elif luck < 0.3:  # noqa: PLR2004
            self.faults["webhook late"] += 1
            self.late.append((self.world.clock.time + self.dice.randrange(20_000), name, hint))
        else:
            self.accept(name, hint)
            if luck < 0.45:  # noqa: PLR2004
                self.faults["webhook doubled"] += 1
                self.accept(name, hint)

    def accept(self, name: str, hint: Hint) -> None:
        """The hub says 2xx; the ledger remembers it."""
        system = self.world.hub.systems[name]
        self.world.store.transact(lambda rows: capture.accept(rows, self.world.hub, system, [hint]))
        self.ledger.add(f"{name}:{hint.key}")

    def fault(self) -> None:
        """Something breaks at a tool."""
        tool = self.dice.choice(list(self.world.tools.values()))
        kind = self.dice.choice(["answer lost", "error after", "error before", "busy", "down"])
        self.faults[kind] += 1
        if kind == "down":
            tool.down = not tool.down
        else:
            tool.faults.append(kind)
        self.note(tool.name, kind)

    # -- the run -------------------------------------------------------------------------------

    def play(self) -> Outcome:
        """All of it: trouble, then calm, then the promises."""
        rounds = 0
        try:
            for _ in range(4):
                self.create()
            for _ in range(self.steps):
                self.people()
                for _ in range(self.dice.randrange(6)):
                    self.turn()
                self.watch()
            rounds = self.settle()
            self.promises()
        except Broken as broken:
            return Outcome(self.seed, str(broken), self.trace, self.faults, rounds)
        return Outcome(self.seed, "", self.trace, self.faults, rounds)

    def settle(self) -> int:
        """No more trouble: everything must come to rest. P5."""
        self.restart()
        self.calm = True
        for tool in self.world.tools.values():
            tool.down, tool.faults = False, []
        self.world.store.fail_next("")
        for name in self.world.tools:
            self.world.sweep(name)
        try:
            return self.world.sync(QUIET_ROUNDS)
        except AssertionError as error:
            raise Broken(f"P5 {error}") from None

    # -- monitors ------------------------------------------------------------------------------

    def watch(self) -> None:
        """P9, after every step: nobody who refused is written a wider consent by the hub."""
        for tool in self.world.tools.values():
            for entry in tool.log:
                wider = isinstance(entry.new, dict) and entry.new.get("email.marketing") not in (
                    None,
                    "out",
                )
                if entry.who == "hub" and entry.field == "consent" and wider:
                    raise Broken(f"P9 the hub widened consent at {tool.name}: {entry}")

    def promises(self) -> None:
        """What must hold once all is quiet."""
        self.nothing_lost()
        self.tokens_once()
        self.converged()
        self.no_double_creates()
        self.silent()
        if not self.world.orders_agree(3):
            raise Broken("P4 another order of the same inputs gives another golden")

    def nothing_lost(self) -> None:
        """P1: every accepted webhook is known and answered, every input in one state."""
        rows = self.world.store.view(lambda r: r.select("hint"))
        known = {r["id"]: r["state"] for r in rows}
        if missing := self.ledger - known.keys():
            raise Broken(f"P1 accepted and gone: {sorted(missing)[:3]}")
        if waiting := [k for k, s in known.items() if s == "open"]:
            raise Broken(f"P1 never answered: {waiting[:3]}")
        pending = self.world.store.view(lambda r: r.count("input", {"status": "pending"}))
        if pending:
            raise Broken(f"P1 {pending} inputs were never resolved")

    def tokens_once(self) -> None:
        """P2: what a person typed is claimed once, in the record where it was typed."""
        for name, tool in self.world.tools.items():
            for native in tool.living():
                record = self.record(name, native)
                if record is None:
                    raise Broken(f"P1 {name} {native} was never read")
                for cell, held in record.cells.items():
                    seqs = [c.seq for c in held.claims]
                    if len(seqs) != len(set(seqs)):
                        raise Broken(f"P2 {name} {native} {cell}: an input claimed twice")

    def record(self, name: str, native: str) -> Record | None:
        """What the hub knows of a tool's record."""
        uid = self.world.uid(name, native)
        return self.world.store.view(lambda r: state.load_record(r, uid)) if uid else None

    def converged(self) -> None:
        """P5: each tool shows what golden says, in its own normal form, or says why not."""
        for name, tool in self.world.tools.items():
            for native in tool.living():
                uid = self.world.uid(name, native)

                def look(rows: Any, uid: Any = uid) -> dict[str, Any]:
                    golden = state.golden_of(rows, uid)
                    record = state.load_record(rows, uid)
                    if golden is None or record is None:
                        return {}
                    return explain.tool_view(rows, self.world.hub, record, golden, "")

                view = self.world.store.view(look)
                wrong = {
                    c: v
                    for c, v in view.items()
                    if isinstance(v, dict) and v["state"] in ("hub ahead", "tool ahead")
                }
                stale = self.differs(tool, native, view)
                if wrong or stale:
                    raise Broken(f"P5 {name} {native} is not equal to golden: {wrong or stale}")

    def differs(self, tool: SimTool, native: str, view: dict[str, Any]) -> dict[str, Any]:
        """Cells in which the tool, asked directly, holds something else than the hub believes."""
        taken = tool.people.fields.take(tool.latest(native) or {}).values
        return {
            c: (taken[c], v["holds"])
            for c, v in view.items()
            if c in taken and isinstance(v, dict) and v["holds"] != taken[c]
        }

    def no_double_creates(self) -> None:
        """P7: a customer was created at most once in each tool, counted there."""
        for name, tool in self.world.tools.items():
            made = Counter(
                e.external_id
                for e in tool.log
                if e.op == "create" and e.who == "hub" and e.external_id
            )
            if twice := [k for k, n in made.items() if n > 1]:
                raise Broken(f"P7 {name} has two records of {twice[0]}")
            mails = Counter(
                (tool.latest(i) or {}).get("mail")
                for i in tool.living()
                if self.made_by_hub(tool, i)
            )
            if twins := [m for m, n in mails.items() if m and n > 1]:
                raise Broken(f"P7 the hub made {twins[0]} twice in {name}")

    def made_by_hub(self, tool: SimTool, native: str) -> bool:
        """Whether the hub created this record."""
        return any(e.op == "create" and e.who == "hub" and e.native_id == native for e in tool.log)

    def silent(self) -> None:
        """P5: from here on not a single write, counted at the tools."""
        before = self.world.writes()
        for _ in range(5):
            self.world.round()
        if self.world.writes() != before:
            raise Broken(f"P5 writes after quiet: {before} then {self.world.writes()}")


def simulate(seed: int, steps: int = 120) -> Outcome:
    """One run."""
    return Run(seed, steps).play()


__all__ = ["PERSON", "Outcome", "Run", "simulate"]
