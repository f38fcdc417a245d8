"""What a support desk lets happen to users and organizations: Zendesk's laws, without addresses."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Final

from connectors.zendesk.hooks import Hooks
from connectors.zendesk.population import (
    AT_WORK,
    EVERY_THIRD,
    FIRST_ORGANIZATION,
    FIRST_USER,
    SEEDED,
    STEP,
    People,
    Record,
    Values,
    blank_organization,
    blank_user,
    identity,
    membership,
    tables,
)

USERS: Final = "users"
ORGANIZATIONS: Final = "organizations"
WORD: Final = {USERS: "user", ORGANIZATIONS: "organization"}
CUSTOM: Final = {USERS: "user_fields", ORGANIZATIONS: "organization_fields"}
PLAIN: Final = {
    USERS: ("name", "phone", "notes", "details", "alias", "role", "external_id", "suspended"),
    ORGANIZATIONS: ("name", "details", "notes", "external_id"),
}
LONGEST: Final = {"name": 255, "phone": 255, "external_id": 255}
LONGEST_TEXT: Final = 65_535
DONE: Final = {"create": "Created", "update": "Updated", "destroy": "Deleted"}
# What an empty field of a user is shown as; of an organization, null.
NOTHING: Final[Mapping[str, Mapping[str, object]]] = {
    USERS: {"notes": "", "details": "", "alias": "", "role": "end-user", "suspended": False}
}
MAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
NAMELESS: Final = "Permanently Deleted User"
JOB_MS: Final = 600
PAGE_MOST: Final = 100
# The event that tells of a change; of others nothing is told.
TOLD: Final = {
    "name": "name_changed",
    "notes": "notes_changed",
    "details": "details_changed",
    "alias": "alias_changed",
    "external_id": "external_id_changed",
    "tags": "tags_changed",
    "role": "role_changed",
    "phone": "identity_changed",
    "identities": "identity_changed",
    "user_fields": "custom_field_changed",
    "organization_fields": "custom_field_changed",
}
NEVER_TOLD: Final = {ORGANIZATIONS: ("notes", "details", "domain_names")}


class Refusal(Exception):
    """An error answer of Zendesk's."""

    def __init__(self, status: int, error: str, text: str, **more: Any) -> None:
        super().__init__(text)
        self.status = status
        self.body: dict[str, Any] = {"error": error, "description": text, **more}


def invalid(name: str, why: str, kind: str = "InvalidValue") -> Refusal:
    """A record that cannot be kept, because of one field."""
    text = f"{name.replace('_', ' ').capitalize()}: {why}"
    found = Refusal(422, "RecordInvalid", text)
    found.body["description"] = "Record validation errors"
    found.body["details"] = {name: [{"description": text, "error": kind}]}
    return found


def taken(name: str, value: str, what: str) -> Refusal:
    """A value that another record has already."""
    return invalid(name, f"{value} is already being used by another {what}", "DuplicateValue")


def missing() -> Refusal:
    """A record that is not there."""
    return Refusal(404, "RecordNotFound", "Not found")


@dataclass
class Job:
    """Work that is done a little later."""

    id: str
    kind: str
    ready: int
    work: Callable[[], list[Any]]
    total: int
    results: list[Any] | None = None


