"""What is looked at page by page: every answer has an end, however much the hub holds.

The console shows these answers as pages and gives them as JSON. `after` is where to go on: the
`next` of the page before, "" at the beginning, None where nothing follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args

from hub import alerts, capture, commands, inputs, runs, slots, sweep
from hub import explain as explaining
from hub.commands import Answer, Wrong
from hub.env import Hub, System
from hub.io import history as chronicle
from hub.io import state
from hub.io.rows import Row, Rows, above, among, below
from hub.links import Link, differences
from hub.pure.compare import Difference, Word
from hub.pure.identity import folded
from hub.pure.model import Actor, Decision, Golden, Intent, Record, Uid, element, field_of, key_of
from hub.status import status, still_reading, stopped, trouble

PAGE = 50
PAIRS = 20  # possible duplicates on a page
SCAN = 2_000  # customers that one search by name looks through
COMPARED = 400  # links that one page of drift compares
GLANCE = 50  # links of a system that the overview compares
EVENTS = 300  # readings among which the overview looks for each system's last
MOST_WRITES = 200  # of one customer, between two pages of its timeline
MOST_DECISIONS = 500  # of one customer, among which the console looks for who judged
SIDES = 12  # records shown side by side
EQUAL = ("agree", "not applicable")
UNEQUAL: tuple[str, ...] = tuple(word for word in get_args(Word) if word not in EQUAL)


class Missing(Wrong):
    """There is nothing of this name; the text says where to look."""


def uid_or_missing(text: str, what: str) -> Uid:
    """The text, if it can be an id; raises `Missing`."""
    if not explaining.UID.fullmatch(text):
        raise Missing(f"there is no {what} {text[:60]!r}")
    return text


def place(after: str) -> str:
    """A place to go on from, among ids; raises `Wrong`."""
    if after and not explaining.UID.fullmatch(after):
        raise Wrong("that is no place to go on from: begin at the first page")
    return after


def page_of(found: list[Row], key: str, most: int = PAGE) -> tuple[list[Row], Any]:
    """The rows of one page, and where the next one begins; one row more than a page was read."""
    return found[:most], found[most - 1][key] if len(found) > most else None


# -- the hub as a whole ------------------------------------------------------------------------


def overview(hub: Hub) -> Answer:
    """The status, and of each system its last event, writes, drift and what is being read."""
    found = status(hub)

    def look(rows: Rows) -> Answer:
        events = last_events(rows)
        return {
            "systems": {
                name: {
                    "state": state_word(one),
                    **one,
                    **glance(rows, hub.systems[name]),
                    "last_event": events.get(name),
                    "drift": drifting(rows, hub, name),
                }
                for name, one in found["systems"].items()
            },
            "under_way": [
                {"run": run, **runs.progress(rows, run)} for run in runs.under_way(rows, PAGE)
            ],
        }

    return {**found, **hub.env.view(look)}


def state_word(one: Answer) -> str:
    """How a system is, the worst first."""
    words = (
        ("failing", one["failing_since"]),
        ("first reading", one["still_reading"]),
        ("catching up", one["open_hints"] or one["to_look_at"] or one["to_create"]),
        ("waits for a person", one["held"]),
    )
    return next((word for word, so in words if so), "in step")


def badges(hub: Hub) -> Answer:
    """What every page shows: how much waits for a person, and whether writes are stopped."""
    waiting = {"kind": "duplicate", "state": "open"}
    return hub.env.view(
        lambda rows: {
            "duplicates": rows.count("task", waiting),
            "parked": rows.count("parked", {"state": "open"}),
            "stopped": stopped(rows),
        }
    )


def last_events(rows: Rows) -> dict[str, Answer]:
    """System to the last reading that was resolved, as far as it is among the last ones."""
    where = {"status": "applied", "kind": "observation"}
    taken = rows.select("input", where, order=("-at",), limit=EVENTS)
    of = {r["uid"]: r for r in rows.select("record", {"uid": among({i["uid"] for i in taken})})}
    found: dict[str, Answer] = {}
    for one in taken:
        record = of.get(one["uid"])
        if record:
            told = {"at": one["at"], "cause": one["cause"], "record": record_name(record)}
            found.setdefault(record["system"], {**told, "golden": record["golden"]})
    return found


def record_name(row: Row) -> str:
    """Object and native id."""
    return f"{row['object']} {row['native_id'] or '(not created yet)'}"


def glance(rows: Rows, system: System) -> Answer:
    """What was written, and what is being read for the first time or again."""
    settled = rows.count("intent", {"system": system.name, "status": "settled"})
    refused = rows.get("counter", system=system.name, name="writes rejected")
    known = {
        spec.object: rows.count("record", {"system": system.name, "object": spec.object})
        for spec in system.specs.values()
    }
    return {
        "writes_done": max(0, settled - (refused["n"] if refused else 0)),
        "known": known,
        "sweeping": [p for s in system.specs for p in sweeping(rows, system, s)],
    }


def sweeping(rows: Rows, system: System, obj: str) -> Iterator[Answer]:
    """The pass over an object that has begun and is not through."""
    row = rows.get("cursor", system=system.name, stream="sweep", shard=obj)
    started, _, cursor = row["value"].partition("|") if row else ("", "", capture.DONE)
    if cursor != capture.DONE:
        found = sweep.progress(rows, system, system.specs[obj], int(started))
        yield {**found, "since": int(started)}


def drifting(rows: Rows, hub: Hub, name: str) -> Answer:
    """How many cells differ in the links that are known to need a look; `more`: at least."""
    dirty = {"system": name, "dirty": above(-1)}
    found = rows.select("slot", dirty, order=("uid",), limit=GLANCE + 1)
    looked = [one for slot in found[:GLANCE] if (one := link_of(rows, hub, slot["uid"]))]
    return {
        "links": sum(1 for one in looked if one["cells"]),
        "cells": sum(len(one["cells"]) for one in looked),
        "more": len(found) > GLANCE,
    }


# -- customers ---------------------------------------------------------------------------------


def customers(hub: Hub, q: str = "", after: str = "") -> Answer:
    """The latest customers, or those that `q` finds: by what they are known by, else by name.

    Names are sealed in no index: a search by name looks through `SCAN` customers at a time, and
    says how far it came.
    """
    asked, begin = printable(q), place(after)
    return hub.env.view(lambda rows: listed(rows, hub, asked, begin))


def printable(q: str) -> str:
    """A search without what nobody can type, and not longer than anybody would."""
    return " ".join("".join(c if c.isprintable() else " " for c in q).split())[:200]


def listed(rows: Rows, hub: Hub, q: str, after: str) -> Answer:
    """One page."""
    known = explaining.find(rows, hub, q)[:PAGE] if q and not after else []
    live = [g for g in known if not g.merged_into]
    found, looked, following = (live, 0, None) if live else scan(rows, q, after)
    return {
        "q": q,
        "customers": lines_of(rows, found),
        "looked_through": looked,
        "of": rows.count("golden", {"merged_into": None}),
        "next": following,
    }


def scan(rows: Rows, q: str, after: str) -> tuple[list[Golden], int, str | None]:
    """Golden records that say what is asked for, how many were looked through, where to go on."""
    words, found, looked = folded(q).split(), [], 0
    most = SCAN if q else PAGE
    while looked < most:
        begin = {"uid": below(after)} if after else {}
        read = rows.select("golden", {"merged_into": None, **begin}, order=("-uid",), limit=PAGE)
        of = state.load_goldens(rows, [r["uid"] for r in read])
        for row in read:
            golden, after = of[row["uid"]], row["uid"]
            looked += 1
            if golden and (not q or says(golden, words)):
                found.append(golden)
            if len(found) == PAGE:
                return found, looked, after if more_below(rows, after) else None
        if len(read) < PAGE:
            return found, looked, None
    return found, looked, after if more_below(rows, after) else None


def more_below(rows: Rows, uid: Uid) -> bool:
    """Whether an older customer follows."""
    return bool(rows.select("golden", {"merged_into": None, "uid": below(uid)}, limit=1))


def says(golden: Golden, words: list[str]) -> bool:
    """Whether each of these words is somewhere in what the customer is called."""
    text = folded(" ".join(called_by(golden)))
    return bool(words) and all(word in text for word in words)


def called_by(golden: Golden) -> Iterator[str]:
    """What somebody may remember of a customer."""
    for name in (*explaining.NAMED_BY, "company_name", "mobile"):
        value = golden.cell(name).value
        yield from map(str, value.values()) if isinstance(value, dict) else [str(value or "")]


def lines_of(rows: Rows, found: list[Golden]) -> list[Answer]:
    """A line for each customer."""
    uids = among(g.uid for g in found)
    systems: dict[Uid, dict[str, int]] = {g.uid: {} for g in found}
    for row in rows.select("record", {"golden": uids, "state": "live"}, order=("system",)):
        if row["native_id"]:
            held = systems[row["golden"]]
            held[row["system"]] = held.get(row["system"], 0) + 1
    at = {r["uid"]: r["at"] for r in rows.select("golden", {"uid": uids})}
    return [{**line(g), "systems": systems[g.uid], "changed": at[g.uid]} for g in found]


def line(golden: Golden) -> Answer:
    """What a customer is called and known by."""
    return {
        "golden": golden.uid,
        "entity": golden.entity,
        "name": explaining.called(golden),
        "known_by": golden.cell("email").value or golden.cell("domain").value,
        "phone": golden.cell("phone").value,
        "possible_duplicates": len(golden.asks),
    }


# -- one customer ------------------------------------------------------------------------------


def customer(hub: Hub, uid: str, before: str = "") -> Answer:
    """All of one customer. `before`: a version; the timeline shows what came before it.

    Raises `Missing`. Of one that was merged only `moved_to` is told.
    """
    uid_or_missing(uid, "customer")
    if before and not (before.isascii() and before.isdigit() and len(before) < 10):  # noqa: PLR2004
        raise Wrong("that is no place to go on from: begin at the newest change")

    def look(rows: Rows) -> Answer:
        golden = state.golden_of(rows, uid)
        if golden is None:
            raise Missing(f"there is no customer {uid!r}: search for another word")
        if uid not in (golden.uid, *golden.members) or golden.uid != uid:
            return {"golden": uid, "moved_to": golden.uid}
        return whole(rows, hub, golden, int(before) if before else None)

    return hub.env.view(look)


def whole(rows: Rows, hub: Hub, golden: Golden, before: int | None) -> Answer:
    """What is known, what each tool holds, and how it came to be."""
    told = explaining.told(rows, hub, golden)
    told["records"] = told["records"][:SIDES]
    line_, following = timeline(rows, hub, golden, before)
    table = side_by_side(rows, hub, told)
    cells = (*golden.cells, *table, *(c["cell"] for one in line_ for c in one["changes"]))
    asks = state.golden_ids(rows, golden.asks)
    others = state.load_goldens(rows, asks.values())
    return {
        **told,
        "moved_to": None,
        "version": golden.number,
        "rules": golden.rules,
        "side_by_side": table,
        "differing": sum(
            1 for row in table.values() for one in row if one and one["state"] not in EQUAL
        ),
        "may_be": [line(g) for g in others.values() if g],
        "verdicts": verdicts(rows, hub, golden),
        "held": holds(rows, golden),
        "timeline": line_,
        "next": following,
        "names": explaining.names(rows, cells),
    }


def side_by_side(rows: Rows, hub: Hub, told: Answer) -> dict[str, list[Answer | None]]:
    """Cell, names first, to what each record holds; None where it has no such place.

    An association is a cell of golden here, whatever record of its own a tool names.
    """
    columns = [told["tools"].get(f"{r['system']} {r['id']}", {}) for r in told["records"]]
    held = [{c: h for c, h in one.items() if isinstance(h, dict)} for one in columns]
    ends = {k for one in held for c in one if explaining.UID.fullmatch(k := key_of(c))}
    of = state.golden_ids(rows, ends)
    renamed = [{golden_cell(c, of): h for c, h in one.items()} for one in held]
    places = [*explaining.NAMED_BY, *hub.context.rules.entities.get(told["entity"], {})]
    rank = {name: n for n, name in reversed(list(enumerate(places)))}
    cells = {*told["fields"], *(c for one in renamed for c in one)}
    names = sorted(cells, key=lambda c: (rank.get(field_of(c), len(rank)), c))
    return {name: [one.get(name) for one in renamed] for name in names}


def golden_cell(cell: str, of: dict[Uid, Uid]) -> str:
    """The cell of golden that a record's cell is about."""
    key = key_of(cell)
    return element(field_of(cell), of[key]) if key in of else cell


