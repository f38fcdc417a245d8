"""What the tests of all connectors share: the hub's own client to a connector on trial."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from connectors._kit.contract import Connector
from connectors._kit.trial import VirtualClock
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
