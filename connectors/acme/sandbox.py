"""An Acme account to try things on: contacts, changes, deletions and webhooks, without Acme."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx
import orjson

from connectors._kit.answers import Item
from connectors._kit.contract import Reading, Reply
from connectors._kit.population import Population
from connectors._kit.webhooks import sign
from connectors.acme.connector import CONTACTS, HORIZON_MS, reading_of

DAY_MS: Final = 86_400_000
RETRY_MS: Final = 60_000
LENGTH_MOST: Final = 255
PAGE_MOST: Final = 100
BLANK: Final = CONTACTS.fields.give(dict.fromkeys(CONTACTS.fields.by_name)) | {"external_id": ""}


class Refusal(Exception):
    """An error answer of Acme's, with the field that it is about."""

    def __init__(self, status: int, message: str, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "field": field}}


@dataclass(frozen=True)
class Told:
    """A webhook on its way to one address; each try has a due time and a signature of its own."""

    id: str
    url: str
    body: bytes
    due: int
    headers: Mapping[str, str]
    method: str = "POST"


def checked(given: object) -> Item:
    """What somebody wants to enter; raises Refusal."""
    if not isinstance(given, dict):
        raise Refusal(400, "the body is no object")
    for name, value in given.items():
        if name not in BLANK:
            raise Refusal(422, "a contact has no such field", name)
        texts = value if isinstance(BLANK[name], list) and isinstance(value, list) else [value]
        if not all(isinstance(t, str) and len(t) <= LENGTH_MOST for t in texts):
            raise Refusal(422, f"not a text of {LENGTH_MOST} characters at most", name)
        if name == "email" and value and "@" not in value:
            raise Refusal(422, "not an e-mail address", name)
    return given


def id_of(contact: Item) -> str:
    """Where a contact stands among all."""
    return str(contact["id"])


def change_of(contact: Item) -> str:
    """Where a contact stands in the order of changes."""
    return f"{contact['changed_at']:015d}.{contact['id']}"


