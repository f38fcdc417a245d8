"""`/livez` and `/readyz`: open to anybody who reaches the private listener, and telling no secret.

Live: this process can still do something; it asks nothing outside. Ready: it may be given work, or
is a good stand-by; the store and the log are asked, for two seconds at most.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from hub import __version__
from hub.env import Hub
from hub.process import Process, Question

PATIENCE_S = 2.0
Answer = dict[str, Any]
Page = Callable[[Request], Awaitable[Response]]
LIVE, READY = "/livez", "/readyz"
OPEN = frozenset([LIVE, READY, "/healthz"])  # the last one is the older name of the first


def pages(hub: Hub) -> Mapping[str, Page]:
    """The probes by their paths."""
    asked = {
        "store": Question(lambda: hub.env.view(lambda rows: rows.get("meta", name="pepper"))),
        "log": Question(hub.log.reachable),
    }

    async def live(request: Request) -> Response:
        return answered(request, liveness(hub.process), "live")

    async def ready(request: Request) -> Response:
        return answered(request, await run_in_threadpool(readiness, hub, asked), "ready")

    return {path: ready if path == READY else live for path in OPEN}


def liveness(process: Process) -> Answer:
    """Whether the process lives; the loops that do not, each with a reason."""
    reasons = [f"{name}: {why}" for name, why in process.sick().items()]
    return {"live": not reasons, "reasons": reasons, "version": __version__}


def readiness(hub: Hub, asked: Mapping[str, Question]) -> Answer:
    """Whether the process may be given work, and what it does at present."""
    stages = {
        "starting": "starting: migrations and the first look at the store are not done",
        "draining": "draining: it was told to stop, and finishes what it has begun",
    }
    reasons = [why for stage, why in stages.items() if hub.process.stage == stage]
    found = {name: question.wrong(PATIENCE_S) for name, question in asked.items()}
    reasons += [f"{name}: {why}" for name, why in found.items() if why]
    return {
        "ready": not reasons,
        "reasons": reasons,
        "stage": hub.process.stage,
        "leases": dict(hub.process.leases()),
        "partitions": dict(hub.log.reads()),
        "version": __version__,
    }


def answered(request: Request, found: Answer, word: str) -> Response:
    """200 or 503; JSON, or lines for who asks for text."""
    status = 200 if found[word] else 503
    if "text/" not in request.headers.get("accept", ""):
        return JSONResponse(found, status)
    lines = [f"{word}: {'yes' if found[word] else 'no'}", *found["reasons"]]
    for name in ("leases", "partitions"):
        lines += [f"{one}: {what} ({name})" for one, what in found.get(name, {}).items()]
    return PlainTextResponse("\n".join(lines) + "\n", status)
