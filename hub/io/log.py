"""The log: topics with partitions, dense offsets and groups of readers, in two homes.

A message is published into the outbox in the transaction that made it; the relay moves what is in
the outbox into its topic, in order. Whoever reads takes a turn: the next messages of its group,
their effects and the group's position, all in one transaction; so delivery is at least once, and
the effect exactly once. A group that is new starts at the earliest message.

`TableLog` keeps the topics as rows of the same store. `KafkaLog` (hub/io/kafka.py) has them in
Apache Kafka; positions and outbox stay in the store there too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from typing import Any, NamedTuple, Protocol, TypeVar
from zlib import crc32

from hub.io.rows import Row, Rows, among, at_least, below

RELAY_AT_ONCE = 1_000
DEAD_KEPT_MS = 7 * 86_400_000  # dead letters have no reader here
Place = tuple[str, int]  # topic and partition
Offsets = dict[Place, int]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `offset` counts from 0 in its partition, without gaps. `at` in ms."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: Mapping[str, str]
    at: int


class Behind(NamedTuple):
    """How far a group is behind in one topic.

    `since` is when the oldest message was published that it has not done (ms), None where there is
    none, or this process does not know it.
    """

    messages: int
    since: int | None


class Moved(Exception):
    """Another process reads here, or relays, by now: nothing of what was begun may be kept."""


class LogDown(Exception):
    """Where the topics lie nobody does what was asked; the text says what to change.

    What was announced waits in the outbox.
    """


class Door(Protocol):
    """What a log needs of `hub.env.Env`."""

    def commit(self, work: Callable[[Rows], T], point: str) -> T:
        """Run in one durable transaction."""

    def view(self, work: Callable[[Rows], T]) -> T:
        """Run on a snapshot, without writing."""

    def wake(self, loop: str, at: int = 0) -> None:
        """Tell a loop that there is work."""


class Log(Protocol):
    """What both homes of the log can do. Every limit is a number of messages.

    `apart`: whether the topics lie outside of the store. Then `relay` has a loop of its own, and
    `turn` waits for news itself, up to half a second; else `turn` relays, and answers at once.
    `differs`: a sentence for each topic that is not as the settings say.
    """

    @property
    def apart(self) -> bool:
        """See above."""

    differs: list[str]

    def start(self) -> None:
        """Make what the topics need to exist. Raises `LogDown` within ten seconds."""

    def called(self, topic: str) -> str:
        """The name by which others know a topic."""
        return topic

    def filled(self) -> list[str]:
        """The topics that hold messages outside of the store. Raises `LogDown`."""
        return []

    def publish(
        self,
        rows: Rows,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Mapping[str, str],
        at: int,
    ) -> None:
        """Announce something, in the transaction that makes it true. `at` in ms."""
        rows.insert("outbox", outgoing(topic, key, value, headers, at))

    def relay(self, env: Door) -> int:
        """Bring what is in the outbox into the topics, in order; returns how many.

        Nothing leaves the outbox before it is there. Raises `Moved` and `LogDown`.
        """

    def turn(
        self,
        env: Door,
        group: str,
        topics: Sequence[str],
        limit: int,
        work: Callable[[Rows, Sequence[Message]], T],
        point: str,
    ) -> tuple[T | None, int]:
        """Take the next messages of a group: what `work` answered, and how many they were.

        `work` and the move of the position are one commit, at `point`. With nothing to take the
        answer is (None, 0), and `work` was not run. Raises what `work` raises, `Moved` and
        `LogDown`: then nothing was kept.
        """

    def peek(self, env: Door, group: str, topics: Sequence[str], limit: int) -> list[Message]:
        """The messages that the next turn would take, of which the last one failed."""

    def done(self, rows: Rows, group: str, messages: Sequence[Message]) -> None:
        """Move a group's position, in the transaction of their effects; never back.

        Raises `Moved`.
        """

    def behind(self, rows: Rows, group: str) -> dict[str, Behind]:
        """How far a group is behind, in each topic that it has read."""

    def lag(self, rows: Rows, group: str) -> int:
        """How many messages a group has not done yet, over the topics that it has read."""
        return sum(one.messages for one in self.behind(rows, group).values())

    def prune(self, rows: Rows, before: int) -> int:
        """Drop messages older than `before` (ms) that nobody has still to read; how many."""

    def reachable(self) -> None:
        """Raise `LogDown` where nobody answers for the topics."""

    def reads(self) -> Mapping[str, int]:
        """Of each group how many partitions this process reads, where several may share them."""
        return {}

    def close(self) -> None:
        """Leave every group; other processes go on with what was read here."""


class TableLog(Log):
    """The embedded log: its topics are rows of the table `log`."""

    apart = False

    def __init__(self, partitions: int = 1) -> None:
        """New messages go into so many `partitions` of each topic; all that exist are read.

        More than one would serve several readers of a group: here is only one. A store that had
        another number keeps what it holds, but a new message may be read before those of its key
        that waited in another partition. The resolver does not mind: it reads a record's inputs
        from the table, in their order.
        """
        self.partitions = partitions
        self.differs = []

    def start(self) -> None:
        """See `Log`; a topic is there as soon as anything is."""

    def relay(self, env: Door) -> int:
        """See `Log`."""
        return env.commit(self._relay, "relay")

    def turn(
        self,
        env: Door,
        group: str,
        topics: Sequence[str],
        limit: int,
        work: Callable[[Rows, Sequence[Message]], T],
        point: str,
    ) -> tuple[T | None, int]:
        """See `Log`; what was announced before the turn, and in it, is relayed in its commit."""

        def whole(rows: Rows) -> tuple[T | None, int]:
            self._relay(rows)
            messages = self._poll(rows, group, topics, limit)
            if not messages:
                return None, 0
            answer = work(rows, messages)
            self.done(rows, group, messages)
            self._relay(rows)
            return answer, len(messages)

        return env.commit(whole, point)

    def peek(self, env: Door, group: str, topics: Sequence[str], limit: int) -> list[Message]:
        """See `Log`."""
        env.commit(self._relay, f"{group}:relay")
        return env.view(lambda rows: self._poll(rows, group, topics, limit))

    def reachable(self) -> None:
        """See `Log`; it is where the store is."""

    def close(self) -> None:
        """See `Log`; nothing is held open."""

    def _relay(self, rows: Rows) -> int:
        waiting = rows.select("outbox", order=("id",), limit=RELAY_AT_ONCE)
        if not waiting:
            return 0
        topics = {row["topic"] for row in waiting}
        ends = offsets(rows, {"group": "", "topic": among(topics)})[""]
        moved: Offsets = {}
        for row in waiting:
            row["partition"] = crc32(row["key"]) % self.partitions
            place = row["topic"], row["partition"]
            row["offset"] = moved.get(place, ends.get(place, 0))
            moved[place] = row["offset"] + 1
        ids = [row.pop("id") for row in waiting]
        rows.insert_many("log", waiting)
        rows.delete("outbox", {"id": among(ids)})
        move(rows, "", moved)
        return len(waiting)

    def _poll(self, rows: Rows, group: str, topics: Sequence[str], limit: int) -> list[Message]:
        """The next messages of a group, each partition in order, at most `limit`.

        Each partition gets a fair share, so that a long one delays no other. The shortest come
        first: what they leave goes to the others, and fewer than `limit` is all that there is.
        """
        found: list[Message] = []
        left = self._left(rows, group, topics)
        shortest = sorted(left, key=lambda place: (len(left[place]), place))
        for n, (topic, partition) in enumerate(shortest):
            first = left[topic, partition].start
            where = {"topic": topic, "partition": partition, "offset": at_least(first)}
            share = ceil((limit - len(found)) / (len(left) - n))
            read = rows.select("log", where, order=("offset",), limit=share)
            found += [Message(**row) for row in read]
        return found

    def _left(self, rows: Rows, group: str, topics: Sequence[str]) -> dict[Place, range]:
        """The offsets that a group has not read yet, of each partition that has such."""
        known = offsets(rows, {"group": among(("", group)), "topic": among(topics)})
        ends, done = known[""], known[group]
        return {at: range(done.get(at, 0), ends[at]) for at in ends if done.get(at, 0) < ends[at]}

    def done(self, rows: Rows, group: str, messages: Sequence[Message]) -> None:
        """See `Log`."""
        done: Offsets = {}
        for m in messages:
            place = m.topic, m.partition
            done[place] = max(m.offset + 1, done.get(place, 0))
        topics = {topic for topic, _ in done}
        before = offsets(rows, {"group": group, "topic": among(topics)})[group]
        move(rows, group, {at: n for at, n in done.items() if n > before.get(at, 0)})

    def behind(self, rows: Rows, group: str) -> dict[str, Behind]:
        """See `Log`."""
        known = offsets(rows, {"group": among(("", group))})
        ends, done = known[""], known[group]
        topics = {topic for topic, _ in done}
        left = {at: max(0, n - done.get(at, 0)) for at, n in ends.items() if at[0] in topics}
        since = {at: published(rows, at, done.get(at, 0)) for at, n in left.items() if n}
        return by_topic(left, since)

    def prune(self, rows: Rows, before: int) -> int:
        """See `Log`; what no group at all has read yet, one will. Dead letters end after a week."""
        known = offsets(rows, {})
        ends = known.pop("", {})
        passed = {at: [done[at] for done in known.values() if at in done] for at in ends}
        dropped = sum(drop(rows, at, min(passed[at]), before) for at in ends if passed[at])
        dead = (at for at in ends if at[0].startswith("dead."))
        return dropped + sum(drop(rows, at, ends[at], before - DEAD_KEPT_MS) for at in dead)


def by_topic(left: Mapping[Place, int], since: Mapping[Place, int | None]) -> dict[str, Behind]:
    """How many messages are left, and since when, of all partitions of each topic."""
    found: dict[str, Behind] = {}
    for (topic, partition), n in left.items():
        before = found.get(topic, Behind(0, None))
        times = [at for at in (before.since, since.get((topic, partition))) if at is not None]
        found[topic] = Behind(before.messages + n, min(times, default=None))
    return found


def published(rows: Rows, place: Place, offset: int) -> int | None:
    """When the message was published that comes next at this offset (ms), None for no message."""
    here = {"topic": place[0], "partition": place[1], "offset": at_least(offset)}
    found = rows.select("log", here, order=("offset",), limit=1, only=("at",))
    return int(found[0]["at"]) if found else None


def drop(rows: Rows, place: Place, passed: int, before: int) -> int:
    """Drop what was passed, up to the first message that is young enough to be kept."""
    here = {"topic": place[0], "partition": place[1]}
    young = {**here, "at": at_least(before)}
    kept = rows.select("log", young, order=("offset",), limit=1, only=("offset",))
    end = min(passed, kept[0]["offset"]) if kept else passed
    return rows.delete("log", {**here, "offset": below(end)})


def offsets(rows: Rows, where: Mapping[str, Any]) -> defaultdict[str, Offsets]:
    """Of each group the offset that it reads next; of the group "" the one that is given next."""
    found: defaultdict[str, Offsets] = defaultdict(dict)
    for row in rows.select("position", where):
        found[row["group"]][row["topic"], row["partition"]] = row["offset"]
    return found


def move(rows: Rows, group: str, to: Offsets) -> None:
    """Keep the offsets that a group has come to."""
    rows.upsert_many(
        "position",
        [
            {"group": group, "topic": topic, "partition": partition, "offset": offset}
            for (topic, partition), offset in to.items()
        ],
    )


def outgoing(
    topic: str, key: bytes, value: bytes | None, headers: Mapping[str, str], at: int
) -> Row:
    """A message as a row of the outbox."""
    return {"topic": topic, "key": key, "value": value, "headers": dict(headers), "at": at}


def traceparent(trace: str, event_id: str) -> dict[str, str]:
    """The W3C header by which one edit can be followed; `trace` is 32 hexadecimal digits."""
    return {"traceparent": f"00-{trace}-{digits(event_id, 8)}-01"}


def digits(text: str, size: int) -> str:
    """Hexadecimal digits of so many bytes that stand for this text, never all zero."""
    return blake2b(text.encode(), digest_size=size).hexdigest()
