"""Mailchimp's own Python client against the sandbox, over real HTTP: an independent witness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from connectors._kit import serve
from connectors._kit.serve import Served
from connectors.mailchimp.answers import hash_of
from connectors.mailchimp.sandbox import MailchimpSandbox

marketing = pytest.importorskip("mailchimp_marketing")

from mailchimp_marketing.api_client import ApiClientError  # noqa: E402


@pytest.fixture
def served() -> Iterator[Served]:
    """A sandbox with some customers."""
    one = Served(serve.host("mailchimp", 1, 30)).start()
    yield one
    one.stop()


@pytest.fixture
def own(served: Served) -> str:
    """The list."""
    assert isinstance(served.host.sandbox, MailchimpSandbox)
    return served.host.sandbox.list_id


@pytest.fixture
def client(served: Served) -> Any:
    """The client, pointed at the sandbox."""
    made = marketing.Client({"api_key": served.host.sandbox.auth["api_key"]})
    made.api_client.host = f"{served.base_url}/3.0"
    return made


def refused(act: Any, *given: Any) -> Any:
    """The problem that an act is answered with."""
    with pytest.raises(ApiClientError) as caught:
        act(*given)
    return orjson.loads(caught.value.text)


def test_the_account_and_its_list(client: Any, own: str) -> None:
    """Ping, the account, the list, a health check, and a key that is wrong."""
    assert client.ping.get() == {"health_status": "Everything's Chimpy!"}
    assert client.root.get_root()["account_timezone"] == "Etc/UTC"
    (found,) = client.lists.get_all_lists()["lists"]
    assert (found["id"], found["stats"]["member_count"]) == (own, 24)
    assert client.lists.get_list(own)["name"] == found["name"]
    assert client.campaigns.list()["total_items"] == 0
    client.api_client.api_key = "wrong"
    assert refused(client.ping.get)["status"] == 401


def test_members_go_round(client: Any, own: str) -> None:
    """Add, upsert, update, read by each name, archive, and delete for good."""
    lists = client.lists
    body = {"email_address": "Ada@x.example", "status": "subscribed", "tags": ["vip"]}
    made = lists.add_list_member(own, body)
    assert (made["id"], made["tags"][0]["name"]) == (hash_of("ada@x.example"), "vip")
    assert refused(lists.add_list_member, own, body)["title"] == "Member Exists"
    new = {"email_address": "new@x.example", "merge_fields": {"LNAME": "Byron"}}
    moved = lists.update_list_member(own, made["id"], new)
    assert (moved["contact_id"], moved["full_name"]) == (made["contact_id"], "Byron")
    assert moved["id"] != made["id"]
    for name in (moved["id"], moved["contact_id"], "new@x.example"):
        assert lists.get_list_member(own, name)["contact_id"] == made["contact_id"]
    upsert = {"email_address": "NEW@x.example", "status_if_new": "transactional"}
    assert lists.set_list_member(own, moved["id"], upsert)["status"] == "subscribed"
    lists.delete_list_member(own, moved["id"])
    assert lists.get_list_member(own, moved["id"])["status"] == "archived"
    lists.delete_list_member_permanent(own, moved["id"])
    assert refused(lists.get_list_member, own, moved["id"])["status"] == 404


def test_pages_and_changes(client: Any, own: str) -> None:
    """Pages by offset, changes since a time, archived ones by themselves, booleans as words."""
    lists = client.lists
    pages = [lists.get_list_members_info(own, count=10, offset=n)["members"] for n in (0, 10, 20)]
    every = [m["contact_id"] for page in pages for m in page]
    assert len(every) == len(set(every)) == 24
    since = pages[2][-2]["last_changed"]
    late = lists.get_list_members_info(own, since_last_changed=since, sort_field="last_changed")
    assert [m["contact_id"] for m in late["members"]] == every[-1:]
    lists.delete_list_member(own, every[0])
    gone = lists.get_list_members_info(own, status="archived", fields=["members.contact_id"])
    assert gone == {"members": [{"contact_id": every[0]}]}
    body = {"email_address": "a@x.example", "status": "subscribed"}
    assert lists.add_list_member(own, body, skip_merge_validation=True)["vip"] is False


def test_tags_merge_fields_and_batches(client: Any, own: str) -> None:
    """Tags on and off, a merge field of one's own, errors by row."""
    lists = client.lists
    rows = [{"email_address": m, "status": "subscribed"} for m in ("a@x.example", "nonsense")]
    batch = lists.batch_list_members(own, {"members": rows, "update_existing": False})
    assert (batch["total_created"], batch["errors"][0]["field"]) == (1, "email_address")
    assert "contact_id" not in batch["new_members"][0]
    key = hash_of("a@x.example")
    for status, count in (("active", 1), ("inactive", 0)):
        lists.update_list_member_tags(own, key, {"tags": [{"name": "vip", "status": status}]})
        assert lists.get_list_member_tags(own, key)["total_items"] == count
    made = lists.add_list_merge_field(own, {"name": "Shoe", "type": "text", "tag": "SHOE"})
    assert lists.get_list_merge_field(own, str(made["merge_id"]))["tag"] == "SHOE"
    tags = [f["tag"] for f in lists.get_list_merge_fields(own, count=100)["merge_fields"]]
    assert {"FNAME", "LNAME", "ADDRESS", "PHONE", "SHOE"} <= set(tags)


def test_webhooks_are_set_up(client: Any, own: str, served: Served) -> None:
    """Make, list, change and delete one; only people's acts are told unless wanted otherwise."""
    lists = client.lists
    body = {
        "url": f"{served.base_url}/_sandbox/state",  # answers when Mailchimp tries it
        "events": {"profile": True},
        "sources": {"user": True},
    }
    made = lists.create_list_webhook(own, body)
    assert made["signing_secret"]
    assert made["sources"] == {"user": True, "admin": True, "api": False}
    (found,) = lists.get_list_webhooks(own)["webhooks"]
    assert "signing_secret" not in found
    changed = lists.update_list_webhook(own, made["id"], {"sources": {"api": True}})
    assert changed["sources"]["api"] is True
    lists.delete_list_webhook(own, made["id"])
    assert lists.get_list_webhooks(own)["total_items"] == 0
    assert served.host.counts["write"] == 3
