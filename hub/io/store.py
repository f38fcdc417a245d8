"""The store on SQLite: one writer thread with group commit, readers on snapshots, one process.

Works that wait at the same time share one database transaction and one sync to disk; each has a
savepoint of its own, so one that fails takes nothing with it. Nothing is acknowledged before the
commit has returned, and no work is ever run twice. Versions of SQLite up to 3.51.2 have a race in
resetting the log with several writers: here only the writer thread writes and checkpoints, and a
lock file keeps other processes out.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import filelock
import sqlalchemy as sa

from hub.io.migrate import migrate
from hub.io.rows import Rows, StoreFull
from hub.io.sqlite import SqliteRows, meaning

T = TypeVar("T")
GROUP = 64  # works in one commit at most
CHECKPOINT_CHANGES = 5_000  # rows changed before the log is copied back, however busy
IDLE_SECONDS = 0.5  # after which it is copied back anyway
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "busy_timeout=5000",
    "cache_size=-65536",
    "wal_autocheckpoint=0",  # the writer thread does it, when nobody waits for an answer
    "journal_size_limit=67108864",
    "secure_delete=ON",  # what was erased must not be found in the file
)
# For the writer: else each savepoint of more than 64 KiB goes through a file outside of our folder.
UNDO_IN_MEMORY = "temp_store=MEMORY"


class Busy(Exception):
    """Another process holds the file; the text names it and says what to do."""


class Job:
    """One work on its way through the writer."""

    def __init__(self, work: Callable[[Rows], Any] | None) -> None:
        """`work` of None: write the file anew, without what was deleted."""
        self.work = work
        self.future: Future[Any] = Future()
        self.result: Any = None
        self.failure: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Run inside a savepoint. Raises StoreFull when the whole transaction is lost."""
        rows = SqliteRows(connection, writes=True)
        connection.execute("SAVEPOINT work")
        try:
            self.result = self.work(rows) if self.work else None
        except BaseException as failure:  # noqa: BLE001  it is raised where the work came from
            self.failure = failure
        finally:
            rows.open = False
        if rows.broken is not None:
            raise rows.broken
        if self.failure is not None:
            connection.execute("ROLLBACK TO work")
        connection.execute("RELEASE work")

    def tell(self, lost: BaseException | None = None) -> None:
        """Wake the caller; `lost` says that the commit failed, whatever the work did."""
        failure = lost or self.failure
        if failure is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(failure)


