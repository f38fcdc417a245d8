"""Rows in SQL: the text of each kind of call is compiled once, then goes straight to the driver.

SQLAlchemy writes the SQL, from the same tables for every database, and `Shape` has already checked
and packed the values; running the finished text by the driver's own cursor takes a fifth of the
time that SQLAlchemy's execution would.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain, product
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.operators import custom_op

from hub.io.rows import Conflict, Refused, Row, StoreFull
from hub.io.shapes import SHAPES, Reading, Shape, Stored, Term, check_limit, shape_of

T = TypeVar("T")
CHUNK = 512  # values of an `in` in one statement
FEW = 8  # rows that one statement puts; each number of them has a text of its own
Mark = tuple[int, str, int]  # column's place, operation, how many values
Signature = tuple[Mark, ...]
_VOID = {"null", "any"}  # operations without a value

# -- texts ---------------------------------------------------------------------------------------

_DIALECT = sqlite.dialect(paramstyle="qmark")
_CLAUSES: Mapping[str, Callable[[sa.ColumnElement[Any], list[Any]], Any]] = {
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


def _text(statement: Any) -> str:
    """The finished SQL, its parameters in the order in which `asked` and its like give them."""
    return str(statement.compile(dialect=_DIALECT))


def _where(shape: Shape, signature: Signature) -> list[Any]:
    found: list[Any] = []
    misleading = _misleading(shape, signature)
    for at, op, count in signature:
        column = shape.table.c[shape.names[at]]
        values = [sa.bindparam(f"w{at}_{len(found)}_{n}", type_=column.type) for n in range(count)]
        found.append(_CLAUSES[op](_unindexed(column) if at in misleading else column, values))
    return found


def _misleading(shape: Shape, signature: Signature) -> set[int]:
    """Columns whose index is worse than the one of a uid that is named as well.

    Without statistics SQLite believes that few rows have one state, and fewer than many uids name.
    """
    exact = {at for at, op, _ in signature if op in {"eq", "in"} and shape.is_uid[at]}
    helpful = {at for places in shape.indexes if places[0] in exact for at in places}
    return {places[0] for places in shape.indexes} - helpful if helpful else set()


def _unindexed(column: sa.Column[Any]) -> sa.UnaryExpression[Any]:
    return sa.UnaryExpression(column, operator=custom_op("+"), type_=column.type)


@cache
def insert_text(table: str, count: int) -> str:
    """Add so many rows."""
    return _text(_adding(SHAPES[table], count))


@cache
def counted_text(table: str, key: str) -> str:
    """Add a row, but leave its key to the database, which returns it."""
    shape = SHAPES[table]
    given = _given([name for name in shape.names if name != key], 0)
    return _text(sqlite.insert(shape.table).values(given).returning(shape.table.c[key]))


@cache
def upsert_text(table: str, count: int) -> str:
    """Add so many rows, or replace those with their primary keys."""
    shape = SHAPES[table]
    statement = _adding(shape, count)
    keys = [shape.names[at] for at in shape.key]
    rest = [name for name in shape.names if name not in keys]
    if not rest:
        return _text(statement.on_conflict_do_nothing(index_elements=keys))
    changed = {name: statement.excluded[name] for name in rest}
    return _text(statement.on_conflict_do_update(index_elements=keys, set_=changed))


def _adding(shape: Shape, count: int) -> sqlite.Insert:
    return sqlite.insert(shape.table).values([_given(shape.names, n) for n in range(count)])


def _given(names: Iterable[str], row: int) -> dict[str, Any]:
    return {name: sa.bindparam(f"v{row}_{name}") for name in names}


@cache
def select_text(reading: Reading, signature: Signature, *, limited: bool) -> str:
    """Read rows; the limit is the last parameter. Instead of a column not asked for, nulls come."""
    columns = list(reading.shape.table.c)
    order = [columns[at].desc() if down else columns[at] for at, down in reading.sorts]
    needed = {*reading.places, *(at for at, _ in reading.sorts)}
    read = [c if at in needed else sa.null() for at, c in enumerate(columns)]
    statement = sa.select(*read).select_from(reading.shape.table)
    statement = statement.where(*_where(reading.shape, signature)).order_by(*order)
    if limited:
        # Said to be 0, or SQLAlchemy makes a parameter of it.
        statement = statement.limit(sa.bindparam("top")).offset(sa.literal_column("0"))
    return _text(statement)


@cache
def count_text(table: str, signature: Signature) -> str:
    """Count rows."""
    shape = SHAPES[table]
    found = sa.select(sa.func.count()).select_from(shape.table)
    return _text(found.where(*_where(shape, signature)))


@cache
def delete_text(table: str, signature: Signature) -> str:
    """Remove rows."""
    shape = SHAPES[table]
    return _text(sa.delete(shape.table).where(*_where(shape, signature)))


@cache
def update_text(table: str, places: tuple[int, ...], signature: Signature) -> str:
    """Change rows; the new values come before those of the conditions."""
    shape = SHAPES[table]
    changes: dict[str, Any] = {shape.names[at]: sa.bindparam(f"v{at}") for at in places}
    return _text(sa.update(shape.table).where(*_where(shape, signature)).values(changes))


@cache
def get_text(table: str, names: tuple[str, ...]) -> tuple[Shape, tuple[int, ...], str]:
    """Read the row with this key. Raises Refused where these columns are none."""
    shape = shape_of(table)
    shape.whole_key(dict.fromkeys(names))
    places = shape.places(names)
    signature = tuple((at, "eq", 1) for at in places)
    return shape, places, select_text(shape.whole, signature, limited=False)


# -- conditions ------------------------------------------------------------------------------------


def asked(terms: Sequence[Term]) -> list[tuple[Signature, list[Any]]]:
    """What the text depends on, and its parameters; several where a long `in` is cut up.

    An `in` is filled up to a power of two: few texts. One of nothing is true of nothing: no text.
    """
    marks: list[Mark] = []
    values: list[Any] = []
    for at, op, value in terms:
        if op == "in":
            if not 0 < len(value) <= CHUNK:
                return [call for piece in _pieces(terms) for call in asked(piece)]
            count = 1 << (len(value) - 1).bit_length()
            marks.append((at, op, count))
            values += value
            values += value[-1:] * (count - len(value))
        elif op in _VOID:
            marks.append((at, op, 0))
        else:
            marks.append((at, op, 1))
            values.append(value)
    return [(tuple(marks), values)]


def _pieces(terms: Sequence[Term]) -> list[tuple[Term, ...]]:
    """The same conditions with each `in` cut up: a database has a limit of parameters."""
    choices = [[(at, op, part) for part in _cut(op, value)] for at, op, value in terms]
    return list(product(*choices))


def _cut(op: str, value: Any) -> list[Any]:
    if op != "in":
        return [value]
    return [value[at : at + CHUNK] for at in range(0, len(value), CHUNK)]


# -- what the driver's errors mean -----------------------------------------------------------------

_TAKEN = {"SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_ROWID"}
_DISK = (
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_CORRUPT",
    "SQLITE_NOTADB",
    "SQLITE_CANTOPEN",
    "SQLITE_READONLY",
    "SQLITE_NOMEM",
    "SQLITE_BUSY",
    "SQLITE_PROTOCOL",
)


def meaning(table: str, error: sqlite3.Error) -> Exception:
    """The driver's error in the words of `hub/io/rows.py`; itself where it is a mistake of ours."""
    name = getattr(error, "sqlite_errorname", "")
    if name in _TAKEN:
        return Conflict(table, str(error))
    if name.startswith("SQLITE_CONSTRAINT") or name == "SQLITE_TOOBIG":
        return Refused(f"{table}: {error}")
    if name.startswith(_DISK):
        return StoreFull(f"nothing of this was kept: {error} ({name})")
    return error


