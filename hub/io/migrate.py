"""Bring a database to the tables of this version: one process at a time, under a lock.

On SQLite that is the lock of the file's owner, on PostgreSQL one that ends with the transaction.

The revisions are in `hub/io/migrations/versions`. They only add; removal comes one version later,
when nobody uses any more what is removed. A revision that a program without it cannot live with
says so (`ALONE = True`), and the database remembers the last such one that it was brought to. So an
older program on PostgreSQL goes on, and starts again, beside a newer one that has only added: that
is what a rolling restart needs. A file has one program at a time: there a newer one's stays closed.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

HERE = Path(__file__).parent / "migrations"
OLDEST = "oldest program"  # in the table `meta`: the revision that a program has to know


class NewerDatabase(Exception):
    """The database was written by a newer version; the text says what to do."""


class Migrated(NamedTuple):
    """From which revision to which a database was brought; "" where there was none."""

    before: str
    after: str


def migrate(engine: sa.Engine, schema: str = "", scripts: Path = HERE) -> Migrated:
    """Apply every revision that is missing, in this `schema`. Raises `NewerDatabase`."""
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # its driver begins none for tables
        elif schema:
            waited = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
            connection.execute(waited, {"name": f"synchub {schema}"})
            if not sa.inspect(connection).has_schema(schema):  # else none has to be allowed
                connection.execute(sa.schema.CreateSchema(schema))
        before = revision_of(connection)
        if schema and serves(connection, before, ScriptDirectory.from_config(config)):
            return Migrated(before, before)
        upgrade(connection, config)
        if schema:
            remember_oldest(connection, config)
        return Migrated(before, revision_of(connection))


def revision_of(connection: sa.Connection) -> str:
    """The revision of a database, "" of an empty one."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def serves(connection: sa.Connection, revision: str, known: ScriptDirectory) -> bool:
    """Whether a database is newer than this program, by additions only."""
    if revision in {"", *(script.revision for script in known.walk_revisions())}:
        return False
    asked = sa.text("SELECT value FROM meta WHERE name = :name")
    oldest = connection.execute(asked, {"name": OLDEST}).scalar()
    return oldest is not None and str(oldest) <= str(known.get_current_head())


def upgrade(connection: sa.Connection, config: Config) -> None:
    """To the newest revision."""
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        message = (
            f"the database was written by a newer version of synchub ({error}): start that "
            "version, or restore the copy made before it"
        )
        raise NewerDatabase(message) from error


def remember_oldest(connection: sa.Connection, config: Config) -> None:
    """Keep which revision a program has to know that works beside this one."""
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    oldest = max(s.revision for s in scripts if getattr(s.module, "ALONE", not s.down_revision))
    put = "INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) "
    keep = "DO UPDATE SET value = excluded.value WHERE meta.value <> excluded.value"
    connection.execute(sa.text(put + keep), {"name": OLDEST, "value": oldest})
