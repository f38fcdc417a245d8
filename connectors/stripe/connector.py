"""Stripe: customers are persons.

Stripe has no list of changed customers: the event stream is read with an overlap, each event only
names a customer, and the customer is read again. An event older than thirty days is gone, so an
older cursor asks for a full pass. Writes are forms; a create carries an idempotency key and our id
in `metadata`, which is how its outcome is settled when the answer was lost. There is no batch, no
condition, no revision.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

import orjson
from httpx import codes

from connectors._kit.contract import (
    Account,
    Answer,
    Api,
    Denied,
    Forged,
    Hint,
    Inbound,
    Limits,
    Malformed,
    ObjectSpec,
    Page,
    Reading,
    Reply,
    Stale,
    Unavailable,
    Unreadable,
    Write,
)
from connectors._kit.fieldmap import FieldMap, address, email, flag, full_name, money, phone

VERSION: Final = "2026-06-24.dahlia"
EXTERNAL_ID: Final = "synchub_id"
PAGE: Final = 100
PAGES_AT_ONCE: Final = 10
OVERLAP_S: Final = 600  # events become visible out of order
HORIZON_S: Final = 30 * 86_400
SEEN_MOST: Final = 2_000
TOLERANCE_S: Final = 300
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
    read_batch=10,
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


def mapping(found: object, what: str) -> dict[str, Any]:
    """An object of an answer; raises `Unreadable`."""
    if not isinstance(found, dict):
        raise Unreadable(f"Stripe: {what} is no object but {type(found).__name__}")
    return found


def body(reply: Reply, what: str) -> dict[str, Any]:
    """The body of a good answer; raises `Unreadable`."""
    if reply.status >= codes.BAD_REQUEST:
        raise Unreadable(f"Stripe: {what}: {reply.status} {message_of(reply)}", reply.body)
    return mapping(reply.json(), what)


def message_of(reply: Reply) -> str:
    """What an error says."""
    error = error_of(reply)
    return str(error.get("message") or error.get("code") or reply.status)[:300]


def error_of(reply: Reply) -> dict[str, Any]:
    """The error object, {} where there is none."""
    try:
        found = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return {}
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def id_of(found: Mapping[str, Any]) -> str:
    """The id of an object; raises `Unreadable`."""
    own = found.get("id")
    if not isinstance(own, str) or not own:
        raise Unreadable("Stripe: an object without an id", orjson.dumps(found, default=str))
    return own


def whole(found: Mapping[str, Any], name: str) -> int | None:
    """A whole number or nothing; raises `Unreadable`."""
    value = found.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise Unreadable(f"Stripe: {name} is no whole number", orjson.dumps(found, default=str))
    return value


def reading(found: Mapping[str, Any], reply: Reply) -> Reading:
    """A customer as Stripe showed it."""
    own, created = id_of(found), whole(found, "created")
    if found.get("deleted") is True:
        return gone(own, reply)
    raw = orjson.dumps(found)
    place = found.get("address")
    parts = mapping(place, "address") if place is not None else {}
    app = {
        name: found.get(name)
        for name in ("name", "email", "phone", "balance", "currency", "delinquent")
    }
    app |= {f"address.{t}": parts.get(t) for t in PARTS.values()}
    if wrong := [k for k, v in app.items() if isinstance(v, list | dict)]:
        raise Unreadable(f"Stripe: {wrong[0]} is no plain value", raw)
    metadata = found.get("metadata") or {}
    return Reading(
        CUSTOMERS.object,
        own,
        app,
        reply.start_ms,
        reply.end_ms,
        created_ms=None if created is None else created * 1000,
        external_id=str(mapping(metadata, "metadata").get(EXTERNAL_ID) or ""),
        raw=raw,
    )


def gone(own: str, reply: Reply) -> Reading:
    """A customer that was deleted."""
    return Reading(CUSTOMERS.object, own, {}, reply.start_ms, reply.end_ms, state="deleted")


def listed(reply: Reply, what: str) -> tuple[list[Any], bool]:
    """The items of a list and whether there are more; raises `Unreadable`."""
    found = body(reply, what)
    items = found.get("data")
    if not isinstance(items, list):
        raise Unreadable(f"Stripe: {what} without data", reply.body)
    return items, bool(found.get("has_more"))


def readings(items: Iterable[Any], reply: Reply) -> tuple[list[Reading], list[tuple[str, bytes]]]:
    """What can be understood, and what cannot, with the reason."""
    good: list[Reading] = []
    broken: list[tuple[str, bytes]] = []
    for item in items:
        try:
            good.append(reading(mapping(item, "a customer"), reply))
        except Unreadable as error:
            broken.append((str(error), error.raw or orjson.dumps(item)))
    return good, broken


@dataclass(frozen=True, slots=True)
class Event:
    """An event, the customer that it is about, and when it happened (s)."""

    id: str
    customer: str
    at: int


# -- the cursor of changes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where `changes` stands. Times are Stripe's, in seconds.

    A round goes through the events since `t`, newest first, type by type: `kind` counts the types
    done, `after` is the last event seen of the next one, `until` the time at which the round began
    (0: not yet). `seen` are events of the overlap that the last round handled, `kept` those that
    the next one will not have to.
    """

    t: int
    seen: tuple[str, ...] = ()
    until: int = 0
    kind: int = 0
    after: str = ""
    kept: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Cursor:
        """A cursor of ours; raises `Unreadable`."""
        try:
            found = orjson.loads(text)
            lists = {k: tuple(map(str, v)) for k, v in found.items() if isinstance(v, list)}
            made = cls(**{**found, **lists})
        except (orjson.JSONDecodeError, TypeError, AttributeError) as error:
            raise Unreadable(f"Stripe: the stored cursor is damaged: {text[:80]!r}") from error
        same = all(type(v) is type(_KINDS[k]) for k, v in asdict(made).items())
        if not same or not 0 <= made.kind < len(CHANGES):
            raise Unreadable(f"Stripe: the stored cursor is damaged: {text[:80]!r}")
        return made

    def text(self) -> str:
        """As it is stored."""
        return orjson.dumps(asdict(self)).decode()

    @property
    def over(self) -> bool:
        """Whether the round has been through every type."""
        return self.kind == len(CHANGES)

    def moved(self, events: Iterable[Event], now_s: int, after: str) -> Cursor:
        """After a page of events; `after` is its last one where there are more of this type."""
        until = self.until or now_s
        late = [e.id for e in events if e.at >= until - OVERLAP_S]
        kept = (*self.kept, *late)[:SEEN_MOST]
        kind = self.kind if after else self.kind + 1
        return replace(self, until=until, kind=kind, after=after, kept=kept)

    def next_round(self) -> Cursor:
        """The round after this one."""
        return Cursor(self.until - OVERLAP_S, self.kept)


