"""Step three: make each tool equal to golden, with the least writes.

Level-triggered: a dirty slot only says "look at this link". One pass over a batch of slots is

    look      compare, and find the links about which there is anything to do
    read      their records once more (a person may have been faster)
    settle    compare again; a record that moved is taken in, for the others commit an intent
    send      one batch
    receive   the tool's word on each row becomes a receipt

What came of a write is only known by its receipt; an unknown outcome is settled by reading, never
by sending again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import msgspec
import structlog

from connectors._kit.contract import (
    Answer,
    ConnectorError,
    Denied,
    Reading,
    Unavailable,
    Unreadable,
    Write,
)
from hub import capture, inputs, leases, slots, switches
from hub.env import Hub, System
from hub.inputs import Intake
from hub.io import state, traces
from hub.io.rows import Cond, Row, Rows, above, among, at_most
from hub.io.tables import is_name
from hub.links import Link, differences
from hub.pure import compare, creates
from hub.pure.fold import expand
from hub.pure.model import (
    Golden,
    Intent,
    Receipt,
    Record,
    Sent,
    Uid,
    Value,
    cells_of_field,
    field_of,
    key_of,
)

LOG = structlog.get_logger()
IDLE_MS = 500
AT_ONCE = 100
WAIT_MS = 200
GATHER_MS = 50  # receipts move no other link as a rule: a few of them are folded together
ADOPTED = "adopted"  # the cause of an input: the record took over what was written to another


@dataclass(frozen=True)
class Plan:
    """What is to be done about one link: `sends`, or only to agree on `agrees`."""

    record: Record
    golden: Golden
    sends: Mapping[str, Sent]
    write: Write | None = None
    key: str = ""
    run: str = ""
    trace: str = ""
    agrees: Mapping[str, Sent] = field(default_factory=dict)


Chore = Callable[[Rows], None]  # what is to be done about a link of which nothing is written


def step(hub: Hub, system: System) -> int:
    """One pass over what waits; returns when to look again (ms): at once where more may wait."""
    work = hub.env.view(lambda rows: waiting(rows, hub, system))
    if BROKEN_OFF in work:
        hub.env.commit(lambda rows: recover(rows, hub, system.name), "deliver:recover")
    more = False
    for spec in sorted(system.specs.values(), key=lambda s: (s.entity != "company", s.object)):
        for table, deed in DEEDS.items():
            if (table, spec.object) in work:
                more |= deed(Link(hub, system, spec))
    return hub.env.now() + (0 if more else IDLE_MS)


BROKEN_OFF = ("intent", "")


def waiting(rows: Rows, hub: Hub, system: System) -> set[tuple[str, str]]:
    """What waits in this system, if it may be written: (table, object), and `BROKEN_OFF`."""
    here = {"system": system.name}
    due = {**here, **free(hub.env.now())}
    found: set[tuple[str, str]] = set()
    for table in ("slot", "wanted"):
        some = rows.select(table, due, only=("object",), limit=AT_ONCE)
        names = {row["object"] for row in some} if len(some) < AT_ONCE else system.specs
        found |= {(table, name) for name in names}
    broken = {**here, "status": among(slots.OPEN)}
    for row in rows.select("intent", broken, only=("status", "object"), limit=AT_ONCE):
        unknown = row["status"] == "unknown"
        found |= {("intent", row["object"]) if unknown else BROKEN_OFF}
    return found if found and may_write(rows, system) else set()


def free(now: int) -> dict[str, Any]:
    """The condition of a dirty slot, or a wanted record, that may be worked off now."""
    return {"dirty": above(-1), "held": False, "not_before": at_most(now)}


def may_write(rows: Rows, system: System) -> bool:
    """Nothing is written before the first apply, nor while writes are stopped."""
    row = rows.get("system", name=system.name)
    return bool(row and row["writes"] and switches.flowing(rows))


# -- updates -----------------------------------------------------------------------------------


def update(link: Link) -> bool:
    """One batch of existing links; whether more may wait."""
    env = link.hub.env
    found = env.view(lambda rows: look(rows, link))
    if not found:
        return False
    readings = read_again(link, [f for f in found if isinstance(f, Plan)])
    ready = env.commit(lambda rows: settle(rows, link, readings), "deliver:settle")
    send(link, ready)
    return len(found) >= batch_of(link) or not isinstance(found[-1], Plan)


def batch_of(link: Link) -> int:
    """How many writes are planned at once."""
    return max(link.spec.write_batch, 10)


def look(rows: Rows, link: Link, *, hold: bool = False) -> list[Plan | Chore]:
    """What the due slots need: one batch of plans, and the chores among them.

    `hold`: something is going to be done about them.
    """
    found: list[Plan | Chore] = []
    waiting: list[Row] = []
    plans = 0
    due = held(rows, due_slots, link, "uid") if hold else due_slots(rows, link)
    for standing in all_standing(rows, due, batch_of(link)):
        if one := plan_one(rows, link, standing):
            found.append(one)
            plans += isinstance(one, Plan)
        else:
            waiting.append(standing.slot)
        if plans >= batch_of(link):
            return found
    crowded = waiting and len(due) == AT_ONCE
    return [*found, partial(step_aside, link=link, waiting=waiting)] if crowded else found


def step_aside(rows: Rows, link: Link, waiting: Sequence[Row]) -> None:
    """So many links wait that those behind them are never seen: they come first, for a while."""
    until = link.hub.env.now() + IDLE_MS
    rows.lock(row["uid"] for row in waiting)
    rows.update_many("slot", [{"uid": row["uid"], "not_before": until} for row in waiting])


def held(rows: Rows, due: Callable[..., list[Row]], link: Link, owner: str) -> list[Row]:
    """What is due, held by its records in the column `owner`: as it is then."""
    found = due(rows, link)
    uids = [row[owner] for row in found]
    return due(rows, link, **{owner: among(uids)}) if rows.lock(uids) else found


def due_slots(rows: Rows, link: Link, **among_these: Cond) -> list[Row]:
    """Dirty and free slots: consent before edits before repairs, then the oldest mark."""
    where = {**link.here, **free(link.hub.env.now()), **among_these}
    return rows.select("slot", where, order=("rank", "dirty", "uid"), limit=AT_ONCE)


@dataclass(frozen=True, slots=True)
class Standing:
    """A due slot, its record with its row, and the golden record that it belongs to."""

    slot: Row
    row: Row
    record: Record
    golden: Golden | None


def all_standing(rows: Rows, due: Sequence[Row], size: int) -> Iterator[Standing]:
    """These slots as they stand, so many read at once."""
    for start in range(0, len(due), size):
        some = due[start : start + size]
        where = {"uid": among(slot["uid"] for slot in some)}
        found = {row["uid"]: row for row in rows.select("record", where)}
        goldens = state.load_goldens(rows, {row["golden"] for row in found.values()})
        for slot in some:
            if row := found.get(slot["uid"]):
                yield Standing(slot, row, state.record_in(row), goldens[row["golden"]])


def plan_one(rows: Rows, link: Link, standing: Standing) -> Plan | Chore | None:
    """What this link needs, None where it needs nothing now."""
    row, record, golden = standing.row, standing.record, standing.golden
    if row["next_seq"] != row["folded"] + 1 or record.intent:
        return None  # something is on its way to the resolver: look again after it
    if record.state != "live":
        return partial(slots.clean, record=record)  # also a create that came to nothing
    if golden is None or not record.native_id:
        return None
    if (due := unsettled_until(record, link)) > link.hub.env.now():
        return partial(slots.postpone, record=record, until=due)
    if not golden.claimed:
        return partial(judge_unclaimed, link=link, record=record)
    found = differences(rows, link, row, record, golden)
    sends = compare.one_write(compare.to_write(found), link.tool)
    agrees = compare.to_agree(record, found, link.tool)
    if not (sends or agrees) and record.delivered == golden.members:
        return partial(slots.clean, record=record)
    return Plan(record, golden, sends, run=standing.slot["run"] or "", agrees=agrees)


def unsettled_until(record: Record, link: Link) -> int:
    """Until when a lagging tool may still show an older state than was read or written (ms)."""
    return record.changed_at + link.tool.settle_ms if link.tool.lags else 0


def judge_unclaimed(rows: Rows, link: Link, record: Record) -> None:
    """Nobody claims anything: an empty record is left alone; our copies are for a person, once."""
    ours = any(c.synced and c.observed not in (None, False) for c in record.cells.values())
    if ours and not record.departed:
        unsupported(rows, link, record)
    else:
        slots.clean(rows, record)


def unsupported(rows: Rows, link: Link, record: Record) -> None:
    """A record that holds only our copies of somebody who is someone else now."""
    slots.hold_link(rows, record, "unsupported", "only our copies are left", link.hub.env.now())
    rows.upsert(
        "parked",
        {
            "id": f"unsupported:{record.uid}",
            "kind": "unsupported",
            "state": "open",
            "at": link.hub.env.now(),
            "uid": record.uid,
            "system": record.system,
            "why": f"{record.object} {record.native_id} holds only values that the hub wrote: "
            "delete it there, unlink it, or adopt it",
            "doc": {},
        },
    )


def commit_intent(rows: Rows, link: Link, plan: Plan) -> Plan:
    """Say what is about to be sent before anything is sent."""
    key = f"{plan.record.uid}:{plan.golden.number}:{link.hub.env.now()}"
    intent = Intent(
        link.hub.env.now(),
        "update",
        plan.sends,
        plan.golden.members,
        plan.golden.uid,
        key,
        plan.run,
    )
    trace = note_intent(rows, link, plan.record, intent)
    write = Write(
        "update",
        plan.record.native_id,
        changes(link, plan.record, plan.sends),
        plan.record.uid,
        key,
        expected=plan.record.revision[1] if link.spec.conditional else None,
        before=held_before(link, plan.record, plan.sends),
        **association(rows, link, plan),
    )
    return replace(plan, write=write, key=key, trace=trace)


def note_intent(rows: Rows, link: Link, record: Record, intent: Intent) -> str:
    """The input, and its row: what is open in this system, for which run, and how far it got.

    Returns the trace of the change that is written.
    """
    run = intent.run or None
    seq, trace = inputs.append(rows, link.hub, record, intent, cause="deliver", run=run)
    rows.insert(
        "intent",
        {
            "uid": record.uid,
            "seq": seq,
            "system": link.system.name,
            "object": link.spec.object,
            "golden": intent.golden,
            "op": intent.op,
            "status": "sent",
            "at": intent.at,
            "key": intent.key,
            "run": run,
        },
    )
    return trace


def changes(link: Link, record: Record, sends: Mapping[str, Sent]) -> dict[str, Value]:
    """The tool's fields to send: of each field of ours only the parts that differ."""
    fields = link.spec.fields
    wanted: dict[str, Value] = {}
    for cell, sent in sends.items():
        name = field_of(cell)
        if name in link.tool.links:
            continue
        wanted[name] = whole_set(record, sends, name) if key_of(cell) else sent.value
    made: dict[str, Value] = {}
    for name, value in wanted.items():
        give = fields.give({name: value})
        held = record.cell(name)
        now = fields.give({name: held.observed}) if held.known and "[" not in name else {}
        differing = {k: v for k, v in give.items() if k not in now or now[k] != v}
        made |= differing or give
    return made


