"""Which records are one customer: a pure function of a component's records and edges.

Edges are taken in one total order; each joins the groups of its ends unless a wall stands between
them. What stood together stays together: a newcomer can join, it can never tear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, product

from hub.pure.model import Edge, Record, Uid


@dataclass(frozen=True, slots=True)
class Group:
    """The records of one golden record, and what its neighbours are to it.

    `asks`: records elsewhere that may be the same. `doubles`: records elsewhere that are the same
    by evidence, but have a living record in the same object of the same system as one of ours.
    """

    members: tuple[Uid, ...]
    asks: tuple[Uid, ...] = ()
    doubles: tuple[Uid, ...] = ()

    @property
    def uid(self) -> Uid:
        """The golden record's id: the smallest uid, whatever became of that record."""
        return self.members[0]


@dataclass(frozen=True, slots=True)
class Partition:
    """All groups of a component, and the verdicts *same* that walls made impossible."""

    groups: tuple[Group, ...]
    contradictions: tuple[Edge, ...]


def strength(e: Edge, shared: frozenset[tuple[Uid, Uid]]) -> int:
    """The place of an edge in the order; 0 joins first."""
    if e.kind == "verdict":
        return 0
    if e.kind == "link":
        return 1
    if e.kind == "evidence":
        return 2 if (e.a, e.b) in shared else 3
    return 4


NEW_EVIDENCE = 3


def partition(records: Mapping[Uid, Record], edges: Iterable[Edge]) -> Partition:
    """The groups, each exactly once, in the order of their ids."""
    known = [e for e in edges if e.a in records and e.b in records]
    shared = frozenset((e.a, e.b) for e in known if e.kind == "shared")
    walls = frozenset((e.a, e.b) for e in known if e.outcome == "different")
    group = {uid: frozenset({uid}) for uid in records}
    joins = [e for e in known if e.outcome == "same"]
    contradictions = []
    for e in sorted(joins, key=lambda e: (strength(e, shared), e.a, e.b, e.kind)):
        one, two = group[e.a], group[e.b]
        if one is two:
            continue
        if walled(one, two, walls):
            contradictions += [e] if e.kind == "verdict" else []
        elif strength(e, shared) != NEW_EVIDENCE or not doubled(one, two, records):
            group |= dict.fromkeys(one | two, one | two)
    return Partition(named(group, known, walls), tuple(contradictions))


def walled(one: frozenset[Uid], two: frozenset[Uid], walls: frozenset[tuple[Uid, Uid]]) -> bool:
    """Whether a verdict *different* stands between any two of them."""
    return any((min(a, b), max(a, b)) in walls for a, b in product(one, two))


def doubled(one: frozenset[Uid], two: frozenset[Uid], records: Mapping[Uid, Record]) -> bool:
    """Whether one tool would then have two living records of the same object for one customer."""
    return bool(places(one, records) & places(two, records))


def places(group: Iterable[Uid], records: Mapping[Uid, Record]) -> set[tuple[str, str]]:
    """The objects in which the group has a living record."""
    return {(r.system, r.object) for r in (records[u] for u in group) if r.alive}


def named(
    group: Mapping[Uid, frozenset[Uid]], edges: Iterable[Edge], walls: frozenset[tuple[Uid, Uid]]
) -> tuple[Group, ...]:
    """The groups with the questions and doubles that the unused edges leave."""
    asks: dict[frozenset[Uid], set[Uid]] = {}
    doubles: dict[frozenset[Uid], set[Uid]] = {}
    for e in edges:
        apart = group[e.a] is not group[e.b] and not walled(group[e.a], group[e.b], walls)
        if apart and e.kind == "evidence":
            kept = asks if e.outcome == "ask" else doubles
            kept.setdefault(group[e.a], set()).add(e.b)
            kept.setdefault(group[e.b], set()).add(e.a)
    sets = sorted(set(group.values()), key=min)
    return tuple(
        Group(tuple(sorted(s)), tuple(sorted(asks.get(s, ()))), tuple(sorted(doubles.get(s, ()))))
        for s in sets
    )


def different_pairs(one: Iterable[Uid], two: Iterable[Uid]) -> list[tuple[Uid, Uid]]:
    """Every pair across a cut, ends in order: what an unmerge declares different."""
    return sorted((min(a, b), max(a, b)) for a, b in product(one, two))


def pairs(members: Iterable[Uid]) -> list[tuple[Uid, Uid]]:
    """Every pair of a group, ends in order."""
    return list(combinations(sorted(set(members)), 2))


def primary(members: Iterable[Record]) -> dict[tuple[str, str], Uid]:
    """The record that leads in each object: the living one with the smallest uid."""
    leads: dict[tuple[str, str], Uid] = {}
    for r in sorted(members, key=lambda r: (not r.alive, r.uid)):
        leads.setdefault((r.system, r.object), r.uid)
    return leads
