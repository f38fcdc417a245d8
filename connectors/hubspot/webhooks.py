"""HubSpot's webhooks: signed batches of events that say which records to read again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

from connectors._kit.answers import items_of, object_of
from connectors._kit.contract import Forged, Hint, Inbound
from connectors._kit.webhooks import hints_in, in_time, same
from connectors.hubspot.answers import Item, id_of

_OBJECTS: Final = {
    "contact": "contacts",
    "company": "companies",
    "0-1": "contacts",
    "0-2": "companies",
}
_KINDS: Final = {
    "creation": "created",
    "propertyChange": "changed",
    "associationChange": "changed",
    "merge": "merged",
    "deletion": "deleted",
    "restore": "restored",
    "privacyDeletion": "erased",
}


# What HubSpot decodes in the address before it signs; everything else stays as it was sent.
_DECODED: Final = {
    "%3A": ":",
    "%2F": "/",
    "%3F": "?",
    "%40": "@",
    "%21": "!",
    "%24": "$",
    "%27": "'",
    "%28": "(",
    "%29": ")",
    "%2A": "*",
    "%2C": ",",
    "%3B": ";",
}


def _decoded(url: str) -> str:
    return re.sub(r"%[0-9A-Fa-f]{2}", lambda m: _DECODED.get(m[0].upper(), m[0]), url)


def sign(secret: str, method: str, url: str, body: bytes, stamp: str) -> str:
    """The v3 signature: base64 of an HMAC-SHA256 over method, address, body and time stamp."""
    source = (method + _decoded(url)).encode() + body + stamp.encode()
    return base64.b64encode(hmac.new(secret.encode(), source, hashlib.sha256).digest()).decode()


def _verify(inbound: Inbound, secret: str) -> int:
    """The signed time stamp in milliseconds; raises `Forged`."""
    stamp = inbound.headers.get("x-hubspot-request-timestamp", "")
    given = inbound.headers.get("x-hubspot-signature-v3", "")
    if not secret or not given or not (stamp.isascii() and stamp.isdigit()):
        raise Forged("HubSpot's v3 signature, its time stamp or the client secret is missing")
    expected = sign(secret, inbound.method, inbound.url, inbound.body, stamp)
    if not same(expected, given):
        raise Forged("HubSpot's v3 signature is wrong: client secret or public address differ")
    return int(stamp)


def _touched(event: Item, kind: str, event_name: str) -> list[tuple[str, str]]:
    """(object, id) of every record that an event speaks of."""
    if event_name == "associationChange":
        return _ends(event, kind)
    keys = (
        ("newObjectId", "primaryObjectId", "objectId") if event_name == "merge" else ("objectId",)
    )
    ids = [event[key] for key in keys if event.get(key) is not None]
    losers = event.get("mergedObjectIds")
    ids += losers if event_name == "merge" and isinstance(losers, list) else []
    return [(kind, found) for found in dict.fromkeys(id_of(i, "objectId") for i in ids)]


def _ends(event: Item, kind: str) -> list[tuple[str, str]]:
    """The ends of an association that carry links here: contacts."""
    words = str(event.get("associationType", "")).lower().split("_to_")
    ends = dict(zip(words, ("fromObjectId", "toObjectId"), strict=False))
    key = ends.get("contact", "fromObjectId" if event.get("fromObjectId") else "objectId")
    return [("contacts" if "contact" in ends else kind, id_of(event.get(key), key))]


def _key(event: Item, event_type: str, native_id: str) -> str:
    """The same for every delivery of one event: all that names it except `attemptNumber`."""
    names = ("portalId", "subscriptionId", "propertyName", "eventId", "occurredAt")
    return ":".join([event_type, native_id, *(str(event.get(n, "")) for n in names)])


def _hints(found: object) -> list[Hint]:
    event = object_of(found, "event")
    event_type = str(event.get("subscriptionType") or event.get("eventType") or "")
    word, _, event_name = event_type.partition(".")
    kind = _OBJECTS.get(str(event.get("objectTypeId", "")) if word == "object" else word, "")
    at = event.get("occurredAt")
    source_ms = at if isinstance(at, int) else None
    if not kind or event_name not in _KINDS:
        own = str(event.get("objectId", ""))
        return [Hint(kind or word, own, _key(event, event_type, own), "other", source_ms)]
    shows = _ours(event) if event_name == "propertyChange" else ()
    return [
        Hint(obj, own, _key(event, event_type, own), _KINDS[event_name], source_ms, shows=shows)
        for obj, own in _touched(event, kind, event_name)
    ]


def _ours(event: Item) -> tuple[tuple[str, str], ...]:
    """The property that our own app changed, with its value; nothing where somebody else did."""
    by_us = event.get("changeSource") == "INTEGRATION" and event.get("sourceId") == str(
        event.get("appId")
    )
    name, value = event.get("propertyName"), event.get("propertyValue")
    return ((name, value),) if by_us and isinstance(name, str) and isinstance(value, str) else ()


def _every(found: object) -> list[Hint]:
    return [hint for event in items_of(found, "events") for hint in _hints(event)]


def read_hints(inbound: Inbound, secret: str) -> tuple[Hint, ...]:
    """The records that a signed batch of events speaks of."""
    stamp = _verify(inbound, secret)
    hints = hints_in(inbound.body, _every)
    return in_time(inbound, stamp, hints)
