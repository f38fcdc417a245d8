"""A connector's own cursor of changes: a flat dataclass on one side, opaque text on the other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self, get_origin, get_type_hints

import orjson

from connectors._kit.contract import Unreadable


@dataclass(frozen=True, slots=True)
class Cursor:
    """Base of cursors whose fields are texts, whole numbers, flags and tuples of texts."""

    @classmethod
    def of(cls, text: str) -> Self:
        """The cursor that was stored as this text; raises `Unreadable` where it is damaged."""
        try:
            found = orjson.loads(text)
            made = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in found.items()})
        except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
            raise damaged(text) from error
        kinds = {name: get_origin(hint) or hint for name, hint in get_type_hints(cls).items()}
        values = asdict(made)
        if any(type(value) is not kinds[name] for name, value in values.items()):
            raise damaged(text)
        if any(not isinstance(e, str) for v in values.values() if type(v) is tuple for e in v):
            raise damaged(text)
        return made

    def text(self) -> str:
        """As it is stored."""
        return orjson.dumps(asdict(self)).decode()


def damaged(text: str) -> Unreadable:
    """What is raised for a text that is no cursor."""
    return Unreadable(f"the stored cursor is damaged: {text[:80]!r}")