def held_before(link: Link, record: Record, sends: Mapping[str, Sent]) -> dict[str, Value]:
    """What the tool held of these fields, in its own terms, as far as it is known."""
    names = dict.fromkeys(field_of(c) for c in sends if field_of(c) not in link.tool.links)
    held: dict[str, Value] = {}
    for name in names:
        if link.spec.fields.by_name[name].kind == "set":
            held[name] = whole_set(record, {}, name)
        elif record.cell(name).known:
            held[name] = record.cell(name).observed
    return link.spec.fields.give(held)


def whole_set(record: Record, sends: Mapping[str, Sent], name: str) -> Value:
    """A set as the tool wants to hear it: all of its elements; consent by its state."""
    if name == "consent":
        return {key_of(c): s.value for c, s in sends.items() if field_of(c) == name}
    held = {key_of(c) for c in cells_of_field(record.cells, name) if record.cells[c].observed}
    put = {key_of(c) for c, s in sends.items() if field_of(c) == name and s.value}
    cut = {key_of(c) for c, s in sends.items() if field_of(c) == name and not s.value}
    return sorted((held | put) - cut)


def association(rows: Rows, link: Link, plan: Plan) -> dict[str, Any]:
    """The association to add or to remove, by the native id of the other end."""
    for cell, sent in plan.sends.items():
        row = rows.get("record", uid=key_of(cell)) if field_of(cell) in link.tool.links else None
        if row and row["native_id"]:
            return {"link" if sent.value else "unlink": (row["entity"], row["native_id"])}
    return {}


