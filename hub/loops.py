"""The loops of one process: each step of the path in a thread of its own, until told to stop.

A step that fails stops nothing but itself: it is counted, shown, and tried again later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from hub import capture, deliver, resolve, sweep
from hub.env import Hub, System
from hub.io import history
from hub.io.rows import Rows, StoreFull
from hub.wiring import RealEnv

LOG = structlog.get_logger()
ANCHOR_MS = 10_000
KEEP_MS = 3_600_000
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
        left = self.env.commit(lambda rows: deliver.recover(rows, self.hub), "start")
        if left:
            LOG.info("writes_of_unknown_outcome", count=left)
        for name, step in steps(self.hub).items():
            thread = threading.Thread(target=self._run, args=(name, step), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, seconds: float = 30) -> bool:
        """Let every loop finish its step; whether all did in time."""
        self._stopping.set()
        for thread in self._threads:
            self.env.wake(thread.name)
        for thread in self._threads:
            thread.join(seconds / max(1, len(self._threads)))
        while resolve.step(self.hub) <= self.env.now():
            pass  # what was taken in is resolved before the lights go out
        self.env.commit(lambda rows: keep_house(rows, self.hub), "stop")
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, name: str, step: Callable[[], int]) -> None:
        while not self._stopping.is_set():
            self.env.wait(name, self._safely(name, step))

    def _safely(self, name: str, step: Callable[[], int]) -> int:
        try:
            return step()
        except StoreFull:
            LOG.exception("store_full", loop=name)
        except Exception:
            LOG.exception("step_failed", loop=name)
        return self.env.now() + SICK_MS


def steps(hub: Hub) -> dict[str, Callable[[], int]]:
    """The name of each loop and its step."""
    found: dict[str, Callable[[], int]] = {
        "resolve": lambda: resolve.step(hub),
        "house": lambda: house(hub),
    }
    for system in hub.systems.values():
        found |= of_system(hub, system)
    return found


def of_system(hub: Hub, system: System) -> dict[str, Callable[[], int]]:
    """The loops of one system."""
    return {
        f"capture:{system.name}": lambda: capture.guarded(
            hub, system, lambda: capture.step(hub, system)
        ),
        f"deliver:{system.name}": lambda: capture.guarded(
            hub, system, lambda: deliver.step(hub, system)
        ),
        f"sweep:{system.name}": lambda: capture.guarded(
            hub, system, lambda: sweep.step(hub, system)
        ),
    }


def house(hub: Hub) -> int:
    """Write the anchor and prune the log."""
    hub.env.commit(lambda rows: keep_house(rows, hub), "house")
    return hub.env.now() + ANCHOR_MS


def keep_house(rows: Rows, hub: Hub) -> None:
    """What has to be done now and then."""
    if hub.anchor:
        hub.anchor.write(history.heads(rows), hub.env.now())
    hub.log.prune(rows, hub.env.now() - KEEP_MS)
