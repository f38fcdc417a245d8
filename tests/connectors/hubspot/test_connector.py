"""The connector against the sandbox, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from connectors._kit.contract import Actor, Answer, Reading, Unreadable, Write
from connectors.hubspot.connector import COMPANIES, CONNECTOR, CONTACTS
from tests.connectors.hubspot.tools import Clock, DirectApi, answering, new_sandbox


@dataclass
class World:
    """A sandbox without customers, its clock, and an api to it; our property is there."""

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.sandbox = new_sandbox(self.clock)
        self.api = DirectApi(self.sandbox.handle, self.clock)
        CONNECTOR.prepare(self.api)
        self.api.calls.clear()

    def write(self, *writes: Write, companies: bool = False) -> tuple[Answer, ...]:
        """Write, and a minute later."""
        answers = CONNECTOR.write(self.api, COMPANIES if companies else CONTACTS, writes)
        self.clock.sleep(60_000)
        return answers

    def contact(self, email: str, **more: str) -> str:
        """The id of a new contact."""
        (answer,) = self.write(create(email, **more))
        assert answer.outcome == "done"
        return answer.native_id

    def company(self, name: str) -> str:
        """The id of a new company."""
        write = Write("create", "", {"name": name}, f"uid-{name}", f"key-{name}")
        (answer,) = self.write(write, companies=True)
        return answer.native_id

    def read(self, *ids: str) -> tuple[Reading, ...]:
        """Contacts by id."""
        return CONNECTOR.read(self.api, CONTACTS, ids)

    def drain(self, cursor: str, most: int = 100) -> tuple[list[Reading], str]:
        """All changes since a cursor, with the cursor that follows."""
        found: list[Reading] = []
        for _ in range(most):
            page = CONNECTOR.changes(self.api, CONTACTS, cursor)
            assert page.done or page.cursor != cursor
            found, cursor = [*found, *page.readings], page.cursor
            self.clock.sleep(500)
            if page.done:
                return found, cursor
        raise AssertionError("changes never end")


def create(email: str, **more: str) -> Write:
    """A create of a contact."""
    return Write("create", "", {"email": email, **more}, f"uid-{email}", f"key-{email}")


def update(native_id: str, **changes: str | None) -> Write:
    """An update of a contact."""
    return Write("update", native_id, changes, "", f"key-{native_id}")


def to(native_id: str, company: str) -> Write:
    """A contact's association with a company, to be made."""
    return Write("update", native_id, {}, "", f"key-{company}", link=("company", company))


def ids(readings: Sequence[Reading]) -> list[str]:
    """Native ids in order."""
    return [r.native_id for r in readings]


@pytest.fixture
def world() -> World:
    """A fresh world."""
    return World()


# -- reading -----------------------------------------------------------------------------------


def test_a_created_contact_is_read_back_in_our_terms(world: World) -> None:
    """What is written comes back through the field map, with our id and HubSpot's times."""
    own = world.contact(" Ada@Example.com ", firstname="Ada", city="Paris", date_of_birth="")
    (reading,) = world.read(own)
    taken = CONTACTS.fields.take(reading.app)
    assert taken.values["email"] == "ada@example.com"
    assert taken.values["name"] == {"given": "Ada", "family": ""}
    assert taken.values["birth_date"] is None
    assert not taken.unknown
    assert reading.external_id == "uid- Ada@Example.com "
    assert reading.source_ms == reading.created_ms == world.clock.now_ms - 60_000
    assert (reading.state, reading.links) == ("live", {"company": ()})


def test_listing_and_read_agree(world: World) -> None:
    """Both ways of reading give the same values, links and times."""
    own, first, second = world.contact("a@x.example"), world.company("A"), world.company("B")
    world.write(to(own, second))
    world.write(to(own, first))
    (read,) = world.read(own)
    (listed,) = CONNECTOR.listing(world.api, CONTACTS, "").readings
    assert read.links == listed.links == {"company": (second, first)}
    assert (read.app, read.source_ms) == (listed.app, listed.source_ms)


