"""The demo: two sandboxed tools, one hub, and proof that both say the same in the end.

The proof is read over the tools' own APIs and compared with golden values that the hub exported;
whether two records are one customer is judged by the generator, which knows.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors._kit import population, serve
from connectors._kit.serve import Served
from connectors.hubspot.population import FIRST_ID, STEP
from connectors.stripe.sandbox import customer_id
from hub import commands, explain, opening, runs
from hub.env import Hub, System
from hub.io import state
from hub.listeners import wait_for
from hub.logs import be_quiet
from hub.opening import Folder
from hub.running import Running, running

SYSTEMS = ("hubspot", "stripe")
PLACES: Mapping[str, Callable[[int], str]] = {
    "hubspot": lambda place: str(FIRST_ID + STEP * place),
    "stripe": customer_id,
}
EXCEPTIONS: Mapping[str, str] = {
    "altered": "altered",
    "unwritable": "unwritable",
    **dict.fromkeys(("quarantined", "pending", "conflict", "unexplained"), "waits for a decision"),
}
MOST_EXCEPTIONS, LEAST_LINKED = 0.02, 0.95
PATIENCE = 300
TELL_SECONDS = 5


def say(text: str) -> None:
    """Tell the person who watches."""
    print(text, flush=True)  # noqa: T201  it is what the demo is for


def run(seed: int, customers: int, wait: Callable[[], None] | None) -> bool:
    """The whole demo; with `wait` it stays up until that returns. Whether everything is proven."""
    be_quiet()
    place = Path(tempfile.mkdtemp(prefix="synchub-demo-"))
    served = serve.start(SYSTEMS, seed, customers)
    try:
        serve.describe(served, place / "sandboxes.json")
        return tour(Folder(place), served, seed, customers, wait)
    finally:
        for one in served.values():
            one.stop()
        shutil.rmtree(place, ignore_errors=True)


def tour(
    folder: Folder,
    served: Mapping[str, Served],
    seed: int,
    customers: int,
    wait: Callable[[], None] | None,
) -> bool:
    """Connect, plan, apply, edit, prove."""
    say(
        f"1. Two sandboxed tools with {customers} customers between them: "
        + ", ".join(f"{n} at {s.base_url}" for n, s in served.items())
    )
    opening.init(folder, opening.read_description(folder.path / "sandboxes.json"), (0, 0))
    with running(folder) as up:
        run_id = plan(up, served)
        apply(up, run_id)
        good = all([edit(up, served, one) for one in edits(up, seed, customers)])  # noqa: C419  all of them
        proof = prove(up, seed, customers)
        report(proof)
        if wait:
            say(
                f"The hub stays up; look around with: synchub status --dir {folder.path}. "
                "Ctrl-C ends it."
            )
            wait()
    return good and proof.good


# -- plan and apply ----------------------------------------------------------------------------


def plan(up: Running, served: Mapping[str, Served]) -> str:
    """Read everything, show what would be written, write nothing."""
    hub, began = up.opened.hub, time.monotonic()
    done = [(s, o.object) for s, system in hub.systems.items() for o in system.specs.values()]
    wait_for(lambda: all(runs.snapshot_done(hub, *d) for d in done) and idle(hub), PATIENCE)
    answer = commands.plan(hub)
    writes = {n: s.host.state()["calls"]["write"] for n, s in served.items()}
    say(
        f"2. Read in {time.monotonic() - began:.1f} s; the plan (nothing written: the tools "
        f"counted {sum(writes.values())} writes):"
    )
    for row in answer["rows"][:6]:
        cells = "; ".join(f"{c['cell']} → {in_words(c['to'])}" for c in row["cells"][:3])
        say(f"     {row['system']} {row['op']} {row['record']}: {cells}")
    say(
        f"     … {len(answer['rows'])} rows: "
        + ", ".join(f"{n} x {k}" for k, n in answer["totals"].items())
        + f"; {answer['created_nowhere']} possible duplicates are left to a steward"
    )
    return str(answer["run"])


def in_words(value: Any) -> str:
    """A value on one line."""
    parts = value.values() if isinstance(value, dict) else [value]
    return ", ".join(str(v) for v in parts if v not in (None, "")) or "(empty)"


def idle(hub: Hub) -> bool:
    """Whether everything that was read is resolved."""
    return hub.env.view(
        lambda rows: not rows.count("input", {"status": "pending"}) and not rows.count("outbox")
    )


def apply(up: Running, run_id: str) -> None:
    """Write the plan's rows and wait until they are in the tools."""
    hub, began = up.opened.hub, time.monotonic()
    counted = commands.apply(hub, run_id)

    told = time.monotonic()
    while (found := commands.progress(hub, run_id))["open"] and told - began < PATIENCE:
        time.sleep(1)  # asking takes time from those who do the work
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            say(f"     {found['done']} of {found['rows']} rows")
    say(f"3. Applied: {counted['released']} rows in {time.monotonic() - began:.1f} s")
    settle(hub)


