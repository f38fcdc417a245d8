"""Step one: turn what the tools show into inputs. A webhook is a hint; the record is read again.

Each object first remembers the cursor from which on nothing is missed, then takes its snapshot,
then follows the changes; of a log the changes are the snapshot too. Cursor and inputs are saved in
one transaction, so that neither can get ahead of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import orjson

from connectors._kit.contract import (
    ConnectorError,
    Denied,
    Hint,
    ObjectSpec,
    Page,
    Reading,
    Unavailable,
    Unreadable,
)
from hub import inputs, slots
from hub.env import Hub, System
from hub.inputs import Ahead, Intake
from hub.io import state
from hub.io.rows import Row, Rows, among, at_most, unlike
from hub.io.tables import name_of
from hub.pure.model import Intent, Sent, Uid

HINTS_AT_ONCE = 100
PAGE_AT_ONCE = 50  # readings of a page that one transaction takes in
TOGETHER_MS = 50  # what was read in so short a time is taken in with one transaction
BACK_OFF_MS = (1_000, 5_000, 30_000, 300_000)
GIVE_UP_AFTER = 12
OUTAGE = 3  # tries that a tool counts for which cannot answer at all, however long it is down
EARLY_MS = 250
STILL_MS = 60_000  # a failure so soon after the next try was due is still the same one


def step(hub: Hub, system: System) -> int:
    """Answer due hints, then the snapshot, then the changes; returns when to look again (ms).

    An object that fails holds up no other: the first failure is raised when all had their turn.
    """
    due = [hub.env.now() + system.poll_ms]
    failed: list[ConnectorError] = []
    for spec in in_order(system):
        try:
            due.append(turn(hub, system, spec))
        except ConnectorError as error:
            failed.append(error)
    if failed:
        raise failed[0]
    return min(due)


def turn(hub: Hub, system: System, spec: ObjectSpec) -> int:
    """One object's due hints, and its next page; returns when to look again (ms)."""
    stream = Stream(hub, system, spec)
    waits = hub.env.view(stream.waits)
    if waits.hints:
        answer_hints(hub, system, spec, waits.hints)
        waits = hub.env.view(stream.waits)
    return min(waits.until, follow(stream, waits))


def in_order(system: System) -> list[ObjectSpec]:
    """Companies before persons: the end of an association is known before what points at it."""
    return sorted(system.specs.values(), key=lambda s: (s.entity != "company", s.object))


# -- snapshot and changes ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waits:
    """What an object has to do: due hints, when the next one is due (ms), and where it stands."""

    hints: list[Row]
    until: int
    changes: Row | None
    listed: Row | None


@dataclass(frozen=True)
class Stream:
    """One object's way through its pages: "begin", then "snapshot", then "changes"."""

    hub: Hub
    system: System
    spec: ObjectSpec

    def cursor(self, name: str) -> Row | None:
        """Where a named stream stands."""
        return self.hub.env.view(lambda rows: self.cursor_in(rows, name))

    def cursor_in(self, rows: Rows, name: str) -> Row | None:
        """The same, in the caller's transaction."""
        return rows.get("cursor", system=self.system.name, stream=name, shard=self.spec.object)

    def waits(self, rows: Rows) -> Waits:
        """What there is to do."""
        now = self.hub.env.now()
        until = next_hint(rows, self.system, self.spec, now)
        hints = due_hints(rows, self.system, self.spec, now) if until <= now else []
        here = {"system": self.system.name, "shard": self.spec.object}
        found = rows.select("cursor", {**here, "stream": among(["changes", "snapshot"])})
        cursors = {row["stream"]: row for row in found}
        return Waits(hints, until, cursors.get("changes"), cursors.get("snapshot"))

    def save(self, rows: Rows, name: str, value: str, at: int) -> None:
        """Move a named stream, in the caller's transaction."""
        rows.upsert(
            "cursor",
            {
                "system": self.system.name,
                "stream": name,
                "shard": self.spec.object,
                "value": value,
                "at": at,
            },
        )


def follow(stream: Stream, waits: Waits) -> int:
    """The next page of whatever this object needs; returns when to look again (ms)."""
    if waits.changes is None:
        begin(stream)
        return stream.hub.env.now()
    listed = waits.listed
    reading = listed is None or listed["value"] != DONE
    if reading and not stream.spec.log:
        return page_of_listing(stream, "snapshot", listed["value"] if listed else "")
    return page_of_changes(stream, waits.changes, reading=reading)


