"""What HubSpot's answers mean: records, associations, and the fate of every row of a batch.

Every answer is hostile until it is understood: what has the wrong type, no id, or does not move on
is `Unreadable`, and a row that an answer does not mention is of unknown fate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

import orjson
from httpx import codes

from connectors._kit.answers import Broken, instant_of, is_a, items_of, object_of, understood
from connectors._kit.contract import (
    Actor,
    Answer,
    Entity,
    Json,
    ObjectSpec,
    Reading,
    Reply,
    State,
    Unavailable,
    Unreadable,
    Write,
)

EXTERNAL_ID: Final = "synchub_id"
# The property to search by differs per object; the wrong one finds nothing and says nothing.
MODIFIED: Final = {"contacts": "lastmodifieddate", "companies": "hs_lastmodifieddate"}
LOCKED_MS: Final = 2_000
APPS: Final = frozenset({"INTEGRATION", "API"})
PRIMARY: Final = 1  # association type "primary company"; any other is a plain one

Item = Mapping[str, object]
Rows = Mapping[str, Write]  # by trace id
Pair = tuple[str, str, str]  # trace id, contact id, company id
Links = Mapping[Entity, tuple[str, ...]]
T = TypeVar("T")


# -- parsing: hostile until understood ---------------------------------------------------------


def id_of(value: object, what: str) -> str:
    """A record id as text: digits, also where HubSpot sends a number."""
    found = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(found, str) or not re.fullmatch(r"[0-9]{1,20}", found):
        raise Unreadable(f"{what}: expected a record id, got {str(value)[:40]!r}")
    return found


def body_of(reply: Reply, *expected: int) -> Item:
    """The answer as an object; other states than the expected ones raise."""
    if reply.status in (423, 477):
        raise Unavailable(f"HubSpot is busy: {reply.status}", after_ms=_wait_ms(reply), sent=False)
    if reply.status not in expected:
        raise Unreadable(f"HubSpot answered {reply.status}: {_message(reply)}", reply.body)
    return object_of(reply.json(), "answer")


def _message(reply: Reply) -> str:
    try:
        found = reply.json()
    except Unreadable:
        return reply.body[:200].decode(errors="replace")
    return str(found.get("message", "")) if isinstance(found, dict) else str(found)[:200]


def _wait_ms(reply: Reply) -> int:
    seconds = reply.headers.get("retry-after", "")
    return int(seconds) * 1000 if seconds.isdigit() else LOCKED_MS


def next_of(body: Item) -> str:
    """The token of the page that follows, or "" on the last one."""
    if body.get("paging") is None:
        return ""
    following = object_of(body["paging"], "paging").get("next")
    if following is None:
        return ""
    after = is_a(object_of(following, "next").get("after"), str, "after")
    if not after:
        raise Unreadable("a next page without a token")
    return after


def advance(after: str, before: str) -> str:
    """The next token, which must have moved on from the one before."""
    numbers = [int(t) for t in (before, after) if re.fullmatch(r"[0-9]{1,20}", t)]
    if after and (after == before or numbers != sorted(numbers)):
        raise Unreadable(f"a page without progress: after {before!r} comes {after!r}")
    return after


# -- readings ----------------------------------------------------------------------------------


def asked(spec: ObjectSpec) -> list[str]:
    """Every property to name in a request: those not named are not returned."""
    merged = ("hs_merged_object_ids", "hs_calculated_merged_vids")
    return [*spec.fields.app_names, EXTERNAL_ID, MODIFIED[spec.object], "createdate", *merged]


def _property(properties: Item, key: str) -> str:
    found = properties.get(key)
    return "" if found is None else is_a(found, str, key)


def _aliases(properties: Item, own: str) -> tuple[str, ...]:
    """Ids merged into this record: "1;2" for every object, "1:ms;2:ms" for contacts."""
    lists = ("hs_merged_object_ids", "hs_calculated_merged_vids")
    found = ";".join(_property(properties, key) for key in lists).split(";")
    ids = dict.fromkeys(part.split(":")[0].strip() for part in found)
    return tuple(id_of(i, "merged id") for i in ids if i and i != own)


def _first(*found: tuple[Item, str]) -> int | None:
    """The first time stamp that is given, of (where, name)."""
    for where, key in found:
        if where.get(key):
            return instant_of(where[key], key)
    return None


def _state(item: Item) -> State:
    return "archived" if is_a(item.get("archived", False), bool, "archived") else "live"


def reading_of(spec: ObjectSpec, found: object, reply: Reply) -> Reading:
    """One record of an answer; raises `Unreadable` where it is not what HubSpot documents."""
    item = object_of(found, "record")
    properties = object_of(item.get("properties"), "properties")
    own = id_of(item.get("id"), "id")
    state = _state(item)
    modified = (item, "archivedAt") if state == "archived" else (properties, MODIFIED[spec.object])
    return Reading(
        object=spec.object,
        native_id=own,
        app={k: _property(properties, k) or None for k in spec.fields.app_names if k in properties},
        start_ms=reply.start_ms,
        end_ms=reply.end_ms,
        state=state,
        source_ms=_first(modified, (item, "updatedAt")),
        created_ms=_first((properties, "createdate"), (item, "createdAt")),
        external_id=_property(properties, EXTERNAL_ID),
        aliases=_aliases(properties, own),
        links=_embedded(item) if spec.links else {},
        actor=_actor(item) if state == "live" else Actor(),  # nothing says who archives
        raw=orjson.dumps({k: v for k, v in item.items() if k != "propertiesWithHistory"}),
    )


def _actor(item: Item) -> Actor:
    """Who made the latest change, where the history of the properties was asked for."""
    past = object_of(item.get("propertiesWithHistory") or {}, "history")
    values = [object_of(v, "value") for found in past.values() for v in items_of(found, "history")]
    if not values:
        return Actor()
    latest = max(values, key=lambda v: instant_of(v.get("timestamp"), "timestamp"))
    source, own = _property(latest, "sourceType"), _property(latest, "sourceId")
    if source in APPS:
        return Actor("app", own, source)
    user = str(latest.get("updatedByUserId") or "") or own.partition("userId:")[2]
    return Actor("person" if user else "system", user or own, source)


def _ordered(found: Mapping[str, bool]) -> Links:
    """Company ids, the primary one first: {id: is primary} to links."""
    ids = sorted(found, key=lambda i: (not found[i], int(i)))
    return {"company": tuple(ids)}


def _embedded(item: Item) -> Links:
    """Companies named inside a listed contact; a cut-off list says nothing."""
    if item.get("associations") is None:
        return {}
    body = object_of(item["associations"], "associations").get("companies", {"results": []})
    if next_of(object_of(body, "companies")):
        return {}
    found: dict[str, bool] = {}
    for row in items_of(object_of(body, "companies").get("results"), "companies"):
        end = object_of(row, "association")
        own = id_of(end.get("id"), "company id")
        found[own] = found.get(own, False) or end.get("type") == "contact_to_company"
    return _ordered(found)


def parse(
    spec: ObjectSpec, found: Iterable[object], reply: Reply
) -> tuple[list[Reading], list[Broken]]:
    """Readings, and what could not be understood with the reason."""
    readings, broken = understood(found, lambda item: reading_of(spec, item, reply))
    return list(readings), list(broken)


def knows(readings: Iterable[Reading]) -> set[str]:
    """All ids, old and new, that these readings speak for."""
    return {i for r in readings for i in (r.native_id, *r.aliases)}


def named(broken: Iterable[Broken]) -> set[str]:
    """The ids of records that came, but could not be understood."""
    items = [orjson.loads(raw) for _, raw in broken]
    return {str(item.get("id")) for item in items if isinstance(item, dict)}


# -- what became of writes ---------------------------------------------------------------------


def _sent(changes: Mapping[str, Json]) -> dict[str, Json]:
    """Properties as HubSpot takes them: an empty text clears."""
    return {key: "" if value is None else value for key, value in changes.items()}


def input_of(trace: str, write: Write) -> dict[str, Json]:
    """One row of a batch; only a create carries our id, which is never rewritten."""
    row: dict[str, Json] = {"objectWriteTraceId": trace, "properties": _sent(write.changes)}
    if write.op == "create":
        return {**row, "properties": {**_sent(write.changes), EXTERNAL_ID: write.external_id}}
    return {**row, "id": write.native_id}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(v) for v in value) if isinstance(value, list) else ()


def _context(error: Item, key: str) -> tuple[str, ...]:
    """What an error and its details say about one thing, e.g. the properties it names."""
    details = error.get("errors")
    rows = [error, *(details if isinstance(details, list) else ())]
    contexts = [row.get("context") for row in rows if isinstance(row, dict)]
    return tuple(
        dict.fromkeys(
            found for c in contexts if isinstance(c, dict) for found in _texts(c.get(key))
        )
    )


def _named(error: Item) -> tuple[str, ...]:
    """The properties that an error names."""
    names = _context(error, "propertyName") + _context(error, "name")
    # Validation errors carry a list in JSON inside of their message.
    within = re.findall(r'"name":"([a-z0-9_]+)"', str(error.get("message")))
    return tuple(dict.fromkeys([*names, *within]))


def refused(error: Item) -> Answer:
    """One refusal of HubSpot's as an answer: nothing of this row was applied."""
    why = str(error.get("message", ""))[:500]
    category = str(error.get("category", ""))
    existing = re.search(r"Existing ID: (\d+)", why)
    if existing:
        return Answer("rejected", existing[1], why=why, fields=("email",))
    if category in {"OBJECT_NOT_FOUND", "NOT_FOUND"}:
        return Answer("stale", why=why)
    return Answer("rejected", why=why or category, fields=_named(error))


