"""A link: one record and its golden record, and how the two stand to each other.

Plan, deliver, sweep and explain all ask here, so that they can never disagree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from connectors._kit.contract import ObjectSpec
from hub.env import Hub, System
from hub.io import state
from hub.io.rows import Row, Rows, among
from hub.pure import compare
from hub.pure.compare import Difference, Links
from hub.pure.model import Golden, Record, Uid, cells_of_field, key_of
from hub.pure.rules import Tool


@dataclass(frozen=True)
class Link:
    """One object of one system: what every function about its records is given."""

    hub: Hub
    system: System
    spec: ObjectSpec

    @property
    def tool(self) -> Tool:
        """The core's view of it."""
        return self.hub.tool(self.system.name, self.spec.object)

    @property
    def here(self) -> dict[str, str]:
        """The columns that name it."""
        return {"system": self.system.name, "object": self.spec.object}


def differences(
    rows: Rows, link: Link, row: Row, record: Record, golden: Golden
) -> list[Difference]:
    """The comparison, cell by cell, with the ends of associations looked up.

    `row` of the record's table says whether it leads in its object.
    """
    found = ends(rows, link, record, golden)
    return compare.compare(record, golden, link.tool, found, primary=row["role"] == "primary")


def at_rest(rows: Rows, link: Link, row: Row, record: Record, golden: Golden) -> bool:
    """Whether nothing is to be written, agreed on, judged or waited for."""
    if record.state != "live" or record.intent or link.tool.lags:
        return False
    if not (record.native_id and golden.claimed and record.delivered == golden.members):
        return False
    found = differences(rows, link, row, record, golden)
    return not (compare.to_write(found) or compare.to_agree(record, found, link.tool))


def ends(rows: Rows, link: Link, record: Record, golden: Golden) -> Links:
    """Golden ids of the associated records, and their records in this system."""
    names = link.tool.links
    held = {key_of(c) for n in names for c in cells_of_field(record.cells, n)}
    wanted = {key_of(c) for n in names for c in cells_of_field(golden.cells, n)}
    golden_ids = state.golden_ids(rows, held | wanted)
    return Links(golden_ids, leading(rows, link, {*golden_ids.values(), *wanted}))


def leading(rows: Rows, link: Link, goldens: Iterable[Uid]) -> dict[Uid, Uid]:
    """Of each golden record the living record that leads in this system, where there is one."""
    here: dict[Uid, Uid] = {}
    if sought := sorted(goldens):
        where = {"golden": among(sought), "system": link.system.name, "state": "live"}
        only = ("golden", "uid", "native_id")
        for row in rows.select("record", where, order=("role", "uid"), only=only):
            if row["native_id"]:
                here.setdefault(row["golden"], row["uid"])
    return here
