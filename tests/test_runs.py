"""Runs come to an end, and what is asked often does not read them, or anything else, row by row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from connectors._kit.simtool import PERSON, Profile
from hub import browse, commands, loops, runs
from hub.env import Hub
from hub.io.rows import Row, Rows
from hub.status import status
from hub.tools.world import World

CUSTOMERS = 25


def planned() -> tuple[World, str]:
    """Customers of one tool that are to be created in the other, and the plan of it."""
    world = World({"A": Profile(page=50), "B": Profile(page=50)})
    for n in range(CUSTOMERS):
        world.tools["A"].act(f"a{n}", {"mail": f"p{n}@x.com", "title": "first"})
    for name in world.tools:
        world.capture(name)
    world.resolve()
    return world, commands.make_plan(world.hub)


def applied() -> tuple[World, str]:
    """The same, written."""
    world, run = planned()
    commands.apply(world.hub, run)
    world.sync()
    return world, run


def state_of(world: World, run: str) -> str:
    """Of a run."""
    row = world.store.view(lambda rows: rows.get("run", id=run))
    return str(row and row["state"])


def by_row(world: World, run: str) -> dict[str, int]:
    """Its progress, counted row by row."""

    def look(rows: Rows) -> dict[str, int]:
        found = rows.select("run_row", {"run": run})
        states = Counter(runs.row_state(rows, row) for row in found)
        return {"rows": len(found), **{word: states[word] for word in ("done", "open", "held")}}

    return world.store.view(look)


def test_a_run_is_done_once_nothing_of_it_is_open() -> None:
    """Whatever its links are dirty for later is no part of it."""
    world, run = planned()
    commands.apply(world.hub, run)
    loops.house(world.hub)
    assert state_of(world, run) == "applying"
    assert [one["run"] for one in browse.overview(world.hub)["under_way"]] == [run]
    world.sync()
    loops.house(world.hub)
    assert state_of(world, run) == "done"
    assert browse.overview(world.hub)["under_way"] == []
    world.tools["A"].act("a1", {"title": "second"})
    world.capture("A")
    world.resolve()
    assert commands.progress(world.hub, run)["done"] == CUSTOMERS


def test_progress_is_what_its_rows_say() -> None:
    """At every step of creates and of updates, with rows that are held on the way."""
    world, create = planned()
    commands.apply(world.hub, create)
    seen = [by_row(world, create)]
    for _ in range(4):
        world.round()
        seen.append(by_row(world, create))
        assert commands.progress(world.hub, create).items() >= seen[-1].items()
    for n in range(CUSTOMERS):
        world.tools["A"].act(f"a{n}", {"title": "second"})
    world.capture("A")
    world.resolve()
    update = commands.make_plan(world.hub)
    world.tools["A"].act("a1", {"title": "third"})
    world.tools["B"].delete(world.tools["B"].living()[2])
    for name in world.tools:
        world.capture(name)
    world.resolve()
    commands.apply(world.hub, update)
    for _ in range(4):
        seen.append(by_row(world, update))
        assert commands.progress(world.hub, update).items() >= seen[-1].items()
        world.round()
    assert {word for one in seen for word, n in one.items() if n} == {
        "rows",
        "done",
        "open",
        "held",
    }


@dataclass
class Counted:
    """An open transaction that counts the rows it reads, by table, and names what it counts."""

    rows: Rows
    read: Counter[str] = field(default_factory=Counter)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rows, name)

    def select(self, table: str, *given: Any, **more: Any) -> list[Row]:
        """See `Rows`."""
        found = self.rows.select(table, *given, **more)
        self.read[table] += len(found)
        return found

    def count(self, table: str, where: Any = None, most: int | None = None) -> int:
        """See `Rows`."""
        self.read[f"{table} counted"] += 1
        return self.rows.count(table, where, most)


def read_by(world: World, work: Any) -> Counter[str]:
    """What this reads, by table."""
    read: Counter[str] = Counter()
    view = world.env.view
    env: Any = world.env
    env.view = lambda look: view(lambda rows: look(Counted(rows, read)))
    work(world.hub)
    del env.view
    return read


def may_apply(hub: Hub) -> None:
    """Whether another run may be applied."""
    run = commands.make_plan(hub)
    hub.env.view(lambda rows: commands.refuse(rows, hub, run, anyway=False))


def test_runs_that_are_done_are_not_read_again() -> None:
    """Neither by the overview nor before the next apply."""
    world, _run = applied()
    loops.house(world.hub)
    assert read_by(world, browse.overview)["run_row"] == 0
    assert read_by(world, may_apply)["run_row"] == 0


def test_a_run_under_way_is_counted_not_read() -> None:
    """Its progress costs the same whatever its size."""
    world, run = planned()
    commands.apply(world.hub, run)
    assert read_by(world, browse.overview)["run_row"] == 0


def test_open_items_are_counted_by_kind_not_read() -> None:
    """Kinds are few, items may be many; the oldest of each says since when."""
    world = World({"A": Profile()})

    def lay(rows: Rows) -> None:
        for n in range(30):
            kind, state = ("webhook", "answer", "hint")[n % 3], "done" if n < 3 else "open"
            one = {"id": f"{n}", "kind": kind, "state": state, "at": 100 - n, "why": "", "doc": {}}
            rows.insert("parked", one)
            rows.insert("task", one)

    world.store.transact(lay)
    read = read_by(world, status)
    assert read["parked"] == read["task"] == 3
    found = status(world.hub)
    each = {kind: {"n": 9, "since": since} for kind, since in
            (("answer", 72), ("hint", 71), ("webhook", 73))}  # fmt: skip
    assert found["parked_by_kind"] == found["tasks"] == each
    assert found["parked"] == 27


def test_records_are_counted_while_a_sweep_is_on_only() -> None:
    """The overview of a hub at rest does not count what was read since the last pass."""
    world, _run = applied()
    system = world.hub.systems["A"]
    world.sweep("A")
    view = world.store.view
    at_rest = read_by(
        world, lambda hub: hub.env.view(lambda r: [*browse.sweeping(r, system, PERSON)])
    )
    assert at_rest["record counted"] == 0
    commands.sweep_now(world.hub, "A")
    (found,) = view(lambda rows: list(browse.sweeping(rows, system, PERSON)))
    assert found["read"] < found["records"] == CUSTOMERS
