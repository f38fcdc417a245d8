"""Drift can be looked at word by word."""

from __future__ import annotations

from typing import Any

import pytest

from hub import browse
from hub.commands import Wrong
from hub.tools.world import World
from tests.stories.runner import tell

TOLD = """
tools A B(refuses=title ignores=tel)
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
A.joe name="Joe Roe" email=joe@x.com
B.joe name="Joe Roe" email=joe@x.com
sync
A.jane job_title=Boss phone="+1 202 555 0101"
A.joe phone="+1 202 555 0102"
sync
"""


@pytest.fixture(scope="module")
def world() -> World:
    """B has refused a title, and ignored two numbers."""
    return tell(TOLD).world


def cells(world: World, word: str = "") -> list[tuple[str, str, str]]:
    """Customer, cell and word of everything that the page shows."""
    found: dict[str, Any] = browse.drift(world.hub, "B", word=word)
    return [(one["customer"], c["cell"], c["word"]) for one in found["links"] for c in one["cells"]]


def test_only_the_cells_of_a_word_are_shown(world: World) -> None:
    """Each cell is found under its own word, and links without one are left out."""
    told = cells(world)
    assert {word for _, _, word in told} == {"rejected", "ignored"}
    assert cells(world, "rejected") == [("Jane Doe", "job_title", "rejected")]
    by_word = [one for word in browse.drift(world.hub, "B")["words"] for one in cells(world, word)]
    assert sorted(by_word) == sorted(told)


@pytest.mark.parametrize("word", ["agree", "not applicable", "no such word", "\0", "x" * 5_000])
def test_a_word_that_is_no_drift_is_named(world: World, word: str) -> None:
    """The error says which words there are."""
    with pytest.raises(Wrong, match="there are: hub ahead, tool ahead") as told:
        browse.drift(world.hub, "B", word=word)
    assert len(str(told.value)) < 500
