"""Every story holds, in every order of its inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.runner import tell

HERE = Path(__file__).parent
STORIES = sorted(HERE.glob("*.story"))


@pytest.mark.parametrize("path", STORIES, ids=lambda p: p.stem)
def test_story(path: Path) -> None:
    """A steward can read it, and the hub does it."""
    tell(path.read_text())


def test_there_are_enough_stories() -> None:
    """The readable specification does not shrink."""
    assert len(STORIES) >= 50
