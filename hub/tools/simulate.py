"""The whole hub in a seeded world that stumbles: `synchub simulate --seed N`.

Every loop of the production code, and every webhook that comes in, runs in a greenlet of its own;
at each switch point (a commit, a sleep, a request to a tool) another one may go on, the process
may die, or the commit may be lost. A third of the worlds has four vendors, their production
connectors over their sandboxes; a third has HubSpot, Stripe and a simulated tool; in the others
all tools are simulated ones, which are nastier. People edit in all of them. The same seed gives
the same trace.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import greenlet

from connectors._kit.contract import Inbound, WebhookRefused
from connectors._kit.contract import Stale as TooOld
from connectors._kit.sandbox import Outgoing
from connectors._kit.simtool import Profile
from hub import capture, deliver, listeners, resolve, sweep
from hub.io.rows import StoreFull
from hub.io.twin import DictStore
from hub.tools import monitors, siege
from hub.tools.monitors import Broken
from hub.tools.outside import Outside
from hub.tools.people import People
from hub.tools.watch import Watch
from hub.tools.world import START_MS, World

SWITCH, CRASH, LOSE_COMMIT = 0.35, 0.006, 0.015
CRASH_SENT = 0.1  # between a write and its receipt
DISK = {"commit lost": "lost", "disk full": "full", "I/O error": "io"}
AHEAD_MS = (0, 0, 0, -600_000, 90_000, 600_000)
CROWD = 6  # edits in the same millisecond
DAYS_MS = 72 * 3_600_000
QUIET_ROUNDS = 80
WORLDS: Sequence[tuple[Sequence[str], Sequence[str]]] = (  # vendors, simulated tools
    ((), ("alpha", "beta", "gamma")),
    (("hubspot", "stripe"), ("alpha",)),
    (("hubspot", "stripe", "mailchimp", "zendesk"), ()),
)
CUSTOMERS_MOST = 6
OK, REFUSED, UNAUTHORIZED, FAILED, UNAVAILABLE = 200, 400, 401, 500, 503
SECOND_MS = 1_000  # some sign by whole seconds


class Died(greenlet.GreenletExit):
    """The process was killed at this point."""


@dataclass
class Outcome:
    """What a run showed. `why` begins with the broken promise, "" when none is."""

    seed: int
    why: str
    trace: list[str]
    faults: Counter[str]
    vendors: Sequence[str]
    rounds: int = 0

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        return not self.why


@dataclass(frozen=True)
class Post:
    """A webhook on its way. `reports`: the tool hears what it was answered with."""

    outside: Outside
    sent: Outgoing
    at: int
    reports: bool = True
    forged: bool = False

    def arriving(self, now: int) -> Inbound:
        """The request as the hub gets it; a forged one has another body than was signed."""
        headers = {k.lower(): v for k, v in self.sent.headers.items()}
        body = self.sent.body + b" " if self.forged else self.sent.body
        return Inbound(self.sent.method, self.sent.url, headers, body, now)


@dataclass
class Run:
    """One seeded run. `ledger` is what was accepted, kept outside of the hub.

    `contended`: how often (0 to 1) a transaction loses a race and is begun anew.
    """

    seed: int
    steps: int = 200
    contended: float = 0
    trace: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    ledger: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Build the world; nothing runs yet."""
        self.dice = random.Random(self.seed)
        self.vendors, names = WORLDS[self.seed % len(WORLDS)]
        customers = self.dice.randrange(CUSTOMERS_MOST + 1) if self.vendors else 0
        profiles = {n: some_profile(self.dice) for n in names}
        ahead = {v: self.dice.choice(AHEAD_MS) for v in self.vendors}
        self.faults["clock skew"] += any(ahead.values()) or any(
            p.skew_ms for p in profiles.values()
        )
        self.world = World(
            profiles,
            seed=self.seed,
            vendors=self.vendors,
            customers=customers,
            ahead=ahead,
            contended=self.contended,
        )
        self.people = People(self.world, self.dice, self.note)
        self.loops: dict[str, greenlet.greenlet] = {}
        self.doors: dict[str, Post] = {}
        self.late: list[tuple[int, Post]] = []
        self.watched: Counter[str] = Counter()
        self.watching = Watch(self.world)
        self.calm = False
        self.note("a world", f"{customers} customers in {self.vendors} {ahead}, {profiles}")
        self.world.env.at_point = self.point

    @property
    def disk(self) -> DictStore:
        """What the world's store lies on."""
        return cast("DictStore", self.world.store)

    # -- the scheduler -------------------------------------------------------------------------

    def point(self, name: str) -> None:
        """A switch point: go on, let another loop run, die, or lose the commit."""
        scheduler = greenlet.getcurrent().parent
        if scheduler is None or self.calm:
            return
        luck = self.dice.random()
        sent = name.endswith(" write answered")
        if luck < (CRASH_SENT if sent else CRASH):
            self.note("the process dies", name)
            self.faults["crash before receipt" if sent else "crash"] += 1
            raise Died
        if luck < CRASH + LOSE_COMMIT and name.startswith("before "):
            how = self.dice.choice(list(DISK))
            self.faults[how] += 1
            self.note(how, name)
            self.disk.fail_next(DISK[how])
        elif luck > 1 - SWITCH:
            scheduler.switch()

    def note(self, what: str, detail: str = "") -> None:
        """A line of the trace."""
        at = (self.world.clock.time - START_MS) / 1000
        self.trace.append(f"t={at:.3f} {what}{': ' + detail if detail else ''}")

    def step_of(self, name: str) -> Callable[[], object]:
        """What a loop, or a webhook that comes in, does."""
        hub = self.world.hub
        kind, _, which = name.partition(":")
        if kind == "webhook":
            return lambda: self.take(self.doors.pop(name))
        if kind == "resolve":
            return lambda: resolve.step(hub)
        system = hub.systems[which]
        steps = {"capture": capture.step, "deliver": deliver.step, "sweep": sweep.step}
        return lambda: capture.guarded(hub, system, lambda: steps[kind](hub, system))

    def names(self) -> list[str]:
        """All loops, and all webhooks that are being answered."""
        kinds = ("capture", "deliver", "sweep")
        loops = [f"{k}:{s}" for s in self.world.outside for k in kinds]
        waiting = [n for n in self.loops if n.startswith("webhook:")]
        return ["resolve", *loops, *waiting, *(n for n in self.doors if n not in waiting)]

    def turn(self) -> None:
        """Let one of them run to its next switch point."""
        name = self.dice.choice(self.names())
        if name.startswith("sweep") and self.dice.random() < 0.9:  # noqa: PLR2004
            return
        current = self.loops.get(name)
        if current is None or current.dead:
            current = self.loops[name] = greenlet.greenlet(life(self.step_of(name)))
        try:
            died = current.switch() == "died"
        except StoreFull:
            died = False  # the loop begins its next step afresh
        if current.dead:
            self.loops.pop(name, None)
        if died:
            self.restart()

    def restart(self) -> None:
        """Everything volatile is gone; the store is as it was committed."""
        dead, self.loops = self.loops, {}
        self.calm = True
        for one in dead.values():
            one.throw()
        self.world.hub = self.world.opened()
        self.world.store.transact(lambda rows: deliver.recover(rows, self.world.hub))
        self.calm = False

    # -- what happens to the hub ---------------------------------------------------------------

    def happen(self) -> None:
        """Somebody does something in a tool, or a webhook comes in, or something breaks."""
        people, clock = self.people, self.world.clock
        acts: Sequence[tuple[float, Callable[[], None]]] = (
            (24, people.edit),
            (6, people.correct),
            (6, people.create),
            (2, people.delete),
            (1, people.merge),
            (2, self.clear),
            (3, people.refuse),
            (3, people.opt_in),
            (6, people.join),
            (3, people.part),
            (22, self.webhooks),
            (2, self.workflow),
            (1, self.crowd),
            (8, self.fault),
            (27, lambda: clock.pass_time(self.dice.randrange(2_000))),
            (1, lambda: clock.pass_time(self.dice.randrange(600_000))),
            (0.3, lambda: clock.pass_time(self.dice.randrange(DAYS_MS))),
        )
        weights, found = zip(*acts, strict=True)
        self.dice.choices(found, weights)[0]()

    def fault(self) -> None:
        """Something breaks at a tool."""
        outside = self.people.some_tool()
        how, count = self.dice.choice(outside.failures), self.dice.choice((1, 1, 2, 5))
        self.faults[how] += 1
        outside.fail(how, count)
        self.note(outside.name, f"{how}, {count} times")

    def workflow(self) -> None:
        """A tool rewrites what was just written."""
        self.faults["rewritten by a workflow"] += self.people.automate()

    def clear(self) -> None:
        """A field is emptied."""
        self.faults["field cleared"] += self.people.clear()

    def crowd(self) -> None:
        """An import: many changes of which no time stamp tells which was first."""
        self.world.clock.pace = 0
        for _ in range(CROWD):
            self.people.edit()
        self.world.clock.pace = 1
        self.faults["equal time stamps"] += 1

    # -- webhooks ------------------------------------------------------------------------------

    def webhooks(self) -> None:
        """News of the tools arrive: doubled, lost, late, forged, in any order."""
        for outside in self.world.outside.values():
            news = list(outside.due(self.world.clock.time))
            self.dice.shuffle(news)
            self.faults["webhooks reordered"] += len(news) > 1
            for sent in news:
                self.bring(Post(outside, sent, self.world.clock.time))
        now = self.world.clock.time
        arrived = [post for due, post in self.late if due <= now]
        self.late = [x for x in self.late if x[0] > now]
        for post in arrived:
            self.knock(post)

    def bring(self, post: Post) -> None:
        """One webhook, as the network brings it."""
        luck = self.dice.random()
        unreported = Post(post.outside, post.sent, post.at, reports=False)
        if luck < 0.15:  # noqa: PLR2004
            self.faults["webhook lost"] += 1
            post.outside.settle(post.sent.id, self.dice.choice((0, OK)))
        elif luck < 0.3:  # noqa: PLR2004
            wait = self.dice.choice((20_000, 20_000, 2 * post.outside.window_ms, DAYS_MS)) or 20_000
            self.faults["webhook days late" if wait == DAYS_MS else "webhook late"] += 1
            self.late.append((self.world.clock.time + self.dice.randrange(wait), unreported))
            post.outside.settle(post.sent.id, 0)
        else:
            self.knock(post)
            if luck < 0.45:  # noqa: PLR2004
                self.faults["webhook doubled"] += 1
                self.knock(unreported)
            elif luck < 0.5 and post.outside.window_ms:  # noqa: PLR2004
                self.faults["webhook forged"] += 1
                self.knock(Post(post.outside, post.sent, post.at, reports=False, forged=True))

    def knock(self, post: Post) -> None:
        """It has reached the hub, which takes it when its turn comes."""
        self.faults["webhooks"] += 1
        self.doors[f"webhook:{self.faults['webhooks']}"] = post

    def take(self, post: Post) -> None:
        """The hub answers, the tool hears it, the ledger remembers it; a hub that dies is mute."""
        status = 0
        system = self.world.hub.systems[post.outside.name]
        inbound = post.arriving(self.world.env.now())
        try:
            status, _ = listeners.receive(self.world.hub, system, inbound)
            self.remember(post, inbound, status)
        except StoreFull:
            status = FAILED
        finally:
            if post.reports:
                post.outside.settle(post.sent.id, status)

    def remember(self, post: Post, inbound: Inbound, status: int) -> None:
        """What the answer promises: what was taken is kept, what came too late is read again."""
        outside = post.outside
        age = abs(inbound.received_ms - post.at - outside.ahead_ms)
        late = outside.window_ms and age > outside.window_ms + SECOND_MS
        early = not outside.window_ms or age < outside.window_ms - SECOND_MS
        self.faults["webhook too late"] += bool(late)
        allowed = {UNAVAILABLE, *((OK,) if not late else ()), *((REFUSED,) if not early else ())}
        if status not in ({UNAUTHORIZED} if post.forged else allowed):
            raise Broken(f"P2 {outside.name}: {status} for {post} after {age} ms")
        if status in (OK, REFUSED):
            kind = "old:" if status == REFUSED else ""
            self.ledger |= {f"{outside.name}:{kind}{k}" for k in keys_of(outside, inbound)}

    # -- the run -------------------------------------------------------------------------------

    def play(self) -> Outcome:
        """All of it: trouble, then calm, then the promises."""
        rounds, why = 0, ""
        try:
            for _ in range(4):
                self.people.create()
                self.people.join()
            for _ in range(self.steps):
                self.happen()
                for _ in range(self.dice.randrange(6)):
                    self.turn()
                self.watch()
            rounds = self.settle()
            self.watch()
            monitors.all_promises(self.world, self.ledger, self.people.typed)
        except Broken as broken:
            why = str(broken)
        except Exception as error:  # noqa: BLE001  whatever a step did not expect is told as well
            why = f"a step broke: {error!r}"
            self.trace += traceback.format_exception(error)
        self.note("the end", self.world.digest())
        return Outcome(self.seed, why, self.trace, self.faults, self.vendors, rounds)

    def watch(self) -> None:
        """What must hold after every step."""
        self.watching.look()
        for name, outside in self.world.outside.items():
            monitors.consent_never_widens(outside, outside.log[self.watched[name] :])
            self.watched[name] = len(outside.log)

    def settle(self) -> int:
        """No more trouble: everything must come to rest (P5), also after one siege (P12)."""
        self.restart()
        self.calm = True
        for outside in self.world.outside.values():
            outside.heal()
        self.disk.fail_next("")
        for due, post in sorted(self.late, key=lambda x: x[0]):
            self.world.clock.pass_time(max(0, due - self.world.clock.time))
            self.take(post)
        for post in self.doors.values():
            self.take(post)
        rounds = self.rest()
        self.watch()
        self.faults[f"siege: {siege.lay(self.world, self.people, self.dice)}"] += 1
        return rounds + self.rest()

    def rest(self) -> int:
        """Everything that waited has waited long enough, and all is read once more."""
        self.world.clock.pass_time(capture.BACK_OFF_MS[-1])
        for name in self.world.outside:
            self.world.sweep(name)
        try:
            return self.world.sync(QUIET_ROUNDS)
        except AssertionError as error:
            self.watch()  # who writes for ever breaks more than P5
            raise Broken(f"P5 {error}") from None