DONE = "done"


def begin(stream: Stream) -> None:
    """Remember where changes start, before the first page of the snapshot is asked for."""
    hub, system = stream.hub, stream.system
    now = hub.env.now()
    value = system.connector.begin(system.api, stream.spec, now)
    hub.env.commit(lambda rows: stream.save(rows, "changes", value, 0), "capture:begin")


def page_of_listing(stream: Stream, name: str, cursor: str) -> int:
    """One page of all records; the cursor of a finished listing says so."""
    hub, system, spec = stream.hub, stream.system, stream.spec
    page = system.connector.listing(system.api, spec, cursor)
    progressed(page, cursor, f"{system.name} {spec.object} listing")

    def save(rows: Rows) -> None:
        stream.save(rows, name, DONE if page.done else page.cursor, hub.env.now())

    keep_page(hub, Intake(system, spec, name, snapshot=True), page, save)
    return hub.env.now()


def page_of_changes(stream: Stream, changes: Row, *, reading: bool = False) -> int:
    """One page of changes when it is due. `at` of the cursor: when the last full pass began.

    `reading`: of a log, when it was not read to its end before; that end is told.
    """
    hub, system, spec = stream.hub, stream.system, stream.spec
    started = hub.env.now()
    every = max(system.poll_ms, spec.poll_ms)
    if changes["at"] + every > started:
        return int(changes["at"] + every)
    known = partial(brought, hub, system)
    page = system.connector.changes(system.api, spec, changes["value"], known)
    progressed(page, changes["value"], f"{system.name} {spec.object} changes")

    def save(rows: Rows) -> None:
        stream.save(rows, "changes", page.cursor, started if page.done else changes["at"])
        if page.expired:
            state.count(rows, system.name, "cursors expired")
            stream.save(rows, "snapshot", "", started)
        elif reading and page.done:
            stream.save(rows, "snapshot", DONE, started)

    keep_page(hub, Intake(system, spec, "changes"), page, save)
    return started + every if page.done else hub.env.now()


def read_until(rows: Rows, system: System, spec: ObjectSpec) -> int:
    """When the reading of changes began that was the last to come to their end (ms)."""
    row = rows.get("cursor", system=system.name, stream="changes", shard=spec.object)
    return int(row["at"]) if row else 0


def brought(hub: Hub, system: System, keys: Iterable[str]) -> frozenset[str]:
    """The news that webhooks have brought, of which each was read, or was our own."""
    ids = {name_of(f"{system.name}:{key}"): key for key in keys}
    where = {"id": among(ids), "state": unlike("open")}
    found = hub.env.view(lambda rows: rows.select("hint", where, only=("id", "state")))
    return frozenset(ids[row["id"]] for row in found if row["state"] != "parked")


def progressed(page: Page, cursor: str, what: str) -> None:
    """A page that neither ends nor moves would be asked for for ever."""
    if not page.done and page.cursor == cursor:
        message = f"{what}: the tool sent a page that makes no progress (cursor {cursor!r})"
        raise Unreadable(message)


def keep_page(hub: Hub, intake: Intake, page: Page, save: Callable[[Rows], None]) -> None:
    """Take a page in, and `save` how far it came, with the last transaction that it takes.

    A large one would keep all other writers waiting. Whatever is in between is read again where
    the hub dies: the same readings again are nothing new.
    """

    def keep(rows: Rows) -> None:
        take_page(rows, hub, intake, replace(page, readings=page.readings[before:]))
        save(rows)

    point = f"capture:{intake.cause}"
    before = max(0, len(page.readings) - 1) // PAGE_AT_ONCE * PAGE_AT_ONCE
    for start in range(0, before, PAGE_AT_ONCE):
        some = page.readings[start : start + PAGE_AT_ONCE]
        hub.env.commit(partial(take_all, hub=hub, intake=intake, readings=some), point)
        hub.env.wake("resolve")
    hub.env.commit(keep, point)
    hub.env.wake("resolve")


def take_page(rows: Rows, hub: Hub, intake: Intake, page: Page) -> None:
    """Take every reading of a page; what cannot be understood is parked, the rest goes on."""
    take_all(rows, hub, intake, page.readings)
    for n, (why, raw) in enumerate(page.broken):
        park_broken(rows, hub, intake, f"{hub.env.now()}:{n}", why, raw)


def take_all(rows: Rows, hub: Hub, intake: Intake, readings: Sequence[Reading]) -> None:
    """Take these readings."""
    ahead = inputs.look_ahead(rows, intake.system.name, readings)
    for reading in readings:
        take_or_note(rows, hub, intake, reading, ahead)


