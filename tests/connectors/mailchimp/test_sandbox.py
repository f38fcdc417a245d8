"""The sandbox obeys Mailchimp's laws, and a million customers cost it nothing."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import httpx
import pytest

from connectors._kit import serve
from connectors._kit.population import Population
from connectors._kit.trial import T0, VirtualClock
from connectors.mailchimp.answers import hash_of
from connectors.mailchimp.audience import PATTERN
from connectors.mailchimp.sandbox import MailchimpSandbox


class Caller:
    """Calls a sandbox as an app does."""

    def __init__(self, customers: int = 0) -> None:
        self.clock = VirtualClock()
        self.sandbox = MailchimpSandbox(1, customers, self.clock)
        self.client = httpx.Client(
            transport=httpx.MockTransport(self.sandbox.handle),
            base_url=f"http://mailchimp.test/3.0/lists/{self.sandbox.list_id}",
            auth=("any", self.sandbox.key),
        )

    def __call__(self, method: str, path: str, json: Any = None, **params: Any) -> Any:
        """The body of an answer, whatever its state."""
        answer = self.client.request(method, path, json=json, params=params)
        return answer.json() if answer.content else None

    def add(self, mail: str, status: str = "subscribed", **more: Any) -> Any:
        """A member made by an app."""
        return self("POST", "/members", {"email_address": mail, "status": status, **more})


@pytest.fixture
def call() -> Caller:
    """A caller of a sandbox without customers."""
    return Caller()


def mails(page: Any) -> list[str]:
    """The addresses on a page."""
    return [m["email_address"] for m in page["members"]]


def test_a_million_customers_cost_nothing() -> None:
    """Starting takes less than a second, and a page anywhere computes only its own members."""
    start = time.monotonic()
    call = Caller(1_000_000)
    assert time.monotonic() - start < 1
    people = call.sandbox.audience.seeded.people
    assert people.count == Population(1, 1_000_000, "mailchimp").count > 800_000
    start = time.monotonic()
    first = call("GET", "/members", count=100)
    last = call("GET", "/members", count=100, sort_field="last_changed", sort_dir="DESC")
    since = first["members"][50]["last_changed"]
    after = call("GET", "/members", count=100, since_last_changed=since, sort_field="last_changed")
    assert time.monotonic() - start < 3
    assert after["members"][:49] == first["members"][51:]
    assert (first["total_items"], after["total_items"]) == (people.count, people.count - 51)
    assert not set(mails(first)) & set(mails(last))


def test_members_are_found_by_hash_address_and_contact_id() -> None:
    """Each of the three names of a member leads to it, in a large list once it was shown."""
    call = Caller(1_000_000)
    for member in call("GET", "/members", count=20)["members"]:
        for name in ("id", "email_address", "contact_id"):
            assert call("GET", f"/members/{member[name]}") == member
    assert call("GET", f"/members/{'0' * 32}")["status"] == 404


def test_the_population_is_one_of_email_marketing() -> None:
    """Nobody without an address, none twice, all statuses, tags, and every second one confirmed."""
    call = Caller(500)
    found = call("GET", "/members", count=1000)
    members = found["members"]
    assert found["total_items"] == len(members) == len({m["id"] for m in members})
    assert all(m["id"] == hash_of(m["email_address"]) for m in members)
    statuses = {s: sum(m["status"] == s for m in members) for s in PATTERN}
    assert all(statuses.values())
    for status, count in statuses.items():
        assert call("GET", "/members", count=0, status=status)["total_items"] == count
    proven = [m for m in members if m["ip_signup"] and m["timestamp_opt"]]
    assert 0 < len(proven) < statuses["subscribed"]
    assert {m["status"] for m in proven} == {"subscribed"}
    assert any(m["tags"] for m in members)
    shared = {m["email_address"] for m in members if "@mail.example.com" in m["email_address"]}
    assert len(shared) > len(members) / 2


def test_numbers_stay_right_under_edits() -> None:
    """Totals are computed, and count whoever was edited, made or archived as what they are now."""
    call = Caller(200)
    every = call("GET", "/members", count=1000)["members"]
    for member in every[3:30:3]:
        call("PATCH", f"/members/{member['contact_id']}", {"merge_fields": {"PHONE": "+1"}})
    call("DELETE", f"/members/{every[0]['id']}")
    call.add("new@x.example")
    since = {"since_last_changed": every[9]["last_changed"]}
    for params in ({}, {"status": "subscribed"}, since):
        page = call("GET", "/members", count=1000, sort_field="last_changed", **params)
        assert page["total_items"] == len(page["members"])
        stamps = [m["last_changed"] for m in page["members"]]
        assert stamps == sorted(stamps)
    assert len(call("GET", "/members", count=1000, status="archived")["members"]) == 1


def test_offset_pages_shift_under_edits(call: Caller) -> None:
    """Who moves to the end of the list pulls somebody else out of the next page."""
    for n in range(20):
        call.add(f"p{n}@x.example")
        call.clock.now_ms += 1_000
    first = call("GET", "/members", sort_field="last_changed", sort_dir="ASC")
    call("PATCH", f"/members/{first['members'][0]['id']}", {"merge_fields": {"FNAME": "Ada"}})
    second = call("GET", "/members", sort_field="last_changed", sort_dir="ASC", offset=10)
    assert "p10@x.example" not in mails(first) + mails(second)
    assert len(mails(first)) == 10


def test_since_last_changed_excludes_its_own_second(call: Caller) -> None:
    """Also what happens later in the second that was asked from."""
    made = call.add("a@x.example")
    call.clock.now_ms += 900
    call.add("b@x.example")
    stamp = made["last_changed"]
    assert stamp.endswith("+00:00")
    assert mails(call("GET", "/members", since_last_changed=stamp)) == []
    call.clock.now_ms += 200
    call.add("c@x.example")
    assert mails(call("GET", "/members", since_last_changed=stamp)) == ["c@x.example"]


def test_archived_members_are_only_shown_when_asked_for(call: Caller) -> None:
    """They keep their contact id and can be added again; erased ones never can."""
    made = call.add("a@x.example")
    call("DELETE", f"/members/{made['id']}")
    assert mails(call("GET", "/members")) == []
    assert mails(call("GET", "/members", status="archived")) == ["a@x.example"]
    assert call("GET", f"/members/{made['id']}")["status"] == "archived"
    again = call.add("a@x.example")
    assert (again["contact_id"], again["status"]) == (made["contact_id"], "subscribed")
    call("POST", f"/members/{made['id']}/actions/delete-permanent")
    assert call("GET", f"/members/{made['id']}")["status"] == 404
    assert call.add("a@x.example")["title"] == "Forgotten Email Not Subscribed"


def test_nobody_who_left_is_subscribed_by_an_app(call: Caller) -> None:
    """Not by PATCH, PUT or a batch, nor after being archived; only `pending` is allowed."""
    mail = "a@x.example"
    path = f"/members/{hash_of(mail)}"
    call.sandbox.act("unsubscribe", "members", call.add(mail)["contact_id"], {})
    again = {"email_address": mail, "status": "subscribed"}
    for method in ("PATCH", "PUT"):
        found = call(method, path, again)
        assert (found["status"], found["title"]) == (400, "Member In Compliance State")
    batch = call("POST", "", {"members": [again], "update_existing": True})
    assert (batch["error_count"], batch["errors"][0]["email_address"]) == (1, mail)
    call("DELETE", path)
    assert call.add(mail)["title"] == "Member In Compliance State"
    assert call("PATCH", path, {"status": "pending"})["status"] == "pending"


def test_whom_an_app_took_off_the_list_it_may_put_on_again(call: Caller) -> None:
    """With its own time and address for the confirmation; the sign-up stays what it was."""
    made = call.add("a@x.example")
    path = f"/members/{made['contact_id']}"
    call.sandbox.act("sign up", "members", made["contact_id"], {})
    before = call("GET", path)
    call.clock.now_ms += 60_000
    assert call("PATCH", path, {"status": "unsubscribed"})["status"] == "unsubscribed"
    after = call("PATCH", path, {"status": "subscribed"})
    moved = {n for n in before if n.startswith(("ip_", "timestamp_")) and before[n] != after[n]}
    assert (after["status"], moved) == ("subscribed", {"ip_opt", "timestamp_opt"})


def test_an_upsert_needs_a_status_only_for_who_is_new(call: Caller) -> None:
    """Who is there keeps theirs."""
    path = f"/members/{hash_of('a@x.example')}"
    body: dict[str, Any] = {"email_address": "a@x.example", "status_if_new": "transactional"}
    assert call("PUT", path, body)["status"] == "transactional"
    named = {**body, "status_if_new": "subscribed", "merge_fields": {"FNAME": "Ada"}}
    after = call("PUT", path, named)
    assert (after["status"], after["merge_fields"]["FNAME"]) == ("transactional", "Ada")


def test_an_address_is_whole_or_nothing(call: Caller) -> None:
    """An app's incomplete one is refused by name; a missing country is the US."""
    place = {"addr1": "1 Mill Lane", "city": "Austin", "state": "TX", "zip": "78701"}
    member = f"/members/{call.add('a@x.example')['id']}"
    kept = call("PATCH", member, {"merge_fields": {"ADDRESS": place}})["merge_fields"]
    assert kept["ADDRESS"] == {**place, "addr2": "", "country": "US"}
    refused = call("PATCH", member, {"merge_fields": {"ADDRESS": {**place, "state": ""}}})
    assert refused["errors"] == [{"field": "ADDRESS", "message": "Please enter a complete address"}]
    assert call("PATCH", member, {"merge_fields": {"ADDRESS": ""}})["merge_fields"]["ADDRESS"] == ""


