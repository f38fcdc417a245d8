"""What a message says of its row, in each form that it may have."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._kit.contract import Reading, Unreadable
from connectors._kit.source import Misdeclared
from connectors.debezium.rows import Rows
from connectors.debezium.topics import Message
from connectors.debezium.values import UNAVAILABLE, UNTOLD, Schema, Shape, plain, schema_of
from tests.connectors.debezium.tools import (
    Captured,
    Write,
    captured,
    declared,
    deleted,
    edited,
    in_avro,
    inserted,
    messages,
    rekeyed,
    source,
    with_schema,
    without_schema,
)

NOW = 1_800_000_000_000
ROWS = declared(source()).tables["customers"]


class Registry:
    """Schemas by number, without a server."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def number(self, _subject: str, schema: str) -> int:
        """A schema is kept under a number."""
        self.texts += [] if schema in self.texts else [schema]
        return self.texts.index(schema) + 1

    def schema(self, number: int) -> Schema:
        """A kept schema."""
        if not 1 <= number <= len(self.texts):
            raise Unreadable(f"schema registry: there is no schema {number}")
        return schema_of("AVRO", self.texts[number - 1], ())


REGISTRY = Registry()
FORMS: dict[str, Write] = {
    "JSON with its schema": with_schema,
    "JSON without": without_schema,
    "Avro": in_avro(REGISTRY.number),
}


def read(message: Message, rows: Rows = ROWS) -> Reading | None:
    """What a message shows."""
    return rows.reading(message, REGISTRY.schema, NOW, 0)


def readings(found: list[Captured], write: Write = with_schema, rows: Rows = ROWS) -> list[Reading]:
    """What messages show, without those that say nothing more."""
    return [one for message in messages(found, write) if (one := read(message, rows))]


def value(payload: object, key: bytes | None = b'{"id": 2}', **headers: bytes) -> Message:
    """A message of JSON without a schema."""
    return Message(0, 0, 1_795_328_616_792, key, orjson.dumps(payload), headers)


def deep(levels: int) -> Message:
    """A row with a list in a list, and so on."""
    return replace(value(None), value=b'{"id":2,"email":%s1%s}' % (b"[" * levels, b"]" * levels))


@pytest.mark.parametrize("form", FORMS)
def test_what_debezium_wrote_is_read(form: str) -> None:
    """Each captured message tells what happened to its row, whatever the converter."""
    found = readings(captured(), FORMS[form])
    assert [(r.native_id, r.state, r.revision, r.aliases, r.snapshot) for r in found] == [
        ("1", "live", 1, (), True),
        ("2", "live", 2, (), False),
        ("2", "live", 3, (), True),
        ("2", "live", 4, (), True),
        ("1000", "live", None, ("2",), False),
        ("1000", "live", 7, (), False),
        ("1000", "deleted", 8, (), False),
        ("1000", "deleted", 9, (), False),
    ]
    first, ada = found[0], found[1]
    taken = ROWS.spec.fields.take(ada.app)
    assert not taken.unknown
    assert taken.values == {
        "email": "ada@example.com",
        "name": {"given": "Ada", "family": "Lovelace"},
        "phone": "+44 20 7946 0000",
        "birth_date": None,
        "tags": ["math", "vip"],
        "balance": {"minor": 9995, "currency": "EUR"},
        "delinquent": False,
        "note": '{"src": "web"}',
    }
    assert ROWS.spec.fields.take(first.app).values["birth_date"] == "1980-02-29"
    assert (first.source_ms, first.start_ms, first.end_ms) == (1_795_328_612_034, NOW, NOW)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_withheld_is_not_covered(form: str) -> None:
    """A value that was not changed and not logged clears nothing, and its name stays whole."""
    row = inserted(id=2, last_name=UNAVAILABLE, tags=[UNAVAILABLE], meta=UNAVAILABLE)
    (found,) = readings([row], FORMS[form])
    assert set(ROWS.spec.fields.take(found.app).values) == {
        "email", "phone", "birth_date", "balance", "delinquent"}  # fmt: skip


