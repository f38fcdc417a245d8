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
from hashlib import sha256
from typing import Any, Final

import orjson
from httpx import codes

from connectors._kit.contract import (
    Account,
    Answer,
    Api,
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
        settings = found.get("settings") or {}
        zone = str(((settings.get("dashboard") or {}).get("timezone")) or "UTC")
        return Account(id_of(found), self._live(api), str(found.get("email") or ""), zone)

    def _live(self, api: Api) -> bool:
        """The account object does not tell which kind of key was used; the balance does."""
        return body(api.get("/v1/balance"), "balance").get("livemode") is True

    def prepare(self, _api: Api) -> tuple[str, ...]:
        """Every customer has metadata already."""
        return ()

    def begin(self, _api: Api, _spec: ObjectSpec, now_ms: int) -> str:
        """From an overlap ago on."""
        return orjson.dumps({"t": now_ms // 1000 - OVERLAP_S, "seen": []}).decode()

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
        start, seen = parse_cursor(cursor)
        events, now_s = self._events(api, start)
        fresh = [e for e in events if e[0] not in seen]
        ids = list(dict.fromkeys(own for _, own, _ in fresh))
        good: list[Reading] = []
        for first in range(0, len(ids), spec.read_batch):
            good += self.read(api, spec, ids[first : first + spec.read_batch])
        latest = max([start + OVERLAP_S, *(at for _, _, at in events)])
        kept = [e for e, _, at in events if at >= latest - OVERLAP_S][:SEEN_MOST]
        after = orjson.dumps({"t": latest - OVERLAP_S, "seen": kept}).decode()
        expired = start < now_s - HORIZON_S
        if expired:
            after = self.begin(api, spec, now_s * 1000)
        return Page(tuple(good), after, done=True, expired=expired)

    def _events(self, api: Api, start: int) -> tuple[list[tuple[str, str, int]], int]:
        """(event id, customer id, time in s) since a time, by type; and the time now (s)."""
        found: list[tuple[str, str, int]] = []
        now_s = 0
        for kind in CHANGES:
            events, at = self._events_of(api, kind, start)
            found += events
            now_s = now_s or at
        return found, now_s

    def _events_of(self, api: Api, kind: str, start: int) -> tuple[list[tuple[str, str, int]], int]:
        found: list[tuple[str, str, int]] = []
        last = ""
        while True:
            params = [("limit", str(PAGE)), ("created[gte]", str(start)), ("type", kind)]
            reply = api.get("/v1/events", [*params, *([("starting_after", last)] if last else [])])
            items, more = listed(reply, "events")
            page = [event for item in items for event in named(mapping(item, "an event"))]
            found += [e for e in page if e[2] >= start]
            if not more or not items:
                return found, reply.start_ms // 1000
            following = id_of(mapping(items[-1], "an event"))
            if following == last:
                raise Unreadable("Stripe: a page of events that makes no progress", reply.body)
            last = following

    def read(self, api: Api, _spec: ObjectSpec, ids: Sequence[str]) -> tuple[Reading, ...]:
        """One call each; there is no batch."""
        return tuple(self._read_one(api, own) for own in ids)

    def _read_one(self, api: Api, own: str) -> Reading:
        reply = api.get(f"/v1/customers/{own}")
        if reply.status == codes.NOT_FOUND:
            return gone(own, reply)
        return reading(body(reply, "customer"), reply)

    def find(self, api: Api, _spec: ObjectSpec, write: Write) -> tuple[Reading, ...]:
        """By e-mail where there is one, else among the newest: never by search, which lags."""
        mail = plain(write.changes.get("email"))
        params = [("limit", str(PAGE)), *([("email", mail)] if mail else [])]
        reply = api.get("/v1/customers", params)
        items, _ = listed(reply, "customers")
        good, _ = readings(items, reply)
        return tuple(r for r in good if r.external_id == write.external_id)

    def write(self, api: Api, _spec: ObjectSpec, writes: Sequence[Write]) -> tuple[Answer, ...]:
        """One call each; one that breaks says nothing about the others."""
        return tuple(self._write_one(api, w) for w in writes)

    def _write_one(self, api: Api, write: Write) -> Answer:
        path = "/v1/customers" + (f"/{write.native_id}" if write.op == "update" else "")
        try:
            reply = api.send(
                "POST", path, form=form(write), headers={"Idempotency-Key": f"synchub:{write.key}"}
            )
            return answer(reply)
        except Unavailable as error:
            return Answer(
                "unknown" if error.sent else "retry", why=str(error), after_ms=error.after_ms
            )
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


def parse_cursor(cursor: str) -> tuple[int, set[str]]:
    """The time to start from (s) and the events handled already; raises `Unreadable`."""
    try:
        found = orjson.loads(cursor)
        return int(found["t"]), set(found["seen"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"Stripe: the stored cursor is damaged: {cursor[:80]!r}") from error


def named(event: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """The customer that an event is about, if it is about one."""
    obj = mapping(mapping(event.get("data"), "an event's data").get("object"), "an event's object")
    if str(event.get("type")) in CHANGES and obj.get("object", "customer") == "customer":
        yield id_of(event), id_of(obj), whole(event, "created") or 0


def hint_of(raw: bytes) -> Iterator[Hint]:
    """A hint from a webhook's body; raises `Malformed`."""
    try:
        event = mapping(orjson.loads(raw), "an event")
        about = list(named(event))
        if not about:
            yield Hint("other", "", id_of(event), "other")
        for key, own, at in about:
            yield Hint(CUSTOMERS.object, own, key, str(event["type"]), at * 1000)
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
