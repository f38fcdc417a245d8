"""How this one process is, for its probes and metrics: nothing here is stored or asked for.

Each loop gives signs of life to its `Pulse`: when a step begins and ends, at each of its commits,
and, where it waits for something, until when. A loop that gives none for minutes hangs, and only
a restart helps. All is by the monotonic clock, in seconds.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

HANGS_S = 300.0
BOUNDS_S = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
Clock = Callable[[], float]


@dataclass
class Pulse:
    """The signs of life of one loop, and how long its steps took.

    `held`: whether this process has the lease of it; None where none is wanted. `within`: how many
    steps took no longer than each of `BOUNDS_S` and longer than the one before; the last is the
    rest of them.
    """

    name: str
    clock: Clock = time.monotonic
    held: bool | None = None
    ended: bool = False
    failed: int = 0
    took: float = 0.0
    within: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    due: float = 0.0

    def __post_init__(self) -> None:
        self.rest()

    def rest(self, seconds: float = 0.0) -> None:
        """It lives, and will not do anything for so long."""
        self.due = self.clock() + max(0.0, seconds) + HANGS_S

    @contextmanager
    def step(self) -> Iterator[None]:
        """A step, measured; whatever waits in it can find this pulse."""
        began, token = self.clock(), CURRENT.set(self)
        self.rest()
        try:
            yield
        finally:
            CURRENT.reset(token)
            seconds = self.clock() - began
            self.took += seconds
            self.within[bisect_left(BOUNDS_S, seconds)] += 1

    @property
    def wrong(self) -> str:
        """What is wrong with this loop, "" where it lives."""
        if self.ended:
            return "has ended"
        silent = self.clock() - self.due
        return f"hangs in a step, silent for {silent + HANGS_S:.0f} s" if silent > 0 else ""


CURRENT: ContextVar[Pulse | None] = ContextVar("pulse", default=None)


def alive(seconds: float = 0.0) -> None:
    """The loop that runs here lives, and will wait for so long."""
    if pulse := CURRENT.get():
        pulse.rest(seconds)


@dataclass
class Process:
    """What one process knows of itself. Thread-safe.

    `counts`: what it has done since it began, by kind and labels; see `count`.
    """

    stage: Literal["starting", "up", "draining"] = "starting"
    pulses: dict[str, Pulse] = field(default_factory=dict)
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pulse(self, name: str, *, held: bool | None = None) -> Pulse:
        """Where the loop of this name gives its signs of life from now on."""
        self.pulses[name] = made = Pulse(name, held=held)
        return made

    def drain(self) -> None:
        """It is to stop: from now on nobody gives it new work."""
        self.stage = "draining"

    def count(self, *what: str, n: int = 1) -> None:
        """Something happened: the metric, then the values of its labels."""
        with self._lock:
            self.counts[what] += n

    def counted(self, metric: str) -> dict[tuple[str, ...], int]:
        """Label values to how often, of one metric."""
        with self._lock:
            return {what[1:]: n for what, n in sorted(self.counts.items()) if what[0] == metric}

    def sick(self) -> dict[str, str]:
        """The loops that only a restart helps, each with what is wrong with it.

        One that has ended is as it should be while the process is leaving.
        """
        found = {name: pulse.wrong for name, pulse in list(self.pulses.items())}
        leaving = self.stage == "draining"
        return {n: w for n, w in found.items() if w and not (leaving and self.pulses[n].ended)}

    def leases(self) -> Mapping[str, str]:
        """Which loops this process has the lease of, and for which it stands by."""
        words = {True: "held", False: "standby"}
        listed = list(self.pulses.items())
        return {name: words[pulse.held] for name, pulse in listed if pulse.held is not None}


class Question:
    """Something that may hang when it is asked: in a thread of its own, and never twice at once."""

    def __init__(self, ask: Callable[[], object]) -> None:
        """`ask` raises where something is wrong."""
        self._ask = ask
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._said = ""

    def wrong(self, seconds: float) -> str:
        """What is wrong, "" for nothing; no text of an error, which may tell an address."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._answer, daemon=True)
                self._thread.start()
            asked = self._thread
        asked.join(seconds)
        return f"does not answer within {seconds:g} s" if asked.is_alive() else self._said

    def _answer(self) -> None:
        try:
            self._ask()
            self._said = ""
        except Exception as error:  # noqa: BLE001  whatever it is, it is not reachable
            self._said = f"cannot be reached ({type(error).__name__})"
