"""How a record stands to its golden record, cell by cell: one word each.

Plan, deliver, sweep and console all ask here, and only *hub ahead* is ever written. The words are
tried in the order of `compare_cell`; the first that fits is the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from hub.pure.model import (
    Cell,
    Golden,
    GoldenCell,
    Record,
    Sent,
    Uid,
    Value,
    cells_of_field,
    element,
    field_of,
    join,
    key_of,
)
from hub.pure.rules import Tool

Word = Literal[
    "agree",
    "hub ahead",
    "tool ahead",
    "conflict",
    "pending",
    "quarantined",
    "rejected",
    "ignored",
    "altered",
    "unreadable",
    "unwritable",
    "not applicable",
    "waits for link",
    "unexplained",
    "parked",
]


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell: what golden wants the tool to hold, what it holds, and the word for it."""

    cell: str
    word: Word
    wanted: Value
    observed: Value
    golden: GoldenCell
    why: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """Where associations lead: the golden id of a record, and a golden record's record here.

    `golden`: record uid to golden id. `here`: golden id to the uid of its record in this tool.
    """

    golden: Mapping[Uid, Uid]
    here: Mapping[Uid, Uid]


NO_LINKS = Links({}, {})
UNWRITABLE: tuple[Word, str] = ("unwritable", "the tool does not let us write this field")


def compare(
    record: Record, golden: Golden, tool: Tool, links: Links = NO_LINKS, *, primary: bool = True
) -> list[Difference]:
    """Every cell that either side knows and the tool has a place for, in order of name.

    A record that does not lead in its object (`primary` false) is not offered values of fields
    that its tool keeps unique.
    """
    names = sorted({n for n in (*record.cells, *golden.cells) if tool.holds(n)})
    plain = [n for n in names if field_of(n) not in tool.links]
    found = [compare_cell(n, record.cell(n), golden.cell(n), record.uid, tool) for n in plain]
    found += compare_links(record, golden, tool, links)
    if primary:
        return found
    return [_not_here(d) if field_of(d.cell) in tool.unique else d for d in found]


def _not_here(d: Difference) -> Difference:
    return Difference(
        d.cell,
        "not applicable",
        d.wanted,
        d.observed,
        d.golden,
        "unique in the tool: only its leading record has it",
    )


def compare_cell(name: str, cell: Cell, golden: GoldenCell, uid: Uid, tool: Tool) -> Difference:
    """One cell against golden."""
    if field_of(name) == "consent":
        return compare_consent(name, cell, golden, tool)
    wanted = tool.normal(name, golden.value)
    word, why = judge(name, cell, golden, wanted, uid, tool)
    return Difference(name, word, wanted, cell.observed, golden, why)


def judge(
    name: str, cell: Cell, golden: GoldenCell, wanted: Value, uid: Uid, tool: Tool
) -> tuple[Word, str]:
    """The word, and the reason where a person would ask."""
    if cell.unreadable:
        return "unreadable", cell.unreadable
    if waiting := cell.waiting():
        word: Word = "quarantined" if waiting.status == "quarantined" else "pending"
        return word, waiting.why
    claim = cell.claim()
    if claim and golden.version.vector.get(uid, -1) < claim.seq:
        return "tool ahead", "not resolved yet"
    if cell.observed in (wanted, golden.value):
        return "agree", ""
    if golden.parked:
        return "parked", golden.parked
    if golden.winner is None:
        return unclaimed(cell, name, tool)
    return behind(cell, golden, name, tool)


def unclaimed(cell: Cell, name: str, tool: Tool) -> tuple[Word, str]:
    """Nobody claims it: our own copy is taken back, anything else needs a person."""
    if cell.synced and cell.observed == cell.synced.answered:
        return ("hub ahead", "only our own copy is left") if tool.writable(name) else UNWRITABLE
    return "unexplained", "no one entered this value, and it is not our copy"


def behind(cell: Cell, golden: GoldenCell, name: str, tool: Tool) -> tuple[Word, str]:
    """Golden has a value that the tool does not show: why, and whether it is ours to write."""
    if cell.refused and cell.refused.value == golden.value:
        return "rejected", cell.refused.why
    synced = cell.synced
    if synced and golden.value == synced.sent and cell.observed == synced.answered:
        ignored = synced.answered == synced.before
        return (
            ("ignored", "the tool kept its old value")
            if ignored
            else ("altered", "the tool answered something else")
        )
    return ("hub ahead", "") if tool.writable(name) else UNWRITABLE


