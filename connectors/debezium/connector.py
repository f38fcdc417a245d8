"""Debezium: rows of a database's tables are persons or companies. Nothing is written.

What Debezium wrote into the topics is the tool: it cannot be asked, only followed. Which tables
there are, and which columns are our fields, hub.yaml declares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

from connectors._kit.contract import (
    Account,
    Answer,
    Api,
    ConnectorError,
    Forged,
    Hint,
    Inbound,
    Limits,
    ObjectSpec,
    Page,
    Reading,
    Unreadable,
    Write,
)
from connectors._kit.cursors import Cursor, damaged
from connectors._kit.source import Kinds, Source, meant
from connectors.debezium.fields import columns
from connectors.debezium.rows import Rows
from connectors.debezium.topics import Message, Portion, Topic, Topics, behind

PAGE: Final = 50  # as many as one transaction takes in: what was read is never read again
GAP: Final = (
    "the topic does not go on where it was left, and what it told in between is lost: let Debezium "
    "take a snapshot of the table again"
)
SAMPLE: Final = 20  # messages of each partition that a check looks at


@dataclass(frozen=True, slots=True)
class Place(Cursor):
    """Where `changes` stands in a topic: the next offset of each partition.

    `generation` leads in revisions. It grows when offsets begin anew (another topic of the same
    name) and when a key may have gone to another partition (more of them).
    """

    topic: str
    generation: int
    offsets: tuple[str, ...]

    @property
    def next(self) -> tuple[int, ...]:
        """The offsets as numbers; raises `Unreadable`."""
        if not all(text.isdecimal() for text in self.offsets):
            raise damaged(self.text())
        return tuple(map(int, self.offsets))

    def at(self, offsets: Sequence[int]) -> Place:
        """The same generation, further on."""
        return replace(self, offsets=tuple(map(str, offsets)))


def continued(place: Place, topic: Topic) -> tuple[Place, bool]:
    """Where to read on in the topic as it is now, and whether something was lost.

    New partitions are read when the old ones are read to their end: what they hold is later.
    """
    offsets, old = place.next, len(place.offsets)
    if place.topic != topic.id or any(map(int.__gt__, offsets, topic.high)) or old > len(topic.low):
        anew = Place(topic.id, place.generation + 1, ())
        return anew.at(topic.low), any(offsets)
    kept = tuple(max(pair) for pair in zip(offsets, topic.low, strict=False))
    lost = any(0 < here < low for here, low in zip(offsets, topic.low, strict=False))
    if old < len(topic.low) and not behind(kept, topic.high[:old]):
        place = replace(place, generation=place.generation + 1)
        return place.at((*kept, *topic.low[old:])), lost
    return place.at(kept), lost


def opened(api: Api) -> Topics:
    """The way that `connect` has made."""
    if not isinstance(api, Topics):
        raise TypeError(f"topics are read through `Topics`, not through {type(api).__name__}")
    return api


class Debezium:
    """The connector, of a source when it is `declared`; see the contract for each method."""

    vendor = "debezium"
    title = "Debezium"
    limits = Limits(calls=100, per_ms=1_000)
    secret_names: Mapping[str, str] = {
        "username": "optional: the name to sign in at the brokers with",
        "password": "optional: its password",
        "registry_username": "optional: the name to sign in at the schema registry with",
        "registry_password": "optional: its password",
    }

    def __init__(self, source: Source | None = None, tables: Iterable[Rows] = ()) -> None:
        self.source = source
        self.tables = {rows.spec.object: rows for rows in tables}
        self.objects = tuple(rows.spec for rows in self.tables.values())

    def declared(self, source: Source, kinds: Kinds) -> Debezium:
        """The connector of this source; raises `Misdeclared`."""
        return Debezium(source, tables_of(source, kinds))

    def connect(self, secrets: Mapping[str, str], now: Callable[[], int]) -> Topics:
        """The way to the topics; raises ValueError where the credentials lack something."""
        if self.source is None:
            raise ValueError("hub.yaml declares no source")
        return Topics(self.source, secrets, now)

    def base_url(self, _secrets: Mapping[str, str]) -> str:
        """Where the brokers are, for a person."""
        return f"kafka://{self.source.bootstrap if self.source else ''}"

    def authorize(self, _secrets: Mapping[str, str]) -> Mapping[str, str]:
        """There are no headers."""
        return {}

    def account(self, api: Api) -> Account:
        """The cluster, which does not say what it is for."""
        return Account(opened(api).cluster(), live=None)

    def check(self, api: Api) -> tuple[str, ...]:
        """What does not fit in the last messages of each topic."""
        return tuple(flaw for name in self.tables for flaw in self._flaws(opened(api), name))

    def prepare(self, _api: Api) -> tuple[str, ...]:
        """Nothing is made."""
        return ()

    def begin(self, api: Api, spec: ObjectSpec, _now_ms: int) -> str:
        """Where the log begins."""
        topic = opened(api).topic(self.tables[spec.object].table.topic)
        return Place(topic.id, 0, ()).at([0] * len(topic.low)).text()

    def listing(self, _api: Api, spec: ObjectSpec, _cursor: str) -> Page:
        """A log has none."""
        raise Unreadable(f"{spec.object}: a log cannot be listed")

    def changes(self, api: Api, spec: ObjectSpec, cursor: str, _known: object = None) -> Page:
        """The next messages; the page is the last one when every partition is read to its end."""
        topics, rows, place = opened(api), self.tables[spec.object], Place.of(cursor)
        topic = topics.topic(rows.table.topic)
        place, lost = continued(place, topic)
        high = topic.high[: len(place.offsets)]
        portion = topics.take(rows.table.topic, place.next, high, PAGE)
        readings, broken = understood(rows, topics, portion, place.generation)
        if lost:
            broken = ((f"{rows.table.topic}: {GAP}", b""), *broken)
        done = len(high) == len(topic.high) and not behind(portion.offsets, high)
        return Page(readings, place.at(portion.offsets).text(), done, broken, expired=lost)

    def read(self, _api: Api, spec: ObjectSpec, ids: Sequence[str]) -> tuple[Reading, ...]:
        """A log cannot be asked."""
        raise Unreadable(f"{spec.object} {', '.join(ids)[:80]}: a log cannot be asked")

    def find(self, _api: Api, _spec: ObjectSpec, _write: Write) -> tuple[Reading, ...]:
        """Nothing was ever made."""
        return ()

    def write(self, _api: Api, spec: ObjectSpec, writes: Sequence[Write]) -> tuple[Answer, ...]:
        """Tables are only read."""
        return tuple(Answer("rejected", why=f"{spec.object} is only read") for _ in writes)

    def hints(self, _inbound: Inbound, _secrets: Mapping[str, str]) -> tuple[Hint, ...]:
        """Nobody who may send webhooks is known."""
        raise Forged("Debezium sends no webhooks")

    # -- check -------------------------------------------------------------------------------------

    def _flaws(self, topics: Topics, name: str) -> Iterator[str]:
        rows = self.tables[name]
        try:
            portion = newest(topics, rows.table.topic)
            found = dict.fromkeys(flaws(rows, topics, portion))
        except ConnectorError as error:
            found = {str(error): None}
        yield from (f"{name}: {flaw}" for flaw in found)


def tables_of(source: Source, kinds: Kinds) -> Iterator[Rows]:
    """What reads each table; raises `Misdeclared`."""
    for name, table in source.tables.items():
        found = columns(table, kinds, ("tables", name))
        spec = ObjectSpec(
            entity=table.entity,
            object=name,
            fields=found.fields,
            links=("company",) if table.company else (),
            revisions=True,
            settle_ms=0,
            log=True,
            writes=False,
        )
        yield Rows(table, spec, found.shapes)


def understood(
    rows: Rows, topics: Topics, portion: Portion, generation: int
) -> tuple[tuple[Reading, ...], tuple[tuple[str, bytes], ...]]:
    """What can be read, and what cannot, with the reason: one bad message spoils no page."""
    good: list[Reading] = []
    broken: list[tuple[str, bytes]] = []
    for message in portion.messages:
        try:
            found = rows.reading(message, topics.schema, portion.read_ms, generation)
        except Unreadable as error:
            broken.append((f"{where(rows, message)}: {error}", message.value or b""))
        else:
            good += [found] if found else []
    return tuple(good), tuple(broken)


def where(rows: Rows, message: Message) -> str:
    """Where a message stands."""
    return f"{rows.table.topic} partition {message.partition} offset {message.offset}"


def newest(topics: Topics, name: str) -> Portion:
    """The last messages of a topic."""
    topic = topics.topic(name)
    begin = [max(low, high - SAMPLE) for low, high in zip(topic.low, topic.high, strict=True)]
    return topics.take(name, begin, topic.high, SAMPLE * len(begin))


def flaws(rows: Rows, topics: Topics, portion: Portion) -> Iterator[str]:
    """What of these messages would not be read, or not in full."""
    if not portion.messages:
        yield f"{rows.table.topic} holds no message, so nothing could be tried"
    readings, broken = understood(rows, topics, portion, 0)
    yield from (why for why, _ in broken)
    for reading in readings:
        if reading.state == "live" and not reading.aliases:
            yield from unfit(rows, reading)


def unfit(rows: Rows, reading: Reading) -> Iterator[str]:
    """Fields of ours that this row does not fill."""
    taken = rows.spec.fields.take(reading.app)
    yield from (f"{name}: {why}" for name, why in {**taken.unknown, **reading.unknown}.items())
    row = orjson.loads(reading.raw)
    for one in rows.spec.fields.fields:
        for name in one.app:
            if name not in row:
                yield f"{one.name}: the rows have no column {name!r}{meant(name, row)}"
    company = rows.table.company
    if company and company not in row:
        yield f"company: the rows have no column {company!r}{meant(company, row)}"


CONNECTOR: Final = Debezium()
