"""Acme: contacts are persons. Acme does not exist; this is a connector to be copied.

Its API is plain JSON over REST. A contact has a place for our id. Changes are asked for by time and
come in the order of time, deletions among them for thirty days. There is no batch, no revision, no
conditional write and no merge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

import orjson
from httpx import codes

from connectors._kit import answers, webhooks
from connectors._kit.contract import (
    Account,
    Answer,
    Api,
    Hint,
    Inbound,
    Limits,
    ObjectSpec,
    Page,
    Reading,
    Reply,
    Unreadable,
    Write,
)
from connectors._kit.cursors import Cursor
from connectors._kit.fieldmap import FieldMap, elements, email, name, phone

PAGE: Final = 100
OVERLAP_MS: Final = 60_000  # a change may become visible a little late
HORIZON_MS: Final = 30 * 86_400_000  # a deletion is told for so long

CONTACTS: Final = ObjectSpec(
    entity="person",
    object="contacts",
    fields=FieldMap(
        (
            name("name", "first_name", "last_name"),  # our name, then theirs
            email("email", "email"),
            phone("phone", "phone"),
            elements("tags", "tags"),
        )
    ),
    external_ids=True,
    read_batch=10,
    webhook_events=("contact.created", "contact.updated", "contact.deleted"),
)


# -- understanding answers ---------------------------------------------------------------------


def reading_of(found: object, reply: Reply) -> Reading:
    """A contact as Acme showed it; raises `Unreadable`."""
    item = answers.object_of(found, "a contact")
    return Reading(
        object=CONTACTS.object,
        native_id=answers.text_of(item.get("id"), "id"),
        app={n: item[n] for n in CONTACTS.fields.app_names if n in item},
        start_ms=reply.start_ms,
        end_ms=reply.end_ms,
        state="deleted" if answers.is_a(item.get("deleted"), bool, "deleted") else "live",
        source_ms=answers.is_a(item.get("changed_at"), int, "changed_at"),
        created_ms=answers.is_a(item.get("created_at"), int, "created_at"),
        external_id=answers.is_a(item.get("external_id"), str, "external_id"),
        raw=orjson.dumps(item),
    )


def page_of(reply: Reply, before: str) -> Page:
    """A page of contacts; `before` is where it was asked for, and it must lead on from there."""
    body = answers.body_of(reply, "contacts")
    items = answers.items_of(body.get("contacts"), "contacts")
    readings, broken = answers.understood(items, lambda item: reading_of(item, reply))
    after = answers.is_a(body.get("next"), str, "next")
    if after and after == before:
        raise Unreadable("a page of contacts that makes no progress", reply.body)
    return Page(readings, after, done=not after, broken=broken)


def answer_of(reply: Reply) -> Answer:
    """What Acme made of a write; raises `Unreadable`."""
    if reply.status < codes.BAD_REQUEST:
        found = reading_of(reply.json(), reply)
        return Answer("done", found.native_id, found)
    error = answers.error_of(reply, "error")
    why = str(error.get("message") or f"Acme answered {reply.status}")[:300]
    if reply.status == codes.NOT_FOUND:
        return Answer("stale", why=why)
    fields = tuple(n for n in CONTACTS.fields.app_names if n == error.get("field"))
    return Answer("rejected", why=why, fields=fields)


@dataclass(frozen=True, slots=True)
class Round(Cursor):
    """Where `changes` stands. Times are Acme's, in milliseconds.

    A round reads what has changed since `since`, page after page: `after` is the place of the next
    one. It began at `until` (0: not yet), from where the next round starts, less the overlap.
    """

    since: int
    until: int = 0
    after: str = ""


# -- the connector -----------------------------------------------------------------------------


class Acme:
    """The connector; see the contract for what each method promises."""

    vendor = "acme"
    title = "Acme"
    objects = (CONTACTS,)
    limits = Limits(calls=10, per_ms=1_000)
    secret_names: Mapping[str, str] = {
        "token": "required: an API token with contacts read and write",
        "webhook_secret": "optional: the signing secret of the webhook",
    }

    def base_url(self, _secrets: Mapping[str, str]) -> str:
        """The same address for every account."""
        return "https://api.acme.example"

    def authorize(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """A bearer token."""
        return {"Authorization": f"Bearer {secrets['token']}"}

    def account(self, api: Api) -> Account:
        """The account of the token."""
        found = answers.body_of(api.get("/account"), "the account")
        own, title, zone = (answers.text_of(found.get(n), n) for n in ("id", "name", "time_zone"))
        return Account(own, answers.is_a(found.get("live"), bool, "live"), title, zone)

    def check(self, _api: Api) -> tuple[str, ...]:
        """Nothing is missing."""
        return ()

    def prepare(self, _api: Api) -> tuple[str, ...]:
        """Every contact has a place for our id already."""
        return ()

    def begin(self, api: Api, _spec: ObjectSpec, now_ms: int) -> str:
        """From now, by the earlier of the two clocks, less the overlap."""
        return Round(min(now_ms, api.get("/account").server_ms) - OVERLAP_MS).text()

    def listing(self, api: Api, _spec: ObjectSpec, cursor: str) -> Page:
        """Living contacts in the order of their ids."""
        return page_of(api.get("/contacts", [("after", cursor), ("limit", str(PAGE))]), cursor)

    def changes(self, api: Api, _spec: ObjectSpec, cursor: str) -> Page:
        """What changed, in the order of time: who is edited meanwhile comes again at the end."""
        at = Round.of(cursor)
        since = [("changed_since", str(at.since)), ("after", at.after), ("limit", str(PAGE))]
        reply = api.get("/contacts", since)
        page, until = page_of(reply, at.after), at.until or reply.server_ms
        if not page.done:
            return replace(page, cursor=replace(at, until=until, after=page.cursor).text())
        expired = at.since < until - HORIZON_MS
        return replace(page, cursor=Round(until - OVERLAP_MS).text(), expired=expired)

    def read(self, api: Api, _spec: ObjectSpec, ids: Sequence[str]) -> tuple[Reading, ...]:
        """One call each; there is no batch."""
        return tuple(self._read_one(api, own) for own in ids)

    def _read_one(self, api: Api, own: str) -> Reading:
        reply = api.get(path_of(own))
        if reply.status == codes.NOT_FOUND:
            return answers.gone(CONTACTS, own, reply)
        return reading_of(answers.body_of(reply, "a contact"), reply)

    def find(self, api: Api, _spec: ObjectSpec, write: Write) -> tuple[Reading, ...]:
        """By our id; one that cannot be read might be the one that is looked for."""
        page = page_of(api.get("/contacts", [("external_id", write.external_id)]), "")
        if page.broken:
            raise Unreadable(*page.broken[0])
        return tuple(r for r in page.readings if r.external_id == write.external_id)

    def write(self, api: Api, _spec: ObjectSpec, writes: Sequence[Write]) -> tuple[Answer, ...]:
        """One call each; one that breaks says nothing about the others."""
        return tuple(self._write_one(api, write) for write in writes)

    def _write_one(self, api: Api, write: Write) -> Answer:
        method, path, body = "PATCH", path_of(write.native_id), dict(write.changes)
        if write.op == "create":
            method, path, body = "POST", "/contacts", {**body, "external_id": write.external_id}
        return answers.attempt(lambda: answer_of(api.send(method, path, json=body)))

    def hints(self, inbound: Inbound, secrets: Mapping[str, str]) -> tuple[Hint, ...]:
        """The contact that an event is about; what else the event says is not believed."""
        secret = secrets.get("webhook_secret", "")
        signed_ms = webhooks.signed_at(inbound, "acme-signature", secret)
        return webhooks.in_time(inbound, signed_ms, webhooks.hints_in(inbound.body, told))


def path_of(own: str) -> str:
    """The address of a contact."""
    return f"/contacts/{quote(own, safe='')}"


def told(found: object) -> Iterator[Hint]:
    """What to read again after an event; raises `Unreadable`."""
    event = answers.object_of(found, "an event")
    key, kind = answers.text_of(event.get("id"), "id"), answers.text_of(event.get("type"), "type")
    if kind in CONTACTS.webhook_events:
        yield Hint(CONTACTS.object, answers.text_of(event.get("contact"), "contact"), key)
    else:
        yield Hint("other", "", key, "other")


CONNECTOR: Final = Acme()
