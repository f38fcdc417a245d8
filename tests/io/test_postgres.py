"""PostgreSQL as it fails: answers that get lost, processes that stand still, servers that go."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psycopg
import pytest

from deploy.local.parts import Postgres
from hub.io.postgres import IDLE_MS, PostgresStore
from hub.io.rows import Rows, StoreFull
from hub.io.state import add_alias, birth, find_alias
from hub.pure.model import Record

LONG = os.environ.get("HUB_TEST_LONG") == "1"
UID = "01a0c450-7f5a-75b1-a522-4a58b791f1d8"


@dataclass
class Wire:
    """A way to a server that can be cut at the next commit.

    `cut`: "before" the server has it, "after" its answer has come back, or the client's end alone
    ("asleep"), so that the server goes on waiting for it.
    """

    server: tuple[str, int]
    cut: str = ""
    cuts: int = 0
    kept: list[socket.socket] = field(default_factory=list)

    def serve(self, listening: socket.socket) -> None:
        """Take connections until the socket is closed."""
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client: socket.socket) -> None:
        """Bytes to and fro, until somebody hangs up or it is cut."""
        server = socket.create_connection(self.server)
        with suppress(OSError):
            while self.passes(client, server):
                pass
        client.close()
        if server not in self.kept:
            server.close()

    def passes(self, client: socket.socket, server: socket.socket) -> bool:
        """One piece, one way or the other; whether there may be more."""
        for ready in select.select([client, server], [], [])[0]:
            piece = ready.recv(65_536)
            if ready is client and self.cut and b"COMMIT" in piece:
                return self.cuts_off(piece, server)
            (server if ready is client else client).sendall(piece)
            if not piece:
                return False
        return True

    def cuts_off(self, piece: bytes, server: socket.socket) -> bool:
        """The client never hears of this commit."""
        how, self.cut = self.cut, ""
        self.cuts += 1
        if how == "after":
            server.sendall(piece)
            assert server.recv(65_536)
        if how == "asleep":
            self.kept.append(server)
        return False


@contextmanager
def wire(address: str) -> Iterator[tuple[Wire, str]]:
    """A wire to a server, and the address at its near end."""
    url = urlsplit(address)
    made = Wire((url.hostname or "", url.port or 0))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=made.serve, args=(listening,), daemon=True).start()
        user = url.netloc.rpartition("@")[0]
        near = f"{user}@127.0.0.1:{listening.getsockname()[1]}"
        try:
            yield made, url._replace(netloc=near).geturl()
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for server in made.kept:
                server.close()


def counts(ran: list[int]) -> Callable[[Rows], None]:
    """A work whose every run and every effect can be counted."""

    def work(rows: Rows) -> None:
        ran.append(1)
        rows.add("counter", {"system": "test", "name": "effects"}, "n", 1)

    return work


def effects(store: PostgresStore) -> int:
    """How often it had its effect."""
    row = store.view(lambda rows: rows.get("counter", system="test", name="effects"))
    return int(row["n"]) if row else 0


@pytest.mark.parametrize(("cut", "runs"), [("after", 1), ("before", 2), ("asleep", 2)])
def test_a_commit_whose_answer_is_lost(cut: str, runs: int, postgres: str) -> None:
    """The server is asked what became of it: what was kept is not done again, what was not is."""
    ran: list[int] = []
    with wire(postgres) as (made, address), closing(PostgresStore(address)) as store:
        store.transact(lambda rows: rows.count("counter"))
        made.cut = cut
        begun = time.monotonic()
        store.transact(counts(ran))
        assert (len(ran), effects(store), made.cuts) == (runs, 1, 1)
        assert time.monotonic() - begun < IDLE_MS / 1000 + 5


# -- who stands still ------------------------------------------------------------------------------

SCRIPT = """
import sys, time
from hub.io.postgres import PostgresStore

store = PostgresStore(sys.argv[1])
runs = 0


def work(rows):
    global runs
    runs += 1
    rows.lock([sys.argv[2]])
    rows.add("counter", {"system": "test", "name": "effects"}, "n", 1)
    if runs == 1:
        print("held", flush=True)
        time.sleep(1)


