"""Step three: make each tool equal to golden, with the least writes.

Level-triggered: a dirty slot only says "look at this link". One pass over a batch of slots is

    plan      compare; commit an intent for what is to be written
    read      the records once more (a person may have been faster)
    recheck   if a record moved, or golden would now be sent differently, call the write off
    send      one batch
    receive   the tool's word on each row becomes a receipt

What came of a write is only known by its receipt; an unknown outcome is settled by reading, never
by sending again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from connectors._kit.contract import (
    Answer,
    ConnectorError,
    Denied,
    ObjectSpec,
    Reading,
    Unavailable,
    Write,
)
from hub import inputs, slots
from hub.env import Hub, System
from hub.inputs import Intake
from hub.io import state
from hub.io.rows import Row, Rows, above, at_most
from hub.pure import compare, creates
from hub.pure.compare import Difference, Links
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

IDLE_MS = 1_000
BUSY_MS = 50
AT_ONCE = 100


@dataclass(frozen=True)
class Plan:
    """What is to be done about one link; `sends` empty means only to agree."""

    record: Record
    golden: Golden
    sends: Mapping[str, Sent]
    write: Write | None = None
    version_at: int = 0
    key: str = ""


@dataclass(frozen=True)
class Link:
    """One object of one system: what every function here is about."""

    hub: Hub
    system: System
    spec: ObjectSpec

    @property
    def tool(self) -> Any:
        """The core's view of it."""
        return self.hub.tool(self.system.name, self.spec.object)


def step(hub: Hub, system: System) -> int:
    """One pass over each object; returns when to look again (ms)."""
    if not hub.env.view(lambda rows: may_write(rows, system)):
        return hub.env.now() + IDLE_MS
    busy = False
    for spec in sorted(system.specs.values(), key=lambda s: (s.entity != "company", s.object)):
        link = Link(hub, system, spec)
        busy |= settle_creates(link)
        busy |= create(link)
        busy |= update(link)
    return hub.env.now() + (0 if busy else BUSY_MS * 10)


def may_write(rows: Rows, system: System) -> bool:
    """Nothing is written before the first apply, nor while writes are stopped."""
    row = rows.get("system", name=system.name)
    applied = rows.get("meta", name="applied")
    stopped = rows.get("meta", name="writes stopped")
    return bool(row and row["writes"] and applied and not (stopped and stopped["value"]))


# -- updates -----------------------------------------------------------------------------------


def update(link: Link) -> bool:
    """One batch of existing links; whether anything was done."""
    env = link.hub.env
    plans = env.commit(lambda rows: plan_updates(rows, link), "deliver:plan")
    if not plans:
        return False
    readings = read_again(link, plans)
    ready = env.commit(lambda rows: recheck(rows, link, plans, readings), "deliver:recheck")
    send(link, ready)
    return True


def plan_updates(rows: Rows, link: Link) -> list[Plan]:
    """The due slots, each with its plan; a link with nothing to do is clean at once."""
    plans: list[Plan] = []
    for row in due_slots(rows, link):
        plan = plan_one(rows, link, row)
        if plan is not None:
            plans.append(commit_intent(rows, link, plan))
        if len(plans) >= max(link.spec.write_batch, 10):
            break
    return plans


def due_slots(rows: Rows, link: Link) -> list[Row]:
    """Dirty and free slots: consent before edits before repairs, then the oldest mark."""
    found = rows.select(
        "slot",
        {
            "system": link.system.name,
            "object": link.spec.object,
            "dirty": above(-1),
            "not_before": at_most(link.hub.env.now()),
        },
        order=("rank", "dirty", "uid"),
        limit=AT_ONCE * 5,
    )
    return [row for row in found if not row["holds"]][:AT_ONCE]


def plan_one(rows: Rows, link: Link, slot: Row) -> Plan | None:
    """What this link needs, None where it needs nothing now."""
    row, record = rows.get("record", uid=slot["uid"]), state.load_record(rows, slot["uid"])
    golden = state.golden_of(rows, slot["uid"])
    if row is None or record is None or golden is None or not record.native_id:
        return None
    if row["next_seq"] != row["folded"] + 1 or record.intent:
        return None  # something is on its way to the resolver: look again after it
    if record.state != "live":
        slots.clean(rows, record)
        return None
    if not any(c.winner for c in golden.cells.values()):
        judge_unclaimed(rows, link, record)
        return None
    found = differences(rows, link, record, golden, leads=row["role"] == "primary")
    sends = compare.to_write(found)
    if not sends and not to_agree(record, golden, found):
        slots.clean(rows, record)
        return None
    at = rows.get("golden", uid=golden.uid)
    return Plan(record, golden, sends, version_at=at["at"] if at else 0)


