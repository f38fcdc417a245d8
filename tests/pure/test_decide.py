"""The laws of `decide`, over random inputs of a few records of two tools."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from connectors._kit.simtool import PERSON, Profile
from hub import replay, resolve
from hub.io.rows import Store
from hub.pure.decide import Loaded, decide, fold_all, need
from hub.pure.model import (
    Actor,
    Decision,
    Input,
    Intent,
    Observation,
    Receipt,
    Record,
    Sent,
    Version,
)
from hub.tools.world import World

UIDS = [f"01a0c450-7f5a-75b1-a522-00000000000{n}" for n in range(4)]
MAILS = st.sampled_from(["ann@x.com", "bob@x.com", None])
NAMES = st.sampled_from([{"given": "Ann", "family": "Li"}, {"given": "Bo", "family": "Li"}])
PHONES = st.sampled_from(["+12025550101", "202 555 0102", None, "nonsense"])


CONSENT = st.sampled_from(
    ["out", {"state": "in", "proof": "p"}, {"state": "in", "proof": "q"}]
).map(lambda state: {"email.marketing": state})


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """A reading that may be late, partial, of a snapshot, or of a record that is gone."""
    start = draw(st.integers(1, 50)) * 1_000
    values = draw(
        st.fixed_dictionaries(
            {}, optional={"email": MAILS, "name": NAMES, "phone": PHONES,
                          "tags": st.lists(st.sampled_from(["a", "b"]), unique=True),
                          "consent": CONSENT})
    )  # fmt: skip
    return Observation(
        start=start, end=start + draw(st.integers(0, 900)), values=values,
        state=draw(st.sampled_from(["live", "live", "live", "deleted"])),
        snapshot=draw(st.booleans()), source_ms=draw(st.none() | st.integers(1, 60_000)),
    )  # fmt: skip


@st.composite
def agreements(draw: st.DrawFn) -> Receipt:
    """A note that tool and golden were equal, with some version."""
    at = draw(st.integers(1, 50)) * 1_000
    vector = draw(st.dictionaries(st.sampled_from(UIDS), st.integers(1, 4), max_size=2))
    value = draw(PHONES)
    sent = Sent(value, Version(vector, at))
    return Receipt("agrees", at, at, {"phone": value}, {"phone": sent}, tuple(UIDS[:2]))


@st.composite
def writes(draw: st.DrawFn) -> Intent | Receipt:
    """A write that is said, or what came of it; of refusals too."""
    at = draw(st.integers(1, 50)) * 1_000
    members = tuple(sorted(draw(st.sets(st.sampled_from(UIDS), min_size=1, max_size=3))))
    vector = draw(st.dictionaries(st.sampled_from(UIDS), st.integers(1, 4), max_size=2))
    cell, value = draw(st.sampled_from([("phone", "+12025550101"), (REFUSED, "out")]))
    sends = {cell: Sent(value, Version(vector, at))}
    if draw(st.booleans()):
        return Intent(at, "update", sends, members, members[0], f"k{at}")
    outcome = draw(st.sampled_from(["applied", "rejected", "not_sent", "unknown"]))
    return Receipt(outcome, at, at, {cell: value})  # type: ignore[arg-type]


REFUSED = "consent[email.marketing]"


@st.composite
def verdicts(draw: st.DrawFn) -> Decision:
    """A steward's word on two records."""
    act = draw(st.sampled_from(["same", "different"]))
    at = draw(st.integers(1, 50))
    return Decision(at, act, f"v{at}", Actor("steward"), other=draw(st.sampled_from(UIDS)))


@st.composite
def histories(draw: st.DrawFn) -> list[Input]:
    """Some inputs for each of a few records, in their sequences."""
    found: list[Input] = []
    for uid in UIDS:
        bodies = draw(st.lists(observations() | agreements() | writes() | verdicts(), max_size=4))
        kept = [b for b in bodies if not (isinstance(b, Decision) and b.other == uid)]
        found += [Input(uid, n, body) for n, body in enumerate(kept, 1)]
    return found


WORLD = World({"A": Profile(), "B": Profile()})


def births() -> list[Record]:
    """Two records in each tool."""
    return [Record(u, "person", "AB"[n % 2], PERSON, native_id=f"n{n}")
            for n, u in enumerate(UIDS)]  # fmt: skip


def folded(inputs: Sequence[Input], batch: int) -> list[bytes]:
    """The export after these inputs, in batches."""
    return WORLD.exported(refolded(inputs, batch))


def refolded(inputs: Sequence[Input], batch: int) -> Store:
    """The store after these inputs, in batches."""
    return replay.refold(WORLD.hub, births(), inputs, batch)