# -- rows ------------------------------------------------------------------------------------------


class SqlRows:
    """One open transaction on SQLite."""

    def __init__(self, connection: sqlite3.Connection, *, writes: bool) -> None:
        self._connection = connection
        self._writes = writes
        self.open = True
        self.broken: StoreFull | None = None

    def _ready(self) -> None:
        if not self.open:
            raise RuntimeError("this transaction is over")
        if self.broken is not None:
            # SQLite may have rolled back: what is written now would stand alone, and for good.
            raise self.broken

    def _shape(self, table: str) -> Shape:
        self._ready()
        if not self._writes:
            raise Refused(f"{table}: a view does not write")
        return shape_of(table)

    def _run(self, table: str, text: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(text, values)
        except sqlite3.Error as error:
            raise self._meant(table, error) from error

    def _read(self, table: str, text: str, values: Sequence[Any]) -> list[Stored]:
        try:
            return self._connection.execute(text, values).fetchall()
        except sqlite3.Error as error:
            raise self._meant(table, error) from error

    def _meant(self, table: str, error: sqlite3.Error) -> Exception:
        found = meaning(table, error)
        if isinstance(found, StoreFull):
            self.broken = found
        return found

    def insert(self, table: str, row: Row) -> Row:
        """See `Rows`."""
        shape = self._shape(table)
        stored = shape.bind(row)
        at = shape.generated
        if at is None or stored[at] is not None:
            self._run(table, insert_text(table, 1), stored)
            return shape.given(row, stored, None)
        text = counted_text(table, shape.names[at])
        made = self._read(table, text, (*stored[:at], *stored[at + 1 :]))
        return shape.given(row, stored, made[0][0])

    def insert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""
        shape = self._shape(table)  # SQLite makes a generated key itself where a null is given
        self._put(table, insert_text, [shape.bind(row) for row in rows])

    def upsert(self, table: str, row: Row) -> None:
        """See `Rows`."""
        shape = self._shape(table)
        self._run(table, upsert_text(table, 1), shape.bind_whole(row))

    def upsert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""
        shape = self._shape(table)
        self._put(table, upsert_text, [shape.bind_whole(row) for row in rows])

    def _put(self, table: str, text: Callable[[str, int], str], stored: Sequence[Stored]) -> None:
        """A few rows in one statement, which needs no savepoint to be all or none of them."""
        if len(stored) > FEW:
            self._many(table, text(table, 1), stored)
        elif stored:
            self._run(table, text(table, len(stored)), list(chain.from_iterable(stored)))

    def _many(self, table: str, text: str, stored: Sequence[Stored]) -> int:
        if len(stored) > 1:
            return self._all_or_none(lambda: self._run_many(table, text, stored))
        return self._run(table, text, stored[0]).rowcount if stored else 0

    def _run_many(self, table: str, text: str, stored: Sequence[Stored]) -> int:
        try:
            return self._connection.executemany(text, stored).rowcount
        except sqlite3.Error as error:
            raise self._meant(table, error) from error

    def _all_or_none(self, work: Callable[[], T]) -> T:
        self._run("", "SAVEPOINT many")
        try:
            done = work()
        except BaseException:
            if self.broken is None:
                self._run("", "ROLLBACK TO many")
                self._run("", "RELEASE many")
            raise
        self._run("", "RELEASE many")
        return done

    def update_many(self, table: str, rows: Iterable[Row]) -> int:
        """See `Rows`."""
        shape = self._shape(table)
        places, stored = shape.bind_updates(rows)
        text = update_text(table, places, tuple([(at, "eq", 1) for at in shape.key]))
        return self._many(table, text, [values + key for key, values in stored])

    def update(self, table: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        """See `Rows`."""
        shape = self._shape(table)
        places, new = shape.bind_changes(changes)
        calls = asked(shape.terms(where))

        def change() -> int:
            return sum(
                self._run(table, update_text(table, places, signature), new + values).rowcount
                for signature, values in calls
            )

        return self._all_or_none(change) if len(calls) > 1 else change()

    def delete(self, table: str, where: Mapping[str, Any]) -> int:
        """See `Rows`."""
        shape = self._shape(table)
        return sum(
            self._run(table, delete_text(table, signature), values).rowcount
            for signature, values in asked(shape.terms(where))
        )

    def get(self, table: str, /, **key: Any) -> Row | None:
        """See `Rows`."""
        self._ready()
        shape, places, text = get_text(table, tuple(key))
        found = self._read(table, text, list(map(shape.bind_one, places, key.values())))
        return shape.whole.rows(found)[0] if found else None

    def select(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
        only: Sequence[str] = (),
    ) -> list[Row]:
        """See `Rows`."""
        self._ready()
        check_limit(limit)
        shape = shape_of(table)
        reading, calls = shape.reading(order, only), asked(shape.terms(where))
        top = [] if limit is None else [limit]
        found: list[Stored] = []
        for signature, values in calls:
            text = select_text(reading, signature, limited=limit is not None)
            found += self._read(table, text, values + top)
        if len(calls) > 1:
            shape.sort(found, reading.sorts)
        return reading.rows(found[:limit])

    def count(self, table: str, where: Mapping[str, Any] | None = None) -> int:
        """See `Rows`."""
        self._ready()
        return sum(
            self._read(table, count_text(table, signature), values)[0][0]
            for signature, values in asked(shape_of(table).terms(where))
        )
