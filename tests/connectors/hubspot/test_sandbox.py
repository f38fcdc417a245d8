"""The sandbox's own laws: webhooks from end to end, and what HubSpot is known for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest

from connectors._kit.contract import Hint, Inbound, Write
from connectors.hubspot.connector import CONNECTOR, CONTACTS
from tests.connectors.hubspot.tools import BASE, Clock, DirectApi, new_sandbox

TARGET = "https://hub.example/hooks?system=hubspot"


@dataclass
class Listener:
    """A sandbox whose webhooks are taken by the connector."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.sandbox = new_sandbox(self.clock)
        self.api = DirectApi(self.sandbox.handle, self.clock)
        CONNECTOR.prepare(self.api)
        self.api.send("PUT", "/webhooks/v3/1/settings", json={"targetUrl": TARGET})
        for event in CONTACTS.webhook_events:
            own = {"propertyName": "email"} if event.endswith("propertyChange") else {}
            body = {"eventType": event, "active": True, **own}
            self.api.send("POST", "/webhooks/v3/1/subscriptions", json=body)
        self.hear()

    def act(self, method: str, path: str, body: object = None) -> Any:
        """Call the sandbox and give its answer."""
        answer = self.api.send(method, path, json=body)
        return orjson.loads(answer.body or b"{}")

    def contact(self, email: str) -> str:
        """A new contact."""
        write = Write("create", "", {"email": email}, f"uid-{email}", "k")
        return CONNECTOR.write(self.api, CONTACTS, [write])[0].native_id

    def hear(self, status: int = 200) -> list[Hint]:
        """Take what is due now, answer it with a status, and give the hints."""
        found: list[Hint] = []
        for out in self.sandbox.due(self.clock.now_ms):
            headers = {k.lower(): v for k, v in out.headers.items()}
            inbound = Inbound(out.method, out.url, headers, out.body, self.clock.now_ms)
            secrets = self.sandbox.auth
            found += CONNECTOR.hints(inbound, secrets)
            self.sandbox.settle(out.id, status)
        return found


@pytest.fixture
def listener() -> Listener:
    """A fresh one."""
    return Listener()


def kinds(hints: list[Hint]) -> list[tuple[str, str]]:
    """(kind, id) of each."""
    return [(h.kind, h.native_id) for h in hints]


def test_every_kind_of_change_is_told(listener: Listener) -> None:
    """What happens to contacts arrives signed and is understood."""
    one, two, three = (listener.contact(f"{n}@x.example") for n in "abc")
    told = kinds(listener.hear())
    assert told == [(kind, i) for i in (one, two, three) for kind in ("created", "changed")]
    base = "/crm/v3/objects/contacts"
    listener.act("DELETE", f"{base}/{one}")
    listener.sandbox.desk.portal.restore("contacts", int(one), listener.clock.now_ms, "CRM_UI")
    merged = listener.act(
        "POST", f"{base}/merge", {"primaryObjectId": one, "objectIdToMerge": two}
    )["id"]
    listener.act("POST", f"{base}/gdpr-delete", {"objectId": three})
    assert kinds(listener.hear()) == [
        ("deleted", one),
        ("restored", one),
        ("merged", merged),
        ("merged", one),
        ("merged", two),
        ("erased", three),
        ("deleted", three),
    ]


def test_an_association_is_told_although_no_search_finds_it(listener: Listener) -> None:
    """The webhook is the only news of it: the modified time stands still."""
    own = listener.contact("a@x.example")
    company = listener.act("POST", "/crm/v3/objects/companies", {"properties": {}})["id"]
    listener.hear()
    before = CONNECTOR.read(listener.api, CONTACTS, [own])[0]
    joined = Write("update", own, {}, "", "k", link=("company", str(company)))
    listener.clock.sleep(1_000)
    CONNECTOR.write(listener.api, CONTACTS, [joined])
    assert set(kinds(listener.hear())) == {("changed", own)}
    after = CONNECTOR.read(listener.api, CONTACTS, [own])[0]
    assert (before.source_ms, after.links) == (after.source_ms, {"company": (str(company),)})


def test_a_refused_webhook_comes_again_with_the_same_key(listener: Listener) -> None:
    """Ten times, further and further apart, also after a 404; the hub sees one key."""
    listener.contact("a@x.example")
    keys = {h.key for h in listener.hear(404)}
    tries = 0
    for _ in range(24 * 60):
        listener.clock.sleep(60_000)
        again = listener.hear(500)
        tries += bool(again)
        assert {h.key for h in again} <= keys
    assert tries == 10


def test_webhooks_come_in_batches_of_a_hundred(listener: Listener) -> None:
    """A hundred and twenty creates with an e-mail are 240 events in three requests."""
    for n in range(120):
        listener.sandbox.desk.portal.create(
            "contacts", {"email": f"p{n}@x.example"}, listener.clock.now_ms, "IMPORT"
        )
    out = listener.sandbox.due(listener.clock.now_ms)
    assert [len(orjson.loads(o.body)) for o in out] == [100, 100, 40]
    assert listener.sandbox.due(listener.clock.now_ms) == []


