"""How a hub is: one answer for the command line, the private pages, the metrics and the alerts.

Everything is counted from the store when it is asked for; nothing is kept beside it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from hub import alerts, members, switches
from hub.capture import STILL_MS
from hub.env import Hub
from hub.io import anchor
from hub.io.rows import Row, Rows, above

Answer = dict[str, Any]
INPUTS = ("applied", "superseded", "pending", "awaiting", "parked", "erased")


def status(hub: Hub) -> Answer:
    """Each system: records, what waits, what is held, failures; and what needs a person."""
    now = hub.env.now()
    found = {
        "at": now,
        "up": dict(hub.listening),
        "processes": hub.env.view(lambda rows: members.roles(rows, now)),
        **hub.env.view(lambda rows: whole(rows, hub, now)),
        **anchored(hub),
        "topics_differ": hub.log.differs,
    }
    return {**found, "alerts": alerts.alerts(found, now)}


def whole(rows: Rows, hub: Hub, now: int) -> Answer:
    """What concerns the hub as one."""
    pending = rows.select("input", {"status": "pending"}, order=("at",), limit=1)
    parked = by_kind(rows, "parked")
    return {
        "applied": switches.read(rows, "applied") is not None,
        "writes_stopped": stopped(rows),
        "writes_stopped_since": switches.since(rows, "writes stopped") if stopped(rows) else None,
        "pending_inputs": rows.count("input", {"status": "pending"}),
        "pending_since": pending[0]["at"] if pending else None,
        "systems": {name: of_system(rows, hub, name, now) for name in hub.systems},
        "customers": rows.count("golden", {"merged_into": None}),
        "possible_duplicates": rows.count("task", {"kind": "duplicate", "state": "open"}),
        "tasks": by_kind(rows, "task"),
        "parked": sum(one["n"] for one in parked.values()),
        "parked_by_kind": parked,
        "inputs": {s: rows.count("input", {"status": s}) for s in INPUTS},
        "log_lag": {g: hub.log.lag(rows, g) for g in groups(rows)},
    }


def stopped(rows: Rows) -> bool:
    """Whether the one switch is thrown."""
    return bool(switches.read(rows, "writes stopped"))


def trouble(rows: Rows, hub: Hub) -> list[str]:
    """What keeps writes from being done."""
    failing = {n: failure(rows, n, hub.env.now()) for n in hub.systems}
    found = [f"{n}: {f['last_failure']}" for n, f in failing.items() if f["failing_since"]]
    return [*found, *(["writes are stopped"] if stopped(rows) else [])]


def by_kind(rows: Rows, table: str) -> dict[str, dict[str, int]]:
    """How many open items there are of each kind, and since when the oldest waits."""
    counted: dict[str, dict[str, int]] = {}
    while first := oldest(rows, table, max(counted, default="")):
        waiting = {"state": "open", "kind": first["kind"]}
        counted[first["kind"]] = {"n": rows.count(table, waiting), "since": first["at"]}
    return counted


def oldest(rows: Rows, table: str, after: str) -> Row | None:
    """The oldest open item of the kind that follows this one in the alphabet."""
    where, of = {"state": "open", "kind": above(after)}, ("kind", "at")
    return next(iter(rows.select(table, where, of, 1, only=of)), None)


def groups(rows: Rows) -> list[str]:
    """Who reads the log."""
    return sorted({r["group"] for r in rows.select("position") if r["group"]})


def of_system(rows: Rows, hub: Hub, name: str, now: int) -> Answer:
    """One system."""
    dirty = {"system": name, "dirty": above(-1)}
    cursors = rows.select("cursor", {"system": name, "stream": "changes"})
    return {
        "records": rows.count("record", {"system": name, "state": "live"}),
        "to_look_at": rows.count("slot", {**dirty, "held": False}),
        "to_create": rows.count("wanted", {"system": name, "held": False}),
        "held": sum(rows.count(t, {**dirty, "held": True}) for t in ("slot", "wanted")),
        "open_hints": rows.count("hint", {"system": name, "state": "open"}),
        "still_reading": still_reading(rows, hub, name),
        "changes_read_at": {r["shard"]: r["at"] for r in cursors if r["at"]},
        "counters": {r["name"]: r["n"] for r in rows.select("counter", {"system": name})},
        **failure(rows, name, now),
    }


def still_reading(rows: Rows, hub: Hub, name: str) -> list[str]:
    """Objects whose first listing is not complete."""
    listed = rows.select("cursor", {"system": name, "stream": "snapshot", "value": "done"})
    return sorted(set(hub.systems[name].specs) - {r["shard"] for r in listed})


def failure(rows: Rows, name: str, now: int) -> Answer:
    """The last failure of a system, and since when it keeps failing, None where that is over."""
    row = rows.get("meta", name=f"failure:{name}")
    if row is None:
        return {"last_failure": None, "last_failure_at": None, "failing_since": None}
    found = orjson.loads(row["value"])
    return {
        "last_failure": found["why"],
        "last_failure_at": found["at"],
        "failing_since": found["since"] if now <= found["until"] + STILL_MS else None,
    }


def anchored(hub: Hub) -> Answer:
    """How history stands to its anchor, and since when entries wait to be anchored."""
    found = anchor.look(hub)
    waits = hub.env.view(partial(oldest_ahead, found=found)) if hub.anchor else None
    well = found.word == anchor.IN_ORDER
    last = found.last.at if found.last else waits
    return {
        "anchor": {**anchor.told(found), "since": None if well else last or hub.env.now()},
        "unanchored_since": waits if well else None,
    }


def oldest_ahead(rows: Rows, found: anchor.Stand) -> int | None:
    """When the oldest entry was written that the anchor does not hold yet."""
    places = [(lane, found.anchored.get(lane, (0, ""))[0] + 1) for lane in found.ahead()]
    first = [rows.get("history", lane=lane, n=n) for lane, n in places]
    return min((int(row["at"]) for row in first if row), default=None)
