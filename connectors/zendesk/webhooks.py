"""Zendesk's event webhooks: one signed event each, which says which record to read again."""

from __future__ import annotations

import base64
import datetime as dt
import hmac
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

from connectors._kit.answers import instant_of, object_of, text_of
from connectors._kit.contract import Forged, Hint, Inbound, Malformed, Unreadable
from connectors._kit.webhooks import hints_in, in_time, same

PREFIX: Final = "zen:event-type:"
# Zendesk names no window. Its retries end within minutes, and each is signed anew.
WINDOW_MS: Final = 900_000
OBJECTS: Final = {"user": "users", "organization": "organizations"}
USER_EVENTS: Final = (
    "created",
    "deleted",
    "merged",
    "active_changed",
    "custom_field_changed",
    "external_id_changed",
    "identity_changed",
    "identity_created",
    "identity_deleted",
    "name_changed",
    "notes_changed",
    "organization_membership_created",
    "organization_membership_deleted",
    "role_changed",
    "tags_changed",
)
ORGANIZATION_EVENTS: Final = (
    "created",
    "deleted",
    "custom_field_changed",
    "external_id_changed",
    "name_changed",
    "tags_changed",
)
KINDS: Final = {"created": "created", "deleted": "deleted", "merged": "merged"}


def events_of(word: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Event types as Zendesk spells them."""
    return tuple(f"{PREFIX}{word}.{name}" for name in names)


def sign(secret: str, stamp: str, body: bytes) -> str:
    """The signature over time stamp and body."""
    digest = hmac.new(secret.encode(), stamp.encode() + body, sha256).digest()
    return base64.b64encode(digest).decode()


def _verify(inbound: Inbound, secret: str) -> str:
    """The signed time stamp; raises `Forged`."""
    stamp = inbound.headers.get("x-zendesk-webhook-signature-timestamp", "")
    given = inbound.headers.get("x-zendesk-webhook-signature", "")
    if not secret or not stamp or not given:
        raise Forged("Zendesk's signature, its time stamp or our webhook_secret is missing")
    if not same(sign(secret, stamp, inbound.body), given):
        raise Forged("Zendesk's signature does not fit the body and our webhook_secret")
    return stamp


def _instant(stamp: str) -> int:
    """Milliseconds of a signed time stamp, which some send as seconds."""
    if stamp.isascii() and stamp.isdigit():
        return int(stamp) * 1000
    return instant_of(stamp, "time stamp")


def _touched(event: dict[str, Any], word: str) -> Iterator[str]:
    """The ids of every record that an event speaks of: its subject, and who it was merged with."""
    subject = text_of(event.get("subject"), "subject").rpartition(":")[2]
    inner = event.get("event")
    other = inner.get(word) if isinstance(inner, dict) else None
    ids = [subject, other.get("id") if isinstance(other, dict) else None]
    for found in dict.fromkeys(str(i) for i in ids if i):
        if not (found.isascii() and found.isdigit()):
            raise Unreadable(f"subject: {found[:40]!r} is no record id")
        yield found


def _hints(found: object) -> Iterator[Hint]:
    event = object_of(found, "event")
    own = text_of(event.get("id"), "id")
    word, _, name = text_of(event.get("type"), "type").removeprefix(PREFIX).partition(".")
    at = instant_of(event["time"], "time") if event.get("time") else None
    known = {"user": USER_EVENTS, "organization": ORGANIZATION_EVENTS}
    if name not in known.get(word, ()):
        yield Hint(OBJECTS.get(word, word), "", own, "other", at)
        return
    for native in _touched(event, word):
        yield Hint(OBJECTS[word], native, f"{own}:{native}", KINDS.get(name, "changed"), at)


def read_hints(inbound: Inbound, secret: str) -> tuple[Hint, ...]:
    """The records that a signed event speaks of."""
    stamp = _verify(inbound, secret)
    hints = hints_in(inbound.body, _hints)
    try:
        return in_time(inbound, _instant(stamp), hints, WINDOW_MS)
    except Unreadable as error:
        raise Malformed(f"Zendesk's time stamp cannot be read: {error}") from error


def stamp_of(now_ms: int) -> str:
    """A time stamp as Zendesk signs it."""
    return dt.datetime.fromtimestamp(now_ms // 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
