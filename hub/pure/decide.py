"""The heart: a micro-batch of inputs and what is known, in; effects, out. No I/O.

    fold      each record by its own inputs                      hub/pure/fold.py
    cluster   the touched components, from scratch               hub/pure/cluster.py
    survive   every cell of every touched golden record          hub/pure/survivorship.py
    consent   the ratchet                                        hub/pure/consent.py
    effects   what has to be stored, emitted, read again or shown to a person

`need` is asked until it wants nothing more; then `decide` answers. Laws, in
tests/pure/test_decide.py: a batch of n equals n batches of one; the same input again gives nothing;
inputs of different records commute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import replace

from hub.pure import cluster, consent, creates, identity, survivorship
from hub.pure.fold import Folded, Terms, fold
from hub.pure.identity import Key
from hub.pure.model import (
    HUB,
    Actor,
    Cell,
    Claim,
    Decision,
    Edge,
    Golden,
    GoldenCell,
    Input,
    Intent,
    Observation,
    Receipt,
    Record,
    Uid,
    cells_of_field,
    edge,
    element,
    field_of,
    key_of,
)
from hub.pure.rules import Rules, Tool, Tools

EdgeId = tuple[Uid, Uid, str]
CAME_TO_NOTHING = ("failed", "lost")  # the states of records that a create should have made


@dataclass
class Loaded:
    """What has been read from the store so far. An absent record is a new one.

    `edges_of`: records whose edges are all in `edges`. `keys`: match key to the uids that have it.
    `ends`: record uid to golden id, for the other ends of associations. `stored`: records as they
    are stored, where those in `records` are to be folded from nothing. `again`: records whose keys
    are looked up once more, as if they were new. `batch`: what the inputs make of their records,
    once these are there; it is worked out once.
    """

    records: dict[Uid, Record | None] = field(default_factory=dict)
    edges: dict[EdgeId, Edge] = field(default_factory=dict)
    edges_of: set[Uid] = field(default_factory=set)
    keys: dict[Key, frozenset[Uid]] = field(default_factory=dict)
    golden: dict[Uid, Golden | None] = field(default_factory=dict)
    ends: dict[Uid, Uid] = field(default_factory=dict)
    stored: Mapping[Uid, Record] = field(default_factory=dict)
    again: frozenset[Uid] = frozenset()
    batch: Batch | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """What `decide` would like to know before it answers; falsy when it knows enough."""

    records: frozenset[Uid] = frozenset()
    edges_of: frozenset[Uid] = frozenset()
    keys: frozenset[Key] = frozenset()
    golden: frozenset[Uid] = frozenset()
    ends: frozenset[Uid] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.records or self.edges_of or self.keys or self.golden or self.ends)


@dataclass(frozen=True, slots=True)
class Change:
    """One changed cell of a golden record, for history. `actor`: who entered the new winner."""

    cell: str
    before: GoldenCell | None
    after: GoldenCell | None
    actor: Actor


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A new version of a golden record, or its end (`golden` None: merged into `merged_into`).

    `causes`: event ids of the inputs of its records, then and now, that led to it.
    """

    uid: Uid
    number: int
    golden: Golden | None
    before: Golden | None
    changes: tuple[Change, ...]
    causes: tuple[str, ...]
    merged_into: Uid = ""


@dataclass
class Effects:
    """What follows. `statuses`: event (uid, seq) to (status, by). `again`: uid to due time (ms).

    `dirty`: records whose slot is to be looked at, `urgent`: those of them whose consent changed.
    `known`: every record that was looked at, as it is now. `golden`: each golden record that was
    decided, by its id, whether it changed or not.
    `ended`: records whose write came to an end. `regroup`: uid to (golden id, leads).
    `moved`: golden records of which a record appeared, went, or came back. `ends`: records that
    did, or that their tool calls by another id now: what is associated with them may be too.
    """

    records: dict[Uid, Record] = field(default_factory=dict)
    known: dict[Uid, Record] = field(default_factory=dict)
    statuses: dict[tuple[Uid, int], tuple[str, str]] = field(default_factory=dict)
    keys: dict[Uid, frozenset[Key]] = field(default_factory=dict)
    edges_put: dict[EdgeId, Edge] = field(default_factory=dict)
    edges_drop: set[EdgeId] = field(default_factory=set)
    groups: list[Golden] = field(default_factory=list)
    golden: dict[Uid, Golden] = field(default_factory=dict)
    regroup: dict[Uid, tuple[Uid, bool]] = field(default_factory=dict)
    history: list[ChangeSet] = field(default_factory=list)
    dirty: set[Uid] = field(default_factory=set)
    urgent: set[Uid] = field(default_factory=set)
    ended: set[Uid] = field(default_factory=set)
    again: dict[Uid, int] = field(default_factory=dict)
    moved: set[Uid] = field(default_factory=set)
    ends: set[Uid] = field(default_factory=set)
    contradictions: tuple[Edge, ...] = ()


