"""Bad input from outside: a clear answer, counted and visible, nothing lost or stopped by it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
import pytest

from connectors._kit.webhooks import sign
from hub import commands
from hub.io.rows import Store
from hub.logs import be_quiet
from hub.opening import Folder
from hub.running import Running, running
from hub.status import status
from tests.end_to_end.conftest import Site, wait


@pytest.fixture
def up(make_site: Callable[..., Site]) -> Iterator[tuple[Site, Running]]:
    """A hub that is up in this process."""
    be_quiet()
    site = make_site(10)
    with hub_up(site.folder) as one:
        wait(lambda: status(one.opened.hub)["systems"]["stripe"]["records"] >= 6, 30)
        yield site, one


@contextmanager
def hub_up(folder: Folder) -> Iterator[Running]:
    """The hub, until the block ends."""
    with running(folder) as one:
        yield one


def event(customer: str, own: str = "evt_x") -> bytes:
    """A Stripe event about a customer."""
    return orjson.dumps({"id": own, "type": "customer.updated", "created": int(time.time()),
                         "data": {"object": {"id": customer, "object": "customer"}}})  # fmt: skip


def post(one: Running, body: bytes, signature: str | None = None, at: int | None = None) -> int:
    """Deliver a webhook to the hub."""
    stamp = int(time.time()) if at is None else at
    header = sign("whsec_sandbox", stamp, body) if signature is None else signature
    answer = httpx.post(
        f"http://127.0.0.1:{one.webhooks.port}/webhooks/stripe", content=body, trust_env=False,
        headers={"Stripe-Signature": header})  # fmt: skip
    return answer.status_code


def counters(one: Running) -> dict[str, int]:
    """What the hub has counted for Stripe."""
    found: dict[str, int] = status(one.opened.hub)["systems"]["stripe"]["counters"]
    return found


def hints(one: Running) -> list[dict[str, Any]]:
    """All webhooks' hints."""
    found = one.opened.hub.env.view(lambda rows: rows.select("hint", {"system": "stripe"}))
    return [h for h in found if not h["id"].startswith("again:")]


def test_no_webhook_is_taken_where_none_is_wanted(make_site: Callable[..., Site]) -> None:
    """`webhooks: false` refuses even a rightly signed one, and says why."""
    site = make_site(5)
    path = site.folder.path / "hub.yaml"
    path.write_text(path.read_text().replace("  stripe:\n", "  stripe:\n    webhooks: false\n"))
    be_quiet()
    with hub_up(site.folder) as one:
        assert post(one, event(CUSTOMER)) == 404
        url = f"http://127.0.0.1:{one.webhooks.port}/webhooks"
        assert "webhooks: false" in httpx.get(f"{url}/stripe", trust_env=False).text
        assert httpx.get(f"{url}/hubspot", trust_env=False).status_code == 200


CUSTOMER = "cus_" + "1".rjust(14, "0")


def test_webhooks(up: tuple[Site, Running]) -> None:
    """Forged, replayed, old, truncated, oversized and senseless webhooks each get their answer."""
    _, one = up
    good = event(CUSTOMER)
    assert post(one, good) == 200
    assert post(one, good) == 200, "a replay is taken and changes nothing"
    assert len([h for h in hints(one) if h["id"] == "stripe:evt_x"]) == 1
    assert post(one, good, signature="t=1,v1=00") == 401
    assert post(one, good, signature="") == 401
    assert post(one, good + b" ") == 200
    assert counters(one)["webhooks forged"] == 2
    assert post(one, event(CUSTOMER, "evt_old"), at=int(time.time()) - 3_600) == 400
    assert counters(one)["webhooks too old"] == 1
    assert any(h["kind"] == "too old" for h in hints(one)), "it is read again"
    assert post(one, good[: len(good) // 2]) == 400
    assert post(one, b"not json") == 400
    assert post(one, b"[]") == 400
    assert counters(one)["webhooks malformed"] == 3
    assert post(one, b"x" * 2_000_000) == 413
    assert counters(one)["webhooks too large"] == 1
    parked = commands.parked(one.opened.hub)["parked"]
    assert any(p["kind"] == "webhook" for p in parked)
    assert wait(lambda: all(h["state"] != "open" for h in hints(one)), 20)


def test_answers_of_the_wrong_shape(up: tuple[Site, Running]) -> None:
    """A tool that answers nonsense is shown as failing; the other one goes on."""
    site, one = up
    stripe = site.served["stripe"]
    honest = stripe.host.sandbox.handle
    stripe.host.sandbox.handle = lambda request: httpx.Response(  # type: ignore[method-assign]
        200, json={"data": [{"id": 7}, "x", None], "has_more": True}
        if request.url.path.endswith("customers") else {"data": "?"})  # fmt: skip
    assert wait(lambda: status(one.opened.hub)["systems"]["stripe"]["last_failure"], 20)
    site.act("hubspot", "create", "contacts", email="late@x.example.com", firstname="Late")
    known = one.opened.hub
    assert wait(lambda: _found(known, "late@x.example.com"), 20)
    stripe.host.sandbox.handle = honest  # type: ignore[method-assign]
    native = site.act("stripe", "create", "customers", email="after@x.example.com")
    assert native
    assert wait(lambda: _found(known, "after@x.example.com"), 60), "it recovers by itself"


def _found(hub: Any, who: str) -> bool:
    try:
        return bool(commands.explain(hub, who))
    except commands.Wrong:
        return False


def test_a_poisoned_input_blocks_its_own_record_only(up: tuple[Site, Running]) -> None:
    """An input that does not decode is parked; others resolve; a later reading repairs it."""
    site, one = up
    hub = one.opened.hub
    native = site.act("hubspot", "create", "contacts", email="p@x.example.com", firstname="P")
    assert wait(lambda: _found(hub, "p@x.example.com"), 20)
    poison(one.opened.store, hub, "contacts", native)
    site.act("hubspot", "create", "contacts", email="q@x.example.com", firstname="Q")
    assert wait(lambda: _found(hub, "q@x.example.com"), 20)
    items = [p for p in commands.parked(hub)["parked"] if p["kind"] == "input"]
    assert len(items) == 1
    commands.replay(hub, items[0]["id"])
    site.act("hubspot", "update", "contacts", native, jobtitle="Repaired")
    assert wait(lambda: "Repaired" in str(commands.explain(hub, "p@x.example.com")), 20)


def poison(store: Store, hub: Any, obj: str, native: str) -> None:
    """Damage the sealed body of a waiting input of one record."""

    def work(rows: Any) -> None:
        uid = rows.get("alias", system="hubspot", object=obj, native_id=native)["uid"]
        rows.lock([uid])
        row = rows.get("record", uid=uid)
        damaged = {"uid": uid, "seq": row["next_seq"], "kind": "observation", "status": "pending"}
        body = b"\x01damaged bytes that open with no key at all"
        rows.insert("input", {**damaged, "at": 1, "start": 1, "end": 1, "body": body})
        rows.update("record", {"uid": uid}, {"next_seq": row["next_seq"] + 1})
        hub.log.publish(rows, f"cdc.hubspot.{obj}", uid.encode(), b"", {}, 1)

    store.transact(work)
    hub.env.wake("resolve")
