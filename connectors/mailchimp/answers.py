"""Mailchimp's answers understood: members, lists of them, problems. Everything is checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import md5
from typing import Any, Final

import orjson
from httpx import codes

from connectors._kit.contract import Answer, Denied, Reading, Reply, Unavailable, Unreadable, Write

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

Item = dict[str, Any]
Broken = tuple[str, bytes]


def hash_of(email: str) -> str:
    """How Mailchimp names an address in its own addresses."""
    return md5(email.strip().lower().encode(), usedforsecurity=False).hexdigest()


# -- types -------------------------------------------------------------------------------------


def object_of(found: object, what: str) -> Item:
    """An object of an answer; raises `Unreadable`."""
    if not isinstance(found, dict):
        raise Unreadable(f"Mailchimp: {what} is no object but {type(found).__name__}")
    return found


def items_of(found: object, what: str) -> list[Any]:
    """A list of an answer; raises `Unreadable`."""
    if not isinstance(found, list):
        raise Unreadable(f"Mailchimp: {what} is no list but {type(found).__name__}")
    return found


def text_of(found: Mapping[str, Any], name: str) -> str:
    """A text that may be missing; raises `Unreadable` where it is anything else."""
    value = found.get(name)
    if value is not None and not isinstance(value, str):
        raise Unreadable(f"Mailchimp: {name} is no text", orjson.dumps(found))
    return value or ""


def id_of(found: Mapping[str, Any], name: str) -> str:
    """A text that must be there; raises `Unreadable`."""
    own = text_of(found, name)
    if not own:
        raise Unreadable(f"Mailchimp: {name} is missing", orjson.dumps(found))
    return own


def second_of(found: Mapping[str, Any], name: str) -> int:
    """A time stamp in seconds since 1970; raises `Unreadable`."""
    why = f"Mailchimp: {name} is no time with a zone"
    try:
        moment = dt.datetime.fromisoformat(id_of(found, name))
        second = round(moment.timestamp())
    except (ValueError, OverflowError) as error:
        raise Unreadable(why, orjson.dumps(found)) from error
    if moment.tzinfo is None:
        raise Unreadable(why, orjson.dumps(found))
    return second


def iso(second: int) -> str:
    """A time as Mailchimp writes and takes it."""
    return dt.datetime.fromtimestamp(second, dt.UTC).isoformat()


def body_of(reply: Reply, what: str) -> Item:
    """The body of a good answer; raises `Unreadable`."""
    if reply.status >= codes.BAD_REQUEST:
        raise Unreadable(f"Mailchimp: {what}: {reply.status} {why_of(problem_of(reply))}")
    return object_of(reply.json(), what)


# -- members -----------------------------------------------------------------------------------


def reading_of(item: Item, reply: Reply) -> Reading:
    """A member as Mailchimp showed it; raises `Unreadable`."""
    own, merge = id_of(item, "contact_id"), object_of(item.get("merge_fields"), "merge_fields")
    status = id_of(item, "status")
    return Reading(
        OBJECT,
        own,
        {
            "email_address": text_of(item, "email_address"),
            **{tag: merge[tag] for tag in MERGE if tag in merge},
            **(address_of(merge[ADDRESS]) if ADDRESS in merge else {}),
            "language": text_of(item, "language"),
            "tags": tags_of(item),
            "status": status,
            "opt_in": opt_in_of(item),
        },
        reply.start_ms,
        reply.end_ms,
        state="archived" if status == "archived" else "live",
        source_ms=second_of(item, "last_changed") * 1000,
        external_id=text_of(merge, EXTERNAL_ID),
        raw=orjson.dumps(item),
    )


def address_of(found: object) -> Item:
    """The parts of an address; one that was never entered is an empty text."""
    parts = object_of(found, ADDRESS) if found else {}
    return {name: text_of(parts, part) for part, name in PLACES.items()}


def tags_of(item: Mapping[str, Any]) -> list[str]:
    """The names of a member's tags; raises `Unreadable`."""
    return [id_of(object_of(tag, "a tag"), "name") for tag in items_of(item.get("tags"), "tags")]


def opt_in_of(item: Mapping[str, Any]) -> Item | None:
    """The proof that a person signed up and confirmed it, None where that is not recorded.

    Who is subscribed by an app gets a `timestamp_opt` and the app's own `ip_opt` too, so that
    these two prove nothing by themselves: a sign-up has to stand before them.
    """
    recorded = [text_of(item, name) for name in EVIDENCE]
    if item.get("status") != "subscribed" or not all(recorded):
        return None
    proof = f"mailchimp:{item['contact_id']}:{item['timestamp_opt']}"
    return {"proof": proof, "at": second_of(item, "timestamp_opt") * 1000}


def gone(own: str, reply: Reply) -> Reading:
    """A member that is not there; of an address nobody knows whose it was."""
    return Reading(OBJECT, own, {}, reply.start_ms, reply.end_ms, state="deleted")


def understood(items: Iterable[object], reply: Reply) -> tuple[list[Reading], list[Broken]]:
    """What can be understood, and what cannot, with the reason."""
    good: list[Reading] = []
    broken: list[Broken] = []
    for item in items:
        try:
            good.append(reading_of(object_of(item, "a member"), reply))
        except Unreadable as error:
            broken.append((str(error), orjson.dumps(item)))
    return good, broken


# -- what became of writes ---------------------------------------------------------------------


def problem_of(reply: Reply) -> Item:
    """The problem that a refusal carries, {} where it carries none."""
    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(reply.body)
        if isinstance(found, dict):
            return found
    return {}


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
    problem = problem_of(reply)
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


def failed(error: Exception, *, sent: bool = True) -> Answer:
    """What an exception of a call means for the member that it was about."""
    if isinstance(error, Denied):
        return Answer("stop", why=str(error))
    doubt = sent and (not isinstance(error, Unavailable) or error.sent)
    after = error.after_ms if isinstance(error, Unavailable) else 0
    return Answer("unknown" if doubt else "retry", why=str(error), after_ms=after)
