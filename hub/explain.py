"""Where did this come from? Every golden value, its winner, its losers, what each tool holds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hub.env import Hub
from hub.io import state
from hub.io.rows import Refused, Rows
from hub.io.tables import is_name
from hub.links import Link, differences
from hub.pure import standardize
from hub.pure.identity import Key
from hub.pure.model import Actor, Claim, Golden, GoldenCell, Record, Uid, key_of

NAMED_BY = ("name", "legal_name", "email", "domain", "phone")
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def find(rows: Rows, hub: Hub, text: str) -> list[Golden]:
    """Golden records by uid, e-mail address, telephone number, domain or a tool's own id."""
    text = text.encode(errors="ignore").decode().replace("\0", "")  # what no tool can hold
    uids = by_uid(rows, text) | by_native(rows, hub, text) | by_key(rows, hub, text)
    ids = state.golden_ids(rows, uids)
    found = state.load_goldens(rows, set(ids.values()))
    return [g for g in found.values() if g is not None]


def by_uid(rows: Rows, text: str) -> set[Uid]:
    """The record with this uid."""
    try:
        return {text} if rows.get("record", uid=text) else set()
    except Refused:
        return set()  # it is no uid at all


def by_native(rows: Rows, hub: Hub, text: str) -> set[Uid]:
    """Records that a tool calls this."""
    if not is_name(text):
        return set()
    places = [(name, obj) for name, system in hub.systems.items() for obj in system.specs]
    return {uid for place in places if (uid := state.find_alias(rows, *place, text))}


def by_key(rows: Rows, hub: Hub, text: str) -> set[Uid]:
    """Records in which this was ever entered."""
    keys = set()
    for entity, kind, shape in (
        ("person", "email", "email"),
        ("person", "phone", "phone"),
        ("company", "domain", "domain"),
    ):
        try:
            value = standardize.standard(shape, text, hub.context.rules)
        except standardize.Invalid:
            continue
        keys.add(Key(entity, kind, str(value)))
    found = state.load_keys(rows, hub.vault, keys)
    return {u for uids in found.values() for u in uids}


def called(golden: Golden | None) -> str:
    """What a person would call this customer."""
    if golden is None:
        return ""
    value = next((golden.cells[n].value for n in NAMED_BY if golden.cell(n).value), golden.uid)
    if isinstance(value, dict):
        return " ".join(value[part] for part in ("given", "family") if value.get(part))
    return str(value)


def names(rows: Rows, cells: Iterable[str]) -> dict[str, str]:
    """Customers that are elements of cells, as `companies[<uid>]`: uid to what it is called."""
    keys = {k for c in cells if UID.fullmatch(k := key_of(c))}
    ids = state.golden_ids(rows, keys)
    found = state.load_goldens(rows, set(ids.values()))
    return {k: called(found[ids[k]]) for k in keys if found[ids[k]]}


def told(rows: Rows, hub: Hub, golden: Golden, field: str = "") -> dict[str, Any]:
    """The whole story of a golden record, or of one field of it."""
    members = state.members_of(rows, golden)
    cells = {n: c for n, c in sorted(golden.cells.items()) if not field or n.startswith(field)}
    return {
        "golden": golden.uid,
        "entity": golden.entity,
        "name": called(golden),
        "records": [record_line(m) for m in members],
        "possible_duplicates": list(golden.asks),
        "duplicate_of": golden.duplicate_of or None,
        "fields": {n: one_cell(n, c, members) for n, c in cells.items()},
        "tools": {
            f"{m.system} {m.native_id}": tool_view(rows, hub, m, golden, field)
            for m in members
            if m.native_id
        },
    }


def record_line(record: Record) -> dict[str, Any]:
    """A record, for a person."""
    return {
        "uid": record.uid,
        "system": record.system,
        "object": record.object,
        "id": record.native_id,
        "state": record.state,
    }


def one_cell(name: str, cell: GoldenCell, members: list[Record]) -> dict[str, Any]:
    """A golden value: who entered it, when, which rule chose it, and what it won against."""
    bids = [(m, c) for m in members for c in [m.cell(name).claim()] if c is not None]
    winner = next((claim_line(m, c) for m, c in bids if (m.uid, c.seq) == cell.winner), None)
    lost = [claim_line(m, c) for m, c in bids if (m.uid, c.seq) != cell.winner]
    return {
        "value": cell.value,
        "rule": cell.rule,
        "from": winner,
        "lost": lost,
        "conflict": cell.conflict,
    }


def claim_line(record: Record, claim: Claim) -> dict[str, Any]:
    """A claim, for a person."""
    return {
        "system": record.system,
        "id": record.native_id,
        "value": claim.value,
        "typed": claim.raw,
        "at": claim.at,
        "by": who(claim.actor),
        "first_snapshot": claim.bound,
        "event": f"{record.uid}:{claim.seq}",
    }


def who(actor: Actor) -> str:
    """A person, an app, ourselves: as far as the tool told, and by which way."""
    return " ".join(filter(None, (actor.kind, actor.id, actor.via and f"({actor.via})")))


def tool_view(rows: Rows, hub: Hub, record: Record, golden: Golden, field: str) -> dict[str, Any]:
    """What one tool holds now, in the words of the comparison."""
    system = hub.systems.get(record.system)
    if system is None or record.state != "live":
        return {"state": record.state}
    link = Link(hub, system, system.specs[record.object])
    row = rows.get("record", uid=record.uid)
    found = differences(rows, link, row, record, golden) if row else []
    return {
        d.cell: {"holds": d.observed, "state": d.word, **({"why": d.why} if d.why else {})}
        for d in found
        if not field or d.cell.startswith(field)
    }