def read_again(link: Link, plans: Sequence[Plan]) -> dict[str, Reading | None]:
    """The records as they are now, by the native id asked for; None: it does not show that one."""
    natives = [p.record.native_id for p in plans if not blind(link, p)]
    found: dict[str, Reading | None] = dict.fromkeys(natives)
    for start in range(0, len(natives), link.spec.read_batch):
        some = natives[start : start + link.spec.read_batch]
        try:
            readings = read_some(link, some)
        except ConnectorError:
            link.hub.env.commit(lambda rows: call_off(rows, link, plans), "deliver:call off")
            raise
        for reading in readings:
            if not inputs.unfit(reading):  # else capture, which is asked to read it, sets it aside
                found |= dict.fromkeys((reading.native_id, *reading.aliases), reading)
    return found


def blind(link: Link, plan: Plan) -> bool:
    """Whether it needs no look: the tool itself refuses a write when the record has moved.

    And of a log the record shows all that was told until its end was reached.
    """
    return link.spec.log or bool(plan.sends and link.spec.conditional)


def read_some(link: Link, natives: Sequence[str]) -> Sequence[Reading]:
    """These records; where one of them cannot be read, the others one by one."""
    try:
        found: Sequence[Reading] = link.system.connector.read(link.system.api, link.spec, natives)
    except Unreadable:
        each = [[n] for n in natives] if len(natives) > 1 else []
        return [r for one in each for r in read_some(link, one)]
    return found


def call_off(rows: Rows, link: Link, plans: Sequence[Plan]) -> None:
    """The tool could not even be read."""
    rows.lock(plan.record.uid for plan in plans)
    for plan in plans:
        slots.postpone(rows, plan.record, link.hub.env.now() + 5_000)


