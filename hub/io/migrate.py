"""Bring a database to the tables of this version: one process at a time, under a lock.

On SQLite that is the lock of the file's owner, on PostgreSQL one that ends with the transaction.

The revisions are in `hub/io/migrations/versions`. They only add; removal comes one version later.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

HERE = Path(__file__).parent / "migrations"


class NewerDatabase(Exception):
    """The database was written by a newer version; the text says what to do."""


def migrate(engine: sa.Engine, schema: str = "") -> None:
    """Apply every revision that is missing, in this `schema`. Raises `NewerDatabase`."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # its driver begins none for tables
            elif schema:
                waited = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
                connection.execute(waited, {"name": f"synchub {schema}"})
                connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        message = (
            f"the database was written by a newer version of synchub ({error}): start that "
            "version, or restore the copy made before it"
        )
        raise NewerDatabase(message) from error
