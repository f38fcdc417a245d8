"""A connector's own cursor: a small dataclass on one side, opaque text on the other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self, get_origin, get_type_hints

import orjson

from connectors._kit.contract import Unreadable


@dataclass(frozen=True, slots=True)
class Cursor:
    """Base of cursors whose fields are texts, numbers, flags, tuples of texts, or cursors again."""

    @classmethod
    def of(cls, text: str) -> Self:
        """The cursor that was stored as this text; raises `Unreadable` where it is damaged."""
        try:
            return cls.made(orjson.loads(text))
        except (AttributeError, LookupError, TypeError, orjson.JSONDecodeError) as error:
            raise damaged(text) from error

    @classmethod
    def made(cls, found: Any) -> Self:
        """The cursor with these values; raises the errors that `of` catches."""
        hints = get_type_hints(cls)
        return cls(**{k: of_kind(get_origin(hints[k]) or hints[k], v) for k, v in found.items()})

    def text(self) -> str:
        """As it is stored."""
        return orjson.dumps(asdict(self)).decode()


def of_kind(kind: type, value: Any) -> Any:
    """A value as a field of this type holds it; raises TypeError where it is of another."""
    if issubclass(kind, Cursor):
        return kind.made(value)
    if kind is tuple and isinstance(value, list) and all(isinstance(e, str) for e in value):
        return tuple(value)
    if kind is tuple or type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value


def damaged(text: str) -> Unreadable:
    """What is raised for a text that is no cursor."""
    return Unreadable(f"the stored cursor is damaged: {text[:80]!r}")