def settle(hub: Hub) -> bool:
    """Wait until nothing is on its way."""
    return wait_for(lambda: hub.env.view(runs.quiet), PATIENCE)


# -- edits -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """Something a person does in one tool, and what must be seen in the other."""

    what: str
    system: str
    object: str
    native_id: str
    fields: Mapping[str, Any]
    cell: str
    want: Any
    other: str


def edits(up: Running, seed: int, customers: int) -> Iterator[Edit]:
    """A few edits of customers that both tools have."""
    pairs = linked_pairs(up.opened.hub, seed, customers)
    (h1, s1), (h2, s2), (h3, s3) = (next(pairs) for _ in range(3))
    yield Edit(
        "an address is corrected in billing",
        "stripe",
        "customers",
        s1,
        {
            "address": {
                "line1": "5 New Street",
                "line2": "",
                "city": "Leeds",
                "state": "",
                "postal_code": "LS1 9ZZ",
                "country": "GB",
            }
        },
        "address",
        "5 New Street",
        h1,
    )
    yield Edit(
        "a telephone number is changed in the CRM",
        "hubspot",
        "contacts",
        h2,
        {"phone": "+44 7400 123456"},
        "phone",
        "+447400123456",
        s2,
    )
    yield Edit(
        "a name is changed in the CRM",
        "hubspot",
        "contacts",
        h3,
        {"firstname": "Wilhelmina", "lastname": "Married"},
        "name",
        "Wilhelmina",
        s3,
    )


def linked_pairs(hub: Hub, seed: int, customers: int) -> Iterator[tuple[str, str]]:
    """(HubSpot id, Stripe id) of customers that both tools have had from the start."""
    for _, places in population.truth(seed, customers, SYSTEMS):
        ids = {s: PLACES[s](p) for s, p in reversed(places)}
        if len(ids) == len(SYSTEMS) and all(
            population.clean(seed, customers, s, p) for s, p in places
        ):
            goldens = {s: golden_id(hub, s, i) for s, i in ids.items()}
            if len(set(goldens.values())) == 1 and None not in goldens.values():
                yield ids["hubspot"], ids["stripe"]


def golden_id(hub: Hub, system: str, native_id: str) -> str | None:
    """The golden record of a tool's record."""
    obj = "contacts" if system == "hubspot" else "customers"

    def look(rows: Any) -> str | None:
        uid = state.find_alias(rows, system, obj, native_id)
        golden = state.golden_of(rows, uid) if uid else None
        return golden.uid if golden else None

    return hub.env.view(look)


def edit(up: Running, served: Mapping[str, Served], one: Edit) -> bool:
    """Do it at the tool, then watch the other tool over its own API."""
    hub, began = up.opened.hub, time.monotonic()
    with served[one.system]._lock:  # noqa: SLF001  a person's act, between two requests
        served[one.system].host.sandbox.act("update", one.object, one.native_id, one.fields)
    other = next(s for s in hub.systems.values() if s.name != one.system)
    arrived = wait_for(lambda: one.want in shown(other, one), 60)
    took = time.monotonic() - began
    say(
        f"4. {one.what}: "
        + (
            f"in {other.name} after {took * 1000:.0f} ms"
            if arrived
            else f"NOT in {other.name} after {took:.0f} s"
        )
    )
    settle(hub)
    return arrived


def shown(system: System, one: Edit) -> str:
    """What the other tool holds in the field, as text, over its API."""
    spec = system.spec_for("person")
    if spec is None:
        return ""
    (found,) = system.connector.read(system.api, spec, [one.other])
    return str(spec.fields.take(found.app).values.get(one.cell))


# -- proof -------------------------------------------------------------------------------------