def verdicts(rows: Rows, hub: Hub, golden: Golden) -> list[Answer]:
    """What people said of its records, once for each other customer, the latest first."""
    edges = [e for e in state.load_edges(rows, golden.members) if e.kind == "verdict"]
    own = set(golden.members)
    of = state.golden_ids(rows, {e.b if e.a in own else e.a for e in edges})
    called = state.load_goldens(rows, of.values())
    said_by = deciders(rows, hub, golden)
    found: dict[tuple[Uid, str], Answer] = {}
    for e in sorted(edges, key=lambda e: e.at):
        other = of[e.b if e.a in own else e.a]
        told = {"golden": other, "name": explaining.called(called[other])}
        by = said_by.get(e.by, "unknown")
        found[other, e.outcome] = {"verdict": e.outcome, "at": e.at, "by": by, **told}
    return sorted(found.values(), key=lambda v: -v["at"])[:PAGE]


def deciders(rows: Rows, hub: Hub, golden: Golden) -> dict[str, str]:
    """Decision to who made it, of its records; one that was erased is left out."""
    where = {"uid": among(golden.members), "kind": "decision"}
    found = {}
    for row in rows.select("input", where, ("-at",), MOST_DECISIONS):
        try:
            body = state.open_input(rows, hub.vault, row).body
        except ValueError:
            continue
        if isinstance(body, Decision):
            found[body.id] = body.actor.id or body.actor.kind
    return found


