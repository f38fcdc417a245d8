"""The words of the core: records, cells, claims, versions, and the inputs that change them.

A **cell** is the smallest thing that is observed, claimed and written: a field (`phone`), or one
element of a set (`tags[vip]`, `companies[<uid>]`, `consent[email.marketing]`). A set is nothing
but its element cells; a tool with one slot for a set (one e-mail address) speaks of the cell
without brackets, the primary.

A **version** of a cell is the closed vector {uid: seq} of the claims that were considered for it
and of all that these covered; it orders claims and identifies nothing. An **input** is the only
thing that changes a record; everything here can be rebuilt from inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

Uid = str  # canonical lower-case UUID text; sorts like its bytes
Value = Any  # a JSON value in the shapes of connectors/_kit/fieldmap.py; None means cleared
Vector = Mapping[Uid, int]
HUB = "hub"  # entity, system and object of the pseudo-records: inputs about the hub itself


def element(name: str, key: str) -> str:
    """The cell of one element of a set."""
    return f"{name}[{key}]"


def field_of(cell: str) -> str:
    """The field that a cell belongs to."""
    return cell.partition("[")[0]


def key_of(cell: str) -> str:
    """The element's key, "" for a cell that is no element."""
    return cell.partition("[")[2].removesuffix("]")


def join(*vectors: Vector) -> dict[Uid, int]:
    """The least vector that covers all of these."""
    joined: dict[Uid, int] = {}
    for vector in vectors:
        for uid, seq in vector.items():
            if joined.get(uid, -1) < seq:
                joined[uid] = seq
    return dict(sorted(joined.items()))


class Version(Struct, frozen=True, omit_defaults=True):
    """What had been considered for a cell, and the latest time (ms) among those claims."""

    vector: Vector = field(default_factory=dict)
    at: int = 0


class Actor(Struct, frozen=True, omit_defaults=True):
    """Who made a change, as far as anybody knows."""

    kind: str = "unknown"
    id: str = ""
    via: str = ""


class Claim(Struct, frozen=True, omit_defaults=True):
    """A value that someone entered in this record, found by its input `seq`.

    `value` is the standard value, `raw` what was typed. A *bound* claim comes from a first
    snapshot: its time is only its latest possible time. `covers` is closed. `hop` counts how many
    of our own writes led to it. `reach` (consent only): the records it spoke for when it was made.
    """

    seq: int
    value: Value
    raw: Value
    at: int
    covers: Vector = field(default_factory=dict)
    bound: bool = False
    status: Literal["effective", "quarantined", "pending", "retracted"] = "effective"
    why: str = ""
    hop: int = 0
    pinned: bool = False
    actor: Actor = Actor()
    reach: tuple[Uid, ...] = ()


class Synced(Struct, frozen=True, omit_defaults=True):
    """The merge base: what was sent at which version, and what the tool made of it.

    `confirmed`: a reading one settle time later still showed the answer.
    """

    version: Version
    sent: Value
    answered: Value
    before: Value = None
    hop: int = 0
    confirmed: bool = False


class Refusal(Struct, frozen=True, omit_defaults=True):
    """The tool would not take this value; it is not offered again."""

    value: Value
    why: str


class Cell(Struct, frozen=True, omit_defaults=True):
    """One cell of one record. Until it is `known`, no reading has covered it."""

    observed: Value = None
    known: bool = False
    unreadable: str = ""
    claims: tuple[Claim, ...] = ()
    synced: Synced | None = None
    refused: Refusal | None = None

    def claim(self) -> Claim | None:
        """The last effective claim; one that was pinned stands until it is retracted."""
        last = None
        for claim in reversed(self.claims):
            if claim.status == "effective":
                if claim.pinned:
                    return claim
                last = last or claim
        return last

    def waiting(self) -> Claim | None:
        """A newer claim that stands beside the effective one: quarantined or pending."""
        last = self.claims[-1] if self.claims else None
        return last if last and last.status in ("quarantined", "pending") else None