@dataclass
class Proof:
    """What was found in the tools, and what the generator says about the links."""

    fields: int = 0
    equal: int = 0
    exceptions: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    matches: int = 0
    linked: int = 0
    false_links: list[str] = field(default_factory=list)
    unwritten: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether the demo may say that all is well."""
        few = len(self.exceptions) <= MOST_EXCEPTIONS * max(1, self.fields)
        enough = self.linked >= LEAST_LINKED * max(1, self.matches)
        return (
            not (self.wrong or self.false_links or self.unwritten)
            and few
            and enough
            and self.fields > 0
        )


def prove(up: Running, seed: int, customers: int) -> Proof:
    """Read every record of every tool and hold it against golden."""
    hub, proof = up.opened.hub, Proof()
    for system in hub.systems.values():
        for spec in system.specs.values():
            for reading in everything(system, spec):
                compare(hub, system, spec, reading, proof)
    judge_links(hub, seed, customers, proof)
    parked = commands.parked(hub)["parked"]
    proof.unwritten = [p["why"] for p in parked if p["kind"] in ("rejected", "unsupported")]
    return proof


def everything(system: System, spec: Any) -> Iterator[Any]:
    """Every live record, over the tool's API."""
    cursor, done = "", False
    while not done:
        page = system.connector.listing(system.api, spec, cursor)
        yield from page.readings
        cursor, done = page.cursor, page.done


def compare(hub: Hub, system: System, spec: Any, reading: Any, proof: Proof) -> None:
    """Each linked field of one record: equal to golden, an exception with a reason, or wrong."""
    taken = spec.fields.take(reading.app).values

    def look(rows: Any) -> tuple[Any, dict[str, Any]]:
        uid = state.find_alias(rows, system.name, reading.object, reading.native_id)
        golden = state.golden_of(rows, uid) if uid else None
        record = state.load_record(rows, uid) if uid else None
        if golden is None or record is None:
            return None, {}
        return golden, explain.tool_view(rows, hub, record, golden, "")

    golden, view = hub.env.view(look)
    name = f"{system.name} {reading.native_id}"
    if golden is None:
        proof.wrong.append(f"{name} is not known to the hub")
        return
    for cell, value in taken.items():
        if value is None and golden.cell(cell).value is None:
            continue
        proof.fields += 1
        wanted = spec.fields.by_name[cell].normal(golden.cell(cell).value)
        told = view.get(cell, {})
        word = told.get("state", "")
        if value == wanted:
            proof.equal += 1
        elif word in EXCEPTIONS:
            why = told.get("why") or "the tool keeps its own form"
            proof.exceptions.append(f"{EXCEPTIONS[word]}: {name} {cell} {value!r} ({why})")
        else:
            proof.wrong.append(f"{name} {cell}: holds {value!r}, golden {wanted!r} ({word})")


def judge_links(hub: Hub, seed: int, customers: int, proof: Proof) -> None:
    """Clean records of one person must be one customer; records of two persons never."""
    owner: dict[str, int] = {}
    for n, places in population.truth(seed, customers, SYSTEMS):
        ids = [(s, p, golden_id(hub, s, PLACES[s](p))) for s, p in places]
        for _, _, golden in ids:
            if golden and owner.setdefault(golden, n) != n:
                proof.false_links.append(f"customers {owner[golden]} and {n} are one record")
        clean = {s: g for s, p, g in reversed(ids) if population.clean(seed, customers, s, p)}
        if len(clean) == len(SYSTEMS):
            proof.matches += 1
            proof.linked += len(set(clean.values())) == 1


def report(proof: Proof) -> None:
    """The summary."""
    say(
        f"5. Read over the tools' APIs: {proof.equal} of {proof.fields} fields equal golden; "
        f"exceptions: {len(proof.exceptions)}, wrong: {len(proof.wrong)}, "
        f"refused by a tool: {len(proof.unwritten)}"
    )
    for line in (*proof.exceptions, *proof.wrong[:10], *proof.unwritten[:10]):
        say(f"     {line}")
    say(
        f"   Links: {proof.linked} of {proof.matches} sure matches linked, "
        f"{len(proof.false_links)} wrong links"
    )
    for line in proof.false_links[:10]:
        say(f"     {line}")
    say("   All is proven." if proof.good else "   NOT proven.")
