"""The same hub in several processes, on Kafka and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hub import opening
from tests.end_to_end.cluster import Cluster, cluster
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
