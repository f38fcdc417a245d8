"""The only way in: readings, receipts and decisions become inputs, in the caller's transaction.

A reading that shows nothing new gets no number: it only moves the end of the record's last
reading. Acceptance is the commit of the transaction that holds the input and its cursor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog
from msgspec.structs import replace

from connectors._kit.contract import ObjectSpec, Reading
from hub.env import Hub, System
from hub.io import state
from hub.io.codec import cdc_topic
from hub.io.log import traceparent
from hub.io.rows import Conflict, Row, Rows, among
from hub.io.tables import Int, Name, name_of
from hub.pure.fold import expand, renamed
from hub.pure.model import (
    Actor,
    Body,
    Cell,
    Decision,
    Observation,
    Receipt,
    Record,
    Sent,
    Uid,
    Value,
)
from hub.pure.rules import Tool

LOG = structlog.get_logger()
# Writes of one second are confirmed together, in the batches in which the tool is read.
CONFIRMED_EVERY_MS = 1_000
AGAIN = "again:"  # how the ids of notes begin that are ours, one for each record


@dataclass(frozen=True, slots=True)
class Intake:
    """Why and where a reading was taken. `snapshot`: nobody knows when its values were typed.

    `trace`: of what it is the consequence, "" where it begins one.
    """

    system: System
    spec: ObjectSpec
    cause: str
    snapshot: bool = False
    trace: str = ""


def append(rows: Rows, hub: Hub, record: Record, body: Body, **more: object) -> tuple[int, str]:
    """Append an input to a record and announce it on the log; returns its number and trace."""
    item, trace = state.append_input(rows, hub.vault, record.uid, body, hub.env.now(), **more)
    hub.log.publish(
        rows,
        cdc_topic(record.system, record.object),
        record.uid.encode(),
        hub.codec.cdc(record, item),
        traceparent(trace, item.event_id),
        hub.env.now(),
    )
    LOG.debug(
        "input_taken",
        system=record.system,
        object=record.object,
        cause=more.get("cause", ""),
        trace=trace,
    )
    return item.seq, trace


# -- readings ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Ahead:
    """What some readings ask for, read at once, in the transaction that takes them in.

    `aliases`: (object, native id) to record. `records`: the rows of those records; each is good for
    one look. `taken`: how many of the readings were taken in, and may have named what is new.
    """

    aliases: dict[tuple[str, str], Uid]
    records: dict[Uid, Row]
    taken: int = 0

    def known(self, rows: Rows, system: str, reading: Reading) -> dict[str, Uid]:
        """The record that each of its names leads to, where one does."""
        named = {name: self.aliases.get((reading.object, name)) for name in names_of(reading)}
        if self.taken:
            missing = [name for name, uid in named.items() if uid is None]
            named |= {n: state.find_alias(rows, system, reading.object, n) for n in missing}
        self.taken += 1
        return {name: uid for name, uid in named.items() if uid}

    def row(self, rows: Rows, uid: Uid) -> Row | None:
        """The row of a record, which is held."""
        if uid in self.records:
            return self.records.pop(uid)
        rows.lock([uid])
        return rows.get("record", uid=uid)


def look_ahead(rows: Rows, system: str, readings: Iterable[Reading]) -> Ahead:
    """Read what these readings ask for, but of none of which no store would take the names."""
    fit = [reading for reading in readings if not unfit(reading)]
    where = {
        "system": system,
        "object": among({reading.object for reading in fit}),
        "native_id": among({name for reading in fit for name in names_of(reading)}),
    }
    named = rows.select("alias", where)
    aliases = {(row["object"], row["native_id"]): row["uid"] for row in named}
    rows.lock(aliases.values())
    records = rows.select("record", {"uid": among(set(aliases.values()))})
    return Ahead(aliases, {row["uid"]: row for row in records})


def names_of(reading: Reading) -> list[str]:
    """Every id that the tool has for what was read, the present one first."""
    return list(dict.fromkeys((reading.native_id, *reading.aliases)))


def take(rows: Rows, hub: Hub, intake: Intake, reading: Reading, ahead: Ahead | None = None) -> str:
    """Take a reading in. Answers "new", "same", "stale" (read it again) or "nothing"."""
    ahead = ahead or look_ahead(rows, intake.system.name, [reading])
    known = ahead.known(rows, intake.system.name, reading)
    uid = identify(rows, hub, intake, reading, known)
    if uid is None:
        return "nothing" if reading.state != "live" else "wait"
    for lost in rename(rows, hub, intake, reading, uid, known):
        ahead.records.pop(lost, None)
    row = ahead.row(rows, uid)
    return take_of(rows, hub, intake, reading, row) if row else "nothing"


def take_of(rows: Rows, hub: Hub, intake: Intake, reading: Reading, row: Row) -> str:
    """Take in a reading of the record that has this row."""
    uid, record = row["uid"], state.record_in(row)
    if begun_too_early(reading, row):
        return "stale"
    rows.update("record", {"uid": uid}, {"read_end": max(row["read_end"], reading.end_ms)})
    seen = observation(rows, hub, intake, reading)
    idle = row["next_seq"] == row["folded"] + 1
    if idle and nothing_new(record, seen, hub):
        return confirm(rows, hub, record, seen)
    append(
        rows,
        hub,
        record,
        seen,
        start=reading.start_ms,
        end=reading.end_ms,
        cause=intake.cause,
        raw=reading.raw,
        source_ms=reading.source_ms,
        map_version=intake.spec.fields.version,
        revision=reading.revision,
        trace=intake.trace,
    )
    return "new"


def unfit(reading: Reading) -> str:
    """Why no store would take what a tool calls this record and its neighbours, "" if one would."""
    linked = (native for natives in reading.links.values() for native in natives)
    try:
        for name in (reading.native_id, *reading.aliases, *linked):
            Name.put(name)
        for number in filter(None, (reading.revision, reading.source_ms)):
            Int.put(number)
    except (TypeError, ValueError) as error:
        return f"{ascii(reading.native_id)[:100]}: {error}"
    return ""


def begun_too_early(reading: Reading, row: Row) -> bool:
    """Whether, without a revision to tell, another reading or write ended after this one began."""
    return not reading.revision and bool(reading.start_ms < row["read_end"])


def identify(
    rows: Rows, hub: Hub, intake: Intake, reading: Reading, known: dict[str, Uid]
) -> Uid | None:
    """The record that was read; one never seen before gets its uid now, which is `known` then.

    None: nothing is known of a record that is gone, or it may be one of our own creates whose
    receipt is still on its way.
    """
    for native in names_of(reading):
        if native in known:
            return known[native]
    reserve(rows, intake.system.name, reading.object)
    uid = our_create(rows, intake, reading)
    if uid:
        state.add_alias(rows, intake.system.name, reading.object, reading.native_id, uid)
    elif reading.state != "live" or may_be_ours(rows, hub, intake, reading):
        return None
    else:
        uid = mint(rows, hub, intake.system, intake.spec, reading.native_id)
    known[reading.native_id] = uid
    return uid


def reserve(rows: Rows, system: str, obj: str) -> None:
    """Nobody else makes records of this object meanwhile, be it by reading or by creating them.

    Else what is read and what is created may be the same customer, and neither would know.
    """
    if not rows.alone:
        here = {"system": system, "stream": "changes", "shard": obj}
        rows.select("cursor", here, only=("at",), keep=True)


def our_create(rows: Rows, intake: Intake, reading: Reading) -> Uid | None:
    """The record whose external id the tool shows, if we sent it there and know no native id."""
    if not reading.external_id:
        return None
    opened = {"system": intake.system.name, "object": reading.object, "state": "creating"}
    found = rows.select("record", opened, only=("uid", "native_id"))
    return next(
        (r["uid"] for r in found if r["uid"] == reading.external_id and not r["native_id"]), None
    )


def may_be_ours(rows: Rows, hub: Hub, intake: Intake, reading: Reading) -> bool:
    """Whether a create is open here whose sent values this record shows."""
    where = {"system": intake.system.name, "object": reading.object, "state": "creating"}
    opened = rows.select("record", where, only=("uid",))
    if not opened:
        return False
    values = intake.spec.fields.take(reading.app).values
    tool = hub.tool(intake.system.name, reading.object)
    waiting = state.load_records(rows, [r["uid"] for r in opened]).values()
    return any(equals_sent(r, values, tool) for r in waiting if r)


def equals_sent(record: Record, values: Mapping[str, Value], tool: object) -> bool:
    """Whether every value of the open create is shown in its normal form."""
    if record.intent is None:
        return True  # the intent is not folded yet: nobody can tell
    normal = getattr(tool, "normal")  # noqa: B009
    scalars = {n: s for n, s in record.intent.sends.items() if "[" not in n}
    return all(values.get(n) in (s.value, normal(n, s.value)) for n, s in scalars.items())


def mint(rows: Rows, hub: Hub, system: System, spec: ObjectSpec, native_id: str) -> Uid:
    """A new record for a native id that was never seen before."""
    record = Record(
        uid=hub.env.uid(),
        entity=spec.entity,
        system=system.name,
        object=spec.object,
        native_id=native_id,
    )
    state.birth(rows, record)
    state.add_alias(rows, system.name, spec.object, native_id, record.uid)
    return record.uid


def rename(
    rows: Rows, hub: Hub, intake: Intake, reading: Reading, uid: Uid, known: Mapping[str, Uid]
) -> set[Uid]:
    """Every id the tool uses for it leads to this record; a record merged into it is told so.

    Returns the records that `known` led to beside it.
    """
    others = {other for other in known.values() if other != uid}
    rows.lock(others)
    for native in names_of(reading):
        if native not in known:
            state.add_alias(rows, intake.system.name, reading.object, native, uid)
    for other in sorted(others):
        if (lost := state.load_record(rows, other)) and lost.alive:
            gone = Observation(
                start=reading.start_ms, end=reading.end_ms, state="merged", successor=uid
            )
            append(
                rows,
                hub,
                lost,
                gone,
                start=reading.start_ms,
                end=reading.end_ms,
                cause=intake.cause,
                trace=intake.trace,
            )
    return others


def observation(rows: Rows, hub: Hub, intake: Intake, reading: Reading) -> Observation:
    """The reading in our terms; fields that no rule knows travel as `ext`."""
    taken = intake.spec.fields.take(reading.app)
    entity = intake.spec.entity
    rules = hub.context.rules.entities.get(entity, {})
    values = {n: v for n, v in taken.values.items() if n in rules}
    values |= links(rows, hub, intake, reading)
    actor = Actor(reading.actor.kind, reading.actor.id, reading.actor.via)
    return Observation(
        start=reading.start_ms,
        end=reading.end_ms,
        values=values,
        unknown={**{n: w for n, w in taken.unknown.items() if n in rules}, **reading.unknown},
        ext=taken.ext,
        state=reading.state,
        native_id=reading.native_id,
        revision=(intake.system.epoch, reading.revision or 0),
        source_ms=reading.source_ms,
        snapshot=intake.snapshot or reading.snapshot,
        actor=actor,
    )


def links(rows: Rows, hub: Hub, intake: Intake, reading: Reading) -> dict[str, Value]:
    """Associations as whole sets of record uids; an end never seen yet is minted."""
    found: dict[str, Value] = {}
    for entity, natives in reading.links.items():
        spec = intake.system.spec_for(entity)
        name = LINK_FIELDS.get((intake.spec.entity, entity))
        if spec and name:
            found[name] = sorted(
                state.find_alias(rows, intake.system.name, spec.object, native)
                or mint(rows, hub, intake.system, spec, native)
                for native in natives
            )
    return found


LINK_FIELDS = {("person", "company"): "companies", ("company", "company"): "parent"}


def link_fields(spec: ObjectSpec) -> tuple[str, ...]:
    """The fields of ours that hold an object's associations."""
    return tuple(LINK_FIELDS[spec.entity, e] for e in spec.links if (spec.entity, e) in LINK_FIELDS)


