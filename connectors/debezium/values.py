"""What is in a message: JSON with or without its schema, or Avro; and plain values of its types.

A message says itself which of the three it is: Avro begins with a zero byte, which no JSON does,
and JSON with its schema is an object of just these two. Nothing has to be declared, and a topic
whose converter was changed is read on.

Plain values: texts, whole numbers, flags, lists of them. Days, times of day and instants are ISO
8601 texts, decimals are texts. What has no schema, or a type that is not known, is left as it is.
"""

from __future__ import annotations

import base64
import datetime as dt
import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import fastavro
import orjson
from fastavro.schema import SchemaParseException

from connectors._kit.contract import Json, Unreadable

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
HEADER: Final = 5  # of a message whose schema is registered: a zero byte, and the schema's number
SCALE_MOST: Final = 400  # digits behind the point of the most exact number that a database has
DECIMAL_BYTES: Final = 512
UNAVAILABLE: Final = "__debezium_unavailable_value"
WITHHELD: Final = (
    UNAVAILABLE,
    UNAVAILABLE.encode(),
    base64.b64encode(UNAVAILABLE.encode()).decode(),
)
BROKEN_AVRO: Final = (ArithmeticError, EOFError, LookupError, TypeError, ValueError, struct.error)


@dataclass(frozen=True)
class Shape:
    """What is known of a value's type. `name`: what it stands for, as io.debezium.time.Date."""

    name: str = ""
    scale: int = 0
    fields: Mapping[str, Shape] = field(default_factory=dict)
    items: Shape | None = None

    def of(self, name: str) -> Shape:
        """The shape of a field."""
        return self.fields.get(name, UNTOLD)


UNTOLD: Final = Shape()


@dataclass(frozen=True, slots=True)
class Typed:
    """A value and its shape."""

    value: Any
    shape: Shape = UNTOLD


@dataclass(frozen=True)
class Schema:
    """A registered schema. `kind`: AVRO, JSON or PROTOBUF; `avro`: as fastavro reads by it."""

    kind: str
    avro: Any = None
    shape: Shape = UNTOLD


Schemas = Callable[[int], Schema]


# -- the three forms -----------------------------------------------------------------------------


def unpacked(data: bytes, schemas: Schemas) -> Typed:
    """What a message's key or value holds; raises `Unreadable`."""
    if data[:1] == b"\0":
        return registered(data, schemas)
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"neither JSON nor Avro of a registry: {error}", data) from None
    if isinstance(found, dict) and found.keys() == {"schema", "payload"}:
        return Typed(found["payload"], connect_shape(found["schema"]))
    return Typed(found)


def registered(data: bytes, schemas: Schemas) -> Typed:
    """A message that names its schema by number."""
    if len(data) <= HEADER:
        raise Unreadable(f"{len(data)} bytes are no message of a schema registry", data)
    number = int.from_bytes(data[1:HEADER])
    schema = schemas(number)
    if schema.kind == "JSON":
        return unpacked(data[HEADER:], schemas)
    if schema.kind != "AVRO":
        raise Unreadable(
            f"schema {number} is {schema.kind}: only Avro and JSON are read; set another "
            "value.converter in Debezium's connector",
            data,
        )
    return Typed(read_avro(data, number, schema), schema.shape)


def read_avro(data: bytes, number: int, schema: Schema) -> Any:
    """The value that these bytes are by their schema."""
    stream = io.BytesIO(data)
    stream.seek(HEADER)
    try:
        found = fastavro.schemaless_reader(stream, schema.avro, None)
    except BROKEN_AVRO as error:
        raise Unreadable(f"not what schema {number} says: {error!r}"[:300], data) from None
    if stream.tell() != len(data):
        raise Unreadable(f"not what schema {number} says: bytes are left", data)
    return found


def schema_of(kind: str, text: str, references: tuple[str, ...]) -> Schema:
    """A schema as the registry holds it; raises `Unreadable`."""
    if kind != "AVRO":
        return Schema(kind)
    try:
        named: dict[str, Any] = {}
        for one in references:
            fastavro.parse_schema(orjson.loads(one), named)
        parsed = fastavro.parse_schema(orjson.loads(text), named)
    except (SchemaParseException, LookupError, TypeError, ValueError) as error:
        raise Unreadable(f"no schema of Avro: {error!r}"[:300], text.encode()) from None
    return Schema(kind, parsed, avro_shape(parsed, named))


# -- shapes ----------------------------------------------------------------------------------------


def connect_shape(schema: Json) -> Shape:
    """The shape that a schema of Kafka Connect tells, as JsonConverter writes it."""
    if not isinstance(schema, dict):
        return UNTOLD
    fields = schema.get("fields")
    listed = fields if isinstance(fields, list) else []
    params = schema.get("parameters")
    return Shape(
        str(schema.get("name") or ""),
        scale_of(params.get("scale") if isinstance(params, dict) else None),
        {str(f.get("field")): connect_shape(f) for f in listed if isinstance(f, dict)},
        connect_shape(schema["items"]) if "items" in schema else None,
    )


