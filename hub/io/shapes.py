"""What a table asks of its rows and conditions, read once from METADATA for all stores.

A store keeps *stored* values (a `Uid` as 16 bytes, a `Doc` packed); callers see Python values. Both
stores bind through the same column types here, so that both refuse the same things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, partial
from operator import itemgetter
from typing import Any, cast

import sqlalchemy as sa

from hub.io.rows import Cond, Refused, Row
from hub.io.tables import METADATA, Kind, Uid, uid_text

Stored = tuple[Any, ...]
Term = tuple[int, str, Any]  # column's place, operation ("eq", "null" or a Cond's), stored value
Sort = tuple[int, bool]  # column's place, descending

_WRONG = (TypeError, ValueError, AttributeError)


class Shape:
    """One table: names, keys, and the way of each value in and out."""

    def __init__(self, table: sa.Table) -> None:
        """Read all of it from the table."""
        columns = list(table.columns)
        self.table = table
        self.name = table.name
        self.names = tuple(column.name for column in columns)
        self.place = {name: at for at, name in enumerate(self.names)}
        self.key = tuple(self.place[column.name] for column in table.primary_key)
        self.key_of = picker(self.key)
        self.puts = tuple(_put(column) for column in columns)
        self.gets = tuple(
            (column.name, get) for column in columns if (get := _get(column)) is not None
        )
        self.owners = tuple(self.place[name] for name in table.info["of"])
        self.is_uid = tuple(isinstance(column.type, Uid) for column in columns)
        self.nullable = tuple(bool(column.nullable) for column in columns)
        self.generated = next((at for at, c in enumerate(columns) if _counts_up(c)), None)
        self._readings: dict[tuple[tuple[str, ...], tuple[str, ...]], Reading] = {}
        self._changes: dict[tuple[str, ...], tuple[int, ...]] = {}
        self._defaults = tuple(_default(column) for column in columns)
        self._steps = tuple(
            zip(self.names, self.puts, self._defaults, self._may_miss(), strict=True)
        )

    def _may_miss(self) -> list[bool]:
        return [may or at == self.generated for at, may in enumerate(self.nullable)]

    @cached_property
    def whole(self) -> Reading:
        """All columns are read."""
        return self.reading((), ())

    @cached_property
    def uniques(self) -> tuple[tuple[int, ...], ...]:
        """The places of each unique constraint beside the primary key."""
        found = [c for c in self.table.constraints if isinstance(c, sa.UniqueConstraint)]
        return tuple(sorted(self.places(column.name for column in c.columns) for c in found))

    @cached_property
    def in_uniques(self) -> frozenset[int]:
        """The places that a change of may meet another row there."""
        return frozenset(at for places in self.uniques for at in places)

    @cached_property
    def indexes(self) -> tuple[tuple[int, ...], ...]:
        """The places of the primary key, the unique constraints and the declared indexes."""
        named = [self.places(c.name for c in index.columns) for index in self.table.indexes]
        return (self.key, *self.uniques, *sorted(named))

    def places(self, names: Iterable[str]) -> tuple[int, ...]:
        """The places of these columns; raises Refused for an unknown one."""
        try:
            return tuple([self.place[name] for name in names])
        except KeyError as unknown:
            raise Refused(f"{self.name} has no column {unknown}") from None

    def bind(self, row: Mapping[str, Any]) -> Stored:
        """A row as it is stored, defaults filled in; the generated key may be None."""
        if not row.keys() <= self.place.keys():
            raise Refused(f"{self.name} has no column {sorted(row.keys() - self.place.keys())}")
        stored = []
        name = ""
        try:
            for name, put, default, may_miss in self._steps:
                value = row.get(name, default)
                if value is not None:
                    value = put(value)
                elif not may_miss:
                    raise ValueError("null where a value must be")
                stored.append(value)
        except _WRONG as why:
            raise Refused(f"{self.name}.{name}: {why}") from why
        return tuple(stored)

    def bind_whole(self, row: Mapping[str, Any]) -> Stored:
        """A row as it is stored, its generated key included."""
        stored = self.bind(row)
        if self.generated is not None and stored[self.generated] is None:
            raise Refused(f"{self.name}: only an insert makes a key")
        return stored

    def bind_one(self, place: int, value: Any) -> Any:
        """One value of a condition as it is stored; it must not be None."""
        if value is None:
            raise Refused(f"{self.name}.{self.names[place]}: no comparison with null")
        try:
            return self.puts[place](value)
        except _WRONG as why:
            raise Refused(f"{self.name}.{self.names[place]}: {why}") from why

    def bind_each(self, place: int, values: Sequence[Any]) -> Stored:
        """Several values of a condition, each once; none may be None."""
        if None in values:
            self.bind_one(place, None)
        try:
            return tuple(dict.fromkeys(map(self.puts[place], values)))
        except _WRONG as why:
            raise Refused(f"{self.name}.{self.names[place]}: {why}") from why

    def bind_changes(self, changes: Mapping[str, Any]) -> tuple[tuple[int, ...], list[Any]]:
        """The places of the changed columns, in the table's order, and their values as stored."""
        names = tuple(changes)
        places = self._changes.get(names)
        if places is None:
            places = self._changes[names] = self._changeable(names)
        return places, [self._changed(at, changes[self.names[at]]) for at in places]

    def _changeable(self, names: tuple[str, ...]) -> tuple[int, ...]:
        places = self.places(names)
        if not places:
            raise Refused(f"{self.name}: no changes given")
        if not set(places).isdisjoint(self.key):
            raise Refused(f"{self.name}: a primary key never changes; delete and insert")
        return tuple(sorted(places))

    def bind_updates(
        self, rows: Iterable[Mapping[str, Any]]
    ) -> tuple[tuple[int, ...], list[tuple[Stored, Stored]]]:
        """The places of the changed columns, and of each row its key and its new values."""
        given = list(rows)
        names = frozenset(given[0] if given else self.names)
        keys = [self.names[at] for at in self.key]
        places = tuple([at for at in sorted(self.places(names)) if at not in self.key])
        if not places or not names >= set(keys):
            raise Refused(f"{self.name}: {sorted(names)} is not a key with changes beside it")
        return places, [self._update(row, names, places) for row in given]

    def _update(
        self, row: Mapping[str, Any], names: frozenset[str], places: tuple[int, ...]
    ) -> tuple[Stored, Stored]:
        if row.keys() != names:
            raise Refused(f"{self.name}: {sorted(row)} in one call with {sorted(names)}")
        key = tuple([self.bind_one(at, row[self.names[at]]) for at in self.key])
        return key, tuple([self._changed(at, row[self.names[at]]) for at in places])

    def _changed(self, place: int, value: Any) -> Any:
        if value is None and self.nullable[place]:
            return None
        return self.bind_one(place, value)

    def whole_key(self, key: Mapping[str, Any]) -> tuple[int, ...]:
        """The key that these columns are; raises Refused where they are none."""
        places = self.places(key)
        for candidate in (self.key, *self.uniques):
            if len(places) == len(candidate) and set(places) == set(candidate):
                return candidate
        raise Refused(f"{self.name}: {sorted(key)} is no primary or unique key")

    def terms(self, where: Mapping[str, Any] | None) -> tuple[Term, ...]:
        """The conditions, checked and stored, in the order given."""
        if not where:
            return ()
        return tuple(map(self._term, self.places(where), where.values()))

    def _term(self, at: int, value: Any) -> Term:
        if value is None:
            return at, "null", None
        if not isinstance(value, Cond):
            return at, "eq", self.bind_one(at, value)
        if value.op == "in":
            return at, "in", self.bind_each(at, value.value)
        if value.op == "ne" and value.value is None:
            return at, "any", None
        return at, value.op, self.bind_one(at, value.value)

    def reading(self, order: Sequence[str], only: Sequence[str]) -> Reading:
        """What is read in this order: all columns, or only these. Raises Refused for others."""
        asked = tuple(order), tuple(only)
        found = self._readings.get(asked)
        if found is None:
            found = self._readings[asked] = Reading(self, *asked)
        return found

    def sort(self, found: list[Stored], sorts: Iterable[Sort]) -> None:
        """Put stored rows in this order, as a database would: null before every value."""
        if len(found) > 1:
            for at, down in reversed(tuple(sorts)):
                key = partial(_null_first, at) if self.nullable[at] else itemgetter(at)
                found.sort(key=key, reverse=down)

    def check_held(self, rows: Iterable[Stored], held: AbstractSet[bytes]) -> None:
        """Raises Refused unless every record that these rows belong to is held."""
        found = list(rows)
        for at in self.owners:
            self.check_owner({row[at] for row in found}, held)

    def check_owner(self, uids: AbstractSet[bytes], held: AbstractSet[bytes]) -> None:
        """The same for the records themselves."""
        if free := uids - held:
            raise Refused(f"{self.name}: {uid_text(min(free))} is written without being held")

    def check_named(self, terms: Iterable[Term], held: AbstractSet[bytes]) -> None:
        """The same for the rows that match: the conditions have to name their records."""
        for owner in self.owners:
            named = [(op, value) for at, op, value in terms if at == owner and op in {"eq", "in"}]
            if not named:
                raise Refused(f"{self.name}: rows are written without naming their records")
            op, value = named[0]
            self.check_owner(set(value if op == "in" else (value,)), held)

    def given(self, row: Mapping[str, Any], stored: Stored, generated: Any) -> Row:
        """What an insert returns: the row as given, with defaults and the generated key."""
        full = {name: row.get(name, default) for name, _, default, _ in self._steps}
        if self.generated is not None:
            at = self.generated
            full[self.names[at]] = generated if stored[at] is None else stored[at]
        return full

    def said(self, places: Iterable[int]) -> str:
        """Column names for a message."""
        return ", ".join(self.names[at] for at in places)


