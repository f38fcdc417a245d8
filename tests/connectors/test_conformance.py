"""Every connector that has a sandbox keeps the contract: see connectors/_kit/conformance.py."""

from __future__ import annotations

import pytest

from connectors._kit.conformance import CHECKS, Check
from connectors._kit.trial import maker, objects
from tests.connectors.tools import connect


@pytest.mark.parametrize("one", CHECKS, ids=lambda one: one.__name__)
@pytest.mark.parametrize(("vendor", "obj"), objects())
def test_conformance(vendor: str, obj: str, one: Check) -> None:
    """The check holds for this object of this connector."""
    one(maker(vendor, obj, connect))
