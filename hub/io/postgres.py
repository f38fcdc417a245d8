"""The store on PostgreSQL: many processes, each transaction beside others.

Transactions read what is committed, statement by statement (READ COMMITTED). What they write is
guarded by the records they hold: `lock` takes them in the order of their ids. It waits only for
those that a transaction begins with; whatever is needed later is taken at once, or the work is
begun anew, holding all of it from the start. So nobody waits for a record while holding another
one that somebody waits for. A process that stops answering in the middle of a transaction loses
it after `IDLE_MS`, and with it all that it held.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from secrets import token_hex
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import psycopg
import sqlalchemy as sa
from psycopg import errors, pq, sql
from psycopg.types.numeric import Int8BinaryDumper
from psycopg_pool import ConnectionPool, PoolTimeout
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGDialect

from hub.io.migrate import Migrated, migrate
from hub.io.rows import Again, Conflict, Refused, Row, Rows, StoreFull
from hub.io.shapes import SHAPES, Shape, Stored, Term
from hub.io.sql import VOID, Lang, Mark, Signature, SqlRows, insert_text, update_text, upsert_text
from hub.io.tables import Uid

T = TypeVar("T")
Connection = psycopg.Connection[Any]
OLDEST = 150_000  # server version: 15
IDLE_MS = 10_000  # between two statements of a transaction
LONGEST_MS = 120_000  # for one statement
CONNECT_S = 5  # so long a work waits for a connection, and a connection for the server
TEXTS = 2_000  # that a connection keeps prepared
TRIES = 3  # of a work whose connection broke before anything was kept
SETTLE_S = 0.2
KEPT_ALIVE = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
SESSION = {
    "idle_in_transaction_session_timeout": IDLE_MS,
    "statement_timeout": LONGEST_MS,
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
    "timezone": "UTC",
}


class Unusable(Exception):
    """A database that cannot be the store; the text says what to change."""


def _within(column: sa.ColumnElement[Any], values: list[Any]) -> Any:
    kind = postgresql.ARRAY(column.type)
    return column == sa.any_(sa.cast(values[0], kind))


@dataclass(frozen=True, eq=False)
class PostgresLang(Lang):
    """Arrays are sent as bytes: as text the driver may choose a type that is too small."""

    def text(self, statement: Any) -> str:
        """See `Lang`."""
        return super().text(statement).replace("CAST(%s AS", "CAST(%b AS")


LANG = PostgresLang(
    PGDialect(paramstyle="format"),  # type: ignore[no-untyped-call]
    postgresql.insert,
    within=_within,
    nulls_last=True,
)


@cache
def _array(shape: Shape, at: int) -> str:
    """A parameter that holds the values of a column, one for each row."""
    kind = shape.table.columns[shape.names[at]].type.compile(LANG.dialect)
    return f"%b::{kind.partition(' COLLATE')[0]}[]"


def _given(shape: Shape, places: Sequence[int]) -> str:
    """Rows that come as one array for each of these columns, in the order of the arrays."""
    arrays = ", ".join(_array(shape, at) for at in places)
    return f"unnest({arrays}) AS given ({_names(shape, places)})"


def _names(shape: Shape, places: Iterable[int], joined: str = ", ", of: str = "{}") -> str:
    quote = LANG.dialect.identifier_preparer.quote
    return joined.join(of.format(quote(shape.names[at])) for at in places)


@cache
def many_text(table: str, *, replace: bool) -> str:
    """Add rows that come as arrays, without the key that the database makes."""
    shape = SHAPES[table]
    places = [at for at in range(len(shape.names)) if at != shape.generated]
    names, rest = _names(shape, places), [at for at in places if at not in shape.key]
    # All names are those of our own tables.
    adding = f"INSERT INTO {table} ({names}) SELECT {names} FROM {_given(shape, places)}"  # noqa: S608
    if not replace:
        return f"{adding} ON CONFLICT DO NOTHING"
    changes = _names(shape, rest, of="{0} = excluded.{0}")
    instead = f"UPDATE SET {changes}" if rest else "NOTHING"
    return f"{adding} ON CONFLICT ({_names(shape, shape.key)}) DO {instead}"


@cache
def change_many_text(table: str, places: tuple[int, ...]) -> str:
    """Change rows: first the arrays of their keys, then those of the new values."""
    shape = SHAPES[table]
    changes = _names(shape, places, of="{0} = given.{0}")
    where = _names(shape, shape.key, " AND ", "held.{0} = given.{0}")
    given = _given(shape, (*shape.key, *places))
    return f"UPDATE {table} AS held SET {changes} FROM {given} WHERE {where}"  # noqa: S608  the same


# -- what the driver's errors mean -----------------------------------------------------------------

_LOST_RACE = (errors.SerializationFailure, errors.DeadlockDetected)
_TOOK_TOO_LONG = (errors.IdleInTransactionSessionTimeout, errors.TransactionTimeout)
_NOT_TAKEN = (errors.IntegrityError, errors.DataError, errors.ProgramLimitExceeded)


def meaning(table: str, error: psycopg.Error) -> BaseException:
    """The driver's error in the words of `hub/io/rows.py`; itself where it is a mistake of ours."""
    if isinstance(error, _LOST_RACE):
        return Again()
    if isinstance(error, errors.UniqueViolation):
        return Conflict(table, str(error.diag.message_detail or error))
    if isinstance(error, _NOT_TAKEN):
        return Refused(f"{table}: {error}")
    if isinstance(error, (psycopg.OperationalError, errors.InternalError_, *_TOOK_TOO_LONG)):
        return StoreFull(f"nothing of this was kept: {error}")
    return error


