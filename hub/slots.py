"""The links to write through: which are dirty, which are held, which records are wanted.

A slot belongs to its record; a wanted create to a golden record and an object. Holds are words
that only the act named beside them lifts:

    needs plan        a later plan and its apply (after the first connection, or new rules)
    departed          a decision about a record that is gone (synchub parked), or a newcomer
    unsupported       a decision about a record that holds only our copies
    rejected          a change of what golden offers: the tool refused these values
    asked             a decision about a create of which nobody knows what it made
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from hub.env import Hub
from hub.io import state
from hub.io.rows import Cond, Row, Rows, among
from hub.links import Link, differences
from hub.pure import creates
from hub.pure.model import Golden, Record, Uid
from hub.pure.rules import Tool

CONSENT, EDIT, REPAIR, BACKFILL = range(4)  # what is written first
NOBODY: Mapping[Uid, Record] = MappingProxyType({})
# Intents that are on their way; older versions also said "planned", before they sent.
OPEN = ("planned", "sent", "unknown")
PAUSE_MS, PAUSE_MOST_MS = 1_000, 300_000


def pause_ms(attempts: int) -> int:
    """How long to leave a tool alone that could not take a write, ever longer."""
    return min(PAUSE_MS << min(attempts, 16), PAUSE_MOST_MS)


def review(
    rows: Rows, hub: Hub, goldens: Iterable[Golden], known: Mapping[Uid, Record] = NOBODY
) -> set[str]:
    """Lay or clear the wanted creates, holds and questions of golden records that changed.

    Returns the systems in which a record is wanted.
    """
    changed = list(goldens)
    wanting: set[str] = set()
    beside = stand_beside(rows, changed)
    for golden in changed:
        members = state.members_of(rows, golden, known)
        if golden.merged_into:
            rows.delete("wanted", {"golden": golden.uid})
        else:
            wanting |= want_all(rows, hub, golden, members, beside)
        settle_items(rows, hub, golden, members, beside)
        ask(rows, hub, golden, beside)
        park_loops(rows, hub, golden, beside.loops.get(golden.uid))
    return wanting


Place = tuple[str, str]  # system and object


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside some golden records, read at once.

    `wanted`: golden id to its wanted creates. `creates`: golden id to where one is on its way.
    `parked`: record to the open items about it. `loops`: golden id to its item of fields that a
    tool keeps changing. `asked`: golden id to the ones it may be, with the open task that asks.
    `ids`: record that may be the same to its golden id.
    """

    wanted: Mapping[Uid, Mapping[Place, Row]]
    creates: Mapping[Uid, set[Place]]
    parked: Mapping[Uid, list[Row]]
    loops: Mapping[Uid, Row]
    asked: dict[Uid, dict[Uid, str]]
    ids: Mapping[Uid, Uid]


def stand_beside(rows: Rows, goldens: list[Golden]) -> Beside:
    """Read what a review asks for."""
    uids = among([g.uid for g in goldens])
    create = {"op": "create", "status": among(OPEN)}
    about = among({uid for golden in goldens for uid in golden.members})
    parked = rows.select("parked", {"uid": about, "state": "open"})
    loops = rows.select("parked", {"id": among([loop_item(g.uid) for g in goldens])})
    wanted = grouped("golden", rows.select("wanted", {"golden": uids}))
    opened = grouped("golden", rows.select("intent", {"golden": uids, **create}))
    return Beside(
        wanted={golden: {place(row): row for row in found} for golden, found in wanted.items()},
        creates={golden: set(map(place, found)) for golden, found in opened.items()},
        parked=grouped("uid", parked),
        loops={row["uid"]: row for row in loops},
        asked=questions(rows, uids),
        ids=state.golden_ids(rows, {uid for g in goldens for uid in g.asks}),
    )


def grouped(column: str, found: Iterable[Row]) -> dict[Any, list[Row]]:
    """Rows by what they have in a column."""
    groups: dict[Any, list[Row]] = {}
    for row in found:
        groups.setdefault(row[column], []).append(row)
    return groups


def place(row: Row) -> Place:
    """The system and the object that a row names."""
    return (row["system"], row["object"])


def loop_item(golden: Uid) -> str:
    """The parked item that shows a golden record's loops."""
    return f"ping-pong:{golden}"


def park_loops(rows: Rows, hub: Hub, golden: Golden, before: Row | None) -> None:
    """Fields that a tool keeps changing after us are shown to a person, until one is edited.

    `before`: the item as it stands.
    """
    caught = sorted(n for n, c in golden.cells.items() if c.parked and not golden.merged_into)
    if not caught:
        if before and before["state"] == "open":
            close(rows, before["id"])
        return
    if before and before["state"] != "done" and before["doc"]["cells"] == caught:
        return  # it waits for somebody, or somebody has seen it
    rows.upsert(
        "parked",
        {
            "id": loop_item(golden.uid),
            "kind": "ping-pong",
            "state": "open",
            "at": hub.env.now(),
            "uid": golden.uid,
            "why": f"{', '.join(caught)}: our own writes keep coming back changed; nothing more "
            "is written there until somebody edits it in a tool",
            "doc": {"cells": caught},
        },
    )


