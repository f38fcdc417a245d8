"""What Zendesk's answers mean: users, organizations, refusals, and the rows of background jobs.

Every answer is hostile until it is understood: what has the wrong type, no id, or does not move on
is `Unreadable`, and a row of a job that nobody can account for is of unknown fate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import orjson
from httpx import codes

from connectors._kit import answers as kit
from connectors._kit.answers import (
    Broken,
    Item,
    error_of,
    instant_of,
    is_a,
    object_of,
    text_of,
    understood,
)
from connectors._kit.contract import (
    Answer,
    Entity,
    ObjectSpec,
    Reading,
    Reply,
    State,
    Unavailable,
    Unreadable,
    Write,
)

CUSTOMER: Final = "end-user"
NESTED: Final = ("user_fields", "organization_fields")
CONFLICT_MS: Final = 1_000
MISSING: Final = ("RecordNotFound", "NotFound", "UserNotFound", "OrganizationNotFound")

Links = Mapping[Entity, tuple[str, ...]]


# -- parsing: hostile until understood ---------------------------------------------------------


def id_of(value: object, what: str = "id") -> str:
    """A record id as text."""
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise Unreadable(f"{what}: expected a record id, got {str(value)[:40]!r}")
    return str(value)


def body_of(reply: Reply, what: str) -> Item:
    """The body of a good answer."""
    if reply.status == codes.CONFLICT:
        raise Unavailable(f"{what}: a conflict", after_ms=CONFLICT_MS, sent=False)
    return kit.body_of(reply, what)


def message_of(reply: Reply) -> str:
    """What an error says, with its details."""
    error = error_of(reply)
    details = [told(d) for _, d in details_of(error)]
    texts = [*details, error.get("description"), error.get("error")]
    return next((str(t)[:500] for t in texts if t), reply.body[:200].decode(errors="replace"))


def details_of(error: Item) -> list[tuple[str, Item]]:
    """(field, detail) of everything that a record was refused for."""
    details = error.get("details")
    rows = details.items() if isinstance(details, dict) else ()
    return [(str(k), d) for k, v in rows if isinstance(v, list) for d in v if isinstance(d, dict)]


def told(detail: Item) -> str:
    """One detail in words."""
    return str(detail.get("description") or detail.get("error") or "")


# -- readings ----------------------------------------------------------------------------------


def value_of(item: Item, name: str) -> object:
    """A field of a record; a custom field lies one level deeper, and a day comes as an instant."""
    outer, _, inner = name.partition(".")
    if not inner:
        return item.get(name)
    found = object_of(item[outer], outer).get(inner)
    at_midnight = re.fullmatch(r"(\d{4}-\d\d-\d\d)T00:00:00(Z|\+00:00)", str(found))
    return at_midnight[1] if at_midnight else found


def holds(item: Item, name: str) -> bool:
    """Whether a record shows a field: the account may lack the custom ones."""
    outer, _, inner = name.partition(".")
    found = item.get(outer)
    return outer in item and (not inner or (isinstance(found, dict) and inner in found))


def state_of(spec: ObjectSpec, item: Item) -> State:
    """Live, or deleted; whoever works here is no customer (any more)."""
    if item.get("deleted_at"):
        return "deleted"
    if spec.entity == "company":
        return "live"
    if not is_a(item.get("active"), bool, "active"):
        return "deleted"
    return "live" if text_of(item.get("role"), "role") == CUSTOMER else "archived"


def app_of(spec: ObjectSpec, item: Item) -> dict[str, Any]:
    """The mapped fields as the tool shows them."""
    for outer in NESTED:
        if item.get(outer) is not None:
            object_of(item[outer], outer)
    return {n: value_of(item, n) for n in spec.fields.app_names if holds(item, n)}


def external_of(item: Item) -> str:
    """Our id in one case: Zendesk takes external ids for equal whatever theirs is."""
    found = item.get("external_id")
    if found is not None and not isinstance(found, str):
        raise Unreadable("external_id is no text")
    return (found or "").lower()


def reading_of(
    spec: ObjectSpec, found: object, reply: Reply, links: Links | None = None
) -> Reading:
    """One record; raises `Unreadable` where it is not what Zendesk documents."""
    item = object_of(found, "record")
    state = state_of(spec, item)
    times = {k: item.get(k) for k in ("updated_at", "created_at")}
    read = {k: None if v is None else instant_of(v, k) for k, v in times.items()}
    return Reading(
        object=spec.object,
        native_id=id_of(item.get("id")),
        app=app_of(spec, item) if state == "live" else {},
        start_ms=reply.start_ms,
        end_ms=reply.end_ms,
        state=state,
        source_ms=read["updated_at"],
        created_ms=read["created_at"],
        external_id=external_of(item),
        links=links or {} if state == "live" else {},
        raw=orjson.dumps(item),
    )


def parse(
    spec: ObjectSpec, found: Iterable[object], reply: Reply, links: Mapping[str, Links]
) -> tuple[tuple[Reading, ...], tuple[Broken, ...]]:
    """Readings, and what could not be understood with the reason; links by record id."""

    def read(item: object) -> Reading:
        own = id_of(object_of(item, "record").get("id"))
        return reading_of(spec, item, reply, links.get(own))

    return understood(found, read)


def fingerprint(item: object) -> str:
    """Few letters that stand for a record as it was shown."""
    return blake2b(orjson.dumps(item, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def next_of(body: Item, before: str) -> str:
    """The cursor of the page that follows, "" on the last one; it must have moved on."""
    meta = object_of(body.get("meta"), "meta")
    if not is_a(meta.get("has_more"), bool, "has_more"):
        return ""
    after = text_of(meta.get("after_cursor"), "after_cursor")
    if after == before:
        raise Unreadable("a page that makes no progress")
    return after


# -- what is sent ------------------------------------------------------------------------------


def record_of(changes: Mapping[str, object]) -> Item:
    """Changes in the form of a record, custom fields one level deeper."""
    made: Item = {}
    for name, value in changes.items():
        outer, _, inner = name.partition(".")
        if inner:
            made.setdefault(outer, {})[inner] = value or None
        else:
            made[outer] = "" if value is None else value
    return made


def new_record(spec: ObjectSpec, write: Write) -> Item:
    """A record to create; only a create carries our id, which is never rewritten."""
    made = record_of({k: v for k, v in write.changes.items() if v})
    made["external_id"] = write.external_id
    if spec.entity == "person":
        made |= {"role": CUSTOMER, "skip_verify_email": True}
    return made


# -- what became of it -------------------------------------------------------------------------


def refused(spec: ObjectSpec, reply: Reply) -> Answer:
    """One refusal as an answer: nothing of this row was applied.

    Our own id is taken only by an earlier try of the same create: a look will find it.
    """
    why, error = message_of(reply), error_of(reply)
    if reply.status == codes.CONFLICT:
        return Answer("retry", why=why, after_ms=CONFLICT_MS)
    if reply.status == codes.NOT_FOUND:
        return Answer("stale", why=why)
    named = [name for name, _ in details_of(error)]
    if "external_id" in named:
        return Answer("unknown", why=why)
    return Answer("rejected", why=why, fields=fields_of(spec, named))


def fields_of(spec: ObjectSpec, named: Iterable[str]) -> tuple[str, ...]:
    """The mapped fields that a refusal names, in Zendesk's words or its labels."""
    words = {re.sub(r"[^a-z]", "", n.lower()) for n in named}
    return tuple(
        a for a in spec.fields.app_names if re.sub(r"[^a-z]", "", a.rpartition(".")[2]) in words
    )


