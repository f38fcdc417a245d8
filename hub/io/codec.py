"""Change events as Avro, in the shape of Debezium's envelope; `schemas/README.md` documents them.

Encoded bytes say which schema wrote them, so that old bytes stay readable beside new ones: without
a registry a magic byte 2 and the fingerprint of a version in `schemas/`, with one a magic byte 0
and the registry's id, as Confluent's tools have it. Sets are arrays of elements here and element
cells inside (see hub/pure/model.py); `shaped` translates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol, cast

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException

from hub.io.schemas import MARK, SCHEMAS, Undecodable, fingerprint, read, schema, versions
from hub.pure.decide import ChangeSet
from hub.pure.model import Golden, Input, Observation, Record, Uid, Value, field_of, key_of
from hub.pure.pack import kind_of

BY_FILE, BY_ID = b"\x02", b"\x00"  # the first byte: what stands after it
ID = 4  # bytes of a registry's id, the highest first
Named = tuple[str, dict[str, Any]]  # a record and its type: Avro need not try what fits a union
SETS = ("email", "phone", "mobile", "address")
BROKEN = (
    EOFError,
    ValueError,
    IndexError,
    TypeError,
    KeyError,
    OverflowError,
    MemoryError,
    RecursionError,
    SchemaParseException,
    SchemaResolutionError,
)


class Registry(Protocol):
    """Where the schemas of topics are kept for all who read them. Raises `NoRegistry`."""

    def register(self, topic: str, name: str) -> int:
        """The id under which a topic's values are written with this schema."""

    def writer(self, number: int) -> Any:
        """The parsed schema with this id; raises `Undecodable` where there is none."""

    def close(self) -> None:
        """Let go of the connection."""


def decoded(data: bytes, writer: Any, reader: Any) -> dict[str, Any]:
    """A value from the bytes of its writer, in the reader's shape; raises `Undecodable`."""
    stream = BytesIO(data)
    try:
        found = fastavro.schemaless_reader(stream, writer, None if writer is reader else reader)
    except BROKEN as error:
        message = f"broken bytes: {type(error).__name__}: {error}"
        raise Undecodable(message) from error
    if stream.read(1):
        message = "bytes are left over"
        raise Undecodable(message)
    return cast("dict[str, Any]", found)


# -- shapes ------------------------------------------------------------------------------------


def shaped(values: Mapping[str, Value]) -> dict[str, Any]:
    """Flat values as the fields of an entity: a one-slot set is its primary element."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in SETS and value is not None:
            found[name] = [one_element(name, value, primary=True)]
        elif name == "tags" and value is not None:
            found[name] = [one_element(name, v, primary=False) for v in value]
        elif name == "consent" and value is not None:
            found[name] = [{"key": k, "state": _consent(v)} for k, v in sorted(value.items())]
        else:
            found[name] = value
    return found


def _consent(state: Value) -> str:
    """What a tool says; whatever is not understood is no consent."""
    said = state.get("state") if isinstance(state, Mapping) else state
    return str(said) if said in ("out", "in") else "none"


def one_element(name: str, value: Value, *, primary: bool) -> dict[str, Any]:
    """One element of a set."""
    made = {"value": value, "type": None, "primary": primary, "validity": None}
    return made if name == "address" else {**made, "raw": None}


@cache
def known_fields(entity: str) -> frozenset[str]:
    """The fields that an entity's schema has."""
    return frozenset(f["name"] for f in read(entity)["fields"])


def entity_value(
    entity: str, fields: Mapping[str, Any], unknown: Mapping[str, str], ext: Mapping[str, str]
) -> Named:
    """An entity: what is covered has a value or null, everything else is null and not covered."""
    known = known_fields(entity)
    held = {n: v for n, v in fields.items() if n in known}
    values = {
        **dict.fromkeys(known),
        **held,
        "covered": sorted(held),
        "unknown": dict(unknown),
        "ext": dict(ext),
    }
    return (schema(entity)["name"], values)


def golden_values(golden: Golden) -> dict[str, Any]:
    """A golden record's fields, sets whole, the primary first."""
    found: dict[str, Any] = {}
    for name, cells in elements_of(golden.cells).items():
        if name == "consent":
            found[name] = [{"key": key_of(c), "state": golden.cells[c].value} for c in cells]
        elif name in ("companies", "parent"):
            found[name] = [key_of(c) for c in cells if golden.cells[c].value]
        elif cells:
            found[name] = [
                one_element(name, key_of(c), primary=False) for c in cells if golden.cells[c].value
            ]
        elif name in SETS:
            found[name] = _elements(name, golden)
        else:
            found[name] = golden.cells[name].value
    return found


def elements_of(cells: Iterable[str]) -> dict[str, list[str]]:
    """The fields of these cells, each with the cells that are its elements, in order."""
    found: dict[str, list[str]] = {}
    for cell in sorted(cells):
        found.setdefault(field_of(cell), []).extend([cell] if "[" in cell else [])
    return found


def _elements(name: str, golden: Golden) -> list[Any] | None:
    cell = golden.cells[name]
    first = [] if cell.value is None else [one_element(name, cell.value, primary=True)]
    return first + [one_element(name, v, primary=False) for v in cell.also] or None


