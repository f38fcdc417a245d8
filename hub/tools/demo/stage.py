"""Where the demo plays: the tools, the hub, and those who watch the tools from outside."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx

from connectors._kit import population, serve
from connectors._kit.contract import Limits, ObjectSpec, Reading
from connectors._kit.serve import Served
from hub import commands, runs, shown, wiring
from hub.env import Hub, System
from hub.io import state
from hub.io.http import Budget, HttpApi
from hub.io.rows import Rows
from hub.listeners import wait_for
from hub.pure.model import Golden, Record

SYSTEMS = ("hubspot", "stripe", "mailchimp", "zendesk")
PAIR = ("hubspot", "stripe")
PATIENCE = 300
TELL_SECONDS = 5
ROWS_SHOWN = 2


def say(text: str) -> None:
    """Tell the person who watches."""
    print(shown.visible(text) if "\n" not in text else text, flush=True)  # noqa: T201  it is what the demo is for


@dataclass
class Stage:
    """The hub that is up, and the tools behind their ports.

    `place` is the hub's folder; `refused` says who refused mail before the hub came, (system, id).
    """

    hub: Hub
    served: Mapping[str, Served]
    seed: int
    customers: int
    place: Path
    refused: frozenset[tuple[str, str]]

    # -- the tools, from outside ---------------------------------------------------------------

    def title(self, system: str) -> str:
        """What the vendor calls it."""
        return self.hub.systems[system].connector.title

    def spec(self, system: str) -> ObjectSpec:
        """What persons are there."""
        found = self.hub.systems[system].spec_for("person")
        if found is None:
            raise LookupError(f"{system} knows no persons")
        return found

    def act(self, system: str, act: str, **given: Any) -> str:
        """A person does something in a tool; the id of the record."""
        url = f"{self.served[system].base_url}/_sandbox/{act}"
        answer = httpx.post(url, json=given, trust_env=False)
        answer.raise_for_status()
        return str(answer.json().get("id", ""))

    def edit(self, system: str, native_id: str, **values: Any) -> None:
        """A person types values, given in our shapes, into a record."""
        spec = self.spec(system)
        fields = dict(spec.fields.give(values))
        self.act(system, "act", op="update", object=spec.object, id=native_id, fields=fields)

    @cached_property
    def watchers(self) -> Mapping[str, HttpApi]:
        """Clients of those who watch; they take no more than half of what a tool allows."""
        return {name: self._watcher(system) for name, system in self.hub.systems.items()}

    def close(self) -> None:
        """Nobody watches any more."""
        for api in self.watchers.values():
            api.close()

    def _watcher(self, system: System) -> HttpApi:
        served, made, clock = self.served[system.name], system.connector, wiring.Clock()
        allowed = served.host.settings().get("calls_per_second")
        limits = Limits(int(allowed), 1_000) if allowed else made.limits
        budget = Budget(replace(limits, calls=max(1, limits.calls // 2)), clock.now, time.sleep)
        secrets = served.host.sandbox.auth
        return HttpApi(served.base_url, lambda: made.authorize(secrets), budget, secrets=secrets)

    def read(self, system: str, native_id: str) -> Reading:
        """A person's record now, over the tool's own API."""
        spec = replace(self.spec(system), links=())
        api, connector = self.watchers[system], self.hub.systems[system].connector
        return connector.read(api, spec, [native_id])[0]

    def values(self, system: str, native_id: str) -> Mapping[str, Any]:
        """What a tool holds of a person, in our shapes, over its own API."""
        return self.spec(system).fields.take(self.read(system, native_id).app).values

    # -- the hub -------------------------------------------------------------------------------

    @property
    def console(self) -> str:
        """Where operators look."""
        return f"{self.hub.listening['operators']}/"

    def record(self, system: str, native_id: str) -> Record | None:
        """What the hub knows of a tool's record of a person."""
        return self.hub.env.view(
            lambda rows: record_of(rows, system, self.spec(system).object, native_id)
        )

    def golden(self, system: str, native_id: str) -> Golden | None:
        """The customer to whom a tool's record belongs."""
        found = self.record(system, native_id)
        return self.hub.env.view(lambda rows: state.golden_of(rows, found.uid)) if found else None

    def ids(self, golden: Golden) -> dict[str, list[str]]:
        """A customer's living records: ids by system."""
        found = self.hub.env.view(lambda rows: state.members_of(rows, golden))
        held: dict[str, list[str]] = {}
        for record in found:
            if record.state == "live" and record.native_id:
                held.setdefault(record.system, []).append(record.native_id)
        return held

    def sides(self, task: str) -> list[Golden]:
        """The two customers that a question is about."""

        def look(rows: Rows) -> list[Golden]:
            row = rows.get("task", id=task) or {}
            found = [state.golden_of(rows, row[end]) for end in ("uid", "other") if row]
            return [g for g in found if g]

        return self.hub.env.view(look)

    def natives(self) -> Iterator[tuple[int, list[tuple[str, str, int]]]]:
        """Each customer by the generator, with (system, id, place) of every record of theirs."""
        for n, places in population.truth(self.seed, self.customers, tuple(self.served)):
            yield n, [(s, self.served[s].host.sandbox.native_id(p), p) for s, p in places]

    def everywhere(self) -> Iterator[dict[str, str]]:
        """Customers of whom no doubt is left and who are once in every tool: id by system."""
        for _, records in self.natives():
            golden = self.golden(*records[0][:2]) if records else None
            ids = self.ids(golden) if golden and not golden.asks else {}
            if set(ids) == set(self.served) and all(len(own) == 1 for own in ids.values()):
                yield {s: own[0] for s, own in ids.items()}

    def settle(self) -> bool:
        """Wait until nothing is on its way."""
        return wait_for(lambda: self.hub.env.view(runs.quiet), PATIENCE)

    # -- connect, plan, apply ------------------------------------------------------------------

    def introduce(self) -> None:
        """Who plays."""
        say(f"1. {len(self.served)} sandboxed tools with {self.customers} customers between them:")
        for name, one in self.served.items():
            say(f"     {self.title(name):10} {one.base_url}")
        say(f"   Console: {self.console}")

    def plan(self) -> str:
        """Read everything, show what would be written, write nothing."""
        began = time.monotonic()
        objects = [(s, o) for s, system in self.hub.systems.items() for o in system.specs]
        wait_telling(
            lambda: all(runs.snapshot_done(self.hub, *o) for o in objects) and idle(self.hub),
            lambda: f"     {sum(runs.known(self.hub, *o) for o in objects)} records read",
        )
        answer = commands.plan(self.hub)
        writes = sum(s.host.state()["calls"]["write"] for s in self.served.values())
        say(
            f"2. Everything read in {time.monotonic() - began:.1f} s. The plan, row by row "
            f"(nothing is written: the tools counted {writes} writes), begins with:"
        )
        for line in rows_shown(answer):
            say(f"     {line}")
        self._totals(answer)
        return str(answer["run"])

    def _totals(self, answer: commands.Answer) -> None:
        totals = "; ".join(
            f"{self.title(system)} "
            + ", ".join(shown.many(answer["totals"][kind], kind.split()[1]) for kind in kinds)
            for system, kinds in groupby(sorted(answer["totals"]), key=lambda k: k.split()[0])
        )
        say(f"     … {len(answer['rows'])} rows in all: {totals}.")
        say(
            f"     {answer['created_nowhere']} possible duplicates are linked and created nowhere "
            "until somebody judges them."
        )

    def apply(self, run_id: str) -> None:
        """Write the plan's rows and wait until they are in the tools."""
        began = time.monotonic()
        counted = commands.apply(self.hub, run_id)
        say(f"3. Applying the plan: {counted['released']} rows go.")
        wait_telling(
            lambda: not commands.progress(self.hub, run_id)["open"],
            lambda: f"     {progress_told(self.hub, run_id)}",
        )
        self.settle()
        done = commands.progress(self.hub, run_id)
        say(
            f"   {done['done']} of {done['rows']} rows are in the tools after "
            f"{time.monotonic() - began:.0f} s."
        )


