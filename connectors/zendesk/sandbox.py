"""A Zendesk account to try things on: its laws, exports, jobs and webhooks, without Zendesk.

What Zendesk is known for is here: exports that do not show the last minute, pages by time that
overlap and stand still, jobs that finish later, addresses that are identities, external ids whose
case is rewritten, users that are deleted, erased and merged in ways that can hardly be told apart.
"""

from __future__ import annotations

import base64
import email.utils
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
import orjson

from connectors._kit.contract import Entity, ObjectSpec, Reading, Reply
from connectors.zendesk.answers import reading_of
from connectors.zendesk.connector import CONNECTOR
from connectors.zendesk.desk import Body, Call, Desk
from connectors.zendesk.hooks import Hooks, Outgoing
from connectors.zendesk.population import FIRST_USER, STEP, Record
from connectors.zendesk.support import CUSTOM, ORGANIZATIONS, USERS, Refusal, Support, invalid

EVERY_EVENT: Final = tuple(event for spec in CONNECTOR.objects for event in spec.webhook_events)
KINDS: Final = {"user": USERS, "users": USERS, "organization": ORGANIZATIONS}
MINUTE_MS: Final = 60_000
Act = Callable[[int, Mapping[str, Any]], object]


class Limiter:
    """At most `calls` in any `window_ms`."""

    def __init__(self, calls: int, window_ms: int) -> None:
        self.calls = calls
        self.window_ms = window_ms
        self.times: deque[int] = deque()

    def wait(self, now: int) -> int:
        """Milliseconds until a call is free; 0 takes one."""
        while self.times and self.times[0] <= now - self.window_ms:
            self.times.popleft()
        if len(self.times) >= self.calls:
            return self.times[0] + self.window_ms - now
        self.times.append(now)
        return 0


