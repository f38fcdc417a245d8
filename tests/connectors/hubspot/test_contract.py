"""The sandbox's answers against HubSpot's published API descriptions.

They lie outside of the project, at `../shared/specs` or where HUB_SPECS points; where they are
absent these tests are skipped and say so.
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

from tests.connectors.hubspot.tools import Clock, DirectApi, new_sandbox

HERE = Path(__file__).resolve()
SPECS = Path(os.environ.get("HUB_SPECS", HERE.parents[4] / "shared" / "specs")) / "hubspot"
pytestmark = pytest.mark.skipif(
    not SPECS.is_dir(), reason=f"HubSpot's API descriptions are not at {SPECS}"
)


def plain(schema: Any) -> Any:
    """An OpenAPI schema as JSON Schema; objects without a shape may be anything."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "object" and schema.get("properties") == {}:
        return {}
    found = {k: plain(v) for k, v in schema.items() if k not in {"example", "nullable", "format"}}
    if schema.get("nullable"):
        return {"anyOf": [found, {"type": "null"}]}
    return found


@cache
def area(name: str) -> Mapping[str, Any]:
    """One description."""
    found: Mapping[str, Any] = orjson.loads((SPECS / f"area_{name}.json").read_bytes())
    return found


@cache
def validator(name: str, method: str, path: str, status: str) -> Draft202012Validator:
    """The schema of one answer; errors fall back to `default`, where they are described."""
    document = area(name)
    answers = document["paths"][path][method.lower()]["responses"]
    answer = answers.get(status) or answers["default"]
    content: Any = next(iter(answer.get("content", {}).values()), {})
    schema = content.get("schema", {"$ref": "#/components/schemas/Error"})
    components = plain(document["components"])
    return Draft202012Validator({**plain(schema), "components": components})


def fits(name: str, template: str, answer: httpx.Response) -> Any:
    """Check an answer against its description and give its body."""
    if answer.status_code == httpx.codes.NO_CONTENT:
        assert "204" in area(name)["paths"][template][answer.request.method.lower()]["responses"]
        return None
    body = orjson.loads(answer.content)
    check = validator(name, answer.request.method, template, str(answer.status_code))
    assert [e.message for e in check.iter_errors(body)] == []
    return body


class Caller:
    """Calls the sandbox and checks every answer on the way."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sandbox = new_sandbox(self.clock)
        self.client = DirectApi(self.sandbox.handle, self.clock).client

    def __call__(
        self, name: str, method: str, template: str, json: object = None, **parts: str
    ) -> Any:
        """The body of an answer that fits its description; `parts` fill the template's gaps."""
        self.clock.sleep(1_000)
        names = {key for key in parts if "{" + key + "}" in template}
        path = template.format(**{key: parts[key] for key in names})
        params = {key: value for key, value in parts.items() if key not in names}
        answer = self.client.request(method, path, json=json, params=params)
        return fits(name, template, answer)


@pytest.fixture
def call() -> Caller:
    """A caller of a fresh sandbox."""
    return Caller()


@pytest.mark.parametrize(
    ("kind", "key", "own"), [("contacts", "contactId", "email"), ("companies", "companyId", "name")]
)
def test_records_fit_their_description(call: Caller, kind: str, key: str, own: str) -> None:
    """Every address of contacts and companies, also its errors."""
    base = f"/crm/v3/objects/{kind}"
    values = [f"a{n}@x.example" for n in range(6)]
    made = call(kind, "POST", base, {"properties": {own: values[0]}, "associations": []})
    one = {key: made["id"]}
    call(kind, "PATCH", f"{base}/{{{key}}}", {"properties": {"phone": "1"}}, **one)
    call(kind, "GET", f"{base}/{{{key}}}", **one, properties="phone", associations="companies")
    call(kind, "GET", base, limit="1")
    rows = [
        {"properties": {own: v}, "associations": [], "objectWriteTraceId": v} for v in values[1:4]
    ]
    batch = call(kind, "POST", f"{base}/batch/create", {"inputs": rows})
    ids = [row["id"] for row in batch["results"]]
    changes = [{"id": i, "properties": {"phone": "2"}} for i in [*ids, "999"]]
    call(kind, "POST", f"{base}/batch/update", {"inputs": changes})
    wanted = {"inputs": [{"id": i} for i in [*ids, "999"]], "properties": [own]}
    call(kind, "POST", f"{base}/batch/read", wanted)
    merge = {"primaryObjectId": ids[0], "objectIdToMerge": ids[1]}
    call(kind, "POST", f"{base}/merge", merge)
    found = call(kind, "POST", f"{base}/search", {"filterGroups": [], "limit": 1})
    assert found["paging"]["next"]["after"] == "1"
    call(kind, "POST", f"{base}/batch/archive", {"inputs": [{"id": ids[2]}]})
    call(kind, "GET", base, archived="true")
    call(kind, "DELETE", f"{base}/{{{key}}}", **one)
    call(kind, "GET", f"{base}/{{{key}}}", **one)
    call(kind, "POST", f"{base}/batch/create", {"inputs": [{"properties": {"no_such": "1"}}]})


