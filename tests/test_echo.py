"""A webhook that tells of our own write costs no reading; one of anybody else's does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connectors._kit.contract import Inbound
from connectors.zendesk.connector import USERS
from hub import capture, inputs, listeners
from hub.tools.outside import Outside
from hub.tools.world import World

OWN = "our own write"
TYPED = "+1 202 555 0188"
SETTLED_MS = USERS.settle_ms + inputs.CONFIRMED_EVERY_MS


def in_step(*vendors: str) -> Iterator[World]:
    """These vendors, in step; what they have told so far is read."""
    made = World({}, vendors=vendors, customers=6)
    made.sync()
    for name in made.outside:
        news(made, name)
    made.sync()
    yield made
    made.store.close()


@pytest.fixture
def world() -> Iterator[World]:
    """Two vendors that say whose a change was."""
    yield from in_step("hubspot", "stripe")


def news(world: World, name: str) -> list[str]:
    """What came of each note that a tool's webhooks leave now."""
    known = {row["id"] for row in notes(world)}
    world.clock.pass_time(60_000)
    hear(world, name)
    left = [row for row in notes(world) if row["id"] not in known]
    return [row["state"] for row in left if row["kind"] != "again"]


def notes(world: World) -> list[dict[str, Any]]:
    """All of them."""
    return world.store.view(lambda rows: rows.select("hint"))


def shared(world: World) -> dict[str, str]:
    """The ids of one customer that both tools have."""
    linked = world.store.view(lambda rows: rows.select("record", {"entity": "person"}))
    by_golden: dict[str, dict[str, str]] = {}
    for row in linked:
        by_golden.setdefault(row["golden"], {})[row["system"]] = row["native_id"]
    return next(found for _, found in sorted(by_golden.items()) if len(found) > 1)


def edit(outside: Outside, native: str, value: str) -> None:
    """A person types a telephone number."""
    outside.act("update", next(o.object for o in outside.objects if o.entity == "person"),
                native, {"phone": value})  # fmt: skip


@pytest.mark.parametrize(("typed_in", "written_to"), [("stripe", "hubspot"), ("hubspot", "stripe")])
def test_our_own_write_is_not_read_again(world: World, typed_in: str, written_to: str) -> None:
    """The tool says that it was us; what a person types there afterwards is read."""
    ids = shared(world)
    edit(world.outside[typed_in], ids[typed_in], TYPED)
    assert news(world, typed_in) == ["open"]
    world.sync()
    told = news(world, written_to)
    assert told
    assert set(told) == {OWN}
    edit(world.outside[written_to], ids[written_to], "+1 202 555 0199")
    assert news(world, written_to) == ["open"]
    world.sync()
    assert "0199" in str(world.outside[typed_in].holds(
        next(o.object for o in world.outside[typed_in].objects if o.entity == "person")
    )[ids[typed_in]].app["phone"])  # fmt: skip


def test_another_value_of_our_own_app_is_read(world: World) -> None:
    """A script that uses the same access as the hub is somebody else."""
    ids = shared(world)
    edit(world.outside["stripe"], ids["stripe"], TYPED)
    news(world, "stripe")
    world.sync()
    api, spec = world.hub.systems["hubspot"].api, world.hub.systems["hubspot"].specs["contacts"]
    news(world, "hubspot")
    path = f"/crm/v3/objects/{spec.object}/{ids['hubspot']}"
    assert api.send("PATCH", path, json={"properties": {"phone": "+1 202 555 0111"}}).status == 200
    assert news(world, "hubspot") == ["open"]


def test_what_a_webhook_has_brought_is_not_read_again_by_a_poll(world: World) -> None:
    """An edit costs one reading, whether a webhook told of it, or the poll that comes after."""
    native = shared(world)["stripe"]
    idle = reads_of_a_poll(world)
    edit(world.outside["stripe"], native, TYPED)
    assert news(world, "stripe") == ["open"]
    assert reads_of_a_poll(world) == idle + 1
    world.sync()
    assert reads_of_a_poll(world) == idle
    edit(world.outside["stripe"], native, "+1 202 555 0199")
    assert reads_of_a_poll(world) == idle + 1


