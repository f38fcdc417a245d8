"""What connectors need to accept webhooks: the usual signature, its age, and a body of JSON.

Many vendors sign alike: a header `t=<seconds>,v1=<signature>`, where the signature is the hex
HMAC-SHA256 of `<seconds>.<body>`. `sign` makes it, for sandboxes, and `signed_at` checks it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final

import orjson

from connectors._kit.contract import Forged, Hint, Inbound, Malformed, Stale, Unreadable

WINDOW_MS: Final = 300_000
STAMP_DIGITS: Final = 12


def same(one: str, two: str) -> bool:
    """Whether two secret texts are the same, in a time that does not tell how far they are."""
    return hmac.compare_digest(one.encode(), two.encode())


def sign(secret: str, stamp: int | str, body: bytes) -> str:
    """The header that a vendor sends who signs in the usual way; `stamp` in seconds."""
    right = hmac.new(secret.encode(), f"{stamp}.".encode() + body, sha256).hexdigest()
    return f"t={stamp},v1={right}"


def signed_at(inbound: Inbound, header: str, secret: str) -> int:
    """When a webhook was signed in the usual way, in ms; raises `Forged` unless it fits."""
    pairs = [part.strip() for part in inbound.headers.get(header, "").split(",")]
    stamps = [p.removeprefix("t=") for p in pairs if p.startswith("t=")]
    if len(stamps) != 1 or not (stamps[0].isascii() and stamps[0].isdigit()):
        raise Forged(f"no usable {header} header")
    right = sign(secret, stamps[0], inbound.body).partition(",")[2]
    if not secret or not any(same(right, p) for p in pairs if p.startswith("v1=")):
        raise Forged(f"the {header} header does not fit the body and our webhook secret")
    return int(stamps[0][:STAMP_DIGITS]) * 1000


def in_time(
    inbound: Inbound, signed_ms: int, hints: Sequence[Hint], window_ms: int = WINDOW_MS
) -> tuple[Hint, ...]:
    """The hints of a webhook signed at this time; raises `Stale` where that is too long ago."""
    if abs(inbound.received_ms - signed_ms) > window_ms:
        raise Stale(f"signed more than {window_ms // 60_000} minutes ago", hints)
    return tuple(hints)


def hints_in(body: bytes, read: Callable[[object], Iterable[Hint]]) -> tuple[Hint, ...]:
    """The hints that `read` finds in a body of JSON; raises `Malformed` where it cannot."""
    try:
        return tuple(read(orjson.loads(body)))
    except (orjson.JSONDecodeError, Unreadable) as error:
        raise Malformed(f"the webhook cannot be read: {error}") from error
