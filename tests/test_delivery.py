"""Deliver under the races and refusals that a story cannot tell line by line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest

from connectors._kit.contract import Answer, Denied, Reading, Unavailable, Unreadable, Write
from connectors._kit.simtool import COMPANY, PERSON, Profile, SimTool
from hub import commands, deliver, inputs, resolve
from hub.io import state
from hub.io.rows import Rows, StoreFull, above
from hub.io.twin import DictStore
from hub.links import Link
from hub.pure.model import Actor, Decision, Tick
from hub.pure.rules import FieldRule
from hub.tools import bench
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
            cast("DictStore", world.store).fail_next("disk full")

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


def only(world: World, *known: tuple[str, str]) -> None:
    """Of all that waits, the resolver comes to these records of tools and no others."""
    uids = [uid for tool, native in known if (uid := world.uid(tool, native))]
    world.env.commit(lambda r: resolve.resolve(r, world.hub, uids), "some")


def unresolved_passes(world: World) -> None:
    """B is captured and delivered to again and again, while the resolver does not come to it."""
    for _ in range(5):
        world.clock.pass_time(1_000)
        world.capture("B")
        world.deliver("B")


def created(world: World, **fields: Any) -> None:
    """Jane, new in A, is created in B; nobody has resolved yet what B answered."""
    person(world, "A", **(fields or JANE))
    taken(world, "A", "B")
    unresolved_passes(world)


def edited_while_the_resolver_is_behind(world: World) -> None:
    """A's edit is resolved before B's answers are, and B is delivered to again and again."""
    person(world, "A", title="Nurse")
    world.capture("A")
    only(world, ("A", "jane"))
    unresolved_passes(world)


def test_a_create_is_not_sent_again_while_the_resolver_is_behind() -> None:
    """What the tool made of it waits to be resolved: until then it is on its way."""
    world = World({"A": Profile(), "B": Profile()})
    created(world)
    assert len(world.tools["B"].living()) == 1
    edited_while_the_resolver_is_behind(world)
    assert len(world.tools["B"].living()) == 1
    world.sync()
    assert held(world, "B", world.tools["B"].living()[0])["title"] == "Nurse"


def test_a_create_for_a_customer_that_was_merged_meanwhile_is_not_sent_again() -> None:
    """It was said for a golden record that is another one by the time its answer is resolved."""
    never = {"A": "never", "C": "never"}
    profiles = {"A": Profile(), "B": Profile(refuses=frozenset({"title"})), "C": Profile()}
    world = World(profiles, create=never)
    person(world, "C", "old", mail="old@x.com", title="Boss")
    world.sync()
    created(world)
    person(world, "C", "old", mail=JANE["mail"], title=None)
    world.capture("C")
    only(world, ("C", "old"))
    unresolved_passes(world)
    assert len(world.tools["B"].living()) == 1
    world.sync()
    assert len(world.tools["B"].living()) == 1


def test_a_create_is_not_sent_again_while_the_record_that_took_it_over_waits() -> None:
    """Capture was faster, so what was created is another record, whose receipt is behind."""
    world = World({"A": Profile(), "B": Profile(external_ids=False)})

    def type_over(point: str) -> None:
        if point == "before deliver:receipt":
            world.env.at_point = lambda _: None
            world.resolve()
            person(world, "B", "B-1", title="Nurse")
            taken(world, "B")

    world.env.at_point = type_over
    created(world, first="Jane", last="Doe", title="Boss")
    here = {"system": "B", "native_id": None}
    (given_up,) = world.store.view(lambda r: r.select("record", here))
    world.env.commit(lambda r: resolve.resolve(r, world.hub, [given_up["uid"]]), "some")
    edited_while_the_resolver_is_behind(world)
    assert world.tools["B"].living() == ["B-1"]
    world.sync()
    assert world.tools["B"].living() == ["B-1"]


class Illegible:
    """A tool in which a lost create cannot be looked for, as long as `why` says so."""

    why: Exception | None = None

    def __init__(self, tool: SimTool) -> None:
        self.tool, self.asked = tool, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tool, name)

    def find(self, *given: Any) -> Any:
        """See the contract."""
        self.asked += 1
        if self.why:
            raise self.why
        return self.tool.find(*given)


def lost_create(why: Exception) -> World:
    """Bob's create in B was lost, and is not found for this reason; Jane is in both tools."""
    world = World({"A": Profile(), "B": Profile()}, wrap=Illegible)
    person(world, "A", **JANE)
    world.sync()
    person(world, "A", "bob", first="Bob", last="Roe", mail="bob@x.com")
    taken(world, "A", "B")
    world.tools["B"].faults.append("answer lost")
    connector(world).why = why
    world.clock.pass_time(1_000)
    world.capture("B")
    world.deliver("B")
    assert world.tools["B"].living() == ["B-1", "B-2"]
    return world


