"""Golden records that ended: the topic points on for a set time, then has a tombstone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from hub import loops
from hub.env import DAY_MS
from hub.io import history, migrate
from hub.io.log import outgoing
from hub.io.postgres import PostgresStore
from hub.io.rows import Row, Rows
from hub.pure import pack
from hub.pure.decide import ChangeSet
from hub.pure.model import Golden
from hub.tools.world import World
from tests.stories.runner import Story, step, tell

RACES = 150
APART = """
tools A B
create A never
create B never
A.jane name="Jane Doe" email=jane@x.com
B.joan name="Joan Roe" email=joan@x.com
A.june name="June Poe" email=june@x.com
sync
"""


def together() -> tuple[Story, str, str]:
    """A story in which two customers became one: the golden id that ended, and that it went to."""
    story = tell(APART)
    ids = {story.golden(who).uid for who in ("A.jane", "B.joan")}
    says(story, "steward: A.jane is B.joan", "sync")
    left = story.golden("A.jane").uid
    (gone,) = ids - {left}
    return story, gone, left


def says(story: Story, *lines: str) -> None:
    """What happens next."""
    for line in lines:
        step(story, line)


def told(world: World, uid: str) -> list[dict[str, Any] | None]:
    """The values of a golden id on its topic, the oldest first; None is a tombstone."""
    world.hub.log.relay(world.env)
    rows = world.store.view(lambda r: r.select("log", {"key": uid.encode()}, order=("at",)))
    found = sorted((r for r in rows if r["topic"] == "golden.person"), key=lambda r: r["offset"])
    return [r["value"] and world.hub.codec.decode("person_change", r["value"]) for r in found]


def days_pass(story: Story, days: float) -> None:
    """So many days without work, then the housekeeping."""
    story.world.clock.pass_time(int(days * DAY_MS))
    loops.house(story.world.hub)


def test_a_merged_customer_points_on_and_is_then_forgotten() -> None:
    """The old id says where to look for the set time; then there is one tombstone, once."""
    story, gone, left = together()
    last = told(story.world, gone)[-1]
    assert last is not None
    assert (last["op"], last["merged_into"], last["after"]) == ("d", left, None)
    assert last["ts_ms"] > 0
    taken_in = told(story.world, left)[-1]
    assert taken_in is not None
    assert (taken_in["op"], taken_in["merged"], taken_in["merged_into"]) == ("u", [gone], None)
    days_pass(story, 29)
    assert None not in told(story.world, gone)
    days_pass(story, 2)
    days_pass(story, 2)
    assert told(story.world, gone).count(None) == 1
    assert None not in told(story.world, left)


def test_the_time_is_a_setting() -> None:
    """A hub that lets merged customers go sooner has their tombstones sooner."""
    story, gone, _ = together()
    story.world.hub.points_on_ms = DAY_MS
    days_pass(story, 2)
    assert told(story.world, gone)[-1] is None


def test_a_customer_that_came_back_has_no_tombstone() -> None:
    """Who is told apart again in time lives on under the old id; who comes later comes anew."""
    for days in (1, 40):
        story, gone, _ = together()
        days_pass(story, days)
        buried = told(story.world, gone).count(None)
        assert buried == (days == 40)
        says(story, "steward: A.jane is not B.joan", "sync")
        days_pass(story, 40)
        found = told(story.world, gone)
        assert found[-1] is not None
        assert (found[-1]["op"], found[-1]["merged_into"]) == ("u", None)
        assert found.count(None) == buried


def test_who_is_merged_once_more_points_to_the_last_one() -> None:
    """A chain of merges is followed in one step, and its time begins with the last of them."""
    story, gone, left = together()
    days_pass(story, 20)
    says(story, "steward: A.june is A.jane", "sync")
    end = story.golden("A.june").uid
    ends = {uid for uid in (gone, left, story.record("A.june").uid) if uid != end}
    for uid in ends:
        last = told(story.world, uid)[-1]
        assert last is not None
        assert last["merged_into"] == end
    again = end != left
    days_pass(story, 20)
    assert (told(story.world, gone)[-1] is None) == (not again)
    days_pass(story, 20)
    assert all(told(story.world, uid)[-1] is None for uid in ends)


def test_a_customer_of_whom_nothing_is_left_has_a_tombstone() -> None:
    """An end that points nowhere is told, and buried, in the same way."""
    story = tell(APART)
    golden = story.golden("A.jane")
    change = ChangeSet(golden.uid, golden.number + 1, None, golden, (), ())
    hub = story.world.hub
    story.world.store.transact(lambda rows: history.write(rows, hub, [change]))
    last = told(story.world, golden.uid)[-1]
    assert last is not None
    assert (last["op"], last["after"], last["merged_into"]) == ("d", None, None)
    days_pass(story, 31)
    assert told(story.world, golden.uid)[-1] is None


def test_many_ends_are_buried_bit_by_bit() -> None:
    """No transaction is long, none is passed over, and what is not due waits."""
    world = tell(APART).world
    ids = [world.env.uid() for _ in range(history.BURIED_AT_ONCE + 5)]

    def work(rows: Rows) -> None:
        ended = [{"uid": u, "entity": "company", "at": n} for n, u in enumerate(ids)]
        rows.insert_many("ended", ended)

    world.store.transact(work)
    counts = [world.store.transact(lambda r: history.bury(r, len(ids) - 1, 7)) for _ in range(3)]
    assert counts == [history.BURIED_AT_ONCE, 4, 0]
    outbox = world.store.view(lambda r: r.select("outbox"))
    assert [row["key"].decode() for row in outbox if row["value"] is None] == ids[:-1]
    assert {row["topic"] for row in outbox} == {"golden.company"}


def test_no_tombstone_follows_who_came_back_meanwhile(postgres: str) -> None:
    """Two processes at once: the last word about an id is that of who it came back as."""
    world = tell(APART).world
    ids = [world.env.uid() for _ in range(RACES)]
    ended = [{"uid": u, "entity": "person", "at": n} for n, u in enumerate(ids)]
    store = PostgresStore(postgres)
    store.transact(lambda rows: rows.insert_many("ended", ended))
    met = Barrier(2)

    def come_back(n: int) -> None:
        gone = Golden(ids[n], "person", (), {}, 2, merged_into=ids[n - 1])
        back = ChangeSet(ids[n], 3, Golden(ids[n], "person", (), {}, 3), gone, (), ())
        met.wait(10)
        store.transact(lambda rows: told_at_once(rows, back))

    def told_at_once(rows: Rows, back: ChangeSet) -> None:
        history.watch_ends(rows, [back], 7)
        rows.insert("outbox", outgoing("golden.person", back.uid.encode(), b"back", {}, 7))

    def be_buried(n: int) -> None:
        met.wait(10)
        store.transact(lambda rows: history.bury(rows, n + 1, 7))

    with ThreadPoolExecutor(2) as pool:
        for n in range(RACES):
            for done in [pool.submit(come_back, n), pool.submit(be_buried, n)]:
                done.result()
    last = {row["key"].decode(): row["value"] for row in store.view(outbox)}
    left = store.view(lambda rows: rows.count("ended"))
    store.close()
    assert last == dict.fromkeys(ids, b"back")
    assert left == 0


def outbox(rows: Rows) -> list[Row]:
    """What waits to be published, in its order."""
    return rows.select("outbox", order=("id",))


def test_who_ended_before_this_version_is_buried_too(tmp_path: Any) -> None:
    """The migration finds the golden records that an older hub has merged."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'hub.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrate.HERE))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for n, into in ((1, None), (2, b"1" * 16)):
            row = Golden(str(n), "person", (), {})
            connection.execute(
                sa.text("INSERT INTO golden VALUES (:uid, 'person', 1, 1, :into, 5, :doc)"),
                {"uid": bytes([n]) * 16, "into": into, "doc": pack.pack(row)},
            )
        command.upgrade(config, "0006")
        found = connection.execute(sa.text("SELECT uid, entity, at FROM ended")).all()
    engine.dispose()
    assert found == [(bytes([2]) * 16, "person", 5)]
