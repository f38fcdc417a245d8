"""Back up and put back. A store that was put back knows less than the tools do.

So before it may write, every system's epoch is raised, which leads every revision: no reading is
taken for an old one. Every record of every tool is read again, and nothing is written before a plan
that was made afterwards has been applied. Until all this is begun the store refuses to be used.
"""

from __future__ import annotations

from pathlib import Path

from hub import members, sweep, switches
from hub.commands import Answer, Wrong
from hub.env import Hub
from hub.io import history, store
from hub.io.rows import Rows
from hub.leases import TTL_MS
from hub.opening import DATABASE, DUE, Folder, opened
from hub.pure.model import Actor


def backup(folder: Folder, to: Path) -> Answer:
    """Copy the database to a file, also while the hub is up.

    Raises `Wrong`, OSError, `StoreFull`.
    """
    where = in_file(folder, "`pg_dump --schema` copies it, see deploy/README.md")
    if not where.exists():
        raise Wrong(f"{where} does not exist: there is nothing to back up yet")
    if to.exists():
        raise Wrong(f"{to} exists already: a copy takes no other's place")
    return {"file": str(to), "bytes": store.copied(where, to)}


def still_up(hub: Hub) -> list[str]:
    """The processes that are up; those of a young copy are gone in a moment."""
    up: list[str] = []
    for _ in range(TTL_MS // 1_000 + 1):
        up = hub.env.view(lambda rows: members.present(rows, hub.env.now()))
        if not up:
            break
        hub.env.sleep(1)
    return up


def restore(folder: Folder, copy: Path | None, who: str) -> Answer:
    """Put a copy back, if one is named, and begin anew with what the store holds.

    The database that was there is kept beside it. Raises `Wrong`, `Busy`, `StoreFull`.
    """
    kept = put_back(folder, copy) if copy else ""
    with opened(folder, anyway=True) as one:
        if one.settings.postgres and (up := still_up(one.hub)):
            raise Wrong(f"{', '.join(up)}: stop every process of this hub first")
        one.hub.env.commit(lambda rows: begin_anew(rows, one.hub, who), "restore")
    return {"restored": str(copy or ""), "kept": kept, "systems": sorted(one.hub.systems)}


def put_back(folder: Folder, copy: Path) -> str:
    """The copy in the place of the database; the file in which that one is kept."""
    where = in_file(folder, "`pg_restore` puts a copy back; then call this without a file")
    if not copy.exists():
        raise Wrong(f"{copy} does not exist; `synchub backup` writes one")
    kept = store.replaced(where, copy, {DUE: "put back"})
    return str(kept) if kept else ""


def in_file(folder: Folder, instead: str) -> Path:
    """Where the database of an embedded hub lies; raises `Wrong` for another."""
    found = folder.hub()
    if found.postgres:
        raise Wrong(f"this hub is on PostgreSQL: {instead}")
    return folder.path / found.state / DATABASE


def begin_anew(rows: Rows, hub: Hub, who: str) -> None:
    """What is known is old: read everything again, and write nothing before a plan."""
    now = hub.env.now()
    for row in rows.select("system"):
        rows.update("system", {"name": row["name"]}, {"epoch": row["epoch"] + 1})
    for system in hub.systems.values():
        sweep.request(rows, system, now)
    rows.upsert("meta", {"name": sweep.RESTORED, "value": str(now)})
    rows.update("run", {"state": "applying"}, {"state": "done"})
    switches.turn(rows, hub, "applied", None, Actor("steward", who))
    if hub.log.apart:
        history.publish_all(rows, hub.codec)
    rows.delete("meta", {"name": DUE})