def connector(world: World) -> Any:
    """What stands before B."""
    return world.hub.systems["B"].connector


def delivered(world: World, times: int, every_ms: int = 1_000) -> None:
    """B is delivered to so often, and what it says is resolved."""
    for _ in range(times):
        world.resolve()
        world.clock.pass_time(every_ms)
        world.deliver("B")


@pytest.mark.parametrize("why", [Unreadable("no JSON"), Unavailable("search is down")])
def test_a_create_that_cannot_be_looked_for_holds_up_no_other_write(why: Exception) -> None:
    """Jane is written all the same; Bob's create is found once the tool can be understood."""
    world = lost_create(why)
    delivered(world, 3)
    assert connector(world).asked
    person(world, "A", note="two")
    taken(world, "A")
    delivered(world, 10)
    assert held(world, "B", "B-1")["note"] == "two"
    connector(world).why = None
    world.sync()
    assert world.tools["B"].living() == ["B-1", "B-2"]


def test_a_create_that_cannot_be_looked_for_is_shown_and_asked_for_ever_more_rarely() -> None:
    """What somebody dismissed is not shown again; what was found in the end needs nobody."""
    world = lost_create(Unreadable("no JSON"))
    delivered(world, 3_600)
    assert 12 <= connector(world).asked <= 30
    (item,) = commands.parked(world.hub)["parked"]
    assert "no JSON" in item["why"]
    commands.parked(world.hub, "dismiss", item["id"])
    delivered(world, 10, every_ms=300_000)
    assert commands.parked(world.hub)["parked"] == []
    connector(world).why = None
    world.sync()
    assert world.tools["B"].living() == ["B-1", "B-2"]


@pytest.mark.parametrize("by", ["deliver", "capture"])
def test_a_create_that_was_found_in_the_end_needs_nobody(by: str) -> None:
    """The item about it is put away by itself, whoever finds the record."""
    world = lost_create(Unreadable("no JSON"))
    delivered(world, 3)
    assert commands.parked(world.hub)["parked"]
    if by == "deliver":
        connector(world).why = None
        delivered(world, 10)
    else:
        world.sync()
    assert commands.parked(world.hub)["parked"] == []


def test_a_create_whose_end_waits_for_the_resolver_keeps_nobody_awake() -> None:
    """There is nothing to look for yet, and a pass that did nothing is not repeated at once."""
    world = lost_create(Unreadable("no JSON"))
    world.clock.pass_time(5_000)
    system = world.hub.systems["B"]
    assert [deliver.step(world.hub, system) > world.clock() for _ in range(3)] == [True] * 3
    assert connector(world).asked == 0


def test_a_reading_that_cannot_be_taken_in_yet_keeps_nobody_awake() -> None:
    """Something was read that ended later, by a clock that has been put back since."""
    world = both()
    person(world, "A", note="two")
    taken(world, "A")
    person(world, "B", note="three")
    uid, later = world.uid("B", "jane"), world.clock() + 60_000
    world.store.transact(
        lambda r: r.lock([str(uid)]) or r.update("record", {"uid": uid}, {"read_end": later})
    )
    system = world.hub.systems["B"]
    before = world.tools["B"].calls["read"]
    for _ in range(5):
        deliver.step(world.hub, system)
    assert deliver.step(world.hub, system) > world.clock()
    assert world.tools["B"].calls["read"] - before == 1
    world.clock.pass_time(60_000)
    world.sync()
    assert held(world, "A")["note"] == "three"


