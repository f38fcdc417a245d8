"""From a message to a reading of its row."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from connectors._kit.contract import Entity, Json, ObjectSpec, Reading, State, Unreadable
from connectors._kit.source import Table
from connectors.debezium.topics import Message
from connectors.debezium.values import UNTOLD, Schemas, Shape, Typed, plain, unpacked, withheld

NEW_KEY, OLD_KEY = "__debezium.newkey", "__debezium.oldkey"
DELETED, OP, SOURCE_MS = "__deleted", "__op", "__source_ts_ms"  # what flattening may add
# Of rows that were listed, or changed in a column that is not told, nobody knows when they were
# typed; one that was inserted was typed just then.
OPS: Mapping[str, bool] = {"r": True, "c": False, "u": True, "d": False}
OFFSET_BITS: Final = 48  # of a revision; above them is the generation of the topic


@dataclass(frozen=True, slots=True)
class Change:
    """What a message says of a row. `row`: as it is now, or as it was where it is gone (if told).

    `at`: when it was changed, by the database's clock (ms).
    """

    row: Mapping[str, Any]
    shape: Shape
    at: int
    gone: bool = False
    snapshot: bool = False


@dataclass(frozen=True)
class Rows:
    """Reads the rows of one table. `shapes`: what columns are declared as."""

    table: Table
    spec: ObjectSpec
    shapes: Mapping[str, Shape]

    def reading(
        self, message: Message, schemas: Schemas, read_ms: int, generation: int
    ) -> Reading | None:
        """What the message shows, None where it says nothing more; raises `Unreadable`."""
        try:
            return self._reading(message, schemas, read_ms, generation)
        except RecursionError:
            raise Unreadable("values are nested too deeply", message.value or b"") from None

    def _reading(
        self, message: Message, schemas: Schemas, read_ms: int, generation: int
    ) -> Reading | None:
        """The same.

        A changed key comes as a deletion that names the new key, and as a new row. The first is
        the renaming, for it stands behind all that was told under the old key.
        """
        renamed = message.headers.get(NEW_KEY)
        if message.value is None and renamed is not None:
            return None
        change = self.change(message, schemas)
        own = self.own_id(change, message, schemas)
        if change.gone and renamed is not None:
            new = self.id_in(unpacked(renamed, schemas))
            return Reading(
                self.spec.object, new, {}, read_ms, read_ms, source_ms=change.at, aliases=(own,)
            )
        state: State = "deleted" if change.gone else "live"
        seen, unknown = ({}, {}) if change.gone else self.values(change)
        return Reading(
            object=self.spec.object,
            native_id=own,
            app=seen,
            start_ms=read_ms,
            end_ms=read_ms,
            state=state,
            revision=(generation << OFFSET_BITS) + message.offset + 1,
            source_ms=change.at,
            unknown=unknown,
            links={} if change.gone else self.links(change),
            raw=kept(change.row),
            snapshot=change.snapshot,
        )

    # -- what happened -----------------------------------------------------------------------------

    def change(self, message: Message, schemas: Schemas) -> Change:
        """What happened to the row."""
        if message.value is None:
            return Change({}, UNTOLD, message.at, gone=True)
        typed = unpacked(message.value, schemas)
        if not isinstance(typed.value, dict):
            raise Unreadable("neither a change of Debezium's nor a row", message.value)
        if "op" in typed.value and isinstance(typed.value.get("source"), dict):
            return change_in(typed, message)
        return self.flat(typed, message)

    def flat(self, typed: Typed, message: Message) -> Change:
        """A row without its envelope, as ExtractNewRecordState leaves it."""
        row = typed.value
        if lacks := [name for name in self.table.key if name not in row]:
            what = "a change of a schema" if "ddl" in row else f"it has no op, and no {lacks[0]}"
            raise Unreadable(
                f"neither a change of Debezium's nor a row: {what}", message.value or b""
            )
        at = row.get(SOURCE_MS)
        return Change(
            row,
            typed.shape,
            at if type(at) is int else message.at,
            gone=str(row.get(DELETED)).lower() == "true" or row.get(OP) == "d",
            snapshot=row.get(OP) != "c",
        )

    # -- whose row it is ---------------------------------------------------------------------------

    def own_id(self, change: Change, message: Message, schemas: Schemas) -> str:
        """The row's key, from the row itself or from the message's key."""
        if all(change.row.get(name) is not None for name in self.table.key):
            return self.id_in(Typed(change.row, change.shape))
        if message.key is None:
            raise Unreadable(f"the message has no key, and no {self.table.key[0]}")
        return self.id_in(key_of(message.key, schemas))

    def id_in(self, typed: Typed) -> str:
        """The id that these values of the key's columns are."""
        names, found = self.table.key, typed.value
        if not isinstance(found, dict) and len(names) == 1:
            found = {names[0]: found}
        if not isinstance(found, dict) or not all(name in found for name in names):
            raise Unreadable(f"expected a key of {', '.join(names)}, got {str(found)[:80]!r}")
        parts = [text_of(n, found[n], typed.shape.of(n)) for n in names]
        return parts[0] if len(parts) == 1 else orjson.dumps(parts).decode()

    # -- what it holds -----------------------------------------------------------------------------

    def values(self, change: Change) -> tuple[dict[str, Json], dict[str, str]]:
        """Plain values of the columns that are mapped, and the fields that cannot be read."""
        fields = self.spec.fields
        seen: dict[str, Json] = {}
        wrong: dict[str, str] = {}
        for name in fields.app_names:
            if name in change.row and not withheld(change.row[name]):
                try:
                    seen[name] = plain(change.row[name], self.shape(change, name))
                except ValueError as error:
                    wrong |= {f.name: f"{name}: {error}" for f in fields.fields if name in f.app}
        return seen, wrong

    def shape(self, change: Change, name: str) -> Shape:
        """What the message tells of a column, or what is declared."""
        told = change.shape.of(name)
        return told if told.name else self.shapes.get(name, told)

    def links(self, change: Change) -> dict[Entity, tuple[str, ...]]:
        """The row's company, where the table has one."""
        name = self.table.company
        if not name or name not in change.row or withheld(change.row[name]):
            return {}
        found = change.row[name]
        return {"company": () if found is None else (text_of(name, found, change.shape.of(name)),)}


