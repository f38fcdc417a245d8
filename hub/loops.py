"""The loops of one process: each step of the path in a thread of its own, until told to stop.

A step that fails stops nothing but itself: it is counted, shown, and tried again later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from hub import capture, deliver, leases, resolve, runs, sweep
from hub.env import Hub, System
from hub.io import anchor, history
from hub.io.log import LogDown, Moved
from hub.io.rows import Rows, StoreFull
from hub.leases import Lease, Leased, LeaseLost
from hub.process import Pulse
from hub.wiring import RealEnv

LOG = structlog.get_logger()
Step = Callable[[Hub], int]
ANCHOR_MS = 10_000
KEEP_MS = 3_600_000
RELAY_MS = 1_000
SICK_MS = 5_000


@dataclass
class Loops:
    """All loops of a hub, running. `stop` drains: every step ends, then the anchor is written."""

    hub: Hub
    env: RealEnv
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Settle what the last process left open, then start every loop."""
        found = steps(self.hub)
        left, held = self.env.commit(lambda rows: self._begin(rows, list(found)), "start")
        if left:
            LOG.info("writes_of_unknown_outcome", count=left)
        for name, step in found.items():
            own = replace(self.hub, env=Leased(self.env, held[name]))
            pulse = self.hub.process.pulse(name, held=True)
            thread = threading.Thread(target=self._run, args=(pulse, step, own), name=name)
            thread.daemon = True
            self._threads.append(thread)
            thread.start()
        self.hub.process.stage = "up"

    def _begin(self, rows: Rows, names: list[str]) -> tuple[int, dict[str, Lease]]:
        """Whatever an older process of this file still wants to do is void from here on."""
        now, owner = self.env.now(), self.env.uid()
        found = {name: leases.take(rows, name, owner, now, at_once=True) for name in names}
        return deliver.recover(rows, self.hub), {n: held for n, held in found.items() if held}

    def stop(self, seconds: float = 30) -> bool:
        """Let every loop finish its step; whether all did in time."""
        self.hub.process.drain()
        self._stopping.set()
        for thread in self._threads:
            self.env.wake(thread.name)
        for thread in self._threads:
            thread.join(seconds / max(1, len(self._threads)))
        if not self.hub.log.apart:
            resolve.drain(self.hub)  # what was taken in is resolved before the lights go out
        house(self.hub)
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, pulse: Pulse, step: Step, hub: Hub) -> None:
        try:
            while not self._stopping.is_set():
                with pulse.step():
                    due = self._safely(pulse, step, hub)
                pulse.rest((due - self.env.now()) / 1000)
                self.env.wait(pulse.name, due)
        finally:
            pulse.ended = True

    def _safely(self, pulse: Pulse, step: Step, hub: Hub) -> int:
        name = pulse.name
        try:
            return step(hub)
        except LeaseLost:
            LOG.exception("lease_lost", loop=name)
            pulse.held = False
            self._stopping.set()
        except StoreFull:
            LOG.exception("store_full", loop=name)
        except LogDown as down:
            LOG.warning("log_down", loop=name, hint=str(down))
        except Exception:
            LOG.exception("step_failed", loop=name)
        pulse.failed += 1
        return self.env.now() + SICK_MS


def steps(hub: Hub) -> dict[str, Step]:
    """The name of each loop, which is its lease's too, and its step."""
    found: dict[str, Step] = {"resolve": resolve.step, "house": house}
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
