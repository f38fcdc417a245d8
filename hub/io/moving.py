"""Everything that one store holds, carried over into another one: row by row, as it is.

It happens in one transaction of the new store: all of it is there, or nothing. Pages are small, so
that it needs no more memory for a large store; only the ids of all records are kept.

What belongs to the old home stays there: its log and the positions in it, and who was working. The
new home's log begins with every golden record, as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from hub.io import history
from hub.io.codec import Codec
from hub.io.migrate import OLDEST
from hub.io.rows import Row, Rows, paged
from hub.io.shapes import SHAPES

STAYS = ("log", "position", "outbox", "lease", "mark")
SERIES = "local"  # which records are numbered by
MARK = "moved"  # in `meta`: where this store was moved to
FROM = "moved from"  # in `meta`: the mark of the store that this one was filled from
OWN = (SERIES, OLDEST, MARK)  # in `meta`: what each store says of itself
Told = Callable[[str], None]


class NotWhole(Exception):
    """What has arrived is not what was sent: nothing of it is kept. The text says what differs."""


def tables() -> list[str]:
    """What is carried over; records first, for who makes a record holds it."""
    return ["record", *sorted(SHAPES.keys() - {"record", *STAYS})]


def filled(rows: Rows) -> list[str]:
    """The tables in which a store that is in use has rows."""
    return [
        t for t in (*tables(), "outbox", "position") if t not in LAID and rows.select(t, limit=1)
    ]


LAID = ("lane", "meta")  # of which an empty store may have rows


def carry(old: Rows, new: Rows, codec: Codec, told: Told) -> dict[str, int]:
    """Fill an empty store, and check it; rows by table. Raises `NotWhole`."""
    counted = {table: carried(old, new, table, told) for table in tables()}
    last = old.select("record", order=("-local",), limit=1, only=("local",))
    new.number_from(SERIES, last[0]["local"] if last else 0)
    told("history is verified")
    compare(old, new, counted)
    told("golden records are announced")
    counted["outbox"] = history.publish_all(new, codec)
    return counted


def carried(old: Rows, new: Rows, table: str, told: Told) -> int:
    """Carry a table's rows over; how many there are."""
    shape, done, whole = SHAPES[table], 0, old.count(table)
    put = new.upsert_many if table in LAID else new.insert_many
    for page in paged(old, table, [shape.names[at] for at in shape.key]):
        some = [row for row in page if table != "meta" or row["name"] not in OWN]
        if table != "record":
            new.lock(owners(table, some))
        put(table, some)
        done += len(page)
        told(f"{table}: {done} of {whole}")
    return done


def owners(table: str, some: Iterable[Row]) -> set[str]:
    """The records that these rows belong to."""
    return {row[name] for name in SHAPES[table].table.info["of"] for row in some}


def compare(old: Rows, new: Rows, counted: Mapping[str, int]) -> None:
    """Raise `NotWhole` unless all has arrived, with each lane of history as it was to the byte."""
    fewer = [t for t in counted if t not in LAID and new.count(t) != old.count(t)]
    if fewer:
        raise NotWhole(f"rows are missing in {', '.join(fewer)}")
    if history.heads(old) != history.heads(new):
        raise NotWhole("history does not end where it did")
    found = flaws(new)
    if found and found != flaws(old):
        raise NotWhole(f"history, lane {found[0].lane}, entry {found[0].n}: {found[0].why}")


def flaws(rows: Rows) -> list[history.Finding]:
    """What is wrong with the history of a store."""
    return [f for lane in range(history.LANES) for f in history.check_lane(rows, lane)]
