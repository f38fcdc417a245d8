"""The addresses of the sandbox's API: which request means what, and how records are shown."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Final

import httpx

from connectors.zendesk.population import Place, Record, Values
from connectors.zendesk.support import (
    CUSTOM,
    ORGANIZATIONS,
    PAGE_MOST,
    USERS,
    WORD,
    Job,
    Refusal,
    Support,
    invalid,
    missing,
    spelled,
)
from connectors.zendesk.webhooks import stamp_of

LAG_MS: Final = 60_000  # what exports do not show yet
SEARCH_LAG_MS: Final = 5_000
OFFSET_MOST: Final = 10_000
SEARCH_MOST: Final = 1_000
SCANNED_MOST: Final = 5_000  # a search for a word reads no more seeded records than these
EXPORT_PAGE: Final = 1_000
ADMIN: Final = 0

Body = dict[str, Any]
Found = tuple[int, Body | None]


@dataclass(frozen=True)
class Call:
    """A request: method, path without ".json", query, JSON body, and the address it was sent to."""

    method: str
    path: str
    params: httpx.QueryParams
    body: Body
    base: str

    def flag(self, name: str) -> str:
        """A parameter, "" where it is not given."""
        return str(self.params.get(name, ""))

    def whole(self, name: str, default: int) -> int:
        """A parameter as a whole number: also one that is sent as a float."""
        found = re.match(r"\d{1,15}", self.flag(name))
        return int(found[0]) if found else default

    def ids(self, name: str) -> list[str]:
        """A list joined by commas, a hundred at most."""
        found = [i.strip() for i in self.flag(name).split(",") if i.strip()]
        if len(found) > PAGE_MOST:
            raise Refusal(400, "TooManyValues", "More than 100 ids")
        return found

    def record(self, key: str) -> Body:
        """The record that the body carries."""
        found = self.body.get(key)
        if not isinstance(found, dict):
            raise Refusal(400, "InvalidRequest", f"The body has no {key}")
        return found

    def records(self, key: str) -> list[Body]:
        """The records that the body carries, a hundred at most."""
        found = self.body.get(key)
        if not isinstance(found, list) or not all(isinstance(r, dict) for r in found):
            raise Refusal(400, "InvalidRequest", f"The body has no {key}")
        if len(found) > PAGE_MOST:
            raise Refusal(400, "TooManyValues", "More than 100 records")
        return found


Handler = Callable[..., Found]


@dataclass
class Desk:
    """What an account answers."""

    support: Support

    def answer(self, call: Call) -> Found:
        """Any request; raises Refusal."""
        self.support.run_jobs()
        for method, pattern, handler in self.routes:
            match = pattern.fullmatch(call.path)
            if match and method == call.method:
                return handler(call, *match.groups())
        raise Refusal(404, "InvalidEndpoint", "Not found")

    @cached_property
    def routes(self) -> list[tuple[str, re.Pattern[str], Handler]]:
        """Method, address, and what answers; the first that fits."""
        table = [*self._own_routes(), *self._record_routes(), *self._small_routes()]
        return [
            (
                method,
                re.compile("/api/v2/" + path.replace("#", r"(\d{1,18})").replace("@", "([^/]+)")),
                h,
            )
            for method, path, h in table
        ]

    def _own_routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "account/settings", self.settings),
            ("GET", "users/me", self.me),
            ("GET", "search", self.search),
            ("GET", "users/search", self.search_users),
            ("GET", "organizations/search", self.search_organizations),
            ("GET", "incremental/users/cursor", self.export_by_cursor),
            ("GET", "incremental/(users|organizations)", self.export_by_time),
            ("GET", "deleted_users", self.deleted),
            ("GET", "deleted_users/#", self.deleted_one),
            ("DELETE", "deleted_users/#", self.erase),
            ("PUT", "users/#/merge", self.merge_users),
            ("POST", "organizations/#/merge", self.merge_organizations),
            ("GET", "organizations/#/merges", self.merges),
            ("GET", "organization_merges/@", self.merged),
        ]

    def _record_routes(self) -> list[tuple[str, str, Handler]]:
        kind = "(users|organizations)"
        return [
            ("GET", f"{kind}/show_many", self.show_many),
            ("GET", f"{kind}/count", self.count),
            ("POST", f"{kind}/create_many", self.create_many),
            ("POST", f"{kind}/create_or_update", self.create_or_update),
            ("POST", f"{kind}/create_or_update_many", self.create_or_update_many),
            ("PUT", f"{kind}/update_many", self.update_many),
            ("DELETE", f"{kind}/destroy_many", self.destroy_many),
            ("GET", kind, self.index),
            ("POST", kind, self.create),
            ("GET", f"{kind}/#", self.show),
            ("PUT", f"{kind}/#", self.update),
            ("DELETE", f"{kind}/#", self.delete),
            *[(m, f"{kind}/#/tags", self.tags) for m in ("GET", "POST", "PUT", "DELETE")],
        ]

    def _small_routes(self) -> list[tuple[str, str, Handler]]:
        own = "users/#/identities"
        return [
            ("GET", own, self.identities),
            ("POST", own, self.add_identity),
            ("GET", f"{own}/#", self.identity),
            ("PUT", f"{own}/#", self.change_identity),
            ("PUT", f"{own}/#/make_primary", self.primary_identity),
            ("DELETE", f"{own}/#", self.remove_identity),
            ("GET", "organization_memberships", self.memberships),
            ("GET", "users/#/organization_memberships", self.memberships_of),
            ("GET", "organizations/#/organization_memberships", self.memberships_in),
            ("GET", "users/#/organizations", self.organizations_of),
            ("GET", "organizations/#/users", self.users_of),
            ("POST", "organization_memberships", self.join),
            ("POST", "organization_memberships/create_many", self.join_many),
            ("DELETE", "organization_memberships/destroy_many", self.leave_many),
            ("GET", "organization_memberships/#", self.membership),
            ("DELETE", "organization_memberships/#", self.leave_one),
            ("DELETE", "users/#/organizations/#", self.leave),
            ("PUT", "users/#/organizations/#/make_default", self.make_default),
            ("PUT", "users/#/organization_memberships/#/make_default", self.make_default_one),
            ("GET", "(user_fields|organization_fields)", self.fields),
            ("POST", "(user_fields|organization_fields)", self.add_field),
            ("GET", "(user_fields|organization_fields)/#", self.field),
            ("DELETE", "(user_fields|organization_fields)/#", self.remove_field),
            ("GET", "job_statuses/@", self.job),
            ("GET", "webhooks", self.webhooks),
            ("POST", "webhooks", self.add_webhook),
            ("GET", "webhooks/@/signing_secret", self.webhook_secret),
            ("DELETE", "webhooks/@", self.remove_webhook),
        ]

    # -- the account ---------------------------------------------------------------------------

    def settings(self, call: Call) -> Found:
        """What the account is like."""
        del call
        user = {"tagging": True, "multiple_organizations": self.support.several}
        local = {"iana_time_zone": "Europe/Berlin", "time_zone": "Berlin"}
        brands = {"default_brand_id": 11_000_000 + self.support.seed}
        return 200, {"settings": {"user": user, "localization": local, "brands": brands}}

    def me(self, call: Call) -> Found:
        """The administrator whose token is used."""
        admin = next(r for r in self.support.living(USERS) if r.values["role"] == "admin")
        return 200, {"user": self.shown(USERS, admin, call)}

    # -- how records are shown -----------------------------------------------------------------

    def shown(self, kind: str, record: Record, call: Call) -> Body:
        """A record as the API shows it."""
        common = {
            "id": record.id,
            "url": f"{call.base}/api/v2/{kind}/{record.id}.json",
            "created_at": stamp_of(record.created),
            "updated_at": stamp_of(record.updated),
        }
        outer = CUSTOM[kind]
        held = {k: v for k, v in record.values.items() if k not in ("identities", "memberships")}
        held[outer] = dict.fromkeys(self.support.custom[outer]) | {
            k: v for k, v in record.values[outer].items() if k in self.support.custom[outer]
        }
        if kind == ORGANIZATIONS:
            more = {"group_id": None, "shared_tickets": False, "shared_comments": False}
            return {**common, **held, **more}
        return {**common, **held, **self._user(record)}

    def _user(self, record: Record) -> Body:
        mails = record.values["identities"]
        first = [m["organization_id"] for m in record.values["memberships"] if m["default"]]
        return {
            "email": next((i["value"] for i in mails if i["primary"]), None),
            "organization_id": first[0] if first else None,
            "active": record.live,
            "verified": bool(mails),
            "locale": "en-US",
            "locale_id": 1,
            "time_zone": "Berlin",
            "iana_time_zone": "Europe/Berlin",
            "shared": False,
            "shared_agent": False,
            "shared_phone_number": None,
            "two_factor_auth_enabled": False,
            "photo": None,
        }

    def _showing(self, kind: str, call: Call) -> Callable[[Record], Body]:
        return lambda record: self.shown(kind, record, call)

    def listed(self, kind: str, records: Iterable[Record], call: Call) -> list[Body]:
        """Several records."""
        return [self.shown(kind, r, call) for r in records]

    def paged(
        self, key: str, items: Iterable[Any], show: Callable[[Any], Body], call: Call
    ) -> Body:
        """A page by cursor or by offset, of items that begin where the cursor says."""
        if any(name.startswith("page[") for name in call.params):
            return self._by_cursor(key, items, show, call)
        return self._by_offset(key, items, show, call)

    def _by_cursor(
        self, key: str, items: Iterable[Any], show: Callable[[Any], Body], call: Call
    ) -> Body:
        size = min(max(1, call.whole("page[size]", PAGE_MOST)), PAGE_MOST)
        found = [show(i) for i in islice(items, size + 1)]
        page, more = found[:size], len(found) > size
        after = token(page[-1]["id"]) if page else None
        link = f"{call.base}{call.path}.json?page%5Bsize%5D={size}&page%5Bafter%5D={after}"
        role = f"&role={call.flag('role')}" if call.flag("role") else ""
        return {
            key: page,
            "meta": {"has_more": more, "after_cursor": after, "before_cursor": None},
            "links": {"next": f"{link}{role}" if more else None, "prev": None},
        }

    def _by_offset(
        self, key: str, items: Iterable[Any], show: Callable[[Any], Body], call: Call
    ) -> Body:
        size = min(max(1, call.whole("per_page", PAGE_MOST)), PAGE_MOST)
        page = max(1, call.whole("page", 1))
        if page * size > OFFSET_MOST:
            raise Refusal(400, "InvalidPaginationDepth", "Only the first 10000 are shown this way")
        found = [show(i) for i in islice(items, (page - 1) * size, page * size + 1)]
        link = f"{call.base}{call.path}.json?per_page={size}&page="
        return {
            key: found[:size],
            "next_page": f"{link}{page + 1}" if len(found) > size else None,
            "previous_page": f"{link}{page - 1}" if page > 1 else None,
            "count": (page - 1) * size + len(found),
        }

    # -- records -------------------------------------------------------------------------------

    def index(self, call: Call, kind: str) -> Found:
        """All living records, or those of some roles."""
        roles = {call.flag("role"), *call.params.get_list("role[]")} - {""}
        living = self.support.living(kind, untoken(call.flag("page[after]")))
        some: Iterable[Record] = (r for r in living if not roles or r.values.get("role") in roles)
        if call.flag("external_id"):
            some = self._by_external(kind, [call.flag("external_id")])
        body = self.paged(kind, some, self._showing(kind, call), call)
        if "count" in body:
            body["count"] = self.support.tables[kind].living
        return 200, body

    def count(self, call: Call, kind: str) -> Found:
        """How many there are."""
        del call
        now = stamp_of(self.support.now())
        found = {"value": self.support.tables[kind].living, "refreshed_at": now}
        return 200, {"count": found}

    def show_many(self, call: Call, kind: str) -> Found:
        """Some of them; those that are not there are left out."""
        if call.flag("external_ids"):
            found = self._by_external(kind, call.ids("external_ids"))
        else:
            ids = dict.fromkeys(int(i) for i in call.ids("ids") if i.isdigit())
            found = [r for i in ids if (r := self._visible(kind, i))]
        body: Body = {kind: self.listed(kind, found, call)}
        if kind == ORGANIZATIONS:
            body |= {"count": len(found), "next_page": None, "previous_page": None}
        return 200, body

    def _by_external(self, kind: str, wanted: Iterable[str]) -> list[Record]:
        found = [self.support.by_external(kind, e) for e in wanted]
        return [self.support.get(kind, i) for i in dict.fromkeys(found) if i is not None]

    def _visible(self, kind: str, own: int) -> Record | None:
        """Also a deleted user can be seen, but not one that was merged or erased."""
        record = self.support.tables[kind].get(own)
        seen = ("live", "deleted") if kind == USERS else ("live",)
        return record if record and record.state in seen else None

    def show(self, call: Call, kind: str, own: str) -> Found:
        """One of them."""
        record = self._visible(kind, int(own))
        if record is None:
            raise missing()
        return 200, {WORD[kind]: self.shown(kind, record, call)}

    def create(self, call: Call, kind: str) -> Found:
        """A new one."""
        made = self.support.create(kind, call.record(WORD[kind]))
        return 201, {WORD[kind]: self.shown(kind, made, call)}

    def create_or_update(self, call: Call, kind: str) -> Found:
        """A new one, or the one with that external id or e-mail."""
        record, new = self.support.create_or_update(kind, call.record(WORD[kind]))
        return 201 if new else 200, {WORD[kind]: self.shown(kind, record, call)}

    def update(self, call: Call, kind: str, own: str) -> Found:
        """Another state of it."""
        record = self.support.update(kind, int(own), call.record(WORD[kind]))
        return 200, {WORD[kind]: self.shown(kind, record, call)}

    def delete(self, call: Call, kind: str, own: str) -> Found:
        """Without it."""
        record = self.support.delete(kind, int(own))
        return (
            (204, None)
            if kind == ORGANIZATIONS
            else (200, {"user": self.shown(kind, record, call)})
        )

    def tags(self, call: Call, kind: str, own: str) -> Found:
        """Read, replace, add to or take from the tags."""
        held = self.support.get(kind, int(own)).values["tags"]
        given = spelled(call.body.get("tags"))
        wanted = {
            "GET": held,
            "POST": given,
            "PUT": [*held, *given],
            "DELETE": [t for t in held if t not in given],
        }[call.method]
        record = self.support.update(kind, int(own), {"tags": wanted})
        return 200, {"tags": record.values["tags"]}

    # -- jobs ----------------------------------------------------------------------------------

    def _started(self, job: Job, call: Call) -> Found:
        return 200, {"job_status": self._job(job, call)}

    def _job(self, job: Job, call: Call) -> Body:
        done = job.results is not None
        return {
            "id": job.id,
            "job_type": job.kind,
            "url": f"{call.base}/api/v2/job_statuses/{job.id}.json",
            "total": job.total,
            "progress": job.total if done else None,
            "status": "completed" if done else "queued",
            "message": "Completed" if done else None,
            "results": job.results,
        }

    def job(self, call: Call, own: str) -> Found:
        """How far a job is."""
        if own not in self.support.jobs:
            raise missing()
        return self._started(self.support.jobs[own], call)

    def _many(self, call: Call, kind: str, act: str, one: Callable[[Body], Record]) -> Found:
        rows = call.records(kind)
        name = f"Bulk {act.capitalize()} {WORD[kind].capitalize()}"
        return self._started(
            self.support.start(name, len(rows), lambda: self.support.many(kind, rows, act, one)),
            call,
        )

    def create_many(self, call: Call, kind: str) -> Found:
        """New ones, a little later; for users only where the account allows it."""
        if kind == USERS and not self.support.bulk_imports:
            raise Refusal(403, "Forbidden", "Bulk user imports are not enabled for this account")
        return self._many(call, kind, "create", lambda row: self.support.create(kind, row))

    def create_or_update_many(self, call: Call, kind: str) -> Found:
        """New ones, or those with these external ids or e-mails."""
        if not self.support.bulk_imports:
            raise Refusal(403, "Forbidden", "Bulk user imports are not enabled for this account")
        return self._many(
            call, kind, "create", lambda row: self.support.create_or_update(kind, row)[0]
        )

    def update_many(self, call: Call, kind: str) -> Found:
        """The same for all of some ids, or to each its own."""
        word = WORD[kind]
        if call.flag("ids") or call.flag("external_ids"):
            given, ids = call.record(word), self._asked(call, kind)
            rows = [{**given, "id": i} for i in ids]
            call = Call(call.method, call.path, call.params, {kind: rows}, call.base)
        return self._many(call, kind, "update", lambda row: self._updated(kind, row))

    def _updated(self, kind: str, row: Body) -> Record:
        own = row.get("id")
        if own is None:
            own = self.support.by_external(kind, str(row.get("external_id") or ""))
        return self.support.update(kind, int(own or 0), row)

    def _asked(self, call: Call, kind: str) -> list[int]:
        if call.flag("ids"):
            return [int(i) for i in call.ids("ids") if i.isdigit()]
        found = [self.support.by_external(kind, e) for e in call.ids("external_ids")]
        return [i for i in found if i is not None]

    def destroy_many(self, call: Call, kind: str) -> Found:
        """Without some."""
        rows: list[Mapping[str, Any]] = [{"id": i} for i in self._asked(call, kind)]
        job = self.support.start(
            f"Bulk Delete {WORD[kind].capitalize()}",
            len(rows),
            lambda: self.support.many(
                kind, rows, "destroy", lambda row: self.support.delete(kind, row["id"])
            ),
        )
        return self._started(job, call)

    # -- the end of records --------------------------------------------------------------------

    def deleted(self, call: Call) -> Found:
        """Deleted users, also those that are erased."""
        table, after = self.support.tables[USERS], untoken(call.flag("page[after]"))
        found = (table.edited[i] for i in sorted(table.edited) if i > after)
        some = (r for r in found if r.state in ("deleted", "erased"))
        return 200, self.paged("deleted_users", some, lambda r: self._nobody(r, call), call)

    def _nobody(self, record: Record, call: Call) -> Body:
        shown = self.shown(USERS, record, call)
        names = ("id", "name", "created_at", "updated_at", "time_zone", "email", "phone", "photo")
        more = ("shared_phone_number", "locale_id", "locale", "organization_id", "role", "active")
        own = f"{call.base}/api/v2/deleted_users/{record.id}.json"
        return {"url": own, **{n: shown[n] for n in (*names, *more)}}

    def deleted_one(self, call: Call, own: str) -> Found:
        """A deleted user that is not erased."""
        record = self.support.tables[USERS].get(int(own))
        if record is None or record.state != "deleted":
            raise missing()
        return 200, {"deleted_user": self._nobody(record, call)}

    def erase(self, call: Call, own: str) -> Found:
        """A deleted user's data go for good."""
        return 200, {"deleted_user": self._nobody(self.support.erase(int(own)), call)}

    def merge_users(self, call: Call, loser: str) -> Found:
        """One user into another, who is in the body."""
        winner = int(call.record("user").get("id") or 0)
        record = self.support.merge_users(int(loser), winner)
        return 200, {"user": self.shown(USERS, record, call)}

    def merge_organizations(self, call: Call, loser: str) -> Found:
        """One organization into another, who is in the body."""
        given = call.body.get("organization_merge") or {}
        made = self.support.merge_organizations(int(loser), int(given.get("winner_id") or 0))
        return 200, {"organization_merge": self._merge(made, call)}

    def _merge(self, made: Body, call: Call) -> Body:
        return {**made, "url": f"{call.base}/api/v2/organization_merges/{made['id']}.json"}

    def merges(self, call: Call, own: str) -> Found:
        """The merges that an organization was part of, as winner or loser."""
        found = [m for m in self.support.merges if int(own) in (m["loser_id"], m["winner_id"])]
        if not found:
            self.support.get(ORGANIZATIONS, int(own))
        show = [self._merge(m, call) for m in found]
        meta = {"has_more": False, "after_cursor": None, "before_cursor": None}
        return 200, {"organization_merges": show, "meta": meta, "links": {}}

    def merged(self, call: Call, own: str) -> Found:
        """One merge."""
        found = next((m for m in self.support.merges if m["id"] == own), None)
        if found is None:
            raise missing()
        return 200, {"organization_merge": self._merge(found, call)}

    # -- exports -------------------------------------------------------------------------------

    def _since(self, call: Call) -> int:
        """The start of an export (s), which must be a minute old."""
        start = call.whole("start_time", -1)
        if start < 0:
            raise Refusal(400, "InvalidRequest", "start_time is missing")
        if start * 1000 > self.support.now() - LAG_MS:
            text = "Too recent start_time. Use a start_time older than 1 minute ago"
            raise Refusal(422, "StartTimeTooRecent", text)
        return start

    def _exported(self, kind: str, since: Place, call: Call) -> tuple[list[Record], bool]:
        """A page of an export, and whether there is no more for now."""
        size = min(max(1, call.whole("per_page", EXPORT_PAGE)), EXPORT_PAGE)
        until = self.support.now() - LAG_MS
        changed = self.support.tables[kind].changed(since, until)
        some = (r for r in changed if kind == USERS or r.live)
        found = list(islice(some, size + 1))
        return found[:size], len(found) <= size

    def export_by_cursor(self, call: Call) -> Found:
        """Users as they changed, from a cursor on."""
        cursor = call.flag("cursor")
        since = place_of(cursor) if cursor else (self._since(call) * 1000, 0)
        found, done = self._exported(USERS, since, call)
        last = (found[-1].generated, found[-1].id + 1) if found else since
        after = token(last[0], last[1])
        return 200, {
            USERS: self.listed(USERS, found, call),
            "after_cursor": after,
            "after_url": f"{call.base}/api/v2/incremental/users/cursor.json?cursor={after}",
            "before_cursor": None,
            "before_url": None,
            "end_of_stream": done,
        }

    def export_by_time(self, call: Call, kind: str) -> Found:
        """Records as they changed, from a second on: it is shown again by the next page."""
        start = self._since(call)
        found, done = self._exported(kind, (start * 1000, 0), call)
        end = found[-1].generated // 1000 if found else start
        size = f"&per_page={call.flag('per_page')}" if call.flag("per_page") else ""
        following = f"{call.base}/api/v2/incremental/{kind}.json?start_time={end}{size}"
        return 200, {
            kind: self.listed(kind, found, call),
            "count": len(found),
            "end_time": end,
            "next_page": following,
            "end_of_stream": done,
        }

    # -- search --------------------------------------------------------------------------------

    def _matching(self, kind: str, words: list[str]) -> Iterator[Record]:
        """Records that a query finds; the index runs a little behind."""
        some = islice(self._candidates(kind, words), SCANNED_MOST)
        until = self.support.now() - SEARCH_LAG_MS
        return (r for r in some if r.generated <= until and all(fits(r.values, w) for w in words))

    def _candidates(self, kind: str, words: list[str]) -> Iterator[Record]:
        mails = [w.partition(":")[2] for w in words if w.startswith("email:")]
        mails += [w for w in words if "@" in w and ":" not in w]
        found = [self.support.by_mail(m) for m in mails] if kind == USERS else []
        ids = [i for i in found if i is not None]
        return (self.support.get(kind, i) for i in ids) if mails else self.support.living(kind)

    def search(self, call: Call) -> Found:
        """Users and organizations, each with its kind; the first thousand."""
        query = [w.strip('"') for w in re.findall(r'\S*"[^"]*"|\S+', unquoted(call.flag("query")))]
        asked = [w.partition(":")[2] for w in query if w.startswith("type:")]
        words = [w.replace('"', "") for w in query if not w.startswith("type:")]
        kinds = [k for k in (USERS, ORGANIZATIONS) if not asked or WORD[k] in asked]
        found = [(k, r) for k in kinds for r in self._matching(k, words)][:SEARCH_MOST]
        if call.whole("page", 1) * call.whole("per_page", PAGE_MOST) > SEARCH_MOST:
            raise Refusal(422, "invalid", "Only the first 1000 results are shown")
        body = self._by_offset("results", found, lambda kr: self._result(kr[0], kr[1], call), call)
        return 200, {**body, "count": len(found), "facets": None}

    def _result(self, kind: str, record: Record, call: Call) -> Body:
        return {**self.shown(kind, record, call), "result_type": WORD[kind]}

    def search_users(self, call: Call) -> Found:
        """Users by external id or by words."""
        if call.flag("external_id"):
            found = iter(self._by_external(USERS, [call.flag("external_id")]))
        else:
            found = self._matching(USERS, unquoted(call.flag("query")).replace('"', "").split())
        return 200, self._by_offset(USERS, found, self._showing(USERS, call), call)

    def search_organizations(self, call: Call) -> Found:
        """Organizations by external id or by their whole name."""
        own = self.support.by_name(call.flag("name"))
        found: list[Record] = [self.support.get(ORGANIZATIONS, own)] if own is not None else []
        if call.flag("external_id"):
            found = self._by_external(ORGANIZATIONS, [call.flag("external_id")])
        return 200, self._by_offset(ORGANIZATIONS, found, self._showing(ORGANIZATIONS, call), call)

    # -- identities ----------------------------------------------------------------------------

    def _identity(self, user: int, held: Values, call: Call) -> Body:
        record = self.support.get(USERS, user)
        return {
            **held,
            "user_id": user,
            "url": f"{call.base}/api/v2/users/{user}/identities/{held['id']}.json",
            "created_at": stamp_of(record.created),
            "updated_at": stamp_of(record.updated),
            "deliverable_state": "deliverable",
            "undeliverable_count": 0,
        }

    def identities(self, call: Call, user: str) -> Found:
        """All identities of a user."""
        own, after = int(user), untoken(call.flag("page[after]"))
        held = self.support.get(USERS, own).values["identities"]
        some = sorted((i for i in held if i["id"] > after), key=lambda i: i["id"])
        return 200, self.paged("identities", some, lambda i: self._identity(own, i, call), call)

    def identity(self, call: Call, user: str, own: str) -> Found:
        """One of them."""
        held = self.support.get(USERS, int(user)).values["identities"]
        found = next((i for i in held if i["id"] == int(own)), None)
        if found is None:
            raise missing()
        return 200, {"identity": self._identity(int(user), found, call)}

    def add_identity(self, call: Call, user: str) -> Found:
        """One more."""
        made = self.support.identities(int(user), "add", given=call.record("identity"))
        return 201, {"identity": self._identity(int(user), made, call)}

    def change_identity(self, call: Call, user: str, own: str) -> Found:
        """Another value of it."""
        given = call.record("identity")
        held = self.support.identities(int(user), "change", int(own), given)
        return 200, {"identity": self._identity(int(user), held, call)}

    def primary_identity(self, call: Call, user: str, own: str) -> Found:
        """It is the one that a user shows."""
        self.support.identities(int(user), "primary", int(own))
        return self.identities(call, user)

    def remove_identity(self, call: Call, user: str, own: str) -> Found:
        """Without it."""
        del call
        self.support.identities(int(user), "remove", int(own))
        return 204, None

    # -- memberships ---------------------------------------------------------------------------

    def _membership(self, user: Record, held: Values, call: Call) -> Body:
        return {
            **held,
            "default": held["default"] or None,
            "user_id": user.id,
            "url": f"{call.base}/api/v2/organization_memberships/{held['id']}.json",
            "created_at": stamp_of(user.created),
            "updated_at": stamp_of(user.updated),
        }

    def _memberships(self, users: Iterable[Record], within: int, call: Call) -> Found:
        """Memberships by id, of some users and of one organization or any (0)."""
        after = untoken(call.flag("page[after]"))
        rows = (
            (u, m)
            for u in users
            for m in u.values["memberships"]
            if m["id"] > after and within in (0, m["organization_id"])
        )
        return 200, self.paged(
            "organization_memberships", rows, lambda um: self._membership(um[0], um[1], call), call
        )

    def memberships(self, call: Call) -> Found:
        """All of the account."""
        return self._memberships(self.support.living(USERS), 0, call)

    def memberships_of(self, call: Call, user: str) -> Found:
        """Those of one user."""
        return self._memberships([self.support.get(USERS, int(user))], 0, call)

    def memberships_in(self, call: Call, organization: str) -> Found:
        """Those of one organization."""
        own = self.support.get(ORGANIZATIONS, int(organization)).id
        return self._memberships(self.support.members(own), own, call)

    def organizations_of(self, call: Call, user: str) -> Found:
        """A user's organizations."""
        held = self.support.get(USERS, int(user)).values["memberships"]
        found = [self.support.get(ORGANIZATIONS, m["organization_id"]) for m in held]
        return 200, self.paged(ORGANIZATIONS, found, self._showing(ORGANIZATIONS, call), call)

    def users_of(self, call: Call, organization: str) -> Found:
        """An organization's users."""
        after = untoken(call.flag("page[after]"))
        found = (r for r in self.support.members(int(organization)) if r.id > after)
        return 200, self.paged(USERS, found, self._showing(USERS, call), call)

    def membership(self, call: Call, own: str) -> Found:
        """One membership."""
        user, held = self.support.owner(int(own))
        return 200, {"organization_membership": self._membership(user, held, call)}

    def _joined(self, given: Mapping[str, Any]) -> tuple[Record, Values]:
        user, organization = int(given.get("user_id") or 0), int(given.get("organization_id") or 0)
        made = self.support.join(user, organization, default=given.get("default") is True)
        return self.support.get(USERS, user), made

    def join(self, call: Call) -> Found:
        """A user is in an organization from now on."""
        user, made = self._joined(call.record("organization_membership"))
        return 201, {"organization_membership": self._membership(user, made, call)}

    def join_many(self, call: Call) -> Found:
        """The same for many, a little later."""
        rows = call.records("organization_memberships")
        job = self.support.start(
            "Bulk Create OrganizationMembership",
            len(rows),
            lambda: self.support.many(USERS, rows, "create", lambda row: self._joined(row)[0]),
        )
        return self._started(job, call)

    def leave(self, call: Call, user: str, organization: str) -> Found:
        """No longer."""
        del call
        self.support.leave(int(user), int(organization))
        return 204, None

    def leave_one(self, call: Call, own: str) -> Found:
        """No longer, by the membership's id."""
        user, held = self.support.owner(int(own))
        return self.leave(call, str(user.id), str(held["organization_id"]))

    def leave_many(self, call: Call) -> Found:
        """No longer, for many, at once."""
        for own in call.ids("ids"):
            self.leave_one(call, own)
        return self._started(self.support.start("Bulk Delete", 0, list), call)

    def make_default(self, call: Call, user: str, organization: str) -> Found:
        """It is the one that the user shows."""
        self.support.make_default(int(user), int(organization))
        record = self.support.get(USERS, int(user))
        return 200, {
            "organization_membership": self._membership(
                record, record.values["memberships"][0], call
            )
        }

    def make_default_one(self, call: Call, user: str, own: str) -> Found:
        """The same by the membership's id, answered with all of them."""
        _, held = self.support.owner(int(own))
        self.support.make_default(int(user), held["organization_id"])
        return self.memberships_of(call, user)

    # -- custom fields -------------------------------------------------------------------------

    def fields(self, call: Call, kind: str) -> Found:
        """All custom fields."""
        after = untoken(call.flag("page[after]"))
        found = [f for f in self.support.custom[kind].values() if f["id"] > after]
        return 200, self.paged(kind, found, lambda f: self._field(kind, f, call), call)

    def _field(self, kind: str, held: Body, call: Call) -> Body:
        return {**held, "url": f"{call.base}/api/v2/{kind}/{held['id']}.json"}

    def add_field(self, call: Call, kind: str) -> Found:
        """A new one."""
        given, known = call.record(kind.removesuffix("s")), self.support.custom[kind]
        key = str(given.get("key") or "")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", key) or not given.get("title"):
            raise invalid("key", "is invalid")
        if key in known:
            raise invalid("key", "has already been taken", "DuplicateValue")
        now = stamp_of(self.support.now())
        known[key] = {
            "id": self.support.new_id(),
            "key": key,
            "type": str(given.get("type") or "text"),
            "title": str(given["title"]),
            "active": True,
            "position": len(known),
            "system": False,
            "created_at": now,
            "updated_at": now,
        }
        return 201, {kind.removesuffix("s"): self._field(kind, known[key], call)}

    def _known_field(self, kind: str, own: str) -> Body:
        found = [f for f in self.support.custom[kind].values() if f["id"] == int(own)]
        if not found:
            raise missing()
        return found[0]

    def field(self, call: Call, kind: str, own: str) -> Found:
        """One of them."""
        held = self._known_field(kind, own)
        return 200, {kind.removesuffix("s"): self._field(kind, held, call)}

    def remove_field(self, call: Call, kind: str, own: str) -> Found:
        """Without it."""
        del call
        del self.support.custom[kind][self._known_field(kind, own)["key"]]
        return 204, None

    # -- webhooks ------------------------------------------------------------------------------

    def webhooks(self, call: Call) -> Found:
        """All of them."""
        found = [h.shown(call.base) for h in self.support.hooks.hooks.values()]
        meta = {"has_more": False, "after_cursor": None, "before_cursor": None}
        return 200, {"webhooks": found, "meta": meta, "links": {}}

    def add_webhook(self, call: Call) -> Found:
        """A new one."""
        given = call.record("webhook")
        events = [str(e) for e in given.get("subscriptions") or ()]
        name = str(given.get("name") or "webhook")
        made = self.support.hooks.listen(str(given.get("endpoint") or ""), "", events, name)
        return 201, {"webhook": made.shown(call.base)}

    def webhook_secret(self, call: Call, own: str) -> Found:
        """What its requests are signed with."""
        del call
        if own not in self.support.hooks.hooks:
            raise missing()
        secret = self.support.hooks.hooks[own].secret
        return 200, {"signing_secret": {"algorithm": "SHA256", "secret": secret}}

    def remove_webhook(self, call: Call, own: str) -> Found:
        """Without it."""
        del call
        if self.support.hooks.hooks.pop(own, None) is None:
            raise missing()
        return 204, None


