"""What the hub logs: events with a list of allowed fields, so that no customer gets into a log.

An error is logged as its class and the place where it was raised, never its text: a text may
quote what a tool has sent. Fields that are not listed are dropped, and their names shown. On a
terminal the lines are for a person, else they are JSON.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from hub.io import traces

FIELDS = "loop system object run count hint source error at trace cause outcome"
ALLOWED = frozenset(["timestamp", "level", "event", "dropped", *FIELDS.split()])
NAME = re.compile(r"[a-z][a-z0-9_]*")


def configure(level: int = logging.INFO) -> None:
    """Log to stderr, once for the process; libraries' warnings go the same way."""
    for_a_person = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            with_error,
            with_trace,
            only_allowed,
            structlog.dev.ConsoleRenderer()
            if for_a_person
            else structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    logging.basicConfig(handlers=[Libraries()], level=logging.WARNING, force=True)


def be_quiet() -> None:
    """Only what is worth waking somebody for."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def with_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The error that is being handled, where there is one: its class and where it was raised."""
    event.pop("exc_info", None)
    error = sys.exc_info()[1]
    if error is not None:
        event["error"], event["at"] = type(error).__name__, place(error.__traceback__)
    return event


def with_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The trace of the change that something was done for, where there is one."""
    trace = event.pop("trace", "") or traces.current()
    return {**event, "trace": trace} if trace else event


def place(trace: TracebackType | None) -> str:
    """The last steps to an error, without the values in them."""
    steps = traceback.extract_tb(trace)[-4:]
    return " > ".join(f"{s.filename.rpartition('/')[2]}:{s.lineno} {s.name}" for s in steps)


def only_allowed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop what is not on the list; an event that is no plain name may hold anything."""
    kept: dict[str, Any] = {k: v for k, v in event.items() if k in ALLOWED}
    if not NAME.fullmatch(str(event.get("event"))):
        kept["event"] = "unnamed"
    if dropped := sorted(event.keys() - ALLOWED):
        kept["dropped"] = dropped
    return kept


class Libraries(logging.Handler):
    """What libraries log: which one, how bad, and the error; their texts may hold anything."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it as an event of ours."""
        error = record.exc_info[1] if record.exc_info else None
        more = {"error": type(error).__name__, "at": place(error.__traceback__)} if error else {}
        log = structlog.get_logger()
        log.log(record.levelno, "of_a_library", source=record.name, **more)
