"""The seeded population behind every sandbox: messy, overlapping, and computed, never stored.

Customer n is the same person for every tool that asks; a tool holds its own, imperfect copy. What
a tool holds at place i, and at which place customer n is, follows by arithmetic, so a million
customers cost nothing. Every fifth customer is missing in a tool (another fifth in each), every
sixty-fourth is there twice. `truth` knows who is who.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from connectors._kit.fieldmap import ADDRESS_PARTS

_GIVEN = """
Ada Adam Agnes Aisha Alan Alba Alice Amara Amir Ana Anders Andrea Anna Anton Astrid Aylin Beatriz
Bence Bert Birgit Bo Boris Bruno Carla Carmen Cem Chiara Clara Colin Dana Daniel Daria David Deniz
Diana Dora Edith Eino Elena Elias Ella Emil Emma Erik Esther Eva Farid Fatima Felix Fiona Flora
Frank Freya Gabriel Gemma Georg Gina Greta Gustav Hana Hannah Harald Hassan Heidi Helen Henrik
Hugo Ida Igor Ilse Imran Ingrid Irene Isla Ivan Jakob Jana Jasper Joan Jonas Jorge Julia Kai Karin
Karl Katya Keiko Klara Lars Laura Lea Leila Lena Leo Lina Linus Lorenz Lotte Lucia Luis Magda Maja
Malik Marco Maria Marie Mario Marta Max Mehmet Mia Milan Mila Mona Nadia Nils Nina Nora Olga Omar
Oskar Otto Paul Petra Pia Priya Quentin Rafael Rana Rita Robin Rosa Ruth Samir Sara Selma Sofia
Stella Sven Tamar Tara Theo Tilda Tomas Ulla Uma Vera Viktor Wanda Willem Yara Yusuf Zoe Zofia
René José Søren Zoë Günther Jürgen Łukasz Çağla Nguyễn Björn André Noémie
"""
_FAMILY = """
Abbott Acker Adler Almeida Amsel Arden Aydin Bach Baker Barros Bauer Becker Bell Berg Bianchi Birk
Blum Bogdan Brandt Brenner Brook Bruns Burger Calder Campos Carver Castro Chandra Clarke Conti
Costa Cramer Dahl Dalton Danner Demir Dietz Dixon Doyle Drake Duarte Eberle Ekberg Ellis Engel
Erdem Evans Faber Falk Farkas Ferrari Fiedler Fink Fischer Fleming Forster Franke Frost Fuchs
Gallo Garcia Geiger Gibson Gomes Graf Greco Grimm Gross Gruber Haas Hahn Hale Hansen Harper
Hartwig Haug Heller Hess Hoffmann Holm Horvath Huber Hunt Ibsen Jansen Jensen Joshi Kaiser Kaplan
Karlsen Kaya Keller Kern Kerr Klein Koch Kovacs Kramer Krause Kruger Lang Larsen Lehmann Lenz Lind
Lopez Lorenz Ludwig Lund Maier Marino Marsh Martins Mayer Meyer Moreau Moser Muller Nagel Navarro
Neumann Nolan Novak Nowak Olsen Orlov Ortega Otto Palmer Park Patel Pavlov Pereira Petit Pfeiffer
Pohl Popov Porter Quinn Raab Ramos Rao Reid Reuter Ricci Richter Ritter Rossi Roth Rubin Ruiz
Russo Salazar Santos Schmidt Schulz Seidel Serra Sharma Silva Simon Sommer Soto Stein Stone Stahl
Suarez Tanaka Teller Thoma Torres Ulrich Vargas Vidal Vogel Voss Wagner Walsh Weber Wells Werner
Winter Wolf Yilmaz Young Zanetti Zeller Ziegler Zimmer Öztürk Müller Håkansson Šimić Wiśniewski
"""
GIVEN, FAMILY = tuple(_GIVEN.split()), tuple(_FAMILY.split())
SCRIPTS = (
    {"given": "伟", "family": "王"},
    {"given": "يوسف", "family": "حداد"},
    {"given": "Анна", "family": "Петрова"},
    {"given": "花子", "family": "山田"},
)
CITIES = {
    "US": (("Springfield", "IL", "627"), ("Portland", "OR", "972"), ("Austin", "TX", "787")),
    "DE": (("Berlin", "", "10"), ("Hamburg", "", "20"), ("München", "", "80")),
    "GB": (("Leeds", "", "LS1 "), ("Bristol", "", "BS1 "), ("York", "", "YO1 ")),
    "FR": (("Lyon", "", "69"), ("Nantes", "", "44"), ("Lille", "", "59")),
    "AT": (("Wien", "", "1"), ("Graz", "", "8"), ("Linz", "", "4")),
}
PREFIX = {"US": "+1", "DE": "+4915", "GB": "+447", "FR": "+336", "AT": "+43664"}
DIGITS = {"US": 10, "DE": 9, "GB": 9, "FR": 8, "AT": 7}
STREETS = ("Mill Lane", "Hauptstrasse", "High Street", "Rue Neuve", "Park Road", "Gartenweg")
TITLES = ("Engineer", "Head of Sales", "Accountant", "Nurse", "Teacher", "Buyer", "Director")
WORDS = ("Nordwind", "Bluestone", "Alder", "Kestrel", "Lumen", "Harbour", "Quarry", "Vega")
FORMS = ("GmbH", "Ltd", "Inc.", "SARL", "AG")
MISSING = {"hubspot": 4, "stripe": 1, "mailchimp": 2, "zendesk": 3}
FIFTHS, TWICE, FAMILY_SIZE = 5, 64, 2
HALF = 0.5
ROLES = ("info", "sales", "office")
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def stream(seed: int, n: int, purpose: str) -> random.Random:
    """A random stream of its own for each customer and purpose."""
    name = f"{seed}/{n}/{purpose}".encode()
    return random.Random(int.from_bytes(blake2b(name, digest_size=8).digest()))


def base36(n: int) -> str:
    """A number in 36 digits."""
    text = ""
    while n or not text:
        n, digit = divmod(n, 36)
        text = ALPHABET[digit] + text
    return text


@dataclass(frozen=True, slots=True)
class Person:
    """Who somebody really is. `email` is None, a role address or a placeholder for a few."""

    n: int
    values: Mapping[str, Any]
    company: int | None
    own_mailbox: bool


@lru_cache(4096)
def customer(seed: int, n: int) -> Person:
    """Customer n. Two of a household share an address; a few couples share a mailbox as well."""
    dice = stream(seed, n, "person")
    partner = n % 14 == FAMILY_SIZE and n > 0
    home = customer(seed, n - 1) if partner else None
    name = person_name(dice, n, home)
    country = (
        home.values["address"]["country"]
        if home and home.values["address"]
        else dice.choice(list(CITIES))
    )
    mail, own = mailbox(dice, n, name, home)
    at_work = n // 6 if n % 3 == 0 else None
    return Person(
        n,
        {
            "name": name,
            "email": mail,
            "phone": phone_of(seed, n, country),
            "address": home.values["address"] if home else address_of(dice, n, country),
            "birth_date": f"{dice.randrange(1940, 2006)}-{dice.randrange(1, 13):02d}-"
            f"{dice.randrange(2, 29):02d}"
            if dice.random() < HALF
            else None,
            "job_title": dice.choice(TITLES) if dice.random() < HALF else None,
            "company_name": company(seed, at_work)["legal_name"] if at_work is not None else None,
        },
        at_work,
        own,
    )


def person_name(dice: random.Random, n: int, home: Person | None) -> dict[str, str]:
    """A name; a partner has kept a name of their own, so two of a household share no word."""
    if n % 97 == 0 and n:
        return dict(SCRIPTS[n // 97 % len(SCRIPTS)])
    given, family = dice.choice(GIVEN), dice.choice(FAMILY)
    while home and (
        given == home.values["name"]["given"] or family == home.values["name"]["family"]
    ):
        given, family = dice.choice(GIVEN), dice.choice(FAMILY)
    return {"given": given, "family": family}


def mailbox(
    dice: random.Random, n: int, name: Mapping[str, str], home: Person | None
) -> tuple[str | None, bool]:
    """An address that leads back to n, and whether it is one person's alone."""
    if home and n % 28 == FAMILY_SIZE and number_of(home.values["email"] or "") == n - 1:
        return home.values["email"], False
    odd = dice.random()
    if odd < 0.03:  # noqa: PLR2004
        return None, False
    if odd < 0.05:  # noqa: PLR2004
        return f"{dice.choice(ROLES)}@firm{base36(n)}.example.com", False
    if odd < 0.06:  # noqa: PLR2004
        return "none@none.com", False
    plain = "".join(c for c in name["given"].lower() if c.isascii() and c.isalpha()) or "post"
    shared_later = (n + 1) % 28 == FAMILY_SIZE
    return f"{plain}.{base36(n)}@mail.example.com", not shared_later


