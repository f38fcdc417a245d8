"""How answers look to a person."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest

from hub import shown
from hub.shown import FIRST_ROWS


def row(system: str, op: str, n: int) -> dict[str, Any]:
    """A planned row with one cell."""
    cell = {"cell": "phone", "from": None, "to": f"+49 {n}", "why": "newest"}
    return {
        "system": system, "op": op, "golden": "g", "record": f"contacts {n}",
        "customer": f"Jane {n}", "cells": [cell],
    }  # fmt: skip


def plan(rows: list[dict[str, Any]], **changed: Any) -> dict[str, Any]:
    """The answer of a plan with these rows."""
    progress = {"rows": len(rows), "done": 0, "open": 0, "held": 0}
    return {
        "run": "r1", "state": "planned", "totals": {"crm update": len(rows)}, "rows": rows,
        "progress": progress, "names": {}, "created_nowhere": 0, "still_reading": [], **changed,
    }  # fmt: skip


LARGE = plan(
    [row("billing", "create", n) for n in range(300)]
    + [row("crm", "update", n) for n in range(300)]
    + [row("crm", "create", n) for n in range(100)]
)


def text(pieces: Any) -> str:
    """What is printed when piped."""
    return "\n".join(shown.printed(pieces))


def test_a_large_plan_is_shown_by_system_and_says_how_to_see_the_rest() -> None:
    """Each system's first rows of each kind are shown, then how many more there are."""
    told = text(shown.plan_lines(LARGE))
    assert told.count("+49 ") == 3 * FIRST_ROWS
    assert "crm: 300 updates, 100 creates" in told
    assert f"and {400 - 2 * FIRST_ROWS} more; all of them: synchub plan r1 --system crm" in told
    assert told.endswith("To write it: synchub apply r1")


def test_all_rows_and_one_system() -> None:
    """`--all` leaves nothing out, and `--system` shows the rows of one."""
    assert text(shown.plan_lines(LARGE, everything=True)).count("+49 ") == 700
    told = text(shown.plan_lines(LARGE, "billing", everything=True))
    assert told.count("+49 ") == 300
    assert "crm:" not in told


def test_a_plan_says_what_state_it_is_in() -> None:
    """An empty plan, one that was applied, and one made before all was read."""
    assert "the tools agree" in text(shown.plan_lines(plan([], totals={})))
    progress = {"rows": 3, "done": 1, "open": 2, "held": 0}
    applied = plan([row("crm", "update", 1)], state="applying", progress=progress)
    assert "1 of 3 rows are written, 2 on their way" in text(shown.plan_lines(applied))
    early = plan([], still_reading=["crm contacts"])
    assert "not read to the end yet" in text(shown.plan_lines(early))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "(empty)"),
        (True, "yes"),
        ({"country": "GB", "line1": "1 Road", "city": "Leeds"}, "1 Road, Leeds, GB"),
        ({"family": "Doe", "given": "Jane"}, "Jane Doe"),
        (5, "5"),
    ],
)
def test_values_in_words(value: Any, words: str) -> None:
    """A value is one line, its parts in the order in which a person writes them."""
    assert shown.in_words(value) == words


def test_nobody_s_name_can_move_the_cursor() -> None:
    """Control characters and marks that turn the direction of writing are made visible."""
    hostile = row("crm", "update", 1)
    hostile["cells"][0]["to"] = "\x1b[2J\r\nEve\u202e"
    told = text(shown.plan_lines(plan([hostile])))
    assert "\\x1b[2J\\r\\nEve\\u202e" in told
    assert not shown.UNSEEN.search(told.replace("\n", ""))


def test_piped_lines_have_no_ends_of_spaces() -> None:
    """What a program or a file gets is plain text."""
    told = text(shown.plan_lines(LARGE))
    assert not [line for line in told.splitlines() if line != line.rstrip()]
    assert "\x1b" not in told


def test_progress_without_a_terminal_is_a_line_now_and_then() -> None:
    """A log is not flooded, and nothing is told of work that is done at once."""
    for every, wanted in ((0.0, "one\ntwo\\x07\n"), (60.0, "")):
        stream = io.StringIO()
        with contextlib.redirect_stderr(stream), shown.telling(every) as tell:
            tell("one")
            tell("two\x07")
        assert stream.getvalue() == wanted


def test_times_are_iso() -> None:
    """Everybody reads them, and they sort."""
    assert shown.when(1_700_000_000_000) == "2023-11-14T22:13:20Z"
    assert shown.when(None) == "never"


def test_progress_says_what_it_waits_for() -> None:
    """A run that does not move says why."""
    stuck = {"done": 1, "rows": 2, "trouble": ["stripe: unavailable"]}
    assert shown.progress_line(stuck) == "1 of 2 rows written   (stripe: unavailable)"
    assert shown.progress_line({**stuck, "trouble": []}) == "1 of 2 rows written"
