"""Messages as a real Debezium wrote them, in the three forms that its converters give them."""

from __future__ import annotations

import base64
import io
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import httpx
import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors._kit.contract import ObjectSpec, Page, Unavailable
from connectors._kit.source import Source
from connectors.debezium.connector import CONNECTOR, Debezium
from connectors.debezium.topics import Message, Topics
from hub import settings
from hub.listeners import wait_for

Write = Callable[[Mapping[str, Any] | None, str], bytes | None]  # with its schema, and its subject
KINDS = settings.kinds(settings.default_rules(()))
COLUMNS: dict[str, Any] = {
    "email": "email",
    "name": {"given": "first_name", "family": "last_name"},
    "phone": "phone",
    "birth_date": {"column": "born", "type": "date"},
    "tags": "tags",
    "balance": {"amount": "balance", "currency": "EUR", "type": "decimal", "scale": "2"},
    "delinquent": "vip",
    "note": "meta",
}


@dataclass(frozen=True)
class Captured:
    """One message: key and value with their schemas, as JsonConverter wrote them."""

    key: dict[str, Any] | None
    value: dict[str, Any] | None
    headers: dict[str, bytes] = field(default_factory=dict)
    at: int = 0


def captured() -> list[Captured]:
    """A row of the snapshot, an insert, two updates, a changed key, a deletion."""
    lines = (Path(__file__).parent / "messages.jsonl").read_bytes().splitlines()
    return [
        Captured(m["key"], m["value"], {n: v.encode() for n, v in m["headers"]}, m["timestamp"])
        for m in map(orjson.loads, lines)
    ]


def edited(found: Captured, op: str = "u", **values: Any) -> Captured:
    """The same message a second later, with other values in its row."""
    assert found.value is not None
    assert found.key is not None
    payload = found.value["payload"]
    row = {**payload["after"], **values}
    later = {**payload["source"], "ts_ms": payload["source"]["ts_ms"] + 1_000}
    now = {**payload, "op": op, "after": row, "before": None, "source": later}
    value = {**found.value, "payload": now}
    key = {**found.key, "payload": {"id": row["id"]}}
    return replace(found, value=value, key=key, headers={})


def inserted(**values: Any) -> Captured:
    """The insert that was captured, with other values."""
    return edited(captured()[1], "c", **values)


def deleted(found: Captured) -> Captured:
    """The deletion of this row, under REPLICA IDENTITY DEFAULT."""
    assert found.value is not None
    payload = found.value["payload"]
    before = dict.fromkeys(payload["after"]) | {"id": payload["after"]["id"], "email": ""}
    gone = {**payload, "op": "d", "before": before, "after": None}
    return replace(found, value={**found.value, "payload": gone})


def rekeyed(found: Captured, new: int, **values: Any) -> list[Captured]:
    """What Debezium writes when a row's key is changed: it goes, and comes under another key."""
    came = edited(found, "c", **{**values, "id": new})
    assert found.key is not None
    old = found.key["payload"]
    to, since = (
        {f"__debezium.{n}": orjson.dumps(k)} for n, k in (("newkey", {"id": new}), ("oldkey", old))
    )
    gone = replace(deleted(found), headers=to)
    return [gone, replace(gone, value=None), replace(came, headers=since)]


# -- the three forms -----------------------------------------------------------------------------


def with_schema(found: Mapping[str, Any] | None, _subject: str = "") -> bytes | None:
    """JsonConverter with schemas."""
    return None if found is None else orjson.dumps(found)


def without_schema(found: Mapping[str, Any] | None, _subject: str = "") -> bytes | None:
    """JsonConverter with schemas.enable=false."""
    return None if found is None else orjson.dumps(found["payload"])


def in_avro(number: Callable[[str, str], int]) -> Write:
    """AvroConverter; `number` registers a schema under a subject."""

    def write(found: Mapping[str, Any] | None, subject: str) -> bytes | None:
        if found is None:
            return None
        schema = avro_schema(found["schema"], set())
        stream = io.BytesIO()
        stream.write(b"\0" + number(subject, orjson.dumps(schema).decode()).to_bytes(4))
        fastavro.schemaless_writer(
            stream, fastavro.parse_schema(schema), avro_value(found["schema"], found["payload"])
        )
        return stream.getvalue()

    return write


def registered(url: str) -> Callable[[str, str], int]:
    """Registers schemas in a real registry."""

    def number(subject: str, schema: str) -> int:
        address = f"{url}/subjects/{subject}/versions"
        answer = httpx.post(address, json={"schema": schema}, trust_env=False).raise_for_status()
        return int(answer.json()["id"])

    return number


PRIMITIVE = {"int32": "int", "int64": "long", "boolean": "boolean", "bytes": "bytes",
             "string": "string"}  # fmt: skip


