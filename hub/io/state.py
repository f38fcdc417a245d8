"""Model values in and out of the tables: the only place that knows how they are laid out.

Every function works in the transaction of the `Rows` it is given. Personal data in append-only
tables is sealed under the key of its record; records and golden records are projections, plain,
and purged when a person is erased.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

from hub.io.log import digits
from hub.io.rows import Again, Conflict, Row, Rows, among
from hub.io.seal import Seal, subject_key, subject_keys
from hub.pure import pack
from hub.pure.decide import EdgeId, Loaded, Need
from hub.pure.identity import Key
from hub.pure.model import Body, Edge, Golden, Input, Intent, Receipt, Record, Uid

Keys = Mapping[Uid, bytes]
NO_KEYS: Keys = MappingProxyType({})
REPLAYED = "repaired by "  # why a parked input is superseded, without ever having been folded


@dataclass(frozen=True)
class Vault:
    """Seals and digests. `pepper` keys the digests of match keys, so that they tell nothing."""

    seal: Seal
    pepper: bytes

    def keys(self, rows: Rows, uids: Iterable[Uid]) -> Keys:
        """The keys of these records, read at once, to close and open with in this transaction."""
        return subject_keys(rows, uids, self.seal)

    def close(self, rows: Rows, uid: Uid, plain: bytes, keys: Keys = NO_KEYS) -> bytes:
        """Bytes, sealed under the record's key."""
        key = keys.get(uid) or subject_key(rows, uid, self.seal)
        return self.seal.seal(uid, key, plain)

    def open(self, rows: Rows, uid: Uid, sealed: bytes, keys: Keys = NO_KEYS) -> bytes:
        """What was sealed; raises `CannotOpen` when the key is gone or the bytes were changed."""
        key = keys.get(uid) or subject_key(rows, uid, self.seal)
        return self.seal.open(uid, key, sealed)

    def digest(self, text: str) -> bytes:
        """A keyed digest of 16 bytes."""
        return blake2b(text.encode(), digest_size=16, key=self.pepper).digest()


# -- records -----------------------------------------------------------------------------------


def load_records(rows: Rows, uids: Iterable[Uid]) -> dict[Uid, Record | None]:
    """Records by uid; None where there is none."""
    wanted = sorted(set(uids))
    docs = rows.select("record", {"uid": among(wanted)}, only=("uid", "doc")) if wanted else []
    known = {row["uid"]: pack.unpack(Record, row["doc"]) for row in docs}
    return {uid: known.get(uid) for uid in wanted}


def load_record(rows: Rows, uid: Uid) -> Record | None:
    """One record."""
    return load_records(rows, [uid])[uid]


def save_records(rows: Rows, records: Iterable[Record]) -> None:
    """Store folded records; their rows were laid when the uids were minted."""
    rows.update_many(
        "record",
        [
            {
                "uid": record.uid,
                "native_id": record.native_id or None,
                "state": record.state,
                "folded": record.folded,
                "doc": pack.pack(record),
            }
            for record in records
        ],
    )


def born(row: Row) -> Record:
    """A record as it was before its first input; one that was never read keeps its tool's id."""
    return Record(row["uid"], row["entity"], row["system"], row["object"], row["native_id"] or "")


def birth(rows: Rows, record: Record) -> None:
    """Lay the row of a new record, with the next free local number; nothing is folded yet."""
    rows.insert(
        "record",
        {
            "uid": record.uid,
            "local": rows.number("local"),
            "entity": record.entity,
            "system": record.system,
            "object": record.object,
            "native_id": record.native_id or None,
            "golden": record.uid,
            "role": "primary",
            "state": record.state,
            "next_seq": 1,
            "folded": 0,
            "read_end": 0,
            "doc": pack.pack(record),
        },
    )


def find_alias(rows: Rows, system: str, obj: str, native_id: str) -> Uid | None:
    """The record that a native id means, whether it is its present id or an old one."""
    row = rows.get("alias", system=system, object=obj, native_id=native_id)
    return None if row is None else str(row["uid"])


