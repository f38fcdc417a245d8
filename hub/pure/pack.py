"""Model values to plain JSON and back. Unpacking checks every type: stored bytes are hostile too.

Raises `pydantic.ValidationError` (a ValueError) where a document is not what it says it is.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter

from hub.pure.model import KINDS, Body

T = TypeVar("T")


@cache
def _adapter(cls: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("type[Any]", cls))


def pack(value: Any) -> Any:
    """A model value as JSON; what equals its default is left out."""
    return _adapter(cast("Hashable", type(value))).dump_python(
        value, mode="json", exclude_defaults=True
    )


def unpack(cls: type[T], doc: Any) -> T:
    """JSON back as a model value."""
    found: T = _adapter(cast("Hashable", cls)).validate_python(doc, strict=False)
    return found


def kind_of(body: Body) -> str:
    """The name under which a body is stored."""
    return next(name for name, cls in KINDS.items() if isinstance(body, cls))


def unpack_body(kind: str, doc: Any) -> Body:
    """A stored body; raises ValueError for an unknown kind."""
    if kind not in KINDS:
        message = f"unknown kind of input {kind!r}; known: {', '.join(KINDS)}"
        raise ValueError(message)
    body: Body = unpack(KINDS[kind], doc)
    return body