# -- rows ------------------------------------------------------------------------------------------


class PostgresRows(SqlRows):
    """One open transaction on PostgreSQL."""

    lang = LANG
    alone = False

    def __init__(self, connection: Connection, *, writes: bool) -> None:
        super().__init__(writes=writes)
        self._cursor = connection.cursor(binary=True)
        self._sums: dict[tuple[str, str, tuple[tuple[str, Any], ...]], int] = {}
        self.locked = False

    # -- records that are held ---------------------------------------------------------------------

    def lock(self, uids: Iterable[str]) -> bool:
        """See `Rows`. Raises Again where somebody else holds one of them and we hold others."""
        self._shape("record")
        wanted = set(map(Uid.put, uids)) - self.held
        if not wanted:
            return False
        if self.locked and self._taken(wanted):
            self.held |= wanted
            raise Again
        if not self.locked:
            self.wait_for(wanted)
        self.held |= wanted
        return True

    def wait_for(self, uids: Iterable[bytes]) -> None:
        """Hold these records, whoever has to be waited for; only who holds none may do that."""
        self._read("record", f"{_HOLD} FOR NO KEY UPDATE", [sorted(uids)])
        self.held.update(uids)
        self.locked = True

    def _taken(self, uids: set[bytes]) -> bool:
        """Hold these records; whether somebody else has any of them."""
        got = self._read("record", f"{_HOLD} FOR NO KEY UPDATE SKIP LOCKED", [sorted(uids)])
        rest = sorted(uids - {uid for (uid,) in got})
        return bool(rest and self._read("record", f"{_HOLD} LIMIT 1", [rest]))

    # -- what has ways of its own ------------------------------------------------------------------

    def number(self, series: str) -> int:
        """See `Rows`."""
        (made,) = self._read("meta", "SELECT nextval(%s::regclass)", [f"number_{series}"])
        return int(made[0])

    def number_from(self, series: str, last: int) -> None:
        """See `Rows`. Other than all else this stays where the transaction is not kept."""
        asked = "SELECT setval(%s::regclass, greatest(%b::bigint, 1), %b::bigint > 0)"
        self._read("meta", asked, [f"number_{series}", last, last])

    def time(self, own: int) -> int:
        """See `Rows`."""
        del own
        (found,) = self._read("lease", _CLOCK, [])
        return int(found[0])

    def add(self, table: str, key: Row, column: str, n: int) -> None:
        """See `Rows`. Added at the end, in one order: many add to the same few rows."""
        self._shape(table).whole_key(key)
        place = table, column, tuple(sorted(key.items()))
        self._sums[place] = self._sums.get(place, 0) + n

    def begin(self, how: str, held: Iterable[bytes] = ()) -> None:
        """Start it; with some records it holds them from the start."""
        self._run("", how)
        if held:
            self.wait_for(held)

    def mark(self, token: Token) -> bool:
        """Leave the mark by which it is known that this was kept, unless nothing was written."""
        token.n += 1
        return bool(self._run("mark", _MARK, [token.id, token.n]))

    def finish(self) -> None:
        """Before the commit, and before what was added to is looked at."""
        sums, self._sums = self._sums, {}
        for (table, column, key), n in sorted(sums.items()):
            super().add(table, dict(key), column, n)

    # -- statements --------------------------------------------------------------------------------

    def _execute(self, table: str, text: str, values: Sequence[Any]) -> None:
        if self._sums and any(table == of for of, _, _ in self._sums):
            self.finish()
        try:
            self._cursor.execute(text, values)
        except psycopg.Error as error:
            found = meaning(table, error)
            if isinstance(found, StoreFull):
                self.broken = found
            raise found from error

    def _run(self, table: str, text: str, values: Sequence[Any] = ()) -> int:
        self._execute(table, text, values)
        return self._cursor.rowcount

    def _read(self, table: str, text: str, values: Sequence[Any]) -> list[Stored]:
        self._execute(table, text, values)
        return self._cursor.fetchall()

    def _asked(self, terms: Sequence[Term]) -> list[tuple[Signature, list[Any]]]:
        marks: list[Mark] = []
        values: list[Any] = []
        for at, op, value in terms:
            if op == "in" and not value:
                return []
            marks.append((at, op, 0 if op in VOID else 1))
            values += [] if op in VOID else [list(value) if op == "in" else value]
        return [(tuple(marks), values)]

    def _add(self, shape: Shape, stored: Stored) -> None:
        text = insert_text(LANG, shape.name, 1) + " ON CONFLICT DO NOTHING"
        if not self._run(shape.name, text, stored):
            raise Conflict(shape.name, "a row with one of its keys exists")

    def _add_many(self, shape: Shape, stored: Sequence[Stored]) -> None:
        if len(stored) == 1 and shape.generated is None:
            self._add(shape, stored[0])
        else:
            self._all_or_none(lambda: self._put_many(shape, stored))

    def _put_many(self, shape: Shape, stored: Sequence[Stored]) -> None:
        added = self._run(shape.name, many_text(shape.name, replace=False), _turned(shape, stored))
        if added < len(stored):
            raise Conflict(shape.name, "rows with some of their keys exist")

    def _replace_many(self, shape: Shape, stored: Sequence[Stored]) -> None:
        last = list({shape.key_of(row): row for row in stored}.values())

        def put() -> None:
            if len(last) == 1:
                self._run(shape.name, upsert_text(LANG, shape.name, 1), last[0])
            else:
                text = many_text(shape.name, replace=True)
                self._run(shape.name, text, _turned(shape, last))

        self._guarded(put, risky=bool(shape.uniques))

    def _change_many(
        self, shape: Shape, places: tuple[int, ...], stored: Sequence[tuple[Stored, Stored]]
    ) -> int:
        one = update_text(LANG, shape.name, places, tuple([(at, "eq", 1) for at in shape.key]))
        whole = change_many_text(shape.name, places)
        distinct = len({key for key, _ in stored}) == len(stored)

        def change() -> int:
            if distinct and len(stored) > 1:
                columns = zip(*[key + new for key, new in stored], strict=True)
                return self._run(shape.name, whole, list(map(list, columns)))
            return sum(self._run(shape.name, one, new + key) for key, new in stored)

        return self._guarded(change, risky=not set(places).isdisjoint(shape.in_uniques))

    def _guarded(self, work: Callable[[], T], *, risky: bool) -> T:
        return self._all_or_none(work) if risky else work()


