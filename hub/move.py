"""Move house: an embedded hub becomes one on Kafka and PostgreSQL, with all that it knows.

    mark the old store  ->  fill the new one, in one transaction  ->  both know of it

Until that commit the new store is empty; after it the old one refuses to start. A move that was
broken off in between leaves a mark in the old one: it refuses as well, and the same command either
begins again or finds that all has arrived. So at no time two hubs can be up.

The old hub is brought to rest first, as by every stop: what was taken in is resolved, and nothing
is left in its outbox. What was pending all the same is found in the table of inputs by the
resolvers of the new one. Topics of changes begin with the first change after the move, those of
golden records with all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import orjson

from hub import resolve, wiring
from hub.commands import Answer
from hub.env import Hub
from hub.io import anchor, moving, seal
from hub.io.anchor import Anchor
from hub.io.codec import Codec
from hub.io.moving import FROM, MARK, Told
from hub.io.rows import Rows, Store
from hub.opening import MASTER, Folder, Opened, opened
from hub.settings import BadSettings, HubSettings, SystemSettings

SAME = ("vendor", "account", "mode", "source")  # of a system, in both files


def move(source: Folder, file: Path, told: Told) -> Answer:
    """Move the hub of a folder to the one of which this is the hub.yaml.

    Raises `BadSettings`, `Busy`, `LogDown`, `NotWhole`, `StoreFull`.
    """
    target = Folder(file.parent, file.name)
    check_pair(source, target)
    with opened(source, anyway=True) as one, home(target, one) as (store, codec):
        token = marked(one, file)
        told("the old hub is brought to rest")
        settle(one.hub)
        take_anchor(source, target)
        rows = store.transact(lambda new: fill(new, one.store, token, codec, told))
    return {"to": str(file), "rows": rows}


def undo(source: Folder) -> Answer:
    """Forget that a hub has moved; where to, "" where it has not."""
    with opened(source, anyway=True) as one:
        row = one.store.view(lambda rows: rows.get("meta", name=MARK))
        one.store.transact(lambda rows: rows.delete("meta", {"name": MARK}))
    return {"undone": orjson.loads(row["value"])["to"] if row else ""}


# -- before anything happens -------------------------------------------------------------------


def check_pair(source: Folder, target: Folder) -> None:
    """Raise `BadSettings` unless these are the same hub in its two homes."""
    old, new = source.hub(), target.hub()
    if old.postgres:
        raise BadSettings(f"{source.path / source.file} is on PostgreSQL already")
    if new.postgres is None:
        raise BadSettings(f"{target.path / target.file} names no postgres and no kafka")
    if unlike := differing(old, new):
        raise BadSettings(
            f"{target.path / target.file} is not the same hub: {', '.join(unlike)} differ; take "
            f"them over from {source.path / source.file}"
        )
    check_key(source.path / MASTER, target.path / MASTER)


def differing(old: HubSettings, new: HubSettings) -> list[str]:
    """What two hub.yaml disagree about that has to be the same."""
    named = sorted(old.systems.keys() | new.systems.keys())
    found = [f"systems.{n}" for n in named if said(old, n) != said(new, n)]
    return found + ["default_region"] * (old.default_region != new.default_region)


def said(hub: HubSettings, name: str) -> list[object]:
    """What a file says of a system, as far as two of them have to agree."""
    system: SystemSettings | None = hub.systems.get(name)
    return [getattr(system, key) for key in SAME] if system else []


def check_key(old: Path, new: Path) -> None:
    """What was sealed can be opened there; raises `BadSettings`, `BadKeyFile`."""
    if not new.exists():
        raise BadSettings(f"{new} is missing: copy {old} there, all is sealed with it")
    if seal.read_master(old) != seal.read_master(new):
        raise BadSettings(f"{new} is another key than {old}, with which all is sealed")


@contextmanager
def home(target: Folder, one: Opened) -> Iterator[tuple[Store, Codec]]:
    """The new store, and how its topics are written. Raises `BadSettings` where one is in use."""
    settings, systems = target.hub(), list(one.hub.systems.values())
    token = one.store.view(lambda rows: rows.get("meta", name=MARK))
    with (
        closing(wiring.open_store(settings, target.path)) as store,
        closing(wiring.open_codec(settings, systems, target.path, one.hub.env.now)) as codec,
        closing(wiring.open_log(settings, systems, target.path)) as log,
    ):
        arrived = store.view(lambda rows: rows.get("meta", name=FROM))
        if arrived is None or token is None:
            refuse_used("PostgreSQL has rows", store.view(moving.filled))
            refuse_used("Kafka has messages", log.filled())
        yield store, codec


def refuse_used(how: str, places: Sequence[str]) -> None:
    """Raise `BadSettings` where the new home is in use."""
    if places:
        raise BadSettings(
            f"{how} in {', '.join(places)}: a hub moves into an empty home; name another "
            "postgres.schema_name and kafka.prefix, or empty these"
        )


# -- the move ----------------------------------------------------------------------------------


def marked(one: Opened, file: Path) -> str:
    """The mark of this move, or of the one that was broken off. Raises `BadSettings`."""
    fresh = {"to": str(file.resolve()), "token": one.hub.env.uid()}

    def put(rows: Rows) -> str:
        row = rows.get("meta", name=MARK)
        mark = orjson.loads(row["value"]) if row else fresh
        if mark["to"] != fresh["to"]:
            raise BadSettings(
                f"this hub is on its way to {mark['to']}, or there already: go on with that, or "
                "take it back with `synchub migrate --undo`"
            )
        rows.upsert("meta", {"name": MARK, "value": orjson.dumps(mark).decode()})
        return str(mark["token"])

    return one.store.transact(put)


def settle(hub: Hub) -> None:
    """Resolve what was taken in, and anchor it; nothing is left to be announced."""
    resolve.drain(hub)
    while hub.log.relay(hub.env):
        pass
    anchor.keep(hub)


def take_anchor(source: Folder, target: Folder) -> None:
    """The new hub's anchor goes on where the old one's ends; raises `BadSettings`."""
    old, new = source.path / source.hub().anchor, target.path / target.hub().anchor
    if new.exists():
        if Anchor(new).last() != Anchor(old).last():
            raise BadSettings(f"{new} is the anchor of another hub: name another file")
    elif old.exists():
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(old, new)


def fill(new: Rows, old: Store, token: str, codec: Codec, told: Told) -> dict[str, int]:
    """Carry everything over, unless it was: then only the answer got lost."""
    arrived = new.get("meta", name=FROM)
    if arrived:
        if arrived["value"] != token:
            raise BadSettings("another hub has moved there: name another postgres.schema_name")
        return {}
    refuse_used("PostgreSQL has rows", moving.filled(new))
    rows = old.view(lambda before: moving.carry(before, new, codec, told))
    new.insert("meta", {"name": FROM, "value": token})
    return rows
