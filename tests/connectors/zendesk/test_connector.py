"""What only Zendesk does, and how the connector gets along with it."""

from __future__ import annotations

import time
from dataclasses import replace

import httpx
import pytest

from connectors._kit.contract import Forged, Inbound, Limits, Stale
from connectors._kit.sandbox import Clock, Host, HostTransport
from connectors.zendesk.connector import (
    ALONE_MOST,
    CONNECTOR,
    JOB_COSTS,
    ORGANIZATIONS,
    QUICK_MS,
    USERS,
    Position,
    position,
)
from connectors.zendesk.sandbox import ZendeskSandbox
from connectors.zendesk.webhooks import sign, stamp_of
from hub import listeners
from hub.io.http import Budget, HttpApi
from hub.tools.world import World as WholeWorld
from tests.connectors.zendesk.tools import BASE, MINUTE, T0, Place, create, newest, update


@pytest.fixture
def place() -> Place:
    """An account without customers."""
    return Place()


# -- following -------------------------------------------------------------------------------------


def test_the_last_minute_is_told_later(place: Place) -> None:
    """What happened within the minute is in no export, and in the next one after it."""
    for spec in (USERS, ORGANIZATIONS):
        cursor = place.begin(spec)
        made = place.act("create", obj=spec.object, name="Ada")
        place.clock.now_ms += MINUTE - 1_000
        page = CONNECTOR.changes(place.api, spec, cursor)
        assert (page.readings, page.done) == ((), True)
        place.clock.now_ms += 2_000
        page = CONNECTOR.changes(place.api, spec, page.cursor)
        assert [r.native_id for r in page.readings] == [made]


def test_what_zendesk_itself_touched_comes_with_its_old_time(place: Place) -> None:
    """An export shows a record again whose `updated_at` lies before the cursor."""
    own = place.act("create", name="Ada")
    place.clock.now_ms += 60 * MINUTE
    cursor = place.begin(USERS)
    place.act("touch", own)
    (page,) = place.changes(USERS, cursor)
    assert [(r.native_id, r.source_ms) for r in page.readings] == [(own, T0)]


@pytest.mark.parametrize("many", [990, 1_001, 1_350])
def test_a_crowded_second_neither_loops_nor_hides_anything(place: Place, many: int) -> None:
    """More organizations of one second than any page holds all come, and the export goes on."""
    cursor = place.begin(ORGANIZATIONS)
    made = {place.act("create", obj="organizations", name=f"Firm {n}") for n in range(many)}
    place.clock.now_ms += 5_000
    later = place.act("create", obj="organizations", name="Later")
    pages = list(place.changes(ORGANIZATIONS, cursor))
    assert made | {later} == set(newest(pages))
    assert all(len(p.readings) <= 200 for p in pages)
    (quiet,) = place.changes(ORGANIZATIONS, pages[-1].cursor)
    assert quiet.readings == ()


