"""Listeners: how soon they answer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.listeners import Listener, tcp

ACK_MS = 40  # after which a client's system acknowledges what it has nothing to add to


async def echo(request: Request) -> Response:
    """The length of what came."""
    return JSONResponse({"length": len(await request.body())})


def timed_ms(work: Callable[[], object]) -> float:
    """How long this takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1_000


def test_an_answer_waits_for_no_acknowledgement() -> None:
    """Head and body of an answer are two packets, and the second does not wait for the first."""
    app = Starlette(routes=[Route("/", echo, methods=["POST"])])
    listener = Listener(app, tcp("127.0.0.1", 0, "webhooks")).start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.port}", trust_env=False) as client:
            took = [timed_ms(lambda: client.post("/", content=b"{}")) for _ in range(20)]
    finally:
        listener.stop()
    assert statistics.median(took) < ACK_MS / 2
