"""Step two: the resolver. Notices in, one transaction out: records, golden records, history.

It is the only step that changes what is known. A micro-batch takes the records that the log names,
reads their pending inputs from the table (the table is the truth, the log only says where to
look), asks `decide`, and stores every effect in the transaction that moves its log position.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import structlog

from hub import dead, inputs, links, recheck, rulesets, slots
from hub.env import Hub
from hub.io import history, state, traces
from hub.io.codec import cdc_topic
from hub.io.log import LogDown, Message, Moved
from hub.io.rows import Row, Rows, StoreFull, above, among, at_most
from hub.io.schemas import NoRegistry
from hub.io.seal import CannotOpen
from hub.io.tables import Uid as UidKind
from hub.leases import LeaseLost
from hub.links import Link
from hub.pure.decide import ChangeSet, Effects, Loaded, decide, need
from hub.pure.model import Edge, Input, Record, Uid, key_of
from hub.recheck import Late, Seen

LOG = structlog.get_logger()
GROUP = "resolve"
BATCH = 200
IDLE_MS = 1_000
OVERDUE_MS = 10_000
NEW: Row = {"holds": {}}  # the slot of a record that was never marked
# Nothing is wrong with the inputs: the step is over, as a whole.
STOPS = (StoreFull, LeaseLost, Moved, LogDown, NoRegistry, rulesets.OtherRules)


def step(hub: Hub) -> int:
    """One micro-batch; returns when to look again (ms): who brings more later says so."""
    try:
        taken = turn(hub)
    except Moved as moved:
        LOG.info("partition_moved", why=str(moved))
        taken = BATCH
    rest = 0 if taken == BATCH or hub.log.apart else IDLE_MS
    return hub.env.now() + rest


def drain(hub: Hub) -> None:
    """Resolve all that was taken in, where no loop does it.

    Topics that lie apart are read by those who are in the group: the table has all of it, too.
    """
    while (late_turn(hub, 0) if hub.log.apart else turn(hub)) == BATCH:
        pass


def turn(hub: Hub) -> int:
    """Take what was announced next and resolve it; returns how much it was."""
    work = partial(batch, hub)
    try:
        done, taken = hub.log.turn(hub.env, GROUP, topics(hub), BATCH, work, "resolve:commit")
    except STOPS:
        raise
    except Exception as error:
        LOG.warning("batch_broken", why=repr(error))
        messages = hub.log.peek(hub.env, GROUP, topics(hub), BATCH)
        if not messages:
            raise
        done, taken = one_by_one(hub, messages), BATCH
    if not taken:
        return late_turn(hub, OVERDUE_MS)
    follow(hub, done)
    return taken


def late_turn(hub: Hub, age_ms: int) -> int:
    """Resolve what is pending for so long, noticed or not; returns how much it was."""
    done, taken = overdue(hub, age_ms)
    follow(hub, done)
    if hub.log.apart:
        follow(hub, look_for_others(hub))
    return taken


def follow(hub: Hub, done: Done | None) -> None:
    """After the commit: wake those who have something to do, and look again."""
    while done:
        if done.clashes:
            hub.process.count("conflicts", n=done.clashes)
        for system in sorted(done.marked):
            hub.env.wake(f"deliver:{system}")
        done = look_again(hub, done.seen) if done.seen else None


def batch(hub: Hub, rows: Rows, messages: Sequence[Message]) -> Done:
    """Resolve what these messages tell of."""
    for strange in (m for m in messages if uid_of(m) is None):
        LOG.warning("message_set_aside", source=strange.topic)
        state.count(rows, strange.topic.split(".")[1], "messages_set_aside")
    log_taken(messages)
    with uncollected():
        return resolve(rows, hub, named(messages), notices=messages)


def log_taken(messages: Iterable[Message]) -> None:
    """What is resolved, for who follows a change through the log."""
    if LOG.is_enabled_for(logging.DEBUG):
        for message in messages:
            trace = traces.trace_in(message.headers.get(traces.HEADER, ""))
            LOG.debug("message_taken", source=message.topic, trace=trace)


def uid_of(message: Message) -> Uid | None:
    """The record that a message tells of, None where its key is no uid: others may write too."""
    try:
        text = message.key.decode()
        UidKind.put(text)
    except ValueError:
        return None
    return text


def named(messages: Iterable[Message]) -> set[Uid]:
    """The records that messages tell of."""
    return {uid for uid in map(uid_of, messages) if uid is not None}


def overdue(hub: Hub, age_ms: int) -> tuple[Done | None, int]:
    """Resolve what is pending for so long: the log has lost its notice, or is far behind.

    Returns what it came to, and how many inputs it was, at most `BATCH`.
    """
    late = {"status": "pending", "at": at_most(hub.env.now() - age_ms)}
    found = hub.env.view(lambda rows: rows.select("input", late, ("at",), BATCH, only=("uid",)))
    if not found:
        return None, 0
    LOG.warning("notices_overdue", count=len(found))
    uids = {row["uid"] for row in found}
    try:
        done = hub.env.commit(lambda rows: resolve(rows, hub, uids), "resolve:overdue")
    except STOPS:
        raise
    except Exception:  # noqa: BLE001  as in a turn
        done = each(hub, uids, ())
    return done, len(found)


def look_again(hub: Hub, seen: Seen) -> Done:
    """What was added beside us meanwhile is decided with what we have added."""
    late = hub.env.view(lambda rows: recheck.late(rows, hub, seen))
    settle = partial(settle_late, hub=hub, promised=[seen.id], late=late)
    return hub.env.commit(settle, "resolve:recheck")


def look_for_others(hub: Hub) -> Done | None:
    """The same for who has promised it and is gone; None where nobody has."""
    promised, late = hub.env.view(lambda rows: recheck.overdue(rows, hub))
    settle = partial(settle_late, hub=hub, promised=promised, late=late)
    return hub.env.commit(settle, "resolve:recheck") if promised else None


def settle_late(rows: Rows, hub: Hub, promised: Sequence[str], late: Late) -> Done:
    """Decide what turned up late, and strike out that somebody has to look."""
    done = resolve(rows, hub, (), late.touched, late.again) if late.touched else Done(set())
    rows.delete("recheck", {"id": among(promised)})
    return done


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles: all that a batch makes is held until its end, so it would find none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def one_by_one(hub: Hub, messages: Sequence[Message]) -> Done:
    """A batch that breaks is taken record by record, so that a poison record blocks only itself."""
    done = each(hub, named(messages), messages)
    hub.env.commit(lambda rows: hub.log.done(rows, GROUP, messages), "resolve:position")
    return done


def each(hub: Hub, uids: Iterable[Uid], notices: Sequence[Message]) -> Done:
    """Resolve one record after the other, and set aside what cannot be."""
    for uid in sorted(uids):
        work = partial(resolve, hub=hub, uids=[uid], notices=notices)
        try:
            hub.env.commit(work, "resolve:one")
        except STOPS:
            raise
        except Exception as poison:  # noqa: BLE001
            park_uid = partial(park_all, hub=hub, uid=uid, error=poison, notices=notices)
            hub.env.commit(park_uid, "resolve:park")
    return Done(set(hub.systems))


def park_all(rows: Rows, hub: Hub, uid: Uid, error: Exception, notices: Sequence[Message]) -> None:
    """Set every waiting input of a record aside; the next full reading starts it afresh."""
    rows.lock([uid])
    for row in state.pending_inputs(rows, [uid]):
        park(rows, hub, row, f"{type(error).__name__}: {error}", error, notices)


def topics(hub: Hub) -> list[str]:
    """The topics of all captured objects."""
    return [cdc_topic(s.name, o) for s in hub.systems.values() for o in s.specs]


@dataclass(frozen=True, slots=True)
class Done:
    """What a batch came to.

    `marked`: the systems in which a record moved, a link is to be looked at, or one is wanted.
    `seen`: what is to be looked at again after the commit. `clashes`: cells of golden records in
    which a conflict has come up.
    """

    marked: set[str]
    seen: Seen | None = None
    clashes: int = 0


def resolve(
    rows: Rows,
    hub: Hub,
    uids: Iterable[Uid],
    touched: Iterable[Uid] = (),
    again: Iterable[Uid] = (),
    notices: Sequence[Message] = (),
) -> Done:
    """Fold the pending inputs of these records, then decide all that they touch anew.

    `again`: those of the `touched` whose keys are looked up as if they were new. `notices` are the
    messages that told of the inputs, for those that have to be set aside. History comes last: its
    lanes are the same few for everybody.
    """
    rulesets.check(rows, hub.context.rules.version)
    rows.lock({*uids, *touched})
    waiting = state.pending_inputs(rows, uids)
    keys = hub.vault.keys(rows, {row["uid"] for row in waiting})
    opened = [i for i in (readable(rows, hub, r, keys, notices) for r in waiting) if i]
    loaded = Loaded(again=frozenset(again))
    effects = answer(rows, hub, opened, frozenset(touched), loaded)
    marked, changes = store(rows, hub, effects), effects.history
    moved = relocated(rows, effects)
    if onward := frozenset(recheck.named_by(rows, moved)) if moved else None:
        marked |= mark_referrers(rows, onward, hub.env.now())
        beyond = answer(rows, hub, (), onward)
        marked |= store(rows, hub, beyond)
        changes = changes + beyond.history
    seen = recheck.promise(rows, hub, effects, loaded, moved, onward or ())
    history.write(rows, hub, changes)
    return Done(marked, seen, sum(map(clashes, changes)))


def clashes(change: ChangeSet) -> int:
    """How many cells are in conflict by this change that were in none before."""
    came = [c for c in change.changes if c.after and c.after.conflict]
    return sum(1 for c in came if not (c.before and c.before.conflict))


def readable(
    rows: Rows, hub: Hub, row: Row, keys: state.Keys, notices: Sequence[Message]
) -> Input | None:
    """The input, or None when it cannot be decoded: it is parked, the rest goes on."""
    try:
        return state.open_input(rows, hub.vault, row, keys)
    except (ValueError, CannotOpen) as error:
        park(rows, hub, row, str(error), error, notices)
        return None


def park(
    rows: Rows, hub: Hub, row: Row, why: str, error: Exception, notices: Sequence[Message]
) -> None:
    """Set an input aside, visible and replayable; it keeps its number."""
    dead.publish(rows, hub, row, error, notices)
    LOG.warning("input_parked", trace=state.input_trace(rows, row["uid"], row["seq"]))
    rows.update("input", {"uid": row["uid"], "seq": row["seq"]}, {"status": "parked", "by": why})
    rows.upsert(
        "parked",
        {
            "id": f"{row['uid']}:{row['seq']}",
            "kind": "input",
            "state": "open",
            "at": hub.env.now(),
            "uid": row["uid"],
            "why": why,
            "doc": {"seq": row["seq"]},
        },
    )


def repair(rows: Rows, record: Record) -> None:
    """A later reading supersedes the parked ones before it: nobody has to replay them."""
    readings = {"uid": record.uid, "kind": "observation"}
    for row in rows.select("input", {**readings, "status": "parked"}):
        later = {**readings, "status": "applied", "seq": above(row["seq"])}
        if last := rows.select("input", later, order=("-seq",), limit=1):
            where = {"uid": row["uid"], "seq": row["seq"]}
            by = f"{state.REPLAYED}{record.uid}:{last[0]['seq']}"
            rows.update("input", where, {"status": "superseded", "by": by})
            slots.close(rows, f"{row['uid']}:{row['seq']}")


def answer(
    rows: Rows,
    hub: Hub,
    opened: Sequence[Input],
    touched: Iterable[Uid],
    loaded: Loaded | None = None,
) -> Effects:
    """Load what `decide` needs, beside what is `loaded`, then let it decide."""
    loaded = loaded or Loaded()
    uids = {i.uid for i in opened}
    rows.lock(uids)
    births = born(rows, uids)
    loaded.records |= births
    while wanted := need(opened, touched, loaded, hub.context, births):
        state.fill(rows, hub.vault, loaded, wanted)
    return decide(opened, touched, loaded, hub.context, births)


def born(rows: Rows, uids: set[Uid]) -> dict[Uid, Record]:
    """The records of the batch as they stand (their rows were laid when they were minted)."""
    return {u: r for u, r in state.load_records(rows, uids).items() if r is not None}


# -- storing effects ---------------------------------------------------------------------------


def store(rows: Rows, hub: Hub, effects: Effects) -> set[str]:
    """Every effect of a batch that is folded for the first time, but for its history.

    Returns the systems in which a record moved, a link is to be looked at, or one is wanted.
    """
    moved = project_all(rows, hub, effects)
    rows.update_many(
        "input",
        [
            {"uid": uid, "seq": seq, "status": status, "by": by or None}
            for (uid, seq), (status, by) in effects.statuses.items()
        ],
    )
    slots.settle_intents(rows, (effects.records[uid] for uid in sorted(effects.ended)))
    if rows.count("input", {"status": "parked"}):
        for record in effects.records.values():
            repair(rows, record)
    unchanged = effects.moved - {g.uid for g in effects.groups}
    beside = (g for g in state.load_goldens(rows, unchanged).values() if g is not None)
    wanting = slots.review(rows, hub, (*effects.groups, *beside), effects.known)
    marked = mark_all(rows, hub, effects, effects.dirty | moved)
    contradict(rows, hub, effects.contradictions)
    return marked | wanting | {record.system for record in effects.records.values()}


def mark_all(rows: Rows, hub: Hub, effects: Effects, dirty: set[Uid]) -> set[str]:
    """The links that are to be looked at, and the records that are to be read again.

    Each link is compared: one that is at rest is not marked. Returns the systems of the others.
    """
    wanted = dirty | effects.again.keys()
    known = {**state.load_records(rows, wanted - effects.known.keys()), **effects.known}
    looked = {uid: record for uid in sorted(dirty) if (record := known[uid])}
    for gone in filter(slots.departed, looked.values()):
        depart(rows, hub, gone)
    laid = {slot["uid"]: slot for slot in rows.select("slot", {"uid": among(looked)})}
    resting = at_rest(rows, hub, effects, looked) - {u for u in laid if laid[u]["held"]}
    slots.clean_all(rows, [u for u in laid if u in resting and laid[u]["dirty"] is not None])
    marks = [
        (record, slots.CONSENT if uid in effects.urgent else slots.EDIT)
        for uid, record in looked.items()
        if record.alive and uid not in resting
    ]
    state.mark_all(rows, marks, laid, hub.env.now())
    for record, _ in marks:
        if "departed" in laid.get(record.uid, NEW)["holds"]:
            slots.release(rows, record)
    for uid in sorted(effects.again):
        if unsettled := known[uid]:
            inputs.again(rows, unsettled, hub.env.now(), effects.again[uid])
            hub.env.wake(f"capture:{unsettled.system}")
    return {record.system for record, _ in marks}


def at_rest(rows: Rows, hub: Hub, effects: Effects, looked: Mapping[Uid, Record]) -> set[Uid]:
    """Those of these records that are equal to golden, with nothing to say about it."""
    where = {"uid": among(looked.keys() - effects.regroup.keys())}
    known = rows.select("record", where, only=("uid", "golden", "role"))
    known += [{"uid": u, **placed(effects, u)} for u in looked if u in effects.regroup]
    goldens = effects.golden | state.load_goldens(
        rows, {row["golden"] for row in known} - effects.golden.keys()
    )
    resting = set()
    for row in known:
        record, golden = looked[row["uid"]], goldens[row["golden"]]
        system = hub.systems.get(record.system)
        if golden and system and record.object in system.specs:
            link = Link(hub, system, system.specs[record.object])
            resting |= {record.uid} if links.at_rest(rows, link, row, record, golden) else set()
    return resting


def project_all(rows: Rows, hub: Hub, effects: Effects) -> set[Uid]:
    """What a refold rebuilds as well: records, keys, edges, golden records.

    Returns the records that lead now where they did not, or the other way round.
    """
    state.save_records(rows, effects.records.values())
    project(rows, effects.records.values())
    state.save_keys(rows, hub.vault, effects.keys)
    state.save_edges(rows, effects.edges_put.values(), effects.edges_drop)
    state.save_goldens(rows, effects.groups, hub.env.now())
    return regroup(rows, effects)


def regroup(rows: Rows, effects: Effects) -> set[Uid]:
    """Golden id and role of every record of a touched component; returns whose role moved."""
    if not effects.regroup:
        return set()
    where = {"uid": among(effects.regroup)}
    before = rows.select("record", where, only=("uid", "golden", "role"))
    after = [{"uid": row["uid"], **placed(effects, row["uid"])} for row in before]
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    rows.update_many("record", [new for _, new in changed])
    return {new["uid"] for old, new in changed if old["role"] != new["role"]}


def placed(effects: Effects, uid: Uid) -> dict[str, str]:
    """The golden id of a record, and its role there."""
    golden, leads = effects.regroup[uid]
    return {"golden": golden, "role": "primary" if leads else "secondary"}


def project(rows: Rows, records: Iterable[Record]) -> None:
    """The associations of records, so that the other end can find them."""
    rows.upsert_many(
        "assoc",
        [
            {"uid": record.uid, "entity": "company", "other": other}
            for record in records
            for other in sorted(map(key_of, filter(associates, record.cells)))
        ],
    )


def associates(cell: str) -> bool:
    """Whether a cell is an association with a company."""
    return cell.startswith(("companies[", "parent["))


def depart(rows: Rows, hub: Hub, record: Record) -> None:
    """A record that is gone from its tool is held, unless a newcomer leads in its place."""
    golden = state.golden_of(rows, record.uid)
    if golden is None or not slots.replaced(record, state.members_of(rows, golden)):
        slots.hold_departed(rows, hub, record)


def relocated(rows: Rows, effects: Effects) -> set[Uid]:
    """The possible ends of associations that moved: another golden id, or a record came or went."""
    moved = {
        uid
        for g in effects.history
        for uid in (g.golden.members if g.golden else (g.uid,))
        if g.golden is None or g.before is None or g.golden.members != g.before.members
    }
    ends = [uid for uid in effects.ends if effects.records[uid].entity == "company"]
    goldens = (state.golden_of(rows, uid) for uid in ends)
    return moved.union(ends, (m for g in goldens if g for m in g.members))


def mark_referrers(rows: Rows, uids: Iterable[Uid], now: int) -> set[str]:
    """The links of records whose association's other end moved are to be looked at: where."""
    goldens = (state.golden_of(rows, uid) for uid in sorted(uids))
    found = (m for golden in goldens if golden for m in state.members_of(rows, golden))
    members = [m for m in found if m.alive]
    state.dirty_all(rows, [(m, slots.EDIT) for m in members], now)
    return {m.system for m in members}


def contradict(rows: Rows, hub: Hub, edges: Iterable[Edge]) -> None:
    """A *same* that would cross a *different* is for a steward."""
    for e in edges:
        rows.upsert(
            "task",
            {
                "id": f"verdicts:{e.a}:{e.b}",
                "kind": "contradiction",
                "state": "open",
                "at": hub.env.now(),
                "uid": e.a,
                "other": e.b,
                "why": "somebody said same, somebody said different on the way",
                "doc": {},
            },
        )
