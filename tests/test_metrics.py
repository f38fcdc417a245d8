"""What Prometheus is told, of ages, lag, writes and budgets, at a price that does not grow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from connectors._kit.contract import Limits
from connectors._kit.simtool import PERSON, Profile
from hub import __version__, metrics, resolve
from hub.io.http import Budget, HttpApi
from hub.io.rows import Row, Rows
from hub.metrics import MOST
from hub.tools.world import World

Samples = dict[tuple[str, ...], float]


def scraped(world: World) -> Samples:
    """Name without `synchub_`, and label values in order of their names, to value."""
    text = generate_latest(metrics.registry(world.hub)).decode()
    return {
        (s.name.removeprefix("synchub_"), *(v for _, v in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def of_two(customers: int = 1) -> World:
    """Customers in A, which B has as well."""
    world = World({"A": Profile(page=100), "B": Profile(page=100)})
    for n in range(customers):
        world.tools["A"].act(f"a{n}", {"mail": f"p{n}@x.com", "title": "first"})
    world.sync()
    return world


def edited(world: World, title: str, tool: str = "A") -> None:
    """Somebody edits a customer, and it is captured."""
    one = world.tools[tool].living()[0]
    world.tools[tool].act(one, {"title": title})
    world.clock.pass_time(2_000)
    world.capture(tool)


def test_names_follow_the_conventions() -> None:
    """Counters end in _total, times are in seconds, and the version is told."""
    world = of_two()
    told = scraped(world)
    assert told["build_info", __version__] == 1
    families = list(metrics.Told(world.hub).collect())
    assert all(f.name.startswith("synchub_") and f.documentation.endswith(".") for f in families)
    assert not [f.name for f in families if f.name.endswith(("_ms", "_minutes", "_percent"))]


def test_a_change_that_is_not_delivered_grows_old() -> None:
    """From its resolution until it is written; then it is counted by what became of it."""
    world = of_two()
    written = scraped(world)["writes_total", "applied", "B"]
    edited(world, "second")
    world.resolve()
    world.clock.pass_time(7_000)
    assert 7 <= scraped(world)["undelivered_age_seconds", "B"] < 8
    world.sync()
    told = scraped(world)
    assert told["undelivered_age_seconds", "B"] == 0
    assert told["writes_total", "applied", "B"] == written + 1


def test_where_nothing_may_be_written_nothing_is_late() -> None:
    """Before the first apply, and at a system that is only read."""
    world = of_two()
    world.store.transact(lambda r: r.update("system", {"name": "B"}, {"writes": False}))
    edited(world, "second")
    world.resolve()
    told = scraped(world)
    assert ("undelivered_age_seconds", "B") not in told
    assert told["links_to_look_at", "B"] == 1


def test_an_input_that_is_not_resolved_grows_old() -> None:
    """So does the notice of it, first in the outbox and then in its topic."""
    world = of_two(2)
    assert scraped(world)["inputs_pending_age_seconds",] == 0
    for n, one in enumerate(world.tools["A"].living()):
        world.tools["A"].act(one, {"title": f"second {n}"})
    world.clock.pass_time(2_000)
    world.capture("A")
    world.clock.pass_time(5_000)
    told = scraped(world)
    assert (told["inputs_pending",], told["outbox_messages",]) == (2, 2)
    assert 5 <= told["inputs_pending_age_seconds",] < 6
    assert 5 <= told["outbox_age_seconds",] < 6
    topics = resolve.topics(world.hub)
    world.hub.log.turn(world.env, resolve.GROUP, topics, 1, lambda *_: None, "one of them")
    told = scraped(world)
    assert told["outbox_messages",] == 0
    assert told["log_lag_messages", "resolve", f"cdc.A.{PERSON}"] == 1
    assert 5 <= told["log_lag_seconds", "resolve", f"cdc.A.{PERSON}"] < 6
    world.resolve()
    assert scraped(world)["log_lag_seconds", "resolve", f"cdc.A.{PERSON}"] == 0


def test_a_conflict_is_counted_once() -> None:
    """When two people have typed different values, neither having seen the other's."""
    world = of_two()
    assert scraped(world)["conflicts_total",] == 0
    edited(world, "second", "A")
    edited(world, "third", "B")
    world.sync()
    assert scraped(world)["conflicts_total",] == 1
    edited(world, "fourth", "A")
    world.sync()
    assert scraped(world)["conflicts_total",] == 1


def test_a_budget_tells_what_is_left() -> None:
    """Calls of one second, none while the tool wants to be left alone."""
    now = 10_000
    world, budget = of_two(), Budget(Limits(100, 10_000), lambda: now, lambda _: None)
    system: Any = world.hub.systems["A"]
    api = HttpApi("http://127.0.0.1:1", dict, budget)
    world.hub.systems = {**world.hub.systems, "A": replace(system, api=api)}
    told = scraped(world)
    assert told["api_budget_calls_left", "A"] == told["api_budget_calls_per_second", "A"] == 10
    for _ in range(3):
        budget.take()
    assert scraped(world)["api_budget_calls_left", "A"] == 7
    budget.wait(5_000)
    told = scraped(world)
    assert (told["api_budget_calls_left", "A"], told["api_blocked_seconds", "A"]) == (0, 5)
    assert told["api_calls_total", "A"] == 3
    api.close()


def test_loops_tell_their_steps_and_leases() -> None:
    """A histogram in seconds, failures beside it, and 0 where another process does it."""
    world = of_two()
    pulse = world.hub.process.pulse("resolve", held=True)
    world.hub.process.pulse("relay", held=False)
    for _ in range(2):
        with pulse.step():
            pass
    pulse.failed += 1
    told = scraped(world)
    assert told["step_duration_seconds_count", "resolve"] == 2
    assert told["step_duration_seconds_bucket", "0.005", "resolve"] == 2
    assert told["steps_failed_total", "resolve"] == 1
    assert (told["lease_held", "resolve"], told["lease_held", "relay"]) == (1, 0)


@dataclass
class Weighed:
    """An open transaction that counts what it reads, and refuses to count a whole table."""

    rows: Rows
    read: Counter[str] = field(default_factory=Counter)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rows, name)

    def select(self, table: str, *given: Any, **more: Any) -> list[Row]:
        """See `Rows`."""
        found = self.rows.select(table, *given, **more)
        self.read[table] += len(found)
        return found

    def count(self, table: str, where: Any = None, most: int | None = None) -> int:
        """See `Rows`."""
        assert where, f"all of {table} is counted"
        assert most == MOST
        return self.rows.count(table, where, most)


@pytest.mark.parametrize("state", ["waiting", "at rest"])
def test_a_scrape_reads_no_more_when_more_is_known(state: str) -> None:
    """Three times the customers, and all of them waiting or none: the same rows are read."""
    weights = []
    for customers in (30, 90):
        world = of_two(customers)
        if state == "waiting":
            for one in world.tools["A"].living():
                world.tools["A"].act(one, {"title": "second"})
            world.clock.pass_time(2_000)
            world.capture("A")
        read: Counter[str] = Counter()
        env: Any = world.env
        view = env.view
        env.view = lambda look, view=view, read=read: view(lambda rows: look(Weighed(rows, read)))
        scraped(world)
        weights.append(read)
    assert weights[0] == weights[1]
    assert weights[0].total() < 100
