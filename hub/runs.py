"""Runs: a bulk act that a person sees before it happens. Plan first, then apply.

A plan is what deliver would write, row by row, with the reason; it is stored and writes nothing.
Apply lets exactly those rows go whose golden claims and observed values are what the plan saw;
every other dirty link is held (*needs plan*) until a later plan shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from connectors._kit.contract import ObjectSpec
from hub import capture, resolve, slots, sweep, switches
from hub.env import Hub, System
from hub.io import state
from hub.io.rows import Row, Rows, above, among
from hub.links import Link, differences
from hub.pure import compare, creates
from hub.pure.model import Actor, Golden, Record, Sent, Uid, Value, key_of

HELD = "needs plan"
BESIDE = ("planned", "held")  # rows of an applied run that did not go with it
WANTED = ("golden", "system", "object")


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One write that would be made. `cells`: cell, old and new value, the rule behind it."""

    system: str
    golden: Uid
    uid: Uid
    op: str
    who: str
    cells: tuple[dict[str, Any], ...]
    print: str


class NoSuchRun(LookupError):
    """There is no run of this id, or it cannot be applied; the text says what to do."""


# -- catching up -------------------------------------------------------------------------------


def catch_up(hub: Hub, told: Callable[[str], None] = lambda _: None) -> None:
    """Snapshots and changes of every tool, and everything resolved: reads only.

    `told(text)` is called with the progress. Raises the connector's own errors.
    """
    for system in hub.systems.values():
        for spec in capture.in_order(system):
            catch_up_with(hub, system, spec, told)
            while spec.object in hub.env.view(lambda rows: sweep.unswept(rows, system)):  # noqa: B023
                sweep.page(hub, system, spec)
                catch_up_with(hub, system, spec, told)
    resolve.drain(hub)


def catch_up_with(hub: Hub, system: System, spec: ObjectSpec, told: Callable[[str], None]) -> None:
    """The same for one object."""
    due = 0
    while due <= hub.env.now():
        due = capture.turn(hub, system, spec)
        resolve.drain(hub)
        told(f"{system.name} {spec.object}: {known(hub, system.name, spec.object)} read")


def snapshot_done(hub: Hub, system: str, obj: str) -> bool:
    """Whether the first listing of an object is complete."""
    row = hub.env.view(lambda rows: rows.get("cursor", system=system, stream="snapshot", shard=obj))
    return row is not None and row["value"] == capture.DONE


def known(hub: Hub, system: str, obj: str) -> int:
    """How many records of an object are known."""
    return hub.env.view(lambda rows: rows.count("record", {"system": system, "object": obj}))


# -- plan --------------------------------------------------------------------------------------


def plan(rows: Rows, hub: Hub, run_id: str, cause: str) -> list[PlannedRow]:
    """Store what would be written now; returns the rows.

    A link that waited for a plan, and is equal to golden all the same, waits no longer.
    """
    found = [row for link in links(hub) for row in rows_of(rows, link)]
    let_go(rows, {row.uid for row in found})
    rows.insert(
        "run",
        {
            "id": run_id,
            "kind": "plan",
            "cause": cause,
            "state": "planned",
            "at": hub.env.now(),
            "doc": {"totals": totals(found)},
        },
    )
    for n, row in enumerate(found):
        rows.insert(
            "run_row",
            {
                "run": run_id,
                "n": n,
                "system": row.system,
                "golden": row.golden,
                "uid": row.uid or None,
                "op": row.op,
                "state": "planned",
                "doc": {"who": row.who, "cells": list(row.cells), "print": row.print},
            },
        )
    return found


def let_go(rows: Rows, shown: set[Uid]) -> None:
    """The links that a plan has nothing to show of need no other plan."""
    waiting = rows.select("slot", {"dirty": above(-1), "held": True})
    rows.lock(slot["uid"] for slot in waiting)
    for slot in waiting:
        if set(slot["holds"]) == {HELD} and slot["uid"] not in shown:
            slots.lift(rows, "slot", {"uid": slot["uid"]}, HELD)


def links(hub: Hub) -> Iterator[Link]:
    """Every object of every system."""
    for system in hub.systems.values():
        for spec in capture.in_order(system):
            yield Link(hub, system, spec)


def rows_of(rows: Rows, link: Link) -> Iterator[PlannedRow]:
    """Updates, then creates, of one object."""
    where = {"system": link.system.name, "object": link.spec.object, "dirty": above(-1)}
    for slot in rows.select("slot", where, order=("uid",)):
        if planned := update_row(rows, link, slot):
            yield planned
    for wanted in rows.select("wanted", where, order=("golden",)):
        if planned := create_row(rows, link, wanted):
            yield planned


