"""The parts of the real environment: what wakes a loop."""

from __future__ import annotations

import threading

from hub.wiring import Alarm, Clock


def test_an_alarm_goes_off_at_the_earliest_time_it_was_set_for() -> None:
    """What is in no hurry waits, what is in a hurry does not, and nothing rings twice."""
    clock = Clock()
    alarm, began = Alarm(clock), clock.now()
    alarm.set(began + 60_000)
    alarm.set(began + 80)
    alarm.wait(began + 60_000)
    assert 80 <= clock.now() - began < 5_000
    alarm.wait(clock.now() + 20)
    assert clock.now() - began >= 100


def test_an_alarm_that_is_set_wakes_who_waits() -> None:
    """Also where they had settled for a later time."""
    clock = Clock()
    alarm, began = Alarm(clock), clock.now()
    alarm.set(began + 60_000)
    timer = threading.Timer(0.05, lambda: alarm.set(clock.now()))
    timer.start()
    alarm.wait(began + 60_000)
    timer.join()
    assert 50 <= clock.now() - began < 5_000
