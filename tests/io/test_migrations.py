"""Tables of every earlier version become those of this one, on both databases, beside others."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from hub.io.migrate import HERE, NewerDatabase, migrate
from hub.io.postgres import PostgresStore
from hub.io.rows import Rows
from hub.io.store import SqlStore
from hub.io.tables import METADATA

SCRIPTS = ScriptDirectory(str(HERE))
REVISIONS = sorted(script.revision for script in SCRIPTS.walk_revisions())
HEAD = REVISIONS[-1]
ON_POSTGRES = "0005"  # the first that there was on PostgreSQL
DATABASES = [("sqlite", r) for r in REVISIONS] + [
    ("postgres", r) for r in REVISIONS if r >= ON_POSTGRES
]
LATER = '''
"""A revision of a version that is not written yet."""
import sqlalchemy as sa
from alembic import op
revision = "9000"
down_revision = "{head}"
{more}

def upgrade():
    """Add a table, and a column to one that is busy."""
    op.create_table("later", sa.Column("id", sa.Text(), primary_key=True))
    op.add_column("counter", sa.Column("more", sa.BigInteger(), server_default="7", nullable=False))
'''


@pytest.fixture
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], sa.Engine]]:
    """Engines of empty databases."""
    made: list[sa.Engine] = []

    def open_engine(kind: str) -> sa.Engine:
        url = f"sqlite:///{tmp_path / 'x.db'}"
        if kind == "postgres":
            address = request.getfixturevalue("postgres").partition("://")[2]
            url = f"postgresql+psycopg://{address}"
        searched = {"options": "-c search_path=synchub"} if kind == "postgres" else {}
        made.append(sa.create_engine(url, connect_args=searched))
        return made[-1]

    yield open_engine
    for one in made:
        one.dispose()


def schema(kind: str) -> str:
    """Where the tables are."""
    return "synchub" if kind == "postgres" else ""


def brought_to(engine: sa.Engine, kind: str, revision: str) -> None:
    """An older version was here."""
    config = Config()
    config.set_main_option("script_location", str(HERE))
    with engine.begin() as connection:
        if kind == "postgres":
            connection.execute(sa.schema.CreateSchema("synchub"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def scripts(place: Path, more: str = "") -> Path:
    """The revisions of a later version, of which the last one only adds."""
    shutil.copytree(HERE, place, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "versions" / "9000_later.py").write_text(LATER.format(head=HEAD, more=more))
    return place


@pytest.mark.parametrize(("kind", "revision"), DATABASES)
def test_tables_of_every_version_become_those_of_the_code(
    engine: Callable[[str], sa.Engine], kind: str, revision: str
) -> None:
    """Exactly the tables, columns and indexes that the code expects, whatever was there before."""
    made = engine(kind)
    brought_to(made, kind, revision)
    assert migrate(made, schema(kind)) == (revision, HEAD)
    assert migrate(made, schema(kind)) == (HEAD, HEAD)
    with made.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, METADATA) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_an_empty_database_gets_them_too(engine: Callable[[str], sa.Engine], kind: str) -> None:
    """From nothing."""
    made = engine(kind)
    assert migrate(made, schema(kind)) == ("", HEAD)
    with made.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": kind == "postgres"})
        assert compare_metadata(context, METADATA) == []


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_newer_database_is_left_alone(engine: Callable[[str], sa.Engine], kind: str) -> None:
    """One of which nobody knows what was changed gives an error that says what to do."""
    made = engine(kind)
    migrate(made, schema(kind))
    with made.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
        connection.execute(sa.text("delete from meta"))
    with pytest.raises(NewerDatabase, match="newer version"):
        migrate(made, schema(kind))


def put(name: str) -> Callable[[Rows], None]:
    """All ways of writing a row."""

    def work(rows: Rows) -> None:
        rows.insert("counter", {"system": "s", "name": name, "n": 1})
        rows.upsert("counter", {"system": "s", "name": name, "n": 2})
        rows.update("counter", {"name": name}, {"n": 3})
        rows.insert_many("counter", [{"system": n, "name": name, "n": 3} for n in "ab"])

    return work


def test_an_older_process_goes_on_and_starts_again_beside_a_newer_one(
    engine: Callable[[str], sa.Engine], postgres: str, tmp_path: Path
) -> None:
    """A rolling restart: the tables have grown under a process that knows nothing of it."""
    with closing(PostgresStore(postgres)) as older:
        older.transact(put("before"))
        newer = migrate(engine("postgres"), "synchub", scripts(tmp_path / "newer"))
        assert newer == (HEAD, "9000")
        older.transact(put("after"))
        with closing(PostgresStore(postgres)) as again:
            assert again.migrated == ("9000", "9000")
            again.transact(put("again"))
            counted = again.view(lambda rows: rows.select("counter", {"system": "s"}))
    assert counted == [
        {"system": "s", "name": name, "n": 3} for name in ("after", "again", "before")
    ]


def test_what_is_more_than_an_addition_keeps_older_programs_out(
    engine: Callable[[str], sa.Engine], postgres: str, tmp_path: Path
) -> None:
    """The revision says so, and the database remembers."""
    newer = scripts(tmp_path / "newer", "ALONE = True")
    migrate(engine("postgres"), "synchub", newer)
    with pytest.raises(NewerDatabase, match="newer version"):
        PostgresStore(postgres)
    assert migrate(engine("postgres"), "synchub", newer) == ("9000", "9000")


def test_a_file_of_a_newer_version_stays_closed(
    engine: Callable[[str], sa.Engine], tmp_path: Path
) -> None:
    """It has one program at a time, so nobody has to start the older one."""
    migrate(engine("sqlite"), "", scripts(tmp_path / "newer"))
    with pytest.raises(NewerDatabase, match="newer version"):
        SqlStore(tmp_path / "x.db")
