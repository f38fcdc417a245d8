"""The store on SQLite: one writer thread with group commit, readers on snapshots, one process.

Works that wait at the same time share one database transaction and one sync to disk; each has a
savepoint of its own, so one that fails takes nothing with it. Nothing is acknowledged before the
commit has returned. Versions of SQLite up to 3.51.2 have a race in resetting the log with several
writers: here only the writer thread writes and checkpoints, and a lock file keeps other processes
out.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import filelock
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError, OperationalError

from hub.io.migrate import migrate
from hub.io.rows import Conflict, Refused, Row, Rows, StoreFull
from hub.io.shapes import SHAPES, Shape, Stored, Term, check_limit, shape_of, sort_stored

T = TypeVar("T")
GROUP = 64  # works in one commit at most
CHUNK = 500  # values of an `in` in one statement
CHECKPOINT_PAGES = 4_000


class Busy(Exception):
    """Another process holds the file; the text names it and says what to do."""


# -- statements: built once per shape of a call --------------------------------------------------

_PLAIN = sa.MetaData()


def _plain_type(column: sa.Column[Any]) -> Any:
    kind: Any = column.type
    return kind.impl if isinstance(kind, sa.TypeDecorator) else kind


_TABLES = {
    name: sa.Table(
        name,
        _PLAIN,
        *(
            sa.Column(c.name, _plain_type(c), primary_key=c.primary_key)
            for c in shape.table.columns
        ),
    )
    for name, shape in SHAPES.items()
}


@lru_cache(1024)
def _insert(name: str) -> Any:
    return sqlite_insert(_TABLES[name])


@lru_cache(1024)
def _upsert(name: str) -> Any:
    shape, statement = SHAPES[name], sqlite_insert(_TABLES[name])
    keys = [shape.names[at] for at in shape.key]
    rest = [n for n in shape.names if n not in keys]
    if not rest:
        return statement.on_conflict_do_nothing(index_elements=keys)
    return statement.on_conflict_do_update(
        index_elements=keys, set_={n: statement.excluded[n] for n in rest}
    )


Signature = tuple[tuple[int, str], ...]


def _clause(name: str, at: int, op: str, n: int) -> Any:
    column = _TABLES[name].c[SHAPES[name].names[at]]
    value = sa.bindparam(f"w{n}", type_=column.type, expanding=op == "in")
    clauses: dict[str, Callable[[], Any]] = {
        "eq": lambda: column == value,
        "in": lambda: column.in_(value),
        "lt": lambda: column < value,
        "le": lambda: column <= value,
        "gt": lambda: column > value,
        "ge": lambda: column >= value,
        "ne": lambda: column.is_distinct_from(value),
        "null": lambda: column.is_(None),
        "any": lambda: column.is_not(None),
    }
    return clauses[op]()


def _where(name: str, signature: Signature) -> list[Any]:
    return [_clause(name, at, op, n) for n, (at, op) in enumerate(signature)]


@lru_cache(1024)
def _select(
    name: str, signature: Signature, order: tuple[tuple[int, bool], ...], *, limited: bool
) -> Any:
    table = _TABLES[name]
    columns = [table.c[SHAPES[name].names[at]] for at, _ in order]
    sorts = [c.desc() if down else c for c, (_, down) in zip(columns, order, strict=True)]
    statement = sa.select(table).where(*_where(name, signature)).order_by(*sorts)
    return statement.limit(sa.bindparam("top", type_=sa.Integer())) if limited else statement


@lru_cache(1024)
def _count(name: str, signature: Signature) -> Any:
    return sa.select(sa.func.count()).select_from(_TABLES[name]).where(*_where(name, signature))


@lru_cache(1024)
def _delete(name: str, signature: Signature) -> Any:
    return sa.delete(_TABLES[name]).where(*_where(name, signature))


@lru_cache(1024)
def _update(name: str, signature: Signature, places: tuple[int, ...]) -> Any:
    table, names = _TABLES[name], SHAPES[name].names
    values = {names[at]: sa.bindparam(f"v{at}", type_=table.c[names[at]].type) for at in places}
    return sa.update(table).where(*_where(name, signature)).values(values)


def _signature(terms: Sequence[Term]) -> Signature:
    return tuple((at, op) for at, op, _ in terms)


def _values(terms: Sequence[Term]) -> dict[str, Any]:
    return {
        f"w{n}": list(value) if op == "in" else value
        for n, (_, op, value) in enumerate(terms)
        if op not in ("null", "any")
    }


class SqlRows:
    """One open transaction."""

    def __init__(self, connection: sa.Connection, *, writes: bool) -> None:
        self._connection = connection
        self._writes = writes
        self.open = True

    def _shape(self, name: str, *, write: bool = False) -> Shape:
        if not self.open:
            raise RuntimeError("this transaction is over")
        if write and not self._writes:
            raise Refused(f"{name}: a view does not write")
        return shape_of(name)

    def _run(self, name: str, statement: Any, values: Any = None) -> Any:
        try:
            return self._connection.execute(statement, values)
        except IntegrityError as error:
            raise Conflict(name, str(error.orig)) from None
        except OperationalError as error:
            raise StoreFull(str(error.orig)) from error

    def insert(self, table: str, row: Row) -> Row:
        """See `Rows`."""
        shape = self._shape(table, write=True)
        stored = shape.bind(row)
        named = dict(zip(shape.names, stored, strict=True))
        if shape.generated is not None and stored[shape.generated] is None:
            del named[shape.names[shape.generated]]
        result = self._run(table, _insert(table), named)
        made = result.inserted_primary_key[0] if shape.generated is not None else None
        return shape.given(row, stored, made)

    def insert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""
        self._all_or_none(lambda: [self.insert(table, row) for row in rows])

    def upsert(self, table: str, row: Row) -> None:
        """See `Rows`."""
        shape = self._shape(table, write=True)
        self._run(table, _upsert(table), dict(zip(shape.names, shape.bind(row), strict=True)))

    def upsert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""
        shape = self._shape(table, write=True)
        stored = [dict(zip(shape.names, shape.bind(row), strict=True)) for row in rows]
        if stored:
            self._all_or_none(lambda: self._run(table, _upsert(table), stored))

    def _all_or_none(self, work: Callable[[], object]) -> None:
        self._connection.exec_driver_sql("SAVEPOINT many")
        try:
            work()
        except (Conflict, Refused):
            self._connection.exec_driver_sql("ROLLBACK TO many")
            raise
        finally:
            self._connection.exec_driver_sql("RELEASE many")

    def update(self, table: str, where: Mapping[str, Any], changes: Mapping[str, Any]) -> int:
        """See `Rows`."""
        shape = self._shape(table, write=True)
        bound = shape.bind_changes(changes)
        done = 0
        for terms in chunks(shape.terms(where)):
            statement = _update(table, _signature(terms), tuple(at for at, _ in bound))
            values = {**_values(terms), **{f"v{at}": value for at, value in bound}}
            done += self._run(table, statement, values).rowcount
        return done

    def delete(self, table: str, where: Mapping[str, Any]) -> int:
        """See `Rows`."""
        shape = self._shape(table, write=True)
        return sum(
            self._run(table, _delete(table, _signature(terms)), _values(terms)).rowcount
            for terms in chunks(shape.terms(where))
        )

    def get(self, table: str, /, **key: Any) -> Row | None:
        """See `Rows`."""
        shape = self._shape(table)
        shape.whole_key(key)
        found = self._fetch(shape, shape.terms(key), (), None)
        return shape.row(found[0]) if found else None

    def select(
        self,
        table: str,
        where: Mapping[str, Any] | None = None,
        order: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[Row]:
        """See `Rows`."""
        check_limit(limit)
        shape = self._shape(table)
        sorts, parts = shape.sorts(order), chunks(shape.terms(where))
        found: list[Stored] = [
            s for terms in parts for s in self._fetch(shape, terms, sorts, limit)
        ]
        if len(parts) > 1:
            sort_stored(found, sorts)
        return [shape.row(stored) for stored in found[:limit]]

    def _fetch(
        self,
        shape: Shape,
        terms: Sequence[Term],
        order: tuple[tuple[int, bool], ...],
        limit: int | None,
    ) -> Sequence[Stored]:
        statement = _select(shape.name, _signature(terms), order, limited=limit is not None)
        values = _values(terms) | ({} if limit is None else {"top": limit})
        found: Sequence[Stored] = self._run(shape.name, statement, values).fetchall()
        return found

    def count(self, table: str, where: Mapping[str, Any] | None = None) -> int:
        """See `Rows`."""
        shape = self._shape(table)
        return sum(
            int(self._run(table, _count(table, _signature(terms)), _values(terms)).scalar())
            for terms in chunks(shape.terms(where))
        )


def chunks(terms: Sequence[Term]) -> list[list[Term]]:
    """The same conditions with a long `in` cut into pieces; a database has a limit of parameters.

    An `in` of nothing is true of nothing, and stays one piece.
    """
    parts: list[list[Term]] = [[]]
    for at, op, value in terms:
        if op == "in" and len(value) > CHUNK:
            pieces = [value[n : n + CHUNK] for n in range(0, len(value), CHUNK)]
            parts = [[*part, (at, op, piece)] for part in parts for piece in pieces]
        else:
            for part in parts:
                part.append((at, op, value))
    return parts


# -- the store ---------------------------------------------------------------------------------

Work = tuple[Callable[[Rows], Any], "Future[Any]"]


class SqlStore:
    """`Store` on one SQLite file, which it creates and migrates. Raises `Busy`, `StoreFull`."""

    def __init__(self, path: Path) -> None:
        """`path` of the database file; its folder is made with mode 0700."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = own(path)
        if not path.exists():
            path.touch(mode=0o600)
        self._engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
        sa.event.listen(self._engine, "connect", _prepare)
        migrate(self._engine)
        self._local = threading.local()
        self._readers: list[sa.Connection] = []
        self._works: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._closed = False
        self._writer = threading.Thread(target=self._write, name="store", daemon=True)
        self._writer.start()

    def transact(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        if threading.current_thread() is self._writer or getattr(self._local, "busy", False):
            raise RuntimeError("a transaction is open already")
        if self._closed:
            raise RuntimeError("the store is closed")
        done: Future[T] = Future()
        self._works.put((work, done))
        return done.result()

    def view(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        if threading.current_thread() is self._writer or getattr(self._local, "busy", False):
            raise RuntimeError("a transaction is open already")
        connection = self._reader()
        rows = SqlRows(connection, writes=False)
        self._local.busy = True
        connection.exec_driver_sql("BEGIN")
        try:
            return work(rows)
        finally:
            rows.open = self._local.busy = False
            connection.exec_driver_sql("ROLLBACK")

    def close(self) -> None:
        """Finish what was accepted, then let go of the file."""
        if not self._closed:
            self._closed = True
            self._works.put(None)
            self._writer.join()
            for connection in self._readers:
                connection.close()
            self._engine.dispose()
            self._lock.release()

    def _reader(self) -> sa.Connection:
        if not hasattr(self._local, "connection"):
            connection = self._open()
            connection.exec_driver_sql("PRAGMA query_only=ON")
            self._local.connection = connection
            self._readers.append(connection)
        found: sa.Connection = self._local.connection
        return found

    def _open(self) -> sa.Connection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _write(self) -> None:
        connection = self._open()
        while (first := self._works.get()) is not None:
            group = [first]
            while len(group) < GROUP and not self._works.empty():
                following = self._works.get()
                if following is None:
                    self._works.put(None)
                    break
                group.append(following)
            self._commit(connection, group)
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def _commit(self, connection: sa.Connection, group: list[Work]) -> None:
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            for work, done in group:
                outcomes.append((done, *_in_savepoint(connection, work)))
            connection.exec_driver_sql("COMMIT")
        except (OperationalError, StoreFull) as error:
            _roll_back(connection)
            full = StoreFull(f"nothing of this was kept: {error}")
            for _, done in group:
                done.set_exception(full)
            return
        for done, result, failure in outcomes:
            if failure is None:
                done.set_result(result)
            else:
                done.set_exception(failure)


def _in_savepoint(
    connection: sa.Connection, work: Callable[[Rows], Any]
) -> tuple[Any, BaseException | None]:
    rows = SqlRows(connection, writes=True)
    connection.exec_driver_sql("SAVEPOINT work")
    try:
        result = work(rows)
    except StoreFull:
        raise
    except BaseException as error:  # noqa: BLE001  it is given to the caller who owns it
        connection.exec_driver_sql("ROLLBACK TO work")
        connection.exec_driver_sql("RELEASE work")
        return None, error
    finally:
        rows.open = False
    connection.exec_driver_sql("RELEASE work")
    return result, None


def _roll_back(connection: sa.Connection) -> None:
    try:
        connection.exec_driver_sql("ROLLBACK")
    except OperationalError:
        return  # SQLite has rolled back by itself


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=5000",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        "cache_size=-65536",
    ):
        connection.execute(f"PRAGMA {pragma}")


def own(path: Path) -> filelock.BaseFileLock:
    """Take the file for this process; raises `Busy` naming the one that has it."""
    lock = filelock.FileLock(f"{path}.lock", mode=0o600)
    holder = Path(f"{path}.pid")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        pid = holder.read_text().strip() if holder.exists() else "unknown"
        message = (
            f"{path} is in use by process {pid}; stop that hub first, or let this command "
            "speak to it"
        )
        raise Busy(message) from None
    holder.write_text(f"{os.getpid()}\n")
    return lock
