"""How a hub is, in the words of Prometheus. A scrape takes no longer when more is known.

Two kinds, and dashboards treat them differently. What this process has done or holds (`OF_PROCESS`:
steps, writes, conflicts, calls, leases) is told by each process for itself: sum it. What concerns
the whole hub (`OF_HUB`) is read off the store, so each process that is asked tells the same: take
the maximum over processes, never the sum. No process is the only one to tell it, so that it is
still told when any of them is gone.

Numbers of things that wait end at `MOST`: an index is counted no further. Ages are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from hub import __version__, alerts
from hub.env import Hub
from hub.io.http import Budget, HttpApi
from hub.process import BOUNDS_S, Process
from hub.status import anchored, glance

MOST = 10_000
Found = Mapping[str, Any]
Sample = tuple[tuple[str, ...], float]
WAITING = (
    ("links_to_look_at", "Links that may have to be written, at most 10,000.", "to_look_at"),
    ("links_held", "Links that wait for a decision, at most 10,000.", "held"),
    ("creates_wanted", "Records that are to be created, at most 10,000.", "to_create"),
    ("hints_open", "Records that are to be read again, at most 10,000.", "open_hints"),
)


class Told(Collector):
    """Looks at each scrape."""

    def __init__(self, hub: Hub) -> None:
        """`hub` is the one of this process."""
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        hub = self._hub
        for part in OF_PROCESS:
            yield from part(hub)
        found = looked(hub)
        for told in OF_HUB:
            yield from told(found)


def registry(hub: Hub) -> CollectorRegistry:
    """A registry of one hub's own."""
    made = CollectorRegistry()
    made.register(Told(hub))
    return made


def looked(hub: Hub) -> Found:
    """What the store tells at a glance, with the alerts that follow from it."""
    now = hub.env.now()
    found = {
        "at": now,
        "up": hub.listening,
        **hub.env.view(lambda rows: glance(rows, hub, now, MOST)),
        **anchored(hub),
        "topics_differ": hub.log.differs,
    }
    return {**found, "alerts": alerts.alerts(found, now)}


def gauge(name: str, text: str, labels: str, samples: Iterable[Sample]) -> Metric:
    """A family of values with these labels."""
    return filled(GaugeMetricFamily(f"synchub_{name}", text, labels=labels.split()), samples)


def counter(name: str, text: str, labels: str, samples: Iterable[Sample]) -> Metric:
    """A family of values that only grow; its name ends in _total."""
    return filled(CounterMetricFamily(f"synchub_{name}", text, labels=labels.split()), samples)


def filled(family: Any, samples: Iterable[Sample]) -> Metric:
    """The family with its samples."""
    for labelled, value in samples:
        family.add_metric(labelled, value)
    made: Metric = family
    return made


def age(found: Found, since: int | None) -> float:
    """Seconds since then, 0 where nothing waits."""
    return max(0, found["at"] - since) / 1000 if since is not None else 0.0


# -- of this process -----------------------------------------------------------------------------


def of_build(_hub: Hub) -> Iterator[Metric]:
    """What runs."""
    yield gauge("build_info", "The version that runs.", "version", [((__version__,), 1)])


def of_loops(hub: Hub) -> Iterator[Metric]:
    """Steps and leases of the loops that run here."""
    process = hub.process
    yield steps(process)
    failed = [((p.name,), float(p.failed)) for p in list(process.pulses.values())]
    yield counter("steps_failed", "Steps of a loop that ended in an error.", "loop", failed)
    held = [((name,), float(word == "held")) for name, word in process.leases().items()]
    yield gauge("lease_held", "1 where this process does it, 0 where it stands by.", "lease", held)


def steps(process: Process) -> Metric:
    """How long the steps of each loop took."""
    family = HistogramMetricFamily(
        "synchub_step_duration_seconds", "How long a step of a loop took.", labels=["loop"]
    )
    ends = [*map(str, BOUNDS_S), "+Inf"]
    for pulse in list(process.pulses.values()):
        buckets = list(zip(ends, map(float, accumulate(pulse.within)), strict=True))
        family.add_metric([pulse.name], buckets, pulse.took)
    return family


def of_work(hub: Hub) -> Iterator[Metric]:
    """What was written and decided here."""
    writes = [(of, float(n)) for of, n in hub.process.counted("writes").items()]
    text = "Writes by what became of them: applied, rejected, not_sent, unknown."
    yield counter("writes", text, "system outcome", writes)
    clashes = sum(hub.process.counted("conflicts").values())
    text = "Values that came to be in conflict."
    yield counter("conflicts", text, "", [((), float(clashes))])


def of_calls(hub: Hub) -> Iterator[Metric]:
    """Calls, and how many more the accounts allow."""
    apis = {name: system.api for name, system in hub.systems.items()}
    budgets = {name: api.budget for name, api in apis.items() if isinstance(api, HttpApi)}

    def each(value: Callable[[Budget], float]) -> list[Sample]:
        return [((name,), float(value(budget))) for name, budget in budgets.items()]

    yield counter("api_calls", "Requests to a tool.", "system", each(lambda b: b.taken))
    text = "Requests a second that the account's budget allows."
    rate = each(lambda b: b.limits.calls / b.limits.per_ms * 1000)
    yield gauge("api_budget_calls_per_second", text, "system", rate)
    text = "Requests that could be made at once."
    yield gauge("api_budget_calls_left", text, "system", each(lambda b: b.left))
    text = "For how long the tool has asked to be left alone."
    yield gauge("api_blocked_seconds", text, "system", each(lambda b: b.blocked_ms / 1000))


