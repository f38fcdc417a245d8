"""How a hub is: one answer for the command line, the private pages, the metrics and the alerts.

Everything is counted from the store when it is asked for; nothing is kept beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson

from hub import alerts, members, sweep, switches
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
    """What concerns the hub as one, counted to the last."""
    found = glance(rows, hub, now)
    live = {n: rows.count("record", {"system": n, "state": "live"}) for n in hub.systems}
    return {
        **found,
        "systems": {n: {"records": live[n], **one} for n, one in found["systems"].items()},
        "customers": rows.count("golden", {"merged_into": None}),
        "possible_duplicates": rows.count("task", {"kind": "duplicate", "state": "open"}),
        "parked": sum(one["n"] for one in found["parked_by_kind"].values()),
        "inputs": {s: rows.count("input", {"status": s}) for s in INPUTS},
        "log_lag": {g: sum(b["n"] for b in of.values()) for g, of in found["log_behind"].items()},
    }


def glance(rows: Rows, hub: Hub, now: int, most: int | None = None) -> Answer:
    """What can be seen at once, however much is known: nothing is counted beyond `most`."""
    pending = {"status": "pending"}
    return {
        "applied": switches.read(rows, "applied") is not None,
        "writes_stopped": stopped(rows),
        "writes_stopped_since": switches.since(rows, "writes stopped") if stopped(rows) else None,
        "pending_inputs": rows.count("input", pending, most),
        "pending_since": first(rows, "input", pending, "at"),
        "systems": {name: of_system(rows, hub, name, now, most) for name in hub.systems},
        "tasks": by_kind(rows, "task", most),
        "parked_by_kind": by_kind(rows, "parked", most),
        "outbox": outbox(rows),
        "log_behind": {group: behind(rows, hub, group) for group in groups(rows)},
    }


def first(rows: Rows, table: str, where: Mapping[str, Any], column: str) -> int | None:
    """The least value of a column among these rows, which an index knows; None for no rows."""
    found = rows.select(table, where, order=(column,), limit=1, only=(column,))
    return int(found[0][column]) if found else None


def outbox(rows: Rows) -> Answer:
    """How many messages wait to be published, at most, and since when.

    They leave in order, so it is told by the first and the last of them.
    """
    ends = [row for o in ("id", "-id") for row in rows.select("outbox", {}, (o,), 1, ("id", "at"))]
    if not ends:
        return {"n": 0, "since": None}
    return {"n": ends[-1]["id"] - ends[0]["id"] + 1, "since": ends[0]["at"]}


def behind(rows: Rows, hub: Hub, group: str) -> Answer:
    """How far a group is behind in each topic."""
    found = sorted(hub.log.behind(rows, group).items())
    return {topic: {"n": one.messages, "since": one.since} for topic, one in found}


def stopped(rows: Rows) -> bool:
    """Whether the one switch is thrown."""
    return bool(switches.read(rows, "writes stopped"))


def trouble(rows: Rows, hub: Hub) -> list[str]:
    """What keeps writes from being done."""
    failing = {n: failure(rows, n, hub.env.now()) for n in hub.systems}
    found = [f"{n}: {f['last_failure']}" for n, f in failing.items() if f["failing_since"]]
    return [*found, *(["writes are stopped"] if stopped(rows) else [])]


def by_kind(rows: Rows, table: str, most: int | None = None) -> dict[str, dict[str, int]]:
    """How many open items there are of each kind, and since when the oldest waits."""
    counted: dict[str, dict[str, int]] = {}
    while found := oldest(rows, table, max(counted, default="")):
        waiting = {"state": "open", "kind": found["kind"]}
        n = rows.count(table, waiting, most)
        counted[found["kind"]] = {"n": n, "since": found["at"]}
    return counted


def oldest(rows: Rows, table: str, after: str) -> Row | None:
    """The oldest open item of the kind that follows this one in the alphabet."""
    where, of = {"state": "open", "kind": above(after)}, ("kind", "at")
    return next(iter(rows.select(table, where, of, 1, only=of)), None)


def groups(rows: Rows) -> list[str]:
    """Who reads the log."""
    return sorted({r["group"] for r in rows.select("position") if r["group"]})


def of_system(rows: Rows, hub: Hub, name: str, now: int, most: int | None = None) -> Answer:
    """One system, without what it holds."""
    here, dirty = {"system": name}, {"system": name, "dirty": above(-1)}
    free = {**dirty, "held": False}
    cursors = rows.select("cursor", {**here, "stream": "changes"})
    waiting = (first(rows, table, free, "dirty") for table in ("slot", "wanted"))
    return {
        "to_look_at": rows.count("slot", free, most),
        "to_create": rows.count("wanted", {**here, "held": False}, most),
        "held": sum(rows.count(t, {**dirty, "held": True}, most) for t in ("slot", "wanted")),
        "open_hints": rows.count("hint", {**here, "state": "open"}, most),
        "undelivered_since": min((at for at in waiting if at is not None), default=None),
        "may_write": bool((row := rows.get("system", name=name)) and row["writes"]),
        "still_reading": still_reading(rows, hub, name),
        "changes_read_at": {r["shard"]: r["at"] for r in cursors if r["at"]},
        "counters": {r["name"]: r["n"] for r in rows.select("counter", here)},
        **failure(rows, name, now),
    }


def still_reading(rows: Rows, hub: Hub, name: str) -> list[str]:
    """Objects whose first listing is not complete, or the next one after the store was put back."""
    listed = rows.select("cursor", {"system": name, "stream": "snapshot", "value": "done"})
    unlisted = set(hub.systems[name].specs) - {r["shard"] for r in listed}
    return sorted(unlisted.union(sweep.unswept(rows, hub.systems[name])))


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
