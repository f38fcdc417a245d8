"""The anchor: a history that is not the one that was anchored stays found, whatever is started."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from connectors._kit.simtool import Profile
from hub import commands, loops, resolve
from hub.io.anchor import Anchor
from hub.io.rows import Rows, StoreFull
from hub.io.store import SqlStore
from hub.status import status
from hub.tools.bench import stored
from hub.tools.world import World

CUSTOMERS = 20


def hub_at(place: Path, seed: int = 1) -> World:
    """A world with an anchor there, whose customers are resolved and not anchored yet."""
    world = World({"A": Profile(page=50)}, seed=seed)
    world.hub.anchor = Anchor(place)
    more(world, "first")
    return world


def more(world: World, word: str) -> None:
    """History goes on, in every lane."""
    for n in range(CUSTOMERS):
        world.tools["A"].act(f"a{n}", {"mail": f"p{n}@x.com", "title": word})
    world.sync()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the anchor file is."""
    return tmp_path / "anchor.jsonl"


@pytest.fixture
def world(place: Path) -> World:
    """A hub whose history is anchored."""
    made = hub_at(place)
    loops.house(made.hub)
    return made


def cut(rows: Rows) -> None:
    """Take the last entry off every lane, and let the lane say so."""
    for lane in rows.select("lane"):
        rows.delete("history", {"lane": lane["lane"], "n": lane["n"]})
        before = rows.get("history", lane=lane["lane"], n=lane["n"] - 1)
        assert before is not None
        rows.update("lane", {"lane": lane["lane"]}, {"n": before["n"], "head": before["digest"]})


def word(world: World) -> str:
    """What verify says of the anchor; status and alerts say the same."""
    found = commands.verify(world.hub)["anchor"]["word"]
    told = status(world.hub)
    assert told["anchor"]["word"] == found
    kinds = [a["kind"] for a in told["alerts"] if "anchor" in a["kind"] or "history" in a["kind"]]
    assert kinds == [found] * (found != "in order")
    return str(found)


def whole(rows: Rows) -> dict[str, list[dict[str, Any]]]:
    """A copy of the history."""
    return {table: rows.select(table) for table in ("history", "lane")}


def put_back(rows: Rows, copy: dict[str, list[dict[str, Any]]]) -> None:
    """The copy in place of the history."""
    for table, found in copy.items():
        rows.delete(table, {})
        rows.insert_many(table, found)


def test_a_cut_history_stays_found_after_a_start(world: World, place: Path) -> None:
    """The next hub neither writes over what the anchor saw nor is it quiet about it."""
    more(world, "second")
    loops.house(world.hub)
    assert word(world) == "in order"
    seen = place.read_bytes()
    world.store.transact(cut)
    assert word(world) == "history cut"
    loops.house(world.hub)
    assert word(world) == "history cut"
    assert commands.verify(world.hub)["findings"]
    more(world, "third")
    loops.house(world.hub)
    assert word(world) == "history differs"
    assert place.read_bytes() == seen


def test_what_is_not_committed_is_not_anchored(place: Path, tmp_path: Path) -> None:
    """A commit that fails takes back what shared it: nothing of that is in the anchor."""
    world = World({"A": Profile(page=50)})
    with closing(SqlStore(tmp_path / "hub.db", pages_max=2_000)) as store:
        stored(world, store)
        world.hub.anchor = Anchor(place)
        store.transact(world.register)
        more(world, "first")
        loops.house(world.hub)
        for n in range(CUSTOMERS):
            world.tools["A"].act(f"a{n}", {"title": "second"})
        world.capture("A")
        free = threading.Event()
        in_one_commit(
            lambda: store.transact(lambda _: free.wait(10)),
            lambda: resolve.step(world.hub),
            lambda: loops.house(world.hub),
            lambda: store.transact(fill_the_disk),
            lambda: store.view(lambda _: free.set()),
        )
        assert word(world) == "in order"


def fill_the_disk(rows: Rows) -> None:
    """More than the file may hold."""
    rows.insert("meta", {"name": "too much", "value": "x" * 10_000_000})


def in_one_commit(*works: Callable[[], object]) -> None:
    """Each in a thread of its own, begun in this order while the first one holds up the others."""

    def work(one: Callable[[], object]) -> None:
        with suppress(StoreFull):
            one()

    threads = [threading.Thread(target=work, args=(one,)) for one in works]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()


def test_an_older_copy_of_the_state_is_told(world: World) -> None:
    """Put back it is shorter than its anchor; once it has gone on it is another history."""
    copy = world.store.view(whole)
    more(world, "second")
    loops.house(world.hub)
    world.store.transact(lambda rows: put_back(rows, copy))
    loops.house(world.hub)
    assert word(world) == "history cut"
    more(world, "third")
    loops.house(world.hub)
    assert word(world) == "history differs"


