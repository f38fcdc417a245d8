"""Zendesk: end-users are persons, organizations are companies.

Changes of users come from the cursor export, which has no seam; those of organizations from the
time export, whose pages repeat the items of their last second and stand still where one second
fills a page. Neither shows the last minute, so a webhook is what makes a change arrive sooner.

One write is one call, many are one background job whose rows are settled by reading them back.
An e-mail address is an identity of its own and is written as one: a user's `email` only adds a
second address. Whoever works in Zendesk is no customer and is never written.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit

from httpx import codes

from connectors._kit.answers import (
    Broken,
    Item,
    attempt,
    failed,
    gone,
    is_a,
    items_of,
    object_of,
    one_by_one,
    text_of,
)
from connectors._kit.contract import (
    Account,
    Answer,
    Api,
    Denied,
    Hint,
    Inbound,
    Limits,
    ObjectSpec,
    Page,
    Reading,
    Reply,
    Unavailable,
    Unreadable,
    Write,
    read_back,
)
from connectors._kit.cursors import Cursor
from connectors._kit.fieldmap import (
    App,
    BadValue,
    Field,
    FieldMap,
    Value,
    date,
    elements,
    email,
    full_name,
    phone,
    text,
)
from connectors.zendesk.answers import (
    CUSTOMER,
    Links,
    body_of,
    fingerprint,
    id_of,
    new_record,
    next_of,
    parse,
    record_of,
    refusals,
    refused,
    settled,
)
from connectors.zendesk.webhooks import ORGANIZATION_EVENTS, USER_EVENTS, events_of, read_hints

PAGE: Final = 100
LARGEST_PAGE: Final = 1_000
EMIT_MOST: Final = 200
LAG_S: Final = 60  # what an export does not show yet
POLL_MS: Final = 15_000  # both exports together stay below ten calls a minute
JOB_PAUSES_MS: Final = (200, 300, 500, 1_000, 2_000, 3_000, 5_000)
JOB_COSTS: Final = 5  # calls: one to start it, three to ask for it, one to read back
ALONE_MOST: Final = 50  # more updates than that go as a job at once
QUICK_MS: Final = 500  # about what a job takes before it is even begun
MERGES_MOST: Final = 5  # of a merged organization that was merged again, and so on
NAME_LENGTH: Final = 255


def is_tag(word: str) -> bool:
    """Whether Zendesk keeps a tag as it is: it splits at spaces and knows no capitals."""
    return word == word.lower() and not re.search(r"[\s,;]", word)


def main_domain() -> Field:
    """An organization's first domain; the others stay as they are."""

    def take(a: App) -> Value:
        held = a["domain_names"]
        if not isinstance(held, list):
            raise BadValue(f"domain_names: expected a list, got {type(held).__name__}")
        return (str(held[0]).strip() or None) if held else None

    def give(value: Value) -> App:
        word = str(value or "").strip()
        return {"domain_names": [word] if word else []}

    return Field("domain", "text", ("domain_names",), take, give)