class SqlStore:
    """`Store` on one SQLite file, which it creates and migrates.

    Raises `Busy`, `NewerDatabase`, `StoreFull`. With `single_thread` works run in the caller, for
    a simulation; `pages_max` limits the file, in pages of 4 KiB.
    """

    def __init__(
        self, path: Path | str, *, single_thread: bool = False, pages_max: int | None = None
    ) -> None:
        """`path` of the file, or `sqlite:///` and the path; its folder is made with mode 0700."""
        self._path = Path(str(path).removeprefix("sqlite:///"))
        self._local = threading.local()
        self._gate = threading.Lock()
        self._closed = False
        self._idle: list[sqlite3.Connection] = []
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = own(self._path)
        try:
            self._connection = self._prepared(pages_max)
        except BaseException:
            self._lock.release()
            raise
        self._copied = 0
        self._writer = None if single_thread else self._started()

    def _prepared(self, pages_max: int | None) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        self._path.chmod(0o600)
        with meant():
            connection = connect(self._path)
            try:
                self.migrated = migrate(_engine(connection))
                connection.execute(f"PRAGMA {UNDO_IN_MEMORY}")
                if pages_max is not None:
                    connection.execute(f"PRAGMA max_page_count={pages_max}").fetchall()
            except BaseException:
                connection.close()
                raise
        return connection

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._write, name="store", daemon=True)
        thread.start()
        return thread

    # -- for callers -------------------------------------------------------------------------------

    def transact(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        done: T = self._do(Job(work))
        return done

    def scrub(self) -> None:
        """Write the file anew, so that nothing deleted is left in it; needs its size twice."""
        self._do(Job(None))

    def _do(self, job: Job) -> Any:
        self._alone()
        with self._gate:
            self._check_open()
            self._jobs.put(job)
        if self._writer is None:
            self._run(self._waiting())
        return job.future.result()

    def view(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        self._alone()
        self._check_open()
        connection = self._reader()
        rows = SqliteRows(connection, writes=False)
        self._local.busy = True
        try:
            connection.execute("BEGIN")
            return work(rows)
        finally:
            rows.open = self._local.busy = False
            self._give_back(connection)

    def close(self) -> None:
        """Finish what was accepted, then let go of the file."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        if self._writer is not None:
            self._writer.join()
        while self._idle:
            self._idle.pop().close()
        self._checkpoint("TRUNCATE")
        self._connection.close()
        self._lock.release()

    def _alone(self) -> None:
        if getattr(self._local, "busy", False):
            raise RuntimeError("a transaction is open already")

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")

    # -- readers -----------------------------------------------------------------------------------

    def _reader(self) -> sqlite3.Connection:
        with suppress(IndexError):
            return self._idle.pop()
        with meant():
            connection = connect(self._path)
            connection.execute("PRAGMA query_only=ON")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.rollback()
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)

    # -- the writer --------------------------------------------------------------------------------

    def _write(self) -> None:
        while not self._closed or not self._jobs.empty():
            self._run(self._waiting(wait=True))

    def _waiting(self, *, wait: bool = False) -> deque[Job]:
        group: deque[Job] = deque()
        with suppress(queue.Empty):
            while len(group) < GROUP:
                job = self._next(block=wait and not group)
                if job is None:
                    break
                group.append(job)
        return group

    def _next(self, *, block: bool) -> Job | None:
        if not block or self._uncopied() == 0:
            return self._jobs.get(block=block)
        try:
            return self._jobs.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            self._checkpoint("PASSIVE")
            return self._jobs.get()

    def _run(self, group: deque[Job]) -> None:
        self._local.busy = True
        try:
            while group:
                if group[0].work is None:
                    self._rewrite(group.popleft())
                else:
                    self._commit(group)
        finally:
            self._local.busy = False
        if self._uncopied() >= CHECKPOINT_CHANGES:
            self._checkpoint("PASSIVE")

    def _commit(self, group: deque[Job]) -> None:
        """One transaction of as many works as there are; after a failure the rest is left."""
        begun: list[Job] = []
        lost: BaseException | None = None
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            while group and group[0].work is not None:
                begun.append(group.popleft())
                begun[-1].run(self._connection)
            self._connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001  somebody waits for an answer, whatever it is
            lost = _lost(error)
            self._roll_back()
            begun = begun or [group.popleft()]
        for job in begun:
            job.tell(lost)

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # SQLite may have done it by itself
            self._connection.execute("ROLLBACK")
        self._checkpoint("PASSIVE")  # a log copied back whole is written from its start: room

    def _rewrite(self, job: Job) -> None:
        try:
            self._connection.execute("PRAGMA temp_store=FILE")  # it copies the whole file
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            job.failure = _lost(error)
        finally:
            self._connection.execute(f"PRAGMA {UNDO_IN_MEMORY}")
        job.tell()

    def _uncopied(self) -> int:
        return self._connection.total_changes - self._copied

    def _checkpoint(self, kind: str) -> None:
        self._copied = self._connection.total_changes
        with suppress(sqlite3.Error):  # the log keeps everything until it can be copied
            self._connection.execute(f"PRAGMA wal_checkpoint({kind})").fetchall()


def _lost(error: BaseException) -> BaseException:
    return meaning("store", error) if isinstance(error, sqlite3.Error) else error


def _engine(connection: sqlite3.Connection) -> sa.Engine:
    """What migrations want, around a connection that stays ours."""
    return sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.StaticPool)


@contextmanager
def meant() -> Iterator[None]:
    """The driver's errors in our words."""
    try:
        yield
    except sqlite3.Error as error:
        raise meaning("store", error) from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection that begins no transaction by itself; one thread at a time uses it."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


# -- copies ----------------------------------------------------------------------------------------


def copied(path: Path, to: Path) -> int:
    """Copy a database into a new file, as it is at one moment, whoever writes; its size in bytes.

    Nobody who writes waits for it. Raises `StoreFull` where the copy is not whole.
    """
    to.touch(mode=0o600, exist_ok=False)
    try:
        word = filled(path, to)
    except BaseException:
        to.unlink()
        raise
    if word != "ok":
        raise StoreFull(f"{path} is damaged, and so is its copy {to}: {word}")
    synced(to)
    return to.stat().st_size


def filled(path: Path, to: Path) -> str:
    """Write the copy; "ok" where all of it can be read."""
    with meant(), closing(reading(path)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE").fetchall()  # one file holds all of it
        (word,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    return str(word)


def reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, nor tidy up behind those who do."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def replaced(path: Path, copy: Path, meta: Mapping[str, str]) -> Path | None:
    """Put a copy in the place of a database, with these rows in its table `meta`.

    Returns where the one before is kept, None where there was none. Raises `Busy` while somebody
    has it, and `StoreFull` where the copy is no database of ours.
    """
    lock = own(path)
    try:
        fresh = path.with_suffix(".putting-back")
        fresh.unlink(missing_ok=True)
        copied(copy, fresh)
        with meant(), closing(sqlite3.connect(fresh)) as connection, connection:
            if not connection.execute(OURS).fetchall():
                raise StoreFull(f"{copy} is no copy of a hub's database")
            connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", meta.items())
        kept = set_aside(path) if path.exists() else None
        fresh.replace(path)
        synced(path.parent)
    finally:
        lock.release()
    return kept


OURS = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"


def set_aside(path: Path) -> Path:
    """Give a database another name, with all that its log holds; returns it."""
    with meant(), closing(connect(path)) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for log in ("-wal", "-shm"):
        Path(f"{path}{log}").unlink(missing_ok=True)
    return path.replace(path.with_suffix(".before-restore"))


def synced(path: Path) -> None:
    """A file or a folder is on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def own(path: Path) -> filelock.BaseFileLock:
    """Take the file for this process; raises `Busy` naming the one that has it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = Path(f"{path}.lock")
    lock = filelock.FileLock(place, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        pid = place.read_text().strip() or "unknown"
        message = (
            f"{path} is in use by process {pid}, a hub or another command: stop it, or try again "
            "when it is done"
        )
        raise Busy(message) from None
    place.write_text(f"{os.getpid()}\n")
    return lock
