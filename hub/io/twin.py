"""The plain dict twin of the store: the same answers and the same refusals, without a file.

Tests and the simulation run on it; one suite (tests/io/test_rows.py) runs on it and on the real
stores. It keeps rows as they would be stored, so nothing is shared with a caller, and undoes a
transaction from a journal. One thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import product, takewhile
from math import prod
from typing import Any, TypeVar

from hub.io.rows import Again, Alone, Conflict, Refused, Row, Rows, StoreFull
from hub.io.shapes import SHAPES, Shape, Stored, Term, check_limit, picker, shape_of
from hub.io.tables import Uid

T = TypeVar("T")
Undo = Callable[[], object]

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda have, want: have == want,
    "in": lambda have, want: have in want,
    "lt": lambda have, want: have < want,
    "le": lambda have, want: have <= want,
    "gt": lambda have, want: have > want,
    "ge": lambda have, want: have >= want,
}


class Index:
    """The keys of a table's rows by some of their columns."""

    def __init__(self, places: Sequence[int]) -> None:
        """`places` of the columns."""
        self.pick = picker(places)
        self.keys: dict[Stored, dict[Stored, None]] = {}

    def add(self, key: Stored, stored: Stored) -> None:
        """A row is there."""
        self.keys.setdefault(self.pick(stored), {})[key] = None

    def drop(self, key: Stored, stored: Stored) -> None:
        """A row is gone."""
        values = self.pick(stored)
        found = self.keys[values]
        del found[key]
        if not found:
            del self.keys[values]

    def change(self, key: Stored, before: Stored, after: Stored) -> None:
        """A row has other values."""
        if self.pick(before) != self.pick(after):
            self.drop(key, before)
            self.add(key, after)


