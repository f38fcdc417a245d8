"""Change events as Avro, in the shape of Debezium's envelope; the schemas are files in `schemas/`.

Encoded bytes begin with a magic byte and the fingerprint of their writer's schema, so that old
bytes stay readable beside new ones. Sets are arrays of elements here and element cells inside
(see hub/pure/model.py); `flat` and `shaped` translate.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import fastavro
from fastavro.schema import SchemaParseException

from hub.pure.decide import ChangeSet
from hub.pure.model import Golden, Input, Observation, Record, Value, field_of, key_of
from hub.pure.pack import kind_of

SCHEMAS = Path(__file__).parents[2] / "schemas"
MAGIC = b"\x02"
Named = tuple[str, dict[str, Any]]  # a record and its type: Avro need not try what fits a union
MARK = 8  # bytes of the schema's fingerprint
SETS = ("email", "phone", "mobile", "address")


class Undecodable(ValueError):
    """Bytes that are no event of ours; the text says why."""


@cache
def schema(name: str) -> Any:
    """A parsed schema by the name of its file, with the types that it uses inside."""
    named: dict[str, Any] = {}
    *before, last = (found for part in parts(name) for found in _as_list(_read(part)))
    for found in before:
        fastavro.parse_schema(found, named_schemas=named)
    return fastavro.parse_schema(last, named_schemas=named)


def parts(name: str) -> tuple[str, ...]:
    """The files that make up a schema, what is used before what uses it."""
    entity = name.removesuffix("_change")
    return ("common", entity) if entity == name else ("common", entity, name)


def _read(name: str) -> Any:
    return json.loads((SCHEMAS / f"{name}.avsc").read_text())


def _as_list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


@cache
def fingerprint(name: str) -> bytes:
    """Eight bytes that tell one version of a schema from another."""
    text = json.dumps([_read(part) for part in parts(name)], sort_keys=True)
    return sha256(text.encode()).digest()[:MARK]


def encode(name: str, value: Mapping[str, Any]) -> bytes:
    """An event's bytes; raises ValueError where the value does not fit the schema."""
    out = BytesIO()
    out.write(MAGIC + fingerprint(name))
    fastavro.schemaless_writer(out, schema(name), dict(value), strict=True)
    return out.getvalue()


def decode(name: str, data: bytes) -> dict[str, Any]:
    """An event from its bytes; raises `Undecodable`."""
    if data[:1] != MAGIC or data[1 : 1 + MARK] != fingerprint(name):
        message = f"not written with the schema {name!r} that this version has"
        raise Undecodable(message)
    stream = BytesIO(data[1 + MARK :])
    try:
        found = fastavro.schemaless_reader(stream, schema(name), None)
    except (
        EOFError,
        ValueError,
        IndexError,
        TypeError,
        KeyError,
        OverflowError,
        MemoryError,
        SchemaParseException,
    ) as error:
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
    return "out" if state == "out" else "in" if state else "none"


def one_element(name: str, value: Value, *, primary: bool) -> dict[str, Any]:
    """One element of a set."""
    made = {"value": value, "type": None, "primary": primary, "validity": None}
    return made if name == "address" else {**made, "raw": None}


@cache
def known_fields(entity: str) -> frozenset[str]:
    """The fields that an entity's schema has."""
    return frozenset(f["name"] for f in _read(entity)["fields"])


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
    """What the hub publishes, as bytes."""

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
        return encode(f"{record.entity}_change", values)

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

    def golden(self, change: ChangeSet) -> bytes:
        """A new version of a golden record."""
        entity = (change.golden or change.before or _NOBODY).entity
        after = change.golden and entity_value(entity, golden_values(change.golden), {}, {})
        before = change.before and entity_value(entity, golden_values(change.before), {}, {})
        merged = change.before.members if change.before and not change.golden else ()
        return encode(
            f"{entity}_change",
            {
                "before": before,
                "after": after,
                "op": "d" if after is None else "u" if change.before else "c",
                "ts_ms": 0,
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
            },
        )


_NOBODY = Golden("", "person", (), {})


def op(record: Record, seen: Observation | None) -> str:
    """Debezium's letter for what happened."""
    if seen is None:
        return "m"
    if seen.state != "live":
        return "d"
    if record.seen:
        return "u"
    return "r" if seen.snapshot else "c"
