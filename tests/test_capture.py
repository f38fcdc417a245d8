"""Capture under answers that no store would take, and tools of which one half is sick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from connectors._kit.contract import (
    Answer,
    ConnectorError,
    Denied,
    Hint,
    Inbound,
    Reading,
    Unavailable,
    Unreadable,
)
from connectors._kit.simtool import COMPANY, PERSON, Profile, SimTool
from hub import capture, commands, deliver, inputs, listeners
from hub.io import state
from hub.io.rows import Rows
from hub.io.tables import LONGEST_NAME
from hub.tools.world import World

JANE = {"first": "Jane", "last": "Doe", "mail": "jane@x.com"}
NUL = "a\0b"
LONG = "a" * (LONGEST_NAME + 1)
ODD = pytest.mark.parametrize(("odd", "why"), [(NUL, "NUL"), (LONG, "bytes")], ids=["NUL", "long"])


def parked(world: World) -> list[str]:
    """Why things were set aside."""
    return [item["why"] for item in commands.parked(world.hub)["parked"]]


def title(world: World, native: str) -> object:
    """What B holds."""
    return (world.tools["B"].latest(native) or {}).get("title")


def in_two_tools() -> World:
    """Jane in two tools, linked and at rest."""
    world = World({"A": Profile(page=10), "B": Profile()})
    world.tools["A"].act("jane", JANE)
    world.sync()
    return world


@ODD
def test_an_id_that_no_store_takes_holds_up_no_page(odd: str, why: str) -> None:
    """It is shown to a person, once; whatever stands beside it on the page goes on."""
    world = World({"A": Profile(page=10), "B": Profile()})
    world.tools["A"].act(odd, {"mail": "nul@x.com"})
    world.tools["A"].act("jane", JANE)
    world.sync()
    world.tools["A"].act(odd, {"title": "Nurse"})
    world.tools["A"].act("jane", {"title": "Nurse"})
    world.sync()
    world.sweep("A")
    assert [title(world, i) for i in world.tools["B"].living()] == ["Nurse"]
    assert len(parked(world)) == 1
    assert why in parked(world)[0]


@ODD
def test_a_link_that_no_store_takes_holds_up_no_write(odd: str, why: str) -> None:
    """The record that has it is set aside, and the others of the tool are written."""
    world = in_two_tools()
    world.tools["A"].act("bob", {"first": "Bob", "last": "Roe", "mail": "bob@x.com"})
    world.sync()
    world.tools["B"].act("B-1", {"firms": [odd]})
    for native in ("jane", "bob"):
        world.tools["A"].act(native, {"title": "Nurse"})
    for _ in range(10):
        world.round()
    assert title(world, "B-2") == "Nurse"
    assert any(why in told for told in parked(world))


@ODD
def test_a_webhook_with_such_an_id_is_set_aside_like_one_that_nobody_understands(
    odd: str, why: str
) -> None:
    """It was signed, so it is kept; the tool is not asked to send it for ever."""
    world = in_two_tools()
    connector: Any = Naming(odd)
    system = replace(world.hub.systems["A"], connector=connector)
    asked = Inbound("POST", "http://hub/webhooks/A", {}, b"{}", world.clock())
    status, told = listeners.receive(world.hub, system, asked)
    assert (status, why in told) == (400, True)
    assert any(why in told for told in parked(world))


def test_a_long_key_of_a_webhook_is_known_by_its_digest() -> None:
    """The same news twice is one note, and news with another long key is another."""
    world = in_two_tools()
    keys = [LONG + end for end in ("1", "1", "2")]
    new = [
        world.store.transact(
            lambda rows: capture.accept(
                rows,
                world.hub,
                world.hub.systems["A"],
                [Hint(PERSON, "jane", key)],  # noqa: B023
            )
        )
        for key in keys
    ]
    assert new == [1, 0, 1]
    found = capture.brought(world.hub, world.hub.systems["A"], keys)
    world.sync()
    assert not found
    assert capture.brought(world.hub, world.hub.systems["A"], keys) == set(keys)


def test_a_create_that_is_answered_with_such_an_id_is_of_unknown_outcome() -> None:
    """What nobody can name cannot be written again: it is looked for, and nothing else stops."""
    system = SimpleNamespace(connector=Answering(), api=None)
    link: Any = SimpleNamespace(system=system, spec=None, hub=SimpleNamespace(env=None))
    writes: list[Any] = [None, None]
    assert [a.outcome for a in deliver.ask_tool(link, writes)] == ["unknown", "done"]


class Answering:
    """A tool that calls what it has made by this name."""

    def write(self, *_: Any) -> tuple[Answer, ...]:
        """See the contract."""
        return (Answer("done", native_id=LONG), Answer("done", native_id="1"))


@dataclass
class Naming:
    """A tool whose webhooks name this record."""

    native_id: str

    def hints(self, *_: Any) -> tuple[Hint, ...]:
        """See the contract."""
        return (Hint(PERSON, self.native_id, "key"),)


class Half:
    """A tool of which what `sick` names fails when it is read."""

    def __init__(self, tool: SimTool) -> None:
        self.tool = tool
        self.sick: dict[str, ConnectorError] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tool, name)

    def read(self, api: Any, spec: Any, ids: Sequence[str]) -> tuple[Reading, ...]:
        """See the contract."""
        if error := self.sick.get(spec.object):
            raise error
        return self.tool.read(api, spec, ids)


def half_sick(error: ConnectorError, obj: str = COMPANY) -> World:
    """Acme and Jane are known; a webhook named each of them, and Acme cannot be read."""
    world = World({"A": Profile(page=10)}, wrap=Half)
    world.tools["A"].act("acme", {"name": "Acme"}, obj=COMPANY)
    world.tools["A"].act("jane", JANE)
    world.sync()
    sicken(world, {obj: error})
    hint(world, COMPANY, "acme")
    hint(world, PERSON, "jane")
    return world


def sicken(world: World, sick: dict[str, ConnectorError]) -> None:
    """From now on these objects fail."""
    connector: Any = world.hub.systems["A"].connector
    connector.sick = sick


def hint(world: World, obj: str, native: str) -> None:
    """A webhook names a record."""
    system, news = world.hub.systems["A"], [Hint(obj, native, f"news-{native}")]
    world.store.transact(lambda rows: capture.accept(rows, world.hub, system, news))


def states(world: World) -> dict[str, str]:
    """Of the webhooks' hints."""
    found = world.store.view(lambda rows: rows.select("hint", {"kind": "changed"}))
    return {row["native_id"]: row["state"] for row in found}