def test_what_is_gone_says_how(world: World) -> None:
    """Archived, erased and never known ids are told apart from each other."""
    live, archived, erased = (world.contact(f"{n}@x.example") for n in "abc")
    world.api.send("DELETE", f"/crm/v3/objects/contacts/{archived}")
    world.api.send("POST", "/crm/v3/objects/contacts/gdpr-delete", json={"objectId": erased})
    states = {r.native_id: r.state for r in world.read(live, archived, erased, "999999")}
    expected = {live: "live", archived: "archived", erased: "deleted", "999999": "deleted"}
    assert states == expected


@pytest.mark.parametrize("resolves", [True, False])
def test_an_id_that_was_merged_leads_to_the_new_record(world: World, *, resolves: bool) -> None:
    """Both old ids give the third record, whether or not batches resolve them."""
    world.sandbox.desk.batch_resolves = resolves
    one, two = world.contact("a@x.example"), world.contact("b@x.example")
    body = {"primaryObjectId": one, "objectIdToMerge": two}
    world.api.send("POST", "/crm/v3/objects/contacts/merge", json=body)
    (reading,) = world.read(one, two)
    assert reading.native_id not in (one, two)
    assert {one, two} <= set(reading.aliases)
    assert reading.state == "live"


def test_reading_does_not_wait_for_the_search_index(world: World) -> None:
    """A change is seen by id at once, although no search finds it yet."""
    own = world.contact("a@x.example", firstname="Old")
    CONNECTOR.write(world.api, CONTACTS, [update(own, firstname="New")])
    assert world.read(own)[0].app["firstname"] == "New"
    page = CONNECTOR.changes(world.api, CONTACTS, _since(world, 3_600_000))
    assert page.readings[0].app["firstname"] == "New"


def _since(world: World, ago_ms: int) -> str:
    return CONNECTOR.begin(world.api, CONTACTS, world.clock.now_ms - ago_ms)


def test_a_reading_says_who_made_the_latest_change(world: World) -> None:
    """A person with their id and screen, an app with its id; many at once are not asked about."""
    act = world.sandbox.act
    typed = act("create", "contacts", "", {"email": "a@x.example"})
    sent = world.contact("b@x.example")
    actors = {r.native_id: r.actor for r in world.read(typed, sent)}
    assert actors == {
        typed: Actor("person", "12345", "CRM_UI"),
        sent: Actor("app", "1", "INTEGRATION"),
    }
    act("update", "contacts", sent, {"phone": "1"})
    world.write(update(typed, phone="2"))
    actors = {r.native_id: r.actor for r in world.read(typed, sent)}
    assert [actors[typed].kind, actors[sent].kind] == ["app", "person"]
    assert b"propertiesWithHistory" not in world.read(typed)[0].raw
    act("delete", "contacts", sent, {})
    assert world.read(sent)[0].actor == Actor()
    portal, now = world.sandbox.desk.portal, world.clock.now_ms
    many = [str(portal.create("contacts", {}, now, "IMPORT").id) for _ in range(51)]
    assert {r.actor for r in world.read(*many)} == {Actor()}


# -- changes -----------------------------------------------------------------------------------


def test_nothing_is_lost_between_two_rounds(world: World) -> None:
    """A record that the index shows late is found by the next round, thanks to the overlap."""
    world.sandbox.desk.lag_ms = 30_000
    cursor = CONNECTOR.begin(world.api, CONTACTS, world.clock.now_ms)
    early, late = (
        CONNECTOR.write(world.api, CONTACTS, [create(f"{n}@x.example")])[0].native_id for n in "ab"
    )
    found, cursor = world.drain(cursor)
    assert found == []
    world.clock.sleep(31_000)
    assert set(ids(world.drain(cursor)[0])) == {early, late}


def test_thousands_of_records_with_one_stamp_end(world: World) -> None:
    """A bulk job stamps more records alike than a search returns; all come, each once a round."""
    cursor = CONNECTOR.begin(world.api, CONTACTS, world.clock.now_ms)
    portal = world.sandbox.desk.portal
    for n in range(10_500):
        portal.create("contacts", {"email": f"p{n}@x.example"}, world.clock.now_ms, "IMPORT")
    world.clock.sleep(10_000)
    found, _ = world.drain(cursor, most=200)
    assert len(found) == len(set(ids(found))) == 10_500


