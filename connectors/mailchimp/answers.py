"""Mailchimp's answers understood: members, lists of them, problems. Everything is checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from hashlib import md5
from typing import Any, Final

import orjson
from httpx import codes

from connectors._kit.answers import (
    Broken,
    Item,
    error_of,
    instant_of,
    is_a,
    items_of,
    object_of,
    text_of,
    understood,
)
from connectors._kit.contract import Answer, Reading, Reply, Write

OBJECT: Final = "members"
EXTERNAL_ID: Final = "SYNCHUBID"  # a merge tag has ten characters at most
ADDRESS: Final = "ADDRESS"
MERGE: Final = ("FNAME", "LNAME", "PHONE", "COMPANY")
PARTS: Final = {
    "line1": "addr1",
    "line2": "addr2",
    "city": "city",
    "region": "state",
    "postcode": "zip",
    "country": "country",
}
PLACES: Final = {part: f"{ADDRESS}.{part}" for part in PARTS.values()}
EVIDENCE: Final = ("timestamp_signup", "ip_signup", "timestamp_opt", "ip_opt")


def hash_of(email: str) -> str:
    """How Mailchimp names an address in its own addresses."""
    return md5(email.strip().lower().encode(), usedforsecurity=False).hexdigest()


# -- types -------------------------------------------------------------------------------------


def text_in(found: Mapping[str, Any], name: str) -> str:
    """A text that may be missing; raises `Unreadable` where it is anything else."""
    value = found.get(name)
    return "" if value is None else is_a(value, str, name)


def id_of(found: Mapping[str, Any], name: str) -> str:
    """A text that must be there; raises `Unreadable`."""
    return text_of(found.get(name), name)


def second_of(found: Mapping[str, Any], name: str) -> int:
    """A time stamp in seconds since 1970; raises `Unreadable`."""
    return round(instant_of(found.get(name), name) / 1000)


def iso(second: int) -> str:
    """A time as Mailchimp writes and takes it."""
    return dt.datetime.fromtimestamp(second, dt.UTC).isoformat()


# -- members -----------------------------------------------------------------------------------


def members(
    items: Iterable[object], reply: Reply
) -> tuple[tuple[Reading, ...], tuple[Broken, ...]]:
    """What can be understood, and what cannot, with the reason."""
    return understood(items, lambda item: reading_of(item, reply))


def reading_of(found: object, reply: Reply) -> Reading:
    """A member as Mailchimp showed it; raises `Unreadable`."""
    item = object_of(found, "a member")
    own, merge = id_of(item, "contact_id"), object_of(item.get("merge_fields"), "merge_fields")
    status = id_of(item, "status")
    return Reading(
        OBJECT,
        own,
        {
            "email_address": text_in(item, "email_address"),
            **{tag: merge[tag] for tag in MERGE if tag in merge},
            **(address_of(merge[ADDRESS]) if ADDRESS in merge else {}),
            "language": text_in(item, "language"),
            "tags": tags_of(item),
            "status": status,
            "opt_in": opt_in_of(item),
        },
        reply.start_ms,
        reply.end_ms,
        state="archived" if status == "archived" else "live",
        source_ms=second_of(item, "last_changed") * 1000,
        external_id=text_in(merge, EXTERNAL_ID),
        raw=orjson.dumps(item),
    )


def address_of(found: object) -> Item:
    """The parts of an address; one that was never entered is an empty text."""
    parts = object_of(found, ADDRESS) if found else {}
    return {name: text_in(parts, part) for part, name in PLACES.items()}


def tags_of(item: Mapping[str, Any]) -> list[str]:
    """The names of a member's tags; raises `Unreadable`."""
    return [id_of(object_of(tag, "a tag"), "name") for tag in items_of(item.get("tags"), "tags")]


def opt_in_of(item: Mapping[str, Any]) -> Item | None:
    """The proof that a person signed up and confirmed it, None where that is not recorded.

    Who is subscribed by an app gets a `timestamp_opt` and the app's own `ip_opt` too, so that
    these two prove nothing by themselves: a sign-up has to stand before them. It is the sign-up
    that is named and dated, for an app that subscribes somebody again moves the others alone.
    """
    recorded = [text_in(item, name) for name in EVIDENCE]
    if item.get("status") != "subscribed" or not all(recorded):
        return None
    proof = f"mailchimp:{item['contact_id']}:{item['timestamp_signup']}"
    return {"proof": proof, "at": second_of(item, "timestamp_signup") * 1000}


# -- what became of writes ---------------------------------------------------------------------


def why_of(problem: Mapping[str, Any]) -> str:
    """What a problem says, in one line."""
    errors = problem.get("errors")
    named = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
    details = "; ".join(f"{e.get('field')}: {e.get('message')}" for e in named)
    return " ".join(str(problem.get(k) or "") for k in ("title", "detail")).strip() + (
        f" ({details})" if details else ""
    )


REFUSED_FOR: Final = {
    "Member Exists": ("email_address",),
    "Forgotten Email Not Subscribed": ("email_address",),
    "Member In Compliance State": ("status",),
}


def names_of(fields: Iterable[object], known: Iterable[str]) -> tuple[str, ...]:
    """The names that a refusal means: a merge field of several parts means all of them."""
    said = [str(f).rpartition("merge_fields.")[2] for f in fields if f]
    return tuple(n for n in known if any(n == s or n.startswith(f"{s}.") for s in said))


def refused(reply: Reply, write: Write) -> Answer:
    """A refusal of one member. Where Mailchimp names nothing, consent is not the one to blame."""
    problem = error_of(reply)
    if reply.status == codes.NOT_FOUND:
        return Answer("stale", why=why_of(problem) or "there is no such member")
    errors = problem.get("errors")
    listed = errors if isinstance(errors, list) else []
    said = [e.get("field") for e in listed if isinstance(e, dict)]
    named = names_of([*said, *REFUSED_FOR.get(str(problem.get("title")), ())], write.changes)
    others = tuple(n for n in write.changes if n not in ("status", "tags"))
    why = why_of(problem) or f"Mailchimp answered {reply.status}"
    return Answer("rejected", why=why, fields=named or others or tuple(write.changes))


def refused_row(error: Mapping[str, Any], write: Write) -> Answer:
    """A refusal of one row of a batch."""
    exists = error.get("error_code") == "ERROR_CONTACT_EXISTS"
    said = ["email_address"] if exists else [error.get("field")]
    why = " ".join(str(error.get(k) or "") for k in ("error", "field_message")).strip()
    return Answer("rejected", why=why or "refused", fields=names_of(said, write.changes))
