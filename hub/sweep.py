"""Step four: reconciliation. Read every tool again, compare value by value, leave nothing unseen.

A sweep has no way to write into a tool: what it reads becomes inputs, what differs marks the link
dirty, and a record that a whole pass did not show is read by its id. A log is not swept: it tells
each change once and in order, so that a second pass would show nothing that the first has not.
"""

from __future__ import annotations

from typing import Any

from connectors._kit.contract import ObjectSpec, Reading
from hub import capture, inputs, slots
from hub.env import Hub, System
from hub.inputs import Intake
from hub.io import state
from hub.io.rows import Row, Rows, at_least, below
from hub.links import Link, differences
from hub.pure import compare

MISSING_AT_ONCE = 500
RESTORED = "restored"  # in `meta`: when the store was put back last (ms)


def step(hub: Hub, system: System) -> int:
    """One page of the object whose pass is due or under way; returns when to look again (ms)."""
    due = [hub.env.now() + system.sweep_ms]
    due += [page(hub, system, spec) for spec in swept(system)]
    return min(due)


def swept(system: System) -> list[ObjectSpec]:
    """The objects that are read again as a whole."""
    return [spec for spec in capture.in_order(system) if not spec.log]


def page(hub: Hub, system: System, spec: ObjectSpec) -> int:
    """The next page of a pass. The cursor's value is "<start of pass>|<page cursor>"."""
    stream = capture.Stream(hub, system, spec)
    row, now = stream.cursor("sweep"), hub.env.now()
    listed = stream.cursor("snapshot")
    if listed is None or listed["value"] != capture.DONE:
        return now + system.sweep_ms
    started, cursor = position(row, now, system)
    if started > now:
        return started
    found = system.connector.listing(system.api, spec, cursor)
    capture.progressed(found, cursor, f"{system.name} {spec.object} sweep")

    def keep(rows: Rows) -> None:
        intake = Intake(system, spec, "sweep", snapshot=True)
        capture.take_page(rows, hub, intake, found)
        for reading in found.readings:
            if not inputs.unfit(reading):
                mark_ahead(rows, Link(hub, system, spec), reading)
        if stream.cursor_in(rows, "sweep") != row:
            return  # somebody has asked for a new pass meanwhile
        if found.done:
            missing(rows, hub, system, spec, started)
            state.count(rows, system.name, "sweeps")
        value = f"{started}|{capture.DONE if found.done else found.cursor}"
        stream.save(rows, "sweep", value, now)

    hub.env.commit(keep, "sweep:page")
    for loop in ("resolve", f"capture:{system.name}", f"deliver:{system.name}"):
        hub.env.wake(loop)
    return started + system.sweep_ms if found.done else now


def mark_ahead(rows: Rows, link: Link, reading: Reading) -> None:
    """A link that is not equal to golden, and that nobody is about to look at, is looked at."""
    uid = state.find_alias(rows, link.system.name, reading.object, reading.native_id)
    row = rows.get("record", uid=uid) if uid else None
    slot = rows.get("slot", uid=uid) if row else None
    if row is None or row["state"] != "live" or (slot and slot["dirty"] is not None):
        return
    record, golden = state.load_record(rows, row["uid"]), state.golden_of(rows, row["uid"])
    if record and golden and not compare.settled(differences(rows, link, row, record, golden)):
        state.dirty(rows, record, link.hub.env.now(), rank=slots.REPAIR)


def position(row: Row | None, now: int, system: System) -> tuple[int, str]:
    """When the pass began (or begins) and where it stands."""
    if row is None:
        return now, ""
    text, _, cursor = str(row["value"]).partition("|")
    if cursor != capture.DONE:
        return int(text), cursor
    due = int(text) + system.sweep_ms
    return (due, "") if due > now else (now, "")


def missing(rows: Rows, hub: Hub, system: System, spec: ObjectSpec, started: int) -> None:
    """Live records that nobody has read since the pass began: ask for them by id."""
    found = rows.select(
        "record",
        {"system": system.name, "object": spec.object, "state": "live", "read_end": below(started)},
        order=("uid",),
        limit=MISSING_AT_ONCE,
    )
    for row in found:
        if row["native_id"]:
            key = f"missing:{row['uid']}:{started}"
            inputs.hint(
                rows, system.name, spec.object, row["native_id"], key, hub.env.now(), kind="missing"
            )


def request(rows: Rows, system: System, now: int) -> None:
    """Start a pass over all objects now."""
    for spec in swept(system):
        key = {"system": system.name, "stream": "sweep", "shard": spec.object}
        rows.upsert("cursor", {**key, "value": f"{now}|", "at": now})


def unswept(rows: Rows, system: System) -> list[str]:
    """The objects that no pass has shown whole since the store was put back."""
    row = rows.get("meta", name=RESTORED)
    since = int(row["value"]) if row else 0
    return [s.object for s in swept(system) if since and not passed(rows, system, s, since)]


def passed(rows: Rows, system: System, spec: ObjectSpec, since: int) -> bool:
    """Whether a pass that began then, or later, has come to its end."""
    row = rows.get("cursor", system=system.name, stream="sweep", shard=spec.object)
    started, _, cursor = str(row["value"]).partition("|") if row else ("0", "", "")
    return int(started) >= since and cursor == capture.DONE


def progress(rows: Rows, system: System, spec: ObjectSpec, since: int) -> dict[str, Any]:
    """How far the pass is that was asked for at `since`."""
    live = {"system": system.name, "object": spec.object, "state": "live"}
    return {
        "system": system.name,
        "object": spec.object,
        "read": rows.count("record", {**live, "read_end": at_least(since)}),
        "records": rows.count("record", live),
        "done": passed(rows, system, spec, since),
    }
