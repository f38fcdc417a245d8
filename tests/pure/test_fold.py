"""The fold of one record: what counts, what is refused, and what an edit has seen."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors._kit.simtool import PERSON, Profile
from hub.pure.fold import Terms, fold
from hub.pure.model import Body, Input, Intent, Observation, Receipt, Record, Sent, Vector, Version
from hub.tools.world import World

WORLD = World({"A": Profile(settle_ms=5)})
BLANK = Record("u", "person", "A", PERSON, native_id="jane")


def terms() -> Terms:
    """What the fold is told of the tool."""
    return WORLD.hub.context.terms(BLANK)


def folded(*bodies: Body) -> Record:
    """The record after these inputs."""
    record = BLANK
    for seq, body in enumerate(bodies, 1):
        record = fold(record, Input("u", seq, body), terms()).record
    return record


def seen(start: int, note: str | None, **more: Any) -> Observation:
    """A reading of one moment."""
    return Observation(start=start, end=start, values={"note": note}, **more)


def sent(value: str, vector: Vector) -> dict[str, Sent]:
    """One sent cell."""
    return {"note": Sent(value, Version(vector, 0), before="old")}


def writing(at: int) -> Intent:
    """A write of `ours`, about to be sent."""
    return Intent(at, "update", sent("ours", {"v": 1}), ("u", "v"), "u", "key")


def test_a_reading_between_plan_and_receipt_proves_nothing() -> None:
    """A person may have typed the very value that was about to be sent (model 24)."""
    for n in (12, 14):
        record = folded(seen(1, "old"), writing(10), seen(n, "ours"))
        assert record.intent is not None
        assert record.cell("note").observed == "old"
    called_off = folded(seen(1, "old"), writing(10), Receipt("not_sent", 15, 15), seen(20, "ours"))
    claim = called_off.cell("note").claim()
    assert claim is not None
    assert claim.value == "ours", "it is their own"


def test_proof_counts_from_the_receipt_that_the_outcome_is_unknown() -> None:
    """A reading begun before nobody knew any more settles nothing; one after it does."""
    unknown = Receipt("unknown", 20, 20)
    early = folded(seen(1, "old"), writing(10), unknown, seen(20, "ours"))
    assert early.intent is not None
    later = folded(seen(1, "old"), writing(10), unknown, seen(21, "ours"))
    assert later.intent is None
    assert later.cell("note").synced is not None


def test_a_form_that_the_tool_made_of_our_value_is_nobodys_edit() -> None:
    """Of an unknown write too: it proves the write, and is observed without a claim."""
    ours = {"phone": Sent("+12025550107", Version({"v": 1}, 0), before="+12025550106")}
    said = Intent(10, "update", ours, ("u", "v"), "u", "key")

    def shows(phone: str, at: int) -> Observation:
        return Observation(start=at, end=at, values={"phone": phone})

    start = (shows("+1 202 555 0106", 1), said, Receipt("unknown", 20, 20))
    record = folded(*start, shows("+1 2025550107", 40))
    cell = record.cell("phone")
    assert record.intent is None
    assert (cell.observed, cell.synced and cell.synced.answered) == ("+1 2025550107",) * 2
    assert [c.value for c in cell.claims] == ["+12025550106"]
    typed = folded(*start, shows("+1 202 555 0108", 40)).cell("phone").claim()
    assert typed is not None
    assert typed.value == "+12025550108"


def test_only_a_reading_one_settle_time_later_proves_that_nothing_was_applied() -> None:
    """The old value shown at once may be an older state of the tool."""
    unknown = Receipt("unknown", 20, 20)
    assert folded(seen(1, "old"), writing(10), unknown, seen(22, "old")).intent is not None
    assert folded(seen(1, "old"), writing(10), unknown, seen(26, "old")).intent is None


def test_what_began_earlier_never_replaces_what_was_read_later() -> None:
    """A delayed reading that is taken in late is superseded, whatever it shows."""
    newer = Observation(start=10, end=20, values={"note": "new"})
    record = folded(seen(1, "old"), newer, Observation(start=5, end=8, values={"note": "late"}))
    assert record.cell("note").observed == "new"


def test_a_merge_in_the_tool_is_believed_whatever_revision_the_record_had() -> None:
    """Whoever notes the merge may know of no revision yet: the first reading waits to be folded."""
    gone = Observation(start=20, end=21, state="merged", successor="v")
    assert folded(seen(1, "old", revision=(1, 7)), gone).state == "merged"
    late = Observation(start=0, end=0, state="merged", successor="v")
    assert folded(seen(1, "old", revision=(1, 7)), late).state == "live"


def test_a_record_that_ours_was_merged_into_has_cleared_nothing() -> None:
    """It never held what was written to the other one; what it holds itself was typed there."""
    start = (writing(10), Receipt("applied", 20, 21, {"note": "ours"}, native_id="jane"))
    for shown, claimed in ((None, []), ("theirs", ["theirs"])):
        merged = folded(*start, seen(40, shown, native_id="joe")).cell("note")
        assert merged.observed == shown
        assert [c.value for c in merged.claims] == claimed
    cleared = folded(*start, seen(40, None, native_id="jane")).cell("note")
    assert [c.value for c in cleared.claims] == [None]


def test_an_older_revision_never_replaces_a_newer_one() -> None:
    """Where the tool counts revisions, they decide, not the clock of the reading."""
    record = folded(seen(1, "new", revision=(0, 7)), seen(9, "late", revision=(0, 6)))
    assert record.cell("note").observed == "new"


@given(st.lists(st.sampled_from("abc") | st.tuples(st.integers(1, 5), st.integers(1, 5))))
def test_what_an_edit_covers_is_closed(steps: list[Any]) -> None:
    """Whoever types over a value has seen all that the value had seen (model 6)."""
    bodies: list[Body] = []
    shown = "old"
    for at, step in enumerate(steps, 2):
        if isinstance(step, str):
            shown = f"{step}{at}"
            bodies.append(seen(at * 10, shown))
        else:
            agreed = {"note": Sent(shown, Version({"v": step[0], "w": step[1]}, 0))}
            bodies.append(Receipt("agrees", at * 10, at * 10, {"note": shown}, agreed, ("u", "v")))
    claims = folded(seen(1, "old"), *bodies).cell("note").claims
    for before, after in pairwise(claims):
        assert after.covers.get("u") == before.seq
        assert all(after.covers.get(uid, 0) >= seq for uid, seq in before.covers.items())


def test_a_refusal_seen_by_nobody_is_not_covered_by_an_unknown_write() -> None:
    """Consent alone does not count as seen when nobody knows whether it was written (model 22)."""
    name = "consent[email.marketing]"
    refusal = {name: Sent("out", Version({"v": 3}, 0)), **sent("ours", {"v": 1})}
    write = Intent(10, "update", refusal, ("u", "v"), "u", "key")
    opted = {"note": "ours", "consent": {"email.marketing": {"state": "in", "proof": "p"}}}
    record = folded(
        seen(1, "old"), write, Receipt("unknown", 20, 20),
        Observation(start=21, end=21, values=opted))  # fmt: skip
    claim = record.cell(name).claim()
    assert claim is not None
    assert claim.value == "in"
    assert "v" not in claim.covers
