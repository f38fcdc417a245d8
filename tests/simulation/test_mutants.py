"""Deliberately broken hubs: each must be caught, by a seed of the simulation or by a story.

A mutant replaces one function for the length of a test. When one gets through, the promise behind
it is not tested any more.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from httpx import codes
from msgspec.structs import replace

from connectors._kit.contract import Answer, Unavailable
from connectors._kit.fieldmap import FieldMap, Taken
from connectors._kit.simtool import PERSON, Profile
from connectors.hubspot import answers
from connectors.hubspot import connector as hubspot
from hub import capture, deliver, inputs
from hub.pure import compare, consent, fold, survivorship
from hub.pure.model import Cell, Claim, Input, Observation, Record
from hub.tools.simulate import simulate
from hub.tools.world import World
from tests.connectors.hubspot import test_follow
from tests.stories.runner import StoryError, tell

STORIES = Path(__file__).parents[1] / "stories"
STEPS = 120


@contextmanager
def broken(place: Any, name: str, instead: Any) -> Iterator[None]:
    """One function replaced."""
    honest = getattr(place, name)
    setattr(place, name, instead)
    try:
        yield
    finally:
        setattr(place, name, honest)


# -- the broken functions ------------------------------------------------------------------------


def answer_blindly(link: Any, writes: Any) -> tuple[Answer, ...]:
    """A time-out counts as not applied: the create is sent again without looking."""
    try:
        found: tuple[Answer, ...] = link.system.connector.write(link.system.api, link.spec, writes)
    except Unavailable as error:
        return tuple(Answer("retry", why=str(error)) for _ in writes)
    return found


def any_opt_in(cell: str, members: Any, component: Any) -> Any:
    """Consent is in as soon as anybody has it."""
    found = consent_effective(cell, members, component)
    held = [m.cell(cell).observed for m in members]
    some = any(isinstance(h, dict) and h.get("state") == "in" for h in held)
    return replace(found, value="in") if found and some else found


consent_effective = consent.effective


def by_content(record: Any, seen: Any, hub: Any) -> bool:
    """A reading equal to anything ever claimed is taken for known."""
    known = {repr(c.raw) for cell in record.cells.values() for c in cell.claims}
    fresh = {repr(v) for n, v in seen.values.items()
             if record.cell(n).known and record.cell(n).observed != v}  # fmt: skip
    return honest_nothing_new(record, seen, hub) or (bool(fresh) and fresh <= known)


honest_nothing_new = inputs.nothing_new


def echo_for_ever(record: Any, seq: int, name: str, raw: Any, seen: Any, terms: Any) -> Cell:
    """Whatever equals what was sent once is taken for our own echo, also later."""
    cell: Cell = record.cell(name)
    if cell.known and cell.synced and raw == cell.synced.sent and raw is not None:
        return replace(cell, observed=raw)
    found: Cell = honest_look(record, seq, name, raw, seen, terms)
    return found


honest_look = fold.look


def last_of_any_status(cell: Cell) -> Claim | None:
    """A quarantined claim displaces the one before it."""
    return cell.claims[-1] if cell.claims else None


def losers_conflict(name: str, cell: Cell, golden: Any, wanted: Any, uid: str, tool: Any) -> Any:
    """An edit that lost is called a conflict for ever, and never written back."""
    claim = cell.claim()
    if claim and golden.winner and golden.winner[0] != uid and cell.observed != wanted:
        return "conflict", ""
    return honest_judge(name, cell, golden, wanted, uid, tool)


honest_judge = compare.judge


def forget(*_: Any) -> int:
    """2xx is said, nothing is kept."""
    return 1


def looked_once(rows: Any, link: Any, **more: Any) -> Any:
    """What a link needed before its record was read is what is done to it afterwards."""
    here = (link.system.name, link.spec.object)
    if here in looks:
        found = looks.pop(here)
        rows.lock(one.record.uid for one in found if isinstance(one, deliver.Plan))
        return found
    if found := honest_deliver_look(rows, link, **more):
        looks[here] = found
    return found


looks: dict[tuple[str, str], Any] = {}
honest_deliver_look = deliver.look


def lost_is_lost(record: Any, *_: Any) -> Any:
    """A reading that shows what was sent proves nothing."""
    return None if record.intent and record.intent.unknown_at else record


def nothing(*_: Any) -> None:
    """No objection."""


def of_copies(cell: str, members: list[Record], _rule: object) -> list[survivorship.Bid]:
    """Golden counts what tools hold, also what the hub itself wrote there."""
    held = [(m, m.cell(cell)) for m in members]
    return [
        survivorship.Bid(m.uid, 0, Claim(m.folded, c.observed, None, m.read_end))
        for m, c in held
        if c.known and c.observed is not None
    ]


def all_done(spec: Any, reply: Any, rows: Any) -> dict[str, Answer]:
    """A batch of which some rows failed counts as done."""
    found = honest_settled(spec, reply, rows)
    mixed = {t: Answer("done", w.native_id) for t, w in rows.items() if found[t].outcome != "done"}
    return found | mixed if reply.status == codes.MULTI_STATUS else found


honest_settled = answers.settled


def absent_is_cleared(self: FieldMap, app: Any) -> Taken:
    """What a reading does not speak of is taken for empty."""
    found = honest_take(self, app)
    return Taken({**dict.fromkeys(self.by_name), **found.values}, found.unknown, found.ext)


honest_take = FieldMap.take


def by_time_alone(at: Any, now: int, _last: int, *, more: bool) -> Any:
    """After a full page it goes on behind the last time, past others with the same stamp."""
    del more
    return dataclasses.replace(at, since=now, until=0, last=0, sweeping=now >= at.due)


# -- each with what catches it -------------------------------------------------------------------

SEEDS = range(40)
BY_SEED: dict[str, tuple[Any, str, Any]] = {
    "acknowledge before commit": (capture, "accept", forget),
    "unknown outcomes are never settled": (fold, "settle_by_reading", lost_is_lost),
    "errors of a 207 are ignored": (hubspot, "settled", all_done),
    "absent means cleared": (FieldMap, "take", absent_is_cleared),
}
BY_STORY: dict[str, tuple[Any, str, Any, str]] = {
    "cover beats authority": (
        survivorship.STRATEGIES, "authority", survivorship.newest, "model-01"),
    "an edit that lost is a conflict": (compare, "judge", losers_conflict, "model-02"),
    "a settled intent explains later readings": (fold, "look", echo_for_ever, "model-07"),
    "a reading that shows the sent value is no proof": (
        fold, "proves", lambda *_: False, "model-08"),
    "refusals are forgotten after a split": (
        consent, "counts_for", lambda *_: False, "model-10"),
    "survivorship over copies instead of claims": (
        survivorship, "bids", of_copies, "model-12"),
    "a refusal proves a write": (
        fold, "telling", lambda sends: sends, "same-refusal-is-no-proof"),
    "copies that nobody claims stay": (
        compare, "unclaimed", lambda *_: ("unexplained", ""), "model-12"),
    "a lagging tool is believed at once": (fold, "unsettled", nothing, "stale-read-after-write"),
    "a quarantined claim displaces": (Cell, "claim", last_of_any_status, "model-16"),
    "our copies are blanked": (
        deliver, "judge_unclaimed", lambda *_, **__: None, "model-27"),
    "golden is not computed again before the send": (
        deliver, "look", looked_once, "model-22"),
    "nobody reads before writing": (deliver, "moved", lambda *_: False, "model-23"),
    "consent is in when anybody says so": (consent, "effective", any_opt_in, "model-09"),
    "retry a create without reading back": (
        deliver, "ask_tool", answer_blindly, "create-answer-lost-without-an-e-mail"),
    "deduplication by content": (inputs, "nothing_new", by_content, "there-and-back"),
}  # fmt: skip


@contextmanager
def mutant(place: Any, name: str, instead: Any) -> Iterator[None]:
    """A broken function, or a broken entry of a table."""
    if isinstance(place, dict):
        honest = place[name]
        place[name] = instead
        try:
            yield
        finally:
            place[name] = honest
    else:
        with broken(place, name, instead):
            yield


@pytest.fixture(autouse=True)
def quiet_log() -> None:
    """Failures of steps are the point here, not news."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.mark.parametrize("name", BY_SEED)