class Table:
    """One table's rows by primary key, with the indexes that somebody has needed so far."""

    def __init__(self, shape: Shape) -> None:
        """Empty."""
        self.shape = shape
        self.rows: dict[Stored, Stored] = {}
        self.last = 0
        self._indexes: dict[tuple[int, ...], Index] = {}
        self._prefixes: dict[tuple[int, ...], list[tuple[int, ...]]] = {}

    def put(self, stored: Stored) -> Stored | None:
        """Add or replace a row; returns the one before."""
        key = self.shape.key_of(stored)
        before = self.rows.get(key)
        self.rows[key] = stored
        for index in self._indexes.values():
            if before is None:
                index.add(key, stored)
            else:
                index.change(key, before, stored)
        return before

    def cut(self, key: Stored) -> None:
        """Remove a row."""
        stored = self.rows.pop(key)
        for index in self._indexes.values():
            index.drop(key, stored)

    def index(self, places: tuple[int, ...]) -> Index:
        """The index on these columns, built when first asked for."""
        if places not in self._indexes:
            made = self._indexes[places] = Index(places)
            for key, stored in self.rows.items():
                made.add(key, stored)
        return self._indexes[places]

    def near(self, terms: Sequence[Term]) -> list[Stored]:
        """Rows that may match: through the index that leaves fewest, else all of them."""
        exact = {at: _wanted(op, value) for at, op, value in terms if op in {"eq", "in"}}
        best: Iterable[Stored] = self.rows
        fewest = len(self.rows)
        for places in self._usable(tuple(exact)):
            found = self._through(places, [exact[at] for at in places], fewest)
            if found is not None:
                best, fewest = found, len(found)
        return [self.rows[key] for key in best]

    def _usable(self, exact: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The longest prefix of each declared index that these columns cover."""
        if exact not in self._prefixes:
            covered = (_covered(places, exact) for places in self.shape.indexes)
            self._prefixes[exact] = [places for places in dict.fromkeys(covered) if places]
        return self._prefixes[exact]

    def _through(
        self, places: tuple[int, ...], wanted: Sequence[Stored], fewest: int
    ) -> list[Stored] | None:
        """Keys with any of the wanted values, None where they are not fewer."""
        if prod(map(len, wanted)) > fewest:
            return None
        if places == self.shape.key:
            found = [key for key in product(*wanted) if key in self.rows]
        else:
            keys = self.index(places).keys
            found = [key for values in product(*wanted) for key in keys.get(values, ())]
        return found if len(found) < fewest else None


def _wanted(op: str, value: Any) -> Stored:
    return tuple(value) if op == "in" else (value,)


def _covered(places: tuple[int, ...], exact: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(takewhile(exact.__contains__, places))


def matches(stored: Stored, terms: Sequence[Term]) -> bool:
    """Whether every condition is true of a stored row."""
    for at, op, want in terms:
        have = stored[at]
        if op == "null":
            good = have is None
        elif op == "any":
            good = have is not None
        elif op == "ne":
            good = have != want
        else:
            good = have is not None and _COMPARE[op](have, want)
        if not good:
            return False
    return True


@cache
def key_plan(table: str, names: tuple[str, ...]) -> tuple[Shape, tuple[int, ...], list[int]]:
    """Shape, places as named, and how they make the primary key (nothing: a unique one)."""
    shape = shape_of(table)
    whole = shape.whole_key(dict.fromkeys(names))
    places = shape.places(names)
    return shape, places, [places.index(at) for at in whole] if whole == shape.key else []


class DictRows(Alone):
    """One open transaction on the twin."""

    def __init__(
        self,
        tables: Mapping[str, Table],
        *,
        writes: bool,
        full: StoreFull | None = None,
        held: Iterable[bytes] = (),
        contended: Callable[[], bool] = bool,
    ) -> None:
        """`full` is raised by the first write. `held`: records that are held from the start."""
        self._tables = tables
        self._writes = writes
        self._full = full
        self.held = set(held)
        self._contended = contended
        self._journal: list[Undo] = []
        self.open = True
        self.broken: StoreFull | None = None

    def _table(self, name: str) -> Table:
        if not self.open:
            raise RuntimeError("this transaction is over")
        if self.broken is not None:
            raise self.broken
        shape_of(name)
        return self._tables[name]

    def _writable(self, name: str) -> Table:
        held = self._table(name)
        if not self._writes:
            raise Refused(f"{name}: a view does not write")
        if self._full is not None:
            self.broken = self._full
            raise self._full
        return held

    def lock(self, uids: Iterable[str]) -> bool:
        """See `Rows`."""
        self._writable("record")
        fresh = set(map(Uid.put, uids)) - self.held
        self.held |= fresh
        if fresh and self._contended():
            raise Again
        return False

    def add(self, table: str, key: Row, column: str, n: int) -> None:
        """See `Rows`."""
        row = self.get(table, **key)
        self.upsert(table, {**key, column: n + (row[column] if row else 0)})

    def insert(self, table: str, row: Row) -> Row:
        """See `Rows`."""
        held = self._writable(table)
        shape, stored = held.shape, held.shape.bind(row)
        if table == "record":
            self.held.add(shape.key_of(stored)[0])  # nobody else knows of it
        if shape.generated is not None and stored[shape.generated] is None:
            stored = (*stored[: shape.generated], held.last + 1, *stored[shape.generated + 1 :])
        if shape.key_of(stored) in held.rows:
            raise Conflict(table, f"a row with this {shape.said(shape.key)} exists")
        self._put(held, stored)
        return shape.given(row, stored, None)

    def insert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""
        self._writable(table)
        self._all_or_none(lambda: [self.insert(table, row) for row in rows])

    def upsert(self, table: str, row: Row) -> None:
        """See `Rows`."""
        held = self._writable(table)
        self._put(held, held.shape.bind_whole(row))

    def upsert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""
        held = self._writable(table)
        self._put_all(held, [held.shape.bind_whole(row) for row in rows])

    def _put_all(self, held: Table, rows: Iterable[Stored]) -> None:
        def put() -> None:
            for stored in rows:
                self._put(held, stored)

        self._all_or_none(put)

    def _all_or_none(self, work: Callable[[], object]) -> None:
        mark = len(self._journal)
        try:
            work()
        except BaseException:
            self.undo(mark)
            raise

    def undo(self, mark: int = 0) -> None:
        """Take back everything since a mark."""
        while len(self._journal) > mark:
            self._journal.pop()()

    def _put(self, held: Table, stored: Stored) -> None:
        shape = held.shape
        shape.check_held([stored], self.held)
        for places in shape.uniques:
            self._check_free(held, places, stored)
        before = held.put(stored)
        if before is None:
            self._journal.append(partial(held.cut, shape.key_of(stored)))
        else:
            self._journal.append(partial(held.put, before))
        if shape.generated is not None:
            self._journal.append(partial(setattr, held, "last", held.last))
            held.last = max(held.last, stored[shape.generated])

    def _check_free(self, held: Table, places: tuple[int, ...], stored: Stored) -> None:
        index = held.index(places)
        values = index.pick(stored)
        others = index.keys.get(values, {}).keys() - {held.shape.key_of(stored)}
        if others and None not in values:
            raise Conflict(held.shape.name, f"a row with this {held.shape.said(places)} exists")

    def _found(self, held: Table, where: Mapping[str, Any] | None) -> list[Stored]:
        terms = held.shape.terms(where)
        return [stored for stored in held.near(terms) if matches(stored, terms)]

    def update(self, table: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        """See `Rows`."""
        held = self._writable(table)
        bound = dict(zip(*held.shape.bind_changes(changes), strict=True))
        held.shape.check_named(held.shape.terms(where), self.held)
        found = self._found(held, where)
        self._put_all(held, [_changed(old, bound) for old in found])
        return len(found)

    def update_many(self, table: str, rows: Iterable[Row]) -> int:
        """See `Rows`."""
        held = self._writable(table)
        places, stored = held.shape.bind_updates(rows)
        known = [(key, values) for key, values in stored if key in held.rows]

        def put() -> None:
            for key, values in known:
                changes = dict(zip(places, values, strict=True))
                self._put(held, _changed(held.rows[key], changes))

        self._all_or_none(put)
        return len(known)

    def delete(self, table: str, where: Mapping[str, Any]) -> int:
        """See `Rows`."""
        held = self._writable(table)
        held.shape.check_named(held.shape.terms(where), self.held)
        found = self._found(held, where)
        for stored in found:
            held.cut(held.shape.key_of(stored))
            self._journal.append(partial(held.put, stored))
        return len(found)

    def get(self, table: str, /, **key: Any) -> Row | None:
        """See `Rows`."""
        held = self._table(table)
        shape, places, primary = key_plan(table, tuple(key))
        values = list(map(shape.bind_one, places, key.values()))
        if primary:
            stored = held.rows.get(tuple([values[n] for n in primary]))
        else:
            found = self._found(held, key)
            stored = found[0] if found else None
        return shape.whole.rows([stored])[0] if stored else None

    def select(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
        only: Sequence[str] = (),
        *,
        keep: bool = False,
    ) -> list[Row]:
        """See `Rows`."""
        held = self._writable(table) if keep else self._table(table)
        check_limit(limit)
        reading = held.shape.reading(order, only)
        found = self._found(held, where)
        held.shape.sort(found, reading.sorts)
        return reading.rows(found[:limit])

    def count(
        self, table: str, where: Mapping[str, Any] | None = None, most: int | None = None
    ) -> int:
        """See `Rows`."""
        check_limit(most)
        return len(self._found(self._table(table), where)[:most])


def _changed(stored: Stored, changes: Mapping[int, Any]) -> Stored:
    return tuple([changes.get(at, old) for at, old in enumerate(stored)])


class DictStore:
    """`Store` without a disk. `fail_next` makes the next transaction fail, as disks do."""

    def __init__(self, contended: Callable[[], bool] = bool) -> None:
        """Empty tables. `contended` says whether somebody else holds what is to be locked."""
        self._contended = contended
        self._tables = {name: Table(shape) for name, shape in SHAPES.items()}
        self._failing = ""
        self._busy = False

    def fail_next(self, kind: str) -> None:
        """The next transaction keeps nothing and raises StoreFull, which tells `kind`.

        "full" meets its first write, anything else ("lost", "io") its commit; "" takes it back.
        """
        self._failing = kind

    def transact(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        kind, self._failing = self._failing, ""
        failure = StoreFull(kind) if kind else None
        held: set[bytes] = set()
        while True:
            rows = self._begin(writes=True, full=failure if kind == "full" else None, held=held)
            try:
                result = work(rows)
            except Again:
                rows.undo()
                held = rows.held
                continue
            except BaseException:
                rows.undo()
                raise
            finally:
                self._end(rows)
            if failure is not None:
                rows.undo()
                raise failure
            return result

    def view(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        rows = self._begin(writes=False)
        try:
            return work(rows)
        finally:
            self._end(rows)

    def _begin(
        self, *, writes: bool, full: StoreFull | None = None, held: Iterable[bytes] = ()
    ) -> DictRows:
        if self._busy:
            raise RuntimeError("a transaction is open already")
        self._busy = True
        return DictRows(
            self._tables, writes=writes, full=full, held=held, contended=self._contended
        )

    def _end(self, rows: DictRows) -> None:
        rows.open = self._busy = False

    def close(self) -> None:
        """Nothing to let go of."""