def life(step: Callable[[], object]) -> Callable[[], str]:
    """A step in a greenlet; its last word is whether the process died of it."""

    def live() -> str:
        try:
            step()
        except Died:
            return "died"
        return "done"

    return live


def keys_of(outside: Outside, inbound: Inbound) -> list[str]:
    """The news in a webhook, as the tool's own connector reads them."""
    try:
        hints = outside.connector.hints(inbound, outside.secrets)
    except TooOld as old:
        hints = old.hints
    except WebhookRefused:
        return []
    known = {s.object for s in outside.objects}
    return [h.key for h in hints if h.object in known and h.kind != "other"]


def some_profile(dice: random.Random) -> Profile:
    """How a simulated tool behaves: it has revisions, or lags, or neither."""
    kind = dice.choice(("conditional", "lagging", "plain"))
    lag = dice.choice((500, 2_000)) if kind == "lagging" else 0
    return Profile(
        conditional=kind == "conditional",
        revisions=kind == "conditional",
        lag_ms=lag,
        settle_ms=lag * 2 + dice.choice((500, 1_000, 1_500)),
        unique_email=dice.random() < 0.5,  # noqa: PLR2004
        one_line_name=dice.random() < 0.3,  # noqa: PLR2004
        truncates=dice.choice((0, 0, 12)),
        shouts=dice.random() < 0.2,  # noqa: PLR2004
        reformats=dice.random() < 0.2,  # noqa: PLR2004
        skew_ms=dice.choice((0, 0, -600_000, 600_000)),
        page=dice.choice((2, 3, 10)),
        terse=dice.random() < 0.3,  # noqa: PLR2004
    )


def simulate(seed: int, steps: int = 120, contended: float = 0) -> Outcome:
    """One run."""
    return Run(seed, steps, contended).play()


__all__ = ["Broken", "Outcome", "Run", "simulate"]