def poisoned(world: World, system: str) -> None:
    """An input of every record of a tool was damaged on its way: they wait for a person."""

    def damage(rows: Rows) -> None:
        for row in rows.select("record", {"system": system}):
            record = state.load_record(rows, row["uid"])
            assert record is not None
            inputs.append(rows, world.hub, record, Tick(1, "x"))
            rows.update("input", {"uid": row["uid"], "status": "pending"}, {"body": b"?"})

    world.store.transact(damage)
    world.resolve()


def test_links_that_wait_do_not_starve_free_ones() -> None:
    """More links than fit in one pass cannot be written; those behind them are."""
    world = World({"A": Profile(page=200), "B": Profile(page=200)})
    for n in range(3 * deliver.AT_ONCE):
        person(world, "A", f"p{n}", first="P", last=f"Q{n}", mail=f"p{n}@x.com")
    world.sync(300)
    poisoned(world, "B")
    person(world, "A", "free", first="Fay", last="Free", mail="free@x.com")
    world.sync(100)
    for native in world.tools["A"].living():
        person(world, "A", native, title="Nurse")
    taken(world, "A")
    due, end = world.clock(), world.clock() + 3_000
    while world.clock() < end:
        world.clock.pass_time(max(1, due - world.clock()))
        due = deliver.step(world.hub, world.hub.systems["B"])
    told = [i for i in world.tools["B"].living() if held(world, "B", i)["title"]]
    assert [held(world, "B", i)["last"] for i in told] == ["Free"]


def employed(people: int = 1) -> World:
    """People of Acme, all in two tools and at rest."""
    world = World({"A": Profile(page=50), "B": Profile(page=50)})
    world.tools["A"].act("acme", {"name": "Acme", "site": "acme.com"}, obj=COMPANY)
    for n in range(people):
        person(world, "A", f"p{n}", **{**JANE, "mail": f"p{n}@x.com"}, firms=["acme"])
    world.sync()
    return world


def marks(world: World) -> dict[str, int]:
    """The links of persons that are to be looked at, and since when."""
    found = world.store.view(lambda r: r.select("slot", {"object": PERSON, "dirty": above(-1)}))
    return {row["uid"]: row["dirty"] for row in found}


def test_what_is_typed_into_a_company_moves_none_of_its_people() -> None:
    """Their associations lead to the same records as before."""
    world = employed()
    world.tools["A"].act("acme", {"name": "Acme Limited"}, obj=COMPANY)
    taken(world, "A")
    assert marks(world) == {}
    world.sync()
    firm = world.tools["B"].living(COMPANY)[0]
    assert held(world, "B", firm)["name"] == "Acme Limited"


def test_people_of_a_company_that_went_or_came_back_are_looked_at_in_their_turn() -> None:
    """Not before everything else that waits."""
    world = employed()
    tool = world.tools["B"]
    firm = tool.living(COMPANY)[0]
    for back in (False, True):
        before = world.clock()
        if back:
            tool.act(firm, {"name": "Acme"}, obj=COMPANY)
        else:
            tool.delete(firm)
        taken(world, "B")
        assert world.uid("A", "p0") in marks(world)
        assert min(marks(world).values()) > before
        world.sync()


def test_a_long_backlog_beside_a_short_one_is_resolved_without_a_pause() -> None:
    """The resolver only rests where nothing is left."""
    world = World({"A": Profile(), "B": Profile()})
    bench.take(world, [("A", n, f"+1202{n:07d}") for n in range(2 * resolve.BATCH)])
    bench.take(world, [("B", 0, "+12020000000")])
    resolve.drain(world.hub)
    assert not world.store.view(lambda rows: rows.count("input", {"status": "pending"}))
