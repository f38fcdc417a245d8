"""A tool whose changes come late: what the hub waits for because of it, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from connectors._kit.contract import Api, ObjectSpec, Page
from connectors._kit.simtool import PERSON, Profile, SimTool
from hub.tools.world import World

LATE_MS, POLL_MS = 60_000, 15_000


class Asked:
    """A simulated tool that keeps the times at which its changes are asked for."""

    def __init__(self, tool: SimTool) -> None:
        self.tool = tool
        self.times: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tool, name)

    def changes(self, api: Api, spec: ObjectSpec, cursor: str, _known: object = None) -> Page:
        """See the contract."""
        if spec.object == PERSON:
            self.times.append(self.tool.clock())
        return self.tool.changes(api, spec, cursor)


def late(world: World, name: str) -> None:
    """Declare that this tool's changes come late and are not to be asked for often."""
    system = world.hub.systems[name]
    specs = {
        o: replace(s, changes_lag_ms=LATE_MS, poll_ms=POLL_MS) for o, s in system.specs.items()
    }
    world.hub.systems = {**world.hub.systems, name: replace(system, specs=specs)}


def gaps(times: Sequence[int]) -> list[int]:
    """The time between one and the next."""
    return [b - a for a, b in pairwise(times)]


def test_only_a_create_waits_for_late_changes() -> None:
    """A create waits until the tool could have shown the customer; an update goes out at once."""
    asked: dict[str, Asked] = {}
    profiles = {"alpha": Profile(), "beta": Profile()}
    world = World(profiles, wrap=lambda tool: asked.setdefault(tool.name, Asked(tool)))
    late(world, "beta")
    world.tools["alpha"].act("1", {"first": "Ada", "last": "Byron"})
    began = world.clock.time
    while not world.tools["beta"].living():
        world.round()
        assert world.clock.time < began + 10 * LATE_MS
    assert world.clock.time >= began + LATE_MS
    world.sync()
    (own,) = world.tools["beta"].living()
    world.tools["alpha"].act("1", {"first": "Augusta"})
    began = world.clock.time
    while (world.tools["beta"].latest(own) or {}).get("first") != "Augusta":
        world.round()
        assert world.clock.time < began + LATE_MS / 2
    assert min(gaps(asked["beta"].times)) >= POLL_MS
