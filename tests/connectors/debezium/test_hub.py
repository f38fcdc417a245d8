"""The whole hub between a shop's database and a CRM."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors._kit import serve
from connectors._kit.serve import Served
from connectors.debezium.connector import PAGE
from hub import browse, commands, opening, runs
from hub.capture import PAGE_AT_ONCE
from hub.env import Hub
from hub.io import state
from hub.listeners import wait_for
from hub.logs import be_quiet
from hub.opening import Folder
from hub.running import running
from hub.status import status
from tests.connectors.debezium.tools import Shop, deleted, edited, inserted, rekeyed, source


@contextmanager
def site(
    shop: Shop, place: Path, tables: dict[str, Any] | None = None
) -> Iterator[tuple[Served, Folder]]:
    """An empty CRM, and a folder connected to it and to the shop's topic."""
    be_quiet()
    served = serve.start(["hubspot"], 1, 0)
    described = serve.described(served) | {
        "shop": {
            "vendor": "debezium",
            "auth": {},
            "source": {
                "bootstrap": shop.bootstrap,
                "tables": tables or source(shop.topic)["tables"],
            },
        }
    }
    folder = Folder(place / "hub")
    opening.init(folder, described, (0, 0))
    hub_yaml = folder.path / "hub.yaml"
    hub_yaml.write_text(hub_yaml.read_text().replace("poll_seconds: 30.0", "poll_seconds: 0.1"))
    try:
        yield served["hubspot"], folder
    finally:
        served["hubspot"].stop()


def contacts(crm: Served) -> dict[str, dict[str, Any]]:
    """What the CRM holds, by e-mail."""
    held = crm.host.sandbox.holds("contacts").values()
    return {str(r.app["email"]): dict(r.app) for r in held}


def inputs_of(hub: Hub) -> list[tuple[str, int]]:
    """How many inputs each record of the shop has had."""
    where = {"system": "shop"}
    found = hub.env.view(lambda rows: rows.select("record", where, only=("native_id", "next_seq")))
    return sorted((row["native_id"], row["next_seq"]) for row in found)


def connected(hub: Hub, crm: Served, mail: str, records: int = 1) -> None:
    """Apply a plan once so many are to be made in the CRM, and wait until it has this one."""
    assert wait_for(lambda: status(hub)["systems"]["hubspot"]["to_create"] == records, 30)
    commands.apply(hub, commands.plan(hub)["run"])
    assert wait_for(lambda: mail in contacts(crm), 30)


def looked_again(hub: Hub, obj: str = "customers", times: int = 3) -> bool:
    """Wait until the log was read to its end a few times more."""

    def read() -> int:
        return int(status(hub)["systems"]["shop"]["changes_read_at"][obj])

    for _ in range(times):
        before = read()
        if not wait_for(lambda: read() > before, 30):  # noqa: B023
            return False
    return True


def rests(hub: Hub) -> bool:
    """Whether nothing is on its way, and nothing is left to look at."""
    now = status(hub)
    left = [one[n] for one in now["systems"].values() for n in ("to_look_at", "open_hints")]
    return not (now["pending_inputs"] or any(left))


def known(crm: Served, mail: str, name: str) -> Any:
    """A property of a contact, None where there is none."""
    return contacts(crm).get(mail, {}).get(name)


def test_a_page_is_one_transaction() -> None:
    """What was kept is never read again, whenever the hub dies."""
    assert PAGE <= PAGE_AT_ONCE


