"""The sandbox obeys Stripe's laws, by the word of Stripe's own client and of our connector."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
import stripe

from connectors._kit import serve
from connectors._kit.contract import Forged, Inbound, Limits, Malformed, Stale, Unreadable, Write
from connectors._kit.sandbox import HostTransport
from connectors._kit.serve import Served
from connectors.stripe.connector import CONNECTOR, CUSTOMERS, sign
from hub.io.http import Budget, HttpApi


@pytest.fixture
def served() -> Iterator[Served]:
    """A sandbox with some customers, over real HTTP."""
    one = Served(serve.host("stripe", 1, 130)).start()
    yield one
    one.stop()


def now() -> int:
    """Milliseconds."""
    return time.time_ns() // 1_000_000


@pytest.fixture
def api(served: Served) -> Iterator[HttpApi]:
    """The hub's client, straight into the sandbox."""
    budget = Budget(Limits(100_000, 1_000), now, time.sleep)
    made = HttpApi("http://stripe", lambda: CONNECTOR.authorize(served.host.sandbox.auth), budget,
                   HostTransport(served.host))  # fmt: skip
    yield made
    made.close()


def client(served: Served) -> stripe.StripeClient:
    """Stripe's own client."""
    return stripe.StripeClient("sk_test_sandbox", base_addresses={"api": served.base_url})


def test_the_vendors_client_can_drive_it(served: Served) -> None:
    """Create, read, update, clear, list by e-mail, events, delete: all through the SDK."""
    sdk = client(served)
    made = sdk.v1.customers.create(
        {"name": "Zed Q", "email": "z@x.com", "address": {"city": "Bonn", "country": "DE"},
         "metadata": {"a": "1"}})  # fmt: skip
    sdk.v1.customers.update(made.id, {"phone": "+491701234567", "metadata": {"a": ""}})
    read = sdk.v1.customers.retrieve(made.id)
    assert (read.phone, read.address and read.address.city) == ("+491701234567", "Bonn")
    assert read.to_dict()["metadata"] == {}
    assert [c.id for c in sdk.v1.customers.list({"email": "z@x.com"}).data] == [made.id]
    every = list(sdk.v1.customers.list({"limit": 50}).auto_paging_iter())
    assert len({c.id for c in every}) == served.host.state()["records"]["customers"]
    events = sdk.v1.events.list({"type": "customer.updated"}).data
    assert events[0].data.previous_attributes["phone"] is None  # type: ignore[index]
    assert sdk.v1.customers.delete(made.id).deleted
    assert sdk.v1.customers.retrieve(made.id).deleted
    with pytest.raises(stripe.InvalidRequestError) as failure:
        sdk.v1.customers.create({"email": "nonsense"})
    assert failure.value.param == "email"


def test_idempotency_keys(served: Served) -> None:
    """The same key and parameters make one customer; other parameters are refused."""
    sdk = client(served)
    options: stripe.RequestOptions = {"idempotency_key": "k1"}
    one = sdk.v1.customers.create({"email": "i@x.com"}, options)
    two = sdk.v1.customers.create({"email": "i@x.com"}, options)
    assert one.id == two.id
    with pytest.raises(stripe.IdempotencyError):
        sdk.v1.customers.create({"email": "j@x.com"}, options)


def test_listing_and_changes_miss_nothing(api: HttpApi, served: Served) -> None:
    """The listing shows every customer once; what changes after `begin` is seen once."""
    cursor, ids = CONNECTOR.begin(api, CUSTOMERS, now()), list[str]()
    at, done = "", False
    while not done:
        page = CONNECTOR.listing(api, CUSTOMERS, at)
        ids += [r.native_id for r in page.readings]
        at, done = page.cursor, page.done
    assert len(ids) == len(set(ids)) == served.host.state()["records"]["customers"]
    served.host.sandbox.act("update", "customers", ids[3], {"phone": "+1"})
    served.host.sandbox.act("delete", "customers", ids[4], {})
    page = CONNECTOR.changes(api, CUSTOMERS, cursor)
    assert {(r.native_id, r.state) for r in page.readings} == {(ids[3], "live"),
                                                              (ids[4], "deleted")}  # fmt: skip
    assert CONNECTOR.changes(api, CUSTOMERS, page.cursor).readings == ()


