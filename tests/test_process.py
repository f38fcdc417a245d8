"""Signs of life: which loop hangs, which waits properly, and a question that is not answered."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from hub import probes
from hub.loops import Loops
from hub.process import HANGS_S, Process, Pulse, Question, alive
from hub.tools.world import World
from hub.wiring import RealEnv


@dataclass
class Hands:
    """A clock that is moved by hand."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now


def pulse_of(process: Process, hands: Hands, name: str = "resolve") -> Pulse:
    """A loop of this process whose clock is in our hands."""
    made = process.pulse(name)
    made.clock = hands
    made.rest()
    return made


def test_a_loop_that_hangs_in_a_step_is_named() -> None:
    """It is given some minutes; a step that ends after all makes it live again."""
    process, hands = Process(), Hands()
    pulse = pulse_of(process, hands)
    with pulse.step():
        hands.now += HANGS_S - 1
        assert probes.liveness(process)["live"]
        hands.now += 2
        told = probes.liveness(process)
        assert not told["live"]
        assert told["reasons"] == ["resolve: hangs in a step, silent for 301 s"]
    with pulse.step():
        assert probes.liveness(process)["live"]


def test_a_loop_that_waits_properly_lives() -> None:
    """Between two steps, and in one that a tool has asked to be left alone for an hour."""
    process, hands = Process(), Hands()
    pulse = pulse_of(process, hands)
    pulse.rest(3_600)
    hands.now += 3_600
    assert not process.sick()
    with pulse.step():
        alive(3_600)
        hands.now += 3_600
        assert not process.sick()
        hands.now += HANGS_S + 1
        assert "resolve" in process.sick()


def test_each_commit_is_a_sign_of_life() -> None:
    """A long step that gets on is no hanging one."""
    world, process, hands = World({}), Process(), Hands()
    env = RealEnv(world.store)
    with pulse_of(process, hands).step():
        for _ in range(5):
            hands.now += HANGS_S - 1
            env.commit(lambda _: None, "here")
        assert not process.sick()


def test_steps_are_counted_by_how_long_they_took() -> None:
    """Each in one bucket, the longest in the last."""
    hands = Hands()
    pulse = pulse_of(Process(), hands)
    for seconds in (0.0, 0.02, 0.02, 1.0, 1_000.0):
        with pulse.step():
            hands.now += seconds
    assert pulse.within == [1, 2, 0, 0, 1, 0, 0, 1]
    assert round(pulse.took, 2) == 1_001.04


def test_a_loop_that_has_ended_is_sick_unless_the_process_leaves() -> None:
    """Loops that lost their lease end: only a new start takes it again."""
    process = Process()
    process.pulse("resolve").ended = True
    assert process.sick() == {"resolve": "has ended"}
    process.drain()
    assert process.sick() == {}


def test_real_loops_give_their_signs() -> None:
    """Every loop of a hub makes steps, holds its lease, and ends when it is told to."""
    world = World({})
    env = RealEnv(world.store)
    loops = Loops(world.hub, env)
    loops.start()
    process = world.hub.process
    try:
        assert probes.readiness(world.hub, {})["ready"]
        assert set(process.leases().values()) == {"held"}
        assert probes.liveness(process)["live"]
    finally:
        loops.stop()
    assert probes.readiness(world.hub, {})["stage"] == "draining"
    assert all(pulse.ended and sum(pulse.within) for pulse in process.pulses.values())
    assert not process.sick()


def test_what_hangs_is_asked_once_at_a_time() -> None:
    """A probe comes back in time, and probes that follow start no second thread."""
    goes_on, asked = threading.Event(), []

    def ask() -> None:
        asked.append(1)
        goes_on.wait(20)

    question = Question(ask)
    assert question.wrong(0.05) == question.wrong(0.05) == "does not answer within 0.05 s"
    assert len(asked) == 1
    goes_on.set()
    assert question.wrong(5) == ""


def test_an_error_is_told_without_its_text() -> None:
    """A text may hold an address; its class is enough to know where to look."""

    def ask() -> None:
        raise OSError("no route to db.internal.example")

    assert Question(ask).wrong(5) == "cannot be reached (OSError)"
