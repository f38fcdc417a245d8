"""The same hub in several processes, on Kafka and PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from hub import opening
from tests.end_to_end.cluster import ROLES, Cluster, addresses, cluster
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
