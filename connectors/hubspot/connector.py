"""HubSpot: contacts are persons, companies are companies.

What is read is always read by id. The search index runs behind the records, so a search only says
*which* records changed; their values come from a batch read a moment later. Windows of changes are
frozen and paged by id, because bulk jobs give more records one time stamp than a search can return.

What is written goes out in batches of up to 100, each input with a trace id, so that every row of
a partly failed batch finds its own answer. A batch that HubSpot refused as a whole is halved until
the bad rows are found; an answer that leaves doubt is never sent again from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from httpx import codes

from connectors._kit.answers import Broken, failed, gone, is_a, items_of, object_of
from connectors._kit.contract import (
    Account,
    Answer,
    Api,
    Denied,
    Hint,
    Inbound,
    Json,
    Limits,
    ObjectSpec,
    Page,
    Reading,
    Reply,
    Unavailable,
    Unreadable,
    Write,
)
from connectors._kit.cursors import Cursor
from connectors._kit.fieldmap import FieldMap, address, date, email, name, phone, text
from connectors.hubspot.answers import (
    EXTERNAL_ID,
    MODIFIED,
    Item,
    Pair,
    Rows,
    advance,
    asked,
    body_of,
    halves,
    hopeless,
    id_of,
    input_of,
    knows,
    links_of,
    named,
    next_of,
    pair_input,
    pairs_input,
    parse,
    refusal,
    refused,
    settled,
    unlinked,
)
from connectors.hubspot.webhooks import read_hints

GROUP: Final = "synchub"
PAGE: Final = 100
WITH_HISTORY: Final = 50  # a batch read tells who changed what for so many records at most
OVERLAP_MS: Final = 120_000  # search lag and stamps that become visible out of order
HORIZON_MS: Final = 90 * 86_400_000  # archived records are listed for about this long
SWEEP_MS: Final = 60_000  # rest after a scan of archived records, for each page beyond the first
TEST_ACCOUNTS: Final = frozenset({"SANDBOX", "DEVELOPER_TEST", "APP_DEVELOPER"})


_PLACE = {"city": "city", "region": "state", "postcode": "zip", "country": "country"}
_EVENTS = (
    "creation",
    "propertyChange",
    "associationChange",
    "merge",
    "deletion",
    "restore",
    "privacyDeletion",
)


def _events(kind: str) -> tuple[str, ...]:
    return tuple(f"{kind}.{event}" for event in _EVENTS)


CONTACTS: Final = ObjectSpec(
    entity="person",
    object="contacts",
    fields=FieldMap(
        (
            name("name", "firstname", "lastname"),
            email("email", "email"),
            phone("phone", "phone"),
            phone("mobile", "mobilephone"),
            address("address", {"line1": "address", **_PLACE}),
            text("job_title", "jobtitle"),
            text("company_name", "company"),
            date("birth_date", "date_of_birth"),
            text("website", "website"),
        )
    ),
    unique=("email",),
    external_ids=True,
    read_batch=PAGE,
    write_batch=PAGE,
    links=("company",),
    webhook_events=_events("contact"),
)
COMPANIES: Final = ObjectSpec(
    entity="company",
    object="companies",
    fields=FieldMap(
        (
            text("legal_name", "name"),
            text("domain", "domain"),
            phone("phone", "phone"),
            address("address", {"line1": "address", "line2": "address2", **_PLACE}),
            text("industry", "industry"),
            text("website", "website"),
        )
    ),
    external_ids=True,
    read_batch=PAGE,
    write_batch=PAGE,
    webhook_events=_events("company"),
)


_PROPERTY: Final = {
    "name": EXTERNAL_ID,
    "label": "synchub id",
    "groupName": GROUP,
    "type": "string",
    "fieldType": "text",
    "hasUniqueValue": True,
    "formField": False,
    "description": "Set by synchub when it creates a record; do not edit.",
}

# -- the cursor of changes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Position(Cursor):
    """Where `changes` stands. Times are HubSpot's, in milliseconds.

    First the records modified since `since`, in the order of their ids, `last` being the last one
    seen and `until` the frozen end of the window (0: not frozen yet). Then, when `due` has come
    and `sweeping` is set, the archived records, of which those archived since `archived` are news.
    """

    since: int
    archived: int
    until: int = 0
    last: int = 0
    due: int = 0
    sweeping: bool = False
    after: str = ""
    began: int = 0
    pages: int = 0


def _filter(key: str, operator: str, value: int) -> dict[str, str]:
    return {"propertyName": key, "operator": operator, "value": str(value)}


def _query(spec: ObjectSpec, at: _Position) -> Json:
    key = MODIFIED[spec.object]
    filters = [_filter(key, "GTE", at.since), _filter("hs_object_id", "GT", at.last)]
    if at.until:
        filters.append(_filter(key, "LTE", at.until))
    return {
        "filterGroups": [{"filters": filters}],
        "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
        "properties": ["hs_object_id"],
        "limit": PAGE,
    }


def _after_search(at: _Position, now: int, last: int, *, more: bool) -> _Position:
    until = at.until or now
    if more:
        return replace(at, until=until, last=last)
    return replace(at, since=until - OVERLAP_MS, until=0, last=0, sweeping=now >= at.due)


def _after_sweep(at: _Position, now: int, after: str) -> _Position:
    began, pages = at.began or now, at.pages + 1
    if after:
        return replace(at, after=after, began=began, pages=pages)
    rest = now + (pages - 1) * SWEEP_MS
    return _Position(since=at.since, archived=began - OVERLAP_MS, due=rest)


# -- the connector -----------------------------------------------------------------------------


class HubSpot:
    """The HubSpot connector; see the contract for what each method promises."""

    vendor = "hubspot"
    title = "HubSpot"
    objects: tuple[ObjectSpec, ...] = (CONTACTS, COMPANIES)
    limits = Limits(calls=100, per_ms=10_000)
    secret_names: Mapping[str, str] = {
        "access_token": "required: token of a private app",
        "client_secret": "optional: the app's client secret, to accept webhooks",
        "app_id": "optional: for programs that subscribe the app; the hub does not use it",
        "developer_api_key": "optional: likewise",
    }

    def base_url(self, secrets: Mapping[str, str]) -> str:
        """The same address for every account."""
        del secrets
        return "https://api.hubapi.com"

    def authorize(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """A bearer token."""
        return {"Authorization": f"Bearer {secrets['access_token']}"}

    def account(self, api: Api) -> Account:
        """The portal, live unless HubSpot calls it a sandbox or a developer's account."""
        body = body_of(api.get("/account-info/v3/details"), 200)
        own = id_of(body.get("portalId"), "portalId")
        kind = is_a(body.get("accountType"), str, "accountType")
        zone = is_a(body.get("timeZone", "UTC"), str, "timeZone")
        return Account(own, kind not in TEST_ACCOUNTS, f"HubSpot {own}", zone)

    def check(self, api: Api) -> tuple[str, ...]:
        """Properties that are written and missing, or not as they must be; nothing is changed."""
        return tuple(flaw for spec in self.objects for flaw in self._flaws(api, spec))

    def prepare(self, api: Api) -> tuple[str, ...]:
        """Create the property that keeps our id, where it is missing; says what was created."""
        return tuple(made for spec in self.objects for made in self._prepare(api, spec))

    def begin(self, api: Api, spec: ObjectSpec, now_ms: int) -> str:
        """From now, by the earlier of the two clocks, less the overlap."""
        del spec
        now = min(now_ms, api.get("/account-info/v3/details").server_ms)
        return _Position(since=now - OVERLAP_MS, archived=now - OVERLAP_MS).text()

    def listing(self, api: Api, spec: ObjectSpec, cursor: str) -> Page:
        """A page of live records in the order of their ids."""
        reply = self._list(api, spec, cursor, archived=False)
        body = body_of(reply, 200)
        readings, broken = parse(spec, items_of(body.get("results"), "results"), reply)
        after = advance(next_of(body), cursor)
        return Page(tuple(readings), after, not after, tuple(broken))

    def changes(self, api: Api, spec: ObjectSpec, cursor: str, _known: object = None) -> Page:
        """A page of modified records, then of newly archived ones."""
        try:
            at = _Position.of(cursor)
        except Unreadable:
            return Page((), cursor, done=True, expired=True)
        return self._sweep(api, spec, at) if at.sweeping else self._modified(api, spec, at)

    def read(self, api: Api, spec: ObjectSpec, ids: Sequence[str]) -> tuple[Reading, ...]:
        """These records by id; an id that was merged away gives the record it was merged into."""
        readings, broken = self._read(api, spec, ids)
        if broken:
            raise Unreadable(*broken[0])
        return tuple(readings)

    def find(self, api: Api, spec: ObjectSpec, write: Write) -> tuple[Reading, ...]:
        """Records with our id or with the e-mail sent, read directly: the search index lags."""
        mail = write.changes.get("email") if "email" in spec.unique else None
        found = self._by(api, spec, EXTERNAL_ID, write.external_id)
        found += self._by(api, spec, "email", mail) if isinstance(mail, str) and mail else []
        return tuple({r.native_id: r for r in found}.values())

    def write(self, api: Api, spec: ObjectSpec, writes: Sequence[Write]) -> tuple[Answer, ...]:
        """Creates, then updates, then associations, each in batches."""
        rows = {f"{n}-{w.key}": w for n, w in enumerate(writes)}
        creates = [t for t, w in rows.items() if w.op == "create"]
        updates = [t for t, w in rows.items() if w.op == "update" and w.changes]
        answers = {t: Answer("done", w.native_id) for t, w in rows.items()}
        answers |= self._send(api, spec, "create", {t: rows[t] for t in creates})
        answers |= self._send(api, spec, "update", {t: rows[t] for t in updates})
        answers |= self._relink(api, rows)
        return tuple(answers[t] for t in rows)

    def hints(self, inbound: Inbound, secrets: Mapping[str, str]) -> tuple[Hint, ...]:
        """The records that a signed batch of events speaks of."""
        return read_hints(inbound, secrets.get("client_secret", ""))

    # -- reading -------------------------------------------------------------------------------

    def _list(self, api: Api, spec: ObjectSpec, after: str, *, archived: bool) -> Reply:
        params = [("limit", str(PAGE)), ("archived", str(archived).lower())]
        params += [("properties", ",".join(asked(spec)))]
        params += [("associations", "companies")] if spec.links and not archived else []
        params += [("after", after)] if after else []
        return api.get(f"/crm/v3/objects/{spec.object}", params)

    def _modified(self, api: Api, spec: ObjectSpec, at: _Position) -> Page:
        reply = api.search(f"/crm/v3/objects/{spec.object}/search", _query(spec, at))
        body = body_of(reply, 200)
        found = [object_of(item, "record") for item in items_of(body.get("results"), "results")]
        ids = [id_of(item.get("id"), "id") for item in found]
        more = bool(next_of(body))
        last = max(map(int, ids), default=0)
        if any(int(i) <= at.last for i in ids) or (more and not ids):
            raise Unreadable("a search without progress", reply.body)
        readings, broken = self._read(api, spec, ids) if ids else ([], [])
        now = reply.server_ms
        following = _after_search(at, now, last, more=more)
        done = not more and not following.sweeping
        expired = done and now - at.archived > HORIZON_MS
        return Page(tuple(readings), following.text(), done, tuple(broken), expired)

    def _sweep(self, api: Api, spec: ObjectSpec, at: _Position) -> Page:
        reply = self._list(api, spec, at.after, archived=True)
        body = body_of(reply, 200)
        found, broken = parse(spec, items_of(body.get("results"), "results"), reply)
        news = [r for r in found if r.source_ms is None or r.source_ms >= at.archived]
        after = advance(next_of(body), at.after)
        now = reply.server_ms
        expired = not after and now - at.archived > HORIZON_MS
        following = _after_sweep(at, now, after)
        return Page(tuple(news), following.text(), not after, tuple(broken), expired)

    def _batch(
        self, api: Api, spec: ObjectSpec, ids: Iterable[str], query: str = "", key: str = ""
    ) -> tuple[list[Reading], list[Broken], Reply]:
        """One batch read; ids that are not found are simply not in the answer."""
        inputs = [{"id": i} for i in ids]
        past = spec.fields.app_names if len(inputs) <= WITH_HISTORY else ()
        wanted = {"inputs": inputs, "properties": asked(spec), "propertiesWithHistory": past}
        request = {**wanted, **({"idProperty": key} if key else {})}
        reply = api.search(f"/crm/v3/objects/{spec.object}/batch/read{query}", request)
        found = items_of(body_of(reply, 200, 207).get("results"), "results")
        return (*parse(spec, found, reply), reply)

    def _by(self, api: Api, spec: ObjectSpec, key: str, value: str) -> list[Reading]:
        readings, broken, _ = self._batch(api, spec, [value], key=key)
        if broken:
            raise Unreadable(*broken[0])
        return readings

    def _read(
        self, api: Api, spec: ObjectSpec, ids: Sequence[str]
    ) -> tuple[list[Reading], list[Broken]]:
        """Live ones, then archived ones, then each that is still missing by itself."""
        wanted = tuple(dict.fromkeys(ids))
        found, broken, _ = self._batch(api, spec, wanted)
        live = self._linked(api, spec, found)
        missing = [i for i in wanted if i not in knows(live) | named(broken)]
        if not missing:
            return live, broken
        archived, more, _ = self._batch(api, spec, missing, "?archived=true")
        broken += more
        left = [i for i in missing if i not in knows(archived) | named(broken)]
        alone = [self._one(api, spec, i, broken) for i in left]
        every = [*filter(None, alone), *archived, *live]
        return list({(r.native_id, r.state): r for r in every}.values()), broken

    def _one(
        self, api: Api, spec: ObjectSpec, native_id: str, broken: list[Broken]
    ) -> Reading | None:
        """An id that batches do not know: merged away, or gone for good."""
        params = [("properties", ",".join(asked(spec)))]
        params += [("propertiesWithHistory", ",".join(spec.fields.app_names))]
        params += [("associations", "companies")] if spec.links else []
        reply = api.get(f"/crm/v3/objects/{spec.object}/{native_id}", params)
        if reply.status == codes.NOT_FOUND:
            return gone(spec, native_id, reply)
        readings, more = parse(spec, [body_of(reply, 200)], reply)
        broken += more
        if not readings:
            return None
        (found,) = readings
        aliases = tuple(dict.fromkeys([*found.aliases, native_id]))
        return found if found.native_id == native_id else replace(found, aliases=aliases)

    def _linked(self, api: Api, spec: ObjectSpec, readings: list[Reading]) -> list[Reading]:
        """The same readings with the companies that they are associated with."""
        if not spec.links or not readings:
            return readings
        wanted = {"inputs": [{"id": r.native_id} for r in readings]}
        reply = api.search("/crm/v4/associations/contacts/companies/batch/read", wanted)
        links = links_of(body_of(reply, 200, 207), [r.native_id for r in readings])
        return [replace(r, links=links.get(r.native_id, {}), end_ms=reply.end_ms) for r in readings]

    # -- writing -------------------------------------------------------------------------------

    def _send(self, api: Api, spec: ObjectSpec, op: str, rows: Rows) -> dict[str, Answer]:
        """One batch; refused as a whole, it is halved, which is safe: nothing was applied."""
        if not rows:
            return {}
        request = {"inputs": [input_of(trace, write) for trace, write in rows.items()]}
        try:
            reply = api.send("POST", f"/crm/v3/objects/{spec.object}/batch/{op}", json=request)
            if reply.status in (400, 404, 409):
                return self._refused(api, spec, op, rows, refusal(reply))
            return settled(spec, reply, rows)
        except (Unavailable, Denied, Unreadable) as error:
            return dict.fromkeys(rows, failed(error))

    def _refused(
        self, api: Api, spec: ObjectSpec, op: str, rows: Rows, error: Item
    ) -> dict[str, Answer]:
        if len(rows) == 1 or hopeless(error, rows):
            return dict.fromkeys(rows, refused(error))
        left, right = halves(list(rows))
        first = self._send(api, spec, op, {t: rows[t] for t in left})
        return first | self._send(api, spec, op, {t: rows[t] for t in right})

    def _relink(self, api: Api, rows: Rows) -> dict[str, Answer]:
        """The answers of the associations that could not be made or ended."""
        add = [(t, w.native_id, w.link[1]) for t, w in rows.items() if w.link]
        remove = [(t, w.native_id, w.unlink[1]) for t, w in rows.items() if w.unlink]
        faults = self._associate(api, "batch/associate/default", add, pair_input)
        return faults | self._associate(api, "batch/archive", remove, pairs_input)

    def _associate(
        self, api: Api, verb: str, pairs: Sequence[Pair], shape: Callable[[Pair], Json]
    ) -> dict[str, Answer]:
        """The answers of the pairs that could not be associated or parted."""
        if not pairs:
            return {}
        request = {"inputs": [shape(pair) for pair in pairs]}
        try:
            reply = api.send(
                "POST", f"/crm/v4/associations/contacts/companies/{verb}", json=request
            )
            if reply.status not in (400, 404):
                return unlinked(reply, pairs)
        except (Unavailable, Denied, Unreadable) as error:
            return dict.fromkeys((trace for trace, _, _ in pairs), failed(error))
        if len(pairs) == 1:
            return {pairs[0][0]: refused(refusal(reply))}
        left, right = halves(pairs)
        return self._associate(api, verb, left, shape) | self._associate(api, verb, right, shape)

    # -- the property that keeps our id --------------------------------------------------------

    def _flaws(self, api: Api, spec: ObjectSpec) -> list[str]:
        body = body_of(api.get(f"/crm/v3/properties/{spec.object}"), 200)
        found = [object_of(p, "property") for p in items_of(body.get("results"), "results")]
        known = {str(p.get("name")): p for p in found}
        flaws = [
            f"{spec.object}: property {n} does not exist: add it, else it cannot be written"
            for n in spec.fields.app_names
            if n not in known
        ]
        if EXTERNAL_ID not in known:
            flaws.append(f"{spec.object}: property {EXTERNAL_ID}: apply makes it")
        elif known[EXTERNAL_ID].get("hasUniqueValue") is not True:
            flaws.append(
                f"{spec.object}: property {EXTERNAL_ID} must have unique values; "
                "archive it, and apply makes it anew"
            )
        return flaws

    def _prepare(self, api: Api, spec: ObjectSpec) -> list[str]:
        path = f"/crm/v3/properties/{spec.object}"
        if api.get(f"{path}/{EXTERNAL_ID}").status == codes.OK:
            return []
        if api.get(f"{path}/groups/{GROUP}").status != codes.OK:
            group = {"name": GROUP, "label": "synchub", "displayOrder": -1}
            body_of(api.send("POST", f"{path}/groups", json=group), 200, 201, 409)
        body_of(api.send("POST", path, json=_PROPERTY), 200, 201, 409)
        return [f"{spec.object}: property {EXTERNAL_ID}"]


CONNECTOR: Final = HubSpot()
