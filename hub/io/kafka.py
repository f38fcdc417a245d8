"""The log in Apache Kafka. Outbox and positions stay in the store: it alone says what was done.

The broker carries messages, at least once; that each has one effect is the store's doing. Whoever
is given a partition raises the epoch of its position, in a transaction of its own, and starts at
the offset that is stored there. A turn moves the position only under its own epoch: a reader that
was paused, and replaced meanwhile, can keep nothing. Offsets are told to the broker as well, for
tools that show how far readers are behind; nothing here reads them.

The relay publishes what is in the outbox in transactions of one producer for all of the hub. When
another relay starts, the broker shuts out the one before it. Nothing leaves the outbox before the
broker has acknowledged it, so a relay that dies publishes some messages twice, in order.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as Received

from hub.io.brokers import Brokers, advice_on, data_client
from hub.io.log import Behind, Door, Log, LogDown, Message, Moved, Offsets, Place, by_topic
from hub.io.rows import Conflict, Row, Rows, among
from hub.io.state import count
from hub.settings import Kafka

T = TypeVar("T")
LOG = structlog.get_logger()
RELAY_AT_ONCE = 5_000
WAIT_S = 0.5  # for the next message
PATIENCE_S = 10
ENDS_KEPT_S = 2  # how far a reader is behind is asked by pages, metrics and alerts
TOPIC = re.compile(r"(cdc|dead|golden)\.[A-Za-z0-9._-]{1,200}")
READS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    # A new reader moves only the partitions that it gets: the others go on without a stop.
    "partition.assignment.strategy": "cooperative-sticky",
    # A dead reader is replaced within eleven seconds; one that hangs in a turn, within a minute.
    "session.timeout.ms": 8_000,
    "heartbeat.interval.ms": 2_500,
    "max.poll.interval.ms": 60_000,
    # Little is fetched ahead, so that a long partition keeps no other waiting.
    "queued.min.messages": 1_000,
    "fetch.message.max.bytes": 65_536,
    "fetch.queue.backoff.ms": 20,
    "topic.metadata.refresh.interval.ms": 10_000,
}
WRITES = {
    "partitioner": "murmur2_random",  # as Java's clients do it: equal keys lie in equal partitions
    "transaction.timeout.ms": 15_000,  # one that is left open keeps readers waiting so long
    "topic.metadata.propagation.max.ms": 3_000,
}
SHUT_OUT = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)  # noqa: SLF001
UNKNOWN = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
)
UNFIT = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.TOPIC_EXCEPTION,
)


class Unfit(Exception):
    """A broker takes none of these messages, as long as one of them is among them."""


class KafkaLog(Log):
    """`Log` in Apache Kafka. One thread of a process reads a group, and one relays.

    `topics` are those that are made at the start.
    """

    apart = True

    def __init__(self, kafka: Kafka, folder: Path, topics: Iterable[str]) -> None:
        """Nothing is asked yet. Raises `BadSettings`; files lie in `folder`, beside hub.yaml."""
        self.brokers = Brokers(kafka, folder)
        self.topics = sorted(topics)
        self.differs = []
        self.sender = Sender(data_client(kafka, folder), kafka.prefix)
        self._reads = {**data_client(kafka, folder), **READS}
        self._readers: dict[str, Reader] = {}
        self._ends: tuple[float, dict[Place, int]] = 0.0, {}
        self._level: dict[
            tuple[str, Place], int
        ] = {}  # when a group was last seen at an end, in ms

    def start(self) -> None:
        """Make the topics that are missing, and see which differ from hub.yaml.

        Raises `LogDown` within ten seconds.
        """
        self.brokers.make(self.topics)
        self.differs = self.brokers.differences(self.topics)
        for sentence in self.differs:
            LOG.warning("topic_differs", hint=sentence)

    def called(self, topic: str) -> str:
        """See `Log`."""
        return self.brokers.kafka.prefix + topic

    def filled(self) -> list[str]:
        """See `Log`."""
        places = [(t, n) for t in self.topics for n in range(self.brokers.kafka.partitions)]
        ends = self.brokers.ends(places)
        return sorted({self.called(t) for (t, _), (first, end) in ends.items() if end > first})

    # -- out of the store --------------------------------------------------------------------------

    def relay(self, env: Door) -> int:
        """See `Log`."""
        waiting = env.view(lambda rows: rows.select("outbox", order=("id",), limit=RELAY_AT_ONCE))
        if not waiting:
            return 0
        self._begin(env, {row["topic"] for row in waiting})
        fit = [row for row in waiting if TOPIC.fullmatch(row["topic"])]
        sent = {row["id"] for row in self.sender.send(fit)}
        env.commit(partial(relayed, waiting, sent), "relay")
        return len(waiting)

    def _begin(self, env: Door, topics: Iterable[str]) -> None:
        """Have a producer, and the topics."""
        if self.sender.producer is None:
            env.commit(lambda _: None, "relay:begin")  # only who may commit shuts others out
            self.sender.begin()
        new = {t for t in topics if TOPIC.fullmatch(t)} - self.sender.topics
        if new:
            self.brokers.make(new)
            self.sender.topics |= new

    # -- into the store ----------------------------------------------------------------------------

    def turn(
        self,
        env: Door,
        group: str,
        topics: Sequence[str],
        limit: int,
        work: Callable[[Rows, Sequence[Message]], T],
        point: str,
    ) -> tuple[T | None, int]:
        """See `Log`; what a failed turn has left comes first."""
        messages = self._taken(env, group, topics, limit)
        if not messages:
            return None, 0

        def whole(rows: Rows) -> T:
            answer = work(rows, messages)
            self.done(rows, group, messages)
            return answer

        try:
            answer = env.commit(whole, point)
        except Moved:
            self._leave(group)
            raise
        self._readers[group].passed(messages)
        env.wake("relay")
        return answer, len(messages)

    def _taken(self, env: Door, group: str, topics: Sequence[str], limit: int) -> list[Message]:
        try:
            return self._reader(env, group, topics).take(limit)
        except KafkaException as error:
            self._leave(group)
            raise down(error.args[0]) from error
        except BaseException:  # it was given partitions, and could not say so
            self._leave(group)
            raise

    def _reader(self, env: Door, group: str, topics: Sequence[str]) -> Reader:
        reader = self._readers.get(group)
        if reader is None:
            reader = self._readers[group] = Reader(self._reads, group, self.brokers)
        reader.subscribe(env, topics)
        return reader

    def _leave(self, group: str) -> None:
        if reader := self._readers.pop(group, None):
            reader.close()

    def peek(self, env: Door, group: str, topics: Sequence[str], limit: int) -> list[Message]:
        """See `Log`."""
        del env, topics
        reader = self._readers.get(group)
        return reader.held[:limit] if reader else []

    def done(self, rows: Rows, group: str, messages: Sequence[Message]) -> None:
        """See `Log`."""
        reader = self._readers.get(group)
        advance(rows, group, reader.epochs if reader else {}, ends_of(messages))

    # -- how it is ---------------------------------------------------------------------------------

    def behind(self, rows: Rows, group: str) -> dict[str, Behind]:
        """See `Log`; as of a moment ago, and as last seen where the brokers do not answer.

        Since when is known of the partitions that this process reads.
        """
        found = rows.select("position", {"group": group})
        stored = {(r["topic"], r["partition"]): r["offset"] for r in found}
        ends = self._known_ends(stored)
        left = {place: max(0, ends.get(place, 0) - offset) for place, offset in stored.items()}
        reader = self._readers.get(group)
        now = time.time_ns() // 1_000_000
        self._level |= {(group, place): now for place, n in left.items() if not n}
        since = {
            place: reader.since(place, self._level.get((group, place), 0)) if reader else None
            for place, n in left.items()
            if n
        }
        return by_topic(left, since)

    def _known_ends(self, places: Iterable[Place]) -> dict[Place, int]:
        asked, known = self._ends
        if time.monotonic() - asked > ENDS_KEPT_S:
            try:
                known = known | {at: high for at, (_, high) in self.brokers.ends(places).items()}
            except LogDown as error:
                LOG.warning("lag_unknown", hint=str(error))
            self._ends = time.monotonic(), known
        return known

    def reachable(self) -> None:
        """See `Log`."""
        self.brokers.answer()

    def reads(self) -> Mapping[str, int]:
        """See `Log`."""
        return {group: len(reader.epochs) for group, reader in list(self._readers.items())}

    def prune(self, rows: Rows, before: int) -> int:
        """See `Log`; the brokers do it themselves."""
        del rows, before
        return 0

    def close(self) -> None:
        """See `Log`."""
        for group in list(self._readers):
            self._leave(group)
        self.sender.drop()


def relayed(waiting: Sequence[Row], sent: set[int], rows: Rows) -> None:
    """These rows of the outbox are through; those that no broker takes are counted."""
    for row in waiting:
        if row["id"] not in sent:
            set_aside(rows, row["topic"], "messages_not_published")
    rows.delete("outbox", {"id": among([row["id"] for row in waiting])})


def set_aside(rows: Rows, topic: str, why: str) -> None:
    """Log and count what blocks nobody; what an input says is in the store all the same."""
    LOG.warning(why, source=topic)
    system = (*topic.split("."), "", "")[1]
    count(rows, system, why)


# -- reading -------------------------------------------------------------------------------------


class Position(NamedTuple):
    """What is stored of one partition: the offset to be read next, and who reads it."""

    offset: int
    epoch: int


class Reader:
    """The consumer of one group in this process, and the partitions that it was given.

    `held` was taken from the broker, and is not done yet. Used by one thread.
    """

    def __init__(self, config: Mapping[str, Any], group: str, brokers: Brokers) -> None:
        """`config` reaches the brokers; nobody is in the group yet."""
        self.group = group
        self.held: list[Message] = []
        self.epochs: dict[Place, int] = {}
        self._next: Offsets = {}
        self._ends: Offsets = {}
        self._passed: dict[Place, int] = {}
        self._brokers = brokers
        self._prefix = brokers.kafka.prefix
        self._topics: list[str] = []
        self._env: Door | None = None
        named = {"group.id": self._prefix + group, "error_cb": tell}
        self._consumer = Consumer({**config, **named}, logger=quiet())

    def subscribe(self, env: Door, topics: Sequence[str]) -> None:
        """Take part in the reading of these topics; `env` keeps what partitions are given."""
        self._env = env
        if self._topics != list(topics):
            self._topics = list(topics)
            self._consumer.subscribe(
                [self._prefix + topic for topic in topics],
                on_assign=self._given,
                on_revoke=self._taken_away,
                on_lost=self._taken_away,
            )

    # -- messages ----------------------------------------------------------------------------------

    def take(self, limit: int) -> list[Message]:
        """What is held from a turn that failed, then what comes; waits where there is nothing."""
        if self.held:
            self._forget_done()
        end = time.monotonic() + WAIT_S
        while not self.held and (left := end - time.monotonic()) > 0:
            if (first := self._consumer.poll(left)) is not None:
                self._receive([first])
        # One at least is asked for: only so a reader hears what was taken from it.
        self._receive(self._consumer.consume(max(1, limit - len(self.held)), 0))
        if not self.held:
            self._settle()
        return self.held[:limit]

    def since(self, place: Place, level: int) -> int | None:
        """Since when the next message of a partition waits (ms), None where nobody here knows.

        Of one that is still at the brokers it is told by what came before it: the last message
        that was done, or the `level`, when the group was last seen to be nowhere behind there.
        """
        if place not in self.epochs:
            return None
        held = (m.at for m in list(self.held) if (m.topic, m.partition) == place)
        return next(held, max(self._passed.get(place, 0), level) or None)

    def passed(self, messages: Sequence[Message]) -> None:
        """These are done, and the store knows."""
        self._passed |= {(m.topic, m.partition): m.at for m in messages}
        self.held = self.held[len(messages) :]
        self._tell_broker(ends_of(messages))

    def _forget_done(self) -> None:
        """What was done in another way than by a turn."""
        places = {(m.topic, m.partition) for m in self.held}
        stored = self._keep(lambda rows: positions(rows, self.group, places), "again")
        self.held = [m for m in self.held if m.offset >= stored[m.topic, m.partition].offset]

    def _receive(self, received: Iterable[Received]) -> None:
        for one in received:
            if error := one.error():
                self._note(error, one)
                continue
            message = message_of(one, self._prefix)
            place = message.topic, message.partition
            if place not in self.epochs:
                continue  # it was taken away while this was under way
            if message.offset < self._next[place]:
                self._begins_anew(place, message.offset)
            self._next[place] = message.offset + 1
            self.held.append(message)

    def _note(self, error: KafkaError, one: Received) -> None:
        """What comes in the place of a message: the end of a partition, or trouble."""
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._ends[self._place(one)] = one.offset() or 0
        elif error.code() in UNKNOWN:
            LOG.warning("topic_missing", source=one.topic())
        elif error.fatal() or "AUTHORIZATION" in error.name():
            raise KafkaException(error)
        else:
            LOG.warning("reading_stumbled", source=one.topic(), hint=error.name())

    def _begins_anew(self, place: Place, offset: int) -> None:
        """The topic was deleted and made again: its offsets count from the start once more."""
        self._keep(partial(restart, self.group, place, self.epochs[place], offset), "anew")

    def _settle(self) -> None:
        """At rest the position is the end itself: marks of transactions lie behind the last one."""
        beyond = {p: n for p, n in self._ends.items() if p in self.epochs and n > self._next[p]}
        self._ends = {}
        if beyond:
            self._keep(lambda rows: advance(rows, self.group, self.epochs, beyond), "end")
            self._next |= beyond
            self._tell_broker(beyond)

    def _keep(self, work: Callable[[Rows], T], point: str) -> T:
        if self._env is None:
            raise RuntimeError("subscribe comes first")
        return self._env.commit(work, f"{self.group}:{point}")

    def _tell_broker(self, to: Offsets) -> None:
        offsets = [TopicPartition(self._prefix + t, n, at) for (t, n), at in to.items()]
        with suppress(KafkaException):  # it is for those who look on
            self._consumer.commit(offsets=offsets, asynchronous=True)

    # -- partitions --------------------------------------------------------------------------------

    def _given(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Claim each partition, and start where it was left."""
        places = sorted(self._place(p) for p in partitions)
        ends = self._brokers.ends(places)
        if len(ends) < len(places):
            raise LogDown("some partitions are not there yet: brokers tell different things")
        found = self._keep(partial(claims, self.group, places, ends), "claim")
        self.epochs |= {place: at.epoch for place, at in found.items()}
        self._next |= {place: at.offset for place, at in found.items()}
        consumer.incremental_assign(
            [TopicPartition(self._prefix + t, n, self._next[t, n]) for t, n in places]
        )

    def _taken_away(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """What was not done yet is done by whoever gets the partition."""
        for place in map(self._place, partitions):
            self.epochs.pop(place, None)
        self.held = [m for m in self.held if (m.topic, m.partition) in self.epochs]
        consumer.incremental_unassign(partitions)

    def _place(self, one: TopicPartition | Received) -> Place:
        topic = one.topic() if isinstance(one, Received) else one.topic
        partition = one.partition() if isinstance(one, Received) else one.partition
        return (topic or "").removeprefix(self._prefix), partition or 0

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()


def message_of(one: Received, prefix: str) -> Message:
    """A message as the hub has it. Whoever may write to a topic may write anything."""
    _, at = one.timestamp()
    told = cast("Sequence[tuple[str, bytes | None]]", one.headers() or ())
    headers = {name: (text or b"").decode(errors="replace") for name, text in told}
    topic = (one.topic() or "").removeprefix(prefix)
    place = topic, one.partition() or 0, one.offset() or 0
    return Message(*place, one.key() or b"", one.value(), headers, at)


def ends_of(messages: Iterable[Message]) -> Offsets:
    """The offset after the last of these messages, in each partition."""
    found: Offsets = {}
    for m in messages:
        place = m.topic, m.partition
        found[place] = max(m.offset + 1, found.get(place, 0))
    return found


# -- positions -----------------------------------------------------------------------------------


def positions(rows: Rows, group: str, places: Iterable[Place]) -> dict[Place, Position]:
    """What is stored of these partitions; nobody else moves them until the transaction ends."""
    topics, partitions = {topic for topic, _ in places}, {n for _, n in places}
    here = {"group": group, "topic": among(topics), "partition": among(partitions)}
    found = rows.select("position", here, ("topic", "partition"), keep=True)
    return {(r["topic"], r["partition"]): Position(r["offset"], r["epoch"]) for r in found}


def ours(
    rows: Rows, group: str, epochs: Mapping[Place, int], places: Collection[Place]
) -> dict[Place, Position]:
    """What is stored of partitions that we have. Raises `Moved` where another has one by now."""
    stored = positions(rows, group, places)
    for place in places:
        if place not in epochs or stored[place].epoch != epochs[place]:
            topic, partition = place
            raise Moved(f"{topic}[{partition}] is read by another process now")
    return stored


def advance(rows: Rows, group: str, epochs: Mapping[Place, int], to: Offsets) -> None:
    """Move positions forward. Raises `Moved` unless every partition is ours still."""
    stored = ours(rows, group, epochs, to)
    forward = {place: n for place, n in to.items() if n > stored[place].offset}
    rows.update_many("position", [{**row_of(group, p), "offset": n} for p, n in forward.items()])


def claims(
    group: str, places: Collection[Place], ends: Mapping[Place, tuple[int, int]], rows: Rows
) -> dict[Place, Position]:
    """Make partitions ours: each with a new epoch, and an offset that the broker has."""
    for place in places:
        with suppress(Conflict):  # it was read before
            rows.insert("position", {**row_of(group, place), "offset": 0})
    stored = positions(rows, group, places)
    found = {place: claimed(rows, place, stored[place], ends) for place in places}
    rows.upsert_many("position", [row_of(group, p) | at._asdict() for p, at in found.items()])
    return found


def claimed(
    rows: Rows, place: Place, at: Position, ends: Mapping[Place, tuple[int, int]]
) -> Position:
    """The next epoch of a partition; from then on nobody else can move its position."""
    low, high = ends[place]
    there = low <= at.offset <= high
    if at.offset and not there:
        set_aside(rows, place[0], "messages_lost")
    return Position(at.offset if there else low, at.epoch + 1)


def restart(group: str, place: Place, epoch: int, offset: int, rows: Rows) -> None:
    """Read a partition from its new start. Raises `Moved`."""
    ours(rows, group, {place: epoch}, [place])
    rows.update("position", row_of(group, place), {"offset": offset})
    set_aside(rows, place[0], "messages_lost")


def row_of(group: str, place: Place) -> Row:
    """The key of a position."""
    return {"group": group, "topic": place[0], "partition": place[1]}


# -- publishing ----------------------------------------------------------------------------------


class Sender:
    """The one producer of a hub. Any failure ends it: the next one clears up what it has left."""

    def __init__(self, config: Mapping[str, Any], prefix: str) -> None:
        """`config` reaches the brokers. `topics` are those that are known to exist."""
        self.producer: Producer | None = None
        self.topics: set[str] = set()
        self._prefix = prefix
        self._config = {**config, **WRITES, "transactional.id": f"{prefix}relay", "error_cb": tell}

    def begin(self) -> None:
        """Shut out every relay before this one, and end what it has begun. Raises `LogDown`."""
        self.producer = Producer(self._config, logger=quiet())
        self._try(partial(self.producer.init_transactions, PATIENCE_S))

    def send(self, waiting: Sequence[Row]) -> list[Row]:
        """Publish all of these, in order; returns those that are through, without the unfit.

        Raises `Moved` and `LogDown`.
        """
        if not waiting:
            return []
        try:
            self._transaction(waiting)
        except Unfit:
            half = len(waiting) // 2
            parts = (waiting[:half], waiting[half:]) if half else ()
            return [row for part in parts for row in self.send(part)]
        return list(waiting)

    def _transaction(self, waiting: Sequence[Row]) -> None:
        """Publish all of these, or none."""
        if self.producer is None:
            self.begin()
        failed: list[KafkaError] = []
        self._try(partial(self._publish, waiting, failed), failed)

    def _publish(self, waiting: Sequence[Row], failed: list[KafkaError]) -> None:
        if (producer := self.producer) is None:
            raise RuntimeError("begin comes first")

        def told(error: KafkaError | None, _message: Received) -> None:
            if error:
                failed.append(error)

        producer.begin_transaction()
        for row in waiting:
            producer.produce(
                self._prefix + row["topic"],
                key=row["key"],
                value=row["value"],
                headers=list(row["headers"].items()),
                timestamp=row["at"],
                on_delivery=told,
            )
        producer.commit_transaction(PATIENCE_S)

    def _try(self, act: Callable[[], None], failed: Sequence[KafkaError] = ()) -> None:
        """Do it, or end the producer and say why it could not be done."""
        try:
            act()
        except (KafkaException, BufferError) as error:
            self.drop()
            why = [*failed, *(error.args if isinstance(error, KafkaException) else ())]
            if any(e.code() in UNKNOWN for e in why):
                self.topics.clear()
            if any(e.code() in UNFIT for e in why):
                raise Unfit from error
            raise (down(why[-1]) if why else LogDown("the queue is full")) from error

    def drop(self) -> None:
        """End the producer, with all that it has not published."""
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.purge()


# -- trouble -------------------------------------------------------------------------------------


def down(error: KafkaError) -> Exception:
    """What an error of the client means to a loop."""
    if error.code() in SHUT_OUT:
        return Moved("another relay has begun, and this one is shut out")
    return LogDown(f"Kafka: {advice_on(error.name())} ({error.str()})")


def tell(error: KafkaError) -> None:
    """Log that brokers went away; the client looks for them by itself."""
    LOG.warning("brokers_stumbled", hint=error.name())


def quiet() -> logging.Logger:
    """Where the client's own words go: they are as many as its tries."""
    return logging.getLogger("hub.kafka.client")
