"""The loops of one process: each step of the path in a thread of its own, until told to stop.

A step that fails stops nothing but itself: it is counted, shown, and tried again later. One process
alone has all loops, and takes them from whatever process was there before. Where several share
them (hub/members.py), a loop runs while this process holds its lease, and waits otherwise; only the
resolver needs none, for the log tells each its partitions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from hub import capture, deliver, leases, members, resolve, runs, sweep
from hub.env import Hub, System
from hub.io import anchor, history
from hub.io.log import LogDown, Moved
from hub.io.rows import Rows, StoreFull, below
from hub.leases import Lease, Leased, LeaseLost
from hub.members import BEAT_MS, Member
from hub.process import Pulse
from hub.rulesets import OtherRules
from hub.wiring import RealEnv

LOG = structlog.get_logger()
Step = Callable[[Hub], int]
ANCHOR_MS = 10_000
KEEP_MS = 3_600_000
RELAY_MS = 1_000
MARKS_MS = 7 * 86_400_000  # of connections that are gone by then
SICK_MS = 5_000
ROLES: Mapping[str, tuple[str, ...]] = {
    "capture": ("capture",),
    "resolve": ("resolve", "relay"),
    "deliver": ("deliver",),
    "sweep": ("sweep", "house"),
    "console": (),
}


@dataclass
class Loops:
    """The loops of a hub in this process, running. `role`: only those of it, all where it is "".

    `stop` drains: every step ends, and what this process held others may have at once. `ended` says
    why the loops have ended by themselves, where they have.
    """

    hub: Hub
    env: RealEnv
    role: str = ""
    member: Member | None = None
    ended: str = ""
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Settle what the last process left open, then start every loop."""
        found = {n: step for n, step in steps(self.hub).items() if self._ours(n)}
        shared = self.hub.log.apart
        if shared:
            names = tuple(n for n in found if n != resolve.GROUP)
            self.member = Member(self.env, self.role or "up", names, self.env.uid())
            self.member.beat()
            self.hub.process.pulse("members")
            self._thread("members", self._beats)
        held = {} if shared else self._taken(list(found))
        for name, step in found.items():
            mine = None if shared and name == resolve.GROUP else name in held
            self.hub.process.pulse(name, held=mine)
            if name in held:
                self._thread(name, self._run, name, step, held[name])
            elif name == resolve.GROUP:
                self._thread(name, self._turns, name, step, self.hub)
            else:
                self._thread(name, self._run_in_turn, name, step)
        self.hub.process.stage = "up"

    def runs(self, name: str) -> bool:
        """Whether a loop runs here, and nowhere else."""
        return self.member is None or name in self.member.held

    def _ours(self, name: str) -> bool:
        return not self.role or name.partition(":")[0] in ROLES[self.role]

    def _thread(self, name: str, work: Callable[..., object], *given: object) -> None:
        pulse = self.hub.process.pulses[name]

        def alive() -> None:
            try:
                work(*given)
            finally:
                pulse.ended = True

        thread = threading.Thread(target=alive, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    # -- a process of its own ----------------------------------------------------------------------

    def _taken(self, names: list[str]) -> dict[str, Lease]:
        left, held = self.env.commit(lambda rows: self._begin(rows, names), "start")
        if left:
            LOG.info("writes_of_unknown_outcome", count=left)
        return held

    def _begin(self, rows: Rows, names: list[str]) -> tuple[int, dict[str, Lease]]:
        """Whatever an older process of this file still wants to do is void from here on."""
        now, owner = self.env.now(), self.env.uid()
        found = {name: leases.take(rows, name, owner, now, at_once=True) for name in names}
        return deliver.recover(rows, self.hub), {n: held for n, held in found.items() if held}

    def _run(self, name: str, step: Step, lease: Lease) -> None:
        if self._turns(name, step, replace(self.hub, env=Leased(self.env, lease))):
            self._end(f"{name} is done by another process now")

    def _end(self, why: str) -> None:
        """The whole process is of no use any more."""
        self.ended = self.ended or why
        self._stopping.set()

    # -- one of several processes ------------------------------------------------------------------

    def _beats(self) -> None:
        while not self._stopping.wait(BEAT_MS / 1000):
            with self.hub.process.pulses["members"].step():
                try:
                    fresh = self.member.beat() if self.member else ()
                except Exception:
                    LOG.exception("step_failed", loop="members")
                    continue
            for name in fresh:
                self.env.wake(name)

    def _run_in_turn(self, name: str, step: Step) -> None:
        """Run whenever this process holds the lease; what an older holder left is settled first."""
        member, pulse = self.member, self.hub.process.pulses[name]
        while member and not self._stopping.is_set():
            lease = member.held.get(name)
            pulse.held = lease is not None
            if lease:
                LOG.info("lease_taken", loop=name, count=lease.epoch)
                own = replace(self.hub, env=Leased(self.env, lease))
                if self._turns(name, step, own, lease):
                    member.forget(name, lease)
            else:
                pulse.rest(BEAT_MS / 1000)
                self.env.wait(name, self.env.now() + BEAT_MS)

    def _may_go_on(self, name: str, lease: Lease | None) -> bool:
        """Whether the next step is ours; what others are to have is given up."""
        if self._stopping.is_set() or lease is None or self.member is None:
            return not self._stopping.is_set()
        if name in self.member.late:
            self.member.give_up(name)
        return self.member.held.get(name) == lease

    # -- steps -------------------------------------------------------------------------------------

    def _turns(self, name: str, step: Step, hub: Hub, lease: Lease | None = None) -> bool:
        """Step after step while it is ours; returns whether another process has taken it."""
        pulse = self.hub.process.pulses[name]
        while self._may_go_on(name, lease):
            try:
                with pulse.step():
                    due = self._safely(pulse, step, hub)
            except LeaseLost as lost:
                LOG.warning("lease_lost", loop=name, hint=str(lost))
                return True
            pulse.rest((due - self.env.now()) / 1000)
            self.env.wait(name, due)
        return False

    def _safely(self, pulse: Pulse, step: Step, hub: Hub) -> int:
        name = pulse.name
        try:
            return step(hub)
        except LeaseLost:
            raise
        except OtherRules as other:
            self._end(str(other))
        except StoreFull:
            LOG.exception("store_full", loop=name)
        except LogDown as down:
            LOG.warning("log_down", loop=name, hint=str(down))
        except Exception:
            LOG.exception("step_failed", loop=name)
        pulse.failed += 1
        return self.env.now() + SICK_MS

    def stop(self, seconds: float = 30) -> bool:
        """Let every loop finish its step; whether all did in time."""
        self.hub.process.drain()
        self._stopping.set()
        for thread in self._threads:
            self.env.wake(thread.name)
        for thread in self._threads:
            thread.join(seconds / max(1, len(self._threads)))
        if self.member:
            self._leave(self.member)
        else:
            resolve.drain(self.hub)  # what was taken in is resolved before the lights go out
            house(self.hub)
        return not any(thread.is_alive() for thread in self._threads)

    def _leave(self, member: Member) -> None:
        try:
            member.leave()
        except StoreFull as error:  # they have it when the leases have run out
            LOG.warning("not_handed_over", hint=str(error))


def steps(hub: Hub) -> dict[str, Step]:
    """The name of each loop, which is its lease's too, and its step."""
    found: dict[str, Step] = {resolve.GROUP: resolve.step, "house": house}
    if hub.log.apart:
        found["relay"] = relay
    for system in hub.systems.values():
        for name, step in OF_SYSTEM.items():
            found[f"{name}:{system.name}"] = guarded(step, system)
    return found


OF_SYSTEM: Mapping[str, Callable[[Hub, System], int]] = {
    "capture": capture.step,
    "deliver": deliver.step,
    "sweep": sweep.step,
}


def guarded(step: Callable[[Hub, System], int], system: System) -> Step:
    """A step of one system, whose failure stays its own."""
    return lambda hub: capture.guarded(hub, system, lambda: step(hub, system))


def relay(hub: Hub) -> int:
    """Publish what was announced. Raises `LeaseLost` where another relay has shut this one out."""
    try:
        published = hub.log.relay(hub.env)
    except Moved as moved:
        raise LeaseLost(str(moved)) from moved
    return hub.env.now() + (0 if published else RELAY_MS)


def house(hub: Hub) -> int:
    """What has to be done now and then; only who may commit writes the anchor after it."""
    hub.env.commit(lambda rows: tidy_up(rows, hub), "house")
    anchor.keep(hub)
    return hub.env.now() + ANCHOR_MS


def tidy_up(rows: Rows, hub: Hub) -> None:
    """Drop what was read by all, bury what ended long ago, and end the runs that are through."""
    now = hub.env.now()
    history.bury(rows, now - hub.points_on_ms, now)
    hub.log.prune(rows, now - KEEP_MS)
    runs.finish(rows)
    stored = rows.time(now)
    members.tidy(rows, stored)
    rows.delete("mark", {"at": below(stored - MARKS_MS)})
