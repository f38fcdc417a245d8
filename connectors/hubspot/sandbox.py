"""A HubSpot account to try things on: HubSpot's laws, limits and webhooks, without HubSpot.

What HubSpot is known for is here: a search index that runs behind, batches that fail as a whole or
by row, e-mails that are unique, merges that make a third record, archiving that moves no time
stamp, association changes that no search finds, limits that some answers tell and some do not.
"""

from __future__ import annotations

import email.utils
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import httpx
import orjson

from connectors._kit.contract import Reading
from connectors.hubspot.answers import EXTERNAL_ID
from connectors.hubspot.connector import CONNECTOR, CONTACTS
from connectors.hubspot.desk import Call, Desk, kind_of, number
from connectors.hubspot.hooks import Outgoing
from connectors.hubspot.population import FIRST_ID, STEP, TOGETHER, Computed, Seeded
from connectors.hubspot.portal import PLAIN, Portal, Record, Refusal, iso

PERSON: Final = "CRM_UI"
EVERY_EVENT: Final = tuple(event for spec in CONNECTOR.objects for event in spec.webhook_events)
Act = Callable[[int, Mapping[str, object], int], object]
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


def give(values: Mapping[str, object]) -> Mapping[str, object]:
    """Values in our shapes as properties of a contact."""
    known = CONTACTS.fields.by_name
    return CONTACTS.fields.give({k: v for k, v in values.items() if k in known})  # type: ignore[misc]


class HubSpotSandbox:
    """One account with a private app and a public one that may set up webhooks."""

    vendor = "hubspot"

    def __init__(self, seed: int, customers: int, clock: Callable[[], int]) -> None:
        end, view = clock(), Seeded(seed, customers, give)
        people = view.people.count if customers else 0
        contacts = Computed("contacts", people, end, view)
        companies = Computed("companies", -(-people // TOGETHER), end, view)
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
    def auth(self) -> Mapping[str, str]:
        """Any token is taken; webhooks are signed with the client secret."""
        return {
            "access_token": "sandbox-token",
            "client_secret": self.desk.hooks.secret,
            "app_id": str(self.desk.hooks.app_id),
            "developer_api_key": "sandbox-developer-key",
        }

    def kind(self, request: httpx.Request) -> str:
        """A search, a read (also one by POST), or a write."""
        path = request.url.path
        if searching(request):
            return "search"
        return "read" if request.method == "GET" or path.endswith("/batch/read") else "write"

    def limited(self, retry_after: int) -> httpx.Response:
        """Too many calls, said as a burst limit."""
        headers = {"Retry-After": str(retry_after)} if retry_after else {}
        return self._response((429, self._limited("TEN_SECONDLY_ROLLING"), headers), self.clock())

    def register_webhook(self, url: str, secret: str, events: list[str]) -> None:
        """Subscribe to events such as "contact.creation"; property changes mean all properties."""
        hooks, stamp = self.desk.hooks, iso(self.clock())
        hooks.secret = secret or hooks.secret
        hooks.settings = {
            "targetUrl": url,
            "throttling": {"maxConcurrentRequests": 10},
            "createdAt": stamp,
            "updatedAt": stamp,
        }
        for event in events or EVERY_EVENT:
            for one in self._subscriptions(event):
                hooks.subscribe({"active": True, **one}, stamp)

    def _subscriptions(self, event: str) -> list[dict[str, str]]:
        kind = kind_of(event.partition(".")[0])
        if not event.endswith(".propertyChange"):
            return [{"eventType": event}]
        return [
            {"eventType": event, "propertyName": name} for name in self.desk.portal.defined[kind]
        ]

    def flush_webhooks(self) -> None:
        """Nothing waits any longer."""
        self.desk.hooks.hasten(self.clock())

    def act(self, op: str, obj: str, native_id: str, fields: Mapping[str, object]) -> str:
        """A person in HubSpot, who can also restore, erase, merge, link and unlink.

        `fields` are properties; a merge names the `other` record, a link the `company`.
        """
        acts, now = self._acts(obj), self.clock()
        if op not in acts:
            raise LookupError(f"no act {op!r}; there are: {', '.join(acts)}")
        try:
            return str(acts[op](number(native_id), fields, now) or native_id)
        except Refusal as refusal:
            raise ValueError(str(refusal)) from refusal

    def _acts(self, obj: str) -> Mapping[str, Act]:
        portal, kind = self.desk.portal, kind_of(obj)
        return {
            "create": lambda _, given, now: portal.create(kind, given, now, PERSON).id,
            "update": lambda own, given, now: portal.update(kind, own, given, now, PERSON).id,
            "archive": lambda own, _, now: portal.archive(kind, own, now, PERSON),
            "delete": lambda own, _, now: portal.archive(kind, own, now, PERSON),
            "restore": lambda own, _, now: portal.restore(kind, own, now, PERSON),
            "erase": lambda own, _, now: portal.erase(kind, own, now, PERSON),
            "merge": lambda own, given, now: (
                portal.merge(kind, own, number(given["other"]), now, PERSON).id
            ),
            "link": lambda own, given, now: portal.associate(
                own, number(given["company"]), [PLAIN], now
            ),
            "unlink": lambda own, given, now: portal.part(own, number(given["company"]), now),
        }

    def native_id(self, place: int) -> str:
        """The id of the person at a place of the population."""
        return str(FIRST_ID + STEP * place)

    def holds(self, obj: str) -> Mapping[str, Reading]:
        """Every live record of one kind as it is now, by id."""
        found = self.desk.portal.tables[kind_of(obj)].after(0)
        return {str(r.id): self._held(obj, r) for r in found if not r.archived}

    def _held(self, obj: str, record: Record) -> Reading:
        blank = dict.fromkeys(self.desk.portal.defined[obj])
        ends = self.desk.portal.companies_of(record.id) if obj == CONTACTS.object else ()
        return Reading(
            obj,
            str(record.id),
            blank | dict(record.properties),
            record.updated,
            record.updated,
            external_id=record.properties.get(EXTERNAL_ID, ""),
            links={"company": tuple(map(str, sorted(ends)))} if obj == CONTACTS.object else {},
        )

    def summary(self) -> Mapping[str, object]:
        """Live records of each kind, and webhooks that wait or are under way."""
        portal, hooks = self.desk.portal, self.desk.hooks
        return {
            "records": {kind: table.live for kind, table in portal.tables.items()},
            "webhooks": {
                "waiting": len(hooks.waiting) + len(portal.events),
                "under_way": len(hooks.flights),
                "subscriptions": len(hooks.wanted),
            },
        }

    def due(self, now_ms: int) -> list[Outgoing]:
        """Webhooks to send now."""
        events, self.desk.portal.events = self.desk.portal.events, []
        self.desk.hooks.take(events)
        return self.desk.hooks.due(now_ms)

    def settle(self, own: str, status: int) -> None:
        """What became of a webhook: the status it was answered with, 0 for none."""
        self.desk.hooks.settle(own, status, self.clock())

    def signed(self, url: str, body: bytes) -> Mapping[str, str]:
        """The headers of a webhook with this body."""
        return self.desk.hooks.signed(url, body, self.clock())

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