def settled(spec: ObjectSpec, reply: Reply, key: str) -> Answer:
    """What Zendesk made of one write, whose record it shows under `key`."""
    if reply.status >= codes.BAD_REQUEST:
        return refused(spec, reply)
    reading = reading_of(spec, body_of(reply, key).get(key), reply)
    return Answer("done", reading.native_id, reading)


def row_refused(spec: ObjectSpec, row: Item) -> Answer:
    """A failed row of a job."""
    why = str(row.get("details") or row.get("error") or "refused")[:500]
    if row.get("error") in MISSING or "not found" in why.lower():
        return Answer("stale", why=why)
    if "External" in why.partition(":")[0]:
        return Answer("unknown", why=why)
    labels = re.findall(r"(?:^|, )([A-Z][A-Za-z ]*):", why)
    return Answer("rejected", why=why, fields=fields_of(spec, labels))


def refusals(spec: ObjectSpec, results: Sequence[object], ids: Sequence[str]) -> dict[int, Answer]:
    """Failed rows of a job by their place in it: told by index, by id, or by where they stand.

    A row that fails in a create has its place for an id.
    """
    found: dict[int, Answer] = {}
    for n, row in enumerate(results):
        if isinstance(row, dict) and row.get("error"):
            own = str(row.get("id", ""))
            place = ids.index(own) if own and own in ids else row.get("index", n)
            if isinstance(place, int) and not isinstance(place, bool):
                found[place] = row_refused(spec, row)
    return found
