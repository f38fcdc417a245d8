"""What is decided about the hub itself: inputs too, of pseudo-records with uids of their own.

    applied          the run after which writes flow
    writes stopped   the one switch
    rules            the version of rules.yaml that everything known was folded under

Like every input these are numbered, sealed and kept: who threw a switch, and when, can be looked
up. A decision is folded in the transaction that makes it, so a switch works at once.
"""

from __future__ import annotations

from typing import Any

from hub import resolve
from hub.env import Hub
from hub.io import state
from hub.io.rows import Rows, among
from hub.pure.model import HUB, Actor, Claim, Decision, Record, Uid


def turn(rows: Rows, hub: Hub, name: str, value: Any, by: Actor) -> None:
    """Decide something about the hub."""
    uid = state.find_alias(rows, HUB, HUB, name) or _laid(rows, hub, name)
    said = Decision(hub.env.now(), "edit", hub.env.uid(), by, cell=name, value=value)
    state.append_input(rows, hub.vault, uid, said, said.at, cause=name)
    resolve.resolve(rows, hub, [uid])


def _laid(rows: Rows, hub: Hub, name: str) -> Uid:
    """A new pseudo-record."""
    record = Record(hub.env.uid(), HUB, HUB, HUB, native_id=name)
    state.birth(rows, record)
    state.add_alias(rows, HUB, HUB, name, record.uid)
    return record.uid


def read(rows: Rows, name: str) -> Any:
    """What was decided last, None where nothing was."""
    claim = _said(rows, name)
    return claim.value if claim else None


def since(rows: Rows, name: str) -> int | None:
    """When that was decided (ms)."""
    claim = _said(rows, name)
    return claim.at if claim else None


def flowing(rows: Rows) -> bool:
    """Whether anything is written: from the first apply on, and not while writes are stopped."""
    said = _all_said(rows, "applied", "writes stopped")
    applied, stopped = said["applied"], said["writes stopped"]
    return bool(applied and applied.value) and not (stopped and stopped.value)


def _said(rows: Rows, name: str) -> Claim | None:
    return _all_said(rows, name)[name]


def _all_said(rows: Rows, *names: str) -> dict[str, Claim | None]:
    here = {"system": HUB, "object": HUB, "native_id": among(names)}
    uids = {row["native_id"]: row["uid"] for row in rows.select("alias", here)}
    records = state.load_records(rows, uids.values())
    found = {name: records[uid] for name, uid in uids.items()}
    return {n: r.cell(n).claim() if (r := found.get(n)) else None for n in names}
