"""A hub in a file moves to Kafka and PostgreSQL, while people go on typing into the tools."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from connectors._kit.population import clean
from connectors._kit.serve import Served
from hub import move, opening
from hub.io import moving
from hub.opening import Folder
from hub.settings import BadSettings
from tests.end_to_end.cluster import Cluster, addresses
from tests.end_to_end.conftest import Site, wait

CUSTOMERS = 16


@dataclass
class Counting(Served):
    """A sandbox that counts what is written into it, by path."""

    writes: Counter[str] = field(default_factory=Counter)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Count, and answer."""
        if self.host.sandbox.kind(request) == "write":
            self.writes[request.url.path] += 1
        return super().answer(request)


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A hub in a file, at rest, with its process up."""
    made = make_site(CUSTOMERS, Counting)
    made.up()
    made.connect()
    return made


def beside(site: Site, postgres: str, kafka: str) -> Path:
    """The hub.yaml of the same hub, on shared parts."""
    old = site.folder.path
    new = old.parent / f"{old.name}-scaled"
    for name in ("hub.yaml", "rules.yaml"):
        new.mkdir(exist_ok=True)
        shutil.copy(old / name, new / name)
    shutil.copytree(old / "secrets", new / "secrets")
    addresses(new, postgres, kafka, partitions=3)
    return new / "hub.yaml"


def contacts() -> list[str]:
    """Contacts that are surely linked with a customer in billing."""
    places = range(CUSTOMERS // 2)
    return [str(1001 + 2 * place) for place in places if clean(3, CUSTOMERS, "hubspot", place)]


def edit(site: Site, native: str, token: str) -> str:
    """A person types an address."""
    site.act("hubspot", "update", "contacts", native, address=token, city="Leeds")
    return token


def customers(site: Site) -> dict[str, str]:
    """The first line of each address in billing, and whose it is; no line is there twice."""
    found = [((c["address"] or {}).get("line1", ""), c["id"]) for c in site.billed()]
    return {line: own for line, own in found if [x for x, _ in found].count(line) == 1}


@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_is_written_twice(
    site: Site, postgres: str, kafka: str
) -> None:
    """Edits before, during and after the move arrive once; history and its anchor go on."""
    first, second, *others, last = contacts()
    assert len(others) > 2
    early = edit(site, first, "1 Before Road")
    assert wait(lambda: early in customers(site), 30)
    assert site.quiet()
    billing = site.served["stripe"]
    assert isinstance(billing, Counting)
    billing.writes.clear()
    tokens = [edit(site, second, "2 Killed Road")]
    site.kill()
    file = beside(site, postgres, kafka)
    ended = threading.Event()

    def type_on() -> None:
        for n, native in enumerate(others):
            tokens.append(edit(site, native, f"{n} Moving Road"))
            ended.wait(0.3)

    typing = threading.Thread(target=type_on)
    typing.start()
    done = site.call("migrate", "--to", str(file))
    assert done.returncode == 0, done.stderr
    typing.join()
    assert "each lane of history verified" in done.stdout
    refused = site.call("up")
    assert refused.returncode == 2
    assert str(file) in refused.stderr
    before = anchored(site.folder)
    new = Site(site.served, Folder(file.parent))
    with opening.opened(new.folder) as one:
        made = Cluster(new, one)
        try:
            made.up()
            assert wait(lambda: set(tokens) <= customers(site).keys(), 60), customers(site)
            late = edit(site, last, "9 After Road")
            assert wait(lambda: late in customers(site), 30)
            assert made.quiet()
            assert made.view(moving.flaws) == []
            assert wait(lambda: len(anchored(new.folder)) > len(before), 30)
        finally:
            made.end()
    found = customers(site)
    paths = [f"/v1/customers/{found[token]}" for token in (*tokens, late)]
    assert {path: billing.writes[path] for path in paths} == dict.fromkeys(paths, 1)
    answer = opening.ask(new.folder, "verify", refold=True)
    assert (answer["findings"], answer["differs"]) == ([], [])
    assert answer["anchor"]["todo"] == ""
    assert anchored(new.folder)[: len(before)] == before


def anchored(folder: Folder) -> list[str]:
    """The lines of a hub's anchor."""
    return (folder.path / folder.hub().anchor).read_text().splitlines()


class Stop(Exception):
    """Somebody breaks it off."""


@pytest.mark.parametrize("at", ["record: ", "history is verified", "golden records"])
def test_a_move_that_is_broken_off_begins_again(
    make_site: Callable[..., Site], postgres: str, kafka: str, at: str
) -> None:
    """Until it is through nothing is there, and neither hub can be used; then all is."""
    site = make_site(6)
    file = beside(site, postgres, kafka)
    with opening.opened(site.folder) as one:
        opening.read_up(one.hub, lambda _: None)
    exported = opening.ask(site.folder, "export")

    def told(text: str) -> None:
        if text.startswith(at):
            raise Stop

    with pytest.raises(Stop):
        move.move(site.folder, file, told)
    with pytest.raises(BadSettings, match="migrate --undo"):
        opening.ask(site.folder, "status")
    rows = move.move(site.folder, file, lambda _: None)["rows"]
    assert rows["record"] > 0
    assert move.move(site.folder, file, lambda _: None)["rows"] == {}
    assert opening.ask(Folder(file.parent), "export") == exported
    assert move.undo(site.folder)["undone"] == str(file)
    assert opening.ask(site.folder, "export") == exported


def test_a_home_that_is_in_use_is_refused(
    make_site: Callable[..., Site], postgres: str, kafka: str
) -> None:
    """Another hub's rows are not mixed with ours; nothing is marked."""
    site = make_site(6)
    file = beside(site, postgres, kafka)
    with opening.opened(Folder(file.parent)):
        pass
    with pytest.raises(BadSettings, match="PostgreSQL has rows"):
        move.move(site.folder, file, lambda _: None)
    assert move.undo(site.folder)["undone"] == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("default_region: US", "default_region: DE"), "default_region differ"),
        (("account: ", "account: x"), "systems.hubspot, systems.stripe differ"),
        (("postgres:", "kafka:"), "kafka"),
    ],
)
def test_another_hub_is_no_home(
    make_site: Callable[..., Site], change: tuple[str, str], why: str
) -> None:
    """Both files describe the same hub, or nothing is touched."""
    site = make_site(6)
    file = beside(site, "postgresql://nobody@127.0.0.1:1/none", "127.0.0.1:1")
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(BadSettings, match=why):
        move.move(site.folder, file, lambda _: None)


def test_the_key_has_to_be_there(make_site: Callable[..., Site]) -> None:
    """What was sealed would be lost."""
    site = make_site(6)
    file = beside(site, "postgresql://nobody@127.0.0.1:1/none", "127.0.0.1:1")
    (file.parent / opening.MASTER).unlink()
    with pytest.raises(BadSettings, match=r"master.key is missing: copy"):
        move.move(site.folder, file, lambda _: None)
    shutil.copy(Path(site.folder.path) / opening.MASTER, file.parent / opening.MASTER)
    with pytest.raises(BadSettings, match="PostgreSQL at"):
        move.move(site.folder, file, lambda _: None)