def _matches(result: Item, rows: Rows) -> str:
    """The trace id of the row that a result belongs to, or ""."""
    trace = result.get("objectWriteTraceId")
    if isinstance(trace, str) and trace in rows:
        return trace
    properties = result.get("properties")
    external = properties.get(EXTERNAL_ID) if isinstance(properties, dict) else None
    for key, write in rows.items():
        own = external if write.op == "create" else result.get("id")
        if own and own == (write.external_id if write.op == "create" else write.native_id):
            return key
    return ""


def _accepted(spec: ObjectSpec, body: Item, reply: Reply, rows: Rows) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    for found in items_of(body.get("results"), "results"):
        with suppress(Unreadable):  # its row stays unknown, the others are what they are
            reading = reading_of(spec, found, reply)
            answers[_matches(object_of(found, "result"), rows)] = Answer(
                "done", reading.native_id, reading
            )
    return {trace: answer for trace, answer in answers.items() if trace in rows}


def _errors(body: Item, rows: Rows) -> dict[str, Answer]:
    """Refused rows of a partly failed batch, found by trace id or by record id."""
    by_id = {w.native_id: trace for trace, w in rows.items() if w.op == "update"}
    answers: dict[str, Answer] = {}
    for found in items_of(body.get("errors", []), "errors"):
        error = object_of(found, "error")
        ids = _context(error, "ids") + _context(error, "id")
        traces = [*_context(error, "objectWriteTraceId"), *(by_id.get(i, "") for i in ids)]
        answers |= {trace: refused(error) for trace in traces if trace in rows}
    return answers


