"""The laws of every field map of every connector: one map, read in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._kit.fieldmap import ADDRESS_PARTS, Field, FieldMap, Value, full_name, text
from connectors._kit.simtool import Profile, person_map

ROOT = Path(__file__).parents[2] / "connectors"
LINE = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=30)
WORDS = st.lists(LINE, min_size=1, max_size=3).map(" ".join)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "text": WORDS, "email": LINE, "phone": WORDS, "domain": LINE, "category": LINE,
    "name": st.fixed_dictionaries({"given": WORDS | st.just(""), "family": WORDS}),
    "address": st.fixed_dictionaries(dict.fromkeys(ADDRESS_PARTS, WORDS | st.just(""))).filter(
        lambda a: any(a.values())),
    "date": st.dates().map(lambda d: d.isoformat()), "flag": st.booleans(),
    "integer": st.integers(), "instant": st.integers(0, 2**41),
    "money": st.fixed_dictionaries({"minor": st.integers(), "currency": st.just("EUR")}),
    "set": st.lists(LINE, unique=True).map(sorted),
    "consent": st.just({"email.marketing": "out"}),
}  # fmt: skip


def maps() -> Iterator[tuple[str, FieldMap]]:
    """The field map of every object of every connector, and of the simulated tool's profiles."""
    for path in sorted(ROOT.glob("*/connector.py")):
        found = import_module(f"connectors.{path.parent.name}.connector").CONNECTOR
        for spec in found.objects:
            yield f"{path.parent.name}.{spec.object}", spec.fields
    yield "simulated", person_map(Profile())
    yield "simulated, lossy", person_map(Profile(truncates=7, one_line_name=True))


FIELDS = [pytest.param(f, id=f"{name}.{f.name}") for name, found in maps() for f in found.fields]


@pytest.mark.parametrize("one", FIELDS)
@given(st.data())
def test_laws(one: Field, data: st.DataObject) -> None:
    """N is idempotent, writing n(x) is writing x, and reading back our own write means x."""
    whole = one.kind in ("set", "consent")  # stated as a whole, empty where there is nothing
    value: Value = data.draw(KINDS[one.kind] if whole else KINDS[one.kind] | st.none())
    normal = one.normal(value)
    assert one.normal(normal) == normal
    assert one.give(normal) == one.give(value)
    assert one.put(value, normal) == value
    if one.lossless:
        assert normal == value


@given(st.text("abc", min_size=6, max_size=20), st.text("xyz", min_size=5, max_size=5))
def test_an_edit_in_a_cut_field_never_shortens_ours(whole: str, typed: str) -> None:
    """Who edits what is shown of a long text keeps what is not shown."""
    one = text("note", "note", max_length=5)
    meant = one.put(whole, typed)
    assert isinstance(meant, str)
    assert meant.startswith(typed)
    assert len(meant) >= len(whole.strip())


@pytest.mark.parametrize(
    ("base", "typed", "meant"),
    [
        (("Maria", "de la Cruz"), "Mary de la Cruz", ("Mary", "de la Cruz")),
        (("Maria", "de la Cruz"), "Maria Roe Bell", ("Maria", "Roe Bell")),
        (("Maria", "de la Cruz"), "Maria de la Cruz", ("Maria", "de la Cruz")),
        (("Maria", "Cruz"), "Ann Smith", ("Ann", "Smith")),
    ],
)
def test_a_name_in_one_line_keeps_its_boundary(
    base: tuple[str, str], typed: str, meant: tuple[str, str]
) -> None:
    """An edit of one part leaves the boundary that is known elsewhere."""
    one = full_name("name", "line")
    held = dict(zip(("given", "family"), base, strict=True))
    seen = one.take({"line": typed})
    assert one.put(held, seen) == dict(zip(("given", "family"), meant, strict=True))