def compare_consent(name: str, cell: Cell, golden: GoldenCell, tool: Tool) -> Difference:
    """Consent only goes to the stricter side, unless the tool may be told of a proven opt-in."""
    held = "out" if cell.observed == "out" else "in" if cell.observed else None

    def word() -> tuple[Word, str]:
        if golden.value is None or held == golden.value:
            return "agree", ""
        if cell.refused and cell.refused.value == golden.value:
            return "rejected", cell.refused.why
        if golden.value == "in" and not tool.widens:
            return "agree", "the tool is stricter than the proof"
        return ("hub ahead", "") if tool.writable(name) else UNWRITABLE

    found, why = word()
    return Difference(name, found, golden.value, cell.observed, golden, why)


# -- associations ------------------------------------------------------------------------------


def compare_links(record: Record, golden: Golden, tool: Tool, links: Links) -> list[Difference]:
    """Associations by their golden ends: two records of one company are one end."""
    found: list[Difference] = []
    for name in tool.links:
        wanted = {key_of(c) for c in cells_of_field(golden.cells, name) if golden.cells[c].value}
        held = ends_held(record, name, links)
        for end in sorted(wanted | set(held)):
            state = golden.cell(element(name, end))
            found.append(compare_end(name, end, held.get(end), state, record, links))
    return found if tool.writes else [_not_written(d) for d in found]


def _not_written(d: Difference) -> Difference:
    ahead = d.word in ("hub ahead", "waits for link")
    return replace(d, word=UNWRITABLE[0], why=UNWRITABLE[1]) if ahead else d


def ends_held(record: Record, name: str, links: Links) -> dict[Uid, str]:
    """Golden end to the record's cell that states it."""
    stated = [c for c in cells_of_field(record.cells, name) if record.cells[c].observed]
    return {links.golden.get(key_of(c), key_of(c)): c for c in stated}


def compare_end(
    name: str, end: Uid, held: str | None, golden: GoldenCell, record: Record, links: Links
) -> Difference:
    """One association: `held` is the record's cell that states it."""
    cell = held or element(name, links.here.get(end, end))
    wanted, observed = golden.value, True if held else None
    if wanted == observed:
        return Difference(cell, "agree", wanted, observed, golden)
    if held and golden.winner is None and record.cell(held).claim():
        return Difference(cell, "tool ahead", wanted, observed, golden, "not resolved yet")
    if not held and end not in links.here:
        return Difference(
            cell,
            "waits for link",
            wanted,
            observed,
            golden,
            "the other end has no record in this tool yet",
        )
    if refused := record.cell(cell).refused:
        return Difference(cell, "rejected", wanted, observed, golden, refused.why)
    return Difference(cell, "hub ahead", wanted, observed, golden)


# -- what follows from it ----------------------------------------------------------------------


def to_write(differences: Iterable[Difference]) -> dict[str, Sent]:
    """The cells to send, each with the value and version of golden."""
    return {
        d.cell: Sent(
            d.golden.value if field_of(d.cell) == "consent" or not key_of(d.cell) else d.wanted,
            d.golden.version,
            d.observed,
            d.golden.hop,
        )
        for d in differences
        if d.word == "hub ahead"
    }


def one_write(sends: Mapping[str, Sent], tool: Tool) -> dict[str, Sent]:
    """What goes first: all values, or one association by itself, which may fail by itself.

    One that ends goes before one that begins.
    """
    ends = [c for c in sends if field_of(c) in tool.links]
    values = {c: s for c, s in sends.items() if c not in ends}
    first = sorted(ends, key=lambda c: bool(sends[c].value))[:1]
    return values or {c: sends[c] for c in first}


AGREEING = ("agree", "altered", "ignored")


def to_agree(record: Record, differences: Iterable[Difference], tool: Tool) -> dict[str, Sent]:
    """Cells that are equal without a write, and were not yet agreed on at this version.

    Whoever has just typed golden's value there has seen all of its version: nothing is to be said.
    """
    agreed: dict[str, Sent] = {}
    for d in differences:
        cell = record.cell(d.cell)
        if (
            d.word in AGREEING
            and d.golden.winner
            and cell.known
            and not typed_here(record, d, tool)
        ):
            sent = Sent(d.golden.value, d.golden.version, d.observed)
            synced = cell.synced
            if synced is None or (synced.version.vector, synced.sent) != (
                d.golden.version.vector,
                d.golden.value,
            ):
                agreed[d.cell] = sent
    return agreed


def typed_here(record: Record, d: Difference, tool: Tool) -> bool:
    """Whether the record's own claim covers the whole version; a lossy field needs its base too."""
    claim, name = record.cell(d.cell).claim(), field_of(d.cell)
    lens = tool.fields.get(name)
    if claim is None or name == "consent" or (lens is not None and not lens.lossless):
        return False
    seen = join(claim.covers, {record.uid: claim.seq})
    return all(seen.get(uid, -1) >= seq for uid, seq in d.golden.version.vector.items())


def settled(differences: Iterable[Difference]) -> bool:
    """Whether nothing is left to write."""
    return all(d.word != "hub ahead" for d in differences)