@dataclass
class Support:
    """One account."""

    seed: int
    customers: int
    now: Callable[[], int]
    hooks: Hooks
    bulk_imports: bool = False  # of users, which Zendesk allows on request only
    several: bool = True  # organizations of one user
    jobs: dict[str, Job] = field(default_factory=dict)
    merges: list[dict[str, Any]] = field(default_factory=list)
    custom: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)  # of memberships made here: their user
    mails: dict[str, int] = field(default_factory=dict)
    externals: dict[str, dict[str, int]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        """Those who work here are there before any customer."""
        self.people = People(self.seed, self.customers)
        self.tables = tables(self.people, self.now())
        self.custom = {kind: {} for kind in CUSTOM.values()}
        self.externals = {USERS: {}, ORGANIZATIONS: {}}
        began = self.now() - 400 * 86_400_000
        for n, role in enumerate(("admin", "agent", "agent")):
            own, mail = FIRST_USER - STEP * (n + 1), f"{role}{n}@support.example.com"
            values = blank_user() | {"name": f"{role} {n}".title(), "role": role}
            values["identities"] = [identity(SEEDED + own, mail, primary=True)]
            self._keep(USERS, Record(own, values, began, began, began))

    # -- records -------------------------------------------------------------------------------

    def get(self, kind: str, own: int) -> Record:
        """A record that is there; raises Refusal."""
        record = self.tables[kind].get(own)
        if record is None or not record.live:
            raise missing()
        return record

    def living(self, kind: str, after: int = 0) -> Iterator[Record]:
        """All that are there, in the order of their ids."""
        for own in self.tables[kind].ids(after):
            record = self.tables[kind].get(own)
            if record and record.live:
                yield record

    def create(self, kind: str, given: Mapping[str, Any]) -> Record:
        """A new record."""
        blank = blank_user() if kind == USERS else blank_organization()
        draft = Record(0, blank, self.now(), self.now(), self.now())
        if kind == USERS and given.get("email"):
            self._add_mail(draft, str(given["email"]))
        self._apply(kind, draft, given)
        self._require(kind, draft)
        draft.id = self.tables[kind].new_id()
        if kind == USERS and given.get("organization_id"):
            self._join(draft, int(given["organization_id"]))
        self._keep(kind, draft)
        self.hooks.tell(WORD[kind], "created", draft, self.now())
        return draft

    def update(self, kind: str, own: int, given: Mapping[str, Any]) -> Record:
        """Change what is named, whole sets included; what Zendesk does not know is dropped."""
        before = self.get(kind, own)
        draft = self._draft(before)
        if kind == USERS and given.get("email"):
            self._add_mail(draft, str(given["email"]))
        self._apply(kind, draft, given)
        self._require(kind, draft)
        if kind == USERS and given.get("organization_id"):
            self._default(draft, int(given["organization_id"]))
        return self._changed(kind, before, draft)

    def create_or_update(self, kind: str, given: Mapping[str, Any]) -> tuple[Record, bool]:
        """By external id in any case, which is rewritten, or by e-mail; whether it is new."""
        own = self.by_external(kind, str(given.get("external_id") or ""))
        if own is None and kind == USERS and given.get("email"):
            own = self.by_mail(str(given["email"]))
        if own is None:
            return self.create(kind, given), True
        known = {k: v for k, v in given.items() if k != "email" or not self.by_mail(str(v))}
        return self.update(kind, own, known), False

    def _draft(self, record: Record) -> Record:
        return replace(record, values=deepcopy(record.values))

    def _changed(self, kind: str, before: Record, after: Record) -> Record:
        """Keep it and tell of it, if anything is different."""
        names = [k for k, v in after.values.items() if before.values.get(k) != v]
        if not names:
            return before
        after.updated = after.generated = self.now()
        self._keep(kind, after)
        for event in dict.fromkeys(self._events(kind, names)):
            self.hooks.tell(WORD[kind], event, after, self.now())
        return after

    def _events(self, kind: str, names: list[str]) -> Iterator[str]:
        silent = NEVER_TOLD.get(kind, ())
        return (TOLD[n] for n in names if n in TOLD and n not in silent)

    def _keep(self, kind: str, record: Record) -> None:
        self.tables[kind].put(record)
        if kind == USERS:
            self.mails |= {i["value"]: record.id for i in record.values["identities"]}
        else:
            self.names[record.values["name"].lower()] = record.id
        if record.values["external_id"]:
            self.externals[kind][record.values["external_id"].lower()] = record.id

    # -- what a record may hold ----------------------------------------------------------------

    def _apply(self, kind: str, draft: Record, given: Mapping[str, Any]) -> None:
        for name in PLAIN[kind]:
            if name in given:
                draft.values[name] = given[name] or NOTHING.get(kind, {}).get(name)
        if "tags" in given:
            draft.values["tags"] = spelled(given["tags"])
        if "domain_names" in given and kind == ORGANIZATIONS:
            held = given["domain_names"]
            draft.values["domain_names"] = [held] if isinstance(held, str) else list(held or ())
        outer = CUSTOM[kind]
        for key, value in (given.get(outer) or {}).items():
            if key in self.custom[outer]:
                kept = self._custom_value(outer, key, value)
                draft.values[outer] = {**draft.values[outer], key: kept}

    def _custom_value(self, outer: str, key: str, value: Any) -> Any:
        if value in (None, ""):
            return None
        if self.custom[outer][key].get("type") != "date":
            if len(str(value)) > LONGEST_TEXT:
                raise invalid(key, f"is too long (maximum is {LONGEST_TEXT} characters)")
            return value
        try:
            return f"{dt.date.fromisoformat(str(value)[:10])}T00:00:00Z"
        except ValueError as error:
            raise invalid(key, "is not a date") from error

    def _require(self, kind: str, draft: Record) -> None:
        name = str(draft.values["name"] or "").strip()
        if not name:
            raise invalid("name", "is too short (minimum is 1 characters)")
        draft.values["name"] = name
        for field_name in PLAIN[kind]:
            most = LONGEST.get(field_name, LONGEST_TEXT)
            if len(str(draft.values[field_name] or "")) > most:
                raise invalid(field_name, f"is too long (maximum is {most} characters)")
        if any(len(d) > LONGEST["name"] for d in draft.values.get("domain_names", ())):
            raise invalid("domain_names", "is too long")
        external = str(draft.values["external_id"] or "")
        if external and self.by_external(kind, external) not in (None, draft.id):
            raise taken("external_id", external, WORD[kind])
        if kind == ORGANIZATIONS and self.by_name(name) not in (None, draft.id):
            raise taken("name", name, "organization")

    def by_external(self, kind: str, external: str) -> int | None:
        """Whose external id this is, in any case."""
        return self._held(
            kind,
            self.externals[kind].get(external.lower()),
            lambda v: str(v["external_id"] or "").lower() == external.lower(),
        )

    def by_mail(self, mail: str) -> int | None:
        """Whose e-mail address this is, the primary or another one."""
        wanted = mail.strip().lower()
        place = self.people.by_email(wanted)
        near = None if place is None else FIRST_USER + STEP * place
        return next(
            (
                own
                for found in (self.mails.get(wanted), near)
                if (own := self._held(USERS, found, lambda v: wanted in mails_of(v)))
            ),
            None,
        )

    def by_name(self, name: str) -> int | None:
        """Whose name this is, of organizations."""
        number = self.people.by_name(name)
        near = None if number is None else FIRST_ORGANIZATION + STEP * number
        return next(
            (
                own
                for found in (self.names.get(name.lower()), near)
                if (own := self._held(ORGANIZATIONS, found, lambda v: same(v["name"], name)))
            ),
            None,
        )

    def _held(self, kind: str, own: int | None, holds: Callable[[Values], bool]) -> int | None:
        """The id, if that record is there and holds what is looked for."""
        record = self.tables[kind].get(own) if own is not None else None
        return record.id if record and record.live and holds(record.values) else None

    # -- identities ----------------------------------------------------------------------------

    def new_id(self) -> int:
        """A number for something small."""
        self.count += 1
        return 2 * SEEDED + self.count

    def _add_mail(self, draft: Record, mail: str, *, primary: bool = False) -> Values:
        """A further address; the first one is the primary one."""
        wanted = self._valid_mail(draft, mail)
        held = draft.values["identities"]
        if wanted in mails_of(draft.values):
            return next(i for i in held if i["value"] == wanted)
        made = identity(self.new_id(), wanted, primary=primary or not held)
        if made["primary"]:
            held = [{**i, "primary": False} for i in held]
        draft.values["identities"] = [*held, made]
        return made

    def _valid_mail(self, draft: Record, mail: str) -> str:
        wanted = mail.strip().lower()
        if not MAIL.fullmatch(wanted) or len(wanted) > LONGEST["name"]:
            raise invalid("email", f"{mail[:100]} is not properly formatted")
        if self.by_mail(wanted) not in (None, draft.id):
            raise taken("email", mail, "user")
        return wanted

    def identities(
        self, user: int, act: str, own: int = 0, given: Mapping[str, Any] | None = None
    ) -> Values:
        """Add an identity, change its value, make it the primary one, or take it away."""
        before, asked = self.get(USERS, user), given or {}
        draft = self._draft(before)
        held = draft.values["identities"]
        found = next((i for i in held if i["id"] == own), None)
        if act == "add":
            found = self._add_mail(
                draft, str(asked.get("value") or ""), primary=asked.get("primary") is True
            )
        elif found is None:
            raise missing()
        elif act == "change" and asked.get("value"):
            found["value"] = self._valid_mail(draft, str(asked["value"]))
        elif act == "primary":
            draft.values["identities"] = [{**i, "primary": i is found} for i in held]
        elif act == "remove":
            draft.values["identities"] = promoted([i for i in held if i is not found])
        self._changed(USERS, before, draft)
        return found

    # -- organizations of users ----------------------------------------------------------------

    def join(self, user: int, organization: int, *, default: bool = False) -> Values:
        """A membership; it moves no `updated_at`, only what exports go by."""
        before = self.get(USERS, user)
        self.get(ORGANIZATIONS, organization)
        draft = self._draft(before)
        made = self._join(draft, organization)
        if default:
            self._default(draft, organization)
        self._touch(draft, "organization_membership_created")
        return next(m for m in draft.values["memberships"] if m["id"] == made["id"])

    def _join(self, draft: Record, organization: int) -> Values:
        self.get(ORGANIZATIONS, organization)
        held = draft.values["memberships"]
        if any(m["organization_id"] == organization for m in held):
            raise invalid("user_id", "has already been taken: already a member")
        if held and not self.several:
            raise invalid("organization_id", "a user may be in one organization only")
        made = membership(self.new_id(), organization, default=not held)
        self.owners[made["id"]] = draft.id
        draft.values["memberships"] = [*held, made]
        return made

    def _default(self, draft: Record, organization: int) -> None:
        held = draft.values["memberships"]
        if not any(m["organization_id"] == organization for m in held):
            draft.values["memberships"] = held if self.several else []
            self._join(draft, organization)
        rows = [
            {**m, "default": m["organization_id"] == organization}
            for m in draft.values["memberships"]
        ]
        draft.values["memberships"] = sorted(rows, key=lambda m: not m["default"])

    def make_default(self, user: int, organization: int) -> None:
        """The organization that a user shows from now on."""
        draft = self._draft(self.get(USERS, user))
        self._default(draft, organization)
        self._touch(draft, "organization_membership_created")

    def leave(self, user: int, organization: int) -> None:
        """A user is no longer in an organization; the next one becomes the default."""
        draft = self._draft(self.get(USERS, user))
        held = [m for m in draft.values["memberships"] if m["organization_id"] != organization]
        if len(held) == len(draft.values["memberships"]):
            raise missing()
        if held and not any(m["default"] for m in held):
            held[0] = {**held[0], "default": True}
        draft.values["memberships"] = held
        self._touch(draft, "organization_membership_deleted")

    def _touch(self, draft: Record, event: str) -> None:
        draft.generated = self.now()
        self._keep(USERS, draft)
        if event:
            self.hooks.tell("user", event, draft, self.now())

    def touch(self, kind: str, own: int) -> None:
        """Zendesk itself works on a record: exports show it again, its times stay."""
        record = self.get(kind, own)
        self._keep(kind, replace(record, generated=self.now()))

    def owner(self, own: int) -> tuple[Record, Values]:
        """The user of a membership, and the membership."""
        user = self.owners.get(own, own - SEEDED)
        record = self.get(USERS, user)
        for found in record.values["memberships"]:
            if found["id"] == own:
                return record, found
        raise missing()

    def members(self, organization: int) -> Iterator[Record]:
        """All users of an organization."""
        return (
            r
            for r in self.living(USERS)
            if any(m["organization_id"] == organization for m in r.values["memberships"])
        )

    # -- the end of records --------------------------------------------------------------------

    def delete(self, kind: str, own: int) -> Record:
        """A user stays to be seen, inactive; an organization is gone."""
        draft = self._draft(self.get(kind, own))
        draft.state = "deleted"
        draft.updated = draft.generated = self.now()
        self._keep(kind, draft)
        self.hooks.tell(WORD[kind], "deleted", draft, self.now())
        if kind == ORGANIZATIONS:
            for member in self._members_at_hand(own):
                self.leave(member, own)
        return draft

    def _members_at_hand(self, organization: int) -> list[int]:
        """Members of an organization, from where they can be without reading all users."""
        number = self.tables[ORGANIZATIONS].number(organization)
        edited = [r.id for r in self.tables[USERS].edited.values() if r.live]
        places = () if number is None else (self.people.held.place(c) for c in at_work(number))
        seeded = [FIRST_USER + STEP * p for p in places if p is not None]
        found = (self.tables[USERS].get(i) for i in dict.fromkeys([*edited, *seeded]))
        return [
            r.id
            for r in found
            if r
            and r.live
            and organization in [m["organization_id"] for m in r.values["memberships"]]
        ]

    def erase(self, own: int) -> Record:
        """A deleted user's data go for good."""
        record = self.tables[USERS].get(own)
        if record is None or record.state != "deleted":
            raise missing()
        values = blank_user() | {"name": NAMELESS, "role": record.values["role"]}
        draft = replace(record, values=values, state="erased", generated=self.now())
        self._keep(USERS, draft)
        return draft

    def merge_users(self, loser: int, winner: int) -> Record:
        """The winner gets the loser's addresses and organizations; no link is left behind."""
        lost, won = self.get(USERS, loser), self._draft(self.get(USERS, winner))
        if loser == winner or not (lost.customer and won.customer):
            raise Refusal(422, "InvalidMerge", "Only two different end users can be merged")
        gone = self._draft(lost)
        gone.values["identities"], gone.values["memberships"] = [], []
        gone.state, gone.generated = "merged", self.now()
        self._keep(USERS, gone)
        moved = [{**i, "primary": False} for i in lost.values["identities"]]
        won.values["identities"] = promoted([*won.values["identities"], *moved])
        ours = {m["organization_id"] for m in won.values["memberships"]}
        for m in lost.values["memberships"]:
            if m["organization_id"] not in ours and (self.several or not ours):
                self._join(won, m["organization_id"])
        won.updated = won.generated = self.now()
        self._keep(USERS, won)
        self.hooks.tell("user", "merged", won, self.now(), user={"id": str(loser)})
        return won

    def merge_organizations(self, loser: int, winner: int) -> dict[str, Any]:
        """Users and domains move to the winner; the loser's other fields are lost."""
        lost, won = self.get(ORGANIZATIONS, loser), self._draft(self.get(ORGANIZATIONS, winner))
        if loser == winner:
            raise Refusal(422, "InvalidMerge", "An organization cannot be merged into itself")
        for member in self._members_at_hand(loser):
            draft = self._draft(self.get(USERS, member))
            if all(m["organization_id"] != winner for m in draft.values["memberships"]):
                draft.values["memberships"] = [
                    {**m, "organization_id": winner} if m["organization_id"] == loser else m
                    for m in draft.values["memberships"]
                ]
                self._touch(draft, "organization_membership_created")
        names = won.values["domain_names"]
        moved = [d for d in lost.values["domain_names"] if d not in names]
        won.values["domain_names"] = [*names, *moved]
        won.updated = won.generated = self.now()
        self._keep(ORGANIZATIONS, won)
        self.delete(ORGANIZATIONS, loser)
        return self._merged(loser, winner)

    def _merged(self, loser: int, winner: int) -> dict[str, Any]:
        made = {
            "id": f"01MERGE{len(self.merges):019d}",
            "loser_id": loser,
            "winner_id": winner,
            "status": "complete",
        }
        self.merges.append(made)
        return made

    # -- jobs ----------------------------------------------------------------------------------

    def start(self, kind: str, total: int, work: Callable[[], list[Any]]) -> Job:
        """Queue work."""
        own = f"{self.seed:08x}{len(self.jobs):024x}"
        self.jobs[own] = Job(own, kind, self.now() + JOB_MS, work, total)
        return self.jobs[own]

    def run_jobs(self) -> None:
        """Do what is due."""
        for job in self.jobs.values():
            if job.results is None and job.ready <= self.now():
                job.results = job.work()

    def many(
        self, kind: str, rows: Sequence[Mapping[str, Any]], act: str, one: Callable[..., Record]
    ) -> list[Any]:
        """Every row of a job by itself, in order."""
        results: list[Any] = []
        for n, row in enumerate(rows):
            try:
                own = one(row).id
                made = {"index": n} if act == "create" else {"action": act, "success": True}
                results.append({"id": own, "status": DONE[act], **made})
            except Refusal as refusal:
                results.append(self._failed(kind, n, row, act, refusal))
        return results

    def _failed(
        self, kind: str, n: int, row: Mapping[str, Any], act: str, refusal: Refusal
    ) -> dict[str, Any]:
        name = f"{WORD[kind].capitalize()}{act.capitalize()}Error"
        lost = refusal.status == 404  # noqa: PLR2004
        return {
            "id": int(row.get("id") or n),
            "action": act,
            "success": False,
            "error": "RecordNotFound" if lost else name,
            "details": str(refusal),
        }


def mails_of(values: Values) -> list[str]:
    """All e-mail addresses of a user."""
    return [i["value"] for i in values["identities"]]


def promoted(identities: list[Values]) -> list[Values]:
    """Identities of which one is the primary one, where there is any."""
    if identities and not any(i["primary"] for i in identities):
        return [{**identities[0], "primary": True}, *identities[1:]]
    return identities


def spelled(given: Any) -> list[str]:
    """Tags as they are kept: split at spaces and commas, without capitals, each once."""
    words = " ".join(map(str, given)) if isinstance(given, list) else str(given or "")
    return list(dict.fromkeys(w for w in re.split(r"[\s,;]+", words.lower()) if w))


def same(one: object, other: str) -> bool:
    """Whether two names are one to Zendesk."""
    return str(one).lower() == other.lower()


def at_work(number: int) -> range:
    """The customers of the shared population who may work for a company."""
    return range(number * AT_WORK, (number + 1) * AT_WORK, EVERY_THIRD)
