"""The SQLite store: durable when it says so, shared by nobody, isolated in groups."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub import status
from hub.io import state
from hub.io.rows import Rows, StoreFull, among, below
from hub.io.seal import Seal
from hub.io.sqlite import SqliteRows
from hub.io.state import Vault
from hub.io.store import Busy, SqlStore, connect
from hub.pure.identity import Key

CHILD = """
import sys
from pathlib import Path
from hub.io.store import SqlStore
store = SqlStore(Path(sys.argv[1]))
n = 0
while True:
    n += 1
    store.transact(lambda r: r.upsert("counter", {"system": "s", "name": str(n), "n": n}))
    print(n, flush=True)
"""


def put(name: str, n: int = 1) -> Any:
    """A work that puts one row."""
    return lambda rows: rows.upsert("counter", {"system": "s", "name": name, "n": n})


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """Every row that a killed process had acknowledged is there afterwards."""
    for _ in range(3):
        path = tmp_path / "state" / "hub.db"
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(150)]
        child.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in child.stdout.read().split("\n")[:-1] if line]
        child.wait()
        child.stdout.close()
        store = SqlStore(path)
        held = {r["n"] for r in store.view(lambda r: r.select("counter"))}
        store.close()
        assert set(acknowledged) <= held


def test_one_process_per_file(tmp_path: Path) -> None:
    """A second opener is told which process has the file."""
    store = SqlStore(tmp_path / "hub.db")
    with pytest.raises(Busy, match=str(os.getpid())):
        SqlStore(tmp_path / "hub.db")
    store.close()
    SqlStore(tmp_path / "hub.db").close()


def test_private_to_its_owner(tmp_path: Path) -> None:
    """Nobody else on the machine can read the database."""
    store = SqlStore(tmp_path / "state" / "hub.db")
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    assert (tmp_path / "state" / "hub.db").stat().st_mode & 0o077 == 0
    store.close()


def test_a_group_shares_a_commit_but_not_a_failure(tmp_path: Path) -> None:
    """Works that wait together are committed together; one that fails takes nothing with it."""
    store = SqlStore(tmp_path / "hub.db")
    gate, failures = threading.Event(), []

    def slow(rows: Rows) -> None:
        gate.wait(5)
        put("slow")(rows)

    def bad(rows: Rows) -> None:
        put("bad")(rows)
        raise KeyError("bad")

    def run(work: Any) -> None:
        try:
            store.transact(work)
        except KeyError as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(w,)) for w in (slow, bad, put("x"), put("y"))]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    names = {r["name"] for r in store.view(lambda r: r.select("counter"))}
    store.close()
    assert names == {"slow", "x", "y"}
    assert len(failures) == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux lists what is open")
def test_what_may_be_undone_stays_out_of_other_files(tmp_path: Path) -> None:
    """However much a work changes, before or after a scrub, it opens no file to undo it from."""
    store = SqlStore(tmp_path / "hub.db", single_thread=True)
    rows_put = [{"name": f"n{n}", "value": "x" * 4_000} for n in range(100)]
    store.transact(lambda r: r.insert_many("meta", rows_put))

    def changed(rows: Rows) -> list[str]:
        rows.update("meta", {}, {"value": "y" * 4_000})
        return [
            path.readlink().name for path in Path("/proc/self/fd").iterdir() if path.is_symlink()
        ]

    before = store.transact(changed)
    store.scrub()
    after = store.transact(changed)
    store.close()
    assert "hub.db" in before
    assert not [name for name in before + after if name.startswith("etilqs")]


def test_a_full_disk_keeps_nothing_and_the_store_goes_on(tmp_path: Path) -> None:
    """What does not fit is not acknowledged; when there is room again, work goes on."""
    store = SqlStore(tmp_path / "hub.db")
    store.transact(put("before"))

    def limit(pages: int) -> Any:
        def work(rows: Any) -> None:
            rows._connection.execute(f"PRAGMA max_page_count={pages}")  # noqa: SLF001

        return work

    def big(rows: Rows) -> None:
        for n in range(50):
            rows.upsert("meta", {"name": f"big{n}", "value": "x" * 100_000})

    store.transact(limit(1))
    with pytest.raises(StoreFull):
        store.transact(big)
    store.transact(limit(1_000_000))
    store.transact(put("after"))
    names = {r["name"] for r in store.view(lambda r: r.select("counter"))}
    assert store.view(lambda r: r.count("meta")) == 0
    store.close()
    assert names == {"before", "after"}


def test_a_reader_sees_one_state(tmp_path: Path) -> None:
    """What is committed while somebody reads does not show up in the middle of their reading."""
    store = SqlStore(tmp_path / "hub.db")
    store.transact(put("a"))

    def look(rows: Rows) -> tuple[int, int]:
        first = rows.count("counter")
        writer = threading.Thread(target=store.transact, args=(put("b"),))
        writer.start()
        writer.join()
        return first, rows.count("counter")

    assert store.view(look) == (1, 1)
    assert store.view(lambda r: r.count("counter")) == 2
    store.close()


def plans(path: Path, work: Callable[[Rows], object], *, sorts: bool = False) -> list[str]:
    """How SQLite goes about every statement of a work; what it sorts by itself where asked."""
    SqlStore(path).close()
    connection = connect(path)
    told: list[str] = []
    connection.set_trace_callback(told.append)
    work(SqliteRows(connection, writes=False))
    connection.set_trace_callback(None)
    found = [row for text in told for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    connection.close()
    return [row[3] for row in found if sorts or not row[3].startswith("USE TEMP")]


def test_who_names_uids_goes_by_them(tmp_path: Path) -> None:
    """SQLite never takes the index of a state, which many share, where uids are named."""
    uids = among(uuid_text(n) for n in range(200))

    def work(rows: Rows) -> None:
        rows.select("input", {"uid": uids, "status": "pending"}, order=("uid", "seq"))
        rows.select("parked", {"uid": uids, "state": "open"})
        rows.select("task", {"kind": "duplicate", "state": "open", "other": uids})
        rows.select("wanted", {"golden": uuid_text(1), "system": "s", "object": "o"})

    assert plans(tmp_path / "hub.db", work) == [
        "SEARCH input USING INDEX sqlite_autoindex_input_1 (uid=?)",
        "SEARCH parked USING INDEX parked_by_uid (uid=?)",
        "SEARCH task USING INDEX task_by_other (other=?)",
        "SEARCH wanted USING INDEX sqlite_autoindex_wanted_1 (golden=? AND system=? AND object=?)",
    ]


def test_what_is_counted_on_every_look_is_counted_in_an_index(tmp_path: Path) -> None:
    """Customers, and open items by kind: no row is read for them, but the oldest of each kind."""

    def work(rows: Rows) -> None:
        rows.count("golden", {"merged_into": None})
        for table in ("task", "parked"):
            status.by_kind(rows, table)
            rows.count(table, {"kind": "duplicate", "state": "open"})

    assert plans(tmp_path / "hub.db", work) == [
        "SEARCH golden USING COVERING INDEX golden_by_merged_into_uid (merged_into=?)",
        "SEARCH task USING INDEX task_by_state_kind_at (state=? AND kind>?)",
        "SEARCH task USING COVERING INDEX task_by_state_kind_at (state=? AND kind=?)",
        "SEARCH parked USING INDEX parked_by_state_kind_at (state=? AND kind>?)",
        "SEARCH parked USING COVERING INDEX parked_by_state_kind_at (state=? AND kind=?)",
    ]


def test_a_page_of_customers_is_read_in_order(tmp_path: Path) -> None:
    """The newest first from any place on: nothing is sorted for it."""

    def work(rows: Rows) -> None:
        where = {"merged_into": None, "uid": below(uuid_text(1))}
        rows.select("golden", where, order=("-uid",), limit=50)

    assert plans(tmp_path / "hub.db", work, sorts=True) == [
        "SEARCH golden USING INDEX golden_by_merged_into_uid (merged_into=? AND uid<?)"
    ]


def test_match_keys_are_looked_up(tmp_path: Path) -> None:
    """Finding who has a key does not read all keys that there are."""
    vault = Vault(Seal(bytes(32), os.urandom), b"pepper")
    keys = [Key("person", kind, str(n)) for kind in ("email", "phone") for n in range(100)]
    found = plans(tmp_path / "hub.db", lambda rows: state.load_keys(rows, vault, keys))
    assert set(found) == {"SEARCH match_key USING PRIMARY KEY (entity=? AND kind=? AND digest=?)"}


def uuid_text(n: int) -> str:
    """A canonical UUID."""
    return f"01a0c450-7f5a-75b1-a522-{n:012x}"
