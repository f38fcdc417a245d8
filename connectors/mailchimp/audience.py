"""One list of the sandbox: its members, merge fields and tags, and what Mailchimp allows with them.

The seeded members are computed, never stored: member at place p was last changed p minutes after
the first one, its status and its contact id follow from p, and p from them. Who was edited, made or
taken away stands beside them in `held`.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from connectors._kit.population import Population, base36, stream
from connectors.mailchimp.answers import ADDRESS, PARTS, hash_of
from connectors.mailchimp.connector import LANGUAGES, complete

STATUSES: Final = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived")
# Which statuses seeded members have: twenty places of them, again and again.
PATTERN: Final = (
    ("subscribed",) * 13 + ("unsubscribed",) * 3 + ("cleaned",) + ("transactional",) * 3
)
STRIDE: Final = 7  # so that neighbours differ
OUT: Final = ("unsubscribed", "cleaned")
TAGS: Final = ("customer", "newsletter", "vip", "event")
MAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s.]+")
OWN_MAIL: Final = re.compile(r"m([0-9a-z]+)@post\.example\.com")
FAKE: Final = "none@none.com"
LONGEST: Final = 255
TAG_LONGEST: Final = 100
MINUTE_S: Final = 60
SCANNED_MOST: Final = 20_000
CALLER_IP: Final = "198.51.100.7"
PERSON_IP: Final = "203.0.113.9"
COUNTRY: Final = "US"

Body = dict[str, Any]


class Problem(Exception):
    """An error answer of Mailchimp's."""

    def __init__(
        self, title: str, detail: str, status: int = 400, errors: list[Body] | None = None
    ) -> None:
        super().__init__(f"{title}: {detail}")
        self.title, self.detail, self.status = title, detail, status
        self.errors = errors or []


def invalid(where: str, message: str) -> Problem:
    """A value that Mailchimp does not take."""
    detail = "The resource submitted could not be validated."
    return Problem("Invalid Resource", detail, errors=[{"field": where, "message": message}])


def missing() -> Problem:
    """What is asked for is not there."""
    return Problem("Resource Not Found", "The requested resource could not be found.", 404)


@dataclass(frozen=True)
class Member:
    """A member. Times in seconds; `serial` is the order in which members came."""

    contact_id: str
    serial: int
    email: str
    status: str
    created: int
    changed: int
    merge: Mapping[str, Any] = field(default_factory=dict)
    language: str = ""
    tags: Mapping[str, int] = field(default_factory=dict)
    vip: bool = False
    email_type: str = "html"
    stamps: Mapping[str, Any] = field(default_factory=dict)
    source: str = "API - Generic"
    left_by: str = ""  # the status that an archived member had
    out_by: str = ""  # who took one that is out off the list: user, admin or api

    @property
    def hash(self) -> str:
        """Mailchimp's `id`."""
        return hash_of(self.email)


@dataclass(frozen=True)
class Happening:
    """What a webhook may tell of. `source` is user, admin or api."""

    event: str
    member: Member
    source: str
    extra: Mapping[str, str] = field(default_factory=dict)