class Sent(Struct, frozen=True, omit_defaults=True):
    """One cell of an intent: the value, its version, and the tool's value before."""

    value: Value
    version: Version
    before: Value = None
    hop: int = 0


RecordState = Literal["creating", "live", "archived", "deleted", "merged", "failed", "lost"]


class OpenIntent(Struct, frozen=True, omit_defaults=True):
    """A write on its way. From `unknown_at` on only a read-back can settle it."""

    seq: int
    at: int
    op: Literal["create", "update"]
    sends: Mapping[str, Sent]
    members: tuple[Uid, ...]
    unknown_at: int | None = None


class Record(Struct, frozen=True, omit_defaults=True):
    """One record of one object in one system, folded from its inputs up to `folded`.

    `read_end` is the end of the last folded reading or write, `changed_at` the time of the last
    change or write seen here; both ms by the hub's clock. `members` are the records of its golden
    record at its last intent, receipt or agreement, `delivered` the ones when golden was last known
    to be in the tool. `tightened`: consent cell to the refusals that
    were written here. `anchor`: for a record that we created, the record it was created for.
    `departed`: what somebody decided about a deleted record ("" while it waits). A create that came
    to nothing leaves it *failed*; one of which nothing was found when it was looked for, *lost*.
    """

    uid: Uid
    entity: str
    system: str
    object: str
    native_id: str = ""
    state: RecordState = "live"
    folded: int = 0
    revision: tuple[int, int] = (0, 0)
    read_end: int = 0
    changed_at: int = 0
    seen: bool = False
    cells: Mapping[str, Cell] = field(default_factory=dict)
    intent: OpenIntent | None = None
    members: tuple[Uid, ...] = ()
    delivered: tuple[Uid, ...] = ()
    tightened: Mapping[str, Vector] = field(default_factory=dict)
    anchor: Uid = ""
    departed: str = ""
    ext: Mapping[str, str] = field(default_factory=dict)

    def cell(self, name: str) -> Cell:
        """The cell, an empty one where nothing is known of it."""
        return self.cells.get(name, _EMPTY)

    @property
    def alive(self) -> bool:
        """Whether the tool still has it (or is about to)."""
        return self.state in ("live", "creating")


_EMPTY = Cell()


def with_cell(record: Record, name: str, cell: Cell) -> Record:
    """The record with this cell in place of the one it had."""
    return replace(record, cells={**record.cells, name: cell})


# -- inputs ------------------------------------------------------------------------------------


class Observation(Struct, frozen=True, omit_defaults=True):
    """A reading of the record.

    `values`: covered fields (None = cleared); a list states a whole set, of an association the
    uids of the other ends. Start and end in ms by our clock.
    """

    start: int
    end: int
    values: Mapping[str, Value] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    ext: Mapping[str, str] = field(default_factory=dict)
    state: RecordState = "live"
    native_id: str = ""
    revision: tuple[int, int] = (0, 0)
    source_ms: int | None = None
    snapshot: bool = False
    actor: Actor = Actor()
    successor: Uid = ""


class Intent(Struct, frozen=True, omit_defaults=True):
    """A write that is about to be sent. For a create it is the record's first input."""

    at: int
    op: Literal["create", "update"]
    sends: Mapping[str, Sent]
    members: tuple[Uid, ...]
    golden: Uid
    key: str
    run: str = ""


class Receipt(Struct, frozen=True, omit_defaults=True):
    """What came of an intent, or (agrees) that tool and golden were found equal without one.

    `values` are the tool's answers by cell; for *agrees* what it was seen to hold, with `sends`
    the golden values and versions it agrees with. `confirms`: read one settle time after a write.
    """

    outcome: Literal["applied", "rejected", "not_sent", "unknown", "agrees"]
    start: int
    end: int
    values: Mapping[str, Value] = field(default_factory=dict)
    sends: Mapping[str, Sent] = field(default_factory=dict)
    members: tuple[Uid, ...] = ()
    revision: tuple[int, int] = (0, 0)
    native_id: str = ""
    fields: tuple[str, ...] = ()
    why: str = ""
    confirms: bool = False
    adopts: Uid = ""