def holds(rows: Rows, golden: Golden) -> dict[Uid, Answer]:
    """Record to why it is not written, and since when somebody is to look at it."""
    found = rows.select("slot", {"uid": among(golden.members), "dirty": above(-1)})
    return {r["uid"]: {"since": r["dirty"], "holds": sorted(r["holds"])} for r in found}


def timeline(
    rows: Rows, hub: Hub, golden: Golden, before: int | None
) -> tuple[list[Answer], int | None]:
    """Changes and writes, the newest first, and the version to go on before."""
    found = chronicle.latest(rows, hub, golden.uid, before, PAGE + 1)
    shown, more = found[:PAGE], len(found) > PAGE
    since = shown[-1]["at"] if shown and more else 0
    lines = [*changed(rows, shown), *written(rows, hub, golden, since, before)]
    lines.sort(key=lambda one: -one["at"])
    return lines, shown[-1]["version"] if more else None


def written(
    rows: Rows, hub: Hub, golden: Golden, since: int, before: int | None
) -> Iterator[Answer]:
    """Its writes since a time and before a version, the latest first."""
    until: dict[str, Any] = {}
    if before is not None:
        version = {"golden": golden.uid, "version": before}
        first = rows.select("history", version, limit=1)
        until = {"at": below(first[0]["at"] if first else 0)}
    for row in rows.select("intent", {"golden": golden.uid, **until}, ("-at",), MOST_WRITES):
        if row["at"] >= since:
            yield sent(rows, hub, row)


