"""HubSpot's addresses in front of a `portal`: what is asked in HTTP, answered as HubSpot would."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import httpx

from connectors.hubspot.hooks import USER, Hooks
from connectors.hubspot.portal import (
    MODIFIED,
    PLAIN,
    PRIMARY,
    TYPE_IDS,
    WORDS,
    Portal,
    Record,
    Refusal,
    iso,
)

KINDS: Final = {
    **dict.fromkeys(("contact", "contacts", "0-1"), "contacts"),
    **dict.fromkeys(("company", "companies", "0-2"), "companies"),
}
DEFAULTS: Final = {
    "contacts": (
        "createdate",
        "email",
        "firstname",
        "hs_object_id",
        "lastmodifieddate",
        "lastname",
    ),
    "companies": ("createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"),
}
BATCH: Final = 100
WITH_HISTORY: Final = 50
VALUES_KEPT: Final = 20
SEARCH_PAGE: Final = 200
GROUPS, FILTERS, ALL_FILTERS = 5, 6, 18
CREATED: Final = 201
LAG_MS: Final = 2_000
SEARCH_END: Final = 10_000
Body = dict[str, object]
Answer = tuple[int, Body | None]


@dataclass(frozen=True, slots=True)
class Call:
    """A request, parsed: `now` in milliseconds, `base` is the address that links are built on."""

    method: str
    path: str
    params: httpx.QueryParams
    body: Mapping[str, object]
    base: str
    now: int

    def flag(self, name: str) -> bool:
        """A parameter that says true, in whatever case."""
        return str(self.params.get(name, "")).lower() == "true"

    def names(self, name: str) -> list[str]:
        """A list parameter: repeated, joined by commas, or both."""
        return [n for part in self.params.get_list(name) for n in part.split(",") if n]

    def inputs(self) -> list[Mapping[str, object]]:
        """The rows of a batch, at most a hundred."""
        rows = self.body.get("inputs")
        if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
            raise Refusal("Invalid input JSON: inputs must be a list of objects")
        if len(rows) > BATCH:
            raise Refusal(f"The maximum batch size is {BATCH}, {len(rows)} were sent")
        return rows


# -- what records look like ----------------------------------------------------------------------


def shown(kind: str, record: Record, wanted: Iterable[str]) -> Body:
    """A record as HubSpot answers it: the properties asked for, null where never set."""
    names = dict.fromkeys([*wanted, "createdate", "hs_object_id", MODIFIED[kind]])
    found: Body = {
        "id": str(record.id),
        "properties": {n: record.properties.get(n) for n in names},
        "createdAt": iso(record.created),
        "updatedAt": iso(record.updated),
        "archived": bool(record.archived),
    }
    return {**found, "archivedAt": iso(record.archived)} if record.archived else found


def embedded(types: Mapping[int, frozenset[int]], words: tuple[str, str]) -> Body:
    """Associations inside of a record, one row per type."""
    rows = [
        {
            "id": str(end),
            "type": f"{words[0]}_to_{words[1]}" + ("" if t == PRIMARY else "_unlabeled"),
        }
        for end, found in sorted(types.items())
        for t in sorted(found)
    ]
    return {"results": rows}


def typed(types: Iterable[int]) -> list[Body]:
    """Association types as v4 shows them."""
    label = {PRIMARY: "Primary"}
    return [
        {"category": "HUBSPOT_DEFINED", "typeId": t, "label": label.get(t)} for t in sorted(types)
    ]


def row_error(refusal: Refusal, **context: list[str]) -> Body:
    """A refused row of a batch."""
    return {
        "status": "error",
        "category": refusal.category,
        "message": str(refusal),
        "context": {**refusal.context, **context},
        "errors": [],
        "links": {},
    }


def lost(kind: str, ids: Sequence[str]) -> Body:
    """The row that says which ids of a batch do not exist."""
    what = WORDS[kind].upper()
    message = f"Could not get some {what} objects, they may be deleted or not exist."
    return row_error(Refusal(message, "OBJECT_NOT_FOUND", context={"ids": list(ids)}))


def number(text: object) -> int:
    """An id or count from text; 0 where it is none."""
    return int(str(text)) if re.fullmatch(r"[0-9]{1,18}", str(text)) else 0


def instant(text: str) -> int:
    """Milliseconds from milliseconds or from an ISO time; -1 where it is neither."""
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    try:
        return round(dt.datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return -1


# -- the search language -------------------------------------------------------------------------

Test = Callable[[Record], bool]


def sortable(kind: str, name: str, text: str | None) -> tuple[int, int, str]:
    """A value in the order of its type; absent ones first."""
    if not text:
        return (0, 0, "")
    if name == "hs_object_id":
        return (1, number(text), "")
    if name in {"createdate", MODIFIED[kind]}:
        return (1, instant(text), "")
    return (1, 0, text.lower())


def held(kind: str, name: str, record: Record) -> tuple[int, int, str]:
    """What a record holds of a property, in the order of its type."""
    numbers = {"hs_object_id": record.id, MODIFIED[kind]: record.updated}
    if name in numbers:
        return (1, numbers[name], "")
    return sortable(kind, name, record.properties.get(name))


def tester(kind: str, filtered: Mapping[str, object]) -> Test:
    """One filter as a test of records."""
    name, operator = str(filtered.get("propertyName")), str(filtered.get("operator"))
    value = sortable(kind, name, str(filtered.get("value", "")))
    high = sortable(kind, name, str(filtered.get("highValue", "")))
    found = filtered.get("values")
    values = {sortable(kind, name, str(v)) for v in found} if isinstance(found, list) else set()
    tests: dict[str, Callable[[tuple[int, int, str]], bool]] = {
        "EQ": lambda v: v == value,
        "NEQ": lambda v: v != value,
        "LT": lambda v: bool(v[0]) and v < value,
        "LTE": lambda v: bool(v[0]) and v <= value,
        "GT": lambda v: v > value,
        "GTE": lambda v: v >= value,
        "BETWEEN": lambda v: value <= v <= high,
        "IN": lambda v: v in values,
        "NOT_IN": lambda v: v not in values,
        "HAS_PROPERTY": lambda v: bool(v[0]),
        "NOT_HAS_PROPERTY": lambda v: not v[0],
        "CONTAINS_TOKEN": lambda v: value[2].strip("*") in v[2],
        "NOT_CONTAINS_TOKEN": lambda v: value[2].strip("*") not in v[2],
    }
    if operator not in tests:
        raise Refusal(f"Invalid operator {operator}")
    test = tests[operator]
    return lambda record: test(held(kind, name, record))


def groups_of(body: Mapping[str, object]) -> list[list[Mapping[str, object]]]:
    """The filter groups within the limits: 5 groups, 6 filters each, 18 in all."""
    found = body.get("filterGroups") or []
    groups = [list(g.get("filters", [])) for g in found] if isinstance(found, list) else []
    sizes = [len(group) for group in groups]
    if len(sizes) > GROUPS or max(sizes, default=0) > FILTERS or sum(sizes) > ALL_FILTERS:
        raise Refusal("Too many filters: 5 groups, 6 filters in each and 18 in all are allowed")
    return groups


def bounds(kind: str, group: Iterable[Mapping[str, object]]) -> tuple[int, int] | None:
    """The interval of modified times that a group is confined to, if it has a lower end."""
    low, high = -1, 1 << 60
    for row in group:
        if row.get("propertyName") == MODIFIED[kind]:
            value = instant(str(row.get("value", "")))
            low = value if row.get("operator") in {"GT", "GTE", "EQ", "BETWEEN"} else low
            high = value if row.get("operator") in {"LT", "LTE", "EQ"} else high
    return None if low < 0 else (low, high)


def above(group: Iterable[Mapping[str, object]]) -> int:
    """The id above which a group is confined, 0 where it is not."""
    after = {"propertyName": "hs_object_id", "operator": "GT"}
    return max(
        (number(row.get("value")) for row in group if after.items() <= row.items()), default=0
    )


def order_of(body: Mapping[str, object]) -> tuple[str, bool]:
    """The one sort rule, as an object or as text: (property, descending)."""
    found = body.get("sorts") or []
    if not isinstance(found, list) or len(found) > 1:
        raise Refusal("Only one sort is allowed")
    rule = found[0] if found else "hs_object_id"
    if isinstance(rule, dict):
        return str(rule.get("propertyName")), str(rule.get("direction")) == "DESCENDING"
    return str(rule).removeprefix("-"), str(rule).startswith("-")


# -- the account behind its addresses --------------------------------------------------------------


class Desk:
    """Every address, each a small method: (call, parts of the path) to (status, body)."""

    def __init__(
        self, portal: Portal, portal_id: int, account_type: str = "DEVELOPER_TEST"
    ) -> None:
        self.portal = portal
        self.portal_id = portal_id
        self.account_type = account_type
        self.lag_ms = LAG_MS
        self.batch_resolves = True  # whether batches know merged ids as single reads do
        self.hooks = Hooks(portal_id)

    def answer(self, call: Call) -> Answer:
        """The answer of the first address that fits; raises `Refusal`."""
        for method, pattern, handler in ROUTES:
            found = re.fullmatch(pattern, call.path)
            if found and method == call.method:
                return handler(self, call, *found.groups())
        raise Refusal(f"Unable to find {call.method} {call.path}", "NOT_FOUND", 404)

    # -- the account ---------------------------------------------------------------------------

    def account(self, _: Call) -> Answer:
        """Whose account this is."""
        return 200, {
            "portalId": self.portal_id,
            "accountType": self.account_type,
            "timeZone": "Europe/Berlin",
            "companyCurrency": "EUR",
            "additionalCurrencies": [],
            "utcOffset": "+01:00",
            "utcOffsetMilliseconds": 3_600_000,
            "uiDomain": "app.hubspot.com",
            "dataHostingLocation": "na1",
        }

    # -- records -------------------------------------------------------------------------------

    def listed(self, call: Call, word: str) -> Answer:
        """A page of records by id, live or archived."""
        kind, limit = kind_of(word), number(call.params.get("limit", "10"))
        if not 1 <= limit <= BATCH:
            raise Refusal("limit must be between 1 and 100")
        archived = call.flag("archived")
        after = self.portal.tables[kind].after(number(call.params.get("after", "0")))
        found = list(islice((r for r in after if bool(r.archived) == archived), limit + 1))
        body: Body = {"results": [self._full(kind, r, call) for r in found[:limit]]}
        return 200, body | paging(call, str(found[limit - 1].id) if len(found) > limit else "")

    def one(self, call: Call, word: str, native: str) -> Answer:
        """One record, by id or by a unique property."""
        kind, key = kind_of(word), str(call.params.get("idProperty", ""))
        record = self._held(kind, native, key, archived=call.flag("archived"))
        if record is None:
            raise Refusal("resource not found", "OBJECT_NOT_FOUND", 404)
        return 200, self._full(kind, record, call)

    def create(self, call: Call, word: str) -> Answer:
        """One new record."""
        kind = kind_of(word)
        record = self._create(kind, call.body, call.now)
        return 201, shown(kind, record, record.properties)

    def update(self, call: Call, word: str, native: str) -> Answer:
        """New values for one record."""
        kind, values = kind_of(word), properties_of(call.body)
        held = self._held(kind, native, call.params.get("idProperty", ""), archived=False)
        if held is None:
            raise Refusal("resource not found", "OBJECT_NOT_FOUND", 404)
        record = self.portal.update(kind, held.id, values, call.now, "INTEGRATION")
        return 200, shown(kind, record, values)

    def archive(self, call: Call, word: str, native: str) -> Answer:
        """Into the bin; also for what is not there."""
        self.portal.archive(kind_of(word), number(native), call.now, "INTEGRATION")
        return 204, None

    def merge(self, call: Call, word: str) -> Answer:
        """Two records to a third."""
        kind = kind_of(word)
        ends = [number(call.body.get(k)) for k in ("primaryObjectId", "objectIdToMerge")]
        record = self.portal.merge(kind, ends[0], ends[1], call.now, "INTEGRATION")
        return 200, shown(kind, record, record.properties)

    def erase(self, call: Call, word: str) -> Answer:
        """For good, by id or by e-mail."""
        kind, key = kind_of(word), str(call.body.get("idProperty") or "")
        held = self._held(kind, str(call.body.get("objectId", "")), key, archived=False)
        if held:
            self.portal.erase(kind, held.id, call.now, "INTEGRATION")
        return 204, None

    # -- batches -------------------------------------------------------------------------------

    def batch_read(self, call: Call, word: str) -> Answer:
        """Up to a hundred records; those not found are an error row, the rest still comes."""
        kind, key = kind_of(word), str(call.body.get("idProperty") or "")
        ids = distinct(str(row.get("id", "")) for row in call.inputs())
        held = {i: self._held(kind, i, key, archived=call.flag("archived")) for i in ids}
        if not self.batch_resolves and not key:
            held = {i: r if r and str(r.id) == i else None for i, r in held.items()}
        wanted = call.body.get("properties") or DEFAULTS[kind]
        names = self._known(kind, wanted if isinstance(wanted, list) else [])
        past = self._past_wanted(kind, call)
        found = {
            r.id: shown(kind, r, names) | self._past(kind, r, past) for r in held.values() if r
        }
        missing = [i for i, record in held.items() if record is None]
        return batched(call, list(found.values()), [lost(kind, missing)] if missing else [])

    def batch_create(self, call: Call, word: str) -> Answer:
        """Up to a hundred new records; by row only where every input has a trace id."""
        kind, rows = kind_of(word), call.inputs()
        return self._rows(call, kind, rows, lambda row: self._create(kind, row, call.now), 201)

    def batch_update(self, call: Call, word: str) -> Answer:
        """New values for up to a hundred records; ids that do not exist are an error row."""
        kind, rows = kind_of(word), call.inputs()
        distinct(str(row.get("id", "")) for row in rows)
        known = [row for row in rows if self._target(kind, row)]
        missing = [str(row.get("id", "")) for row in rows if not self._target(kind, row)]

        def act(row: Mapping[str, object]) -> Record:
            held = self._target(kind, row)
            own = held.id if held else 0
            return self.portal.update(kind, own, properties_of(row), call.now, "INTEGRATION")

        errors = [lost(kind, missing)] if missing else []
        return self._rows(call, kind, known, act, 200, errors)

    def batch_upsert(self, call: Call, word: str) -> Answer:
        """Update where a unique value is held, else create with it."""
        kind, rows, fresh = kind_of(word), call.inputs(), set[int]()

        def act(row: Mapping[str, object]) -> Record:
            held = self._target(kind, row)
            if held:
                given = properties_of(row)
                return self.portal.update(kind, held.id, given, call.now, "INTEGRATION")
            key, value = str(row.get("idProperty") or ""), str(row.get("id", ""))
            own = {"properties": {key: value, **properties_of(row)}}
            made = self._create(kind, own if key else row, call.now)
            fresh.add(made.id)
            return made

        status, body = self._rows(call, kind, rows, act, 200)
        results = body.get("results") if body else None
        for result in results if isinstance(results, list) else []:
            result["new"] = number(result["id"]) in fresh
        return status, body

    def batch_archive(self, call: Call, word: str) -> Answer:
        """Up to a hundred records into the bin."""
        for row in call.inputs():
            self.portal.archive(kind_of(word), number(row.get("id")), call.now, "INTEGRATION")
        return 204, None

    # -- search --------------------------------------------------------------------------------

    def search(self, call: Call, word: str) -> Answer:
        """What the index, which runs behind, finds: live records only, never beyond 10,000."""
        kind = kind_of(word)
        limit, after = number(call.body.get("limit", 10)), number(call.body.get("after") or 0)
        if not 1 <= limit <= SEARCH_PAGE:
            raise Refusal("limit must be between 1 and 200")
        if after + limit > SEARCH_END:
            raise Refusal("The search cannot go beyond 10000 results")
        found = self._found(kind, call)
        wanted = call.body.get("properties") or DEFAULTS[kind]
        names = self._known(kind, wanted if isinstance(wanted, list) else [])
        page = found[after : after + limit]
        body: Body = {"total": len(found), "results": [shown(kind, r, names) for r in page]}
        return 200, body | paging(call, str(after + limit) if len(found) > after + limit else "")

    def _found(self, kind: str, call: Call) -> list[Record]:
        groups = groups_of(call.body)
        for name in {str(row.get("propertyName")) for group in groups for row in group}:
            self._searchable(kind, name)
        tests = [[tester(kind, row) for row in group] for group in groups] or [[]]
        seen = self._indexed(kind, groups, call.now - self.lag_ms)
        found = [r for r in seen if any(all(test(r) for test in group) for group in tests)]
        words = str(call.body.get("query") or "").lower()
        if words:
            found = [r for r in found if words in " ".join(r.properties.values()).lower()]
        name, descending = order_of(call.body)
        return sorted(found, key=lambda r: (held(kind, name, r), r.id), reverse=descending)

    def _searchable(self, kind: str, name: str) -> None:
        # The other object's stamp exists and is always empty: it finds nothing and says nothing.
        if name not in self.portal.defined[kind] and name not in MODIFIED.values():
            raise Refusal(f"There was a problem with the request: property {name} does not exist")

    def _indexed(
        self, kind: str, groups: Sequence[Sequence[Mapping[str, object]]], at: int
    ) -> Iterable[Record]:
        """Live records as the index has them, from the narrowest source there is."""
        table, spans = self.portal.tables[kind], [bounds(kind, group) for group in groups]
        ids: Iterable[int] = (r.id for r in table.after(0))
        if spans and all(spans):
            near = [table.candidates(*span) for span in spans if span]
            floor = min(above(group) for group in groups)
            ids = sorted({i for part in near for i in part if i > floor})
        for found in ids:
            record = table.seen(found, at)
            if record and not record.archived:
                yield record

    # -- associations --------------------------------------------------------------------------

    def linked(self, call: Call, word: str, native: str, other: str) -> Answer:
        """What one record is associated with."""
        ends = self._ends(kind_of(word), number(native), kind_of(other))
        rows = [{"toObjectId": e, "associationTypes": typed(t)} for e, t in sorted(ends.items())]
        del call
        return 200, {"results": rows}

    def link(self, call: Call, word: str, native: str, other: str, end: str) -> Answer:
        """Associate two records with given types."""
        self._link(kind_of(word), native, end, label_types(call.body.get("_")), call.now)
        return 201, pair_shown(kind_of(word), native, kind_of(other), end)

    def link_default(self, call: Call, word: str, native: str, other: str, end: str) -> Answer:
        """Associate two records plainly."""
        self._link(kind_of(word), native, end, [PLAIN], call.now)
        rows = default_shown(kind_of(word), native, kind_of(other), end)
        return batched(call, rows, [])

    def unlink(self, call: Call, word: str, native: str, other: str, end: str) -> Answer:
        """Part two records."""
        del other
        self._part(kind_of(word), native, end, call.now)
        return 204, None

    def links_read(self, call: Call, word: str, other: str) -> Answer:
        """What up to a thousand records are associated with; none is an error row."""
        rows: list[Body] = []
        errors: list[Body] = []
        for native in (str(row.get("id", "")) for row in many(call)):
            ends = self._ends(kind_of(word), number(native), kind_of(other))
            to = [{"toObjectId": e, "associationTypes": typed(t)} for e, t in sorted(ends.items())]
            if to:
                rows.append({"from": {"id": native}, "to": to})
            else:
                errors.append(alone(kind_of(word), native, kind_of(other)))
        return batched(call, rows, errors)

    def links_create(self, call: Call, word: str, other: str) -> Answer:
        """Associate up to two thousand pairs with given types."""
        rows, errors = self._each_pair(
            call,
            word,
            lambda own, end, row: self._link(
                kind_of(word), own, end, label_types(row.get("types")), call.now
            ),
        )
        shown_rows = [pair_shown(kind_of(word), own, kind_of(other), end) for own, end in rows]
        return batched(call, shown_rows, errors, 201)

    def links_default(self, call: Call, word: str, other: str) -> Answer:
        """Associate up to two thousand pairs plainly."""
        rows, errors = self._each_pair(
            call, word, lambda own, end, _: self._link(kind_of(word), own, end, [PLAIN], call.now)
        )
        found = [
            r for own, end in rows for r in default_shown(kind_of(word), own, kind_of(other), end)
        ]
        return batched(call, found, errors)

    def links_archive(self, call: Call, word: str, other: str) -> Answer:
        """Part records from all those named."""
        del other
        for row in many(call):
            to = row.get("to")
            for end in to if isinstance(to, list) else []:
                self._part(kind_of(word), end_of(row, "from"), str(end.get("id")), call.now)
        return 204, None

    # -- properties ----------------------------------------------------------------------------

    def defined(self, _: Call, word: str) -> Answer:
        """All properties of one kind."""
        return 200, {"results": list(self.portal.defined[kind_of(word)].values())}

    def definition(self, _: Call, word: str, name: str) -> Answer:
        """One property."""
        found = self.portal.defined[kind_of(word)].get(name)
        if found is None:
            raise Refusal(f"Property {name} does not exist", "OBJECT_NOT_FOUND", 404)
        return 200, found

    def define(self, call: Call, word: str) -> Answer:
        """A new property."""
        return 201, self.portal.define(kind_of(word), call.body, iso(call.now))

    def undefine(self, _: Call, word: str, name: str) -> Answer:
        """Archive a property."""
        self.portal.defined[kind_of(word)].pop(name, None)
        return 204, None

    def grouped(self, _: Call, word: str) -> Answer:
        """All property groups of one kind."""
        return 200, {"results": list(self.portal.groups[kind_of(word)].values())}

    def group(self, _: Call, word: str, name: str) -> Answer:
        """One property group."""
        found = self.portal.groups[kind_of(word)].get(name)
        if found is None:
            raise Refusal(f"Property group {name} does not exist", "OBJECT_NOT_FOUND", 404)
        return 200, found

    def define_group(self, call: Call, word: str) -> Answer:
        """A new property group."""
        return 201, self.portal.define_group(kind_of(word), call.body)

    # -- webhooks ------------------------------------------------------------------------------

    def subscriptions(self, _: Call, app: str) -> Answer:
        """What the app wants to hear of."""
        del app
        return 200, {"results": list(self.hooks.wanted.values())}

    def subscribe(self, call: Call, app: str) -> Answer:
        """One more event type, or one more property."""
        del app
        return 201, self.hooks.subscribe(call.body, iso(call.now))

    def subscription(self, _: Call, app: str, own: str) -> Answer:
        """One subscription."""
        del app
        return 200, self.hooks.held(own)

    def switch(self, call: Call, app: str, own: str) -> Answer:
        """On or off."""
        del app
        held = self.hooks.held(own)
        held |= {"active": call.body.get("active") is True, "updatedAt": iso(call.now)}
        return 200, held

    def unsubscribe(self, _: Call, app: str, own: str) -> Answer:
        """No more of it."""
        del app
        self.hooks.wanted.pop(own, None)
        return 204, None

    def settings(self, call: Call, app: str) -> Answer:
        """Where webhooks go."""
        del app, call
        if not self.hooks.settings:
            raise Refusal("No settings", "OBJECT_NOT_FOUND", 404)
        return 200, self.hooks.settings

    def configure(self, call: Call, app: str) -> Answer:
        """Send webhooks there."""
        del app
        stamps = {"createdAt": iso(call.now), "updatedAt": iso(call.now)}
        throttling = {"maxConcurrentRequests": 10}
        self.hooks.settings = {"throttling": throttling, **stamps, **call.body}
        return 200, self.hooks.settings

    def silence(self, _: Call, app: str) -> Answer:
        """Send no webhooks."""
        del app
        self.hooks.settings = {}
        return 204, None

    # -- helpers -------------------------------------------------------------------------------

    def _known(self, kind: str, names: Iterable[object]) -> list[str]:
        """Properties that exist; others asked for are left out in silence."""
        return [str(n) for n in names if str(n) in self.portal.defined[kind]]

    def _past_wanted(self, kind: str, call: Call) -> list[str]:
        """Properties whose history a batch asks for, which is allowed for few records only."""
        wanted = call.body.get("propertiesWithHistory")
        if wanted and len(call.inputs()) > WITH_HISTORY:
            raise Refusal(f"With history, the maximum batch size is {WITH_HISTORY}")
        return self._known(kind, wanted if isinstance(wanted, list) else [])

    def _past(self, kind: str, record: Record, names: Iterable[str]) -> Body:
        """The history of these properties, said in a record; nothing where none is asked for."""
        table = self.portal.tables[kind]
        past = {n: [self._value(*v) for v in table.history(record.id, n)] for n in names}
        return (
            {"propertiesWithHistory": {n: v[:VALUES_KEPT] for n, v in past.items()}} if past else {}
        )

    def _value(self, value: str, when: int, source: str) -> Body:
        """A value that a property had: a person has an id, an app another."""
        found: Body = {"value": value, "timestamp": iso(when), "sourceType": source}
        if source == "INTEGRATION":
            return {**found, "sourceId": str(self.hooks.app_id)}
        person: Body = {"sourceId": f"userId:{USER}", "updatedByUserId": USER}
        return {**found, **person}

    def _full(self, kind: str, record: Record, call: Call) -> Body:
        """A record with the properties and associations that a call names."""
        names = self._known(kind, call.names("properties") or DEFAULTS[kind])
        past = self._known(kind, call.names("propertiesWithHistory"))
        found = shown(kind, record, names) | self._past(kind, record, past)
        for other in call.names("associations"):
            ends = self._ends(kind, record.id, kind_of(other))
            if ends:
                body = embedded(ends, (WORDS[kind], WORDS[kind_of(other)]))
                found.setdefault("associations", {})[kind_of(other)] = body  # type: ignore[index]
        return found

    def _held(self, kind: str, native: str, key: str, *, archived: bool) -> Record | None:
        if not key or key == "hs_object_id":
            return self.portal.get(kind, number(native), archived=archived)
        unique = self.portal.defined[kind].get(key, {}).get("hasUniqueValue")
        if not unique and (kind, key) != ("contacts", "email"):
            raise Refusal(f"idProperty {key} is not a unique property")
        value = native.strip().lower() if key == "email" else native
        found = self.portal.tables[kind].holders(key, value)
        return found[0] if found and not archived else None

    def _target(self, kind: str, row: Mapping[str, object]) -> Record | None:
        key = str(row.get("idProperty") or "")
        return self._held(kind, str(row.get("id", "")), key, archived=False)

    def _create(self, kind: str, row: Mapping[str, object], now: int) -> Record:
        record = self.portal.create(kind, properties_of(row), now, "INTEGRATION")
        found = row.get("associations")
        for link in found if isinstance(found, list) else []:
            types = label_types(link.get("types"))
            self._link(kind, str(record.id), end_of(link, "to"), types, now)
        return record

    def _rows(
        self,
        call: Call,
        kind: str,
        rows: Sequence[Mapping[str, object]],
        act: Callable[[Mapping[str, object]], Record],
        status: int,
        errors: Sequence[Body] = (),
    ) -> Answer:
        """Act row by row where all are traced; else the first refusal refuses them all."""
        traced = bool(rows) and all(row.get("objectWriteTraceId") for row in rows)
        self._refuse_whole(kind, rows, traced=traced)
        results: list[Body] = []
        failed = list(errors)
        for row in rows:
            trace = str(row.get("objectWriteTraceId") or "")
            try:
                record = act(row)
            except Refusal as refusal:
                failed.append(row_error(refusal, objectWriteTraceId=[trace]))
                continue
            wanted = record.properties if status == CREATED else properties_of(row)
            mark: Body = {"objectWriteTraceId": trace} if trace else {}
            results.append(shown(kind, record, wanted) | mark)
        return batched(call, results, failed, status)

    def _refuse_whole(
        self, kind: str, rows: Sequence[Mapping[str, object]], *, traced: bool
    ) -> None:
        """Raise what refuses a batch as a whole, before anything of it is applied."""
        emails: set[str] = set()
        for row in rows:
            held = self._target(kind, row) if "id" in row else None
            try:
                values = self.portal.checked(kind, properties_of(row), held.id if held else 0)
            except Refusal as refusal:
                if refusal.whole or not traced:
                    raise
                continue
            mail = values.get("email")
            if mail and mail in emails and not traced:
                raise Refusal("Duplicate emails in the batch", "CONFLICT", 409)
            emails.add(mail or "")

    def _ends(self, kind: str, native: int, other: str) -> dict[int, frozenset[int]]:
        if kind == other:
            return {}
        own = self.portal.current(kind, native)
        if kind == "contacts":
            return self.portal.companies_of(own)
        return self.portal.contacts_of(own)

    def _link(self, kind: str, own: str, end: str, types: Iterable[int], now: int) -> None:
        contact, company = (own, end) if kind == "contacts" else (end, own)
        self.portal.associate(number(contact), number(company), types, now)

    def _part(self, kind: str, own: str, end: str, now: int) -> None:
        contact, company = (own, end) if kind == "contacts" else (end, own)
        self.portal.part(number(contact), number(company), now)

    def _each_pair(
        self, call: Call, word: str, act: Callable[[str, str, Mapping[str, object]], None]
    ) -> tuple[list[tuple[str, str]], list[Body]]:
        del word
        done: list[tuple[str, str]] = []
        errors: list[Body] = []
        for row in many(call, 2_000):
            own, end = end_of(row, "from"), end_of(row, "to")
            try:
                act(own, end, row)
            except Refusal as refusal:
                errors.append(row_error(refusal, fromObjectId=[own], toObjectId=[end]))
            else:
                done.append((own, end))
        return done, errors


def kind_of(word: str) -> str:
    """Contacts or companies, from any of the words for them."""
    if word not in KINDS:
        raise Refusal(f"Unable to infer object type from: {word}")
    return KINDS[word]


def properties_of(row: Mapping[str, object]) -> Mapping[str, object]:
    """The properties of one input."""
    found = row.get("properties")
    if not isinstance(found, dict):
        raise Refusal("Invalid input JSON: properties must be an object")
    return found


def distinct(ids: Iterable[str]) -> list[str]:
    """The ids of a batch, which may not repeat."""
    found = list(ids)
    if len(set(found)) < len(found):
        raise Refusal("Duplicate IDs found in batch input, IDs must be unique")
    return found


def many(call: Call, most: int = 1_000) -> list[Mapping[str, object]]:
    """The rows of an association batch."""
    rows = call.body.get("inputs")
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows) or len(rows) > most:
        raise Refusal(f"inputs must be a list of at most {most} objects")
    return rows


def end_of(row: Mapping[str, object], side: str) -> str:
    """The id on one side of an association."""
    end = row.get(side)
    if not isinstance(end, dict):
        raise Refusal(f"Invalid input JSON: {side} must be an object")
    return str(end.get("id"))


def label_types(found: object) -> list[int]:
    """Type ids of an association; seen from a company, 2 and 280 mean the same two."""
    rows = found if isinstance(found, list) else []
    ids = [number(row.get("associationTypeId")) for row in rows if isinstance(row, dict)]
    return [{2: PRIMARY, 280: PLAIN}.get(i, i) for i in ids] or [PLAIN]


def alone(kind: str, native: str, other: str) -> Body:
    """The row that says that a record has no associations."""
    message = f"No {WORDS[other]} is associated with {WORDS[kind]} {native}."
    refusal = Refusal(message, "OBJECT_NOT_FOUND")
    row = row_error(refusal, fromObjectId=[native], fromObjectType=[WORDS[kind]])
    return {**row, "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}


def pair_shown(kind: str, own: str, other: str, end: str) -> Body:
    """A labelled association as v4 answers it."""
    return {
        "fromObjectTypeId": TYPE_IDS[kind],
        "fromObjectId": number(own),
        "toObjectTypeId": TYPE_IDS[other],
        "toObjectId": number(end),
        "labels": [],
    }


def default_shown(kind: str, own: str, other: str, end: str) -> list[Body]:
    """A plain association as v4 answers it: in both directions."""
    there, back = (279, 280) if kind == "contacts" else (280, 279)
    del other
    return [
        {
            "from": {"id": a},
            "to": {"id": b},
            "associationSpec": {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": t},
        }
        for a, b, t in ((own, end, there), (end, own, back))
    ]


def batched(call: Call, results: list[Body], errors: list[Body], status: int = 200) -> Answer:
    """The answer of a batch: 207 as soon as one row failed."""
    times = dict.fromkeys(("startedAt", "completedAt"), iso(call.now))
    body: Body = {"status": "COMPLETE", "results": results, **times}
    if not errors:
        return status, body
    return 207, {**body, "numErrors": len(errors), "errors": errors}


def paging(call: Call, after: str) -> Body:
    """The pointer to the next page, if there is one."""
    if not after:
        return {}
    params = call.params.set("after", after)
    link = f"{call.base}{call.path}?{params}"
    return {"paging": {"next": {"after": after, "link": link}}}


_KIND = "/crm/v3/objects/([^/]+)"
_LINKS = "/crm/v4/associations/([^/]+)/([^/]+)/batch"
_ENDS = "/crm/v4/objects/([^/]+)/([^/]+)/associations"
_DEFINED = "/crm/v3/properties/([^/]+)"
_HOOKS = "/webhooks/v3/([^/]+)"
Handler = Callable[..., Answer]
ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "/account-info/v3/details", Desk.account),
    ("GET", _KIND, Desk.listed),
    ("POST", _KIND, Desk.create),
    ("POST", f"{_KIND}/search", Desk.search),
    ("POST", f"{_KIND}/merge", Desk.merge),
    ("POST", f"{_KIND}/gdpr-delete", Desk.erase),
    ("POST", f"{_KIND}/batch/read", Desk.batch_read),
    ("POST", f"{_KIND}/batch/create", Desk.batch_create),
    ("POST", f"{_KIND}/batch/update", Desk.batch_update),
    ("POST", f"{_KIND}/batch/upsert", Desk.batch_upsert),
    ("POST", f"{_KIND}/batch/archive", Desk.batch_archive),
    ("GET", f"{_KIND}/([^/]+)", Desk.one),
    ("PATCH", f"{_KIND}/([^/]+)", Desk.update),
    ("DELETE", f"{_KIND}/([^/]+)", Desk.archive),
    ("POST", f"{_LINKS}/read", Desk.links_read),
    ("POST", f"{_LINKS}/create", Desk.links_create),
    ("POST", f"{_LINKS}/associate/default", Desk.links_default),
    ("POST", f"{_LINKS}/archive", Desk.links_archive),
    ("GET", f"{_ENDS}/([^/]+)", Desk.linked),
    ("PUT", f"{_ENDS}/default/([^/]+)/([^/]+)", Desk.link_default),
    ("PUT", f"{_ENDS}/([^/]+)/([^/]+)", Desk.link),
    ("DELETE", f"{_ENDS}/([^/]+)/([^/]+)", Desk.unlink),
    ("GET", _DEFINED, Desk.defined),
    ("POST", _DEFINED, Desk.define),
    ("GET", f"{_DEFINED}/groups", Desk.grouped),
    ("POST", f"{_DEFINED}/groups", Desk.define_group),
    ("GET", f"{_DEFINED}/groups/([^/]+)", Desk.group),
    ("GET", f"{_DEFINED}/([^/]+)", Desk.definition),
    ("DELETE", f"{_DEFINED}/([^/]+)", Desk.undefine),
    ("GET", f"{_HOOKS}/subscriptions", Desk.subscriptions),
    ("POST", f"{_HOOKS}/subscriptions", Desk.subscribe),
    ("GET", f"{_HOOKS}/subscriptions/([^/]+)", Desk.subscription),
    ("PATCH", f"{_HOOKS}/subscriptions/([^/]+)", Desk.switch),
    ("DELETE", f"{_HOOKS}/subscriptions/([^/]+)", Desk.unsubscribe),
    ("GET", f"{_HOOKS}/settings", Desk.settings),
    ("PUT", f"{_HOOKS}/settings", Desk.configure),
    ("DELETE", f"{_HOOKS}/settings", Desk.silence),
)
