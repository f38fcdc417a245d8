"""The little language of the stories: what people and tools do, line by line, and what must come.

tools A B(conditional revisions) C(lag=3 settle=6)      the first has the highest rank
rule phone authority A B
A.jane name="Jane Doe" email=jane@x.com                 a person types; a new id is a new record
A.jane delete   |   A.jane merges into A.joe   |   A.jane poisoned   |   replay input
capture A | resolve | deliver B | sweep A | wait 10 | sync | round
B plans | B reads | B sends                             one write in its three parts
next write of B: answer lost | error before | error after | busy        B is down | B is up
    steward: A.jane is B.jane | A.jane is not B.jane | pin A.jane phone=1 | edit A.jane phone=1
    steward: retract A.jane phone | keep A.jane | unlink A.jane | recreate A.jane
expect golden A.jane phone=…          expect A.jane phone=…        expect B of A.jane phone=…
expect A.jane is B.jane | A.jane is not B.jane | nobody in B for A.jane | somebody in B for A.jane
expect A.jane phone is altered        expect asked A.jane
expect parked departed                expect nothing parked
count writes … expect writes of B = 1      requests to write since then, failed ones too
alone: why            not told again beside two more tools (`BESIDE`), for this reason

Every story of fewer than four tools is told twice: as it is written, and beside two further tools
that nobody works in. They rank last and only ever hold our copies, which make no claims: so
whatever a story expects must hold there too, and at its end the two are equal to golden.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from msgspec.structs import replace

from connectors._kit.simtool import COMPANY, PERSON, Profile, SimTool
from hub import commands, deliver, inputs
from hub.deliver import Plan
from hub.io import state
from hub.io.rows import Rows, Store
from hub.links import Link, differences
from hub.pure.compare import Difference
from hub.pure.model import Actor, Decision, Golden, Record
from hub.pure.rules import FieldRule, Strategy
from hub.tools.world import START_MS, World, rules_for

FLAGS = {
    "conditional": "conditional",
    "revisions": "revisions",
    "unique": "unique_email",
    "one-line-name": "one_line_name",
    "shouts": "shouts",
    "reformats": "reformats",
}
SAID_FIRST = ("tools", "rule", "create", "widens", "restless", "alone:")
BESIDE = {"Crm": Profile(conditional=True, revisions=True), "Mailing": Profile(unique_email=True)}
AT_REST = (
    "agree",
    "not applicable",
    "waits for link",
    "parked",
)  # a parked field is held everywhere
CONSENTS = {"consent": "email.marketing", "sms": "sms.marketing"}
PARTS = ("line1", "line2", "city", "region", "postcode", "country")


class StoryError(AssertionError):
    """A line that does not hold, or that nobody understands."""


def profile(options: Sequence[str]) -> Profile:
    """How a tool behaves, from its options."""
    made: dict[str, Any] = {FLAGS[o]: True for o in options if o in FLAGS}
    for option in options:
        name, _, value = option.partition("=")
        if name in ("lag", "settle", "skew"):
            made[f"{name}_ms"] = int(float(value) * 1000)
        elif name in ("ignores", "refuses", "consents"):
            made[name] = frozenset(value.split(","))
        elif name == "truncates":
            made["truncates"] = int(value)
        elif option == "no-external-ids":
            made["external_ids"] = False
        elif option not in FLAGS:
            raise StoryError(f"no option {option!r} of a tool")
    return Profile(**made)


def value_of(name: str, text: str) -> Any:
    """A field's value as written in a story, in our shapes; "" clears."""
    if text == "":
        return [] if name == "tags" else None
    if name == "name":
        given, _, family = text.rpartition(" ")
        return {"given": given, "family": family}
    if name == "tags":
        return sorted(text.split(","))
    if name == "address":
        given_parts = [p.strip() for p in text.split("|")]
        return dict(zip(PARTS, (given_parts + [""] * 6)[:6], strict=True))
    return text


def pairs(words: Sequence[str]) -> dict[str, str]:
    """name=value words."""
    return dict(w.split("=", 1) for w in words)