def settle(rows: Rows, link: Link, readings: Mapping[str, Reading | None]) -> list[Plan]:
    """What the due slots need now, done or planned; returns what is to be sent.

    A link that was due only after its record had been read waits for the next pass.
    """
    ready: list[Plan] = []
    allowed = may_write(rows, link.system)
    for found in look(rows, link, hold=True):
        if not isinstance(found, Plan):
            found(rows)
        elif blind(link, found) or found.record.native_id in readings:
            plan = settle_one(rows, link, found, readings.get(found.record.native_id))
            if plan and allowed:
                ready.append(commit_intent(rows, link, plan))
    return ready


def settle_one(rows: Rows, link: Link, plan: Plan, reading: Reading | None) -> Plan | None:
    """The plan, if it is to be sent: not where it was agreed on, or the record had moved."""
    if reading is not None and moved(rows, link, plan, reading):
        intake = Intake(link.system, link.spec, "deliver")
        if inputs.take(rows, link.hub, intake, reading) != "new":
            slots.postpone(rows, plan.record, link.hub.env.now() + IDLE_MS)
    elif reading is not None and not plan.sends:
        agree(rows, link, plan, (reading.start_ms, reading.end_ms))
    elif link.spec.log:
        at = capture.read_until(rows, link.system, link.spec)
        next_ms = max(at + link.system.poll_ms, link.hub.env.now() + IDLE_MS)
        agree(rows, link, plan, (at, at), next_ms)
    elif reading is None and not blind(link, plan):
        inputs.again(rows, plan.record, link.hub.env.now(), link.hub.env.now())
        slots.postpone(rows, plan.record, link.hub.env.now() + 5_000)
    else:
        return plan
    return None


def moved(rows: Rows, link: Link, plan: Plan, reading: Reading) -> bool:
    """Whether the reading shows anything but what the plan started from."""
    intake = Intake(link.system, link.spec, "deliver")
    seen = inputs.observation(rows, link.hub, intake, reading)
    if seen.state != "live":
        return True
    record = plan.record
    return any(
        not record.cell(n).known or record.cell(n).observed != v
        for n, v in expand(record, seen, link.tool)
    )


Interval = tuple[int, int]  # when something was read: its beginning and its end (ms)


def agree(rows: Rows, link: Link, plan: Plan, read: Interval, next_ms: int = 0) -> None:
    """Tool and golden are equal: say so, from a reading that is late enough to know.

    `next_ms`: when a later one may be there, where it is not taken at once.
    """
    made = rows.get("golden", uid=plan.golden.uid)
    late = made["at"] + link.tool.lag_ms if made else 0
    if read[0] < late:
        slots.postpone(rows, plan.record, max(late, next_ms))
        return
    say_agreed(rows, link, plan.record, plan.golden.members, plan.agrees, read)
    slots.clean(rows, plan.record)


def say_agreed(
    rows: Rows,
    link: Link,
    record: Record,
    members: tuple[Uid, ...],
    sends: Mapping[str, Sent],
    read: Interval,
) -> None:
    """The receipt without a write."""
    values = {n: record.cell(n).observed for n in sends}
    receipt = Receipt("agrees", *read, values, sends, members)
    inputs.append(rows, link.hub, record, receipt, cause="agrees")


# -- sending and receiving ---------------------------------------------------------------------


def send(link: Link, ready: Sequence[Plan]) -> None:
    """Send in batches; every row gets a receipt, whatever happened to the request.

    Before each further batch is asked again whether the system may be written.
    """
    for start in range(0, len(ready), link.spec.write_batch):
        some = ready[start : start + link.spec.write_batch]
        leases.hold(link.hub.env)
        began = link.hub.env.now()
        writes = [p.write for p in some if p.write]
        allowed = not start or link.hub.env.view(lambda rows: may_write(rows, link.system))
        # A request has room for one trace: a batch is sent under that of its first row.
        with traces.following(some[0].trace, some[0].key):
            answers = ask_tool(link, writes) if allowed else called_off(writes)
        link.hub.env.commit(
            lambda rows: receive(rows, link, some, answers, began),  # noqa: B023
            "deliver:receipt",
        )
        tell_written(link, some, answers)
        gather = 0 if len(ready) >= batch_of(link) else GATHER_MS
        link.hub.env.wake("resolve", link.hub.env.now() + gather)
        link.hub.env.wake(f"capture:{link.system.name}", inputs.confirmed_at(link.tool, began))


def tell_written(link: Link, plans: Sequence[Plan], answers: Sequence[Answer]) -> None:
    """What became of each write, for metrics and for who follows a change through the log."""
    for plan, answer in zip(plans, answers, strict=True):
        link.hub.process.count("writes", link.system.name, WORDS[answer.outcome])
        LOG.debug("written", **link.here, outcome=answer.outcome, trace=plan.trace)


def ask_tool(link: Link, writes: Sequence[Write]) -> tuple[Answer, ...]:
    """The tool's answers; a request that broke tells for each row how much is known."""
    try:
        api = leases.fenced(link.system.api, link.hub.env)
        answers = link.system.connector.write(api, link.spec, writes)
    except Unavailable as error:
        outcome: Literal["unknown", "retry"] = "unknown" if error.sent else "retry"
        return tuple(Answer(outcome, why=str(error), after_ms=error.after_ms) for _ in writes)
    except Denied as error:
        return tuple(Answer("stop", why=str(error)) for _ in writes)
    except ConnectorError as error:
        return tuple(Answer("unknown", why=str(error)) for _ in writes)
    return tuple(a if is_name(a.native_id) else UNNAMED for a in answers)