def take_or_note(rows: Rows, hub: Hub, intake: Intake, reading: Reading, ahead: Ahead) -> str:
    """Take a reading; one that came too early or too late leaves a note to read again."""
    if why := inputs.unfit(reading):
        park_once(rows, hub, intake, ascii(reading.native_id)[:100], why, reading.raw)
        return "nothing"
    how = inputs.take(rows, hub, intake, reading, ahead)
    if how in ("stale", "early", "wait"):
        due = hub.env.now() + max(EARLY_MS, intake.spec.settle_ms)
        leave_note(rows, hub, intake, reading, due)
    return how


def leave_note(rows: Rows, hub: Hub, intake: Intake, reading: Reading, due: int) -> None:
    """Read this record again at a later time."""
    uid = state.find_alias(rows, intake.system.name, reading.object, reading.native_id)
    record = state.load_record(rows, uid) if uid else None
    if record:
        inputs.again(rows, record, hub.env.now(), due, intake.trace)
    else:
        inputs.hint(
            rows,
            intake.system.name,
            reading.object,
            reading.native_id,
            f"wait:{intake.system.name}:{reading.object}:{reading.native_id}:{due}",
            hub.env.now(),
            kind="again",
            not_before=due,
            trace=intake.trace or None,
        )


def park_broken(rows: Rows, hub: Hub, intake: Intake, key: str, why: str, raw: bytes) -> None:
    """Keep what the tool sent and nobody could read, for a person and for replay."""
    name = intake.system.name
    state.count(rows, name, "answers not understood")
    rows.upsert(
        "parked",
        {
            "id": slots.answer_item(name, intake.spec.object, key),
            "kind": "answer",
            "state": "open",
            "at": hub.env.now(),
            "system": name,
            "why": why,
            "doc": {"object": intake.spec.object, "raw": raw.decode("utf-8", "replace")[:20_000]},
        },
    )


def park_once(rows: Rows, hub: Hub, intake: Intake, key: str, why: str, raw: bytes) -> None:
    """The same for what is met again and again: it is not shown anew once somebody dismissed it."""
    item = slots.answer_item(intake.system.name, intake.spec.object, key)
    shown = rows.get("parked", id=item)
    if shown is None or shown["state"] == "done":
        park_broken(rows, hub, intake, key, why, raw)


# -- hints -------------------------------------------------------------------------------------


def answer_hints(hub: Hub, system: System, spec: ObjectSpec, due: Sequence[Row]) -> None:
    """Read what the due hints name; of a log nothing can be asked, what it says comes by itself."""
    if spec.log:
        ids = [row["id"] for row in due]
        hub.env.commit(lambda rows: inputs.answer(rows, ids, "nothing new"), "capture:hints")
        return
    by_native: dict[str, list[Row]] = {}
    for row in due:
        by_native.setdefault(row["native_id"], []).append(row)
    haul = Haul(hub, Intake(system, spec, "hint"))
    natives = list(by_native)
    for start in range(0, len(natives), spec.read_batch):
        haul.read({n: by_native[n] for n in natives[start : start + spec.read_batch]})
    haul.keep()


def due_hints(rows: Rows, system: System, spec: ObjectSpec, now: int) -> list[Row]:
    """Open hints of this object whose time has come."""
    return rows.select(
        "hint",
        {"system": system.name, "object": spec.object, "state": "open", "not_before": at_most(now)},
        order=("not_before", "id"),
        limit=HINTS_AT_ONCE,
    )


def next_hint(rows: Rows, system: System, spec: ObjectSpec, now: int) -> int:
    """When the next hint is due; far away when there is none."""
    found = rows.select(
        "hint",
        {"system": system.name, "object": spec.object, "state": "open"},
        order=("not_before",),
        limit=1,
        only=("not_before",),
    )
    return int(found[0]["not_before"]) if found else now + system.poll_ms