@pytest.mark.parametrize("error", [Unavailable("down"), Denied("no scope"), Unreadable("?")])
def test_an_object_that_fails_does_not_hold_up_the_other(error: ConnectorError) -> None:
    """Companies come first, and persons are read all the same; the failure is told."""
    world = half_sick(error)
    world.capture("A")
    assert states(world) == {"acme": "open", "jane": "nothing new"}
    failed = world.store.view(lambda rows: rows.get("meta", name="failure:A"))
    assert (failed is None) == isinstance(error, Unreadable)


def test_an_outage_makes_no_work_for_people() -> None:
    """However long a tool was down: when it is back, everything is read by itself."""
    world = half_sick(Unavailable("down"))
    for _ in range(50):
        world.clock.pass_time(capture.BACK_OFF_MS[-1])
        world.capture("A")
    assert parked(world) == []
    sicken(world, {})
    world.sync()
    assert states(world) == {"acme": "nothing new", "jane": "nothing new"}


def test_a_record_that_was_read_in_the_end_has_all_its_tries_again() -> None:
    """Failures of last week do not count towards giving up today."""
    world = half_sick(Unreadable("?"))
    uid = world.uid("A", "acme", COMPANY)

    def again(rows: Rows) -> None:
        record = state.load_record(rows, uid or "")
        assert record is not None
        inputs.again(rows, record, world.clock(), world.clock())

    for _ in range(5):
        world.store.transact(again)
        sicken(world, {COMPANY: Unreadable("?")})
        for _ in range(capture.GIVE_UP_AFTER - 2):
            world.clock.pass_time(capture.BACK_OFF_MS[-1])
            world.capture("A")
        sicken(world, {})
        world.clock.pass_time(capture.BACK_OFF_MS[-1])
        world.capture("A")
    assert parked(world) == []