def changed(rows: Rows, versions: list[Answer]) -> list[Answer]:
    """Versions as lines of the timeline, each change with the record it was entered in."""
    winners = {w for v in versions for c in v["changes"] if (w := winner_of(c))}
    of = {r["uid"]: r for r in rows.select("record", {"uid": among(winners)})} if winners else {}
    return [
        {
            "at": v["at"],
            "kind": "change",
            "version": v["version"],
            "erased": v["erased"],
            "merged_into": v["merged_into"] or None,
            "changes": [change(c, of.get(winner_of(c))) for c in v["changes"] if moved(c)],
        }
        for v in versions
    ]


def moved(change: Answer) -> bool:
    """Whether the value is another one; a version may only have another winner."""
    before, after = change["before"], change["after"]
    return bool((before or {}).get("value") != (after or {}).get("value"))


def winner_of(change: Answer) -> Uid:
    """The record whose claim won."""
    after = change["after"]
    return str(after["winner"][0]) if after and after["winner"] else ""


def change(found: Answer, record: Row | None) -> Answer:
    """One change: from what to what, who typed it, in which record."""
    after = found["after"]
    return {
        "cell": found["cell"],
        "from": found["before"]["value"] if found["before"] else None,
        "to": after["value"] if after else None,
        "why": after["rule"] if after else "nobody says so any more",
        "by": explaining.who(Actor(**after["by"])) if after and after.get("by") else "",
        "system": record["system"] if record else None,
        "record": record_name(record) if record else None,
    }


