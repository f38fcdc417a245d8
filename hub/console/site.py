"""The console over HTTP: pages, their JSON, forms, signing in, and the two files beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import jinja2
import orjson
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from connectors._kit.contract import ConnectorError
from hub import browse
from hub.browse import Missing
from hub.commands import Wrong
from hub.console import words
from hub.console.pages import FORMS, PAGES, Desk, Form, Given, Page, inside
from hub.console.sessions import SESSION_MS, Session, Sessions
from hub.io.rows import Refused, StoreFull
from hub.listeners import TooLarge, body_of

LOG = structlog.get_logger()
LARGEST_FORM = 64 * 1024
MOST_FIELDS = 200
SIGN_IN = "/sign-in"
STATIC = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOUND_IN = (
    (Missing, 404, "There is no such thing here"),
    (Wrong, 400, "That cannot be done"),
    (Refused, 400, "That cannot be asked"),
    (TooLarge, 413, "That is more than a form of this console sends"),
    (ConnectorError, 503, "A tool did not answer"),
    (StoreFull, 503, "The store cannot take it now"),
    (OSError, 503, "It could not be reached"),
)


def template_environment() -> jinja2.Environment:
    """Templates that escape whatever they show, and fail on a name that is not there."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("hub.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(words.FILTERS)
    made.globals.update(LEGEND=words.LEGEND, query=words.query, static=static_path)
    return made


@cache
def static_path(name: str) -> str:
    """Where one of the files is; another content has another address."""
    return f"/static/{name}?v={blake2b((STATIC / name).read_bytes(), digest_size=6).hexdigest()}"


