"""Every story holds, in every order of its inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.pure import survivorship
from hub.pure.model import Claim, Record
from hub.pure.survivorship import Bid
from tests.stories.runner import StoryError, tell

HERE = Path(__file__).parent
STORIES = sorted(HERE.glob("*.story"))


@pytest.mark.parametrize("path", STORIES, ids=lambda p: p.stem)
def test_story(path: Path) -> None:
    """A steward can read it, and the hub does it."""
    tell(path.read_text())


def test_there_are_enough_stories() -> None:
    """The readable specification does not shrink."""
    assert len(STORIES) >= 50


@contextmanager
def golden_reads_copies() -> Iterator[None]:
    """A broken core: golden counts what tools hold, also what the hub itself wrote there."""
    honest = survivorship.bids

    def observed(cell: str, members: list[Record], rule: object) -> list[Bid]:
        found = []
        for m in members:
            held = m.cell(cell)
            if held.known and held.observed is not None:
                found.append(Bid(m.uid, 0, Claim(m.folded, held.observed, None, m.read_end)))
        del rule
        return found

    survivorship.bids = observed  # type: ignore[assignment]
    try:
        yield
    finally:
        survivorship.bids = honest


def test_a_core_that_reads_copies_is_caught() -> None:
    """Golden is a function of claims: a core that reads observed values fails a story."""
    with golden_reads_copies(), pytest.raises(StoryError):
        tell((HERE / "model-12.story").read_text())
