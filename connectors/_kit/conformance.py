"""The suite that every connector passes: what the contract promises, tried on its own sandbox.

A check is a plain function that is given `make`, which makes a `World` (see `trial.py`): one object
of a connector and its sandbox. A connector gets all checks by having a sandbox; nothing is written
for it, for no check knows a vendor.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
from httpx import codes

from connectors._kit.contract import (
    Answer,
    Denied,
    Forged,
    Hint,
    Inbound,
    Malformed,
    Page,
    Stale,
    Unavailable,
    Unreadable,
)
from connectors._kit.sandbox import Fault
from connectors._kit.trial import (
    CALLS_MOST,
    DAY,
    HOUR,
    MINUTE,
    T0,
    Bend,
    Make,
    World,
    all_fields,
    create,
    example,
    newest,
    one_text,
    sound,
    update,
    writable,
)

ODD = "Zoë 王 🙂 يوسف"
LONG = 100_000
GONE = ("deleted", "archived")
BENDS = 120

Check = Callable[[Make], None]
CHECKS: list[Check] = []


def check(one: Check) -> Check:
    """Make it part of the suite."""
    CHECKS.append(one)
    return one


# -- the connector itself ----------------------------------------------------------------------


@check
def the_account_is_known(make: Make) -> None:
    """Its id is there, stays the same, and a sandbox is no live account."""
    world = make()
    account = world.connector.account(world.api)
    assert account.id
    assert not account.live
    assert world.connector.account(world.api) == account
    assert world.calls("write") == make().calls("write")


@check
def secrets_are_documented(make: Make) -> None:
    """The README names every secret, the sandbox has each, and it is said which are required."""
    world = make()
    readme = Path(__file__).parents[1] / world.connector.vendor / "README.md"
    for name, meaning in world.connector.secret_names.items():
        assert meaning.startswith(("required: ", "optional: ")), name
        assert f"`{name}`" in readme.read_text(), name
        assert name in world.host.sandbox.auth


@check
def preparing_twice_changes_nothing(make: Make) -> None:
    """The place for our id is made once, and then nothing is missing."""
    world = make()
    before = world.calls("write")
    assert world.connector.check(world.api) == ()
    assert not world.connector.prepare(world.api)
    assert world.calls("write") == before


@check
def wrong_credentials_stop(make: Make) -> None:
    """Reads say `Denied`, a write says `stop`, and neither is tried twice."""
    world = make()
    native = world.created(1)
    bare = world.over(lambda _n, _q, _a: httpx.Response(401, json={"message": "who are you?"}))
    for act in (bare.listing, bare.begin, lambda: bare.read(native)):
        assert raised(act, Denied)
    before = world.calls("write")
    (answer,) = bare.write(update(native, one_text(world.spec, 2)))
    assert answer.outcome == "stop"
    assert world.calls("write") == before + 1


def raised(act: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether it raises one of these."""
    try:
        act()
    except errors:
        return True
    return False


# -- reading -----------------------------------------------------------------------------------


@check
def a_listing_walks_every_living_record_once(make: Make) -> None:
    """Whatever their number: none, one, some, a full last page, one more than that."""
    for customers in (0, 1, 130, 640):
        world = make(customers)
        listed_once(world)
        size = len(world.listing()[0].readings)
        for native in list(newest(world.listing()))[: world.count() % size if size else 0]:
            world.act("delete", native)
        listed_once(world)
        world.person_creates(1)
        listed_once(world)


def listed_once(world: World) -> None:
    """Every living record is listed, and no record twice."""
    pages = world.listing()
    ids = [r.native_id for page in pages for r in page.readings]
    assert len(ids) == len(set(ids)) == world.count()
    assert not any(page.broken for page in pages)
    for reading in newest(pages).values():
        sound(world, reading)
        assert reading.state == "live"


@check
def a_listing_survives_what_happens_between_its_pages(make: Make) -> None:
    """A record at the seam that is deleted hides none of those that were there all the time."""
    world = make(640)
    before = set(newest(world.listing()))
    first = world.connector.listing(world.api, world.spec, "")
    assert not first.done
    seam = first.readings[-1].native_id
    world.act("delete", seam)
    world.person_creates(1)
    rest = list(world.pages(world.connector.listing, first.cursor))
    assert before <= set(newest([first, *rest]))


