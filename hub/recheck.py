"""What two resolvers cannot see of each other is looked at once more, after the commit.

Each holds the records that it decides about. But somebody who is about to be found by the same
match key, or to name the same company, is held by the other one, and not committed yet. So whoever
has committed looks again at what it had searched for: the last of the two sees both. A row of
`recheck` says that this is still to be done, for the case that the process dies in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hub.env import Hub
from hub.io import state
from hub.io.rows import Rows, among, below
from hub.pure import identity
from hub.pure.decide import Effects, Loaded, holders_of, linked
from hub.pure.identity import Key
from hub.pure.model import Uid

OVERDUE_MS = 10_000  # who has not looked again by then never will
AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Seen:
    """What was searched for, and what was found, with what was added to it.

    `keys`: who has each match key that somebody got. `ends`: the golden ids of companies that
    somebody names. `moved`: companies that changed place, `referrers`: who names them.
    """

    id: str
    keys: Mapping[Key, frozenset[Uid]]
    ends: Mapping[Uid, Uid]
    moved: frozenset[Uid]
    referrers: frozenset[Uid]


@dataclass(frozen=True, slots=True)
class Late:
    """What turned up since: records whose keys are compared once more, and records to decide."""

    again: frozenset[Uid]
    touched: frozenset[Uid]


def promise(
    rows: Rows, hub: Hub, effects: Effects, loaded: Loaded, moved: Iterable[Uid], on: Iterable[Uid]
) -> Seen | None:
    """Say what has to be looked at again; None where there is nothing, or nobody else."""
    if rows.alone:
        return None
    known = holders(loaded)
    seen = Seen(hub.env.uid(), known, loaded.ends, frozenset(moved), frozenset(on))
    if not (seen.keys or seen.ends or seen.moved):
        return None
    linking = {u for u, r in effects.records.items() if linked(r, hub.context.rules)}
    uids = sorted({*effects.keys, *linking, *seen.moved})
    rows.insert("recheck", {"id": seen.id, "at": rows.time(hub.env.now()), "uids": uids})
    return seen


def holders(loaded: Loaded) -> dict[Key, frozenset[Uid]]:
    """Who has the keys that records got, as far as was known when it was decided."""
    if loaded.batch is None:
        return {}
    had = loaded.batch.had
    got = {key for uid, keys in loaded.batch.keys.items() for key in keys - had[uid]}
    return {key: frozenset(u) for key, u in holders_of(got, loaded.batch, loaded).items()}


def late(rows: Rows, hub: Hub, seen: Seen) -> Late:
    """What turned up since."""
    again: set[Uid] = set()
    for key, uids in state.load_keys(rows, hub.vault, seen.keys).items():
        before = seen.keys[key]
        if uids != before:
            tells = [identity.tells(key, len(n), hub.context.rules) for n in (before, uids)]
            again |= uids if tells[0] != tells[1] else uids & before
    ends = state.golden_ids(rows, seen.ends)
    other = {end for end, golden in ends.items() if golden != seen.ends[end]}
    naming = named_by(rows, other) | (named_by(rows, seen.moved) - seen.referrers)
    return Late(frozenset(again), frozenset(naming | again))


def named_by(rows: Rows, ends: Iterable[Uid]) -> set[Uid]:
    """Who names these companies."""
    found = rows.select("assoc", {"other": among(ends)}, only=("uid", "entity", "other"))
    return {row["uid"] for row in found}


def overdue(rows: Rows, hub: Hub) -> tuple[list[str], Late]:
    """What somebody promised to look at again and did not: all of it is looked at."""
    if rows.alone:
        return [], Late(frozenset(), frozenset())
    before = below(rows.time(hub.env.now()) - OVERDUE_MS)
    found = rows.select("recheck", {"at": before}, order=("at",), limit=AT_ONCE)
    uids = frozenset(uid for row in found for uid in row["uids"])
    return [row["id"] for row in found], Late(uids, uids | named_by(rows, uids))