def test_archiving_moves_no_time_stamp(listener: Listener) -> None:
    """An archived record keeps its modified time and disappears from search."""
    own = listener.contact("a@x.example")
    listener.clock.sleep(60_000)
    listener.act("DELETE", f"/crm/v3/objects/contacts/{own}")
    (record,) = listener.act("GET", "/crm/v3/objects/contacts?archived=true")["results"]
    assert record["updatedAt"] < record["archivedAt"]
    listener.clock.sleep(60_000)
    assert listener.act("POST", "/crm/v3/objects/contacts/search", {})["total"] == 0


def test_an_archived_email_is_free_again(listener: Listener) -> None:
    """Only live contacts keep an address to themselves; a merged one keeps both of its own."""
    own = listener.contact("a@x.example")
    listener.act("DELETE", f"/crm/v3/objects/contacts/{own}")
    listener.clock.sleep(1)
    body = {"properties": {"email": "a@x.example"}}
    fresh = listener.act("POST", "/crm/v3/objects/contacts", body)["id"]
    assert fresh != own
    other = listener.contact("b@x.example")
    merge = {"primaryObjectId": fresh, "objectIdToMerge": other}
    merged = listener.act("POST", "/crm/v3/objects/contacts/merge", merge)["id"]
    taken = listener.act(
        "POST", "/crm/v3/objects/contacts", {"properties": {"email": "b@x.example"}}
    )
    assert taken["message"] == f"Contact already exists. Existing ID: {merged}"


def test_who_may_call_and_how_often(listener: Listener) -> None:
    """Without a token nothing is answered; the hundred-and-first call of ten seconds neither."""
    listener.clock.sleep(60_000)
    ask = httpx.Request("GET", f"{BASE}/account-info/v3/details")
    assert listener.sandbox.handle(ask).status_code == httpx.codes.UNAUTHORIZED
    ask.headers["authorization"] = "Bearer t"
    answers = [listener.sandbox.handle(ask) for _ in range(101)]
    assert {a.status_code for a in answers[:100]} == {200}
    assert answers[99].headers["x-hubspot-ratelimit-remaining"] == "0"
    assert answers[100].json()["policyName"] == "TEN_SECONDLY_ROLLING"
    listener.clock.sleep(10_000)
    assert listener.sandbox.handle(ask).status_code == httpx.codes.OK


def test_a_million_customers_cost_nothing() -> None:
    """They are listed, found by e-mail and by time, edited and merged, without being stored."""
    clock = Clock()
    sandbox = new_sandbox(clock, 1_000_000)
    api = DirectApi(sandbox.handle, clock)
    CONNECTOR.prepare(api)
    page = CONNECTOR.listing(api, CONTACTS, "1500000")
    assert (len(page.readings), page.done) == (100, False)
    first = page.readings[0]
    assert len(first.links["company"]) == 1
    mail = {"email": str(first.app["email"])}
    find = Write("create", "", mail, "uid", "k")
    assert CONNECTOR.find(api, CONTACTS, find)[0].native_id == first.native_id
    day = CONNECTOR.begin(api, CONTACTS, clock.now_ms - 3_600_000)
    recent = CONNECTOR.changes(api, CONTACTS, day)
    assert min(r.source_ms or 0 for r in recent.readings) >= clock.now_ms - 3_720_000
    change = Write("update", first.native_id, {"phone": "1"}, "", "k")
    assert CONNECTOR.write(api, CONTACTS, [change])[0].outcome == "done"
    second = page.readings[1].native_id
    merge = {"primaryObjectId": first.native_id, "objectIdToMerge": second}
    api.send("POST", "/crm/v3/objects/contacts/merge", json=merge)
    (merged,) = CONNECTOR.read(api, CONTACTS, [first.native_id, second])
    assert (merged.app["phone"], merged.links) == ("1", first.links)
    assert len(sandbox.desk.portal.tables["contacts"].versions) == 3


def test_seeded_companies_know_their_contacts(listener: Listener) -> None:
    """The four contacts of a company follow it when it is merged away."""
    listener.sandbox = new_sandbox(listener.clock, 20)
    listener.api = DirectApi(listener.sandbox.handle, listener.clock)
    base = "/crm/v3/objects/companies"
    one, two = (c["id"] for c in listener.act("GET", base)["results"][:2])
    merge = {"primaryObjectId": one, "objectIdToMerge": two}
    merged = listener.act("POST", f"{base}/merge", merge)["id"]
    ends = listener.act("GET", f"/crm/v4/objects/companies/{merged}/associations/contacts")
    assert len(ends["results"]) == 8
    contact = str(ends["results"][7]["toObjectId"])
    assert CONNECTOR.read(listener.api, CONTACTS, [contact])[0].links == {"company": (merged,)}
