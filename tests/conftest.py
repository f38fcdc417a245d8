"""How the tests run: properties without a deadline, and with more examples in the long run."""

import logging
import os

import pytest
import structlog
from hypothesis import settings

# The suite of the connectors lies outside of the tests; it is to tell what differed like they do.
pytest.register_assert_rewrite("connectors._kit.conformance", "connectors._kit.trial")

# Tests share their cores, so how long one example takes says nothing; pytest's timeout ends a hang.
# The short run takes the same examples each time, so that a change is judged by itself; the long
# run looks for new ones.
settings.register_profile("short", deadline=None, max_examples=200, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=2_000)
settings.load_profile("long" if os.environ.get("HUB_TEST_LONG") == "1" else "short")

# As `hub.logs` has it: what is logged of each single change is for who asks for it.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))

pytest_plugins = ["tests.services"]
