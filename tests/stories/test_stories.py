"""Every story holds, in every order of its inputs."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from hub import logs
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


def canaries(text: str) -> set[str]:
    """What people type in a story: values that stand for nothing else."""
    found = re.findall(r'[a-z_]+=("[^"]+"|\S+)', text)
    typed = {value.strip('"').lower() for value in found}
    digits = {re.sub(r"\D", "", value) for value in typed}
    return {value for value in typed | digits if re.search(r"[ @]|\d{7}", value)}


def test_no_story_leaves_a_customer_in_the_log() -> None:
    """All that the hub can log is logged, and no value that somebody typed is in it."""
    log, looked_for = io.StringIO(), set()
    with contextlib.redirect_stderr(log):
        logs.configure(logging.DEBUG)
        try:
            for path in STORIES:
                tell(path.read_text())
                looked_for |= canaries(path.read_text())
        finally:
            logs.be_quiet()
    lines = [orjson.loads(line) for line in log.getvalue().splitlines()]
    by_event = {line["event"]: line for line in lines}
    assert by_event.keys() >= {"input_taken", "message_taken", "input_parked", "written"}
    told = [one for one in lines if one["event"] in ("input_taken", "input_parked", "written")]
    assert all(re.fullmatch("[0-9a-f]{32}", one["trace"]) for one in told)
    assert "jane@x.com" in looked_for
    assert not {value for value in looked_for if value in log.getvalue().lower()}


def test_there_are_enough_stories() -> None:
    """The readable specification does not shrink."""
    assert len(STORIES) >= 50