@dataclass
class Haul:
    """What is read of the records that hints name: a tool that is quick costs few transactions."""

    hub: Hub
    intake: Intake
    wanted: dict[str, list[Row]] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    since: int = 0  # when the first of them was asked for

    def read(self, wanted: dict[str, list[Row]]) -> None:
        """Read these records at once. Raises what keeps the tool from answering at all."""
        system, spec, began = self.intake.system, self.intake.spec, self.hub.env.now()
        try:
            readings = system.connector.read(system.api, spec, list(wanted))
        except ConnectorError as error:
            self.keep()
            self.fail(wanted, error)
            return
        self.since = self.since if self.wanted else began
        self.wanted |= wanted
        self.readings += readings
        if self.hub.env.now() >= self.since + TOGETHER_MS:
            self.keep()

    def fail(self, wanted: dict[str, list[Row]], error: ConnectorError) -> None:
        """A tool that cannot answer now is asked again later, as what nobody understands is."""
        if isinstance(error, Unreadable) and len(wanted) > 1:  # it holds up no other
            for native, found in wanted.items():
                self.read({native: found})
        elif isinstance(error, Unreadable):
            self.put_off(wanted)
        else:
            if isinstance(error, Unavailable):
                self.put_off(wanted, error.after_ms, OUTAGE)
            raise error

    def put_off(self, wanted: dict[str, list[Row]], *how: int) -> None:
        """Ask again later, see `put_off`."""
        hub = self.hub
        hub.env.commit(lambda rows: put_off(rows, hub, wanted, *how), "capture:put off")

    def keep(self) -> None:
        """Take in what was read so far."""
        if not self.wanted:
            return
        wanted, self.wanted, readings, self.readings = self.wanted, {}, self.readings, []
        self.hub.env.commit(
            lambda rows: close_hints(rows, self.hub, self.intake, wanted, readings), "capture:hints"
        )
        self.hub.env.wake("resolve")


def close_hints(
    rows: Rows, hub: Hub, intake: Intake, wanted: dict[str, list[Row]], readings: Sequence[Reading]
) -> None:
    """Take the readings, and say of each hint what came of it."""
    words = {
        "new": "answered",
        "same": "nothing new",
        "nothing": "nothing new",
        "stale": "answered",
        "early": "answered",
        "wait": "answered",
    }
    ahead = inputs.look_ahead(rows, intake.system.name, readings)
    for reading in readings:
        names = dict.fromkeys((*inputs.names_of(reading), reading.asked))
        notes = [row for n in names for row in wanted.get(n, ())]
        keys = [row["id"] for row in notes]
        trace = next((row["trace"] for row in notes if row["trace"]), "")
        told = [k for k in keys if not k.startswith(inputs.AGAIN)]
        end_notes(rows, [k for k in keys if k.startswith(inputs.AGAIN)], reading.start_ms)
        how = take_or_note(rows, hub, replace(intake, trace=trace), reading, ahead)
        by = inputs.latest(rows, intake.system.name, reading) if told and how == "new" else None
        inputs.answer(rows, told, words[how], by)


def end_notes(rows: Rows, keys: Iterable[str], at: int) -> None:
    """Close notes of ours, but none that asks for a later reading: it was put off meanwhile."""
    for key in keys:
        here = {"id": key, "not_before": at_most(at)}
        rows.update("hint", here, {"state": "answered", "answer": None})


def put_off(
    rows: Rows, hub: Hub, wanted: dict[str, list[Row]], after_ms: int = 0, most: int = GIVE_UP_AFTER
) -> None:
    """Ask again later, ever more rarely, and count at `most` so many tries.

    After the last of them a person has to look.
    """
    for row in (r for found in wanted.values() for r in found):
        tried = min(row["attempts"] + 1, most)
        wait = max(after_ms, BACK_OFF_MS[min(tried, len(BACK_OFF_MS)) - 1])
        given_up = tried >= GIVE_UP_AFTER
        rows.update(
            "hint",
            {"id": row["id"]},
            {
                "attempts": tried,
                "not_before": hub.env.now() + wait,
                "state": "parked" if given_up else "open",
            },
        )
        if given_up:
            park_hint(rows, hub, row)


def park_hint(rows: Rows, hub: Hub, row: Row) -> None:
    """A record that cannot be read, however often it is tried, is for a person."""
    rows.upsert(
        "parked",
        {
            "id": name_of(f"hint:{row['id']}"),
            "kind": "hint",
            "state": "open",
            "at": hub.env.now(),
            "system": row["system"],
            "why": f"{row['object']} {row['native_id']} could not be read in {GIVE_UP_AFTER} tries",
            "doc": {"hint": row["id"]},
        },
    )


# -- webhooks ----------------------------------------------------------------------------------


