"""What is sick or needs a person, read off the status of a hub.

Each alert has a kind, since when it is so (ms), and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FAILING_MS = 5 * 60_000
PENDING_MS = 60_000
UNANCHORED_MS = 3 * 60_000

# What to do about what is parked, by kind.
TODO: Mapping[str, str] = {
    "departed": "records were deleted in a tool: `synchub parked` lists them, and takes keep, "
    "unlink or recreate",
    "unsupported": "records hold only what the hub wrote: `synchub parked` lists them, and takes "
    "keep or unlink",
    "rejected": "a tool refused what was to be written: mend the value where it is entered, or "
    "`synchub replay ITEM`",
    "lost create": "creates of which nobody knows what they made: judge the duplicates with "
    "`synchub review`, or `synchub parked dismiss ITEM` to create the record again",
    "ping-pong": "a tool keeps changing what the hub writes, so the field is not written any "
    "more: switch off that automation, then edit the field in one tool",
    "webhook": "signed webhooks were not understood: `synchub parked` shows why, and dismisses",
    "answer": "answers of a tool were not understood: `synchub parked` shows why, and dismisses",
    "hint": "records could not be read, however often it was tried: `synchub replay ITEM`",
    "input": "readings cannot be decoded: `synchub replay ITEM` reads the record again",
}


def alerts(status: Mapping[str, Any], now: int) -> list[dict[str, Any]]:
    """All alerts of a hub with this status, the oldest first."""
    found = [
        *switch(status),
        *waiting(status, now),
        *parked(status),
        *unanchored(status, now),
        *differing(status),
        *(a for name, one in status["systems"].items() for a in of_system(name, one, now)),
    ]
    return sorted(found, key=lambda a: (a["since"] or 0, a["kind"]))


def alert(kind: str, since: int | None, todo: str, system: str = "") -> dict[str, Any]:
    """One alert."""
    return {"kind": kind, "system": system, "since": since, "todo": todo}


def switch(status: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Somebody stopped all writes."""
    if status["writes_stopped"]:
        todo = "nothing is written into any tool: `synchub stop-writes --release` lets it flow"
        yield alert("writes stopped", status["writes_stopped_since"], todo)


def waiting(status: Mapping[str, Any], now: int) -> Iterator[dict[str, Any]]:
    """What was taken in is not resolved."""
    since = status["pending_since"]
    if since is not None and now - since > PENDING_MS:
        todo = (
            f"{status['pending_inputs']} inputs wait: see the hub's log"
            if status["up"]
            else f"{status['pending_inputs']} inputs wait for a hub: `synchub up`"
        )
        yield alert("inputs waiting", since, todo)


def parked(status: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Things that were set aside, a line for each kind."""
    for kind, one in sorted(status["parked_by_kind"].items()):
        todo = TODO.get(kind, "`synchub parked` lists them")
        yield alert(f"parked: {kind}", one["since"], f"{one['n']} x: {todo}")


def differing(status: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Topics were made by somebody else, or before hub.yaml was changed."""
    for sentence in status["topics_differ"]:
        yield alert("topic differs", None, f"{sentence}: change the topic, or hub.yaml")


def unanchored(status: Mapping[str, Any], now: int) -> Iterator[dict[str, Any]]:
    """History is not the one that was anchored; or it grew, and its anchor did not."""
    if (found := status["anchor"])["todo"]:
        yield alert(found["word"], found["since"], found["todo"])
    since = status["unanchored_since"]
    if since is not None and now - since > UNANCHORED_MS:
        todo = "the history's end is kept nowhere else: see that the anchor file can be written"
        yield alert("history not anchored", since, todo)


def of_system(name: str, one: Mapping[str, Any], now: int) -> Iterator[dict[str, Any]]:
    """One system: it keeps failing."""
    since = one["failing_since"]
    if since is not None and now - since > FAILING_MS:
        yield alert("system failing", since, f"{name}: {one['last_failure']}", name)