def settle_items(
    rows: Rows, hub: Hub, golden: Golden, members: list[Record], beside: Beside
) -> None:
    """What was parked about these records, and has settled by itself."""
    about = [(m, item) for m in members for item in beside.parked.get(m.uid, ())]
    for member, item in about:
        if item["kind"] == "unsupported" and golden.claimed:
            lift(rows, "slot", {"uid": member.uid}, "unsupported")
            close(rows, item["id"])
        elif item["kind"] == "departed" and departed(member) and replaced(member, members):
            release(rows, member)
        elif over(rows, hub, golden, member, item):
            close(rows, item["id"])


def over(rows: Rows, hub: Hub, golden: Golden, member: Record, item: Row) -> bool:
    """Whether a refusal, or a create of which nobody knows what it made, concerns nobody now."""
    if item["kind"] == "lost create":
        return not rows.get("wanted", **item["doc"]["wanted"])
    return item["kind"] == "rejected" and not refused(rows, hub, golden, member)


def refused(rows: Rows, hub: Hub, golden: Golden, member: Record) -> bool:
    """Whether its tool has refused what golden offers now; a create is held as long as that is."""
    if not member.native_id:
        wanted = rows.get("wanted", golden=golden.uid, system=member.system, object=member.object)
        return wanted is not None and "rejected" in wanted["holds"]
    row, system = rows.get("record", uid=member.uid), hub.systems.get(member.system)
    if row is None or system is None or not member.alive:
        return False
    link = Link(hub, system, system.specs[member.object])
    return any(d.word == "rejected" for d in differences(rows, link, row, member, golden))


def close(rows: Rows, item: str) -> None:
    """A parked item that has settled by itself."""
    rows.update("parked", {"id": item, "state": "open"}, {"state": "done"})


def answer_item(system: str, obj: str, key: str) -> str:
    """The parked item of something that a tool answered and nobody could read."""
    return f"answer:{system}:{obj}:{key}"


# -- wanted records ------------------------------------------------------------------------------


def want_all(
    rows: Rows, hub: Hub, golden: Golden, members: list[Record], beside: Beside
) -> set[str]:
    """Lay or clear its wanted creates; the row of one that is on its way waits for its end.

    Returns the systems in which one is wanted.
    """
    laid = beside.wanted.get(golden.uid, {})
    opened = beside.creates.get(golden.uid, ())
    wanting = set()
    for tool, why_not in creates.wants(golden, members, hub.context.tools.values()):
        here = (tool.system, tool.object)
        if here in opened:
            continue
        if not why_not:
            want(rows, hub, golden, tool, laid.get(here))
            wanting.add(tool.system)
        elif here in laid:
            where = {"golden": golden.uid, "system": tool.system, "object": tool.object}
            rows.delete("wanted", where)
    return wanting


def want(rows: Rows, hub: Hub, golden: Golden, tool: Tool, row: Row | None) -> None:
    """A record is wanted here; what the tool refused is offered again when it is something else."""
    state.want(rows, golden.uid, tool.system, tool.object, hub.env.now())
    refused = row["holds"].get("rejected") if row else None
    if refused and refused["offered"] != creates.offer(creates.first_values(golden, tool)):
        where = {"golden": golden.uid, "system": tool.system, "object": tool.object}
        lift(rows, "wanted", where, "rejected")


def ask(rows: Rows, hub: Hub, golden: Golden, beside: Beside) -> None:
    """One open task for each pair of customers that may be the same, whichever side told of it."""
    others = {beside.ids[uid] for uid in golden.asks} - {golden.uid}
    asked = beside.asked.setdefault(golden.uid, {})
    for other in asked.keys() - others:
        rows.update("task", {"id": asked.pop(other)}, {"state": "done"})
        beside.asked.get(other, {}).pop(golden.uid, None)
    for other in sorted(others - asked.keys()):
        task = pose(rows, hub, min(golden.uid, other), max(golden.uid, other))
        asked[other] = beside.asked.setdefault(other, {})[golden.uid] = task


def questions(rows: Rows, uids: Cond) -> dict[Uid, dict[Uid, str]]:
    """The open tasks that ask whether one of these customers is another one, from both sides."""
    where = {"kind": "duplicate", "state": "open"}
    asked: dict[Uid, dict[Uid, str]] = {}
    for side in ("uid", "other"):
        for row in rows.select("task", {**where, side: uids}):
            asked.setdefault(row["uid"], {})[row["other"]] = row["id"]
            asked.setdefault(row["other"], {})[row["uid"]] = row["id"]
    return asked


