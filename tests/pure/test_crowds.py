"""What a crowd shares asks nobody: the same edges in any order, also when it shrinks again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors._kit.simtool import PERSON, Profile
from hub import replay
from hub.io.rows import Store
from hub.pure.model import Actor, Decision, Input, Observation, Record
from hub.tools.world import World, rules_for

UIDS = [f"01a0c450-7f5a-75b1-a522-00000000000{n}" for n in range(6)]
NUMBERS = ["+12025550101", "+12025550102"]
SHARED = {
    "phone": st.sampled_from(NUMBERS),
    "email": st.sampled_from(["ann@x.com", "bob@x.com"]),
    "name": st.sampled_from([{"given": "Ann", "family": "Li"}, {"given": "Bo", "family": "Wu"}]),
    "birth_date": st.just("1990-01-01"),
}
WORLD = World({"A": Profile(), "B": Profile()}, rules=replace(rules_for("AB"), crowd=4))


@st.composite
def histories(draw: st.DrawFn) -> list[Input]:
    """Records that share this and that, until somebody strikes it out again."""
    found: list[Input] = []
    for uid in UIDS:
        values = draw(st.lists(st.fixed_dictionaries({}, optional=SHARED), min_size=1, max_size=2))
        bodies: list[Any] = [
            Observation(n * 1_000, n * 1_000, shown) for n, shown in enumerate(values, 1)
        ]
        struck = draw(st.lists(st.sampled_from(["phone", "name"]), max_size=2))
        bodies += [
            Decision(9_000, "retract", f"{uid}{n}", Actor("steward"), cell=cell, claim=1)
            for n, cell in enumerate(struck)
        ]
        found += [Input(uid, n, body) for n, body in enumerate(bodies, 1)]
    return found


def refolded(inputs: Sequence[Input], batch: int) -> Store:
    """The store after these inputs, in batches."""
    births = [Record(u, "person", "AB"[n % 2], PERSON, native_id=f"n{n}")
              for n, u in enumerate(UIDS)]  # fmt: skip
    return replay.refold(WORLD.hub, births, inputs, batch)


def known(store: Store) -> tuple[list[Any], list[bytes]]:
    """Every edge, and every golden record."""
    return store.view(lambda rows: rows.select("edge")), WORLD.exported(store)


@given(histories(), st.randoms(use_true_random=False))
def test_a_crowd_that_grows_and_shrinks_leaves_the_same_edges_in_any_order(
    inputs: list[Input], dice: random.Random
) -> None:
    """In any batches as well, one of which is everything at once."""
    whole = known(refolded(inputs, 100))
    assert known(refolded(inputs, 1)) == whole
    order = list(UIDS)
    dice.shuffle(order)
    for batch in (1, 3):
        assert known(refolded(replay.interleave(inputs, order), batch)) == whole


def test_a_number_of_a_few_is_a_question_and_that_of_a_crowd_is_none() -> None:
    """It is one again when the crowd has shrunk."""

    def number(uid: str) -> Input:
        return Input(uid, 1, Observation(1_000, 1_000, {"phone": NUMBERS[0]}))

    def struck(uid: str) -> Input:
        actor = Actor("steward")
        return Input(uid, 2, Decision(2_000, "retract", "d", actor, cell="phone", claim=1))

    for inputs, pairs in (
        ([number(u) for u in UIDS[:3]], 3),
        ([number(u) for u in UIDS], 0),
        ([*map(number, UIDS), *map(struck, UIDS[3:])], 3),
    ):
        assert len(known(refolded(inputs, 1))[0]) == pairs


def test_a_switchboard_makes_no_work() -> None:
    """A hundred persons with one number are a hundred customers, and nobody is asked."""
    world = World({"A": Profile(page=200), "B": Profile(page=200)})
    for n in range(100):
        world.tools["A"].act(f"p{n}", {"first": "P", "last": f"Q{n}", "tel": "+12025550101"})
    world.sync(100)
    assert world.store.view(lambda rows: rows.count("task", {"state": "open"})) == 0
    assert world.store.view(lambda rows: rows.count("edge", {"outcome": "ask"})) == 0
    assert len(world.tools["B"].living()) == 100