def to_agree(record: Record, golden: Golden, found: Iterable[Difference]) -> bool:
    """Whether there is anything to agree on: values, or that the members are others now."""
    return bool(compare.to_agree(record, found)) or record.delivered != golden.members


def differences(
    rows: Rows, link: Link, record: Record, golden: Golden, *, leads: bool
) -> list[Difference]:
    """The comparison, with the ends of associations looked up."""
    return compare.compare(
        record, golden, link.tool, ends(rows, link, record, golden), primary=leads
    )


def ends(rows: Rows, link: Link, record: Record, golden: Golden) -> Links:
    """Golden ids of the associated records, and their records in this system."""
    names = list(link.tool.links)
    held = {key_of(c) for n in names for c in cells_of_field(record.cells, n)}
    wanted = {key_of(c) for n in names for c in cells_of_field(golden.cells, n)}
    golden_ids = state.golden_ids(rows, held | wanted)
    here: dict[Uid, Uid] = {}
    for end in sorted({*golden_ids.values(), *wanted}):
        for row in rows.select(
            "record",
            {"golden": end, "system": link.system.name, "state": "live"},
            order=("role", "uid"),
        ):
            if row["native_id"]:
                here.setdefault(end, row["uid"])
    return Links(golden_ids, here)


def judge_unclaimed(rows: Rows, link: Link, record: Record) -> None:
    """Nobody claims anything: an empty record is left alone; our copies are for a person."""
    if any(c.synced and c.observed not in (None, False) for c in record.cells.values()):
        unsupported(rows, link, record)
    else:
        slots.clean(rows, record)


def unsupported(rows: Rows, link: Link, record: Record) -> None:
    """A record that holds only our copies of somebody who is someone else now."""
    slots.hold(rows, record, "unsupported", "only our copies are left", link.hub.env.now())
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
    if not plan.sends:
        return plan
    key = f"{plan.record.uid}:{plan.golden.number}:{link.hub.env.now()}"
    intent = Intent(
        link.hub.env.now(), "update", plan.sends, plan.golden.members, plan.golden.uid, key
    )
    seq = inputs.append(rows, link.hub, plan.record, intent, cause="deliver")
    note_intent(rows, link, plan.record.uid, seq, plan.golden.uid, "update", key)
    write = Write(
        "update",
        plan.record.native_id,
        changes(link, plan.record, plan.sends),
        plan.record.uid,
        key,
        expected=plan.record.revision[1] if link.spec.conditional else None,
        **associations(rows, link, plan),
    )
    return Plan(plan.record, plan.golden, plan.sends, write, plan.version_at, key)


def note_intent(  # noqa: PLR0917
    rows: Rows, link: Link, uid: Uid, seq: int, golden: Uid, op: str, key: str
) -> None:
    """The intent's row: what is open in this system, and how far it got."""
    rows.insert(
        "intent",
        {
            "uid": uid,
            "seq": seq,
            "system": link.system.name,
            "object": link.spec.object,
            "golden": golden,
            "op": op,
            "status": "planned",
            "at": link.hub.env.now(),
            "key": key,
        },
    )


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


def whole_set(record: Record, sends: Mapping[str, Sent], name: str) -> Value:
    """A set as the tool wants to hear it: all of its elements; consent by its state."""
    if name == "consent":
        return {key_of(c): s.value for c, s in sends.items() if field_of(c) == name}
    held = {key_of(c) for c in cells_of_field(record.cells, name) if record.cells[c].observed}
    put = {key_of(c) for c, s in sends.items() if field_of(c) == name and s.value}
    cut = {key_of(c) for c, s in sends.items() if field_of(c) == name and not s.value}
    return sorted((held | put) - cut)


