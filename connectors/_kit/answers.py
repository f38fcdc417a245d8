"""What connectors need to understand a tool's answers: hostile until each value has its type.

Everything here raises `Unreadable` where an answer is not what was expected, with words that say
which part of it. `what` names that part for a person.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import orjson
from httpx import codes

from connectors._kit.contract import (
    Answer,
    Denied,
    ObjectSpec,
    Reading,
    Reply,
    Unavailable,
    Unreadable,
    Write,
)

Item = dict[str, Any]  # a JSON object
Broken = tuple[str, bytes]  # why, and what it was
T = TypeVar("T")
K = TypeVar("K")


# -- types -------------------------------------------------------------------------------------


def is_a(value: object, kind: type[T], what: str) -> T:
    """The value, which must be of this type."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Unreadable(f"{what}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def object_of(value: object, what: str) -> Item:
    """The value as a JSON object."""
    return is_a(value, dict, what)


def items_of(value: object, what: str) -> list[Any]:
    """The value as a JSON list."""
    return is_a(value, list, what)


def text_of(value: object, what: str) -> str:
    """The value as a text that says something."""
    text = is_a(value, str, what)
    if not text:
        raise Unreadable(f"{what}: expected a text, got an empty one")
    return text


def instant_of(value: object, what: str) -> int:
    """Milliseconds of an ISO 8601 text with zone."""
    text = text_of(value, what)
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise Unreadable(f"{what}: {text[:40]!r} is no time") from error
    if found.tzinfo is None:
        raise Unreadable(f"{what}: {text[:40]!r} has no zone")
    return round(found.timestamp() * 1000)


# -- answers -----------------------------------------------------------------------------------


def body_of(reply: Reply, what: str) -> Item:
    """The body of a good answer; an error is unreadable, and shown as it came."""
    if reply.status >= codes.BAD_REQUEST:
        said = reply.body[:200].decode(errors="replace")
        raise Unreadable(f"{what}: answered {reply.status}: {said}", reply.body)
    return object_of(reply.json(), what)


def error_of(reply: Reply, *inside: str) -> Item:
    """The object that an error answer carries, or one inside of it; {} where there is none."""
    try:
        found = reply.json()
    except Unreadable:
        return {}
    for name in inside:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


# -- readings ----------------------------------------------------------------------------------


def understood(
    items: Iterable[object], read: Callable[[object], Reading]
) -> tuple[tuple[Reading, ...], tuple[Broken, ...]]:
    """What can be read, and what cannot, with the reason: one bad item spoils no page."""
    good: list[Reading] = []
    broken: list[Broken] = []
    for item in items:
        try:
            good.append(read(item))
        except Unreadable as error:
            broken.append((str(error), orjson.dumps(item)))
    return tuple(good), tuple(broken)


def gone(spec: ObjectSpec, native_id: str, reply: Reply) -> Reading:
    """A record that is not there, or not any more."""
    return Reading(spec.object, native_id, {}, reply.start_ms, reply.end_ms, state="deleted")


# -- what became of writes ---------------------------------------------------------------------


def failed(error: Exception, *, sent: bool = True) -> Answer:
    """What an exception means for a write; not `sent` where it came before the write itself."""
    if isinstance(error, Denied):
        return Answer("stop", why=str(error), closed=True)
    if sent and (not isinstance(error, Unavailable) or error.sent):
        return Answer("unknown", why=str(error))
    after = error.after_ms if isinstance(error, Unavailable) else 0
    return Answer("retry", why=str(error), after_ms=after, closed=isinstance(error, Unavailable))


def attempt(write: Callable[[], Answer]) -> Answer:
    """The answer to a write, also where the call breaks."""
    try:
        return write()
    except (Unavailable, Denied, Unreadable) as error:
        return failed(error)


def one_by_one(
    rows: Mapping[K, Write], write: Callable[[Write], Answer], before: Iterable[Answer] = ()
) -> dict[K, Answer]:
    """A call each, in order; nobody knocks again where the door is closed, or was `before`."""
    closed = next((a for a in before if a.closed), None)
    done: dict[K, Answer] = {}
    for key, row in rows.items():
        done[key] = closed or write(row)
        closed = done[key] if done[key].closed else None
    return done
