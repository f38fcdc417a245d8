"""The pages and forms of the console: what each asks the hub, and what a form does.

A page is a function from what was asked to an answer; the template and the `.json` of the same
path show the same answer. A form does one thing, then leads to a page that says it was done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from hub import browse, commands
from hub.commands import Answer, Wrong
from hub.console.words import query
from hub.env import Hub
from hub.shown import many

Asked = Mapping[str, str]
Given = Mapping[str, Sequence[str]]
PLAN_SECONDS = 1.5  # how long somebody waits for a plan before the page says that it is being made


@dataclass
class Desk:
    """The hub, and the plan that is being made for somebody."""

    hub: Hub
    planning_since: int | None = None
    failed: str = ""
    _gate: threading.Lock = field(default_factory=threading.Lock)

    def plan(self) -> str:
        """Make a plan, one at a time; its id, or "" where it takes longer than people wait."""
        made: list[str] = []
        with self._gate:
            if self.planning_since is None:
                self.planning_since, self.failed = self.hub.env.now(), ""
                work = threading.Thread(target=self._plan, args=(made,), daemon=True)
                work.start()
                work.join(PLAN_SECONDS)
        return made[0] if made else ""

    def _plan(self, made: list[str]) -> None:
        try:
            made.append(commands.make_plan(self.hub))
        except Exception as error:  # noqa: BLE001  the page tells it, and another may be made
            self.failed = f"no plan could be made: {error}"
        finally:
            self.planning_since = None


# -- pages -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """A path, its template, and what it shows."""

    path: str
    template: str
    look: Callable[[Desk, Asked], Answer]

    @property
    def json_path(self) -> str:
        """Where the same is given as JSON."""
        return f"{self.path}.json"


def run_list(desk: Desk, asked: Asked) -> Answer:
    """The runs, and whether a plan is being made."""
    planning = {"since": desk.planning_since, "failed": desk.failed}
    return {**browse.run_list(desk.hub, asked.get("after", "")), "planning": planning}


PAGES = (
    Page("/overview", "overview.html", lambda d, _: browse.overview(d.hub)),
    Page(
        "/customers",
        "customers.html",
        lambda d, a: browse.customers(d.hub, a.get("q", ""), a.get("after", "")),
    ),
    Page(
        "/customers/{uid}",
        "customer.html",
        lambda d, a: browse.customer(d.hub, a["uid"], a.get("before", "")),
    ),
    Page(
        "/duplicates", "duplicates.html", lambda d, a: browse.duplicates(d.hub, a.get("after", ""))
    ),
    Page("/parked", "parked.html", lambda d, a: browse.parked(d.hub, a.get("after", ""))),
    Page(
        "/drift",
        "drift.html",
        lambda d, a: browse.drift(d.hub, *(a.get(n, "") for n in ("system", "after", "word"))),
    ),
    Page("/runs", "runs.html", run_list),
    Page("/runs/{run}", "run.html", lambda d, a: browse.run(d.hub, a["run"], a.get("after", ""))),
)


# -- forms -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """What a form did: where to go on, and what to say there."""

    path: str
    note: str


Form = Callable[[Desk, Given, str], Done]


def inside(path: str) -> str:
    """A path of this console to go on to, "/" for anything else."""
    good = path.startswith("/") and path.isprintable() and not path.startswith(("//", "/\\"))
    return path if good else "/"


def one(given: Given, name: str) -> str:
    """A field of a form; raises `Wrong` where it is missing."""
    if not given.get(name):
        raise Wrong(f"the form came without {name}: reload the page and try again")
    return given[name][0]


def stop_writes(desk: Desk, given: Given, who: str) -> Done:
    """Throw or release the one switch."""
    on = one(given, "on") == "yes"
    commands.stop_writes(desk.hub, on=on, who=who)
    return Done("/", "No write leaves the hub now." if on else "Writes flow again.")


def judge(desk: Desk, given: Given, who: str) -> Done:
    """Say *same* or *different* of a pair."""
    verdict = one(given, "verdict")
    if verdict not in ("same", "different"):
        raise Wrong(f"a pair is the same or different, not {verdict[:60]!r}")
    commands.review(desk.hub, verdict, one(given, "task"), who)
    said = "Joined: they are the same." if verdict == "same" else "Kept apart: they are different."
    return Done("/duplicates#next", said)


def decide(desk: Desk, given: Given, who: str) -> Done:
    """Replay a parked item, or decide about it."""
    act, item = one(given, "act"), one(given, "item")
    if act == "replay":
        told = commands.replay(desk.hub, item)["replayed"]
        return Done("/parked#next", f"Tried again: {told}.")
    if act == "list":
        raise Wrong("that is nothing to decide")
    commands.parked(desk.hub, act, item, who)
    return Done("/parked#next", f"Decided: {act}.")


def repair(desk: Desk, given: Given, _who: str) -> Done:
    """Look at links again."""
    told = browse.repair(desk.hub, given.get("uid") or ())
    if not told["repairing"]:
        raise Wrong("no link was named: choose at least one")
    said = many(told["repairing"], "link")
    back = given.get("back", [f"/drift{query(system=one(given, 'system'))}"])[0]
    return Done(inside(back), f"Looked at again: {said}. What is ours to write is written.")


def sweep(desk: Desk, given: Given, _who: str) -> Done:
    """Read every record of a tool again."""
    system = one(given, "system")
    commands.sweep_now(desk.hub, system)
    return Done("/", f"Every record of {system} is being read again.")


def plan(desk: Desk, _given: Given, _who: str) -> Done:
    """Make a plan."""
    made = desk.plan()
    if made:
        return Done(f"/runs/{made}", "This is what would be written; nothing was written.")
    return Done("/runs", "The plan is being made; it appears here.")


def apply(desk: Desk, given: Given, _who: str) -> Done:
    """Let the rows of a plan go."""
    run = one(given, "run")
    told = commands.apply(desk.hub, run, anyway=bool(given.get("anyway")))
    said = f"{told['released']} rows are being written"
    held = f"; {told['held']} need another plan" if told["held"] else ""
    return Done(f"/runs/{quote(run, safe='')}", f"{said}{held}.")


FORMS: Mapping[str, Form] = {
    "/stop-writes": stop_writes,
    "/duplicates": judge,
    "/parked": decide,
    "/drift": repair,
    "/sweep": sweep,
    "/runs": plan,
    "/apply": apply,
}
