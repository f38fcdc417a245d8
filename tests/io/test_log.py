"""One suite for every home of the log: order, positions, groups, and what failed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from hub.io.kafka import KafkaLog
from hub.io.log import Log, Message, TableLog
from hub.io.postgres import PostgresStore
from hub.io.rows import Rows, Store
from hub.io.store import SqlStore
from hub.io.twin import DictStore
from hub.settings import Kafka
from hub.wiring import RealEnv

START = time.time_ns() // 1_000_000  # a broker drops at once what is old
PATIENCE = 30  # seconds for what has to come


@dataclass
class Home:
    """A log in its home, and the store beside it."""

    env: RealEnv
    log: Log

    def announce(self, topic: str, *keys: str) -> None:
        """One message of each key, its number as its value, brought into the topic."""

        def work(rows: Rows) -> None:
            for n, key in enumerate(keys):
                value = str(n).encode()
                self.log.publish(rows, topic, key.encode(), value, {"n": str(n)}, START + n)

        self.env.commit(work, "")
        self.relay()

    def relay(self) -> int:
        """Bring all that waits into its topics; returns how many it were."""
        moved = 0
        while some := self.log.relay(self.env):
            moved += some
        return moved

    def turn(self, group: str, topic: str, limit: int) -> Sequence[Message]:
        """What a group reads next."""
        found, many = self.log.turn(self.env, group, topic.split(), limit, lambda _, some: some, "")
        assert many == len(found or ())
        assert many <= limit
        return found or ()

    def read(self, group: str, topic: str, count: int, limit: int = 7) -> list[Message]:
        """So many messages as they come, and that no other follows."""
        found: list[Message] = []
        end = time.monotonic() + PATIENCE
        while len(found) < count and time.monotonic() < end:
            found += self.turn(group, topic, limit)
        assert not self.turn(group, topic, limit)
        assert len(found) == count
        return found

    def at_rest(self, group: str, topic: str) -> bool:
        """Whether a group has read all there is, and is told to be nowhere behind."""
        end = time.monotonic() + PATIENCE
        while self.env.view(lambda rows: self.log.lag(rows, group)) and time.monotonic() < end:
            assert not self.turn(group, topic, 9)
        return self.env.view(lambda rows: self.log.lag(rows, group)) == 0


@pytest.fixture(params=["sqlite", "twin"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each store whose rows are a log, in turn."""
    with closing(made(request.param, tmp_path)) as store:
        yield store


def made(kind: str, folder: Path) -> Store:
    """An empty store."""
    return SqlStore(folder / "hub.db") if kind == "sqlite" else DictStore()