def hopeless(error: Item, rows: Rows) -> bool:
    """Whether every row carries what HubSpot refuses, so that halving would find nothing else."""
    named = set(_named(error))
    missing = "PROPERTY_DOESNT_EXIST" in str(error)
    sent = [object_of(input_of("", w)["properties"], "properties") for w in rows.values()]
    return missing and all(named & p.keys() for p in sent)


def refusal(reply: Reply) -> Item:
    """The error that an answer of 4xx carries, whatever its form."""
    try:
        return object_of(reply.json(), "error")
    except Unreadable:
        return {"message": f"HTTP {reply.status}: {_message(reply)}"}


def halves(rows: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """The rows in two parts, neither empty where there are two."""
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


# -- associations ----------------------------------------------------------------------------------


def pair_input(pair: Pair) -> Json:
    """One association to add."""
    return {"from": {"id": pair[1]}, "to": {"id": pair[2]}}


def pairs_input(pair: Pair) -> Json:
    """One association to remove, with all its labels."""
    return {"from": {"id": pair[1]}, "to": [{"id": pair[2]}]}


def settled(spec: ObjectSpec, reply: Reply, rows: Rows) -> dict[str, Answer]:
    """One answer per row of a batch that went through; a row without one is unknown."""
    if reply.status not in (200, 201, 207, 423, 477):
        outcome = Answer("stop") if reply.status == codes.FORBIDDEN else Answer("rejected")
        why = f"HubSpot answered {reply.status}: {_message(reply)}"
        return dict.fromkeys(rows, replace(outcome, why=why))
    body = body_of(reply, 200, 201, 207)
    silent = Answer("unknown", why="HubSpot's answer does not mention this row")
    return dict.fromkeys(rows, silent) | _accepted(spec, body, reply, rows) | _errors(body, rows)


def unlinked(reply: Reply, pairs: Sequence[Pair]) -> dict[str, Answer]:
    """The answers of the pairs that HubSpot did not take."""
    if reply.status == codes.NO_CONTENT:
        return {}
    body = body_of(reply, 200, 201, 207)
    rows = [object_of(r, "association") for r in items_of(body.get("results"), "results")]
    done = {(_end(r, "from"), _end(r, "to")) for r in rows}
    errors = items_of(body.get("errors", []), "errors")
    silent = Answer("unknown", why="HubSpot's answer does not mention this association")
    fault = refused(object_of(errors[0], "error")) if errors else silent
    return {trace: fault for trace, own, end in pairs if (own, end) not in done}


def _end(row: Item, side: str) -> str:
    return id_of(object_of(row.get(side), side).get("id"), side)


def links_of(body: Item, ids: Sequence[str]) -> dict[str, Links]:
    """Links by contact id; a contact is left out where the answer does not say it completely."""
    found = {i: _ordered({}) for i in ids} if _only_without(body) else {}
    for item in items_of(body.get("results"), "results"):
        row = object_of(item, "association")
        own = _end(row, "from")
        ends = [object_of(end, "association") for end in items_of(row.get("to"), "to")]
        links = {id_of(end.get("toObjectId"), "company id"): _primary(end) for end in ends}
        found[own] = {} if next_of(row) else _ordered(links)
    return found


def _only_without(body: Item) -> bool:
    """Whether the only complaint is that some contacts have no company."""
    errors = [object_of(e, "error") for e in items_of(body.get("errors", []), "errors")]
    return all("NO_ASSOCIATIONS_FOUND" in str(e.get("subCategory")) for e in errors)


def _primary(end: Item) -> bool:
    types = items_of(end.get("associationTypes"), "associationTypes")
    return any(object_of(t, "type").get("typeId") == PRIMARY for t in types)
