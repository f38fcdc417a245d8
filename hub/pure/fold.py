"""How one record changes by one of its own inputs: the cases of the fold, in their order.

`fold` looks at nothing but the record and the input, so inputs of different records commute and a
replay gives the same record. A reading meets the cases of `COLUMNS` below one after the other;
the first that has a reason to refuse it wins, and what none refuses is taken in, cell by cell.
Why each case is there is told by the stories in tests/stories (the number is the story's).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from hub.pure import standardize
from hub.pure.model import (
    Cell,
    Claim,
    Decision,
    Input,
    Intent,
    Observation,
    OpenIntent,
    Receipt,
    Record,
    Refusal,
    Sent,
    Synced,
    Tick,
    Value,
    Vector,
    Version,
    element,
    field_of,
    join,
    key_of,
    with_cell,
)
from hub.pure.rules import Rules, Tool

CLAIMS_KEPT = 16  # per cell, so that a record edited daily for years stays small
HOPS_MAX = 3


class Folded(Struct, frozen=True):
    """The record after the input. `status` of the input: applied, or superseded `by` what.

    `again_at`: read the record again, not before this time (ms).
    """

    record: Record
    status: str = "applied"
    by: str = ""
    again_at: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a fold needs beside record and input."""

    tool: Tool
    rules: Rules


def fold(record: Record, item: Input, terms: Terms) -> Folded:
    """The record after this input, which must be the next of its sequence."""
    folders: Mapping[type, Callable[..., Folded]] = {
        Observation: observe,
        Intent: intend,
        Receipt: receive,
        Decision: obey,
        Tick: wait,
    }
    folded = folders[type(item.body)](record, item.seq, item.body, terms)
    return replace(folded, record=replace(folded.record, folded=item.seq))


def wait(record: Record, _seq: int, tick: Tick, _terms: Terms) -> Folded:
    """Time went by: whatever was due is looked at again."""
    return Folded(record, again_at=tick.at)


# -- readings ----------------------------------------------------------------------------------


def observe(record: Record, seq: int, seen: Observation, terms: Terms) -> Folded:
    """A reading: refused by the first case that has a reason, else taken in."""
    if seen.state not in ("live", "creating"):
        return depart(record, seen, terms.tool)
    if refused := older(record, seen):
        return refused
    if record.intent:
        settled = settle_by_reading(record, seen, terms)
        if settled is None:
            since = record.intent.unknown_at
            due = seen.end if since is None else since + terms.tool.settle_ms
            return superseded(record, "a write was open", again_at=max(seen.end, due))
        record = settled
    if refused := unsettled(record, seen, terms.tool):
        return refused
    return Folded(take_in(record, seq, seen, terms))


def superseded(record: Record, by: str, again_at: int | None) -> Folded:
    """The reading is refused as a whole."""
    return Folded(record, "superseded", by, again_at)


def depart(record: Record, seen: Observation, tool: Tool) -> Folded:
    """The record is gone from its tool: an open write was not applied; claims stay.

    A lagging tool also shows nothing of what was created a moment ago.
    """
    if (
        refused := older(record, seen)
        or unsettled(record, seen, tool)
        or hidden(record, seen, tool)
    ):
        return refused
    gone = replace(
        record,
        state=seen.state,
        native_id=seen.native_id or record.native_id,
        intent=None,
        departed="",
        seen=True,
        read_end=max(record.read_end, seen.end),
        changed_at=seen.end,
        revision=max(record.revision, seen.revision),
    )
    return Folded(gone)


def hidden(record: Record, seen: Observation, tool: Tool) -> Folded | None:
    """A lagging tool shows nothing yet of what an open write may just have made."""
    if record.intent is None or not tool.lags:
        return None
    due = (record.intent.unknown_at or record.intent.at) + tool.settle_ms
    if seen.start >= due:
        return None
    return superseded(record, "the tool may not show our write yet", again_at=due)


