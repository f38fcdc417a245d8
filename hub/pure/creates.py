"""Where a golden record wants a record of its own: the wanted creates, and why not elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from hub.pure.model import Golden, Record, Sent, Value, field_of, key_of
from hub.pure.rules import Tool

GONE = ("merged", "failed", "lost")


def holds_place(record: Record) -> bool:
    """Whether a record still stands for its customer in its object, also when it is deleted."""
    return record.state not in GONE and record.departed != "recreate"


def refusal(golden: Golden, members: list[Record], tool: Tool) -> str:
    """Why no record is wanted here, "" when one is."""
    if tool.create == "never":
        return "this system creates nothing"
    if any((r.system, r.object) == (tool.system, tool.object) and holds_place(r) for r in members):
        return "it has a record here"
    if (tool.system, tool.object) in golden.beside:
        return "a double of it has a record here"
    if why := unfit(golden, members):
        return why
    if lacks := next((n for n in tool.required if first_value(golden, tool, n) is None), ""):
        return f"no record here is without {lacks}, and nobody knows it"
    linked = len({r.system for r in members if r.state == "live"}) > 1
    if tool.create == "linked" and not linked:
        return "only customers that two systems have are created here"
    return ""


def unfit(golden: Golden, members: list[Record]) -> str:
    """Why this golden record wants no record in any tool, "" when it may."""
    if golden.asks:
        return "possible duplicate: a steward decides first"
    if golden.duplicate_of:
        return "duplicate inside a tool"
    if not any(r.state == "live" for r in members):
        return "no tool has it any more"
    return "" if golden.claimed else "nobody claims anything of it"


def first_value(golden: Golden, tool: Tool, name: str) -> Value:
    """What a new record would hold in a field, None where there is nothing for it."""
    cell = golden.cell(name)
    return None if cell.parked else tool.normal(name, cell.value)


def first_values(golden: Golden, tool: Tool) -> dict[str, Sent]:
    """What a new record is created with: every value that the tool has a place for.

    Consent is only ever sent where it is a refusal; associations follow once the record is there.
    """
    return {
        name: Sent(cell.value, cell.version, None, cell.hop)
        for name, cell in sorted(golden.cells.items())
        if cell.value is not None
        and tool.holds(name)
        and tool.writable(name)
        and field_of(name) not in tool.links
        and not cell.parked
        and (field_of(name) != "consent" or cell.value == "out")
        and (key_of(name) or tool.normal(name, cell.value) is not None)
    }


def offer(sends: Mapping[str, Sent]) -> str:
    """What is offered, to know whether a later offer is another one."""
    values = [(cell, sent.value) for cell, sent in sorted(sends.items())]
    return blake2b(msgspec.json.encode(values), digest_size=16).hexdigest()


def wants(golden: Golden, members: list[Record], tools: Iterable[Tool]) -> list[tuple[Tool, str]]:
    """Each tool of the entity, and why it gets no record ("" where it gets one)."""
    return [(t, refusal(golden, members, t)) for t in tools if t.entity == golden.entity]
