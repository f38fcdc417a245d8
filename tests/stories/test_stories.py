"""Every story holds, in every order of its inputs."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from hub.io.postgres import PostgresStore
from tests.stories.runner import BESIDE, tell, told_beside

HERE = Path(__file__).parent
STORIES = sorted(HERE.glob("*.story"))
ON_POSTGRES = STORIES if os.environ.get("HUB_TEST_LONG") else STORIES[::7]
TOLD_BESIDE = [p for p in STORIES if told_beside(p.read_text())]


@pytest.mark.parametrize("path", STORIES, ids=lambda p: p.stem)
def test_story(path: Path) -> None:
    """A steward can read it, and the hub does it."""
    tell(path.read_text())


@pytest.mark.parametrize("path", TOLD_BESIDE, ids=lambda p: p.stem)
def test_story_beside_two_more_tools(path: Path) -> None:
    """Tools that nobody works in change nothing, and end equal to golden."""
    tell(path.read_text(), BESIDE)


@pytest.mark.parametrize("path", ON_POSTGRES, ids=lambda p: p.stem)
def test_story_on_postgres(path: Path, postgres: str) -> None:
    """The hub does the same on PostgreSQL."""
    with closing(PostgresStore(postgres)) as store:
        tell(path.read_text(), opens=lambda: store)


def test_there_are_enough_stories() -> None:
    """The readable specification does not shrink."""
    assert len(STORIES) >= 50
