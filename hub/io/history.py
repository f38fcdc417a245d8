"""The history of every golden record: append-only, sealed, hash-chained in eight lanes.

An entry's digest covers the digest before it in its lane, its open head and its sealed body, so an
edited, reordered or removed entry breaks the chain; a cut tail shows against the anchor file. Each
value in a body is sealed under the key of the record in which it was claimed: who erases a person's
records erases them from the history too, and leaves the rest of it readable.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import to_builtins

from hub.io import state
from hub.io.codec import Codec, entity_of, golden_topic
from hub.io.log import digits, outgoing, traceparent
from hub.io.rows import Row, Rows, among, below, paged
from hub.io.seal import CannotOpen
from hub.pure.decide import Change, ChangeSet
from hub.pure.model import Golden, Uid

if TYPE_CHECKING:
    from hub.env import Hub

Sides = list[dict[str, Any]]
Heads = dict[int, tuple[int, str]]  # lane to its length and the digest of its last entry, in hex
LANES = 8
BURIED_AT_ONCE = 200
START = b"\0" * 32
BESIDE = "differs from what the anchor saw"


def lane_of(uid: Uid) -> int:
    """The lane of a golden record, by its id."""
    return blake2b(uid.encode(), digest_size=1).digest()[0] % LANES


def digest(before: bytes, lane: int, n: int, head: Any, body: bytes) -> bytes:
    """What binds an entry to everything before it."""
    text = orjson.dumps([lane, n, head], option=orjson.OPT_SORT_KEYS)
    return blake2b(before + len(text).to_bytes(4) + text + body, digest_size=32).digest()


def write(rows: Rows, hub: Hub, changes: Sequence[ChangeSet]) -> None:
    """Append change sets, and announce the new versions on the golden topic."""
    if not changes:
        return
    traces, bodies = all_traces(rows, changes), closed(rows, hub, changes)
    told = {"lane": among({lane_of(change.uid) for change in changes})}
    lanes = {row["lane"]: row for row in rows.select("lane", told, keep=True)}
    entries: list[Row] = []
    ends: dict[int, Row] = {}
    for change, body in zip(changes, bodies, strict=True):
        lane = lane_of(change.uid)
        last = ends.get(lane) or lanes.get(lane) or {"n": 0, "head": START}
        made = link(hub, change, trace(change, traces), body, last)
        ends[lane] = {"lane": lane, "n": made["n"], "head": made["digest"]}
        entries.append(made)
    rows.insert_many("history", entries)
    rows.upsert_many("lane", ends.values())
    watch_ends(rows, changes, hub.env.now())
    tell = partial(announced, hub, arrivals(changes))
    rows.insert_many("outbox", map(tell, changes, entries))


def link(hub: Hub, change: ChangeSet, followed: str, body: bytes, last: Row) -> Row:
    """The entry of a change set that follows the `last` one of its lane."""
    lane, n, at = lane_of(change.uid), last["n"] + 1, hub.env.now()
    head = {
        "causes": list(change.causes),
        "rules": hub.context.rules.version,
        "at": at,
        "number": change.number,
        "merged_into": change.merged_into,
        "trace": followed,
    }
    return {
        "lane": lane,
        "n": n,
        "golden": change.uid,
        "version": change.number,
        "at": at,
        "digest": digest(last["head"], lane, n, head, body),
        "head": head,
        "body": body,
    }


def arrivals(changes: Iterable[ChangeSet]) -> dict[Uid, list[Uid]]:
    """The golden ids that went into another one, by that one's id."""
    found: dict[Uid, list[Uid]] = {}
    for change in changes:
        if change.merged_into:
            found.setdefault(change.merged_into, []).append(change.uid)
    return found


def announced(hub: Hub, merged: Mapping[Uid, Sequence[Uid]], change: ChangeSet, made: Row) -> Row:
    """The message that tells of a new version."""
    return outgoing(
        golden_topic(entity_of(change)),
        change.uid.encode(),
        hub.codec.golden(change, made["at"], merged.get(change.uid, ())),
        traceparent(made["head"]["trace"], f"{change.uid}:{change.number}"),
        made["at"],
    )


