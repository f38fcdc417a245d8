"""Possible duplicates: each pair of customers is one question, however many records raise it."""

from __future__ import annotations

from typing import Any

import pytest

from hub import commands
from hub.tools.world import World
from tests.stories.runner import tell

TOLD = """
tools A B C
A.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0113"
C.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0113"
B.joan name="Joan Doe" email=joan@x.com phone="+1 202 555 0113"
sync
"""


def questions(world: World) -> list[dict[str, Any]]:
    """What `synchub review` lists."""
    found: list[dict[str, Any]] = commands.review(world.hub)["tasks"]
    return found


def test_two_records_against_one_are_one_question() -> None:
    """Both sides tell of the pair, each by every record; one person has to answer once."""
    world = tell(TOLD).world
    (question,) = questions(world)
    assert len(question["sides"]) == 2


@pytest.mark.parametrize("verdict", ["same", "different"])
def test_a_verdict_ends_the_question_for_every_record(verdict: str) -> None:
    """It is said once, and nothing is asked again, whoever is edited later."""
    story = tell(TOLD)
    commands.review(story.world.hub, verdict, questions(story.world)[0]["task"], "ada")
    story.world.sync()
    assert not questions(story.world)
    goldens = {story.golden(who).uid for who in ("A.jane", "B.joan", "C.jane")}
    assert len(goldens) == (1 if verdict == "same" else 2)