def add_alias(rows: Rows, system: str, obj: str, native_id: str, uid: Uid) -> None:
    """Claim a native id for a record; raises `Conflict` when another one has it.

    Where somebody else has claimed it a moment ago, the work is done anew and finds that.
    """
    try:
        rows.insert("alias", {"system": system, "object": obj, "native_id": native_id, "uid": uid})
    except Conflict:
        if rows.alone:
            raise
        raise Again from None


# -- inputs ------------------------------------------------------------------------------------


def append_input(
    rows: Rows, vault: Vault, uid: Uid, body: Body, at: int, **more: Any
) -> tuple[Input, str]:
    """The next input of a record, pending, and its trace.

    `more`: start, end, cause, run, raw, by, and the `trace` it came with.
    Raises `LookupError` where there is no such record.
    """
    rows.lock([uid])
    seq = next_seq(rows, uid)
    rows.update("record", {"uid": uid}, {"next_seq": seq + 1})
    raw, trace = more.pop("raw", b""), more.pop("trace", "") or trace_of(rows, uid, seq, body)
    keys = {uid: subject_key(rows, uid, vault.seal)}
    rows.insert(
        "input",
        {
            "uid": uid,
            "seq": seq,
            "kind": pack.kind_of(body),
            "status": "pending",
            "at": at,
            "start": more.pop("start", at),
            "end": more.pop("end", at),
            "body": vault.close(rows, uid, pack.pack(body), keys),
            "raw": vault.close(rows, uid, raw, keys) if raw else None,
            "trace": trace,
            **more,
        },
    )
    return Input(uid, seq, body), trace


def next_seq(rows: Rows, uid: Uid) -> int:
    """The number of a record's next input; raises `LookupError` where there is none."""
    for row in rows.select("record", {"uid": uid}, only=("next_seq",)):
        return int(row["next_seq"])
    message = f"no record {uid}: an input needs one"
    raise LookupError(message)


def trace_of(rows: Rows, uid: Uid, seq: int, body: Body) -> str:
    """Whose consequence this is: a write's that of its golden value, a receipt's that of its write.

    What was seen or decided, and came with no trace, begins one of its own.
    """
    found = ""
    if isinstance(body, Intent):
        here = {"golden": body.golden}
        last = rows.select("history", here, order=("-version",), limit=1, only=("head",))
        found = last[0]["head"]["trace"] if last else ""
    elif isinstance(body, Receipt):
        found = input_trace(rows, uid, seq - 1)
    return found or digits(f"{uid}:{seq}", 16)


def input_trace(rows: Rows, uid: Uid, seq: int) -> str:
    """The trace that an input belongs to, "" where there is no such input."""
    found = rows.select("input", {"uid": uid, "seq": seq}, only=("trace",))
    return str(found[0]["trace"]) if found else ""


def pending_inputs(rows: Rows, uids: Iterable[Uid]) -> list[dict[str, Any]]:
    """Rows of the inputs that wait to be folded, in the order of their records' sequences."""
    wanted = sorted(set(uids))
    if not wanted:
        return []
    where = {"uid": among(wanted), "status": "pending"}
    return rows.select("input", where, ("uid", "seq"), only=("uid", "seq", "kind", "body"))


def open_input(rows: Rows, vault: Vault, row: dict[str, Any], keys: Keys = NO_KEYS) -> Input:
    """An input from its row; raises ValueError or `CannotOpen` for one that cannot be read."""
    doc = vault.open(rows, row["uid"], row["body"], keys)
    return Input(row["uid"], row["seq"], pack.unpack_body(row["kind"], doc))


def folded_inputs(rows: Rows, vault: Vault, uids: Iterable[Uid] | None = None) -> list[Input]:
    """Every input that was folded, of these records or of all, for replay.

    One that was parked and put again was never folded itself.
    """
    where: dict[str, Any] = {"status": among(["applied", "superseded"])}
    where |= {} if uids is None else {"uid": among(uids)}
    found = rows.select("input", where, order=("uid", "seq"))
    return [open_input(rows, vault, r) for r in found if not (r["by"] or "").startswith(REPLAYED)]