def pose(rows: Rows, hub: Hub, one: Uid, other: Uid) -> str:
    """Ask whether two customers are one, and once more if it was asked before; returns the task."""
    task = f"duplicate:{one}:{other}"
    rows.upsert(
        "task",
        {
            "id": task,
            "kind": "duplicate",
            "state": "open",
            "at": hub.env.now(),
            "uid": one,
            "other": other,
            "why": "they may be the same customer",
            "doc": {},
        },
    )
    return task


def settle_intents(rows: Rows, records: Iterable[Record]) -> None:
    """The intents of records that have none open any more are settled."""
    folded = {record.uid: record.folded for record in records}
    where = {"uid": among(folded), "status": among(OPEN)}
    found = rows.select("intent", where) if folded else []
    done = [row for row in found if row["seq"] <= folded[row["uid"]]]
    ended = [{"uid": row["uid"], "seq": row["seq"], "status": "settled"} for row in done]
    rows.update_many("intent", ended)
    for row in done:
        close(rows, answer_item(row["system"], row["object"], row["key"]))


# -- holds ---------------------------------------------------------------------------------------


def hold(rows: Rows, table: str, where: dict[str, Any], word: str, why: Any) -> None:
    """Keep a link, or a wanted create, from being written until somebody acts."""
    if row := rows.get(table, **where):
        _put(rows, table, where, {**row["holds"], word: why})


def lift(rows: Rows, table: str, where: dict[str, Any], word: str) -> None:
    """Take one hold off."""
    row = rows.get(table, **where)
    if row is not None and word in row["holds"]:
        _put(rows, table, where, {w: why for w, why in row["holds"].items() if w != word})


def _put(rows: Rows, table: str, where: dict[str, Any], holds: Row) -> None:
    rows.update(table, where, {"holds": holds, "held": bool(holds)})


def hold_link(rows: Rows, record: Record, word: str, why: str, at: int) -> None:
    """Keep a record's link from being written; it stays dirty."""
    state.dirty(rows, record, at)
    hold(rows, "slot", {"uid": record.uid}, word, why)


# -- records that are gone -------------------------------------------------------------------------


def departed(record: Record) -> bool:
    """Whether it is gone from its tool, and nobody has decided what that means."""
    return record.state in ("deleted", "archived") and not record.departed


def replaced(record: Record, members: list[Record]) -> bool:
    """Whether a newcomer leads in its place."""
    place = (record.system, record.object)
    return any(m.alive and (m.system, m.object) == place for m in members if m.uid != record.uid)


def hold_departed(rows: Rows, hub: Hub, record: Record) -> None:
    """A record was deleted in its tool: shown, held, and nothing is recreated by itself."""
    hold_link(rows, record, "departed", f"{record.state} in {record.system}", hub.env.now())
    rows.upsert(
        "parked",
        {
            "id": f"departed:{record.uid}",
            "kind": "departed",
            "state": "open",
            "at": hub.env.now(),
            "uid": record.uid,
            "system": record.system,
            "why": f"{record.object} {record.native_id} was {record.state} in {record.system}; "
            "nothing is deleted elsewhere",
            "doc": {"native_id": record.native_id},
        },
    )


def release(rows: Rows, record: Record) -> None:
    """It lives again, or a newcomer stands for it: nobody has to decide about it any more."""
    lift(rows, "slot", {"uid": record.uid}, "departed")
    close(rows, f"departed:{record.uid}")


# -- done for now ----------------------------------------------------------------------------------


DONE: Mapping[str, Any] = {"dirty": None, "attempts": 0, "not_before": 0, "run": None}


def clean(rows: Rows, record: Record) -> None:
    """Nothing is left to do for this link."""
    rows.update("slot", {"uid": record.uid}, DONE)


def clean_all(rows: Rows, uids: Iterable[Uid]) -> None:
    """Nothing is left to do for these links."""
    rows.update_many("slot", [{"uid": uid, **DONE} for uid in uids])


def postpone(rows: Rows, record: Record, until: int) -> None:
    """Look at this link again, but not before then (ms)."""
    rows.update("slot", {"uid": record.uid}, {"not_before": until})


def retry(rows: Rows, table: str, where: dict[str, Any], now: int, after_ms: int) -> None:
    """The tool could not take a write: try again when it said, and each time later."""
    if row := rows.get(table, **where):
        due = now + max(after_ms, pause_ms(row["attempts"]))
        rows.update(table, where, {"not_before": due, "attempts": row["attempts"] + 1})