def avro_shape(schema: Any, named: Mapping[str, Any], inside: tuple[str, ...] = ()) -> Shape:
    """The same of a schema of Avro that AvroConverter has made; `named` are its named types."""
    if isinstance(schema, list):
        schema = next((one for one in schema if one != "null"), "null")
    if isinstance(schema, str):
        if schema not in named or schema in inside:
            return UNTOLD  # a primitive type, or one that holds itself
        schema = named[schema]
    own = str(schema.get("name") or "")
    fields = {f["name"]: avro_shape(f["type"], named, (*inside, own)) for f in fields_in(schema)}
    items = avro_shape(schema["items"], named, inside) if "items" in schema else None
    within = schema["type"] if isinstance(schema.get("type"), dict | list) else None
    if within is not None and not schema.get("connect.name"):
        return avro_shape(within, named, inside)
    return Shape(
        str(schema.get("connect.name") or ""), scale_of(schema.get("scale")), fields, items
    )


def fields_in(schema: Mapping[str, Any]) -> list[Any]:
    """The fields of a record."""
    return list(schema.get("fields") or ())


def scale_of(told: Json) -> int:
    """How many digits stand behind the point; raises `Unreadable`."""
    text = str(told or 0)
    if not text.lstrip("-").isdecimal() or abs(int(text)) > SCALE_MOST:
        raise Unreadable(f"{text[:40]!r} is no scale of a decimal")
    return int(text)


# -- plain values ----------------------------------------------------------------------------------


def withheld(value: object) -> bool:
    """Whether Debezium says that it does not know this value, because it was not changed."""
    return value in WITHHELD or (isinstance(value, list) and len(value) == 1 and withheld(value[0]))


def plain(value: Any, shape: Shape) -> Json:
    """The value without its type; raises ValueError, with words for a person."""
    if isinstance(value, list):
        return [plain(one, shape.items or UNTOLD) for one in value]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if value is not None and shape.name in TYPES:
        try:
            return TYPES[shape.name](value, shape)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            short = shape.name.rpartition(".")[2]
            raise ValueError(f"{str(value)[:40]!r} is no {short}: {error}") from None
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def whole(value: object) -> int:
    """A whole number; raises TypeError."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("expected a whole number")
    return value


def decimal(value: object, shape: Shape) -> str:
    """Big-endian bytes in JSON's base64, or a number that JSON shows as one."""
    if isinstance(value, int | float):
        return f"{Decimal(str(value)):f}"
    raw = value if isinstance(value, bytes) else base64.b64decode(str(value), validate=True)
    if len(raw) > DECIMAL_BYTES:
        raise ValueError(f"it has {len(raw)} bytes")
    return f"{moved(Decimal(int.from_bytes(raw, signed=True)), -shape.scale):f}"


def moved(number: Decimal, places: int) -> Decimal:
    """The number with its point moved to the right; exact, however long it is."""
    sign, digits, exponent = number.as_tuple()
    return Decimal((sign, digits, int(exponent) + places))


def of_any_scale(value: Any, _shape: Shape) -> str:
    """A decimal that brings its scale with it."""
    return decimal(value["value"], Shape(scale=scale_of(value["scale"])))


def day(value: object, _shape: Shape) -> str:
    """Days since 1970."""
    return (EPOCH + dt.timedelta(days=whole(value))).date().isoformat()


def instant(per_second: int) -> Callable[[object, Shape], str]:
    """Parts of a second since 1970."""
    return lambda value, _: at(value, per_second).isoformat().replace("+00:00", "Z")


def time(per_second: int) -> Callable[[object, Shape], str]:
    """Parts of a second since midnight."""
    return lambda value, _: at(value, per_second).time().isoformat()


def at(value: object, per_second: int) -> dt.datetime:
    """The moment so many parts of a second after 1970 began, to the microsecond."""
    return EPOCH + dt.timedelta(microseconds=whole(value) * 1_000_000 // per_second)


def words(value: object, _shape: Shape) -> Json:
    """The words of a set that is told in one text."""
    return str(value).split(",") if value else []


CONNECT, TIME, DATA = "org.apache.kafka.connect.data.", "io.debezium.time.", "io.debezium.data."
MS, US, NS = 1_000, 1_000_000, 1_000_000_000
TYPES: Mapping[str, Callable[[Any, Shape], Json]] = {
    f"{CONNECT}Decimal": decimal,
    f"{CONNECT}Date": day,
    f"{CONNECT}Time": time(MS),
    f"{CONNECT}Timestamp": instant(MS),
    f"{TIME}Date": day,
    f"{TIME}Time": time(MS),
    f"{TIME}MicroTime": time(US),
    f"{TIME}NanoTime": time(NS),
    f"{TIME}Timestamp": instant(MS),
    f"{TIME}MicroTimestamp": instant(US),
    f"{TIME}NanoTimestamp": instant(NS),
    f"{DATA}VariableScaleDecimal": of_any_scale,
    f"{DATA}EnumSet": words,
}
# What a column may be declared as, where messages do not tell it.
DECLARED: Mapping[str, str] = {
    "date": f"{TIME}Date",
    "time": f"{TIME}Time",
    "microtime": f"{TIME}MicroTime",
    "nanotime": f"{TIME}NanoTime",
    "timestamp": f"{TIME}Timestamp",
    "microtimestamp": f"{TIME}MicroTimestamp",
    "nanotimestamp": f"{TIME}NanoTimestamp",
    "decimal": f"{CONNECT}Decimal",
}
