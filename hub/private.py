"""What operators look at, over HTTP: health, metrics, status. It answers, and changes nothing.

A page in somebody's browser must not be able to ask here: a name that was bent to this address is
no name of this hub (Host), and no other site may ask (Origin). Off loopback, a token is wanted.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hub import metrics
from hub.env import Hub
from hub.settings import LOOPBACK, Private, read_token
from hub.status import status

PAGE = """<!doctype html>
<title>synchub</title>
<h1>synchub</h1>
<p>This hub is up. What can be asked here:</p>
<ul>
<li><a href="/status.json">/status.json</a>: the answer of <code>synchub status --json</code></li>
<li><a href="/metrics">/metrics</a>: the same in numbers, for Prometheus</li>
<li><a href="/healthz">/healthz</a>: whether the hub is up</li>
</ul>
<p>Everything else is asked by the <code>synchub</code> command.</p>
"""
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
}


def private_app(hub: Hub, private: Private, folder: Path) -> Starlette:
    """GET /, /healthz, /metrics and /status.json. Raises `BadSettings` for a bad token file."""
    token = read_token(folder / private.admin_token_file) if private.admin_token_file else ""
    counted = metrics.registry(lambda: status(hub))

    async def page(_request: Request) -> Response:
        return HTMLResponse(PAGE, headers=HEADERS)

    async def health(_request: Request) -> Response:
        return JSONResponse({"up": True}, headers=HEADERS)

    async def numbers(_request: Request) -> Response:
        text = await run_in_threadpool(generate_latest, counted)
        return Response(text, headers={**HEADERS, "content-type": CONTENT_TYPE_LATEST})

    async def state(_request: Request) -> Response:
        found = orjson.dumps(await run_in_threadpool(status, hub), option=orjson.OPT_INDENT_2)
        return Response(found, headers=HEADERS, media_type="application/json")

    pages = {"/": page, "/healthz": health, "/metrics": numbers, "/status.json": state}
    names = {*LOOPBACK, private.host.lower(), urlsplit(private.url).hostname or private.host}
    return Starlette(
        routes=[Route(path, shown) for path, shown in pages.items()],
        middleware=[Middleware(Guard, names=frozenset(names), token=token)],
    )


@dataclass
class Guard:
    """Refuses before any page is asked. `names` are this hub's own; a `token` of "" is none."""

    app: ASGIApp
    names: Collection[str]
    token: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the refusal, or let the page answer."""
        refused = self.refusal(Request(scope))
        await (refused or self.app)(scope, receive, send)

    def refusal(self, request: Request) -> Response | None:
        """Why this is not answered, None where it is."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if name_of(host) not in self.names:
            why = f"{host!r} is no name of this hub; private.url in hub.yaml can add one"
            return PlainTextResponse(why, 403)
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return PlainTextResponse("other sites cannot ask here", 403)
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("only GET and HEAD", 405, {"allow": "GET, HEAD"})
        if self.token and not self.known(request.headers.get("authorization", "")):
            return PlainTextResponse(
                "the admin token is wanted", 401, {"www-authenticate": "Bearer"}
            )
        return None

    def known(self, authorization: str) -> bool:
        """Whether the token is the right one, in a time that does not tell how much of it is."""
        scheme, _, given = authorization.partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self.token.encode())
        return scheme.lower() == "bearer" and same


def name_of(host: str) -> str:
    """The name in a Host header, without its port; "" where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
