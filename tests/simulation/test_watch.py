"""The monitors that follow a run speak up when the hub breaks what they watch."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import pytest
import structlog

from connectors._kit.contract import Answer
from connectors._kit.fieldmap import FieldMap
from hub import deliver
from hub.pure import compare, survivorship
from hub.pure.model import Record, Sent, Value
from hub.tools.simulate import simulate
from tests.simulation.test_mutants import absent_is_cleared, mutant

SEEDS, STEPS = range(80), 90


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


def joined_at_any_rate(link: Any, writes: Any) -> tuple[Answer, ...]:
    """An association that the tool has not taken counts as made."""
    found = honest_ask_tool(link, writes)
    return tuple(
        Answer("done", w.native_id) if w.link else a for w, a in zip(writes, found, strict=True)
    )


honest_ask_tool = deliver.ask_tool


def not_while_any_is_down(rows: Any, system: Any) -> bool:
    """Nothing is written anywhere until every tool answers."""
    names = [s["name"] for s in rows.select("system")]
    failing = any(rows.get("meta", name=f"failure:{n}") for n in names)
    return honest_may_write(rows, system) and not failing


honest_may_write = deliver.may_write


def all_or_none(link: Any, natives: Any) -> Any:
    """Where one record cannot be read, none of its batch is."""
    return link.system.connector.read(link.system.api, link.spec, natives)


@pytest.mark.parametrize(
    ("broken", "place", "name", "instead"),
    [
        ("P3", survivorship.STRATEGIES, "newest", oldest),
        ("P6", compare, "behind", never_altered),
        ("P8", deliver, "changes", whole_record),
        ("P8", deliver, "moved", lambda *_: False),
        ("P8 .* is cleared", FieldMap, "take", absent_is_cleared),
        ("P8 .* is parted", deliver, "ask_tool", joined_at_any_rate),
        ("P12", deliver, "may_write", not_while_any_is_down),
        ("P12", deliver, "read_some", all_or_none),
    ],
)
def test_a_monitor_bites(broken: str, place: Any, name: str, instead: Any) -> None:
    """Within a few seeds of a broken hub the monitor of the promise is the one who says so."""
    with mutant(place, name, instead):
        assert any(re.match(rf"{broken}\b", simulate(seed, STEPS).why) for seed in SEEDS)