def update_row(rows: Rows, link: Link, slot: Row) -> PlannedRow | None:
    """What would be written to one record, None where it is equal or held for another reason."""
    if set(slot["holds"]) - {HELD}:
        return None
    record, golden = state.load_record(rows, slot["uid"]), state.golden_of(rows, slot["uid"])
    row = rows.get("record", uid=slot["uid"])
    if record is None or golden is None or row is None or record.state != "live":
        return None
    found = differences(rows, link, row, record, golden)
    sends = compare.to_write(found)
    if not sends:
        return None
    shown = tuple(told(c, record.cell(c).observed, s, golden) for c, s in sends.items())
    return PlannedRow(
        link.system.name,
        golden.uid,
        record.uid,
        "update",
        f"{record.object} {record.native_id}",
        shown,
        imprint(record, sends),
    )


def create_row(rows: Rows, link: Link, wanted: Row) -> PlannedRow | None:
    """What a new record would be created with."""
    golden = state.load_goldens(rows, [wanted["golden"]])[wanted["golden"]]
    if golden is None or set(wanted["holds"]) - {HELD}:
        return None
    if creates.refusal(golden, state.members_of(rows, golden), link.tool):
        return None
    sends = creates.first_values(golden, link.tool)
    shown = tuple(told(c, None, s, golden) for c, s in sends.items())
    return PlannedRow(
        link.system.name,
        golden.uid,
        "",
        "create",
        f"new {link.spec.object}",
        shown,
        imprint(None, sends),
    )


def told(cell: str, before: Value, sent: Sent, golden: Golden) -> dict[str, Any]:
    """One cell of a row: from what to what, and why."""
    state_of = golden.cell(cell)
    rule = state_of.rule if state_of.winner or not key_of(cell) else "association"
    return {"cell": cell, "from": before, "to": sent.value, "why": rule}


def imprint(record: Record | None, sends: dict[str, Sent]) -> str:
    """What a row stands on: golden's claims, and the values it would write over."""
    basis = [
        (c, s.value, dict(s.version.vector), record.cell(c).observed if record else None)
        for c, s in sorted(sends.items())
    ]
    text = orjson.dumps(basis, option=orjson.OPT_SORT_KEYS)
    return blake2b(text, digest_size=16).hexdigest()


def totals(found: list[PlannedRow]) -> dict[str, int]:
    """Counts for a person: by system and kind of write."""
    counted: dict[str, int] = {}
    for row in found:
        key = f"{row.system} {row.op}"
        counted[key] = counted.get(key, 0) + 1
    return counted


# -- apply -------------------------------------------------------------------------------------


def apply(rows: Rows, hub: Hub, run_id: str) -> dict[str, int]:
    """Let the rows of a plan go; returns how many go and how many are held. Raises `NoSuchRun`."""
    frozen_rows = {_place(r): r for r in planned(rows, run_id)}
    first = switches.read(rows, "applied") is None
    counted = {"released": 0, "held": 0}
    for link in links(hub):
        for row in list(rows_of(rows, link)):
            frozen = frozen_rows.get((row.system, row.golden, row.uid, row.op))
            same = frozen is not None and frozen["doc"]["print"] == row.print
            settle_row(
                rows, link, row, run=run_id if same else "", hold=first or frozen is not None
            )
            counted["released" if same else "held"] += 1
            if frozen is not None:
                rows.update(
                    "run_row",
                    {"run": run_id, "n": frozen["n"]},
                    {"state": "released" if same else "held"},
                )
    switches.turn(rows, hub, "applied", run_id, Actor("steward"))
    rows.update("run", {"id": run_id}, {"state": "applying"})
    return counted


def planned(rows: Rows, run_id: str) -> list[Row]:
    """The rows of a run that can be applied. Raises `NoSuchRun`."""
    run = rows.get("run", id=run_id)
    if run is None:
        raise NoSuchRun(f"there is no run {run_id!r}; `synchub plan` makes one")
    if run["state"] == "applying" and is_open(rows, run_id):
        done = progress(rows, run_id)
        raise NoSuchRun(
            f"run {run_id} is being applied, {done['done']} of {done['rows']} rows are written: a "
            f"hub that is up goes on with it (`synchub up`), `synchub plan {run_id}` shows how far"
        )
    if run["state"] != "planned":
        raise NoSuchRun(f"run {run_id} was applied already; `synchub plan` makes a new one")
    return rows.select("run_row", {"run": run_id}, order=("n",))


def under_way(rows: Rows, most: int | None = None) -> list[str]:
    """The runs that were applied and are not through, among the latest `most`."""
    found = rows.select("run", {"state": "applying"}, ("-id",), most, only=("id",))
    return [r["id"] for r in found if is_open(rows, r["id"])]