@check
def a_listing_and_a_read_agree(make: Make) -> None:
    """Both ways of reading give the same."""
    world = make(20)
    for native, listed in list(newest(world.listing()).items())[:5]:
        read = world.read(native)[native]
        assert (read.app, read.external_id, read.created_ms) == (
            listed.app,
            listed.external_id,
            listed.created_ms,
        )
        assert read.links == listed.links


@check
def what_is_gone_is_read_as_gone(make: Make) -> None:
    """Unknown and deleted ids come back as such beside the living, each id once."""
    world = make(20)
    live, dead = list(newest(world.listing()))[:2]
    world.act("delete", dead)
    unknown = live + "9999"
    found = world.connector.read(world.api, world.spec, [live, unknown, dead])
    states = {r.native_id: r.state for r in found}
    assert len(found) == len(states)
    assert set(states) == {live, unknown, dead}
    assert (states[live], states[unknown]) == ("live", "deleted")
    assert states[dead] in GONE
    assert world.connector.read(world.api, world.spec, []) == ()


@check
def a_merged_id_leads_to_its_record(make: Make) -> None:
    """Where the tool merges, both old ids are known by the one that is left."""
    world = make()
    one, two = world.created(1), world.created(2)
    try:
        merged = world.act("merge", one, other=two)
    except LookupError:
        return  # the tool merges nothing
    found = world.connector.read(world.api, world.spec, [one, two])
    if world.spec.follows_merges:
        assert [(r.native_id, r.state) for r in found] == [(merged, "live")]
        assert {one, two} <= {merged, *found[0].aliases}
    else:
        states = {r.native_id: r.state for r in found}
        assert states == {i: "live" if i == merged else "deleted" for i in (one, two)}


# -- following changes -------------------------------------------------------------------------


@check
def changes_miss_nothing(make: Make) -> None:
    """Creates, edits and deletions after `begin` come, also where the clocks differ."""
    for ahead in (0, 10 * MINUTE, -HOUR):
        world = make(20)
        world.host.clock.ahead_ms = ahead
        edited, deleted = list(newest(world.listing()))[:2]
        cursor = world.begin()
        made = world.person_creates(1)
        world.person_edits(edited, 2)
        world.act("delete", deleted)
        world.wait_for_news()
        found = newest(world.changes(cursor))
        assert [found[i].state for i in (made, edited)] == ["live", "live"], ahead
        assert found[deleted].state in GONE if world.spec.tells_deletions else deleted not in found
        shown = one_text(world.spec, 2)
        assert shown.items() <= found[edited].app.items()


@check
def changes_come_to_an_end_and_may_be_repeated(make: Make) -> None:
    """A quiet tool gives nothing; the same cursor gives the same again."""
    world = make(20)
    cursor = world.begin()
    made = {world.person_creates(n) for n in range(3)}
    world.wait_for_news()
    pages = world.changes(cursor)
    assert made <= set(newest(pages))
    assert made <= set(newest(world.changes(cursor)))
    for _ in range(3):
        world.wait(HOUR)
        pages = world.changes(pages[-1].cursor)
    assert not newest(pages)
    assert not any(page.expired for page in pages)


@check
def nobody_is_named_for_what_another_did(make: Make) -> None:
    """A person's change is no app's, and ours is no person's, in changes as in a read."""
    world = make()
    cursor = world.begin()
    theirs, ours = world.person_creates(1), world.created(2)
    world.wait(MINUTE)
    shown = newest(world.changes(cursor)), world.read(theirs, ours)
    assert all(found[theirs].actor.kind in ("person", "unknown") for found in shown)
    assert all(found[ours].actor.kind in ("hub", "app", "unknown") for found in shown)
    world.write(update(theirs, one_text(world.spec, 3)))
    world.person_edits(ours, 4)
    world.wait(MINUTE)
    shown = newest(world.changes(cursor)), world.read(theirs, ours)
    assert all(found[theirs].actor.kind in ("hub", "app", "unknown") for found in shown)
    assert all(found[ours].actor.kind in ("person", "unknown") for found in shown)


@check
def a_quiet_year_expires_nothing(make: Make) -> None:
    """Who asks regularly never needs a full pass, although nothing happens."""
    world = make(5)
    cursor = world.begin()
    for _ in range(60):
        world.wait(7 * DAY)
        pages = world.changes(cursor)
        cursor = pages[-1].cursor
        assert not any(page.expired for page in pages)


