"""What the hub knows, for others: golden records in the form in which runs are compared.

Records are named by (system, object, native id); version numbers and processing times are left
out, so the same inputs give the same bytes whatever the order, the restarts and the workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from hub.io import state
from hub.io.rows import Rows
from hub.pure.model import Golden, GoldenCell, Record, Uid, key_of

PAGE = 500


def golden_lines(rows: Rows) -> Iterator[bytes]:
    """One JSON line per golden record, in order of its first record's name."""
    names = name_records(rows)
    found: list[bytes] = []
    for row in rows.select("golden", {"merged_into": None}, order=("uid",)):
        golden = state.load_goldens(rows, [row["uid"]])[row["uid"]]
        if golden and any(m in names for m in golden.members):
            members = [m for m in state.members_of(rows, golden) if m.uid in names]
            found.append(
                orjson.dumps(described(golden, members, names), option=orjson.OPT_SORT_KEYS)
            )
    yield from sorted(found)


def name_records(rows: Rows) -> dict[Uid, str]:
    """Record uid to a name that outlives the database; records no tool ever had are left out."""
    return {
        r["uid"]: f"{r['system']}/{r['object']}/{r['native_id']}"
        for r in rows.select("record")
        if r["native_id"]
    }


def described(golden: Golden, members: list[Record], names: dict[Uid, str]) -> dict[str, Any]:
    """One golden record: its records, and each cell's value, winner, rule and claims."""
    return {
        "entity": golden.entity,
        "records": sorted(f"{names[m.uid]} ({m.state})" for m in members),
        "asks": sorted(names.get(u, u) for u in golden.asks),
        "cells": {
            cell_name(name, names): cell(found, members, name, names)
            for name, found in sorted(golden.cells.items())
        },
    }


def cell_name(name: str, names: dict[Uid, str]) -> str:
    """An association's cell by the name of its other end."""
    return name.replace(key_of(name), names[key_of(name)]) if key_of(name) in names else name


def cell(
    found: GoldenCell, members: list[Record], name: str, names: dict[Uid, str]
) -> dict[str, Any]:
    """One cell."""
    claims = [
        {"record": names[m.uid], "value": c.value, "at": c.at, "bound": c.bound}
        for m in members
        for c in [m.cell(name).claim()]
        if c is not None
    ]
    winner = found.winner and names.get(found.winner[0], found.winner[0])
    return {"value": found.value, "winner": winner, "rule": found.rule, "claims": claims}