@dataclass
class Console:
    """Everything that is served to people."""

    desk: Desk
    sessions: Sessions
    templates: jinja2.Environment = field(default_factory=template_environment)

    def routes(self) -> list[Route]:
        """Each page and its JSON, each form, signing in and out, the files."""
        pages = [Route("/", self.page(PAGES[0]))]
        for page in PAGES:
            pages += [Route(page.json_path, self.as_json(page)), Route(page.path, self.page(page))]
        forms = [Route(path, self.form(form), methods=["POST"]) for path, form in FORMS.items()]
        return [
            *pages,
            *forms,
            Route(SIGN_IN, self.sign_in_page),
            Route(SIGN_IN, self.sign_in, methods=["POST"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
            Route("/static/{name}", static),
        ]

    @property
    def forms(self) -> frozenset[str]:
        """The only paths that take a POST."""
        return frozenset([*FORMS, SIGN_IN, "/sign-out"])

    def now(self) -> int:
        """The hub's clock."""
        return self.desk.hub.env.now()

    # -- showing -------------------------------------------------------------------------------

    def page(self, page: Page) -> Callable[[Request], Response]:
        """An endpoint that shows a page."""

        def show(request: Request) -> Response:
            try:
                answer = page.look(self.desk, asked(request))
                if answer.get("moved_to"):
                    return RedirectResponse(f"/customers/{answer['moved_to']}", 303)
                return self.render(request, page.template, {"a": answer})
            except Exception as error:  # noqa: BLE001  told or logged there
                return self.failed(request, error)

        return show

    def as_json(self, page: Page) -> Callable[[Request], Response]:
        """An endpoint that gives the answer of a page."""

        def give(request: Request) -> Response:
            try:
                answer = page.look(self.desk, asked(request))
            except Exception as error:  # noqa: BLE001  told or logged there
                return self.failed(request, error)
            found = orjson.dumps(answer, option=orjson.OPT_INDENT_2)
            return Response(found, media_type="application/json")

        return give

    def render(
        self, request: Request, template: str, more: Mapping[str, Any], status: int = 200
    ) -> Response:
        """A page with what is on all of them; its session lasts on."""
        now = self.now()
        session = self.session(request, now)
        told = self.sessions.note(request, now)
        text = self.templates.get_template(template).render(
            now=now,
            path=request.url.path,
            json_path=json_of(request),
            session=session,
            token_wanted=bool(self.sessions.token),
            csrf=self.sessions.form_token(session) if session else "",
            badges=browse.badges(self.desk.hub),
            note=told,
            **more,
        )
        response = HTMLResponse(text, status)
        if session:
            self.sessions.keep(request, response, session)
        if told:
            self.sessions.drop_note(request, response)
        return response

    def session(self, request: Request, now: int) -> Session | None:
        """Whose page this is; where no token is wanted, everybody has a session."""
        found = self.sessions.of(request, now)
        if found:
            return replace(found, until=now + SESSION_MS)
        if self.sessions.token:
            return None
        return self.sessions.begin(os.environ.get("USER", ""), now)

    def failed(self, request: Request, error: Exception) -> Response:
        """What went wrong, in the form in which it was asked."""
        found = next(((s, t) for kind, s, t in FOUND_IN if isinstance(error, kind)), None)
        status, title = found or (500, "This page failed; the hub goes on")
        why = str(error) if found else f"{type(error).__name__}: its place is in the hub's log"
        if not found:
            LOG.error("page_failed", exc_info=error)
        return self.refused(request, status, title, why)

    def refused(self, request: Request, status: int, title: str, why: str) -> Response:
        """An error as a page, or as JSON."""
        if request.url.path.endswith(".json"):
            return JSONResponse({"error": why or title}, status)
        return self.render(request, "error.html", {"title": title, "why": why}, status)

    async def missing(self, request: Request, _error: Exception) -> Response:
        """A path that leads nowhere."""
        why = f"no page is at {request.url.path[:100]}"
        return await run_in_threadpool(self.refused, request, 404, "There is no such page", why)

    # -- acting --------------------------------------------------------------------------------

    def form(self, form: Form) -> Callable[[Request], Any]:
        """An endpoint that does what a form says."""

        async def take(request: Request) -> Response:
            try:
                given = fields(await body_of(request, LARGEST_FORM))
            except (TooLarge, Wrong) as error:
                return await run_in_threadpool(self.failed, request, error)
            return await run_in_threadpool(self.act, request, form, given)

        return take

    def act(self, request: Request, form: Form, given: Given) -> Response:
        """Do it, if the form came from a page of this session; then show what was done."""
        now = self.now()
        session = self.sessions.of(request, now)
        if not session or not self.sessions.may_post(session, given.get("csrf", [""])[0]):
            why = "it was not sent from a page of your session: go back, reload, and try again"
            return self.refused(request, 403, "This form is not taken", why)
        try:
            done = form(self.desk, given, session.who)
        except Exception as error:  # noqa: BLE001  told or logged there
            return self.failed(request, error)
        response = RedirectResponse(done.path, 303)
        self.sessions.leave_note(request, response, done.note, now)
        return response

    # -- signing in ----------------------------------------------------------------------------

    def sign_in_page(self, request: Request) -> Response:
        """Ask for the name, and for the admin token where one is set."""
        return self.ask(request, inside(request.query_params.get("next", "/")))

    def ask(self, request: Request, then: str, wrong: str = "", status: int = 200) -> Response:
        """The page that asks; `then` is where it leads."""
        known = self.session(request, self.now())
        more = {"then": then, "wrong": wrong, "known": known}
        return self.render(request, "sign_in.html", more, status)

    async def sign_in(self, request: Request) -> Response:
        """Begin a session under a name."""
        try:
            given = fields(await body_of(request, LARGEST_FORM))
        except (TooLarge, Wrong) as error:
            return await run_in_threadpool(self.failed, request, error)
        return await run_in_threadpool(self.begin, request, given)

    def begin(self, request: Request, given: Given) -> Response:
        """A session for whoever has the token, or is known already and gives another name."""
        now = self.now()
        who, token, then = (given.get(n, [""])[0] for n in ("who", "token", "next"))
        known = self.session(request, now)
        if not known and not self.sessions.knows(token):
            LOG.warning("sign_in_refused")
            self.desk.hub.env.sleep(WRONG_SECONDS)
            return self.ask(request, inside(then), "That is not the admin token.", 401)
        response = RedirectResponse(inside(then), 303)
        self.sessions.keep(request, response, self.sessions.begin(who, now))
        return response

    async def sign_out(self, request: Request) -> Response:
        """End the session."""
        response = RedirectResponse(SIGN_IN, 303)
        self.sessions.end(request, response)
        return response


WRONG_SECONDS = 0.5  # before a wrong token is answered


def asked(request: Request) -> dict[str, str]:
    """What the address says."""
    return {**request.query_params, **request.path_params}


def json_of(request: Request) -> str:
    """Where this very page is given as JSON."""
    path = "/overview" if request.url.path == "/" else request.url.path
    return f"{quote(path)}.json" + (f"?{request.url.query}" if request.url.query else "")


def fields(body: bytes) -> Given:
    """The fields of a form; raises `Wrong` where it is none."""
    try:
        return parse_qs(body.decode("ascii"), max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Wrong("this is no form of the console: reload the page and try again") from None


def static(request: Request) -> Response:
    """One of our files; its address changes with its content."""
    found = {p.name: p for p in STATIC.iterdir()}.get(request.path_params["name"])
    if found is None:
        return Response("no such file", 404)
    kept = {"cache-control": "max-age=31536000, immutable"}
    return Response(found.read_bytes(), headers=kept, media_type=TYPES[found.suffix])