@dataclass(frozen=True)
class Context:
    """The published rules and the tools."""

    rules: Rules
    tools: Tools

    def terms(self, record: Record) -> Terms:
        """What the fold of this record needs."""
        tool = THE_HUB if record.entity == HUB else self.tools[record.system, record.object]
        return Terms(tool, self.rules)


THE_HUB = Tool(HUB, HUB, HUB, {})


# -- fold --------------------------------------------------------------------------------------


@dataclass
class Batch:
    """The records after the fold, and what the fold said of each input.

    `together`: whom a record was delivered with on the way. `written`: records that a write, or
    the end of one, was said of. `keys`: the match keys of records in
    which anything was entered; those of all others are what they were. `had`: the keys of the same
    records as they are stored. `still`: records that stayed what they are to others: neither whom
    they belong to, nor what is golden there, can have changed by them. `compared`: the keys of all
    records whose evidence is compared, once these are there; it is worked out once.
    """

    before: dict[Uid, Record] = field(default_factory=dict)
    after: dict[Uid, Record] = field(default_factory=dict)
    outcomes: dict[tuple[Uid, int], Folded] = field(default_factory=dict)
    together: dict[Uid, set[Uid]] = field(default_factory=dict)
    written: set[Uid] = field(default_factory=set)
    keys: dict[Uid, frozenset[Key]] = field(default_factory=dict)
    had: dict[Uid, frozenset[Key]] = field(default_factory=dict)
    still: set[Uid] = field(default_factory=set)
    compared: dict[Uid, frozenset[Key]] = field(default_factory=dict)

    @property
    def stirred(self) -> dict[Uid, Record]:
        """The records after the fold that are not still."""
        return {uid: record for uid, record in self.after.items() if uid not in self.still}


def fold_all(
    inputs: Sequence[Input], loaded: Loaded, context: Context, births: Mapping[Uid, Record]
) -> Batch:
    """Every input, in the order of its record's sequence. A folded input folds to nothing again.

    `births`: an empty record for each uid of the batch that the store does not have yet.
    """
    batch = Batch()
    for item in sorted(inputs, key=lambda i: (i.uid, i.seq)):
        known = batch.after.get(item.uid) or loaded.records.get(item.uid) or births[item.uid]
        batch.before.setdefault(item.uid, known)
        if item.seq > known.folded:
            outcome = fold(known, item, context.terms(known))
            batch.after[item.uid] = outcome.record
            batch.together.setdefault(item.uid, set()).update(outcome.record.delivered)
            batch.outcomes[item.uid, item.seq] = outcome
            batch.written |= {item.uid} if isinstance(item.body, Intent | Receipt) else set()
    batch.still = batch.after.keys() - {i.uid for i in inputs if joins(i)}
    batch.still = {uid for uid in batch.still if is_still(batch, uid)}
    stored = {uid: loaded.stored.get(uid, before) for uid, before in batch.before.items()}
    for uid, after in batch.after.items():
        if uid in loaded.stored or claims_of(after) != claims_of(stored[uid]):
            batch.keys[uid] = identity.match_keys(after, context.rules)
            batch.had[uid] = identity.match_keys(stored[uid], context.rules)
    for uid in loaded.again:
        if record := batch.after.get(uid) or loaded.records[uid]:
            batch.keys[uid] = identity.match_keys(record, context.rules)
            batch.had[uid] = frozenset()
    return batch


def joins(item: Input) -> bool:
    """Whether an input says something of two records, whatever it does to its own."""
    body = item.body
    return isinstance(body, Decision) or (isinstance(body, Observation) and bool(body.successor))