def test_tags_move_no_time_stamp(call: Caller) -> None:
    """And a member shows fifty of them, however many there are."""
    made = call.add("a@x.example")
    call.clock.now_ms += 60_000
    rows = [{"name": f"tag {n}", "status": "active"} for n in range(60)]
    assert call("POST", f"/members/{made['id']}/tags", {"tags": rows}) is None
    member = call("GET", f"/members/{made['id']}")
    assert member["last_changed"] == made["last_changed"]
    assert (member["tags_count"], len(member["tags"])) == (60, 50)
    tags = call("GET", f"/members/{made['id']}/tags", count=1000)
    assert (tags["total_items"], len(tags["tags"])) == (60, 60)


def test_links_lead_to_where_the_request_went() -> None:
    """Every absolute link is built from the Host header."""
    call = Caller(3)
    found = call("GET", "/members")
    hrefs = [link["href"] for m in found["members"] for link in m["_links"]]
    assert hrefs
    assert all(h.startswith("http://mailchimp.test/3.0/lists/") for h in hrefs)


def test_fields_can_be_chosen(call: Caller) -> None:
    """Named ones alone, or all but the named, at any depth."""
    call.add("a@x.example")
    only = call("GET", "/members", fields="members.id,members.merge_fields.FNAME,total_items")
    assert only == {
        "members": [{"id": hash_of("a@x.example"), "merge_fields": {"FNAME": ""}}],
        "total_items": 1,
    }
    (rest,) = call("GET", "/members", exclude_fields="members._links,members.stats")["members"]
    assert "id" in rest
    assert not {"_links", "stats"} & rest.keys()