class AcmeSandbox:
    """One account, as `connectors/_kit/sandbox.py` wants it. Deleted contacts are kept as such."""

    vendor = "acme"

    def __init__(self, seed: int, customers: int, clock: Callable[[], int]) -> None:
        self.seed = seed
        self.clock = clock
        self.auth = {"token": "acme-sandbox-token", "webhook_secret": "acme-sandbox-secret"}
        self.hooks: list[tuple[str, list[str]]] = []
        self.waiting: dict[str, Told] = {}
        self.events = 0
        people = Population(seed, customers, self.vendor)
        self.contacts = {
            self.native_id(place): self._entered(place, people.values(place), clock() - DAY_MS)
            for place in range(people.count)
        }

    def native_id(self, place: int) -> str:
        """The id of the person at a place of the population."""
        return f"ct_{place:08d}"

    def _entered(self, place: int, values: Mapping[str, Any], at: int) -> Item:
        known = {name: values.get(name) for name in CONTACTS.fields.by_name}
        times = {"deleted": False, "created_at": at, "changed_at": at}
        return {"id": self.native_id(place), **BLANK, **CONTACTS.fields.give(known), **times}

    # -- requests ------------------------------------------------------------------------------

    def kind(self, request: httpx.Request) -> str:
        """A read or a write."""
        return "read" if request.method == "GET" else "write"

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Any request of Acme's API."""
        try:
            return self._reply(self._route(request))
        except Refusal as refusal:
            return self._reply(refusal.body, refusal.status)
        except ValueError as error:  # no JSON, no number
            return self._reply(Refusal(400, str(error)).body, 400)

    def _route(self, request: httpx.Request) -> Item:
        if request.headers.get("authorization") != f"Bearer {self.auth['token']}":
            raise Refusal(401, "the token is not valid")
        match (request.method, *request.url.path.strip("/").split("/")):
            case ("GET", "account"):
                own = f"acme_sandbox{self.seed}"
                return {"id": own, "name": "Sandbox", "live": False, "time_zone": "Etc/UTC"}
            case ("GET", "contacts"):
                return self._page(request.url.params)
            case ("POST", "contacts"):
                return self._create(checked(orjson.loads(request.content)))
            case ("GET", "contacts", own):
                return self._living(own)
            case ("PATCH", "contacts", own):
                return self._update(own, checked(orjson.loads(request.content)))
            case ("DELETE", "contacts", own):
                return self._delete(own)
        raise Refusal(404, "there is no such address")

    def _reply(self, body: Item, status: int = 200) -> httpx.Response:
        date = email.utils.formatdate(self.clock() / 1000, usegmt=True)
        return httpx.Response(status, json=body, headers={"Date": date})

    def limited(self, retry_after: int) -> httpx.Response:
        """Acme's way to say: too many calls."""
        answer = self._reply(Refusal(429, "too many calls").body, 429)
        answer.headers["Retry-After"] = str(retry_after)
        return answer

    # -- contacts ------------------------------------------------------------------------------

    def _page(self, query: httpx.QueryParams) -> Item:
        """Living contacts by id; or those changed since a time, deleted ones too, by time."""
        found, place_of = self._alive(), id_of
        if "changed_since" in query:
            found, place_of = self._changed(int(query["changed_since"])), change_of
        wanted, after = query.get("external_id", ""), query.get("after", "")
        some = [c for c in found if wanted in ("", c["external_id"]) and place_of(c) > after]
        limit = min(max(int(query.get("limit", PAGE_MOST)), 1), PAGE_MOST)
        page = sorted(some, key=place_of)[:limit]
        return {"contacts": page, "next": place_of(page[-1]) if len(some) > limit else ""}

    def _alive(self) -> list[Item]:
        return [c for c in self.contacts.values() if not c["deleted"]]

    def _changed(self, since: int) -> list[Item]:
        """A deletion is told for thirty days."""
        oldest = self.clock() - HORIZON_MS
        some = [c for c in self.contacts.values() if c["changed_at"] >= since]
        return [c for c in some if not c["deleted"] or c["changed_at"] >= oldest]

    def _living(self, own: str) -> Item:
        found = self.contacts.get(own)
        if found is None or found["deleted"]:
            raise Refusal(404, "there is no such contact")
        return found

    def _create(self, given: Item) -> Item:
        new = self._entered(len(self.contacts), {}, self.clock())
        return self._put({**new, **given}, "contact.created")

    def _update(self, own: str, given: Item) -> Item:
        return self._put({**self._living(own), **given}, "contact.updated")

    def _delete(self, own: str) -> Item:
        found = self._living(own)
        kept = {name: found[name] for name in ("id", "external_id", "created_at")}
        return self._put({**kept, "deleted": True}, "contact.deleted")

    def _put(self, contact: Item, event: str) -> Item:
        """It is so from now on, and whoever listens is told."""
        contact["changed_at"] = self.clock()
        self.contacts[contact["id"]] = contact
        self.events += 1
        own = f"evt_{self.events}"
        body = orjson.dumps({"id": own, "type": event, "contact": contact["id"]})
        for n, (url, wanted) in enumerate(self.hooks):
            if not wanted or event in wanted:
                self.waiting[f"{own}/{n}"] = Told(f"{own}/{n}", url, body, self.clock(), {})
        return contact

    # -- webhooks ------------------------------------------------------------------------------

    def register_webhook(self, url: str, secret: str, events: list[str]) -> None:
        """Send these events there; none named means all."""
        self.auth["webhook_secret"] = secret or self.auth["webhook_secret"]
        self.hooks.append((url, events))

    def due(self, now_ms: int) -> list[Told]:
        """Webhooks to send now; each is due again until it is settled."""
        found = {
            own: replace(told, due=now_ms + RETRY_MS, headers=self.signed(told.url, told.body))
            for own, told in self.waiting.items()
            if told.due <= now_ms
        }
        self.waiting |= found
        return list(found.values())

    def settle(self, own: str, status: int) -> None:
        """A webhook that got a 2xx is done; others come again."""
        if httpx.codes.is_success(status):
            self.waiting.pop(own, None)

    def flush_webhooks(self) -> None:
        """Nothing waits any longer."""
        self.waiting = {own: replace(t, due=self.clock()) for own, t in self.waiting.items()}

    def signed(self, _url: str, body: bytes) -> Mapping[str, str]:
        """The headers of a webhook."""
        signature = sign(self.auth["webhook_secret"], self.clock() // 1000, body)
        return {"Content-Type": "application/json", "Acme-Signature": signature}

    # -- admin ---------------------------------------------------------------------------------

    def act(self, op: str, obj: str, native_id: str, fields: Mapping[str, Any]) -> str:
        """A person in Acme: create, update, delete."""
        acts: dict[str, Callable[[], Item]] = {
            "create": lambda: self._create(checked(dict(fields))),
            "update": lambda: self._update(native_id, checked(dict(fields))),
            "delete": lambda: self._delete(native_id),
        }
        if obj != CONTACTS.object or op not in acts:
            raise LookupError(
                f"no act {op!r} on {obj!r}; there are, on contacts: {', '.join(acts)}"
            )
        try:
            return id_of(acts[op]())
        except Refusal as refusal:
            raise ValueError(str(refusal)) from refusal

    def holds(self, obj: str) -> Mapping[str, Reading]:
        """Every living contact as it is now, by id."""
        now = Reply(200, {}, b"", self.clock(), self.clock())
        found = self._alive() if obj == CONTACTS.object else []
        return {id_of(c): reading_of(c, now) for c in found}

    def summary(self) -> Mapping[str, Any]:
        """Numbers for a person."""
        waiting = {"waiting": len(self.waiting)}
        return {"records": {CONTACTS.object: len(self._alive())}, "webhooks": waiting}


SANDBOX: Final = AcmeSandbox
