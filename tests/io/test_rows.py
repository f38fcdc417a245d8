"""One suite for every store: the same answers and the same refusals."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from hub.io.postgres import PostgresStore
from hub.io.rows import (
    Conflict,
    Refused,
    Rows,
    Store,
    above,
    among,
    at_least,
    at_most,
    below,
    unlike,
)
from hub.io.sqlite import FEW
from hub.io.store import SqlStore
from hub.io.tables import LARGEST, LONGEST_NAME, METADATA, Digest, Flag, Int, Name, Uid
from hub.io.twin import DictStore

KEYS = sa.PrimaryKeyConstraint | sa.UniqueConstraint
UID = "01a0c450-7f5a-75b1-a522-4a58b791f1d8"


@pytest.fixture(params=["sqlite", "twin", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each store in turn."""
    with closing(opened(request, tmp_path)) as made:
        yield made


def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """The store that is asked for."""
    if request.param == "postgres":
        return PostgresStore(request.getfixturevalue("postgres"))
    return SqlStore(tmp_path / "hub.db") if request.param == "sqlite" else DictStore()


def counter(name: str, n: int | None) -> dict[str, Any]:
    """A row of a small table."""
    return {"system": "s", "name": name, "n": n}


def test_insert_get_and_defaults(store: Store) -> None:
    """A row comes back as it was put, with the defaults of what was left out."""
    row = {"name": "hubspot", "vendor": "hubspot", "account_id": "1", "live": False}
    store.transact(lambda r: r.insert("system", row))
    found = store.view(lambda r: r.get("system", name="hubspot"))
    assert found == {**row, "epoch": 0, "writes": True, "time_zone": "UTC"}


def test_a_conflict_leaves_the_transaction_usable(store: Store) -> None:
    """Who loses a race can go on in the same transaction."""

    def work(rows: Rows) -> None:
        rows.insert("counter", counter("a", 1))
        with pytest.raises(Conflict):
            rows.insert("counter", counter("a", 2))
        rows.insert("counter", counter("b", 3))

    store.transact(work)
    assert store.view(lambda r: r.select("counter", order=("name",))) == [
        counter("a", 1), counter("b", 3)]  # fmt: skip


def test_a_failing_work_keeps_nothing(store: Store) -> None:
    """All of a transaction is kept, or none."""

    def work(rows: Rows) -> None:
        rows.insert("counter", counter("a", 1))
        rows.update("counter", {"name": "a"}, {"n": 2})
        rows.delete("counter", {"name": "a"})
        rows.insert("counter", counter("c", 1))
        raise KeyError("stop")

    store.transact(lambda r: r.insert("counter", counter("z", 9)))
    with pytest.raises(KeyError):
        store.transact(work)
    assert store.view(lambda r: r.select("counter")) == [counter("z", 9)]