def test_the_description_tells_what_programs_need() -> None:
    """Beside the common acts: the list, and a way to set a member's status."""
    served = serve.start(["mailchimp"], 1, 5)
    one = served["mailchimp"]
    told = serve.described(served)["mailchimp"]
    act = told["admin"]["set_member_status"]
    assert told["auth"]["api_key"]
    assert act["json"] == {"email": "{email}", "status": "{status}", "list_id": "{list_id}"}
    login = ("any", told["auth"]["api_key"])
    with httpx.Client(base_url=told["base_url"], trust_env=False, auth=login) as http:
        place = f"/3.0/lists/{told['list_id']}/members"
        mail = http.get(place).json()["members"][0]["email_address"]
        body = {"email": mail, "status": "cleaned", "list_id": told["list_id"]}
        assert http.request(act["method"], act["url"], json=body).status_code == 200
        assert http.get(f"{place}/{hash_of(mail)}").json()["status"] == "cleaned"
        for wrong in ({**body, "email": "x"}, {**body, "list_id": "x"}, {**body, "status": "x"}):
            assert http.request(act["method"], act["url"], json=wrong).status_code == 400
    one.stop()


def test_time_is_the_sandboxes_own() -> None:
    """The Date header tells it, by which the connector goes."""
    call = Caller()
    answer = call.client.get("/members")
    assert answer.headers["date"] == email.utils.formatdate(T0 / 1000, usegmt=True)
