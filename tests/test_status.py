"""What the status of a hub is read off, in a small world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from connectors._kit.contract import Denied
from connectors._kit.simtool import Profile, SimTool
from hub import capture, commands, slots, sweep
from hub.capture import STILL_MS
from hub.io import anchor, state
from hub.io.anchor import Anchor
from hub.pure.model import Golden, GoldenCell
from hub.status import status
from hub.tools.world import World

AT_ONCE = 100  # ms: the world's clock moves a little whenever it is read


def world(asking: Asking | None = None) -> World:
    """Two tools that are read to the end, with one person in one of them."""
    wrap = asking.of if asking else lambda tool: tool
    made = World({"crm": Profile(), "billing": Profile()}, wrap=wrap)
    made.tools["crm"].act("c1", {"mail": "jane@example.com"})
    for name in made.tools:
        made.capture(name)
    made.resolve()
    return made


def deny(of: World) -> None:
    """A step of the CRM that its tool refuses."""

    def work() -> int:
        raise Denied("a scope is missing")

    capture.guarded(of.hub, of.hub.systems["crm"], work)


def test_a_failure_begins_lasts_and_ends() -> None:
    """Failures one after another are one, until none follows for a while."""
    made = world()
    began = made.clock.time
    for _ in range(3):
        deny(made)
        made.clock.pass_time(60_000)
    crm = status(made.hub)["systems"]["crm"]
    assert crm["failing_since"] - began < AT_ONCE
    assert crm["last_failure"] == "denied: a scope is missing"
    assert status(made.hub)["systems"]["billing"]["failing_since"] is None
    made.clock.pass_time(60_000 + STILL_MS)
    assert status(made.hub)["systems"]["crm"]["failing_since"] is None
    deny(made)
    assert made.clock.time - status(made.hub)["systems"]["crm"]["failing_since"] < AT_ONCE


def test_the_switch_remembers_when_it_was_thrown() -> None:
    """Throwing it again changes nothing, releasing it ends the alert."""
    made = world()
    began = made.clock.time
    commands.stop_writes(made.hub)
    made.clock.pass_time(5_000)
    commands.stop_writes(made.hub)
    told = status(made.hub)
    assert told["writes_stopped"]
    assert told["writes_stopped_since"] - began < AT_ONCE
    assert [a["kind"] for a in told["alerts"]] == ["writes stopped"]
    commands.stop_writes(made.hub, on=False)
    assert status(made.hub)["alerts"] == []


def test_history_that_is_not_anchored(tmp_path: Path) -> None:
    """The oldest entry that the anchor does not hold says since when."""
    made = world()
    made.hub.anchor = Anchor(tmp_path / "anchor.jsonl")
    first = made.hub.env.view(lambda rows: rows.select("history", order=("at",)))[0]
    assert status(made.hub)["unanchored_since"] == first["at"]
    anchor.keep(made.hub)
    assert status(made.hub)["unanchored_since"] is None


def test_a_field_caught_in_a_loop_is_parked_until_it_is_edited() -> None:
    """It is listed once with its beginning, cannot be replayed, and closes by itself."""
    made = world()
    uid = made.hub.env.view(lambda rows: rows.select("golden"))[0]["uid"]
    golden = made.hub.env.view(lambda rows: state.golden_of(rows, uid))
    assert isinstance(golden, Golden)
    cell = golden.cells["email"]

    def review(one: GoldenCell) -> None:
        caught = replace(golden, cells={**golden.cells, "email": one})
        made.store.transact(
            lambda rows: rows.lock(golden.members) or slots.review(rows, made.hub, [caught])
        )

    review(replace(cell, parked="again and again"))
    began = made.clock.time
    made.clock.pass_time(1_000)
    review(replace(cell, parked="again and again"))
    (item,) = commands.parked(made.hub)["parked"]
    assert item["kind"] == "ping-pong"
    assert item["since"] <= began
    assert [a["kind"] for a in status(made.hub)["alerts"]] == ["parked: ping-pong"]
    with pytest.raises(commands.Wrong, match="takes dismiss, not replay: email"):
        commands.replay(made.hub, item["id"])
    review(cell)
    assert commands.parked(made.hub)["parked"] == []


class Asking:
    """A tool's connector; somebody asks for a sweep while it answers the first one's page."""

    world: World | None = None
    since = 0

    def of(self, tool: SimTool) -> Any:
        """Stand before this tool."""
        self.tool = tool
        return self if tool.name == "crm" else tool

    def __getattr__(self, name: str) -> Any:
        """All else is the tool's own."""
        return getattr(self.tool, name)

    def listing(self, *args: Any) -> Any:
        """The page, and the request in the meantime."""
        found = self.tool.listing(*args)
        if self.world and not self.since:
            self.world.clock.pass_time(10)
            self.since = commands.sweep_now(self.world.hub)["since"]
        return found


def test_a_sweep_asked_for_during_another_is_not_lost() -> None:
    """A page that was on its way when somebody asked does not move the new pass on."""
    made = world(asking := Asking())
    asking.world = made
    system = made.hub.systems["crm"]
    sweep.step(made.hub, system)
    crm = [o for o in commands.swept(made.hub, asking.since)["objects"] if o["system"] == "crm"]
    assert not all(o["done"] for o in crm)
    made.clock.pass_time(10)
    for one in made.hub.systems.values():
        for _ in range(5):
            sweep.step(made.hub, one)
    assert commands.swept(made.hub, asking.since)["done"]