# -- what decide needs -------------------------------------------------------------------------


def fill(rows: Rows, vault: Vault, loaded: Loaded, need: Need) -> None:
    """Read what `need` asks for into `loaded`; the records are held, so that all of it stays."""
    if need.records:
        rows.lock(need.records)
        loaded.records |= load_records(rows, need.records - loaded.records.keys())
    if need.edges_of:
        for e in load_edges(rows, need.edges_of):
            loaded.edges[e.id] = e
        loaded.edges_of |= need.edges_of
    if need.keys:
        loaded.keys |= load_keys(rows, vault, need.keys)
    if need.golden:
        loaded.golden |= load_goldens(rows, need.golden)
    if need.ends:
        loaded.ends |= golden_ids(rows, need.ends)


def load_edges(rows: Rows, uids: Iterable[Uid]) -> list[Edge]:
    """All edges that touch these records."""
    wanted = among(sorted(set(uids)))
    found = rows.select("edge", {"a": wanted}) + rows.select("edge", {"b": wanted})
    return [
        Edge(r["a"], r["b"], r["kind"], r["outcome"], r["why"], r["at"], r["by"]) for r in found
    ]


def save_edges(rows: Rows, put: Iterable[Edge], drop: Iterable[EdgeId]) -> None:
    """Store new and changed edges, forget dropped ones."""
    for a, b, kind in sorted(drop):
        rows.delete("edge", {"a": a, "b": b, "kind": kind})
    rows.upsert_many(
        "edge",
        [
            {
                "a": e.a,
                "b": e.b,
                "kind": e.kind,
                "outcome": e.outcome,
                "why": e.why,
                "at": e.at,
                "by": e.by,
                "epoch": 0,
            }
            for e in put
        ],
    )


def load_keys(rows: Rows, vault: Vault, keys: Iterable[Key]) -> dict[Key, frozenset[Uid]]:
    """The records that have each key."""
    digests = {vault.digest("|".join(key)): key for key in keys}
    found: dict[Key, set[Uid]] = {key: set() for key in digests.values()}
    for entity, kind in sorted({(key.entity, key.kind) for key in found}):
        some = [d for d, key in digests.items() if (key.entity, key.kind) == (entity, kind)]
        where = {"entity": entity, "kind": kind, "digest": among(sorted(some))}
        for row in rows.select("match_key", where):
            found[digests[row["digest"]]].add(row["uid"])
    return {key: frozenset(uids) for key, uids in found.items()}


def save_keys(rows: Rows, vault: Vault, keys: Mapping[Uid, Iterable[Key]]) -> None:
    """The keys of records, in place of those they had; most of them stay."""
    if not keys:
        return
    held = {tuple(row.values()): row for row in rows.select("match_key", {"uid": among(keys)})}
    wanted = {(k.entity, k.kind, vault.digest("|".join(k)), uid) for uid in keys for k in keys[uid]}
    for place in sorted(held.keys() - wanted):
        rows.delete("match_key", held[place])
    names = ("entity", "kind", "digest", "uid")
    fresh = sorted(wanted - held.keys())
    rows.insert_many("match_key", [dict(zip(names, place, strict=True)) for place in fresh])


def load_goldens(rows: Rows, uids: Iterable[Uid]) -> dict[Uid, Golden | None]:
    """Golden records by id; None where there is none."""
    wanted = sorted(set(uids))
    docs = rows.select("golden", {"uid": among(wanted)}, only=("uid", "doc")) if wanted else []
    known = {row["uid"]: pack.unpack(Golden, row["doc"]) for row in docs}
    return {uid: known.get(uid) for uid in wanted}


def save_goldens(rows: Rows, goldens: Iterable[Golden], at: int) -> None:
    """Store golden records."""
    rows.upsert_many(
        "golden",
        [
            {
                "uid": golden.uid,
                "entity": golden.entity,
                "version": golden.number,
                "rules": golden.rules,
                "merged_into": golden.merged_into or None,
                "at": at,
                "doc": pack.pack(golden),
            }
            for golden in goldens
        ],
    )


