"""What a person or a program can ask of a hub: one function per command, JSON in, JSON out.

The same functions run inside a hub that is up (over its command socket) and in a command line
that has opened the store itself, so an answer never depends on which it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from connectors._kit.source import meant
from hub import explain as explaining
from hub import export as exporting
from hub import inputs, rulesets, runs, slots, sweep, switches, whatif
from hub import replay as replaying
from hub.env import Hub, System
from hub.io import anchor, state
from hub.io import history as chronicle
from hub.io.rows import Row, Rows
from hub.pure.model import Actor, Decision, Record
from hub.settings import RulesSettings, to_rules
from hub.status import status, still_reading, stopped, trouble

Answer = dict[str, Any]


class Wrong(ValueError):
    """The command cannot be done as given; the text says what would work."""


# -- looking -----------------------------------------------------------------------------------


def explain(hub: Hub, who: str, field: str = "") -> Answer:
    """Where each value of a customer came from; raises `Wrong` when nobody is found."""

    def look(rows: Rows) -> Answer:
        found = explaining.find(rows, hub, who)
        if not found:
            raise Wrong(
                f"nobody here is known by {who!r}: try an e-mail address, a telephone "
                "number, a domain or a tool's own id"
            )
        return {
            "customers": [explaining.told(rows, hub, g, field) for g in found],
            "names": explaining.names(rows, (c for g in found for c in g.cells)),
        }

    return hub.env.view(look)


def history(hub: Hub, who: str) -> Answer:
    """Every version of a customer, oldest first."""

    def look(rows: Rows) -> Answer:
        found = explaining.find(rows, hub, who)
        if not found:
            raise Wrong(f"nobody here is known by {who!r}")
        told: list[Answer] = [
            {
                "golden": g.uid,
                "name": explaining.called(g),
                "versions": chronicle.entries(rows, hub, g.uid),
            }
            for g in found
        ]
        changes = [c for one in told for version in one["versions"] for c in version["changes"]]
        return {"customers": told, "names": explaining.names(rows, (c["cell"] for c in changes))}

    return hub.env.view(look)


def verify(
    hub: Hub,
    refold: bool = False,  # noqa: FBT001, FBT002  a switch
    accept: bool = False,  # noqa: FBT001, FBT002  a switch
    who: str = "operator",
) -> Answer:
    """Walk the whole history and compare it with its anchor; `hub/io/anchor.py` has the words.

    With `refold` also fold every recorded input anew, and compare what comes of it with what is
    there: `differs` lists golden records that are not what the inputs make of them. With `accept`
    history first counts as it is now, whatever was anchored; raises `Wrong` where that is so.
    """
    if accept:
        accept_history(hub, who)
    found = anchor.look(hub)

    def look(rows: Rows) -> Answer:
        wrong = [f for lane in range(chronicle.LANES) for f in chronicle.check_lane(rows, lane)]
        wrong += found.wrong
        return {
            "entries": rows.count("history"),
            "findings": [{"lane": f.lane, "entry": f.n, "why": f.why} for f in wrong],
            "anchor": {**anchor.told(found), "accepted": accepted(hub)},
            "unanchored": {str(lane): n for lane, n in found.ahead().items()},
            **({"differs": refolded(rows, hub)} if refold else {}),
        }

    return hub.env.view(look)


def accept_history(hub: Hub, who: str) -> None:
    """History counts as it is now; raises `Wrong` where it does already."""
    found = anchor.look(hub)
    if found.word == anchor.IN_ORDER:
        raise Wrong("history agrees with its anchor: there is nothing to accept")
    anchor.accept(hub, found, who)


def accepted(hub: Hub) -> list[Answer]:
    """Who accepted history as it was, when, and the lengths of the lanes anchored until then."""
    return [
        {
            "at": line.at,
            "by": line.accepted.by,
            "was": line.accepted.was,
            "lanes": {str(lane): n for lane, (n, _) in line.accepted.instead_of.items()},
        }
        for line in (hub.anchor.accepted() if hub.anchor else ())
        if line.accepted
    ]


def refolded(rows: Rows, hub: Hub) -> list[Answer]:
    """Golden records in which the store and a fold of all its inputs differ."""
    births, recorded = replaying.recorded(rows, hub)
    made = replaying.refold(hub, births, recorded)
    wanted = set(made.view(lambda again: list(exporting.golden_lines(again))))
    held = set(exporting.golden_lines(rows))
    differing = [(line, "stored") for line in held - wanted]
    differing += [(line, "folded") for line in wanted - held]
    return [{"what": what, "records": orjson.loads(line)["records"]} for line, what in differing]


def export(hub: Hub) -> Answer:
    """All golden records, in the form in which runs are compared: one JSON text per line."""
    return {
        "lines": hub.env.view(lambda rows: [line.decode() for line in exporting.golden_lines(rows)])
    }


# -- bulk acts ---------------------------------------------------------------------------------


def plan(hub: Hub, run: str = "") -> Answer:
    """What would be written now; makes and stores a run unless an id of one is given."""
    return show_run(hub, run or make_plan(hub))


def make_plan(hub: Hub) -> str:
    """Store what would be written now as a run; its id."""
    run_id = hub.env.uid()
    hub.env.commit(lambda rows: runs.plan(rows, hub, run_id, "asked for"), "plan")
    return run_id


def show_run(hub: Hub, run: str) -> Answer:
    """A stored run with its rows and progress."""

    def look(rows: Rows) -> Answer:
        found = rows.get("run", id=run)
        if found is None:
            raise Wrong(f"there is no run {run!r}; `synchub plan` makes one")
        listed = rows.select("run_row", {"run": run}, order=("n",))
        of = state.load_goldens(rows, {r["golden"] for r in listed})
        unread = [f"{n} {o}" for n in hub.systems for o in still_reading(rows, hub, n)]
        return {
            "run": run,
            "state": found["state"],
            "totals": found["doc"]["totals"],
            "progress": runs.progress(rows, run),
            "rows": [
                {
                    "system": r["system"],
                    "op": r["op"],
                    "golden": r["golden"],
                    "record": r["doc"]["who"],
                    "customer": explaining.called(of[r["golden"]]),
                    "cells": r["doc"]["cells"],
                }
                for r in listed
            ],
            "names": explaining.names(rows, (c["cell"] for r in listed for c in r["doc"]["cells"])),
            "created_nowhere": rows.count("task", {"kind": "duplicate", "state": "open"}),
            "still_reading": sorted(unread),
        }

    return hub.env.view(look)


def check_kinds(fail_on: Sequence[str]) -> None:
    """Raise `Wrong` for a kind of row that there is not."""
    if odd := [kind for kind in fail_on if kind not in whatif.KINDS]:
        near, known = meant(odd[0], whatif.KINDS), ", ".join(whatif.KINDS)
        raise Wrong(f"there is no kind {odd[0]!r} to fail on{near} ({known})")


def what_if(hub: Hub, rules: dict[str, Any], fail_on: Sequence[str]) -> Answer:
    """What these rules would make the hub write, and whether any of it must not be.

    Nothing is stored, so nobody can apply it. Raises `Wrong` for a kind that there is not, and
    ValueError where they are no rules.
    """
    check_kinds(fail_on)
    checked = RulesSettings.model_validate(rules, context={"systems": hub.systems})
    now = hub.context.rules
    unread = hub.env.view(
        lambda rows: [f"{n} {o}" for n in hub.systems for o in still_reading(rows, hub, n)]
    )
    return whatif.gate(hub, to_rules(checked, now.version, now.region), fail_on, sorted(unread))


def apply(hub: Hub, run: str, anyway: bool = False) -> Answer:  # noqa: FBT001, FBT002  JSON's own
    """Let the rows of a plan go, once every tool that may be written to has a place for our ids.

    `anyway`: also while another run is not through.
    """

    def go(rows: Rows) -> dict[str, int]:
        refuse(rows, hub, run, anyway=anyway)
        return runs.apply(rows, hub, run)

    hub.env.view(lambda rows: refuse(rows, hub, run, anyway=anyway))
    for system in hub.env.view(lambda rows: written_to(rows, hub)):
        system.connector.prepare(system.api)
    counted = hub.env.commit(go, "apply")
    for name in hub.systems:
        hub.env.wake(f"deliver:{name}")
    return {"run": run, **counted}


def written_to(rows: Rows, hub: Hub) -> list[System]:
    """The systems in which hub.yaml allows writes."""
    allowed = {row["name"] for row in rows.select("system", {"writes": True})}
    return [system for name, system in hub.systems.items() if name in allowed]


def refuse(rows: Rows, hub: Hub, run: str, *, anyway: bool) -> None:
    """Say why a run cannot be applied now; raises `Wrong`."""
    try:
        runs.planned(rows, run)
    except runs.NoSuchRun as error:
        raise Wrong(str(error)) from error
    if stopped(rows):
        raise Wrong("writes are stopped; `synchub stop-writes --release` lets them flow again")
    for other in runs.under_way(rows) if not anyway else ():
        done = runs.progress(rows, other)
        raise Wrong(
            f"run {other} is being applied, {done['done']} of {done['rows']} rows are written; "
            f"`synchub plan {other}` shows how far it is; --anyway applies this one beside it"
        )
    unread = {f"{name} {o}" for name in hub.systems for o in still_reading(rows, hub, name)}
    if unread and switches.read(rows, "applied") is None:
        raise Wrong(
            f"{', '.join(sorted(unread))} are not read to the end, so no plan shows them: "
            "`synchub plan` waits for them"
        )


def progress(hub: Hub, run: str) -> Answer:
    """How far a run is, whether anything is on its way, and what it may be waiting for."""
    return hub.env.view(
        lambda rows: {
            **runs.progress(rows, run),
            "quiet": runs.quiet(rows),
            "trouble": trouble(rows, hub),
        }
    )


def stop_writes(hub: Hub, on: bool = True, who: str = "steward") -> Answer:  # noqa: FBT001, FBT002  a switch
    """The one switch: nothing is written into any tool until it is released."""
    by = Actor("steward", who)

    def throw(rows: Rows) -> None:
        if stopped(rows) != on:
            switches.turn(rows, hub, "writes stopped", on, by)

    hub.env.commit(throw, "stop writes")
    return {"writes_stopped": on}


def sweep_now(hub: Hub, system: str = "") -> Answer:
    """Start a pass over every record of every tool, or of one; `swept` says how far it is."""
    if system not in ("", *hub.systems):
        raise Wrong(f"there is no system {system!r}; there are: {', '.join(hub.systems)}")
    now, asked = hub.env.now(), [system] if system else sorted(hub.systems)
    names = [name for name in asked if sweep.swept(hub.systems[name])]
    if system and not names:
        raise Wrong(f"{system} is a log, which tells each change once: there is nothing to sweep")

    def begin(rows: Rows) -> None:
        for name in names:
            sweep.request(rows, hub.systems[name], now)

    hub.env.commit(begin, "sweep")
    for name in names:
        hub.env.wake(f"sweep:{name}")
    return {"sweeping": names, "since": now}


def swept(hub: Hub, since: int) -> Answer:
    """How far a pass is that was asked for at `since` (ms)."""
    objects = hub.env.view(
        lambda rows: [
            sweep.progress(rows, system, spec, since)
            for system in hub.systems.values()
            for spec in sweep.swept(system)
        ]
    )
    return {"objects": objects, "done": all(one["done"] for one in objects)}


def publish(hub: Hub, rules: dict[str, Any], who: str = "operator") -> Answer:
    """Make these the rules from the next start on; raises ValueError where they are none."""
    checked = RulesSettings.model_validate(rules, context={"systems": hub.systems})
    version = hub.env.commit(
        lambda rows: rulesets.publish(rows, checked, who, hub.env.now()), "publish"
    )
    return {"version": version, "in_force": hub.context.rules.version}


# -- what needs a person -----------------------------------------------------------------------


def review(hub: Hub, act: str = "list", task: str = "", who: str = "steward") -> Answer:
    """Possible duplicates: list them, or say *same* or *different* of one."""
    if act == "list":
        return hub.env.view(questions)
    if act not in ("same", "different"):
        raise Wrong(f"review can list, same, different; not {act!r}")
    hub.env.commit(lambda rows: judge(rows, hub, act, task, who), "review")
    hub.env.wake("resolve")
    return {"task": task, "verdict": act}


def questions(rows: Rows) -> Answer:
    """All possible duplicates."""
    found = rows.select("task", {"kind": "duplicate", "state": "open"}, order=("at", "id"))
    tasks = [question(rows, task) for task in found]
    cells = (c for task in tasks for side in task["sides"] for c in side)
    return {"tasks": tasks, "names": explaining.names(rows, cells)}


def question(rows: Rows, task: Row) -> Answer:
    """One question: the two sides, with what each is known by."""
    sides = [state.golden_of(rows, uid) for uid in (task["uid"], task["other"])]
    edges = [
        e
        for e in state.load_edges(rows, [m for g in sides if g for m in g.members])
        if e.outcome == "ask"
    ]
    return {
        "task": task["id"],
        "why": edges[0].why if edges else task["why"],
        "sides": [
            {n: c.value for n, c in g.cells.items() if c.value is not None} for g in sides if g
        ],
    }


def judge(rows: Rows, hub: Hub, act: str, task_id: str, who: str) -> None:
    """A verdict holds for the records: *different* for every pair across the cut."""
    task = rows.get("task", id=task_id)
    if task is None or task["state"] != "open":
        raise Wrong(f"there is no open task {task_id!r}; `synchub review` lists them")
    left, right = state.golden_of(rows, task["uid"]), state.golden_of(rows, task["other"])
    if left is None or right is None:
        raise Wrong("one side is gone meanwhile; list the tasks again")
    rows.lock({*left.members, *right.members})
    found = [(a, b) for a in state.members_of(rows, left) for b in state.members_of(rows, right)]
    for a, b in found if act == "different" else found[:1]:
        verdict = Decision(hub.env.now(), act, hub.env.uid(), Actor("steward", who), other=b.uid)
        inputs.decided(rows, hub, a, verdict)
    rows.update("task", {"id": task_id}, {"state": "done"})


def parked(hub: Hub, act: str = "list", item: str = "", who: str = "steward") -> Answer:
    """What was set aside: list it; for a record that is gone decide keep, unlink or recreate."""
    if act == "list":
        return {
            "parked": hub.env.view(
                lambda rows: [
                    {
                        "id": r["id"],
                        "kind": r["kind"],
                        "system": r["system"],
                        "why": r["why"],
                        "since": r["at"],
                    }
                    for r in rows.select("parked", {"state": "open"}, order=("at", "id"))
                ]
            )
        }
    acts: Mapping[str, Callable[[Rows], None]] = {
        "keep": lambda rows: settle(rows, hub, act, item, who),
        "unlink": lambda rows: settle(rows, hub, act, item, who),
        "recreate": lambda rows: settle(rows, hub, act, item, who),
        "dismiss": lambda rows: dismiss(rows, hub, item, who),
    }
    if act not in acts:
        raise Wrong(f"parked can list, {', '.join(acts)}; not {act!r}")
    hub.env.commit(acts[act], "parked")
    hub.env.wake("resolve")
    return {"item": item, "decided": act}


ACTS: Mapping[str, Sequence[str]] = {
    "departed": ("keep", "unlink", "recreate", "replay"),
    "unsupported": ("keep", "unlink", "replay"),
    "ping-pong": ("dismiss",),
    "lost create": ("dismiss",),
}


def acts(kind: str) -> Sequence[str]:
    """What can be done about a parked item of this kind."""
    return ACTS.get(kind, ("replay", "dismiss"))


def settle(rows: Rows, hub: Hub, act: str, item: str, who: str) -> None:
    """Decide what becomes of a record that is gone from its tool."""
    row = open_item(rows, item, act)
    rows.lock([row["uid"]])
    record = state.load_record(rows, row["uid"])
    if record is None:
        raise Wrong(f"nothing is known any more of the record that {item} is about")
    decision = Decision(hub.env.now(), act, hub.env.uid(), Actor("steward", who))
    inputs.decided(rows, hub, record, decision)
    for word in ("departed", "unsupported"):
        slots.lift(rows, "slot", {"uid": record.uid}, word)
    rows.update("parked", {"id": item}, {"state": "done"})


def dismiss(rows: Rows, hub: Hub, item: str, who: str) -> None:
    """Somebody has seen an item and wants nothing done about it; it is kept, with their name."""
    row = open_item(rows, item, "dismiss")
    if row["kind"] == "lost create":
        rows.lock([row["doc"]["wanted"]["golden"]])
        slots.lift(rows, "wanted", row["doc"]["wanted"], "asked")
    seen = {"dismissed_by": who, "dismissed_at": hub.env.now()}
    rows.update("parked", {"id": item}, {"state": "dismissed", "doc": {**row["doc"], **seen}})


def open_item(rows: Rows, item: str, act: str) -> Row:
    """A parked item that waits for somebody to do this; raises `Wrong`."""
    row = rows.get("parked", id=item)
    if row is None or row["state"] != "open":
        raise Wrong(f"nothing open is parked as {item!r}; `synchub parked` lists it")
    *others, last = acts(row["kind"])
    if act not in (*others, last):
        takes = f"{', '.join(others)} or {last}" if others else last
        raise Wrong(f"{item} takes {takes}, not {act}: {row['why']}")
    return row


def replay(hub: Hub, item: str) -> Answer:
    """Try again what was parked: a record is read again, a refused write offered again."""
    how = hub.env.commit(lambda rows: replayed(rows, hub, item), "replay")
    for loop in ("resolve", *(f"{k}:{s}" for s in hub.systems for k in ("capture", "sweep"))):
        hub.env.wake(loop)
    return {"item": item, "replayed": how}


def replayed(rows: Rows, hub: Hub, item: str) -> str:
    """What replay means for this kind of item."""
    row = open_item(rows, item, "replay")
    rows.lock([row["uid"]] if row["uid"] else [])
    record = state.load_record(rows, row["uid"]) if row["uid"] else None
    if record is not None and row["kind"] in ("departed", "unsupported"):
        inputs.again(rows, record, hub.env.now(), hub.env.now())
        return "the record is read again; unless it is back, decide keep, unlink or recreate"
    rows.update("parked", {"id": row["id"]}, {"state": "done"})
    if row["kind"] == "hint":
        asked = {"state": "open", "attempts": 0, "not_before": 0}
        rows.update("hint", {"id": row["doc"]["hint"]}, asked)
        return "the record is asked for again"
    if record is None:
        if row["system"] not in hub.systems:
            raise Wrong(f"{row['system']} is not in hub.yaml any more: dismiss it")
        system = hub.systems[row["system"]]
        sweep.request(rows, system, hub.env.now())
        if not sweep.swept(system):
            return f"{row['system']} is a log: what it says of the record next will be read"
        return f"every record of {row['system']} is read again"
    inputs.again(rows, record, hub.env.now(), hub.env.now())
    if row["kind"] == "rejected":
        return offered_again(rows, hub, record)
    return replay_input(rows, hub, record, row["doc"]["seq"])


def offered_again(rows: Rows, hub: Hub, record: Record) -> str:
    """A refused create is wanted anew; of a refused value somebody has to think of another."""
    if record.native_id:
        state.dirty(rows, record, hub.env.now())
        return "offered again when golden changes; the record is read again now"
    golden = state.golden_ids(rows, [record.uid])[record.uid]
    where = {"golden": golden, "system": record.system, "object": record.object}
    rows.lock([golden])
    slots.lift(rows, "wanted", where, "rejected")
    rows.update("wanted", where, {"dirty": hub.env.now()})
    hub.env.wake(f"deliver:{record.system}")
    return "offered again"


def replay_input(rows: Rows, hub: Hub, record: Record, seq: int) -> str:
    """A decision is put again; of a reading that cannot be decoded another one is asked for."""
    where = {"uid": record.uid, "seq": seq}
    try:
        body = state.open_input(rows, hub.vault, rows.select("input", where)[0]).body
    except ValueError:
        body = None
    if isinstance(body, Decision):
        seq, _ = inputs.append(rows, hub, record, body, cause="replay")
        by = f"{state.REPLAYED}{record.uid}:{seq}"
        rows.update("input", where, {"status": "superseded", "by": by})
        return "put again"
    rows.update("input", where, {"status": "superseded", "by": f"{state.REPLAYED}a replay"})
    return "the record is read again: a full reading supersedes what could not be read"


COMMANDS: Mapping[str, Callable[..., Answer]] = {
    "status": status,
    "explain": explain,
    "history": history,
    "verify": verify,
    "export": export,
    "plan": plan,
    "what-if": what_if,
    "apply": apply,
    "progress": progress,
    "stop-writes": stop_writes,
    "sweep": sweep_now,
    "swept": swept,
    "publish": publish,
    "review": review,
    "parked": parked,
    "replay": replay,
}
