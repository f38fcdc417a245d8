"""What was set aside is shown, can be tried again, and can be put away with a name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectors._kit.contract import Hint, Unreadable
from connectors._kit.simtool import PERSON, Profile, SimTool
from hub import browse, capture, commands
from hub.commands import Wrong
from hub.inputs import Intake
from hub.io.rows import Rows
from hub.tools.world import World
from tests.stories.runner import Story, step, tell


def parked(world: World) -> list[dict[str, Any]]:
    """What `synchub parked` lists."""
    found: list[dict[str, Any]] = commands.parked(world.hub)["parked"]
    return found


class Half:
    """A tool whose records cannot be read one by one while `broken`; lists still work."""

    def __init__(self, tool: SimTool) -> None:
        self.tool = tool
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tool, name)

    def read(self, *given: Any) -> Any:
        """See the contract."""
        if self.broken:
            raise Unreadable("no record can be read now")
        return self.tool.read(*given)


def break_reads(world: World, *, broken: bool) -> None:
    """Let the tool's reads fail, or work again."""
    connector: Any = world.hub.systems["A"].connector
    connector.broken = broken


def given_up() -> World:
    """A tool that could not read a record for days while a webhook waited for it."""
    world = World({"A": Profile()}, wrap=Half)
    world.tools["A"].act("jane", {"mail": "jane@x.com"})
    world.sync()
    break_reads(world, broken=True)
    hint = Hint(PERSON, "jane", "news-1")
    system = world.hub.systems["A"]
    world.store.transact(lambda rows: capture.accept(rows, world.hub, system, [hint]))
    for _ in range(capture.GIVE_UP_AFTER):
        world.clock.pass_time(capture.BACK_OFF_MS[-1] + 1_000)
        world.capture("A")
    return world


def state_of(world: World) -> str:
    """Of the webhook's hint."""
    row = world.store.view(lambda rows: rows.get("hint", id="A:news-1"))
    return str(row and row["state"])


def test_a_hint_that_was_given_up_is_shown_and_can_be_asked_for_again() -> None:
    """Nothing accepted is lost: it waits for a person, and a replay reads the record."""
    world = given_up()
    (item,) = parked(world)
    assert state_of(world) == "parked"
    assert "could not be read in 12 tries" in item["why"]
    break_reads(world, broken=False)
    world.tools["A"].act("jane", {"title": "Nurse"})
    commands.replay(world.hub, item["id"])
    world.capture("A")
    assert state_of(world) == "answered"
    assert parked(world) == []


def broken_answer(world: World) -> str:
    """Something that a tool sent and nobody could read; its id."""
    system = world.hub.systems["A"]
    intake = Intake(system, system.specs[PERSON], "changes")
    world.store.transact(
        lambda rows: capture.park_broken(rows, world.hub, intake, "1", "no id", b"{}")
    )
    return str(parked(world)[0]["id"])


def test_what_has_no_record_is_replayed_by_reading_everything_again() -> None:
    """A person is told what happens, and the next pass over the system begins."""
    world = World({"A": Profile()})
    world.sync()
    item = broken_answer(world)
    assert commands.replay(world.hub, item)["replayed"] == "every record of A is read again"
    row = world.store.view(
        lambda rows: rows.get("cursor", system="A", stream="sweep", shard=PERSON)
    )
    assert row is not None
    assert row["value"].endswith("|"), "from the first page on"


def test_an_item_can_be_dismissed_once_and_is_kept_with_a_name() -> None:
    """What somebody has seen is listed no more, and who it was can be looked up."""
    world = World({"A": Profile()})
    item = broken_answer(world)
    commands.parked(world.hub, "dismiss", item, "ada")
    assert parked(world) == []
    row = world.store.view(lambda rows: rows.get("parked", id=item))
    assert row is not None
    assert row["doc"]["dismissed_by"] == "ada"
    with pytest.raises(Wrong, match="nothing open is parked"):
        commands.parked(world.hub, "dismiss", item)


def test_a_departed_record_is_decided_not_dismissed() -> None:
    """A link that is held needs a decision; the error names the choices."""
    world = World({"A": Profile()})
    world.tools["A"].act("jane", {"mail": "jane@x.com"})
    world.sync()
    world.tools["A"].delete("jane")
    world.sync()
    (item,) = parked(world)
    with pytest.raises(Wrong, match="takes keep, unlink, recreate or replay"):
        commands.parked(world.hub, "dismiss", item["id"])


