"""New rules reach what is known already: every record is folded again from its inputs.

A claim keeps what was typed, its standard value follows from the rules; so a rule change is a
refold, golden record by golden record, and the same at whatever moment it happens. What it makes
dirty is held until a plan has shown it. Broken off, it starts again and comes to the same end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hub import resolve, rulesets, runs, slots, switches
from hub.env import Hub
from hub.io import history, state
from hub.io.rows import Row, Rows, above, among
from hub.pure import identity
from hub.pure.decide import Effects, Loaded, decide, need
from hub.pure.model import Actor, Golden, Uid

AT_ONCE = 100  # golden records in one transaction


def due(rows: Rows, hub: Hub) -> bool:
    """Whether what is known was folded under other rules than these."""
    return bool(switches.read(rows, "rules") != hub.context.rules.version)


def republish(hub: Hub, by: str, told: Callable[[int], None] = lambda _done: None) -> None:
    """Fold everything under the hub's rules; `told(n)` hears how many golden records are done."""
    last, done = "", 0
    version = hub.context.rules.version
    hub.env.commit(lambda rows: rulesets.announce(rows, version), "republish")
    while found := hub.env.view(partial(following, last=last)):
        hub.env.commit(partial(refold, hub=hub, goldens=found), "republish")
        last, done = found[-1]["uid"], done + len(found)
        told(done)
    hub.env.commit(
        lambda rows: switches.turn(rows, hub, "rules", version, Actor("steward", by)), "republish"
    )


def following(rows: Rows, last: Uid) -> list[Row]:
    """The next golden records in order of their ids."""
    where = {"merged_into": None, **({"uid": above(last)} if last else {})}
    return rows.select("golden", where, order=("uid",), limit=AT_ONCE)


def refold(rows: Rows, hub: Hub, goldens: list[Row]) -> None:
    """Fold the records of these golden records from nothing, and hold what follows."""
    rows.lock(golden["uid"] for golden in goldens)
    uids = sorted({m for g in goldens for m in _members(rows, g["uid"])})
    rows.lock(uids)
    effects = decided(rows, hub, uids)
    resolve.store(rows, hub, effects)
    history.write(rows, hub, effects.history)
    for change in effects.history:
        if change.golden is not None:
            hold(rows, hub, change.golden)


def _members(rows: Rows, golden: Uid) -> list[Uid]:
    return [r["uid"] for r in rows.select("record", {"golden": golden})]


def decided(rows: Rows, hub: Hub, uids: list[Uid]) -> Effects:
    """What the rules make of all that was ever taken in about these records."""
    known = rows.select("record", {"uid": among(uids)})
    births = {r["uid"]: state.born(r) for r in known}
    inputs = state.folded_inputs(rows, hub.vault, uids)
    stored = {u: r for u, r in state.load_records(rows, uids).items() if r is not None}
    loaded = Loaded(records=dict(births), stored=stored)
    while wanted := need(inputs, uids, loaded, hub.context, births):
        state.fill(rows, hub.vault, loaded, wanted)
    effects = decide(inputs, uids, loaded, hub.context, births)
    effects.keys = {
        u: identity.match_keys(r, hub.context.rules) for u, r in effects.records.items()
    }
    effects.statuses, effects.again = {}, {}
    effects.dirty = {m for c in effects.history if c.golden for m in c.golden.members}
    return effects


def hold(rows: Rows, hub: Hub, golden: Golden) -> None:
    """Nothing that a rule change would write goes out before a plan has shown it."""
    why, now = f"rules version {golden.rules}", hub.env.now()
    for record in state.members_of(rows, golden):
        if record.alive:
            slots.hold_link(rows, record, runs.HELD, why, now)
    for row in rows.select("wanted", {"golden": golden.uid}):
        where = {"golden": golden.uid, "system": row["system"], "object": row["object"]}
        slots.hold(rows, "wanted", where, runs.HELD, why)