def older(record: Record, seen: Observation) -> Folded | None:
    """Case a: an older revision, or an interval that began before the last one ended.

    Revisions under two ids of the tool (a merge, a renaming) have nothing to do with each other.
    """
    other = renamed(record, seen) or bool(seen.successor)
    if not other and seen.revision < record.revision:
        return superseded(record, f"revision {record.revision[1]}", again_at=None)
    if (other or seen.revision == record.revision) and seen.start < record.read_end:
        return superseded(record, "a reading or write that ended later", again_at=seen.end)
    return None


def renamed(record: Record, seen: Observation) -> bool:
    """Whether the tool shows the record under another id than before."""
    return bool(record.native_id) and seen.native_id not in ("", record.native_id)


def settle_by_reading(record: Record, seen: Observation, terms: Terms) -> Record | None:
    """Case b: only an *unknown* write is settled by a reading, and only by a later one.

    One sent value seen proves the whole write. One settle time later everything at the old values
    proves that it was not applied; other values then are edits made on top of it.
    """
    intent = record.intent
    if intent is None or intent.unknown_at is None or seen.start <= intent.unknown_at:
        return None
    shown = dict(expand(record, seen, terms.tool))
    if any(proves(record, c, sent, shown, terms) for c, sent in telling(intent.sends).items()):
        return settled_as_applied(record, intent, shown, seen, terms)
    if seen.start < intent.unknown_at + terms.tool.settle_ms:
        return None
    return settled_as_lost(record, intent, shown)


def telling(sends: Mapping[str, Sent]) -> Mapping[str, Sent]:
    """The sent cells that can prove a write: a refusal or a tag may well be somebody else's."""
    return {cell: sent for cell, sent in sends.items() if not key_of(cell)} or sends


def proves(record: Record, cell: str, sent: Sent, shown: Mapping[str, Value], terms: Terms) -> bool:
    """Whether the reading shows what only our write can have put there."""
    if cell not in shown or shown[cell] == sent.before:
        return False
    return is_answer(record, cell, sent, shown[cell], terms)


def is_answer(record: Record, cell: str, sent: Sent, raw: Value, terms: Terms) -> bool:
    """Whether this is what we sent, perhaps in a form that the tool has made of it."""
    if raw in (sent.value, terms.tool.normal(cell, sent.value)):
        return True
    if raw is None or sent.value is None or key_of(cell):
        return False
    meant = terms.tool.lift(cell, sent.value, raw)
    with suppress(standardize.Invalid):
        return bool(in_standard(cell, meant, record.entity, terms.rules) == sent.value)
    return False


def settled_as_applied(
    record: Record, intent: OpenIntent, shown: Mapping[str, Value], seen: Observation, terms: Terms
) -> Record:
    """Every sent cell was answered in the tool's form; what differs now was typed over it."""
    values = {
        cell: shown[cell]
        if cell in shown and is_answer(record, cell, sent, shown[cell], terms)
        else terms.tool.normal(cell, sent.value)
        for cell, sent in intent.sends.items()
    }
    done = answered(record, intent.sends, values, intent.members)
    for name in (n for n in intent.sends if field_of(n) == "consent"):
        done = with_cell(done, name, unseen(record.cell(name), done.cell(name)))
    return replace(
        done,
        intent=None,
        state="live",
        changed_at=seen.end,
        native_id=record.native_id or seen.native_id,
    )


def unseen(before: Cell, after: Cell) -> Cell:
    """Nobody is taken to have seen a refusal that may have come after their act."""
    version = before.synced.version if before.synced else Version()
    return replace(after, synced=after.synced and replace(after.synced, version=version))


def settled_as_lost(record: Record, intent: OpenIntent, shown: Mapping[str, Value]) -> Record:
    """Not applied; but whoever typed a third value had seen our version."""
    lost = replace(record, intent=None)
    for name, sent in intent.sends.items():
        cell = lost.cell(name)
        if name in shown and shown[name] != sent.before and not name.startswith("consent["):
            base = cell.synced or Synced(Version(), cell.observed, cell.observed)
            version = Version(join(base.version.vector, sent.version.vector), sent.version.at)
            lost = with_cell(lost, name, replace(cell, synced=replace(base, version=version)))
    return lost