def test_rows_reach_the_crm(kafka: str, tmp_path: Path) -> None:
    """A row is followed when inserted, changed, renamed, deleted; a restart repeats nothing."""
    shop, mail = Shop(kafka), "ada@example.com"
    shop.make()
    ada = inserted(id=2)
    shop.tell([ada])
    with site(shop, tmp_path) as (crm, folder):
        with running(folder) as up:
            connected(up.opened.hub, crm, mail)
            ada = edited(ada, phone="+44 20 7946 0999")
            shop.tell([ada])
            assert wait_for(lambda: known(crm, mail, "phone") == "+442079460999", 30)
            assert wait_for(lambda: rests(up.opened.hub), 30)
            assert looked_again(up.opened.hub)
            before, written = inputs_of(up.opened.hub), crm.host.counts["write"]
        with running(folder) as up:
            hub = up.opened.hub
            assert looked_again(hub)
            assert (inputs_of(hub), crm.host.counts["write"]) == (before, written)
            shop.tell(rekeyed(ada, 1000, last_name="King"))
            assert wait_for(lambda: known(crm, mail, "lastname") == "King", 30)
            assert [native for native, _ in inputs_of(hub)] == ["1000"]
            shop.tell([deleted(edited(ada, id=1000))])
            assert wait_for(lambda: status(hub)["parked_by_kind"].get("departed"), 30)
            assert looked_again(hub)
            assert list(contacts(crm)) == [mail]
            assert status(hub)["inputs"]["superseded"] == 0


def test_a_hub_that_is_killed_reads_on(kafka: str, tmp_path: Path) -> None:
    """Kill -9 while it reads: each row is taken in, and none of them twice."""
    shop, rows = Shop(kafka), 900
    shop.make(3)
    for part in range(3):
        told = (inserted(id=n, email=f"p{n}@x.example") for n in range(part, rows, 3))
        shop.tell(told, part)
    with site(shop, tmp_path) as (_, folder):
        for goal in range(300, rows + 1, 300):
            with process(folder):
                assert wait_for(lambda: read_so_far(folder) >= goal, 30)  # noqa: B023
        with opening.opened(folder) as one:
            assert set(inputs_of(one.hub)) == {(str(n), 2) for n in range(rows)}
            assert status(one.hub)["parked"] == 0


@contextmanager
def process(folder: Folder) -> Iterator[None]:
    """The hub as a process of its own, until it is killed."""
    env = {**os.environ, "PYTHONPATH": str(Path(opening.__file__).parents[1])}
    code = "from hub.start import main; main()"
    said = folder.path / "up.log"
    with said.open("w") as log:
        up = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code, "up"], cwd=folder.path, env=env, stdout=log, stderr=log
        )
    try:
        assert wait_for(lambda: "commands:" in said.read_text(), 30), said.read_text()
        yield
    finally:
        up.kill()
        up.wait()
        folder.socket().unlink(missing_ok=True)


def read_so_far(folder: Folder) -> int:
    """How many rows a hub that is up has taken in."""
    return int(opening.ask(folder, "status")["systems"]["shop"]["records"])


def test_a_new_key_that_is_read_before_the_old_one_went(kafka: str, tmp_path: Path) -> None:
    """In another partition the row is read first: the records are one when the old key goes."""
    shop, mail = Shop(kafka), "ada@example.com"
    shop.make(2)
    ada = inserted(id=2)
    shop.tell([ada])
    with site(shop, tmp_path) as (crm, folder), running(folder) as up:
        hub = up.opened.hub
        connected(hub, crm, mail)
        late = edited(ada, last_name="Late")
        *gone, came = rekeyed(late, 1000, last_name="King", email="king@example.com")
        shop.tell([came], partition=1)
        assert wait_for(lambda: len(inputs_of(hub)) == 2, 30)
        shop.tell([late, *gone])
        assert wait_for(lambda: known(crm, "king@example.com", "lastname") == "King", 30)
        assert wait_for(lambda: rests(hub), 30)
        assert list(contacts(crm)) == ["king@example.com"]
        assert status(hub)["systems"]["shop"]["records"] == 1
        assert status(hub)["customers"] == 1


