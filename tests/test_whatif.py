"""A verdict on changed rules is what publishing them would come to, and leaves no trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors._kit.simtool import Profile
from hub import commands, republish, runs, whatif
from hub.commands import Wrong
from hub.io.rows import Rows
from hub.pure.rules import FieldRule, Rules
from hub.runs import PlannedRow
from hub.tools.world import World
from hub.whatif import Foreseen
from tests.stories.runner import tell

STORIES = sorted((Path(__file__).parent / "stories").glob("*.story"))
TEXTS = ("name", "email", "phone", "job_title", "note")


def person(rules: Rules, **changed: FieldRule) -> Mapping[str, Mapping[str, FieldRule]]:
    """The entities with some fields of a person decided in another way."""
    return {**rules.entities, "person": {**rules.entities["person"], **changed}}


def by_the_last(rules: Rules) -> Rules:
    """The tool that ranked last decides."""
    held = rules.entities["person"]
    turned = {n: replace(held[n], ranks=held[n].ranks[::-1], strategy="authority") for n in TEXTS}
    return replace(rules, entities=person(rules, **turned))


def by_phone(rules: Rules) -> Rules:
    """Who has one telephone number is one customer."""
    phone = rules.entities["person"]["phone"]
    return replace(rules, entities=person(rules, phone=replace(phone, identifier=True)))


def elsewhere(rules: Rules) -> Rules:
    """Numbers without prefix are of another country."""
    return replace(rules, region="GB")


def without_janes(rules: Rules) -> Rules:
    """An address of the stories stands for nobody."""
    return replace(rules, placeholders=frozenset({"jane@x.com"}))


CHANGES = (by_the_last, by_phone, elsewhere, without_janes)


def told(found: list[PlannedRow]) -> set[tuple[Any, ...]]:
    """Rows as they compare."""
    cells = (
        [(c["cell"], repr(c["from"]), repr(c["to"]), c["why"]) for c in r.cells] for r in found
    )
    return {
        (r.system, r.golden, r.uid, r.op, *map(tuple, c)) for r, c in zip(found, cells, strict=True)
    }


def published(world: World, rules: Rules) -> list[PlannedRow]:
    """What a plan shows once these rules are published, and the hub was started again."""
    world.hub.context = replace(world.hub.context, rules=replace(rules, version=rules.version + 1))
    republish.republish(world.hub, "ada")
    return world.store.transact(lambda rows: runs.plan(rows, world.hub, "run-1", "test"))


def cases() -> list[Any]:
    """Stories with a change of rules, a third of all pairs: each story and each change is met."""
    pairs = [(n + m, p, c) for n, p in enumerate(STORIES) for m, c in enumerate(CHANGES)]
    some = [(path, change) for n, path, change in pairs if n % 3 == 0]
    return [pytest.param(p, c, id=f"{p.stem} {c.__name__}") for p, c in some]


@pytest.mark.parametrize(("path", "change"), cases())
def test_a_verdict_is_what_publishing_comes_to(path: Path, change: Any) -> None:
    """The same rows, cell by cell and with the same reasons, as the plan after it shows."""
    world = tell(path.read_text()).world
    rules = change(world.hub.context.rules)
    found = whatif.foresee(world.hub, rules)
    assert told(list(found.rows)) == told(published(world, rules))


def everything(rows: Rows) -> dict[str, Any]:
    """All that is stored."""
    tables = ("record", "input", "slot", "wanted", "golden", "history", "run", "run_row", "outbox")
    return {table: rows.select(table) for table in tables}


def one_customer() -> World:
    """A customer in two tools."""
    world = World({"A": Profile(), "B": Profile()})
    world.tools["A"].act("1", {"first": "Ann", "mail": "ann@x.com", "tel": "+12025550101"})
    world.sync()
    return world


def two_customers() -> World:
    """Two customers with one telephone number, each in a tool of its own."""
    world = World({"A": Profile(), "B": Profile()}, create={"A": "never", "B": "never"})
    for n, tool in enumerate(world.tools.values()):
        mail = f"ann{n}@x.com"
        tool.act("1", {"first": "Ann", "last": "Lee", "mail": mail, "tel": "+12025550101"})
    world.sync()
    return world


def test_some_verdicts_have_something_to_say() -> None:
    """The stories above are no proof where nothing would be written."""
    worlds = [tell(path.read_text()).world for path in STORIES[::6]]
    rows = [whatif.foresee(w.hub, by_the_last(w.hub.context.rules)).rows for w in worlds]
    assert sum(map(len, rows)) > 5


def test_a_verdict_stores_nothing() -> None:
    """No run that somebody could apply, no hold that a plan would lift, nothing at all."""
    world = one_customer()
    before = world.store.view(everything)
    calls = {name: tool.calls["write"] for name, tool in world.tools.items()}
    for change in CHANGES:
        whatif.gate(world.hub, change(world.hub.context.rules), whatif.KINDS, ())
    assert world.store.view(everything) == before
    assert {name: tool.calls["write"] for name, tool in world.tools.items()} == calls


def test_customers_that_become_one_are_merges() -> None:
    """Not while they are two, nor those that were one whenever something was delivered."""
    world = two_customers()
    asked = world.hub.context.rules
    assert whatif.gate(world.hub, asked, ["merges"], ())["verdict"] == "pass"
    answer = whatif.gate(world.hub, by_phone(asked), ["merges"], ())
    assert (answer["verdict"], answer["merges"]) == ("fail", 1)
    (one,) = answer["failing"]
    assert sorted(r.split()[0] for r in one["records"]) == ["A", "B"]
    assert whatif.gate(world.hub, by_phone(asked), ["clears"], ())["verdict"] == "pass"


def test_a_value_that_becomes_empty_is_a_clear() -> None:
    """It is an update as well; the verdict names record and field, and no value."""
    world = one_customer()
    one = world.tools["A"].living()[0]
    world.tools["A"].act(one, {"tel": None})
    world.clock.pass_time(2_000)
    world.capture("A")
    world.resolve()
    answer = whatif.gate(world.hub, world.hub.context.rules, ["clears"], ())
    assert answer["counts"] == {"B": {"updates": 1, "clears": 1}}
    (row,) = answer["failing"]
    assert (row["system"], row["kinds"], row["fields"]) == ("B", ["clears", "updates"], ["phone"])
    assert "2025550101" not in str(answer)
    assert whatif.gate(world.hub, world.hub.context.rules, ["creates"], ())["verdict"] == "pass"


def test_what_is_not_read_cannot_pass() -> None:
    """A verdict on half of the records would be none."""
    world = one_customer()
    rules = world.hub.context.rules
    assert whatif.gate(world.hub, rules, ["clears"], ["A people"])["verdict"] == "fail"


def test_deletes_are_counted_where_there_are_any() -> None:
    """The hub deletes nothing in a tool yet; a row that would is one of these."""
    row = PlannedRow("A", "g", "u", "delete", "people 1", (), "print")
    assert Foreseen([row], {}).counts() == {"A": {"deletes": 1}}
    assert Foreseen([row], {}).failing(["deletes"]) == [row]


@pytest.mark.parametrize("kind", ["clear", "", "everything", "clears;merges"])
def test_a_kind_that_there_is_not_is_told(kind: str) -> None:
    """With the kinds that there are."""
    with pytest.raises(Wrong, match=r"updates, creates, clears, deletes, merges"):
        commands.what_if(one_customer().hub, {"entities": {}}, [kind])