def is_still(batch: Batch, uid: Uid) -> bool:
    """Whether a record that is known already still shows to others what it did."""
    before, after = batch.before[uid], batch.after[uid]
    return (
        bool(before.folded)
        and after.state not in CAME_TO_NOTHING
        and batch.together[uid] <= {*before.delivered}
        and shown(before) == shown(after)
    )


def shown(record: Record) -> tuple[object, ...]:
    """What clusters and golden records are made of."""
    own = (record.state, record.departed, record.anchor, record.delivered, record.tightened)
    return (*own, claims_of(record))


def claims_of(record: Record) -> dict[str, tuple[Claim, ...]]:
    """Everything that was ever entered in a record, by cell: what identity goes by."""
    return {name: cell.claims for name, cell in record.cells.items() if cell.claims}


# -- need --------------------------------------------------------------------------------------


def need(
    inputs: Sequence[Input],
    touched: Iterable[Uid],
    loaded: Loaded,
    context: Context,
    births: Mapping[Uid, Record],
) -> Need:
    """What is still missing: the records, their keys' candidates, then whole components."""
    first = {i.uid for i in inputs} | set(touched)
    if missing := first - loaded.records.keys():
        return Need(records=frozenset(missing))
    batch = loaded.batch = loaded.batch or fold_all(inputs, loaded, context, births)
    if keys := keys_in(batch.keys, batch.had) - loaded.keys.keys():
        return Need(keys=frozenset(keys))
    beside = in_turned_crowds(batch, loaded, context.rules)
    if missing := beside - loaded.records.keys():
        return Need(records=frozenset(missing))
    batch.compared = batch.compared or compared_keys(beside, batch, loaded, context.rules)
    if keys := keys_in(batch.compared) - loaded.keys.keys():
        return Need(keys=frozenset(keys))
    found = sharing(holders_of(keys_in(batch.keys), batch, loaded), context.rules)
    reach = first - batch.still | beside | {u for uids in found.values() for u in uids}
    reach |= set(touched) | named_by(i for i in inputs if i.uid not in batch.still)
    return _component(reach, batch, loaded, context)


def named_by(inputs: Iterable[Input]) -> set[Uid]:
    """Other records that an input speaks of."""
    named: set[Uid] = set()
    for body in (i.body for i in inputs):
        if isinstance(body, Decision) and body.other:
            named.add(body.other)
        elif isinstance(body, Observation) and body.successor:
            named.add(body.successor)
        elif isinstance(body, Receipt):
            named |= {*body.members, *({body.adopts} - {""})}
    return named


def _component(reach: set[Uid], batch: Batch, loaded: Loaded, context: Context) -> Need:
    """All records that edges lead to, with their edges; then golden records and ends."""
    if unseen := reach - loaded.edges_of:
        return Need(edges_of=frozenset(unseen), records=frozenset(reach - loaded.records.keys()))
    stirred = batch.stirred
    reach |= {r.anchor for r in stirred.values() if r.anchor}
    reach |= {m for r in stirred.values() for m in (*r.members, *spoken_for(r))}
    reach |= {m for uid in stirred for m in batch.together[uid]}
    reach |= {end for e in loaded.edges.values() for end in (e.a, e.b)}
    if reach - loaded.edges_of or reach - loaded.records.keys():
        return Need(
            edges_of=frozenset(reach - loaded.edges_of),
            records=frozenset(reach - loaded.records.keys()),
        )
    if golden := reach - loaded.golden.keys():
        return Need(golden=frozenset(golden))
    known = {**loaded.records, **batch.after}
    found = (known[uid] for uid in reach)
    ends = {end for record in found if record for end in linked(record, context.rules)}
    return Need(ends=frozenset(ends - loaded.ends.keys()))


def linked(record: Record, rules: Rules) -> set[Uid]:
    """The records that its associations name."""
    names = rules.references.get(record.entity, ())
    return {key_of(c) for n in names for c in cells_of_field(record.cells, n)}


# -- decide ------------------------------------------------------------------------------------