def test_a_state_folder_begun_anew_is_told(world: World, place: Path) -> None:
    """Its anchor speaks of another history: a chain that is gone as a whole is no fresh start."""
    anew = World({"A": Profile()})
    anew.hub.anchor = Anchor(place)
    assert word(anew) == "anchor of another hub"
    more(anew, "first")
    loops.house(anew.hub)
    assert len(place.read_text().splitlines()) == 1
    assert word(world) == "in order"


def test_two_hubs_with_one_anchor_are_told(world: World, place: Path, tmp_path: Path) -> None:
    """Whichever starts second keeps out of the file, and is told to take one of its own."""
    other = hub_at(tmp_path / "other.jsonl", seed=2)
    loops.house(other.hub)
    other.hub.anchor = Anchor(place)
    loops.house(other.hub)
    assert word(other) == "anchor of another hub"
    assert word(world) == "in order"


def test_a_file_that_is_gone_is_told(world: World, place: Path) -> None:
    """A new one would hide what was cut since; the old one put back ends it."""
    kept = place.rename(place.with_name("elsewhere"))
    more(world, "second")
    loops.house(world.hub)
    assert word(world) == "anchor missing"
    assert not place.exists()
    kept.rename(place)
    loops.house(world.hub)
    assert word(world) == "in order"
    assert commands.verify(world.hub)["unanchored"] == {}


def test_a_file_that_was_copied_goes_on_where_it_is_now(world: World, tmp_path: Path) -> None:
    """Another disk, or an older copy: history may be ahead of it."""
    assert world.hub.anchor
    copy = tmp_path / "elsewhere" / "anchor.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(world.hub.anchor.path.read_bytes())
    more(world, "second")
    loops.house(world.hub)
    world.hub.anchor = Anchor(copy)
    assert word(world) == "in order"
    assert commands.verify(world.hub)["unanchored"]
    loops.house(world.hub)
    assert commands.verify(world.hub)["unanchored"] == {}


def test_a_crash_before_the_first_line_is_no_loss(place: Path) -> None:
    """History that was never anchored waits for its first line; it needs no file."""
    world = hub_at(place)
    assert word(world) == "in order"
    assert commands.verify(world.hub)["unanchored"]


def test_a_crash_after_the_first_line_is_no_loss(world: World) -> None:
    """A file that the store does not know of yet, and that agrees with it, is its own."""
    world.store.transact(lambda rows: rows.delete("meta", {"name": "anchor"}))
    more(world, "second")
    loops.house(world.hub)
    assert word(world) == "in order"
    assert commands.verify(world.hub)["unanchored"] == {}


@pytest.mark.parametrize("damage", ["no JSON", '{"at": 1, "heads": {"0": [true, 7]}}'])
def test_a_damaged_line_is_told(world: World, place: Path, damage: str) -> None:
    """What it held is not known, so nothing is written after it."""
    with place.open("a") as file:
        file.write(damage + "\n")
    more(world, "second")
    loops.house(world.hub)
    assert word(world) == "anchor unreadable"
    assert place.read_text().endswith(damage + "\n")


def test_a_line_torn_by_a_power_cut_is_passed_over(world: World, place: Path) -> None:
    """The one before counts, and the next one begins on a line of its own."""
    with place.open("a") as file:
        file.write('{"at": 8, "hea')
    more(world, "second")
    assert word(world) == "in order"
    loops.house(world.hub)
    assert word(world) == "in order"
    assert commands.verify(world.hub)["unanchored"] == {}


def test_erasing_a_person_breaks_nothing(world: World) -> None:
    """Their key goes, the sealed entries stay."""
    uid = world.uid("A", "a1")
    world.store.transact(
        lambda r: r.lock([str(uid)]) or r.update("subject_key", {"uid": uid}, {"wrapped": b""})
    )
    world.tools["A"].act("a2", {"title": "second"})
    world.sync()
    loops.house(world.hub)
    assert word(world) == "in order"
    assert commands.verify(world.hub)["findings"] == []


def test_somebody_who_knows_why_lets_it_go_on(world: World) -> None:
    """What was accepted, and by whom, is told by every later verify."""
    more(world, "second")
    loops.house(world.hub)
    world.store.transact(cut)
    found = commands.verify(world.hub, accept=True, who="ada")
    assert found["anchor"]["word"] == "in order"
    more(world, "third")
    loops.house(world.hub)
    found = commands.verify(world.hub)
    assert found["findings"] == []
    assert found["unanchored"] == {}
    (accepted,) = found["anchor"]["accepted"]
    assert (accepted["by"], accepted["was"]) == ("ada", "history cut")
    assert accepted["lanes"]
    with pytest.raises(commands.Wrong, match="nothing to accept"):
        commands.verify(world.hub, accept=True)


def test_every_word_can_be_accepted(world: World, place: Path) -> None:
    """A file that is gone, or damaged, is begun anew by the same command."""
    place.unlink()
    assert commands.verify(world.hub, accept=True)["anchor"]["word"] == "in order"
    with place.open("a") as file:
        file.write("damage\n")
    assert commands.verify(world.hub, accept=True)["anchor"]["word"] == "in order"
    assert len(commands.verify(world.hub)["anchor"]["accepted"]) == 2
