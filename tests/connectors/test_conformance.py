"""Every connector that has a sandbox keeps the contract: see connectors/_kit/conformance.py."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest

from connectors._kit.conformance import CHECKS, Check
from connectors._kit.contract import Connector
from connectors._kit.trial import VirtualClock, maker, objects
from hub.io.http import Budget, HttpApi


def connect(
    connector: Connector,
    transport: httpx.BaseTransport,
    secrets: Mapping[str, str],
    clock: VirtualClock,
) -> HttpApi:
    """The hub's own client, on virtual time."""
    budget = Budget(connector.limits, clock, clock.sleep)
    return HttpApi(
        "http://tool.test", lambda: connector.authorize(secrets), budget, transport, secrets
    )


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.__name__)
@pytest.mark.parametrize(("vendor", "obj"), objects())
def test_conformance(vendor: str, obj: str, one: Check) -> None:
    """The check holds for this object of this connector."""
    one(maker(vendor, obj, connect))
