"""The whole hub in a seeded world that stumbles: every promise holds for every seed."""

from __future__ import annotations

import logging
import os
from collections import Counter

import pytest
import structlog

from hub.tools.monitors import inputs_of
from hub.tools.simulate import Outcome, simulate
from hub.tools.world import World

SEEDS = range(2_000 if os.environ.get("HUB_TEST_LONG") else 50)
STEPS = 90
FAILED_ONCE = [
    (32, 90),
    *((seed, 120) for seed in (3197, 4039, 5062, 5093, 5146, 10038, 10063, 10176, 10274, 10281)),
    *((seed, 120) for seed in (10486, 20280, 20469)),
]
KINDS = {
    "answer lost", "busy", "clock skew", "commit lost", "crash", "crash before receipt",
    "disk full", "down", "empty listing", "endpoint limited", "equal time stamps", "error after",
    "error before", "field cleared", "I/O error", "link busy", "link lost", "link refused",
    "no answer in time", "record refused",
    "record unreadable", "rewritten by a workflow", "siege: dead tool", "siege: record refused",
    "siege: record unreadable", "slow", "token expired", "truncated page", "webhook days late",
    "webhook doubled", "webhook forged", "webhook late", "webhook lost", "webhook too late",
    "webhooks reordered",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet_log() -> None:
    """Failures of steps are the point here, not news."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def told(outcome: Outcome) -> str:
    """What a person needs to follow a failure."""
    last = "\n".join(outcome.trace[-40:])
    return f"synchub simulate --seed {outcome.seed} --steps {STEPS}: {outcome.why}\n{last}"


@pytest.mark.parametrize("block", range(10))
def test_promises_hold(block: int) -> None:
    """P1 to P9 and P12 hold through crashes, lost answers, lag and disorder."""
    faults: Counter[str] = Counter()
    for seed in SEEDS[block::10]:
        outcome = simulate(seed, STEPS)
        assert outcome.ok, told(outcome)
        faults += outcome.faults
    assert len(faults) >= 8, f"the world was too kind: {faults}"


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_promises_hold_where_races_are_lost(seed: int) -> None:
    """A transaction that has to be begun anew does nothing twice."""
    outcome = simulate(seed, STEPS, contended=0.5)
    assert outcome.ok, told(outcome)


@pytest.mark.parametrize(("seed", "steps"), FAILED_ONCE)
def test_what_failed_once_holds(seed: int, steps: int) -> None:
    """A seed that ever broke a promise is told again for ever."""
    outcome = simulate(seed, steps)
    assert outcome.ok, told(outcome)


def test_every_kind_of_fault_and_world_was_met() -> None:
    """A set of runs in which a kind of fault or of world never came would prove nothing of it."""
    faults: Counter[str] = Counter()
    worlds: Counter[int] = Counter()
    for seed in SEEDS[:24]:
        outcome = simulate(seed, STEPS)
        faults += outcome.faults
        worlds[len(outcome.vendors)] += 1
    assert not KINDS - set(faults), f"never met: {KINDS - set(faults)}"
    assert worlds.keys() == {0, 2, 4}


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_equal_seeds_give_equal_traces(seed: int) -> None:
    """A failure can be looked at again: the same seed tells the same story."""
    one, two = simulate(seed, STEPS), simulate(seed, STEPS)
    assert one.trace == two.trace
    assert one.faults == two.faults


def test_a_record_that_is_gone_is_no_news_twice() -> None:
    """An archived contact that changes show again and again is one input."""
    world = World({}, vendors=("hubspot",))
    portal = world.outside["hubspot"]
    own = portal.act("create", "contacts", "", {"email": "ada@example.com"})
    world.sync()
    portal.act("update", "contacts", own, {"jobtitle": "Countess"})
    portal.act("delete", "contacts", own, {})
    world.sync()
    known = inputs_of(world)
    for _ in range(3):
        world.round()
    assert inputs_of(world) == known