@pytest.mark.parametrize(
    "row",
    [
        {"system": "s", "name": "x"},
        {"system": "s", "name": "x", "n": None},
        {"system": "s", "name": "x", "n": "1"},
        {"system": "s", "name": "x", "n": 2**63},
        {"system": "s", "name": "x\0", "n": 1},
        {"system": "s", "name": "\ud800", "n": 1},
        {"system": "s", "name": "x", "n": 1, "other": 2},
        {"system": "s", "name": b"x", "n": 1},
        {"system": "s", "name": "x" * (LONGEST_NAME + 1), "n": 1},
        {"system": "s", "name": "ü" * (LONGEST_NAME // 2 + 1), "n": 1},
    ],
)
def test_what_no_database_would_take_is_refused(store: Store, row: dict[str, Any]) -> None:
    """Nulls, wrong types, odd text, unknown columns and huge numbers are refused alike."""
    with pytest.raises(Refused):
        store.transact(lambda r: r.insert("counter", row))


def test_what_stands_in_a_key_or_an_index_is_short() -> None:
    """Else it would fail on one database only, when the first long value comes."""
    tables = METADATA.tables.values()
    keys = [c for t in tables for c in t.constraints if isinstance(c, KEYS)]
    indexed = {
        column
        for part in (*keys, *(i for t in tables for i in t.indexes))
        for column in part.columns
    }
    assert {
        str(c) for c in indexed if not isinstance(c.type, Int | Flag | Uid | Name | Digest)
    } == set()


def test_the_longest_names_fit_into_every_key_and_index(store: Store) -> None:
    """However little they can be packed: three beside each other, and the largest numbers."""
    names = [random.Random(n).randbytes(LONGEST_NAME // 2).hex() for n in range(3)]
    assert {len(name) for name in names} == {LONGEST_NAME}
    place = dict(zip(("system", "object", "native_id"), names, strict=True))
    record = {
        "uid": UID, "local": 2**62, "entity": names[0], **place, "golden": UID, "role": "",
        "state": names[1], "next_seq": 1, "folded": 0, "doc": b"",
    }  # fmt: skip
    key = {"entity": names[0], "kind": names[1], "digest": bytes.fromhex(names[2]), "uid": UID}

    def work(rows: Rows) -> None:
        rows.insert("record", record)
        rows.insert("alias", {**place, "uid": UID})
        rows.insert("match_key", key)

    store.transact(work)
    assert store.view(lambda r: r.get("alias", **place)) == {**place, "uid": UID}
    with pytest.raises(Refused):
        store.view(lambda r: r.get("alias", **{**place, "native_id": names[2] + "x"}))


def test_what_is_too_large_for_a_row_is_refused(store: Store) -> None:
    """No database is asked to take a value of which it cannot hold the copies that it makes."""
    text, limit = "x" * (LARGEST + 1), 2**63
    with pytest.raises(Refused, match="MiB"):
        store.transact(lambda r: r.insert("meta", {"name": "n", "value": text}))
    with pytest.raises(Refused, match="limit"):
        store.view(lambda r: r.select("meta", limit=limit))


@pytest.mark.parametrize("doc", ["\0", {"\0": "\ud7ff"}, 2**64 - 1, 1e308, [[]] * 9], ids=repr)
def test_documents_hold_what_json_can_say(store: Store, doc: Any) -> None:
    """They are bytes to every database: what JSON's own types of PostgreSQL refuse comes back."""
    row = {"id": "r", "kind": "k", "cause": "", "state": "s", "at": 1, "doc": doc}
    store.transact(lambda r: r.insert("run", row))
    assert store.view(lambda r: r.get("run", id="r")) == row


@pytest.mark.parametrize(
    "doc",
    ["\ud800", 2**64, {1: 2}, b"x", {"at": object()}],
    ids=["half a pair", "too large", "a number as key", "bytes", "an object"],
)
def test_documents_that_json_cannot_say_are_refused(store: Store, doc: Any) -> None:
    """Half of a pair, numbers beyond 64 bits, keys that are no text, bytes."""
    row = {"id": "r", "kind": "k", "cause": "", "state": "s", "at": 1, "doc": doc}
    with pytest.raises(Refused):
        store.transact(lambda r: r.insert("run", row))


def test_conditions_and_order(store: Store) -> None:
    """Every condition selects the same rows in the same order."""
    rows = [counter(f"n{i}", i % 4) for i in range(10)]
    store.transact(lambda r: r.insert_many("counter", rows))

    def names(where: dict[str, Any], *order: str) -> list[str]:
        return [x["name"] for x in store.view(lambda r: r.select("counter", where, order))]

    assert names({"n": 3}) == ["n3", "n7"]
    assert names({"n": above(2)}) == ["n3", "n7"]
    assert names({"n": at_least(2)}, "-n") == ["n3", "n7", "n2", "n6"]
    assert names({"n": below(1)}) == ["n0", "n4", "n8"]
    assert names({"n": at_most(0)}) == ["n0", "n4", "n8"]
    assert names({"n": unlike(0), "name": among(["n0", "n1", "n9"])}) == ["n1", "n9"]
    assert names({"name": among([])}) == []
    assert names({"name": among(f"n{i}" for i in range(5_000))})[:2] == ["n0", "n1"]
    assert store.view(lambda r: r.count("counter", {"n": 1})) == 3
    for most, found in ((0, 0), (2, 2), (3, 3), (9, 3)):
        assert store.view(lambda r, n=most: r.count("counter", {"n": 1}, n)) == found  # type: ignore[misc]
    thousands = {"name": among(f"n{i}" for i in range(5_000))}
    assert store.view(lambda r: r.count("counter", thousands, 4)) == 4
    with pytest.raises(Refused):
        store.view(lambda r: r.count("counter", {}, -1))


def test_many_rows_have_large_numbers(store: Store) -> None:
    """Of many rows each number is kept, also where the first of them are small."""
    rows = [counter("a", 1), counter("b", 2**62), counter("c", -(2**63))]
    store.transact(lambda r: r.insert_many("counter", rows))
    store.transact(lambda r: r.update_many("counter", [counter("a", 2**40), counter("b", 1)]))
    store.transact(lambda r: r.upsert_many("counter", [counter("d", 1), counter("e", 2**40)]))
    found = store.view(lambda r: [x["n"] for x in r.select("counter")])
    assert found == [2**40, 1, -(2**63), 1, 2**40]


def test_many_rows_are_changed_by_their_keys(store: Store) -> None:
    """Each row gets its own values, and what is not there is passed over."""
    store.transact(lambda r: r.insert_many("counter", [counter(n, 0) for n in "abc"]))
    changed = store.transact(
        lambda r: r.update_many("counter", [counter("c", 3), counter("x", 9), counter("a", 1)])
    )
    assert changed == 2
    assert store.view(lambda r: r.select("counter")) == [
        counter("a", 1), counter("b", 0), counter("c", 3)]  # fmt: skip
    assert store.transact(lambda r: r.update_many("counter", [])) == 0


@pytest.mark.parametrize(
    "second",
    [
        {"system": "s", "name": "b"},
        {"name": "b", "n": 1},
        {"system": "s", "name": "b", "n": None},
        {"system": "s", "name": "b", "n": 1, "other": 2},
    ],
)
def test_many_changes_are_all_made_or_none(store: Store, second: dict[str, Any]) -> None:
    """A row without its key, with other columns than the first or a wrong value refuses them."""
    store.transact(lambda r: r.insert_many("counter", [counter(n, 0) for n in "ab"]))

    def work(rows: Rows) -> None:
        with pytest.raises(Refused):
            rows.update_many("counter", [counter("a", 1), second])

    store.transact(work)
    assert store.view(lambda r: r.select("counter")) == [counter("a", 0), counter("b", 0)]


@pytest.mark.parametrize("count", [2, 3 * FEW])
def test_many_new_rows_are_all_kept_or_none(store: Store, count: int) -> None:
    """One that is there already takes the others with it, and the transaction goes on."""
    new = [counter(f"n{n:02}", n) for n in range(count)]

    def work(rows: Rows) -> None:
        rows.insert("counter", new[-1])
        with pytest.raises(Conflict):
            rows.insert_many("counter", new)
        assert rows.select("counter") == [new[-1]]
        rows.insert_many("counter", new[:-1])

    store.transact(work)
    assert store.view(lambda r: r.select("counter")) == new


@pytest.mark.parametrize("count", [2, 3 * FEW])
def test_of_many_with_one_key_the_last_is_kept(store: Store, count: int) -> None:
    """Rows are put in the order in which they are given."""
    rows = [counter("a", n) for n in range(count)]
    store.transact(lambda r: r.upsert_many("counter", rows))
    assert store.view(lambda r: r.select("counter")) == rows[-1:]


def test_a_conflict_among_many_changes_undoes_them_all(store: Store) -> None:
    """Where one row may not have a value, none is changed, and the transaction goes on."""
    intents = [
        {"uid": UID, "seq": n, "system": "s", "object": "o", "golden": UID, "op": "update",
         "status": "sent", "at": 1, "key": f"k{n}"} for n in range(3)]  # fmt: skip

    def work(rows: Rows) -> None:
        rows.lock([UID])
        rows.insert_many("intent", intents)
        changes = [{"uid": UID, "seq": n, "key": key} for n, key in ((0, "k9"), (1, "k2"))]
        with pytest.raises(Conflict):
            rows.update_many("intent", changes)

    store.transact(work)
    assert store.view(lambda r: [x["key"] for x in r.select("intent")]) == ["k0", "k1", "k2"]


def test_only_the_columns_that_were_asked_for(store: Store) -> None:
    """Named columns come back, in every order and from however many values."""
    rows = [counter(f"n{i}", i % 4) for i in range(2_000)]
    store.transact(lambda r: r.insert_many("counter", rows))
    every = {"name": among(row["name"] for row in rows)}
    found = store.view(lambda r: r.select("counter", every, ("-n", "-name"), 2, only=("name",)))
    assert found == [{"name": "n999"}, {"name": "n995"}]
    with pytest.raises(Refused):
        store.view(lambda r: r.select("counter", only=("other",)))


def test_docs_are_copies(store: Store) -> None:
    """What a caller does to a document it got or gave changes nothing in the store."""
    doc = {"a": [1]}
    row = {"uid": UID, "system": "s", "object": "o", "dirty": None, "holds": doc}

    def work(rows: Rows) -> None:
        rows.lock([UID])
        rows.insert("slot", row)

    store.transact(work)
    doc["a"].append(2)
    found = store.view(lambda r: r.get("slot", uid=UID))
    assert found is not None
    found["holds"]["a"].append(3)
    again = store.view(lambda r: r.get("slot", uid=UID))
    assert again is not None
    assert again["holds"] == {"a": [1]}


def test_a_view_does_not_write(store: Store) -> None:
    """Reading and writing are two doors."""
    with pytest.raises(Refused):
        store.view(lambda r: r.insert("counter", counter("a", 1)))


def test_the_outbox_counts_up(store: Store) -> None:
    """Generated keys grow and are told."""

    def work(rows: Rows) -> list[int]:
        row: dict[str, Any] = {"topic": "t", "key": b"k", "value": None, "headers": {}, "at": 1}
        made = [rows.insert("outbox", row)["id"] for _ in range(3)]
        rows.insert_many("outbox", [row, row])
        return made + [r["id"] for r in rows.select("outbox", order=("-id",), limit=2)][::-1]

    first, second = store.transact(work), store.transact(work)
    assert first == sorted(set(first))
    assert second[0] > first[-1]


@pytest.mark.parametrize("last", [0, 1, 2**40])
def test_a_series_goes_on_after_a_number(store: Store, last: int) -> None:
    """Also after none at all."""
    store.transact(lambda r: r.number_from("local", last))
    assert [store.transact(lambda r: r.number("local")) for _ in "ab"] == [last + 1, last + 2]


# -- the same operations on both, compared -----------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "d"])
NUMBERS = st.integers(-2, 5)
WHERES = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMES | st.lists(NAMES | st.none(), max_size=3).map(among),
        "n": NUMBERS | NUMBERS.map(above) | NUMBERS.map(at_most) | NUMBERS.map(unlike) | st.none(),
    },
)
MANY = st.lists(st.tuples(NAMES, NUMBERS | st.none()), max_size=3)


class Twins(RuleBasedStateMachine):
    """SQLite and the dict twin go through the same operations and must answer the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stores: list[Store] = [SqlStore(Path(self.folder.name) / "hub.db"), DictStore()]

    def both(self, work: Any) -> None:
        """The same on each; answers and refusals are compared."""

        def answer(store: Store) -> Any:
            try:
                return store.transact(work)
            except (Conflict, Refused) as error:
                return type(error)

        one, two = (answer(s) for s in self.stores)
        assert one == two

    @rule(name=NAMES, n=NUMBERS)
    def insert(self, name: str, n: int) -> None:
        """A new row, or a conflict."""
        self.both(lambda r: r.insert("counter", counter(name, n)))

    @rule(name=NAMES, n=NUMBERS | st.none())
    def upsert(self, name: str, n: int | None) -> None:
        """A row, or a refusal."""
        self.both(lambda r: r.upsert("counter", counter(name, n)))

    @rule(new=MANY)
    def insert_many(self, new: list[tuple[str, int | None]]) -> None:
        """All of them, a conflict, or a refusal."""
        self.both(lambda r: r.insert_many("counter", [counter(name, n) for name, n in new]))

    @rule(new=MANY)
    def upsert_many(self, new: list[tuple[str, int | None]]) -> None:
        """All of them, or a refusal."""
        self.both(lambda r: r.upsert_many("counter", [counter(name, n) for name, n in new]))

    @rule(where=WHERES, n=NUMBERS)
    def update(self, where: dict[str, Any], n: int) -> None:
        """Some rows."""
        self.both(lambda r: r.update("counter", where, {"n": n}))

    @rule(changes=MANY)
    def update_many(self, changes: list[tuple[str, int | None]]) -> None:
        """Those of these rows that are there."""
        self.both(lambda r: r.update_many("counter", [counter(name, n) for name, n in changes]))

    @rule(where=WHERES)
    def delete(self, where: dict[str, Any]) -> None:
        """Some rows."""
        self.both(lambda r: r.delete("counter", where))

    @rule(where=WHERES, limit=st.none() | st.integers(0, 3), order=st.sampled_from(["n", "-n"]))
    def select(self, where: dict[str, Any], limit: int | None, order: str) -> None:
        """Some rows in an order."""
        self.both(lambda r: r.select("counter", where, (order,), limit))

    def teardown(self) -> None:
        """Let go of the file."""
        for store in self.stores:
            store.close()
        self.folder.cleanup()


TestTwins = Twins.TestCase
TestTwins.settings = settings(
    max_examples=25, stateful_step_count=20, suppress_health_check=list(HealthCheck)
)
