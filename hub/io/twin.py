"""The plain dict twin of the store: the same answers and the same refusals, without a file.

Tests and the simulation run on it; one suite (tests/io/test_rows.py) runs on it and on the real
stores. It keeps rows as they would be stored, so nothing is shared with a caller, and undoes a
transaction from a journal. One thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from hub.io.rows import Conflict, Refused, Row, Rows, StoreFull
from hub.io.shapes import SHAPES, Shape, Stored, Term, check_limit, shape_of, sort_stored

T = TypeVar("T")
Undo = Callable[[], None]

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda have, want: have == want,
    "in": lambda have, want: have in want,
    "lt": lambda have, want: have < want,
    "le": lambda have, want: have <= want,
    "gt": lambda have, want: have > want,
    "ge": lambda have, want: have >= want,
}


class Table:
    """One table's rows by primary key, and for each index the keys by its first column."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.rows: dict[Stored, Stored] = {}
        self.last = 0
        firsts = {places[0] for places in shape.indexes}
        self.by: dict[int, dict[Any, dict[Stored, None]]] = {at: {} for at in firsts}

    def put(self, stored: Stored) -> None:
        """Add or replace a row."""
        key = self.shape.key_of(stored)
        if key in self.rows:
            self.cut(key)
        self.rows[key] = stored
        for at, found in self.by.items():
            found.setdefault(stored[at], {})[key] = None

    def cut(self, key: Stored) -> None:
        """Remove a row."""
        stored = self.rows.pop(key)
        for at, found in self.by.items():
            keys = found[stored[at]]
            del keys[key]
            if not keys:
                del found[stored[at]]

    def near(self, terms: Sequence[Term]) -> Iterable[Stored]:
        """Rows that may match: through the index that leaves fewest, else all of them."""
        exact = {at: value for at, op, value in terms if op == "eq"}
        if all(at in exact for at in self.shape.key):
            stored = self.rows.get(tuple(exact[at] for at in self.shape.key))
            return () if stored is None else (stored,)
        best: list[Stored] | None = None
        for at, op, value in terms:
            if at in self.by and op in ("eq", "in"):
                wanted = value if op == "in" else (value,)
                keys = [k for one in wanted for k in self.by[at].get(one, ())]
                if best is None or len(keys) < len(best):
                    best = keys
        return list(self.rows.values()) if best is None else [self.rows[k] for k in best]


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


class DictRows:
    """One open transaction on the twin."""

    def __init__(self, tables: Mapping[str, Table], *, writes: bool) -> None:
        self._tables = tables
        self._writes = writes
        self.journal: list[Undo] = []
        self.open = True

    def _table(self, name: str, *, write: bool = False) -> Table:
        if not self.open:
            raise RuntimeError("this transaction is over")
        if write and not self._writes:
            raise Refused(f"{name}: a view does not write")
        shape_of(name)
        return self._tables[name]

    def insert(self, table: str, row: Row) -> Row:
        """See `Rows`."""
        held = self._table(table, write=True)
        stored = held.shape.bind(row)
        if held.shape.generated is not None and stored[held.shape.generated] is None:
            held.last += 1
            at = held.shape.generated
            stored = (*stored[:at], held.last, *stored[at + 1 :])
        self._check_free(held, stored, ())
        self._put(held, stored)
        return held.shape.row(stored)

    def insert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""
        self._all_or_none(lambda: [self.insert(table, row) for row in rows])

    def upsert(self, table: str, row: Row) -> None:
        """See `Rows`."""
        held = self._table(table, write=True)
        stored = held.shape.bind(row)
        self._check_free(held, stored, held.shape.key_of(stored))
        self._put(held, stored)

    def upsert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""

        def put() -> None:
            for row in rows:
                self.upsert(table, row)

        self._all_or_none(put)

    def _all_or_none(self, work: Callable[[], object]) -> None:
        mark = len(self.journal)
        try:
            work()
        except (Conflict, Refused):
            self.undo(mark)
            raise

    def undo(self, mark: int = 0) -> None:
        """Take back everything since a mark."""
        while len(self.journal) > mark:
            self.journal.pop()()

    def _check_free(self, held: Table, stored: Stored, own: Stored) -> None:
        shape = held.shape
        key = shape.key_of(stored)
        if key in held.rows and key != own:
            raise Conflict(shape.name, f"a row with this {shape.said(shape.key)} exists")
        for places in shape.uniques:
            for other in held.near([(at, "eq", stored[at]) for at in places]):
                same = all(other[at] == stored[at] is not None for at in places)
                if same and shape.key_of(other) != key:
                    raise Conflict(shape.name, f"a row with this {shape.said(places)} exists")

    def _put(self, held: Table, stored: Stored) -> None:
        key = held.shape.key_of(stored)
        before = held.rows.get(key)
        self.journal.append(
            (lambda: held.cut(key)) if before is None else (lambda: held.put(before))
        )
        held.put(stored)

    def _found(self, held: Table, where: Mapping[str, Any] | None) -> list[Stored]:
        terms = held.shape.terms(where)
        return [stored for stored in held.near(terms) if matches(stored, terms)]

    def update(self, table: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        """See `Rows`."""
        held = self._table(table, write=True)
        bound = dict(held.shape.bind_changes(changes))
        found = self._found(held, where)
        mark = len(self.journal)
        try:
            for stored in found:
                changed = tuple(bound.get(at, old) for at, old in enumerate(stored))
                self._check_free(held, changed, held.shape.key_of(changed))
                self._put(held, changed)
        except Conflict:
            self.undo(mark)
            raise
        return len(found)

    def delete(self, table: str, where: Mapping[str, Any]) -> int:
        """See `Rows`."""
        held = self._table(table, write=True)
        found = self._found(held, where)
        for stored in found:
            held.cut(held.shape.key_of(stored))
            self.journal.append(partial(held.put, stored))
        return len(found)

    def get(self, table: str, /, **key: Any) -> Row | None:
        """See `Rows`."""
        held = self._table(table)
        held.shape.whole_key(key)
        found = self._found(held, key)
        return held.shape.row(found[0]) if found else None

    def select(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[Row]:
        """See `Rows`."""
        check_limit(limit)
        held = self._table(table)
        found = self._found(held, where)
        sort_stored(found, held.shape.sorts(order))
        return [held.shape.row(stored) for stored in found[:limit]]

    def count(self, table: str, where: Mapping[str, Any] | None = None) -> int:
        """See `Rows`."""
        return len(self._found(self._table(table), where))


class DictStore:
    """`Store` without a disk. `fail_next` makes the next commit fail, as disks do."""

    def __init__(self) -> None:
        self._tables = {name: Table(shape) for name, shape in SHAPES.items()}
        self._failing = ""
        self._busy = False

    def fail_next(self, kind: str) -> None:
        """The next commit keeps nothing and raises StoreFull; `kind` is told."""
        self._failing = kind

    def transact(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        rows = self._begin(writes=True)
        try:
            result = work(rows)
            self._commit()
        except BaseException:
            rows.undo()
            raise
        finally:
            self._end(rows)
        return result

    def view(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        rows = self._begin(writes=False)
        try:
            return work(rows)
        finally:
            self._end(rows)

    def _begin(self, *, writes: bool) -> DictRows:
        if self._busy:
            raise RuntimeError("a transaction is open already")
        self._busy = True
        return DictRows(self._tables, writes=writes)

    def _end(self, rows: DictRows) -> None:
        rows.open = self._busy = False

    def _commit(self) -> None:
        failing, self._failing = self._failing, ""
        if failing:
            raise StoreFull(failing)

    def close(self) -> None:
        """Nothing to let go of."""