def test_what_the_table_lacks_is_shown_and_stays(kafka: str, tmp_path: Path) -> None:
    """An edit in the CRM differs from the row, which nobody writes; no link waits for it."""
    shop, mail = Shop(kafka), "ada@example.com"
    shop.make()
    shop.tell([inserted(id=2)])
    with site(shop, tmp_path) as (crm, folder), running(folder) as up:
        hub = up.opened.hub
        connected(hub, crm, mail)
        (native,) = crm.host.sandbox.holds("contacts")
        crm.host.sandbox.act("update", "contacts", native, {"phone": "+442079460111"})

        def differs() -> list[Any]:
            return [c for one in browse.drift(hub, "shop")["links"] for c in one["cells"]]

        assert wait_for(differs, 30)
        assert wait_for(lambda: rests(hub), 30)
        (cell,) = differs()
        assert (cell["cell"], cell["word"], cell["wanted"]) == (
            "phone",
            "unwritable",
            "+442079460111",
        )
        shown = status(hub)["systems"]["shop"]
        assert (shown["to_look_at"], shown["to_create"], shown["open_hints"]) == (0, 0, 0)
        with pytest.raises(commands.Wrong, match="shop is a log"):
            commands.sweep_now(hub, "shop")
        assert commands.sweep_now(hub)["sweeping"] == ["hubspot"]
        swept = commands.swept(hub, hub.env.now())["objects"]
        assert {one["system"] for one in swept} == {"hubspot"}


def test_what_nobody_understands_is_parked(kafka: str, tmp_path: Path) -> None:
    """The rest goes on; to read a row again means to wait for what the topic says next."""
    shop, mail = Shop(kafka), "ada@example.com"
    shop.make()
    shop.producer.produce(shop.topic, b"{", b'{"id":1}')
    shop.producer.flush(10)
    shop.tell([inserted(id=2)])
    with site(shop, tmp_path) as (crm, folder), running(folder) as up:
        hub = up.opened.hub
        connected(hub, crm, mail)
        (item,) = commands.parked(hub)["parked"]
        assert "partition 0 offset 0: neither JSON nor Avro" in item["why"]
        told = commands.replay(hub, item["id"])["replayed"]
        assert told == "shop is a log: what it says of the record next will be read"
        where = {"system": "shop"}
        found = hub.env.view(lambda rows: rows.select("record", where, only=("uid",)))
        browse.repair(hub, [row["uid"] for row in found])
        assert wait_for(lambda: rests(hub), 30)
        assert not status(hub)["parked"]


def test_nobody_knows_when_a_listed_row_was_typed(kafka: str, tmp_path: Path) -> None:
    """Nor one that is first heard of by a change; an inserted one was typed just then."""
    shop = Shop(kafka)
    shop.make()
    listed, changed = edited(inserted(id=1), "r"), edited(inserted(id=2))
    shop.tell([listed, changed, inserted(id=3)])
    with site(shop, tmp_path) as (_, folder), opening.opened(folder) as one:
        runs.catch_up(one.hub)
        found = one.hub.env.view(lambda rows: rows.select("record", {"system": "shop"}))
        claims = {row["native_id"]: state.record_in(row).cell("email").claims for row in found}
        assert {n: [c.bound for c in some] for n, some in claims.items()} == {
            "1": [True],
            "2": [True],
            "3": [False],
        }


def test_a_company_column_is_an_association(kafka: str, tmp_path: Path) -> None:
    """A row that names a row of the table of companies is associated with it in the CRM."""
    shop, firms = Shop(kafka), Shop(kafka)
    shop.make()
    firms.make()
    tables = source(shop.topic)["tables"]
    tables["customers"]["company"] = "id_of_firm"
    tables["firms"] = {
        "topic": firms.topic,
        "entity": "company",
        "key": "id",
        "fields": {"legal_name": "first_name", "domain": "email"},
    }
    shop.tell([inserted(id=2, id_of_firm=7)])
    firms.tell([inserted(id=7, first_name="Engines Ltd", email="engines.example.com")])
    with site(shop, tmp_path, tables) as (crm, folder), running(folder) as up:
        connected(up.opened.hub, crm, "ada@example.com", records=2)

        def companies() -> list[tuple[str, ...]]:
            held = crm.host.sandbox.holds("contacts").values()
            return [tuple(r.links.get("company", ())) for r in held]

        assert wait_for(lambda: any(companies()), 30)
        assert companies() == [tuple(crm.host.sandbox.holds("companies"))]