class ZendeskSandbox:
    """One account, on the largest plan, with one administrator's token."""

    vendor = "zendesk"
    calls_per_second: float = 40  # the largest plan's 2,500 a minute
    mail: Final = "admin0@support.example.com"
    api_token: Final = "sandbox-token"  # noqa: S105
    subdomain: Final = "sandbox"

    def __init__(self, seed: int, customers: int, clock: Callable[[], int]) -> None:
        self.clock = clock
        hooks = Hooks(22_000_000 + seed, "zendesk-webhook-secret")
        self.desk = Desk(Support(seed, customers, clock, hooks))
        self.calls = Limiter(2_500, MINUTE_MS)
        self.exports = Limiter(10, MINUTE_MS)
        self.user_exports = Limiter(20, MINUTE_MS)

    @property
    def support(self) -> Support:
        """The account itself."""
        return self.desk.support

    @property
    def auth(self) -> Mapping[str, str]:
        """The credentials of this account."""
        return {
            "subdomain": self.subdomain,
            "email": self.mail,
            "api_token": self.api_token,
            "webhook_secret": self.support.hooks.secret,
        }

    # -- requests ------------------------------------------------------------------------------

    def kind(self, request: httpx.Request) -> str:
        """A search, a read, or a write."""
        if request.method != "GET":
            return "write"
        return "search" if "search" in request.url.path else "read"

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Any request of the part of Zendesk's API that is here."""
        try:
            self._admit(request)
            status, body = self.desk.answer(call_of(request))
        except Refusal as refusal:
            if refusal.status == 429:  # noqa: PLR2004
                return self.limited(-(-int(refusal.body.pop("wait")) // 1000))
            return self._reply(refusal.body, refusal.status)
        return self._reply(body, status)

    def _admit(self, request: httpx.Request) -> None:
        """Who may not call, or not so often."""
        pair = base64.b64encode(f"{self.mail}/token:{self.api_token}".encode()).decode()
        given = request.headers.get("authorization", "")
        if given not in (f"Basic {pair}", f"Bearer {self.api_token}"):
            raise Refusal(401, "Couldn't authenticate you", "Couldn't authenticate you")
        limit = self._limit(request.url.path)
        wait = limit.wait(self.clock()) if limit else 0
        if wait := wait or self.calls.wait(self.clock()):
            raise Refusal(429, "TooManyRequests", "Too many requests", wait=wait)

    def _limit(self, path: str) -> Limiter | None:
        """Exports have limits of their own."""
        if "/incremental/" not in path:
            return None
        return self.user_exports if "/users/cursor" in path else self.exports

    def limited(self, retry_after: int) -> httpx.Response:
        """Zendesk's way to say: too many calls."""
        body = {
            "error": "APIRateLimitExceeded",
            "description": "Number of allowed API requests per minute exceeded",
        }
        answer = self._reply(body, 429)
        if retry_after:
            answer.headers["Retry-After"] = str(retry_after)
        return answer

    def _reply(self, body: Body | None, status: int) -> httpx.Response:
        headers = {
            "Date": email.utils.formatdate(self.clock() / 1000, usegmt=True),
            "X-Rate-Limit": str(self.calls.calls),
            "X-Rate-Limit-Remaining": str(self.calls.calls - len(self.calls.times)),
        }
        if body is None:
            return httpx.Response(status, headers=headers)
        headers["Content-Type"] = "application/json; charset=utf-8"
        return httpx.Response(status, content=orjson.dumps(body), headers=headers)

    # -- webhooks ------------------------------------------------------------------------------

    def due(self, now_ms: int) -> list[Outgoing]:
        """Webhooks to send now."""
        self.support.run_jobs()
        return self.support.hooks.due(now_ms)

    def settle(self, own: str, status: int) -> None:
        """What became of a webhook: the status it was answered with, 0 for none."""
        self.support.hooks.settle(own, status)

    def signed(self, url: str, body: bytes) -> Mapping[str, str]:
        """The headers of a webhook with this body."""
        return self.support.hooks.signed(url, body, self.clock())

    def register_webhook(self, url: str, secret: str, events: list[str]) -> None:
        """Subscribe to events such as "zen:event-type:user.created"; none means all."""
        self.support.hooks.secret = secret or self.support.hooks.secret
        self.support.hooks.listen(url, secret, events or EVERY_EVENT)

    def flush_webhooks(self) -> None:
        """Nothing waits any longer."""
        for told in self.support.hooks.waiting.values():
            told.due = self.clock()

    # -- admin ---------------------------------------------------------------------------------

    def act(self, op: str, obj: str, native_id: str, fields: Mapping[str, Any]) -> str:
        """A person in Zendesk, who can also erase, merge, link, unlink; or Zendesk itself: touch.

        A merge names the `other` record, which is lost; a link names the `company`.
        """
        kind = KINDS.get(obj, obj)
        if kind not in CUSTOM:
            raise LookupError(f"no object {obj!r} here, only users and organizations")
        acts = self._acts(kind)
        if op not in acts:
            raise LookupError(f"no act {op!r}; there are: {', '.join(acts)}")
        try:
            return str(acts[op](int(native_id or 0), fields) or native_id)
        except Refusal as refusal:
            raise ValueError(str(refusal)) from refusal

    def _acts(self, kind: str) -> Mapping[str, Act]:
        support = self.support
        both: dict[str, Act] = {
            "create": lambda _, given: support.create(kind, nested(given)).id,
            "update": lambda own, given: self._edit(kind, own, nested(given)),
            "delete": lambda own, _: support.delete(kind, own).id,
            "touch": lambda own, _: support.touch(kind, own),
        }
        if kind == ORGANIZATIONS:
            merge = support.merge_organizations
            return both | {"merge": lambda own, given: merge(int(given["other"]), own)["winner_id"]}
        return both | {
            "erase": lambda own, _: support.erase(own).id,
            "merge": lambda own, given: support.merge_users(int(given["other"]), own).id,
            "link": lambda own, given: support.join(own, int(given["company"])) and own,
            "unlink": lambda own, given: support.leave(own, int(given["company"])),
        }

    def _edit(self, kind: str, own: int, given: Body) -> int:
        """In the dialogue of a user the address shown can be edited as it stands."""
        mail = given.pop("email", None) if kind == USERS else None
        if mail is not None:
            held = self.support.get(kind, own).values["identities"]
            primary = next((i["id"] for i in held if i["primary"]), 0)
            if not mail and primary:
                self.support.identities(own, "remove", primary)
            elif mail:
                change = "change" if primary else "add"
                self.support.identities(own, change, primary, {"value": mail})
        return self.support.update(kind, own, given).id

    def native_id(self, place: int) -> str:
        """The id of the person at a place of the population."""
        return str(FIRST_USER + STEP * place)

    def holds(self, obj: str) -> Mapping[str, Reading]:
        """Every living customer or organization as it is now, by id."""
        (spec,) = [s for s in CONNECTOR.objects if s.object == obj]
        call, now = Call("GET", "", httpx.QueryParams(), {}, ""), self.clock()
        reply = Reply(200, {}, b"", now, now)
        return {
            str(r.id): reading_of(spec, self.desk.shown(obj, r, call), reply, ends(spec, r))
            for r in self.support.living(obj)
            if r.customer
        }

    def summary(self) -> Mapping[str, object]:
        """Living customers and organizations, jobs and webhooks."""
        return {
            "records": {kind: table.living for kind, table in self.support.tables.items()},
            "jobs": len(self.support.jobs),
            "webhooks": {
                "waiting": len(self.support.hooks.waiting),
                "subscriptions": len(self.support.hooks.hooks),
            },
        }


def ends(spec: ObjectSpec, record: Record) -> Mapping[Entity, tuple[str, ...]]:
    """The organizations of a user."""
    if "company" not in spec.links:
        return {}
    return {"company": tuple(str(m["organization_id"]) for m in record.values["memberships"])}


def nested(fields: Mapping[str, Any]) -> Body:
    """Fields with dots as records have them."""
    made: Body = {}
    for name, value in fields.items():
        outer, _, inner = name.partition(".")
        if inner:
            made.setdefault(outer, {})[inner] = value
        else:
            made[outer] = value
    return made


def call_of(request: httpx.Request) -> Call:
    """A request as the desk takes it; raises Refusal where its body is no JSON."""
    try:
        found = orjson.loads(request.content or b"{}")
    except orjson.JSONDecodeError as error:
        raise invalid("body", str(error)) from error
    url = request.url
    base = f"{url.scheme}://{request.headers.get('host', url.netloc.decode())}"
    path = url.path.rstrip("/").removesuffix(".json")
    return Call(request.method, path, url.params, found if isinstance(found, dict) else {}, base)


SANDBOX: Final = ZendeskSandbox
