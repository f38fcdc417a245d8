"""The whole hub against a billing server that is not ours, driven by the vendor's own client."""

from __future__ import annotations

from pathlib import Path

import httpx
import stripe

from connectors._kit import serve
from hub import commands, opening
from hub.listeners import wait_for
from hub.logs import be_quiet
from hub.opening import Folder
from hub.running import running
from hub.status import status
from tests.connectors.stripe.tools import localstripe

KEY = "sk_test_12345"


def test_edits_travel_both_ways(tmp_path: Path) -> None:
    """A customer edited through the SDK reaches HubSpot; an edit in HubSpot reaches localstripe."""
    be_quiet()
    served = serve.start(["hubspot"], 1, 0)
    hubspot = served["hubspot"]
    with localstripe() as address:
        client = stripe.StripeClient(KEY, base_addresses={"api": address})
        made = client.v1.customers.create({"name": "Ada Byron", "email": "ada@x.example.com"})
        folder = Folder(tmp_path / "hub")
        billing = {
            "base_url": address,
            "calls_per_second": 100,
            "auth": {"secret_key": KEY, "webhook_secret": "whsec_local"},
        }
        opening.init(folder, {**serve.described(served), "stripe": billing}, (0, 0))
        assert folder.hub().systems["stripe"].account == "none"
        with running(folder) as up:
            hub = up.opened.hub
            listen(address, up.webhooks.port)
            assert wait_for(lambda: status(hub)["systems"]["hubspot"]["to_create"], 30)
            commands.apply(hub, commands.plan(hub)["run"])
            native = in_hubspot(hubspot, "ada@x.example.com")
            client.v1.customers.update(made.id, {"phone": "+442079460000"})
            assert wait_for(lambda: held(hubspot, native, "phone") == "+442079460000", 30)
            hubspot.host.sandbox.act("update", "contacts", native, {"lastname": "Lovelace"})
            assert wait_for(
                lambda: client.v1.customers.retrieve(made.id).name == "Ada Lovelace", 30
            )
    hubspot.stop()


def listen(address: str, port: int) -> None:
    """Localstripe sends its webhooks to the hub."""
    httpx.post(
        f"{address}/_config/webhooks/hub", auth=(KEY, ""), trust_env=False,
        json={"url": f"http://127.0.0.1:{port}/webhooks/stripe", "secret": "whsec_local"},
    ).raise_for_status()  # fmt: skip


def in_hubspot(hubspot: serve.Served, mail: str) -> str:
    """The contact with this address, once it is there."""
    found: list[str] = []

    def look() -> bool:
        answer = httpx.post(
            f"{hubspot.base_url}/crm/v3/objects/contacts/batch/read",
            trust_env=False,
            headers={"Authorization": "Bearer x"},
            json={"idProperty": "email", "properties": ["email"], "inputs": [{"id": mail}]},
        )
        found[:] = [r["id"] for r in answer.json().get("results", [])]
        return bool(found)

    assert wait_for(look, 30)
    return found[0]


def held(hubspot: serve.Served, native: str, name: str) -> str:
    """A property as HubSpot holds it now."""
    answer = httpx.get(
        f"{hubspot.base_url}/crm/v3/objects/contacts/{native}", params={"properties": name},
        headers={"Authorization": "Bearer x"}, trust_env=False)  # fmt: skip
    return str(answer.json()["properties"].get(name))
