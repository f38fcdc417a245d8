"""The sandbox's answers against Zendesk's published API descriptions.

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

from tests.connectors.zendesk.tools import MINUTE, Place

HERE = Path(__file__).resolve()
SPECS = Path(os.environ.get("HUB_SPECS", HERE.parents[4] / "shared" / "specs")) / "zendesk"
pytestmark = pytest.mark.skipif(
    not SPECS.is_dir(), reason=f"Zendesk's API descriptions are not at {SPECS}"
)


def plain(schema: Any) -> Any:
    """An OpenAPI schema as JSON Schema.

    Null is what Zendesk shows for an address or a custom field that is empty, which it says in
    words and not in its schemas.
    """
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {k: plain(v) for k, v in schema.items() if k not in {"example", "nullable", "format"}}
    named = schema.get("properties") or {}
    if isinstance(named.get("email"), dict):
        found["properties"]["email"] = {"type": ["string", "null"]}
    if "domain_names" in named:
        found["properties"]["organization_fields"] = {"type": "object"}
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
    """The schema of one answer."""
    document = area(name)
    answer = document["paths"][path][method.lower()]["responses"][status]
    schema = answer["content"]["application/json"]["schema"]
    return Draft202012Validator({**plain(schema), "components": plain(document["components"])})


class Caller:
    """Calls the sandbox and checks every answer on the way."""

    def __init__(self) -> None:
        self.place = Place(30)

    def __call__(
        self, method: str, template: str, json: object = None, area: str = "", **parts: Any
    ) -> Any:
        """The body of an answer that fits its description; `parts` fill the template's gaps."""
        self.place.clock.now_ms += 1_000
        path = "/api/v2/" + template
        names = {key for key in parts if "{" + key + "}" in template}
        params = {k: v for k, v in parts.items() if k not in names}
        address = template.format(**{k: parts[k] for k in names})
        answer = self.place.client.request(method, address, json=json, params=params)
        assert answer.status_code < httpx.codes.BAD_REQUEST, answer.text
        return fits(area or "users_organizations", method, path, answer)


def fits(name: str, method: str, path: str, answer: httpx.Response) -> Any:
    """Check an answer against its description and give its body."""
    if answer.status_code == httpx.codes.NO_CONTENT:
        assert "204" in area(name)["paths"][path][method.lower()]["responses"]
        return None
    body = orjson.loads(answer.content)
    check = validator(name, method, path, str(answer.status_code))
    assert [e.message for e in check.iter_errors(body)] == []
    return body


@pytest.fixture
def call() -> Caller:
    """A caller of a fresh sandbox."""
    return Caller()


def test_users_fit_their_description(call: Caller) -> None:
    """Every address of users that is served, from create to permanent deletion."""
    made = call("POST", "users", {"user": {"name": "Ada", "email": "a@x.example"}})["user"]
    one = {"user_id": made["id"]}
    call("GET", "users/{user_id}", **one)
    call("PUT", "users/{user_id}", {"user": {"phone": "1", "tags": ["a"]}}, **one)
    call("GET", "users")
    call("GET", "users", **{"page[size]": "2", "role": "end-user"})
    call("GET", "users/me")
    call("GET", "users/count")
    call("GET", "users/show_many", ids=str(made["id"]))
    call("GET", "users/search", query="email:a@x.example")
    call("POST", "users/create_or_update", {"user": {"name": "A", "email": "a@x.example"}})
    call("POST", "users/create_or_update", {"user": {"name": "B", "email": "b@x.example"}})
    other = call("POST", "users", {"user": {"name": "C"}})["user"]["id"]
    call("PUT", "users/{user_id}/merge", {"user": {"id": other}}, **one)
    call("DELETE", "users/{user_id}", user_id=other)


def test_deleted_users_fit_their_description(call: Caller) -> None:
    """A deleted user has every field that is required of one."""
    given = {"name": "Ada", "email": "a@x.example"}
    own = call("POST", "users", {"user": given})["user"]["id"]
    firm = call("POST", "organizations", {"organization": {"name": "A"}})["organization"]["id"]
    row = {"user_id": own, "organization_id": firm}
    call("POST", "organization_memberships", {"organization_membership": row})
    call("DELETE", "users/{user_id}", user_id=own)
    call("GET", "deleted_users")
    call("GET", "deleted_users/{deleted_user_id}", deleted_user_id=own)


def test_identities_fit_their_description(call: Caller) -> None:
    """Every address of identities that is served."""
    own = call("POST", "users", {"user": {"name": "Ada", "email": "a@x.example"}})["user"]["id"]
    base = "users/{user_id}/identities"
    new = {"identity": {"type": "email", "value": "b@x.example"}}
    made = call("POST", base, new, user_id=own)["identity"]["id"]
    both = {"user_id": own, "user_identity_id": made}
    call("GET", base, user_id=own)
    call("GET", f"{base}/{{user_identity_id}}", **both)
    call("PUT", f"{base}/{{user_identity_id}}", {"identity": {"value": "c@x.example"}}, **both)
    call("PUT", f"{base}/{{user_identity_id}}/make_primary", **both)
    call("DELETE", f"{base}/{{user_identity_id}}", **both)


