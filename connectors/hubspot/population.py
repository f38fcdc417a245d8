"""A computed population for the sandbox: nothing is stored, so a million contacts cost nothing.

Contact n has the id 1001 + 2n, an e-mail address from which n can be read, and a modified time from
which n can be computed. `View` is what a population has to tell; `Seeded` is the one of all
sandboxes, `Plain` one without surprises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from connectors._kit.population import Population, company
from connectors.hubspot.portal import MODIFIED, Record, iso

FIRST_ID: Final = 1_001
STEP: Final = 2  # ids leave gaps, as real ones do
DAY_MS: Final = 86_400_000
TOGETHER: Final = 4  # contacts of one company


class View(Protocol):
    """What HubSpot holds of the customers with the numbers 0, 1, 2 …; texts under its own names."""

    def contact(self, n: int) -> Mapping[str, str]:
        """The properties of a person."""

    def company(self, n: int) -> Mapping[str, str]:
        """The properties of a company."""

    def numbers(self, email: str) -> tuple[int, ...]:
        """The persons whose e-mail address this may be."""


class Seeded:
    """The population that all sandboxes share, as HubSpot holds it: no address twice."""

    def __init__(self, seed: int, customers: int, give: Callable[[Mapping[str, Any]], Any]) -> None:
        """`give` turns values in our shapes into HubSpot's properties."""
        self.people = Population(seed, customers, "hubspot")
        self.give = give

    def contact(self, n: int) -> Mapping[str, str]:
        """A person; who comes second to an address has none."""
        values = self.people.values(n)
        mail = values["email"]
        if mail and (self.people.by_email(mail) or [n])[0] != n:
            values["email"] = None
        return {k: str(v) for k, v in self.give(values).items() if v}

    def company(self, n: int) -> Mapping[str, str]:
        """A name, a domain, a telephone number."""
        held = company(self.people.seed, n)
        return {"name": held["legal_name"], "domain": held["domain"], "phone": held["phone"]}

    def numbers(self, email: str) -> tuple[int, ...]:
        """Who comes first to the address."""
        return tuple(self.people.by_email(email)[:1])


class Plain:
    """Persons who differ in little more than their numbers."""

    given: Final = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia")
    family: Final = ("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth", "Perlman")

    def contact(self, n: int) -> Mapping[str, str]:
        """A name, an address, a telephone number."""
        return {
            "firstname": self.given[n % 7],
            "lastname": self.family[n // 7 % 7],
            "email": f"customer{n}@example.com",
            "phone": f"+49 30 {n:07d}",
            "city": "Berlin",
            "country": "Germany",
        }

    def company(self, n: int) -> Mapping[str, str]:
        """A name and a domain."""
        return {"name": f"Company {n}", "domain": f"company{n}.example"}

    def numbers(self, email: str) -> tuple[int, ...]:
        """The digits of the address."""
        found = re.fullmatch(r"customer([0-9]{1,9})@example\.com", email)
        return (int(found[1]),) if found else ()


@dataclass(frozen=True, slots=True)
class Computed:
    """The first `count` of one kind, last modified one after the other in the year before `end`."""

    kind: str
    count: int
    end: int
    view: View

    @property
    def last(self) -> int:
        """The highest id."""
        return FIRST_ID + STEP * self.count

    @property
    def pace(self) -> int:
        """Milliseconds between two modifications."""
        return max(1, 365 * DAY_MS // max(1, self.count))

    def get(self, record_id: int) -> Record | None:
        """One record."""
        n, rest = divmod(record_id - FIRST_ID, STEP)
        if rest or not 0 <= n < self.count:
            return None
        at = self.end - (self.count - n) * self.pace
        values = self.view.contact(n) if self.kind == "contacts" else self.view.company(n)
        own = {
            "createdate": iso(at - DAY_MS),
            MODIFIED[self.kind]: iso(at),
            "hs_object_id": str(record_id),
        }
        return Record(record_id, {**values, **own}, at - DAY_MS, at)

    def after(self, record_id: int) -> Iterator[int]:
        """All ids above one."""
        first = max(0, (record_id - FIRST_ID) // STEP + 1)
        return iter(range(FIRST_ID + first * STEP, FIRST_ID + self.count * STEP, STEP))

    def find(self, name: str, value: str) -> tuple[int, ...]:
        """Whose e-mail address this may be."""
        if (self.kind, name) != ("contacts", "email"):
            return ()
        return tuple(FIRST_ID + n * STEP for n in self.view.numbers(value))

    def modified(self, low: int, high: int) -> range:
        """Ids of those modified in an interval."""
        start = self.end - self.count * self.pace
        first = max(0, -((start - low) // self.pace))
        past = min(self.count, (high - start) // self.pace + 1)
        return range(FIRST_ID + first * STEP, FIRST_ID + max(first, past) * STEP, STEP)

    def ends(self, record_id: int) -> range:
        """Ids of the other kind: four contacts to a company."""
        n = (record_id - FIRST_ID) // STEP
        if self.get(record_id) is None:
            return range(0)
        first, past = (
            (n // TOGETHER, n // TOGETHER + 1)
            if self.kind == "contacts"
            else (n * TOGETHER, (n + 1) * TOGETHER)
        )
        return range(FIRST_ID + first * STEP, FIRST_ID + past * STEP, STEP)
