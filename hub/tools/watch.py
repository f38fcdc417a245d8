"""What must hold of every single write, told from what passed between the hub and the tools.

`look` is asked after every step of a run. It judges each write by what the hub had been shown when
it planned it, and by what people had typed by then; of the hub it only asks which claims it knows
and which records it takes for one customer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors._kit.simtool import Applied
from hub.io import state
from hub.tools.monitors import Broken
from hub.tools.outside import Outside
from hub.tools.shaky import Sent, token_of
from hub.tools.world import World

Cell = tuple[str, str, str, str]  # system, object, native id, field of ours


@dataclass(slots=True)
class Act:
    """Somebody typed `token` over `over`; `known`: when the hub was seen to know of it (ms)."""

    cell: Cell
    at: int
    token: str
    over: str
    known: int = 0


class Watch:
    """The monitors of P3, P6 and P8, each of which raises `Broken`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.acts: list[Act] = []
        self.clears: list[Cell] = []
        self.parted: list[tuple[Cell, str]] = []
        self.logged: Counter[str] = Counter()
        self.judged: Counter[str] = Counter()
        self.written: dict[Cell, tuple[str, int]] = {}

    def look(self) -> None:
        """Everything since the last look."""
        for outside in self.world.outside.values():
            self.hear(outside)
        for outside in self.world.outside.values():
            fresh = outside.past.sent[self.judged[outside.name] :]
            self.judged[outside.name] += len(fresh)
            for sent in fresh:
                self.judge(outside, sent)
        self.learn()

    def hear(self, outside: Outside) -> None:
        """What people and workflows did."""
        fresh = outside.log[self.logged[outside.name] :]
        self.logged[outside.name] += len(fresh)
        for e in fresh:
            token, over = token_of(e.new), token_of(e.old)
            if e.who != "hub" and token and token != over:
                self.acts.append(Act(cell_of(outside, e), e.at, token, over))
            if e.who != "hub" and e.old and not e.new and e.native_id in outside.holds(e.object):
                self.clears.append(cell_of(outside, e))
            if e.who != "hub" and e.field == "firms":
                cell = cell_of(outside, e)
                self.parted += [(cell, end) for end in {*(e.old or ())} - {*(e.new or ())}]

    def learn(self) -> None:
        """Which acts the hub knows by now: what is claimed, and what was typed there before."""
        for act in (a for a in self.acts if not a.known):
            system, obj, native, name = act.cell
            uid = self.world.uid(system, native, obj)
            record = uid and self.world.store.view(lambda r: state.load_record(r, uid))  # noqa: B023
            if record and any(token_of(c.raw) == act.token for c in record.cell(name).claims):
                act.known = self.world.clock.time

    def judge(self, outside: Outside, sent: Sent) -> None:
        """One write, field by field."""
        if sent.write.op == "update":
            only_differences(outside, sent)
            read_before(outside, sent)
            self.no_clear_by_itself(outside, sent)
            self.no_parting_by_itself(outside, sent)
        for name, token in tokens(sent):
            cell = (outside.name, sent.spec.object, sent.write.native_id, name)
            self.no_time_travel(cell, token, sent)
            if sent.applied and sent.write.op == "update":
                self.no_ping_pong(cell, token, sent)

    def no_time_travel(self, cell: Cell, token: str, sent: Sent) -> None:
        """P3: what somebody has typed over is not written again once the hub knows of that.

        Whoever typed over a value had seen it, so that no rule but a rank can bring it back; all
        fields that are followed here go by the newest.
        """
        for act in self.acts:
            if act.over != token or act.cell[3] != cell[3] or not 0 < act.known < sent.checked:
                continue
            retyped = any(a.token == token and a.at > act.at for a in self.acts)
            if not retyped and self.customer(act.cell) == self.customer(cell):
                raise Broken(f"P3 {cell} is written {token}, which {act} had replaced")

    def no_clear_by_itself(self, outside: Outside, sent: Sent) -> None:
        """P8: what nobody has cleared anywhere is not cleared: not to speak of it is no clear.

        A tool that holds only some values of a field may be sent nothing where it had something.
        """
        held = sent.before.app if sent.before else {}
        for field in sent.spec.fields.fields:
            touched = any(n in sent.write.changes for n in field.app)
            if not touched or not field.lossless or field.kind in ("set", "consent"):
                continue
            was, left = (
                taken(sent, app, field.name) for app in (held, {**held, **sent.write.changes})
            )
            cell = (outside.name, sent.spec.object, sent.write.native_id, field.name)
            if was and not left and not self.cleared(cell):
                raise Broken(f"P8 {cell} held {was} and is cleared, which nobody asked for")

    def no_parting_by_itself(self, outside: Outside, sent: Sent) -> None:
        """P8: nobody is parted from a company whom nobody has parted from it anywhere."""
        if sent.write.unlink is None:
            return
        cell = (outside.name, sent.spec.object, sent.write.native_id, "")
        ends = (self.customer(cell), self.firm(outside.name, sent.write.unlink[1]))
        if ends not in [(self.customer(c), self.firm(c[0], end)) for c, end in self.parted]:
            raise Broken(f"P8 {cell} is parted from {sent.write.unlink[1]}, by nobody's act")

    def firm(self, system: str, native_id: str) -> str | None:
        """The golden record of a company."""
        objects = self.world.outside[system].objects
        (obj,) = (s.object for s in objects if s.entity == "company")
        return self.customer((system, obj, native_id, ""))

    def cleared(self, cell: Cell) -> bool:
        """Whether somebody has cleared this field of the same customer, wherever that was."""
        who = self.customer(cell)
        return any(c[3] == cell[3] and self.customer(c) == who for c in self.clears)

    def no_ping_pong(self, cell: Cell, token: str, sent: Sent) -> None:
        """P6: nothing is written a second time where nobody but the hub has been since."""
        last = self.written.get(cell)
        self.written[cell] = (token, sent.asked)
        if last and last[0] == token and not self.touched(cell, last[1]):
            raise Broken(f"P6 {cell} was written {token} at {last[1]} and again at {sent.asked}")

    def touched(self, cell: Cell, since: int) -> bool:
        """Whether anybody else has changed this record since."""
        log = self.world.outside[cell[0]].log
        return any(
            e.who != "hub" and e.at >= since and (e.object, e.native_id) == cell[1:3] for e in log
        )

    def customer(self, cell: Cell) -> str | None:
        """The golden record of a record, where it has one."""
        uid = self.world.uid(cell[0], cell[2], cell[1])
        row = uid and self.world.store.view(lambda r: r.get("record", uid=uid))
        return str(row["golden"]) if row and row["golden"] else None


