"""kill -9 at any moment, then start again: nothing lost, nothing written twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx
import pytest

from connectors._kit.population import clean
from connectors._kit.serve import Served
from tests.end_to_end.conftest import Site

KILLS, IN_FLIGHT = 20, 5
STRUCK = ("stripe", "mailchimp", "zendesk")  # the edits are made in the CRM


@dataclass
class Slow(Served):
    """A sandbox that lets a test strike between a write being applied and its answer."""

    applied: threading.Event = field(default_factory=threading.Event)
    slow: bool = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Apply at once, answer a moment later."""
        found = super().answer(request)
        if self.slow and self.host.sandbox.kind(request) == "write":
            self.applied.set()
            time.sleep(0.5)
        return found


def edit(site: Site, n: int, ids: list[str]) -> tuple[str, str]:
    """A person types a token of its own into a CRM contact; (e-mail, token)."""
    native = ids[n % len(ids)]
    token = f"{n} Token Road"
    site.act("hubspot", "update", "contacts", native, address=token, city="Leeds", country="GB")
    return native, token


@pytest.mark.timeout(600)
def test_twenty_kills(make_site: Callable[..., Site]) -> None:
    """Each edit's token arrives once, no customer is made twice, the history stays whole."""
    site = make_site(10, Slow, ("hubspot", *STRUCK))
    dice = random.Random(11)
    site.up()
    site.connect()
    # Who shares a mailbox waits for a steward; the others are linked for sure.
    ids = [str(1001 + 2 * place) for place in range(8) if clean(3, 10, "hubspot", place)]
    last: dict[str, str] = {}
    in_flight = 0
    for n in range(KILLS):
        site.act("hubspot", "create", "contacts", email=f"new{n}@x.example.com",
                 firstname="New", lastname=f"Person{n}")  # fmt: skip
        native, token = edit(site, n, ids)
        last[native] = token
        in_flight += strike(site, dice, n)
        site.up()
    assert in_flight >= IN_FLIGHT, f"only {in_flight} kills hit a write in flight"
    assert site.quiet(120)
    arrived(site, last)
    assert site.call("verify", "--refold").returncode == 0
    assert site.stop() == 0


def strike(site: Site, dice: random.Random, n: int) -> bool:
    """Kill the hub: every second time while a write is applied and not yet answered."""
    tool = site.served[STRUCK[n // 2 % len(STRUCK)]]
    assert isinstance(tool, Slow)
    tool.applied.clear()
    tool.slow = n % 2 == 0
    hit = tool.applied.wait(8) if tool.slow else False
    if not tool.slow:
        time.sleep(dice.random() * 1.5)
    site.kill()
    tool.slow = False
    return hit


def arrived(site: Site, last: dict[str, str]) -> None:
    """The last token of each contact is in billing, and every new person is there once."""
    lines = Counter(str((c.get("address") or {}).get("line1")) for c in site.billed())
    missing = [t for t in last.values() if lines[t] != 1]
    mails = Counter(str(c["email"]) for c in site.billed())
    ours = Counter(str(c["metadata"].get("synchub_id")) for c in site.billed())
    assert not missing, missing
    assert all(mails[f"new{n}@x.example.com"] == 1 for n in range(KILLS)), mails
    assert all(count == 1 for own, count in ours.items() if own != "None"), ours
    for vendor, obj in (("mailchimp", "members"), ("zendesk", "users")):
        host = site.served[vendor].host
        held = Counter(r.external_id for r in host.sandbox.holds(obj).values() if r.external_id)
        known = [m for r in host.sandbox.holds(obj).values() for m in new_in(r.app)]
        assert all(count == 1 for count in held.values()), (vendor, held)
        assert Counter(known) == Counter(f"new{n}@x.example.com" for n in range(KILLS)), vendor


def new_in(app: Mapping[str, object]) -> list[str]:
    """The address of a record, where it is of somebody whom this test has created."""
    mail = str(app.get("email_address") or app.get("email") or "")
    return [mail] if mail.startswith("new") else []
