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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hub.pure import cluster, consent, identity, survivorship
from hub.pure.fold import Folded, Terms, fold
from hub.pure.identity import Key
from hub.pure.model import (
    Decision,
    Edge,
    Golden,
    GoldenCell,
    Input,
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
from hub.pure.rules import Rules, Tools

EdgeId = tuple[Uid, Uid, str]


@dataclass
class Loaded:
    """What has been read from the store so far. An absent record is a new one.

    `edges_of`: records whose edges are all in `edges`. `keys`: match key to the uids that have it.
    `ends`: record uid to golden id, for the other ends of associations. It serves one batch of
    inputs, whose fold is kept in `batch`: `need` is asked several times, and folding is dear.
    """

    records: dict[Uid, Record | None] = field(default_factory=dict)
    edges: dict[EdgeId, Edge] = field(default_factory=dict)
    edges_of: set[Uid] = field(default_factory=set)
    keys: dict[Key, frozenset[Uid]] = field(default_factory=dict)
    golden: dict[Uid, Golden | None] = field(default_factory=dict)
    ends: dict[Uid, Uid] = field(default_factory=dict)
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
    """One changed cell of a golden record, for history: `causes` are event ids of the batch."""

    cell: str
    before: GoldenCell | None
    after: GoldenCell | None


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """A new version of a golden record, or its end (`golden` None: merged into `merged_into`)."""

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

    `dirty`: records whose slot is to be looked at. `regroup`: uid to (golden id, leads).
    `moved`: golden records of which a record appeared, went, or came back.
    """

    records: dict[Uid, Record] = field(default_factory=dict)
    statuses: dict[tuple[Uid, int], tuple[str, str]] = field(default_factory=dict)
    keys: dict[Uid, frozenset[Key]] = field(default_factory=dict)
    edges_put: dict[EdgeId, Edge] = field(default_factory=dict)
    edges_drop: set[EdgeId] = field(default_factory=set)
    groups: list[Golden] = field(default_factory=list)
    regroup: dict[Uid, tuple[Uid, bool]] = field(default_factory=dict)
    history: list[ChangeSet] = field(default_factory=list)
    dirty: set[Uid] = field(default_factory=set)
    again: dict[Uid, int] = field(default_factory=dict)
    moved: set[Uid] = field(default_factory=set)
    contradictions: tuple[Edge, ...] = ()


@dataclass(frozen=True)
class Context:
    """The published rules and the tools."""

    rules: Rules
    tools: Tools

    def terms(self, record: Record) -> Terms:
        """What the fold of this record needs."""
        return Terms(self.tools[record.system, record.object], self.rules)


# -- fold --------------------------------------------------------------------------------------


@dataclass
class Batch:
    """The records after the fold, and what the fold said of each input."""

    before: dict[Uid, Record]
    after: dict[Uid, Record]
    outcomes: dict[tuple[Uid, int], Folded]


def fold_all(
    inputs: Sequence[Input], loaded: Loaded, context: Context, births: Mapping[Uid, Record]
) -> Batch:
    """Every input, in the order of its record's sequence. A folded input folds to nothing again.

    `births`: an empty record for each uid of the batch that the store does not have yet.
    """
    batch = Batch({}, {}, {})
    for item in sorted(inputs, key=lambda i: (i.uid, i.seq)):
        known = batch.after.get(item.uid) or loaded.records.get(item.uid) or births[item.uid]
        batch.before.setdefault(item.uid, known)
        if item.seq > known.folded:
            outcome = fold(known, item, context.terms(known))
            batch.after[item.uid] = outcome.record
            batch.outcomes[item.uid, item.seq] = outcome
    return batch


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
    wanted_keys = {k for r in batch.after.values() for k in identity.match_keys(r, context.rules)}
    if keys := wanted_keys - loaded.keys.keys():
        return Need(keys=frozenset(keys))
    reach = first | {u for k in wanted_keys for u in loaded.keys[k]} | named_by(inputs)
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
    reach |= {r.anchor for r in batch.after.values() if r.anchor}
    reach |= {m for r in batch.after.values() for m in r.members}
    reach |= {end for e in loaded.edges.values() for end in (e.a, e.b)}
    if reach - loaded.edges_of or reach - loaded.records.keys():
        return Need(
            edges_of=frozenset(reach - loaded.edges_of),
            records=frozenset(reach - loaded.records.keys()),
        )
    if golden := reach - loaded.golden.keys():
        return Need(golden=frozenset(golden))
    known = {**loaded.records, **batch.after}
    ends = {end for r in known.values() if r for end in linked(r, context.rules)}
    return Need(ends=frozenset(ends - loaded.ends.keys()))


def linked(record: Record, rules: Rules) -> set[Uid]:
    """The records that its associations name."""
    return {
        key_of(c) for n in references(record.entity, rules) for c in cells_of_field(record.cells, n)
    }


def references(entity: str, rules: Rules) -> list[str]:
    """The fields of an entity that are associations."""
    return [f.name for f in rules.entities.get(entity, {}).values() if f.kind == "reference"]


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
    relate(inputs, batch, records, loaded, context, effects)
    edges = {
        k: e
        for k, e in {**loaded.edges, **effects.edges_put}.items()
        if k not in effects.edges_drop
    }
    seeds = set(batch.after) | set(touched)
    component = closure(seeds, [*edges.values(), *loaded.edges.values()], records)
    found = cluster.partition({u: records[u] for u in component}, edges.values())
    effects.contradictions = found.contradictions
    causes = tuple(f"{uid}:{seq}" for uid, seq in sorted(batch.outcomes))
    for group in found.groups:
        resolve_group(group, found, records, loaded, context, causes, effects)
    retire(component, found, loaded, causes, effects)
    mark(batch, effects)
    return effects


def closure(seeds: Iterable[Uid], edges: Iterable[Edge], records: Mapping[Uid, Record]) -> set[Uid]:
    """All records that any edge, standing or just dropped, connects with the seeds."""
    beside: dict[Uid, set[Uid]] = {}
    for e in edges:
        beside.setdefault(e.a, set()).add(e.b)
        beside.setdefault(e.b, set()).add(e.a)
    found: set[Uid] = set()
    waiting = [u for u in seeds if u in records]
    while waiting:
        uid = waiting.pop()
        if uid not in found:
            found.add(uid)
            waiting += [u for u in beside.get(uid, ()) if u in records]
    return found


# -- relations ---------------------------------------------------------------------------------


def relate(
    inputs: Sequence[Input],
    batch: Batch,
    records: Mapping[Uid, Record],
    loaded: Loaded,
    context: Context,
    effects: Effects,
) -> None:
    """Keys and edges that follow from the changed records and from verdicts."""
    fresh = {uid: identity.match_keys(r, context.rules) for uid, r in batch.after.items()}
    for uid, record in batch.after.items():
        if fresh[uid] != identity.match_keys(batch.before[uid], context.rules):
            effects.keys[uid] = fresh[uid]
        compare_evidence(record, fresh, records, loaded, context, effects)
        for e in standing_edges(record, records):
            if loaded.edges.get(e.id) != e:
                effects.edges_put[e.id] = e
    for item in inputs:
        judge(item, batch, loaded, effects)


def compare_evidence(
    record: Record,
    fresh: Mapping[Uid, frozenset[Key]],
    records: Mapping[Uid, Record],
    loaded: Loaded,
    context: Context,
    effects: Effects,
) -> None:
    """The evidence edges of one changed record: put what is new, drop what no longer holds."""
    mine = fresh[record.uid]
    near = {u for k in mine for u in loaded.keys.get(k, ())}
    near |= {u for u, keys in fresh.items() if keys & mine}
    found = identity.evidence_edges(
        record, (records[u] for u in sorted(near) if u in records), context.rules
    )
    for e in found.values():
        effects.edges_drop.discard(e.id)
        if loaded.edges.get(e.id) != e:
            effects.edges_put[e.id] = e
    for key, e in loaded.edges.items():
        other = e.b if e.a == record.uid else e.a
        if record.uid in (e.a, e.b) and e.kind == "evidence" and other not in found:
            effects.edges_drop.add(key)


def standing_edges(record: Record, records: Mapping[Uid, Record]) -> list[Edge]:
    """Edges that a record's own story makes: created for, merged into, once delivered as one."""
    made = []
    if record.anchor and record.anchor in records and record.anchor != record.uid:
        made.append(edge(record.uid, record.anchor, "link", "same", why="created by the hub"))
    return made + [
        edge(record.uid, m, "shared", "same", why="were delivered as one")
        for m in record.delivered
        if m != record.uid and m in records
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
    records: Mapping[Uid, Record],
    loaded: Loaded,
    context: Context,
    causes: tuple[str, ...],
    effects: Effects,
) -> None:
    """The golden record of one group, and what is new about it."""
    members = [records[u] for u in group.members]
    owner = {u: g.uid for g in found.groups for u in g.members}
    before = loaded.golden.get(group.uid)
    golden = Golden(
        uid=group.uid,
        entity=members[0].entity,
        members=group.members,
        cells=golden_cells(members, records.values(), loaded, context),
        number=before.number if before else 0,
        rules=context.rules.version,
        asks=group.asks,
        duplicate_of=min((owner[d] for d in group.doubles if owner[d] < group.uid), default=""),
    )
    changes = differences(before, golden)
    moved = before is None or before.members != golden.members or bool(before.merged_into)
    if changes or moved:
        golden = replace(golden, number=golden.number + 1)
        effects.history.append(
            ChangeSet(golden.uid, golden.number, golden, before, changes, causes)
        )
        effects.dirty |= {r.uid for r in members if r.state == "live"}
    if golden != before:
        effects.groups.append(golden)
    leads = set(cluster.primary(members).values())
    effects.regroup |= {u: (group.uid, u in leads) for u in group.members}


def golden_cells(
    members: list[Record], component: Iterable[Record], loaded: Loaded, context: Context
) -> dict[str, GoldenCell]:
    """Every cell that somebody claims, by name."""
    entity = members[0].entity
    names = {n for r in members for n, c in r.cells.items() if c.claims}
    everyone = [r for r in component if r.entity == entity]
    names |= {n for r in everyone for n in r.cells if field_of(n) == "consent"}
    cells: dict[str, GoldenCell] = {}
    for name in sorted(names):
        rule = context.rules.of(entity, name)
        if rule is None or rule.kind == "reference":
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
    for name in references(members[0].entity, context.rules):
        rule = context.rules.entities[members[0].entity][name]
        by_end: dict[Uid, list[Record]] = {}
        for record in members:
            for cell in cells_of_field(record.cells, name):
                end = loaded.ends.get(key_of(cell), key_of(cell))
                alias = replace(record, cells={element(name, end): record.cells[cell]})
                by_end.setdefault(end, []).append(alias)
        for end, states in sorted(by_end.items()):
            found = survivorship.survive(element(name, end), states, rule)
            if found is not None:
                cells[element(name, end)] = found
    return cells


def differences(before: Golden | None, after: Golden) -> tuple[Change, ...]:
    """The cells whose value or version changed."""
    old = before.cells if before else {}
    names = sorted({*old, *after.cells})
    return tuple(
        Change(n, old.get(n), after.cells.get(n)) for n in names if old.get(n) != after.cells.get(n)
    )


def retire(
    component: set[Uid],
    found: cluster.Partition,
    loaded: Loaded,
    causes: tuple[str, ...],
    effects: Effects,
) -> None:
    """Golden ids that lead no group any more: merged into the one their record is in now."""
    owner = {u: g.uid for g in found.groups for u in g.members}
    for uid in sorted(component - {g.uid for g in found.groups}):
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
            )
            effects.groups.append(gone)
            effects.history.append(
                ChangeSet(uid, gone.number, None, before, (), causes, merged_into=owner[uid])
            )


def mark(batch: Batch, effects: Effects) -> None:
    """Slots to look at: a record that moved, or whose write came to an end."""
    for uid, after in batch.after.items():
        before = batch.before[uid]
        ended = before.intent is not None and after.intent is None
        if ended or after.state != before.state or observed(before) != observed(after):
            effects.dirty.add(uid)
        if (after.state, after.departed) != (before.state, before.departed):
            effects.moved.add(effects.regroup[uid][0])


def observed(record: Record) -> dict[str, object]:
    """What the tool was seen to hold."""
    return {n: (c.observed, c.unreadable) for n, c in record.cells.items() if c.known}
