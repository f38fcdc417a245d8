"""How the tests run: properties without a deadline, and with more examples in the long run."""

import os
from typing import NoReturn

import pytest
from hypothesis import settings

# The suite of the connectors lies outside of the tests; it is to tell what differed like they do.
pytest.register_assert_rewrite("connectors._kit.conformance", "connectors._kit.trial")

# Tests share their cores, so how long one example takes says nothing; pytest's timeout ends a hang.
# The short run takes the same examples each time, so that a change is judged by itself; the long
# run looks for new ones.
settings.register_profile("short", deadline=None, max_examples=200, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=2_000)
settings.load_profile("long" if os.environ.get("HUB_TEST_LONG") == "1" else "short")
# The conformance suite lives beside the connectors; its asserts shall say as much as a test's.
pytest.register_assert_rewrite("connectors._kit.conformance", "connectors._kit.trial")


def lacking(part: str, why: str) -> NoReturn:
    """Skip for want of a real part (browser, …); a failure where HUB_TEST_REQUIRE names it."""
    wanted = os.environ.get("HUB_TEST_REQUIRE", "").split(",")
    if part in (w.strip() for w in wanted):
        pytest.fail(f"HUB_TEST_REQUIRE wants {part}: {why}")
    pytest.skip(why)


@pytest.fixture
def kafka() -> str:
    """The address of a broker."""
    return os.environ.get("HUB_TEST_KAFKA", "") or lacking("kafka", "HUB_TEST_KAFKA names none")