def avro_schema(schema: Mapping[str, Any], named: set[str]) -> Any:
    """What AvroConverter makes of a schema of Connect's, its own attributes included."""
    name, kind = schema.get("name"), schema["type"]
    made: Any
    if kind == "struct" and name in named:
        made = name
    elif kind == "struct":
        named.add(str(name))
        namespace, _, short = str(name).rpartition(".")
        fields = [avro_field(f, named) for f in schema["fields"]]
        made = {"type": "record", "name": short, "namespace": namespace, "fields": fields,
                "connect.name": name}  # fmt: skip
    elif kind == "array":
        made = {"type": "array", "items": avro_schema(schema["items"], named)}
    else:
        made = PRIMITIVE[kind]
        if name:
            made = {"type": made, "connect.version": 1, "connect.name": name}
        if params := schema.get("parameters"):
            made |= {"connect.parameters": params}
        if params and "scale" in params:
            made |= {"logicalType": "decimal", "scale": int(params["scale"]), "precision": 10}
    return ["null", made] if schema.get("optional") else made


def avro_field(found: Mapping[str, Any], named: set[str]) -> dict[str, Any]:
    """One field of a record."""
    made = {"name": found["field"], "type": avro_schema(found, named)}
    return {**made, "default": None} if found.get("optional") else made


def avro_value(schema: Mapping[str, Any], value: Any) -> Any:
    """A payload of JsonConverter's as fastavro wants it."""
    if value is None:
        return None
    if schema["type"] == "struct":
        return {f["field"]: avro_value(f, value.get(f["field"])) for f in schema["fields"]}
    if schema["type"] == "bytes":
        number = int.from_bytes(base64.b64decode(value), signed=True)
        return Decimal(number).scaleb(-int(schema["parameters"]["scale"]))
    return value


# -- a source ------------------------------------------------------------------------------------


def source(topic: str = "shop.public.customers", **more: Any) -> dict[str, Any]:
    """What hub.yaml says of the captured table."""
    table = {"topic": topic, "entity": "person", "key": "id", "fields": COLUMNS}
    return {"bootstrap": "127.0.0.1:1", "tables": {"customers": table}, **more}


def declared(given: Mapping[str, Any]) -> Debezium:
    """The connector of a source."""
    return CONNECTOR.declared(Source.model_validate(given), KINDS)


def messages(found: Iterable[Captured], write: Write = with_schema) -> list[Message]:
    """As they are read from the one partition of a topic."""
    return [
        Message(0, n, m.at, write(m.key, "key"), write(m.value, "value"), m.headers)
        for n, m in enumerate(found)
    ]


@dataclass
class Shop:
    """A topic of a real broker, a Debezium that writes into it, and the connector that reads it."""

    bootstrap: str
    registry: str = ""
    topic: str = field(default_factory=lambda: f"shop-{uuid.uuid4().hex[:8]}.public.customers")
    write: Write = with_schema

    def __post_init__(self) -> None:
        """The ways to the broker."""
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap})
        self.producer = Producer({"bootstrap.servers": self.bootstrap})
        given = source(self.topic, bootstrap=self.bootstrap, registry=self.registry)
        self.connector = declared(given)

    @property
    def spec(self) -> ObjectSpec:
        """The table."""
        return self.connector.objects[0]

    def make(self, partitions: int = 1) -> None:
        """Make the topic."""
        made = self.admin.create_topics([NewTopic(self.topic, partitions, 1)])
        made[self.topic].result(10)
        api = self.api()
        assert wait_for(lambda: self.led(api), 10)
        api.close()

    def led(self, api: Topics) -> bool:
        """Whether a topic that was just made is there for all."""
        try:
            return bool(api.topic(self.topic))
        except Unavailable:
            return False

    def tell(self, found: Iterable[Captured], partition: int = 0) -> None:
        """Write messages."""
        for one in found:
            self.producer.produce(
                self.topic,
                self.write(one.value, f"{self.topic}-value"),
                self.write(one.key, f"{self.topic}-key"),
                partition,
                timestamp=one.at,
                headers=list(one.headers.items()),
            )
        self.producer.flush(10)

    def api(self, now: Callable[[], int] = lambda: 1_800_000_000_000) -> Topics:
        """A way of its own to the topic."""
        return self.connector.connect({}, now)

    def begin(self, api: Topics) -> str:
        """Where the log begins."""
        return self.connector.begin(api, self.spec, 0)

    def pages(self, api: Topics, cursor: str) -> list[Page]:
        """All there is from a cursor on."""
        found = [self.connector.changes(api, self.spec, cursor)]
        while not found[-1].done:
            found.append(self.connector.changes(api, self.spec, found[-1].cursor))
        return found
