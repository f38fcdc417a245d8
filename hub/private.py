"""What operators look at, over HTTP: the console, probes, metrics, status.

A page in somebody's browser must not be able to ask here: a name that was bent to this address is
no name of this hub (Host), and no other site may ask (Origin, Sec-Fetch-Site). Only the console's
own forms change anything, each with a token of its session. Off loopback, a token is wanted:
programs send it (Bearer), people sign in with it. Who sends it may ask by any name, since no page
knows it. The probes tell no secrets and are asked by machines, by whatever address they have.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import orjson
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub import metrics, probes
from hub.console.pages import Desk
from hub.console.sessions import Sessions
from hub.console.site import SIGN_IN, Console
from hub.env import Hub
from hub.settings import LOOPBACK, Private, read_token
from hub.status import status

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # none at all would make the Origin of a form "null"
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def private_app(hub: Hub, private: Private, folder: Path, *, pages: bool = True) -> Starlette:
    """Probes, /metrics and /status.json of this process, and the console where it has `pages`.

    The loops that run here tell of themselves by `hub.process`. Raises `BadSettings` for a bad
    token.
    """
    token = read_token(folder / private.admin_token_file) if private.admin_token_file else ""
    sessions = Sessions(token, secure=private.url.startswith("https://"))
    console = Console(Desk(hub), sessions)
    counted = metrics.registry(hub)

    async def numbers(_request: Request) -> Response:
        text = await run_in_threadpool(generate_latest, counted)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    async def state(_request: Request) -> Response:
        found = orjson.dumps(await run_in_threadpool(status, hub), option=orjson.OPT_INDENT_2)
        return Response(found, media_type="application/json")

    programs = {**probes.pages(hub), "/metrics": numbers, "/status.json": state}
    names = {*LOOPBACK, private.host.lower(), urlsplit(private.url).hostname or private.host}
    return Starlette(
        routes=[Route(path, shown) for path, shown in programs.items()]
        + (console.routes() if pages else []),
        middleware=[Middleware(Guard, names=frozenset(names), console=console, pages=pages)],
        exception_handlers={404: console.missing} if pages else None,
    )


@dataclass
class Guard:
    """Refuses before any page is asked. `names` are this hub's own; see `private_app`."""

    app: ASGIApp
    names: Collection[str]
    console: Console
    pages: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the refusal, or let the page answer; either with the headers of all."""

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self.refusal(Request(scope))
        await (refused or self.app)(scope, receive, headed)

    def refusal(self, request: Request) -> Response | None:
        """Why this is not answered, None where it is."""
        host = request.headers.get("host", "")
        probed = request.url.path in probes.OPEN
        if not (probed or name_of(host) in self.names or self.bears_token(request)):
            why = f"{host!r} is no name of this hub; private.url in hub.yaml can add one"
            return PlainTextResponse(why, 403)
        if of_another_site(request):
            return PlainTextResponse("other sites cannot ask here", 403)
        forms = self.console.forms if self.pages else ()
        posted = request.method == "POST" and request.url.path in forms
        if not posted and request.method not in ("GET", "HEAD"):
            return PlainTextResponse("only GET and HEAD", 405, {"allow": "GET, HEAD"})
        if posted and not of_this_site(request):
            return PlainTextResponse("forms are taken from the console's own pages only", 403)
        return None if probed or self.known(request) else self.sign_in_first(request)

    def sign_in_first(self, request: Request) -> Response:
        """A person is led to the sign-in page, if there is one, a program told what to send."""
        if self.pages and "text/html" in request.headers.get("accept", ""):
            query = f"?{request.url.query}" if request.url.query else ""
            back = f"{request.url.path}{query}" if request.method == "GET" else "/"
            return RedirectResponse(f"{SIGN_IN}?next={quote(back, safe='')}", 303)
        return PlainTextResponse("the admin token is wanted", 401, {"www-authenticate": "Bearer"})

    def known(self, request: Request) -> bool:
        """Whether this may be answered: by the token, by a session, or to anybody."""
        sessions, path = self.console.sessions, request.url.path
        if not sessions.token or path == SIGN_IN or path.startswith("/static/"):
            return True
        return self.bears_token(request) or sessions.of(request, self.console.now()) is not None

    def bears_token(self, request: Request) -> bool:
        """Whether a program asks that has the admin token."""
        sessions = self.console.sessions
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return bool(sessions.token) and scheme.lower() == "bearer" and sessions.knows(given)


def of_another_site(request: Request) -> bool:
    """Whether a page of another site asks; to follow a link from there is allowed."""
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return True
    site, mode = (request.headers.get(f"sec-fetch-{n}", "") for n in ("site", "mode"))
    return site not in ("", "none", "same-origin") and mode != "navigate"


def of_this_site(request: Request) -> bool:
    """Whether a browser says that one of our own pages asks; an Origin was compared before."""
    site = request.headers.get("sec-fetch-site", "")
    return site == "same-origin" or (not site and "origin" in request.headers)


def name_of(host: str) -> str:
    """The name in a Host header, without its port; "" where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
