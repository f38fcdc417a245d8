"""The same hub in several processes, on Kafka and PostgreSQL."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from hub import opening
from tests.end_to_end.cluster import ROLES, Cluster, Part, addresses, cluster
from tests.end_to_end.conftest import Site, wait


@pytest.fixture
def scaled(make_site: Callable[..., Site], postgres: str, kafka: str) -> Iterator[Cluster]:
    """A hub of 20 customers, of which no process is up yet."""
    with cluster(make_site(20), postgres, kafka, partitions=4) as made:
        yield made


def emails(made: Cluster) -> set[str]:
    """What billing holds."""
    return {one["email"] for one in made.site.billed()}


def test_an_edit_goes_through_all_roles(scaled: Cluster) -> None:
    """Four processes, each with one step of the path, do what one would."""
    scaled.up()
    scaled.connect()
    contact = scaled.site.act("hubspot", "create", "contacts", email="new@x.com", firstname="New")
    assert wait(lambda: "new@x.com" in emails(scaled), 30)
    scaled.site.act("hubspot", "update", "contacts", contact, email="newer@x.com")
    assert wait(lambda: "newer@x.com" in emails(scaled), 30)
    assert scaled.quiet()
    since = opening.ask(scaled.site.folder, "sweep")["since"]  # asked by a process without loops
    assert wait(lambda: opening.ask(scaled.site.folder, "swept", since=since)["done"], 20)
    budgets = scaled.view(lambda rows: rows.select("budget"))
    assert {row["account"] for row in budgets} == set(scaled.hub.systems), "shared"


def asked(part: Part, path: str) -> httpx.Response:
    """What the private listener of a process answers."""
    found = re.search(r"(http://127\.0\.0\.1:\d+)", part.said.partition("console:")[2])
    assert found is not None, part.said
    return httpx.get(f"{found[1]}{path}", trust_env=False, timeout=10)


def test_each_role_tells_how_it_is(scaled: Cluster) -> None:
    """Every process is live and ready, and says what it holds, reads, and stands by for."""
    parts = [*scaled.up(), *scaled.up("deliver")]
    assert {asked(part, "/livez").status_code for part in parts} == {200}
    assert wait(lambda: {asked(part, "/readyz").status_code for part in parts} == {200}, 30)
    names = {"deliver:hubspot", "deliver:stripe"}

    def held(part: Part) -> set[str]:
        leases = asked(part, "/readyz").json()["leases"]
        return {name for name, word in leases.items() if word == "held"}

    delivering = [part for part in parts if part.role == "deliver"]
    assert wait(lambda: all(len(held(part)) == 1 for part in delivering), 40), "shared"
    assert set.union(*map(held, delivering)) == names
    resolving = next(part for part in parts if part.role == "resolve")
    assert wait(lambda: asked(resolving, "/readyz").json()["partitions"].get("resolve"), 30)
    assert wait(lambda: "relay" in held(resolving), 30)
    for part in parts:
        text = asked(part, "/metrics").text
        assert 'synchub_log_lag_messages{group="resolve"' in text, part.role
        own = [line for line in text.splitlines() if line.startswith("synchub_lease_held")]
        assert len(own) == len(asked(part, "/readyz").json()["leases"])


def test_all_start_at_once_on_empty_parts(
    make_site: Callable[..., Site], postgres: str, kafka: str
) -> None:
    """Whoever is first makes all that is needed; only who has another master key is refused."""
    site = make_site(4)
    addresses(site.folder.path, postgres, kafka, partitions=4)
    made = Cluster(site)
    try:
        made.up(*ROLES, "resolve", "deliver")
        key = site.folder.path / "secrets/master.key"
        key.write_bytes(os.urandom(32))
        stranger = made.start("deliver")
        assert stranger.process.wait(30) != 0
        assert "every process of a hub needs the same one" in stranger.said
        assert "Traceback" not in stranger.said
    finally:
        made.end()