_HOLD = "SELECT uid FROM record WHERE uid = ANY(%b::bytea[]) ORDER BY uid"
_LAY = "INSERT INTO mark (id, n, at) VALUES (%s, 0, (extract(epoch FROM now()) * 1000)::bigint)"
_MARK = (
    "INSERT INTO mark (id, n, at) SELECT %s, %s, (extract(epoch FROM now()) * 1000)::bigint "
    "WHERE pg_current_xact_id_if_assigned() IS NOT NULL "
    "ON CONFLICT (id) DO UPDATE SET n = excluded.n, at = excluded.at"
)
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"


def _turned(shape: Shape, stored: Sequence[Stored]) -> list[list[Any]]:
    """Rows as columns, without the key that the database makes."""
    columns = zip(*stored, strict=True)
    return [list(column) for at, column in enumerate(columns) if at != shape.generated]


# -- the store -------------------------------------------------------------------------------------


@dataclass
class Token:
    """What the transactions of one connection leave, each with the next number."""

    id: str = field(default_factory=lambda: token_hex(16))
    n: int = 0


class PostgresStore:
    """`Store` in one schema of a PostgreSQL database, which it makes and migrates.

    Raises `Unusable`, `NewerDatabase`. `connections`: kept at most, each for one transaction.
    """

    def __init__(
        self, url: str, *, password: str = "", schema: str = "synchub", connections: int = 8
    ) -> None:
        """`url`: postgresql://user@host:port/database. Nothing listens there: `Unusable`."""
        self._how: dict[str, Any] = {
            **KEPT_ALIVE,
            "conninfo": url,
            "options": " ".join(f"-c {k}={v}" for k, v in (SESSION | searched(schema)).items()),
            "connect_timeout": CONNECT_S,
            "application_name": "synchub",
            "autocommit": True,
            **({"password": password} if password else {}),
        }
        self._local = threading.local()
        self._closed = False
        self._tokens: WeakKeyDictionary[Connection, Token] = WeakKeyDictionary()
        self.channel = f"synchub {schema}"
        with usable(url), self.connected() as connection:
            self.migrated = prepare(connection, schema)
        kwargs = {k: v for k, v in self._how.items() if k != "conninfo"}
        self._pool = ConnectionPool(
            url,
            kwargs=kwargs,
            min_size=1,
            max_size=connections,
            timeout=CONNECT_S,
            configure=adapt,
            open=True,
        )

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection beside those of the transactions."""
        with psycopg.connect(**self._how) as connection:
            adapt(connection)
            yield connection

    # -- for callers -------------------------------------------------------------------------------

    def transact(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        held: set[bytes] = set()
        tries = 0
        while True:
            with self._connection() as connection:
                rows = PostgresRows(connection, writes=True)
                try:
                    return self._once(connection, rows, work, held)
                except Again:
                    held = rows.held
                except StoreFull:
                    tries += 1
                    if tries == TRIES or not self._broke(connection):
                        raise

    def _once(
        self,
        connection: Connection,
        rows: PostgresRows,
        work: Callable[[Rows], T],
        held: set[bytes],
    ) -> T:
        """One run of a work, kept as a whole or not at all."""
        try:
            token = self._token(connection)
            rows.begin("BEGIN", held)
            done = work(rows)
            rows.finish()
            written = rows.mark(token)
            rows.open = False
        except BaseException:
            rows.open = False
            roll_back(connection)
            raise
        self._commit(connection, token if written else None)
        return done

    def _token(self, connection: Connection) -> Token:
        """By what the transactions of a connection are known; its row is there before any of them.

        Raises StoreFull.
        """
        token = self._tokens.get(connection)
        if token is None:
            token = self._tokens[connection] = Token()
            try:
                connection.execute(_LAY, [token.id])
            except psycopg.Error as error:
                raise meaning("mark", error) from error
        return token

    def _commit(self, connection: Connection, token: Token | None) -> None:
        """Keep it. Where the answer was lost, the server is asked what became of it."""
        try:
            connection.execute("COMMIT")
        except psycopg.Error as error:
            if not connection.closed or token is None:
                roll_back(connection)
                raise meaning("store", error) from error
            if not self._was_kept(token):
                raise StoreFull(f"nothing of this was kept: {error}") from error

    def _was_kept(self, token: Token) -> bool:
        """Whether the transaction that left this mark was committed; waits until the server tells.

        Its number would not do: a server that crashed may give it to another transaction.
        """
        while True:
            with suppress(psycopg.Error), self.connected() as connection:
                # Whoever is still about to commit holds the row.
                asked = connection.execute(
                    "SELECT n FROM mark WHERE id = %s FOR UPDATE", [token.id]
                )
                return (asked.fetchone() or (0,))[0] == token.n
            if self._closed:
                raise StoreFull("nobody can tell whether this was kept: the server is gone")
            time.sleep(SETTLE_S)

    def view(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        tries = 0
        while True:
            with self._connection() as connection:
                rows = PostgresRows(connection, writes=False)
                try:
                    rows.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    return work(rows)
                except StoreFull:
                    tries += 1
                    if tries == TRIES or not self._broke(connection):
                        raise
                finally:
                    rows.open = False
                    roll_back(connection)

    def _broke(self, connection: Connection) -> bool:
        """After a failure: whether it was the connection, so that another one may do."""
        roll_back(connection)  # only now a broken one is known as such
        if connection.closed:
            self._pool.check()  # those that lie there may be as broken
        return connection.closed

    def close(self) -> None:
        """Let go of the connections."""
        self._closed = True
        self._pool.close()

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        if getattr(self._local, "busy", False):
            raise RuntimeError("a transaction is open already")
        if self._closed:
            raise RuntimeError("the store is closed")
        try:
            connection = self._pool.getconn()
        except PoolTimeout as error:
            raise StoreFull(f"PostgreSQL cannot be reached: {error}") from error
        self._local.busy = True
        try:
            yield connection
        finally:
            self._local.busy = False
            self._pool.putconn(connection)


def roll_back(connection: Connection) -> None:
    """Nothing of it is kept; a connection that is broken has forgotten it anyway."""
    if connection.info.transaction_status != pq.TransactionStatus.IDLE:
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK")


def searched(schema: str) -> dict[str, str]:
    """Where tables are looked for."""
    return {"search_path": schema}


class Whole(Int8BinaryDumper):
    """Every whole number as one of 64 bits: else each size of it is another statement."""


def adapt(connection: Connection) -> None:
    """How values travel, and how many statements stay prepared."""
    connection.adapters.register_dumper(int, Whole)
    connection.prepared_max = TEXTS


# -- a database that can be used -------------------------------------------------------------------


def fit(connection: Connection) -> None:
    """Raise `Unusable` where the server or the database is another than is needed."""
    if connection.info.server_version < OLDEST:
        found = connection.info.server_version // 10_000
        raise Unusable(f"this is PostgreSQL {found}: 15 or newer is needed")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise Unusable(f"the database is encoded in {encoding}: make one with ENCODING 'UTF8'")


def look(url: str, password: str, schema: str) -> None:
    """Raise `Unusable` where this cannot be the store; changes nothing."""
    secret: dict[str, Any] = {"password": password} if password else {}
    with usable(url), psycopg.connect(url, connect_timeout=CONNECT_S, **secret) as connection:
        fit(connection)
        (may,) = connection.execute(MAY, {"schema": schema}).fetchone() or (False,)
        if not may:
            raise errors.InsufficientPrivilege


MAY = """
SELECT CASE WHEN to_regnamespace(%(schema)s) IS NULL
    THEN has_database_privilege(current_database(), 'CREATE')
    ELSE has_schema_privilege(%(schema)s, 'CREATE') END
