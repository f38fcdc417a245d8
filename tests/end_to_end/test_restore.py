"""A store that was put back knows less than the tools: it looks, plans, and only then writes."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.local import fetched
from hub import opening
from hub.io import state
from hub.pure.model import Observation
from tests.end_to_end.cluster import Cluster, cluster
from tests.end_to_end.conftest import Site, wait
from tests.end_to_end.test_move import Counting, contacts, customers, edit

CUSTOMERS = 16
WATCHED_S = 3


def writes(site: Site) -> Counter[str]:
    """What was written into billing so far."""
    billing = site.served["stripe"]
    assert isinstance(billing, Counting)
    return billing.writes


def shown(site: Site) -> set[tuple[str, str]]:
    """System and new street of each row of a plan."""
    rows = site.asked("plan")["rows"]
    return {
        (row["system"], str((cell["to"] or {}).get("line1")))
        for row in rows
        for cell in row["cells"]
        if cell["cell"] == "address"
    }


def known(site: Site, native: str) -> list[tuple[int, int]]:
    """The revisions of the readings of a contact, as far as they count."""
    with opening.opened(site.folder) as one:

        def look(rows: Any) -> list[tuple[int, int]]:
            uid = state.find_alias(rows, "hubspot", "contacts", native)
            read = state.folded_inputs(rows, one.hub.vault, [str(uid)])
            return [i.body.revision for i in read if isinstance(i.body, Observation)]

        return one.store.view(look)


@pytest.mark.timeout(240)
def test_a_copy_of_the_file_is_put_back(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """A copy taken while the hub is up: what was typed after it is found, and nothing undone."""
    site = make_site(CUSTOMERS, Counting)
    site.up()
    site.connect()
    first, second, third, *_ = contacts()
    kept = edit(site, first, "1 Kept Road")
    assert wait(lambda: kept in customers(site), 30)
    assert site.quiet()
    copy = tmp_path / "copy.db"
    assert site.asked("backup", str(copy))["bytes"] == copy.stat().st_size
    newer = edit(site, second, "2 Newer Road")
    assert wait(lambda: newer in customers(site), 30)
    assert site.quiet()
    assert site.stop() == 0
    lost = edit(site, third, "3 Unseen Road")
    writes(site).clear()

    assert site.call("restore", str(tmp_path / "none.db")).returncode == 2
    done = site.asked("restore", str(copy))
    assert (site.folder.path / done["kept"]).exists()
    assert ("stripe", lost) in shown(site), "read again by the plan itself"
    site.up()
    after(site, {kept, newer}, lost)
    verified = site.call("verify")
    assert verified.returncode == 1
    assert "anchored" in verified.stdout
    assert site.call("verify", "--accept").returncode == 0
    assert site.stop() == 0
    assert {epoch for epoch, _ in known(site, second)} == {0, 1}


def after(site: Site, there: set[str], lost: str) -> None:
    """Nothing is written until a plan was applied; it shows what was lost, and nothing else."""
    time.sleep(WATCHED_S)
    assert writes(site) == Counter()
    assert shown(site) == {("stripe", lost)}
    assert writes(site) == Counter()
    run = site.asked("plan")["run"]
    assert site.asked("apply", run)["open"] == 0
    assert wait(lambda: lost in customers(site), 30)
    found = customers(site)
    assert there <= found.keys(), "what the tools held was not written over"
    assert writes(site) == Counter({f"/v1/customers/{found[lost]}": 1})


def test_a_store_that_was_put_back_is_not_used_as_it_is(
    make_site: Callable[..., Site], tmp_path: Path
) -> None:
    """Wherever the restore breaks off; and what is no copy takes no database's place."""
    site = make_site(6)
    site.call("status")
    copy, other = tmp_path / "copy.db", tmp_path / "other.db"
    site.asked("backup", str(copy))
    assert site.call("backup", str(copy)).returncode == 2
    database = site.folder.path / ".synchub" / opening.DATABASE
    held = database.read_bytes()
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE mine (n)")
    for text in (other, site.folder.path / "hub.yaml"):
        refused = site.call("restore", str(text))
        assert (refused.returncode, "Traceback" in refused.stderr) == (3, False), refused.stderr
    assert database.read_bytes() == held
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO meta VALUES (?, 'put back')", [opening.DUE])
    refused = site.call("status")
    assert refused.returncode == 2
    assert "synchub restore" in refused.stderr
    assert site.call("restore").returncode == 0
    assert site.call("status").returncode == 0


@pytest.fixture
def scaled(make_site: Callable[..., Site], postgres: str, kafka: str) -> Any:
    """A hub on Kafka and PostgreSQL, of which no process is up yet."""
    with cluster(make_site(CUSTOMERS, Counting), postgres, kafka, partitions=3) as made:
        yield made


@pytest.mark.timeout(240)
def test_a_dump_of_postgresql_is_put_back(scaled: Cluster, postgres: str, tmp_path: Path) -> None:
    """The same, with PostgreSQL's own tools; Kafka keeps what it has."""
    site, dump = scaled.site, tmp_path / "dump"
    scaled.up()
    scaled.connect()
    first, second, third, *_ = contacts()
    kept = edit(site, first, "1 Kept Road")
    assert wait(lambda: kept in customers(site), 30)
    assert scaled.quiet()
    tool("pg_dump", "--format=custom", "--schema=synchub", f"--file={dump}", postgres)
    newer = edit(site, second, "2 Newer Road")
    assert wait(lambda: newer in customers(site), 30)
    assert scaled.quiet()
    assert "stop every process" in site.call("restore").stderr
    for part in scaled.parts:
        part.stop()
    lost = edit(site, third, "3 Unseen Road")
    writes(site).clear()
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute("DROP SCHEMA synchub CASCADE")
    tool("pg_restore", f"--dbname={postgres}", str(dump))
    assert site.call("restore").returncode == 0
    scaled.up()
    after(site, {kept, newer}, lost)


def tool(name: str, *words: str) -> None:
    """One of PostgreSQL's own commands, of the server's version."""
    subprocess.run([str(fetched.postgres() / name), *words], check=True)  # noqa: S603
