"""New rules: what is known is folded again, what follows is held until a plan has shown it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hub import republish, runs, switches
from hub.pure.model import Golden
from hub.pure.pack import unpack
from hub.pure.rules import FieldRule, Rules
from hub.tools.world import World
from tests.stories.runner import tell

TOLD = """
tools A B
A.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0101"
B.jane name="Jane Doe" email=jane@x.com phone="020 7946 0000"
sync
wait 60
B.jane phone="+1 202 555 0199"
sync
expect A.jane phone=+12025550199
"""


def published(world: World, **changed: Any) -> World:
    """The same world under rules of a later version, republished."""
    rules = replace(world.hub.context.rules, version=2, **changed)
    world.hub.context = replace(world.hub.context, rules=rules)
    assert world.store.view(lambda rows: republish.due(rows, world.hub))
    republish.republish(world.hub, "ada")
    assert not world.store.view(lambda rows: republish.due(rows, world.hub))
    return world


def golden(world: World, name: str) -> Any:
    """A golden value of the one customer."""
    (row,) = world.store.view(lambda r: r.select("golden", {"merged_into": None}))
    return unpack(Golden, row["doc"]).cells[name].value


def with_authority(rules: Rules, name: str, *ranks: str) -> Mapping[str, Mapping[str, FieldRule]]:
    """The entities with one field decided by authority."""
    person = dict(rules.entities["person"])
    person[name] = replace(person[name], strategy="authority", ranks=ranks)
    return {**rules.entities, "person": person}


def test_a_changed_strategy_decides_anew_and_waits_for_a_plan() -> None:
    """The authority's claim wins after all; not a write goes out before plan and apply."""
    world = tell(TOLD).world
    entities = with_authority(world.hub.context.rules, "phone", "A", "B")
    before = world.writes()
    published(world, entities=entities)
    assert golden(world, "phone") == "+12025550101"
    world.sync()
    assert world.writes() == before, "held"
    planned = world.store.transact(lambda r: runs.plan(r, world.hub, "run-1", "test"))
    assert {p.system for p in planned} == {"A", "B"}
    world.store.transact(lambda r: runs.apply(r, world.hub, "run-1"))
    world.sync()
    for tool in world.tools.values():
        assert [(tool.latest(i) or {})["tel"] for i in tool.living()] == ["+12025550101"]
    intents = world.store.view(lambda r: r.select("intent"))
    assert [i["run"] for i in intents if i["run"]] == ["run-1", "run-1"], "both know their run"
    assert world.orders_agree()


def test_a_link_that_new_rules_leave_as_it_is_waits_for_nobody() -> None:
    """The plan has nothing to show of it: it is neither written nor held, and edits flow on."""
    world = tell(TOLD).world
    published(world, entities=with_authority(world.hub.context.rules, "phone", "B", "A"))
    before = world.writes()
    planned = world.store.transact(lambda r: runs.plan(r, world.hub, "run-1", "test"))
    world.sync()
    assert planned == []
    assert world.writes() == before
    assert not world.store.view(lambda r: r.count("slot", {"held": True}))


def test_values_are_standardised_anew_from_what_was_typed() -> None:
    """A number without prefix that was refused under one country is read under another."""
    text = TOLD.replace('B.jane phone="+1 202 555 0199"', 'B.jane phone="020 7946 0018"')
    world = tell(text.replace("expect A.jane phone=+12025550199", "")).world
    assert golden(world, "phone") == "+12025550101"
    published(world, region="GB")
    assert golden(world, "phone") == "+442079460018"
    assert world.orders_agree()


def test_keys_that_the_rules_forbid_now_link_nobody_any_more() -> None:
    """An address that became a placeholder is neither a value nor a key."""
    world = tell(TOLD).world
    published(world, placeholders=frozenset({"jane@x.com"}))
    keys = world.store.view(lambda r: r.select("match_key", {"kind": "email"}))
    assert keys == []
    assert world.orders_agree()


def test_the_publication_is_an_input_with_a_name() -> None:
    """Who published is kept like everything else."""
    world = published(tell(TOLD).world)
    assert world.store.view(lambda r: switches.read(r, "rules")) == 2
    (row,) = world.store.view(
        lambda r: r.select("input", {"cause": "rules"}, order=("-seq",), limit=1)
    )
    assert row["status"] == "applied"


def test_unchanged_rules_change_nothing() -> None:
    """A refold under the same rules finds what is there: no history, nothing dirty."""
    world = tell(TOLD).world
    before, exported = world.store.view(lambda r: r.count("history")), world.exported()
    published(world)
    assert world.exported() == exported
    assert world.store.view(lambda r: r.count("history")) == before
    assert world.quiet()