def test_an_old_cursor_asks_for_a_full_pass(api: HttpApi) -> None:
    """Events older than thirty days are gone, and the connector says so."""
    old = CONNECTOR.begin(api, CUSTOMERS, now() - 40 * 86_400_000)
    assert CONNECTOR.changes(api, CUSTOMERS, old).expired


def test_writes_and_their_outcomes(api: HttpApi, served: Served) -> None:
    """Done, stale, rejected, unknown and retry are told apart; a lost create is found again."""
    create = Write("create", "", {"name": "Zed", "email": "w@x.com"}, "ext-1", "k1")
    (made,) = CONNECTOR.write(api, CUSTOMERS, [create])
    outcomes = [a.outcome for a in CONNECTOR.write(api, CUSTOMERS, [
        Write("update", made.native_id, {"phone": "1", "name": None}, "ext-1", "k2"),
        Write("update", "cus_nobody", {"phone": "1"}, "", "k3"),
        Write("update", made.native_id, {"email": "bad"}, "ext-1", "k4"),
    ])]  # fmt: skip
    assert outcomes == ["done", "stale", "rejected"]
    (read,) = CONNECTOR.read(api, CUSTOMERS, [made.native_id])
    assert (read.app["phone"], read.app["name"], read.app["email"]) == ("1", None, "w@x.com")
    lost = Write("create", "", {"email": "lost@x.com"}, "ext-2", "k5")
    for fault, wanted in (("cut_after", "unknown"), ("throttle", "retry")):
        httpx.post(f"{served.base_url}/_sandbox/fault", trust_env=False,
                   json={"kind": fault, "count": 1}).raise_for_status()  # fmt: skip
        assert CONNECTOR.write(api, CUSTOMERS, [lost])[0].outcome == wanted
    assert [r.external_id for r in CONNECTOR.find(api, CUSTOMERS, lost)] == ["ext-2"]


def inbound(body: bytes, header: str) -> Inbound:
    """A webhook as it arrives now."""
    return Inbound("POST", "http://hub/webhooks/stripe", {"stripe-signature": header}, body, now())


def test_webhooks_are_checked() -> None:
    """Good, rotated, forged, old and senseless ones are told apart."""
    secrets, stamp = {"webhook_secret": "s"}, now() // 1000
    body = (b'{"id":"evt_1","type":"customer.updated","created":1,'
            b'"data":{"object":{"id":"cus_1","object":"customer"}}}')  # fmt: skip
    good = sign("s", stamp, body)
    (hint,) = CONNECTOR.hints(inbound(body, good), secrets)
    assert (hint.object, hint.native_id, hint.key) == ("customers", "cus_1", "evt_1")
    assert CONNECTOR.hints(inbound(body, f"{good},v1=00"), secrets)
    for header in ("", "t=1", f"t={stamp},v1=é", f"t={stamp},v1=00", sign("other", stamp, body)):
        with pytest.raises(Forged):
            CONNECTOR.hints(inbound(body, header), secrets)
    with pytest.raises(Stale) as failure:
        CONNECTOR.hints(inbound(body, sign("s", stamp - 600, body)), secrets)
    assert failure.value.hints
    for senseless in (b"", b"[]", b'{"id":1}', b"\xff"):
        with pytest.raises(Malformed):
            CONNECTOR.hints(inbound(senseless, sign("s", stamp, senseless)), secrets)


@pytest.mark.parametrize(
    "answer", [{"data": "x"}, {}, [], {"data": [{"id": "cus_1"}], "has_more": True}, "text", None]
)
def test_hostile_answers_are_not_believed(answer: object) -> None:
    """Wrong types and pages without progress are refused, never guessed at."""
    budget = Budget(Limits(1_000, 1_000), now, time.sleep)
    api = HttpApi("http://stripe", dict, budget,
                  httpx.MockTransport(lambda _: httpx.Response(200, json=answer)))  # fmt: skip
    with pytest.raises(Unreadable):
        CONNECTOR.listing(api, CUSTOMERS, "cus_1")
    api.close()