def refusals(served: Mapping[str, Served]) -> frozenset[tuple[str, str]]:
    """Who refuses mail in which tool, by the sandboxes' own word: (system, id)."""
    found: set[tuple[str, str]] = set()
    for name, one in served.items():
        for spec in wiring.connector(name).objects:
            held = one.host.sandbox.holds(spec.object) if "consent" in spec.fields.by_name else {}
            found |= {(name, own) for own, reading in held.items() if refuses(spec, reading)}
    return frozenset(found)


def refuses(spec: ObjectSpec, reading: Reading) -> bool:
    """Whether a record says that no mail may be sent."""
    held = spec.fields.take(reading.app).values.get("consent")
    return isinstance(held, Mapping) and "out" in held.values()


def record_of(rows: Rows, system: str, obj: str, native_id: str) -> Record | None:
    """What the hub knows of a tool's record."""
    uid = state.find_alias(rows, system, obj, native_id)
    return state.load_record(rows, uid) if uid else None


def idle(hub: Hub) -> bool:
    """Whether everything that was read is resolved."""
    return hub.env.view(
        lambda rows: not rows.count("input", {"status": "pending"}) and not rows.count("outbox")
    )


def rows_shown(answer: commands.Answer) -> Iterator[str]:
    """The first rows of each kind of write."""
    counted: Counter[tuple[str, str]] = Counter()
    for row in answer["rows"]:
        kind = (row["system"], row["op"])
        counted[kind] += 1
        if counted[kind] <= ROWS_SHOWN and row["op"] == "update":
            cells = "; ".join(
                f"{shown.cell_name(c['cell'], answer['names'])} → {shown.in_words(c['to'])}"
                for c in row["cells"][:3]
            )
            yield f"{row['system']} {row['record']} ({row['customer']}): {cells}"


