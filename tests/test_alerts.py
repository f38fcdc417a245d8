"""What is an alert, and when it becomes one."""

from __future__ import annotations

from typing import Any

import pytest

from hub.alerts import FAILING_MS, PENDING_MS, TODO, UNANCHORED_MS, alerts

NOW = 1_000_000_000
WELL: dict[str, Any] = {
    "up": {"commands": "here"},
    "writes_stopped": False,
    "writes_stopped_since": None,
    "pending_inputs": 0,
    "pending_since": None,
    "parked_by_kind": {},
    "anchor": {"word": "in order", "todo": "", "since": None},
    "unanchored_since": None,
    "topics_differ": [],
    "systems": {},
}
SYSTEM: dict[str, Any] = {"failing_since": None, "last_failure": None}


def kinds(**changed: Any) -> list[str]:
    """The alerts of a hub that is well but for this."""
    return [a["kind"] for a in alerts({**WELL, **changed}, NOW)]


def of_system(**changed: Any) -> list[dict[str, Any]]:
    """The alerts of a hub with one system that is well but for this."""
    return alerts({**WELL, "systems": {"crm": {**SYSTEM, **changed}}}, NOW)


def test_a_hub_that_is_well_has_none() -> None:
    """Nothing is told where nothing is wrong."""
    assert kinds() == []
    assert of_system() == []


@pytest.mark.parametrize(
    ("key", "allowed", "kind"),
    [
        ("pending_since", PENDING_MS, "inputs waiting"),
        ("unanchored_since", UNANCHORED_MS, "history not anchored"),
    ],
)
def test_what_lasts_too_long(key: str, allowed: int, kind: str) -> None:
    """It is an alert one millisecond after the time that is allowed."""
    assert kinds(**{key: NOW - allowed}) == []
    assert kinds(**{key: NOW - allowed - 1}) == [kind]


def test_a_system_that_keeps_failing() -> None:
    """It is told with the last failure, once that has gone on for some minutes."""
    assert of_system(failing_since=NOW - FAILING_MS, last_failure="denied: x") == []
    (found,) = of_system(failing_since=NOW - FAILING_MS - 1, last_failure="denied: x")
    assert (found["kind"], found["system"]) == ("system failing", "crm")
    assert "denied: x" in found["todo"]


def test_what_was_set_aside() -> None:
    """Each kind of parked item and the switch are told at once, oldest first."""
    parked = {"ping-pong": {"n": 2, "since": 9}, "input": {"n": 1, "since": 4}}
    assert kinds(parked_by_kind=parked, writes_stopped=True, writes_stopped_since=6) == [
        "parked: input",
        "writes stopped",
        "parked: ping-pong",
    ]


def test_a_topic_that_differs() -> None:
    """Each is told, with both ways out."""
    (found,) = alerts({**WELL, "topics_differ": ["topic t: partitions is 1, not 6"]}, NOW)
    assert found["todo"] == "topic t: partitions is 1, not 6: change the topic, or hub.yaml"


def test_every_alert_says_what_to_do() -> None:
    """A kind without words of its own still names the command that lists it."""
    for kind in (*TODO, "something new"):
        (found,) = alerts({**WELL, "parked_by_kind": {kind: {"n": 1, "since": 1}}}, NOW)
        assert "synchub" in found["todo"] or kind == "ping-pong"


def test_waiting_inputs_name_the_reason() -> None:
    """While no hub is up, nothing resolves what waits, and that is what is told."""
    (found,) = alerts({**WELL, "up": {}, "pending_since": 1, "pending_inputs": 3}, NOW)
    assert "synchub up" in found["todo"]
