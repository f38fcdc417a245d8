"""Mailchimp's webhooks: what they name, how they are proven, and what happens to a lost address."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlencode

import pytest

from connectors._kit.contract import Forged, Hint, Inbound, Malformed
from connectors._kit.trial import MINUTE, World
from connectors.mailchimp.answers import hash_of
from tests.connectors.mailchimp.tools import change, hooked, made, sandbox_of, world, written

URL = "https://hub.example/webhooks/mailchimp"
OLD_HOOK = f"{URL}?secret=sandbox-url-secret"


def listening() -> World:
    """A world whose events are sent to us."""
    one = world()
    sandbox_of(one).register_webhook(URL, "", [])
    return one


def hints(one: World, inbound: Inbound) -> tuple[Hint, ...]:
    """What the connector makes of it."""
    return one.connector.hints(inbound, one.host.sandbox.auth)


def types(found: list[Inbound]) -> list[str]:
    """The events, as they are named."""
    return [parse_qs(i.body.decode())["type"][0] for i in found]


def test_every_kind_of_event_names_its_member() -> None:
    """Subscribe, profile, upemail, unsubscribe, cleaned: each leads to who has the address now."""
    one = listening()
    native = one.act("create", email_address="a@x.example")
    acts = sandbox_of(one).acts["set_member_status"].do
    one.act("update", native, PHONE="1")
    one.act("update", native, email_address="b@x.example")
    for status in ("unsubscribed", "cleaned", "subscribed"):
        acts({"email": "b@x.example", "status": status, "list_id": ""})
    one.act("archive", native)
    found = hooked(one)
    assert types(found) == ["subscribe", "profile", "upemail", "unsubscribe", "cleaned",
                            "subscribe", "unsubscribe"]  # fmt: skip
    named = [h.native_id for inbound in found for h in hints(one, inbound)]
    old, new = hash_of("a@x.example"), hash_of("b@x.example")
    assert named == [old, old, new, new, new, new, new]
    (reading,) = one.connector.read(one.api, one.spec, [new])
    assert (reading.native_id, reading.asked, reading.state) == (native, new, "archived")


def test_our_own_writes_make_no_echo() -> None:
    """The switch for the API is off; with it on there is one."""
    one = listening()
    native = made(one, "a@x.example")
    written(one, change(native, PHONE="1"))
    assert not hooked(one)
    for hook in sandbox_of(one).hooks.held.values():
        hook.sources["api"] = True
    written(one, change(native, PHONE="2"))
    assert types(hooked(one)) == ["profile"]


def test_tags_and_erasing_tell_nobody() -> None:
    """There is no such event: only a sweep finds them."""
    one = listening()
    native = made(one, "a@x.example")
    one.act("update", native, tags=["vip"])
    one.act("erase", native)
    assert not hooked(one)


def test_a_hook_without_signature_needs_the_secret_in_its_address() -> None:
    """The right one is taken, none, another, a doubled one, and ours left empty are refused."""
    one = listening()
    one.act("create", email_address="a@x.example")
    (good,) = hooked(one)
    bare = replace(good, headers={}, url=OLD_HOOK)
    assert hints(one, bare) == hints(one, good)
    for url in (URL, f"{URL}?secret=", f"{URL}?secret=x", f"{OLD_HOOK}&secret=x"):
        with pytest.raises(Forged):
            hints(one, replace(bare, url=url))
    with pytest.raises(Forged):
        one.connector.hints(replace(bare, url=f"{URL}?secret="), {"url_secret": ""})


def test_a_wrong_signature_is_not_mended_by_the_right_address() -> None:
    """Who has the signing secret signs; without that secret on our side the address decides."""
    one = listening()
    one.act("create", email_address="a@x.example")
    (good,) = hooked(one)
    forged = replace(good, body=good.body + b"&x=1", url=OLD_HOOK)
    with pytest.raises(Forged):
        hints(one, forged)
    unsigned = {k: v for k, v in one.host.sandbox.auth.items() if k != "webhook_secret"}
    assert one.connector.hints(forged, unsigned)


def test_events_of_another_list_are_of_no_interest() -> None:
    """A hook that somebody made for two lists names members that are not ours."""
    one = world()
    form = {"type": "profile", "fired_at": "2026-01-01 00:00:00", "data[email]": "a@x.example"}
    for of, kind in ((sandbox_of(one).list_id, "changed"), ("0000000000", "other")):
        body = urlencode({**form, "data[list_id]": of}).encode()
        (hint,) = hints(one, Inbound("POST", OLD_HOOK, {}, body, 0))
        assert hint.kind == kind


def test_an_event_without_an_address_is_malformed() -> None:
    """There is nothing else in it that would name a member."""
    one = world()
    body = urlencode({"type": "profile", "fired_at": "x", "data[list_id]": sandbox_of(one).list_id})
    for more in ("", "&data[email]=", "&data[email]=7", "&data[new_email]=a@x.example"):
        with pytest.raises(Malformed):
            hints(one, Inbound("POST", OLD_HOOK, {}, f"{body}{more}".encode(), 0))


def test_an_address_is_tried_before_it_is_used() -> None:
    """A hook made through the API gets a GET; one that does not answer it is gone again."""
    one = world()
    path = f"/3.0/lists/{sandbox_of(one).list_id}/webhooks"
    body = {"url": URL, "events": {"profile": True}, "sources": {"user": True}}
    for status, left in ((200, 1), (405, 1)):
        made_hook = one.api.send("POST", path, json=body).json()
        assert isinstance(made_hook, dict)
        assert made_hook["signing_secret"]
        (trial,) = sandbox_of(one).due(one.clock())
        assert (trial.method, trial.url) == ("GET", URL)
        sandbox_of(one).settle(trial.id, status)
        assert len(sandbox_of(one).hooks.held) == left


def test_a_hook_that_is_down_is_tried_for_75_minutes() -> None:
    """Then what it was to be told is lost, and only polling finds it."""
    one = listening()
    one.act("create", email_address="a@x.example")
    start, last = one.clock(), 0
    while due := sandbox_of(one).due(one.clock()):
        last = one.clock() - start
        sandbox_of(one).settle(due[0].id, 503)
        waiting = sandbox_of(one).hooks.waiting.values()
        one.wait(max((told.due - one.clock() for told in waiting), default=0))
    assert last == 75 * MINUTE