USERS: Final = ObjectSpec(
    entity="person",
    object="users",
    fields=FieldMap(
        (
            full_name("name", "name", max_length=NAME_LENGTH),
            email("email", "email"),
            phone("phone", "phone"),
            text("job_title", "user_fields.job_title"),
            date("birth_date", "user_fields.birth_date"),
            text("note", "notes"),
            elements("tags", "tags", room=is_tag),
        )
    ),
    unique=("email",),
    required=("name",),
    external_ids=True,
    changes_lag_ms=LAG_S * 1_000,
    poll_ms=POLL_MS,
    read_batch=PAGE,
    write_batch=PAGE,
    links=("company",),
    webhook_events=events_of("user", USER_EVENTS),
    echoes=True,
    follows_merges=False,
)
ORGANIZATIONS: Final = ObjectSpec(
    entity="company",
    object="organizations",
    fields=FieldMap(
        (
            text("legal_name", "name"),
            phone("phone", "organization_fields.phone"),
            main_domain(),
            elements("tags", "tags", room=is_tag),
        )
    ),
    unique=("legal_name",),
    required=("legal_name",),
    external_ids=True,
    changes_lag_ms=LAG_S * 1_000,
    poll_ms=POLL_MS,
    read_batch=PAGE,
    write_batch=PAGE,
    webhook_events=events_of("organization", ORGANIZATION_EVENTS),
    echoes=True,
    tells_deletions=False,
)
ONE: Final = {"users": "user", "organizations": "organization"}
CUSTOM: Final = {
    "user_fields": {
        "job_title": {"type": "text", "title": "Job title"},
        "birth_date": {"type": "date", "title": "Date of birth"},
    },
    "organization_fields": {"phone": {"type": "text", "title": "Phone"}},
}
MENDED: Final = ("email", "domain_names")  # written with a look at what is there


def _shown(kind: str, key: str) -> str:
    return f"{kind.replace('_', ' ')}: {key}"


# -- the cursor of changes ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Position(Cursor):
    """Where `changes` stands. Times are Zendesk's, in seconds.

    Users: from `start` on, then from the export's own cursor `after`. Organizations: from `start`
    on, without those in `seen`, which is how they were shown already; `size` is the size of the
    page where one second has more than a usual one. Where it has more than any page, everything is
    listed: `walking` from `after` on.
    """

    start: int
    after: str = ""
    seen: tuple[str, ...] = ()
    size: int = PAGE
    walking: bool = False


def position(stored: str) -> Position | None:
    """A cursor of ours, None where the text is anything else."""
    try:
        found = Position.of(stored)
    except Unreadable:
        return None
    return found if found.start >= 0 and 0 < found.size <= LARGEST_PAGE else None


# -- the connector -----------------------------------------------------------------------------