def nothing_new(record: Record, seen: Observation, hub: Hub) -> bool:
    """Whether every covered value equals what was observed last, and no write is open."""
    if record.intent or seen.state != record.state or not record.seen:
        return False
    if seen.state != "live":
        return True  # what a record held that is gone claims nothing
    tool = hub.tool(record.system, record.object)
    if renamed(record, seen) or (tool.conditional and seen.revision > record.revision):
        return False  # the next write has to name this id, or this revision
    for name, value in expand(record, seen, tool):
        cell = record.cell(name)
        if not cell.known or cell.observed != value or cell.unreadable:
            return False
    return all(record.cell(n).unreadable == why for n, why in seen.unknown.items())


def confirm(rows: Rows, hub: Hub, record: Record, seen: Observation) -> str:
    """An equal reading one settle time after a write confirms the tool's answer."""
    ours = {n: c for n, c in record.cells.items() if c.synced and not c.synced.confirmed}
    if not ours or seen.state != "live":
        return "same"
    tool = hub.tool(record.system, record.object)
    if seen.start < record.changed_at + tool.settle_ms:
        return "early"
    append(rows, hub, record, confirmation(record, ours, seen), cause="confirmed")
    return "same"


def confirmation(record: Record, cells: Mapping[str, Cell], seen: Observation) -> Receipt:
    """The receipt that says: what was answered is still there."""
    held = {n: c.synced for n, c in cells.items() if c.synced}
    return Receipt(
        "agrees",
        seen.start,
        seen.end,
        values={n: cells[n].observed for n in held},
        sends={n: Sent(s.sent, s.version, s.before, s.hop) for n, s in held.items()},
        members=record.members,
        confirms=True,
    )


