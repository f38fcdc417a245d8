"""A Mailchimp account to try things on: one list, its laws and webhooks, without Mailchimp.

What Mailchimp is known for is here: ids that change with the address, offset paging under edits,
time stamps of whole seconds, tags that move no time stamp and of which fifty are shown, archived
members that only a question of its own shows, erased ones that never come back, addresses that are
whole or nothing, errors by row in a 200, and nobody who left being subscribed by an app.
"""

from __future__ import annotations

import base64
import datetime as dt
import email.utils
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote

import httpx
import orjson

from connectors._kit.contract import Reading, Reply
from connectors._kit.sandbox import Act
from connectors.mailchimp.answers import (
    ADDRESS,
    EVIDENCE,
    OBJECT,
    PARTS,
    PLACES,
    hash_of,
    iso,
    reading_of,
)
from connectors.mailchimp.audience import (
    Audience,
    Body,
    Member,
    Problem,
    Query,
    Seeded,
    confirmed,
    invalid,
    missing,
)
from connectors.mailchimp.hooks import Hook, Hooks, Outgoing, unique_id
from connectors.mailchimp.webhooks import EVENTS

MOST: Final = 1_000
WHOLE: Final = 2**40
BATCH_MOST: Final = 500
TAGS_SHOWN: Final = 50
TAG_CHARACTERS: Final = 10
TYPES: Final = {"PHONE": "phone", ADDRESS: "address"}
PLAIN: Final = ("email_address", "language", "status")


