"""Whether two versions of a schema read each other, tried with values of every shape."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hub.io import schemas
from hub.io.codec import decoded
from hub.io.schemas import SCHEMAS

Named = dict[str, st.SearchStrategy[Any]]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PLAIN: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**40), 2**40),
    "double": st.floats(allow_nan=False),
    "string": TEXTS,
}
FEW = 25  # values a direction: a shape that cannot be read fails with nearly every value


def generated(schema: Any, named: Named | None = None) -> st.SearchStrategy[Any]:
    """Values of a schema that stands for itself, as JSON values have it."""
    named = {} if named is None else named
    if isinstance(schema, list):
        return st.one_of([generated(one, named) for one in schema])
    if isinstance(schema, str):
        return (PLAIN | named)[schema]
    if schema["type"] == "record":
        return of_record(schema, named)
    if schema["type"] == "array":
        return st.lists(generated(schema["items"], named), max_size=2)
    if schema["type"] == "map":
        return st.dictionaries(TEXTS, generated(schema["values"], named), max_size=2)
    return generated(schema["type"], named)


def of_record(schema: Any, named: Named) -> st.SearchStrategy[Any]:
    """Records; a type that is used again later is the same strategy."""
    full = f"{schema['namespace']}.{schema['name']}" if "namespace" in schema else schema["name"]
    fields = {f["name"]: generated(f["type"], named) for f in schema["fields"]}
    found = named[full] = st.fixed_dictionaries(fields)
    return found


def read_each_other(one: Any, other: Any) -> None:
    """Whatever either writes, the other reads; raises where not, or where a value is another."""
    for writer, reader in ((one, other), (other, one)):
        reads(writer, reader)


def reads(writer: Any, reader: Any) -> None:
    """One direction of it."""
    before, after = fastavro.parse_schema(deepcopy(writer)), fastavro.parse_schema(deepcopy(reader))

    @given(generated(writer))
    @settings(max_examples=FEW, phases=[Phase.generate])
    def each(value: Any) -> None:
        out = BytesIO()
        fastavro.schemaless_writer(out, before, value)
        data = out.getvalue()
        assert alike(decoded(data, before, before), decoded(data, before, after))

    each()


def alike(one: Any, other: Any) -> bool:
    """Whether all that both have is equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(alike(one[k], other[k]) for k in one.keys() & other.keys())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def newer(place: Path, added: dict[str, Any]) -> Path:
    """A copy of the schemas, the kept versions too, in which a person has one field more."""
    copy = place / "schemas"
    shutil.copytree(SCHEMAS, copy)
    person = schemas.read("person", copy)
    person["fields"].append({"name": "added", **added})
    (copy / "person.avsc").write_text(json.dumps(person))
    return copy


# -- versions that may follow, and versions that must not ------------------------------------------


def entity(schema: Any) -> list[Any]:
    """The fields of the entity inside of an envelope, to be changed."""
    found: list[Any] = schema["fields"][0]["type"][1]["fields"]
    return found


def field(fields: list[Any], name: str) -> Any:
    """One field by its name."""
    return next(f for f in fields if f["name"] == name)


def good(schema: Any) -> Iterator[tuple[str, Any]]:
    """Changes after which old and new read each other."""
    yield "nullable field added", changed(schema, add={"type": ["null", "string"], "default": None})
    yield "field with default added", changed(schema, add={"type": "long", "default": 7})
    yield "field with default removed", changed(schema, remove="tags")
    yield "another text about a field", changed(schema, retype=("website", {"doc": "a page"}))


def bad(schema: Any) -> Iterator[tuple[str, Any]]:
    """Changes after which one of the two cannot read the other."""
    yield "field without default added", changed(schema, add={"type": "string"})
    yield "type changed", changed(schema, retype=("website", {"type": ["null", "long"]}))
    yield "no longer nullable", changed(schema, retype=("website", {"type": "string"}))
    yield "wider number", changed(schema, retype=("created", {"type": ["null", "double"]}))
    removed = deepcopy(schema)
    removed["fields"].remove(field(removed["fields"], "ts_ms"))
    yield "field without default removed", removed


def changed(
    schema: Any,
    add: dict[str, Any] | None = None,
    remove: str = "",
    retype: tuple[str, dict[str, Any]] | None = None,
) -> Any:
    """An envelope whose entity has one field more, one less, or another one."""
    found = deepcopy(schema)
    fields = entity(found)
    if add:
        fields.append({"name": "added", **add})
    if remove:
        fields.remove(field(fields, remove))
    if retype:
        name, more = retype
        one = field(fields, name)
        one.update(more)
        if not isinstance(one["type"], list):
            one["default"] = ""
    return found