def sent(rows: Rows, hub: Hub, row: Row) -> Answer:
    """A write as a line of the timeline; of one that was erased the values are gone."""
    line_ = {"at": row["at"], "kind": "write", "system": row["system"], "op": row["op"]}
    line_ |= {"state": row["status"], "changes": []}
    item = rows.get("input", uid=row["uid"], seq=row["seq"])
    try:
        body = state.open_input(rows, hub.vault, item).body if item else None
    except ValueError:
        body = None
    if isinstance(body, Intent):
        line_["changes"] = [
            {"cell": c, "from": s.before, "to": s.value} for c, s in sorted(body.sends.items())
        ]
    return line_


# -- what needs a person -----------------------------------------------------------------------


def duplicates(hub: Hub, after: str = "") -> Answer:
    """Possible duplicates: both sides of each pair, field by field."""

    def look(rows: Rows) -> Answer:
        where = {"kind": "duplicate", "state": "open", **({"id": above(after)} if after else {})}
        found, following = page_of(rows.select("task", where, ("id",), PAIRS + 1), "id", PAIRS)
        tasks = [pair(rows, task) for task in found]
        cells = (c["cell"] for task in tasks for c in task["cells"])
        return {
            "tasks": tasks,
            "open": rows.count("task", {"kind": "duplicate", "state": "open"}),
            "next": following,
            "names": explaining.names(rows, cells),
        }

    return hub.env.view(look)


def pair(rows: Rows, task: Row) -> Answer:
    """One question, with each field of the two."""
    asked = commands.question(rows, task)
    ids = state.golden_ids(rows, [task["uid"], task["other"]])
    of = state.load_goldens(rows, ids.values())
    sides = [g for uid in (task["uid"], task["other"]) if (g := of[ids[uid]])]
    one, other = (*asked["sides"], {}, {})[:2]
    return {
        "task": task["id"],
        "since": task["at"],
        "why": asked["why"],
        "customers": lines_of(rows, sides),
        "cells": [
            {"cell": c, "one": one.get(c), "other": other.get(c), "word": stand(c, one, other)}
            for c in sorted({*one, *other})
        ],
    }


def stand(cell: str, one: Answer, other: Answer) -> str:
    """How the two stand to each other in a field: the same, differs, or only one knows it."""
    if cell in one and cell in other:
        return "same" if one[cell] == other[cell] else "differs"
    return "only here"


