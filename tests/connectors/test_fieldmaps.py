"""The laws of every field map of every connector: one map, read in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors._kit import fieldmap as fm
from connectors._kit.fieldmap import ADDRESS_PARTS, Field, FieldMap, Value
from connectors._kit.simtool import Profile, person_map
from connectors._kit.source import Source
from connectors.debezium.connector import CONNECTOR

ROOT = Path(__file__).parents[2] / "connectors"
LAWS = settings(max_examples=max(200, settings.default.max_examples if settings.default else 0))
# Few characters, most of which separate something, so that few examples find much.
RAW = st.text(" ,;a0é王", max_size=12)
LINE = RAW.map(str.strip).filter(bool)
NO_TEXT = st.sampled_from(["", " ", "\t", "\n ", ","])


def shapes(texts: st.SearchStrategy[str]) -> dict[str, st.SearchStrategy[Any]]:
    """Values of every kind that is made of texts."""
    name = st.fixed_dictionaries(dict.fromkeys(("given", "family"), texts))
    parts = st.fixed_dictionaries(dict.fromkeys(ADDRESS_PARTS, texts))
    lines = dict.fromkeys(("text", "email", "phone", "category"), texts)
    return {**lines, "name": name, "address": parts, "set": st.lists(texts, max_size=4)}


def tidy(value: Any) -> Any:
    """A value as golden may hold it: trimmed, and never of empty texts alone."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, dict):
        trimmed = {k: v.strip() for k, v in value.items()}
        return trimmed if any(trimmed.values()) else None
    return sorted({v.strip() for v in value} - {""})


UNTIDY = shapes(RAW | NO_TEXT)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    **{kind: values.map(tidy) for kind, values in UNTIDY.items()},
    "date": st.dates().map(lambda d: d.isoformat()), "flag": st.booleans(),
    "integer": st.integers(), "instant": st.integers(0, 2**41),
    "money": st.fixed_dictionaries({"minor": st.integers(), "currency": st.just("EUR")}),
    "consent": st.just({"email.marketing": "out"}),
}  # fmt: skip

CUT = 7
# Every kind in its most forgetful form, also those that no connector uses yet.
FORGETFUL = FieldMap(
    (
        fm.text("text", "text", max_length=CUT),
        fm.text("nothing", "nothing", clear=None),
        fm.category("category", "category", words={"A": "a", "0": "a0"}),
        fm.full_name("name", "name", clear=None),
        fm.full_name("short name", "short", max_length=CUT),
        fm.address("address", {"line1": "street", "city": "town"}),
        fm.integer("instant", "seconds", kind="instant", scale=1_000),
        fm.elements("joined", "joined", join=","),
        fm.money("money", "cents", "unit", writable=True),
    )
)


# Every kind that a table may be declared to have.
OURS = {
    "person": {"name": "name", "line": "name", "address": "address", "day": "date", "mail": "email",
               "moment": "instant", "number": "integer", "flag": "flag", "tags": "set",
               "joined": "set", "sum": "money", "cents": "money", "any": "money"}
}  # fmt: skip
DECLARED = Source.model_validate({
    "bootstrap": "broker:9092",
    "tables": {"rows": {"topic": "t", "entity": "person", "key": "id", "fields": {
        "name": {"given": "given", "family": "family"}, "line": "line", "mail": "mail",
        "address": {"line1": "street", "city": "town"}, "day": "day", "moment": "moment",
        "number": "number", "flag": "flag", "tags": "tags",
        "joined": {"column": "joined", "join": ","},
        "sum": {"amount": "sum", "currency": "EUR"}, "cents": {"minor": "cents", "currency": "EUR"},
        "any": {"amount": "any", "currency": "unit"}}}},
})  # fmt: skip


def maps() -> Iterator[tuple[str, FieldMap]]:
    """The field map of every object of every connector, and of the simulated tool's profiles."""
    for path in sorted(ROOT.glob("*/connector.py")):
        found = import_module(f"connectors.{path.parent.name}.connector").CONNECTOR
        for spec in found.objects:
            yield f"{path.parent.name}.{spec.object}", spec.fields
    for spec in CONNECTOR.declared(DECLARED, OURS).objects:
        yield f"debezium.{spec.object}", spec.fields
    yield "simulated", person_map(Profile())
    few = frozenset({"email.marketing"})
    yield "simulated, lossy", person_map(Profile(truncates=7, one_line_name=True, consents=few))
    yield "forgetful", FORGETFUL


EVERY = {f"{name}.{f.name}": f for name, found in maps() for f in found.fields}
CUTTING = ("note", "text", "short name")


def holds(where: str, value: Value) -> None:
    """N is idempotent, writing n(x) is writing x, and reading back our own write means x."""
    one = EVERY[where]
    normal = one.normal(value)
    assert one.normal(normal) == normal, where
    assert one.give(normal) == one.give(value), where
    assert one.put(value, normal) == value, where


def golden(kind: str) -> st.SearchStrategy[Any]:
    """What golden may hold of a kind; sets are stated as a whole, empty where nothing is."""
    return KINDS[kind] if kind in ("set", "consent") else KINDS[kind] | st.none()