def cell_of(outside: Outside, entry: Applied) -> Cell:
    """Where something was typed; the field is "" where we have none of it."""
    spec = next(s for s in outside.objects if s.object == entry.object)
    name = next((f.name for f in spec.fields.fields if entry.field in f.app), "")
    return (outside.name, entry.object, entry.native_id, name)


def tokens(sent: Sent) -> Iterator[tuple[str, str]]:
    """The fields of a write in which somebody's token goes out."""
    for field in sent.spec.fields.fields:
        found = "".join(sorted({token_of(sent.write.changes.get(n)) for n in field.app}))
        if found:
            yield field.name, found


def only_differences(outside: Outside, sent: Sent) -> None:
    """P8: a write names nothing that the tool held already when it was looked at last."""
    if sent.before is None:
        return
    held, given = dict(sent.before.app), sent.write.changes
    for field in sent.spec.fields.fields:
        if not any(n in given for n in field.app) or not all(n in held for n in field.app):
            continue
        if taken(sent, {**held, **given}, field.name) == taken(sent, held, field.name):
            raise Broken(f"P8 {outside.name} is sent {field.name}, which it holds: {sent.write}")


def taken(sent: Sent, app: Mapping[str, Any], name: str) -> object:
    """One field in our terms; that it cannot be read is an answer too."""
    found = sent.spec.fields.take(app)
    return found.values.get(name, found.unknown.get(name))


def read_before(outside: Outside, sent: Sent) -> None:
    """P8: without a condition the record is read once more before the write.

    What that reading shows of the fields to write is what the hub knew of them.
    """
    if sent.write.expected is not None:
        return
    every = outside.past.seen[sent.spec.object, sent.write.native_id]
    looks = [s for s in every if sent.begun < s.start and s.end <= sent.checked]
    if not looks:
        raise Broken(f"P8 {outside.name} is written without a look at it: {sent.write}")
    if sent.before and not any(alike(sent, s.app, sent.before.app) for s in looks):
        raise Broken(f"P8 {outside.name} had moved, and was overwritten: {sent.write}")


def alike(sent: Sent, one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Whether both hold the same, in our terms, of the fields that are written."""
    names = [
        f.name for f in sent.spec.fields.fields if not sent.write.changes.keys().isdisjoint(f.app)
    ]
    return all((taken(sent, one, n) or None) == (taken(sent, two, n) or None) for n in names)