class Seeded:
    """The members that the list has from the start: every place of the population is one."""

    def __init__(self, seed: int, customers: int, end: int) -> None:
        self.people = Population(seed, customers, "mailchimp")
        self.count = self.people.count if customers else 0
        self.end = end

    def changed(self, place: int) -> int:
        """When the member at a place was last changed."""
        return self.end - MINUTE_S * (self.count - place)

    def places(self, since: int, before: int) -> range:
        """Places of those changed after one second and before another."""
        start = self.changed(0)
        low = max(0, (since - start) // MINUTE_S + 1)
        high = min(self.count, -((start - before) // MINUTE_S))
        return range(low, max(low, high))

    def status(self, place: int) -> str:
        """Its status, by arithmetic."""
        return PATTERN[place * STRIDE % len(PATTERN)]

    def number(self, places: range, status: str) -> int:
        """How many of these places have a status; "" means any."""
        if not status:
            return len(places)
        whole, rest = divmod(len(places), len(PATTERN))
        some = sum(self.status(p) == status for p in places[:rest])
        return whole * PATTERN.count(status) + some

    def contact_id(self, place: int) -> str:
        """Thirty-two digits, from which the place can be read."""
        return f"c{self.people.seed % 0xFFF:03x}{place:028x}"

    def place(self, contact_id: str) -> int | None:
        """The place of a contact id, None where it is of no seeded member."""
        found = re.fullmatch(r"[0-9a-f]{32}", contact_id)
        place = int(contact_id[4:], 16) if found else self.count
        return place if place < self.count and self.contact_id(place) == contact_id else None

    def by_email(self, mail: str) -> int | None:
        """The place of an address."""
        own = OWN_MAIL.fullmatch(mail)
        places = [int(own[1], 36)] if own else self.people.by_email(mail)[:1]
        known = [p for p in places if 0 <= p < self.count]
        return next((p for p in known if self.email(p).lower() == mail), None)

    def email(self, place: int) -> str:
        """The address: nobody is in a list without one, and none is there twice.

        Who has none, or comes second to one, is there under an address of another place.
        """
        mail = self.people.values(place)["email"]
        first = self.people.by_email(mail or "")[:1] == [place]
        return mail if mail and first else f"m{base36(place)}@post.example.com"

    def member(self, place: int) -> Member:
        """The member at a place."""
        held, n = self.people.values(place), self.people.who(place)[0]
        dice, status, at = stream(self.people.seed, n, "mailchimp"), self.status(place), place
        known = held["name"] or {"given": "", "family": ""}
        merge = {
            "FNAME": known["given"],
            "LNAME": known["family"],
            "PHONE": held["phone"] or "",
            "COMPANY": held["company_name"] or "",
            ADDRESS: {t: held["address"][o] for o, t in PARTS.items()}
            if complete(held["address"])
            else "",
        }
        return Member(
            self.contact_id(place), place, self.email(place), status, self.changed(place),
            self.changed(place), merge, dice.choice(("", "", "en", "de", "fr")),
            {tag: self.changed(at) for tag in TAGS if dice.random() < 1 / len(TAGS)},
            stamps=self.stamps(place, status), source="Hosted Signup Form",
        )  # fmt: skip

    def stamps(self, place: int, status: str) -> Body:
        """Every second subscriber signed up and confirmed; the others were imported."""
        if status != "subscribed" or place % 2:
            return {}
        return confirmed(self.changed(place))


def confirmed(at: int) -> Body:
    """The marks of a person who signed up and confirmed it."""
    return {
        "ip_signup": PERSON_IP,
        "timestamp_signup": at,
        "ip_opt": PERSON_IP,
        "timestamp_opt": at,
    }


@dataclass(frozen=True)
class Query:
    """Which members, in which order. `since` and `before` are seconds, both excluded."""

    status: str = ""
    since: int = -(2**40)
    before: int = 2**40
    by_change: bool = False
    newest_first: bool = False
    offset: int = 0
    count: int = 10

    def fits(self, member: Member) -> bool:
        """Whether a member is wanted; archived ones are only shown where asked for."""
        wanted = member.status == self.status if self.status else member.status != "archived"
        return wanted and self.since < member.changed < self.before


@dataclass
class Audience:
    """The list. `tell` hears of what happens."""

    seeded: Seeded
    seconds: Callable[[], int]
    tell: Callable[[Happening], None]
    held: dict[str, Member | None] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    mails: dict[str, str] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    tag_ids: dict[str, int] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=lambda: {"FNAME", "LNAME", "PHONE", "COMPANY", ADDRESS})
    made: int = 0

    # -- finding -------------------------------------------------------------------------------

    def get(self, contact_id: str) -> Member | None:
        """A member by contact id."""
        if contact_id in self.held:
            return self.held[contact_id]
        place = self.seeded.place(contact_id)
        return None if place is None else self.seeded.member(place)

    def find(self, key: str) -> Member | None:
        """A member by contact id, hash or address."""
        if "@" in key:
            return self.by_email(key)
        return self.get(key) or self.by_hash(key.lower())

    def by_email(self, mail: str) -> Member | None:
        """Who has this address now."""
        low = mail.strip().lower()
        if low in self.mails:
            return self.get(self.mails[low])
        place = self.seeded.by_email(low)
        own = None if place is None else self.seeded.contact_id(place)
        return self.get(own) if own and own not in self.held else None

    def by_hash(self, wanted: str) -> Member | None:
        """Who has this hash now. In a large list it has to have been shown or told before."""
        if wanted not in self.hashes and self.seeded.count <= SCANNED_MOST:
            for place in range(self.seeded.count):
                self.hashes.setdefault(
                    hash_of(self.seeded.email(place)), self.seeded.contact_id(place)
                )
        found = self.get(self.hashes.get(wanted, ""))
        return found if found and found.hash == wanted else None

    def must(self, key: str) -> Member:
        """A member that has to be there; raises `Problem`."""
        found = self.find(key)
        if found is None:
            raise missing()
        return found

    def page(self, query: Query) -> tuple[list[Member], int]:
        """A page, and how many there are in all."""
        ids = islice(self._ids(query), query.offset, query.offset + query.count)
        found = [m for m in map(self.get, ids) if m]
        self.hashes |= {m.hash: m.contact_id for m in found}
        return found, self._total(query)

    def _others(self, query: Query) -> list[Member]:
        return [m for m in self.held.values() if m and query.fits(m)]

    def _ids(self, query: Query) -> Iterator[str]:
        places = self.seeded.places(query.since, query.before)
        back = query.newest_first
        seeded = (
            (self.seeded.changed(p), p, self.seeded.contact_id(p))
            for p in (reversed(places) if back else places)
            if not query.status or self.seeded.status(p) == query.status
        )
        others = sorted(
            (
                (m.changed if query.by_change else m.created, m.serial, m.contact_id)
                for m in self._others(query)
            ),
            reverse=back,
        )
        left = (s for s in seeded if s[2] not in self.held)
        return (own for _, _, own in heapq.merge(left, others, reverse=back))

    def _total(self, query: Query) -> int:
        places = self.seeded.places(query.since, query.before)
        moved = [p for own in self.held if (p := self.seeded.place(own)) is not None]
        gone = sum(
            p in places and (not query.status or self.seeded.status(p) == query.status)
            for p in moved
        )
        return self.seeded.number(places, query.status) - gone + len(self._others(query))

    # -- changing ------------------------------------------------------------------------------

    def add(self, given: Mapping[str, Any], source: str, *, lenient: bool = False) -> Member:
        """A new member, or an archived one back again; raises `Problem`."""
        mail = self._address(given)
        there = self.by_email(mail)
        if there and there.status != "archived":
            why = f"{mail} is already a list member. Use PUT to insert or update list members."
            raise Problem("Member Exists", why)
        if hash_of(mail) in self.forgotten:
            why = f"{mail} was permanently deleted and cannot be re-imported."
            raise Problem("Forgotten Email Not Subscribed", why)
        if given.get("status") not in STATUSES[:-1]:
            raise invalid("status", "A status is required.")
        if there and there.left_by in OUT and given["status"] not in OUT:
            nobody_who_left(there)
        if not lenient:
            self._nothing_required_is_missing(given.get("merge_fields") or {})
        return self._add(mail, given, source, there)

    def _add(
        self, mail: str, given: Mapping[str, Any], source: str, there: Member | None
    ) -> Member:
        now = self.seconds()
        self.made += 1
        fresh = Member(f"e{self.made:031x}", self.seeded.count + self.made, mail, "", now, now)
        blank = dict.fromkeys(sorted(self.tags), "")
        stamps: Body = {"ip_opt": CALLER_IP, "timestamp_opt": now} if source == "api" else {}
        base = there or replace(fresh, merge=blank, stamps=stamps)
        made = self._changed(base, {**given, "email_address": mail}, source)
        named = [tag for tag in given.get("tags") or () if isinstance(tag, str)]
        made = replace(made, changed=now, tags={**made.tags, **dict.fromkeys(named, now)})
        self._keep(made)
        if made.status == "subscribed":
            self.tell(Happening("subscribe", made, source))
        return made

    def update(self, member: Member, given: Mapping[str, Any], source: str) -> Member:
        """What is given and different; raises `Problem`."""
        after = self._changed(member, given, source)
        if after == member:
            return member
        after = replace(after, changed=self.seconds())
        self._keep(after)
        for event, extra in news(member, after):
            self.tell(Happening(event, after, source, extra))
        return after

    def _changed(self, member: Member, given: Mapping[str, Any], source: str) -> Member:
        status = given.get("status", member.status)
        if status not in STATUSES:
            raise invalid("status", f"{status!r} is no status")
        widened = member.status in OUT and status not in (*OUT, "archived")
        if widened and source == "api" and status != "pending":
            nobody_who_left(member)
        mail = self._address(given) if "email_address" in given else member.email
        other = self.by_email(mail)
        if other and other.contact_id != member.contact_id:
            raise Problem("Member Exists", f"{mail} is already a list member.")
        language = given.get("language", member.language)
        if language and language not in LANGUAGES:
            raise invalid("language", f"{language!r} is no language")
        stamps = {k: given[k] for k in ("ip_opt", "ip_signup") if k in given}
        if source == "api" and status == "subscribed" != member.status:
            stamps = {"ip_opt": CALLER_IP, "timestamp_opt": self.seconds(), **stamps}
        merge = self._merged(member.merge, given.get("merge_fields") or {}, source)
        return replace(
            member, email=mail, status=status, merge=merge, language=language,
            vip=bool(given.get("vip", member.vip)),
            stamps={**member.stamps, **stamps} if stamps else member.stamps,
            out_by=source if status in OUT and status != member.status else member.out_by,
        )  # fmt: skip

    def _address(self, given: Mapping[str, Any]) -> str:
        mail = given.get("email_address")
        if not isinstance(mail, str) or not MAIL.fullmatch(mail) or len(mail) > LONGEST:
            raise invalid("email_address", "Please provide a valid email address.")
        if mail.lower() == FAKE:
            raise invalid("email_address", f"{mail} looks fake or invalid.")
        return mail

    def _merged(self, held: Mapping[str, Any], given: Any, source: str) -> Mapping[str, Any]:
        """Merge fields; a tag that the list does not have is passed over in silence."""
        if not isinstance(given, Mapping):
            raise invalid("merge_fields", "Schema describes object, another type found instead")
        found = dict(held)
        for tag, value in given.items():
            if tag in self.tags:
                found[tag] = address(value, source) if tag == ADDRESS else short(tag, value)
        return found

    def _nothing_required_is_missing(self, merge: Mapping[str, Any]) -> None:
        for tag in sorted(self.required):
            if not merge.get(tag):
                raise invalid(tag, "This value should not be blank.")

    def archive(self, member: Member, source: str) -> None:
        """Out of sight, and not forgotten."""
        if member.status == "archived":
            raise missing()
        kept = replace(member, status="archived", left_by=member.status, changed=self.seconds())
        self._keep(kept)
        self.tell(
            Happening("unsubscribe", member, source, {"action": "delete", "reason": "manual"})
        )

    def erase(self, member: Member) -> None:
        """For good: no webhook tells of it, and the address never comes back."""
        self.held[member.contact_id] = None
        self.mails.pop(member.email.lower(), None)
        self.forgotten.add(member.hash)

    def retag(self, member: Member, rows: Any) -> None:
        """Tags on or off; neither a time stamp nor a webhook tells of it."""
        tags = dict(member.tags)
        for row in rows if isinstance(rows, list) else []:
            name = row.get("name") if isinstance(row, dict) else None
            if not isinstance(name, str) or not name or len(name) > TAG_LONGEST:
                raise invalid("tags", "A tag needs a name of up to a hundred characters.")
            if row.get("status") == "inactive":
                tags.pop(name, None)
            else:
                tags.setdefault(name, self.seconds())
        self._keep(replace(member, tags=tags))

    def tag_id(self, name: str) -> int:
        """The id of a tag's name."""
        return self.tag_ids.setdefault(name, len(self.tag_ids) + 1)

    def _keep(self, member: Member) -> None:
        before = self.get(member.contact_id)
        if before:
            self.mails.pop(before.email.lower(), None)
        self.held[member.contact_id] = member
        self.mails[member.email.lower()] = member.contact_id
        self.hashes[member.hash] = member.contact_id


def nobody_who_left(member: Member) -> None:
    """Who has left, or bounced, comes back only by an act of their own; raises `Problem`.

    Whom an app took off the list it may put on it again.
    """
    if member.out_by == "api":
        return
    why = f"{member.email} is already in a compliance state (unsubscribe, bounce, or compliance "
    why += "review) and cannot be subscribed by the API."
    raise Problem("Member In Compliance State", why)


def news(before: Member, after: Member) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The webhooks that a change makes."""
    if after.email != before.email:
        yield "upemail", {"old_email": before.email}
    if after.status != before.status and after.status == "subscribed":
        yield "subscribe", {}
    if after.status != before.status and after.status == "unsubscribed":
        yield "unsubscribe", {"action": "unsub", "reason": "manual"}
    if after.status != before.status and after.status == "cleaned":
        yield "cleaned", {"campaign_id": "", "reason": "hard"}
    profile = ("merge", "language", "vip", "email_type")
    if any(getattr(before, name) != getattr(after, name) for name in profile):
        yield "profile", {}


def short(tag: str, value: Any) -> str:
    """The text of a merge field; raises `Problem`."""
    if isinstance(value, list | dict | bool) or value is None:
        raise invalid(tag, "Schema describes string, another type found instead")
    if len(str(value)) > LONGEST:
        raise invalid(tag, f"This value is too long. It should have {LONGEST} characters or less.")
    return str(value).strip()


def address(value: Any, source: str) -> Any:
    """An address by the rule "all or nothing"; an app that names no country means the US."""
    if value in ("", {}):
        return ""
    if not isinstance(value, Mapping):
        raise invalid(ADDRESS, "Schema describes object, another type found instead")
    parts = {part: short(ADDRESS, value.get(part) or "") for part in PARTS.values()}
    if not any(parts.values()):
        return ""
    if not all(parts[p] for p in ("addr1", "city", "state", "zip")) and source == "api":
        raise invalid(ADDRESS, "Please enter a complete address")
    return {**parts, "country": parts["country"] or COUNTRY}