UNNAMED = Answer("unknown", why="the tool calls the record by a name that no store can hold")


def called_off(writes: Sequence[Write]) -> tuple[Answer, ...]:
    """Of what nobody has sent, because writes were stopped meanwhile."""
    return tuple(Answer("retry", why="writes are stopped") for _ in writes)


def receive(
    rows: Rows, link: Link, plans: Sequence[Plan], answers: Sequence[Answer], began: int
) -> None:
    """Each answer becomes a receipt of its record."""
    rows.lock({uid for plan in plans for uid in (plan.record.uid, plan.golden.uid)})
    for plan, answer in zip(plans, answers, strict=True):
        receipt = receipt_for(link, plan, answer, began)
        if plan.write and plan.write.op == "create":
            receive_create(rows, link, plan, answer, receipt)
        elif winner := landed_in(rows, link, plan, answer):
            adopt(rows, link, plan, winner, receipt)
        else:
            inputs.append(rows, link.hub, plan.record, receipt, cause="deliver")
        follow_up(rows, link, plan, answer)


Outcome = Literal["applied", "rejected", "not_sent", "unknown", "agrees"]
WORDS: Mapping[str, Outcome] = {
    "done": "applied",
    "retry": "not_sent",
    "stale": "not_sent",
    "stop": "not_sent",
    "rejected": "rejected",
    "unknown": "unknown",
}


def receipt_for(link: Link, plan: Plan, answer: Answer, began: int) -> Receipt:
    """The tool's word in ours."""
    end = link.hub.env.now()
    seen = answer.reading
    values: dict[str, Value] = {}
    if answer.outcome == "done" and seen is not None:
        values = answered_values(link, plan, seen)
    by_app = {a: f.name for f in link.spec.fields.fields for a in f.app}
    revision = (link.system.epoch, seen.revision or 0) if seen else (0, 0)
    return Receipt(
        WORDS[answer.outcome],
        began,
        seen.end_ms if seen else end,
        values,
        members=plan.golden.members,
        revision=revision,
        native_id=answer.native_id,
        fields=tuple(sorted({by_app.get(f, f) for f in answer.fields})),
        why=answer.why,
    )


def answered_values(link: Link, plan: Plan, seen: Reading) -> dict[str, Value]:
    """What the tool holds in the sent cells, by its own answer."""
    taken: Mapping[str, Any] = link.spec.fields.take(seen.app).values
    found: dict[str, Value] = {}
    for cell in plan.sends:
        name, key = field_of(cell), key_of(cell)
        if name not in taken:
            continue
        if name == "consent":
            found[cell] = (taken[name] or {}).get(key)
        elif key:
            found[cell] = True if key in (taken[name] or ()) else None
        else:
            found[cell] = taken[name]
    return found


def follow_up(rows: Rows, link: Link, plan: Plan, answer: Answer) -> None:
    """What an answer asks for beside its receipt."""
    now = link.hub.env.now()
    rows.update(
        "intent",
        {"uid": plan.record.uid, "key": plan.key},
        {
            "status": "unknown" if answer.outcome == "unknown" else "settled",
            "unknown_at": now if answer.outcome == "unknown" else None,
        },
    )
    if answer.outcome == "done" and plan.record.native_id:
        inputs.again(rows, plan.record, now, inputs.confirmed_at(link.tool, now))
    elif answer.outcome in ("retry", "stop"):
        slots.retry(rows, *place(link, plan), now, answer.after_ms)
    elif answer.outcome == "stale":
        inputs.again(rows, plan.record, now, now)
    elif answer.outcome == "rejected":
        show_rejected(rows, link, plan, answer)
    if answer.outcome in ("unknown", "rejected", "stop"):
        state.count(rows, link.system.name, f"writes {answer.outcome}")


def place(link: Link, plan: Plan) -> tuple[str, dict[str, Any]]:
    """Table and key of what a plan works off: a wanted create, or a record's slot."""
    if plan.write and plan.write.op == "create":
        return "wanted", {"golden": plan.golden.uid, **link.here}
    return "slot", {"uid": plan.record.uid}


def show_rejected(rows: Rows, link: Link, plan: Plan, answer: Answer) -> None:
    """A refusal is visible until golden changes or somebody replays it."""
    rows.upsert(
        "parked",
        {
            "id": f"rejected:{plan.record.uid}",
            "kind": "rejected",
            "state": "open",
            "at": link.hub.env.now(),
            "uid": plan.record.uid,
            "system": link.system.name,
            "why": answer.why or "the tool refused these values",
            "doc": {"fields": list(answer.fields), "golden": plan.golden.uid},
        },
    )