def of_kind(kind: str) -> Iterator[tuple[str, Field]]:
    """Every field of a kind."""
    return ((where, f) for where, f in EVERY.items() if f.kind == kind)


@pytest.mark.parametrize("kind", sorted({f.kind for f in EVERY.values()}))
@LAWS
@given(st.data())
def test_laws(kind: str, data: st.DataObject) -> None:
    """The laws hold for every value that golden may have, and lossless fields lose nothing."""
    value: Value = data.draw(golden(kind))
    for where, one in of_kind(kind):
        holds(where, value)
        assert not one.lossless or one.normal(value) == value, where


@pytest.mark.parametrize("kind", UNTIDY)
@LAWS
@given(st.data())
def test_laws_of_untidy_values(kind: str, data: st.DataObject) -> None:
    """Texts that nobody trimmed, or that are nothing when trimmed, keep the laws too."""
    value: Value = data.draw(UNTIDY[kind])
    for where, _ in of_kind(kind):
        holds(where, value)


@pytest.mark.parametrize("kind", sorted({f.kind for f in EVERY.values()}))
@LAWS
@given(st.data())
def test_what_an_edit_means_is_what_the_tool_shows(kind: str, data: st.DataObject) -> None:
    """Whoever edits a copy is not corrected by our next write: n(put(x, seen)) = seen."""
    base, typed = data.draw(golden(kind)), data.draw(golden(kind))
    for where, one in of_kind(kind):
        if one.name not in CUTTING:  # there the tail follows what is seen
            seen = one.normal(typed)
            assert one.normal(one.put(base, seen)) == seen, where


@LAWS
@given(LINE | st.sampled_from(["email.marketing", "sms.marketing", "post.news"]))
def test_a_field_has_room_for_what_it_gives(key: str) -> None:
    """Of a set or of consent a tool is offered nothing that it could not be told."""
    for kind, said, nothing in (("set", [key], []), ("consent", {key: "out"}, {})):
        for where, one in of_kind(kind):
            assert one.room(key) == (one.give(said) != one.give(nothing)), where


NOWHERE = {**dict.fromkeys(ADDRESS_PARTS, ""), "line2": "0"}


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("hubspot.contacts.address", NOWHERE),
        ("stripe.customers.name", {"given": ",", "family": ", ,"}),
        ("stripe.customers.name", {"given": "Ada", "family": "Byron, Jr."}),
        ("forgetful.category", "neither"),
        ("forgetful.instant", 1_001),
        ("forgetful.joined", ["a,b", "c"]),
        ("forgetful.text", "abcdef  ghi"),
        ("forgetful.short name", {"given": "Maria", "family": "de la Cruz"}),
        ("hubspot.contacts.job_title", " "),
    ],
)
def test_what_a_tool_has_no_place_for(where: str, value: Value) -> None:
    """Values that a tool cannot show at all, or not whole, are meant by what it shows of them."""
    holds(where, value)


@LAWS
@given(LINE, LINE)
def test_an_edit_in_a_cut_text_never_loses_what_was_cut_off(whole: str, typed: str) -> None:
    """Who edits what is shown of a long text keeps what is not shown."""
    one = EVERY["forgetful.text"]
    shown, seen = one.normal(whole), one.normal(typed)
    assert isinstance(shown, str)
    meant = whole if seen == shown else f"{seen}{whole[len(shown) :]}"
    assert one.put(whole, seen) == meant
    assert one.put(whole, None) is None


@pytest.mark.parametrize(
    ("base", "typed", "meant"),
    [
        (("Maria", "de la Cruz"), "Mary de la Cruz", ("Mary", "de la Cruz")),
        (("Maria", "de la Cruz"), "Maria Roe Bell", ("Maria", "Roe Bell")),
        (("Maria", "de la Cruz"), "Maria de la Cruz", ("Maria", "de la Cruz")),
        (("Maria", "de la Cruz"), "de la Cruz", ("", "de la Cruz")),
        (("Anna Maria", "Cruz"), "Anna Maria", ("Anna Maria", "")),
        (("Maria", "Cruz"), "Ann Smith", ("Ann", "Smith")),
        (("Maria", "Cruz"), "Roe Bell, Ann", ("Ann", "Roe Bell")),
        (("Ada", "Byron, Jr."), "Eva Byron Jr.", ("Eva", "Byron, Jr.")),
        (("", "Plato"), "Plato Jones", ("Plato", "Jones")),
    ],
)
def test_a_name_in_one_line_keeps_its_boundary(
    base: tuple[str, str], typed: str, meant: tuple[str, str]
) -> None:
    """An edit of one part leaves the boundary and the spelling that are known elsewhere."""
    one = EVERY["forgetful.name"]
    held = dict(zip(("given", "family"), base, strict=True))
    assert one.put(held, one.take({"name": typed})) == dict(
        zip(("given", "family"), meant, strict=True)
    )


def test_an_edit_in_a_cut_name_keeps_the_end_of_it() -> None:
    """A name longer than its line loses nothing when its beginning is edited."""
    one = EVERY["forgetful.short name"]
    seen = one.take({"short": "Mo de l"})
    meant = {"given": "Mo", "family": "de la Cruz"}
    assert one.put({"given": "Ma", "family": "de la Cruz"}, seen) == meant
