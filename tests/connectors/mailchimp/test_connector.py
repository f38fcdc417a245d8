"""What the conformance suite cannot ask, because only Mailchimp is like this."""

from __future__ import annotations

import httpx
import orjson
import pytest

from connectors._kit.contract import Denied, Unreadable
from connectors._kit.trial import MINUTE, World, newest
from connectors.mailchimp import walk
from connectors.mailchimp.answers import hash_of
from connectors.mailchimp.connector import CONNECTOR, MEMBERS
from tests.connectors.mailchimp.tools import (
    audience_of,
    bending,
    change,
    connect,
    consent,
    made,
    new,
    sandbox_of,
    seen,
    world,
    written,
)

PLACE = {"ADDRESS.addr1": "1 Mill Lane", "ADDRESS.addr2": "", "ADDRESS.city": "Austin",
         "ADDRESS.state": "TX", "ADDRESS.zip": "78701", "ADDRESS.country": "US"}  # fmt: skip


def sent(one: World) -> list[dict[str, object]]:
    """The bodies of all writes from now on, as they go over the line."""
    bodies: list[dict[str, object]] = []

    def keep(_n: int, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if request.method != "GET":
            bodies.append(orjson.loads(request.content))
        return answer

    bending(one, keep)
    return bodies


# -- consent -----------------------------------------------------------------------------------


def test_who_is_created_is_not_subscribed() -> None:
    """Without a refusal a new member is transactional, with one unsubscribed."""
    one = world()
    plain, out = made(one, "a@x.example"), made(one, "b@x.example", status="unsubscribed")
    statuses = [seen(one, native).app["status"] for native in (plain, out)]
    assert statuses == ["transactional", "unsubscribed"]
    assert [consent(one, native) for native in (plain, out)] == [None, "out"]


def test_a_profile_never_names_a_status() -> None:
    """Whatever changes in a profile, nothing is said of consent."""
    one = world()
    native = made(one, "a@x.example")
    bodies = sent(one)
    for changes in ({"PHONE": "1"}, {"email_address": "b@x.example"}, PLACE, {"tags": ["vip"]}):
        assert written(one, change(native, **changes)).outcome == "done"
    assert len(bodies) == 4
    assert not any("status" in body or "status_if_new" in body for body in bodies)


def test_a_refusal_is_written_with_the_profile_in_one_call() -> None:
    """Both or none of it is applied."""
    one = world()
    native = made(one, "a@x.example")
    bodies = sent(one)
    answer = written(one, change(native, PHONE="1", status="unsubscribed"))
    assert (answer.outcome, len(bodies)) == ("done", 1)
    assert consent(one, native) == "out"


def test_a_refusal_is_not_blamed_for_the_profile() -> None:
    """Where the profile is refused, consent is free to be sent by itself."""
    one = world()
    native = made(one, "a@x.example")
    answer = written(one, change(native, PHONE="9" * 300, status="unsubscribed"))
    assert (answer.outcome, answer.fields) == ("rejected", ("PHONE",))
    bending(one, lambda _n, q, a: httpx.Response(400, json={}) if q.method == "PATCH" else a)
    answer = written(one, change(native, PHONE="1", status="unsubscribed"))
    assert (answer.outcome, answer.fields) == ("rejected", ("PHONE",))


def test_nobody_is_subscribed_by_the_hub() -> None:
    """A proven opt-in is not even sent, and Mailchimp would refuse it."""
    one = world()
    native = one.act("create", email_address="a@x.example")
    one.act("unsubscribe", native)
    calls = one.calls("write")
    give = MEMBERS.fields.give({"consent": {"email.marketing": "in"}})
    answer = written(one, change(native, **give))
    assert (answer.outcome, answer.fields, one.calls("write")) == ("rejected", ("status",), calls)
    path = f"/3.0/lists/{sandbox_of(one).list_id}/members/{native}"
    reply = one.api.send("PATCH", path, json={"status": "subscribed"})
    assert (reply.status, orjson.loads(reply.body)["title"]) == (400, "Member In Compliance State")
    assert consent(one, native) == "out"


def test_only_a_person_who_signed_up_is_a_proof() -> None:
    """Subscribed by hand in the tool, or by an app with its time and address, proves nothing."""
    one = world()
    by_hand = one.act("create", email_address="a@x.example")
    path = f"/3.0/lists/{sandbox_of(one).list_id}/members"
    given = {"email_address": "b@x.example", "status": "subscribed"}
    by_app = one.api.send("POST", path, json=given).json()
    assert isinstance(by_app, dict)
    assert by_app["ip_opt"]
    assert by_app["timestamp_opt"]
    for native in (by_hand, str(by_app["contact_id"])):
        assert consent(one, native) == {"state": "in"}
    one.act("sign up", by_hand)
    first = consent(one, by_hand)
    assert first["proof"]
    assert first["at"] == one.clock() // 1000 * 1000


def test_each_opt_in_has_a_proof_of_its_own() -> None:
    """Who leaves and signs up again gives a new proof, and the old one is not shown meanwhile."""
    one = world()
    native = one.act("create", email_address="a@x.example")
    one.act("sign up", native)
    first = consent(one, native)
    one.act("unsubscribe", native)
    assert consent(one, native) == "out"
    one.wait(MINUTE)
    one.act("sign up", native)
    second = consent(one, native)
    assert second["proof"] != first["proof"]
    assert second["at"] > first["at"]


def test_who_is_subscribed_again_by_an_app_proves_nothing_new() -> None:
    """Mailchimp notes the app's own time and address; the sign-up before it is the old one."""
    one = world()
    native = one.act("create", email_address="a@x.example")
    one.act("sign up", native)
    first = consent(one, native)
    one.wait(MINUTE)
    assert written(one, change(native, status="unsubscribed")).outcome == "done"
    one.wait(MINUTE)
    path = f"/3.0/lists/{sandbox_of(one).list_id}/members/{native}"
    again = one.api.send("PATCH", path, json={"status": "subscribed"}).json()
    assert isinstance(again, dict)
    assert again["timestamp_opt"] > again["timestamp_signup"]
    assert consent(one, native) == first


def test_cleaned_is_a_refusal_and_pending_nothing() -> None:
    """An address that bounces takes no mail; who has not confirmed yet has said nothing."""
    one = world()
    native = one.act("create", email_address="a@x.example")
    act = sandbox_of(one).acts["set_member_status"].do
    act({"email": "a@x.example", "status": "cleaned"})
    assert consent(one, native) == "out"
    act({"email": "a@x.example", "status": "pending"})
    assert consent(one, native) is None


# -- identity ----------------------------------------------------------------------------------


def test_a_new_address_is_the_same_member() -> None:
    """The hash changes with the address, the contact id does not."""
    one = world()
    native = made(one, "a@x.example")
    assert written(one, change(native, email_address="b@x.example")).outcome == "done"
    assert one.values(native)["email"] == "b@x.example"
    assert one.count() == 1


def test_an_address_that_passes_to_somebody_else_is_no_alias() -> None:
    """The hash finds whoever has the address now, and is never an id of theirs."""
    one = world()
    first = made(one, "a@x.example")
    written(one, change(first, email_address="b@x.example"))
    (nobody,) = one.connector.read(one.api, one.spec, [hash_of("a@x.example")])
    assert (nobody.native_id, nobody.state) == (hash_of("a@x.example"), "deleted")
    second = made(one, "A@x.example")
    (found,) = one.connector.read(one.api, one.spec, [hash_of("a@x.example")])
    assert (found.native_id, found.asked, found.aliases) == (second, hash_of("a@x.example"), ())
    assert second != first


def test_an_address_that_somebody_has_is_refused() -> None:
    """In a create and in an update, by name."""
    one = world()
    native = made(one, "a@x.example")
    made(one, "b@x.example")
    for write in (new("B@x.example"), change(native, email_address="b@x.example")):
        answer = written(one, write)
        assert (answer.outcome, answer.fields) == ("rejected", ("email_address",))


def test_an_erased_address_never_comes_back() -> None:
    """Neither by a create nor by any other way, and the answer says so."""
    one = world()
    native = made(one, "a@x.example")
    one.act("erase", native)
    assert seen(one, native).state == "deleted"
    answer = written(one, new("a@x.example"))
    assert answer.outcome == "rejected"
    assert "permanently deleted" in answer.why


# -- writing -----------------------------------------------------------------------------------


def test_tags_go_on_and_off_one_by_one() -> None:
    """Somebody else's tag stays, also one that was put on after the write was planned."""
    one = world()
    native = made(one, "a@x.example", tags=["old", "kept"])
    one.act("update", native, tags=["old", "kept", "theirs"])
    before = {"tags": ["kept", "old"]}
    answer = written(one, change(native, before, tags=["kept", "new"]))
    assert answer.outcome == "done"
    assert one.values(native)["tags"] == ["kept", "new", "theirs"]


def test_tags_beyond_fifty_are_all_read() -> None:
    """Mailchimp shows fifty with a member; the others are asked for."""
    one = world()
    tags = [f"tag {n:03}" for n in range(120)]
    native = made(one, "a@x.example", tags=tags)
    assert one.values(native)["tags"] == tags
    assert newest(one.listing())[native].app["tags"] == seen(one, native).app["tags"]


def test_a_tag_that_fails_after_the_profile_is_tried_again() -> None:
    """What is half applied is never called unknown, which would mean all or nothing."""
    one = world()
    native = made(one, "a@x.example")

    def lost(_n: int, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if request.url.path.endswith("/tags") and request.method == "POST":
            raise httpx.ReadTimeout("lost", request=request)
        return answer

    bending(one, lost)
    half = written(one, change(native, {"tags": []}, PHONE="1", tags=["vip"]))
    alone = written(one, change(native, {"tags": []}, tags=["vip"]))
    assert (half.outcome, alone.outcome) == ("retry", "unknown")


def test_one_part_of_an_address_is_sent_with_the_others() -> None:
    """As the hub knows them, or as they are read, for Mailchimp takes it as a whole."""
    one = world()
    native = made(one, "a@x.example", **PLACE)
    for before in ({}, PLACE):
        reads = one.calls("read")
        city = f"Dallas {len(before)}"
        write = change(native, before, **{"ADDRESS.city": city})
        assert written(one, write).outcome == "done"
        assert one.calls("read") - reads == (0 if before else 1)
        found = seen(one, native).app
        assert {n: found[n] for n in PLACE} == {**PLACE, "ADDRESS.city": city}


@pytest.mark.parametrize("without", ["line1", "city", "region", "postcode", "country"])
def test_an_incomplete_address_has_no_place(without: str) -> None:
    """Mailchimp would take none of the write, so the address is empty there; the rest arrives."""
    one, field = world(), MEMBERS.fields.by_name["address"]
    whole = {"line1": "1 Mill Lane", "line2": "", "city": "Austin", "region": "TX",
             "postcode": "78701", "country": "US"}  # fmt: skip
    assert field.normal(whole) == whole
    native = made(one, "a@x.example", FNAME="Ada", **field.give({**whole, without: ""}))
    assert one.values(native)["address"] is None
    assert seen(one, native).app["FNAME"] == "Ada"


def test_a_merge_field_that_is_not_there_is_not_covered() -> None:
    """Reading says nothing of it, a write keeps nothing, as its answer shows; a check tells."""
    one = world()
    audience_of(one).tags.discard("COMPANY")
    native = made(one, "a@x.example")
    assert "COMPANY" not in seen(one, native).app
    answer = written(one, change(native, COMPANY="Kestrel Ltd"))
    assert answer.reading
    assert answer.reading.app["COMPANY"] is None
    (flaw,) = CONNECTOR.check(one.api)
    assert flaw.startswith("merge field COMPANY does not exist")


def test_required_merge_fields_do_not_keep_anybody_out() -> None:
    """A field that the list requires on its form is not asked of the hub."""
    one = world()
    audience_of(one).required.add("PHONE")
    assert made(one, "a@x.example")


def test_rows_of_a_batch_find_their_answers() -> None:
    """Fifty creates are one call and a read; two with one address do not go out together."""
    one = world()
    made(one, "taken@x.example")
    calls = one.calls("write")
    mails = [f"m{n}@x.example" for n in range(46)]
    rows = [new(m) for m in (*mails, "taken@x.example", "M0@x.example", "no address", "")]
    answers = one.write(*rows)
    assert [a.outcome for a in answers] == ["done"] * 46 + ["rejected", "retry"] + ["rejected"] * 2
    for answer, mail in zip(answers, mails, strict=False):
        assert seen(one, answer.native_id).app["email_address"] == mail
    assert one.calls("write") == calls + 1
    assert one.count() == 47


def test_a_batch_that_is_refused_as_a_whole_is_halved() -> None:
    """One row of a wrong type spoils a batch; the others still arrive, and nothing twice."""
    one = world()
    one.api = connect(one.connector, Strict(one), one.host.sandbox.auth, one.clock)
    rows = [new(f"m{n}@x.example") for n in range(5)]
    answers = one.write(*rows, new("bad@x.example"))
    assert [a.outcome for a in answers] == ["done"] * 5 + ["rejected"]
    assert one.count() == 5


class Strict(httpx.BaseTransport):
    """A Mailchimp that refuses a request as a whole for the sake of one row."""

    def __init__(self, one: World) -> None:
        self.host = one.host

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        if b"bad@x.example" in request.read():
            return httpx.Response(400, json={"title": "Invalid Resource"})
        return self.host.handle(request)


# -- the list, the limits ----------------------------------------------------------------------


def test_the_list_may_be_left_out_where_there_is_one() -> None:
    """It is found by a question; of several, or none, nobody guesses."""
    one = world()
    key = {"api_key": one.host.sandbox.auth["api_key"]}
    named = one.connector.account(one.api)
    assert one.over(lambda _n, _q, a: a, key).connector.account(one.api) == named
    for lists in ([], [{"id": "1"}, {"id": "2"}]):
        odd = one.over(lambda _n, _q, _a: httpx.Response(200, json={"lists": lists}), key)  # noqa: B023
        with pytest.raises(Denied, match="list_id"):
            odd.listing()
        (answer,) = odd.write(new("a@x.example"))
        assert answer.outcome == "stop"


def test_a_403_without_a_word_means_too_many_calls() -> None:
    """It is waited for; one that explains itself is a matter for a person."""
    one = world(3)
    one.host.handle(httpx.Request("POST", "http://x/_sandbox/throttle", json={"retry_after": 0}))
    assert len(newest(one.listing())) == one.count()
    one.host.handle(httpx.Request("POST", "http://x/_sandbox/throttle", json={"retry_after": 0}))
    assert written(one, new("a@x.example")).outcome == "retry"
    denied = one.over(lambda _n, _q, _a: httpx.Response(403, json={"title": "Forbidden"}))
    with pytest.raises(Denied):
        denied.listing()


def test_the_key_names_its_data_centre() -> None:
    """Nothing else gets into the address of the server."""
    assert CONNECTOR.base_url({"api_key": "0f-us21"}) == "https://us21.api.mailchimp.com"
    for bad in ("0f", "0f-", "0f-evil.example/", "0f-us1.evil"):
        with pytest.raises(ValueError, match="data centre"):
            CONNECTOR.base_url({"api_key": bad})


# -- following a list that moves ---------------------------------------------------------------


def bulk(one: World, count: int) -> list[str]:
    """So many members changed within one second."""
    return [one.act("create", email_address=f"p{n}@x.example") for n in range(count)]


@pytest.mark.parametrize("leaving", [1, 49, 51, 180])
def test_a_bulk_second_from_which_members_leave(leaving: int) -> None:
    """However many of one second move on between two pages, those who stay are all seen."""
    one = world()
    natives = bulk(one, 450)
    first = one.connector.changes(one.api, one.spec, one.begin())
    one.wait(5_000)
    for native in natives[:leaving]:
        one.act("update", native, PHONE="1")
    rest = list(one.pages(one.connector.changes, first.cursor))
    assert set(natives) <= set(newest([first, *rest]))


def test_a_page_out_of_order_is_not_believed() -> None:
    """The walk lives by the order of time stamps."""
    at = walk.Walk(1_000)
    for page in ([("a", 1_001), ("b", 1_000)], [("a", 999)]):
        with pytest.raises(Unreadable):
            at.fits(page)


def test_an_edit_of_tags_is_found_by_a_listing() -> None:
    """No time stamp moves, so the changes do not show it."""
    one = world()
    native = made(one, "a@x.example")
    one.wait(10 * MINUTE)
    cursor = one.begin()
    one.act("update", native, tags=["vip"])
    one.wait(MINUTE)
    assert native not in newest(one.changes(cursor))
    assert newest(one.listing())[native].app["tags"] == ["vip"]


def test_readings_tell_their_time() -> None:
    """By Mailchimp's stamp, in whole seconds."""
    one = world()
    found = seen(one, made(one, "a@x.example"))
    assert found.source_ms
    assert 0 <= one.clock() - found.source_ms < MINUTE


def test_an_empty_write_is_done() -> None:
    """Nothing to say needs no call."""
    one = world()
    native = made(one, "a@x.example")
    calls = one.calls("write")
    assert written(one, change(native)).outcome == "done"
    assert one.calls("write") == calls