def associations(rows: Rows, link: Link, plan: Plan) -> dict[str, Any]:
    """Associations to add and to remove, by the native id of the other end."""
    added: list[Any] = []
    removed: list[Any] = []
    for cell, sent in plan.sends.items():
        if field_of(cell) in link.tool.links:
            row = rows.get("record", uid=key_of(cell))
            if row and row["native_id"]:
                (added if sent.value else removed).append((row["entity"], row["native_id"]))
    return {"link": tuple(added), "unlink": tuple(removed)}


def read_again(link: Link, plans: Sequence[Plan]) -> dict[str, Reading]:
    """The records as they are now, by the native id asked for; {} where the tool cannot say."""
    natives = [p.record.native_id for p in plans if not (p.sends and link.spec.conditional)]
    found: dict[str, Reading] = {}
    for start in range(0, len(natives), link.spec.read_batch):
        some = natives[start : start + link.spec.read_batch]
        try:
            readings = link.system.connector.read(link.system.api, link.spec, some)
        except ConnectorError:
            link.hub.env.commit(lambda rows: call_off(rows, link, plans), "deliver:call off")
            raise
        for reading in readings:
            for native in (reading.native_id, *reading.aliases):
                found[native] = reading
    return found


def call_off(rows: Rows, link: Link, plans: Iterable[Plan]) -> None:
    """Nothing of this batch was sent; the tool could not even be read."""
    for plan in plans:
        if plan.sends:
            retract(rows, link, plan, "the tool could not be read")
        slots.postpone(rows, plan.record, link.hub.env.now() + 5_000)


def retract(rows: Rows, link: Link, plan: Plan, why: str) -> None:
    """The intent is settled as not sent."""
    now = link.hub.env.now()
    inputs.append(
        rows, link.hub, plan.record, Receipt("not_sent", now, now, why=why), cause="deliver"
    )
    rows.update("intent", {"key": plan.key}, {"status": "settled"})


def recheck(
    rows: Rows, link: Link, plans: Sequence[Plan], readings: Mapping[str, Reading]
) -> list[Plan]:
    """The plans that still stand, marked as sent; the others are called off or agreed."""
    ready: list[Plan] = []
    for plan in plans:
        reading = readings.get(plan.record.native_id)
        if reading is not None and moved(rows, link, plan, reading):
            if plan.sends:
                retract(rows, link, plan, "the record had moved")
            inputs.take(rows, link.hub, Intake(link.system, link.spec, "deliver"), reading)
        elif not plan.sends:
            agree(rows, link, plan, reading)
        elif still_right(rows, link, plan):
            rows.update("intent", {"key": plan.key}, {"status": "sent"})
            ready.append(plan)
        else:
            retract(rows, link, plan, "golden had moved")
    return ready


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


def still_right(rows: Rows, link: Link, plan: Plan) -> bool:
    """Whether golden, computed now, would send the same."""
    if not may_write(rows, link.system):
        return False
    row = rows.get("record", uid=plan.record.uid)
    golden = state.golden_of(rows, plan.record.uid)
    if row is None or golden is None:
        return False
    found = differences(rows, link, plan.record, golden, leads=row["role"] == "primary")
    now = compare.to_write(found)
    return {c: s.value for c, s in now.items()} == {c: s.value for c, s in plan.sends.items()}


def agree(rows: Rows, link: Link, plan: Plan, reading: Reading | None) -> None:
    """Tool and golden are equal: say so, from a reading that is late enough to know."""
    if reading is None:
        return
    due = plan.version_at + link.tool.lag_ms
    if reading.start_ms < due:
        slots.postpone(rows, plan.record, due)
        return
    row = rows.get("record", uid=plan.record.uid)
    golden = state.golden_of(rows, plan.record.uid)
    if row is None or golden is None or row["next_seq"] != row["folded"] + 1:
        return
    found = differences(rows, link, plan.record, golden, leads=row["role"] == "primary")
    if compare.to_write(found):
        return
    sends = compare.to_agree(plan.record, found)
    say_agreed(rows, link, plan.record, golden.members, sends, reading)
    slots.clean(rows, plan.record)


def say_agreed(
    rows: Rows,
    link: Link,
    record: Record,
    members: tuple[Uid, ...],
    sends: Mapping[str, Sent],
    reading: Reading,
) -> None:
    """The receipt without a write."""
    values = {n: record.cell(n).observed for n in sends}
    receipt = Receipt("agrees", reading.start_ms, reading.end_ms, values, sends, members)
    inputs.append(rows, link.hub, record, receipt, cause="agrees")