def decide(
    inputs: Sequence[Input],
    touched: Iterable[Uid],
    loaded: Loaded,
    context: Context,
    births: Mapping[Uid, Record],
) -> Effects:
    """The effects of these inputs, given all that `need` asked for."""
    batch = loaded.batch or fold_all(inputs, loaded, context, births)
    effects = Effects(records=dict(batch.after))
    for (uid, seq), outcome in batch.outcomes.items():
        effects.statuses[uid, seq] = (outcome.status, outcome.by)
        if outcome.again_at is not None:
            effects.again[uid] = max(outcome.again_at, effects.again.get(uid, 0))
    records = {u: r for u, r in {**loaded.records, **batch.after}.items() if r is not None}
    effects.known = records
    effects.keys = dict(batch.keys)
    compared = batch.compared or compared_keys(
        in_turned_crowds(batch, loaded, context.rules), batch, loaded, context.rules
    )
    holders = sharing(holders_of(keys_in(compared), batch, loaded), context.rules)
    compare_evidence(compared, holders, records, loaded, effects)
    relate(inputs, batch, records, loaded, effects)
    edges = {
        k: e
        for k, e in {**loaded.edges, **effects.edges_put}.items()
        if k not in effects.edges_drop
    }
    moved = {*batch.stirred, *touched, *compared}
    seeds = {u for u in moved if u in records and records[u].entity != HUB}
    known = Neighbours([*edges.values(), *loaded.edges.values()], records)
    for component in known.components(seeds):
        here = [edges[e.id] for e in known.edges_of(component) if e.id in edges]
        found = cluster.partition(component, here)
        effects.contradictions += found.contradictions
        for group in found.groups:
            resolve_group(group, found, component, loaded, context, batch, effects)
        retire(component, found, loaded, batch, effects)
    mark(batch, effects)
    return effects


class Neighbours:
    """Records and the edges, standing or just dropped, that connect them."""

    def __init__(self, edges: Iterable[Edge], records: Mapping[Uid, Record]) -> None:
        self.records = records
        self.beside: dict[Uid, dict[EdgeId, Edge]] = {}
        for e in edges:
            if e.a in records and e.b in records:
                self.beside.setdefault(e.a, {})[e.id] = e
                self.beside.setdefault(e.b, {})[e.id] = e

    def components(self, seeds: Iterable[Uid]) -> Iterator[dict[Uid, Record]]:
        """Each connected set that holds a seed, once, in the order of their smallest seeds."""
        seen: set[Uid] = set()
        for seed in sorted(seeds):
            if seed not in seen:
                found = self._from(seed)
                seen |= found
                yield {uid: self.records[uid] for uid in sorted(found)}

    def _from(self, seed: Uid) -> set[Uid]:
        found, waiting = {seed}, [seed]
        while waiting:
            beside = self.beside.get(waiting.pop(), {}).values()
            fresh = {end for e in beside for end in (e.a, e.b)} - found
            found |= fresh
            waiting += fresh
        return found

    def edges_of(self, component: Iterable[Uid]) -> list[Edge]:
        """All edges inside a component."""
        return list({i: e for u in component for i, e in self.beside.get(u, {}).items()}.values())


# -- relations ---------------------------------------------------------------------------------


def relate(
    inputs: Sequence[Input],
    batch: Batch,
    records: Mapping[Uid, Record],
    loaded: Loaded,
    effects: Effects,
) -> None:
    """Edges that follow from the story of the changed records and from verdicts."""
    for uid, record in batch.stirred.items():
        for e in standing_edges(record, records, batch.together[uid]):
            if loaded.edges.get(e.id) != e:
                effects.edges_put[e.id] = e
    for item in inputs:
        judge(item, batch, loaded, effects)


def compare_evidence(
    compared: Mapping[Uid, frozenset[Key]],
    holders: Mapping[Key, set[Uid]],
    records: Mapping[Uid, Record],
    loaded: Loaded,
    effects: Effects,
) -> None:
    """The evidence of these records, by their keys: put what is new, drop the rest."""
    standing = evidence_by_record(compared, loaded)
    for uid, keys in compared.items():
        shared: dict[Uid, list[Key]] = {}
        for key in keys & holders.keys():
            for other in (holders[key] & records.keys()) - {uid}:
                shared.setdefault(other, []).append(key)
        for other in sorted(shared):
            e = identity.evidence(records[uid], records[other], shared[other])
            effects.edges_drop.discard(e.id)
            if loaded.edges.get(e.id) != e:
                effects.edges_put[e.id] = e
        effects.edges_drop |= {e.id for other, e in standing[uid].items() if other not in shared}


