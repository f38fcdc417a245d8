"""What of the connectors' suite concerns a tool that is only followed: over a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from connectors._kit import conformance
from connectors._kit.conformance import Check
from connectors._kit.contract import Api, Page, Unreadable
from connectors._kit.sandbox import Host
from connectors._kit.trial import VirtualClock, World
from connectors.debezium.connector import CONNECTOR
from connectors.debezium.topics import Topics
from connectors.debezium.values import Schema
from tests.connectors.debezium.tools import Captured, Shop, deleted, edited, inserted, messages

# The others ask for a read by id, a write, a webhook, a listing's pages, or speak HTTP.
APPLY: tuple[Check, ...] = (
    conformance.the_account_is_known,
    conformance.changes_miss_nothing,
    conformance.changes_come_to_an_end_and_may_be_repeated,
    conformance.a_quiet_year_expires_nothing,
    conformance.very_many_changes_of_one_moment_all_come,
    conformance.an_edit_during_a_slow_walk_is_not_lost,
    conformance.a_page_of_changes_is_bounded,
    conformance.who_only_follows_ends_up_with_the_truth,
    conformance.an_old_cursor_says_so,
    conformance.a_damaged_cursor_is_noticed,
)


def no_schema(number: int) -> Schema:
    """JSON needs none."""
    raise Unreadable(f"there is no schema {number}")


@dataclass
class Table(World):
    """A table whose rows people change, in a topic of two partitions; `rows` is its truth."""

    shop: Shop = field(kw_only=True)
    rows: dict[str, Captured] = field(default_factory=dict)
    ids: Iterator[int] = field(default_factory=lambda: iter(range(1, 100_000)))

    def act(self, op: str, native_id: str = "", **fields: Any) -> str:
        """Somebody changes a row; Debezium tells it with the key's partition."""
        if op == "create":
            own = next(self.ids)
            native_id = str(own)
            self.rows[native_id] = inserted(id=own, **fields)
            told = self.rows[native_id]
        elif op == "update":
            told = self.rows[native_id] = edited(self.rows[native_id], **fields)
        elif op == "delete":
            told = deleted(self.rows.pop(native_id))
        else:
            raise LookupError(op)
        self.shop.tell([told], int(native_id) % 2)
        return native_id

    def listing(self) -> list[Page]:
        """The rows as they are, past the topic."""
        reader = self.shop.connector.tables["customers"]
        found = [reader.reading(m, no_schema, 0, 0) for m in messages(self.rows.values())]
        return [Page(tuple(one for one in found if one), "", done=True)]

    def calls(self, kind: str) -> int:
        """There is nothing to write by."""
        del kind
        return 0


@pytest.mark.parametrize("one", APPLY, ids=lambda one: one.__name__)
def test_a_table_is_followed_like_a_tool(one: Check, kafka: str) -> None:
    """The check holds for rows that are told by topics."""
    made: list[Topics] = []

    def make(customers: int = 0) -> World:
        shop, clock = Shop(kafka), VirtualClock()
        shop.make(2)
        api = shop.api(clock)
        made.append(api)
        host = cast("Host", SimpleNamespace(clock=SimpleNamespace(ahead_ms=0)))
        world = Table(
            shop.connector, shop.spec, host, clock, lambda *_: cast("Api", api), api, shop=shop
        )
        for n in range(customers):
            world.person_creates(n)
        return world

    one(make)
    for api in made:
        api.close()


def test_secrets_are_documented() -> None:
    """The page names every secret, and it is said which are required."""
    page = (Path(conformance.__file__).parents[1] / "debezium" / "README.md").read_text()
    for name, meaning in CONNECTOR.secret_names.items():
        assert meaning.startswith("optional: "), name
        assert f"`{name}`" in page, name