REFUSED = """
tools A B(refuses=title)
A.jane name="Jane Doe" email=jane@x.com
B.jane name="Jane Doe" email=jane@x.com
sync
A.jane job_title=Boss
sync
"""
NOT_CREATED = """
tools A B(refuses=title)
A.jane name="Jane Doe" email=jane@x.com job_title=Boss
sync
"""


def mend(story: Story) -> None:
    """From now on B takes every value."""
    tool = story.world.tools["B"]
    tool.profile = replace(tool.profile, refuses=frozenset())


@pytest.mark.parametrize("act", ["keep", "unlink", "recreate"])
def test_only_a_link_that_is_held_can_be_decided(act: str) -> None:
    """A refused value says nothing about whether the record shall be there."""
    world = tell(REFUSED).world
    (item,) = parked(world)
    with pytest.raises(Wrong, match="takes replay or dismiss"):
        commands.parked(world.hub, act, item["id"])
    assert parked(world) == [item]


def test_only_a_record_that_is_gone_is_recreated() -> None:
    """One that holds only our copies is still there: a second one would stand beside it."""
    world = World({"A": Profile()})
    world.tools["A"].act("jane", {"mail": "jane@x.com"})
    world.sync()
    uid = world.uid("A", "jane")
    world.store.transact(lambda rows: set_aside(rows, "unsupported", uid))
    with pytest.raises(Wrong, match="takes keep, unlink or replay"):
        commands.parked(world.hub, "recreate", f"unsupported:{uid}")


def set_aside(rows: Rows, kind: str, uid: str | None, **doc: Any) -> None:
    """An item about a record, or about none."""
    about = {"uid": uid, "system": "A", "why": "a test", "doc": doc}
    rows.insert("parked", {"id": f"{kind}:{uid}", "kind": kind, "state": "open", "at": 1, **about})


def test_a_create_of_unknown_outcome_is_dismissed_not_replayed() -> None:
    """What can be done about an item is what every way to it offers."""
    world = World({"A": Profile()})
    world.tools["A"].act("jane", {"mail": "jane@x.com"})
    world.sync()
    uid = world.uid("A", "jane")
    where = {"golden": uid, "system": "A", "object": PERSON}
    world.store.transact(lambda rows: set_aside(rows, "lost create", uid, wanted=where))
    with pytest.raises(Wrong, match="takes dismiss"):
        commands.replay(world.hub, f"lost create:{uid}")
    assert [one["acts"] for one in browse.parked(world.hub)["parked"]] == [("dismiss",)]
    commands.parked(world.hub, "dismiss", f"lost create:{uid}")
    assert parked(world) == []


def test_what_a_tool_left_that_is_gone_can_be_dismissed() -> None:
    """A system that is in hub.yaml no more cannot be read again."""
    world = World({"B": Profile()})
    world.store.transact(lambda rows: set_aside(rows, "answer", None))
    with pytest.raises(Wrong, match="any more: dismiss it"):
        commands.replay(world.hub, "answer:None")


@pytest.mark.parametrize("told", [REFUSED, NOT_CREATED], ids=["update", "create"])
@pytest.mark.parametrize("mended", ["job_title=", "job_title=Nurse"])
def test_a_refusal_ends_when_golden_is_something_else(told: str, mended: str) -> None:
    """A value that the tool takes, or none: nobody has to put the item away."""
    story = tell(told)
    assert [one["kind"] for one in parked(story.world)] == ["rejected"]
    mend(story)
    step(story, f"A.jane {mended}")
    story.world.sync()
    assert parked(story.world) == []


def test_a_refusal_ends_when_somebody_types_the_value_there() -> None:
    """The tool holds what golden holds: nothing is refused any more."""
    story = tell(REFUSED)
    step(story, "B.jane job_title=Boss")
    story.world.sync()
    assert parked(story.world) == []


def test_a_refusal_stays_while_something_is_refused() -> None:
    """Another field that changes does not end it."""
    story = tell(REFUSED)
    step(story, "A.jane note=told")
    story.world.sync()
    assert [one["kind"] for one in parked(story.world)] == ["rejected"]


def test_a_refused_create_is_offered_again_when_somebody_says_so() -> None:
    """The tool was mended, not the value; until then the item and the hold stay."""
    story = tell(NOT_CREATED)
    mend(story)
    story.world.sync()
    (item,) = parked(story.world)
    assert story.beside("B", "A.jane") is None
    commands.replay(story.world.hub, item["id"])
    story.world.sync()
    assert story.beside("B", "A.jane")
    assert parked(story.world) == []
