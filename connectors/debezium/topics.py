"""The way to the topics: brokers and schema registry, as an `Api` that only reads.

It belongs to no consumer group and commits nothing to the broker: where to read from is said by
whoever asks. What is kept here between two calls is connections, what is fetched ahead, and
schemas, which never change.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import quote

import httpx
from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka import Message as Raw
from confluent_kafka.admin import AdminClient, OffsetSpec

from connectors._kit.answers import is_a, items_of, object_of, text_of
from connectors._kit.contract import Denied, Json, Reply, Unavailable, Unreadable
from connectors._kit.source import FILES, PROTOCOL, Source
from connectors.debezium.values import Schema, schema_of

T = TypeVar("T")
ANSWER_S: Final = 5.0  # how long brokers and registry may take to answer
LOOK_S: Final = 0.5
READ: Final = {
    "group.id": "synchub",  # has to be there; it is never joined
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
}
ERROR = KafkaError
DENIED: Final = (
    ERROR._AUTHENTICATION,  # noqa: SLF001  the library's own names
    ERROR._SSL,  # noqa: SLF001
    ERROR.SASL_AUTHENTICATION_FAILED,
    ERROR.UNSUPPORTED_SASL_MECHANISM,
    ERROR.CLUSTER_AUTHORIZATION_FAILED,
    ERROR.GROUP_AUTHORIZATION_FAILED,
    ERROR.TOPIC_AUTHORIZATION_FAILED,
)
ABSENT: Final = (
    ERROR.UNKNOWN_TOPIC_OR_PART,
    ERROR._UNKNOWN_TOPIC,  # noqa: SLF001
    ERROR._UNKNOWN_PARTITION,  # noqa: SLF001
)
SPEC: Any = OffsetSpec  # it has no types
ENDS: Final = (SPEC.earliest(), SPEC.latest())  # the first that is kept, and behind the last
END: Final = ERROR._PARTITION_EOF  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `at`: when it was written, by its producer's clock (ms)."""

    partition: int
    offset: int
    at: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is. By partition: the first offset that is kept, and the one after the last.

    `id` is another one when the topic was made anew.
    """

    id: str
    low: tuple[int, ...]
    high: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Portion:
    """Messages of a topic, when they had come (ms), and where to go on in each partition."""

    messages: tuple[Message, ...]
    read_ms: int
    offsets: tuple[int, ...]


@dataclass
class Reader:
    """A consumer of one topic and where it stands."""

    consumer: Consumer
    offsets: tuple[int, ...] | None = None


class Topics:
    """The topics of one source. Thread-safe."""

    def __init__(self, source: Source, secrets: Mapping[str, str], now: Callable[[], int]) -> None:
        """Raises ValueError where the credentials lack something."""
        self.secrets = secrets
        self._source = source
        self._now = now
        self._config = connection(source, secrets) | {"error_cb": self._noted}
        self._said: KafkaError | None = None
        self._admin: AdminClient | None = None
        self._readers: dict[str, Reader] = {}
        self._registry: httpx.Client | None = None
        self._schemas: dict[int, Schema] = {}
        self._lock = threading.RLock()

    # -- what this tool has not --------------------------------------------------------------------

    def get(self, path: str, params: Sequence[tuple[str, str]] = ()) -> Reply:
        """There is no HTTP here."""
        raise Denied(f"{path} {params}: topics are not asked over HTTP")

    def search(self, path: str, json: Json) -> Reply:
        """There is no HTTP here."""
        raise Denied(f"{path} {json}: topics are not asked over HTTP")

    def send(self, method: str, path: str, **_more: Any) -> Reply:
        """Nothing is written."""
        raise Denied(f"{method} {path}: topics are only read")

    def pause(self, ms: int) -> None:
        """Nothing is waited for."""

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            for reader in self._readers.values():
                reader.consumer.close()
            self._readers.clear()
            if self._registry:
                self._registry.close()

    # -- brokers -----------------------------------------------------------------------------------

    def cluster(self) -> str:
        """The id of the cluster."""
        with self._lock:
            found = self._ask(lambda admin: admin.describe_cluster(request_timeout=ANSWER_S))
        return str(found.cluster_id)

    def topic(self, name: str) -> Topic:
        """The topic as it is now; raises `Unavailable` where there is none (yet)."""
        with self._lock:
            asked = TopicCollection([name])
            told = self._ask(lambda a: a.describe_topics(asked, request_timeout=ANSWER_S)[name])
            places = [TopicPartition(name, part.id) for part in told.partitions]
            low, high = (self._ends(places, spec) for spec in ENDS)
        return Topic(str(told.topic_id), low, high)

    def _ends(self, places: Iterable[TopicPartition], spec: Any) -> tuple[int, ...]:
        asked = dict.fromkeys(places, spec)
        found = self._admin_client().list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ANSWER_S
        )
        ends = {p.partition: self._result(future).offset for p, future in found.items()}
        return tuple(ends[n] for n in sorted(ends))

    def take(self, name: str, offsets: Sequence[int], high: Sequence[int], limit: int) -> Portion:
        """Messages from these offsets on, before `high`, in the order of each partition."""
        with self._lock:
            reader = self._reader_at(name, tuple(offsets))
            place, found = list(offsets), list[Message]()
            give_up = self._now() + round(ANSWER_S * 1000)
            while len(found) < limit and behind(place, high) and self._now() < give_up:
                for raw in self._some(reader.consumer, limit - len(found)):
                    self._keep(raw, place, found)
            reader.offsets = tuple(place)
        if not found and behind(place, high):
            raise Unavailable(f"{name}: nothing came in {ANSWER_S:.0f} seconds")
        return Portion(tuple(found), self._now(), tuple(place))

    def _reader_at(self, name: str, offsets: tuple[int, ...]) -> Reader:
        reader = self._readers.get(name)
        if reader is None:
            made = self._made(Consumer, {**self._config, **READ})
            reader = self._readers[name] = Reader(made)
        if reader.offsets != offsets:
            places = [TopicPartition(name, n, offset) for n, offset in enumerate(offsets)]
            reader.consumer.assign(places)
        reader.offsets = None  # until it is known where this ends
        return reader

    def _some(self, consumer: Consumer, most: int) -> list[Raw]:
        """What is there, after a short while at the latest."""
        first = consumer.poll(LOOK_S)
        if first is None:
            self._look()
            return []
        return [first, *consumer.consume(most - 1, 0)] if most > 1 else [first]

    def _keep(self, raw: Raw, place: list[int], found: list[Message]) -> None:
        """Count a message in, or a partition's end: behind the last message may be marks."""
        error, part, offset = raw.error(), raw.partition(), raw.offset()
        if error is not None and error.code() != END:
            self._fail(error)
        if error is None:
            found.append(message(raw))
        if part is not None and offset is not None:
            place[part] = max(place[part], offset + (error is None))

    # -- what goes wrong ---------------------------------------------------------------------------

    def _admin_client(self) -> AdminClient:
        if self._admin is None:
            self._admin = self._made(AdminClient, self._config)
        return self._admin

    def _made(self, kind: Callable[[dict[str, Any]], T], config: dict[str, Any]) -> T:
        """A client; raises `Denied` where a certificate or a key cannot be used."""
        try:
            return kind(config)
        except KafkaException as error:
            raise Denied(f"brokers {self._source.bootstrap}: {error.args[0].str()}") from None

    def _ask(self, ask: Callable[[AdminClient], Future[T]]) -> T:
        return self._result(ask(self._admin_client()))

    def _result(self, future: Future[T]) -> T:
        """The answer, or why there is none; a refusal is told before the time is up."""
        for _ in range(round(ANSWER_S / LOOK_S)):
            try:
                return future.result(LOOK_S)
            except TooLate:
                self._look()
            except KafkaException as error:
                self._look()
                self._fail(error.args[0])
        bootstrap = self._source.bootstrap
        raise Unavailable(f"brokers {bootstrap}: no answer in {ANSWER_S:.0f} seconds")

    def _look(self) -> None:
        """Hear what the library has to say; raises where it was refused."""
        self._admin_client().poll(0)
        said, self._said = self._said, None
        if said:
            self._fail(said)

    def _noted(self, error: KafkaError) -> None:
        """What the library says in between; the last refusal explains why nothing comes."""
        if error.code() in DENIED:
            self._said = error

    def _fail(self, error: KafkaError) -> NoReturn:
        where = f"brokers {self._source.bootstrap}: {error.str()}"
        if error.code() in DENIED:
            raise Denied(f"{where}; check the credentials, and the rights to describe and read")
        if error.code() in ABSENT:
            raise Unavailable(
                f"{where}: Debezium makes a table's topic with its first row; is its connector "
                "running, and is the topic's name in hub.yaml right?",
                after_ms=10_000,
            )
        raise Unavailable(where)

    # -- schemas -----------------------------------------------------------------------------------

    def schema(self, number: int) -> Schema:
        """A registered schema; raises `Unreadable` where the registry does not know it."""
        with self._lock:
            if number not in self._schemas:
                found = self._registered(f"/schemas/ids/{number}")
                text, kind = (found.get(n) for n in ("schema", "schemaType"))
                beside = tuple(self._beside(found))
                self._schemas[number] = schema_of(str(kind or "AVRO"), str(text), beside)
            return self._schemas[number]

    def _beside(self, found: Mapping[str, Any]) -> Iterable[str]:
        """The schemas that a schema refers to, those first that others refer to."""
        for one in items_of(found.get("references") or [], "references"):
            named = object_of(one, "a reference")
            subject = text_of(named.get("subject"), "subject")
            version = is_a(named.get("version"), int, "version")
            other = self._registered(f"/subjects/{quote(subject, safe='')}/versions/{version}")
            yield from self._beside(other)
            yield text_of(other.get("schema"), "schema")

    def _registered(self, path: str) -> dict[str, Any]:
        """What the registry answers."""
        try:
            answer = self._registry_client().get(path)
        except httpx.HTTPError as error:
            raise Unavailable(f"schema registry {path}: {type(error).__name__}") from error
        status = answer.status_code
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Denied(f"schema registry {path}: answered {status}; check registry_username")
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS:
            raise Unavailable(f"schema registry {path}: answered {status}")
        if status != httpx.codes.OK:
            raise Unreadable(f"schema registry {path}: answered {status}", answer.content)
        return object_of(Reply(status, {}, answer.content, 0, 0).json(), "a schema")

    def _registry_client(self) -> httpx.Client:
        source, secrets = self._source, self.secrets
        if not source.registry:
            raise Unreadable("the message is in Avro: hub.yaml names no `registry` in its source")
        if self._registry is None:
            user = secrets.get("registry_username")
            self._registry = httpx.Client(
                base_url=source.registry,
                auth=(user, secrets.get("registry_password", "")) if user else None,
                verify=ssl.create_default_context(cafile=source.registry_ca_file or None),
                timeout=ANSWER_S,
                trust_env=False,
            )
        return self._registry


