"""A loop is woken for work that it would come too late for, and left asleep for all other."""

from __future__ import annotations

import threading

import pytest

from hub.io.twin import DictStore
from hub.wiring import RealEnv

LOOP = "capture:A"
LONG_MS, SHORT_MS = 20_000, 200


def slept(env: RealEnv, until_ms: int, wake_at: int) -> int:
    """How long a loop sleeps (ms) that is told of work at a time, as soon as it is asleep."""
    began = env.now()
    loop = threading.Thread(target=env.wait, args=(LOOP, until_ms), daemon=True)
    loop.start()
    loop.join(SHORT_MS / 4 / 1_000)
    env.wake(LOOP, wake_at)
    loop.join(LONG_MS / 1_000)
    return env.now() - began


@pytest.mark.parametrize("early_ms", [1, LONG_MS])
def test_it_is_woken_for_work_before_it_would_look(early_ms: int) -> None:
    """Whether the work is due now, or just before."""
    env = RealEnv(DictStore())
    until = env.now() + LONG_MS
    assert slept(env, until, until - early_ms) < LONG_MS / 2


def test_it_is_left_asleep_where_it_looks_in_time() -> None:
    """It finds the work by itself."""
    env = RealEnv(DictStore())
    until = env.now() + SHORT_MS
    assert slept(env, until, until) >= SHORT_MS - 1


def test_a_loop_at_work_looks_once_more() -> None:
    """It may have looked before the work was there."""
    env = RealEnv(DictStore())
    began = env.now()
    env.wake(LOOP, began + LONG_MS)
    env.wait(LOOP, began + LONG_MS)
    assert env.now() - began < LONG_MS / 2