@check
def very_many_changes_of_one_moment_all_come(make: Make) -> None:
    """A bulk job that stamps hundreds of records alike neither hides any nor loops."""
    world = make()
    cursor = world.begin()
    made = {world.person_creates(n) for n in range(330)}
    world.wait_for_news()
    assert made <= set(newest(world.changes(cursor)))


@check
def an_edit_during_a_slow_walk_is_not_lost(make: Make) -> None:
    """A record that moves after its page was read comes again, however long the walk takes."""
    world = make()
    cursor = world.begin()
    for n in range(330):
        world.person_creates(n)
    world.wait_for_news()
    page = world.connector.changes(world.api, world.spec, cursor)
    early = [r.native_id for r in page.readings][:3]
    for native in early:
        world.person_edits(native, 1_000)
    world.wait(HOUR)
    pages = list(world.pages(world.connector.changes, page.cursor))
    world.wait(HOUR)
    found = newest([*pages, *world.changes(pages[-1].cursor)])
    shown = one_text(world.spec, 1_000).items()
    assert all(shown <= found[native].app.items() for native in early)


@check
def a_page_of_changes_is_bounded(make: Make) -> None:
    """Much news comes in pages, so that what was read is kept when the tool fails half-way."""
    world = make()
    cursor = world.begin()
    for n in range(330):
        world.person_creates(n)
    world.wait_for_news()
    page = world.connector.changes(world.api, world.spec, cursor)
    assert not page.done
    assert len(page.readings) <= 200  # noqa: PLR2004  two pages' worth of a vendor


@check
def who_only_follows_ends_up_with_the_truth(make: Make) -> None:
    """Whatever people do between the pages, a follower has what a listing shows in the end."""
    for seed in (1, 2):
        dice, world = random.Random(seed), make()
        cursor, view, alive = world.begin(), dict[str, Mapping[str, object]](), list[str]()
        for n in range(150):
            happen(world, dice, alive, n)
            world.wait(dice.choice([0, 0, 1, 500, 20_000]))
            if dice.random() < 1 / 4:
                page = world.connector.changes(world.api, world.spec, cursor)
                cursor = page.cursor
                remember(view, page)
        for _ in range(2):
            world.wait(10 * MINUTE)
            for page in world.changes(cursor):
                remember(view, page)
                cursor = page.cursor
        if not world.spec.tells_deletions:
            forget_what_is_gone(world, view)
        assert view == {i: r.app for i, r in newest(world.listing()).items()}


def happen(world: World, dice: random.Random, alive: list[str], n: int) -> None:
    """A person does something at random; now and then a bulk job does."""
    what = dice.choice(["create", "update", "update", "delete", "bulk", "merge"])
    if what == "create" or len(alive) < 3:  # noqa: PLR2004  a merge takes two
        alive.append(world.person_creates(n))
    elif what == "update":
        world.person_edits(dice.choice(alive), n)
    elif what == "bulk":
        for native in alive:
            world.person_edits(native, n)
    elif what == "delete":
        world.act("delete", alive.pop(dice.randrange(len(alive))))
    else:
        merge(world, dice, alive)


def merge(world: World, dice: random.Random, alive: list[str]) -> None:
    """A person merges two records, where the tool can."""
    one, two = dice.sample(alive, 2)
    try:
        merged = world.act("merge", one, other=two)
    except LookupError:
        return
    alive[:] = [merged, *(i for i in alive if i not in (one, two))]


def remember(view: dict[str, Mapping[str, object]], page: Page) -> None:
    """What a follower knows after a page."""
    for reading in page.readings:
        for old in (reading.native_id, *reading.aliases):
            view.pop(old, None)
        if reading.state == "live":
            view[reading.native_id] = reading.app


def forget_what_is_gone(world: World, view: dict[str, Mapping[str, object]]) -> None:
    """What a follower does where no change tells of a deletion: ask for what a listing misses."""
    for native in view.keys() - newest(world.listing()).keys():
        assert all(r.native_id != native or r.state in GONE for r in world.read(native).values())
        del view[native]


