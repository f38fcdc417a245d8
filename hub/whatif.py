"""What a changed configuration would do, as a verdict for a pipeline: nothing is stored or written.

A plan shows what the hub would write as it stands, and is stored to be applied. A verdict shows
what it would write under rules that nobody has published: all that was ever taken in is folded
again under them, in memory, as publishing them would fold it; then every link is compared. So it
looks at more than a plan does: at each link and each wanted record, marked or not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hub import replay, runs
from hub.env import Hub
from hub.io import state
from hub.io.rows import Row, Rows
from hub.links import Link
from hub.pure import creates
from hub.pure.model import Golden, Input, Record, Uid, field_of
from hub.pure.rules import Rules
from hub.runs import PlannedRow

KINDS = ("updates", "creates", "clears", "deletes", "merges")
OF_OP = {"update": "updates", "create": "creates", "delete": "deletes"}
EMPTY: tuple[Any, ...] = (None, False, "", [], ())
Holds = Mapping[str, Any]
Place = tuple[Uid, str, str]  # golden id, system, object


@dataclass(frozen=True)
class Known:
    """What a verdict starts from, read at one moment.

    `slots` and `wanted` are the holds of links and wanted records.
    """

    slots: Mapping[Uid, Holds] = field(default_factory=dict)
    wanted: Mapping[Place, Holds] = field(default_factory=dict)
    births: Sequence[Record] = ()
    inputs: Sequence[Input] = ()


@dataclass(frozen=True)
class Foreseen:
    """What would be written, and which customers would be made one: golden id to its records."""

    rows: Sequence[PlannedRow]
    merges: Mapping[Uid, Sequence[Record]]

    def counts(self) -> dict[str, Counter[str]]:
        """Of each system how many rows of each kind."""
        found: dict[str, Counter[str]] = {}
        for row in self.rows:
            found.setdefault(row.system, Counter()).update(kinds(row))
        return found

    def failing(self, fail_on: Iterable[str]) -> list[PlannedRow]:
        """The rows of a kind that must not be."""
        bad = set(fail_on)
        return [row for row in self.rows if bad & kinds(row)]


def foresee(hub: Hub, rules: Rules) -> Foreseen:
    """What the hub would do under these rules."""
    if rules == hub.context.rules:
        return hub.env.view(lambda rows: found(rows, hub, known(rows)))
    start = hub.env.view(lambda rows: replace(known(rows), **recorded(rows, hub)))
    under = replace(hub, context=replace(hub.context, rules=rules))
    made = replay.refold(under, start.births, start.inputs)
    return made.view(lambda rows: found(rows, under, start))


def known(rows: Rows) -> Known:
    """What holds links and wanted records back."""
    slots = rows.select("slot", {"held": True}, only=("uid", "holds"))
    wanted = rows.select("wanted", {"held": True})
    return Known(
        {row["uid"]: row["holds"] for row in slots},
        {(row["golden"], row["system"], row["object"]): row["holds"] for row in wanted},
    )


def recorded(rows: Rows, hub: Hub) -> dict[str, Any]:
    """What is folded again."""
    births, inputs = replay.recorded(rows, hub)
    return {"births": births, "inputs": inputs}


def found(rows: Rows, hub: Hub, start: Known) -> Foreseen:
    """Compare every link of these rows."""
    goldens = [g for g in whole(rows) if g.claimed]
    claimed = {g.uid for g in goldens}
    planned = [r for link in runs.links(hub) for r in updates(rows, link, start)]
    planned = [row for row in planned if row.golden in claimed]
    merges: dict[Uid, Sequence[Record]] = {}
    for golden in goldens:
        members = state.members_of(rows, golden)
        planned += wants(rows, hub, golden, members, start)
        if customers(members) > 1:
            merges[golden.uid] = [m for m in members if m.delivered]
    return Foreseen(planned, merges)


def whole(rows: Rows) -> Iterator[Golden]:
    """Every golden record that stands for a customer."""
    uids = [r["uid"] for r in rows.select("golden", {"merged_into": None}, only=("uid",))]
    for start in range(0, len(uids), 500):
        some = state.load_goldens(rows, uids[start : start + 500]).values()
        yield from (golden for golden in some if golden is not None)


def updates(rows: Rows, link: Link, start: Known) -> Iterator[PlannedRow]:
    """What would be written to the records of one object."""
    for row in rows.select("record", {**link.here, "state": "live"}, only=("uid",)):
        slot: Row = {"uid": row["uid"], "holds": start.slots.get(row["uid"], {})}
        if planned := runs.update_row(rows, link, slot):
            yield planned


def wants(
    rows: Rows, hub: Hub, golden: Golden, members: list[Record], start: Known
) -> Iterator[PlannedRow]:
    """The records that it would be given."""
    for tool, why_not in creates.wants(golden, members, hub.context.tools.values()):
        holds = start.wanted.get((golden.uid, tool.system, tool.object), {})
        system = hub.systems[tool.system]
        wanted = {"golden": golden.uid, "holds": holds}
        link = Link(hub, system, system.specs[tool.object])
        if not why_not and (planned := runs.create_row(rows, link, wanted)):
            yield planned


def kinds(row: PlannedRow) -> set[str]:
    """What a row is: what it does, and whether a value becomes empty by it."""
    clears = any(cell["from"] not in EMPTY and cell["to"] in EMPTY for cell in row.cells)
    return {OF_OP[row.op], *(["clears"] if clears else [])}


def customers(members: Iterable[Record]) -> int:
    """How many customers these records were for the tools, when something was last delivered."""
    apart: list[set[Uid]] = []
    for one in (m for m in members if m.delivered):
        joined = {one.uid, *one.delivered}
        joined.update(*(group for group in apart if group & joined))
        apart = [group for group in apart if not group & joined] + [joined]
    return len(apart)


# -- the verdict ---------------------------------------------------------------------------------


def gate(hub: Hub, rules: Rules, fail_on: Sequence[str], unread: Sequence[str]) -> dict[str, Any]:
    """Counts by system and kind, which rows fail, and whether any does.

    Values and names are left out: a pipeline's output is read by many. `unread`: objects that are
    not read to the end, without which nothing can be said for sure.
    """
    one = foresee(hub, rules)
    bad = one.failing(fail_on)
    merges = one.merges if "merges" in fail_on else {}
    return {
        "verdict": "fail" if bad or merges or unread else "pass",
        "fail_on": list(fail_on),
        "changed_rules": rules != hub.context.rules,
        "rules_in_force": hub.context.rules.version,
        "counts": {s: {k: n for k in KINDS if (n := of[k])} for s, of in one.counts().items()},
        "merges": len(one.merges),
        "failing": [*map(told, bad), *(joined(g, of) for g, of in merges.items())],
        "still_reading": list(unread),
    }


def told(row: PlannedRow) -> dict[str, Any]:
    """A row that fails."""
    return {
        "system": row.system,
        "record": row.who,
        "golden": row.golden,
        "kinds": sorted(kinds(row)),
        "fields": sorted({field_of(cell["cell"]) for cell in row.cells}),
    }


def joined(golden: Uid, members: Iterable[Record]) -> dict[str, Any]:
    """A merge that fails, with the records of all who become one."""
    records = [f"{m.system} {m.object} {m.native_id}" for m in members]
    return {"golden": golden, "kinds": ["merges"], "records": records}
