"""The proof: every field of every record, read over the tools' own APIs and held against golden.

What differs is an exception with the hub's reason, or it is wrong. Consent and links are judged by
what the generator knows: who refused mail before the hub came, and who is who.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from connectors._kit import population
from connectors._kit.contract import ObjectSpec, Reading
from hub import commands, inputs, shown
from hub.env import System
from hub.inputs import Intake
from hub.io import state
from hub.io.rows import Rows
from hub.links import Link, differences
from hub.pure import creates
from hub.pure.compare import Difference
from hub.pure.fold import expand
from hub.pure.model import Golden, Uid, Value, field_of
from hub.tools.demo.stage import TELL_SECONDS, Stage, refuses, say

EXCEPTIONS = {
    "altered": "the tool keeps it in a form of its own",
    "unwritable": "the tool does not let us write it",
    "not applicable": "a second record of one customer in one tool",
    "waits for link": "the other end has no record in this tool",
    **dict.fromkeys(
        ("quarantined", "pending", "unexplained", "parked"), "waits for somebody's decision"
    ),
}
MOST_EXCEPTIONS, LEAST_LINKED = 0.02, 0.95
SHOWN = 5


@dataclass
class Proof:
    """What was found in the tools, and what the generator says about it."""

    fields: int = 0
    equal: int = 0
    records: Counter[str] = field(default_factory=Counter)
    exceptions: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    refusals: int = 0
    wider: list[str] = field(default_factory=list)
    sure: int = 0
    linked: int = 0
    false_links: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    nowhere: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def good(self) -> bool:
        """Whether the demo may say that all is well."""
        few = len(self.exceptions) <= MOST_EXCEPTIONS * self.fields
        enough = self.linked >= LEAST_LINKED * self.sure
        bad = self.wrong or self.wider or self.false_links or self.refused
        return not bad and few and enough and self.fields > 0


def prove(stage: Stage) -> Proof:
    """Read every record of every tool, and judge."""
    say("5. The proof: every record of every tool is read over its API and held against golden.")
    proof, persons = Proof(), dict[tuple[str, str], bool]()
    last = time.monotonic()
    for system, spec, reading in everything(stage):
        proof.records[system.name] += 1
        compare(stage, system, spec, reading, proof)
        if spec.entity == "person" and "consent" in spec.fields.by_name:
            persons[system.name, reading.native_id] = refuses(spec, reading)
        if time.monotonic() - last > TELL_SECONDS:
            last = time.monotonic()
            say(f"     {sum(proof.records.values())} records read")
    judge_consent(stage, persons, proof)
    judge_links(stage, proof)
    stage.hub.env.view(lambda rows: count_nowhere(rows, stage, proof))
    parked = commands.parked(stage.hub)["parked"]
    proof.refused = [p["why"] for p in parked if p["kind"] in ("rejected", "unsupported")]
    return proof


def everything(stage: Stage) -> Iterator[tuple[System, ObjectSpec, Reading]]:
    """Every live record, over the tools' APIs."""
    for system in stage.hub.systems.values():
        for spec in system.specs.values():
            cursor, done = "", False
            while not done:
                page = system.connector.listing(system.api, spec, cursor)
                yield from ((system, spec, reading) for reading in page.readings)
                cursor, done = page.cursor, page.done


# -- fields ------------------------------------------------------------------------------------


def compare(stage: Stage, system: System, spec: ObjectSpec, reading: Reading, proof: Proof) -> None:
    """Each field of one record: equal to golden, an exception with a reason, or wrong."""
    link = Link(stage.hub, system, spec)
    name = f"{stage.title(system.name)} {spec.object} {reading.native_id}"
    found = stage.hub.env.view(lambda rows: both_sides(rows, link, reading))
    if found is None:
        proof.wrong.append(f"{name} is not known to the hub")
        return
    golden, held, words = found
    for cell in sorted({*held, *(c for c in golden.cells if link.tool.holds(c))}):
        value, wanted = held.get(cell), golden.cell(cell).value
        if field_of(cell) in ("consent", *link.tool.links):
            equal = cell not in words or words[cell].word == "agree"
        else:
            equal = value == link.tool.normal(cell, wanted)
        if value is None and wanted is None:
            continue
        proof.fields += 1
        proof.equal += equal
        if not equal:
            differs(proof, f"{name} {cell}", value, words.get(cell))


def differs(proof: Proof, where: str, value: Value, found: Difference | None) -> None:
    """A field that is not as golden has it: excused by a reason, or wrong."""
    word = found.word if found else "nothing said of it"
    if found and word in EXCEPTIONS:
        why = f"{EXCEPTIONS[word]} ({found.why})" if found.why else EXCEPTIONS[word]
        proof.exceptions.append((why, f"{where} holds {shown.in_words(value)}"))
    else:
        wanted = shown.in_words(found.wanted) if found else ""
        proof.wrong.append(f"{where}: holds {value!r}, golden {wanted} ({word})")