def compared_keys(
    beside: Iterable[Uid], batch: Batch, loaded: Loaded, rules: Rules
) -> dict[Uid, frozenset[Key]]:
    """The keys of all records whose evidence is compared: those of the batch, those it concerns."""
    known = ((uid, loaded.records[uid]) for uid in beside)
    theirs = {uid: identity.match_keys(record, rules) for uid, record in known if record}
    return {**theirs, **batch.keys}


def in_turned_crowds(batch: Batch, loaded: Loaded, rules: Rules) -> set[Uid]:
    """Other records that have a key which tells something by this batch, or no longer does.

    However many records have it, these are fewer than a crowd.
    """
    moved = {key for uid, keys in batch.keys.items() for key in keys ^ batch.had[uid]}
    now = holders_of(moved, batch, loaded)
    return {
        uid
        for key, uids in now.items()
        if identity.tells(key, len(uids), rules)
        != identity.tells(key, len(loaded.keys[key]), rules)
        for uid in loaded.keys[key] - batch.keys.keys()
    }


def holders_of(keys: Iterable[Key], batch: Batch, loaded: Loaded) -> dict[Key, set[Uid]]:
    """Who has each of these keys now: as stored, but for the records that the batch changes."""
    found = {key: set(loaded.keys[key]).difference(batch.keys) for key in keys}
    for uid, theirs in batch.keys.items():
        for key in theirs & found.keys():
            found[key].add(uid)
    return found


def sharing(holders: Mapping[Key, set[Uid]], rules: Rules) -> dict[Key, set[Uid]]:
    """Those of the keys that tell something, with who has them."""
    return {key: uids for key, uids in holders.items() if identity.tells(key, len(uids), rules)}


def keys_in(*found: Mapping[Uid, frozenset[Key]]) -> set[Key]:
    """All keys of these records."""
    return {key for by_record in found for keys in by_record.values() for key in keys}


def evidence_by_record(uids: Iterable[Uid], loaded: Loaded) -> dict[Uid, dict[Uid, Edge]]:
    """For each of these records the evidence that stands, by the other record."""
    found: dict[Uid, dict[Uid, Edge]] = {uid: {} for uid in uids}
    for e in loaded.edges.values():
        if e.kind == "evidence":
            for own, other in ((e.a, e.b), (e.b, e.a)):
                if own in found:
                    found[own][other] = e
    return found


def spoken_for(record: Record) -> set[Uid]:
    """Records that its refusals speak for, and records whose refusals were written here."""
    cells = map(record.cell, cells_of_field(record.cells, "consent"))
    reached = {uid for cell in cells for claim in cell.claims for uid in claim.reach}
    return reached.union(*record.tightened.values())


STANDING: Mapping[str, tuple[Literal["same", "ask"], str]] = {
    "link": ("same", "created by the hub"),
    "shared": ("same", "were delivered as one"),
    "consent": ("ask", "a refusal speaks for both"),
}


def standing_edges(
    record: Record, records: Mapping[Uid, Record], together: Iterable[Uid]
) -> list[Edge]:
    """Edges that a record's own story makes: created for, once delivered as one, refused for."""
    ends = {"link": {record.anchor}, "shared": together, "consent": spoken_for(record)}
    return [
        edge(record.uid, end, kind, STANDING[kind][0], why=STANDING[kind][1])
        for kind, found in ends.items()
        for end in sorted(found)
        if end != record.uid and end in records
    ]


def judge(item: Input, batch: Batch, loaded: Loaded, effects: Effects) -> None:
    """Verdicts, and merges inside a tool, become edges; the latest verdict on a pair counts."""
    body = item.body
    if (item.uid, item.seq) not in batch.outcomes:
        return
    if isinstance(body, Observation) and body.successor:
        e = edge(item.uid, body.successor, "link", "same", why="merged in the tool")
        effects.edges_put[e.id] = e
    if isinstance(body, Decision) and body.act in ("same", "different"):
        e = edge(item.uid, body.other, "verdict", body.act, at=body.at, by=body.id)
        known = effects.edges_put.get(e.id) or loaded.edges.get(e.id)
        if known is None or (known.at, known.by) < (e.at, e.by):
            effects.edges_put[e.id] = e


# -- golden records ----------------------------------------------------------------------------


