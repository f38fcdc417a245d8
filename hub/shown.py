"""Answers as a person reads them: lines and tables on a terminal, plain lines when piped.

What comes from a tool is shown with its control characters made visible, so that nobody's name
can move the cursor or write over other lines.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Answer = Mapping[str, Any]
Piece = str | Table
Tell = Callable[[str], None]
FIRST_ROWS = 6
FAILING_SHOWN = 20
TELL_SECONDS = 3.0
PIPED_WIDTH = 2_000
ORDER = ("given", "family", "line1", "line2", "postcode", "city", "region", "country")
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# The words of the rules, for somebody who has not read them.
BECAUSE: Mapping[str, str] = {
    "the only claim": "the only entry",
    "first snapshot: highest rank": "first reading: the highest rank counts",
    "newest": "the newest entry",
    "newest among equal ranks": "the newest entry of equal rank",
    "authority": "the highest rank counts",
    "union: in while anybody says so": "somebody says so",
    "association": "they belong together",
    "pinned": "a person pinned it",
}


# -- printing ----------------------------------------------------------------------------------


def printed(pieces: Iterable[Piece]) -> Iterator[str]:
    """Lines and tables as text: as wide as the terminal, or as wide as they are when piped."""
    terminal = sys.stdout.isatty()
    console = Console(
        width=None if terminal else PIPED_WIDTH, markup=False, highlight=False, emoji=False
    )
    for piece in pieces:
        if isinstance(piece, str):
            yield visible(piece)
            continue
        with console.capture() as taken:
            console.print(piece)
        yield from (line.rstrip() for line in taken.get().splitlines())


def table(*heads: str) -> Table:
    """An empty table with these columns."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in heads:
        made.add_column(head, overflow="fold")
    return made


def add(to: Table, *cells: object) -> None:
    """A row of a table, whatever is in its cells."""
    to.add_row(*(Text(visible(str(c))) for c in cells))


def visible(text: str) -> str:
    """The text with what cannot be seen written out."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@contextmanager
def telling(every: float = TELL_SECONDS) -> Iterator[Tell]:
    """How far something long is, on stderr: in place on a terminal, else a line now and then."""
    if sys.stderr.isatty():
        with Console(stderr=True).status("") as status:
            yield lambda text: status.update(Text(visible(text)))
        return
    told = time.monotonic()

    def tell(text: str) -> None:
        nonlocal told
        if time.monotonic() - told >= every:
            told = time.monotonic()
            sys.stderr.write(visible(text) + "\n")
            sys.stderr.flush()

    yield tell


# -- words -------------------------------------------------------------------------------------


def in_words(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda k: ORDER.index(k) if k in ORDER else len(ORDER))
        between = " " if "family" in value else ", "
        return between.join(str(value[k]) for k in keys if value[k])
    return "(empty)" if value in (None, "") else str(value)


def when(at: int | None) -> str:
    """A time, ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at / 1000)) if at else "never"


def because(rule: str) -> str:
    """A rule, in words."""
    return BECAUSE.get(rule, rule)


def cell_name(cell: str, names: Mapping[str, str]) -> str:
    """A cell; an element that is another customer is called by its name."""
    field, bracket, key = cell.partition("[")
    return f"{field}: {names.get(key[:-1], key[:-1])}" if bracket else field