def both_sides(
    rows: Rows, link: Link, reading: Reading
) -> tuple[Golden, dict[str, Value], dict[str, Difference]] | None:
    """Golden, what the reading shows by cell, and the hub's own word for each cell."""
    uid = state.find_alias(rows, link.system.name, reading.object, reading.native_id)
    golden = state.golden_of(rows, uid) if uid else None
    record = state.load_record(rows, uid) if uid else None
    row = rows.get("record", uid=uid) if uid else None
    if golden is None or record is None or row is None:
        return None
    seen = inputs.observation(rows, link.hub, Intake(link.system, link.spec, "proof"), reading)
    words = {d.cell: d for d in differences(rows, link, row, record, golden)}
    held = dict(expand(record, seen, link.tool))
    return golden, {c: v for c, v in held.items() if link.tool.holds(c)}, words


# -- consent -----------------------------------------------------------------------------------


def judge_consent(stage: Stage, now: dict[tuple[str, str], bool], proof: Proof) -> None:
    """Whoever refused, then or now, in any record of a customer, is refused in all of them."""
    customers: dict[Uid, list[tuple[str, str]]] = {}
    for place in now:
        if golden := stage.golden(*place):
            customers.setdefault(golden.uid, []).append(place)
    for records in customers.values():
        if any(place in stage.refused or now[place] for place in records):
            proof.refusals += 1
            proof.wider += [f"{stage.title(s)} {i}" for s, i in records if not now[s, i]]


# -- links -------------------------------------------------------------------------------------


def judge_links(stage: Stage, proof: Proof) -> None:
    """Sure records of one person must be one customer; records of two persons never.

    A record is sure where it has an address that is its person's alone. Of two records of a person
    in one tool only the first has one: most tools keep no address twice.
    """
    owner: dict[Uid, int] = {}
    for n, records in stage.natives():
        goldens = [(s, p, stage.golden(s, own)) for s, own, p in records]
        for golden in (g for _, _, g in goldens if g):
            if owner.setdefault(golden.uid, n) != n:
                proof.false_links.append(f"customers {owner[golden.uid]} and {n} are one record")
        sure = {
            s: g.uid if g else ""
            for s, p, g in reversed(goldens)
            if population.clean(stage.seed, stage.customers, s, p)
        }
        pairs = list(combinations(sure.values(), 2))
        proof.sure += len(pairs)
        proof.linked += sum(bool(a) and a == b for a, b in pairs)


def count_nowhere(rows: Rows, stage: Stage, proof: Proof) -> None:
    """Which customers have no record in a tool, and why."""
    tools = list(stage.hub.context.tools.values())
    ids = [r["uid"] for r in rows.select("golden", {"entity": "person"})]
    for golden in state.load_goldens(rows, ids).values():
        if golden is None or golden.merged_into:
            continue
        for tool, why in creates.wants(golden, state.members_of(rows, golden), tools):
            if why != "it has a record here":
                proof.nowhere[tool.system, why] += 1


# -- the summary -------------------------------------------------------------------------------


def report(proof: Proof) -> None:
    """What came of it."""
    say(
        f"   Fields: {proof.equal} of {proof.fields} in {sum(proof.records.values())} records "
        f"equal golden; {len(proof.exceptions)} exceptions, {len(proof.wrong)} wrong"
    )
    by_reason: dict[str, list[str]] = {}
    for why, where in proof.exceptions:
        by_reason.setdefault(why, []).append(where)
    for why, places in by_reason.items():
        say(f"     {len(places)} x {why}, as {places[0]}")
    some(proof.wrong)
    say(
        f"   Consent: {shown.many(proof.refusals, 'customer')} refused mail in some tool; in "
        f"{shown.many(len(proof.wider), 'record')} of theirs it is allowed"
    )
    some(proof.wider)
    say(
        f"   Links: {proof.linked} of {proof.sure} sure pairs are linked, "
        f"{shown.many(len(proof.false_links), 'wrong link')}"
    )
    some(proof.false_links)
    reasons = sorted({why for _, why in proof.nowhere})
    for why in reasons:
        counts = ", ".join(f"{s} {n}" for (s, w), n in sorted(proof.nowhere.items()) if w == why)
        say(f"   Customers without a record ({counts}): {why or 'it is on its way'}")
    say(f"   Refused by a tool: {len(proof.refused)}")
    some(proof.refused)


def some(lines: Iterable[str]) -> None:
    """The first of them."""
    every = list(lines)
    for line in every[:SHOWN]:
        say(f"     {line}")
    if len(every) > SHOWN:
        say(f"     … and {len(every) - SHOWN} more")
