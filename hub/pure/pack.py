"""Model values to packed JSON and back. Unpacking checks every type: stored bytes are hostile too.

What equals its default is left out. Raises ValueError where bytes are not what they should be.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from hub.pure.model import KINDS, Body

T = TypeVar("T")
_ENCODER = msgspec.json.Encoder()
_NAMES = {cls: name for name, cls in KINDS.items()}


@cache
def _decoder(cls: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cls)


def pack(value: msgspec.Struct) -> bytes:
    """A model value as JSON."""
    return _ENCODER.encode(value)


def unpack(cls: type[T], packed: bytes) -> T:
    """JSON back as a model value."""
    try:
        found: T = _decoder(cast("Hashable", cls)).decode(packed)
    except msgspec.DecodeError as error:
        message = f"these bytes are no {cls.__name__}: {error}"
        raise ValueError(message) from error
    return found


def kind_of(body: Body) -> str:
    """The name under which a body is stored."""
    return _NAMES[type(body)]


def unpack_body(kind: str, packed: bytes) -> Body:
    """A stored body; raises ValueError for an unknown kind."""
    if kind not in KINDS:
        message = f"unknown kind of input {kind!r}; known: {', '.join(KINDS)}"
        raise ValueError(message)
    body: Body = unpack(KINDS[kind], packed)
    return body