def reads_of_a_poll(world: World) -> int:
    """How often Stripe is asked for anything when it is time to poll."""
    api: Any = world.hub.systems["stripe"].api
    before = api.counts.reads
    world.clock.pass_time(world.hub.systems["stripe"].poll_ms)
    world.capture("stripe")
    return int(api.counts.reads - before)


@pytest.fixture
def silent() -> Iterator[World]:
    """Two vendors, of which one does not say whose a change was."""
    yield from in_step("stripe", "zendesk")


def reads(world: World, name: str) -> int:
    """How often a tool was asked for something."""
    api: Any = world.hub.systems[name].api
    return int(api.counts.reads)


def looked(world: World, name: str, wait_ms: int) -> int:
    """How many reads it costs to answer the notes that are due after a while."""
    system, before = world.hub.systems[name], reads(world, name)
    world.clock.pass_time(wait_ms)
    for spec in system.specs.values():
        waits = world.store.view(capture.Stream(world.hub, system, spec).waits)
        capture.answer_hints(world.hub, system, spec, waits.hints)
    return reads(world, name) - before


def written(world: World) -> str:
    """Somebody types in Stripe, and the hub has just written it to Zendesk; the user's id there."""
    ids = shared(world)
    edit(world.outside["stripe"], ids["stripe"], TYPED)
    assert news(world, "stripe") == ["open"]
    looked(world, "stripe", 0)
    world.resolve()
    world.deliver("zendesk")
    assert phone(world, "zendesk", ids["zendesk"]).endswith("0188")
    return ids["zendesk"]


def phone(world: World, name: str, native: str) -> str:
    """What a tool holds."""
    obj = next(o.object for o in world.outside[name].objects if o.entity == "person")
    return str(world.outside[name].holds(obj)[native].app["phone"])


def hear(world: World, name: str) -> None:
    """The webhooks of a tool arrive, no time later."""
    for sent in list(world.outside[name].due(world.clock.time)):
        headers = {k.lower(): v for k, v in sent.headers.items()}
        inbound = Inbound(sent.method, sent.url, headers, sent.body, world.clock.time)
        status, _ = listeners.receive(world.hub, world.hub.systems[name], inbound)
        world.outside[name].settle(sent.id, status)


def test_what_may_be_our_own_write_is_read_with_its_confirmation(silent: World) -> None:
    """Zendesk tells of our write as of anybody's: one reading answers both."""
    written(silent)
    hear(silent, "zendesk")
    assert looked(silent, "zendesk", 0) == 0
    assert looked(silent, "zendesk", SETTLED_MS) == 1
    assert looked(silent, "zendesk", SETTLED_MS) == 0


def test_an_edit_that_came_after_our_write_is_read_at_once(silent: World) -> None:
    """It is later than the write by the tool's own clock, so it cannot be that."""
    native = written(silent)
    hear(silent, "zendesk")
    silent.clock.pass_time(1_000)
    edit(silent.outside["zendesk"], native, "+1 202 555 0199")
    hear(silent, "zendesk")
    assert looked(silent, "zendesk", 0) == 1


def test_an_edit_in_the_second_of_our_write_is_not_lost(silent: World) -> None:
    """Nothing tells it from our write: it is read with the confirmation, and moves on."""
    native = written(silent)
    edit(silent.outside["zendesk"], native, "+1 202 555 0199")
    hear(silent, "zendesk")
    assert looked(silent, "zendesk", 0) == 0
    assert looked(silent, "zendesk", SETTLED_MS) == 1
    silent.resolve()
    silent.deliver("stripe")
    assert phone(silent, "stripe", shared(silent)["stripe"]).endswith("0199")