def unsettled(record: Record, seen: Observation, tool: Tool) -> Folded | None:
    """Case e: a lagging tool without revisions, read too soon after a change or write."""
    due = record.changed_at + tool.settle_ms
    if not tool.lags or not record.seen or seen.start >= due:
        return None
    return superseded(record, "the tool had not settled", again_at=due)


def take_in(record: Record, seq: int, seen: Observation, terms: Terms) -> Record:
    """Cases c, d, f for each covered cell; what is equal changes nothing."""
    cells = dict(record.cells)
    for name, raw in expand(record, seen, terms.tool):
        cells[name] = look(record, seq, name, raw, seen, terms)
    for name, why in seen.unknown.items():
        cells[name] = replace(record.cell(name), unreadable=why)
    moved = any(cells[n].observed != record.cell(n).observed for n in cells)
    return replace(
        record,
        cells=cells,
        seen=True,
        state="live",
        ext=seen.ext or record.ext,
        native_id=seen.native_id or record.native_id,
        departed=record.departed if record.alive else "",
        revision=seen.revision if renamed(record, seen) else max(record.revision, seen.revision),
        read_end=max(record.read_end, seen.end),
        changed_at=seen.end if moved and record.seen else record.changed_at,
    )


def expand(record: Record, seen: Observation, tool: Tool) -> Iterator[tuple[str, Value]]:
    """Covered cells and their values: a stated set speaks of all elements, also of missing ones."""
    for name, value in seen.values.items():
        if isinstance(value, list):
            yield from _elements(record, name, value)
        elif name == "consent" and isinstance(value, Mapping):
            yield from ((element(name, key), state) for key, state in value.items())
        elif tool.holds(name):
            yield name, value


def _elements(record: Record, name: str, value: list[str]) -> Iterator[tuple[str, Value]]:
    stated = {element(name, key) for key in value}
    known = {cell for cell in record.cells if field_of(cell) == name and key_of(cell)}
    for cell in sorted(stated | known):
        yield cell, True if cell in stated else None


def look(record: Record, seq: int, name: str, raw: Value, seen: Observation, terms: Terms) -> Cell:
    """One covered cell: nothing new, or observed anew with a claim."""
    cell = record.cell(name)
    if cell.unreadable:
        cell = replace(cell, unreadable="")
    if cell.known and raw == cell.observed:
        return confirmed(cell, record, seen, terms.tool)
    first = not cell.known
    if first and cell.synced and raw == cell.synced.answered:
        return replace(cell, observed=raw, known=True)
    looked = replace(cell, observed=raw, known=True, refused=None)
    if raw is None and (first or renamed(record, seen)):
        return looked  # also of a record that ours was merged into: it never held the value
    claim = claimed(record, seq, name, raw, seen, terms)
    return looked if claim is None else with_claim(looked, claim)


def confirmed(cell: Cell, record: Record, seen: Observation, tool: Tool) -> Cell:
    """What is still there one settle time after it was written, the tool has left alone."""
    late = seen.start >= record.changed_at + tool.settle_ms
    if cell.synced is None or cell.synced.confirmed or not late:
        return cell
    return replace(cell, synced=replace(cell.synced, confirmed=True, hop=0))


def with_claim(cell: Cell, claim: Claim) -> Cell:
    """The cell with one more claim; old ones that nobody can go back to are let go.

    Facts of consent are evidence and all kept, as are pins.
    """
    old, new = cell.claims[: 1 - CLAIMS_KEPT], cell.claims[1 - CLAIMS_KEPT :]
    kept = tuple(c for c in old if c.pinned or c.reach)
    return replace(cell, claims=(*kept, *new, claim))


