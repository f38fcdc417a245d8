"""The sandbox obeys Stripe's laws, by the word of Stripe's own client and of our connector."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import stripe

from connectors._kit import serve
from connectors._kit.contract import Actor, Forged, Inbound, Limits, Write
from connectors._kit.sandbox import HostTransport
from connectors._kit.serve import Served
from connectors._kit.webhooks import sign
from connectors.stripe.connector import CONNECTOR, CUSTOMERS, Round
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


def inbound(body: bytes, header: str) -> Inbound:
    """A webhook as it arrives now."""
    return Inbound("POST", "http://hub/webhooks/stripe", {"stripe-signature": header}, body, now())


def test_either_signature_of_a_rotation_is_taken() -> None:
    """While a secret is rotated a webhook is signed twice, and one right signature is enough."""
    stamp = now() // 1000
    body = (b'{"id":"evt_1","type":"customer.updated","created":1,'
            b'"data":{"object":{"id":"cus_1","object":"customer"}}}')  # fmt: skip
    good = sign("s", stamp, body)
    (hint,) = CONNECTOR.hints(inbound(body, f"{good},v1=00"), {"webhook_secret": "s"})
    assert (hint.object, hint.native_id, hint.key) == ("customers", "cus_1", "evt_1")
    for header in ("t=1", f"t={stamp},v1=é", f"t={stamp},v0={good[-64:]}", f"{good},t={stamp}"):
        with pytest.raises(Forged):
            CONNECTOR.hints(inbound(body, header), {"webhook_secret": "s"})


def test_an_event_tells_who_did_it(api: HttpApi, served: Served) -> None:
    """Ourselves by our key, another app by its request, and nobody is guessed for the rest."""
    cursor = CONNECTOR.begin(api, CUSTOMERS, now())
    act = served.host.sandbox.act
    theirs = client(served).v1.customers.create({"email": "a@x.example"}).id
    (ours,) = CONNECTOR.write(api, CUSTOMERS, [Write("create", "", {"name": "B"}, "uid", "k")])
    persons = act("create", "customers", "", {"email": "c@x.example"})
    both = act("create", "customers", "", {"email": "d@x.example"})
    CONNECTOR.write(api, CUSTOMERS, [Write("update", both, {"phone": "1"}, "", "k2")])
    actors = {r.native_id: r.actor for r in CONNECTOR.changes(api, CUSTOMERS, cursor).readings}
    assert (actors[theirs].kind, actors[theirs].id[:4]) == ("app", "req_")
    assert actors[ours.native_id].kind == actors[both].kind == "hub"
    assert actors[persons] == Actor("unknown", "", "dashboard or automatic")


def test_an_event_that_becomes_visible_late_is_found_once(api: HttpApi, served: Served) -> None:
    """By a wide round; the rounds between look back a little, and nothing is read twice."""
    sandbox: Any = served.host.sandbox
    began = sandbox.clock()
    time_is = [began]
    sandbox.clock = lambda: time_is[0]
    cursor = CONNECTOR.begin(api, CUSTOMERS, began)
    late, soon = (sandbox.act("create", "customers", "", {"email": f"{n}@x.com"}) for n in "ab")
    hidden = next(e for e in sandbox.events if e["data"]["object"]["id"] == late)
    place = sandbox.events.index(hidden)
    sandbox.events.remove(hidden)
    found: list[tuple[int, str]] = []
    looks: list[int] = []
    for after_s in range(0, 1_500, 30):
        time_is[0] = began + after_s * 1_000
        if after_s == 450:
            sandbox.events.insert(place, hidden)
        page = CONNECTOR.changes(api, CUSTOMERS, cursor)
        found += [(after_s, r.native_id) for r in page.readings]
        assert page.done
        cursor = page.cursor
        looks.append(time_is[0] // 1_000 - Round.of(cursor).t)
    assert sorted(native for _, native in found if native in (late, soon)) == sorted([late, soon])
    assert 450 <= next(at for at, native in found if native == late) <= 450 + 330
    assert len({native for _, native in found}) == len(found)
    assert {look for look in looks if look < 600} == {60}
    assert sum(look >= 600 for look in looks) <= 1_500 // 300


def test_what_a_webhook_brought_is_neither_read_nor_kept(api: HttpApi, served: Served) -> None:
    """However many there are: the cursor stays small."""
    cursor = CONNECTOR.begin(api, CUSTOMERS, now())
    for n in range(150):
        served.host.sandbox.act("create", "customers", "", {"email": f"{n}@x.com"})
    asked: list[str] = []

    def known(keys: Sequence[str]) -> frozenset[str]:
        asked.extend(keys)
        return frozenset(keys)

    page = CONNECTOR.changes(api, CUSTOMERS, cursor, known)
    assert page.done
    assert not page.readings
    assert len(asked) >= 150
    assert not Round.of(page.cursor).seen
