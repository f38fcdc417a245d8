"""The history of every golden record: append-only, sealed, hash-chained in eight lanes.

An entry's digest covers the digest before it in its lane, its open head and its sealed body, so an
edited, reordered or removed entry breaks the chain; a cut tail shows against the anchor file. The
values in a body are sealed under the key of the golden record's first record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson

from hub.io.rows import Rows
from hub.pure.decide import Change, ChangeSet
from hub.pure.model import GoldenCell, Uid

if TYPE_CHECKING:
    from hub.env import Hub

LANES = 8
START = b"\0" * 32


def lane_of(uid: Uid) -> int:
    """The lane of a golden record, by its id."""
    return blake2b(uid.encode(), digest_size=1).digest()[0] % LANES


def digest(before: bytes, lane: int, n: int, head: Any, body: bytes) -> bytes:
    """What binds an entry to everything before it."""
    text = orjson.dumps([lane, n, head], option=orjson.OPT_SORT_KEYS)
    return blake2b(before + len(text).to_bytes(4) + text + body, digest_size=32).digest()


def write(rows: Rows, hub: Hub, change: ChangeSet) -> None:
    """Append a change set, and announce the new version on the golden topic."""
    lane = lane_of(change.uid)
    last = rows.get("lane", lane=lane) or {"n": 0, "head": START}
    n, at = last["n"] + 1, hub.env.now()
    head = {
        "causes": list(change.causes),
        "rules": hub.context.rules.version,
        "at": at,
        "number": change.number,
        "merged_into": change.merged_into,
    }
    body = hub.vault.close(rows, change.uid, [told(c) for c in change.changes])
    chained = digest(last["head"], lane, n, head, body)
    rows.insert(
        "history",
        {
            "lane": lane,
            "n": n,
            "golden": change.uid,
            "version": change.number,
            "at": at,
            "digest": chained,
            "head": head,
            "body": body,
        },
    )
    rows.upsert("lane", {"lane": lane, "n": n, "head": chained})
    entity = change.golden or change.before
    hub.log.publish(
        rows,
        f"golden.{entity.entity if entity else 'person'}",
        change.uid.encode(),
        hub.codec.golden(change),
        {},
        at,
    )


def told(change: Change) -> dict[str, Any]:
    """One changed cell: before, after, who won and by which rule."""
    return {"cell": change.cell, "before": _side(change.before), "after": _side(change.after)}


def _side(cell: GoldenCell | None) -> Any:
    if cell is None:
        return None
    return {"value": cell.value, "winner": cell.winner, "rule": cell.rule}


def entries(rows: Rows, hub: Hub, golden: Uid) -> list[dict[str, Any]]:
    """The opened history of one golden record, oldest first."""
    found = rows.select("history", {"golden": golden}, order=("version", "lane", "n"))
    return [
        {**r["head"], "version": r["version"], "changes": hub.vault.open(rows, golden, r["body"])}
        for r in found
    ]


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
    for row in rows.select("history", {"lane": lane}, order=("n",)):
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


def heads(rows: Rows) -> dict[int, tuple[int, str]]:
    """Lane to its length and head (hex), for the anchor."""
    return {r["lane"]: (r["n"], r["head"].hex()) for r in rows.select("lane", order=("lane",))}


def check_anchor(rows: Rows, anchored: dict[int, tuple[int, str]]) -> Iterator[Finding]:
    """A lane may be ahead of its anchor, never behind it or beside it."""
    for lane, (n, head) in sorted(anchored.items()):
        row = rows.get("history", lane=lane, n=n) if n else None
        if n and row is None:
            yield Finding(lane, n, f"the anchor saw {n} entries: the tail was cut off")
        elif row is not None and row["digest"].hex() != head:
            yield Finding(lane, n, "differs from what the anchor saw")