def golden_ids(rows: Rows, uids: Iterable[Uid]) -> dict[Uid, Uid]:
    """Record uid to golden id; a record that is not known leads itself."""
    wanted = sorted(set(uids))
    led = rows.select("record", {"uid": among(wanted)}, only=("uid", "golden")) if wanted else []
    known = {row["uid"]: row["golden"] for row in led}
    return {uid: known.get(uid, uid) for uid in wanted}


def golden_of(rows: Rows, uid: Uid) -> Golden | None:
    """The golden record that a record, or an old golden id, belongs to now."""
    found = rows.select("record", {"uid": uid}, only=("golden",))
    return next((load_goldens(rows, row.values())[row["golden"]] for row in found), None)


def record_in(row: Row) -> Record:
    """The record that a whole row of its table holds."""
    return pack.unpack(Record, row["doc"])


def members_of(
    rows: Rows, golden: Golden, known: Mapping[Uid, Record] = MappingProxyType({})
) -> list[Record]:
    """Its records, in order of uid; those that are `known` are not read again."""
    others = load_records(rows, set(golden.members) - known.keys())
    found = (known.get(uid) or others.get(uid) for uid in sorted(golden.members))
    return [record for record in found if record is not None]


# -- slots -------------------------------------------------------------------------------------


def dirty(rows: Rows, record: Record, at: int, *, rank: int = 1) -> None:
    """Mark the link of a record: look at it."""
    dirty_all(rows, [(record, rank)], at)


def dirty_all(rows: Rows, ranked: Sequence[tuple[Record, int]], at: int) -> None:
    """Mark the links of records, each once. The oldest mark is kept."""
    rows.lock(record.uid for record, _ in ranked)
    found = rows.select("slot", {"uid": among({record.uid for record, _ in ranked})})
    mark_all(rows, ranked, {slot["uid"]: slot for slot in found}, at)


def mark_all(
    rows: Rows, ranked: Iterable[tuple[Record, int]], slots: Mapping[Uid, Row], at: int
) -> None:
    """The same, given the slots that these records have."""
    ranks = {record.uid: (record, rank) for record, rank in ranked}
    marks = [(slots[uid], marked(slots[uid], ranks[uid][1], at)) for uid in ranks if uid in slots]
    rows.insert_many("slot", [new_slot(*of, at) for uid, of in ranks.items() if uid not in slots])
    rows.update_many("slot", [mark for slot, mark in marks if not mark.items() <= slot.items()])


def new_slot(record: Record, rank: int, at: int) -> Row:
    """The slot of a record that was never marked before."""
    return {
        "uid": record.uid,
        "system": record.system,
        "object": record.object,
        "dirty": at,
        "rank": rank,
        "holds": {},
    }


def marked(slot: Row, rank: int, at: int) -> Row:
    """What a mark changes in a slot."""
    if slot["dirty"] is None:
        return {"uid": slot["uid"], "dirty": at, "rank": rank, "not_before": 0}
    rest = {name: slot[name] for name in ("uid", "dirty", "not_before")}
    return {**rest, "rank": min(rank, slot["rank"])}


def want(rows: Rows, golden: Uid, system: str, obj: str, at: int) -> None:
    """A golden record wants a record of its own in this object; the latest change counts."""
    row = rows.get("wanted", golden=golden, system=system, object=obj)
    if row is None:
        rows.insert(
            "wanted",
            {
                "golden": golden,
                "system": system,
                "object": obj,
                "dirty": at,
                "not_before": 0,
                "attempts": 0,
                "holds": {},
            },
        )
    else:
        rows.update("wanted", {"golden": golden, "system": system, "object": obj}, {"dirty": at})


def count(rows: Rows, system: str, name: str, n: int = 1) -> None:
    """Count something that must be visible."""
    rows.add("counter", {"system": system, "name": name}, "n", n)