def parked(hub: Hub, after: str = "") -> Answer:
    """What was set aside, of one kind after the other: why, what to do, and what can be done."""

    def look(rows: Rows) -> Answer:
        where = {"state": "open", **({"id": above(after)} if after else {})}
        found, following = page_of(rows.select("parked", where, ("id",), PAGE + 1), "id")
        ids = state.golden_ids(rows, {r["uid"] for r in found if r["uid"]})
        of = state.load_goldens(rows, ids.values())
        return {
            "parked": [aside(r, of.get(ids.get(r["uid"], ""))) for r in found],
            "open": rows.count("parked", {"state": "open"}),
            "next": following,
        }

    return hub.env.view(look)


def aside(row: Row, golden: Golden | None) -> Answer:
    """One parked item."""
    return {
        **{k: row[k] for k in ("id", "kind", "system", "why")},
        "since": row["at"],
        "todo": alerts.TODO.get(row["kind"], "read it, then replay or dismiss it"),
        "acts": commands.acts(row["kind"]),
        "golden": golden.uid if golden else None,
        "customer": explaining.called(golden) or None,
    }


# -- drift -------------------------------------------------------------------------------------


def drift(hub: Hub, system: str = "", after: str = "", word: str = "") -> Answer:
    """Links of a system with cells that are not equal to golden, in order of their age.

    A page compares `COMPARED` links at most and says how far it came. `word`: only cells of this
    one, and links that have some.
    """
    begin, name = place(after), system or next(iter(hub.systems))
    if name not in hub.systems:
        raise Missing(f"there is no system {name[:60]!r}; there are: {', '.join(hub.systems)}")
    if word and word not in UNEQUAL:
        raise Wrong(f"no drift is called {word[:60]!r}; there are: {', '.join(UNEQUAL)}")
    words = (word,) if word else UNEQUAL

    def look(rows: Rows) -> Answer:
        found, compared, following = differing(rows, hub, name, begin, words)
        cells = (c["cell"] for one in found for c in one["cells"])
        return {
            "system": name,
            "systems": list(hub.systems),
            "word": word,
            "words": UNEQUAL,
            "links": found,
            "compared": compared,
            "of": rows.count("record", {"system": name, "state": "live"}),
            "next": following,
            "names": explaining.names(rows, cells),
        }

    return hub.env.view(look)


def differing(
    rows: Rows, hub: Hub, name: str, after: str, words: Sequence[str]
) -> tuple[list[Answer], int, str | None]:
    """Links with differences of these words, how many were compared, where to go on."""
    begin = {"uid": above(after)} if after else {}
    where = {"system": name, "state": "live", **begin}
    read = rows.select("record", where, ("uid",), COMPARED + 1)
    found: list[Answer] = []
    for n, row in enumerate(read[:COMPARED]):
        one = link_of(rows, hub, row["uid"], words)
        found += [one] if one and one["cells"] else []
        if len(found) == PAGE and n + 1 < len(read):
            return found, n + 1, row["uid"]
    if len(read) > COMPARED:
        return found, COMPARED, read[COMPARED - 1]["uid"]
    return found, len(read), None


def link_of(rows: Rows, hub: Hub, uid: Uid, words: Sequence[str] = UNEQUAL) -> Answer | None:
    """A living link and its cells of these words; None where there is no such link."""
    row, record, golden = rows.get("record", uid=uid), *both(rows, uid)
    system = hub.systems.get(row["system"]) if row else None
    if row is None or record is None or golden is None or system is None or row["state"] != "live":
        return None
    found = differences(rows, Link(hub, system, system.specs[record.object]), row, record, golden)
    slot = rows.get("slot", uid=uid)
    return {
        "uid": uid,
        "record": record_name(row),
        "golden": golden.uid,
        "customer": explaining.called(golden),
        "since": slot["dirty"] if slot else None,
        "holds": sorted(slot["holds"]) if slot else [],
        "cells": [cell(d) for d in found if d.word in words],
    }