class MailchimpSandbox:
    """One account with one list."""

    vendor = "mailchimp"
    calls_per_second: float = 200  # nobody else uses this account

    def __init__(self, seed: int, customers: int, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.key = f"{seed:032x}-sandbox"
        self.list_id = f"{0xA000000000 + seed:010x}"
        self.hooks = Hooks(self.list_id, "sandbox-signing-secret", clock)
        seeded = Seeded(seed, customers, clock() // 1000)
        self.audience = Audience(seeded, lambda: clock() // 1000, self.hooks.take)
        self.base = ""
        self.calls = 0

    @property
    def auth(self) -> Mapping[str, str]:
        """The credentials of this account."""
        return {
            "api_key": self.key,
            "list_id": self.list_id,
            "webhook_secret": self.hooks.secret,
            "url_secret": "sandbox-url-secret",
        }

    @property
    def told(self) -> Mapping[str, str]:
        """What programs need to know beside the credentials."""
        return {"list_id": self.list_id}

    @property
    def acts(self) -> Mapping[str, Act]:
        """What a person can do here beside the acts that every sandbox has."""
        names = ("email", "status", "list_id")
        return {"set_member_status": Act(names, self._set_member_status)}

    # -- requests ------------------------------------------------------------------------------

    def kind(self, request: httpx.Request) -> str:
        """A search, a read, or a write."""
        if request.url.path.endswith("/search-members"):
            return "search"
        return "read" if request.method in ("GET", "HEAD") else "write"

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Any request of the part of Mailchimp's API that is here."""
        self.calls += 1
        self.base = f"{request.url.scheme}://{request.headers.get('host', request.url.host)}/3.0"
        try:
            self._check_key(request)
            return self._reply(picked(self._route(request), request.url.params))
        except Problem as problem:
            return self._refused(problem)

    def _check_key(self, request: httpx.Request) -> None:
        """Basic with any user name, or a bearer token."""
        way, _, given = request.headers.get("authorization", "").partition(" ")
        if way == "Basic":
            given = base64.b64decode(given).decode(errors="replace").partition(":")[2]
        if given != self.key:
            why = "Your API key may be invalid, or you've attempted to access the wrong datacenter."
            raise Problem("API Key Invalid", why, 401)

    def _reply(self, found: Body | None, status: int = 200) -> httpx.Response:
        date = {"Date": email.utils.formatdate(self.clock() / 1000, usegmt=True)}
        if found is None:
            return httpx.Response(204, headers=date)
        kind = "application/json" if status < 400 else "application/problem+json"  # noqa: PLR2004
        headers = {**date, "Content-Type": f"{kind}; charset=utf-8"}
        return httpx.Response(status, content=orjson.dumps(found), headers=headers)

    def _refused(self, problem: Problem) -> httpx.Response:
        found: Body = {
            "type": "https://mailchimp.com/developer/marketing/docs/errors/",
            "title": problem.title,
            "status": problem.status,
            "detail": problem.detail,
            "instance": f"{self.calls:032x}",
        }
        return self._reply(
            {**found, **({"errors": problem.errors} if problem.errors else {})}, problem.status
        )

    def _route(self, request: httpx.Request) -> Body | None:
        """The first part of an address; what is below a list has a table of its own."""
        parts = [
            unquote(p) for p in request.url.raw_path.decode().partition("?")[0].split("/") if p
        ]
        params = request.url.params
        match (request.method, *parts[1:]):
            case ("GET",):
                return self._account()
            case ("GET", "ping"):
                return {"health_status": "Everything's Chimpy!"}
            case ("GET", "campaigns"):
                return {"campaigns": [], "total_items": 0, "_links": []}
            case ("GET", "lists"):
                return {"lists": [self._list()], "total_items": 1, "_links": self._links("lists")}
            case ("GET", "search-members"):
                return self._search(str(params.get("query", "")))
            case (method, "lists", self.list_id, *rest):
                return self._in_list(method, rest, params, given_in(request))
        raise missing()

    def _in_list(
        self, method: str, rest: list[str], params: httpx.QueryParams, given: Body
    ) -> Body | None:
        lenient = params.get("skip_merge_validation", "").lower() == "true"
        match (method, *rest):
            case ("GET",):
                return self._list()
            case ("POST",):
                return self._batch(given, lenient=lenient)
            case ("GET", "members"):
                return self._members(params)
            case ("POST", "members"):
                return self._member(self.audience.add(given, "api", lenient=lenient))
            case (_, "members", key, *more):
                return self._of_member(method, key, more, given, params)
            case (_, "merge-fields", *more):
                return self._merge_fields(method, more, given)
            case (_, "webhooks", *more):
                return self._webhooks(method, more, given)
            case ("GET", "tag-search"):
                return self._tags_like(params.get("name", ""))
        raise missing()

    def _of_member(
        self, method: str, key: str, rest: list[str], given: Body, params: httpx.QueryParams
    ) -> Body | None:
        lists, lenient = self.audience, params.get("skip_merge_validation", "").lower() == "true"
        match (method, *rest):
            case ("GET",):
                return self._member(lists.must(key))
            case ("PATCH",):
                return self._member(lists.update(lists.must(key), given, "api"))
            case ("PUT",):
                return self._member(self._upsert(key, given, lenient=lenient))
            case ("DELETE",):
                lists.archive(lists.must(key), "api")
            case ("POST", "actions", "delete-permanent"):
                lists.erase(lists.must(key))
            case ("GET", "tags"):
                return self._tags_of(lists.must(key), params)
            case ("POST", "tags"):
                lists.retag(lists.must(key), given.get("tags"))
            case _:
                raise missing()
        return None

    def _upsert(self, key: str, given: Body, *, lenient: bool) -> Member:
        there = self.audience.find(key)
        if there and there.status != "archived":
            return self.audience.update(there, given, "api")
        status = given.get("status_if_new") or given.get("status")
        return self.audience.add({**given, "status": status}, "api", lenient=lenient)

    # -- members -------------------------------------------------------------------------------

    def _members(self, params: httpx.QueryParams) -> Body:
        query = Query(
            status=params.get("status", ""),
            since=second(params, "since_last_changed", Query.since),
            before=second(params, "before_last_changed", Query.before),
            by_change=params.get("sort_field") == "last_changed",
            newest_first=params.get("sort_dir", "").upper() == "DESC",
            offset=number(params, "offset", 0),
            count=min(number(params, "count", 10), MOST),
        )
        found, total = self.audience.page(query)
        return {
            "members": [self._member(m) for m in found],
            "list_id": self.list_id,
            "total_items": total,
            "_links": self._links(f"lists/{self.list_id}/members"),
        }

    def _member(self, member: Member) -> Body:
        stamps = {n: member.stamps.get(n, "") for n in EVIDENCE}
        stamps = {n: iso(v) if isinstance(v, int) else v for n, v in stamps.items()}
        names = [member.merge.get(t) for t in ("FNAME", "LNAME")]
        tags = sorted(member.tags, key=self.audience.tag_id)
        return {
            "id": member.hash,
            "email_address": member.email,
            "unique_email_id": unique_id(member.email),
            "contact_id": member.contact_id,
            "full_name": " ".join(n for n in names if n),
            "web_id": member.serial + 1,
            "email_type": member.email_type,
            "status": member.status,
            "consents_to_one_to_one_messaging": member.status == "subscribed",
            "merge_fields": dict(member.merge),
            "interests": {},
            "stats": {"avg_open_rate": 0, "avg_click_rate": 0},
            **stamps,
            "member_rating": 2,
            "last_changed": iso(member.changed),
            "language": member.language,
            "vip": member.vip,
            "email_client": "",
            "location": PLACE,
            "source": member.source,
            "tags_count": len(tags),
            "tags": [{"id": self.audience.tag_id(t), "name": t} for t in tags[:TAGS_SHOWN]],
            "list_id": self.list_id,
            "_links": self._links(f"lists/{self.list_id}/members/{member.hash}"),
        }

    def _tags_of(self, member: Member, params: httpx.QueryParams) -> Body:
        every = [
            {"id": self.audience.tag_id(t), "name": t, "date_added": iso(at)}
            for t, at in sorted(member.tags.items())
        ]
        start, count = number(params, "offset", 0), min(number(params, "count", 10), MOST)
        return {"tags": every[start : start + count], "total_items": len(every), "_links": []}

    def _tags_like(self, name: str) -> Body:
        known = self.audience.tag_ids.items()
        found = [{"id": i, "name": t} for t, i in known if t.lower().startswith(name.lower())]
        return {"tags": found, "total_items": len(found)}

    def _search(self, text: str) -> Body:
        """By the whole address; the search by words is not here."""
        found = self.audience.by_email(text)
        exact = [self._member(found)] if found else []
        none = {"members": [], "total_items": 0}
        return {
            "exact_matches": {"members": exact, "total_items": len(exact)},
            "full_search": none,
            "_links": [],
        }

    def _batch(self, given: Body, *, lenient: bool) -> Body:
        """Members by rows: each one's error in a 200; the answer knows no contact ids."""
        rows = given.get("members")
        if not isinstance(rows, list) or not 0 < len(rows) <= BATCH_MOST:
            raise invalid("members", f"One to {BATCH_MOST} members may be sent at once.")
        made: list[Body] = []
        updated: list[Body] = []
        errors: list[Body] = []
        for row in rows:
            try:
                there = self.audience.by_email(str(row.get("email_address") or ""))
                if there and there.status != "archived" and given.get("update_existing"):
                    updated.append(self._row(self._overwrite(there, row, given)))
                else:
                    made.append(self._row(self.audience.add(row, "api", lenient=lenient)))
            except Problem as problem:
                errors.append(row_error(row, problem))
        return {
            "new_members": made, "updated_members": updated, "errors": errors,
            "total_created": len(made), "total_updated": len(updated), "error_count": len(errors),
            "_links": [],
        }  # fmt: skip

    def _overwrite(self, there: Member, row: Body, given: Body) -> Member:
        after = self.audience.update(there, row, "api")
        wanted = [{"name": t, "status": "active"} for t in row.get("tags") or ()]
        if given.get("sync_tags"):
            wanted += [
                {"name": t, "status": "inactive"} for t in there.tags if t not in row["tags"]
            ]
        self.audience.retag(after, wanted)
        return self.audience.must(after.contact_id)

    def _row(self, member: Member) -> Body:
        return {
            k: v for k, v in self._member(member).items() if k not in ("contact_id", "full_name")
        }

    # -- the account, the list, its fields -----------------------------------------------------

    def _links(self, path: str) -> list[Body]:
        return [{"rel": "self", "href": f"{self.base}/{path}", "method": "GET"}]

    def _account(self) -> Body:
        return {
            "account_id": hash_of(self.key)[:24],
            "account_name": "Sandbox",
            "email": "owner@example.com",
            "role": "owner",
            "account_timezone": "Etc/UTC",
            "total_subscribers": self.audience.seeded.count,
            "_links": self._links(""),
        }

    def _list(self) -> Body:
        return {
            "id": self.list_id,
            "web_id": 1,
            "name": "Customers",
            "date_created": iso(self.audience.seeded.changed(0) - 1),
            "double_optin": True,
            "email_type_option": False,
            "marketing_permissions": False,
            "has_welcome": False,
            "visibility": "prv",
            "list_rating": 0,
            "stats": {"member_count": self._living()},
            "_links": self._links(f"lists/{self.list_id}"),
        }

    def _living(self) -> int:
        return self.audience.page(Query(count=0))[1]

    def _merge_fields(self, method: str, rest: list[str], given: Body) -> Body | None:
        tags = sorted(self.audience.tags)
        if method == "POST" and not rest:
            return self._merge_field(self._new_tag(given, tags))
        if method == "GET" and not rest:
            fields = [self._merge_field(t) for t in tags]
            return {
                "merge_fields": fields,
                "list_id": self.list_id,
                "total_items": len(fields),
                "_links": [],
            }
        own = next((t for t in tags if rest == [str(merge_id(t))]), None)
        if own is None:
            raise missing()
        if method == "DELETE":
            self.audience.tags.discard(own)
            return None
        return self._merge_field(own)

    def _new_tag(self, given: Body, tags: Iterable[str]) -> str:
        tag = str(given.get("tag") or "").upper()
        if not given.get("name") or not given.get("type"):
            raise invalid("name", "This value should not be blank.")
        if not tag or len(tag) > TAG_CHARACTERS or tag in tags:
            raise invalid("tag", f"A merge field with the tag {tag!r} cannot be made.")
        self.audience.tags.add(tag)
        if given.get("required"):
            self.audience.required.add(tag)
        return tag

    def _merge_field(self, tag: str) -> Body:
        return {
            "merge_id": merge_id(tag),
            "tag": tag,
            "name": tag.title(),
            "type": TYPES.get(tag, "text"),
            "required": tag in self.audience.required,
            "default_value": "",
            "public": False,
            "display_order": merge_id(tag),
            "options": {},
            "help_text": "",
            "list_id": self.list_id,
            "_links": [],
        }

    # -- webhooks ------------------------------------------------------------------------------

    def _webhooks(self, method: str, rest: list[str], given: Body) -> Body | None:
        hooks = self.hooks
        if method == "GET" and not rest:
            found = [self._hook(h) for h in hooks.held.values()]
            return {"webhooks": found, "list_id": self.list_id, "total_items": len(found)}
        if method == "POST" and not rest:
            if not str(given.get("url") or "").startswith("http"):
                raise invalid("url", "We couldn't connect to the URL provided.")
            events, sources = given.get("events") or {}, given.get("sources") or {}
            made = hooks.add(str(given["url"]), "", events, sources)
            hooks.verify(made)
            return {**self._hook(made), "signing_secret": made.secret}
        if len(rest) != 1 or rest[0] not in hooks.held:
            raise missing()
        if method == "DELETE":
            del hooks.held[rest[0]]
            return None
        hook = hooks.held[rest[0]]
        if method == "PATCH":
            hook.events |= {k: bool(v) for k, v in (given.get("events") or {}).items()}
            hook.sources |= {k: bool(v) for k, v in (given.get("sources") or {}).items()}
        return self._hook(hook)

    def _hook(self, hook: Hook) -> Body:
        return {
            "id": hook.id,
            "url": hook.url,
            "events": hook.events,
            "sources": hook.sources,
            "list_id": self.list_id,
            "_links": [],
        }

    def due(self, now_ms: int) -> list[Outgoing]:
        """Webhooks to send now."""
        return self.hooks.due(now_ms)

    def settle(self, own: str, status: int) -> None:
        """What a webhook was answered with, 0 for nothing."""
        self.hooks.settle(own, status)

    def signed(self, url: str, body: bytes) -> Mapping[str, str]:
        """The headers of a webhook to this address."""
        return self.hooks.signed(url, body)

    # -- admin ---------------------------------------------------------------------------------

    def limited(self, retry_after: int) -> httpx.Response:
        """Too many calls. Mailchimp names no time, and may say it by a 403 without a word."""
        if not retry_after:
            return httpx.Response(403, text="<html>Forbidden</html>")
        why = "You have exceeded the limit of 10 simultaneous connections."
        answer = self._refused(Problem("Too Many Requests", why, 429))
        answer.headers["Retry-After"] = str(retry_after)
        return answer

    def register_webhook(self, url: str, secret: str, events: list[str]) -> None:
        """Tell this address of what people do; no events means all."""
        self.hooks.add(url, secret, dict.fromkeys(events or EVENTS, True), {})

    def flush_webhooks(self) -> None:
        """Nothing waits any longer."""
        self.hooks.hasten()

    def act(self, op: str, obj: str, native_id: str, fields: Mapping[str, Any]) -> str:
        """A person in Mailchimp, who can also unsubscribe, sign up, tag and erase.

        `fields` are named as in the connector's field map; `tags` replaces all tags.
        """
        if obj not in ("members", "member"):
            raise LookupError(f"no object {obj!r} here, only members")
        acts: Mapping[str, Callable[[Member, Mapping[str, Any]], Any]] = {
            "update": self._edited,
            "delete": lambda m, _: self.audience.archive(m, "admin"),
            "archive": lambda m, _: self.audience.archive(m, "admin"),
            "erase": lambda m, _: self.audience.erase(m),
            "unsubscribe": lambda m, _: self._status(m, "unsubscribed"),
            "sign up": lambda m, _: self._signed_up(m),
        }
        if op not in (*acts, "create"):
            raise LookupError(f"no act {op!r}; there are: create, {', '.join(acts)}")
        try:
            if op == "create":
                given = {"status": "subscribed", **as_given({}, fields)}
                made = self.audience.add({**given, "tags": ()}, "admin", lenient=True)
                return self._edited(made, {k: v for k, v in fields.items() if k == "tags"})
            acts[op](self.audience.must(native_id), fields)
        except Problem as problem:
            raise ValueError(str(problem)) from problem
        return native_id

    def _edited(self, member: Member, fields: Mapping[str, Any]) -> str:
        self.audience.update(member, as_given(member.merge, fields), "admin")
        if "tags" in fields:
            now = self.audience.must(member.contact_id)
            on = [{"name": t, "status": "active"} for t in fields["tags"] or ()]
            off = [{"name": t, "status": "inactive"} for t in now.tags]
            self.audience.retag(now, [*off, *on])
        return member.contact_id

    def _status(self, member: Member, status: str) -> None:
        self.audience.update(member, {"status": status}, "user")

    def _signed_up(self, member: Member) -> None:
        """Through the form, and confirmed by the mail that follows: what an app cannot do."""
        stamped = replace(member, stamps=confirmed(self.clock() // 1000), status="pending")
        self.audience.update(stamped, {"status": "subscribed"}, "user")

    def _set_member_status(self, given: Mapping[str, Any]) -> Body:
        """The status of a member by address; nobody's consent is recorded by it."""
        if given.get("list_id") not in (None, "", self.list_id):
            raise LookupError(f"no list {given['list_id']!r} here, only {self.list_id}")
        member = self.audience.by_email(str(given["email"]))
        if member is None:
            raise LookupError(f"no member {given['email']!r}")
        try:
            self._status(member, str(given["status"]))
        except Problem as problem:
            raise ValueError(str(problem)) from problem
        return {"id": member.contact_id}

    def native_id(self, place: int) -> str:
        """The id of the person at a place of the population."""
        return self.audience.seeded.contact_id(place)

    def holds(self, obj: str) -> Mapping[str, Reading]:
        """Every member as they are now, by contact id, with all of their tags."""
        now = self.clock()
        reply, found = Reply(200, {}, b"", now, now), self.audience.page(Query(count=WHOLE))[0]
        return {
            m.contact_id: reading_of(
                {**self._member(m), "tags": [{"name": t} for t in m.tags]}, reply
            )
            for m in (found if obj == OBJECT else ())
        }

    def summary(self) -> Mapping[str, Any]:
        """Numbers for a person."""
        return {
            "records": {"members": self._living()},
            "archived": self.audience.page(Query(status="archived", count=0))[1],
            "webhooks": {"waiting": len(self.hooks.waiting)},
        }


PLACE: Final = {
    "latitude": 0,
    "longitude": 0,
    "gmtoff": 0,
    "dstoff": 0,
    "country_code": "",
    "timezone": "",
    "region": "",
}


# -- requests understood -----------------------------------------------------------------------


def given_in(request: httpx.Request) -> Body:
    """The JSON object of a request; raises `Problem`."""
    try:
        found = orjson.loads(request.content or b"null")
    except orjson.JSONDecodeError:
        found = ""
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Problem("JSON Parse Error", "We encountered an unspecified JSON parsing error.")
    return found


def number(params: httpx.QueryParams, name: str, otherwise: int) -> int:
    """A number that is not negative; raises `Problem`."""
    text = params.get(name, str(otherwise))
    if not text.isdigit():
        raise invalid(name, "This value should be a number.")
    return int(text)


def second(params: httpx.QueryParams, name: str, otherwise: int) -> int:
    """A time, to the second; raises `Problem`."""
    if name not in params:
        return otherwise
    try:
        found = dt.datetime.fromisoformat(params[name])
    except ValueError:
        raise invalid(name, "This value is not a valid datetime.") from None
    zoned = found if found.tzinfo else found.replace(tzinfo=dt.UTC)
    return int(zoned.timestamp() // 1)


def picked(found: Body | None, params: httpx.QueryParams) -> Body | None:
    """What `fields` and `exclude_fields` leave of an answer."""
    if found is None:
        return None
    wanted, unwanted = (
        [f.split(".") for f in ",".join(params.get_list(n)).split(",") if f]
        for n in ("fields", "exclude_fields")
    )
    kept: Body = only(found, wanted) if wanted else found
    return without(kept, unwanted) if unwanted else kept


def only(found: Any, wanted: list[list[str]]) -> Any:
    """The named fields; a name that ends here takes all below it."""
    if isinstance(found, list):
        return [only(item, wanted) for item in found]
    if not isinstance(found, dict) or [] in wanted:
        return found
    heads = {path[0] for path in wanted}
    return {
        key: only(value, [p[1:] for p in wanted if p[0] == key])
        for key, value in found.items()
        if key in heads
    }


def without(found: Any, unwanted: list[list[str]]) -> Any:
    """Everything but the named fields."""
    if isinstance(found, list):
        return [without(item, unwanted) for item in found]
    if not isinstance(found, dict):
        return found
    return {
        key: without(value, [p[1:] for p in unwanted if p[0] == key and p[1:]])
        for key, value in found.items()
        if [key] not in unwanted
    }


def row_error(row: Mapping[str, Any], problem: Problem) -> Body:
    """The error of one row of a batch."""
    named = problem.errors[0] if problem.errors else {}
    exists = problem.title == "Member Exists"
    return {
        "email_address": str(row.get("email_address") or ""),
        "error": problem.detail,
        "error_code": "ERROR_CONTACT_EXISTS" if exists else "ERROR_GENERIC",
        "field": named.get("field", ""),
        "field_message": named.get("message", ""),
    }


def merge_id(tag: str) -> int:
    """The id of a merge field, which never changes."""
    return int(hash_of(tag)[:6], 16)


def as_given(merge: Mapping[str, Any], fields: Mapping[str, Any]) -> Body:
    """What a person typed, as the API would say it; parts of an address join those there."""
    places = {part: name for part, name in PLACES.items() if name in fields}
    known = (*PLAIN, *PLACES.values(), "tags", "opt_in")
    typed: Body = {k: v or "" for k, v in fields.items() if k not in known}
    if places:
        now = merge.get(ADDRESS) or {}
        typed[ADDRESS] = {p: fields.get(PLACES[p], now.get(p)) or "" for p in PARTS.values()}
    return {**{k: fields[k] or "" for k in PLAIN if k in fields}, "merge_fields": typed}


SANDBOX = MailchimpSandbox
