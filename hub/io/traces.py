"""Traces in the W3C's form: one edit can be followed from a webhook to the last write.

What comes from outside is taken over where it is well-formed. What is done for a change is done
inside of `following`: log lines and writes that leave the hub there carry its trace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from hub.io.log import traceparent

HEADER = "traceparent"
W3C = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
CURRENT: ContextVar[str] = ContextVar(HEADER, default="")


def trace_in(header: str) -> str:
    """The trace in a `traceparent` of any version, 32 hexadecimal digits, "" where it is none."""
    found = W3C.fullmatch(header)
    if not found:
        return ""
    version, trace, parent, more = found.groups()
    known = version != "ff" and not (version == "00" and more)
    return trace if known and int(trace, 16) and int(parent, 16) else ""


@contextmanager
def following(trace: str, what: str) -> Iterator[None]:
    """Do this for a change: `what` names the act, and a trace that is not known ("") none."""
    token = CURRENT.set(traceparent(trace, what)[HEADER] if trace else "")
    try:
        yield
    finally:
        CURRENT.reset(token)


def current() -> str:
    """The trace that is followed here, "" for none."""
    return trace_in(CURRENT.get())


def headers() -> Mapping[str, str]:
    """What a request carries that is sent here."""
    return {HEADER: value} if (value := CURRENT.get()) else {}
