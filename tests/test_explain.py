"""The words in which the origin of a value is told."""

from __future__ import annotations

import pytest

from hub.explain import find, who
from hub.pure.model import Actor
from tests.stories.runner import tell


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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("jane", 1),
        ("jane@x.com", 1),
        ("+1 202 555 0101", 1),
        ("\0", 0),
        ("\ud800", 0),
        ("", 0),
        ("x" * 5_000, 0),
    ],
)
def test_a_customer_is_found_by_what_people_know(text: str, found: int) -> None:
    """A tool's own id, an address, a number; a text that nothing can be called finds nobody."""
    world = tell(
        'tools A\nA.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0101"\nsync'
    ).world
    assert len(world.store.view(lambda rows: find(rows, world.hub, text))) == found
