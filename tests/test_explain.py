"""The words in which the origin of a value is told."""

from __future__ import annotations

import pytest

from hub.explain import who
from hub.pure.model import Actor


@pytest.mark.parametrize(
    ("actor", "words"),
    [
        (Actor("person", "12345", "CRM_UI"), "person 12345 (CRM_UI)"),
        (Actor("steward", "jane"), "steward jane"),
        (Actor("unknown", "", "dashboard or automatic"), "unknown (dashboard or automatic)"),
        (Actor(), "unknown"),
    ],
)
def test_who_made_a_change_is_told_in_words(actor: Actor, words: str) -> None:
    """Kind, id and way are told as far as they are known."""
    assert who(actor) == words