@dataclass
class Story:
    """One story, being told."""

    world: World
    plans: dict[str, list[Plan]] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    proofs: int = 0

    # -- who is meant --------------------------------------------------------------------------

    def tool(self, name: str) -> SimTool:
        """A tool by name."""
        if name not in self.world.tools:
            raise StoryError(f"no tool {name!r}")
        return self.world.tools[name]

    def record_uid(self, who: str) -> str | None:
        """The uid of A.jane, None where she was never read."""
        name, _, native = who.partition(".")
        held = self.tool(name).held.get(native)
        return self.world.uid(name, native, held.object if held else PERSON)

    def record(self, who: str) -> Record:
        """What the hub knows of A.jane."""
        uid = self.record_uid(who)
        found = self.world.store.view(lambda r: state.load_record(r, uid)) if uid else None
        if found is None:
            raise StoryError(f"the hub does not know {who}")
        return found

    def golden(self, who: str) -> Golden:
        """The golden record of A.jane."""
        uid = self.record(who).uid
        found = self.world.store.view(lambda r: state.golden_of(r, uid))
        if found is None:
            raise StoryError(f"{who} has no golden record")
        return found

    def beside(self, system: str, who: str) -> Record | None:
        """The leading living record of the same customer in another tool."""
        golden = self.golden(who)
        members = self.world.store.view(lambda r: state.members_of(r, golden))
        return next((m for m in members if m.system == system and m.alive and m.native_id), None)

    # -- people and tools ----------------------------------------------------------------------

    def types(self, who: str, words: Sequence[str]) -> None:
        """A person types, deletes or merges."""
        name, _, native = who.partition(".")
        tool = self.tool(name)
        if words[0] == "delete":
            tool.delete(native)
        elif words[0] == "poisoned":
            uid = self.record_uid(who)
            self.world.store.transact(lambda r: self.poison(r, uid))
        elif words[:2] == ["merges", "into"]:
            tool.merge(native, words[2].partition(".")[2])
        else:
            company = words[0] == "company"
            spec = tool.firms if company else tool.people
            app: dict[str, Any] = {}
            given = pairs(words[company:])
            for field_name, text in given.items():
                app |= self.app(spec, field_name, text)
            if told := {CONSENTS[n]: self.consent(t) for n, t in given.items() if n in CONSENTS}:
                held = (tool.latest(native) or {}).get("consent") if native in tool.held else {}
                app["consent"] = {**(held or {}), **told}
            tool.act(native, app, obj=COMPANY if company else PERSON)

    def poison(self, rows: Rows, uid: str | None) -> None:
        """The newest input of a record, still waiting, is damaged on its way."""
        rows.lock([uid] if uid else [])
        row = rows.get("record", uid=uid) or {}
        where = {"uid": uid, "seq": row["next_seq"] - 1}
        self.must(rows.update("input", {**where, "status": "pending"}, {"body": b"?"}) == 1, "read")

    def replay(self, kind: str) -> None:
        """Everything parked of a kind is tried again."""
        for item in commands.parked(self.world.hub)["parked"]:
            if item["kind"] == kind:
                commands.replay(self.world.hub, item["id"])

    def app(self, spec: Any, name: str, text: str) -> dict[str, Any]:
        """One typed field, in the tool's own terms."""
        if name == "firm":
            return {"firms": sorted(x for x in text.split(",") if x)}
        if name in CONSENTS:
            return {}
        value = value_of(name, text)
        if name == "phone":
            return {"tel": value}
        given: dict[str, Any] = dict(spec.fields.by_name[name].give(value))
        return {k: v or None for k, v in given.items()}

    def consent(self, text: str) -> Any:
        """out, in (no proof), proof (a new one), proof:x (this one), old:x (from before)."""
        if text.startswith("old:"):
            return {"state": "in", "proof": text.partition(":")[2], "at": START_MS}
        if text.startswith("proof"):
            self.proofs += 1
            named = text.partition(":")[2] or f"proof-{self.proofs}"
            return {"state": "in", "proof": named, "at": self.world.clock()}
        return {"state": "in"} if text == "in" else text or None

    # -- the write in three parts --------------------------------------------------------------

    def part(self, name: str, what: str) -> None:
        """plans, reads, sends."""
        system = self.world.hub.systems[name]
        link = Link(self.world.hub, system, system.specs[PERSON])
        env, commit = self.world.env, self.world.env.commit
        if what == "plans":
            found = env.view(lambda r: deliver.look(r, link))
            self.plans[name] = [f for f in found if isinstance(f, deliver.Plan)]
        elif what == "plans-create":
            self.plans[name] = commit(lambda r: deliver.plan_creates(r, link), "plan")
        elif what == "reads":
            readings = deliver.read_again(link, self.plans[name])
            self.plans[name] = commit(lambda r: deliver.settle(r, link, readings), "settle")
        elif what == "sends":
            deliver.send(link, self.plans[name])

    # -- stewards ------------------------------------------------------------------------------

    def steward(self, words: list[str]) -> None:
        """A decision of a person."""
        if words[1] == "is":
            self.verdict(words[0], words[-1], same=words[2] != "not")
        else:
            self.decide(words[0], words[1], words[2:])
        self.world.resolve()

    def verdict(self, one: str, two: str, *, same: bool) -> None:
        """Same, or different."""
        left, right = self.record(one), self.record(two)
        said = Decision(
            self.world.clock(),
            "same" if same else "different",
            self.world.env.uid(),
            Actor("steward"),
            other=right.uid,
        )
        self.world.store.transact(lambda r: inputs.decided(r, self.world.hub, left, said))

    def decide(self, act: str, who: str, words: Sequence[str]) -> None:
        """Pin, edit, retract; keep, unlink, recreate."""
        record = self.record(who)
        made = Decision(self.world.clock(), act, self.world.env.uid(), Actor("steward", "s"))
        if act in ("pin", "edit"):
            (cell, text), = pairs(words).items()  # fmt: skip
            shown = self.golden(who).cell(cell).version
            made = replace(made, cell=cell, value=value_of(cell, text), version=shown)
        elif act == "retract":
            claim = record.cell(words[0]).claim()
            made = replace(made, cell=words[0], claim=claim.seq if claim else 0)
        if act in ("keep", "unlink", "recreate"):
            self.settle(record, made)
            return
        self.world.store.transact(lambda r: inputs.decided(r, self.world.hub, record, made))

    def settle(self, record: Record, made: Decision) -> None:
        """Through the same door as the command line."""

        def work(rows: Rows) -> None:
            item = f"departed:{record.uid}"
            if rows.get("parked", id=item) is None:
                item = f"unsupported:{record.uid}"
            commands.settle(rows, self.world.hub, made.act, item, "s")

        self.world.store.transact(work)

    # -- expectations --------------------------------------------------------------------------

    def expect(self, words: list[str]) -> None:
        """One thing that must be so."""
        if words[0] == "golden":
            self.holds(words[2:], lambda n: self.golden_value(words[1], n))
        elif words[0] == "writes":
            done = self.world.tools[words[2]].calls["write"] - self.since.get(words[2], 0)
            self.must(done == int(words[4]), f"{words[2]} was written {done} times")
        elif words[0] in ("nobody", "somebody"):
            found = self.beside(words[2], words[4])
            self.must((found is None) == (words[0] == "nobody"), f"{found}")
        elif words[0] == "asked":
            self.must(bool(self.golden(words[1]).asks), "nobody is asked")
        elif words == ["nothing", "parked"]:
            found = commands.parked(self.world.hub)["parked"]
            self.must(not found, f"parked: {found}")
        elif words[0] == "parked":
            kinds = [p["kind"] for p in commands.parked(self.world.hub)["parked"]]
            self.must(words[1] in kinds, f"parked: {kinds}")
        elif words[1] == "of":
            other = self.beside(words[0], words[2])
            self.must(other is not None, f"nobody in {words[0]} for {words[2]}")
            native = other.native_id if other else ""
            self.holds(words[3:], lambda n: self.tool_value(f"{words[0]}.{native}", n))
        else:
            self.expect_record(words)

    def expect_record(self, words: list[str]) -> None:
        """What a record is, or holds."""
        if words[1] == "is":
            one, two = self.golden(words[0]).uid, self.golden(words[-1]).uid
            self.must((one == two) == (words[2] != "not"), f"{one} and {two}")
        elif len(words) > 3 and words[2] == "is":
            found = self.word(words[0], words[1])
            self.must(found == " ".join(words[3:]), f"it is {found}")
        else:
            self.holds(words[1:], lambda n: self.tool_value(words[0], n))

    def must(self, good: bool, otherwise: str) -> None:  # noqa: FBT001
        """Raise where it is not so."""
        if not good:
            raise StoryError(otherwise)

    def holds(self, words: Sequence[str], look: Callable[[str], Any]) -> None:
        """Each field has the value."""
        for name, text in pairs(words).items():
            found = look(name)
            wanted = text if name in (*CONSENTS, "firms") else value_of(name, text)
            wanted = wanted or None
            found = found or None
            self.must(found == wanted, f"{name} is {found!r}, not {wanted!r}")

    def golden_value(self, who: str, name: str) -> Any:
        """A golden value, sets whole."""
        cells = self.golden(who).cells
        if name == "tags":
            return sorted(c[5:-1] for c, g in cells.items() if c.startswith("tags[") and g.value)
        if name in CONSENTS:
            return getattr(cells.get(f"consent[{CONSENTS[name]}]"), "value", None)
        return self.golden(who).cell(name).value

    def tool_value(self, who: str, name: str) -> Any:
        """What the tool holds now, asked there."""
        system, _, native = who.partition(".")
        held = self.tool(system).latest(native) or {}
        if name == "firms":
            return ",".join(held.get("firms") or ())
        if name in CONSENTS:
            found = (held.get("consent") or {}).get(CONSENTS[name])
            return found.get("state") if isinstance(found, Mapping) else found
        spec = self.tool(system).people if self.tool(system).held[native].object == PERSON \
            else self.tool(system).firms  # fmt: skip
        return spec.fields.take(held).values.get(name)

    def word(self, who: str, cell: str) -> str:
        """The word of the comparison."""
        return next((d.word for d in self.compared(who) if d.cell == cell), "not known")

    def compared(self, who: str) -> list[Difference]:
        """How a record stands to its golden record."""
        system, _, _ = who.partition(".")
        record, golden = self.record(who), self.golden(who)
        made = self.world.hub.systems[system]
        link = Link(self.world.hub, made, made.specs[record.object])
        row = self.world.store.view(lambda r: r.get("record", uid=record.uid)) or {}
        return self.world.store.view(lambda r: differences(r, link, row, record, golden))