def many(n: int, thing: str) -> str:
    """A number of things."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


# -- plan and apply ----------------------------------------------------------------------------


def plan_lines(answer: Answer, system: str = "", *, everything: bool = False) -> Iterator[Piece]:
    """A run by system: the first rows of each kind, or all."""
    wanted = [r for r in answer["rows"] if system in ("", r["system"])]
    for name, of_system in groupby(wanted, key=lambda r: str(r["system"])):
        rows = list(of_system)
        kinds = {op: [r for r in rows if r["op"] == op] for op in ("update", "create")}
        yield f"{name}: " + ", ".join(many(len(k), op) for op, k in kinds.items() if k)
        shown = [r for k in kinds.values() for r in k[: None if everything else FIRST_ROWS]]
        yield plan_table(shown, answer["names"])
        if len(shown) < len(rows):
            yield (
                f"… and {len(rows) - len(shown)} more; all of them: "
                f"synchub plan {answer['run']} --system {name} --all"
            )
        yield ""
    yield from plan_end(answer)


def plan_table(rows: Iterable[Answer], names: Mapping[str, str]) -> Table:
    """Row by row, cell by cell: from what to what, and why."""
    made = table("record", "customer", "field", "holds", "will hold", "because")
    for row in rows:
        first = (row["record"], row["customer"])
        for cell in row["cells"]:
            holds = "" if cell["from"] is None else in_words(cell["from"])
            field, will = cell_name(cell["cell"], names), in_words(cell["to"])
            add(made, *first, field, holds, will, because(cell["why"]))
            first = ("", "")
    return made


def plan_end(answer: Answer) -> Iterator[str]:
    """What it comes to, and what to do next."""
    done, run = answer["progress"], answer["run"]
    total = ", ".join(f"{n} x {kind}" for kind, n in answer["totals"].items())
    yield f"totals: {total or 'nothing to write, the tools agree'}"
    if answer["created_nowhere"]:
        yield (
            f"{many(answer['created_nowhere'], 'possible duplicate')}: created nowhere until "
            "somebody judges: synchub review"
        )
    if answer["still_reading"]:
        yield f"not read to the end yet, so not in this plan: {', '.join(answer['still_reading'])}"
    if answer["state"] != "planned":
        yield (
            f"run {run} was applied: {done['done']} of {done['rows']} rows are written, "
            f"{done['open']} on their way, {done['held']} held for another plan"
        )
    elif answer["rows"]:
        yield f"run {run} is stored; nothing was written. To write it: synchub apply {run}"


def verdict_lines(answer: Answer) -> Iterator[str]:
    """A verdict for a pipeline, without anybody's values."""
    changed = "as it is on disk, not published" if answer["changed_rules"] else "as it is published"
    yield f"judged: rules.yaml {changed}; hub.yaml {answer['hub_yaml']}"
    for name, kinds in sorted(answer["counts"].items()):
        yield f"{name}: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}"
    yield f"customers that become one with another: {answer['merges']}"
    if answer["still_reading"]:
        yield f"not read to the end, so nothing is sure: {', '.join(answer['still_reading'])}"
    for row in answer["failing"][:FAILING_SHOWN]:
        yield f"  {', '.join(row['kinds'])}: {failing_row(row)} (customer {row['golden']})"
    if (more := len(answer["failing"]) - FAILING_SHOWN) > 0:
        yield f"  … and {more} more; --json tells all of them"
    yield f"{answer['verdict']} (fails on {', '.join(answer['fail_on'])})"


def failing_row(row: Answer) -> str:
    """Which record, and in which fields; or which records become one customer."""
    if "records" in row:
        return " and ".join(row["records"])
    return f"{row['system']} {row['record']}: {', '.join(row['fields'])}"


def progress_line(answer: Answer) -> str:
    """How far a run is, and what it may be waiting for."""
    trouble = f"   ({'; '.join(answer['trouble'])})" if answer["trouble"] else ""
    return f"{answer['done']} of {answer['rows']} rows written{trouble}"


def apply_lines(answer: Answer) -> Iterator[str]:
    """What became of a run."""
    yield f"{answer['done']} of {many(answer['rows'], 'row')} written"
    if answer["held"]:
        yield f"{answer['held']} held: they changed since the plan, make another: synchub plan"


# -- status ------------------------------------------------------------------------------------


def status_lines(answer: Answer) -> Iterator[Piece]:
    """The state of a hub."""
    yield from up_lines(answer["up"], answer.get("processes", {}))
    made = table("system", "records", "to check", "to create", "held", "to read", "changes read at")
    for name, one in answer["systems"].items():
        counts = [one[k] for k in ("records", "to_look_at", "to_create", "held", "open_hints")]
        add(made, name, *counts, when(min(one["changes_read_at"].values(), default=None)))
    yield made
    for name, one in answer["systems"].items():
        yield from system_lines(name, one)
    yield f"customers: {answer['customers']}; inputs not resolved yet: {answer['pending_inputs']}"
    if not answer["applied"]:
        yield "nothing is written yet: synchub plan, then synchub apply"
    if answer["possible_duplicates"]:
        yield f"to be judged: {answer['possible_duplicates']} possible duplicates: synchub review"
    for one in answer["alerts"]:
        yield f"ALERT {one['kind']}, since {when(one['since'])}: {one['todo']}"
    if not answer["alerts"]:
        yield "no alerts"


def up_lines(
    up: Mapping[str, str], processes: Mapping[str, int] = MappingProxyType({})
) -> Iterator[str]:
    """Whether a hub is up, and where."""
    if processes:
        yield f"processes: {', '.join(f'{n} {role}' for role, n in sorted(processes.items()))}"
    elif not up:
        yield "no hub is up; this is what its store says: synchub up"
    for purpose, where in up.items():
        yield f"{'console' if purpose == 'operators' else purpose}: {where}"


def system_lines(name: str, one: Answer) -> Iterator[str]:
    """What happened to a system."""
    if one["counters"]:
        yield f"{name}: " + ", ".join(f"{n} x {event}" for event, n in one["counters"].items())
    if one["still_reading"]:
        yield f"{name}: being read for the first time: {', '.join(one['still_reading'])}"
    if one["last_failure"]:
        over = "still failing" if one["failing_since"] else "over"
        yield f"{name}: last failure at {when(one['last_failure_at'])} ({over}): " + str(
            one["last_failure"]
        )