def watch_ends(rows: Rows, changes: Sequence[ChangeSet], at: int) -> None:
    """Golden records that ended get their tombstone later; those that came back get none.

    This stands before the messages of the same transaction, so that whoever publishes a tombstone
    at this moment does it either before them or not at all. Both take their rows in one order.
    """
    last = {c.uid: c for c in sorted(changes, key=lambda c: (c.uid, c.number))}.values()
    ended = [c for c in last if c.golden is None]
    if back := [c.uid for c in last if c.golden and c.before and c.before.merged_into]:
        rows.delete("ended", {"uid": among(back)})
    if ended:
        found = [{"uid": c.uid, "entity": entity_of(c), "at": at} for c in ended]
        rows.upsert_many("ended", found)


def bury(rows: Rows, before: int, at: int) -> int:
    """Publish the tombstones of golden records that ended before a time (ms); returns how many.

    Who was merged in the meantime once more, or came back, is not there any more when its row is
    to be removed.
    """
    due = rows.select("ended", {"at": below(before)}, order=("at",), limit=BURIED_AT_ONCE)
    due.sort(key=lambda row: row["uid"])
    gone = [r for r in due if rows.delete("ended", {"uid": r["uid"], "at": r["at"]})]
    rows.insert_many("outbox", [tombstone(row, at) for row in gone])
    return len(gone)


def tombstone(ended: Row, at: int) -> Row:
    """A message without a value: a compacted topic forgets what it held under this key."""
    event = f"{ended['uid']}:end"
    headers = traceparent(digits(event, 16), event)
    return outgoing(golden_topic(ended["entity"]), ended["uid"].encode(), None, headers, at)


def publish_all(rows: Rows, codec: Codec) -> int:
    """Announce every golden record once more, as it is: a topic that begins anew is whole.

    Those that ended tell where they went, until their tombstone. Returns how many.
    """
    done = 0
    for page in paged(rows, "golden", ["uid"]):
        ended = {r["uid"] for r in rows.select("ended", {"uid": among([r["uid"] for r in page])})}
        told = [row for row in page if not row["merged_into"] or row["uid"] in ended]
        goldens = state.load_goldens(rows, [row["uid"] for row in told])
        made = [republished(codec, row, g) for row in told if (g := goldens[row["uid"]])]
        rows.insert_many("outbox", made)
        done += len(made)
    return done


def republished(codec: Codec, row: Row, golden: Golden) -> Row:
    """The message that tells of a version for another time, with the event id that it had."""
    uid, into, at = row["uid"], row["merged_into"] or "", row["at"]
    now, before = (None, golden) if into else (golden, None)
    change = ChangeSet(uid, row["version"], now, before, (), (), into)
    event = f"{uid}:{row['version']}"
    headers = traceparent(digits(event, 16), event)
    return outgoing(
        golden_topic(row["entity"]), uid.encode(), codec.golden(change, at), headers, at
    )


def all_traces(rows: Rows, changes: Iterable[ChangeSet]) -> dict[str, str]:
    """The trace of every input that led to these change sets, by event id."""
    places = [cause.rpartition(":") for change in changes for cause in change.causes]
    uids, seqs = {uid for uid, _, _ in places}, {int(seq) for _, _, seq in places}
    where = {"uid": among(uids), "seq": among(seqs)}
    found = rows.select("input", where, only=("uid", "seq", "trace"))
    return {f"{row['uid']}:{row['seq']}": row["trace"] for row in found}


def trace(change: ChangeSet, traces: Mapping[str, str]) -> str:
    """The trace of the first input that led to a change set, or one of its own."""
    found = (traces.get(cause) for cause in change.causes)
    return next(filter(None, found), digits(f"{change.uid}:{change.number}", 16))


def closed(rows: Rows, hub: Hub, changes: Iterable[ChangeSet]) -> list[bytes]:
    """The changed cells, each side of them sealed under the record that it was claimed in."""
    told = [owned(change) for change in changes]
    keys = hub.vault.keys(rows, {uid for sides_of in told for uid in sides_of})
    return [
        orjson.dumps(
            {u: seal_sides(rows, hub, u, some, keys) for u, some in sides_of.items()},
            option=orjson.OPT_SORT_KEYS,
        )
        for sides_of in told
    ]


def seal_sides(rows: Rows, hub: Hub, uid: Uid, some: Sides, keys: state.Keys) -> str:
    """What was claimed in one record, sealed, as text."""
    return b64encode(hub.vault.close(rows, uid, orjson.dumps(some), keys)).decode()


