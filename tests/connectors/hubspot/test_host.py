"""The connector through the hub's own HTTP client, against a sandbox that is made to fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from connectors._kit.contract import Write
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


def create(email: str) -> Write:
    """A create of a contact."""
    return Write("create", "", {"email": email}, f"uid-{email}", f"key-{email}")


@pytest.mark.parametrize("kind", ["error_after", "cut_after", "hang_after"])
def test_a_create_without_an_answer_is_unknown_and_found(place: Place, kind: str) -> None:
    """The record is there, nobody was told: it is found by our id, and never made twice."""
    place.admin("fault", kind=kind)
    write = create("new@x.example")
    assert CONNECTOR.write(place.api, CONTACTS, [write])[0].outcome == "unknown"
    (found,) = CONNECTOR.find(place.api, CONTACTS, write)
    (again,) = CONNECTOR.write(place.api, CONTACTS, [write])
    assert (again.outcome, again.native_id) == ("rejected", found.native_id)


def test_a_throttled_write_may_be_tried_again(place: Place) -> None:
    """429 says that nothing was applied, and for how long to stay away."""
    place.admin("throttle", count=1, retry_after=7)
    (answer,) = CONNECTOR.write(place.api, CONTACTS, [create("new@x.example")])
    assert (answer.outcome, answer.after_ms) == ("retry", 7_000)
    assert CONNECTOR.find(place.api, CONTACTS, create("new@x.example")) == ()


def test_reads_get_over_short_failures(place: Place) -> None:
    """A listing goes on after an error and after a limit, and every customer comes once."""
    place.admin("fault", kind="error_before", count=2)
    found: list[str] = []
    cursor, done = "", False
    while not done:
        page = CONNECTOR.listing(place.api, CONTACTS, cursor)
        found += [r.native_id for r in page.readings]
        cursor, done = page.cursor, page.done
    assert len(set(found)) == len(found) == place.sandbox.desk.portal.tables["contacts"].live


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