def test_withheld_bytes_are_known_in_json() -> None:
    """The placeholder of a column of bytes is told in base64."""
    hidden = base64.b64encode(UNAVAILABLE.encode()).decode()
    (found,) = readings([inserted(meta=hidden)], without_schema)
    assert "meta" not in found.app


def test_a_column_that_is_not_there_is_not_covered() -> None:
    """A row without a column that is mapped says nothing of its field."""
    found = read(value({"op": "u", "source": {"ts_ms": 5}, "after": {"id": 2, "email": None}}))
    assert found
    assert ROWS.spec.fields.take(found.app).values == {"email": None}


def test_a_new_key_renames_behind_all_that_was_told_of_the_old_one() -> None:
    """The deletion of the old key is the renaming, and the row under the new one is a row."""
    gone, tombstone, came = messages(rekeyed(inserted(id=2), 1000))
    renaming, row = read(gone), read(came)
    assert renaming
    assert row
    assert (renaming.native_id, renaming.aliases, renaming.app) == ("1000", ("2",), {})
    assert read(tombstone) is None
    assert (row.native_id, row.aliases) == ("1000", ())
    schemed = replace(gone, headers={"__debezium.newkey": orjson.dumps(
        {"schema": {"type": "struct"}, "payload": {"id": 1000}})})  # fmt: skip
    assert read(schemed) == renaming


def test_keys_of_several_columns_and_plain_ones() -> None:
    """Several columns are one text; a key that StringConverter wrote is the id itself."""
    given = source()
    given["tables"]["customers"]["key"] = ["shop", "id"]
    both = declared(given).tables["customers"]
    row = {"op": "c", "source": {"ts_ms": 5}, "after": {"id": 2, "shop": "b"}}
    found = read(value(row), both)
    assert found
    assert found.native_id == '["b","2"]'
    gone = read(replace(value(None), value=None, key=b"two"))
    assert gone
    assert (gone.native_id, gone.state) == ("two", "deleted")


def test_flattened_rows_are_read() -> None:
    """Without the envelope a row is what it is now, and what it is deleted says it."""
    row = {"id": 2, "email": "a@b.example", "__op": "u", "__source_ts_ms": 7}
    found, gone = read(value(row)), read(value({**row, "__deleted": "true"}))
    assert found
    assert gone
    assert (found.app, found.source_ms, found.snapshot) == ({"email": "a@b.example"}, 7, True)
    assert (gone.state, gone.native_id) == ("deleted", "2")
    bare = read(value({"id": 2}))
    assert bare
    assert (bare.source_ms, bare.state) == (1_795_328_616_792, "live")


def test_unknown_parts_of_an_envelope_are_left_alone() -> None:
    """Transactions, and whatever a later version adds, change nothing."""
    row = inserted(id=2)
    assert row.value is not None
    block = {"id": "731:26380904", "total_order": 1, "data_collection_order": 1}
    more = {**row.value["payload"], "transaction": block, "later": [1]}
    plainly = {**row.value, "payload": more}
    assert readings([replace(row, value=plainly)]) == readings([row])