# -- explain and history -----------------------------------------------------------------------


def explain_lines(answer: Answer) -> Iterator[Piece]:
    """Customers explained."""
    for one in answer["customers"]:
        yield f"{one['entity']} {one['name']}   ({one['golden']})"
        yield explain_table(one, answer["names"])
        for record in one["records"]:
            held = one["tools"].get(f"{record['system']} {record['id']}", {})
            yield (
                f"{record['system']} {record['object']} {record['id']} ({record['state']}): "
                + tool_words(held, answer["names"])
            )
        if one["possible_duplicates"]:
            yield "may be the same as another customer: synchub review"
        yield ""


def explain_table(one: Answer, names: Mapping[str, str]) -> Table:
    """Each value, where it was entered, and what it won against."""
    made = table("field", "value", "entered in", "at", "because")
    for cell, found in one["fields"].items():
        origin = found["from"]
        came = entered(origin) if origin else ("", "")
        others = [lost for lost in found["lost"] if lost["value"] != found["value"]]
        agree = found["lost"] and not others
        reason = "all say so" if agree else because(found["rule"])
        add(made, cell_name(cell, names), in_words(found["value"]), *came, reason)
        for lost in others:
            add(made, "", f"not {in_words(lost['value'])}", *entered(lost))
    return made


def entered(claim: Answer) -> tuple[str, str]:
    """Where and when a value was entered; of a first reading only the latest possible time."""
    by = "" if claim["by"] == "unknown" else f" by {claim['by']}"
    time_of = when(claim["at"])
    return f"{claim['system']}{by}", f"before {time_of}" if claim["first_snapshot"] else time_of