def test_a_long_list_of_archived_records_is_not_scanned_every_time(world: World) -> None:
    """After a scan of several pages the next one rests, so that a full bin costs little."""
    portal = world.sandbox.desk.portal
    for n in range(450):
        own = portal.create("contacts", {"email": f"p{n}@x.example"}, world.clock.now_ms, "UI").id
        portal.archive("contacts", own, world.clock.now_ms, "UI")
    world.clock.sleep(3_600_000)
    _, cursor = world.drain(CONNECTOR.begin(world.api, CONTACTS, world.clock.now_ms))
    world.api.calls.clear()
    world.drain(cursor)
    assert len(world.api.calls) == 1


# -- writing -----------------------------------------------------------------------------------


def test_a_batch_takes_one_call_and_answers_each_row(world: World) -> None:
    """A hundred creates are one call; their answers come in the order of the writes."""
    answers = world.write(*[create(f"p{n}@x.example") for n in range(100)])
    assert world.api.calls == ["POST /crm/v3/objects/contacts/batch/create"]
    mails = [a.reading.app["email"] for a in answers if a.reading]
    assert mails == [f"p{n}@x.example" for n in range(100)]


def test_creates_and_updates_go_together(world: World) -> None:
    """One list of writes may hold both; None clears."""
    own = world.contact("a@x.example", firstname="Ada", phone="1")
    answers = world.write(create("b@x.example"), update(own, phone=None), create("c@x.example"))
    assert [a.outcome for a in answers] == ["done", "done", "done"]
    assert answers[1].native_id == own
    assert world.read(own)[0].app["phone"] is None
    assert world.read(own)[0].app["firstname"] == "Ada"


def test_a_taken_email_is_rejected_with_the_id_that_holds_it(world: World) -> None:
    """Its row names the existing contact; the other rows of the batch are created."""
    own = world.contact("a@x.example")
    answers = world.write(create("b@x.example"), create("A@x.example"), create("c@x.example"))
    assert [a.outcome for a in answers] == ["done", "rejected", "done"]
    assert (answers[1].native_id, answers[1].fields) == (own, ("email",))


def test_an_invalid_value_names_its_property(world: World) -> None:
    """The refusal of one row says which property it is about."""
    own = world.contact("a@x.example")
    (answer,) = world.write(update(own, email="not an address"))
    assert (answer.outcome, answer.fields) == ("rejected", ("email",))


def test_one_bad_row_is_found_by_halving(world: World) -> None:
    """A property that does not exist fails the whole batch; only its row is rejected."""
    writes = [create(f"p{n}@x.example") for n in range(40)]
    writes[17] = create("bad@x.example", no_such="1")
    answers = world.write(*writes)
    assert [n for n, a in enumerate(answers) if a.outcome == "rejected"] == [17]
    assert answers[17].fields == ("no_such",)
    assert sum(a.outcome == "done" for a in answers) == 39
    assert len(world.api.calls) < 14


def test_a_property_missing_in_all_rows_costs_one_call() -> None:
    """Without our property nothing can be created: one refusal answers every row."""
    world = World()
    world.api.send("DELETE", "/crm/v3/properties/contacts/synchub_id")
    world.api.calls.clear()
    answers = world.write(*[create(f"p{n}@x.example") for n in range(100)])
    assert {(a.outcome, a.fields) for a in answers} == {("rejected", ("synchub_id",))}
    assert len(world.api.calls) == 1


def test_links_are_added_and_removed(world: World) -> None:
    """One by one, and beside the values of other rows."""
    first, second = world.company("A"), world.company("B")
    own, other = world.contact("a@x.example"), world.contact("b@x.example")
    assert [a.outcome for a in world.write(to(own, first), to(other, first))] == ["done"] * 2
    assert world.read(own)[0].links == {"company": (first,)}
    parted = Write("update", own, {}, "", "k", unlink=("company", first))
    answers = world.write(parted, to(other, second), update(other, phone="1"))
    assert [a.outcome for a in answers] == ["done"] * 3
    assert world.read(own)[0].links == {"company": ()}
    assert world.read(other)[0].links == {"company": (first, second)}


