"""A connector on trial: its sandbox in this process, the hub's client between them, virtual time.

Values come from the field map and acts of people from the sandbox's `act`, so nothing here knows a
vendor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Protocol

import httpx

from connectors._kit import serve
from connectors._kit.contract import Answer, Api, Connector, ObjectSpec, Page, Reading, Write
from connectors._kit.fieldmap import ADDRESS_PARTS, Field, Value
from connectors._kit.sandbox import Clock, Host, HostTransport

T0 = 1_790_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
CALLS_MOST = 2_000
PAGES_MOST = 60


class VirtualClock:
    """Milliseconds that move only when told to."""

    def __init__(self) -> None:
        self.now_ms = T0

    def __call__(self) -> int:
        """The time."""
        return self.now_ms

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ms += int(seconds * 1000) + 1


Bend = Callable[[int, httpx.Request, httpx.Response], httpx.Response]
Connect = Callable[[Connector, httpx.BaseTransport, Mapping[str, str], VirtualClock], Api]


class Line(httpx.BaseTransport):
    """The way to the sandbox; it can bend the n-th answer, and it ends what would never end."""

    def __init__(self, host: Host, bend: Bend | None = None) -> None:
        self.inner = HostTransport(host)
        self.bend = bend
        self.calls = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        self.calls += 1
        assert self.calls <= CALLS_MOST, f"{self.calls} calls: it goes round in circles"
        answer = self.inner.handle_request(request)
        return self.bend(self.calls - 1, request, answer) if self.bend else answer


@dataclass
class World:
    """One object of a connector, and its sandbox."""

    connector: Connector
    spec: ObjectSpec
    host: Host
    clock: VirtualClock
    connect: Connect
    api: Api

    def over(self, bend: Bend, secrets: Mapping[str, str] | None = None) -> World:
        """The same world, seen through a line that bends answers."""
        given = self.host.sandbox.auth if secrets is None else secrets
        return replace(
            self, api=self.connect(self.connector, Line(self.host, bend), given, self.clock)
        )

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.clock.now_ms += ms

    def wait_for_news(self) -> None:
        """Until the tool shows everything that has happened so far."""
        self.wait(MINUTE + max(self.spec.lag_ms, self.spec.changes_lag_ms))

    def act(self, op: str, native_id: str = "", **fields: object) -> str:
        """A person does it in the tool."""
        return self.host.sandbox.act(op, self.spec.object, native_id, fields)

    def person_creates(self, n: int) -> str:
        """A person enters a record."""
        return self.act("create", **needed(self.spec, n), **one_text(self.spec, n))

    def person_edits(self, native_id: str, n: int) -> None:
        """A person edits a record."""
        self.act("update", native_id, **one_text(self.spec, n))

    def count(self) -> int:
        """How many living records there are, by the sandbox's own word."""
        return int(self.host.sandbox.summary()["records"][self.spec.object])

    def calls(self, kind: str) -> int:
        """How many calls of a kind have reached the sandbox."""
        return self.host.counts[kind]

    def begin(self, ago_ms: int = 0) -> str:
        """The cursor from which nothing is missed."""
        return self.connector.begin(self.api, self.spec, self.clock() - ago_ms)

    def listing(self) -> list[Page]:
        """All pages of a full listing."""
        return list(self.pages(self.connector.listing, ""))

    def changes(self, cursor: str) -> list[Page]:
        """All pages of changes since a cursor, until there is nothing more for now."""
        return list(self.pages(self.connector.changes, cursor))

    def pages(self, ask: Callable[[Api, ObjectSpec, str], Page], cursor: str) -> Iterator[Page]:
        """All pages from a cursor on."""
        for _ in range(PAGES_MOST):
            page = ask(self.api, self.spec, cursor)
            assert page.done or page.cursor != cursor, "a page that does not move on"
            yield page
            cursor = page.cursor
            if page.done:
                return
        raise AssertionError("it never ends")

    def read(self, *ids: str) -> dict[str, Reading]:
        """These records by every id that they are known by."""
        found = self.connector.read(self.api, self.spec, ids)
        return {i: r for r in found for i in (r.native_id, *r.aliases)}

    def write(self, *writes: Write) -> tuple[Answer, ...]:
        """Write, with one answer for each."""
        answers = self.connector.write(self.api, self.spec, writes)
        assert len(answers) == len(writes)
        return answers

    def created(self, n: int) -> str:
        """The id of a record that we create."""
        (answer,) = self.write(create(self.spec, n))
        assert answer.outcome == "done", answer.why
        return answer.native_id

    def values(self, native_id: str) -> Mapping[str, Value]:
        """What the tool holds, in our terms."""
        taken = self.spec.fields.take(self.read(native_id)[native_id].app)
        assert not taken.unknown
        return taken.values