def accept(rows: Rows, hub: Hub, system: System, hints: Iterable[Hint], trace: str = "") -> int:
    """Keep the hints of a webhook and the trace it came with; 2xx may be said after the commit.

    Returns how many are new, and tell of more than our own writes.
    """
    new = 0
    for found in hints:
        if not names_a_record(system, found):
            state.count(rows, system.name, "webhooks of other kinds")
            continue
        key, now = name_of(f"{system.name}:{found.key}"), hub.env.now()
        where = (system.name, found.object, found.native_id)
        due = read_at(rows, hub, system, found)
        fresh = inputs.hint(
            rows, *where, key, now, kind=found.kind, not_before=due, trace=trace or None
        )
        if fresh and by_us(rows, hub, system, found):
            inputs.answer(rows, [key], "our own write")
        else:
            new += fresh
    return new


def read_at(rows: Rows, hub: Hub, system: System, found: Hint) -> int:
    """When to read what a hint tells of (ms): at once, or with the confirmation of a write of ours.

    Where a tool does not say whose a change was, one that is no later than our last write is most
    likely that write. It is read all the same, but together with what is read again anyhow.
    """
    if not system.specs[found.object].echoes or found.kind != "changed" or not found.source_ms:
        return 0
    uid = state.find_alias(rows, system.name, found.object, found.native_id)
    latest = inputs.confirmed_at(hub.tool(system.name, found.object), hub.env.now())
    return confirmed_with(rows, uid, found.source_ms, latest) if uid else 0


def confirmed_with(rows: Rows, uid: Uid, at: int, latest: int) -> int:
    """When a write of ours that may be what happened then is read again, 0 for none."""
    if rows.select("intent", {"uid": uid, "status": "sent"}, only=("uid",), limit=1):
        return latest  # until its receipt is there, a reading would be refused
    note = rows.get("hint", id=inputs.note_of(uid))
    if note and note["state"] == "open" and at <= note["at"]:
        return min(int(note["not_before"]), latest)
    return 0


def by_us(rows: Rows, hub: Hub, system: System, found: Hint) -> bool:
    """Whether a hint tells of a write of ours, whose receipt says more than a reading would."""
    if found.cause:
        return rows.get("intent", key=found.cause) is not None
    if not found.shows:
        return False
    uid = state.find_alias(rows, system.name, found.object, found.native_id)
    if not uid:
        return False
    spec, sends = system.specs[found.object], last_sent(rows, hub, uid)
    shown = spec.fields.take(dict(found.shows)).values
    told = {name for name, _ in found.shows}
    whole = {f.name: f for f in spec.fields.fields if told >= {*f.app}}
    return told == {n for f in whole.values() for n in f.app} and all(
        name in sends and sends[name].value == shown.get(name) for name in whole
    )


def last_sent(rows: Rows, hub: Hub, uid: Uid) -> Mapping[str, Sent]:
    """What the last write to a record said."""
    for row in rows.select("intent", {"uid": uid}, order=("-seq",), limit=1):
        kept = rows.get("input", uid=uid, seq=row["seq"])
        body = state.open_input(rows, hub.vault, kept).body if kept else None
        if isinstance(body, Intent):
            return body.sends
    return {}


def names_a_record(system: System, hint: Hint) -> bool:
    """Whether there is something of ours to read again; news of an unknown kind names nothing."""
    return hint.object in system.specs and hint.kind != "other" and bool(hint.native_id)


def guarded(hub: Hub, system: System, work: Callable[[], int]) -> int:
    """Run a step of one system; its failure stays its own. Returns when to look again (ms)."""
    try:
        return work()
    except Unavailable as error:
        return note_failure(hub, system, "unavailable", str(error), max(error.after_ms, 1_000))
    except Denied as error:
        return note_failure(hub, system, "denied", str(error), 60_000)
    except ConnectorError as error:
        return note_failure(hub, system, "not understood", str(error), 30_000)


def note_failure(hub: Hub, system: System, kind: str, why: str, wait_ms: int) -> int:
    """Make a failure visible and say when to try again."""
    now = hub.env.now()

    def keep(rows: Rows) -> None:
        state.count(rows, system.name, f"steps failed: {kind}")
        before = rows.get("meta", name=f"failure:{system.name}")
        failure = {"why": f"{kind}: {why}", "since": now, "at": now, "until": now + wait_ms}
        if before and now <= (last := orjson.loads(before["value"]))["until"] + STILL_MS:
            failure["since"] = last["since"]
        value = orjson.dumps(failure).decode()
        rows.upsert("meta", {"name": f"failure:{system.name}", "value": value})

    hub.env.commit(keep, "failure")
    return now + wait_ms