def change_in(typed: Typed, message: Message) -> Change:
    """What Debezium's envelope says; raises `Unreadable`."""
    op, source = typed.value["op"], typed.value["source"]
    if op == "t":
        raise Unreadable(
            "the table was truncated, and Debezium names no row of it: nothing is deleted here; "
            "decide about the rows that are gone",
            message.value or b"",
        )
    if op not in OPS:
        raise Unreadable(f"op {str(op)[:20]!r} is not known", message.value or b"")
    side = "before" if op == "d" else "after"
    row, at = typed.value.get(side), source.get("ts_ms")
    if not isinstance(row, dict) and op != "d":
        raise Unreadable(f"op {op} has no row in {side!r}", message.value or b"")
    return Change(
        row if isinstance(row, dict) else {},
        typed.shape.of(side),
        at if type(at) is int else message.at,
        gone=op == "d",
        snapshot=OPS[op],
    )


def key_of(key: bytes, schemas: Schemas) -> Typed:
    """A message's key; StringConverter writes a plain text."""
    try:
        return unpacked(key, schemas)
    except Unreadable:
        text = key.decode("utf-8", "replace")
        if key[:1] == b"\0" or text.startswith("Struct{") or "\N{REPLACEMENT CHARACTER}" in text:
            raise
        return Typed(text)


def text_of(name: str, value: Any, shape: Shape) -> str:
    """A part of a key as text; raises `Unreadable`."""
    try:
        found = plain(value, shape)
    except ValueError as error:
        raise Unreadable(f"{name}: {error}") from None
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise Unreadable(f"{name}: {str(found)[:40]!r} is no key")
    return str(found)


def kept(row: Mapping[str, Any]) -> bytes:
    """The row as JSON; raises `Unreadable` where JSON has no form for it."""
    try:
        return orjson.dumps(dict(row), default=shown)
    except TypeError as error:
        raise Unreadable(f"the row cannot be kept: {error}") from None


def shown(value: object) -> str:
    """What JSON has no form for, kept as text."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
