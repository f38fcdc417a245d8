"""kill -9 at any moment, then start again: nothing lost, nothing written twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from connectors._kit.population import clean
from connectors._kit.serve import Served
from tests.end_to_end.conftest import Site, wait

KILLS, IN_FLIGHT = 20, 5


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


def test_twenty_kills(make_site: Callable[..., Site]) -> None:
    """Each edit's token arrives once, no customer is made twice, the history stays whole."""
    site = make_site(10, Slow)
    dice = random.Random(11)
    site.up()
    site.connect()
    # Who shares a mailbox waits for a steward; the others are linked for sure.
    ids = [str(1001 + 2 * place) for place in range(8) if clean(3, 10, "hubspot", place)]
    last: dict[str, str] = {}
    in_flight = 0
    for n in range(KILLS):
        new = site.act("hubspot", "create", "contacts", email=f"new{n}@x.example.com",
                       firstname="New", lastname=f"Person{n}")  # fmt: skip
        native, token = edit(site, n, ids)
        last[native] = token
        del new
        in_flight += strike(site, dice, n)
        site.up()
    assert in_flight >= IN_FLIGHT, f"only {in_flight} kills hit a write in flight"
    assert site.quiet(120)
    arrived(site, last)
    assert site.call("verify", "--refold").returncode == 0
    assert site.stop() == 0


def strike(site: Site, dice: random.Random, n: int) -> bool:
    """Kill the hub: every second time while a write is applied and not yet answered."""
    stripe = site.served["stripe"]
    assert isinstance(stripe, Slow)
    stripe.applied.clear()
    stripe.slow = n % 2 == 0
    hit = stripe.applied.wait(8) if stripe.slow else False
    if not stripe.slow:
        time.sleep(dice.random() * 1.5)
    site.kill()
    stripe.slow = False
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
    assert wait(lambda: True, 0)
