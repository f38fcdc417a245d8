"""Leases: an older process can neither commit nor send, however long it was paused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from connectors._kit.contract import Limits
from connectors._kit.simtool import PERSON, Profile
from hub import deliver, leases
from hub.env import Hub
from hub.io.http import Budget, HttpApi
from hub.io.rows import Rows
from hub.leases import TTL_MS, Lease, Leased, LeaseLost
from hub.links import Link
from hub.members import Member
from hub.tools.world import World

NAME = "deliver:B"
ONE, TWO = ("01a0c450-7f5a-75b1-a522-00000000000" + n for n in "12")


def taken(world: World, owner: str, **how: Any) -> Lease | None:
    """The lease, as taken now by this owner."""
    return world.store.transact(lambda r: leases.take(r, NAME, owner, world.clock(), **how))


def holder(world: World, lease: Lease | None) -> Hub:
    """The hub of a process that holds this lease."""
    assert lease is not None
    return replace(world.hub, env=Leased(world.env, lease))


def ready() -> World:
    """A customer of A that B is to hear of."""
    world = World({"A": Profile(), "B": Profile()})
    world.tools["A"].act("jane", {"first": "Jane", "last": "Doe", "mail": "jane@x.com"})
    world.capture("A")
    world.capture("B")
    world.resolve()
    world.clock.pass_time(5_000)
    world.capture("B")
    return world


def test_a_lease_is_held_until_it_runs_out() -> None:
    """Nobody else gets it while it is prolonged; afterwards the epoch grows."""
    world = World({"A": Profile()})
    first = taken(world, ONE)
    assert first == Lease(NAME, ONE, 1)
    assert taken(world, TWO) is None
    world.clock.pass_time(TTL_MS * 2 // 3)
    world.store.transact(lambda r: leases.check(r, first, world.clock()))
    world.clock.pass_time(TTL_MS * 2 // 3)
    assert taken(world, TWO) is None, "the check has prolonged it"
    world.clock.pass_time(TTL_MS)
    assert taken(world, TWO) == Lease(NAME, TWO, 2)


def test_a_lease_that_ran_out_holds_until_somebody_takes_it() -> None:
    """A slow step of a lone process is not thrown away."""
    world = World({"A": Profile()})
    first = taken(world, ONE)
    assert first is not None
    world.clock.pass_time(TTL_MS * 9)
    assert holder(world, first).env.commit(lambda _: "kept", "here") == "kept"


def test_a_paused_process_can_neither_commit_nor_send() -> None:
    """It has planned a create, sleeps, and wakes after another has started."""
    world = ready()
    old = holder(world, taken(world, ONE))
    link = Link(old, old.systems["B"], old.systems["B"].specs[PERSON])
    again = old.env.commit(lambda r: deliver.plan_creates(r, link), "plan")
    assert len(again) == 1
    new = holder(world, taken(world, TWO, at_once=True))
    with pytest.raises(LeaseLost):
        deliver.send(link, again)
    with pytest.raises(LeaseLost):
        old.env.commit(lambda r: deliver.receive(r, link, again, (), 0), "receipt")
    assert world.tools["B"].calls["write"] == 0
    assert new.env.commit(lambda r: deliver.recover(r, new), "start") == 1


@pytest.mark.parametrize("replaced", [True, False])
def test_no_further_call_goes_out_once_the_lease_has_moved(*, replaced: bool) -> None:
    """A write of several calls is paused after the first; alone, it goes on."""
    world, calls = World({"A": Profile()}), []
    old = holder(world, taken(world, ONE))

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        world.clock.pass_time(TTL_MS * 2)
        if replaced:
            assert taken(world, TWO)
        return httpx.Response(200, json={})

    budget = Budget(Limits(10, 1_000), world.clock, lambda _: None)
    client = HttpApi("http://tool", dict, budget, httpx.MockTransport(handler))
    api = leases.fenced(client, old.env)
    assert api.send("POST", "/first").status == 200
    if replaced:
        with pytest.raises(LeaseLost):
            api.send("POST", "/second")
    else:
        assert api.send("POST", "/second").status == 200
        assert api.send("POST", "/third").status == 200
    assert len(calls) == (1 if replaced else 3)


def test_who_may_send_has_time_for_it() -> None:
    """A lease that is about to run out is prolonged before the send: nobody gets it meanwhile."""
    world = World({"A": Profile()})
    old = holder(world, taken(world, ONE))
    world.clock.pass_time(TTL_MS * 2)
    leases.hold(old.env)
    world.clock.pass_time(TTL_MS // 2)
    assert taken(world, TWO) is None


def test_an_effect_of_a_lost_lease_keeps_nothing() -> None:
    """The check is part of the transaction: what the work had done before is undone."""
    world = World({"A": Profile()})
    old = holder(world, taken(world, ONE))
    taken(world, TWO, at_once=True)

    def work(rows: Rows) -> None:
        rows.upsert("meta", {"name": "x", "value": "y"})

    with pytest.raises(LeaseLost):
        old.env.commit(work, "here")
    assert world.store.view(lambda r: r.get("meta", name="x")) is None


def test_who_is_there_takes_again_what_it_has_let_go() -> None:
    """A loop that gave up, and whose lease nobody took, goes on with the next beat."""
    world = World({"A": Profile()})
    member = Member(world.env, "resolve", ("relay",), ONE)
    member.beat()
    first = member.held["relay"]
    member.forget("relay", first)
    assert member.beat() == {"relay"}
    assert member.held["relay"].epoch == first.epoch + 1