def test_the_boundary_is_not_told_twice(place: Place) -> None:
    """The last second of an export comes again, and is news only where something moved in it."""
    own = place.act("create", obj="organizations", name="One")
    other = place.act("create", obj="organizations", name="Two")
    *_, page = place.changes(ORGANIZATIONS, place.begin(ORGANIZATIONS))
    since = str(T0 // 1000)
    shown = place.call("GET", "incremental/organizations", start_time=since)["organizations"]
    assert {str(o["id"]) for o in shown} >= {own, other}
    place.act("update", other, obj="organizations", tags=["new"])
    (news,) = place.changes(ORGANIZATIONS, page.cursor)
    assert [r.native_id for r in news.readings] == [other]


def test_a_stored_cursor_is_checked(place: Place) -> None:
    """A cursor of another shape asks for a full pass, and the new one works."""
    assert position(place.begin(USERS)) is not None
    page = CONNECTOR.changes(place.api, USERS, '{"start": 1, "seen": 7}')
    assert page.expired
    (page,) = place.changes(USERS, page.cursor)
    assert not page.expired


def test_who_works_here_is_no_customer(place: Place) -> None:
    """Agents are not listed, and a customer who becomes one is archived."""
    own = place.act("create", name="Ada")
    cursor = place.begin(USERS)
    assert [r.native_id for r in CONNECTOR.listing(place.api, USERS, "").readings] == [own]
    place.act("update", own, role="agent")
    (page,) = place.changes(USERS, cursor)
    assert [(r.native_id, r.state, r.app) for r in page.readings] == [(own, "archived", {})]
    assert CONNECTOR.read(place.api, USERS, [own])[0].state == "archived"
    assert CONNECTOR.listing(place.api, USERS, "").readings == ()


def test_every_end_of_a_user_is_a_deletion(place: Place) -> None:
    """Deleted, erased and merged users are read as deleted, and the exports tell of each."""
    soft, hard, lost, won = (place.act("create", name=n) for n in ("A", "B", "C", "D"))
    cursor = place.begin(USERS)
    for own in (soft, hard):
        place.act("delete", own)
    place.act("erase", hard)
    place.act("merge", won, other=lost)
    gone = {soft, hard, lost}
    found = newest(list(place.changes(USERS, cursor)))
    assert {i for i, r in found.items() if r.state == "deleted"} == gone
    read = CONNECTOR.read(place.api, USERS, [soft, hard, lost, won])
    assert {r.native_id for r in read if r.state == "deleted"} == gone


def test_organizations_that_were_merged_lead_to_the_last_one(place: Place) -> None:
    """An id that was merged twice over is an alias of the organization that is left."""
    one, two, three = (place.act("create", obj="organizations", name=n) for n in "ABC")
    place.act("merge", two, obj="organizations", other=one)
    place.act("merge", three, obj="organizations", other=two)
    found = CONNECTOR.read(place.api, ORGANIZATIONS, [one, two, three])
    assert [r.native_id for r in found] == [three]
    assert set(found[0].aliases) == {one, two}


# -- organizations of users ------------------------------------------------------------------------


def test_memberships_are_complete_and_the_default_comes_first(place: Place) -> None:
    """A user's organizations are read and written as what they are, one or several."""
    user = place.act("create", name="Ada")
    firms = [place.act("create", obj="organizations", name=n) for n in "ABC"]
    one, two, three = firms
    assert place.write(update(user, join=one), update(user, join=two)) == ["done"] * 2
    for end in ({"leave": one}, {"join": three}, {"join": three}, {"leave": one}):
        assert place.write(update(user, **end)) == ["done"]
    assert CONNECTOR.read(place.api, USERS, [user])[0].links == {"company": tuple(firms[1:])}
    cursor = place.begin(USERS)
    place.call("PUT", f"users/{user}/organizations/{firms[2]}/make_default")
    (page,) = place.changes(USERS, cursor)
    assert page.readings[0].links == {"company": (firms[2], firms[1])}


@pytest.mark.parametrize(
    ("status", "outcome"), [(429, "retry"), (500, "unknown"), (403, "stop"), (422, "rejected")]
)
def test_an_organization_that_is_not_joined_spoils_no_other_row(
    place: Place, status: int, outcome: str
) -> None:
    """Values beside it are written; of the membership its own answer tells what is known."""
    user, other = place.act("create", name="Ada"), place.act("create", name="Bert")
    firm = place.act("create", obj="organizations", name="A")
    honest = place.host.handle

    def handle(request: httpx.Request) -> httpx.Response:
        joins = request.url.path.endswith("/organization_memberships") and request.method == "POST"
        return httpx.Response(status, json={}) if joins else honest(request)

    budget = Budget(CONNECTOR.limits, place.clock, place.clock.sleep)
    api = HttpApi(BASE, lambda: CONNECTOR.authorize(place.sandbox.auth), budget,
                  httpx.MockTransport(handle))  # fmt: skip
    answers = CONNECTOR.write(api, USERS, [update(user, join=firm), update(other, phone="1")])
    assert [a.outcome for a in answers] == [outcome, "done"]
    assert CONNECTOR.read(place.api, USERS, [user])[0].links == {"company": ()}


def test_one_organization_each_costs_no_call_of_its_own(place: Place) -> None:
    """Where the account allows one organization only, a page of users takes two calls."""
    place.sandbox.support.several = False
    firm = place.act("create", obj="organizations", name="A")
    for n in range(30):
        place.act("link", place.act("create", name=f"N{n}"), company=firm)
    before = len(place.calls())
    page = CONNECTOR.listing(place.api, USERS, "")
    assert {r.links["company"] for r in page.readings} == {(firm,)}
    assert place.calls()[before:] == ["GET users", "GET account/settings"]


# -- writing ---------------------------------------------------------------------------------------


def test_an_address_is_written_as_an_identity(place: Place) -> None:
    """It replaces the primary one, a second one is made primary, and others are left alone."""
    own = place.act("create", name="Ada", email="a@x.example")
    place.call("PUT", f"users/{own}", {"user": {"email": "second@x.example"}})
    assert place.call("GET", f"users/{own}")["user"]["email"] == "a@x.example"
    for mail in ("b@x.example", "second@x.example", None):
        assert place.write(update(own, email=mail, phone="1")) == ["done"]
    held = place.call("GET", f"users/{own}/identities")["identities"]
    assert [(i["value"], i["primary"]) for i in held] == [("b@x.example", True)]


def test_a_taken_address_is_refused_and_changes_nobody(place: Place) -> None:
    """Neither a create nor an update takes an address from another customer."""
    place.act("create", name="Ada", email="a@x.example")
    other = place.act("create", name="Bert", email="b@x.example")
    writes = (create("1", name="Eve", email="A@x.example"), update(other, email="a@x.example"))
    answers = CONNECTOR.write(place.api, USERS, writes)
    assert [(a.outcome, a.fields) for a in answers] == [("rejected", ("email",))] * 2
    assert "already" in answers[0].why
    assert [r.app["name"] for r in CONNECTOR.listing(place.api, USERS, "").readings] == [
        "Ada",
        "Bert",
    ]


def test_an_address_with_a_refused_name_shows_what_came_of_each(place: Place) -> None:
    """Where only the rest is refused, the answer is the record as it is."""
    own = place.act("create", name="Ada", email="a@x.example")
    write = replace(update(own, email="new@x.example", name="x" * 300), before={"name": "Ada"})
    (answer,) = CONNECTOR.write(place.api, USERS, [write])
    assert answer.outcome == "done"
    assert answer.reading is not None
    assert (answer.reading.app["email"], answer.reading.app["name"]) == ("new@x.example", "Ada")
    assert answer.why.startswith("Name")


def test_an_address_waits_behind_one_that_has_to_wait(place: Place) -> None:
    """Its identities are not even read: that would wait for Zendesk, and then write unasked."""
    ids = [place.act("create", name=n, email=f"{n}@x.example") for n in "abc"]
    honest = place.host.handle
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.method)
        busy = httpx.Response(429, headers={"Retry-After": "600"}, json={})
        return busy if request.method == "PUT" else honest(request)

    budget = Budget(CONNECTOR.limits, place.clock, place.clock.sleep)
    api = HttpApi(
        BASE, lambda: CONNECTOR.authorize(place.sandbox.auth), budget, httpx.MockTransport(handle)
    )
    answers = CONNECTOR.write(api, USERS, [update(i, email=f"new{i}@x.example") for i in ids])
    assert [a.outcome for a in answers] == ["retry"] * 3
    assert seen == ["GET", "PUT"]