BAD: dict[str, tuple[Message, str]] = {
    "no JSON": (replace(value(None), value=b"\x02\xc3\x01"), "neither JSON nor Avro"),
    "a number": (value(7), "neither a change of Debezium's nor a row"),
    "truncated": (value({"op": "t", "source": {}}), "the table was truncated"),
    "unknown op": (value({"op": "m", "source": {}}), "op 'm' is not known"),
    "no row": (value({"op": "u", "source": {}, "after": None}), "op u has no row in 'after'"),
    "schema change": (value({"source": {}, "ddl": "alter table"}), "a change of a schema"),
    "heartbeat": (value({"ts_ms": 1}), "it has no op, and no id"),
    "no key": (value({"op": "d", "source": {}, "before": None}, None), "the message has no key"),
    "odd key": (value({"op": "c", "source": {}, "after": {"id": [1]}}), "id: '[1]' is no key"),
    "key of a struct": (replace(value(None), value=None, key=b"Struct{id=2}"), "neither JSON"),
    "odd new key": (
        value({"op": "d", "source": {}, "before": None}, **{"__debezium.newkey": b'{"no":1}'}),
        "expected a key of id",
    ),
    "no such schema": (replace(value(None), value=b"\0\0\0\x27\x0fabc"), "no schema 9999"),
    "too short": (replace(value(None), value=b"\0\0\0"), "no message of a schema registry"),
    "deep": (deep(270), "the row cannot be kept"),
    "very deep": (deep(900), "nested too deeply"),
    "odd scale": (
        value({"schema": {"parameters": {"scale": "1e9"}}, "payload": {"id": 2}}),
        "no scale of a decimal",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_nobody_understands_is_refused_with_a_reason(what: str) -> None:
    """The reason is for a person, and the message is kept."""
    message, why = BAD[what]
    with pytest.raises(Unreadable) as told:
        read(message)
    assert why in str(told.value)


def test_avro_that_is_not_what_its_schema_says_is_refused() -> None:
    """A message cut short, and one with more behind it, is not believed."""
    (whole,) = messages([inserted()], FORMS["Avro"])
    assert whole.value
    for bent in (whole.value[:-3], whole.value + b"\0", whole.value[:6]):
        with pytest.raises(Unreadable, match="not what schema"):
            read(replace(whole, value=bent))


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """Whatever a message holds, it is read or refused."""
    for message in (replace(value(None), value=data), replace(value(None), value=None, key=data)):
        with suppress(Unreadable):
            read(message)


SIMPLE = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
JSON = st.recursive(
    SIMPLE | st.text(max_size=9),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3)
    ),
    max_leaves=8,
)
TYPE_NAMES = st.sampled_from([
    "io.debezium.time.Date", "io.debezium.time.MicroTimestamp", "io.debezium.time.NanoTime",
    "org.apache.kafka.connect.data.Decimal", "io.debezium.data.VariableScaleDecimal",
    "io.debezium.data.EnumSet", "io.debezium.data.Json", ""])  # fmt: skip


@given(st.dictionaries(st.sampled_from(["id", "email", "born", "tags", "balance", "vip"]), JSON),
       TYPE_NAMES, JSON)  # fmt: skip
def test_no_values_break_the_reader(row: dict[str, Any], name: str, more: object) -> None:
    """Any row of any type is read, refused, or has fields that say why they cannot be read."""
    fields = [{"field": n, "name": name, "items": more, "parameters": more} for n in row]
    schema = {"fields": [{"field": "after", "fields": fields}]}
    payload = {"op": "c", "source": {"ts_ms": more}, "after": row}
    with suppress(Unreadable):
        found = read(value({"schema": schema, "payload": payload}))
        assert found
        ROWS.spec.fields.take(found.app)
        assert orjson.dumps(dict(found.app))