@pytest.fixture(params=["sqlite", "twin", "kafka"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """A log of four partitions, in each home; beside Kafka that is PostgreSQL."""
    if request.param == "kafka":
        address, log = request.getfixturevalue("postgres"), on(request.getfixturevalue("kafka"))
        with closing(PostgresStore(address)) as beside, closing(log):
            yield Home(RealEnv(beside), log)
    else:
        with closing(made(request.param, tmp_path)) as store:
            yield Home(RealEnv(store), TableLog(4))


def on(address: str, **more: Any) -> KafkaLog:
    """A log on these brokers, that shares nothing with any other."""
    told = {"bootstrap": address, "prefix": f"{uuid4().hex[:8]}.", "partitions": 4}
    return KafkaLog(Kafka(**{**told, "replication": 1, **more}), Path(), ["cdc.t"])


# -- in every home -----------------------------------------------------------------------------


def test_how_far_a_group_is_behind(home: Home) -> None:
    """In messages, and since when the oldest of them waits, until the last one is read."""
    home.announce("cdc.t", *(f"k{n}" for n in range(12)))
    home.log.reachable()
    end, read = time.monotonic() + PATIENCE, list[int]()
    while len(read) < 6 and time.monotonic() < end:
        read += [int(m.value or b"") for m in home.turn("g", "cdc.t", 3)]
    one = home.env.view(lambda rows: home.log.behind(rows, "g"))["cdc.t"]
    left = set(range(12)) - set(read)
    assert one.messages >= len(left)
    assert one.since is not None
    assert START <= one.since <= START + max(left)
    assert home.log.reads() == ({"g": 4} if home.log.apart else {})
    home.read("g", "cdc.t", len(left))
    assert home.at_rest("g", "cdc.t")
    assert home.env.view(lambda rows: home.log.behind(rows, "g"))["cdc.t"] == (0, None)


def test_the_order_of_each_key_is_kept(home: Home) -> None:
    """Messages of one key come in order, each once, and as they were published."""
    home.announce("cdc.t", *(f"k{n % 5}" for n in range(30)))
    found = home.read("g", "cdc.t", 30)
    seen: dict[bytes, list[int]] = {}
    for m in found:
        n = int(m.value or b"")
        assert (m.topic, m.headers, m.at) == ("cdc.t", {"n": str(n)}, START + n)
        seen.setdefault(m.key, []).append(n)
    assert sorted(n for ns in seen.values() for n in ns) == list(range(30))
    assert all(ns == sorted(ns) for ns in seen.values())
    assert home.at_rest("g", "cdc.t")


def broken(home: Home, limit: int) -> Sequence[Message]:
    """What was in a turn that failed after its effect."""
    seen: list[Sequence[Message]] = []

    def fail(rows: Rows, messages: Sequence[Message]) -> None:
        seen.append(messages)
        rows.insert("meta", {"name": "effect", "value": ""})
        raise KeyError

    end = time.monotonic() + PATIENCE
    with suppress(KeyError):
        while time.monotonic() < end:
            home.log.turn(home.env, "g", ["cdc.t"], limit, fail, "")
    return seen[0]


def test_a_turn_that_failed_comes_again(home: Home) -> None:
    """Its effects are not kept, a look shows the same messages, and the next turn begins so."""
    home.announce("cdc.t", *"abcdefgh")
    seen = broken(home, 5)
    assert home.log.peek(home.env, "g", ["cdc.t"], 5) == seen
    assert home.env.view(lambda rows: rows.get("meta", name="effect")) is None
    again = home.turn("g", "cdc.t", 5)
    assert again[: len(seen)] == seen
    home.read("g", "cdc.t", 8 - len(again))


def test_what_was_done_after_a_failure_does_not_come_again(home: Home) -> None:
    """Messages that were taken one by one, and passed, are not in the next turn."""
    home.announce("cdc.t", *"abcdefgh")
    broken(home, 8)
    some = home.log.peek(home.env, "g", ["cdc.t"], 8)
    home.env.commit(lambda rows: home.log.done(rows, "g", some), "")
    rest = home.read("g", "cdc.t", 8 - len(some))
    assert sorted(m.key for m in [*some, *rest]) == [k.encode() for k in "abcdefgh"]


def test_each_group_reads_all(home: Home) -> None:
    """A group that comes later starts at the earliest message."""
    home.announce("cdc.t", *"abc")
    first = home.read("early", "cdc.t", 3)
    home.announce("cdc.t", *"d")
    assert home.read("early", "cdc.t", 1)[0].key == b"d"
    assert sorted(m.key for m in home.read("late", "cdc.t", 4)) == [b"a", b"b", b"c", b"d"]
    assert home.at_rest("early", "cdc.t")
    assert home.at_rest("late", "cdc.t")
    assert {m.key for m in first} == {b"a", b"b", b"c"}


def test_a_long_topic_does_not_keep_the_others_waiting(home: Home) -> None:
    """What is short is read soon, though the long one is far from its end."""
    home.announce("cdc.a", *(f"k{n}" for n in range(30_000)))
    home.announce("cdc.b", *"xyz")
    found: list[Message] = []
    end = time.monotonic() + PATIENCE
    while sum(m.topic == "cdc.b" for m in found) < 3 and time.monotonic() < end:
        found += home.turn("g", "cdc.a cdc.b", 200)
    assert sum(m.topic == "cdc.b" for m in found) == 3
    assert len(found) < 15_000


def test_a_position_never_moves_back(home: Home) -> None:
    """Old messages that are done once more are not read again."""
    home.announce("cdc.t", *"aaaaa")
    old: list[Message] = []
    end = time.monotonic() + PATIENCE
    while len(old) < 2 and time.monotonic() < end:
        old += home.turn("g", "cdc.t", 2 - len(old))
    home.read("g", "cdc.t", 3)
    home.env.commit(lambda rows: home.log.done(rows, "g", old), "")
    assert home.at_rest("g", "cdc.t")


def test_what_failed_is_not_announced(home: Home) -> None:
    """An event of a transaction that failed never reaches the log."""

    def fail(rows: Any) -> None:
        home.log.publish(rows, "cdc.t", b"k", b"", {}, 1)
        raise KeyError

    with pytest.raises(KeyError):
        home.env.commit(fail, "")
    assert home.relay() == 0


def test_a_value_may_be_missing(home: Home) -> None:
    """A tombstone is a message without a value."""
    home.env.commit(lambda rows: home.log.publish(rows, "cdc.t", b"k", None, {}, START), "")
    home.relay()
    assert home.read("g", "cdc.t", 1)[0].value is None


# -- rows of the store ---------------------------------------------------------------------------


def test_every_partition_has_its_fair_share(store: Store) -> None:
    """What the short ones leave of the limit goes to the long ones."""
    home = Home(RealEnv(store), TableLog(4))
    home.announce("cdc.a", *(f"k{n}" for n in range(100)))
    home.announce("cdc.b", *(f"k{n}" for n in range(3)))
    found = home.turn("g", "cdc.a cdc.b", 20)
    assert sum(m.topic == "cdc.b" for m in found) == 3
    assert len(found) == 20


def test_more_partitions_than_a_turn_may_read_come_one_after_the_other(store: Store) -> None:
    """The limit holds, and all of it comes to be read."""
    home = Home(RealEnv(store), TableLog(8))
    home.announce("cdc.a", *(f"k{n}" for n in range(50)))
    home.read("g", "cdc.a", 50, limit=3)


def test_the_log_is_pruned_behind_every_group(store: Store) -> None:
    """Nothing is dropped that a group has still to read; offsets go on afterwards."""
    home = Home(RealEnv(store), TableLog(1))
    home.announce("cdc.t", *"kkkkkk")
    home.turn("slow", "cdc.t", 2)
    home.turn("fast", "cdc.t", 9)
    assert pruned(home) == 2
    home.announce("cdc.t", "k")
    assert [m.offset for m in home.turn("slow", "cdc.t", 9)] == [2, 3, 4, 5, 6]


def pruned(home: Home) -> int:
    """How many messages are dropped, all of them being old."""
    return home.env.commit(lambda rows: home.log.prune(rows, START + 10_000), "")


def test_nothing_is_pruned_before_anybody_has_read_it(store: Store) -> None:
    """A reader that is far behind finds all of it, however old."""
    home = Home(RealEnv(store), TableLog(1))
    home.announce("cdc.t", *"abc")
    assert pruned(home) == 0
    home.read("g", "cdc.t", 3)
    assert pruned(home) == 3


@pytest.mark.parametrize(("before", "after"), [(8, 1), (1, 8)])
def test_another_number_of_partitions_loses_nothing(store: Store, before: int, after: int) -> None:
    """What was written and read before is neither lost nor repeated, and all of it is pruned."""
    first, second = (Home(RealEnv(store), TableLog(n)) for n in (before, after))
    keys = [f"k{n}" for n in range(20)]
    first.announce("cdc.t", *keys)
    read = list(first.turn("g", "cdc.t", 7))
    second.announce("cdc.t", *keys)
    read += second.read("g", "cdc.t", 40 - len(read))
    assert sorted(m.key.decode() for m in read) == sorted(2 * keys)
    assert len({(m.partition, m.offset) for m in read}) == 40
    assert second.at_rest("g", "cdc.t")
    assert pruned(second) == 40