def test_tags_go_out_as_the_whole_set(place: Place) -> None:
    """What Zendesk would respell is left out, and what a person added before is in the set."""
    field = USERS.fields.by_name["tags"]
    assert field.give(["VIP", "two words", "vip"]) == {"tags": ["vip"]}
    own = place.act("create", name="Ada", tags=["a", "Mixed Case"])
    assert CONNECTOR.read(place.api, USERS, [own])[0].app["tags"] == ["a", "mixed", "case"]
    place.call("PUT", f"users/{own}/tags", {"tags": ["b"]})
    assert place.write(update(own, tags=["a", "b"])) == ["done"]
    assert CONNECTOR.read(place.api, USERS, [own])[0].app["tags"] == ["a", "b"]


def test_other_domains_survive_a_change_of_the_first(place: Place) -> None:
    """The list is sent whole, because Zendesk replaces it whole."""
    own = place.act(
        "create", obj="organizations", name="A", domain_names=["a.example", "b.example"]
    )
    assert place.write(update(own, domain_names=["c.example"]), spec=ORGANIZATIONS) == ["done"]
    held = place.call("GET", f"organizations/{own}")["organization"]["domain_names"]
    assert held == ["c.example", "b.example"]


def test_several_updates_are_one_job(place: Place) -> None:
    """A job, its polling and one read: three kinds of call for a hundred rows."""
    ids = [place.act("create", name=f"N{n}") for n in range(100)]
    before = len(place.calls())
    writes = [update(i, phone=str(n)) for n, i in enumerate(ids)]
    assert set(place.write(*writes)) == {"done"}
    kinds = {c.rpartition("/")[0] if "job" in c else c for c in place.calls()[before:]}
    assert kinds == {"PUT users/update_many", "GET job_statuses", "GET users/show_many"}
    assert len(place.calls()[before:]) <= 8