def test_organizations_fit_their_description(call: Caller) -> None:
    """Every address of organizations that is served, merges included."""
    made, other = (
        call("POST", "organizations", {"organization": {"name": n}})["organization"]["id"]
        for n in "AB"
    )
    one = {"organization_id": made}
    call("GET", "organizations/{organization_id}", **one)
    change = {"organization": {"domain_names": ["a.example"]}}
    call("PUT", "organizations/{organization_id}", change, **one)
    call("GET", "organizations")
    call("GET", "organizations/count")
    call("GET", "organizations/show_many", ids=f"{made},{other}")
    call("GET", "organizations/search", name="a")
    call("POST", "organizations/create_or_update", {"organization": {"name": "C"}})
    winner = {"organization_merge": {"winner_id": other}}
    merge = call("POST", "organizations/{organization_id}/merge", winner, **one)
    call("GET", "organizations/{organization_id}/merges", **one)
    own = merge["organization_merge"]["id"]
    call("GET", "organization_merges/{organization_merge_id}", organization_merge_id=own)
    call("DELETE", "organizations/{organization_id}", organization_id=other)


def test_memberships_fit_their_description(call: Caller) -> None:
    """Every address of memberships that is served."""
    user = call("POST", "users", {"user": {"name": "Ada"}})["user"]["id"]
    firm = call("POST", "organizations", {"organization": {"name": "A"}})["organization"]["id"]
    row = {"user_id": user, "organization_id": firm}
    kept = call("POST", "organization_memberships", {"organization_membership": row})
    own = kept["organization_membership"]["id"]
    one = {"organization_membership_id": own}
    call("GET", "organization_memberships")
    call("GET", "organization_memberships/{organization_membership_id}", **one)
    call("PUT", "users/{user_id}/organizations/{organization_id}/make_default", **row)
    path = "users/{user_id}/organization_memberships/{organization_membership_id}/make_default"
    call("PUT", path, user_id=user, **one)
    call("DELETE", "users/{user_id}/organizations/{organization_id}", **row)
    again = call("POST", "organization_memberships", {"organization_membership": row})
    one = {"organization_membership_id": again["organization_membership"]["id"]}
    call("DELETE", "organization_memberships/{organization_membership_id}", **one)


def test_custom_fields_fit_their_description(call: Caller) -> None:
    """Custom fields of users and organizations."""
    for kind in ("user_field", "organization_field"):
        new = {kind: {"key": "shoe_size", "title": "Shoe size", "type": "integer"}}
        own = call("POST", f"{kind}s", new)[kind]["id"]
        call("GET", f"{kind}s")
        call("GET", f"{kind}s/{{{kind}_id}}", **{f"{kind}_id": own})
        call("DELETE", f"{kind}s/{{{kind}_id}}", **{f"{kind}_id": own})


def test_jobs_fit_their_description(call: Caller) -> None:
    """What a job answers at once and when it is done, with rows that failed."""
    firms = {"organizations": [{"name": "A"}, {"name": ""}, {"name": "B"}]}
    job = call("POST", "organizations/create_many", firms)["job_status"]["id"]
    call.place.clock.now_ms += MINUTE
    answer = call.place.client.get(f"job_statuses/{job}")
    done = fits("users_organizations", "POST", "/api/v2/organizations/create_many", answer)
    assert [r.get("success", True) for r in done["job_status"]["results"]] == [True, False, True]
    own = done["job_status"]["results"][0]["id"]
    call("PUT", "organizations/update_many", {"organizations": [{"id": own, "tags": ["a"]}]})
    call("DELETE", "organizations/destroy_many", ids=str(own))
    call("PUT", "users/update_many", {"user": {"phone": "1"}}, ids="1,2")


def test_exports_fit_their_description(call: Caller) -> None:
    """The cursor export and the exports by time."""
    call.place.clock.now_ms += MINUTE
    page = call("GET", "incremental/users/cursor", area="incremental", start_time="0", per_page="9")
    call("GET", "incremental/users/cursor", area="incremental", cursor=page["after_cursor"])
    call("GET", "incremental/users", area="incremental", start_time="0")
    call("GET", "incremental/organizations", area="incremental", start_time="0")


def test_a_wrong_answer_would_be_noticed() -> None:
    """The check itself: an answer of another shape does not fit."""
    path = "/api/v2/organizations/{organization_id}/merge"
    check = validator("users_organizations", "POST", path, "200")
    assert not check.is_valid({"organization_merge": {"id": "1", "status": "over"}})
