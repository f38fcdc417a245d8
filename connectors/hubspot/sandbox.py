"""A HubSpot account to try things on: HubSpot's laws, limits and webhooks, without HubSpot.

What HubSpot is known for is here: a search index that runs behind, batches that fail as a whole or
by row, e-mails that are unique, merges that make a third record, archiving that moves no time
stamp, association changes that no search finds, limits that some answers tell and some do not.
"""

from __future__ import annotations

import email.utils
from collections import deque
from collections.abc import Callable
from typing import Final

import httpx
import orjson

from connectors.hubspot.desk import Call, Desk
from connectors.hubspot.hooks import Outgoing
from connectors.hubspot.population import TOGETHER, Computed, Plain
from connectors.hubspot.portal import Portal, Refusal

TEN_SECONDS_MS: Final = 10_000
SECOND_MS: Final = 1_000


class Limiter:
    """At most `calls` in any `window_ms`."""

    def __init__(self, calls: int, window_ms: int) -> None:
        self.calls = calls
        self.window_ms = window_ms
        self.times: deque[int] = deque()

    def left(self, now: int) -> int:
        """How many calls may still be made now."""
        while self.times and self.times[0] <= now - self.window_ms:
            self.times.popleft()
        return self.calls - len(self.times)

    def take(self, now: int) -> bool:
        """Count one call, if there is one left."""
        free = self.left(now) > 0
        if free:
            self.times.append(now)
        return free


class HubSpotSandbox:
    """One account with a private app and a public one that may set up webhooks."""

    vendor = "hubspot"

    def __init__(self, seed: int, customers: int, clock: Callable[[], int]) -> None:
        end, view = clock(), Plain()
        contacts = Computed("contacts", customers, end, view)
        companies = Computed("companies", -(-customers // TOGETHER), end, view)
        self.clock = clock
        self.desk = Desk(Portal(contacts, companies), 40_000_000 + seed)
        self.calls = Limiter(100, TEN_SECONDS_MS)
        self.searches = Limiter(5, SECOND_MS)
        self.daily = 250_000
        self.count = 0

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Any request of HubSpot's API."""
        now = self.clock()
        self.count += 1
        refused = self._refused(request, now)
        if refused:
            return self._response(refused, now)
        try:
            status, body = self.desk.answer(call_of(request, now))
        except Refusal as refusal:
            status, body = refusal.status, self._error(refusal)
        return self._response((status, body, self._limits(request, now)), now)

    @property
    def client_secret(self) -> str:
        """What webhooks are signed with."""
        return self.desk.hooks.secret

    def due(self, now_ms: int) -> list[Outgoing]:
        """Webhooks to send now."""
        events, self.desk.portal.events = self.desk.portal.events, []
        self.desk.hooks.take(events)
        return self.desk.hooks.due(now_ms)

    def settle(self, own: str, status: int) -> None:
        """What became of a webhook: the status it was answered with, 0 for none."""
        self.desk.hooks.settle(own, status, self.clock())

    def _refused(self, request: httpx.Request, now: int) -> Refused | None:
        """Who may not call, or not so often."""
        if not request.headers.get("authorization") and "hapikey" not in request.url.params:
            text = "Authentication credentials not found."
            return 401, self._error(Refusal(text, "INVALID_AUTHENTICATION")), {}
        if searching(request) and not self.searches.take(now):
            return 429, self._limited("SECONDLY"), {}
        if not self.calls.take(now):
            return 429, self._limited("TEN_SECONDLY_ROLLING"), self._limits(request, now)
        self.daily -= 1
        return None

    def _limits(self, request: httpx.Request, now: int) -> dict[str, str]:
        """The limits as headers, which searches do not have."""
        if searching(request):
            return {}
        return {
            "X-HubSpot-RateLimit-Max": str(self.calls.calls),
            "X-HubSpot-RateLimit-Remaining": str(self.calls.left(now)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(self.calls.window_ms),
            "X-HubSpot-RateLimit-Daily": "250000",
            "X-HubSpot-RateLimit-Daily-Remaining": str(self.daily),
        }

    def _limited(self, policy: str) -> dict[str, object]:
        text = "You have reached your limit of calls."
        body = self._error(Refusal(text, "RATE_LIMITS"))
        return {**body, "errorType": "RATE_LIMIT", "policyName": policy}

    def _error(self, refusal: Refusal) -> dict[str, object]:
        own = f"{self.count:08x}-0000-4000-8000-000000000000"
        found = {"context": refusal.context} if refusal.context else {}
        text = str(refusal)
        return {
            "status": "error",
            "message": text,
            "correlationId": own,
            "category": refusal.category,
            **found,
        }

    def _response(self, found: Refused, now: int) -> httpx.Response:
        status, body, headers = found
        date = {"Date": email.utils.formatdate(now / 1000, usegmt=True)}
        if body is None:
            return httpx.Response(status, headers={**date, **headers})
        kind = {"Content-Type": "application/json;charset=utf-8"}
        return httpx.Response(
            status, content=orjson.dumps(body), headers={**date, **kind, **headers}
        )


Refused = tuple[int, dict[str, object] | None, dict[str, str]]


def searching(request: httpx.Request) -> bool:
    """Whether a request is a search, which has a limit of its own."""
    return request.url.path.endswith("/search")


def call_of(request: httpx.Request, now: int) -> Call:
    """A request as the desk takes it; raises `Refusal` where its body is no JSON."""
    try:
        found = orjson.loads(request.content or b"{}")
    except orjson.JSONDecodeError as error:
        raise Refusal(f"Invalid input JSON: {error}") from error
    body = found if isinstance(found, dict) else {"_": found}
    url = request.url
    base = f"{url.scheme}://{request.headers.get('host', url.netloc.decode())}"
    return Call(request.method, url.path.rstrip("/"), url.params, body, base, now)


SANDBOX: Final = HubSpotSandbox
