"""History: who, what and by which rule, sealed under the record in which each value was typed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hub.io import history, state
from hub.io.rows import Rows
from hub.tools.world import World
from tests.stories.runner import tell

TOLD = """
tools A B
A.jane name="Jane Doe" email=jane@x.com phone="+1 202 555 0101"
B.jane name="Jane Doe" email=jane@x.com job_title=Nurse
sync
"""


def entries(world: World, system: str, native: str) -> list[dict[str, Any]]:
    """The history of a record's customer."""
    uid = world.uid(system, native)
    assert uid is not None

    def look(rows: Any) -> list[dict[str, Any]]:
        golden = state.golden_of(rows, uid)
        return history.entries(rows, world.hub, golden.uid if golden else uid)

    return world.store.view(look)


def values(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The latest value of each cell."""
    return {c["cell"]: c["after"] and c["after"]["value"] for e in found for c in e["changes"]}


def forget(rows: Rows, uid: str) -> None:
    """Throw a record's key away."""
    rows.lock([uid])
    rows.update("subject_key", {"uid": uid}, {"wrapped": b""})


def test_an_erased_record_takes_its_own_values_out_of_history_only() -> None:
    """Whoever erases the record of one tool leaves what was typed in another readable."""
    world = tell(TOLD).world
    assert values(entries(world, "A", "jane"))["job_title"] == "Nurse"
    gone = world.uid("B", "jane") or ""
    world.store.transact(lambda r: forget(r, gone))
    left = entries(world, "A", "jane")
    assert "job_title" not in values(left)
    assert values(left)["phone"] == "+12025550101"
    assert sum(e["erased"] for e in left) >= 1
    assert not world.store.view(lambda rows: list(every_finding(rows)))


def every_finding(rows: Any) -> Iterator[history.Finding]:
    """What verify would say."""
    for lane in range(history.LANES):
        yield from history.check_lane(rows, lane)


def test_history_names_the_inputs_of_its_own_records_only() -> None:
    """A batch of many customers leaves each with its own causes, and says who typed."""
    world = tell(TOLD + 'A.bob name="Bob Roe" email=bob@y.com\n').world
    for native in ("jane", "bob"):
        uid = world.uid("A", native)
        found = entries(world, "A", native)
        owners = {cause.partition(":")[0] for e in found for cause in e["causes"]}
        assert uid in owners
        assert owners <= {uid, world.uid("B", "jane" if native == "jane" else "B-2")}
    last = {c["cell"]: c["after"] for e in entries(world, "A", "bob") for c in e["changes"]}
    assert last["email"]["by"]["kind"] == "person"


def test_one_trace_leads_from_the_edit_to_the_write_in_the_other_tool() -> None:
    """Change event, golden event, write and receipt of one edit carry one trace id."""
    world = tell(TOLD).world
    before = trace_ids(world)
    world.tools["A"].act("jane", {"title": "Surgeon"})
    world.sync()
    topics: dict[str, set[str]] = {}
    for trace, topic in trace_ids(world) - before:
        topics.setdefault(trace, set()).add(topic)
    assert {"cdc.A.people", "golden.person", "cdc.B.people"} in topics.values()


def trace_ids(world: World) -> set[tuple[str, str]]:
    """Trace id and topic of everything on the log."""
    found = world.store.view(lambda rows: rows.select("log"))
    return {(row["headers"]["traceparent"].split("-")[1], row["topic"]) for row in found}