def claimed(
    record: Record, seq: int, name: str, raw: Value, seen: Observation, terms: Terms
) -> Claim | None:
    """The claim that this change makes, None where the change proves nothing (consent)."""
    cell = record.cell(name)
    fact = consent_fact(cell, raw) if field_of(name) == "consent" else raw
    if fact is _NO_FACT:
        return None
    base = cell.synced
    meant = terms.tool.lift(name, base.sent, fact) if base else fact
    covers, latest = coverage(record.uid, cell)
    source = seen.end if seen.source_ms is None else min(seen.source_ms, seen.end)
    bound = not cell.known and (seen.snapshot or record.seen)
    claim = Claim(
        seq=seq,
        value=None,
        raw=raw,
        at=max(source, latest),
        covers=covers,
        bound=bound,
        hop=next_hop(base),
        actor=seen.actor,
        reach=tuple(sorted({record.uid, *record.members})) if field_of(name) == "consent" else (),
    )
    return standardised(claim, name, meant, record.entity, terms.rules)


def standardised(claim: Claim, name: str, meant: Value, entity: str, rules: Rules) -> Claim:
    """The claim with its standard value, or quarantined with the reason."""
    try:
        value = in_standard(name, meant, entity, rules)
    except standardize.Invalid as error:
        return replace(claim, value=meant, status="quarantined", why=str(error))
    return replace(claim, value=value)


def in_standard(name: str, value: Value, entity: str, rules: Rules) -> Value:
    """The value as its kind of field writes it; raises `Invalid`."""
    rule = rules.of(entity, name)
    return standardize.standard(rule.kind if rule else "", value, rules)


def coverage(uid: str, cell: Cell) -> tuple[Vector, int]:
    """What somebody who types here has seen: our last version, and their own earlier claims."""
    last = cell.claim()
    version = cell.synced.version if cell.synced else Version()
    own = join(last.covers, {uid: last.seq}) if last else {}
    return join(version.vector, own), latest_seen(cell)


def latest_seen(cell: Cell) -> int:
    """The latest time (ms) among the claims that somebody who types here has seen."""
    last = cell.claim()
    return max(cell.synced.version.at if cell.synced else 0, last.at if last else 0)


def next_hop(base: Synced | None) -> int:
    """Ours leads to theirs until a reading has confirmed that the tool left our write alone."""
    return 0 if base is None or base.confirmed else base.hop + 1


_NO_FACT = object()


def consent_fact(cell: Cell, raw: Value) -> Value:
    """A refusal, or an opt-in with a proof that was not used before; else no fact at all.

    A proof that dates from before what it would cover is an old one, also where it is shown first.
    """
    if raw == "out":
        return "out"
    told: Mapping[str, Value] = raw if isinstance(raw, Mapping) else {}
    proof, at = told.get("proof"), told.get("at")
    used = {c.raw.get("proof") for c in cell.claims if isinstance(c.raw, Mapping)}
    old = isinstance(at, int) and at <= latest_seen(cell)
    return "in" if proof and proof not in used and not old else _NO_FACT


# -- writes and what came of them --------------------------------------------------------------


def intend(record: Record, seq: int, intent: Intent, _terms: Terms) -> Folded:
    """A write is about to be sent; until its receipt nothing that is read here counts."""
    opened = OpenIntent(seq, intent.at, intent.op, intent.sends, intent.members)
    created = intent.op == "create"
    return Folded(
        replace(
            record,
            intent=opened,
            members=intent.members,
            state="creating" if created else record.state,
            anchor=intent.golden if created else record.anchor,
            tightened=tightened(record, intent.sends),
        )
    )


def tightened(record: Record, sends: Mapping[str, Sent]) -> dict[str, Vector]:
    """Refusals that are written here count for this record from now on."""
    held = dict(record.tightened)
    for name, sent in sends.items():
        if name.startswith("consent[") and sent.value == "out":
            held[name] = join(held.get(name, {}), sent.version.vector)
    return held


def receive(record: Record, _seq: int, receipt: Receipt, terms: Terms) -> Folded:
    """The tool's word on our write, or the note that nothing had to be written."""
    return {
        "applied": applied,
        "rejected": rejected,
        "not_sent": not_sent,
        "unknown": outcome_unknown,
        "agrees": agrees,
    }[receipt.outcome](record, receipt, terms)


