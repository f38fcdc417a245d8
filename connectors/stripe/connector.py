"""Stripe: customers are persons.

Stripe has no list of changed customers: the event stream is read with an overlap, each event only
names a customer, and the customer is read again. An event older than thirty days is gone, so an
older cursor asks for a full pass. Writes are forms; a create carries an idempotency key and our id
in `metadata`, which is how its outcome is settled when the answer was lost. There is no batch, no
condition, no revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

import orjson
from httpx import codes

from connectors._kit.answers import (
    Broken,
    Item,
    attempt,
    body_of,
    error_of,
    gone,
    is_a,
    items_of,
    object_of,
    text_of,
    understood,
)
from connectors._kit.contract import (
    Account,
    Actor,
    Answer,
    Api,
    Hint,
    Inbound,
    Known,
    Limits,
    ObjectSpec,
    Page,
    Reading,
    Reply,
    Unreadable,
    Write,
    nothing_known,
)
from connectors._kit.cursors import Cursor, damaged
from connectors._kit.fieldmap import FieldMap, address, email, flag, full_name, money, phone
from connectors._kit.webhooks import hints_in, in_time, signed_at

VERSION: Final = "2026-06-24.dahlia"
EXTERNAL_ID: Final = "synchub_id"
OUR_KEYS: Final = "synchub:"  # how our idempotency keys begin
PAGE: Final = 100
PAGES_AT_ONCE: Final = 10
NEAR_S: Final = 60  # events become visible out of order
OVERLAP_S: Final = 600  # some of them very late: for these a wide round looks now and then
WIDE_EVERY_S: Final = 300
HORIZON_S: Final = 30 * 86_400
SEEN_MOST: Final = 20_000
PARTS: Final = {
    "line1": "line1",
    "line2": "line2",
    "city": "city",
    "region": "state",
    "postcode": "postal_code",
    "country": "country",
}
CHANGES: Final = ("customer.created", "customer.updated", "customer.deleted")

CUSTOMERS: Final = ObjectSpec(
    entity="person",
    object="customers",
    external_ids=True,
    read_batch=1,
    settle_ms=1_000,
    webhook_events=CHANGES,
    fields=FieldMap(
        (
            full_name("name", "name", max_length=256),
            email("email", "email"),
            phone("phone", "phone"),
            address("address", {o: f"address.{t}" for o, t in PARTS.items()}),
            money("balance", "balance", "currency"),
            flag("delinquent", "delinquent", writable=False),
        )
    ),
)


# -- understanding answers ---------------------------------------------------------------------


def message_of(reply: Reply) -> str:
    """What an error says."""
    error = error_of(reply, "error")
    return str(error.get("message") or error.get("code") or reply.status)[:300]


def id_of(found: Item) -> str:
    """The id of an object; raises `Unreadable`."""
    return text_of(found.get("id"), "id")


def whole(found: Item, name: str) -> int | None:
    """A whole number or nothing; raises `Unreadable`."""
    value = found.get(name)
    return None if value is None else is_a(value, int, name)


def reading(item: object, reply: Reply) -> Reading:
    """A customer as Stripe showed it; raises `Unreadable`."""
    found = object_of(item, "a customer")
    own, created = id_of(found), whole(found, "created")
    if found.get("deleted") is True:
        return gone(CUSTOMERS, own, reply)
    raw = orjson.dumps(found)
    place = found.get("address")
    parts = object_of(place, "address") if place is not None else {}
    app = {
        name: found.get(name)
        for name in ("name", "email", "phone", "balance", "currency", "delinquent")
    }
    app |= {f"address.{t}": parts.get(t) for t in PARTS.values()}
    if wrong := [k for k, v in app.items() if isinstance(v, list | dict)]:
        raise Unreadable(f"{wrong[0]} is no plain value", raw)
    metadata = found.get("metadata") or {}
    return Reading(
        CUSTOMERS.object,
        own,
        app,
        reply.start_ms,
        reply.end_ms,
        created_ms=None if created is None else created * 1000,
        external_id=str(object_of(metadata, "metadata").get(EXTERNAL_ID) or ""),
        raw=raw,
    )


def listed(reply: Reply, what: str) -> tuple[list[Any], bool]:
    """The items of a list and whether there are more; raises `Unreadable`."""
    found = body_of(reply, what)
    return items_of(found.get("data"), "data"), bool(found.get("has_more"))


def readings(items: list[Any], reply: Reply) -> tuple[tuple[Reading, ...], tuple[Broken, ...]]:
    """What can be understood, and what cannot, with the reason."""
    return understood(items, lambda item: reading(item, reply))


@dataclass(frozen=True, slots=True)
class Event:
    """An event, the customer that it is about, when it happened (s), who did it, by which write."""

    id: str
    customer: str
    at: int
    actor: Actor
    cause: str = ""


# -- the cursor of changes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Round(Cursor):
    """Where `changes` stands. Times are Stripe's, in seconds.

    A round goes through the events since `t`, newest first, type by type: `kind` counts the types
    done, `after` is the last event seen of the next one, `until` the time at which the round began
    (0: not yet). A `wide` round looks back over the whole overlap, the others only a little;
    `looked` is the time of the last wide one. `seen` are events of the overlap that were handled
    and that no webhook has brought, `kept` those that this round has met.
    """

    t: int
    seen: tuple[str, ...] = ()
    until: int = 0
    kind: int = 0
    after: str = ""
    kept: tuple[str, ...] = ()
    wide: bool = True
    looked: int = 0

    @property
    def over(self) -> bool:
        """Whether the round has been through every type."""
        return self.kind == len(CHANGES)

    def moved(self, now_s: int, after: str) -> Round:
        """After a page of events; `after` is its last one where there are more of this type."""
        kind = self.kind if after else self.kind + 1
        return replace(self, until=self.until or now_s, kind=kind, after=after)

    def with_kept(self, events: Iterable[Event]) -> Round:
        """These were met: a later round that meets them again reads nothing."""
        late = (e.id for e in events if e.at >= self.until - OVERLAP_S)
        return replace(self, kept=(*self.kept, *late))

    def next_round(self) -> Round:
        """The round after this one."""
        looked = self.until if self.wide else self.looked
        wide = self.until - looked >= WIDE_EVERY_S
        seen = dict.fromkeys((*(() if self.wide else self.seen), *self.kept))
        t = looked - OVERLAP_S if wide else self.until - NEAR_S
        return Round(t, tuple(seen)[-SEEN_MOST:], wide=wide, looked=looked)


def round_of(stored: str) -> Round:
    """A cursor of ours; raises `Unreadable`."""
    found = Round.of(stored)
    if not 0 <= found.kind < len(CHANGES):
        raise damaged(stored)
    return found


# -- writing -----------------------------------------------------------------------------------


def form(write: Write) -> list[tuple[str, str]]:
    """The changes as a form; an address without any part is cleared as a whole."""
    pairs = [(field_name(k), plain(v)) for k, v in write.changes.items()]
    parts = [v for k, v in pairs if k.startswith("address[")]
    if len(parts) == len(PARTS) and not any(parts):
        pairs = [(k, v) for k, v in pairs if not k.startswith("address[")] + [("address", "")]
    if write.op == "create":
        pairs = [(k, v) for k, v in pairs if v]
        pairs.append((f"metadata[{EXTERNAL_ID}]", write.external_id))
    return pairs


def field_name(name: str) -> str:
    """address.city as Stripe writes it."""
    outer, _, inner = name.partition(".")
    return f"{outer}[{inner}]" if inner else outer


def plain(value: object) -> str:
    """A value in a form; nothing clears."""
    return "" if value is None else str(value)


def answer(reply: Reply) -> Answer:
    """What Stripe made of a write."""
    if reply.status < codes.BAD_REQUEST:
        found = reading(reply.json(), reply)
        if found.state == "deleted":
            return Answer("stale", found.native_id, why="it was deleted")
        return Answer("done", found.native_id, found)
    error = error_of(reply, "error")
    if error.get("code") == "resource_missing":
        return Answer("stale", why=message_of(reply))
    if error.get("code") == "lock_timeout":
        return Answer("retry", why=message_of(reply), after_ms=1_000)
    if error.get("type") == "idempotency_error":
        return Answer("unknown", why=message_of(reply))
    param = str(error.get("param") or "")
    name = param.replace("[", ".").replace("]", "")
    fields = tuple(a for a in CUSTOMERS.fields.app_names if a == name or a.startswith(name + "."))
    return Answer("rejected", why=message_of(reply), fields=fields if name else ())


class Stripe:
    """The connector; see the module."""

    vendor = "stripe"
    title = "Stripe"
    objects = (CUSTOMERS,)
    limits = Limits(calls=25, per_ms=1_000, connections=4)
    secret_names: Mapping[str, str] = {
        "secret_key": "required: a secret key, or a restricted one that may write customers and "
        "read events, balance and its own account",
        "webhook_secret": "optional: the signing secret of the webhook endpoint",
    }

    def base_url(self, _secrets: Mapping[str, str]) -> str:
        """Stripe's address."""
        return "https://api.stripe.com"

    def authorize(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """The key, and the version whose shapes are read here."""
        return {"Authorization": f"Bearer {secrets['secret_key']}", "Stripe-Version": VERSION}

    def account(self, api: Api) -> Account:
        """The account of the key; a server without accounts is "none"."""
        reply = api.get("/v1/account")
        if reply.status == codes.NOT_FOUND:
            return Account("none", live=False)
        found = body_of(reply, "account")
        settings = object_of(found.get("settings") or {}, "settings")
        zone = str(object_of(settings.get("dashboard") or {}, "dashboard").get("timezone") or "UTC")
        return Account(id_of(found), self._live(api), str(found.get("email") or ""), zone)

    def _live(self, api: Api) -> bool:
        """The account object does not tell which kind of key was used; the balance does."""
        return body_of(api.get("/v1/balance"), "balance").get("livemode") is True

    def check(self, _api: Api) -> tuple[str, ...]:
        """Metadata takes our id as it is."""
        return ()

    def prepare(self, _api: Api) -> tuple[str, ...]:
        """Every customer has metadata already."""
        return ()

    def begin(self, api: Api, _spec: ObjectSpec, now_ms: int) -> str:
        """From now, by the earlier of the two clocks, less the overlap."""
        reply = api.get("/v1/events", [("limit", "1")])
        listed(reply, "events")
        return Round(min(now_ms, reply.server_ms) // 1000 - OVERLAP_S).text()

    def listing(self, api: Api, _spec: ObjectSpec, cursor: str) -> Page:
        """Customers, a page at a time; what is created meanwhile shows up as a change."""
        params = [("limit", str(PAGE)), *([("starting_after", cursor)] if cursor else [])]
        reply = api.get("/v1/customers", params)
        items, more = listed(reply, "customers")
        good, broken = readings(items, reply)
        last = items[-1].get("id") if items and isinstance(items[-1], dict) else None
        if more and (not last or last == cursor):
            raise Unreadable("a page of customers that makes no progress", reply.body)
        live = tuple(r for r in good if r.state == "live")
        return Page(live, str(last or cursor), done=not more, broken=broken)

    def changes(
        self, api: Api, spec: ObjectSpec, cursor: str, known: Known = nothing_known
    ) -> Page:
        """Customers that events name; each is read again, for events tell old states."""
        at = round_of(cursor)
        last, handled = dict[str, Event](), frozenset(at.seen)
        for _ in range(PAGES_AT_ONCE):
            events, at = self._events(api, at)
            brought = known([e.id for e in events])
            unknown = [e for e in events if e.id not in brought]
            at = at.with_kept(unknown)
            for e in reversed(unknown):
                if e.id not in handled and e.at >= last.get(e.customer, e).at:
                    last[e.customer] = e
            if at.over or len(last) >= PAGE:
                break
        found = tuple(
            replace(r, actor=last[r.native_id].actor) for r in self.read(api, spec, list(last))
        )
        if not at.over:
            return Page(found, at.text(), done=False)
        expired = at.t < at.until - HORIZON_S
        return Page(found, at.next_round().text(), done=True, expired=expired)

    def _events(self, api: Api, at: Round) -> tuple[list[Event], Round]:
        """The next page of events, and where that leads."""
        params = [("limit", str(PAGE)), ("created[gte]", str(at.t)), ("type", CHANGES[at.kind])]
        params += [("starting_after", at.after)] if at.after else []
        reply = api.get("/v1/events", params)
        items, more = listed(reply, "events")
        events = [e for item in items for e in named(object_of(item, "an event")) if e.at >= at.t]
        last = id_of(object_of(items[-1], "an event")) if items else at.after
        if more and last == at.after:
            raise Unreadable("a page of events that makes no progress", reply.body)
        return events, at.moved(reply.server_ms // 1000, last if more else "")

    def read(self, api: Api, _spec: ObjectSpec, ids: Sequence[str]) -> tuple[Reading, ...]:
        """One call each; there is no batch."""
        return tuple(self._read_one(api, own) for own in ids)

    def _read_one(self, api: Api, own: str) -> Reading:
        reply = api.get(f"/v1/customers/{quote(own, safe='')}")
        if reply.status == codes.NOT_FOUND:
            return gone(CUSTOMERS, own, reply)
        return reading(body_of(reply, "customer"), reply)

    def find(self, api: Api, _spec: ObjectSpec, write: Write) -> tuple[Reading, ...]:
        """By e-mail, then among the newest: never by search, which lags."""
        mail = plain(write.changes.get("email"))
        found = self._with_our_id(api, write, [("email", mail)]) if mail else ()
        return found or self._with_our_id(api, write, [])

    def _with_our_id(
        self, api: Api, write: Write, which: Sequence[tuple[str, str]]
    ) -> tuple[Reading, ...]:
        reply = api.get("/v1/customers", [("limit", str(PAGE)), *which])
        items, _ = listed(reply, "customers")
        good, _ = readings(items, reply)
        return tuple(r for r in good if r.external_id == write.external_id)

    def write(self, api: Api, _spec: ObjectSpec, writes: Sequence[Write]) -> tuple[Answer, ...]:
        """One call each; one that breaks says nothing about the others."""
        return tuple(self._write_one(api, w) for w in writes)

    def _write_one(self, api: Api, write: Write) -> Answer:
        own = quote(write.native_id, safe="")
        path = "/v1/customers" + (f"/{own}" if write.op == "update" else "")
        headers = {"Idempotency-Key": OUR_KEYS + write.key}
        return attempt(lambda: answer(api.send("POST", path, form=form(write), headers=headers)))

    def hints(self, inbound: Inbound, secrets: Mapping[str, str]) -> tuple[Hint, ...]:
        """The customer that an event is about; its content is not believed."""
        signed_ms = signed_at(inbound, "stripe-signature", secrets.get("webhook_secret", ""))
        return in_time(inbound, signed_ms, hints_in(inbound.body, told))


def named(event: Item) -> Iterator[Event]:
    """The customer that an event is about, if it is about one."""
    obj = object_of(
        object_of(event.get("data"), "an event's data").get("object"), "an event's object"
    )
    if str(event.get("type")) in CHANGES and obj.get("object", "customer") == "customer":
        at = whole(event, "created") or 0
        yield Event(id_of(event), id_of(obj), at, actor_of(event), cause_of(event))


def actor_of(event: Item) -> Actor:
    """Who did it, as far as Stripe tells: a request by API, ours by its idempotency key."""
    request = event.get("request")
    if not isinstance(request, dict):
        return Actor()
    own = str(request.get("id") or "")
    if cause_of(event):
        return Actor("hub", own, "API")
    return Actor("app", own, "API") if own else Actor(via="dashboard or automatic")


def cause_of(event: Item) -> str:
    """The key of our write that made it; "" where somebody else did."""
    request = event.get("request")
    key = request.get("idempotency_key") if isinstance(request, dict) else None
    return key.removeprefix(OUR_KEYS) if isinstance(key, str) and key.startswith(OUR_KEYS) else ""


def told(found: object) -> Iterator[Hint]:
    """What to read again after an event; raises `Unreadable`."""
    event = object_of(found, "an event")
    about = list(named(event))
    if not about:
        yield Hint("other", "", id_of(event), "other")
    for e in about:
        kind = str(event["type"])
        yield Hint(CUSTOMERS.object, e.customer, e.id, kind, e.at * 1000, e.cause)


CONNECTOR = Stripe()