TYPES: list[tuple[str, Any, object]] = [
    ("io.debezium.time.Date", 3711, "1980-02-29"),
    ("io.debezium.time.Date", -1, "1969-12-31"),
    ("io.debezium.time.Timestamp", 1_500, "1970-01-01T00:00:01.500000Z"),
    ("io.debezium.time.MicroTimestamp", 1_500, "1970-01-01T00:00:00.001500Z"),
    ("io.debezium.time.NanoTimestamp", 1_500_000, "1970-01-01T00:00:00.001500Z"),
    ("io.debezium.time.ZonedTimestamp", "2026-11-22T06:23:31Z", "2026-11-22T06:23:31Z"),
    ("io.debezium.time.Time", 3_600_000, "01:00:00"),
    ("io.debezium.time.MicroTime", 1, "00:00:00.000001"),
    ("org.apache.kafka.connect.data.Decimal", "JxA=", "100.00"),
    ("org.apache.kafka.connect.data.Decimal", "2A==", "-0.40"),
    ("org.apache.kafka.connect.data.Decimal", 12.5, "12.5"),
    ("io.debezium.data.VariableScaleDecimal", {"scale": 3, "value": "JxA="}, "10.000"),
    ("io.debezium.data.EnumSet", "a,b", ["a", "b"]),
    ("io.debezium.data.EnumSet", "", []),
    ("io.debezium.data.Uuid", "9f0c", "9f0c"),
    ("io.debezium.data.Enum", "gold", "gold"),
    ("", b"\x00\xff", "AP8="),
    ("", 3711, 3711),
]


@pytest.mark.parametrize(("name", "raw", "wanted"), TYPES)
def test_types_become_plain_values(name: str, raw: object, wanted: object) -> None:
    """Each type of Debezium's has one plain form; what has no type stays as it is."""
    assert plain(raw, Shape(name, 2)) == wanted


def test_long_decimals_stay_exact() -> None:
    """More digits than arithmetic usually keeps are kept."""
    number = 10**40 + 7
    raw = base64.b64encode(number.to_bytes(20)).decode()
    name = "org.apache.kafka.connect.data.Decimal"
    assert plain(raw, Shape(name, 10)) == f"{str(number)[:-10]}.{str(number)[-10:]}"


def test_a_value_of_the_wrong_type_spoils_its_field_only() -> None:
    """The field says why it cannot be read; the others are."""
    (found,) = readings([inserted(id=2, born=10**12, balance="§")])
    assert set(found.unknown) == {"birth_date", "balance"}
    assert "born" in found.unknown["birth_date"]
    assert ROWS.spec.fields.take(found.app).values["email"] == "ada@example.com"


@pytest.mark.parametrize(("vip", "wanted"), [(1, True), (0, False), ("TRUE", True), (None, None)])
def test_a_flag_may_be_a_number(vip: object, wanted: object) -> None:
    """MySQL has no booleans."""
    (found,) = readings([inserted(id=2, vip=vip)], without_schema)
    assert ROWS.spec.fields.take(found.app).values["delinquent"] == wanted


def test_deletions_need_nothing_but_the_key() -> None:
    """A row that is gone shows no values, whatever was told of it before."""
    found = readings([deleted(edited(inserted(id=2)))])
    assert [(r.native_id, r.state, r.app) for r in found] == [("2", "deleted", {})]


# -- the declaration -------------------------------------------------------------------------------


def table(**fields: Any) -> Callable[[], object]:
    """A table with these fields."""
    given = source()
    given["tables"]["customers"]["fields"] = fields
    return lambda: declared(given)


WRONG: dict[str, tuple[Callable[[], object], str, str]] = {
    "no such field": (table(emial="email"), "emial", "did you mean email?"),
    "no such part": (table(name={"givn": "a", "family": "b"}), "name.givn", "did you mean given?"),
    "a part is missing": (table(name={"given": "a"}), "name", "name needs 'family'"),
    "no such type": (
        table(birth_date={"column": "born", "type": "dat"}),
        "birth_date.type",
        "did you mean date?",
    ),
    "consent": (table(consent="ok"), "consent", "kind consent is not read from a column"),
    "an association": (table(companies="firm"), "companies", "kind reference is not read"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_declared_says_where(what: str) -> None:
    """The place leads to the key, and what may have been meant is told."""
    make, place, why = WRONG[what]
    with pytest.raises(Misdeclared) as told:
        make()
    assert ".".join(told.value.place) == f"tables.customers.fields.{place}"
    assert why in str(told.value)


def test_shapes_of_nothing() -> None:
    """What is not told is left as it is."""
    assert plain({"a": 1}, UNTOLD) == {"a": 1}