@given(histories())
def test_a_batch_of_n_equals_n_batches_of_one(inputs: list[Input]) -> None:
    """How inputs are cut into batches changes nothing."""
    assert folded(inputs, 100) == folded(inputs, 1) == folded(inputs, 3)


@given(histories(), st.randoms(use_true_random=False))
def test_inputs_of_different_records_commute(inputs: list[Input], dice: random.Random) -> None:
    """Any order that keeps each record's own sequence gives the same."""
    order = list(UIDS)
    dice.shuffle(order)
    assert folded(inputs, 2) == folded(replay.interleave(inputs, order), 2)


@given(histories())
def test_the_same_input_again_gives_nothing(inputs: list[Input]) -> None:
    """A redelivered input changes no golden record, makes no history, marks nothing."""
    store = refolded(inputs, 10)
    still = replace(WORLD.hub, env=replay.Still(WORLD.env, store))
    effects = store.transact(lambda rows: resolve.answer(rows, still, inputs, ()))
    assert not effects.records
    assert not effects.statuses
    assert not effects.history
    assert not effects.dirty


@given(histories())
def test_state_after_applying_equals_state_read_back(inputs: list[Input]) -> None:
    """Deciding all again from what was stored finds nothing to change."""
    store = refolded(inputs, 10)
    still = replace(WORLD.hub, env=replay.Still(WORLD.env, store))
    touched = {i.uid for i in inputs}
    effects = store.transact(lambda rows: resolve.answer(rows, still, (), touched))
    assert not effects.history
    assert not effects.groups


def agreed(*members: str) -> Receipt:
    """A note that these records are one customer, and equal."""
    return Receipt("agrees", 5_000, 5_000, members=members)


def mail(text: str, at: int = 1_000) -> Observation:
    """A reading of an address."""
    return Observation(start=at, end=at, values={"email": text})


def test_whoever_was_once_delivered_as_one_stays_so_within_a_batch_too() -> None:
    """The members of every agreement count, not only of the last one of a batch."""
    one, two = UIDS[:2]
    inputs = [
        Input(one, 1, mail("a@x.com")),
        Input(one, 2, agreed(one, two)),
        Input(one, 3, agreed(one)),
        Input(two, 1, mail("b@x.com")),
    ]
    assert folded(inputs, 100) == folded(inputs, 1)


def test_a_refusal_speaks_for_its_members_in_any_batch() -> None:
    """Also where no other edge leads to them."""
    one, two = UIDS[:2]
    refused = Observation(10_000, 10_000, {"consent": {"email.marketing": "out"}})
    proven = {"consent": {"email.marketing": {"state": "in", "proof": "p"}}}
    inputs = [
        Input(one, 1, mail("a@x.com")),
        Input(one, 2, Intent(5_000, "update", {}, (one, two), one, "k")),
        Input(one, 3, Receipt("not_sent", 6_000, 6_000)),
        Input(one, 4, refused),
        Input(two, 1, Observation(20_000, 20_000, proven)),
    ]
    assert folded(inputs, 100) == folded(inputs, 1)


def test_a_write_and_its_end_ask_for_nobody_else() -> None:
    """They change nothing that other records are decided by: none is read, none decided again."""
    one = UIDS[0]
    known = folded_by_itself(Input(one, 1, mail("a@x.com")))
    said = Intent(5_000, "update", {"phone": Sent("+12025550101", Version())}, (one,), one, "k")
    ended = Receipt("applied", 6_000, 6_001, {"phone": "+12025550101"})
    inputs = [Input(one, 2, said), Input(one, 3, ended)]
    loaded = Loaded(records={one: replaced(known, delivered=(one,))})
    assert not need(inputs, (), loaded, WORLD.hub.context, {})
    effects = decide(inputs, (), loaded, WORLD.hub.context, {})
    assert effects.records[one].cell("phone").observed == "+12025550101"
    assert effects.dirty == effects.ended == {one}
    assert not effects.regroup


def test_a_first_write_asks_for_those_it_was_delivered_with() -> None:
    """From then on they belong together."""
    one, two = UIDS[:2]
    known = folded_by_itself(Input(one, 1, mail("a@x.com")))
    said = Input(one, 2, Intent(5_000, "update", {}, (one, two), one, "k"))
    ended = Input(one, 3, Receipt("applied", 6_000, 6_001, members=(one, two)))
    loaded = Loaded(records={one: known})
    assert not need([said], (), loaded, WORLD.hub.context, {})
    loaded.batch = None
    assert need([said, ended], (), loaded, WORLD.hub.context, {}).edges_of == {one, two}


def folded_by_itself(item: Input) -> Record:
    """A record after its first input."""
    born = {r.uid: r for r in births()}
    batch = fold_all([item], Loaded(), WORLD.hub.context, born)
    return batch.after[item.uid]
