"""HubSpot's own Python client against the sandbox, over real HTTP: an independent witness."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from connectors._kit.sandbox import Clock as VirtualTime
from connectors._kit.sandbox import Host
from connectors._kit.serve import Served
from tests.connectors.hubspot.tools import Clock, new_sandbox

hubspot = pytest.importorskip("hubspot")

from hubspot.crm.associations.v4 import (  # noqa: E402
    BatchInputPublicDefaultAssociationMultiPost,
    BatchInputPublicFetchAssociationsBatchRequest,
)
from hubspot.crm.contacts import (  # noqa: E402
    ApiException,
    BatchInputSimplePublicObjectBatchInput,
    BatchInputSimplePublicObjectBatchInputForCreate,
    BatchInputSimplePublicObjectBatchInputUpsert,
    BatchReadInputSimplePublicObjectId,
    PublicGdprDeleteInput,
    PublicMergeInput,
    PublicObjectSearchRequest,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)
from hubspot.crm.properties import PropertyCreate, PropertyGroupCreate  # noqa: E402
from hubspot.utils.signature import Signature  # noqa: E402
from hubspot.webhooks import SettingsChangeRequest, SubscriptionCreateRequest, ThrottlingSettings  # noqa: E402

# The client leaves the responses of its older HTTP library to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def clock() -> Clock:
    """Virtual time."""
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Any:
    """A sandbox without customers."""
    return new_sandbox(clock)


@pytest.fixture
def client(sandbox: Any) -> Iterator[Any]:
    """The client, pointed at the sandbox."""
    served = Served(Host(sandbox, VirtualTime(sandbox.clock))).start()
    config = {"host": served.base_url, "base_url": served.base_url}
    yield hubspot.Client.create(access_token="t", api_key="k", **config)
    served.stop()


def make(client: Any, email: str, **more: str) -> Any:
    """A contact made by the client."""
    body = SimplePublicObjectInputForCreate(properties={"email": email, **more}, associations=[])
    return client.crm.contacts.basic_api.create(body)


def test_records_go_round(client: Any) -> None:
    """Create, read, update, list and archive one contact."""
    api, made = client.crm.contacts.basic_api, make(client, "A@x.example", firstname="Ada")
    body = SimplePublicObjectInput(properties={"phone": "1"})
    assert api.update(made.id, body).properties["phone"] == "1"
    found = api.get_by_id(made.id, properties=["email", "phone"])
    assert (found.properties["email"], found.archived) == ("a@x.example", False)
    assert [r.id for r in api.get_page(limit=10, properties=["email"]).results] == [made.id]
    api.archive(made.id)
    assert api.get_page(limit=10).results == []
    assert [r.archived for r in api.get_page(limit=10, archived=True).results] == [True]


def test_pages_lead_to_each_other(client: Any) -> None:
    """`get_all` walks through every page, also under the singular object type."""
    for n in range(5):
        make(client, f"p{n}@x.example")
    page = client.crm.objects.basic_api.get_page("contact", limit=2)
    assert page.paging.next.link.startswith("http://127.0.0.1:")
    assert len(client.crm.objects.get_all("contact")) == 5


def test_batches_report_by_row_only_when_traced(client: Any) -> None:
    """A duplicate refuses a whole untraced batch, and one row of a traced one."""
    make(client, "taken@x.example")
    api = client.crm.contacts.batch_api

    def rows(*, traced: bool) -> Any:
        return BatchInputSimplePublicObjectBatchInputForCreate(
            inputs=[
                {
                    "properties": {"email": mail},
                    "associations": [],
                    **({"objectWriteTraceId": mail} if traced else {}),
                }
                for mail in ("new@x.example", "taken@x.example")
            ]
        )

    with pytest.raises(ApiException) as caught:
        api.create(rows(traced=False))
    assert caught.value.status == 409
    assert "Existing ID" in caught.value.body
    answer = api.create(rows(traced=True))
    assert answer.num_errors == 1
    assert answer.errors[0].context == {"objectWriteTraceId": ["taken@x.example"]}
    assert [r.object_write_trace_id for r in answer.results] == ["new@x.example"]


def test_batch_read_update_and_upsert(client: Any) -> None:
    """Batches by id and by e-mail; ids that do not exist are an error row of a 207."""
    api, made = client.crm.contacts.batch_api, make(client, "a@x.example")
    wanted = {"properties": ["email", "phone"], "propertiesWithHistory": []}
    api.update(
        BatchInputSimplePublicObjectBatchInput(
            inputs=[{"id": made.id, "properties": {"phone": "1"}}]
        )
    )
    read = api.read(
        BatchReadInputSimplePublicObjectId(
            inputs=[{"id": made.id}, {"id": "999"}],
            properties=wanted["properties"],
            properties_with_history=[],
        )
    )
    assert read.results[0].properties["phone"] == "1"
    assert read.errors[0].context == {"ids": ["999"]}
    mail = api.read(
        BatchReadInputSimplePublicObjectId(
            inputs=[{"id": "a@x.example"}],
            id_property="email",
            properties=["email"],
            properties_with_history=[],
        )
    )
    assert mail.results[0].id == made.id
    upserted = api.upsert(
        BatchInputSimplePublicObjectBatchInputUpsert(
            inputs=[
                {"id": m, "idProperty": "email", "properties": {"phone": "2"}}
                for m in ("a@x.example", "b@x.example")
            ]
        )
    )
    assert [r.new for r in upserted.results] == [False, True]


def test_search_runs_behind_and_ends_at_ten_thousand(client: Any, clock: Clock) -> None:
    """A new contact is found only later; both forms of sorting work; 10,000 is the end."""
    made, api = make(client, "a@x.example"), client.crm.contacts.search_api
    request = PublicObjectSearchRequest(
        filter_groups=[
            {"filters": [{"propertyName": "lastmodifieddate", "operator": "GTE", "value": "0"}]}
        ],
        sorts=["-createdate"],
        properties=["email"],
        limit=10,
        after="0",
    )
    assert api.do_search(request).total == 0
    clock.sleep(3_000)
    assert [r.id for r in api.do_search(request).results] == [made.id]
    request.after = "9999"
    with pytest.raises(ApiException) as caught:
        api.do_search(request)
    assert caught.value.status == 400


def test_the_wrong_stamp_finds_nothing(client: Any, clock: Clock) -> None:
    """Searching contacts by the stamp of companies gives no rows and no error."""
    make(client, "a@x.example")
    clock.sleep(3_000)
    request = PublicObjectSearchRequest(
        filter_groups=[
            {"filters": [{"propertyName": "hs_lastmodifieddate", "operator": "GTE", "value": "0"}]}
        ]
    )
    assert client.crm.contacts.search_api.do_search(request).total == 0


def test_merges_and_erasing(client: Any) -> None:
    """A merge makes a third record to which the old ids lead; erasing leaves nothing."""
    one, two = make(client, "a@x.example"), make(client, "b@x.example", phone="1")
    basic = client.crm.contacts.basic_api
    merged = basic.merge(PublicMergeInput(primary_object_id=one.id, object_id_to_merge=two.id))
    assert merged.id not in (one.id, two.id)
    names = ["email", "phone", "hs_merged_object_ids", "hs_calculated_merged_vids"]
    found = basic.get_by_id(two.id, properties=names)
    assert (found.id, found.properties["phone"]) == (merged.id, "1")
    assert found.properties["hs_merged_object_ids"] == f"{one.id};{two.id}"
    basic.purge(PublicGdprDeleteInput(object_id=merged.id))
    with pytest.raises(ApiException) as caught:
        basic.get_by_id(one.id)
    assert caught.value.status == 404


def test_properties_and_groups(client: Any) -> None:
    """A unique custom property can be made, is then known, and keeps values apart."""
    api = client.crm.properties
    api.groups_api.create("contacts", PropertyGroupCreate(name="own", label="Own"))
    api.core_api.create(
        "contacts",
        PropertyCreate(
            name="own_id",
            label="Own",
            type="string",
            field_type="text",
            group_name="own",
            has_unique_value=True,
        ),
    )
    names = [p.name for p in api.core_api.get_all("contacts").results]
    assert {"email", "own_id", "lastmodifieddate"} <= set(names)
    make(client, "a@x.example", own_id="1")
    with pytest.raises(ApiException) as caught:
        make(client, "b@x.example", own_id="1")
    assert caught.value.status == 400


def test_associations(client: Any) -> None:
    """The plain association makes a first company primary; the absence of any is an error row."""
    own, lone = make(client, "a@x.example"), make(client, "b@x.example")
    body = SimplePublicObjectInputForCreate(properties={"name": "A"}, associations=[])
    company, api = client.crm.companies.basic_api.create(body), client.crm.associations.v4
    api.batch_api.create_default(
        "contact",
        "company",
        BatchInputPublicDefaultAssociationMultiPost(
            inputs=[{"from": {"id": own.id}, "to": {"id": company.id}}]
        ),
    )
    read = api.batch_api.get_page(
        "contacts",
        "companies",
        (BatchInputPublicFetchAssociationsBatchRequest(inputs=[{"id": own.id}, {"id": lone.id}])),
    )
    types = [t.type_id for t in read.results[0].to[0].association_types]
    assert (types, read.num_errors) == ([1, 279], 1)
    page = client.crm.contacts.basic_api.get_page(associations=["companies"])
    assert page.results[0].associations["companies"].results[0].id == company.id
    api.basic_api.archive("contacts", own.id, "companies", company.id)
    assert api.basic_api.get_page("contacts", own.id, "companies").results == []


def test_a_property_that_does_not_exist_refuses_the_whole_batch(client: Any) -> None:
    """Traced or not, one unknown property fails every row with a code that names it."""
    rows = BatchInputSimplePublicObjectBatchInputForCreate(
        inputs=[
            {"properties": {"email": "a@x.example"}, "associations": [], "objectWriteTraceId": "1"},
            {"properties": {"no_such": "1"}, "associations": [], "objectWriteTraceId": "2"},
        ]
    )
    with pytest.raises(ApiException) as caught:
        client.crm.contacts.batch_api.create(rows)
    assert caught.value.status == 400
    assert "PROPERTY_DOESNT_EXIST" in orjson.loads(caught.value.body)["message"]


def test_the_limit_answers_with_its_policy(client: Any) -> None:
    """The sixth search of a second is refused with the name of the limit, without headers."""
    request = PublicObjectSearchRequest(filter_groups=[])
    for _ in range(5):
        client.crm.contacts.search_api.do_search(request)
    with pytest.raises(ApiException) as caught:
        client.crm.contacts.search_api.do_search(request)
    assert caught.value.status == 429
    assert orjson.loads(caught.value.body)["policyName"] == "SECONDLY"
    assert "X-HubSpot-RateLimit-Max" not in caught.value.headers


def told(sandbox: Any, now: int) -> Any:
    """What is to be sent, also where the server tried it before us: nobody answered there."""
    for _ in range(100):
        if found := sandbox.due(now + 3_600_000):
            return found
        time.sleep(0.05)
    raise AssertionError("nothing is to be sent")


def test_webhooks_are_set_up_and_signed_for_the_client(client: Any, sandbox: Any) -> None:
    """Settings and subscriptions go through the client, which also accepts our signature."""
    now = int(time.time() * 1000)
    sandbox.clock.now_ms = now
    hooks = client.webhooks
    hooks.settings_api.configure(
        1,
        SettingsChangeRequest(
            target_url="http://127.0.0.1:9/hooks",
            throttling=ThrottlingSettings(max_concurrent_requests=5),
        ),
    )
    made = hooks.subscriptions_api.create(
        1,
        SubscriptionCreateRequest(
            event_type="contact.propertyChange", property_name="email", active=True
        ),
    )
    assert [s.id for s in hooks.subscriptions_api.get_all(1).results] == [made.id]
    make(client, "a@x.example", phone="1")
    (out,) = told(sandbox, now)
    headers = {k.lower(): v for k, v in out.headers.items()}
    assert Signature.is_valid(
        headers["x-hubspot-signature-v3"],
        sandbox.auth["client_secret"],
        out.body.decode(),
        out.url,
        "POST",
        "v3",
        headers["x-hubspot-request-timestamp"],
    )
    (event,) = orjson.loads(out.body)
    assert event["propertyValue"] == "a@x.example"