@pytest.mark.parametrize(("takes_ms", "alone"), [(0, ALONE_MOST), (QUICK_MS, JOB_COSTS)])
def test_a_few_updates_are_a_call_each_as_long_as_these_are_quick(
    place: Place, takes_ms: int, alone: int
) -> None:
    """What is left when they have taken too long is one job; either way all are done."""
    ids = [place.act("create", name=f"N{n}") for n in range(ALONE_MOST)]

    def slow(request: httpx.Request) -> httpx.Response:
        place.clock.sleep(takes_ms / 1_000)
        return place.host.handle(request)

    before = len(place.calls())
    budget = Budget(Limits(calls=1_000, per_ms=1), place.clock, place.clock.sleep)
    given = CONNECTOR.authorize(place.sandbox.auth)
    api = HttpApi(BASE, lambda: given, budget, httpx.MockTransport(slow))
    answers = CONNECTOR.write(api, USERS, [update(i, phone="1") for i in ids])
    assert {a.outcome for a in answers} == {"done"}
    calls = [c for c in place.calls()[before:] if c.startswith("PUT")]
    jobs = [c for c in calls if "update_many" in c]
    assert (len(calls) - len(jobs), len(jobs)) == (alone, int(alone < len(ids)))


def test_a_bad_row_of_a_job_is_refused_alone(place: Place) -> None:
    """Users by a call each or, where bulk imports are on, by a job: the same answers."""
    writes = [create(str(n), name="" if n == 1 else f"N{n}") for n in range(3)]
    for allowed in (False, True):
        place.sandbox.support.bulk_imports = allowed
        answers = CONNECTOR.write(place.api, USERS, writes)
        assert [a.outcome for a in answers] == ["done", "rejected", "done"]
        assert answers[1].fields == ("name",)
        for answer in (answers[0], answers[2]):
            place.act("delete", answer.native_id)


def test_our_own_earlier_try_is_found_instead_of_refused(place: Place) -> None:
    """A create whose external id is taken is of unknown outcome, by a job as by a call."""
    assert place.write(create("1", name="Ada")) == ["done"]
    assert place.write(create("1", name="Ada")) == ["unknown"]
    place.sandbox.support.bulk_imports = True
    assert place.write(create("1", name="Ada"), create("2", name="Bert")) == ["unknown", "done"]
    assert len(CONNECTOR.find(place.api, USERS, create("1"))) == 1