store.transact(work)
print("kept", runs, flush=True)
"""


def test_who_stands_still_in_a_transaction_loses_it(postgres: str) -> None:
    """The records that a paused process holds are free again, and it does its work anew."""
    with closing(PostgresStore(postgres)) as store:
        store.transact(lambda rows: birth(rows, Record(UID, "person", "crm", "contacts")))
        words = [sys.executable, "-c", SCRIPT, postgres, UID]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as paused:  # noqa: S603
            assert paused.stdout is not None
            assert paused.stdout.readline() == "held\n"
            paused.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            store.transact(lambda rows: rows.lock([UID]))
            waited = time.monotonic() - begun
            paused.send_signal(signal.SIGCONT)
            assert paused.stdout.readline() == "kept 2\n"
        assert effects(store) == 1
        assert IDLE_MS / 1000 - 3 < waited < IDLE_MS / 1000 + 3


# -- servers that go -------------------------------------------------------------------------------


class Load:
    """Threads that count up, each effect as often as it was told to have been kept."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.kept = [0] * 4
        self.refused = 0
        self.over = threading.Event()

    def go(self, n: int) -> None:
        """One transaction after the other; who is refused rests a moment."""
        while not self.over.is_set():
            try:
                self.store.transact(lambda rows: rows.add("counter", place(n), "n", 1))
                self.kept[n] += 1
                self.counted()
            except StoreFull:
                self.refused += 1
                self.over.wait(0.2)

    def counted(self) -> list[int]:
        """What the store holds."""
        found = self.store.view(lambda rows: [rows.get("counter", **place(n)) for n in range(4)])
        return [row["n"] if row else 0 for row in found]


def place(n: int) -> dict[str, str]:
    """The key of a thread's counter."""
    return {"system": "load", "name": str(n)}


@contextmanager
def under_load(store: PostgresStore) -> Iterator[Load]:
    """Work goes on meanwhile; afterwards what was kept is what is there."""
    load = Load(store)
    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(load.go, n) for n in range(4)]
        try:
            yield load
            before = sum(load.kept)
            end = time.monotonic() + 60
            while sum(load.kept) < before + 20 and time.monotonic() < end:
                time.sleep(0.05)
            assert sum(load.kept) >= before + 20, "it goes on"
        finally:
            load.over.set()
        for one in ends:
            one.result()
    assert load.counted() == load.kept


def terminate(admin: psycopg.Connection[tuple[object, ...]]) -> None:
    """Cut off whoever is connected."""
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_a_pool_of_broken_connections_fails_nobody(postgres: str) -> None:
    """However many were at rest when the server went."""
    together = threading.Barrier(8)
    with closing(PostgresStore(postgres, connections=8)) as store:

        def meet(_: Rows) -> None:
            together.wait(10)

        for work in (store.view, store.transact):
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(work, [meet] * 8))
            with psycopg.connect(postgres, autocommit=True) as admin:
                terminate(admin)
            time.sleep(0.2)
            work(lambda rows: rows.count("counter"))


def test_backends_are_terminated_under_load(postgres: str) -> None:
    """Whoever loses its connection does its work again, or hears that nothing was kept."""
    with closing(PostgresStore(postgres)) as store, under_load(store) as load:
        with psycopg.connect(postgres, autocommit=True) as admin:
            for _ in range(20):
                time.sleep(0.1)
                terminate(admin)
        assert sum(load.kept) > 0


LASTING = [1, pytest.param(60, marks=pytest.mark.skipif(not LONG, reason="HUB_TEST_LONG=1"))]


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("seconds", LASTING)
@pytest.mark.timeout(300)
def test_a_server_goes_and_comes_back(
    seconds: int, how: str, own_postgres: Callable[..., Postgres]
) -> None:
    """What was told to be kept is there, and nothing twice; work goes on by itself."""
    server = own_postgres()
    with closing(PostgresStore(server.address)) as store, under_load(store) as load:
        for _ in range(1 if seconds > 1 else 2):
            time.sleep(0.5)
            getattr(server, how)()
            time.sleep(seconds)
            server.start()
        assert sum(load.kept) > 0


# -- at the same moment ----------------------------------------------------------------------------


def test_who_is_late_to_name_a_record_looks_again(postgres: str) -> None:
    """Two meet a new record at once: one names it, the other finds that, and neither fails."""
    together = threading.Barrier(2)
    first: set[int] = set()

    def meet(rows: Rows, n: int) -> str:
        known = find_alias(rows, "crm", "contacts", "1")
        if n not in first:
            first.add(n)
            together.wait(10)
        if known is None:
            add_alias(rows, "crm", "contacts", "1", known := UID[:-1] + str(n))
        return known

    with closing(PostgresStore(postgres)) as store, ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda n: store.transact(lambda rows: meet(rows, n)), range(2))
    assert one == other


# -- starts ----------------------------------------------------------------------------------------


def test_many_start_at_once_on_an_empty_database(postgres: str) -> None:
    """One makes the tables, the others wait for it."""
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: PostgresStore(postgres), range(6)))
    for n, store in enumerate(stores):
        with closing(store):
            store.transact(counts([]))
            assert effects(store) == n + 1


def test_a_start_waits_for_the_migrations_of_another(postgres: str) -> None:
    """Who is in the middle of them has the lock; whoever comes next finds them done."""
    held = "SELECT pg_advisory_xact_lock(hashtextextended('synchub synchub', 0))"
    with psycopg.connect(postgres) as other, ThreadPoolExecutor(1) as pool:
        other.execute(held)
        started = pool.submit(PostgresStore, postgres)
        time.sleep(1)
        assert not started.done()
        other.commit()
        with closing(started.result(30)) as store:
            assert effects(store) == 0