def connection(source: Source, secrets: Mapping[str, str]) -> dict[str, Any]:
    """What librdkafka wants to know; raises ValueError where credentials or files are missing."""
    for name in FILES:
        if (path := getattr(source, name)) and not Path(path).is_file():
            raise ValueError(f"source.{name}: {path} does not exist, or is no file")
    given = {
        "bootstrap.servers": source.bootstrap,
        "security.protocol": PROTOCOL[source.security],
        "ssl.ca.location": source.ca_file,
        "ssl.certificate.location": source.cert_file,
        "ssl.key.location": source.key_file,
        "log_level": 0,  # errors are told by `error_cb`
    }
    if source.security.startswith("sasl"):
        if lacks := [n for n in ("username", "password") if not secrets.get(n)]:
            raise ValueError(f"security {source.security} needs {lacks[0]} in the credentials")
        given["sasl.mechanism"] = source.sasl
        given |= {f"sasl.{name}": secrets[name] for name in ("username", "password")}
    return {name: value for name, value in given.items() if value != ""}


def behind(place: Sequence[int], high: Sequence[int]) -> bool:
    """Whether anything is left before these ends."""
    return any(here < end for here, end in zip(place, high, strict=True))


def message(raw: Raw) -> Message:
    """A message of the library's as ours."""
    told = dict(raw.headers() or ()).items()
    headers = {name: value for name, value in told if isinstance(value, bytes)}
    part, offset, at = raw.partition(), raw.offset(), raw.timestamp()[1]
    key, value = (bytes_of(one) for one in (raw.key(), raw.value()))
    return Message(part or 0, offset or 0, max(at, 0), key, value, headers)


def bytes_of(found: object) -> bytes | None:
    """A key or a value, which the library may give as text."""
    return found.encode() if isinstance(found, str) else found if isinstance(found, bytes) else None