def tool_words(held: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """What a tool holds that is not as it should be."""
    odd = {c: h for c, h in held.items() if isinstance(h, dict) and h["state"] != "agree"}
    return (
        "; ".join(
            f"{cell_name(c, names)} holds {in_words(h['holds'])} ({h['state']})"
            for c, h in odd.items()
        )
        or "holds the same"
    )


def history_lines(answer: Answer) -> Iterator[str]:
    """Versions, oldest first."""
    for one in answer["customers"]:
        yield f"{one['name']}   ({one['golden']})"
        for version in one["versions"]:
            changes = list(change_words(version["changes"], answer["names"]))
            yield f"  version {version['version']} at {when(version['at'])}"
            yield from (f"      {c}" for c in changes or ["the same values, entered elsewhere too"])


def change_words(changes: Iterable[Answer], names: Mapping[str, str]) -> Iterator[str]:
    """What a version changed, and by which rule."""
    for change in changes:
        before, after = (
            in_words(side["value"]) if side else "(nothing)"
            for side in (change["before"], change["after"])
        )
        rule = because(change["after"]["rule"]) if change["after"] else "nobody says so any more"
        if before != after:
            yield f"{cell_name(change['cell'], names)}: {before} → {after}   ({rule})"


def verify_lines(answer: Answer) -> Iterator[str]:
    """Findings."""
    for found in answer["findings"]:
        yield f"lane {found['lane']}, entry {found['entry']}: {found['why']}"
    for lane, n in answer["unanchored"].items():
        yield f"lane {lane}: the last {n} entries are not in the anchor yet"
    yield from anchor_lines(answer["anchor"])
    for found in answer.get("differs", ()):
        yield f"{found['what']} differently: {', '.join(found['records'])}"
    if answer.get("differs") == []:
        yield "folding every recorded input again gives the same golden records"
    wrong = len(answer["findings"]) + bool(answer["anchor"]["todo"])
    yield f"{answer['entries']} entries, " + (many(wrong, "finding") if wrong else "all in order")


def anchor_lines(found: Answer) -> Iterator[str]:
    """What is wrong with the anchor, and what somebody has accepted."""
    for one in found["accepted"]:
        yield f"accepted at {when(one['at'])} by {one['by']}: {one['was']}"
    if found["todo"]:
        yield f"{found['word']}: {found['todo']}"


# -- deciding ----------------------------------------------------------------------------------


def review_lines(answer: Answer) -> Iterator[Piece]:
    """Questions: the two sides, and what is said of them."""
    if "tasks" not in answer:
        yield f"{answer['task']}: {answer['verdict']}"
        return
    for task in answer["tasks"]:
        yield f"{task['task']}   ({task['why']})"
        yield sides_table(task["sides"], answer["names"])
        yield ""
    if answer["tasks"]:
        yield f"{many(len(answer['tasks']), 'question')}: synchub review same TASK, or different"
    else:
        yield "nothing to judge: no two customers look like one"


def sides_table(sides: list[Answer], names: Mapping[str, str]) -> Table:
    """Field by field, what is equal marked."""
    made = table("  field", "one", "", "other")
    for cell in sorted({c for side in sides for c in side}):
        one, other = (in_words(side[cell]) if cell in side else "" for side in (*sides, {}, {})[:2])
        add(made, f"  {cell_name(cell, names)}", one, "=" if one == other else "", other)
    return made


def parked_lines(answer: Answer) -> Iterator[str]:
    """Parked items."""
    if "parked" not in answer:
        yield f"{answer['item']}: {answer['decided']}"
        return
    for row in answer["parked"]:
        yield f"{row['id']}   {row['why']}   (since {when(row['since'])})"
    if not answer["parked"]:
        yield "nothing is parked"


# -- the rest ----------------------------------------------------------------------------------


def init_lines(answer: Answer, written: Path) -> Iterator[str]:
    """Whose accounts were found."""
    for name, one in answer["systems"].items():
        live = "live" if one["live"] else "test"
        yield f"{name}: account {one['id']}, {live}, {one['time_zone']}"
    yield f"written: {written}, rules.yaml, secrets/. Next: synchub plan"


def migrated_line(answer: Answer) -> str:
    """From which tables to which."""
    before, after = answer["before"], answer["after"]
    if before == after:
        return f"the database is at revision {after} already"
    return f"the database was brought from {before or 'nothing'} to revision {after}"


def move_lines(answer: Answer) -> Iterator[Piece]:
    """What was moved, and how to go on."""
    if "undone" in answer:
        yield "this hub may be started again" if answer["undone"] else "this hub was not moved"
        if answer["undone"]:
            yield f"see to it that the one of {answer['undone']} is never up beside it"
        return
    rows = sum(answer["rows"].values())
    known = f"{rows} rows, each lane of history verified" if rows else "it was there already"
    yield f"moved to {answer['to']}: {known}"
    yield "from now on: synchub up --dir, or the roles, with that hub.yaml; this one stays down"


def restore_lines(answer: Answer) -> Iterator[Piece]:
    """What was put back, and how to go on."""
    if answer["kept"]:
        yield f"what was there before is kept: {answer['kept']}"
    yield f"every record of {', '.join(answer['systems'])} is read again, once the hub is up"
    yield "nothing is written before a plan was applied: synchub plan"
    yield "history is shorter than its anchor, if it went on after the copy: synchub verify"


def check_lines(answer: Answer) -> Iterator[str]:
    """What would stop the start, what tools lack, and which version of the rules is in force."""
    yield from answer["wrong"] or ["all is well"]
    yield from answer["missing"]
    if "version" in answer:
        version, now = answer["version"], answer["in_force"]
        yield f"rules.yaml is version {version}, " + (
            "which is in force" if version == now else f"from the next start on; {now} is in force"
        )


def reading_line(name: str, one: Answer) -> str:
    """What a hub still reads for the first time, "" when it is through."""
    if not one["still_reading"]:
        return ""
    trouble = f" ({one['last_failure']})" if one["failing_since"] else ""
    return f"{name}: {one['records']} records, {', '.join(one['still_reading'])} to go{trouble}"


def sweep_line(answer: Answer, *, up: bool) -> str:
    """What a sweep came to, or that it has begun."""
    if "objects" in answer:
        return f"every record was read: {swept_line(answer)}"
    if up:
        return f"sweeping: {', '.join(answer['sweeping'])}; --wait says how far it is"
    return "no hub is up: it begins when one is; --wait does it now"


def bench_lines(answer: Answer) -> Iterator[Piece]:
    """Figures of a benchmark, and where the time goes."""
    figures = table("figure", "value")
    for name, value in answer["figures"].items():
        add(figures, name, f"{value:,.3f}".rstrip("0").rstrip("."))
    yield figures
    for name, share in answer.get("shares", {}).items():
        yield f"{name}: {share:.0%} of the time"
    for name, value in answer.get("setting", {}).items():
        yield f"{name}: {value}"
    yield "on " + ", ".join(f"{name} {value}" for name, value in answer["machine"].items())


def simulate_lines(answer: Answer) -> Iterator[str]:
    """What a run showed."""
    yield from answer["trace"]
    faults = ", ".join(f"{n} x {kind}" for kind, n in answer["faults"].items())
    yield f"seed {answer['seed']}: {answer['why'] or 'every promise held'}; {faults}"


def swept_line(answer: Answer) -> str:
    """How far a pass over every record is."""
    return ", ".join(
        f"{one['system']} {one['object']} "
        + ("done" if one["done"] else f"{one['read']} of {one['records']}")
        for one in answer["objects"]
    )