class OneByOne:
    """A tool without batches that takes its time, and at one record cannot answer."""

    def __init__(self, tool: SimTool) -> None:
        self.tool = tool
        self.dawdle: Callable[[], None] = lambda: None
        self.fails: ConnectorError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tool, name)

    def read(self, api: Any, spec: Any, ids: Sequence[str]) -> tuple[Reading, ...]:
        """See the contract."""
        if self.fails and "p3" in ids:
            raise self.fails
        found = self.tool.read(api, spec, ids)
        self.dawdle()
        return found


def one_by_one(takes_ms: int, fails: ConnectorError | None = None) -> tuple[World, int]:
    """Six people of whom webhooks tell are read one by one; in how many transactions."""
    world = World({"A": Profile(page=10)}, wrap=OneByOne)
    for n in range(6):
        world.tools["A"].act(f"p{n}", {"mail": f"p{n}@x.com"})
    world.sync()
    system = world.hub.systems["A"]
    specs = {o: replace(s, read_batch=1) for o, s in system.specs.items()}
    system = replace(system, specs=specs)
    world.hub.systems = {"A": system}
    connector: Any = system.connector
    connector.dawdle, connector.fails = lambda: world.clock.pass_time(takes_ms), fails
    for n in range(6):
        hint(world, PERSON, f"p{n}")
    points: list[str] = []
    world.env.at_point = points.append
    capture.guarded(world.hub, system, lambda: capture.step(world.hub, system))
    return world, points.count("after capture:hints")


def test_a_quick_tool_costs_few_transactions_and_a_slow_ones_answers_are_kept_at_once() -> None:
    """Nobody waits for the reading of another record."""
    _, quick = one_by_one(0)
    _, slow = one_by_one(capture.TOGETHER_MS)
    assert (quick, slow) == (1, 6)


@pytest.mark.parametrize("error", [Unavailable("down"), Denied("no scope"), Unreadable("?")])
def test_what_was_read_before_a_failure_is_kept(error: ConnectorError) -> None:
    """The others wait, or are read where only this one is not understood."""
    world, _ = one_by_one(0, error)
    told = states(world)
    assert [told[f"p{n}"] for n in range(3)] == ["nothing new"] * 3
    assert told["p3"] == "open"
    assert [told[f"p{n}"] == "open" for n in (4, 5)] == [not isinstance(error, Unreadable)] * 2


def test_a_large_page_is_taken_in_parts_and_once_more_after_a_crash() -> None:
    """Whoever waits to write gets a turn in between; what was kept already is nothing new."""
    world = World({"A": Profile(page=500)})
    people = 2 * capture.PAGE_AT_ONCE + 1
    for n in range(people):
        world.tools["A"].act(f"p{n}", {"mail": f"p{n}@x.com"})

    def kill(point: str) -> None:
        if point == "after capture:snapshot" and known(world) > capture.PAGE_AT_ONCE:
            raise KilledError

    world.env.at_point = kill
    with pytest.raises(KilledError):
        world.capture("A")
    assert known(world) == 2 * capture.PAGE_AT_ONCE
    world.env.at_point = lambda _: None
    world.resolve()
    world.sync()
    assert known(world) == people
    assert world.store.view(lambda rows: rows.count("input", {"kind": "observation"})) == people


class KilledError(Exception):
    """The process is gone."""


def known(world: World) -> int:
    """How many people of A the hub has."""
    return world.store.view(lambda rows: rows.count("record", {"system": "A", "object": PERSON}))