def test_a_rewritten_case_is_still_our_id(place: Place) -> None:
    """Zendesk rewrites the case of an external id when somebody uses it in another one."""
    (answer,) = CONNECTOR.write(place.api, USERS, [create("a", name="Ada")])
    given = {"external_id": "UID-A", "phone": "1"}
    found = place.call("POST", "users/create_or_update", {"user": given})
    assert (found["status"], found["user"]["external_id"]) == (200, "UID-A")
    (reading,) = CONNECTOR.find(place.api, USERS, create("a"))
    assert (reading.native_id, reading.external_id) == (answer.native_id, "uid-a")


def test_a_job_that_does_not_end_leaves_doubt(place: Place) -> None:
    """After some patience its rows are unknown, and a read settles them once it is done."""
    ids = [place.act("create", name=f"N{n}") for n in range(ALONE_MOST + 1)]
    began = place.clock()

    def never(request: httpx.Request) -> httpx.Response:
        answer = place.host.handle(request)
        if "job_statuses" in request.url.path:
            text = answer.text.replace('"completed"', '"working"')
            return httpx.Response(200, text=text)
        return answer

    budget = Budget(CONNECTOR.limits, place.clock, place.clock.sleep)
    given = CONNECTOR.authorize(place.sandbox.auth)
    api = HttpApi(BASE, lambda: given, budget, httpx.MockTransport(never))
    answers = CONNECTOR.write(api, USERS, [update(i, phone="1") for i in ids])
    assert {a.outcome for a in answers} == {"unknown"}
    assert 10_000 < place.clock() - began < 30_000
    assert {r.app["phone"] for r in CONNECTOR.read(place.api, USERS, ids)} == {"1"}


def test_a_conflict_is_tried_again(place: Place) -> None:
    """409 says that nothing was applied."""
    own = place.act("create", name="Ada")
    budget = Budget(CONNECTOR.limits, place.clock, place.clock.sleep)
    api = HttpApi(BASE, dict, budget, httpx.MockTransport(lambda _: httpx.Response(409, json={})))
    for write in (update(own, phone="1"), update(own, email="b@x.example")):
        (answer,) = CONNECTOR.write(api, USERS, [write])
        assert (answer.outcome, answer.after_ms) == ("retry", 1_000)


