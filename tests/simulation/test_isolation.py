"""P12: a record that cannot be read, and a tool that is down, hold up nothing but themselves."""

from __future__ import annotations

from connectors._kit.simtool import Profile
from hub.tools.world import World

ROUNDS, FOR_EVER = 12, 10**15


def in_step() -> World:
    """Three tools that hold the same five customers."""
    world = World({"A": Profile(), "B": Profile(), "C": Profile()})
    for n in range(5):
        world.tools["A"].act(f"a{n}", {"first": f"N{n}", "mail": f"n{n}@example.com"})
    world.sync()
    return world


def titles(world: World, name: str) -> list[str]:
    """What a tool shows, customers in the order in which it got them."""
    tool = world.tools[name]
    return [str((tool.latest(own) or {})["title"]) for own in tool.living()]


def edited(world: World) -> list[str]:
    """Everybody gets a title in A; a few rounds later."""
    for n in range(5):
        world.tools["A"].act(f"a{n}", {"title": f"T{n}"})
    for _ in range(ROUNDS):
        world.round()
    return sorted(titles(world, "A"))


def test_a_record_that_cannot_be_read_holds_up_no_other() -> None:
    """The others of its tool go on, and so does it once it can be read."""
    world = in_step()
    outside = world.outside["B"]
    outside.trouble.unreadable[world.tools["B"].living()[0]] = FOR_EVER
    typed = edited(world)
    assert len(set(titles(world, "B")) & set(typed)) == len(typed) - 1
    assert sorted(titles(world, "C")) == typed
    outside.heal()
    world.clock.pass_time(600_000)
    world.sync()
    assert sorted(titles(world, "B")) == typed


def test_a_tool_that_is_down_holds_up_no_other() -> None:
    """What is typed in one arrives in the third."""
    world = in_step()
    world.outside["B"].fail("down", 1)
    assert sorted(titles(world, "C")) != (typed := edited(world))
    assert sorted(titles(world, "C")) == typed