# -- cursors and words -----------------------------------------------------------------------------


def token(*numbers: int) -> str:
    """An opaque cursor."""
    return base64.urlsafe_b64encode("||".join(map(str, numbers)).encode()).decode().rstrip("=")


def numbers_of(cursor: str) -> list[int]:
    """What a cursor says; raises Refusal."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        return [int(n) for n in text.split("||")]
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, "InvalidCursor", "The cursor is invalid") from error


def untoken(cursor: str) -> int:
    """The id after which a page begins."""
    return numbers_of(cursor)[0] if cursor else 0


def place_of(cursor: str) -> Place:
    """Where an export goes on."""
    numbers = numbers_of(cursor)
    if len(numbers) != 2:  # noqa: PLR2004  time and id
        raise Refusal(400, "InvalidCursor", "The cursor is invalid")
    return numbers[0], numbers[1]


def unquoted(query: str) -> str:
    """A query that was encoded twice, as some clients do."""
    return str(httpx.QueryParams(f"q={query}")["q"]) if "%" in query else query


def fits(values: Values, word: str) -> bool:
    """Whether a record has what one word of a query asks for."""
    name, colon, wanted = word.partition(":")
    mails = " ".join(i["value"] for i in values.get("identities", ()))
    if not colon:
        return word.lower() in f"{values['name']} {mails}".lower()
    held = mails if name == "email" else values.get(name)
    return wanted.lower() in (" ".join(held) if isinstance(held, list) else str(held)).lower()
