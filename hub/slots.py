"""The links to write through: which are dirty, which are held, which records are wanted.

A slot belongs to its record; a wanted create to a golden record and an object. Holds are words
that only the act named beside them lifts:

    needs plan        a later plan and its apply (after the first connection, or new rules)
    departed          a decision about a record that is gone (synchub parked)
    unsupported       a decision about a record that holds only our copies
    rejected          a change of golden: the tool refused these values
"""

from __future__ import annotations

from typing import Any

from hub.env import Hub
from hub.io import state
from hub.io.rows import Rows
from hub.pure import creates
from hub.pure.model import Golden, Record


def review(rows: Rows, hub: Hub, golden: Golden) -> None:
    """Lay or clear the wanted creates and questions of a golden record that changed."""
    members = state.members_of(rows, golden)
    tools = hub.context.tools.values()
    for tool, why_not in creates.wants(golden, members, tools) if not golden.merged_into else ():
        where = {"golden": golden.uid, "system": tool.system, "object": tool.object}
        if why_not or create_open(rows, golden, tool.system, tool.object):
            rows.delete("wanted", where)
        else:
            state.want(rows, golden.uid, tool.system, tool.object, hub.env.now())
            lift(rows, "wanted", where, "rejected")
    if golden.merged_into:
        rows.delete("wanted", {"golden": golden.uid})
    if any(c.winner for c in golden.cells.values()):
        for member in members:
            lift(rows, "slot", {"uid": member.uid}, "unsupported")
            close(rows, f"unsupported:{member.uid}")
    ask(rows, hub, golden)
    park_loops(rows, hub, golden)


def park_loops(rows: Rows, hub: Hub, golden: Golden) -> None:
    """Fields that a tool keeps changing after us are shown to a person, until one is edited."""
    item = f"ping-pong:{golden.uid}"
    caught = sorted(n for n, c in golden.cells.items() if c.parked and not golden.merged_into)
    before = rows.get("parked", id=item)
    if not caught:
        close(rows, item)
        return
    if before and before["state"] != "done" and before["doc"]["cells"] == caught:
        return  # it waits for somebody, or somebody has seen it
    rows.upsert(
        "parked",
        {
            "id": item,
            "kind": "ping-pong",
            "state": "open",
            "at": hub.env.now(),
            "uid": golden.uid,
            "why": f"{', '.join(caught)}: our own writes keep coming back changed; nothing more "
            "is written there until somebody edits it in a tool",
            "doc": {"cells": caught},
        },
    )


def close(rows: Rows, item: str) -> None:
    """A parked item that has settled by itself."""
    rows.update("parked", {"id": item, "state": "open"}, {"state": "done"})


def create_open(rows: Rows, golden: Golden, system: str, obj: str) -> bool:
    """Whether a create for this golden record is on its way."""
    opened = rows.select("intent", {"golden": golden.uid, "op": "create"})
    return any(
        (r["system"], r["object"]) == (system, obj)
        and r["status"] in ("planned", "sent", "unknown")
        for r in opened
    )


def ask(rows: Rows, hub: Hub, golden: Golden) -> None:
    """One open task for each pair that may be the same customer."""
    for row in rows.select("task", {"kind": "duplicate", "uid": golden.uid, "state": "open"}):
        if row["other"] not in golden.asks:
            rows.update("task", {"id": row["id"]}, {"state": "done"})
    for other in golden.asks:
        rows.upsert(
            "task",
            {
                "id": f"duplicate:{golden.uid}:{other}",
                "kind": "duplicate",
                "state": "open",
                "at": hub.env.now(),
                "uid": golden.uid,
                "other": other,
                "why": "they may be the same customer",
                "doc": {},
            },
        )


def settle_intent(rows: Rows, record: Record) -> None:
    """The intents of a record that has none open any more are settled."""
    if record.intent is None:
        for row in rows.select("intent", {"uid": record.uid}):
            if row["status"] in ("sent", "unknown", "planned") and row["seq"] <= record.folded:
                rows.update("intent", {"uid": row["uid"], "seq": row["seq"]}, {"status": "settled"})


def hold(rows: Rows, record: Record, word: str, why: str, at: int) -> None:
    """Keep a link from being written until somebody acts."""
    state.dirty(rows, record, at)
    row = rows.get("slot", uid=record.uid)
    if row is not None:
        rows.update("slot", {"uid": record.uid}, {"holds": {**row["holds"], word: why}})


def lift(rows: Rows, table: str, where: dict[str, Any], word: str) -> None:
    """Take one hold off."""
    row = rows.get(table, **where)
    if row is not None and word in row["holds"]:
        left = {w: y for w, y in row["holds"].items() if w != word}
        rows.update(table, where, {"holds": left})


def hold_departed(rows: Rows, hub: Hub, record: Record) -> None:
    """A record was deleted in its tool: shown, held, and nothing is recreated by itself."""
    hold(rows, record, "departed", f"{record.state} in {record.system}", hub.env.now())
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


def came_back(rows: Rows, record: Record) -> None:
    """A record that was gone lives again: nobody has to decide about it any more."""
    lift(rows, "slot", {"uid": record.uid}, "departed")
    close(rows, f"departed:{record.uid}")


def clean(rows: Rows, record: Record) -> None:
    """Nothing is left to do for this link."""
    rows.update(
        "slot", {"uid": record.uid}, {"dirty": None, "attempts": 0, "not_before": 0, "run": None}
    )


def postpone(rows: Rows, record: Record, until: int) -> None:
    """Look at this link again, but not before then (ms)."""
    row = rows.get("slot", uid=record.uid)
    if row is not None:
        rows.update(
            "slot", {"uid": record.uid}, {"not_before": until, "attempts": row["attempts"] + 1}
        )
