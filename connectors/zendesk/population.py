"""The customers that the sandbox starts with: computed from their numbers, never stored.

User n has the id FIRST_USER + 2n and was last changed at a moment that follows from n; so has
organization m. What is stored is only what was edited since, by `Table`, which lays it over them.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from connectors._kit.population import Population, base36, company, stream
from connectors.zendesk.connector import ORGANIZATIONS, USERS

FIRST_USER: Final = 360_000_001
FIRST_ORGANIZATION: Final = 460_000_001
STEP: Final = 2  # ids leave gaps, as real ones do
DAY_MS: Final = 86_400_000
AT_WORK: Final = 6  # customers of the shared population to a company,
EVERY_THIRD: Final = 3  # of whom every third works there
TAGS: Final = ("vip", "newsletter", "trial", "reseller")
SEEDED: Final = 10**12  # what is added to a user's id for the id of what belongs to it

Values = dict[str, Any]
Place = tuple[int, int]  # when it was generated (ms), and its id


@dataclass
class Record:
    """A user or an organization. Times in ms; `generated` is what exports go by."""

    id: int
    values: Values
    created: int
    updated: int
    generated: int
    state: str = "live"  # or deleted, erased, merged

    @property
    def live(self) -> bool:
        """Whether it is there."""
        return self.state == "live"

    @property
    def customer(self) -> bool:
        """Whether it counts as a customer or a company."""
        return self.live and self.values.get("role", "end-user") == "end-user"


class People:
    """What the support desk holds of the population that all sandboxes share."""

    def __init__(self, seed: int, customers: int) -> None:
        self.held = Population(seed, customers, "zendesk")
        self.users = self.held.count if customers else 0
        self.organizations = -(-customers // AT_WORK)

    def user(self, n: int) -> Values:
        """A user's values; who comes second to an address has none."""
        values = self.held.values(n)
        dice, mail = stream(self.held.seed, n, "zendesk desk"), values["email"]
        if mail and self.by_email(mail.lower()) != n:
            values["email"] = None
        known = USERS.fields.by_name
        given = USERS.fields.give({k: v for k, v in values.items() if k in known})
        who, copy = self.held.who(n)
        own = FIRST_USER + STEP * n
        at_work = who // AT_WORK if who % EVERY_THIRD == 0 and not copy else None
        return blank_user() | {
            "name": given["name"] or given["email"] or "Unknown",
            "phone": given["phone"] or None,
            "notes": "Prefers to be called" if dice.random() < 1 / 16 else "",
            "tags": sorted(t for t in TAGS if dice.random() < 1 / 8),
            "user_fields": {
                "job_title": given["user_fields.job_title"] or None,
                "birth_date": instant(given["user_fields.birth_date"]),
            },
            "identities": [identity(SEEDED + own, str(given["email"]).lower(), primary=True)]
            if given["email"]
            else [],
            "memberships": []
            if at_work is None
            else [membership(SEEDED + own, FIRST_ORGANIZATION + STEP * at_work, default=True)],
        }

    def organization(self, m: int) -> Values:
        """An organization's values."""
        held = company(self.held.seed, m)
        dice = stream(self.held.seed, m, "zendesk company")
        return blank_organization() | {
            "name": held["legal_name"],
            "domain_names": [held["domain"]],
            "organization_fields": {"phone": held["phone"] if dice.random() < 1 / 2 else None},
        }

    def by_email(self, mail: str) -> int | None:
        """The first user to whom an address leads back."""
        found = self.held.by_email(mail)
        firm = re.search(r"@firm([0-9a-z]{1,12})\.", mail)
        place = found[0] if found else self.held.place(int(firm[1], 36)) if firm else None
        return place if place is not None and place < self.users else None

    def by_name(self, name: str) -> int | None:
        """The organization to whose number a name leads back."""
        found = re.fullmatch(r"\w+ ([0-9a-z]{1,12}) .*", name.lower())
        number = int(found[1], 36) if found and base36(int(found[1], 36)) == found[1] else None
        return number if number is not None and number < self.organizations else None