def number_of(email: str) -> int | None:
    """The customer to whom an address leads back, None where it leads to nobody."""
    local, _, domain = email.strip().lower().partition("@")
    word = local.rpartition(".")[2] if domain == "mail.example.com" else ""
    if not word or any(c not in ALPHABET for c in word):
        return None
    return int(word, 36)


def phone_of(seed: int, n: int, country: str) -> str:
    """A number of a customer's own, in E.164."""
    digits = DIGITS[country]
    if country == "US":
        return f"+1{(212, 415, 312, 617)[n % 4]}{200 + (n // 10_000) % 700}{n % 10_000:04d}"
    room = 10**digits
    return PREFIX[country] + f"{(n * 7919 + seed * 104_729 + room // 3) % room:0{digits}d}"


def address_of(dice: random.Random, n: int, country: str) -> dict[str, str] | None:
    """A postal address; one in eight customers has none."""
    if dice.random() < 0.12:  # noqa: PLR2004
        return None
    city, region, post = dice.choice(CITIES[country])
    length = 5 if country != "AT" else 4
    postcode = (
        f"{post}{n % 9}AB"
        if country == "GB"
        else f"{post}{n % 10 ** (length - len(post)):0{length - len(post)}d}"
    )
    line = f"{1 + n % 200} {dice.choice(STREETS)}"
    return dict(zip(ADDRESS_PARTS, (line, "", city, region, postcode, country), strict=True))