# -- of the whole hub ----------------------------------------------------------------------------


def of_whole(found: Found) -> Iterator[Metric]:
    """What concerns the hub as one."""
    kinds = Counter(a["kind"] for a in found["alerts"])
    stopped = [((), float(found["writes_stopped"]))]
    yield gauge("writes_stopped", "Whether the one switch is thrown.", "", stopped)
    waiting = [((), float(found["pending_inputs"]))]
    yield gauge("inputs_pending", "Inputs to be resolved, at most 10,000.", "", waiting)
    oldest = [((), age(found, found["pending_since"]))]
    yield gauge("inputs_pending_age_seconds", "Age of the oldest of them.", "", oldest)
    yield gauge("tasks_open", "Questions for a person.", "kind", of_kinds(found["tasks"]))
    yield gauge("parked_open", "What was set aside.", "kind", of_kinds(found["parked_by_kind"]))
    alerting = [((kind,), float(n)) for kind, n in sorted(kinds.items())]
    yield gauge("alerts", "What is sick or needs a person.", "kind", alerting)


def of_kinds(found: Mapping[str, Mapping[str, int]]) -> list[Sample]:
    """A sample for each kind."""
    return [((kind,), float(one["n"])) for kind, one in sorted(found.items())]


def of_log(found: Found) -> Iterator[Metric]:
    """What waits to be published, and what readers of the topics have not done."""
    outbox = found["outbox"]
    yield gauge("outbox_messages", "Messages to be published.", "", [((), float(outbox["n"]))])
    oldest = [((), age(found, outbox["since"]))]
    yield gauge("outbox_age_seconds", "Age of the oldest of them.", "", oldest)
    each = [((g, t), one) for g, of in found["log_behind"].items() for t, one in of.items()]
    text = "Messages of a topic that a group has not done yet."
    lag = [(at, float(one["n"])) for at, one in each]
    yield gauge("log_lag_messages", text, "group topic", lag)
    text = "Age of the oldest of them, told by a process that reads there."
    known = [(at, one) for at, one in each if one["since"] is not None or not one["n"]]
    late = [(at, age(found, one["since"])) for at, one in known]
    yield gauge("log_lag_seconds", text, "group topic", late)


def of_systems(found: Found) -> Iterator[Metric]:
    """What waits at each system, and how it answers."""
    systems: Mapping[str, Any] = found["systems"]
    for name, text, key in WAITING:
        yield gauge(name, text, "system", [((s,), one[key]) for s, one in systems.items()])
    written = [(s, one) for s, one in systems.items() if one["may_write"] and found["applied"]]
    late = [((s,), age(found, one["undelivered_since"])) for s, one in written]
    text = "Age of the oldest change that is to be written there, and that nothing holds."
    yield gauge("undelivered_age_seconds", text, "system", late)
    failing = [((s,), float(one["failing_since"] is not None)) for s, one in systems.items()]
    yield gauge("system_failing", "Whether its calls keep failing.", "system", failing)
    happened = [
        ((s, event), float(n))
        for s, one in systems.items()
        for event, n in sorted(one["counters"].items())
    ]
    yield counter("events", "What happened to a system.", "system event", happened)
    read = [
        ((s, o), age(found, at))
        for s, one in systems.items()
        for o, at in one["changes_read_at"].items()
    ]
    text = "Since the last pass over the changes of an object that was completed."
    yield gauge("changes_read_age_seconds", text, "system object", read)


OF_PROCESS = (of_build, of_loops, of_work, of_calls)
OF_HUB = (of_whole, of_log, of_systems)


# -- written down --------------------------------------------------------------------------------

HEAD = """# Metrics

Made from the texts in `hub/metrics.py`. The private listener of every process answers `/metrics`.

What *this process* tells, each tells for itself: sum it over processes.

    sum by (system, outcome) (rate(synchub_writes_total[5m]))

What is told of *the hub* is read off the store, and each process that is asked tells the same: take
the maximum, never the sum. So it is still told when any process is gone. Of a log in Kafka only who
reads a partition knows how old its next message is, and of one that is still at the brokers only
to the last scrape; the maximum is right there too.

    max by (system) (synchub_undelivered_age_seconds)

The share of a tool's budget that is used:

    sum by (system) (rate(synchub_api_calls_total[1m]))
      / max by (system) (synchub_api_budget_calls_per_second)

| metric | kind | labels | told by | meaning |
| --- | --- | --- | --- | --- |
"""


def reference(hub: Hub) -> str:
    """Every metric, as Markdown; `hub` is any one."""
    told = [(m, "this process") for part in OF_PROCESS for m in part(hub)]
    found = looked(hub)
    told += [(m, "the hub") for part in OF_HUB for m in part(found)]
    return HEAD + "".join(map(described, told))


def described(told: tuple[Metric, str]) -> str:
    """A line of the table."""
    family, by = told
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(getattr(family, "_labelnames", ()))
    return f"| `{name}` | {family.type} | {labels} | {by} | {family.documentation} |\n"