# -- sending and receiving ---------------------------------------------------------------------


def send(link: Link, ready: Sequence[Plan]) -> None:
    """Send in batches; every row gets a receipt, whatever happened to the request."""
    for start in range(0, len(ready), link.spec.write_batch):
        some = ready[start : start + link.spec.write_batch]
        began = link.hub.env.now()
        answers = ask_tool(link, [p.write for p in some if p.write])
        link.hub.env.commit(
            lambda rows: receive(rows, link, some, answers, began),  # noqa: B023
            "deliver:receipt",
        )
        link.hub.env.wake("resolve")


def ask_tool(link: Link, writes: Sequence[Write]) -> tuple[Answer, ...]:
    """The tool's answers; a request that broke tells for each row how much is known."""
    try:
        return link.system.connector.write(link.system.api, link.spec, writes)
    except Unavailable as error:
        outcome: Literal["unknown", "retry"] = "unknown" if error.sent else "retry"
        return tuple(Answer(outcome, why=str(error), after_ms=error.after_ms) for _ in writes)
    except Denied as error:
        return tuple(Answer("stop", why=str(error)) for _ in writes)
    except ConnectorError as error:
        return tuple(Answer("unknown", why=str(error)) for _ in writes)


def receive(
    rows: Rows, link: Link, plans: Sequence[Plan], answers: Sequence[Answer], began: int
) -> None:
    """Each answer becomes a receipt of its record."""
    for plan, answer in zip(plans, answers, strict=True):
        receipt = receipt_for(link, plan, answer, began)
        if plan.write and plan.write.op == "create":
            receive_create(rows, link, plan, answer, receipt)
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
        {"key": plan.key},
        {
            "status": "unknown" if answer.outcome == "unknown" else "settled",
            "unknown_at": now if answer.outcome == "unknown" else None,
        },
    )
    if answer.outcome == "done" and plan.record.native_id:
        inputs.again(rows, plan.record, now, now + link.tool.settle_ms)
        link.hub.env.wake(f"capture:{link.system.name}")
    elif answer.outcome in ("retry", "stop"):
        slots.postpone(rows, plan.record, now + max(answer.after_ms, 1_000))
    elif answer.outcome == "stale":
        inputs.again(rows, plan.record, now, now)
    elif answer.outcome == "rejected":
        show_rejected(rows, link, plan, answer)
    if answer.outcome in ("unknown", "rejected", "stop"):
        state.count(rows, link.system.name, f"writes {answer.outcome}")


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
    """One batch of wanted records; whether anything was done."""
    env = link.hub.env
    plans = env.commit(lambda rows: plan_creates(rows, link), "deliver:plan create")
    if not plans:
        return False
    ready = env.commit(lambda rows: recheck_creates(rows, link, plans), "deliver:recheck create")
    send(link, ready)
    return True


def plan_creates(rows: Rows, link: Link) -> list[Plan]:
    """Due wanted records, each with its intent, which mints the new record's uid."""
    plans: list[Plan] = []
    passed = captured_up_to(rows, link)
    found = rows.select(
        "wanted",
        {
            "system": link.system.name,
            "object": link.spec.object,
            "dirty": above(-1),
            "not_before": at_most(link.hub.env.now()),
        },
        order=("dirty", "golden"),
        limit=AT_ONCE,
    )
    for row in found:
        golden = state.load_goldens(rows, [row["golden"]])[row["golden"]]
        if golden is None or row["holds"] or not may_create(rows, link, golden, row, passed):
            continue
        plans.append(commit_create(rows, link, golden))
        rows.delete(
            "wanted", {"golden": golden.uid, "system": link.system.name, "object": link.spec.object}
        )
        if len(plans) >= max(link.spec.write_batch, 10):
            break
    return plans


def captured_up_to(rows: Rows, link: Link) -> int:
    """When the last full pass over this object's changes began."""
    row = rows.get("cursor", system=link.system.name, stream="changes", shard=link.spec.object)
    return int(row["at"]) if row else 0