@check
def an_old_cursor_says_so(make: Make) -> None:
    """Beyond the tool's horizon a full pass is asked for, unless everything still comes."""
    world = make(20)
    moved = next(iter(newest(world.listing())))
    cursor = world.begin()
    if world.spec.tells_deletions:
        world.act("delete", moved)
    else:
        world.person_edits(moved, 1)
    world.wait(400 * DAY)
    pages = world.changes(cursor)
    assert any(page.expired for page in pages) or moved in newest(pages)
    world.wait(HOUR)
    assert not any(page.expired for page in world.changes(pages[-1].cursor))


@check
def a_damaged_cursor_is_noticed(make: Make) -> None:
    """It is refused or expired, or still a cursor; nothing else is raised."""
    world = make(20)
    good = world.begin()
    halves = [good[:n] for n in range(len(good))]
    bent = [good.replace(a, b) for a, b in ((":", ";"), ("1", "x"), ("0", "-0"), ("[", "{"))]
    others = ["", "garbage", "{}", "[]", "null", "7", '{"t": null}', '{"since": []}', "\x00", "é"]
    for cursor in (*halves, *bent, *others):
        try:
            page = world.connector.changes(world.api, world.spec, cursor)
        except Unreadable:
            continue
        assert page.expired or cursor in bent, cursor


# -- writing -----------------------------------------------------------------------------------


@check
def what_is_created_is_read_back(make: Make) -> None:
    """All fields and our id, in letters of all the world; the answer says what a read says."""
    world = make()
    for n, text in enumerate(("", ODD)):
        write = create(world.spec, n, text)
        (answer,) = world.write(write)
        assert answer.outcome == "done", answer.why
        assert {**all_fields(world.spec, n, text)}.items() <= world.values(answer.native_id).items()
        reading = world.read(answer.native_id)[answer.native_id]
        sound(world, reading)
        assert reading.external_id == (write.external_id if world.spec.external_ids else "")
        assert answer.reading is None or answer.reading.app == reading.app


@check
def an_answer_shows_nothing_that_came_after_it(make: Make) -> None:
    """Who types while the connector still asks for an id is not taken for the tool's answer."""
    world = make()
    typed = one_text(world.spec, 2)
    busy = world.over(edited_at_once(world, 2))
    some = range(10, 10 + min(2, world.spec.write_batch))
    made = busy.write(*(create(world.spec, n) for n in some))
    every, one = world.spec.fields.give(all_fields(world.spec, 9)), one_text(world.spec, 9)
    changed = busy.write(*(update(a.native_id, one if n else every) for n, a in enumerate(made)))
    for answer in (*made, *changed):
        assert answer.outcome == "done", answer.why
        assert answer.reading is None or not typed.items() <= answer.reading.app.items()