class Codec:
    """What the hub publishes, as bytes. With a registry, each topic's schema is kept there too."""

    def __init__(self, registry: Registry | None = None, folder: Path = SCHEMAS) -> None:
        self._registry, self._folder = registry, folder
        self._heads: dict[str, bytes] = {}

    def encode(self, topic: str, name: str, value: dict[str, Any]) -> bytes:
        """A topic's value; raises ValueError where it does not fit the schema, `NoRegistry`."""
        out = BytesIO()
        out.write(self._heads.get(topic) or self.prepare(topic, name))
        fastavro.schemaless_writer(out, schema(name, self._folder), value, strict=True)
        return out.getvalue()

    def prepare(self, topic: str, name: str) -> bytes:
        """What the values of a topic begin with; from here on it needs no registry."""
        if self._registry is None:
            head = BY_FILE + fingerprint(name, self._folder)
        else:
            head = BY_ID + self._registry.register(topic, name).to_bytes(ID)
        self._heads[topic] = head
        return head

    def decode(self, name: str, data: bytes) -> dict[str, Any]:
        """An event of any version, in the present shape; raises `Undecodable`, `NoRegistry`."""
        start = 1 + (ID if data[:1] == BY_ID else MARK)
        writer = self._writer(name, data[:1], data[1:start])
        return decoded(data[start:], writer, schema(name, self._folder))

    def _writer(self, name: str, magic: bytes, mark: bytes) -> Any:
        if magic == BY_ID and len(mark) == ID and self._registry is not None:
            return self._registry.writer(int.from_bytes(mark))
        known = versions(name, self._folder)
        if magic == BY_FILE and mark in known:
            return known[mark]
        message = f"not written with any version of the schema {name!r} that is known here"
        raise Undecodable(message)

    def close(self) -> None:
        """Let go of the registry."""
        if self._registry is not None:
            self._registry.close()

    def cdc(self, record: Record, item: Input) -> bytes:
        """An input of a record as a change event."""
        body = item.body
        seen = body if isinstance(body, Observation) else None
        values: dict[str, Any] = {
            "before": self._before(record, seen) if seen else None,
            "after": self._after(record, seen) if seen else None,
            "source": self._source(record, seen),
            "op": op(record, seen),
            "ts_ms": getattr(body, "end", 0) or getattr(body, "at", 0),
            "event_id": item.event_id,
            "merged": [],
            "merged_into": None,
            "kind": None if seen else kind_of(body),
        }
        topic = cdc_topic(record.system, record.object)
        return self.encode(topic, f"{record.entity}_change", values)

    def _before(self, record: Record, seen: Observation) -> Named | None:
        if not record.seen:
            return None
        held = {n: record.cell(n).observed for n in seen.values if record.cell(n).known}
        return entity_value(record.entity, shaped(held), {}, {})

    def _after(self, record: Record, seen: Observation) -> Named | None:
        if seen.state != "live":
            return None
        return entity_value(record.entity, shaped(seen.values), seen.unknown, seen.ext)

    def _source(self, record: Record, seen: Observation | None) -> dict[str, Any]:
        return {
            "connector": record.system,
            "system": record.system,
            "object": record.object,
            "id": (seen.native_id if seen else "") or record.native_id or None,
            "revision": seen.revision[1] if seen and seen.revision[1] else None,
            "actor": (seen.actor.id or seen.actor.kind) if seen else None,
            "ts_ms": seen.source_ms if seen else None,
            "snapshot": bool(seen and seen.snapshot and not record.seen),
        }

    def golden(self, change: ChangeSet, at: int, merged: Iterable[Uid] = ()) -> bytes:
        """A new version of a golden record, made at a time (ms); `merged` are those it took in."""
        entity = entity_of(change)
        after = change.golden and entity_value(entity, golden_values(change.golden), {}, {})
        before = change.before and entity_value(entity, golden_values(change.before), {}, {})
        values = {
            "before": before,
            "after": after,
            "op": "d" if after is None else "u" if change.before else "c",
            "ts_ms": at,
            "source": {
                "connector": "synchub",
                "system": "golden",
                "object": entity,
                "id": change.uid,
                "revision": change.number,
                "actor": None,
                "ts_ms": None,
                "snapshot": False,
            },
            "event_id": f"{change.uid}:{change.number}",
            "merged": sorted(merged),
            "merged_into": change.merged_into or None,
            "kind": None,
        }
        return self.encode(golden_topic(entity), f"{entity}_change", values)


def cdc_topic(system: str, obj: str) -> str:
    """The topic of what was seen of an object; its messages are keyed by the record's uid."""
    return f"cdc.{system}.{obj}"


def golden_topic(entity: str) -> str:
    """The topic of the golden records of an entity; its messages are keyed by golden id."""
    return f"golden.{entity}"


def entity_of(change: ChangeSet) -> str:
    """What a golden record is, or was."""
    known = change.golden or change.before
    return known.entity if known else "person"


def op(record: Record, seen: Observation | None) -> str:
    """Debezium's letter for what happened."""
    if seen is None:
        return "m"
    if seen.state != "live":
        return "d"
    if record.seen:
        return "u"
    return "r" if seen.snapshot else "c"
