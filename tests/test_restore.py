"""What a store that was put back does first: it looks at everything, and waits for a plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors._kit.simtool import PERSON, Profile
from hub import commands, runs, status, sweep, switches
from hub.commands import Wrong
from hub.restore import begin_anew
from hub.tools.world import World

JANE = {"first": "Jane", "last": "Doe", "mail": "jane@x.com"}


@pytest.fixture
def world() -> World:
    """Jane in two tools, linked and at rest; one of them counts revisions."""
    made = World({"A": Profile(revisions=True), "B": Profile()})
    made.tools["A"].act("jane", JANE)
    for n in range(5):
        made.tools["A"].act("jane", {"title": f"Nurse {n}"})
    made.sync()
    return made


def put_back(world: World) -> None:
    """The store is an older one than the tools know, and the hub has been started on it."""
    world.store.transact(lambda rows: begin_anew(rows, world.hub, "eva"))
    world.hub = world.opened()
    known = world.store.view(lambda rows: {r["name"]: r["epoch"] for r in rows.select("system")})
    world.hub.systems = {n: replace(s, epoch=known[n]) for n, s in world.hub.systems.items()}


def renumbered(world: World, title: str) -> None:
    """The tool was put back too: it has another value, under a number that was used before."""
    held = world.tools["A"].held["jane"]
    stamp, fields, revision = held.versions[-1]
    assert revision > 1
    held.versions[-1] = (stamp, {**(fields or {}), "title": title}, 1)


def titled(world: World) -> object:
    """What B holds."""
    (native,) = world.tools["B"].living()
    return (world.tools["B"].latest(native) or {})["title"]


def look(world: World) -> None:
    """Read everything again, and resolve it."""
    for _ in range(5):
        world.round()
        for name in world.tools:
            world.sweep(name)
            world.capture(name)
        world.resolve()


def test_an_old_number_is_no_old_reading(world: World) -> None:
    """The epoch leads: without a restore the same reading would count for nothing."""
    renumbered(world, "Surgeon")
    look(world)
    assert titled(world) == "Nurse 4"
    put_back(world)
    look(world)
    planned = commands.plan(world.hub)
    assert [(r["system"], r["cells"][0]["to"]) for r in planned["rows"]] == [("B", "Surgeon")]
    commands.apply(world.hub, planned["run"])
    world.sync()
    assert titled(world) == "Surgeon"


def test_nothing_is_written_before_a_plan_was_applied(world: World) -> None:
    """Not even what somebody types meanwhile; afterwards all flows as before."""
    put_back(world)
    before = world.writes()
    world.tools["A"].act("jane", {"title": "Surgeon"})
    look(world)
    assert world.writes() == before
    assert titled(world) == "Nurse 4"
    run = commands.plan(world.hub)["run"]
    commands.apply(world.hub, run)
    world.sync()
    assert titled(world) == "Surgeon"
    world.tools["A"].act("jane", {"title": "Director"})
    world.sync()
    assert titled(world) == "Director"


def test_no_plan_is_applied_before_all_was_read_again(world: World) -> None:
    """It says what is still to be read; a run of before the copy is over."""
    world.tools["A"].act("jane", {"title": "Surgeon"})
    world.capture("A")
    world.resolve()
    old = commands.plan(world.hub)["run"]
    commands.apply(world.hub, old)
    put_back(world)
    assert world.store.view(runs.under_way) == []
    assert world.store.view(lambda rows: switches.read(rows, "applied")) is None
    unread = world.store.view(lambda rows: status.still_reading(rows, world.hub, "A"))
    assert PERSON in unread
    run = commands.plan(world.hub)["run"]
    with pytest.raises(Wrong, match="are not read to the end"):
        commands.apply(world.hub, run)
    look(world)
    assert not world.store.view(lambda rows: sweep.unswept(rows, world.hub.systems["A"]))
    commands.apply(world.hub, commands.plan(world.hub)["run"])
    world.sync()
    assert titled(world) == "Surgeon"
