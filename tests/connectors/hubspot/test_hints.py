"""Webhooks: signatures, windows, and which records an event speaks of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors._kit.contract import Inbound, Malformed, Stale
from connectors.hubspot.connector import CONNECTOR
from tests.connectors.hubspot.tools import SECRET, T0, delivery

EVENT = {
    "eventId": 7,
    "subscriptionId": 11,
    "portalId": 42,
    "appId": 9,
    "occurredAt": T0,
    "subscriptionType": "contact.propertyChange",
    "attemptNumber": 0,
    "objectId": 123,
    "propertyName": "email",
    "propertyValue": "ada@example.com",
    "changeSource": "CRM_UI",
}


def hints(inbound: Inbound) -> list[tuple[str, str, str]]:
    """The hints of a delivery as (object, id, kind)."""
    found = CONNECTOR.hints(inbound, {"client_secret": SECRET})
    return [(h.object, h.native_id, h.kind) for h in found]


def test_a_property_change_names_the_record() -> None:
    """An ordinary event gives one hint with the time at which it happened."""
    (hint,) = CONNECTOR.hints(delivery([EVENT]), {"client_secret": SECRET})
    assert (hint.object, hint.native_id, hint.kind) == ("contacts", "123", "changed")
    assert hint.source_ms == T0


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"subscriptionType": "contact.creation"}, [("contacts", "123", "created")]),
        ({"subscriptionType": "contact.deletion"}, [("contacts", "123", "deleted")]),
        ({"subscriptionType": "contact.restore"}, [("contacts", "123", "restored")]),
        ({"subscriptionType": "contact.privacyDeletion"}, [("contacts", "123", "erased")]),
        ({"subscriptionType": "company.creation"}, [("companies", "123", "created")]),
        (
            {"subscriptionType": "object.creation", "objectTypeId": "0-2"},
            [("companies", "123", "created")],
        ),
        (
            {"subscriptionType": "", "eventType": "contact.creation"},
            [("contacts", "123", "created")],
        ),
        ({"subscriptionType": "deal.creation"}, [("deal", "123", "other")]),
        ({"subscriptionType": "contact.newKind"}, [("contacts", "123", "other")]),
    ],
)
def test_every_kind_of_event_is_understood(
    event: dict[str, object], expected: list[tuple[str, str, str]]
) -> None:
    """Each documented type, under either of its two names, gives its kind; others say so."""
    assert hints(delivery([{**EVENT, **event}])) == expected


def test_a_merge_names_every_record_in_it() -> None:
    """A merge of today makes a third record; survivor and losers are all read again."""
    merge = {
        **EVENT,
        "subscriptionType": "contact.merge",
        "objectId": 3,
        "primaryObjectId": 1,
        "mergedObjectIds": [1, 2],
        "newObjectId": 3,
    }
    assert hints(delivery([merge])) == [
        ("contacts", "3", "merged"),
        ("contacts", "1", "merged"),
        ("contacts", "2", "merged"),
    ]


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        ("CONTACT_TO_COMPANY", {"fromObjectId": 5, "toObjectId": 6}),
        ("COMPANY_TO_CONTACT", {"fromObjectId": 6, "toObjectId": 5}),
    ],
)
def test_an_association_change_names_the_contact(words: str, ends: dict[str, int]) -> None:
    """Whichever end the event starts from, the contact is read, for it carries the link."""
    event = {**EVENT, "subscriptionType": "contact.associationChange", "associationType": words}
    event.pop("objectId")
    assert hints(delivery([{**event, **ends}])) == [("contacts", "5", "changed")]


def test_a_redelivery_has_the_same_key() -> None:
    """The attempt number does not matter; property and time do, although event ids repeat."""

    def key(**change: object) -> str:
        return CONNECTOR.hints(delivery([{**EVENT, **change}]), {"client_secret": SECRET})[0].key

    assert key() == key(attemptNumber=3)
    assert len({key(), key(propertyName="phone"), key(occurredAt=T0 + 1)}) == 3


def test_an_old_delivery_is_stale_but_still_says_what_to_read() -> None:
    """Beyond five minutes, in either direction, a delivery is refused with its hints kept."""
    for late in (300_001, -300_001):
        with pytest.raises(Stale) as caught:
            hints(replace(delivery([EVENT]), received_ms=T0 + late))
        assert [h.native_id for h in caught.value.hints] == ["123"]


@pytest.mark.parametrize("body", [{"not": "a list"}, ["text"], [{**EVENT, "objectId": "x"}]])
def test_a_signed_body_of_another_form_is_malformed(body: object) -> None:
    """What is rightly signed and still not as documented is kept apart from forgeries."""
    with pytest.raises(Malformed):
        hints(delivery(body))


def test_the_address_is_signed_in_its_decoded_form() -> None:
    """HubSpot decodes a fixed list of characters before it signs; others keep their escapes."""
    encoded = "https://hub.example/hooks?a=x%3Ay%2Fz%40q&b=1%202%26"
    decoded = "https://hub.example/hooks?a=x:y/z@q&b=1%202%26"
    signed = delivery([EVENT], url=decoded)
    assert hints(replace(signed, url=encoded)) == [("contacts", "123", "changed")]