def answered(
    record: Record, sends: Mapping[str, Sent], values: Mapping[str, Value], members: tuple[str, ...]
) -> Record:
    """Sent and answered become the merge base, the answer what is observed."""
    for name, sent in sends.items():
        cell, answer = record.cell(name), values.get(name)
        synced = Synced(sent.version, sent.value, answer, sent.before, sent.hop)
        record = with_cell(
            record,
            name,
            replace(cell, observed=answer, known=True, synced=synced, refused=None, unreadable=""),
        )
    return replace(record, members=members, delivered=members)


def applied(record: Record, receipt: Receipt, terms: Terms) -> Folded:
    """The write is in the tool. Claims that only saw our own create are taken back."""
    sends = receipt.sends or (record.intent.sends if record.intent else {})
    passed_on = bool(receipt.sends)  # a write that was said of another record, and landed here
    created = passed_on or (record.intent is not None and record.intent.op == "create")
    if created:
        record = without_echo(record, sends, terms.tool)
    values = {n: receipt.values.get(n, terms.tool.normal(n, s.value)) for n, s in sends.items()}
    before = record
    members = receipt.members or (record.intent.members if record.intent else ())
    done = answered(record, sends, values, members)
    for name in (n for n in sends if passed_on and n not in receipt.values):
        done = typed_over(done, name, before.cell(name))
    update = record.intent and record.intent.op == "update" and passed_on
    return Folded(
        replace(
            done,
            intent=record.intent if update else None,  # it has a receipt of its own
            state="live",
            seen=True,
            native_id=receipt.native_id or record.native_id,
            anchor=receipt.adopts or record.anchor,
            revision=max(record.revision, receipt.revision),
            read_end=max(record.read_end, receipt.end),
            changed_at=receipt.end,
        )
    )


def typed_over(record: Record, name: str, before: Cell) -> Record:
    """A later reading of the record itself tells better what it holds than what was sent to it."""
    if not before.known:
        return record
    return with_cell(record, name, replace(record.cell(name), observed=before.observed))


def without_echo(record: Record, sends: Mapping[str, Sent], tool: Tool) -> Record:
    """Capture saw our create before its receipt came: what equals it was never typed by anyone."""
    for name, sent in sends.items():
        cell, echo = record.cell(name), (sent.value, tool.normal(name, sent.value))
        seen = {} if field_of(name) == "consent" else sent.version.vector
        left = tuple(
            replace(c, covers=join(c.covers, seen))
            for c in cell.claims
            if c.raw not in echo and c.value not in echo
        )
        record = with_cell(record, name, replace(cell, claims=left))
    return record


def rejected(record: Record, receipt: Receipt, _terms: Terms) -> Folded:
    """The tool refuses values: those it names, or all of them, are not offered again."""
    intent = record.intent
    if intent is None:
        return superseded(record, "no write was open", again_at=None)
    named = {n for n in intent.sends if field_of(n) in receipt.fields} or set(intent.sends)
    for name, sent in intent.sends.items():
        if name in named:
            refused = Refusal(sent.value, receipt.why)
            record = with_cell(record, name, replace(record.cell(name), refused=refused))
    state = "failed" if intent.op == "create" else record.state
    return Folded(replace(record, intent=None, state=state))


def not_sent(record: Record, _receipt: Receipt, _terms: Terms) -> Folded:
    """The write was called off before the tool could see it, or nothing of it was found there."""
    if record.intent is None:
        return superseded(record, "no write was open", again_at=None)
    gone = "failed" if record.intent.unknown_at is None else "lost"
    state = gone if record.intent.op == "create" else record.state
    return Folded(replace(record, intent=None, state=state))


def outcome_unknown(record: Record, receipt: Receipt, terms: Terms) -> Folded:
    """Nobody knows whether it was applied: proof and settle time count from here."""
    if record.intent is None:
        return superseded(record, "no write was open", again_at=None)
    if record.intent.unknown_at is not None:
        return superseded(record, "the outcome was unknown already", again_at=None)
    opened = replace(record.intent, unknown_at=receipt.end)
    return Folded(replace(record, intent=opened), again_at=receipt.end + terms.tool.settle_ms)