# -- telling -----------------------------------------------------------------------------------


def tell(
    text: str, beside: Mapping[str, Profile] | None = None, opens: Callable[[], Store] | None = None
) -> Story:
    """Run a story, maybe `beside` more tools; raises `StoryError` naming the line that fails.

    `opens` gives another store than the twin.
    """
    told = lines_of(text)
    story = opening(told, beside or {}, opens)
    for number, line in told:
        if line.split()[0] not in SAID_FIRST:
            try:
                step(story, line)
            except (AssertionError, KeyError) as error:
                raise StoryError(f"line {number}: {line}\n    {error!r}") from error
    finish(story, restless=any(line == "restless" for _, line in told))
    passive(story, beside or {})
    return story


def lines_of(text: str) -> list[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    lines = [(n, line.partition("#")[0].strip()) for n, line in enumerate(text.splitlines(), 1)]
    return [(n, line) for n, line in lines if line]


def told_beside(text: str) -> bool:
    """Whether a story is also told beside two more tools."""
    said = [line for _, line in lines_of(text)]
    named = [tools_in(line.removeprefix("tools")) for line in said if line.startswith("tools ")]
    few = sum(map(len, named)) < 4  # a company has four tools
    return few and not any(line.startswith("alone: ") for line in said)


def passive(story: Story, beside: Mapping[str, Profile]) -> None:
    """Tools that nobody worked in have claimed nothing, and hold what golden holds."""
    for name in beside:
        for native in story.tool(name).living():
            record = story.record(f"{name}.{native}")
            claimed = [c for c, cell in record.cells.items() if cell.claims]
            story.must(not claimed, f"{name}.{native} claims {claimed}")
            apart = [d for d in story.compared(f"{name}.{native}") if d.word not in AT_REST]
            story.must(not apart, f"{name}.{native} differs: {apart}")


def opening(
    told: Sequence[tuple[int, str]],
    beside: Mapping[str, Profile],
    opens: Callable[[], Store] | None = None,
) -> Story:
    """The world that the first lines describe."""
    profiles: dict[str, Profile] = {}
    changed: dict[str, FieldRule] = {}
    create: dict[str, str] = {}
    widens: set[str] = set()
    for _, line in told:
        words = line.split()
        if words[0] == "tools":
            for one in line.removeprefix("tools").replace(") ", ")\n").replace(" ", "\n", 0) \
                    .strip().split("\n"):  # fmt: skip
                profiles |= tools_in(one)
        elif words[0] == "rule":
            kind = rules_for(()).entities["person"][words[1]].kind
            changed[words[1]] = FieldRule(
                words[1], kind, cast("Strategy", words[2]), tuple(words[3:]), "identifier" in words
            )
        elif words[0] == "create":
            create[words[1]] = words[2]
        elif words[0] == "widens":
            widens |= set(words[1:])
    profiles |= beside
    rules = rules_for(profiles, changed)
    return Story(World(profiles, rules=rules, create=create, widens=frozenset(widens), opens=opens))


def tools_in(text: str) -> dict[str, Profile]:
    """Names with options in brackets."""
    found: dict[str, Profile] = {}
    while text := text.strip():
        name, bracket, _ = text.partition("(")
        if bracket and " " not in name.strip():
            options, _, text = text.partition(")")
            found[name.strip()] = profile(options.partition("(")[2].split())
        else:
            head, _, text = text.partition(" ")
            found[head] = Profile()
    return found


def step(story: Story, line: str) -> None:
    """One line."""
    words = shlex.split(line)
    world = story.world
    simple: Mapping[str, Callable[[], object]] = {
        "sync": world.sync, "count": lambda: story.since.update(world.writes()),
        "round": world.round, "resolve": world.resolve,
        "capture": lambda: world.capture(words[1]), "deliver": lambda: world.deliver(words[1]),
        "sweep": lambda: world.sweep(words[1]),
        "wait": lambda: world.clock.pass_time(int(float(words[1]) * 1000)),
        "replay": lambda: story.replay(words[1]),
        "next": lambda: story.tool(words[3].rstrip(":")).faults.append(" ".join(words[4:])),
        "steward:": lambda: story.steward(words[1:]), "expect": lambda: story.expect(words[1:]),
    }  # fmt: skip
    if words[0] in simple:
        simple[words[0]]()
    elif words[0] in world.tools and words[1] == "is":
        story.tool(words[0]).down = words[2] == "down"
    elif words[0] in world.tools:
        story.part(words[0], words[1])
    elif "." in words[0]:
        story.types(words[0], words[1:])
    else:
        raise StoryError("nobody understands this line")


def finish(story: Story, *, restless: bool) -> None:
    """After every story: inputs balance, orders agree, and silence."""
    world = story.world
    if not restless:
        world.sync()
        before = world.writes()
        for _ in range(5):
            world.round()
        if world.writes() != before:
            raise StoryError(f"not silent: {before} then {world.writes()}")
    states = {r["status"] for r in world.store.view(lambda r: r.select("input"))}
    if states - {"applied", "superseded", "parked", "pending" if restless else "applied"}:
        raise StoryError(f"inputs are left: {states}")
    if not restless and not world.orders_agree(5):
        raise StoryError("another order of the same inputs gives another golden")