class Make(Protocol):
    """A fresh world with so many customers in the sandbox."""

    def __call__(self, customers: int = 0) -> World: ...


def objects() -> list[tuple[str, str]]:
    """(vendor, object) of every connector that has a sandbox."""
    return [
        (vendor, spec.object)
        for vendor in serve.vendors()
        for spec in import_module(f"connectors.{vendor}.connector").CONNECTOR.objects
    ]


def maker(vendor: str, obj: str, connect: Connect) -> Make:
    """What makes worlds of one object, over an `Api` that `connect` makes."""
    connector: Connector = import_module(f"connectors.{vendor}.connector").CONNECTOR
    (spec,) = (s for s in connector.objects if s.object == obj)

    def make(customers: int = 0) -> World:
        clock = VirtualClock()
        moved = Clock(clock)
        sandbox = import_module(f"connectors.{vendor}.sandbox").SANDBOX(1, customers, moved)
        host = Host(sandbox, moved)
        api = connect(connector, Line(host), sandbox.auth, clock)
        connector.prepare(api)
        return World(connector, spec, host, clock, connect, api)

    return make


# -- values ------------------------------------------------------------------------------------


def example(kind: str, n: int, text: str = "") -> Value:
    """A value of this kind; another n is another value."""
    parts = {p: f"{text}{p} {n}" for p in ADDRESS_PARTS}
    values: dict[str, Value] = {
        "email": f"person{n}@x.example",
        "phone": f"+49 30 {n:07d}",
        "name": {"given": f"{text}Ada{n}", "family": f"Byron{n}"},
        "address": {**parts, "country": "DE"},
        "date": f"19{n % 90 + 10}-05-17",
        "integer": n,
        "instant": n * 1_000,
        "flag": bool(n % 2),
        "money": {"minor": n, "currency": "EUR"},
        "set": [f"{text}{n}", "z"],
    }
    return values.get(kind, f"{text}text {n}")


def writable(spec: ObjectSpec) -> list[Field]:
    """The fields that we may write. A category has no example: its words are the vendor's."""
    return [f for f in spec.fields.fields if f.writable and f.kind not in ("category", "consent")]


def one_text(spec: ObjectSpec, n: int) -> Mapping[str, Any]:
    """A value for a field that is one text of the tool's, which several records may share."""
    one = next(
        f for f in writable(spec) if f.kind in ("phone", "text") and f.name not in spec.required
    )
    return one.give(example(one.kind, n))


def needed(spec: ObjectSpec, n: int) -> Mapping[str, Any]:
    """A value for every field that no record is without."""
    fields = spec.fields.by_name
    return spec.fields.give({name: example(fields[name].kind, n) for name in spec.required})


def all_fields(spec: ObjectSpec, n: int, text: str = "") -> dict[str, Value]:
    """A value for every field that we may write, as this tool can hold it."""
    return {f.name: f.normal(example(f.kind, n, text)) for f in writable(spec)}


def create(spec: ObjectSpec, n: int, text: str = "") -> Write:
    """The create of a record with all its fields."""
    changes = spec.fields.give(all_fields(spec, n, text))
    return Write("create", "", changes, f"our-id-{n}", f"key-{n}")


def update(native_id: str, changes: Mapping[str, object], key: str = "u") -> Write:
    """An update of a record."""
    return Write("update", native_id, changes, "", f"{key}-{native_id}")


def newest(pages: Sequence[Page]) -> dict[str, Reading]:
    """The last reading of each record on these pages."""
    return {r.native_id: r for page in pages for r in page.readings}


def sound(world: World, reading: Reading) -> None:
    """A reading has the types that the contract says, and the field map understands it."""
    assert reading.object == world.spec.object
    texts = (reading.native_id, reading.external_id, *reading.aliases)
    assert all(isinstance(t, str) for t in texts)
    assert reading.native_id
    times = (reading.source_ms, reading.created_ms, reading.revision)
    assert all(t is None or type(t) is int for t in times)
    assert reading.start_ms <= reading.end_ms
    assert set(reading.app) <= set(world.spec.fields.app_names)
    world.spec.fields.take(reading.app)
