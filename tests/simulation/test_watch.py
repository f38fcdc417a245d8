"""The monitors that follow a run speak up when the hub breaks what they watch."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
import structlog

from hub import deliver
from hub.pure import compare, survivorship
from hub.pure.model import Record, Sent, Value
from hub.tools.simulate import simulate
from tests.simulation.test_mutants import mutant

SEEDS, STEPS = range(12), 90


@pytest.fixture(autouse=True)
def quiet_log() -> None:
    """Failures of steps are the point here, not news."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def oldest(all_bids: list[survivorship.Bid]) -> list[survivorship.Bid]:
    """What was typed first wins."""
    return sorted(all_bids, key=lambda b: (b.claim.at, b.uid))


def whole_record(link: Any, record: Record, sends: Mapping[str, Sent]) -> dict[str, Value]:
    """All that is known of a record is sent, not what differs alone."""
    names = [n for n in record.cells if "[" not in n and n in link.spec.fields.by_name]
    held = {n: record.cell(n).observed for n in names if n != "consent"}
    return {**link.spec.fields.give(held), **honest_changes(link, record, sends)}


honest_changes = deliver.changes


def never_altered(cell: Any, golden: Any, name: str, tool: Any) -> Any:
    """What the tool made something else of is sent again and again."""
    word, why = honest_behind(cell, golden, name, tool)
    return ("hub ahead", "") if word in ("altered", "ignored") else (word, why)


honest_behind = compare.behind


@pytest.mark.parametrize(
    ("promise", "place", "name", "instead"),
    [
        ("P3", survivorship.STRATEGIES, "newest", oldest),
        ("P6", compare, "behind", never_altered),
        ("P8", deliver, "changes", whole_record),
        ("P8", deliver, "moved", lambda *_: False),
    ],
)
def test_a_monitor_bites(promise: str, place: Any, name: str, instead: Any) -> None:
    """Within a few seeds of a broken hub the monitor of the promise is the one who says so."""
    with mutant(place, name, instead):
        assert any(simulate(seed, STEPS).why.startswith(promise) for seed in SEEDS)