def owned(change: ChangeSet) -> dict[Uid, Sides]:
    """The sides of the changed cells, by the record that they were claimed in."""
    found: dict[Uid, Sides] = {}
    for owner, side in (s for c in change.changes for s in sides(c, change.uid)):
        found.setdefault(owner, []).append(side)
    return found


def sides(change: Change, golden: Uid) -> Iterator[tuple[Uid, dict[str, Any]]]:
    """Before and after of one cell, with the record whose key seals it: who won, by which rule."""
    for side, cell in (("before", change.before), ("after", change.after)):
        if cell is not None:
            who = {"by": to_builtins(change.actor)} if side == "after" else {}
            told = {"value": cell.value, "winner": cell.winner, "rule": cell.rule, **who}
            yield (
                cell.winner[0] if cell.winner else golden,
                {"cell": change.cell, "side": side, **told},
            )


def entries(rows: Rows, hub: Hub, golden: Uid) -> list[dict[str, Any]]:
    """The opened history of one golden record, oldest first.

    Each change has `before` and `after`, None where there was no value; `erased` counts the
    records whose part of an entry can be opened no more.
    """
    found = rows.select("history", {"golden": golden}, order=("version", "lane", "n"))
    return [entry(rows, hub, r) for r in found]


def latest(
    rows: Rows, hub: Hub, golden: Uid, before: int | None, most: int
) -> list[dict[str, Any]]:
    """The same, newest first: at most so many, of versions before this one."""
    where = {"golden": golden, **({} if before is None else {"version": below(before)})}
    found = rows.select("history", where, order=("-version", "-lane", "-n"), limit=most)
    return [entry(rows, hub, r) for r in found]


def entry(rows: Rows, hub: Hub, row: Row) -> dict[str, Any]:
    """One entry, opened."""
    return {**row["head"], "version": row["version"], **opened(rows, hub, row["body"])}


def opened(rows: Rows, hub: Hub, body: bytes) -> dict[str, Any]:
    """What can still be opened of an entry's body."""
    readable: list[dict[str, Any]] = []
    erased = 0
    for owner, sealed in orjson.loads(body).items():
        try:
            readable += orjson.loads(hub.vault.open(rows, owner, b64decode(sealed)))
        except CannotOpen:
            erased += 1
    return {"changes": paired(readable), "erased": erased}


def paired(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The two sides of each cell together again."""
    cells: dict[str, dict[str, Any]] = {}
    for side in found:
        cell = cells.setdefault(side["cell"], {"cell": side["cell"], "before": None, "after": None})
        cell[side["side"]] = {k: v for k, v in side.items() if k not in ("cell", "side")}
    return [cells[name] for name in sorted(cells)]


# -- verify ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a lane; `n` is the entry, 0 for the lane as a whole."""

    lane: int
    n: int
    why: str


def check_lane(rows: Rows, lane: int) -> Iterator[Finding]:
    """Walk one lane from its start."""
    before, expected = START, 1
    for row in chain.from_iterable(paged(rows, "history", ["lane", "n"], {"lane": lane})):
        if row["n"] != expected:
            yield Finding(lane, expected, f"entry {expected} is missing")
        if digest(before, lane, row["n"], row["head"], row["body"]) != row["digest"]:
            yield Finding(lane, row["n"], "was changed, or something before it was")
        before, expected = row["digest"], row["n"] + 1
    last = rows.get("lane", lane=lane) or {"n": 0, "head": START}
    if (last["n"], last["head"]) != (expected - 1, before):
        yield Finding(
            lane, last["n"], f"the lane should end at entry {last['n']}, it ends at {expected - 1}"
        )


def heads(rows: Rows) -> Heads:
    """Where every lane is now, for the anchor."""
    found = rows.select("lane", order=("lane",))
    return {row["lane"]: (row["n"], row["head"].hex()) for row in found if row["n"]}


def check_anchor(rows: Rows, anchored: Heads) -> Iterator[Finding]:
    """A lane may be ahead of its anchor, never behind it or beside it."""
    for lane, (n, head) in sorted(anchored.items()):
        row = rows.get("history", lane=lane, n=n) if n else None
        if n and row is None:
            yield Finding(lane, n, f"the anchor saw {n} entries: the tail was cut off")
        elif row is not None and row["digest"].hex() != head:
            yield Finding(lane, n, BESIDE)
