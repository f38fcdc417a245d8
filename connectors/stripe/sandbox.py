"""A Stripe account to try things on: customers, events, webhooks, idempotency, without Stripe."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx
import orjson

from connectors._kit.contract import Reading
from connectors._kit.population import Population, base36
from connectors._kit.webhooks import sign
from connectors.stripe.connector import CUSTOMERS, EXTERNAL_ID, PARTS

DAY_S: Final = 86_400
RETRY_MS: Final = (60_000, 600_000, 3_600_000)
DEFAULT_LIMIT, LARGEST_LIMIT = 10, 100
KNOWN: Final = frozenset(
    {
        "name",
        "email",
        "phone",
        "address",
        "description",
        "metadata",
        "balance",
        "shipping",
        "preferred_locales",
        "tax_exempt",
        "invoice_prefix",
        "source",
        "expand",
    }
)
WRITE_ONLY_LENGTH: Final = {"name": 256, "email": 512, "phone": 20, "description": 5_000}
MAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class Refusal(Exception):
    """An error answer of Stripe's."""

    def __init__(self, status: int, message: str, **more: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": "invalid_request_error", **more}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A webhook to send now; tell its fate by `settle`."""

    id: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Told:
    """A webhook on its way to one endpoint."""

    event: dict[str, Any]
    endpoint: str
    due: int
    attempt: int = 0


@dataclass
class Endpoint:
    """Where events are sent; no types means all."""

    id: str
    url: str
    secret: str
    types: list[str]


def nested(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A form with bracketed names as nested objects; `x[]` collects a list."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        first, *rest = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name) or [name]
        if not rest:
            found[first] = value
        elif rest == [""]:
            found.setdefault(first, []).append(value)
        else:
            inner = found.setdefault(first, {})
            if isinstance(inner, dict):
                inner[rest[0]] = value
    return found


def bracketed(name: str) -> str:
    """A part of an object as a form names it: `address.city` is `address[city]`."""
    first, *rest = name.split(".")
    return first + "".join(f"[{part}]" for part in rest)


def customer_id(place: int) -> str:
    """The id of a seeded customer; the place can be read from it."""
    return f"cus_{base36(place).rjust(14, '0')}"


@dataclass
class StripeSandbox:
    """One test account."""

    seed: int
    customers: int
    clock: Callable[[], int]
    vendor: str = "stripe"
    calls_per_second: float = 200  # nobody else uses this account
    key: str = "sk_test_sandbox"
    secret: str = "whsec_sandbox"  # noqa: S105
    events: list[dict[str, Any]] = field(default_factory=list)
    replies: dict[str, tuple[int, bytes, httpx.Response]] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    waiting: dict[str, Told] = field(default_factory=dict)
    held: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    made: int = 0
    calls: int = 0

    def __post_init__(self) -> None:
        """The seeded customers were made in the year before now, the last one a minute ago."""
        self.people = Population(self.seed, self.customers, "stripe")
        self.start = self.clock() // 1000
        self.count = self.people.count if self.customers else 0
        self.newest: list[str] = []

    @property
    def auth(self) -> Mapping[str, str]:
        """The credentials of this account."""
        return {"secret_key": self.key, "webhook_secret": self.secret}

    # -- requests ------------------------------------------------------------------------------

    def kind(self, request: httpx.Request) -> str:
        """A search, a read, or a write."""
        if request.url.path.endswith("/search"):
            return "search"
        return "read" if request.method == "GET" else "write"

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Any request of the part of Stripe's API that is here."""
        self.calls += 1
        try:
            self._check_key(request)
            return self._remembered(request)
        except Refusal as refusal:
            return self._reply({"error": refusal.error}, refusal.status)

    def _check_key(self, request: httpx.Request) -> None:
        given = request.headers.get("authorization", "")
        basic = httpx.BasicAuth(self.key, "")._auth_header  # noqa: SLF001
        if given not in (f"Bearer {self.key}", basic):
            raise Refusal(401, "Invalid API Key provided")

    def _remembered(self, request: httpx.Request) -> httpx.Response:
        key = request.headers.get("idempotency-key")
        if request.method != "POST" or not key:
            return self._route(request)
        known = self.replies.get(key)
        now = self.clock() // 1000
        if known and known[0] > now - DAY_S:
            if known[1] != request.content:
                raise Refusal(
                    400,
                    "Keys for idempotent requests can only be used with the same parameters",
                    type="idempotency_error",
                )
            again = httpx.Response(
                known[2].status_code, content=known[2].content, headers=known[2].headers
            )
            again.headers["Idempotent-Replayed"] = "true"
            return again
        answer = self._route(request)
        self.replies[key] = (now, request.content, answer)
        return answer

    def _reply(self, found: Any, status: int = 200) -> httpx.Response:
        return httpx.Response(
            status,
            json=found,
            headers={
                "Request-Id": f"req_{self.calls:014d}",
                "Stripe-Version": "2026-06-24.dahlia",
                "Date": email.utils.formatdate(self.clock() / 1000, usegmt=True),
            },
        )

    def _route(self, request: httpx.Request) -> httpx.Response:  # noqa: C901, PLR0911  a table of addresses
        parts = request.url.path.strip("/").split("/")[1:]
        query = nested(list(request.url.params.multi_items()))
        form = nested(parse_qsl(request.content.decode(), keep_blank_values=True))
        match (request.method, *parts):
            case ("GET", "account") | ("GET", "accounts", _):
                return self._reply(self._account())
            case ("GET", "balance"):
                return self._reply(
                    {"object": "balance", "livemode": False, "available": [], "pending": []}
                )
            case ("GET", "customers"):
                return self._reply(self._list(self._customers(query), query, "/v1/customers"))
            case ("POST", "customers"):
                return self._reply(self._create(form, request))
            case ("GET", "customers", own):
                return self._reply(self._shown(own))
            case ("POST", "customers", own):
                return self._reply(self._update(own, form, request))
            case ("DELETE", "customers", own):
                return self._reply(self._delete(own, request))
            case ("GET", "events"):
                return self._reply(self._list(self._events(query), query, "/v1/events"))
            case ("GET", "events", own):
                return self._reply(
                    next((e for e in self.events if e["id"] == own), None)
                    or self._missing("event", own)
                )
            case ("GET", "webhook_endpoints"):
                return self._reply(
                    self._list(
                        iter([self._endpoint(e) for e in self.endpoints.values()]),
                        query,
                        "/v1/webhook_endpoints",
                    )
                )
            case ("POST", "webhook_endpoints"):
                made = self._listen(str(form["url"]), "", list(form.get("enabled_events", [])))
                return self._reply({**self._endpoint(made), "secret": made.secret})
            case ("DELETE", "webhook_endpoints", own):
                self.endpoints.pop(own, None)
                return self._reply({"id": own, "object": "webhook_endpoint", "deleted": True})
        raise Refusal(404, f"Unrecognized request URL ({request.method}: {request.url.path})")

    def _missing(self, what: str, own: str) -> Any:
        raise Refusal(404, f"No such {what}: '{own}'", code="resource_missing", param="id")

    def _account(self) -> dict[str, Any]:
        return {
            "id": f"acct_sandbox{self.seed}",
            "object": "account",
            "livemode": False,
            "email": "owner@example.com",
            "settings": {"dashboard": {"timezone": "Etc/UTC"}},
        }

    # -- customers -----------------------------------------------------------------------------

    def _place(self, own: str) -> int | None:
        if not re.fullmatch(r"cus_[0-9a-z]{14}", own):
            return None
        place = int(own[4:], 36)
        return place if place < self.count else None

    def get(self, own: str) -> dict[str, Any] | None:
        """A customer as it is now, None when it is deleted; raises Refusal if there never was."""
        if own in self.held:
            return self.held[own]
        place = self._place(own)
        if place is None:
            self._missing("customer", own)
        return self._seeded(int(place or 0))

    def _seeded(self, place: int) -> dict[str, Any]:
        values = self.people.values(place)
        address = values["address"]
        name = values["name"] or {"given": "", "family": ""}
        return self._blank(customer_id(place), self.start - 60 * (self.count - place)) | {
            "name": f"{name['given']} {name['family']}".strip() or None,
            "email": values["email"],
            "phone": values["phone"],
            "address": {t: address[o] or None for o, t in PARTS.items()} if address else None,
        }

    def _blank(self, own: str, created: int) -> dict[str, Any]:
        return {
            "id": own,
            "object": "customer",
            "address": None,
            "balance": 0,
            "created": created,
            "currency": None,
            "delinquent": False,
            "description": None,
            "email": None,
            "invoice_prefix": own[-8:].upper(),
            "livemode": False,
            "metadata": {},
            "name": None,
            "phone": None,
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": "none",
        }

    def _shown(self, own: str) -> dict[str, Any]:
        return self.get(own) or {"id": own, "object": "customer", "deleted": True}

    def _customers(self, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Living customers, newest first, from where the query says."""
        wanted, after = query.get("email"), query.get("starting_after", "")
        ids = _after(self._with_email(wanted), after) if wanted else self._newest_first(after)
        for own in ids:
            found = self.get(own)
            if found and (not wanted or found["email"] == wanted) and _in_time(found, query):
                yield found

    def _newest_first(self, after: str) -> Iterator[str]:
        """Ids of all who ever were: also a deleted customer has its place."""
        made, last = self.newest, self._place(after) if after else None
        if last is not None:
            return (customer_id(p) for p in range(last - 1, -1, -1))
        if after and after not in self.held:
            raise _no_such_place(after)
        newer = made[: made.index(after)] if after else made
        seeded = (customer_id(p) for p in range(self.count - 1, -1, -1))
        return chain(reversed(newer), seeded)

    def _with_email(self, wanted: str) -> Iterator[str]:
        """Ids of those who may have this address, newest first."""
        made = set(self.newest)
        edited = [i for i in self.held if i not in made]
        seeded = self.people.by_email(wanted) if self.count else []
        some = [*edited, *(customer_id(p) for p in seeded)]
        return chain(reversed(self.newest), sorted(set(some), reverse=True))

    def _list(
        self, items: Iterator[dict[str, Any]], query: Mapping[str, Any], url: str
    ) -> dict[str, Any]:
        """A page of what is left of the items."""
        limit = min(int(query.get("limit", DEFAULT_LIMIT)), LARGEST_LIMIT)
        found = list(islice(items, limit + 1))
        return {"object": "list", "url": url, "has_more": len(found) > limit, "data": found[:limit]}

    def _create(self, form: Mapping[str, Any], request: httpx.Request | None) -> dict[str, Any]:
        self._check(form)
        self.made += 1
        own = f"cus_N{base36(self.seed)}{base36(self.made).rjust(10, '0')}"
        self.held[own] = self._blank(own, self.clock() // 1000) | self._changed({}, form)
        self.newest.append(own)
        self._tell("customer.created", self.held[own] or {}, None, request)
        return self.held[own] or {}

    def _update(
        self, own: str, form: Mapping[str, Any], request: httpx.Request | None
    ) -> dict[str, Any]:
        self._check(form)
        before = self.get(own)
        if before is None:
            return dict(self._missing("customer", own))
        changed = self._changed(before, form)
        after = {**before, **changed}
        previous = {k: before[k] for k in changed if before[k] != after[k]}
        self.held[own] = after
        if previous:
            self._tell("customer.updated", after, previous, request)
        return after

    def _delete(self, own: str, request: httpx.Request | None) -> dict[str, Any]:
        before = self.get(own)
        if before is None:
            self._missing("customer", own)
        self.held[own] = None
        self._tell("customer.deleted", before or {}, None, request)
        return {"id": own, "object": "customer", "deleted": True}

    def _check(self, form: Mapping[str, Any]) -> None:
        if unknown := sorted(set(form) - KNOWN):
            raise Refusal(
                400,
                f"Received unknown parameter: {unknown[0]}",
                code="parameter_unknown",
                param=unknown[0],
            )
        mail = form.get("email")
        if mail and not MAIL.fullmatch(mail):
            raise Refusal(
                400, f"Invalid email address: {mail}", code="email_invalid", param="email"
            )
        for name, most in WRITE_ONLY_LENGTH.items():
            if len(str(form.get(name) or "")) > most:
                raise Refusal(
                    400, f"Invalid string: {name} is too long; must be at most {most}", param=name
                )

    def _changed(self, before: Mapping[str, Any], form: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in form.items():
            if name == "metadata":
                merged = {**before.get("metadata", {}), **(value or {})}
                found[name] = {k: v for k, v in merged.items() if v != ""} if value else {}
            elif name == "address":
                found[name] = _address(before.get("address"), value)
            elif name == "balance":
                found[name] = int(value)
            elif name != "expand":
                found[name] = value or None
        return found

    # -- events --------------------------------------------------------------------------------

    def _events(self, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        types = query.get("types") or ([query["type"]] if "type" in query else None)
        oldest = self.clock() // 1000 - 30 * DAY_S
        newest = reversed(self.events)
        last = query.get("starting_after")
        if last and not any(e["id"] == last for e in newest):  # which takes all up to it
            raise _no_such_place(last)
        for event in newest:
            if (
                event["created"] >= oldest
                and (not types or event["type"] in types)
                and _in_time(event, query)
            ):
                yield event

    def _tell(
        self,
        kind: str,
        obj: dict[str, Any],
        previous: dict[str, Any] | None,
        request: httpx.Request | None,
    ) -> None:
        data: dict[str, Any] = {"object": dict(obj)}
        if previous is not None:
            data["previous_attributes"] = previous
        key = request.headers.get("idempotency-key") if request else None
        event = {
            "id": f"evt_{len(self.events):016d}",
            "object": "event",
            "type": kind,
            "api_version": "2026-06-24.dahlia",
            "created": self.clock() // 1000,
            "livemode": False,
            "pending_webhooks": len(self.endpoints),
            "data": data,
            "request": {
                "id": f"req_{self.calls:014d}" if request else None,
                "idempotency_key": key,
            },
        }
        self.events.append(event)
        for endpoint in self.endpoints.values():
            if not endpoint.types or kind in endpoint.types or "*" in endpoint.types:
                self.waiting[f"{event['id']}/{endpoint.id}"] = Told(
                    event, endpoint.id, self.clock()
                )

    def due(self, now_ms: int) -> list[Outgoing]:
        """Webhooks to send now."""
        found = []
        for own, told in self.waiting.items():
            endpoint = self.endpoints.get(told.endpoint)
            if endpoint and told.due <= now_ms:
                raw = orjson.dumps(told.event)
                told.due = now_ms + RETRY_MS[min(told.attempt, len(RETRY_MS) - 1)]
                told.attempt += 1
                found.append(
                    Outgoing(own, "POST", endpoint.url, self.signed(endpoint.url, raw), raw)
                )
        return found

    def signed(self, url: str, body: bytes) -> Mapping[str, str]:
        """The headers of a webhook to this address."""
        secret = next((e.secret for e in self.endpoints.values() if e.url == url), self.secret)
        return {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(secret, self.clock() // 1000, body),
        }

    def settle(self, own: str, status: int) -> None:
        """A webhook that got a 2xx is done; others come again, a few times."""
        told = self.waiting.get(own)
        if told and (200 <= status < 300 or told.attempt > len(RETRY_MS)):  # noqa: PLR2004
            del self.waiting[own]

    def _listen(self, url: str, secret: str, types: list[str]) -> Endpoint:
        own = f"we_{len(self.endpoints):014d}"
        self.endpoints[own] = Endpoint(own, url, secret or self.secret, types)
        return self.endpoints[own]

    def _endpoint(self, one: Endpoint) -> dict[str, Any]:
        return {
            "id": one.id,
            "object": "webhook_endpoint",
            "url": one.url,
            "enabled_events": one.types or ["*"],
            "status": "enabled",
            "livemode": False,
        }

    # -- admin ---------------------------------------------------------------------------------

    def limited(self, retry_after: int) -> httpx.Response:
        """Stripe's way to say: too many calls."""
        answer = self._reply(
            {
                "error": {
                    "message": "Request rate limit exceeded.",
                    "type": "invalid_request_error",
                    "code": "rate_limit",
                }
            },
            429,
        )
        if retry_after:
            answer.headers["Retry-After"] = str(retry_after)
        return answer

    def register_webhook(self, url: str, secret: str, events: list[str]) -> None:
        """Send these events there; none named means all."""
        self._listen(url, secret, events)

    def flush_webhooks(self) -> None:
        """Nothing waits any longer."""
        for told in self.waiting.values():
            told.due = self.clock()

    def act(self, op: str, obj: str, native_id: str, fields: Mapping[str, Any]) -> str:
        """A person in Stripe's dashboard: create, update, delete.

        `fields` are named as in the connector's field map, or nested as in Stripe's answers.
        """
        if obj not in ("customers", "customer"):
            raise LookupError(f"no object {obj!r} here, only customers")
        form = nested([(bracketed(k), "" if v is None else v) for k, v in fields.items()])
        try:
            if op == "create":
                return str(self._create(form, None)["id"])
            if op == "update":
                return str(self._update(native_id, form, None)["id"])
            if op == "delete":
                return str(self._delete(native_id, None)["id"])
        except Refusal as refusal:
            raise ValueError(str(refusal)) from refusal
        raise LookupError(f"no act {op!r}; there are: create, update, delete")

    def native_id(self, place: int) -> str:
        """The id of the person at a place of the population."""
        return customer_id(place)

    def holds(self, obj: str) -> Mapping[str, Reading]:
        """Every customer as it is now, by id."""
        found = self._customers({}) if obj == CUSTOMERS.object else ()
        return {c["id"]: _held(c) for c in found}

    def summary(self) -> Mapping[str, Any]:
        """Numbers for a person."""
        gone = sum(1 for v in self.held.values() if v is None)
        return {
            "records": {"customers": self.count + self.made - gone},
            "events": len(self.events),
            "webhooks": {"waiting": len(self.waiting)},
        }


def _held(customer: Mapping[str, Any]) -> Reading:
    """A customer with the parts of its address under names of their own."""
    place = customer["address"] or dict.fromkeys(PARTS.values())
    app = {**customer, **{f"address.{part}": value for part, value in place.items()}}
    at, own = customer["created"] * 1000, customer["metadata"].get(EXTERNAL_ID, "")
    return Reading(CUSTOMERS.object, customer["id"], app, at, at, external_id=own)


def _after(ids: Iterator[str], last: str) -> Iterator[str]:
    """The ids behind one of them; raises Refusal where it is not among them."""
    if last and last not in ids:  # which takes all up to it
        raise _no_such_place(last)
    return ids


def _no_such_place(own: str) -> Refusal:
    return Refusal(400, f"No such item: '{own}'", code="resource_missing", param="starting_after")


def _in_time(item: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    bounds = query.get("created")
    if not isinstance(bounds, dict):
        return bounds is None or item["created"] == int(bounds)
    tests = {
        "gte": lambda a, b: a >= b,
        "gt": lambda a, b: a > b,
        "lte": lambda a, b: a <= b,
        "lt": lambda a, b: a < b,
    }
    return all(tests[op](item["created"], int(v)) for op, v in bounds.items() if op in tests)


def _address(before: Mapping[str, Any] | None, given: Any) -> dict[str, Any] | None:
    if not isinstance(given, Mapping):
        return None
    held = {t: (before or {}).get(t) for t in PARTS.values()}
    merged = {**held, **{k: v or None for k, v in given.items()}}
    return merged if any(merged.values()) else None


SANDBOX = StripeSandbox
