"""No customer gets into a log, whatever is handed to it."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from typing import Any

import orjson
import structlog

from hub import logs

CANARY = "jane.canary@example.com"


class Terminal(io.StringIO):
    """A stderr that says that it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def logged(work: Callable[[], object], stream: io.StringIO) -> str:
    """What the work logs to this stderr."""
    with contextlib.redirect_stderr(stream):
        logs.configure()
        try:
            work()
        finally:
            logs.be_quiet()
    return stream.getvalue()


def lines(work: Callable[[], object]) -> list[dict[str, Any]]:
    """The same, parsed."""
    return [orjson.loads(line) for line in logged(work, io.StringIO()).splitlines()]


def fail() -> None:
    """An error whose text quotes a customer."""
    raise ValueError(CANARY)


def test_only_listed_fields_are_logged() -> None:
    """What is not on the list is dropped, and its name is shown."""
    log = structlog.get_logger()
    (line,) = lines(lambda: log.warning("batch_broken", system="crm", why=CANARY, email=CANARY))
    assert (line["event"], line["system"], line["level"]) == ("batch_broken", "crm", "warning")
    assert line["dropped"] == ["email", "why"]
    assert CANARY not in str(line)


def test_an_event_is_a_plain_name() -> None:
    """A sentence may quote anything, so it is not logged."""
    (line,) = lines(lambda: structlog.get_logger().info(f"read {CANARY}"))
    assert line["event"] == "unnamed"


def test_an_error_is_its_class_and_place() -> None:
    """The text of an error is left out, what helps to find it is not."""

    def work() -> None:
        try:
            fail()
        except ValueError:
            structlog.get_logger().exception("step_failed", loop="resolve")

    (line,) = lines(work)
    assert line["error"] == "ValueError"
    assert line["at"].endswith("fail")
    assert CANARY not in str(line)
    assert CANARY not in logged(work, Terminal())


def test_libraries_log_the_same_way() -> None:
    """Of a library's warning its name and the error's class are kept."""

    def work() -> None:
        try:
            fail()
        except ValueError:
            logging.getLogger("uvicorn.error").exception("broke on %s", CANARY)
        logging.getLogger("httpx").info("GET /%s", CANARY)

    (line,) = lines(work)
    assert (line["source"], line["error"]) == ("uvicorn.error", "ValueError")
    assert CANARY not in str(line)


def test_a_person_gets_lines_to_read() -> None:
    """On a terminal it is no JSON."""
    text = logged(lambda: structlog.get_logger().info("started", count=3), Terminal())
    assert "started" in text
    assert not text.startswith("{")


def test_quiet_is_quiet() -> None:
    """Nothing is logged where nobody wants it."""
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        logs.be_quiet()
        structlog.get_logger().error("step_failed")
    assert not stream.getvalue()