def test_a_seed_catches(name: str) -> None:
    """Within a few seeds a promise is seen to break."""
    place, attribute, instead = BY_SEED[name]
    with mutant(place, attribute, instead):
        assert any(fails(lambda seed=seed: simulate(seed, STEPS)) for seed in SEEDS), name  # type: ignore[misc]


def fails(run: Callable[[], Any]) -> bool:
    """Whether a run breaks a promise, or breaks altogether."""
    try:
        return not run().ok
    except Exception:  # noqa: BLE001  a mutant may break anything
        return True


@pytest.mark.parametrize("seed", range(2))
def test_a_cursor_without_ids_is_caught(seed: int) -> None:
    """Who follows changes by time alone misses some of those with equal stamps."""
    with broken(hubspot, "_after_search", by_time_alone), pytest.raises(AssertionError):
        test_follow.test_a_follower_converges(seed)


def late_reading() -> Record:
    """A record after a reading, and another one that began earlier and came later."""
    world = World({"A": Profile()})
    terms = world.hub.context.terms(blank := Record("u", "person", "A", PERSON))
    newer = Input("u", 1, Observation(start=10, end=20, values={"note": "new"}))
    older = Input("u", 2, Observation(start=5, end=8, values={"note": "old"}))
    return fold.fold(fold.fold(blank, newer, terms).record, older, terms).record


def test_last_arrival_wins_is_caught() -> None:
    """What began earlier never replaces what was read later, in whatever order both come."""
    assert late_reading().cell("note").observed == "new"
    with broken(fold, "older", nothing):
        assert late_reading().cell("note").observed == "old"


@pytest.mark.parametrize("name", BY_STORY)
def test_a_story_catches(name: str) -> None:
    """The story that tells of this mistake fails when it is made."""
    place, attribute, instead, story = BY_STORY[name]
    text = (STORIES / f"{story}.story").read_text()
    tell(text)
    with mutant(place, attribute, instead), pytest.raises((StoryError, AssertionError)):
        tell(text)