def instant(day: object) -> str | None:
    """A day as Zendesk keeps it: the midnight with which it begins."""
    return f"{day}T00:00:00Z" if day else None


def identity(own: int, mail: str, *, primary: bool) -> Values:
    """An e-mail address of a user."""
    return {"id": own, "type": "email", "value": mail, "primary": primary, "verified": True}


def membership(own: int, organization: int, *, default: bool) -> Values:
    """An organization of a user."""
    return {"id": own, "organization_id": organization, "default": default}


def blank_user() -> Values:
    """A user of whom nothing is known."""
    return {
        "name": "",
        "role": "end-user",
        "phone": None,
        "notes": "",
        "details": "",
        "alias": "",
        "external_id": None,
        "tags": [],
        "user_fields": {},
        "identities": [],
        "memberships": [],
        "suspended": False,
    }


def blank_organization() -> Values:
    """An organization of which nothing is known."""
    return {
        "name": "",
        "domain_names": [],
        "details": None,
        "notes": None,
        "external_id": None,
        "tags": [],
        "organization_fields": {},
    }


@dataclass
class Table:
    """All records of one kind: the seeded ones by arithmetic, what was edited over them."""

    kind: str
    first: int
    count: int
    end: int
    values: Callable[[int], Values]
    edited: dict[int, Record] = field(default_factory=dict)
    made: list[int] = field(default_factory=list)
    log: list[Place] = field(default_factory=list)
    living: int = 0

    def __post_init__(self) -> None:
        """The seeded ones were changed one after the other in the year before the start."""
        self.living = self.count
        self.pace = max(1, 365 * DAY_MS // max(1, self.count))
        self.next = self.first + STEP * self.count

    def number(self, own: int) -> int | None:
        """Which seeded record this is."""
        n, rest = divmod(own - self.first, STEP)
        return n if not rest and 0 <= n < self.count else None

    def get(self, own: int) -> Record | None:
        """A record, also one that is deleted."""
        if own in self.edited:
            return self.edited[own]
        n = self.number(own)
        if n is None:
            return None
        at = self.at(n)
        return Record(own, self.values(n), at - DAY_MS, at, at)

    def at(self, n: int) -> int:
        """When a seeded record was changed last."""
        return self.end - (self.count - n) * self.pace

    def put(self, record: Record) -> None:
        """Keep a record that was made or changed."""
        before = self.get(record.id)
        self.living += record.customer - (before.customer if before else False)
        if before is None:
            insort(self.made, record.id)
        self.edited[record.id] = record
        insort(self.log, (record.generated, record.id))

    def new_id(self) -> int:
        """An id above all others."""
        self.next += STEP
        return self.next - STEP

    def ids(self, after: int) -> Iterator[int]:
        """All ids above one, in their order, also of those that are gone."""
        n = max(0, (after - self.first) // STEP + 1)
        seeded = range(self.first + STEP * n, self.first + STEP * self.count, STEP)
        own = self.made[bisect_left(self.made, after + 1) :]
        return heapq.merge(seeded, own)

    def changed(self, since: Place, until: int) -> Iterator[Record]:
        """Records in the order in which they were generated, from a place on."""
        for at, own in heapq.merge(self._seeded(since), self.log[bisect_left(self.log, since) :]):
            record = self.get(own)
            if at > until:
                return
            if record and record.generated == at:
                yield record

    def _seeded(self, since: Place) -> Iterator[Place]:
        n = max(0, self.count - (self.end - since[0]) // self.pace - 1)
        for k in range(n, self.count):
            place = (self.at(k), self.first + STEP * k)
            if place >= since and place[1] not in self.edited:
                yield place


def tables(people: People, end: int) -> Mapping[str, Table]:
    """Users and organizations."""
    return {
        USERS.object: Table(USERS.object, FIRST_USER, people.users, end, people.user),
        ORGANIZATIONS.object: Table(
            ORGANIZATIONS.object, FIRST_ORGANIZATION, people.organizations, end, people.organization
        ),
    }
