"""Several processes on one PostgreSQL: what they decide is what one alone would have decided.

Each thread here has connections, caches and a hub of its own; only the database is shared.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from connectors._kit.simtool import Profile
from hub import capture, recheck, replay, resolve
from hub.env import Hub, System
from hub.io import history
from hub.io.postgres import PostgresStore
from hub.io.rows import Rows
from hub.tools.world import RealClock, World
from hub.wiring import RealEnv

TOOLS = ("A", "B", "C")
PEOPLE = 40  # so few that everybody works on the same ones


class Queue:
    """One after the other: the tools are no databases."""

    def __init__(self, connector: Any, lock: threading.RLock) -> None:
        self._connector, self._lock = connector, lock

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connector, name)
        if not callable(found):
            return found

        def called(*args: Any, **named: Any) -> Any:
            with self._lock:
                return found(*args, **named)

        return called


@contextmanager
def racing(url: str) -> Iterator[tuple[World, Callable[[], Hub], threading.RLock]]:
    """Three tools on PostgreSQL, what makes one more process of their hub, and the tools' lock."""
    lock = threading.RLock()
    stores: list[PostgresStore] = []

    def opened() -> PostgresStore:
        stores.append(PostgresStore(url, connections=2))
        return stores[-1]

    world = World(
        {name: Profile(settle_ms=200, page=20) for name in TOOLS},
        clock=RealClock(),
        opens=opened,
        wrap=lambda connector: Queue(connector, lock),
    )

    def process() -> Hub:
        return replace(world.hub, env=RealEnv(opened()))

    try:
        yield world, process, lock
    finally:
        for store in stores:
            store.close()


def types(world: World, chance: random.Random, lock: threading.RLock, name: str) -> None:
    """Somebody changes something that makes or breaks a match, or does not."""
    native = str(chance.randrange(PEOPLE))
    app = {
        "mail": f"m{chance.randrange(PEOPLE // 2)}@x.com",
        "tel": f"+1 202 555 01{chance.randrange(30):02}",
        "last": f"Doe{chance.randrange(3)}",
        "title": f"title {chance.randrange(1_000)}",
    }
    chosen = chance.sample(sorted(app), 2)
    with lock:
        world.tools[name].act(f"{name}{native}", {k: app[k] for k in chosen})


def captures(hub: Hub, system: System) -> None:
    """What has changed, some pages of it."""
    for _ in range(5):
        capture.step(hub, replace(system, poll_ms=0))


def resolves(hub: Hub, chance: random.Random) -> int:
    """Some of what waits, whoever else does the same; how much it was."""

    def waiting(rows: Rows) -> list[str]:
        found = rows.select("input", {"status": "pending"}, limit=400, only=("uid",))
        return sorted({row["uid"] for row in found})

    uids = hub.env.view(waiting)
    some = chance.sample(uids, min(len(uids), chance.randrange(1, 30)))
    if not some:
        return 0
    done = hub.env.commit(lambda rows: resolve.resolve(rows, hub, some), "some")
    resolve.follow(hub, done)
    return len(some)


def at_once(*works: Callable[[], None]) -> None:
    """Each in a thread of its own; raises what any of them raised."""
    failed: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  it is raised below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def deadlocks(url: str) -> int:
    """How many the server has found and broken."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0


@pytest.mark.timeout(300)
def test_contended_inputs_are_resolved_as_by_one_alone(postgres: str) -> None:
    """10,000 inputs about few people: no deadlock, and every order gives the same."""
    wanted = 10_000
    with racing(postgres) as (world, process, lock):
        feeding = threading.Event()

        def feeds(name: str) -> Callable[[], None]:
            hub, chance = process(), random.Random(name)

            def work() -> None:
                while not feeding.is_set():
                    for _ in range(60):
                        types(world, chance, lock, name)
                    captures(hub, hub.systems[name])
                    if hub.env.view(lambda rows: rows.count("input")) >= wanted:
                        feeding.set()

            return work

        def works(n: int) -> Callable[[], None]:
            hub, chance = process(), random.Random(n)

            def work() -> None:
                while resolves(hub, chance) or not feeding.is_set():
                    pass

            return work

        at_once(*map(feeds, TOOLS), *map(works, range(4)))
        assert world.store.view(lambda r: r.count("input", {"status": "pending"})) == 0
        assert world.store.view(lambda r: r.count("input")) >= wanted
        assert world.store.view(lambda r: r.count("recheck")) == 0
        assert deadlocks(postgres) == 0
        births, inputs = world.store.view(lambda r: replay.recorded(r, world.hub))
        again = replay.refold(world.hub, births, inputs, batch=200)
        assert world.exported() == world.exported(again)
        assert len(world.exported()) > 10


Half = tuple[Hub, resolve.Done]


def both_at_once(world: World, process: Callable[[], Hub]) -> list[Half]:
    """Two records with one e-mail address, each resolved by a process of its own.

    Neither commits before the other has decided. Their history goes into two lanes: else one would
    wait for the other's.
    """
    for name in "AB":
        for n in range(9):
            world.tools[name].act(f"{name}{n}", {"mail": f"m{n}@x.com", "last": "Doe"})
        captures(world.hub, world.hub.systems[name])
    pairs = [[world.uid(name, f"{name}{n}") or "" for name in "AB"] for n in range(9)]
    pair = next(p for p in pairs if len({*map(history.lane_of, p)}) == len(p))
    met = threading.Barrier(2)
    halves: list[Half] = []

    def half(uid: str) -> Callable[[], None]:
        hub = process()

        def work(rows: Rows) -> resolve.Done:
            done = resolve.resolve(rows, hub, [uid])
            met.wait(5)
            return done

        return lambda: halves.append((hub, hub.env.commit(work, "half")))

    at_once(*map(half, pair))
    return halves


def test_what_two_could_not_see_is_seen_afterwards(postgres: str) -> None:
    """Whoever looks again finds what the other has committed."""
    with racing(postgres) as (world, process, _):
        halves = both_at_once(world, process)
        assert len(world.exported()) == 2, "neither could see the other"
        for hub, done in halves:
            resolve.follow(hub, done)
        assert len(world.exported()) == 1
        assert world.store.view(lambda r: r.count("recheck")) == 0


def test_who_promised_to_look_again_and_died_is_stood_in_for(postgres: str) -> None:
    """The row says what is to be looked at, whoever does it."""
    with racing(postgres) as (world, process, _):
        both_at_once(world, process)
        assert resolve.look_for_others(world.hub) is None, "they may still do it themselves"
        old = {"at": world.clock() - recheck.OVERDUE_MS}
        world.store.transact(lambda r: r.update("recheck", {}, old))
        resolve.follow(world.hub, resolve.look_for_others(world.hub))
        assert len(world.exported()) == 1
        assert world.store.view(lambda r: r.count("recheck")) == 0