def test_upserts_fit_their_description(call: Caller) -> None:
    """Upserts by e-mail, one of them refused."""
    rows: list[Any] = [
        {"id": m, "idProperty": "email", "properties": {}, "objectWriteTraceId": m}
        for m in ("a@x.example", "not an address")
    ]
    body = call("contacts", "POST", "/crm/v3/objects/contacts/batch/upsert", {"inputs": rows})
    assert (len(body["results"]), body["numErrors"]) == (1, 1)


def test_associations_fit_their_description(call: Caller) -> None:
    """Every address of associations v4 that is served."""
    contact, company = (
        call(kind, "POST", f"/crm/v3/objects/{kind}", {"properties": {}})["id"]
        for kind in ("contacts", "companies")
    )
    base = "/crm/v4/associations/{fromObjectType}/{toObjectType}/batch"
    ends = {"fromObjectType": "contacts", "toObjectType": "companies"}
    pair = {"from": {"id": contact}, "to": {"id": company}}
    bad = {"from": {"id": contact}, "to": {"id": "999"}}
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}]
    area_name = "associations_v4"
    inputs = {"inputs": [{**pair, "types": types}, {**bad, "types": types}]}
    call(area_name, "POST", f"{base}/create", inputs, **ends)
    call(area_name, "POST", f"{base}/associate/default", {"inputs": [pair]}, **ends)
    call(area_name, "POST", f"{base}/read", {"inputs": [{"id": contact}, {"id": "9"}]}, **ends)
    one = {"objectType": "contacts", "objectId": contact, "toObjectType": "companies"}
    path = "/crm/v4/objects/{objectType}/{objectId}/associations/{toObjectType}"
    call(area_name, "GET", path, **one)
    call(area_name, "PUT", f"{path}/{{toObjectId}}", types, **one, toObjectId=company)
    call(area_name, "DELETE", f"{path}/{{toObjectId}}", **one, toObjectId=company)
    default = "/crm/v4/objects/{fromObjectType}/{fromObjectId}/associations/default/"
    both = {"fromObjectId": contact, "toObjectId": company, **ends}
    call(area_name, "PUT", f"{default}{{toObjectType}}/{{toObjectId}}", **both)
    rows = {"inputs": [{"from": {"id": contact}, "to": [{"id": company}]}]}
    call(area_name, "POST", f"{base}/archive", rows, **ends)


def test_properties_fit_their_description(call: Caller) -> None:
    """Properties and groups, found and not found."""
    base, kind = "/crm/v3/properties/{objectType}", {"objectType": "contacts"}
    call("properties", "POST", f"{base}/groups", {"name": "own", "label": "Own"}, **kind)
    call("properties", "GET", f"{base}/groups/{{groupName}}", **kind, groupName="own")
    new = {
        "name": "own_id",
        "label": "Own",
        "type": "string",
        "fieldType": "text",
        "groupName": "own",
        "hasUniqueValue": True,
    }
    call("properties", "POST", base, new, **kind)
    call("properties", "GET", base, **kind)
    call("properties", "GET", f"{base}/{{propertyName}}", **kind, propertyName="own_id")
    call("properties", "GET", f"{base}/{{propertyName}}", **kind, propertyName="no_such")
    call("properties", "DELETE", f"{base}/{{propertyName}}", **kind, propertyName="own_id")


def test_a_wrong_answer_would_be_noticed() -> None:
    """The check itself: an answer without what is required does not fit."""
    check = validator("contacts", "POST", "/crm/v3/objects/contacts", "201")
    assert not check.is_valid({"id": "1", "properties": {}})
    assert not check.is_valid({"id": 1, "properties": {}, "createdAt": "x", "updatedAt": "x"})
