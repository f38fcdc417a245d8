"""Everything that one store holds is carried over into another one, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hub.env import Hub
from hub.io import history, moving
from hub.io.moving import LAID, NotWhole, carry
from hub.io.postgres import PostgresStore
from hub.io.rows import PAGE, Row, Rows, Store, paged
from hub.io.shapes import SHAPES
from hub.io.store import SqlStore
from hub.tools.world import World
from tests.stories.runner import step, tell
from tests.test_ended import APART


@pytest.fixture(params=["sqlite", "postgres"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    made: Store = (
        PostgresStore(request.getfixturevalue("postgres"))
        if request.param == "postgres"
        else SqlStore(tmp_path / "new.db")
    )
    with closing(made):
        yield made


@pytest.fixture
def world() -> World:
    """Some customers in two tools, one of whom went into another, and one that was just read."""
    story = tell(APART)
    step(story, "steward: A.jane is B.joan")
    step(story, "sync")
    for n in range(20):
        new = {"first": "Jane", "last": f"Doe{n}", "mail": f"jane{n}@x.com"}
        story.world.tools["A"].act(f"c{n}", new)
    story.world.sync()
    story.world.tools["A"].act("late", {"first": "Late", "mail": "late@x.com"})
    story.world.capture("A")
    return story.world


def moved(world: World, new: Store) -> dict[str, int]:
    """The move of all rows."""
    said: list[str] = []
    return new.transact(
        lambda rows: world.store.view(lambda old: carry(old, rows, world.hub.codec, said.append))
    )


def held(rows: Rows) -> dict[str, list[Row]]:
    """Every row that is carried over."""
    found = {table: rows.select(table) for table in moving.tables()}
    found["meta"] = [r for r in found["meta"] if r["name"] not in moving.OWN]
    found["lane"] = [r for r in found["lane"] if r["n"]]
    return found


def test_all_of_it_arrives(world: World, new: Store) -> None:
    """Every table, row by row; inputs that were pending too; numbers go on after the largest."""
    counted = moved(world, new)
    before, after = world.store.view(held), new.view(held)
    assert before == after
    assert all(counted[table] == len(before[table]) for table in counted.keys() - {*LAID, "outbox"})
    assert [r["status"] for r in after["input"]].count("pending") > 0
    largest = max(r["local"] for r in after["record"])
    assert new.transact(lambda rows: rows.number("local")) == largest + 1
    assert new.view(history.heads) == world.store.view(history.heads)
    assert new.view(moving.flaws) == []


def test_golden_topics_begin_with_every_golden_record(world: World, new: Store) -> None:
    """In their present versions; those that ended tell where they went."""
    moved(world, new)
    goldens = world.store.view(lambda rows: rows.select("golden"))
    ended = {r["uid"]: r["merged_into"] for r in goldens if r["merged_into"]}
    sent = new.view(lambda rows: rows.select("outbox", order=("id",)))
    told = [world.hub.codec.decode("person_change", r["value"]) for r in sent]
    assert ended
    assert {r["key"].decode() for r in sent} == {r["uid"] for r in goldens}
    assert len(sent) == len(goldens)
    assert {t["source"]["id"]: t["merged_into"] for t in told if t["op"] == "d"} == ended
    named = {t["event_id"] for t in told}
    assert named == {f"{r['uid']}:{r['version']}" for r in goldens}


def test_what_does_not_arrive_whole_does_not_arrive(world: World, new: Store) -> None:
    """A lane that was changed on the way is found, and nothing is kept."""
    hub: Hub = world.hub
    said: list[str] = []

    def work(rows: Rows) -> None:
        world.store.view(lambda old: carry(old, Forging(rows), hub.codec, said.append))

    with pytest.raises(NotWhole, match="history"):
        new.transact(work)
    assert new.view(moving.filled) == []
    assert moved(world, new)["record"] == len(world.store.view(lambda rows: rows.select("record")))


class Forging:
    """Rows on whose way one entry of history is changed."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rows, name)

    def insert_many(self, table: str, rows: Iterable[Row]) -> None:
        """See `Rows`."""
        some = list(rows)
        if table == "history":
            some[-1]["body"] += b" "
        self.rows.insert_many(table, some)


def test_pages_show_each_row_once(new: Store) -> None:
    """Of a key of three parts, whatever ends a page."""
    rows = [
        {"group": g, "topic": t, "partition": n, "offset": 0, "epoch": 0}
        for g in ("a", "b")
        for t in ("x", "y", "z")
        for n in range(PAGE // 2 - 7)
    ]
    new.transact(lambda r: r.insert_many("position", rows))
    key = [SHAPES["position"].names[at] for at in SHAPES["position"].key]
    pages = new.view(lambda r: list(paged(r, "position", key)))
    assert [row for page in pages for row in page] == rows
    assert len(pages) > len(rows) // PAGE
    some = new.view(lambda r: list(paged(r, "position", key, {"group": "b"})))
    assert [row for page in some for row in page] == rows[len(rows) // 2 :]
