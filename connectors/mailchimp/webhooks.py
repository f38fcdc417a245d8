"""Mailchimp's webhooks: forms that name an address, signed or sent to a secret place."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qs, urlsplit

from connectors._kit.contract import Forged, Hint, Inbound, Malformed
from connectors._kit.webhooks import in_time, same, signed_at
from connectors.mailchimp.answers import OBJECT, hash_of

EVENTS: Final = ("subscribe", "unsubscribe", "profile", "upemail", "cleaned")
SIGNATURE: Final = "x-mailchimp-signature"


def checked(inbound: Inbound, secrets: Mapping[str, str]) -> int | None:
    """When it was signed (ms), None for a hook that only has a secret place; raises `Forged`.

    A signature that is there has to be right, whatever else is right.
    """
    if SIGNATURE in inbound.headers and secrets.get("webhook_secret"):
        return signed_at(inbound, SIGNATURE, secrets["webhook_secret"])
    wanted = secrets.get("url_secret", "")
    given = parse_qs(urlsplit(inbound.url).query).get("secret", [""])
    if not wanted or len(given) != 1 or not same(wanted, given[0]):
        raise Forged("neither a signature that fits our webhook_secret nor our url_secret")
    return None


def read_hints(inbound: Inbound, secrets: Mapping[str, str]) -> tuple[Hint, ...]:
    """The member that a webhook is about; its content is not believed."""
    signed_ms = checked(inbound, secrets)
    found = (hint_of(inbound.body, secrets.get("list_id", "")),)
    return found if signed_ms is None else in_time(inbound, signed_ms, found)


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
