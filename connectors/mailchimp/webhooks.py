"""Mailchimp's webhooks: forms that name an address, signed or sent to a secret place."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qs, urlsplit

from connectors._kit.contract import Forged, Hint, Inbound, Malformed, Stale
from connectors.mailchimp.answers import OBJECT, hash_of

EVENTS: Final = ("subscribe", "unsubscribe", "profile", "upemail", "cleaned")
SIGNATURE: Final = "x-mailchimp-signature"
TOLERANCE_S: Final = 300
STAMP_DIGITS: Final = 12


def sign(secret: str, stamp: int, raw: bytes) -> str:
    """The header that Mailchimp would send; the sandbox uses it."""
    right = hmac.new(secret.encode(), f"{stamp}.".encode() + raw, sha256).hexdigest()
    return f"t={stamp},v1={right}"


def stamp_of(inbound: Inbound, secret: str) -> int:
    """When a rightly signed webhook was signed (s); raises `Forged`."""
    pairs = [part.strip().partition("=") for part in inbound.headers[SIGNATURE].split(",")]
    stamps = [v for k, _, v in pairs if k == "t"]
    if len(stamps) != 1 or not (stamps[0].isascii() and stamps[0].isdigit()):
        raise Forged("no usable X-Mailchimp-Signature header")
    stamp = int(stamps[0][:STAMP_DIGITS])
    right = sign(secret, stamp, inbound.body).partition("v1=")[2]
    if not secret or not any(_same(right, v) for k, _, v in pairs if k == "v1"):
        raise Forged("the X-Mailchimp-Signature does not fit the body and our webhook_secret")
    return stamp


def checked(inbound: Inbound, secrets: Mapping[str, str]) -> int | None:
    """When it was signed (s), None for a hook that only has a secret place; raises `Forged`.

    A signature that is there has to be right, whatever else is right.
    """
    if SIGNATURE in inbound.headers and secrets.get("webhook_secret"):
        return stamp_of(inbound, secrets["webhook_secret"])
    wanted = secrets.get("url_secret", "")
    given = parse_qs(urlsplit(inbound.url).query).get("secret", [""])
    if not wanted or len(given) != 1 or not _same(wanted, given[0]):
        raise Forged("neither a signature that fits our webhook_secret nor our url_secret")
    return None


def _same(one: str, two: str) -> bool:
    return hmac.compare_digest(one.encode(), two.encode())


def read_hints(inbound: Inbound, secrets: Mapping[str, str]) -> tuple[Hint, ...]:
    """The member that a webhook is about; its content is not believed."""
    stamp = checked(inbound, secrets)
    found = (hint_of(inbound.body, secrets.get("list_id", "")),)
    if stamp is not None and abs(inbound.received_ms / 1000 - stamp) > TOLERANCE_S:
        raise Stale("signed more than five minutes ago", found)
    return found


def hint_of(raw: bytes, ours: str) -> Hint:
    """A hint from a webhook's body; raises `Malformed`.

    There is no id of the event, and `fired_at` has no zone: what is sent again has the same body.
    """
    try:
        form = parse_qs(raw.decode(), max_num_fields=1_000)
    except ValueError as error:
        raise Malformed(f"no form of Mailchimp's: {error}") from error
    event, key = form.get("type", [""])[0], sha256(raw).hexdigest()[:32]
    if not event or "fired_at" not in form:
        raise Malformed("a webhook without type or fired_at")
    of = form.get("data[list_id]", [""])[0]
    if event not in EVENTS or (ours and of != ours):
        return Hint("other", "", key, "other")
    # Of two addresses the old one may be somebody else's by now.
    mail = form.get("data[new_email]" if event == "upemail" else "data[email]", [""])[0]
    if "@" not in mail:
        raise Malformed(f"a webhook {event!r} without an e-mail address")
    return Hint(OBJECT, hash_of(mail), key)
