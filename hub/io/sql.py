"""Rows in SQL: the text of each kind of call is compiled once, then goes straight to the driver.

SQLAlchemy writes the SQL, from the same tables for every database, and `Shape` has already checked
and packed the values; running the finished text by the driver's own cursor takes a fifth of the
time that SQLAlchemy's execution would. `SqlRows` is what both databases share; hub/io/sqlite.py
and hub/io/postgres.py run it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.sql.operators import custom_op

from hub.io.rows import Refused, Row, StoreFull
from hub.io.shapes import SHAPES, Reading, Shape, Stored, Term, check_limit, shape_of

T = TypeVar("T")
Mark = tuple[int, str, int]  # column's place, operation, how many values
Signature = tuple[Mark, ...]
VOID = {"null", "any"}  # operations without a value

# -- texts ---------------------------------------------------------------------------------------

Ends = Mapping[str, Callable[[sa.ColumnElement[Any], list[Any]], Any]]
_CLAUSES: Ends = {
    "eq": lambda column, values: column == values[0],
    "in": lambda column, values: column.in_(values),
    "lt": lambda column, values: column < values[0],
    "le": lambda column, values: column <= values[0],
    "gt": lambda column, values: column > values[0],
    "ge": lambda column, values: column >= values[0],
    "ne": lambda column, values: column.is_distinct_from(values[0]),
    "null": lambda column, _: column.is_(None),
    "any": lambda column, _: column.is_not(None),
}


@dataclass(frozen=True, eq=False)
class Lang:
    """A database's SQL: how statements are written out, and what it says in ways of its own.

    `insert` begins one with `on conflict`. `within`: the condition of an `in`. `nulls_last`: where
    nothing is said, null comes after every value. `misled`: its planner has to be kept from some
    indexes, see `_misleading`.
    """

    dialect: sa.Dialect
    insert: Callable[[sa.Table], Any]
    within: Callable[[sa.ColumnElement[Any], list[Any]], Any] = _CLAUSES["in"]
    nulls_last: bool = False
    misled: bool = False

    def text(self, statement: Any) -> str:
        """The finished SQL, its parameters in the order in which `asked` and its like give them."""
        return str(statement.compile(dialect=self.dialect))

    def clause(self, op: str, column: sa.ColumnElement[Any], values: list[Any]) -> Any:
        """One condition."""
        return self.within(column, values) if op == "in" else _CLAUSES[op](column, values)

    def sorted(self, shape: Shape, at: int, *, down: bool, null: bool) -> Any:
        """A column to order by; null before every value, where there may be a `null`."""
        column = shape.table.columns[shape.names[at]]
        way = column.desc() if down else column.asc()
        if not (null and self.nulls_last):
            return way
        return way.nulls_last() if down else way.nulls_first()


def _where(lang: Lang, shape: Shape, signature: Signature) -> list[Any]:
    found: list[Any] = []
    misleading = _misleading(shape, signature) if lang.misled else ()
    for at, op, count in signature:
        column = shape.table.c[shape.names[at]]
        values = [sa.bindparam(f"w{at}_{len(found)}_{n}", type_=column.type) for n in range(count)]
        found.append(lang.clause(op, _unindexed(column) if at in misleading else column, values))
    return found


def _misleading(shape: Shape, signature: Signature) -> set[int]:
    """Columns whose index is worse than the one of a uid that is named as well.

    Without statistics SQLite believes that few rows have one state, and fewer than many uids name.
    """
    exact = {at for at, op, _ in signature if op in {"eq", "in"} and shape.is_uid[at]}
    helpful = {at for places in shape.indexes if places[0] in exact for at in places}
    return {places[0] for places in shape.indexes} - helpful if helpful else set()


def _unindexed(column: sa.ColumnElement[Any]) -> sa.UnaryExpression[Any]:
    return sa.UnaryExpression(column, operator=custom_op("+"), type_=column.type)


@cache
def insert_text(lang: Lang, table: str, count: int) -> str:
    """Add so many rows."""
    return lang.text(_adding(lang, SHAPES[table], count))


@cache
def counted_text(lang: Lang, table: str, key: str) -> str:
    """Add a row, but leave its key to the database, which returns it."""
    shape = SHAPES[table]
    given = _given([name for name in shape.names if name != key], 0)
    return lang.text(lang.insert(shape.table).values(given).returning(shape.table.c[key]))


@cache
def upsert_text(lang: Lang, table: str, count: int) -> str:
    """Add so many rows, or replace those with their primary keys."""
    shape = SHAPES[table]
    return lang.text(replacing(shape, _adding(lang, shape, count)))


@cache
def sum_text(lang: Lang, table: str, column: str) -> str:
    """Add a row, or its column to that of the row with its primary key."""
    shape = SHAPES[table]
    keys = [shape.names[at] for at in shape.key]
    statement = lang.insert(shape.table).values(_given([*keys, column], 0))
    total = {column: shape.table.c[column] + statement.excluded[column]}
    return lang.text(statement.on_conflict_do_update(index_elements=keys, set_=total))


def replacing(shape: Shape, statement: Any) -> Any:
    """An insert that takes the place of the rows with the same primary keys."""
    keys = [shape.names[at] for at in shape.key]
    rest = [name for name in shape.names if name not in keys]
    if not rest:
        return statement.on_conflict_do_nothing(index_elements=keys)
    changed = {name: statement.excluded[name] for name in rest}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def _adding(lang: Lang, shape: Shape, count: int) -> Any:
    return lang.insert(shape.table).values([_given(shape.names, n) for n in range(count)])


def _given(names: Iterable[str], row: int) -> dict[str, Any]:
    return {name: sa.bindparam(f"v{row}_{name}") for name in names}


@cache
def select_text(
    lang: Lang, reading: Reading, signature: Signature, *, limited: bool, keep: bool = False
) -> str:
    """Read rows; the limit is the last parameter. Instead of a column not asked for, nulls come."""
    shape = reading.shape
    columns = list(shape.table.c)
    sure = {at for at, op, _ in signature if op not in {"null", "ne"}}
    order = [
        lang.sorted(shape, at, down=down, null=shape.nullable[at] and at not in sure)
        for at, down in reading.sorts
    ]
    needed = {*reading.places, *(at for at, _ in reading.sorts)}
    read = [c if at in needed else sa.null() for at, c in enumerate(columns)]
    statement = sa.select(*read).select_from(shape.table)
    statement = statement.where(*_where(lang, shape, signature)).order_by(*order)
    statement = _top(statement) if limited else statement
    return lang.text(statement.with_for_update(key_share=True) if keep else statement)


@cache
def count_text(lang: Lang, table: str, signature: Signature, *, limited: bool) -> str:
    """Count rows; the limit is the last parameter."""
    shape = SHAPES[table]
    rows: Any = shape.table
    where = _where(lang, shape, signature)
    if limited:
        some: Any = sa.select(sa.literal_column("1")).select_from(shape.table).where(*where)
        rows, where = _top(some).subquery(), []
    return lang.text(sa.select(sa.func.count()).select_from(rows).where(*where))


def _top(statement: Any) -> Any:
    # Said to be 0, or SQLAlchemy makes a parameter of it.
    return statement.limit(sa.bindparam("top")).offset(sa.literal_column("0"))


@cache
def delete_text(lang: Lang, table: str, signature: Signature) -> str:
    """Remove rows."""
    shape = SHAPES[table]
    return lang.text(sa.delete(shape.table).where(*_where(lang, shape, signature)))


@cache
def update_text(lang: Lang, table: str, places: tuple[int, ...], signature: Signature) -> str:
    """Change rows; the new values come before those of the conditions."""
    shape = SHAPES[table]
    changes: dict[str, Any] = {shape.names[at]: sa.bindparam(f"v{at}") for at in places}
    return lang.text(sa.update(shape.table).where(*_where(lang, shape, signature)).values(changes))


@cache
def get_text(lang: Lang, table: str, names: tuple[str, ...]) -> tuple[Shape, tuple[int, ...], str]:
    """Read the row with this key. Raises Refused where these columns are none."""
    shape = shape_of(table)
    shape.whole_key(dict.fromkeys(names))
    places = shape.places(names)
    signature = tuple((at, "eq", 1) for at in places)
    return shape, places, select_text(lang, shape.whole, signature, limited=False)


# -- rows ------------------------------------------------------------------------------------------


class SqlRows(ABC):
    """One open transaction on a database; what is said in the same way to each of them."""

    lang: Lang

    def __init__(self, *, writes: bool) -> None:
        self._writes = writes
        self.open = True
        self.broken: StoreFull | None = None
        self.held: set[bytes] = set()

    @abstractmethod
    def _run(self, table: str, text: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; how many rows it concerned."""

    @abstractmethod
    def _read(self, table: str, text: str, values: Sequence[Any]) -> list[Stored]:
        """The rows that a statement finds."""

    @abstractmethod
    def _asked(self, terms: Sequence[Term]) -> list[tuple[Signature, list[Any]]]:
        """What the text of these conditions depends on, and its parameters; several to be joined.

        None where the conditions are true of nothing.
        """

    @abstractmethod
    def _add(self, shape: Shape, stored: Stored) -> None:
        """Add a row. Raises Conflict."""

    @abstractmethod
    def _add_many(self, shape: Shape, stored: Sequence[Stored]) -> None:
        """Add all of some rows, or none."""

    @abstractmethod
    def _replace_many(self, shape: Shape, stored: Sequence[Stored]) -> None:
        """Put all of some rows, in order, or none."""

    @abstractmethod
    def _change_many(
        self, shape: Shape, places: tuple[int, ...], stored: Sequence[tuple[Stored, Stored]]
    ) -> int:
        """Change all of some rows, or none, by key and new values; how many of them are there."""

    def _all_or_none(self, work: Callable[[], T]) -> T:
        """Some statements; where they fail nothing of them is left, and the transaction goes on.

        What no work may swallow ends the transaction as a whole.
        """
        self._run("", "SAVEPOINT many")
        try:
            done = work()
        except Exception:
            if self.broken is None:
                self._run("", "ROLLBACK TO many")
                self._run("", "RELEASE many")
            raise
        self._run("", "RELEASE many")
        return done

    def _ready(self) -> None:
        if not self.open:
            raise RuntimeError("this transaction is over")
        if self.broken is not None:
            # The database may have rolled back: what is written now would stand alone, for good.
            raise self.broken

    def _shape(self, table: str) -> Shape:
        self._ready()
        if not self._writes:
            raise Refused(f"{table}: a view does not write")
        return shape_of(table)

    def _checked(self, shape: Shape, stored: list[Stored]) -> list[Stored]:
        """These rows, if their records are held; a record that is made here is."""
        if shape.owners:
            shape.check_held(stored, self.held)
        return stored

    def _born(self, shape: Shape, stored: Iterable[Stored]) -> None:
        """A record that is made here is held: nobody else knows of it."""
        if shape.name == "record":
            self.held.update(shape.key_of(row)[0] for row in stored)

    def insert(self, table: str, row: Row) -> Row:
        """See `Rows`."""
        shape = self._shape(table)
        stored = shape.bind(row)
        self._born(shape, [stored])
        self._checked(shape, [stored])
        at = shape.generated
        if at is None or stored[at] is not None:
            self._add(shape, stored)
            return shape.given(row, stored, None)
        text = counted_text(self.lang, table, shape.names[at])
        made = self._read(table, text, (*stored[:at], *stored[at + 1 :]))
        return shape.given(row, stored, made[0][0])

    def insert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""
        shape = self._shape(table)
        stored = [shape.bind(row) for row in rows]
        self._born(shape, stored)
        if stored:
            self._add_many(shape, self._checked(shape, stored))

    def upsert(self, table: str, row: Row) -> None:
        """See `Rows`."""
        self.upsert_many(table, [row])

    def upsert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""
        shape = self._shape(table)
        if stored := self._checked(shape, [shape.bind_whole(row) for row in rows]):
            self._replace_many(shape, stored)

    def update_many(self, table: str, rows: Iterable[Row]) -> int:
        """See `Rows`."""
        shape = self._shape(table)
        places, stored = shape.bind_updates(rows)
        if shape.owners and stored:
            keyed = [dict(zip(shape.key, key, strict=True)) for key, _ in stored]
            for at in shape.owners:
                shape.check_owner({key[at] for key in keyed}, self.held)
        return self._change_many(shape, places, stored) if stored else 0

    def update(self, table: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        """See `Rows`."""
        shape = self._shape(table)
        places, new = shape.bind_changes(changes)
        calls = self._asked(self._named(shape, where))

        def change() -> int:
            return sum(
                self._run(table, update_text(self.lang, table, places, signature), new + values)
                for signature, values in calls
            )

        risky = len(calls) > 1 or not set(places).isdisjoint(shape.in_uniques)
        return self._all_or_none(change) if risky else change()

    def delete(self, table: str, where: Mapping[str, Any]) -> int:
        """See `Rows`."""
        shape = self._shape(table)
        return sum(
            self._run(table, delete_text(self.lang, table, signature), values)
            for signature, values in self._asked(self._named(shape, where))
        )

    def _named(self, shape: Shape, where: Mapping[str, Any]) -> tuple[Term, ...]:
        """Conditions of what is written: they name its records, which are held."""
        terms = shape.terms(where)
        if shape.owners:
            shape.check_named(terms, self.held)
        return terms

    def add(self, table: str, key: Row, column: str, n: int) -> None:
        """See `Rows`."""
        shape = self._shape(table)
        places = shape.whole_key(key)
        values = [shape.bind_one(at, key[shape.names[at]]) for at in places]
        text = sum_text(self.lang, table, column)
        self._run(table, text, [*values, shape.bind_one(shape.place[column], n)])

    def get(self, table: str, /, **key: Any) -> Row | None:
        """See `Rows`."""
        self._ready()
        shape, places, text = get_text(self.lang, table, tuple(key))
        found = self._read(table, text, list(map(shape.bind_one, places, key.values())))
        return shape.whole.rows(found)[0] if found else None

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
        shape = self._shape(table) if keep else shape_of(table)
        self._ready()
        check_limit(limit)
        reading, calls = shape.reading(order, only), self._asked(shape.terms(where))
        top = [] if limit is None else [limit]
        found: list[Stored] = []
        for signature, values in calls:
            limited = limit is not None
            text = select_text(self.lang, reading, signature, limited=limited, keep=keep)
            found += self._read(table, text, values + top)
        if len(calls) > 1:
            shape.sort(found, reading.sorts)
        return reading.rows(found[:limit])

    def count(
        self, table: str, where: Mapping[str, Any] | None = None, most: int | None = None
    ) -> int:
        """See `Rows`."""
        self._ready()
        check_limit(most)
        text = partial(count_text, self.lang, table, limited=most is not None)
        top = [] if most is None else [most]
        found = sum(
            int(self._read(table, text(signature), values + top)[0][0])
            for signature, values in self._asked(shape_of(table).terms(where))
        )
        return found if most is None else min(found, most)
