"""A way to a real part that can be watched, closed and guarded: what stands before a registry."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.listeners import tcp, wait_for

Login = tuple[str, str]
LOCAL = {"transfer-encoding", "content-length", "content-encoding", "connection", "host"}


@dataclass
class Gate:
    """Passes requests on to `behind`, and counts them; `login` is asked for where it is set.

    `closed`: it answers like a proxy whose server is gone.
    """

    behind: str
    login: Login | None = None
    closed: bool = False
    url: str = ""
    passed: list[str] = field(default_factory=list)

    async def pass_on(self, request: Request) -> Response:
        """One request and its answer."""
        if self.closed:
            return Response("nobody is there", 503)
        if self.login and request.headers.get("authorization") != basic(self.login):
            return Response('{"error_code": 401, "message": "who are you?"}', 401)
        self.passed.append(f"{request.method} {request.url.path}")
        async with httpx.AsyncClient(trust_env=False) as client:
            found = await client.request(
                request.method,
                self.behind + request.url.path,
                params=request.url.query,
                headers={k: v for k, v in request.headers.items() if k not in LOCAL},
                content=await request.body(),
            )
        headers = {k: v for k, v in found.headers.items() if k.lower() not in LOCAL}
        return Response(found.content, found.status_code, headers)


def basic(login: Login) -> str:
    """The header of whoever signs in."""
    return "Basic " + b64encode(":".join(login).encode()).decode()


@contextmanager
def gate(
    behind: str, login: tuple[str, str] | None = None, pem: Path | None = None
) -> Iterator[Gate]:
    """A gate at a free port of this machine; with TLS where there is a key and certificate."""
    made, bound = Gate(behind, login), tcp("127.0.0.1", 0, "nothing")
    made.url = f"http{'s' if pem else ''}://127.0.0.1:{bound.getsockname()[1]}"
    methods = ["GET", "POST", "PUT", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", made.pass_on, methods=methods)])
    config = uvicorn.Config(app, ws="none", log_config=None, lifespan="off", ssl_certfile=pem)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    assert wait_for(lambda: server.started, 10)
    try:
        yield made
    finally:
        server.should_exit = True
        thread.join(10)