def progress_told(hub: Hub, run_id: str) -> str:
    """How far a run is, and what it waits for."""
    found = commands.progress(hub, run_id)
    late = hub.env.view(lambda rows: waiting_creates(rows, hub)) if found["open"] else []
    waits = f" ({'; '.join(late)})" if late else ""
    return shown.progress_line(found) + waits


def waiting_creates(rows: Rows, hub: Hub) -> list[str]:
    """Creates that wait until a tool would have shown that somebody else made the record."""
    found = []
    for name, system in hub.systems.items():
        for spec in system.specs.values():
            here = {"system": name, "object": spec.object, "held": False}
            waiting = rows.count("wanted", here)
            if spec.changes_lag_ms and waiting:
                found.append(
                    f"{shown.many(waiting, 'create')} in {system.connector.title} may have to "
                    f"wait: it shows changes {spec.changes_lag_ms // 1000} s late, and somebody "
                    "may have made the record there"
                )
    return found


def wait_telling(done: Callable[[], bool], told: Callable[[], str]) -> bool:
    """Wait until something is so, with a line of progress now and then."""
    began = last = time.monotonic()
    while not (found := done()) and time.monotonic() - began < PATIENCE:
        time.sleep(0.5)  # asking takes time from those who do the work
        if time.monotonic() - last > TELL_SECONDS:
            last = time.monotonic()
            say(told())
    return found


# -- for benchmarks ----------------------------------------------------------------------------


def linked_pairs(hub: Hub, seed: int, customers: int) -> Iterator[tuple[str, str]]:
    """(HubSpot id, Stripe id) of customers that both tools have had from the start."""
    own = {s: serve.host(s, seed, customers).sandbox.native_id for s in PAIR}
    objects = {"hubspot": "contacts", "stripe": "customers"}

    def golden_id(rows: Rows, system: str, native_id: str) -> str | None:
        uid = state.find_alias(rows, system, objects[system], native_id)
        golden = state.golden_of(rows, uid) if uid else None
        return golden.uid if golden else None

    for _, places in population.truth(seed, customers, PAIR):
        ids = {s: own[s](p) for s, p in reversed(places)}
        if len(ids) == len(PAIR) and all(
            population.clean(seed, customers, s, p) for s, p in places
        ):
            goldens = set(hub.env.view(lambda rows: [golden_id(rows, *i) for i in ids.items()]))  # noqa: B023
            if len(goldens) == 1 and None not in goldens:
                yield ids["hubspot"], ids["stripe"]