def resolve_group(  # noqa: PLR0917
    group: cluster.Group,
    found: cluster.Partition,
    component: Mapping[Uid, Record],
    loaded: Loaded,
    context: Context,
    batch: Batch,
    effects: Effects,
) -> None:
    """The golden record of one group, and what is new about it."""
    members = [component[u] for u in group.members]
    owner = {u: g.uid for g in found.groups for u in g.members}
    before = loaded.golden.get(group.uid)
    golden = Golden(
        uid=group.uid,
        entity=members[0].entity,
        members=group.members,
        cells=golden_cells(
            members,
            component.values(),
            loaded,
            context,
            kept=untouched(before, members, batch, context.rules),
        ),
        number=before.number if before else 0,
        rules=context.rules.version,
        asks=group.asks,
        duplicate_of=min((owner[d] for d in group.doubles if owner[d] < group.uid), default=""),
        beside=where_held({owner[d] for d in group.doubles}, found, component),
    )
    changes = differences(before, golden, members)
    moved = before is None or before.members != golden.members or bool(before.merged_into)
    if changes or moved:
        golden = replace(golden, number=golden.number + 1)
        effects.history.append(
            ChangeSet(
                golden.uid,
                golden.number,
                golden,
                before,
                changes,
                causes(batch, golden.members, before),
            )
        )
        effects.dirty |= {r.uid for r in members if r.state == "live"}
        if any(field_of(c.cell) == "consent" for c in changes):
            effects.urgent |= set(golden.members)
    if golden != before:
        effects.groups.append(golden)
    effects.golden[golden.uid] = golden
    leads = set(cluster.primary(members).values())
    effects.regroup |= {u: (group.uid, u in leads) for u in group.members}


def where_held(
    doubles: set[Uid], found: cluster.Partition, component: Mapping[Uid, Record]
) -> tuple[tuple[str, str], ...]:
    """Where these golden records have a record."""
    members = (component[u] for g in found.groups if g.uid in doubles for u in g.members)
    return tuple(sorted({(r.system, r.object) for r in members if creates.holds_place(r)}))


def untouched(
    before: Golden | None, members: list[Record], batch: Batch, rules: Rules
) -> dict[str, GoldenCell]:
    """Cells that stay as they were: the same records and rules, and nothing entered since."""
    if before is None or before.rules != rules.version:
        return {}
    if before.members != tuple(r.uid for r in members):
        return {}
    moved = [(batch.before[r.uid], r) for r in members if r.uid in batch.after]
    fresh = {n for old, r in moved for n, c in r.cells.items() if c.claims != old.cell(n).claims}
    return {n: c for n, c in before.cells.items() if n not in fresh}


def golden_cells(
    members: list[Record],
    component: Iterable[Record],
    loaded: Loaded,
    context: Context,
    kept: Mapping[str, GoldenCell],
) -> dict[str, GoldenCell]:
    """Every cell that somebody claims, by name. `kept` stay, but consent reaches further."""
    entity = members[0].entity
    names = {n for r in members for n, c in r.cells.items() if c.claims}
    everyone = [r for r in component if r.entity == entity]
    names |= {n for r in everyone for n in r.cells if field_of(n) == "consent"}
    cells: dict[str, GoldenCell] = {}
    for name in sorted(names):
        rule = context.rules.of(entity, name)
        if rule is None or rule.kind == "reference":
            continue
        if name in kept and rule.kind != "consent":
            cells[name] = kept[name]
            continue
        cell = (
            consent.effective(name, members, everyone)
            if rule.kind == "consent"
            else survivorship.survive(name, members, rule)
        )
        if cell is not None:
            cells[name] = with_others(cell, name, members) if rule.kind in SEVERAL else cell
    return cells | reference_cells(members, loaded, context)


SEVERAL = ("email", "phone", "address")


def with_others(cell: GoldenCell, name: str, members: list[Record]) -> GoldenCell:
    """Where people have several: every other value that was entered stays known."""
    others = {
        repr(c.value): c.value
        for r in members
        for c in r.cell(name).claims
        if c.status == "effective" and c.value not in (None, cell.value)
    }
    return replace(cell, also=tuple(others[k] for k in sorted(others)))


