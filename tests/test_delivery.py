"""Deliver under the races and refusals that a story cannot tell line by line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from connectors._kit.contract import Answer, Denied, Reading, Unavailable, Write
from connectors._kit.simtool import COMPANY, PERSON, Profile, SimTool
from hub import commands, deliver, inputs
from hub.io import state
from hub.io.rows import Rows, StoreFull
from hub.links import Link
from hub.pure.model import Actor, Decision
from hub.pure.rules import FieldRule
from hub.tools.world import World, rules_for

JANE = {"first": "Jane", "last": "Doe", "mail": "jane@x.com"}


def person(world: World, tool: str, native: str = "jane", **fields: Any) -> None:
    """Somebody types into a record of a tool."""
    world.tools[tool].act(native, fields)


def both(**more: Any) -> World:
    """Jane in two tools, linked and at rest."""
    world = World({"A": Profile(), "B": Profile()}, **more)
    for tool in world.tools:
        person(world, tool, **JANE)
    world.sync()
    return world


def link(world: World, system: str = "B", obj: str = PERSON) -> Link:
    """One object of a tool."""
    made = world.hub.systems[system]
    return Link(world.hub, made, made.specs[obj])


def taken(world: World, *tools: str) -> None:
    """What these tools show is read and resolved."""
    for tool in tools:
        world.capture(tool)
    world.resolve()


def looked(world: World) -> Mapping[str, Reading | None]:
    """What B shows of the records that are to be written, or agreed on."""
    found = world.env.view(lambda r: deliver.look(r, link(world)))
    return deliver.read_again(link(world), [f for f in found if isinstance(f, deliver.Plan)])


def held(world: World, tool: str, native: str = "jane") -> dict[str, Any]:
    """What the tool holds."""
    return world.tools[tool].latest(native) or {}


def test_writes_that_are_stopped_stop_within_a_pass() -> None:
    """What is planned and not yet sent is not sent; nothing is lost of it."""
    world = World({"A": Profile(), "B": Profile()})
    count = 2 * world.hub.systems["B"].specs[PERSON].write_batch
    names = [f"p{n}" for n in range(count)]
    for name in names:
        person(world, "A", name, mail=f"{name}@x.com")
    world.sync()
    for name in names:
        person(world, "A", name, title="Boss")
    taken(world, "A")

    def stop(point: str) -> None:
        if point == "after deliver:receipt":
            world.env.at_point = lambda _: None
            commands.stop_writes(world.hub, on=True)

    world.env.at_point = stop
    before = world.writes()["B"]
    world.deliver("B")
    assert world.writes()["B"] == before + 1
    commands.stop_writes(world.hub, on=False)
    world.sync()
    assert all(held(world, "B", own)["title"] == "Boss" for own in world.tools["B"].living())


def test_an_association_is_a_write_of_its_own() -> None:
    """Nobody can say in one answer that the values were taken and their association was not."""
    acme, bolt = ("company", "1"), ("company", "2")
    given: Sequence[Mapping[str, Any]] = (
        {"changes": {"tel": "1"}, "link": acme},
        {"changes": {"tel": "1"}, "unlink": acme},
        {"changes": {}, "link": acme, "unlink": bolt},
    )
    for parts in given:
        with pytest.raises(ValueError, match="of its own"):
            Write("update", "jane", external_id="", key="k", **parts)


def test_agreeing_counts_from_the_golden_that_is_agreed_on() -> None:
    """An opt-in that the reading does not show must not come to cover a later refusal."""
    world = both(widens=frozenset("AB"))
    person(world, "B", consent={"email.marketing": "out"})
    world.sync()
    person(world, "A", note="n")
    person(world, "B", note="n")
    taken(world, "A", "B")
    readings = looked(world)
    person(world, "B", consent={"email.marketing": {"state": "in", "proof": "p1"}})
    person(world, "A", consent={"email.marketing": None})
    world.capture("A")
    person(world, "A", consent={"email.marketing": "out"})
    taken(world, "A")
    world.env.commit(lambda r: deliver.settle(r, link(world), readings), "settle")
    world.resolve()
    world.sync()
    assert held(world, "A")["consent"]["email.marketing"] == "out"


def test_a_link_that_moved_under_an_agreement_stays_dirty() -> None:
    """An edit that lost, taken in meanwhile, is written back all the same."""
    rule = FieldRule("note", "text", "authority", ("A", "B"))
    world = both(rules=rules_for(("A", "B"), {"note": rule}))
    person(world, "A", note="X")
    world.sync()
    person(world, "A", title="t")
    person(world, "B", title="t")
    taken(world, "A", "B")
    readings = looked(world)
    person(world, "B", note="Y")
    taken(world, "B")
    world.env.commit(lambda r: deliver.settle(r, link(world), readings), "settle")
    world.resolve()
    world.sync()
    assert held(world, "B")["note"] == "X"


def test_a_receipt_that_was_not_stored_is_made_up_for_without_a_restart() -> None:
    """The disk was full when the answer came: the write is settled by reading."""
    world = both()
    person(world, "A", note="two")
    taken(world, "A")

    def fill_disk(point: str) -> None:
        if point == "before deliver:receipt":
            world.env.at_point = lambda _: None
            world.store.fail_next("disk full")

    world.env.at_point = fill_disk
    with pytest.raises(StoreFull):
        world.deliver("B")
    person(world, "B", title="typed")
    world.sync()
    assert held(world, "B")["note"] == "two"
    assert held(world, "A")["title"] == "typed"


class Strict:
    """A tool that answers creates in its own way, and counts how often it is asked."""

    def __init__(self, tool: SimTool, answer: Callable[[], Any]) -> None:
        self.tool, self.answer, self.asked = tool, answer, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tool, name)

    def write(self, api: Any, spec: Any, writes: Sequence[Write]) -> Any:
        """See the contract."""
        if self.tool.name != "B":
            return self.tool.write(api, spec, writes)
        self.asked += 1
        return tuple(self.answer() for _ in writes)


def raising(error: Exception) -> Callable[[], Any]:
    """An answer that is an error."""

    def answer() -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    "error",
    [Unavailable("later", after_ms=600_000, sent=False), Denied("no scope"),
     Unavailable("now", sent=False)],
    ids=["retry-after", "denied", "at-once"],
)  # fmt: skip
def test_a_create_that_cannot_be_sent_is_left_alone_ever_longer(error: Exception) -> None:
    """It keeps the one record it minted, and golden does not grow."""
    world = World({"A": Profile(), "B": Profile()}, wrap=lambda t: Strict(t, raising(error)))
    person(world, "A", **JANE)
    for _ in range(60):
        world.round()
    asked: Any = world.hub.systems["B"].connector
    assert 1 <= asked.asked <= 8
    uid = world.uid("A", "jane")
    golden = world.store.view(lambda r: state.golden_of(r, uid or ""))
    assert golden is not None
    assert len(golden.members) == 2


def test_a_value_refused_by_a_name_that_we_did_not_send_is_not_sent_for_ever() -> None:
    """A tool that blames another field refuses what was sent all the same."""
    refused = Answer("rejected", why="no", fields=("some_other_field",))
    world = both(wrap=lambda t: Strict(t, lambda: refused))
    person(world, "A", note="two")
    world.sync()
    asked: Any = world.hub.systems["B"].connector
    assert asked.asked == 1


def test_held_creates_do_not_starve_free_ones() -> None:
    """More refused records than fit in one pass stand before one that may go."""
    world = World({"A": Profile(page=200), "B": Profile(refuses=frozenset({"title"}))})
    for n in range(deliver.AT_ONCE + 5):
        person(world, "A", f"p{n}", first="P", last=f"Q{n}", mail=f"p{n}@x.com", title="Boss")
    world.sync()
    person(world, "A", "free", first="Fay", last="Free", mail="free@x.com")
    world.sync()
    assert [held(world, "B", i)["mail"] for i in world.tools["B"].living()] == ["free@x.com"]


def test_an_association_is_written_when_its_company_is_created_in_two_steps() -> None:
    """The create's receipt, not its intent, makes the other end known."""
    world = both()
    world.tools["A"].act("acme", {"name": "Acme", "site": "acme.com"}, obj=COMPANY)
    person(world, "A", firms=["acme"])
    taken(world, "A", "B")
    world.clock.pass_time(5_000)
    taken(world, "B")
    firms = link(world, "B", COMPANY)
    plans = world.env.commit(lambda r: deliver.plan_creates(r, firms), "plan")
    world.resolve()
    for _ in range(3):
        deliver.update(link(world))
        world.resolve()
    deliver.send(firms, plans)
    world.sync()
    assert held(world, "B")["firms"] == ["B-2"]


def test_a_decision_of_the_wrong_shape_stops_nobody() -> None:
    """A steward's value that is no name is set aside; other records go on."""
    world = both()
    uid = world.uid("A", "jane") or ""
    wrong = Decision(world.clock(), "edit", world.env.uid(), Actor("steward"),
                     cell="name", value="Janet")  # fmt: skip

    def decide(rows: Rows) -> None:
        record = state.load_record(rows, uid)
        assert record is not None
        inputs.decided(rows, world.hub, record, wrong)

    world.store.transact(decide)
    person(world, "A", "bob", first="Bob", last="Roe", mail="bob@x.com")
    world.sync()
    assert len(world.tools["B"].living()) == 2
    assert held(world, "B")["last"] == "Doe"