# -- creates -----------------------------------------------------------------------------------


def create(link: Link) -> bool:
    """One batch of wanted records; whether more may wait."""
    plans = link.hub.env.commit(lambda rows: plan_creates(rows, link), "deliver:create")
    send(link, plans)
    return len(plans) >= batch_of(link)


def due_creates(rows: Rows, link: Link, **among_these: Cond) -> list[Row]:
    """Wanted records that nothing holds, the oldest change first."""
    where = {**link.here, **free(link.hub.env.now()), **among_these}
    return rows.select("wanted", where, order=("dirty", "golden"), limit=AT_ONCE)


def plan_creates(rows: Rows, link: Link) -> list[Plan]:
    """Due wanted records, each with its intent, which mints the new record's uid."""
    plans: list[Plan] = []
    due = held(rows, due_creates, link, "golden")
    inputs.reserve(rows, link.system.name, link.spec.object)
    passed = captured_up_to(rows, link)
    waits = unresolved(rows, link) or not may_write(rows, link.system)
    for row in due:
        where = {"golden": row["golden"], **link.here}
        golden = state.load_goldens(rows, [row["golden"]])[row["golden"]]
        if golden is None or waits or not may_create(rows, link, golden, row, passed):
            rows.update("wanted", where, {"not_before": link.hub.env.now() + WAIT_MS})
            continue
        plans.append(commit_create(rows, link, golden, row["run"] or ""))
        rows.update("wanted", where, {"dirty": None})
        if len(plans) >= batch_of(link):
            break
    return plans


def unresolved(rows: Rows, link: Link) -> bool:
    """Whether something waits to be resolved that may show the same customer in this object.

    That is a reading of it, or, anywhere, what made a record take over a create.
    """
    pending = {"status": "pending", "kind": "observation"}
    waiting = rows.select("input", pending, limit=AT_ONCE)
    uids = among({row["uid"] for row in waiting})
    here = {**link.here, "state": "live", "uid": uids}
    if len(waiting) == AT_ONCE or (waiting and rows.count("record", here)):
        return True
    return bool(rows.select("input", {"status": "pending", "cause": ADOPTED}, limit=1))


def captured_up_to(rows: Rows, link: Link) -> int:
    """When the last full pass over this object's changes began."""
    row = rows.get("cursor", system=link.system.name, stream="changes", shard=link.spec.object)
    return int(row["at"]) if row else 0


def may_create(rows: Rows, link: Link, golden: Golden, wanted: Row, passed: int) -> bool:
    """Wait until this system could have shown us the same customer, unless it would refuse two."""
    members = state.members_of(rows, golden)
    if creates.refusal(golden, members, link.tool) or on_the_way(rows, link, golden):
        return False
    guarded = any(golden.cell(n).value is not None for n in link.tool.unique)
    late = max(link.tool.lag_ms, link.spec.changes_lag_ms)
    if guarded or passed >= wanted["dirty"] + late:
        return True
    link.hub.env.wake(f"capture:{link.system.name}")
    return False


def on_the_way(rows: Rows, link: Link, golden: Golden) -> bool:
    """Whether inputs wait for the resolver: of its records, or of one that was created for it here.

    What came of a create is known to its golden record, or to the one that this was merged into,
    when it is folded: the row of its intent is settled before.
    """
    here = {"golden": among(golden.members), **link.here, "op": "create"}
    made = {row["uid"] for row in rows.select("intent", here, only=("uid",))}
    where = {"uid": among(made.union(golden.members))}
    found = rows.select("record", where, only=("next_seq", "folded"))
    return any(row["next_seq"] != row["folded"] + 1 for row in found)


def commit_create(rows: Rows, link: Link, golden: Golden, run: str) -> Plan:
    """The intent of a create is its record's first input; its uid is the external id."""
    hub = link.hub
    record = newcomer(rows, link, golden)
    sends = creates.first_values(golden, link.tool)
    key = f"{record.uid}:create:{record.folded + 1}"
    members = tuple(sorted({*golden.members, record.uid}))
    trace = note_intent(
        rows, link, record, Intent(hub.env.now(), "create", sends, members, golden.uid, key, run)
    )
    same = f"{record.uid}:{creates.offer(sends)}"  # a retry of the same is the same request
    write = Write("create", "", changes(link, record, sends), record.uid, same)
    return Plan(record, golden, sends, write, key=key, trace=trace)


def newcomer(rows: Rows, link: Link, golden: Golden) -> Record:
    """The record to create: that of a create that the tool certainly never made, or a new one.

    Its uid, which the tool keeps as external id, stays the same through every retry, and is never
    used for a second create.
    """
    for member in state.members_of(rows, golden):
        here = {"system": member.system, "object": member.object} == link.here
        if here and member.state == "failed" and not member.native_id:
            return member
    system, obj = link.system.name, link.spec.object
    record = Record(link.hub.env.uid(), golden.entity, system, obj, state="creating")
    state.birth(rows, record)
    return record