class Reading:
    """How rows of a table are read in one order, with all columns or only some."""

    def __init__(self, shape: Shape, order: tuple[str, ...], only: tuple[str, ...]) -> None:
        """Raises Refused for an unknown column. Equal rows come by primary key."""
        asked = shape.places(name.removeprefix("-") for name in order)
        downs = [name.startswith("-") for name in order]
        rest = [(at, False) for at in shape.key if at not in asked]
        self.shape = shape
        self.sorts: tuple[Sort, ...] = (*zip(asked, downs, strict=True), *rest)
        self.names = only or shape.names
        self.places = shape.places(self.names)
        self._pick = picker(self.places) if only else tuple
        self._gets = [(name, get) for name, get in shape.gets if name in self.names]

    def rows(self, found: Iterable[Stored]) -> list[Row]:
        """Stored rows as callers see them; nothing of them is shared with the store."""
        names, pick = self.names, self._pick
        rows = [dict(zip(names, pick(stored), strict=True)) for stored in found]
        for name, get in self._gets:
            for row in rows:
                value = row[name]
                if value is not None:
                    row[name] = get(value)
        return rows


def picker(places: Sequence[int]) -> Callable[[Stored], Stored]:
    """What takes these places out of a stored row, as a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    place = places[0]
    return lambda stored: (stored[place],)


def check_limit(limit: int | None) -> None:
    """Raises Refused for a limit below zero, or beyond what a database counts."""
    if limit is not None and not 0 <= limit < 2**63:
        raise Refused(f"a limit of {limit}")


def shape_of(table: str) -> Shape:
    """The shape of this table; raises Refused where there is none."""
    try:
        return SHAPES[table]
    except KeyError:
        raise Refused(f"there is no table {table!r}") from None


def _null_first(at: int, stored: Stored) -> tuple[bool, Any]:
    return stored[at] is not None, stored[at]


def _put(column: sa.Column[Any]) -> Callable[[Any], Any]:
    return cast("Kind", column.type).put


def _get(column: sa.Column[Any]) -> Callable[[Any], Any] | None:
    return cast("Callable[[Any], Any] | None", cast("Kind", column.type).get)


def _default(column: sa.Column[Any]) -> Any:
    return column.default.arg if isinstance(column.default, sa.ColumnDefault) else None


def _counts_up(column: sa.Column[Any]) -> bool:
    return column.autoincrement is True


SHAPES = {name: Shape(table) for name, table in METADATA.tables.items()}