def both(rows: Rows, uid: Uid) -> tuple[Record | None, Golden | None]:
    """A record and its golden record."""
    return state.load_record(rows, uid), state.golden_of(rows, uid)


def cell(d: Difference) -> Answer:
    """One difference."""
    told = {"cell": d.cell, "word": d.word, "wanted": d.wanted, "holds": d.observed}
    return {**told, "why": d.why}


def repair(hub: Hub, uids: Iterable[str]) -> Answer:
    """Read these records again and look at their links; a difference that is ours is written."""
    wanted = [uid_or_missing(uid, "record") for uid in uids][:PAGE]
    now = hub.env.now()

    def mark(rows: Rows) -> list[str]:
        found = [r for r in state.load_records(rows, wanted).values() if r and r.alive]
        for record in found:
            inputs.again(rows, record, now, now)
            state.dirty(rows, record, now, rank=slots.REPAIR)
        return sorted({r.system for r in found})

    touched = hub.env.commit(mark, "repair")
    for name in touched:
        hub.env.wake(f"capture:{name}")
        hub.env.wake(f"deliver:{name}")
    return {"repairing": len(wanted), "systems": touched}


# -- runs --------------------------------------------------------------------------------------


def run_list(hub: Hub, after: str = "") -> Answer:
    """The runs, the newest first."""
    begin = place(after)

    def look(rows: Rows) -> Answer:
        where = {"id": below(begin)} if begin else {}
        found, following = page_of(rows.select("run", where, ("-id",), PAGE + 1), "id")
        unread = [f"{n} {o}" for n in hub.systems for o in still_reading(rows, hub, n)]
        return {
            "runs": [run_line(r) for r in found],
            "still_reading": unread,
            "pending_inputs": rows.count("input", {"status": "pending"}),
            "next": following,
        }

    return hub.env.view(look)


def run_line(row: Row) -> Answer:
    """One run."""
    told = {"run": row["id"], "at": row["at"], "cause": row["cause"], "state": row["state"]}
    return {**told, "totals": row["doc"]["totals"], "rows": sum(row["doc"]["totals"].values())}


def run(hub: Hub, run: str, after: str = "") -> Answer:
    """One run, row by row, and how far it is. `after`: the number of a row. Raises `Missing`."""
    uid_or_missing(run, "run")
    if after and not (after.isascii() and after.isdigit() and len(after) < 10):  # noqa: PLR2004
        raise Wrong("that is no place to go on from: begin at the first row")

    def look(rows: Rows) -> Answer:
        found = rows.get("run", id=run)
        if found is None:
            raise Missing(f"there is no run {run}; the list of runs shows those there are")
        where = {"run": run, **({"n": above(int(after))} if after else {})}
        shown, following = page_of(rows.select("run_row", where, ("n",), PAGE + 1), "n")
        of = state.load_goldens(rows, {r["golden"] for r in shown})
        planned = found["state"] == "planned"
        return {
            **run_line(found),
            "progress": None if planned else runs.progress(rows, run),
            "planned": [planned_row(rows, r, of[r["golden"]], planned=planned) for r in shown],
            "first": shown[0]["n"] + 1 if shown else 0,
            "created_nowhere": rows.count("task", {"kind": "duplicate", "state": "open"}),
            "trouble": trouble(rows, hub),
            "next": following,
            "names": explaining.names(rows, (c["cell"] for r in shown for c in r["doc"]["cells"])),
        }

    return hub.env.view(look)


def planned_row(rows: Rows, row: Row, golden: Golden | None, *, planned: bool) -> Answer:
    """One row of a run, and what became of it."""
    return {
        "n": row["n"] + 1,
        "system": row["system"],
        "op": row["op"],
        "golden": row["golden"],
        "customer": explaining.called(golden),
        "record": row["doc"]["who"],
        "state": "planned" if planned else runs.row_state(rows, row),
        "cells": row["doc"]["cells"],
    }
