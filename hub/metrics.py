"""The status of a hub, in the words of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hub import __version__

Status = Mapping[str, Any]
Sample = tuple[tuple[str, ...], float]


class OfHub(Collector):
    """Asks for the status at each scrape."""

    def __init__(self, status: Callable[[], Status]) -> None:
        """`status` answers as `synchub status --json`."""
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """All metrics of the hub."""
        found = self._status()
        yield gauge("build_info", "The version that runs.", "version", [((__version__,), 1)])
        yield from of_whole(found)
        yield from of_systems(found["systems"])
        yield from of_changes(found)


def registry(status: Callable[[], Status]) -> CollectorRegistry:
    """A registry of one hub's own."""
    made = CollectorRegistry()
    made.register(OfHub(status))
    return made


def gauge(name: str, text: str, labels: str, samples: Iterable[Sample]) -> Metric:
    """A family of values with these labels."""
    family = GaugeMetricFamily(f"synchub_{name}", text, labels=labels.split())
    for labelled, value in samples:
        family.add_metric(labelled, value)
    return family


def of_whole(found: Status) -> Iterator[Metric]:
    """What concerns the hub as one."""
    kinds = Counter(a["kind"] for a in found["alerts"])
    single = {
        "writes_stopped": ("Whether the one switch is thrown.", found["writes_stopped"]),
        "customers": ("Golden records.", found["customers"]),
    }
    for name, (text, value) in single.items():
        yield gauge(name, text, "", [((), float(value))])
    yield gauge("inputs", "Inputs by status.", "status", one_each(found["inputs"]))
    yield gauge("tasks_open", "Questions for a person.", "kind", of_kinds(found["tasks"]))
    yield gauge("parked_open", "What was set aside.", "kind", of_kinds(found["parked_by_kind"]))
    yield gauge("alerts", "What is sick or needs a person.", "kind", one_each(kinds))
    lag = one_each(found["log_lag"])
    yield gauge("log_lag_messages", "Messages that a reader has not done yet.", "group", lag)


def one_each(found: Mapping[str, float]) -> list[Sample]:
    """A sample for each key."""
    return [((name,), float(n)) for name, n in sorted(found.items())]


def of_kinds(found: Mapping[str, Mapping[str, int]]) -> list[Sample]:
    """A sample for each kind."""
    return one_each({kind: one["n"] for kind, one in found.items()})


def of_systems(systems: Mapping[str, Any]) -> Iterator[Metric]:
    """A sample for each system."""
    for name, text, key in (
        ("records", "Live records.", "records"),
        ("links_to_look_at", "Links that may have to be written.", "to_look_at"),
        ("links_held", "Links that wait for a decision.", "held"),
        ("creates_wanted", "Records that are to be created.", "to_create"),
        ("hints_open", "Records that are to be read again.", "open_hints"),
    ):
        yield gauge(name, text, "system", [((s,), one[key]) for s, one in systems.items()])
    failing = [((s,), float(one["failing_since"] is not None)) for s, one in systems.items()]
    yield gauge("system_failing", "Whether its calls keep failing.", "system", failing)
    family = CounterMetricFamily(
        "synchub_events", "What happened to a system.", labels=["system", "event"]
    )
    for s, one in systems.items():
        for event, n in sorted(one["counters"].items()):
            family.add_metric((s, event), n)
    yield family


def of_changes(found: Status) -> Iterator[Metric]:
    """How long ago the changes of each object were last read to their end."""
    yield gauge(
        "changes_read_age_seconds",
        "Since the last pass over the changes of an object that was completed.",
        "system object",
        [
            ((s, o), (found["at"] - at) / 1000)
            for s, one in found["systems"].items()
            for o, at in one["changes_read_at"].items()
        ],
    )