def may_create(rows: Rows, link: Link, golden: Golden, wanted: Row, passed: int) -> bool:
    """Wait until this system could have shown us the same customer, unless it would refuse two.

    Members whose inputs are still on their way to the resolver are waited for as well.
    """
    members = state.members_of(rows, golden)
    if creates.refusal(golden, members, link.tool):
        return False
    for uid in golden.members:
        row = rows.get("record", uid=uid)
        if row and row["next_seq"] != row["folded"] + 1:
            return False
    guarded = any(golden.cell(n).value is not None for n in link.tool.unique)
    late = max(link.tool.lag_ms, link.spec.changes_lag_ms)
    if guarded or passed >= wanted["dirty"] + late:
        return True
    link.hub.env.wake(f"capture:{link.system.name}")
    return False


def commit_create(rows: Rows, link: Link, golden: Golden) -> Plan:
    """The intent of a create is its record's first input; its uid is the external id."""
    hub = link.hub
    record = Record(
        uid=hub.env.uid(),
        entity=golden.entity,
        system=link.system.name,
        object=link.spec.object,
        state="creating",
    )
    state.birth(rows, record)
    sends = creates.first_values(golden, link.tool)
    key = f"{record.uid}:create"
    members = tuple(sorted({*golden.members, record.uid}))
    intent = Intent(hub.env.now(), "create", sends, members, golden.uid, key)
    seq = inputs.append(rows, hub, record, intent, cause="deliver")
    note_intent(rows, link, record.uid, seq, golden.uid, "create", key)
    write = Write("create", "", changes(link, record, sends), record.uid, key)
    return Plan(record, golden, sends, write, key=key)


def recheck_creates(rows: Rows, link: Link, plans: Sequence[Plan]) -> list[Plan]:
    """The creates that are still wanted with the same values."""
    ready: list[Plan] = []
    for plan in plans:
        golden = state.golden_of(rows, plan.golden.uid)
        same = (
            golden is not None
            and may_write(rows, link.system)
            and values_of(creates.first_values(golden, link.tool)) == values_of(plan.sends)
        )
        if golden and same and still_alone(rows, link, plan, golden):
            rows.update("intent", {"key": plan.key}, {"status": "sent"})
            ready.append(plan)
        else:
            retract(rows, link, plan, "golden had moved")
    return ready


def values_of(sends: Mapping[str, Sent]) -> dict[str, Value]:
    """Cell to value."""
    return {c: s.value for c, s in sends.items()}


def still_alone(rows: Rows, link: Link, plan: Plan, golden: Golden) -> bool:
    """Whether nobody else has appeared here meanwhile."""
    members = [r for r in state.members_of(rows, golden) if r.uid != plan.record.uid]
    return not creates.refusal(golden, members, link.tool)


def receive_create(rows: Rows, link: Link, plan: Plan, answer: Answer, receipt: Receipt) -> None:
    """The new record's id; if capture has seen the record first, its uid wins."""
    if answer.outcome == "rejected":
        hold_wanted(rows, link, plan, answer)
    if answer.outcome != "done" or not answer.native_id:
        inputs.append(rows, link.hub, plan.record, receipt, cause="deliver")
        return
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
            f"again:{plan.record.uid}",
            link.hub.env.now(),
            kind="again",
            not_before=link.hub.env.now() + link.tool.settle_ms,
        )
    else:
        adopt(rows, link, plan, str(known), receipt)


def adopt(rows: Rows, link: Link, plan: Plan, winner: Uid, receipt: Receipt) -> None:
    """The record is known under another uid: that one takes the receipt and the link."""
    record = state.load_record(rows, winner)
    if record is None:
        return
    taken = Receipt(
        "applied",
        receipt.start,
        receipt.end,
        receipt.values,
        plan.sends,
        receipt.members,
        receipt.revision,
        receipt.native_id,
        adopts=plan.golden.uid,
    )
    inputs.append(rows, link.hub, record, taken, cause="deliver")
    retract(rows, link, plan, f"known already as {winner}")


def hold_wanted(rows: Rows, link: Link, plan: Plan, answer: Answer) -> None:
    """The tool refuses this record: not offered again before golden changes."""
    where = {"golden": plan.golden.uid, "system": link.system.name, "object": link.spec.object}
    state.want(rows, plan.golden.uid, link.system.name, link.spec.object, link.hub.env.now())
    rows.update(
        "wanted",
        where,
        {"holds": {"rejected": answer.why or "refused", "of": fingerprint(plan.sends)}},
    )


