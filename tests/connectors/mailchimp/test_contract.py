"""The sandbox's answers and the connector's requests against Mailchimp's published description.

It lies outside of the project, at `../shared/specs` or where HUB_SPECS points; where it is absent
these tests are skipped and say so. Its paths lack the `/3.0` before them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from jsonschema import Draft202012Validator

from connectors._kit.trial import MINUTE
from connectors.mailchimp.answers import hash_of
from tests.connectors.mailchimp.tools import bending, change, made, new, sandbox_of, world

HERE = Path(__file__).resolve()
SPECS = Path(os.environ.get("HUB_SPECS", HERE.parents[4] / "shared" / "specs")) / "mailchimp"
pytestmark = pytest.mark.skipif(
    not SPECS.is_dir(), reason=f"Mailchimp's API descriptions are not at {SPECS}"
)
JSON, PROBLEM = "application/json", "application/problem+json"


@cache
def document() -> Mapping[str, Any]:
    """The description of lists and members, and of ping."""
    parts = [orjson.loads((SPECS / f"area_{name}.json").read_bytes()) for name in
             ("batches_webhooks", "lists_members")]  # fmt: skip
    paths = {**parts[0]["paths"], **parts[1]["paths"]}
    return {"paths": paths, "components": parts[1].get("components", {})}


def template_of(path: str) -> str:
    """The description's path for an address."""
    parts = path.removeprefix("/3.0").strip("/").split("/")
    for template in document()["paths"]:
        wanted = template.strip("/").split("/")
        if len(wanted) == len(parts) and all(
            w.startswith("{") or w == p for w, p in zip(wanted, parts, strict=True)
        ):
            return str(template)
    raise LookupError(path)


def schema_errors(schema: Any, found: Any) -> list[str]:
    """What does not fit, by name."""
    whole = {**schema, "components": document()["components"]}
    return [f"{e.json_path}: {e.message}" for e in Draft202012Validator(whole).iter_errors(found)]


def closed(schema: Any) -> Any:
    """A description of a request in which a name that it does not know is an error."""
    if "$ref" in schema:
        found: Any = document()
        for part in schema["$ref"].split("/")[1:]:
            found = found[part]
        return closed(found)
    kept = {**schema, **{k: closed(schema[k]) for k in ("items",) if k in schema}}
    if schema.get("properties") and "additionalProperties" not in schema:
        named = {k: closed(v) for k, v in schema["properties"].items()}
        return {**kept, "properties": named, "additionalProperties": False}
    return kept