def _place(row: Row) -> tuple[str, Uid, Uid, str]:
    return row["system"], row["golden"], row["uid"] or "", row["op"]


def settle_row(rows: Rows, link: Link, row: PlannedRow, *, run: str, hold: bool) -> None:
    """Take the hold off a row that goes with a run, put it on one that needs another plan."""
    table = "slot" if row.uid else "wanted"
    where: dict[str, Any] = (
        {"uid": row.uid}
        if row.uid
        else {"golden": row.golden, "system": row.system, "object": link.spec.object}
    )
    rows.lock([row.uid or row.golden])
    if run:
        slots.lift(rows, table, where, HELD)
        more = {"rank": slots.BACKFILL} if table == "slot" else {}
        rows.update(table, where, {"run": run, **more})
    elif hold:
        slots.hold(rows, table, where, HELD, "changed since the plan")


def progress(rows: Rows, run_id: str) -> dict[str, int]:
    """How far an applied run is: rows that are done, open, and held for a reason.

    What was released is counted by its links; the rows beside it, which are few, are looked at.
    """
    beside = {"run": run_id, "state": among(BESIDE)}
    counted = Counter(row_state(rows, row) for row in rows.select("run_row", beside))
    released = rows.count("run_row", {"run": run_id, "state": "released"})
    held, left = (
        sum(rows.count(*at) for at in links_of(rows, run_id, held=h)) for h in (True, False)
    )
    left += len(adrift(rows, run_id))
    counted += Counter(done=released - held - left, open=left, held=held)
    return {"rows": counted.total(), **{word: counted[word] for word in ("done", "open", "held")}}


def links_of(rows: Rows, run_id: str, *, held: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Table and condition of each system's links that are still to be worked off for a run."""
    for system in rows.select("system", only=("name",)):
        where = {"system": system["name"], "held": held, "run": run_id}
        yield "slot", {**where, "dirty": above(-1)}
        yield "wanted", where  # while its create is on the way it is not dirty


def adrift(rows: Rows, run_id: str) -> list[Row]:
    """Creates of a run that are on their way, and that nobody wants any more."""
    where = {"status": among(slots.OPEN), "op": "create", "run": run_id}
    systems = [row["name"] for row in rows.select("system", only=("name",))]
    found = [i for s in systems for i in rows.select("intent", {"system": s, **where})]
    return [i for i in found if not rows.get("wanted", **{n: i[n] for n in WANTED})]


def is_open(rows: Rows, run_id: str) -> bool:
    """Whether anything of an applied run is still to be written."""
    places = links_of(rows, run_id, held=False)
    return any(rows.select(*at, limit=1) for at in places) or bool(adrift(rows, run_id))


def finish(rows: Rows) -> None:
    """Runs of which nothing is open any more are done; what is held waits for a person."""
    for run in rows.select("run", {"state": "applying"}, only=("id",)):
        if not is_open(rows, run["id"]):
            rows.update("run", {"id": run["id"]}, {"state": "done"})


def row_state(rows: Rows, row: Row) -> str:
    """done, open or held; what was done once stays so, whatever the link is dirty for later."""
    link = rows.get("slot", uid=row["uid"]) if row["uid"] else wanted(rows, row)
    if link is None:
        return "open" if not row["uid"] and on_its_way(rows, row) else "done"
    if row["state"] != "released":
        return "done" if link["dirty"] is None else "held"  # another plan shows it
    if link["run"] != row["run"] or (row["uid"] and link["dirty"] is None):
        return "done"
    return "held" if link["held"] else "open"


def wanted(rows: Rows, row: Row) -> Row | None:
    """The wanted record of a row that creates one."""
    found = rows.select("wanted", {"golden": row["golden"], "system": row["system"]})
    return found[0] if found else None


def on_its_way(rows: Rows, row: Row) -> bool:
    """Whether the create of a row has no known end."""
    found = rows.select("intent", {"golden": row["golden"], "op": "create"})
    return any(i["system"] == row["system"] and i["status"] in slots.OPEN for i in found)


def quiet(rows: Rows) -> bool:
    """Whether nothing is on its way: no pending input, no due hint, no free dirty link."""
    if rows.count("input", {"status": "pending"}) or rows.count("outbox"):
        return False
    if rows.count("hint", {"state": "open"}) or rows.count("recheck"):
        return False
    free = {"dirty": above(-1), "held": False}
    open_links = rows.count("slot", free) + rows.count("wanted", free)
    return not open_links and not rows.count("intent", {"status": among(slots.OPEN)})