def company(seed: int, m: int) -> dict[str, Any]:
    """Company m."""
    dice = stream(seed, m, "company")
    word = dice.choice(WORDS)
    return {
        "legal_name": f"{word} {base36(m).upper()} {dice.choice(FORMS)}",
        "domain": f"{word.lower()}-{base36(m)}.example.com",
        "phone": phone_of(seed, 5_000_000 + m, "US"),
    }


# -- what a tool holds -------------------------------------------------------------------------


def as_held(seed: int, n: int, system: str, copy: int = 0) -> dict[str, Any]:
    """A tool's own copy of a customer: older, shorter, differently typed."""
    dice = stream(seed, n, f"{system}/{copy}")
    values = dict(customer(seed, n).values)
    for name in ("phone", "address", "birth_date", "job_title", "company_name"):
        if dice.random() < 0.22:  # noqa: PLR2004
            values[name] = None
    values["name"] = typed_name(dice, values["name"])
    values["email"] = typed_mail(dice, values["email"])
    values["phone"] = typed_phone(dice, values["phone"])
    if values["address"] and dice.random() < 0.06:  # noqa: PLR2004
        old = address_of(stream(seed, n, "moved"), n + 17, values["address"]["country"])
        values["address"] = old or values["address"]
    return values


def typed_name(dice: random.Random, name: Mapping[str, str]) -> dict[str, str]:
    """A name as somebody typed it: now and then in capitals, or with two letters swapped."""
    odd, given, family = dice.random(), name["given"], name["family"]
    if odd < 0.03:  # noqa: PLR2004
        return {"given": given.upper(), "family": family.upper()}
    if odd < 0.06 and len(family) > 3:  # noqa: PLR2004
        return {"given": given, "family": family[0] + family[2] + family[1] + family[3:]}
    return dict(name)