def test_users_are_created_without_mail_to_them(place: Place) -> None:
    """A create names the role, our id, and that nobody is to be mailed."""
    sent: list[bytes] = []

    def keep(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return place.host.handle(request)

    budget = Budget(CONNECTOR.limits, place.clock, place.clock.sleep)
    given = CONNECTOR.authorize(place.sandbox.auth)
    api = HttpApi(BASE, lambda: given, budget, httpx.MockTransport(keep))
    CONNECTOR.write(api, USERS, [create("1", name="Ada", phone="")])
    assert b'"skip_verify_email":true' in sent[0]
    assert b'"role":"end-user"' in sent[0]
    assert b"phone" not in sent[0]


# -- the account, webhooks, size -------------------------------------------------------------------


def test_a_vendors_sandbox_is_told_by_its_address(place: Place) -> None:
    """An account of zendesk.com is live, unless its name ends in the time of its making."""

    def at(host: str) -> bool:
        settings = {"brands": {"default_brand_id": 7}}
        user = {"url": f"https://{host}/api/v2/users/1.json"}
        transport = httpx.MockTransport(
            lambda r: httpx.Response(200, json={"settings": settings, "user": user} if r else {})
        )
        budget = Budget(Limits(1_000, 1_000), place.clock, place.clock.sleep)
        return CONNECTOR.account(HttpApi(BASE, dict, budget, transport)).live is True

    assert at("acme.zendesk.com")
    assert not at("acme1734567890.zendesk.com")
    assert not at("127.0.0.1")


def test_a_merge_names_both_users(place: Place) -> None:
    """The event of a merge leads to the winner and to who was lost."""
    lost, won = place.act("create", name="A"), place.act("create", name="B")
    place.sandbox.register_webhook("https://hub.example/h", "s", ["zen:event-type:user.*"])
    place.act("merge", won, other=lost)
    (out,) = place.sandbox.due(place.clock())
    headers = {k.lower(): v for k, v in out.headers.items()}
    inbound = Inbound("POST", out.url, headers, out.body, place.clock())
    hints = CONNECTOR.hints(inbound, {"webhook_secret": "s"})
    assert [(h.kind, h.native_id) for h in hints] == [("merged", won), ("merged", lost)]


def test_the_signature_covers_its_time() -> None:
    """A time stamp that was not signed is a forgery; seconds are understood as well."""
    body = b'{"id":"e1","type":"zen:event-type:user.created","subject":"zen:user:5"}'
    names = ("x-zendesk-webhook-signature-timestamp", "x-zendesk-webhook-signature")
    for stamp, moved in ((str(T0 // 1000), "1"), (stamp_of(T0), "")):
        good = dict(zip(names, (stamp, sign("s", stamp, body)), strict=True))
        secrets = {"webhook_secret": "s"}
        inbound = Inbound("POST", "", good, body, T0)
        assert [h.native_id for h in CONNECTOR.hints(inbound, secrets)] == ["5"]
        with pytest.raises(Forged):
            CONNECTOR.hints(Inbound("POST", "", {**good, names[0]: moved}, body, T0), secrets)
        with pytest.raises(Stale):
            CONNECTOR.hints(Inbound("POST", "", good, body, T0 + 16 * MINUTE), secrets)


def test_an_event_of_an_unknown_kind_asks_for_no_record() -> None:
    """Also where it is about a user, and where it comes too late: it names nobody to read."""
    world = WholeWorld({}, vendors=("zendesk",))
    system = world.hub.systems["zendesk"]
    secret = system.secrets["webhook_secret"]
    body = b'{"id":"e1","type":"zen:event-type:user.new_kind","subject":"zen:user:5"}'
    names = ("x-zendesk-webhook-signature-timestamp", "x-zendesk-webhook-signature")
    stamp = str(world.clock.time // 1000)
    headers = dict(zip(names, (stamp, sign(secret, stamp, body)), strict=True))
    for late, status in ((0, 200), (16 * MINUTE, 400)):
        inbound = Inbound("POST", "", headers, body, world.clock.time + late)
        assert listeners.receive(world.hub, system, inbound)[0] == status
    assert world.store.view(lambda r: r.select("hint")) == []
    where = {"system": "zendesk", "name": "webhooks of other kinds"}
    assert [c["n"] for c in world.store.view(lambda r: r.select("counter", where))] == [1]


def test_a_million_customers_cost_nothing() -> None:
    """The account is there at once, and pages in its middle are read without computing all."""
    start = time.perf_counter()
    clock = Clock(lambda: T0)
    sandbox = ZendeskSandbox(1, 1_000_000, clock)
    sandbox.support.several = False
    budget = Budget(Limits(1_000, 1), clock, time.sleep)
    given = CONNECTOR.authorize(sandbox.auth)
    api = HttpApi(BASE, lambda: given, budget, HostTransport(Host(sandbox, clock)))
    assert len(CONNECTOR.listing(api, USERS, "").readings) == 100
    assert len(CONNECTOR.listing(api, USERS, "MzYxMDAwMDAx").readings) == 100
    for spec in (USERS, ORGANIZATIONS):
        page = CONNECTOR.changes(api, spec, Position(T0 // 1000 - 15_000_000).text())
        assert (len(page.readings), page.done) == (100, False)
    assert sandbox.summary()["records"] == {"users": 812_500, "organizations": 166_667}
    assert time.perf_counter() - start < 1