def receive_create(rows: Rows, link: Link, plan: Plan, answer: Answer, receipt: Receipt) -> None:
    """The new record's id; if capture has seen the record first, its uid wins."""
    if answer.outcome == "rejected":
        refused = {"why": answer.why or "refused", "offered": creates.offer(plan.sends)}
        slots.hold(rows, *place(link, plan), "rejected", refused)
    if answer.outcome != "done" or not answer.native_id:
        inputs.append(rows, link.hub, plan.record, receipt, cause="deliver")
        return
    rows.delete("wanted", place(link, plan)[1])
    known = state.find_alias(rows, link.system.name, link.spec.object, answer.native_id)
    if known in (None, plan.record.uid):
        if known is None:
            state.add_alias(
                rows, link.system.name, link.spec.object, answer.native_id, plan.record.uid
            )
        inputs.append(rows, link.hub, plan.record, receipt, cause="deliver")
        rows.update("record", {"uid": plan.record.uid}, {"native_id": answer.native_id})
        inputs.hint(
            rows,
            link.system.name,
            link.spec.object,
            answer.native_id,
            inputs.note_of(plan.record.uid),
            link.hub.env.now(),
            kind="again",
            not_before=inputs.confirmed_at(link.tool, link.hub.env.now()),
        )
    else:
        adopt(rows, link, plan, str(known), receipt, adopts=plan.golden.uid)


def adopt(
    rows: Rows, link: Link, plan: Plan, winner: Uid, receipt: Receipt, *, adopts: Uid = ""
) -> None:
    """What was written is another record, or became one: that one takes the receipt.

    `adopts`: the golden record that it was created for, and takes the link to.
    """
    record = state.load_record(rows, winner)
    if record is None:
        return
    rows.lock([winner])
    taken = msgspec.structs.replace(receipt, sends=plan.sends, adopts=adopts)
    inputs.append(rows, link.hub, record, taken, cause=ADOPTED)
    now = link.hub.env.now()
    nothing = Receipt("not_sent", now, now, why=f"known already as {winner}")
    inputs.append(rows, link.hub, plan.record, nothing, cause="deliver")
    rows.update("intent", {"uid": plan.record.uid, "key": plan.key}, {"status": "settled"})


def landed_in(rows: Rows, link: Link, plan: Plan, answer: Answer) -> Uid | None:
    """The record into which the written one was merged meanwhile, where the tool says so."""
    if answer.outcome != "done" or answer.native_id in ("", plan.record.native_id):
        return None
    known = state.find_alias(rows, link.system.name, link.spec.object, answer.native_id)
    return known if known != plan.record.uid else None


# -- unknown outcomes --------------------------------------------------------------------------


def settle_creates(link: Link) -> bool:
    """Look for the records that creates of unknown outcome may have made; whether one is settled.

    A tool that cannot even look is asked for them again a little later, so that other writes go on.
    """
    env = link.hub.env
    found = env.view(lambda rows: lost_creates(rows, link))
    try:
        settled = [settle_create(link, row) for row in found]
    except ConnectorError:
        env.commit(lambda rows: look_later(rows, found, env.now() + 5_000), "deliver:call off")
        raise
    return any(settled)


def lost_creates(rows: Rows, link: Link) -> list[Row]:
    """Creates of unknown outcome that the tool has had the time to show."""
    due = link.hub.env.now() - max(link.tool.settle_ms, link.tool.lag_ms, 500)
    lost = {**link.here, "op": "create", "status": "unknown", "unknown_at": at_most(due)}
    return rows.select("intent", lost, order=("unknown_at",), limit=AT_ONCE)


def settle_create(link: Link, row: Row) -> bool:
    """One of them: adopted when it is surely ours, given up when it is not there."""
    env = link.hub.env
    record = env.view(lambda rows: state.load_record(rows, row["uid"]))
    if record is None or record.intent is None or record.intent.unknown_at is None:
        env.commit(lambda rows: look_later(rows, [row], env.now()), "deliver:call off")
        return False  # what is known of it waits for the resolver, or for a person
    write = Write("create", "", changes(link, record, record.intent.sends), record.uid, row["key"])
    try:
        readings = link.system.connector.find(link.system.api, link.spec, write)
    except Unreadable as error:
        env.commit(partial(cannot_look, link=link, row=row, error=error), "deliver:call off")
        return False
    began = env.now()
    env.commit(lambda rows: take_found(rows, link, record, row, readings), "deliver:found")
    env.wake("resolve")
    env.wake(f"capture:{link.system.name}", inputs.confirmed_at(link.tool, began))
    return True


def look_later(rows: Rows, found: Sequence[Row], at: int) -> None:
    """Count the time until these creates are looked for from then on (ms)."""
    rows.lock(row["uid"] for row in found)
    for row in found:
        where = {"uid": row["uid"], "key": row["key"], "status": "unknown"}
        rows.update("intent", where, {"unknown_at": at})