# -- decisions ---------------------------------------------------------------------------------


def decided(rows: Rows, hub: Hub, record: Record, decision: Decision) -> None:
    """A person's decision; a verdict is written under both records with one id."""
    append(rows, hub, record, decision, cause=decision.act)
    if decision.act in ("same", "different"):
        other = state.load_record(rows, decision.other)
        if other is not None:
            mirrored = replace(decision, other=record.uid)
            append(rows, hub, other, mirrored, cause=decision.act)


# -- hints -------------------------------------------------------------------------------------


def hint(
    rows: Rows, system: str, obj: str, native_id: str, key: str, now: int, **more: str | int | None
) -> bool:
    """Leave a note to read a record; a note that is known already is not left twice.

    A `key` that is too long for a name is known by its digest. `more`: its kind, not_before (ms),
    and the trace of what it is the consequence.
    """
    note = {
        "id": name_of(key),
        "system": system,
        "object": obj,
        "native_id": native_id,
        "kind": "changed",
        "state": "open",
        "at": now,
        "not_before": 0,
        "attempts": 0,
        **more,
    }
    try:
        rows.insert("hint", note)
    except Conflict:
        return False
    return True


def confirmed_at(tool: Tool, now: int) -> int:
    """When what is written now is read again: one settle time later, with all of that second."""
    due = now + tool.settle_ms
    return due + -due % CONFIRMED_EVERY_MS