def edited_at_once(world: World, n: int) -> Bend:
    """A line on which a person edits every record right after each of our calls."""

    def bend(_n: int, _request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        for native in world.host.sandbox.holds(world.spec.object):
            world.person_edits(native, n)
        return answer

    return bend


@check
def a_create_is_found_at_once(make: Make) -> None:
    """By our id, also after a person has edited it; nobody else's record is taken for it."""
    world = make(20)
    native = world.created(1)
    write = create(world.spec, 1)
    assert [r.native_id for r in world.connector.find(world.api, world.spec, write)] == [native]
    if world.spec.external_ids:
        for one in writable(world.spec):
            if one.kind == "email":
                world.act("update", native, **one.give("moved@x.example"))
        found = world.connector.find(world.api, world.spec, write)
        assert [r.native_id for r in found] == [native]
    assert world.connector.find(world.api, world.spec, create(world.spec, 2)) == ()


@check
def an_update_changes_only_what_it_names(make: Make) -> None:
    """Each field by itself, first to another value, then to nothing where the tool allows it."""
    world = make()
    native = world.created(1)
    held = dict(world.values(native))
    for one in writable(world.spec):
        for value in (one.normal(example(one.kind, 2)), None):
            (answer,) = world.write(update(native, one.give(value), f"{one.name}{value}"))
            if value is None and one.name in world.spec.required:
                assert (answer.outcome, set(answer.fields)) == ("rejected", set(one.app))
            else:
                assert answer.outcome == "done", (one.name, answer.why)
                held[one.name] = [] if one.kind == "set" and value is None else value
            assert world.values(native) == held


@check
def a_create_without_what_is_required_is_rejected(make: Make) -> None:
    """Each field that no record is without, by itself: the answer names it, nothing is made."""
    world = make()
    for name in world.spec.required:
        one, whole = world.spec.fields.by_name[name], create(world.spec, 1)
        for left_out in ({}, one.give(None)):
            rest = {k: v for k, v in whole.changes.items() if k not in one.app}
            (answer,) = world.write(replace(whole, changes={**rest, **left_out}))
            assert (answer.outcome, set(answer.fields)) == ("rejected", set(one.app))
            assert answer.why
            assert world.count() == 0


@check
def a_very_long_value_is_taken_or_refused(make: Make) -> None:
    """Refused by name or kept in its normal form: never an error, never half a record."""
    world = make()
    native = world.created(1)
    for one in writable(world.spec):
        if one.kind not in ("text", "name", "address", "email", "phone"):
            continue
        before = world.values(native)[one.name]
        value = example(one.kind, 3, "x" * LONG)
        if isinstance(value, str):
            value = "x" * LONG + value
        (answer,) = world.write(update(native, one.give(value), f"long{one.name}"))
        assert answer.outcome in ("done", "rejected"), (one.name, answer)
        wanted = one.normal(value) if answer.outcome == "done" else before
        assert world.values(native)[one.name] == wanted, one.name
        assert answer.outcome == "done" or set(answer.fields) <= set(one.app)


@check
def every_row_finds_its_own_answer(make: Make) -> None:
    """One bad row, wherever it stands, is rejected alone; the others are done, each as itself."""
    size = min(7, make().spec.write_batch)
    for bad in {0, size // 2, size - 1}:
        world = make()
        writes = [create(world.spec, n) for n in range(size)]
        writes[bad] = replace(writes[bad], changes={**writes[bad].changes, "no_such_field": "1"})
        answers = world.write(*writes)
        outcomes = ["rejected" if n == bad else "done" for n in range(size)]
        assert [a.outcome for a in answers] == outcomes
        assert answers[bad].why
        rows = {n: a.native_id for n, a in enumerate(answers) if n != bad}
        assert world.count() == len(set(rows.values())) == size - 1
        for n, native in rows.items():
            assert all_fields(world.spec, n).items() <= world.values(native).items()
        again = [update(native, one_text(world.spec, 50 + n)) for n, native in rows.items()]
        again.insert(bad, update("9999999", one_text(world.spec, 1)))
        outcomes[bad] = "stale"
        assert [a.outcome for a in world.write(*again)] == outcomes


@check
def a_write_to_a_deleted_record_is_stale(make: Make) -> None:
    """It is to be read again; it is not created anew."""
    world = make()
    native = world.created(1)
    world.act("delete", native)
    (answer,) = world.write(update(native, one_text(world.spec, 2)))
    assert answer.outcome == "stale"
    assert world.count() == 0


# -- failures on the way -----------------------------------------------------------------------

FAULTS = {
    "throttle": ("retry", False),
    "error_before": ("unknown", False),
    "error_after": ("unknown", True),
    "cut_after": ("unknown", True),
    "hang_after": ("unknown", True),
}


@check
def a_lost_create_is_settled_by_a_look(make: Make) -> None:
    """`retry` only where nothing was applied, else `unknown`; `find` tells; one call each."""
    for kind, (outcome, applied) in FAULTS.items():
        world = make(5)
        before, calls = world.count(), world.calls("write")
        world.host.faults.append(Fault(kind, 1, 7))
        (answer,) = world.write(create(world.spec, 1))
        assert answer.outcome == outcome, kind
        assert world.calls("write") == calls + 1, kind
        assert world.count() == before + applied, kind
        found = world.connector.find(world.api, world.spec, create(world.spec, 1))
        assert len(found) == applied, kind
        assert kind != "throttle" or answer.after_ms >= 7_000  # noqa: PLR2004  as asked


@check
def a_lost_update_is_settled_by_a_look(make: Make) -> None:
    """The same for an update, in whose place a read tells."""
    for kind, (outcome, applied) in FAULTS.items():
        world = make()
        native = world.created(1)
        calls, wanted = world.calls("write"), one_text(world.spec, 2)
        world.host.faults.append(Fault(kind, 1, 7))
        (answer,) = world.write(update(native, wanted))
        assert answer.outcome == outcome, kind
        assert world.calls("write") == calls + 1, kind
        held = world.read(native)[native].app
        assert (wanted.items() <= held.items()) == applied, kind


@check
def what_breaks_after_a_write_does_not_undo_it(make: Make) -> None:
    """However the reads fail that follow it, nobody is told that it was certainly not applied."""
    for status in (codes.TOO_MANY_REQUESTS, codes.FORBIDDEN, codes.NOT_FOUND, codes.BAD_GATEWAY):
        world = make()
        rows = range(min(3, world.spec.write_batch))
        writes = [create(world.spec, n) for n in rows]
        answers = world.over(closed_behind(world, status)).write(*writes)
        for write, answer in zip(writes, answers, strict=True):
            made = bool(world.connector.find(world.api, world.spec, write))
            assert may_be(answer, applied=made), (status, answer)
        ids = [world.created(n + 10) for n in rows]
        changes = [world.spec.fields.give(all_fields(world.spec, n + 20)) for n in rows]
        before = [world.values(native) for native in ids]
        answers = world.over(closed_behind(world, status)).write(*map(update, ids, changes))
        for native, held, answer in zip(ids, before, answers, strict=True):
            assert may_be(answer, applied=world.values(native) != held), (status, answer)


def may_be(answer: Answer, *, applied: bool) -> bool:
    """Whether an answer leaves room for what became of its write."""
    return answer.outcome == "unknown" or (answer.outcome == "done") == applied


def closed_behind(world: World, status: int) -> Bend:
    """A line on which nothing can be read any more once something was written."""
    written: list[bool] = []

    def bend(_n: int, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if world.host.sandbox.kind(request) == "write":
            written.append(True)
            return answer
        return httpx.Response(status, json={}) if written else answer

    return bend


@check
def nothing_is_sent_behind_a_closed_door(make: Make) -> None:
    """A tool that wants to be left alone is: the rows behind the first one are for another time."""
    world = make()
    ids = [world.created(n) for n in range(min(5, world.spec.write_batch))]
    before, calls, start = [world.values(i) for i in ids], world.calls("write"), world.clock()
    world.host.faults.append(Fault("throttle", 1, 600))
    answers = world.write(*(update(i, one_text(world.spec, 50)) for i in ids))
    assert {a.outcome for a in answers} == {"retry"}
    assert world.calls("write") == calls + 1
    assert world.clock() - start < MINUTE
    world.wait(10 * MINUTE)
    assert [world.values(i) for i in ids] == before


@check
def a_read_is_repeated_but_not_too_soon(make: Make) -> None:
    """Short failures are got over; nobody calls before the tool allows it."""
    for kind, seconds in (("throttle", 7), ("error_before", 0)):
        world = make(20)
        count, start = world.count(), world.clock()
        world.host.faults.append(Fault(kind, 2, seconds))
        assert len(newest(world.listing())) == count
        assert world.clock() - start >= 2 * seconds * 1000
        native = next(iter(newest(world.listing())))
        world.host.faults.append(Fault(kind, 1, seconds))
        assert world.read(native)[native].state == "live"


@check
def a_tool_that_stays_down_is_unavailable(make: Make) -> None:
    """A read gives up after a few calls and says so."""
    world = make(20)
    native = next(iter(newest(world.listing())))
    cursor = world.begin()
    before = world.calls("read") + world.calls("search")
    world.host.faults.append(Fault("error_before", CALLS_MOST))
    for act in (
        world.listing,
        lambda: world.changes(cursor),
        lambda: world.read(native),
        lambda: world.connector.find(world.api, world.spec, create(world.spec, 1)),
    ):
        assert raised(act, Unavailable)
    assert world.calls("read") + world.calls("search") - before <= 40  # noqa: PLR2004


# -- answers that the tool should never give ---------------------------------------------------

STRANGE: tuple[object, ...] = (
    None,
    7,
    -1,
    "",
    "x",
    True,
    1.5,
    [],
    {},
    [None],
    {"id": None},
    "9" * 400,
)


def paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside of a value."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(inner, (*path, key))


def bent(body: bytes, dice: random.Random) -> bytes:
    """The answer with one value in it replaced or missing; or no JSON at all."""
    found = orjson.loads(body or b"null")
    path = dice.choice(list(paths(found)))
    if not path:
        return dice.choice([b"", b"<html>", b"{", body[: len(body) // 2], b"[]", b"null", b"7"])
    at = found
    for key in path[:-1]:
        at = at[key]
    if isinstance(at, dict) and dice.random() < 1 / 4:
        del at[path[-1]]
    else:
        at[path[-1]] = dice.choice(STRANGE)
    return orjson.dumps(found)


def bending(dice: random.Random, which: int) -> Bend:
    """A line whose answer number `which` is bent."""

    def bend(n: int, _request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if n != which:
            return answer
        headers = {k: v for k, v in answer.headers.items() if k.lower() != "content-length"}
        return httpx.Response(
            answer.status_code, headers=headers, content=bent(answer.content, dice)
        )

    return bend


@check
def strange_answers_to_reads_are_not_believed(make: Make) -> None:
    """One wrong type, missing value or empty list anywhere: set aside or `Unreadable`."""
    world = make(15)
    dice, cursor = random.Random(world.spec.object), world.begin()
    ids = list(newest(world.listing()))[:3]
    for native in ids:
        world.person_edits(native, 1)
    world.wait_for_news()
    acts: tuple[Callable[[World], object], ...] = (
        lambda w: w.connector.listing(w.api, w.spec, "").readings,
        lambda w: [r for page in w.changes(cursor) for r in page.readings],
        lambda w: w.connector.read(w.api, w.spec, ids),
        lambda w: w.connector.find(w.api, w.spec, create(w.spec, 1)),
        lambda w: [w.connector.account(w.api)][1:],
        lambda w: [w.begin()][1:],
    )
    for act in acts:
        for n in range(BENDS):
            world.wait(MINUTE)  # so that no limit of the tool is in the way
            believed(world.over(bending(dice, n % 3)), act)


def believed(world: World, act: Callable[[World], Any]) -> None:
    """Whatever comes out is sound, or it is refused as unreadable."""
    try:
        found = act(world)
    except Unreadable:
        return
    for reading in found:
        sound(world, reading)


@check
def strange_answers_to_writes_leave_doubt(make: Make) -> None:
    """A write that was applied is `done` or `unknown`, whatever its answer looks like."""
    world = make()
    dice = random.Random(world.spec.object)
    size = min(2, world.spec.write_batch)
    for n in range(BENDS):
        some = [create(world.spec, n * size + i) for i in range(size)]
        world.wait(MINUTE)
        answers = world.over(bending(dice, 0)).write(*some)
        assert all(a.outcome in ("done", "unknown") for a in answers), answers
        for answer in answers:
            if answer.reading:
                sound(world, answer.reading)


@check
def pages_that_repeat_are_noticed(make: Make) -> None:
    """A tool that sends the same page for ever is not asked for ever."""
    world = make(640)
    cursor = world.begin()
    for n in range(330):
        world.person_creates(n)
    world.wait_for_news()
    for ask, start in ((world.connector.listing, ""), (world.connector.changes, cursor)):
        stuck = world.over(repeating(1))
        assert raised(lambda: list(stuck.pages(ask, start)), Unreadable)  # noqa: B023
        ask(world.over(repeating(2)).api, world.spec, start)  # ends, whatever it makes of it


def repeating(period: int) -> Bend:
    """A line on which every address answers its first pages again and again."""
    first: dict[str, list[httpx.Response]] = {}

    def bend(_n: int, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        asked = first.setdefault(f"{request.method} {request.url.path}", [])
        if len(asked) < period:
            asked.append(answer)
            return answer
        again = asked.pop(0)
        asked.append(again)
        return httpx.Response(again.status_code, headers=again.headers, content=again.content)

    return bend


# -- webhooks ----------------------------------------------------------------------------------

HOOK = "https://hub.example/webhooks/tool?x=1"


def told(world: World) -> list[Inbound]:
    """The webhooks that are due now, as they arrive."""
    return [arrived(world, out) for out in world.host.sandbox.due(world.host.clock())]


def arrived(world: World, out: Any) -> Inbound:
    """A webhook as the hub receives it."""
    headers = {k.lower(): v for k, v in out.headers.items()}
    return Inbound(out.method, out.url, headers, out.body, world.clock())


def heard(world: World, inbound: Inbound) -> list[Hint]:
    """What the connector makes of it."""
    return list(world.connector.hints(inbound, world.host.sandbox.auth))


def listening(make: Make) -> World:
    """A world whose events are sent to us."""
    world = make(5)
    world.host.sandbox.register_webhook(HOOK, "", list(world.spec.webhook_events))
    return world


@check
def webhooks_tell_of_every_act(make: Make) -> None:
    """What people do is sent, signed, accepted, and names the record."""
    world = listening(make)
    native = world.person_creates(1)
    for act in (lambda: world.person_edits(native, 2), lambda: world.act("delete", native)):
        act()
        hints = [h for inbound in told(world) for h in heard(world, inbound)]
        assert native in shown_by(world, hints)
        assert all(h.source_ms is None or abs(h.source_ms - T0) < HOUR for h in hints)
        assert len({h.key for h in hints}) == len(hints)


def shown_by(world: World, hints: list[Hint]) -> set[str]:
    """The records that whoever reads what the hints name is shown; none goes unanswered."""
    asked = list(dict.fromkeys(h.native_id for h in hints if h.object == world.spec.object))
    found = world.connector.read(world.api, world.spec, asked)
    assert set(asked) <= {i for r in found for i in (r.native_id, *r.aliases, r.asked)}
    return {r.native_id for r in found}


@check
def a_webhook_that_is_sent_again_has_the_same_keys(make: Make) -> None:
    """However often nobody answers."""
    world = listening(make)
    world.person_creates(1)
    keys = []
    for _ in range(3):
        out = world.host.sandbox.due(world.host.clock())
        assert out
        keys.append({h.key for one in out for h in heard(world, arrived(world, one))})
        for one in out:
            world.host.sandbox.settle(one.id, 0)
        world.wait(DAY)
    assert keys[0] == keys[1] == keys[2]


@check
def a_webhook_that_nobody_signed_is_forged(make: Make) -> None:
    """No signature, another body, another secret, no secret of ours: all are refused."""
    world = listening(make)
    world.person_creates(1)
    (good, *_) = told(world)
    plain = {k: v for k, v in good.headers.items() if k == "content-type"}
    secrets = world.host.sandbox.auth
    others = {k: f"another {v}" for k, v in secrets.items()}
    garbled = dict.fromkeys(good.headers, "é=,")
    for inbound, known in (
        (replace(good, headers=plain), secrets),
        (replace(good, body=good.body + b" "), secrets),
        (replace(good, body=b""), secrets),
        (replace(good, headers=garbled), secrets),
        (good, others),
        (good, dict.fromkeys(secrets, "")),
        (good, {}),
    ):
        assert raised(lambda: world.connector.hints(inbound, known), Forged)  # noqa: B023


@check
def an_old_webhook_is_stale_but_says_what_to_read(make: Make) -> None:
    """Rightly signed long ago, or long from now, it is refused with its hints kept."""
    world = listening(make)
    world.person_creates(1)
    (good, *_) = told(world)
    hints = heard(world, good)
    for late in (HOUR, -HOUR):
        assert stale_hints(world, replace(good, received_ms=good.received_ms + late)) == hints


def stale_hints(world: World, inbound: Inbound) -> list[Hint]:
    """The hints with which a webhook is refused as too old."""
    try:
        heard(world, inbound)
    except Stale as stale:
        return list(stale.hints)
    raise AssertionError("it was accepted")


@check
def a_signed_webhook_of_another_form_is_malformed(make: Make) -> None:
    """Cut off, no JSON, or of other types: parked, not taken for a forgery.

    A form does not show that it was cut off.
    """
    world = listening(make)
    world.person_creates(1)
    (good, *_) = told(world)
    cut = [good.body[:-2]] if good.body[:1] in (b"{", b"[") else []
    for body in (b"", b"{", b"7", b'"x"', b"null", b"[7]", b"\xff\xfe", *cut):
        assert raised(lambda: heard(world, signed(world, body)), Malformed), body  # noqa: B023


def signed(world: World, body: bytes) -> Inbound:
    """A webhook with this body, signed as the vendor signs."""
    headers = world.host.sandbox.signed(HOOK, body)
    return Inbound("POST", HOOK, {k.lower(): v for k, v in headers.items()}, body, world.clock())


@check
def an_event_of_an_unknown_type_is_other(make: Make) -> None:
    """What the vendor will add one day is told apart and harms nothing."""
    world = listening(make)
    world.person_creates(1)
    (good, *_) = told(world)
    body = good.body
    for event in world.spec.webhook_events:
        body = body.replace(event.encode(), f"{event.partition('.')[0]}.newKind".encode())
    assert body != good.body
    hints = heard(world, signed(world, body))
    assert hints
    assert {h.kind for h in hints} == {"other"}
