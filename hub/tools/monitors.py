"""What must hold in a simulated world, told from the tools and from a ledger outside of the hub.

Each monitor raises `Broken`, whose first word is the number of the promise. None of them believes
the hub's own counters; the hub is only asked what it knows of a record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from connectors._kit.fieldmap import Field
from connectors._kit.simtool import Applied
from hub import explain
from hub.io import state
from hub.io.rows import Rows
from hub.pure import creates
from hub.pure.fold import CLAIMS_KEPT
from hub.pure.model import Observation, Record, Uid
from hub.tools.outside import Outside
from hub.tools.people import Typed
from hub.tools.world import World

SILENT_ROUNDS = 5


class Broken(AssertionError):
    """A promise does not hold; the first word is its number."""


def all_promises(world: World, ledger: Iterable[str], typed: Iterable[Typed]) -> None:
    """What must hold once all is quiet."""
    nothing_lost(world, ledger)
    Tokens(world, typed).check()
    for outside in world.outside.values():
        converged(world, outside)
        no_double_creates(world, outside)
    complete(world)
    silent(world)
    one_by_one = world.seed % 4 == 0  # takes as long as all the rest
    if not world.orders_agree(2, (1, 7) if one_by_one else (7, 50)):
        raise Broken("P4 another order of the same inputs gives another golden")


# -- P1 ------------------------------------------------------------------------------------------


def nothing_lost(world: World, ledger: Iterable[str]) -> None:
    """P1: every accepted webhook is known and answered, every input in one state."""
    known = {r["id"]: r["state"] for r in world.store.view(lambda r: r.select("hint"))}
    if missing := sorted(set(ledger) - known.keys()):
        raise Broken(f"P1 accepted and gone: {missing[:3]}")
    if waiting := [k for k, s in known.items() if s == "open"]:
        raise Broken(f"P1 never answered: {waiting[:3]}")
    if pending := world.store.view(lambda r: r.count("input", {"status": "pending"})):
        raise Broken(f"P1 {pending} inputs were never resolved")


# -- P2 ------------------------------------------------------------------------------------------


class Tokens:
    """P2: what a person typed is claimed once, where it was typed, in the order of typing."""

    def __init__(self, world: World, typed: Iterable[Typed]) -> None:
        self.world = world
        self.typed = list(typed)
        uids = world.store.view(lambda r: [row["uid"] for row in r.select("record")])
        found = world.store.view(lambda r: state.load_records(r, uids))
        self.records: dict[Uid, Record] = {u: r for u, r in found.items() if r}
        ids = Counter(row["uid"] for row in world.store.view(lambda r: r.select("alias")))
        # Whoever merges records inside a tool carries over what the hub has written into either.
        self.merged = {uid for uid, n in ids.items() if n > 1}

    def check(self) -> None:
        """Every token, then their order in each cell."""
        shown = self.shown()
        order: dict[tuple[Uid, str], list[int]] = {}
        for one in self.typed:
            uid = self.world.uid(one.system, one.native_id, one.object)
            claims = [c for c in self.claims(one.token) if c[0] == uid or c[0] not in self.merged]
            if len(claims) > 1 or any(c[:2] != (uid, one.cell) for c in claims):
                raise Broken(f"P2 {one} is claimed in {claims}, its record is {uid}")
            if not claims and (uid, one.token) in shown and not self.forgotten(str(uid), one.cell):
                raise Broken(f"P2 {one} was read and nobody claims it")
            if not claims and self.stands(one):
                raise Broken(f"P1 {one} stands in the tool and was never taken for an edit")
            order.setdefault((str(uid), one.cell), []).extend(c[2] for c in claims)
        for place, seqs in order.items():
            if seqs != sorted(seqs):
                raise Broken(f"P2 {place}: the history has another order than the tool: {seqs}")

    def claims(self, token: str) -> Iterator[tuple[Uid, str, int]]:
        """Where this token is claimed: record, cell, input."""
        for uid, record in self.records.items():
            for name, cell in record.cells.items():
                yield from ((uid, name, c.seq) for c in cell.claims if token in repr(c.raw))

    def shown(self) -> set[tuple[Uid | None, str]]:
        """Record and token of every token in a reading that counted.

        What a record held that was gone when it was read is kept with its input and claims nothing.
        """
        found = self.world.store.view(
            lambda r: [
                state.open_input(r, self.world.hub.vault, row)
                for row in r.select("input", {"status": "applied"})
            ]
        )
        texts = [
            (i.uid, repr(i.body.values))
            for i in found
            if isinstance(i.body, Observation) and i.body.state == "live"
        ]
        return {(u, t.token) for u, text in texts for t in self.typed if t.token in text}

    def forgotten(self, uid: Uid, cell: str) -> bool:
        """Whether so much was claimed there since that old claims were let go."""
        return len(self.records[uid].cell(cell).claims) >= CLAIMS_KEPT

    def stands(self, one: Typed) -> bool:
        """Whether the tool shows it to this day."""
        held = self.world.outside[one.system].holds(one.object).get(one.native_id)
        return held is not None and one.token in repr(held.app)


# -- P5 ------------------------------------------------------------------------------------------


def converged(world: World, outside: Outside, but: str = "") -> None:
    """P5: the tool shows what golden says, in its own normal form, or the hub says why not.

    `but`: the native id of a record that is not looked at.
    """
    for spec in outside.objects:
        for native_id, reading in outside.holds(spec.object).items():
            if native_id == but:
                continue
            uid = world.uid(outside.name, native_id, spec.object)
            what = f"{outside.name} {spec.object} {native_id}"
            if uid is None:
                raise Broken(f"P1 {what} was never read")
            view = world.store.view(lambda rows: view_of(rows, world, uid))  # noqa: B023
            wrong = {c: v for c, v in view.items() if v["state"] in ("hub ahead", "tool ahead")}
            held = spec.fields.take(reading.app).values
            stale = {
                c: (held[c], v["holds"])
                for c, v in view.items()
                if c in held and v["holds"] != held[c]
            }
            if wrong or stale:
                raise Broken(f"P5 {what} is not equal to golden: {wrong or stale}")


def view_of(rows: Rows, world: World, uid: Uid) -> Mapping[str, Any]:
    """What the hub thinks of each cell of a living record."""
    record, golden = state.load_record(rows, uid), state.golden_of(rows, uid)
    if record is None or golden is None:
        return {}
    if record.state != "live":
        raise Broken(f"P5 {record.system} {record.native_id} lives, the hub has it {record.state}")
    return explain.tool_view(rows, world.hub, record, golden, "")


def complete(world: World) -> None:
    """P5: every customer is in every tool that wants them, or the hub says why not."""

    def look(rows: Rows) -> None:
        ids = {r["golden"] for r in rows.select("record") if r["golden"]}
        for golden in state.load_goldens(rows, sorted(ids)).values():
            if golden is None or golden.merged_into:
                continue
            members = state.members_of(rows, golden)
            for tool, why_not in creates.wants(golden, members, world.hub.context.tools.values()):
                where = {"golden": golden.uid, "system": tool.system, "object": tool.object}
                if not why_not and not any(r["holds"] for r in rows.select("wanted", where)):
                    raise Broken(f"P5 {golden.uid} is missing in {tool.system}, and nobody says so")

    world.store.view(look)


def silent(world: World) -> None:
    """P5: from here on not one write, counted at the tools; P2: what is read again is no news."""
    before, known = world.writes(), inputs_of(world)
    for _ in range(SILENT_ROUNDS):
        world.round()
    if world.writes() != before:
        raise Broken(f"P5 writes after quiet: {before} then {world.writes()}")
    if news := inputs_of(world) - known:
        raise Broken(f"P2 nobody did anything, and yet there is news: {sorted(news)[:3]}")


def inputs_of(world: World) -> set[tuple[Uid, int]]:
    """Every input that there is."""
    return world.store.view(lambda r: {(row["uid"], row["seq"]) for row in r.select("input")})


# -- P7 ------------------------------------------------------------------------------------------


def no_double_creates(world: World, outside: Outside) -> None:
    """P7: a customer was created at most once in the tool, counted there."""
    made = [e for e in outside.log if e.op == "create" and e.who == "hub"]
    sent = Counter(e.external_id for e in made if e.field == "" and e.external_id)
    if twice := [k for k, n in sent.items() if n > 1]:
        raise Broken(f"P7 {outside.name} was given {twice[0]} twice")
    spec = next(s for s in outside.objects if s.entity == "person")
    living = outside.holds(spec.object)
    (field,) = spec.fields.by_name["email"].app
    mails = Counter(
        e.new
        for e in made
        if e.object == spec.object and e.field == field and e.native_id in living
    )
    if twins := [m for m, n in mails.items() if m and n > 1 and is_ones_own(world, str(m))]:
        raise Broken(f"P7 the hub made {twins[0]} twice in {outside.name}")


def is_ones_own(world: World, mail: str) -> bool:
    """Whether an address means one customer; two may well be known by that of an office."""
    return mail.partition("@")[0] not in world.hub.context.rules.role_mailboxes


# -- P9 ------------------------------------------------------------------------------------------


def consent_never_widens(outside: Outside, entries: Iterable[Applied]) -> None:
    """P9, after every step: the hub writes nothing but refusals, for nobody proved an opt-in.

    A record that it makes may have no consent at all; what once was refused stays refused.
    """
    for entry in entries:
        field = field_at(outside, entry)
        if entry.who != "hub" or field is None or field.name != "consent":
            continue
        was, told = (states(field, entry.field, v) for v in (entry.old, entry.new))
        widened = {c for c, v in told.items() if v not in (None, "out")}
        lifted = {c for c, v in was.items() if v == "out" and told.get(c) != "out"}
        if widened or (lifted and entry.op == "update"):
            raise Broken(f"P9 the hub widened consent at {outside.name}: {entry}")


def field_at(outside: Outside, entry: Applied) -> Field | None:
    """The field of ours that a tool's field holds, or a part of."""
    spec = next(s for s in outside.objects if s.object == entry.object)
    return next((f for f in spec.fields.fields if entry.field in f.app), None)


def states(field: Field, name: str, value: Any) -> Mapping[str, Any]:
    """Consent by channel and purpose, as the first field of the tool's tells it.

    Any other belongs to its proof, and goes with it when the hub takes somebody off a list.
    """
    if value is None or name != field.app[0]:
        return {}
    held = field.take({**dict.fromkeys(field.app), name: value})
    return held if isinstance(held, Mapping) else {}
