"""The log that comes with the hub: Kafka's interface on rows of the same store.

A message is published into the outbox in the transaction that made it; the relay moves outbox rows
in order into topics with partitions and dense offsets. Whoever reads polls from the position of
its group and commits positions in the transaction of its effects: at least once, and exactly one
effect. A group that is new starts at the earliest message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from zlib import crc32

from hub.io.rows import Row, Rows, among, at_least, below

RELAY_AT_ONCE = 1_000


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


class Log:
    """The embedded log. Works in the caller's transaction."""

    def __init__(self, partitions: int = 8) -> None:
        """`partitions` of every topic: fixed for the life of a store."""
        self.partitions = partitions

    def publish(
        self,
        rows: Rows,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Mapping[str, str],
        at: int,
    ) -> None:
        """Announce something, in the transaction that makes it true."""
        rows.insert("outbox", outgoing(topic, key, value, headers, at))

    def relay(self, rows: Rows) -> int:
        """Move what is in the outbox into the topics, in order; returns how many."""
        waiting = rows.select("outbox", order=("id",), limit=RELAY_AT_ONCE)
        ends: dict[tuple[str, int], int] = {}
        moved: list[Row] = []
        for row in waiting:
            place = (row["topic"], crc32(row["key"]) % self.partitions)
            if place not in ends:
                ends[place] = self.end(rows, *place)
            kept = {name: row[name] for name in ("key", "value", "headers", "at")}
            moved.append({"topic": place[0], "partition": place[1], "offset": ends[place], **kept})
            ends[place] += 1
        rows.insert_many("log", moved)
        if waiting:
            rows.delete("outbox", {"id": among(row["id"] for row in waiting)})
        for (topic, partition), offset in ends.items():
            rows.upsert(
                "position", {"group": "", "topic": topic, "partition": partition, "offset": offset}
            )
        return len(waiting)

    def end(self, rows: Rows, topic: str, partition: int) -> int:
        """The offset that the next message will get."""
        row = rows.get("position", group="", topic=topic, partition=partition)
        return int(row["offset"]) if row else 0

    def poll(self, rows: Rows, group: str, topics: Sequence[str], limit: int) -> list[Message]:
        """The next messages of a group, each partition in order, at most `limit`.

        Of what is left each partition gets a fair share, so that a long one delays no other.
        """
        found: list[Message] = []
        behind = self.behind(rows, group, topics)
        for n, ((topic, partition), start) in enumerate(behind.items()):
            where = {"topic": topic, "partition": partition, "offset": at_least(start)}
            share = ceil((limit - len(found)) / (len(behind) - n))
            found += map(_message, rows.select("log", where, order=("offset",), limit=share))
        return found

    def behind(self, rows: Rows, group: str, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """Where a group has not read all: topic and partition to the offset that it reads next."""
        ends, positions = (
            {(r["topic"], r["partition"]): r["offset"] for r in found}
            for found in (
                rows.select("position", {"group": whose, "topic": among(topics)})
                for whose in ("", group)
            )
        )
        return {at: positions.get(at, 0) for at in sorted(ends) if positions.get(at, 0) < ends[at]}

    def waiting(self, rows: Rows, group: str, topics: Sequence[str]) -> bool:
        """Whether anything is announced, or there, that a group has not read."""
        return bool(rows.count("outbox") or self.behind(rows, group, topics))

    def position(self, rows: Rows, group: str, topic: str, partition: int) -> int:
        """The offset that a group reads next."""
        row = rows.get("position", group=group, topic=topic, partition=partition)
        return int(row["offset"]) if row else 0

    def commit(self, rows: Rows, group: str, messages: Iterable[Message]) -> None:
        """These messages are done; a position never moves back."""
        done: dict[tuple[str, int], int] = {}
        for m in messages:
            done[m.topic, m.partition] = max(m.offset + 1, done.get((m.topic, m.partition), 0))
        for (topic, partition), offset in done.items():
            if offset > self.position(rows, group, topic, partition):
                rows.upsert(
                    "position",
                    {"group": group, "topic": topic, "partition": partition, "offset": offset},
                )

    def lag(self, rows: Rows, group: str) -> int:
        """How many messages a group has not done yet, over the topics that it has read."""
        mine = {
            (r["topic"], r["partition"]): r["offset"]
            for r in rows.select("position", {"group": group})
        }
        return sum(max(0, self.end(rows, *place) - offset) for place, offset in mine.items())

    def prune(self, rows: Rows, before: int) -> int:
        """Drop messages older than `before` (ms) that every group of their topic has passed."""
        dropped = 0
        for row in rows.select("position", {"group": ""}):
            behind = self._all_passed(rows, row)
            dropped += rows.delete(
                "log",
                {
                    "topic": row["topic"],
                    "partition": row["partition"],
                    "offset": below(behind),
                    "at": below(before),
                },
            )
        return dropped

    def _all_passed(self, rows: Rows, end: Row) -> int:
        """The offset that everybody has come to; what nobody has read yet, somebody will."""
        groups = [
            r["offset"]
            for r in rows.select("position", {"topic": end["topic"], "partition": end["partition"]})
            if r["group"]
        ]
        return min(groups, default=0)


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


def _message(row: Row) -> Message:
    return Message(
        row["topic"],
        row["partition"],
        row["offset"],
        row["key"],
        row["value"],
        row["headers"],
        row["at"],
    )