def note_of(uid: Uid) -> str:
    """The id of the note to read a record again."""
    return AGAIN + uid


def again(rows: Rows, record: Record, now: int, due: int, trace: str = "") -> None:
    """Read this record again, not before it is due; one open note per record is enough."""
    if not record.native_id:
        return
    key = note_of(record.uid)
    row = rows.get("hint", id=key)
    if row is None:
        hint(
            rows,
            record.system,
            record.object,
            record.native_id,
            key,
            now,
            kind="again",
            not_before=due,
            trace=trace or None,
        )
    else:
        rows.update(
            "hint",
            {"id": key},
            {
                "state": "open",
                "at": now,
                "attempts": row["attempts"] if row["state"] == "open" else 0,
                "native_id": record.native_id,
                "not_before": due if row["state"] != "open" else max(due, row["not_before"]),
                "trace": trace or (row["trace"] if row["state"] == "open" else None),
            },
        )


def answer(rows: Rows, keys: Iterable[str], how: str, by: str | None = None) -> None:
    """Close notes, saying how (answered, nothing new, or parked), and by which input."""
    for key in keys:
        rows.update("hint", {"id": key}, {"state": how, "answer": by})


def latest(rows: Rows, system: str, reading: Reading) -> str | None:
    """The event id of the last input of the record that was read."""
    uid = state.find_alias(rows, system, reading.object, reading.native_id)
    last = state.next_seq(rows, uid) - 1 if uid else 0
    return f"{uid}:{last}" if last else None