def cannot_look(rows: Rows, link: Link, row: Row, error: Unreadable) -> None:
    """What the tool showed was not understood: a person sees it, and it is asked ever more rarely.

    Each time it has to wait as long again as the create is old, and five minutes at most.
    """
    now = link.hub.env.now()
    look_later(rows, [row], now + min(now - row["at"], slots.PAUSE_MOST_MS))
    intake = Intake(link.system, link.spec, "deliver")
    capture.park_once(rows, link.hub, intake, row["key"], str(error), error.raw)


def take_found(
    rows: Rows, link: Link, record: Record, row: Row, readings: Sequence[Reading]
) -> None:
    """Exactly one candidate is adopted; several are for a steward; none: it was not applied."""
    rows.lock([record.uid, row["golden"]])
    slots.close(rows, slots.answer_item(link.system.name, link.spec.object, row["key"]))
    sure = [r for r in readings if r.external_id == record.uid]
    likely = sure or [
        r for r in readings if not link.spec.external_ids and adoptable(rows, link, record, row, r)
    ]
    now = link.hub.env.now()
    if len(likely) > 1 and not sure:
        ask_which(rows, link, record, row, likely)
    if not likely or (len(likely) > 1 and not sure):
        why = "read back: nothing there is surely ours"
        inputs.append(rows, link.hub, record, Receipt("not_sent", now, now, why=why))
        rows.update("intent", {"uid": row["uid"], "key": row["key"]}, {"status": "settled"})
        return
    finish_found(rows, link, record, row, likely[0])


def ask_which(rows: Rows, link: Link, record: Record, row: Row, likely: Sequence[Reading]) -> None:
    """Several records may be the one that was created: they are taken in as they are.

    Nothing more is created for this customer until somebody says that none of them is it.
    """
    where = {"golden": row["golden"], **link.here}
    slots.hold(rows, "wanted", where, "asked", "a create of which nobody knows what it made")
    rows.upsert(
        "parked",
        {
            "id": f"lost create:{record.uid}",
            "kind": "lost create",
            "state": "open",
            "at": link.hub.env.now(),
            "uid": record.uid,
            "system": link.system.name,
            "why": f"{', '.join(r.native_id for r in likely)}: each may be the record that the hub "
            "created; judge the duplicates, or dismiss this to create it again",
            "doc": {"wanted": where},
        },
    )


def adoptable(rows: Rows, link: Link, record: Record, row: Row, reading: Reading) -> bool:
    """Only a record first seen after the send, without create link, equal to all that was sent."""
    known = state.find_alias(rows, link.system.name, link.spec.object, reading.native_id)
    seen = state.load_record(rows, known) if known else None
    first = rows.get("input", uid=known, seq=1) if known else None
    if seen and (seen.anchor or (first and first["at"] < row["at"])):
        return False
    values = link.spec.fields.take(reading.app).values
    return reading.state == "live" and inputs.equals_sent(record, values, link.tool)


def finish_found(rows: Rows, link: Link, record: Record, row: Row, reading: Reading) -> None:
    """The create was applied after all. What differs from it by now was typed over it."""
    sends = record.intent.sends if record.intent else {}
    golden = state.golden_of(rows, row["golden"])
    if golden is None:
        return
    plan = Plan(
        record, golden, sends, Write("create", "", {}, record.uid, row["key"]), key=row["key"]
    )
    answer = Answer("done", native_id=reading.native_id, reading=reading)
    members = record.intent.members if record.intent else ()
    shown = answered_values(link, plan, reading)
    receipt = Receipt(
        "applied",
        reading.start_ms,
        reading.end_ms,
        {cell: value for cell, value in shown.items() if value == sends[cell].value},
        members=members,
        native_id=reading.native_id,
        revision=(link.system.epoch, reading.revision or 0),
    )
    receive_create(rows, link, plan, answer, receipt)
    follow_up(rows, link, plan, answer)


DEEDS: Mapping[str, Callable[[Link], bool]] = {
    "intent": settle_creates,
    "wanted": create,
    "slot": update,
}


# -- start -------------------------------------------------------------------------------------


def without_receipt(rows: Rows, system: str = "") -> list[Row]:
    """Writes that were said and never came to an end: nobody is about to receive for them."""
    where: dict[str, Any] = {"system": system} if system else {}
    return rows.select("intent", {"status": among(["planned", "sent"]), **where})


def recover(rows: Rows, hub: Hub, system: str = "") -> int:
    """At start, and before a system's next pass: a write without a receipt is *unknown*.

    Only one loop delivers to a system, so whatever is open when it begins was broken off.
    """
    found, now = without_receipt(rows, system), hub.env.now()
    rows.lock(row["uid"] for row in found)
    for row in found:
        record = state.load_record(rows, row["uid"])
        if record is None:
            continue
        receipt = Receipt("unknown", now, now, why="the hub was stopped")
        inputs.append(rows, hub, record, receipt, cause="start")
        rows.update(
            "intent",
            {"uid": row["uid"], "seq": row["seq"]},
            {"status": "unknown", "unknown_at": now},
        )
    return len(found)