def agrees(record: Record, receipt: Receipt, _terms: Terms) -> Folded:
    """Tool and golden were found equal: from here on an edit has seen this version."""
    if record.intent is not None:
        return superseded(record, "a write was open", again_at=None)
    for name, sent in receipt.sends.items():
        cell = record.cell(name)
        if cell.known and cell.observed == receipt.values.get(name):
            record = with_cell(
                record, name, replace(cell, synced=_agreed(cell, sent, confirms=receipt.confirms))
            )
    return Folded(replace(record, members=receipt.members, delivered=receipt.members))


def _agreed(cell: Cell, sent: Sent, *, confirms: bool) -> Synced:
    base = cell.synced
    still_ours = base is not None and not base.confirmed and not confirms
    return Synced(
        sent.version,
        sent.value,
        cell.observed,
        base.before if base else None,
        hop=base.hop if base and still_ours else 0,
        confirmed=not still_ours,
    )


# -- decisions ---------------------------------------------------------------------------------


def obey(record: Record, seq: int, decision: Decision, terms: Terms) -> Folded:
    """A person's word. Verdicts (same, different) are edges: they change no record."""
    act: Mapping[str, Callable[..., Record]] = {
        "edit": enter,
        "pin": enter,
        "retract": strike,
        "reject": strike,
        "approve": approve,
        "keep": release,
        "unlink": release,
        "recreate": release,
    }
    if decision.act not in act:
        return Folded(record)
    return Folded(act[decision.act](record, seq, decision, terms))


def enter(record: Record, seq: int, decision: Decision, terms: Terms) -> Record:
    """A steward's or customer's own value: a claim on the record that they were shown.

    Of consent they can give a refusal, or an opt-in with its proof; a pin widens nothing.
    """
    cell = record.cell(decision.cell)
    consent = field_of(decision.cell) == "consent"
    value = consent_fact(cell, decision.value) if consent else decision.value
    if value is _NO_FACT:
        return record
    covers, latest = coverage(record.uid, cell)
    claim = Claim(
        seq=seq,
        value=None,
        raw=decision.value,
        at=max(decision.at, latest, decision.version.at),
        covers=join(covers, decision.version.vector),
        pinned=decision.act == "pin" and not consent,
        actor=decision.actor,
        reach=tuple(sorted({record.uid, *record.members})) if consent else (),
    )
    typed = standardised(claim, decision.cell, value, record.entity, terms.rules)
    return with_cell(record, decision.cell, with_claim(cell, typed))


def strike(record: Record, _seq: int, decision: Decision, _terms: Terms) -> Record:
    """One claim no longer counts; the one before it does again.

    A refusal is never struck: only an opt-in that its person gave afterwards lifts it.
    """
    if any(
        c.seq == decision.claim and c.value == "out" and c.reach
        for c in record.cell(decision.cell).claims
    ):
        return record
    return _with_status(record, decision, "retracted")


def approve(record: Record, _seq: int, decision: Decision, _terms: Terms) -> Record:
    """A pending claim counts from now on."""
    return _with_status(record, decision, "effective")


def _with_status(
    record: Record, decision: Decision, status: Literal["effective", "retracted"]
) -> Record:
    cell = record.cell(decision.cell)
    claims = tuple(
        replace(c, status=status, why=decision.id) if c.seq == decision.claim else c
        for c in cell.claims
    )
    return with_cell(record, decision.cell, replace(cell, claims=claims))


def release(record: Record, _seq: int, decision: Decision, _terms: Terms) -> Record:
    """What becomes of a record that is gone; *unlink* also takes its claims back.

    What was said about consent stays said.
    """
    cells = dict(record.cells)
    if decision.act == "unlink":
        cells |= {n: replace(c, claims=()) for n, c in cells.items() if field_of(n) != "consent"}
    return replace(record, departed=decision.act, cells=cells)
