"""The published rules and the tools' abilities, as the pure core sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from hub.pure.model import Value, field_of, key_of

Strategy = Literal["authority", "newest", "union", "consent"]


@dataclass(frozen=True, slots=True)
class FieldRule:
    """How one field is decided. `ranks`: systems, the highest authority first.

    `identifier`: equal values of it make two records one customer.
    """

    name: str
    kind: str
    strategy: Strategy = "newest"
    ranks: tuple[str, ...] = ()
    identifier: bool = False

    def rank(self, system: str) -> int:
        """0 is the highest; systems that are not listed share the lowest."""
        return self.ranks.index(system) if system in self.ranks else len(self.ranks)


@dataclass(frozen=True)
class Rules:
    """One published version of `rules.yaml`. `region`: ISO country for numbers without prefix.

    `crowd`: what so many records share, and more, asks nobody whether they are one customer.
    """

    version: int
    entities: Mapping[str, Mapping[str, FieldRule]]
    role_mailboxes: frozenset[str] = frozenset()
    placeholders: frozenset[str] = frozenset()
    region: str = "US"
    crowd: int = 20

    @cached_property
    def references(self) -> Mapping[str, tuple[str, ...]]:
        """The fields of each entity that are associations."""
        return {
            entity: tuple(f.name for f in fields.values() if f.kind == "reference")
            for entity, fields in self.entities.items()
        }

    def of(self, entity: str, cell: str) -> FieldRule | None:
        """The rule for a cell, None for a field that no rule knows."""
        return self.entities.get(entity, {}).get(field_of(cell))


class Lens(Protocol):
    """One field of a tool: see connectors/_kit/fieldmap.py for the laws."""

    @property
    def kind(self) -> str:
        """The shape of its values."""

    @property
    def lossless(self) -> bool:
        """Whether the tool can hold every value as it is."""

    @property
    def writable(self) -> bool:
        """Whether the hub may write it."""

    @property
    def room(self) -> Callable[[str], bool]:
        """Whether the tool has a place for an element of a set, or a consent, by its key."""

    def normal(self, value: Value) -> Value:
        """The form in which the tool can hold a value."""

    def put(self, base: Value, seen: Value) -> Value:
        """What is meant by what is seen where our copy of `base` was."""


@dataclass(frozen=True)
class Tool:
    """What the core must know of one object in one system. Times in ms.

    `unique`: fields that the tool keeps unique. `required`: those that no record of it is without.
    `create`: which golden records it wants a record of. `widens`: it may be told of an opt-in that
    is proven. `writes`: whether anything of it can be written.
    """

    system: str
    entity: str
    object: str
    fields: Mapping[str, Lens]
    revisions: bool = False
    conditional: bool = False
    lag_ms: int = 0
    settle_ms: int = 0
    unique: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    create: Literal["all", "linked", "never"] = "all"
    widens: bool = False
    writes: bool = True

    @property
    def lags(self) -> bool:
        """Whether a reading may show an older state, and no revision tells which is newer."""
        return self.lag_ms > 0 and not self.revisions

    def holds(self, cell: str) -> bool:
        """Whether the tool has a place for this cell: a whole set's elements, or one slot."""
        name, key = field_of(cell), key_of(cell)
        if name in self.links:
            return bool(key)
        lens = self.fields.get(name)
        if lens is None or bool(key) != (lens.kind in ("set", "consent")):
            return False
        return not key or lens.room(key)

    def writable(self, cell: str) -> bool:
        """Whether the hub may write it here."""
        name = field_of(cell)
        known = name in self.links or (name in self.fields and self.fields[name].writable)
        return self.writes and known

    def normal(self, cell: str, value: Value) -> Value:
        """The form in which the tool can hold this value."""
        if key_of(cell) or value is None:
            return value
        return self.fields[cell].normal(value)

    def lift(self, cell: str, base: Value, seen: Value) -> Value:
        """What a person meant whose edit started from our copy `base`."""
        return seen if key_of(cell) else self.fields[cell].put(base, seen)


Tools = Mapping[tuple[str, str], Tool]  # (system, object) to tool
