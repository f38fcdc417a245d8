"""What the Zendesk tests share: an account on virtual time behind the hub's own client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import httpx

from connectors._kit.contract import Entity, ObjectSpec, Page, Reading, Write
from connectors._kit.sandbox import Clock, Host, HostTransport
from connectors.zendesk.connector import CONNECTOR, USERS
from connectors.zendesk.sandbox import ZendeskSandbox
from hub.io.http import Budget, HttpApi

BASE = "http://zendesk.test"
MINUTE = 60_000
T0 = 1_790_000_000_000
End = tuple[Entity, str] | None


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


class Place:
    """An account, and the hub's client for it, on one virtual clock."""

    def __init__(self, customers: int = 0) -> None:
        self.clock = VirtualClock()
        moved = Clock(self.clock)
        self.sandbox = ZendeskSandbox(1, customers, moved)
        self.host = Host(self.sandbox, moved)
        budget = Budget(CONNECTOR.limits, self.clock, self.clock.sleep)
        given = CONNECTOR.authorize(self.sandbox.auth)
        self.api = HttpApi(BASE, lambda: given, budget, HostTransport(self.host))
        self.client = httpx.Client(
            base_url=f"{BASE}/api/v2/", headers=dict(given), transport=HostTransport(self.host)
        )
        CONNECTOR.prepare(self.api)

    def call(self, method: str, path: str, json: object = None, **params: str) -> Any:
        """What an address answers; {} where it answers nothing."""
        answer = self.client.request(method, path, json=json, params=params)
        return {"status": answer.status_code, **(answer.json() if answer.content else {})}

    def act(self, op: str, native_id: str = "", obj: str = "users", **fields: object) -> str:
        """A person does it."""
        return self.sandbox.act(op, obj, native_id, fields)

    def write(self, *writes: Write, spec: ObjectSpec = USERS) -> list[str]:
        """Write; the outcomes."""
        return [a.outcome for a in CONNECTOR.write(self.api, spec, writes)]

    def changes(self, spec: ObjectSpec, cursor: str) -> Iterator[Page]:
        """All pages from a cursor on, a minute late."""
        self.clock.now_ms += 2 * MINUTE
        for _ in range(100):
            page = CONNECTOR.changes(self.api, spec, cursor)
            yield page
            cursor = page.cursor
            if page.done:
                return
        raise AssertionError("it never ends")

    def begin(self, spec: ObjectSpec) -> str:
        """The cursor from which nothing is missed."""
        return CONNECTOR.begin(self.api, spec, self.clock())

    def calls(self) -> list[str]:
        """Every call so far: method and path."""
        return [f"{method} {path.removeprefix('/api/v2/')}" for method, path, *_ in self.host.log]


def newest(pages: Iterable[Page]) -> dict[str, Reading]:
    """The last reading of each record on these pages."""
    return {r.native_id: r for page in pages for r in page.readings}


def create(key: str, **changes: object) -> Write:
    """The create of a record with our id."""
    return Write("create", "", changes, f"uid-{key}", key)


def update(native_id: str, *, join: str = "", leave: str = "", **changes: Any) -> Write:
    """An update of a record: its changes, or an organization to join or to leave."""
    link: End = ("company", join) if join else None
    unlink: End = ("company", leave) if leave else None
    return Write("update", native_id, changes, "", f"u{native_id}", link=link, unlink=unlink)
