"""Consent is a ratchet: it only widens by newer, explicit, recorded evidence of a person's act.

The facts are claims of `consent[…]` cells: refusals (`out`) and proven opt-ins (`in`). Clocks lift
nothing: an opt-in lifts exactly the refusals that whoever gave it had seen, and none where its
proof is dated before them. A refusal counts for every record it spoke for when it was given and
every record that it was written to since, wherever these are now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hub.pure.model import GoldenCell, Record
from hub.pure.survivorship import Bid, version


def facts(cell: str, records: Iterable[Record]) -> Iterator[Bid]:
    """Every fact of these records on one consent cell."""
    for record in sorted(records, key=lambda r: r.uid):
        for claim in record.cell(cell).claims:
            if claim.status == "effective":
                yield Bid(record.uid, 0, claim)


def counts_for(refusal: Bid, cell: str, members: Iterable[Record]) -> bool:
    """Whether a refusal speaks for one of these records, also after a split."""
    return any(
        r.uid == refusal.uid
        or r.uid in refusal.claim.reach
        or r.tightened.get(cell, {}).get(refusal.uid, -1) >= refusal.claim.seq
        for r in members
    )


def effective(cell: str, members: list[Record], component: Iterable[Record]) -> GoldenCell | None:
    """The state for these members, None where there is no fact: then the hub writes nothing."""
    own = list(facts(cell, members))
    ours = {b.id for b in own}
    optins = once(b for b in own if b.claim.value == "in")
    refusals = [
        b
        for b in facts(cell, component)
        if b.claim.value == "out" and (b.id in ours or counts_for(b, cell, members))
    ]
    considered = sorted({b.id: b for b in (*optins, *refusals)}.values(), key=lambda b: b.id)
    if not considered:
        return None
    shown = by_proof(b for b in own if b.claim.value == "in")
    standing = [r for r in refusals if not any(covered(r, seen) for seen in shown.values())]
    winner = standing[0] if standing else optins[0]
    return GoldenCell(
        value=winner.claim.value,
        version=version(considered),
        winner=winner.id,
        rule="a refusal stands" if standing else "proven opt-in, no refusal left",
        claims=tuple(b.id for b in considered),
        standing=tuple(b.id for b in standing or optins),
    )


def by_proof(optins: Iterable[Bid]) -> dict[object, list[Bid]]:
    """Every appearance of each proof: the same act of a person, shown by several tools."""
    found: dict[object, list[Bid]] = {}
    for bid in optins:
        found.setdefault(bid.claim.raw["proof"], []).append(bid)
    return found


def covered(refusal: Bid, appearances: Iterable[Bid]) -> bool:
    """Whether a proof came after a refusal: an old proof that turns up late lifts nothing."""
    return all(bid.covers(refusal) for bid in appearances)


def once(optins: Iterable[Bid]) -> list[Bid]:
    """Each proof counts once, where it was seen first; the latest proof leads."""
    first = (min(seen, key=lambda b: b.id) for seen in by_proof(optins).values())
    return sorted(first, key=lambda b: (-b.claim.at, b.uid))
