"""The population behind the sandboxes: computed, pure, and what the sandboxes really hold."""

from __future__ import annotations

import random
import time
from collections import defaultdict

import pytest

from connectors._kit.population import (
    FAMILY_SIZE,
    MISSING,
    Population,
    as_held,
    clean,
    customer,
    number_of,
    truth,
)
from connectors._kit.trial import T0, World, maker, newest
from connectors.hubspot.population import Computed, Seeded
from connectors.hubspot.sandbox import give
from tests.connectors.tools import connect

SOME = 2_000
SYSTEMS = tuple(MISSING)
OBJECTS = {"hubspot": "contacts", "mailchimp": "members", "stripe": "customers", "zendesk": "users"}


def world_of(system: str, customers: int) -> World:
    """The sandbox of a system on trial, with the seed 1."""
    return maker(system, OBJECTS[system], connect)(customers)


def test_a_customer_depends_on_seed_and_number_alone() -> None:
    """In whatever order and however often they are asked for, customers are the same."""
    first = {n: customer(7, n) for n in range(300)}
    customer.cache_clear()
    order = random.Random(3).sample(range(300), 300)
    assert {n: customer(7, n) for n in order} == first
    assert [as_held(7, n, "stripe") for n in range(99)] == [
        as_held(7, n, "stripe") for n in range(99)
    ]
    assert any(customer(8, n) != first[n] for n in range(300))


def test_households_follow_by_arithmetic() -> None:
    """A partner lives with the customer before, shares no word of the name, at times a mailbox."""
    shared = 0
    for n in range(FAMILY_SIZE, SOME, 14):
        partner, home = customer(1, n), customer(1, n - 1)
        if home.values["address"]:
            assert partner.values["address"] == home.values["address"]
        words = [set(p.values["name"].values()) for p in (partner, home)]
        assert not words[0] & words[1]
        mails = {partner.values["email"], home.values["email"]}
        if len(mails) == 1 and number_of(str(partner.values["email"])) is not None:
            assert not partner.own_mailbox
            assert not home.own_mailbox
            shared += 1
    assert 20 <= shared <= SOME // 28 + 1


def test_an_address_leads_back_to_its_customer() -> None:
    """A mailbox of one's own gives the number back, however it was typed; others give nobody's."""
    for n in range(SOME):
        person = customer(1, n)
        mail = person.values["email"] or ""
        assert not person.own_mailbox or number_of(f" {mail.upper()} ") == n
        assert number_of(mail) in (n, n - 1, None)
    assert number_of("info@firm1.example.com") is None


@pytest.mark.parametrize("system", SYSTEMS)
def test_places_and_customers_lead_to_each_other(system: str) -> None:
    """Every place has one customer, every customer their places, and the address finds them."""
    pop = Population(1, SOME, system)
    for place in range(pop.count):
        n, copy = pop.who(place)
        assert copy or pop.place(n) == place
        mail = pop.values(place)["email"]
        if mail and number_of(mail) is not None:
            assert place in pop.by_email(mail)
    for outside in (-1, pop.count):
        with pytest.raises(LookupError):
            pop.who(outside)


def test_the_truth_names_every_place_once() -> None:
    """Who is who covers each tool's records exactly."""
    places = [p for _, found in truth(1, SOME, SYSTEMS) for p in found]
    assert len(places) == len(set(places))
    for system in SYSTEMS:
        count = Population(1, SOME, system).count
        assert {p for s, p in places if s == system} == set(range(count))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_clean_record_is_one_persons_beyond_doubt(system: str) -> None:
    """Its address is nobody else's in any tool; most records are clean, and not all."""
    holders: dict[str, set[int]] = defaultdict(set)
    for other in SYSTEMS:
        pop = Population(1, SOME, other)
        for place in range(pop.count):
            mail = (pop.values(place)["email"] or "").lower()
            holders[mail].add(pop.who(place)[0])
    pop = Population(1, SOME, system)
    tidy = [p for p in range(pop.count) if clean(1, SOME, system, p)]
    assert pop.count * 3 // 4 < len(tidy) < pop.count
    for place in tidy:
        assert holders[(pop.values(place)["email"] or "").lower()] == {pop.who(place)[0]}


@pytest.mark.parametrize("system", list(OBJECTS))
def test_the_sandboxes_serve_the_truth(system: str) -> None:
    """Every record that the truth names is there under its id, with the values of its place."""
    size = 150
    world, pop = world_of(system, size), Population(1, size, system)
    listed = newest(world.listing())
    own = world.host.sandbox.native_id
    named = {own(p): p for _, found in truth(1, size, (system,)) for _, p in found}
    assert set(listed) == set(named)
    for native, place in named.items():
        held, wanted = world.values(native), pop.values(place)
        for name in {"phone", "address", "email"} & set(held):
            one = world.spec.fields.by_name[name]
            # Most tools have no address twice; where nobody is without one, it is another.
            sure = clean(1, size, system, place) and not pop.who(place)[1]
            unlike = held[name] is None or "email" in world.spec.required
            other = name == "email" and unlike and not sure
            assert (
                other
                or held[name] in (wanted[name], one.normal(wanted[name]))
                or (str(held[name]).lower() == str(wanted[name]).lower())
            )


def test_a_modified_time_leads_back_to_its_record() -> None:
    """A window of time names exactly the records that say that they were modified in it."""
    seeded = Computed("contacts", 800, T0, Seeded(1, 1_000, give))
    stamps = {own: r.updated for own in seeded.after(0) if (r := seeded.get(own))}
    assert len(stamps) == 800
    times = sorted(stamps.values())
    for low, high in ((times[0], times[0]), (times[5] + 1, times[9]), (times[-1], T0), (0, T0)):
        inside = {own for own, at in stamps.items() if low <= at <= high}
        assert set(seeded.modified(low, high)) == inside


@pytest.mark.parametrize("system", ["hubspot", "stripe"])
def test_a_million_customers_start_at_once(system: str) -> None:
    """Start, one record, one page, one address: nothing else is computed, and no time passes."""
    customer.cache_clear()
    start = time.process_time()
    world = world_of(system, 1_000_000)
    place = 654_321
    native = world.host.sandbox.native_id(place)
    mail = world.read(native)[native].app["email"]
    page = world.connector.listing(world.api, world.spec, native)
    assert number_of(str(mail or "")) in (Population(1, 1_000_000, system).who(place)[0], None)
    assert len(page.readings) == 100
    assert not page.done
    assert time.process_time() - start < 0.9
    assert customer.cache_info().misses < 1_000