def reference_cells(
    members: list[Record], loaded: Loaded, context: Context
) -> dict[str, GoldenCell]:
    """Associations, by golden end: claims on two records of one company are claims on one end."""
    cells: dict[str, GoldenCell] = {}
    for name in context.rules.references.get(members[0].entity, ()):
        rule = context.rules.entities[members[0].entity][name]
        by_end: dict[Uid, list[Record]] = {}
        for record in members:
            for end, cell in cells_by_end(record, name, loaded).items():
                alias = replace(record, cells={element(name, end): cell})
                by_end.setdefault(end, []).append(alias)
        for end, states in sorted(by_end.items()):
            found = survivorship.survive(element(name, end), states, rule)
            if found is not None:
                cells[element(name, end)] = found
    return cells


def cells_by_end(record: Record, name: str, loaded: Loaded) -> dict[Uid, Cell]:
    """One cell for each golden end: of two records of one company the one that is stated."""
    found: dict[Uid, Cell] = {}
    for name_of_cell in cells_of_field(record.cells, name):
        end = loaded.ends.get(key_of(name_of_cell), key_of(name_of_cell))
        cell = record.cells[name_of_cell]
        if end not in found or stated(cell) > stated(found[end]):
            found[end] = cell
    return found


def stated(cell: Cell) -> tuple[bool, int]:
    """Whether its claim says yes, and how late it was made."""
    claim = cell.claim()
    return (claim is not None and claim.value is not None, claim.seq if claim else 0)


def differences(before: Golden | None, after: Golden, members: list[Record]) -> tuple[Change, ...]:
    """The cells whose value or version changed."""
    old = before.cells if before else {}
    return tuple(
        Change(n, old.get(n), after.cells.get(n), author(n, after.cells.get(n), members))
        for n in sorted({*old, *after.cells})
        if old.get(n) != after.cells.get(n)
    )


def author(name: str, cell: GoldenCell | None, members: Iterable[Record]) -> Actor:
    """Who entered the winning claim, as far as its tool tells."""
    if cell is None or cell.winner is None:
        return Actor()
    uid, seq = cell.winner
    claims = (c for r in members if r.uid == uid for c in r.cell(name).claims)
    return next((c.actor for c in claims if c.seq == seq), Actor())


def causes(batch: Batch, members: Iterable[Uid], before: Golden | None) -> tuple[str, ...]:
    """The inputs of the batch that belong to these records, or to those that were here before."""
    own = {*members, *(before.members if before else ())}
    return tuple(f"{uid}:{seq}" for uid, seq in sorted(batch.outcomes) if uid in own)


def retire(
    component: Mapping[Uid, Record],
    found: cluster.Partition,
    loaded: Loaded,
    batch: Batch,
    effects: Effects,
) -> None:
    """Golden ids that lead no group any more: merged into the one their record is in now."""
    owner = {u: g.uid for g in found.groups for u in g.members}
    for uid in sorted(component.keys() - {g.uid for g in found.groups}):
        before = loaded.golden.get(uid)
        if before is not None and before.merged_into != owner[uid]:
            gone = replace(
                before,
                merged_into=owner[uid],
                members=(),
                cells={},
                number=before.number + 1,
                asks=(),
                duplicate_of="",
                beside=(),
            )
            effects.groups.append(gone)
            effects.history.append(
                ChangeSet(
                    uid,
                    gone.number,
                    None,
                    before,
                    (),
                    causes(batch, (uid,), before),
                    merged_into=owner[uid],
                )
            )


def mark(batch: Batch, effects: Effects) -> None:
    """Slots to look at: a record that moved, or whose write came to an end."""
    for uid, after in batch.after.items():
        before = batch.before[uid]
        begun = before.intent is not None or uid in batch.written
        ended = begun and after.intent is None
        effects.ended |= {uid} if ended else set()
        if ended or after.state != before.state or observed(before) != observed(after):
            effects.dirty.add(uid)
        came_to_nothing = after.state in CAME_TO_NOTHING  # also when it was so before the batch
        if came_to_nothing or (after.state, after.departed) != (before.state, before.departed):
            effects.moved.add(effects.regroup[uid][0])
        if (after.state, after.native_id) != (before.state, before.native_id):
            effects.ends.add(uid)


def observed(record: Record) -> dict[str, object]:
    """What the tool was seen to hold."""
    return {n: (c.observed, c.unreadable) for n, c in record.cells.items() if c.known}
