"""Mailchimp: the members of one list (audience) are persons.

A member is known by its `contact_id`: the hash of the address, by which Mailchimp names it too,
changes with the address, and an address may be somebody else's tomorrow. Mailchimp has no batch
that reads members by id, and its batch that writes them names them by address, so creates go out
together and updates one by one, by id.

Consent only ever narrows from here: who is created without a recorded refusal may be written to
about business only (`transactional`), a refusal is written as `unsubscribed`, and no other write
names a status at all. Nobody is subscribed by the hub; Mailchimp itself would refuse it for those
who once left.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from httpx import codes

from connectors._kit.answers import Item, body_of, failed, gone, items_of, object_of, one_by_one
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
from connectors._kit.fieldmap import (
    App,
    BadValue,
    Field,
    FieldMap,
    Value,
    address,
    category,
    elements,
    email,
    name,
    phone,
    text,
)
from connectors.mailchimp import walk
from connectors.mailchimp.answers import (
    ADDRESS,
    EXTERNAL_ID,
    MERGE,
    OBJECT,
    PARTS,
    PLACES,
    hash_of,
    id_of,
    members,
    reading_of,
    refused,
    refused_row,
    second_of,
    tags_of,
    text_in,
)
from connectors.mailchimp.walk import Stamp, Walk
from connectors.mailchimp.webhooks import EVENTS, read_hints

LIST_PAGE: Final = 500
CHANGES_PAGE: Final = 200
NEWEST: Final = 1_000
TAGS_MOST: Final = 1_000
OPTIONAL: Final = "line2"
MARKETING: Final = "email.marketing"
OUT: Final = ("unsubscribed", "cleaned")
NO_FACT: Final = ("transactional", "pending", "archived")
ASKED: Final = (
    "contact_id", "id", "email_address", "status", "merge_fields", "language", "tags", "tags_count",
    "timestamp_signup", "ip_signup", "timestamp_opt", "ip_opt", "last_changed",
)  # fmt: skip
# Mailchimp's codes; where it writes a country it uses "_", as in pt_PT.
_CODES: Final = """
ar af be bg ca zh hr cs da nl en et fa fi fr fr_CA de el he hi hu is id ga it ja km ko lv lt ms mt
mk no pl pt pt_PT ro ru sr sk sl es es_ES sw sv ta th tr uk vi
"""
LANGUAGES: Final = tuple(_CODES.split())


# -- the fields --------------------------------------------------------------------------------


def whole_address() -> Field:
    """An address of which Mailchimp holds everything but the second line, or nothing at all."""
    loose = address("address", {ours: PLACES[theirs] for ours, theirs in PARTS.items()})

    def give(value: Value) -> App:
        return loose.give(value if complete(value) else None)

    return replace(loose, give=give, lossless=False)


def complete(value: Value) -> bool:
    """Whether an address has every part that Mailchimp asks for."""
    return isinstance(value, Mapping) and all(
        str(value.get(part) or "").strip() for part in PARTS if part != OPTIONAL
    )


def consent() -> Field:
    """Consent to marketing mails: a refusal, or "subscribed", with its proof where there is one."""

    def take(app: App) -> Any:
        status = app["status"]
        if status in OUT:
            return {MARKETING: "out"}
        if status == "subscribed":
            proof = app.get("opt_in")
            return {MARKETING: {"state": "in", **(proof if isinstance(proof, dict) else {})}}
        if status not in NO_FACT:
            raise BadValue(f"status: {str(status)[:40]!r} is none of Mailchimp's words")
        return {MARKETING: None}

    def give(value: Value) -> App:
        word = value.get(MARKETING) if isinstance(value, Mapping) else None
        return {"status": "unsubscribed" if word == "out" else "subscribed"} if word else {}

    return Field(
        "consent",
        "consent",
        ("status", "opt_in"),
        take,
        give,
        lossless=False,
        room=lambda key: key == MARKETING,
    )


MEMBERS: Final = ObjectSpec(
    entity="person",
    object=OBJECT,
    fields=FieldMap(
        (
            name("name", "FNAME", "LNAME"),
            email("email", "email_address"),
            phone("phone", "PHONE"),
            whole_address(),
            text("company_name", "COMPANY"),
            category("language", "language", words={c: c.replace("_", "-") for c in LANGUAGES}),
            elements("tags", "tags"),
            consent(),
        )
    ),
    unique=("email",),
    required=("email",),
    external_ids=True,
    read_batch=1,
    write_batch=50,
    webhook_events=EVENTS,
)


# -- writing -----------------------------------------------------------------------------------


def local_refusal(write: Write) -> Answer | None:
    """What Mailchimp is not even asked for."""
    if strange := [n for n in write.changes if n not in MEMBERS.fields.app_names]:
        return Answer("rejected", why=f"{strange[0]} is no field of a member", fields=(strange[0],))
    if write.changes.get("status") not in (None, "unsubscribed"):
        why = "only the person can subscribe again, through Mailchimp's own form"
        return Answer("rejected", why=why, fields=("status",))
    wanted = write.op == "create" or "email_address" in write.changes
    if wanted and not str(write.changes.get("email_address") or "").strip():
        why = "a member of a Mailchimp list is not without an e-mail address"
        return Answer("rejected", why=why, fields=("email_address",))
    return None


def merge_fields(changes: Mapping[str, Json], held: Mapping[str, Json]) -> Item:
    """Merge fields as Mailchimp takes them: "" clears, and an address goes as a whole."""
    found: Item = {tag: changes[tag] or "" for tag in MERGE if tag in changes}
    if any(place in changes for place in PLACES.values()):
        now = {part: changes.get(n, held.get(n)) or "" for part, n in PLACES.items()}
        found[ADDRESS] = now if any(now.values()) else ""
    return found


def body(changes: Mapping[str, Json], held: Mapping[str, Json]) -> Item:
    """The body of an update; {} where there is nothing in it."""
    plain = {n: changes[n] or "" for n in ("email_address", "language", "status") if n in changes}
    merge = merge_fields(changes, held)
    return {**plain, **({"merge_fields": merge} if merge else {})}


def row(write: Write) -> Item:
    """One row of a batch of creates: what is empty is left out, our id goes with it."""
    made = body({n: v for n, v in write.changes.items() if v and n != "status"}, {})
    merge = {**made.get("merge_fields", {}), EXTERNAL_ID: write.external_id}
    tags = write.changes.get("tags")
    return {
        **made,
        "status": write.changes.get("status") or "transactional",
        "merge_fields": merge,
        **({"tags": tags} if tags else {}),
    }


def retagged(changes: Mapping[str, Json], held: Mapping[str, Json]) -> list[Item]:
    """The tags to add and to remove, and none of the others."""
    if "tags" not in changes:
        return []
    wanted, now = _texts(changes["tags"]), _texts(held.get("tags"))
    return [
        *({"name": tag, "status": "active"} for tag in wanted if tag not in now),
        *({"name": tag, "status": "inactive"} for tag in now if tag not in wanted),
    ]


def _texts(found: object) -> list[str]:
    return [str(f) for f in found] if isinstance(found, list | tuple) else []


def enough(write: Write) -> bool:
    """Whether the write says all that is needed of what the member held before."""
    places = [n for n in PLACES.values() if n in write.changes]
    parted = places and len(places) < len(PLACES)
    wanted = [*(PLACES.values() if parted else ()), *(("tags",) if "tags" in write.changes else ())]
    return all(n in write.before or (parted and n in places) for n in wanted)


# -- the connector -----------------------------------------------------------------------------


class Mailchimp:
    """The connector; see the module, and the contract for what each method promises."""

    vendor = "mailchimp"
    title = "Mailchimp"
    objects = (MEMBERS,)
    # Ten connections at once, shared by all apps of a user; there is no limit of calls.
    limits = Limits(calls=10, per_ms=1_000, connections=4, bare_403=True)
    secret_names: Mapping[str, str] = {
        "api_key": "required: an API key, which ends in its data centre, like -us1",
        "list_id": "optional: the audience to work in, where the account has several",
        "webhook_secret": "optional: the signing secret of the webhook",
        "url_secret": "optional: for a webhook without signature, the `secret` in its address",
    }

    def base_url(self, secrets: Mapping[str, str]) -> str:
        """The address of the key's data centre; raises ValueError where the key names none."""
        centre = secrets["api_key"].rpartition("-")[2]
        if not re.fullmatch(r"[a-z]{2}[0-9]+", centre):
            raise ValueError("an api_key of Mailchimp ends in its data centre, like -us1")
        return f"https://{centre}.api.mailchimp.com"

    def authorize(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """Basic; the user name does not matter."""
        pair = base64.b64encode(f"synchub:{secrets['api_key']}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def account(self, api: Api) -> Account:
        """The account and the list in it: another list is other data.

        Mailchimp has no test accounts. A key of no data centre of theirs is of no live one.
        """
        found = body_of(api.get("/3.0/"), "the account")
        own = f"{id_of(found, 'account_id')}/{list_of(api)}"
        live = re.search(r"-[a-z]{2}[0-9]+$", api.secrets.get("api_key", "")) is not None
        zone = text_in(found, "account_timezone") or "UTC"
        return Account(own, live, text_in(found, "account_name"), zone)

    def check(self, api: Api) -> tuple[str, ...]:
        """Merge fields that are written and that the list does not have."""
        known = self._merge_tags(api)
        lacks = tuple(
            f"merge field {tag} does not exist: add it, else it cannot be written"
            for tag in (*MERGE, ADDRESS)
            if tag not in known
        )
        ours = () if EXTERNAL_ID in known else (f"merge field {EXTERNAL_ID}: apply makes it",)
        return (*lacks, *ours)

    def prepare(self, api: Api) -> tuple[str, ...]:
        """Create the merge field that keeps our id, where it is missing."""
        if EXTERNAL_ID in self._merge_tags(api):
            return ()
        new = {"tag": EXTERNAL_ID, "name": "synchub id", "type": "text", "public": False}
        path = f"{place_of(api)}/merge-fields"
        body_of(api.send("POST", path, json=new), "the merge field for our id")
        return (f"merge field {EXTERNAL_ID}",)

    def _merge_tags(self, api: Api) -> set[object]:
        path = f"{place_of(api)}/merge-fields"
        found = body_of(api.get(path, [("count", "1000")]), "merge fields")
        every = [object_of(f, "a field") for f in items_of(found.get("merge_fields"), "fields")]
        return {f.get("tag") for f in every}

    def begin(self, api: Api, _spec: ObjectSpec, now_ms: int) -> str:
        """From now, by the earlier of the two clocks, less the overlap."""
        reply = api.get(place_of(api), [("fields", "id")])
        body_of(reply, "the list")
        return walk.begun(min(now_ms, reply.server_ms) // 1000).text()

    def listing(self, api: Api, _spec: ObjectSpec, cursor: str) -> Page:
        """Members in the order of their last change; who is edited meanwhile comes at the end."""
        step = self._step(api, walk.walk_of(cursor), LIST_PAGE, [])
        live = tuple(r for r in step.page.readings if r.state == "live")
        return replace(step.page, readings=live, cursor=step.walk.text())

    def changes(self, api: Api, _spec: ObjectSpec, cursor: str, _known: object = None) -> Page:
        """Members changed since, then those archived, who are not in the list of the others."""
        at = walk.round_of(cursor)
        which = [("status", "archived")] if at.archived else []
        step = self._step(api, at.walk, CHANGES_PAGE, which)
        at = replace(at, until=at.until or step.server_s, walk=step.walk)
        following = at.next() if step.page.done else at
        done = step.page.done and at.archived
        return replace(step.page, cursor=following.text(), done=done)

    def read(self, api: Api, _spec: ObjectSpec, ids: Sequence[str]) -> tuple[Reading, ...]:
        """One call each; an id is a contact id, or the hash of an address that a webhook named."""
        if not ids:
            return ()
        place = place_of(api)
        return tuple(self._read_one(api, place, own) for own in ids)

    def find(self, api: Api, _spec: ObjectSpec, write: Write) -> tuple[Reading, ...]:
        """By the address, which is unique in a list, then among the newest: never by search."""
        place, mail = place_of(api), str(write.changes.get("email_address") or "")
        found = [self._read_one(api, place, hash_of(mail))] if mail else []
        ours = [replace(r, asked="") for r in found if r.external_id == write.external_id]
        return tuple(ours) or tuple(
            r for r in self._newest(api, place, NEWEST) if r.external_id == write.external_id
        )

    def write(self, api: Api, _spec: ObjectSpec, writes: Sequence[Write]) -> tuple[Answer, ...]:
        """Creates in one batch, then updates one by one."""
        try:
            place = place_of(api)
        except (Unavailable, Denied, Unreadable) as error:
            return tuple(failed(error, sent=False) for _ in writes)
        answers = {n: a for n, w in enumerate(writes) if (a := local_refusal(w))}
        left = {n: w for n, w in enumerate(writes) if n not in answers}
        answers |= self._create(api, place, {n: w for n, w in left.items() if w.op == "create"})
        updates = {n: w for n, w in left.items() if w.op == "update"}
        answers |= one_by_one(updates, lambda w: self._update(api, place, w))
        return tuple(answers[n] for n in range(len(writes)))

    def hints(self, inbound: Inbound, secrets: Mapping[str, str]) -> tuple[Hint, ...]:
        """The member whose address a webhook names."""
        return read_hints(inbound, secrets)

    # -- reading -------------------------------------------------------------------------------

    def _step(self, api: Api, at: Walk, size: int, which: Params) -> Step:
        """One page of a walk, and where it leads. At a seam that does not fit nothing is read."""
        place = place_of(api)
        reply, items = self._list(api, place, [*at.params, *which, ("count", str(size))])
        second, stamps = reply.server_ms // 1000, list(stamps_of(items))
        if not at.fits(stamps):
            return Step(Page((), "", done=False), at.again(), second)
        full = len(items) >= size
        fresh = [i for i in items if not (isinstance(i, dict) and i.get("contact_id") in at.tail)]
        readings, broken = members(self._with_tags(api, place, fresh), reply)
        page = Page(readings, "", not full, broken)
        return Step(page, at.past(stamps, len(items)) if full else at, second)

    def _list(self, api: Api, place: str, params: Params) -> tuple[Reply, list[Any]]:
        fields = ",".join(["total_items", *(f"members.{n}" for n in ASKED)])
        reply = api.get(f"{place}/members", [*params, ("fields", fields)])
        return reply, items_of(body_of(reply, "members").get("members"), "members")

    def _with_tags(self, api: Api, place: str, items: Iterable[Any]) -> list[Any]:
        return [self._all_tags(api, place, i) if lacks_tags(i) else i for i in items]

    def _all_tags(self, api: Api, place: str, item: Item) -> Item:
        """A member with all of its tags: only fifty are shown with it."""
        path = f"{place}/members/{quote(id_of(item, 'contact_id'), safe='')}/tags"
        found = body_of(api.get(path, [("count", str(TAGS_MOST))]), "tags")
        return {**item, "tags": [{"name": tag} for tag in tags_of(found)]}

    def _read_one(self, api: Api, place: str, own: str) -> Reading:
        path = f"{place}/members/{quote(own, safe='')}"
        reply = api.get(path, [("fields", ",".join(ASKED))])
        if reply.status == codes.NOT_FOUND:
            return gone(MEMBERS, own, reply)
        item = body_of(reply, "a member")
        whole = self._all_tags(api, place, item) if lacks_tags(item) else item
        found = reading_of(whole, reply)
        return found if found.native_id == own else replace(found, asked=own)

    def _newest(self, api: Api, place: str, count: int) -> tuple[Reading, ...]:
        """Those who were changed last."""
        order = [("sort_field", "last_changed"), ("sort_dir", "DESC"), ("count", str(count))]
        reply, items = self._list(api, place, order)
        return members(self._with_tags(api, place, items), reply)[0]

    # -- writing -------------------------------------------------------------------------------

    def _create(self, api: Api, place: str, rows: Mapping[int, Write]) -> dict[int, Answer]:
        """One batch; of two rows with one address the second waits for the next batch."""
        by_hash: dict[str, int] = {}
        for n, write in rows.items():
            by_hash.setdefault(hash_of(str(write.changes["email_address"])), n)
        later = Answer("retry", why="another record with this address is being created")
        answers = {n: later for n in rows if n not in by_hash.values()}
        return answers | self._send(api, place, {h: rows[n] for h, n in by_hash.items()}, by_hash)

    def _send(
        self, api: Api, place: str, rows: Mapping[str, Write], numbers: Mapping[str, int]
    ) -> dict[int, Answer]:
        if not rows:
            return {}
        request = {"members": [row(w) for w in rows.values()], "update_existing": False}
        try:
            reply = api.send("POST", f"{place}?skip_merge_validation=true", json=request)
        except (Unavailable, Denied, Unreadable) as error:
            return {numbers[h]: failed(error) for h in rows}
        try:
            answers = self._halved(api, place, rows, reply)
        except (Unavailable, Denied, Unreadable) as error:  # of a read; the batch is applied
            answers = dict.fromkeys(rows, Answer("unknown", why=str(error)))
        return {numbers[h]: a for h, a in answers.items()}

    def _halved(
        self, api: Api, place: str, rows: Mapping[str, Write], reply: Reply
    ) -> dict[str, Answer]:
        """The answers of a batch; one that was refused as a whole was not applied: by halves."""
        if reply.status < codes.BAD_REQUEST:
            return self._settled(api, place, rows, reply)
        if len(rows) == 1:
            return {h: refused(reply, w) for h, w in rows.items()}
        numbers = {h: n for n, h in enumerate(rows)}
        names, middle = list(rows), len(rows) // 2
        found: dict[int, Answer] = {}
        for part in (names[:middle], names[middle:]):
            found |= self._send(api, place, {h: rows[h] for h in part}, numbers)
        return {h: found[n] for h, n in numbers.items()}

    def _settled(
        self, api: Api, place: str, rows: Mapping[str, Write], reply: Reply
    ) -> dict[str, Answer]:
        """Each row's own answer, found by its address; a row without one is unknown."""
        found = body_of(reply, "a batch")
        errors = by_address(found, "errors")
        new = by_address(found, "new_members")
        made = {h: rows[h] for h in new if h in rows and h not in errors}
        silent = Answer("unknown", why="Mailchimp's answer does not mention this member")
        lost = Answer("unknown", why="made, and not found again")
        ids = self._ids(api, place, made)
        return {
            **dict.fromkeys(rows, silent),
            **{h: refused_row(e, rows[h]) for h, e in errors.items() if h in rows},
            **dict.fromkeys(made, lost),
            **{h: Answer("done", i, row_of(new[h], i, reply)) for h, i in ids.items()},
        }

    def _ids(self, api: Api, place: str, rows: Mapping[str, Write]) -> dict[str, str]:
        """The contact ids of new members, which a batch's answer does not have.

        Nothing else is believed of what is read for them: a person may have been there since.
        """
        if not rows:
            return {}
        ours = {w.external_id: h for h, w in rows.items()}
        newest = self._newest(api, place, min(NEWEST, 2 * len(rows) + 10))
        found = {ours[r.external_id]: r for r in newest if r.external_id in ours}
        found |= {h: self._read_one(api, place, h) for h in rows if h not in found}
        return {h: r.native_id for h, r in found.items() if r.external_id == rows[h].external_id}

    def _update(self, api: Api, place: str, write: Write) -> Answer:
        """One member: profile and refusal in one call, tags in one of their own."""
        path = f"{place}/members/{quote(write.native_id, safe='')}"
        try:
            held = write.before if enough(write) else self._held(api, place, write.native_id)
        except (Unavailable, Denied, Unreadable) as error:
            return failed(error, sent=False)
        if held is None:
            return Answer("stale", why="there is no such member")
        wanted, tags = body(write.changes, held), retagged(write.changes, held)
        answer = self._patch(api, path, write, wanted)
        if answer.outcome != "done" or not tags:
            return answer
        return self._retag(api, path, answer, write, tags)

    def _held(self, api: Api, place: str, own: str) -> Mapping[str, Json] | None:
        found = self._read_one(api, place, own)
        return found.app if found.state == "live" else None

    def _patch(self, api: Api, path: str, write: Write, wanted: Item) -> Answer:
        if not wanted:
            return Answer("done", write.native_id)
        try:
            reply = api.send("PATCH", f"{path}?skip_merge_validation=true", json=wanted)
            if reply.status >= codes.BAD_REQUEST:
                return refused(reply, write)
            found = reading_of(body_of(reply, "a member"), reply)
        except (Unavailable, Denied, Unreadable) as error:
            return failed(error)
        if found.state != "live":
            return Answer("stale", found.native_id, why="the member was archived")
        return Answer("done", found.native_id, shown(found, write))

    def _retag(
        self, api: Api, path: str, answer: Answer, write: Write, tags: Sequence[Item]
    ) -> Answer:
        """Tags, after the rest. The rest being applied, a failure here is never `unknown`.

        That word means all or nothing; all of this may be done again without harm.
        """
        try:
            request = {"tags": list(tags), "is_syncing": True}
            reply = api.send("POST", f"{path}/tags", json=request)
        except (Unavailable, Unreadable, Denied) as error:
            return failed(error, sent=len(write.changes) == 1)
        if reply.status >= codes.BAD_REQUEST:
            told = refused(reply, write)
            return told if told.outcome == "stale" else replace(told, fields=("tags",))
        if answer.reading is None:
            return answer
        return replace(answer, reading=replace(answer.reading, end_ms=reply.end_ms))


Params = Sequence[tuple[str, str]]


class Step:
    """A page of a walk, where the walk stands after it, and Mailchimp's clock (s)."""

    def __init__(self, page: Page, at: Walk, server_s: int) -> None:
        self.page, self.walk, self.server_s = page, at, server_s


def shown(found: Reading, write: Write) -> Reading:
    """The answer to a write: a merge field that the list does not have is shown as empty.

    Tags that follow in a call of their own are not covered by it, nor are more than are shown.
    """
    missing = {n: None for n in write.changes if n not in found.app}
    kept = {n: v for n, v in found.app.items() if n != "tags"}
    return replace(found, app={**kept, **missing})


def row_of(item: Item, contact_id: str, reply: Reply) -> Reading:
    """A new member as the batch's answer shows it; tags are only taken where all are shown."""
    found = reading_of({**item, "contact_id": contact_id}, reply)
    kept = {n: v for n, v in found.app.items() if n != "tags"}
    return replace(found, app=kept) if lacks_tags(item) else found


def list_of(api: Api) -> str:
    """The list to work in; raises `Denied` where nobody said which of several."""
    if told := api.secrets.get("list_id"):
        return told
    found = body_of(api.get("/3.0/lists", [("count", "2"), ("fields", "lists.id")]), "lists")
    lists = items_of(found.get("lists"), "lists")
    if len(lists) != 1:
        raise Denied(f"the account has {len(lists) or 'no'} lists: name list_id in the credentials")
    return id_of(object_of(lists[0], "a list"), "id")


def place_of(api: Api) -> str:
    """The path of the list."""
    return f"/3.0/lists/{quote(list_of(api), safe='')}"


def stamps_of(items: Iterable[object]) -> Iterable[Stamp]:
    """Id and second of those members that have them."""
    for item in items:
        try:
            found = object_of(item, "a member")
            yield id_of(found, "contact_id"), second_of(found, "last_changed")
        except Unreadable:
            continue


def lacks_tags(item: object) -> bool:
    """Whether a member has more tags than are shown with it."""
    if not isinstance(item, dict):
        return False
    count, tags = item.get("tags_count"), item.get("tags")
    return isinstance(count, int) and isinstance(tags, list) and count > len(tags)


def by_address(found: Item, part: str) -> dict[str, Item]:
    """The rows of one part of a batch's answer, by the hash of their address."""
    rows = [object_of(r, part) for r in items_of(found.get(part), part)]
    return {hash_of(text_in(r, "email_address")): r for r in rows}


CONNECTOR: Final = Mailchimp()