class Watch:
    """A line on which every request and every answer is held against the description."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str, int]] = set()

    def __call__(self, _n: int, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        """See `Bend`."""
        if request.url.path.rstrip("/") == "/3.0":
            return answer  # the root is in no description that we have
        template = template_of(request.url.path)
        told = document()["paths"][template][request.method.lower()]
        self.seen.add((request.method, template, answer.status_code))
        named = {p["name"] for p in told.get("parameters", [])}
        assert set(request.url.params) <= named, request.url
        if request.content:
            self._request(told, orjson.loads(request.content))
        self._answer(told, answer)
        return answer

    def _request(self, told: Any, body: Any) -> None:
        schema = told["requestBody"]
        while "$ref" in schema:
            schema = document()["components"]["requestBodies"][schema["$ref"].rpartition("/")[2]]
        assert schema_errors(closed(schema["content"][JSON]["schema"]), without_tags(body)) == []

    def _answer(self, told: Any, answer: httpx.Response) -> None:
        key = str(answer.status_code)
        responses = told["responses"]
        described = responses.get(key) or responses["default"]
        if not answer.content:
            assert answer.status_code == httpx.codes.NO_CONTENT
            return
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind == (JSON if answer.is_success else PROBLEM)
        found = orjson.loads(answer.content)
        assert schema_errors(described["content"][kind]["schema"], found) == []


def without_tags(body: Any) -> Any:
    """Rows of a batch may have tags since 2022; this description, older in part, has them not."""
    rows = body.get("members") if isinstance(body, dict) else None
    if not isinstance(rows, list):
        return body
    return {**body, "members": [{k: v for k, v in r.items() if k != "tags"} for r in rows]}


PLACE = {"ADDRESS.addr1": "1 Mill Lane", "ADDRESS.city": "Austin"}


def test_what_the_connector_does_fits_the_description() -> None:
    """Every request that it makes, every parameter, and every answer of the sandbox to it."""
    one, watch = world(30), Watch()
    bending(one, watch)
    api = one.connector
    sandbox_of(one).audience.tags.discard("SYNCHUBID")
    assert api.prepare(one.api)
    cursor = one.begin()
    one.listing()
    native = made(one, "a@x.example", tags=["vip"], language="de", FNAME="Ada", LNAME="Byron")
    one.write(new("a@x.example"), new("nonsense"), new("b@x.example", status="unsubscribed"))
    one.write(change(native, PHONE="1", status="unsubscribed", tags=["old"]))
    one.write(change(native, **PLACE), change("0" * 32, PHONE="1"), change(native, PHONE="9" * 300))
    one.act("archive", native)
    one.wait(MINUTE)
    one.changes(cursor)
    one.read(native, hash_of("a@x.example"))
    one_member = "/lists/{list_id}/members/{subscriber_hash}"
    assert {
        ("POST", "/lists/{list_id}", 200),
        ("POST", "/lists/{list_id}/merge-fields", 200),
        ("PATCH", one_member, 400),
        ("PATCH", one_member, 404),
        ("POST", f"{one_member}/tags", 204),
    } <= watch.seen


def test_the_rest_of_the_sandbox_fits_the_description() -> None:
    """What only others call: single members, tags, webhooks, errors."""
    one, watch = world(5), Watch()
    bending(one, watch)
    place, key = f"/3.0/lists/{sandbox_of(one).list_id}", hash_of("a@x.example")
    mail = {"email_address": "a@x.example"}
    hook = {"url": "https://hub.example", "events": {"profile": True}, "sources": {"api": True}}
    one.api.get("/3.0/ping")
    one.api.get("/3.0/lists")
    new_one = {**mail, "status": "subscribed", "tags": ["vip"]}
    for status in (httpx.codes.OK, httpx.codes.BAD_REQUEST):
        assert one.api.send("POST", f"{place}/members", json=new_one).status == status
    one.api.send("PUT", f"{place}/members/{key}", json={**mail, "status_if_new": "subscribed"})
    one.api.get(f"{place}/members/{key}/tags", [("count", "5")])
    one.api.get(f"{place}/tag-search", [("name", "v")])
    made_hook = one.api.send("POST", f"{place}/webhooks", json=hook).json()
    assert isinstance(made_hook, dict)
    one.api.get(f"{place}/webhooks")
    hook_place = f"{place}/webhooks/{made_hook['id']}"
    one.api.send("PATCH", hook_place, json={"sources": {"api": False}})
    one.api.send("DELETE", hook_place)
    one.api.send("DELETE", f"{place}/members/{key}")
    one.api.send("POST", f"{place}/members/{key}/actions/delete-permanent")
    assert one.api.get(f"{place}/members/{key}").status == httpx.codes.NOT_FOUND
    assert len(watch.seen) == 14


def test_a_wrong_answer_would_be_noticed() -> None:
    """The check itself: an answer of another form does not pass, nor does a strange name."""
    watch, path = Watch(), "http://x/3.0/lists/1/members/2"
    good = {"email_address": "a@x.example"}
    for request, body in (
        (httpx.Request("PATCH", path, json=good), {"contact_id": 7}),
        (httpx.Request("PATCH", path, json={"mail": "x"}), {"contact_id": "7"}),
        (httpx.Request("PATCH", f"{path}?no=1", json=good), {"contact_id": "7"}),
    ):
        with pytest.raises(AssertionError):
            watch(0, request, httpx.Response(200, json=body))
    watch(0, httpx.Request("PATCH", path, json=good), httpx.Response(200, json={"contact_id": "7"}))
