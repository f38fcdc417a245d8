"""The rows of SQLite: its texts, its limits, and what its errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, product
from typing import Any, TypeVar

from sqlalchemy.dialects import sqlite

from hub.io.rows import Alone, Conflict, Refused, StoreFull
from hub.io.shapes import Shape, Stored, Term
from hub.io.sql import VOID, Lang, Mark, Signature, SqlRows, insert_text, update_text, upsert_text
from hub.io.tables import Uid

T = TypeVar("T")
CHUNK = 512  # values of an `in` in one statement
FEW = 8  # rows that one statement puts; each number of them has a text of its own
LANG = Lang(sqlite.dialect(paramstyle="qmark"), sqlite.insert, misled=True)

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
        elif op in VOID:
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


class SqliteRows(Alone, SqlRows):
    """One open transaction on SQLite, which has one writer: nobody else holds anything."""

    lang = LANG

    def __init__(self, connection: sqlite3.Connection, *, writes: bool) -> None:
        super().__init__(writes=writes)
        self._connection = connection

    def lock(self, uids: Iterable[str]) -> bool:
        """See `Rows`."""
        self._shape("record")
        self.held.update(map(Uid.put, uids))
        return False

    def _run(self, table: str, text: str, values: Sequence[Any] = ()) -> int:
        try:
            return self._connection.execute(text, values).rowcount
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

    def _asked(self, terms: Sequence[Term]) -> list[tuple[Signature, list[Any]]]:
        return asked(terms)

    def _add(self, shape: Shape, stored: Stored) -> None:
        self._run(shape.name, insert_text(LANG, shape.name, 1), stored)

    def _add_many(self, shape: Shape, stored: Sequence[Stored]) -> None:
        # SQLite makes a generated key itself where a null is given.
        self._put(shape.name, insert_text, stored)

    def _replace_many(self, shape: Shape, stored: Sequence[Stored]) -> None:
        self._put(shape.name, upsert_text, stored)

    def _put(
        self, table: str, text: Callable[[Lang, str, int], str], stored: Sequence[Stored]
    ) -> None:
        """A few rows in one statement, which needs no savepoint to be all or none of them."""
        if len(stored) > FEW:
            self._all_or_none(lambda: self._run_many(table, text(LANG, table, 1), stored))
        else:
            values = list(chain.from_iterable(stored))
            self._run(table, text(LANG, table, len(stored)), values)

    def _change_many(
        self, shape: Shape, places: tuple[int, ...], stored: Sequence[tuple[Stored, Stored]]
    ) -> int:
        text = update_text(LANG, shape.name, places, tuple([(at, "eq", 1) for at in shape.key]))
        values = [new + key for key, new in stored]
        if len(values) == 1:
            return self._run(shape.name, text, values[0])
        return self._all_or_none(lambda: self._run_many(shape.name, text, values))

    def _run_many(self, table: str, text: str, stored: Sequence[Stored]) -> int:
        try:
            return self._connection.executemany(text, stored).rowcount
        except sqlite3.Error as error:
            raise self._meant(table, error) from error