class Decision(Struct, frozen=True, omit_defaults=True):
    """What a person decided.

    `act` is one of: same, different (with `other`); edit, pin (cell, value; `version` is what they
    were shown); retract, approve, reject (cell, claim); keep, unlink, recreate (a record that is
    gone).
    """

    at: int
    act: str
    id: str
    actor: Actor
    other: Uid = ""
    cell: str = ""
    value: Value = None
    claim: int = 0
    version: Version = Version()


class Tick(Struct, frozen=True, omit_defaults=True):
    """Time went by for one due item (`what`)."""

    at: int
    what: str


Body = Observation | Intent | Receipt | Decision | Tick
KINDS: Mapping[str, type[Any]] = {
    "observation": Observation,
    "intent": Intent,
    "receipt": Receipt,
    "decision": Decision,
    "tick": Tick,
}


class Input(Struct, frozen=True, omit_defaults=True):
    """A body, and the record and place in its sequence that it belongs to."""

    uid: Uid
    seq: int
    body: Body

    @property
    def event_id(self) -> str:
        """Unique for ever."""
        return f"{self.uid}:{self.seq}"


# -- what is computed from records -------------------------------------------------------------


class Edge(Struct, frozen=True, omit_defaults=True):
    """A relation of two records, a < b.

    `kind`, and what `outcome` may be: verdict (same, different), link (created for, merged into:
    same), evidence (same, ask), shared (were once delivered as one: same), consent (a refusal of
    one speaks for the other: ask, and joins nothing).
    """

    a: Uid
    b: Uid
    kind: Literal["verdict", "link", "evidence", "shared", "consent"]
    outcome: Literal["same", "ask", "different"]
    why: str = ""
    at: int = 0
    by: str = ""

    @property
    def id(self) -> tuple[Uid, Uid, str]:
        """Its place in the table."""
        return (self.a, self.b, self.kind)


def edge(one: Uid, two: Uid, kind: Any, outcome: Any, **more: Any) -> Edge:
    """An edge with its ends in order."""
    return Edge(min(one, two), max(one, two), kind, outcome, **more)


class GoldenCell(Struct, frozen=True, omit_defaults=True):
    """The winning value of a cell, why it won, and what it won against.

    `winner` and `claims` name (uid, seq); `standing`: those not covered by another. `also`: other
    values that were entered, where people have several (e-mails, phones, addresses).
    """

    value: Value
    version: Version
    winner: tuple[Uid, int] | None
    rule: str
    claims: tuple[tuple[Uid, int], ...] = ()
    standing: tuple[tuple[Uid, int], ...] = ()
    conflict: bool = False
    hop: int = 0
    parked: str = ""
    also: tuple[Value, ...] = ()


class Golden(Struct, frozen=True, omit_defaults=True):
    """One customer: the records that are it, and the value of every cell.

    `number` counts versions for people and topics. `asks`: records that may be the same customer.
    `duplicate_of`: the golden record whose tool record this one doubles. `beside`: (system, object)
    where a golden record that doubles this one has a record: another would be a second of the same.
    """

    uid: Uid
    entity: str
    members: tuple[Uid, ...]
    cells: Mapping[str, GoldenCell]
    number: int = 0
    rules: int = 0
    asks: tuple[Uid, ...] = ()
    duplicate_of: Uid = ""
    merged_into: Uid = ""
    beside: tuple[tuple[str, str], ...] = ()

    @property
    def claimed(self) -> bool:
        """Whether anybody entered anything of it: a refusal alone is nobody."""
        return any(c.winner and field_of(n) != "consent" for n, c in self.cells.items())

    def cell(self, name: str) -> GoldenCell:
        """The cell, an unclaimed one where there is none."""
        return self.cells.get(name, _UNCLAIMED)


_UNCLAIMED = GoldenCell(None, Version(), None, "nobody claims it")


def cells_of_field(names: Iterable[str], name: str) -> list[str]:
    """The element cells of a set among these, in order."""
    start = name + "["
    return sorted([cell for cell in names if cell.startswith(start)])
