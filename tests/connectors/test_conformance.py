"""Every connector that has a sandbox keeps the contract: see connectors/_kit/conformance.py."""

from __future__ import annotations

import pytest

from connectors._kit import serve
from connectors._kit.conformance import CHECKS, Check
from connectors._kit.sandbox import HostTransport
from connectors._kit.trial import VirtualClock, maker, objects
from hub import wiring
from tests.connectors.tools import connect


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.__name__)
@pytest.mark.parametrize(("vendor", "obj"), objects())
def test_conformance(vendor: str, obj: str, one: Check) -> None:
    """The check holds for this object of this connector."""
    one(maker(vendor, obj, connect))


@pytest.mark.parametrize("vendor", serve.vendors())
def test_a_check_tells_what_prepare_will_make(vendor: str) -> None:
    """Before anything is prepared; and it writes nothing."""
    host, connector = serve.host(vendor, seed=1, customers=0), wiring.connector(vendor)
    api = connect(connector, HostTransport(host), host.sandbox.auth, VirtualClock())
    missing = connector.check(api)
    assert host.counts["write"] == 0
    assert missing == tuple(f"{one}: apply makes it" for one in connector.prepare(api))