def fingerprint(sends: Mapping[str, Sent]) -> str:
    """What was offered, to know whether a later offer is another one."""
    return orjson.dumps(values_of(sends), option=orjson.OPT_SORT_KEYS).decode()


# -- unknown outcomes --------------------------------------------------------------------------


def settle_creates(link: Link) -> bool:
    """Look for the record that a create of unknown outcome may have made."""
    due = link.hub.env.now() - max(link.tool.settle_ms, link.tool.lag_ms, 500)
    found = link.hub.env.view(
        lambda rows: rows.select(
            "intent",
            {
                "system": link.system.name,
                "object": link.spec.object,
                "op": "create",
                "status": "unknown",
                "unknown_at": at_most(due),
            },
            limit=AT_ONCE,
        )
    )
    for row in found:
        settle_create(link, row)
    return bool(found)


def settle_create(link: Link, row: Row) -> None:
    """One of them: adopted when it is surely ours, given up when it is not there."""
    record = link.hub.env.view(lambda rows: state.load_record(rows, row["uid"]))
    if record is None or record.intent is None or record.intent.unknown_at is None:
        return
    write = Write("create", "", changes(link, record, record.intent.sends), record.uid, row["key"])
    readings = link.system.connector.find(link.system.api, link.spec, write)
    link.hub.env.commit(lambda rows: take_found(rows, link, record, row, readings), "deliver:found")
    link.hub.env.wake("resolve")


def take_found(
    rows: Rows, link: Link, record: Record, row: Row, readings: Sequence[Reading]
) -> None:
    """Exactly one candidate is adopted; several are for a steward; none: it was not applied."""
    sure = [r for r in readings if r.external_id == record.uid]
    likely = sure or [
        r for r in readings if not link.spec.external_ids and adoptable(rows, link, record, row, r)
    ]
    now = link.hub.env.now()
    if len(likely) > 1 and not sure:
        rows.upsert(
            "task",
            {
                "id": f"lost create:{record.uid}",
                "kind": "lost create",
                "state": "open",
                "at": now,
                "uid": record.uid,
                "system": link.system.name,
                "why": f"{len(likely)} records may be the one that the hub created",
                "doc": {"candidates": [r.native_id for r in likely]},
            },
        )
        rows.update("intent", {"key": row["key"]}, {"status": "asked"})
        return
    if not likely:
        inputs.append(
            rows,
            link.hub,
            record,
            Receipt("not_sent", now, now, why="read back: it was not applied"),
            cause="deliver",
        )
        rows.update("intent", {"key": row["key"]}, {"status": "settled"})
        return
    finish_found(rows, link, record, row, likely[0])


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
    """The create was applied after all."""
    sends = record.intent.sends if record.intent else {}
    golden = state.golden_of(rows, row["golden"])
    if golden is None:
        return
    plan = Plan(
        record, golden, sends, Write("create", "", {}, record.uid, row["key"]), key=row["key"]
    )
    answer = Answer("done", native_id=reading.native_id, reading=reading)
    members = record.intent.members if record.intent else ()
    receipt = Receipt(
        "applied",
        reading.start_ms,
        reading.end_ms,
        answered_values(link, plan, reading),
        members=members,
        native_id=reading.native_id,
        revision=(link.system.epoch, reading.revision or 0),
    )
    receive_create(rows, link, plan, answer, receipt)
    follow_up(rows, link, plan, answer)


# -- start -------------------------------------------------------------------------------------


def recover(rows: Rows, hub: Hub) -> int:
    """At start: a write whose receipt is missing has an unknown outcome; one never sent, none."""
    open_rows = [
        r for status in ("planned", "sent") for r in rows.select("intent", {"status": status})
    ]
    now = hub.env.now()
    for row in open_rows:
        record = state.load_record(rows, row["uid"])
        if record is None:
            continue
        inputs.append(
            rows,
            hub,
            record,
            Receipt("unknown", now, now, why="the hub was stopped"),
            cause="start",
        )
        rows.update(
            "intent",
            {"uid": row["uid"], "seq": row["seq"]},
            {"status": "unknown", "unknown_at": now},
        )
    return len(open_rows)