def typed_mail(dice: random.Random, mail: str | None) -> str | None:
    """An address as somebody typed it: capitals, or none at all."""
    odd = dice.random()
    if mail is None or odd < 0.02:  # noqa: PLR2004
        return None
    return mail.title() if odd < 0.08 else mail  # noqa: PLR2004


def typed_phone(dice: random.Random, number: str | None) -> str | None:
    """A telephone number in one of seven styles; all lead back to the number."""
    if number is None:
        return None
    style = dice.randrange(7)
    if number.startswith("+1"):
        a, b, c = number[2:5], number[5:8], number[8:]
        return (
            number,
            f"({a}) {b}-{c}",
            f"{a}-{b}-{c}",
            f"{a}.{b}.{c}",
            f"+1 {a} {b} {c}",
            f"1-{a}-{b}-{c}",
            f"{a}{b}{c}",
        )[style]
    head, tail = number[:3], number[3:]
    return number if style < 4 else f"{head} {tail[:3]} {tail[3:]}"  # noqa: PLR2004


@dataclass(frozen=True)
class Population:
    """What one tool holds of the first `size` customers: places 0, 1, 2 … in the order of time."""

    seed: int
    size: int
    system: str

    @property
    def _there(self) -> tuple[int, ...]:
        gone = MISSING.get(self.system, 0)
        return tuple(r for r in range(FIFTHS) if r != gone)

    @property
    def main(self) -> int:
        """How many customers the tool has at least once."""
        blocks, rest = divmod(self.size, FIFTHS)
        return blocks * (FIFTHS - 1) + sum(r < rest for r in self._there)

    @property
    def count(self) -> int:
        """How many records the tool holds."""
        return self.main + self.main // TWICE

    def who(self, place: int) -> tuple[int, int]:
        """The customer at a place, and which copy of them it is; raises LookupError."""
        if not 0 <= place < self.count:
            raise LookupError(f"{self.system} has no place {place}")
        if place >= self.main:
            return self.who((place - self.main) * TWICE)[0], 1
        block, rest = divmod(place, FIFTHS - 1)
        return block * FIFTHS + self._there[rest], 0

    def place(self, n: int) -> int | None:
        """Where a customer's first record is, None where the tool does not have them."""
        block, rest = divmod(n, FIFTHS)
        if rest not in self._there or not 0 <= n < self.size:
            return None
        return block * (FIFTHS - 1) + self._there.index(rest)

    def values(self, place: int) -> dict[str, Any]:
        """What the tool holds at a place, in our shapes."""
        n, copy = self.who(place)
        return as_held(self.seed, n, self.system, copy)

    def by_email(self, email: str) -> list[int]:
        """Places that may hold this address."""
        n = number_of(email)
        near = [] if n is None else [n, n + 1]
        found = [p for p in (self.place(c) for c in near) if p is not None]
        return found + [
            self.main + p // TWICE
            for p in found
            if p % TWICE == 0 and self.main + p // TWICE < self.count
        ]


def truth(seed: int, size: int, systems: tuple[str, ...]) -> Iterator[tuple[int, list[Any]]]:
    """Each customer with the (system, place) of every record of theirs."""
    held = {s: Population(seed, size, s) for s in systems}
    for n in range(size):
        places = [(s, place) for s, pop in held.items() for place in pop_places(pop, n)]
        yield n, places


def pop_places(pop: Population, n: int) -> list[int]:
    """All places of a customer in one tool."""
    first = pop.place(n)
    if first is None:
        return []
    twice = pop.main + first // TWICE
    return [first, twice] if first % TWICE == 0 and twice < pop.count else [first]


def clean(seed: int, size: int, system: str, place: int) -> bool:
    """Whether a record can be recognised for sure: a valid address that is one person's alone."""
    pop = Population(seed, size, system)
    n, _ = pop.who(place)
    mail = pop.values(place)["email"]
    return bool(mail) and customer(seed, n).own_mailbox and number_of(mail) == n
