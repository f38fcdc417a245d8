"""A Python client by others against the sandbox, over real HTTP: an independent witness."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from connectors._kit import serve
from connectors._kit.serve import Served

zenpy = pytest.importorskip("zenpy")

from zenpy.lib.api_objects import Identity, Organization, OrganizationMembership, User, Webhook  # noqa: E402
from zenpy.lib.exception import APIException, RecordNotFoundException  # noqa: E402

# The client uses naive times and leaves its sessions to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def served() -> Iterator[Served]:
    """A sandbox with some customers, over real HTTP."""
    one = Served(serve.host("zendesk", 1, 300)).start()
    yield one
    one.stop()


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    """The client, pointed at the sandbox by its own switches."""
    wanted = {
        "ZENPY_FORCE_SCHEME": "http",
        "ZENPY_FORCE_NETLOC": served.base_url.removeprefix("http://"),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    auth = served.host.sandbox.auth
    yield zenpy.Zenpy(
        subdomain=auth["subdomain"],
        email=auth["email"],
        token=auth["api_token"],
        disable_cache=True,
    )
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def done(client: Any, job: Any) -> Any:
    """The job once it is finished."""
    for _ in range(50):
        found = client.job_status(id=job.id)
        if found.status == "completed":
            return found
        time.sleep(0.1)
    raise AssertionError("the job does not end")


def test_users_go_round(client: Any) -> None:
    """Create, read, update, look up, tag, delete and erase one user."""
    made = client.users.create(User(name="Ada", email="ada@x.example", external_id="E-1"))
    made.phone, made.notes = "+49 30 1", "a note"
    assert client.users.update(made).phone == "+49 30 1"
    found = client.users(id=made.id)
    assert (found.name, found.notes, found.active, found.role) == (
        "Ada",
        "a note",
        True,
        "end-user",
    )
    assert [u.id for u in client.users(ids=[made.id, 999_999_999])] == [made.id]
    assert [u.id for u in client.users(external_id="e-1")] == [made.id]
    assert set(client.users.add_tags(made.id, ["b", "A"])) == {"b", "a"}
    client.users.delete_tags(made.id, ["b"])
    assert client.users(id=made.id).tags == ["a"]
    with pytest.raises(APIException) as caught:
        client.users.create(User(name="Eve", email="ADA@x.example"))
    assert caught.value.response.json()["details"]["email"][0]["error"] == "DuplicateValue"
    client.users.delete(found)
    assert not client.users(id=made.id).active
    assert made.id in [u.id for u in client.users.deleted()]
    client.users.permanently_delete(made)
    with pytest.raises(RecordNotFoundException):
        client.users(id=made.id)
    (erased,) = [u for u in client.users.deleted() if u.id == made.id]
    assert (erased.name, erased.email) == ("Permanently Deleted User", None)


def test_every_page_is_reached_by_its_link(client: Any, served: Served) -> None:
    """Cursor pages lead through all users and organizations, on the host that was asked."""
    count = served.host.state()["records"]
    users = [u for u in client.users() if u.role == "end-user"]
    assert len({u.id for u in users}) == len(users) == count["users"]
    assert len(list(client.organizations())) == count["organizations"]
    raw = httpx.get(
        f"{served.base_url}/api/v2/users?page[size]=5",
        auth=("admin0@support.example.com/token", "sandbox-token"),
        trust_env=False,
    ).json()
    assert raw["links"]["next"].startswith(f"{served.base_url}/api/v2/users.json?page%5Bsize%5D=5")
    assert raw["meta"]["has_more"]


def test_exports_show_everything_but_the_last_minute(client: Any, served: Served) -> None:
    """The cursor export and the one by time go through all pages, and take any start."""
    count = served.host.state()["records"]
    client.users.create(User(name="New", email="new@x.example"))
    users = list(client.users.incremental(start_time=0, per_page=100))
    assert len({u.id for u in users if u.role == "end-user"}) == count["users"]
    assert "New" not in {u.name for u in users}
    by_time = list(client.users.incremental(start_time=1.5, paginate_by_time=True, per_page=100))
    assert {u.id for u in by_time} == {u.id for u in users}
    assert len(list(client.organizations.incremental(start_time="0"))) == count["organizations"]
    with pytest.raises(APIException) as caught:
        client.organizations.incremental(start_time=int(time.time()) - 10)
    assert caught.value.response.json()["error"] == "StartTimeTooRecent"


def test_jobs_finish_later(client: Any, served: Served) -> None:
    """Bulk updates and deletions answer a job; bulk imports of users must be allowed first."""
    with pytest.raises(APIException) as caught:
        client.users.create([User(name="A"), User(name="B")])
    assert caught.value.response.status_code == 403
    sandbox: Any = served.host.sandbox
    sandbox.support.bulk_imports = True
    job = client.users.create([User(name="A"), User(name=""), User(name="C")])
    assert job.status == "queued"
    results = done(client, job).results
    assert [getattr(r, "error", None) for r in results] == [None, "UserCreateError", None]
    users = list(client.users(ids=[results[0].id, results[2].id]))
    for user in users:
        user.phone = "7"
    assert done(client, client.users.update(users)).progress == 2
    assert {u.phone for u in client.users(ids=[u.id for u in users])} == {"7"}
    done(client, client.users.delete(users))
    assert not any(u.active for u in client.users(ids=[u.id for u in users]))


def test_identities_are_the_addresses(client: Any) -> None:
    """Addresses are added, made primary and taken away."""
    made = client.users.create(User(name="Ada", email="a@x.example"))
    client.users.identities.create(made.id, Identity(type="email", value="b@x.example"))
    held = {i.value: i for i in client.users.identities(id=made.id)}
    assert client.users(id=made.id).email == "a@x.example"
    client.users.identities.make_primary(made.id, held["b@x.example"].id)
    assert client.users(id=made.id).email == "b@x.example"
    client.users.identities.delete(made.id, held["b@x.example"])
    assert client.users(id=made.id).email == "a@x.example"


def test_organizations_and_memberships(client: Any) -> None:
    """Organizations go round, and a user may be in several, the first one by default."""
    firms = [client.organizations.create(Organization(name=n, external_id=n)) for n in "AB"]
    firms[0].domain_names = ["a.example"]
    assert client.organizations.update(firms[0]).domain_names == ["a.example"]
    assert [o.id for o in client.organizations(external_ids=["a"])] == [firms[0].id]
    with pytest.raises(APIException) as caught:
        client.organizations.create(Organization(name="a"))
    assert "name" in caught.value.response.json()["details"]
    user = client.users.create(User(name="Ada", organization_id=firms[0].id))
    row = OrganizationMembership(user_id=user.id, organization_id=firms[1].id)
    client.organization_memberships.create(row)
    held = list(client.users.organization_memberships(user.id))
    assert [(m.organization_id, m.default) for m in held] == [
        (firms[0].id, True),
        (firms[1].id, None),
    ]
    assert {u.id for u in client.organizations.users(firms[1].id)} == {user.id}
    client.organization_memberships.delete(held[0])
    assert client.users(id=user.id).organization_id == firms[1].id
    client.organizations.delete(firms[1])
    assert client.users(id=user.id).organization_id is None


def test_a_merge_leaves_one(client: Any) -> None:
    """The winner has both addresses; the other user is not there."""
    lost, won = (client.users.create(User(name=n, email=f"{n}@x.example")) for n in "ab")
    assert client.users.merge(lost, won).id == won.id
    assert {i.value for i in client.users.identities(id=won.id)} == {"a@x.example", "b@x.example"}
    with pytest.raises(RecordNotFoundException):
        client.users(id=lost.id)


def test_search_names_the_kind_of_each_result(client: Any, served: Served) -> None:
    """Users are found by address and organizations by name, a few seconds late."""
    made = client.users.create(User(name="Ada Needle", email="needle@x.example"))
    client.organizations.create(Organization(name="Needle Works"))
    assert list(client.search("needle")) == []
    served.host.clock.ahead_ms += 6_000
    assert {r.name for r in client.search("needle")} == {"Ada Needle", "Needle Works"}
    assert [u.id for u in client.search(type="user", email="needle@x.example")] == [made.id]


def test_limits_are_told(served: Served) -> None:
    """The eleventh export of a minute, and who is unknown, are refused the vendor's way."""
    auth = ("admin0@support.example.com/token", "sandbox-token")
    address = f"{served.base_url}/api/v2/incremental/organizations.json?start_time=0"
    with httpx.Client(auth=auth, trust_env=False) as http:
        answers = [http.get(address) for _ in range(11)]
        assert [a.status_code for a in answers] == [200] * 10 + [429]
        assert int(answers[-1].headers["retry-after"]) > 50
        deep = http.get(f"{served.base_url}/api/v2/users.json?page=101&per_page=100")
        assert (deep.status_code, deep.json()["error"]) == (400, "InvalidPaginationDepth")
    bearer = {"Authorization": "Bearer sandbox-token"}
    me = f"{served.base_url}/api/v2/users/me"
    assert httpx.get(me, headers=bearer, trust_env=False).json()["user"]["role"] == "admin"
    assert httpx.get(me, trust_env=False).status_code == httpx.codes.UNAUTHORIZED


def test_webhooks_are_set_up(client: Any, served: Served) -> None:
    """A subscription is made and listed, and its secret signs what is sent."""
    hook = Webhook(
        name="hub",
        endpoint="http://127.0.0.1:1/hook",
        http_method="POST",
        request_format="json",
        status="active",
        subscriptions=["zen:event-type:user.created"],
    )
    made = client.webhooks.create(hook)
    assert [w.id for w in client.webhooks.list()] == [made.id]
    secret = client.webhooks.show_secret(made.id)
    assert secret.secret == served.host.sandbox.auth["webhook_secret"]