def test_a_refused_link_spoils_no_other_row(world: World) -> None:
    """A company that does not exist; neither values nor links of others go with it."""
    own, good = world.contact("a@x.example"), world.company("A")
    other = world.contact("b@x.example")
    answers = world.write(update(own, phone="1"), to(own, "999999"), to(other, good))
    assert [a.outcome == "done" for a in answers] == [True, False, True]
    assert world.read(other)[0].links == {"company": (good,)}


@pytest.mark.parametrize(
    ("status", "outcome"), [(429, "retry"), (500, "unknown"), (400, "rejected")]
)
def test_a_link_that_fails_is_never_done(world: World, status: int, outcome: str) -> None:
    """Whatever becomes of the call, its row says what is known of the association."""
    own, company = world.contact("a@x.example"), world.company("A")
    broken = DirectApi(answering((status, {})), world.clock)
    (answer,) = CONNECTOR.write(broken, CONTACTS, [to(own, company)])
    assert answer.outcome == outcome


def test_a_lost_create_is_found_again(world: World) -> None:
    """By our id and by e-mail, at once; a company by our id alone."""
    own = world.contact("a@x.example")
    assert ids(CONNECTOR.find(world.api, CONTACTS, create("A@x.example "))) == [own]
    other = Write("create", "", {"email": "new@x.example"}, "uid-a@x.example", "k")
    assert ids(CONNECTOR.find(world.api, CONTACTS, other)) == [own]
    assert CONNECTOR.find(world.api, CONTACTS, create("nobody@x.example")) == ()
    company = world.company("A")
    again = Write("create", "", {"name": "A"}, "uid-A", "k")
    assert ids(CONNECTOR.find(world.api, COMPANIES, again)) == [company]


def test_a_repeated_create_never_makes_a_second_record(world: World) -> None:
    """Our id is unique in HubSpot: a company sent twice is refused the second time."""
    world.company("A")
    write = Write("create", "", {"name": "A"}, "uid-A", "again")
    (answer,) = world.write(write, companies=True)
    assert (answer.outcome, answer.fields) == ("rejected", ("synchub_id",))


# -- the account -------------------------------------------------------------------------------


def test_the_account_is_known_and_is_a_test(world: World) -> None:
    """The portal's id is pinned; a developer's account is no live one."""
    account = CONNECTOR.account(world.api)
    assert account.id.isdigit()
    assert (account.live, account.time_zone) == (False, "Europe/Berlin")


def test_the_check_says_what_is_missing_and_prepare_creates_it() -> None:
    """Checking changes nothing; preparing twice does nothing the second time."""
    clock = Clock()
    api = DirectApi(new_sandbox(clock).handle, clock)
    assert len(CONNECTOR.check(api)) == 2
    assert len(CONNECTOR.prepare(api)) == 2
    assert CONNECTOR.check(api) == ()
    assert CONNECTOR.prepare(api) == ()


def test_a_page_with_one_broken_record_keeps_the_others(world: World) -> None:
    """A record that cannot be understood is set aside; asked for alone, it raises."""
    good, bad = world.contact("a@x.example"), world.contact("b@x.example")
    table = world.sandbox.desk.portal.tables["contacts"]
    record = table.get(int(bad))
    assert record
    record.properties["lastmodifieddate"] = "yesterday"  # type: ignore[index]
    page = CONNECTOR.listing(world.api, CONTACTS, "")
    assert ids(page.readings) == [good]
    assert "yesterday" in page.broken[0][0]
    with pytest.raises(Unreadable):
        world.read(bad)


def test_a_broken_record_does_not_hide_that_another_is_gone(world: World) -> None:
    """Changes set the broken one aside and still tell what became of the rest."""
    cursor = CONNECTOR.begin(world.api, CONTACTS, world.clock.now_ms)
    good, bad, gone = (world.contact(f"{n}@x.example") for n in "abc")
    portal = world.sandbox.desk.portal
    record = portal.tables["contacts"].get(int(bad))
    assert record
    record.properties["lastmodifieddate"] = "yesterday"  # type: ignore[index]
    portal.erase("contacts", int(gone), world.clock.now_ms, "CRM_UI")
    page = CONNECTOR.changes(world.api, CONTACTS, cursor)
    assert {r.native_id: r.state for r in page.readings} == {good: "live", gone: "deleted"}
    assert len(page.broken) == 1
