"""Raw values to standard ones: what shows nothing is no value, whatever it is made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._kit.fieldmap import ADDRESS_PARTS
from hub.pure.rules import Rules
from hub.pure.standardize import Invalid, standard

RULES = Rules(1, {})
UNSEEN = st.text(st.characters(categories=("Cc", "Zs", "Zl", "Zp")))
ANY = st.text(
    st.characters(categories=("Cc", "Zs", "Zl")) | st.sampled_from("aZ/.:@w") | st.characters(),
    max_size=20,
)


def of(kind: str, texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Raw values of a kind made of such texts."""
    parts = {"name": ("given", "family"), "address": ADDRESS_PARTS}
    return st.fixed_dictionaries(dict.fromkeys(parts[kind], texts)) if kind in parts else texts


@pytest.mark.parametrize("kind", ["text", "category", "domain", "name", "address"])
@given(st.data())
def test_what_shows_nothing_is_no_value(kind: str, data: st.DataObject) -> None:
    """Spaces and control characters alone, in one text or in every part, are nothing."""
    assert standard(kind, data.draw(of(kind, UNSEEN)), RULES) is None


@pytest.mark.parametrize(
    "kind", ["text", "category", "domain", "name", "address", "email", "phone"]
)
@given(st.data())
def test_golden_holds_no_empty_text(kind: str, data: st.DataObject) -> None:
    """A value is refused, or nothing, or it shows something; and it is its own standard."""
    try:
        value = standard(kind, data.draw(of(kind, ANY)), RULES)
    except Invalid:
        return
    assert value is None or any(value.values() if isinstance(value, dict) else value)
    assert standard(kind, value, RULES) == value
