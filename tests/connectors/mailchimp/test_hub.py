"""The whole hub between a CRM and a list: edits both ways, a new address, a lasting identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors._kit import serve
from connectors._kit.serve import Served
from connectors._kit.simtool import Profile
from hub import commands, opening
from hub.env import Hub
from hub.listeners import wait_for
from hub.logs import be_quiet
from hub.opening import Folder
from hub.running import running
from hub.status import status
from hub.tools.world import World


def member(served: Served, mail: str) -> dict[str, Any]:
    """A member as Mailchimp shows it, {} where there is none."""
    auth = served.host.sandbox.auth
    address = f"{served.base_url}/3.0/lists/{auth['list_id']}/members/{mail}"
    answer = httpx.get(address, auth=("any", auth["api_key"]), trust_env=False)
    found: dict[str, Any] = answer.json()
    return found if answer.status_code == httpx.codes.OK else {}


def place(served: Served, mail: str) -> dict[str, str]:
    """A member's address."""
    found: dict[str, str] = member(served, mail)["merge_fields"]["ADDRESS"]
    return found


def contact(served: Served, native: str) -> dict[str, Any]:
    """A contact's properties as HubSpot shows them."""
    address = f"{served.base_url}/crm/v3/objects/contacts/{native}"
    params = {"properties": "email,phone,lastname"}
    headers = {"Authorization": "Bearer x"}
    answer = httpx.get(address, params=params, headers=headers, trust_env=False)
    found: dict[str, Any] = answer.json()["properties"]
    return found


def to_create(hub: Hub) -> bool:
    """Whether the hub knows of a member to make."""
    return bool(status(hub)["systems"]["mailchimp"]["to_create"])


def test_edits_travel_both_ways(tmp_path: Path) -> None:
    """A contact becomes a member who may not be mailed, and both change together from then on."""
    be_quiet()
    served = serve.start(["hubspot", "mailchimp"], 1, 0)
    crm, mailing = served["hubspot"], served["mailchimp"]
    person = {"email": "ada@x.example.com", "firstname": "Ada", "lastname": "Byron",
              "address": "1 Mill Lane", "city": "Austin", "state": "TX", "zip": "78701",
              "country": "US"}  # fmt: skip
    native = crm.host.sandbox.act("create", "contacts", "", person)
    folder = Folder(tmp_path / "hub")
    opening.init(folder, serve.described(served), (0, 0))
    with running(folder) as up:
        hub = up.opened.hub
        webhook = f"http://127.0.0.1:{up.webhooks.port}/webhooks"
        assert httpx.get(f"{webhook}/mailchimp", trust_env=False).status_code == httpx.codes.OK
        assert httpx.get(f"{webhook}/nobody", trust_env=False).status_code == httpx.codes.NOT_FOUND
        assert wait_for(lambda: to_create(hub), 30)
        commands.apply(hub, commands.plan(hub)["run"])
        assert wait_for(lambda: member(mailing, "ada@x.example.com"), 30)
        made = member(mailing, "ada@x.example.com")
        assert (made["status"], made["full_name"]) == ("transactional", "Ada Byron")
        own = made["contact_id"]
        mailing.host.sandbox.act("update", "members", own, {"PHONE": "+442079460000"})
        assert wait_for(lambda: contact(crm, native)["phone"] == "+442079460000", 30)
        crm.host.sandbox.act("update", "contacts", native, {"email": "ada@y.example.com"})
        assert wait_for(lambda: member(mailing, "ada@y.example.com"), 30)
        assert member(mailing, "ada@y.example.com")["contact_id"] == own
        mailing.host.sandbox.act("update", "members", own, {"email_address": "ada@z.example.com"})
        assert wait_for(lambda: contact(crm, native)["email"] == "ada@z.example.com", 30)
        assert member(mailing, "ada@z.example.com")["status"] == "transactional"
        crm.host.sandbox.act("update", "contacts", native, {"city": "Dallas"})
        assert wait_for(lambda: place(mailing, "ada@z.example.com")["city"] == "Dallas", 30)
        assert place(mailing, "ada@z.example.com")["addr1"] == "1 Mill Lane"
    for one in served.values():
        one.stop()


