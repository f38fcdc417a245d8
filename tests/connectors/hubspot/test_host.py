"""The connector through the hub's own HTTP client, against a sandbox that is made to fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from connectors._kit.sandbox import Clock as MovableClock
from connectors._kit.sandbox import Host, HostTransport, Sandbox
from connectors.hubspot.connector import CONNECTOR, CONTACTS
from hub.io.http import Budget, HttpApi
from tests.connectors.hubspot.tools import BASE, Clock, new_sandbox


class Place:
    """A hosted sandbox, and the hub's client for it, on one virtual clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sandbox = new_sandbox(self.clock, 200)
        typed: Sandbox = self.sandbox
        self.host = Host(typed, MovableClock(self.clock))
        budget = Budget(CONNECTOR.limits, self.clock, lambda s: self.clock.sleep(int(s * 1000) + 1))
        token = CONNECTOR.authorize(self.sandbox.auth)
        self.api = HttpApi(BASE, lambda: token, budget, HostTransport(self.host))
        CONNECTOR.prepare(self.api)

    def admin(self, name: str, **given: object) -> Mapping[str, Any]:
        """An act at the admin address."""
        request = httpx.Request("POST", f"{BASE}/_sandbox/{name}", json=given)
        answer = self.host.handle(request)
        assert answer.status_code == httpx.codes.OK, answer.text
        found: Mapping[str, Any] = answer.json()
        return found


@pytest.fixture
def place() -> Place:
    """A fresh one."""
    return Place()


def test_a_person_acts_and_is_heard(place: Place) -> None:
    """What is done at the admin address is told by webhook and seen by the connector."""
    before = place.host.state()["records"]["contacts"]
    place.admin("register_webhook", url="http://127.0.0.1:1/hooks", secret="s", events="")
    own = place.admin("act", op="create", object="contact", fields={"email": "p@x.example"})["id"]
    place.admin("act", op="update", object="contact", id=own, fields={"phone": "1"})
    assert CONNECTOR.read(place.api, CONTACTS, [own])[0].app["phone"] == "1"
    assert len(place.sandbox.due(place.clock.now_ms)) == 1
    other = place.admin("act", op="create", object="contact", fields={})["id"]
    merged = place.admin("act", op="merge", object="contact", id=own, fields={"other": other})["id"]
    assert CONNECTOR.read(place.api, CONTACTS, [other])[0].native_id == merged
    place.admin("act", op="delete", object="contact", id=merged)
    place.admin("act", op="restore", object="contact", id=merged)
    assert CONNECTOR.read(place.api, CONTACTS, [merged])[0].state == "live"
    assert place.host.state()["records"]["contacts"] == before + 1


def test_calls_are_told_apart_by_what_they_do(place: Place) -> None:
    """A batch read is a read although it is a POST, so a plan is seen to write nothing."""
    before = dict(place.host.state()["calls"])
    cursor = CONNECTOR.begin(place.api, CONTACTS, place.clock.now_ms - 86_400_000_000)
    page = CONNECTOR.changes(place.api, CONTACTS, cursor)
    assert page.readings
    after = place.host.state()["calls"]
    assert {k: after[k] - before[k] for k in before} == {"read": 3, "search": 1, "write": 0}


def test_an_act_that_hubspot_refuses_says_why(place: Place) -> None:
    """A person cannot break the laws either."""
    for body in (
        {"op": "update", "object": "contact", "id": "9", "fields": {}},
        {"op": "dance", "object": "contact"},
        {"op": "create", "object": "contact", "fields": {"no_such": "1"}},
    ):
        request = httpx.Request("POST", f"{BASE}/_sandbox/act", json=body)
        assert place.host.handle(request).status_code == httpx.codes.BAD_REQUEST
