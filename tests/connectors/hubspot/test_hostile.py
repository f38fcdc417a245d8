"""Answers that HubSpot should never give, and those that leave doubt."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._kit.contract import Answer, Denied, Unavailable, Unreadable, Write
from connectors.hubspot.connector import CONNECTOR, CONTACTS
from tests.connectors.hubspot.tools import Clock, DirectApi, Handler, answering

STAMP = "2026-01-02T03:04:05.678Z"


def record(own: str = "1", **properties: str | None) -> dict[str, Any]:
    """A contact as HubSpot answers it."""
    return {
        "id": own,
        "properties": {"lastmodifieddate": STAMP, "createdate": STAMP, **properties},
        "createdAt": STAMP,
        "updatedAt": STAMP,
        "archived": False,
    }


def api(handler: Handler) -> DirectApi:
    """An api over a handler."""
    return DirectApi(handler, Clock())


def create(email: str) -> Write:
    """A create of a contact."""
    return Write("create", "", {"email": email}, f"uid-{email}", f"key-{email}")


def written(handler: Handler, *writes: Write) -> tuple[Answer, ...]:
    """What writing gives over a handler."""
    return CONNECTOR.write(api(handler), CONTACTS, writes)


# -- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"results": None},
        {"results": {}},
        {},
        b"<html>",
        {"results": [], "paging": {"next": {}}},
        {"results": [], "paging": {"next": {"after": 7}}},
        {"results": [], "paging": {"next": {"after": "100"}}},
        {"results": [], "paging": {"next": {"after": "99"}}},
    ],
)
def test_a_page_that_cannot_be_understood_raises(body: Any) -> None:
    """Wrong types, no JSON, and a token that does not move on are all unreadable."""
    with pytest.raises(Unreadable):
        CONNECTOR.listing(api(answering((200, body))), CONTACTS, "100")


@pytest.mark.parametrize(
    "item",
    [
        7,
        {**record(), "id": None},
        {**record(), "id": "x1"},
        {**record(), "id": "9" * 5_000},
        {**record(), "properties": []},
        {**record(), "archived": "no"},
        record(firstname=["a"]),  # type: ignore[arg-type]
        record(lastmodifieddate="soon"),
        record(lastmodifieddate="2026-01-02T03:04:05"),
        record(hs_merged_object_ids="1;x"),
        {**record(), "associations": {"companies": {"results": [{}]}}},
    ],
)
def test_a_record_that_cannot_be_understood_is_set_aside(item: Any) -> None:
    """It is reported with its reason; its neighbour is read."""
    body = {"results": [item, record("2")]}
    page = CONNECTOR.listing(api(answering((200, body))), CONTACTS, "")
    assert [r.native_id for r in page.readings] == ["2"]
    assert len(page.broken) == 1


def test_a_cut_off_list_of_companies_says_nothing() -> None:
    """Associations that go on beyond the answer are not taken for all there are."""
    ends = {
        "results": [{"id": "5", "type": "contact_to_company"}],
        "paging": {"next": {"after": "5"}},
    }
    body = {"results": [{**record(), "associations": {"companies": ends}}]}
    page = CONNECTOR.listing(api(answering((200, body))), CONTACTS, "")
    assert page.readings[0].links == {}


def test_a_search_that_ignores_its_filter_is_noticed() -> None:
    """Ids at or below the last one seen mean that paging would never end."""
    cursor = '{"since":1,"archived":1,"until":9,"last":100}'
    body = {"total": 1, "results": [record("100")]}
    with pytest.raises(Unreadable):
        CONNECTOR.changes(api(answering((200, body))), CONTACTS, cursor)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside of a value."""
    yield path
    pairs = (
        value.items()
        if isinstance(value, dict)
        else (enumerate(value) if isinstance(value, list) else ())
    )
    for key, inner in pairs:
        yield from leaves(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy in which one value is another."""
    if not path:
        return new
    copy = deepcopy(value)
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = new
    return copy


ENDS = {"results": [{"id": "5", "type": "contact_to_company"}]}
PAGE = {
    "results": [
        {
            **record(email="a@x.example", hs_merged_object_ids="7;8"),
            "associations": {"companies": ENDS},
        },
        record("2"),
    ],
    "paging": {"next": {"after": "2", "link": "http://x"}},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(path=st.sampled_from(list(leaves(PAGE))), new=JSON, status=st.sampled_from([200, 207, 404]))
def test_any_value_anywhere_is_read_or_refused(path: Any, new: Any, status: int) -> None:
    """Whatever stands in an answer, it is understood, set aside or unreadable: nothing else."""
    handler = answering((status, replaced(PAGE, path, new)))
    for act in (
        lambda: CONNECTOR.listing(api(handler), CONTACTS, ""),
        lambda: CONNECTOR.read(api(handler), CONTACTS, ["1", "2", "3"]),
        lambda: CONNECTOR.changes(api(handler), CONTACTS, '{"since":1,"archived":1}'),
    ):
        try:
            act()
        except Unreadable:
            continue


@given(
    path=st.sampled_from(list(leaves(PAGE))),
    new=JSON,
    status=st.sampled_from([200, 201, 207, 400, 404, 409, 418]),
)
def test_any_answer_to_a_write_is_an_outcome(path: Any, new: Any, status: int) -> None:
    """Writing never raises; each row has an outcome, and a refusal never looks like success."""
    answers = written(answering((status, replaced(PAGE, path, new))), create("a"), create("b"))
    assert len(answers) == 2
    assert status < 300 or all(a.outcome != "done" for a in answers)


# -- writing -----------------------------------------------------------------------------------


def test_results_in_any_order_find_their_rows() -> None:
    """Rows are matched by trace id, not by place; a row that is not mentioned is unknown."""

    def handle(request: httpx.Request) -> httpx.Response:
        rows = orjson.loads(request.content)["inputs"]
        results = [
            {
                **record(str(n), email=row["properties"]["email"]),
                "objectWriteTraceId": row["objectWriteTraceId"],
            }
            for n, row in enumerate(rows)
            if n != 1
        ]
        return httpx.Response(201, json={"results": results[::-1]})

    answers = written(handle, create("a"), create("b"), create("c"))
    assert [(a.outcome, a.native_id) for a in answers] == [
        ("done", "0"),
        ("unknown", ""),
        ("done", "2"),
    ]


def test_rows_without_trace_are_matched_by_our_id() -> None:
    """Where an answer leaves the trace id out, our own id in the record says which row it is."""
    body = {"results": [record("2", synchub_id="uid-b"), record("1", synchub_id="uid-a")]}
    answers = written(answering((201, body)), create("a"), create("b"))
    assert [a.native_id for a in answers] == ["1", "2"]


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (500, {}, "unknown"),
        (504, b"", "unknown"),
        (429, {}, "retry"),
        (423, {}, "retry"),
        (477, {}, "retry"),
        (403, {"message": "scopes"}, "stop"),
        (413, b"too large", "rejected"),
        (201, b"garbage", "unknown"),
        (201, {"results": "none"}, "unknown"),
    ],
)
def test_an_answer_for_the_whole_batch_is_that_of_each_row(
    status: int, body: Any, outcome: str
) -> None:
    """Only what was certainly not applied may be tried again; doubt stays doubt."""
    made = api(answering((status, body)))
    answers = CONNECTOR.write(made, CONTACTS, [create("a"), create("b")])
    assert [a.outcome for a in answers] == [outcome, outcome]
    assert len(made.calls) == 1


def test_a_locked_record_says_when_to_come_back() -> None:
    """Two seconds, where HubSpot does not say more."""
    (answer,) = written(answering((423, {})), create("a"))
    assert answer.after_ms == 2_000


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Denied("scope"), "stop"),
        (Unavailable("no route", sent=False), "retry"),
        (Unavailable("time-out"), "unknown"),
    ],
)
def test_what_the_api_raises_becomes_an_outcome(error: Exception, outcome: str) -> None:
    """A lost connection is settled by whether HubSpot may have seen the request."""

    def handle(_: httpx.Request) -> httpx.Response:
        raise error

    assert written(handle, create("a"))[0].outcome == outcome


def test_doubt_in_one_half_does_not_spread() -> None:
    """When halving meets a time-out, only the rows of that half are unknown."""
    refused = {"message": "bad", "category": "VALIDATION_ERROR"}
    done = {"results": [record("1", synchub_id="uid-c"), record("2", synchub_id="uid-d")]}
    handler = answering((400, refused), (504, {}), (201, done))
    answers = written(handler, *(create(n) for n in "abcd"))
    assert [a.outcome for a in answers] == ["unknown", "unknown", "done", "done"]