"""


def prepare(connection: Connection, schema: str) -> Migrated:
    """Make the schema and bring it to the tables of this version; one process at a time."""
    fit(connection)
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: connection, poolclass=sa.StaticPool
    )
    connection.autocommit = False
    return migrate(engine, schema)


@contextmanager
def usable(url: str) -> Iterator[None]:
    """What keeps us from using a database, in words that say what to change."""
    place = url.rpartition("@")[2]
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise Unusable(not_allowed(place, error)) from error
    except sa.exc.ProgrammingError as error:
        if isinstance(error.orig, errors.InsufficientPrivilege):
            raise Unusable(not_allowed(place, error.orig)) from error
        raise Unusable(f"PostgreSQL at {place}: {error.orig}") from error
    except psycopg.OperationalError as error:
        why = " ".join(str(error).split())
        raise Unusable(
            f"PostgreSQL at {place} cannot be used: {why}; check postgres.url and its credentials"
        ) from error


def not_allowed(place: str, error: psycopg.Error) -> str:
    """What to do about a missing permission."""
    why = error.diag.message_primary or "the user may not make tables"
    return (
        f"PostgreSQL at {place}: {why}: let the user own the schema, or GRANT CREATE ON DATABASE "
        "to it for the first start"
    )


# -- between processes -----------------------------------------------------------------------------


class Bell:
    """Wakes the loops of other processes, by NOTIFY outside of any transaction.

    What is not heard costs time, and nothing else: every loop looks by itself now and then.
    """

    def __init__(self, store: PostgresStore, heard: Callable[[str, int], None]) -> None:
        """`heard(loop, at)` is called for what others rang, in a thread of its own."""
        self._store = store
        self._heard = heard
        self._waiting: dict[str, int] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._own = 0
        self._threads = [
            threading.Thread(
                target=self._kept, args=(work,), name=f"bell:{work.__name__}", daemon=True
            )
            for work in (self._ring_all, self._listen)
        ]

    def start(self) -> None:
        """Ring and listen from now on."""
        for thread in self._threads:
            thread.start()

    def ring(self, loop: str, at: int) -> None:
        """Tell the others; the earliest time counts."""
        with self._changed:
            self._waiting[loop] = min(at, self._waiting.get(loop, at))
            self._changed.notify()

    def close(self) -> None:
        """End both threads."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        for thread in self._threads:
            thread.join()

    def _kept(self, work: Callable[[Connection], None]) -> None:
        """Do it, on one connection after the other."""
        while not self._closed:
            try:
                with self._store.connected() as connection:
                    work(connection)
            except psycopg.Error:
                time.sleep(SETTLE_S)

    def _ring_all(self, connection: Connection) -> None:
        self._own = connection.info.backend_pid
        while not self._closed or self._waiting:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                rung, self._waiting = self._waiting, {}
            for loop, at in rung.items():
                connection.execute(
                    "SELECT pg_notify(%s, %s)", [self._store.channel, f"{at} {loop}"]
                )

    def _listen(self, connection: Connection) -> None:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._store.channel)))
        while not self._closed:
            for note in connection.notifies(timeout=SETTLE_S):
                if note.pid != self._own:
                    self._hear(note.payload)

    def _hear(self, text: str) -> None:
        """Anybody who may connect may ring."""
        at, _, loop = text.partition(" ")
        with suppress(ValueError):
            self._heard(loop, int(at))