class Zendesk:
    """The Zendesk connector; see the contract for what each method promises."""

    vendor = "zendesk"
    title = "Zendesk"
    objects: tuple[ObjectSpec, ...] = (USERS, ORGANIZATIONS)
    limits = Limits(calls=200, per_ms=60_000)
    secret_names: Mapping[str, str] = {
        "subdomain": "optional: acme for acme.zendesk.com; only a base_url makes up for it",
        "email": "required: the address of an administrator",
        "api_token": "required: an API token",
        "webhook_secret": "optional: the signing secret of the webhook, to accept webhooks",
    }

    def base_url(self, secrets: Mapping[str, str]) -> str:
        """Every account has an address of its own; raises ValueError where it is not known."""
        if not re.fullmatch(r"[A-Za-z0-9-]+", own := secrets.get("subdomain", "")):
            raise ValueError("Zendesk's credentials need a subdomain: acme for acme.zendesk.com")
        return f"https://{own}.zendesk.com"

    def authorize(self, secrets: Mapping[str, str]) -> Mapping[str, str]:
        """An API token, in the name of its owner."""
        pair = f"{secrets['email']}/token:{secrets['api_token']}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    def account(self, api: Api) -> Account:
        """The account by its default brand, which survives a change of its address."""
        settings = self._settings(api)
        brands = object_of(settings.get("brands"), "brands")
        user = object_of(body_of(api.get("/api/v2/users/me"), "users/me").get("user"), "user")
        host = urlsplit(text_of(user.get("url"), "url")).hostname or ""
        subdomain, _, domain = host.partition(".")
        # A vendor's sandbox is named after its account, with the time of its making behind.
        live = domain == "zendesk.com" and not re.search(r"\d{10}$", subdomain)
        local = settings.get("localization")
        zone = local.get("iana_time_zone") if isinstance(local, dict) else None
        own = id_of(brands.get("default_brand_id"), "default_brand_id")
        return Account(own, live, f"Zendesk {host}", str(zone or "UTC"))

    def _settings(self, api: Api) -> Item:
        reply = api.get("/api/v2/account/settings")
        return object_of(body_of(reply, "settings").get("settings"), "settings")

    def check(self, api: Api) -> tuple[str, ...]:
        """Custom fields that are written and that the account does not have."""
        return tuple(f"{_shown(k, key)}: apply makes it" for k, key in self._missing(api))

    def prepare(self, api: Api) -> tuple[str, ...]:
        """Create the custom fields that are written, where they are missing."""
        missing = self._missing(api)
        for kind, key in missing:
            made = {kind.removesuffix("s"): {"key": key, **CUSTOM[kind][key]}}
            body_of(api.send("POST", f"/api/v2/{kind}", json=made), kind)
        return tuple(_shown(kind, key) for kind, key in missing)

    def _missing(self, api: Api) -> list[tuple[str, str]]:
        missing = []
        for kind, fields in CUSTOM.items():
            found = self._every(api, f"/api/v2/{kind}", kind)
            known = {object_of(f, kind).get("key") for f in found}
            missing += [(kind, key) for key in fields if key not in known]
        return missing

    def begin(self, api: Api, spec: ObjectSpec, now_ms: int) -> str:
        """From now, by the earlier of the two clocks, less the minute that no export shows."""
        del spec
        reply = api.get("/api/v2/account/settings")
        now = min(now_ms, reply.server_ms) // 1000
        return Position(max(0, now - LAG_S - 1)).text()

    def listing(self, api: Api, spec: ObjectSpec, cursor: str) -> Page:
        """A page of live records in the order of their ids."""
        params = [("page[size]", str(PAGE)), *([("page[after]", cursor)] if cursor else [])]
        params += [("role", CUSTOMER)] if spec.entity == "person" else []
        reply = api.get(f"/api/v2/{spec.object}", params)
        body = body_of(reply, spec.object)
        found, broken = self._parsed(api, spec, body, reply)
        after = next_of(body, cursor)
        live = tuple(r for r in found if r.state == "live")
        return Page(live, after, not after, broken)

    def changes(self, api: Api, spec: ObjectSpec, cursor: str, _known: object = None) -> Page:
        """A page of what an export shows since the cursor."""
        at = position(cursor)
        if at is None:
            reply = api.get("/api/v2/account/settings")
            fresh = Position(max(0, reply.server_ms // 1000 - LAG_S - 1))
            return Page((), fresh.text(), done=True, expired=True)
        if spec.entity == "person":
            return self._followed(api, spec, at)
        return self._walked(api, spec, at) if at.walking else self._timed(api, spec, at)

    def _followed(self, api: Api, spec: ObjectSpec, at: Position) -> Page:
        """The export with a cursor of its own."""
        where = ("cursor", at.after) if at.after else ("start_time", str(at.start))
        params = [where, ("per_page", str(PAGE))]
        reply = api.get("/api/v2/incremental/users/cursor", params)
        body = body_of(reply, "export")
        found, broken = self._parsed(api, spec, body, reply)
        done = is_a(body.get("end_of_stream"), bool, "end_of_stream")
        after = body.get("after_cursor") or (at.after if done else "")
        if not isinstance(after, str) or (not done and after in ("", at.after)):
            raise Unreadable("an export that makes no progress", reply.body)
        return Page(found, replace(at, after=after).text(), done, broken)

    def _timed(self, api: Api, spec: ObjectSpec, at: Position) -> Page:
        """The export by time, whose pages overlap."""
        params = [("start_time", str(at.start)), ("per_page", str(at.size))]
        reply = api.get("/api/v2/incremental/organizations", params)
        body = body_of(reply, "export")
        items = items_of(body.get("organizations"), "organizations")
        marks = {fingerprint(i): i for i in items}
        fresh = [m for m in marks if m not in at.seen]
        emitted = fresh[:EMIT_MOST]
        found, broken = parse(spec, [marks[m] for m in emitted], reply, {})
        done = is_a(body.get("end_of_stream"), bool, "end_of_stream")
        end = end_of(body, at, empty=not items)
        if len(fresh) > EMIT_MOST:
            following, done = replace(at, seen=(*at.seen, *emitted)), False
        elif end > at.start or done:
            following = Position(end, seen=tuple(marks))
        else:
            following = self._crowded(at, marks, fresh)
        return Page(found, following.text(), done, broken)

    def _crowded(self, at: Position, marks: Iterable[str], fresh: Sequence[str]) -> Position:
        """One second has more than a page: a larger page, or all that there is."""
        page = tuple(marks)
        if at.size < LARGEST_PAGE:
            return replace(at, seen=tuple(dict.fromkeys([*at.seen, *page])), size=LARGEST_PAGE)
        if len(page) < LARGEST_PAGE and not fresh:
            raise Unreadable("an export that makes no progress")
        return Position(at.start, walking=True)

    def _walked(self, api: Api, spec: ObjectSpec, at: Position) -> Page:
        """All organizations, page by page; then the export again, from the next second on."""
        page = self.listing(api, spec, at.after)
        following = Position(at.start + 1) if page.done else replace(at, after=page.cursor)
        return Page(page.readings, following.text(), done=False, broken=page.broken)

    def read(self, api: Api, spec: ObjectSpec, ids: Sequence[str]) -> tuple[Reading, ...]:
        """These records by id; one that is not shown is gone, or merged into another."""
        wanted = tuple(dict.fromkeys(ids))
        if not wanted:
            return ()
        reply, found = self._shown(api, spec, "ids", wanted)
        missing = [i for i in wanted if i not in {r.native_id for r in found}]
        if spec.entity == "person":
            return (*found, *(gone(spec, i, reply) for i in missing))
        known = {r.native_id: r for r in found}
        for old in missing:
            reading = self._survivor(api, spec, old)
            held = known.get(reading.native_id, reading)
            aliases = (*held.aliases, *reading.aliases)
            known[reading.native_id] = replace(held, aliases=tuple(dict.fromkeys(aliases)))
        return tuple(known.values())

    def find(self, api: Api, spec: ObjectSpec, write: Write) -> tuple[Reading, ...]:
        """The record with our id, read directly: the search index lags."""
        return tuple(self._shown(api, spec, "external_ids", [write.external_id])[1])

    def write(self, api: Api, spec: ObjectSpec, writes: Sequence[Write]) -> tuple[Answer, ...]:
        """Several plain creates, or many updates, as a job each, the rest one by one."""
        answers = {n: misnamed(spec, w) for n, w in enumerate(writes)}
        left = {n: w for n, w in enumerate(writes) if answers[n] is None}
        try:
            left |= self._mended(api, spec, left)
        except (Unavailable, Denied, Unreadable) as error:
            unsent = failed(error, sent=False)
            return tuple(answers[n] or unsent for n in range(len(writes)))
        done = self._written(api, spec, left)
        return tuple(answers[n] or done[n] for n in range(len(writes)))

    def hints(self, inbound: Inbound, secrets: Mapping[str, str]) -> tuple[Hint, ...]:
        """The records that a signed event speaks of."""
        return read_hints(inbound, secrets.get("webhook_secret", ""))

    # -- reading -------------------------------------------------------------------------------

    def _parsed(
        self, api: Api, spec: ObjectSpec, body: Item, reply: Reply
    ) -> tuple[tuple[Reading, ...], tuple[Broken, ...]]:
        """The records of an answer, users with their organizations."""
        items = items_of(body.get(spec.object), spec.object)
        return parse(spec, items, reply, self._links(api, spec, items))

    def _links(self, api: Api, spec: ObjectSpec, items: Sequence[object]) -> dict[str, Links]:
        """Organizations by user id, the default one first.

        A user shows only the default one; the others are asked for where the account allows them.
        """
        if not spec.links:
            return {}
        users = [u for u in items if isinstance(u, dict) and is_customer(u)]
        found = {str(u["id"]): u.get("organization_id") for u in users}
        some = [i for i, organization in found.items() if organization is not None]
        links: dict[str, Links] = {i: {"company": ()} for i in found}
        if some and self._several(api):
            return links | {i: {"company": self._memberships(api, i)} for i in some}
        return links | {i: {"company": (id_of(found[i], "organization_id"),)} for i in some}

    def _several(self, api: Api) -> bool:
        """Whether users may be in several organizations here."""
        user = object_of(self._settings(api).get("user"), "user settings")
        return is_a(user.get("multiple_organizations"), bool, "multiple_organizations")

    def _memberships(self, api: Api, user: str) -> tuple[str, ...]:
        """A user's organizations, all of them."""
        path, found = f"/api/v2/users/{user}/organization_memberships", dict[str, bool]()
        for row in self._every(api, path, "organization_memberships"):
            item = object_of(row, "membership")
            own = id_of(item.get("organization_id"), "organization_id")
            found[own] = item.get("default") is True
        return tuple(sorted(found, key=lambda i: (not found[i], int(i))))

    def _every(self, api: Api, path: str, what: str) -> Iterator[object]:
        """All items of a short list; one that is gone meanwhile has none."""
        after = ""
        while True:
            params = [("page[size]", str(PAGE)), *([("page[after]", after)] if after else [])]
            reply = api.get(path, params)
            if reply.status == codes.NOT_FOUND:
                return
            body = body_of(reply, what)
            yield from items_of(body.get(what), what)
            after = next_of(body, after)
            if not after:
                return

    def _shown(
        self, api: Api, spec: ObjectSpec, by: str, wanted: Sequence[str]
    ) -> tuple[Reply, list[Reading]]:
        """The records with these ids or external ids, as many as there are."""
        reply = api.get(f"/api/v2/{spec.object}/show_many", [(by, ",".join(wanted))])
        found, broken = self._parsed(api, spec, body_of(reply, spec.object), reply)
        if broken:
            raise Unreadable(*broken[0])
        return reply, list({r.native_id: r for r in found}.values())

    def _survivor(self, api: Api, spec: ObjectSpec, old: str) -> Reading:
        """The organization into which one was merged; itself, gone, where it was not."""
        reply, winner = self._winner(api, old)
        own = old
        for _ in range(MERGES_MOST):
            if not winner:
                break
            own = winner
            reply, winner = self._winner(api, own)
        found = [] if own == old else self._shown(api, spec, "ids", [own])[1]
        return replace(found[0], aliases=(old,)) if found else gone(spec, old, reply)

    def _winner(self, api: Api, own: str) -> tuple[Reply, str]:
        """Which organization this one was merged into, "" where it was not."""
        reply = api.get(f"/api/v2/organizations/{own}/merges")
        if reply.status >= codes.BAD_REQUEST:
            return reply, ""
        rows = items_of(body_of(reply, "merges").get("organization_merges"), "merges")
        merges = [object_of(row, "merge") for row in rows]
        done = [m for m in merges if m.get("status") == "complete"]
        lost = [m for m in done if str(m.get("loser_id")) == own]
        return reply, id_of(lost[-1].get("winner_id"), "winner_id") if lost else ""

    # -- writing -------------------------------------------------------------------------------

    def _mended(self, api: Api, spec: ObjectSpec, rows: Mapping[int, Write]) -> dict[int, Write]:
        """Updates of a first domain, with those behind it: Zendesk replaces the whole list."""
        some = {n: w for n, w in rows.items() if w.op == "update" and "domain_names" in w.changes}
        if not some:
            return {}
        _, found = self._shown(api, spec, "ids", [w.native_id for w in some.values()])
        held = {r.native_id: r.app.get("domain_names") or [] for r in found}
        made = {}
        for n, write in some.items():
            others = items_of(held.get(write.native_id, []), "domain_names")[1:]
            first = items_of(write.changes["domain_names"], "domain_names")
            whole = [*first, *(d for d in others if d not in first)]
            made[n] = replace(write, changes={**write.changes, "domain_names": whole})
        return made

    def _written(self, api: Api, spec: ObjectSpec, rows: Mapping[int, Write]) -> dict[int, Answer]:
        creates = {n: w for n, w in rows.items() if w.op == "create"}
        updates = {n: w for n, w in rows.items() if w.op == "update" and "email" not in w.changes}
        alone = {n: w for n, w in rows.items() if n not in creates and n not in updates}
        joins = {n: w for n, w in updates.items() if not w.changes}
        updates = {n: w for n, w in updates.items() if w.changes}
        done: dict[int, Answer] = {}
        for some, many in ((creates, self._create_many), (updates, self._update_all)):
            if len(some) > 1:
                done |= many(api, spec, some)
            else:
                alone |= some
        left = {**alone, **joins}
        return done | one_by_one(left, lambda w: self._alone(api, spec, w), done.values())

    def _alone(self, api: Api, spec: ObjectSpec, write: Write) -> Answer:
        if write.op == "update" and not write.changes:
            return self._joined(api, write)
        if write.op == "update" and "email" in write.changes:
            return attempt(lambda: self._with_email(api, spec, write))
        return attempt(lambda: self._sent(api, spec, write))

    def _sent(self, api: Api, spec: ObjectSpec, write: Write) -> Answer:
        method, path, made = "PUT", f"/{write.native_id}", record_of(write.changes)
        if write.op == "create":
            method, path, made = "POST", "", new_record(spec, write)
        key = ONE[spec.object]
        reply = api.send(method, f"/api/v2/{spec.object}{path}", json={key: made})
        return settled(spec, reply, key)

    def _with_email(self, api: Api, spec: ObjectSpec, write: Write) -> Answer:
        """The address first, for that is what may be refused; then the rest.

        Where only the rest is refused, the answer shows what came of each field.
        """
        rest = {k: v for k, v in write.changes.items() if k != "email"}
        answer = self._identity(api, spec, write)
        if answer.outcome != "done":
            return answer
        if rest:
            last = self._alone(api, spec, replace(write, changes=rest))
            if last.outcome == "done":
                return last
            answer = replace(last, outcome="unknown" if last.outcome != "rejected" else "done")
        shown = self._read_back(api, spec, {0: write}).get(0)
        return replace(answer, reading=shown) if shown else replace(answer, outcome="unknown")

    def _identity(self, api: Api, spec: ObjectSpec, write: Write) -> Answer:
        """Make an address the primary one: in the place of the primary one that is there."""
        path = f"/api/v2/users/{write.native_id}/identities"
        try:
            reply = api.get(path, [("page[size]", str(PAGE))])
            if reply.status == codes.NOT_FOUND:
                return Answer("stale", why="no such user")
            held = items_of(body_of(reply, "identities").get("identities"), "identities")
            mails = [i for i in (object_of(h, "identity") for h in held) if is_mail(i)]
        except (Unavailable, Denied, Unreadable) as error:
            return failed(error, sent=False)
        call = identity_call(path, mails, str(write.changes["email"] or "").strip())
        if call is None:
            return Answer("done", write.native_id)
        reply = api.send(call[0], call[1], json=call[2])
        if reply.status < codes.BAD_REQUEST:
            return Answer("done", write.native_id)
        answer = refused(spec, reply)
        return replace(answer, fields=("email",)) if answer.outcome == "rejected" else answer

    def _create_many(
        self, api: Api, spec: ObjectSpec, rows: Mapping[int, Write]
    ) -> dict[int, Answer]:
        """One job; most accounts do not allow it for users, and then a call each."""
        made = {spec.object: [new_record(spec, w) for w in rows.values()]}
        try:
            results = self._job(api, spec, "POST", made)
        except Denied:
            return one_by_one(rows, lambda w: self._alone(api, spec, w))
        except (Unavailable, Unreadable) as error:
            return dict.fromkeys(rows, failed(error))
        return self._settled(api, spec, rows, results)

    def _update_all(
        self, api: Api, spec: ObjectSpec, rows: Mapping[int, Write]
    ) -> dict[int, Answer]:
        """A call each as long as that is cheap or quick; what is left then goes as one job.

        While a job is waited for, more comes to be written, and would be a job again.
        """
        done: dict[int, Answer] = {}
        left = dict(rows)
        while left:
            if not any(a.closed for a in done.values()) and worth_a_job(done, left):
                return done | self._update_many(api, spec, left)
            some = dict(islice(left.items(), JOB_COSTS))
            done |= one_by_one(some, lambda w: self._alone(api, spec, w), done.values())
            left = {n: w for n, w in left.items() if n not in done}
        return done

    def _update_many(
        self, api: Api, spec: ObjectSpec, rows: Mapping[int, Write]
    ) -> dict[int, Answer]:
        """One job for updates that differ from each other."""
        some = [{"id": int(w.native_id), **record_of(w.changes)} for w in rows.values()]
        try:
            results = self._job(api, spec, "PUT", {spec.object: some})
        except (Unavailable, Denied, Unreadable) as error:
            return dict.fromkeys(rows, failed(error))
        return self._settled(api, spec, rows, results)

    def _job(self, api: Api, spec: ObjectSpec, method: str, made: Item) -> list[Any] | Answer:
        """Start a job and wait for its results; raises `Unavailable` where they take too long."""
        act = "create_many" if method == "POST" else "update_many"
        reply = api.send(method, f"/api/v2/{spec.object}/{act}", json=made)
        if reply.status >= codes.BAD_REQUEST:
            return refused(spec, reply)
        try:
            job = object_of(body_of(reply, "job").get("job_status"), "job_status")
            own = text_of(job.get("id"), "job id")
            for pause in (0, *JOB_PAUSES_MS):
                api.pause(pause)
                body = body_of(api.get(f"/api/v2/job_statuses/{own}"), "job")
                job = object_of(body.get("job_status"), "job_status")
                if job.get("status") in ("completed", "failed", "killed"):
                    return items_of(job.get("results") or [], "results")
        except Denied as error:
            raise Unreadable(f"a job that may not be seen: {error}") from error
        except Unavailable as error:
            raise Unavailable(str(error)) from error
        raise Unavailable("the job is not done yet")

    def _settled(
        self,
        api: Api,
        spec: ObjectSpec,
        rows: Mapping[int, Write],
        results: Sequence[object] | Answer,
    ) -> dict[int, Answer]:
        """Rows of a job: refused by its word, done by a look at the record, else unknown."""
        if isinstance(results, Answer):
            return dict.fromkeys(rows, results)
        places = list(rows)
        told = refusals(spec, results, [w.native_id for w in rows.values()])
        done = {places[p]: a for p, a in told.items() if 0 <= p < len(places)}
        left = {n: w for n, w in rows.items() if n not in done}
        for n, reading in self._read_back(api, spec, left).items():
            done[n] = Answer("done", reading.native_id, reading)
        silent = Answer("unknown", why="Zendesk's job does not say what became of this row")
        return {n: done.get(n, silent) for n in rows}

    def _read_back(
        self, api: Api, spec: ObjectSpec, rows: Mapping[int, Write]
    ) -> dict[int, Reading]:
        """What came of each row of creates, or of updates; what cannot be seen now is left out."""
        if not rows:
            return {}
        made = any(w.op == "create" for w in rows.values())
        wanted = {n: w.external_id if made else w.native_id for n, w in rows.items()}
        by = "external_ids" if made else "ids"
        try:
            _, found = self._shown(api, replace(spec, links=()), by, list(wanted.values()))
        except (Unavailable, Denied, Unreadable):
            return {}
        shown = {r.external_id if made else r.native_id: r for r in found}
        return {
            n: read_back(shown[i.lower()], rows[n]) for n, i in wanted.items() if i.lower() in shown
        }

    def _joined(self, api: Api, write: Write) -> Answer:
        """Join an organization, or leave it; where there is nothing to do, that is done."""
        user = write.native_id
        if write.link:
            path, made = "/api/v2/organization_memberships", membership(user, write.link[1])
            return attempt(lambda: self._moved(api, write, "POST", path, made))
        if write.unlink:
            path = f"/api/v2/users/{user}/organizations/{write.unlink[1]}"
            return attempt(lambda: self._moved(api, write, "DELETE", path, None))
        return Answer("done", user)

    def _moved(self, api: Api, write: Write, method: str, path: str, made: Item | None) -> Answer:
        reply = api.send(method, path, json=made)
        if reply.status >= codes.BAD_REQUEST and not as_wanted(method, reply):
            return refused(USERS, reply)
        return Answer("done", write.native_id)


def is_customer(user: Item) -> bool:
    """Whether this is a user whose organizations are of interest."""
    named = type(user.get("id")) is int and user.get("role") == CUSTOMER
    return named and user.get("active") is True


def end_of(body: Item, at: Position, *, empty: bool) -> int:
    """The last second that a page of the time export shows."""
    end = body.get("end_time")
    if end is None and empty:
        return at.start
    if not isinstance(end, int) or isinstance(end, bool) or end < at.start:
        raise Unreadable(f"end_time {str(end)[:40]!r} lies before its start")
    return end


def worth_a_job(done: Mapping[int, Answer], left: Mapping[int, Write]) -> bool:
    """Whether so many updates are left, or a call each took so long, that a job is better."""
    seen = [a.reading for a in done.values() if a.reading]
    spent = max(r.end_ms for r in seen) - min(r.start_ms for r in seen) if seen else 0
    return len(left) > (JOB_COSTS if spent >= QUICK_MS else ALONE_MOST)


def misnamed(spec: ObjectSpec, write: Write) -> Answer | None:
    """Zendesk drops what it does not know without a word, so that is refused here."""
    unknown = [name for name in write.changes if name not in spec.fields.app_names]
    if not unknown:
        return None
    return Answer("rejected", why=f"{spec.object} have no field {unknown[0]}", fields=(*unknown,))


def is_mail(identity: Item) -> bool:
    """Whether an identity is an e-mail address."""
    return identity.get("type") == "email"


def identity_call(
    path: str, mails: Sequence[Item], wanted: str
) -> tuple[str, str, Item | None] | None:
    """The call that makes `wanted` the primary address; None where it is."""
    primary = next((i for i in mails if i.get("primary") is True), None)
    same = next((i for i in mails if str(i.get("value")).lower() == wanted.lower()), None)
    if not wanted:
        return ("DELETE", f"{path}/{id_of(primary.get('id'))}", None) if primary else None
    if same:
        return None if same is primary else ("PUT", f"{path}/{id_of(same['id'])}/make_primary", {})
    if primary:
        return "PUT", f"{path}/{id_of(primary.get('id'))}", {"identity": {"value": wanted}}
    new = {"type": "email", "value": wanted, "primary": True, "skip_verify_email": True}
    return "POST", path, {"identity": new}


def membership(user: str, organization: str) -> Item:
    """One association to add."""
    return {"organization_membership": {"user_id": int(user), "organization_id": int(organization)}}


def as_wanted(method: str, reply: Reply) -> bool:
    """Whether a refusal says that it is so already."""
    if method == "DELETE":
        return reply.status == codes.NOT_FOUND
    return reply.status == codes.UNPROCESSABLE_ENTITY and b"already" in reply.body


CONNECTOR: Final = Zendesk()
