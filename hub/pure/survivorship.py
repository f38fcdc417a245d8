"""Which claim wins a cell. Golden is a function of claims, never of copies that the hub wrote.

To change how a field is decided, change `STRATEGIES`: one function per strategy, claims in, the
claims that are still standing out, best first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hub.pure.model import Claim, GoldenCell, Record, Uid, Version, join
from hub.pure.rules import FieldRule

HOPS_MAX = 3


@dataclass(frozen=True, slots=True)
class Bid:
    """A record's effective claim on a cell, with the rank of its system (0 is the highest)."""

    uid: Uid
    rank: int
    claim: Claim

    @property
    def id(self) -> tuple[Uid, int]:
        """The input that made it."""
        return (self.uid, self.claim.seq)

    def covers(self, other: Bid) -> bool:
        """Whether whoever made this claim had seen the other one."""
        return self is not other and self.claim.covers.get(other.uid, -1) >= other.claim.seq


def bids(cell: str, members: Iterable[Record], rule: FieldRule) -> list[Bid]:
    """One bid per record that has an effective claim, by uid. Nobody outranks a steward's pin."""
    found = ((r, r.cell(cell).claim()) for r in sorted(members, key=lambda r: r.uid))
    return [Bid(r.uid, rank(r, c, rule), c) for r, c in found if c is not None]


def rank(record: Record, claim: Claim, rule: FieldRule) -> int:
    """A person who decided in the hub ranks above all tools."""
    return -1 if claim.actor.kind in ("steward", "customer") else rule.rank(record.system)


def uncovered(all_bids: list[Bid]) -> list[Bid]:
    """Those that no other bid covers; all of them, where there were none such."""
    return [b for b in all_bids if not any(o.covers(b) for o in all_bids)] or all_bids


def without_clears(some: list[Bid]) -> list[Bid]:
    """A clear survives only if nothing else does."""
    return [b for b in some if b.claim.value is not None] or some


def latest(some: Iterable[Bid]) -> Bid:
    """The latest time; equal times by rank, then by uid."""
    return min(some, key=lambda b: (-b.claim.at, b.rank, b.uid))


def newest(all_bids: list[Bid]) -> list[Bid]:
    """What nobody covers; a bound claim competes by rank unless a real one is later."""
    left = without_clears(uncovered(all_bids))
    real = [b for b in left if not b.claim.bound]
    if not real:
        return sorted(left, key=lambda b: (b.rank, b.uid))
    last = latest(real)
    bound = [b for b in left if b.claim.bound and b.claim.at >= last.claim.at]
    return sorted([last, *bound], key=lambda b: (b.rank, b.uid)) if bound else [last]


def authority(all_bids: list[Bid]) -> list[Bid]:
    """The highest rank that has a value: covering a higher rank's claim does not beat it."""
    left = [
        b
        for b in all_bids
        if not any(
            o.covers(b) and (o.rank == b.rank or (_clears(o) and o.rank <= b.rank))
            for o in all_bids
        )
    ]
    left = without_clears(left)
    top = min(b.rank for b in left)
    return newest([b for b in left if b.rank == top])


def _clears(bid: Bid) -> bool:
    return bid.claim.value is None


def union(all_bids: list[Bid]) -> list[Bid]:
    """An element is in while anybody's uncovered claim says so."""
    left = without_clears(uncovered(all_bids))
    return sorted(left, key=lambda b: (-b.claim.at, b.uid))


STRATEGIES: Mapping[str, Callable[[list[Bid]], list[Bid]]] = {
    "newest": newest,
    "authority": authority,
    "union": union,
}


def survive(cell: str, members: Iterable[Record], rule: FieldRule) -> GoldenCell | None:
    """The golden cell, None where nobody claims it."""
    all_bids = bids(cell, members, rule)
    if not all_bids:
        return None
    pinned = [b for b in all_bids if b.claim.pinned]
    standing = [latest(pinned)] if pinned else STRATEGIES[rule.strategy](all_bids)
    winner = standing[0]
    open_bids = uncovered(all_bids)
    return GoldenCell(
        value=winner.claim.value,
        version=version(all_bids),
        winner=winner.id,
        rule="pinned" if pinned else reason(rule, winner, all_bids),
        claims=tuple(b.id for b in all_bids),
        standing=tuple(b.id for b in open_bids),
        conflict=any(
            o.claim.value != winner.claim.value and not winner.covers(o)
            for o in open_bids
            if o is not winner
        ),
        hop=winner.claim.hop,
        parked="our own writes keep coming back changed" if winner.claim.hop >= HOPS_MAX else "",
    )


def version(all_bids: Iterable[Bid]) -> Version:
    """The closed vector of all claims considered, and the latest time among them."""
    considered = list(all_bids)
    vector = join(
        *({b.uid: b.claim.seq} for b in considered), *(b.claim.covers for b in considered)
    )
    return Version(vector, max((b.claim.at for b in considered), default=0))


def reason(rule: FieldRule, winner: Bid, all_bids: list[Bid]) -> str:
    """The rule that chose the winner, as a steward would say it."""
    if len(all_bids) == 1:
        return "the only claim"
    if rule.strategy == "union":
        return "union: in while anybody says so"
    if rule.strategy == "authority":
        return "authority" if winner.rank < len(rule.ranks) else "newest among equal ranks"
    if winner.claim.bound:
        return "first snapshot: highest rank"
    return "newest"