def again_by_an_app(world: World, own: str) -> None:
    """Some other app puts a member on the list again."""
    mailing = world.outside["mailchimp"]
    path = f"/3.0/lists/{mailing.secrets['list_id']}/members/{own}"
    reply = mailing.api().send("PATCH", path, json={"status": "subscribed"})
    assert reply.status == httpx.codes.OK, reply.body


def states(world: World, own: str) -> tuple[object, object]:
    """Consent as Mailchimp shows it, and as the other tool does."""
    other = world.tools["A"].latest("jane") or {}
    return (
        world.outside["mailchimp"].holds("members")[own].app["status"],
        (other.get("consent") or {}).get("email.marketing"),
    )


@pytest.mark.parametrize("known", [True, False], ids=["known before", "never shown before"])
def test_a_refusal_outlives_an_app_that_subscribes_again(known: bool) -> None:  # noqa: FBT001
    """Its own marks beside the sign-up of long ago are no act of the person's."""
    world = World({"A": Profile()}, vendors=("mailchimp",), widens=frozenset({"A"}))
    mailing = world.outside["mailchimp"]
    given = {"email_address": "jane@x.example.com", "FNAME": "Jane", "LNAME": "Doe"}
    own = mailing.act("create", "members", "", given)
    mailing.act("sign up", "members", own, {})
    if not known:
        path = f"/3.0/lists/{mailing.secrets['list_id']}/members/{own}"
        mailing.api().send("PATCH", path, json={"status": "unsubscribed"})
    world.clock.pass_time(60_000)
    world.tools["A"].act("jane", {"mail": "jane@x.example.com", "first": "Jane", "last": "Doe"})
    world.sync()
    if known:
        world.tools["A"].act("jane", {"consent": {"email.marketing": "out"}})
        world.clock.pass_time(60_000)
        world.sync()
    assert states(world, own) == ("unsubscribed", "out")
    world.clock.pass_time(60_000)
    again_by_an_app(world, own)
    world.clock.pass_time(60_000)
    world.sync()
    assert states(world, own) == ("unsubscribed", "out")
    world.clock.pass_time(60_000)
    mailing.act("sign up", "members", own, {})
    world.clock.pass_time(60_000)
    world.sync()
    assert states(world, own)[0] == "subscribed"
    assert states(world, own)[1] != "out"


def tags(served: Served, mail: str) -> set[str]:
    """A member's tags."""
    return {tag["name"] for tag in member(served, mail).get("tags", ())}


def known(hub: Hub) -> bool:
    """Whether every system's record is known, and that they are one customer."""
    now = status(hub)
    records = [system["records"] for system in now["systems"].values()]
    return all(records) and now["customers"] == 1 and not now["pending_inputs"]


def test_two_lists_share_tags_and_refusals_but_no_opt_in(tmp_path: Path) -> None:
    """A tag joins those of the other list, a refusal goes over, and signing up again does not."""
    be_quiet()
    served = {n: Served(serve.host("mailchimp", ord(n), 0)).start() for n in ("a", "b")}
    mail = "ada@x.example.com"
    ids = {}
    for name, one in served.items():
        given = {"email_address": mail, "FNAME": "Ada", "LNAME": "Byron", "tags": [name]}
        ids[name] = one.host.sandbox.act("create", "members", "", given)
    described = {n: {**d, "vendor": "mailchimp"} for n, d in serve.described(served).items()}
    folder = Folder(tmp_path / "hub")
    opening.init(folder, described, (0, 0))
    with running(folder) as up:
        hub, one, two = up.opened.hub, served["a"], served["b"]
        assert wait_for(lambda: known(hub), 30)
        commands.apply(hub, commands.plan(hub)["run"])
        assert wait_for(lambda: tags(one, mail) == tags(two, mail) == {"a", "b"}, 30)
        one.host.sandbox.act("unsubscribe", "members", ids["a"], {})
        assert wait_for(lambda: member(two, mail)["status"] == "unsubscribed", 30)
        one.host.clock.ahead_ms += 1_000  # stamps are whole seconds
        one.host.sandbox.act("sign up", "members", ids["a"], {})
        one.host.sandbox.act("update", "members", ids["a"], {"PHONE": "+442079460000"})
        assert wait_for(lambda: member(two, mail)["merge_fields"]["PHONE"] == "+442079460000", 30)
        assert member(one, mail)["status"] == "subscribed"
        assert member(two, mail)["status"] == "unsubscribed"
    for each in served.values():
        each.stop()