_KINDS: Final = asdict(Cursor(0))


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
        found = reading(mapping(reply.json(), "a customer"), reply)
        if found.state == "deleted":
            return Answer("stale", found.native_id, why="it was deleted")
        return Answer("done", found.native_id, found)
    error = error_of(reply)
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
        "secret_key": "a restricted key: customers write, events read, balance read",
        "webhook_secret": "the signing secret of the webhook endpoint (optional)",
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
        found = body(reply, "account")
        settings = mapping(found.get("settings") or {}, "settings")
        zone = str(mapping(settings.get("dashboard") or {}, "dashboard").get("timezone") or "UTC")
        return Account(id_of(found), self._live(api), str(found.get("email") or ""), zone)

    def _live(self, api: Api) -> bool:
        """The account object does not tell which kind of key was used; the balance does."""
        return body(api.get("/v1/balance"), "balance").get("livemode") is True

    def prepare(self, _api: Api) -> tuple[str, ...]:
        """Every customer has metadata already."""
        return ()

    def begin(self, api: Api, _spec: ObjectSpec, now_ms: int) -> str:
        """From now, by the earlier of the two clocks, less the overlap."""
        reply = api.get("/v1/events", [("limit", "1")])
        listed(reply, "events")
        return Cursor(min(now_ms, reply.server_ms) // 1000 - OVERLAP_S).text()

    def listing(self, api: Api, _spec: ObjectSpec, cursor: str) -> Page:
        """Customers, a page at a time; what is created meanwhile shows up as a change."""
        params = [("limit", str(PAGE)), *([("starting_after", cursor)] if cursor else [])]
        reply = api.get("/v1/customers", params)
        items, more = listed(reply, "customers")
        good, broken = readings(items, reply)
        last = items[-1].get("id") if items and isinstance(items[-1], dict) else None
        if more and (not last or last == cursor):
            raise Unreadable("Stripe: a page of customers that makes no progress", reply.body)
        live = tuple(r for r in good if r.state == "live")
        return Page(live, str(last or cursor), done=not more, broken=tuple(broken))

    def changes(self, api: Api, spec: ObjectSpec, cursor: str) -> Page:
        """Customers that events name; each is read again, for events tell old states."""
        at = Cursor.of(cursor)
        ids, handled = dict[str, None](), frozenset(at.seen)
        for _ in range(PAGES_AT_ONCE):
            events, at = self._events(api, at)
            ids |= {e.customer: None for e in events if e.id not in handled}
            if at.over or len(ids) >= PAGE:
                break
        found = self.read(api, spec, list(ids))
        if not at.over:
            return Page(found, at.text(), done=False)
        expired = at.t < at.until - HORIZON_S
        return Page(found, at.next_round().text(), done=True, expired=expired)

    def _events(self, api: Api, at: Cursor) -> tuple[list[Event], Cursor]:
        """The next page of events, and where that leads."""
        params = [("limit", str(PAGE)), ("created[gte]", str(at.t)), ("type", CHANGES[at.kind])]
        params += [("starting_after", at.after)] if at.after else []
        reply = api.get("/v1/events", params)
        items, more = listed(reply, "events")
        events = [e for item in items for e in named(mapping(item, "an event")) if e.at >= at.t]
        last = id_of(mapping(items[-1], "an event")) if items else at.after
        if more and last == at.after:
            raise Unreadable("Stripe: a page of events that makes no progress", reply.body)
        return events, at.moved(events, reply.server_ms // 1000, last if more else "")

    def read(self, api: Api, _spec: ObjectSpec, ids: Sequence[str]) -> tuple[Reading, ...]:
        """One call each; there is no batch."""
        return tuple(self._read_one(api, own) for own in ids)

    def _read_one(self, api: Api, own: str) -> Reading:
        reply = api.get(f"/v1/customers/{quote(own, safe='')}")
        if reply.status == codes.NOT_FOUND:
            return gone(own, reply)
        return reading(body(reply, "customer"), reply)

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
        try:
            reply = api.send(
                "POST", path, form=form(write), headers={"Idempotency-Key": f"synchub:{write.key}"}
            )
            return answer(reply)
        except Unavailable as error:
            return Answer(
                "unknown" if error.sent else "retry", why=str(error), after_ms=error.after_ms
            )
        except Denied as error:
            return Answer("stop", why=str(error))
        except Unreadable as error:
            return Answer("unknown", why=str(error))

    def hints(self, inbound: Inbound, secrets: Mapping[str, str]) -> tuple[Hint, ...]:
        """The customer that an event is about; its content is not believed."""
        stamp, signatures = signature_parts(inbound.headers.get("stripe-signature", ""))
        text = f"{stamp}.".encode() + inbound.body
        secret = secrets.get("webhook_secret", "")
        right = hmac.new(secret.encode(), text, sha256).hexdigest()
        if not secret or not any(hmac.compare_digest(right, s) for s in signatures):
            raise Forged("the Stripe-Signature does not fit the body and our webhook_secret")
        found = tuple(hint_of(inbound.body))
        if abs(inbound.received_ms / 1000 - stamp) > TOLERANCE_S:
            raise Stale("signed more than five minutes ago", found)
        return found


def named(event: Mapping[str, Any]) -> Iterator[Event]:
    """The customer that an event is about, if it is about one."""
    obj = mapping(mapping(event.get("data"), "an event's data").get("object"), "an event's object")
    if str(event.get("type")) in CHANGES and obj.get("object", "customer") == "customer":
        yield Event(id_of(event), id_of(obj), whole(event, "created") or 0)


def hint_of(raw: bytes) -> Iterator[Hint]:
    """A hint from a webhook's body; raises `Malformed`."""
    try:
        event = mapping(orjson.loads(raw), "an event")
        about = list(named(event))
        if not about:
            yield Hint("other", "", id_of(event), "other")
        for e in about:
            yield Hint(CUSTOMERS.object, e.customer, e.id, str(event["type"]), e.at * 1000)
    except (orjson.JSONDecodeError, Unreadable) as error:
        raise Malformed(f"no event of Stripe's: {error}") from error


def signature_parts(header: str) -> tuple[int, list[str]]:
    """The time (s) and every v1 signature; raises `Forged`."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    stamps = [v for k, _, v in pairs if k == "t"]
    signatures = [v for k, _, v in pairs if k == "v1" and v.isascii()]
    if len(stamps) != 1 or not stamps[0].isdigit() or len(stamps[0]) > 12 or not signatures:  # noqa: PLR2004
        raise Forged("no usable Stripe-Signature header")
    return int(stamps[0]), signatures


def sign(secret: str, stamp: int, raw: bytes) -> str:
    """The header that Stripe would send; the sandbox uses it."""
    right = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, sha256).hexdigest()
    return f"t={stamp},v1={right}"


CONNECTOR = Stripe()
