"""The tour: what happens in a company, seven times, and what the other tools hold a moment later.

People work in one tool; the others are watched over their own APIs, by clients that the hub knows
nothing of. Why a value won is what the hub itself answers to `synchub explain`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from hub import commands, shown
from hub.listeners import wait_for
from hub.status import status
from hub.tools.demo.stage import Stage, say

MARKETING = "consent[email.marketing]"
BILLING, CRM, MAIL, DESK = "stripe", "hubspot", "mailchimp", "zendesk"
PATIENCE = 60
DOWN_SECONDS = 4
LOOK_SECONDS = 0.01
NEW_HOME = {
    "line1": "5 New Street",
    "line2": "",
    "city": "Portland",
    "region": "OR",
    "postcode": "97201",
    "country": "US",
}

People = Iterator[dict[str, str]]


@dataclass
class Tour:
    """A tour under way. `people`: customers who are in every tool, for each event another one."""

    stage: Stage
    people: People
    missed: list[str] = field(default_factory=list)

    def title(self, system: str) -> str:
        """What the vendor calls it."""
        return self.stage.title(system)

    def tell(self, label: str, text: str) -> None:
        """One line below an event."""
        say(f"        {label:10} {text}")

    def watched(self, ids: Mapping[str, str], name: str, value: Any, began: float) -> None:
        """Wait until every other tool shows a value; say how long each took."""
        places = {s: i for s, i in ids.items() if self.holds(s, name)}
        seen = self.follow({s: self.shows(s, i, name, value) for s, i in places.items()}, began)
        self.tell("arrived", self.times(seen))
        if without := [self.title(s) for s in ids if s not in places]:
            self.tell("", f"no place for it: {', '.join(without)}")

    def holds(self, system: str, cell: str) -> bool:
        """Whether the hub knows a place for a cell of a person there."""
        return self.stage.hub.tool(system, self.stage.spec(system).object).holds(cell)

    def shows(self, system: str, own: str, name: str, value: Any) -> Callable[[], bool]:
        """Whether a tool shows a value in the form in which it can hold it."""
        wanted = self.stage.spec(system).fields.by_name[name].normal(value)
        return lambda: self.stage.values(system, own).get(name) == wanted

    def follow(
        self, conditions: Mapping[str, Callable[[], bool]], began: float
    ) -> dict[str, float | None]:
        """Look at each tool in turn until all have come; seconds since, None for never."""
        seen: dict[str, float | None] = dict.fromkeys(conditions)
        while None in seen.values() and time.monotonic() - began < PATIENCE:
            for system, come in conditions.items():
                if seen[system] is None and come():
                    seen[system] = time.monotonic() - began
            time.sleep(LOOK_SECONDS)
        self.missed += [s for s, took in seen.items() if took is None]
        return seen

    def times(self, seen: Mapping[str, float | None]) -> str:
        """How long it took each."""
        come = sorted((t, s) for s, t in seen.items() if t is not None)
        never = [f"NOT in {self.title(s)}" for s, t in seen.items() if t is None]
        return ", ".join([*(f"{self.title(s)} {t:.2f} s" for t, s in come), *never])

    def why(self, system: str, own: str, cell: str) -> None:
        """What the hub says of a value: the rule, where it was entered, what it won against."""
        record = self.stage.record(system, own)
        told = commands.explain(self.stage.hub, record.uid if record else own, cell)
        found = told["customers"][0]["fields"].get(cell)
        self.tell("why", self.reason(found) if found else "the hub knows of no such value")

    def reason(self, found: Mapping[str, Any]) -> str:
        """One value explained on one line."""
        source, lost = found["from"], dict[str, list[str]]()
        for claim in found["lost"]:
            if told_value(claim["value"]) != found["value"]:
                said = shown.in_words(told_value(claim["value"]))
                lost.setdefault(said, []).append(self.title(claim["system"]))
        entered = (
            f", {self.title(source['system'])} at {shown.when(source['at'])}" if source else ""
        )
        over = [f"{said} ({', '.join(dict.fromkeys(who))})" for said, who in lost.items()]
        conflict = "; a conflict, for neither had seen the other" if found["conflict"] else ""
        return (
            f"{shown.because(found['rule'])}: {shown.in_words(found['value'])}{entered}"
            + (f"; not {', nor '.join(over)}" if over else "")
            + conflict
        )


def told_value(value: Any) -> Any:
    """A claim's value; of a consent its state."""
    return value.get("state", value) if isinstance(value, dict) else value


def tour(stage: Stage) -> bool:
    """All of it; whether everything arrived."""
    say("4. The tour: seven things that happen. The tools are watched over their own APIs.")
    people = list(stage.everywhere())
    if not people:
        say("   Nobody is in every tool without doubt: try more customers, or another seed.")
        return False
    one = Tour(stage, cycle(people))
    for number, (what, happens) in enumerate(EVENTS.items(), 1):
        say(f"   {number}/{len(EVENTS)}  {what}")
        happens(one)
        stage.settle()
    return not one.missed


# -- the events --------------------------------------------------------------------------------


def others(ids: Mapping[str, str], *apart: str) -> dict[str, str]:
    """The same customer in the other tools."""
    return {s: own for s, own in ids.items() if s not in apart}


def address_corrected(one: Tour) -> None:
    """In billing; Mailchimp keeps it without its second line, the support desk not at all."""
    ids, began = next(one.people), time.monotonic()
    one.stage.edit(BILLING, ids[BILLING], address=NEW_HOME)
    one.tell(one.title(BILLING), f"{ids[BILLING]}: address → {shown.in_words(NEW_HOME)}")
    one.watched(others(ids, BILLING), "address", NEW_HOME, began)
    one.why(BILLING, ids[BILLING], "address")


def unsubscribed(one: Tour) -> None:
    """By the person, in e-mail marketing; then somebody puts them back on the list."""
    ids = next(p for p in one.people if subscribed(one.stage, p))
    mail, own = one.stage.values(MAIL, ids[MAIL])["email"], ids[MAIL]
    began = time.monotonic()
    set_status(one, mail, "unsubscribed")
    one.tell(one.title(MAIL), f"{mail}: status → unsubscribed")
    known = {"hub": lambda: refused(one.stage, own)}
    places = {
        s: refusal_in(one, s, i) for s, i in others(ids, MAIL).items() if one.holds(s, MARKETING)
    }
    seen = one.follow({**known, **places}, began)
    one.tell(
        "arrived",
        f"in golden {seen.pop('hub') or PATIENCE:.2f} s; "
        + (
            one.times(seen)
            or f"no place for consent: {', '.join(map(one.title, others(ids, MAIL)))}"
        ),
    )
    one.why(MAIL, own, MARKETING)
    one.stage.settle()
    began = time.monotonic()
    set_status(one, mail, "subscribed")
    one.tell("then", f"somebody sets {mail} back to subscribed, without the person's own proof")
    seen = one.follow(
        {MAIL: lambda: refused(one.stage, own) and refusal_in(one, MAIL, own)()}, began
    )
    one.tell("undone", f"unsubscribed again in {one.times(seen)}")
    one.why(MAIL, own, MARKETING)


def subscribed(stage: Stage, ids: Mapping[str, str]) -> bool:
    """Whether mail may be sent to a customer so far."""
    return stage.read(MAIL, ids[MAIL]).app.get("status") == "subscribed"


def set_status(one: Tour, mail: str, status: str) -> None:
    """In the dialogue of a member."""
    list_id = one.stage.served[MAIL].host.sandbox.auth["list_id"]
    one.stage.act(MAIL, "set_member_status", email=mail, status=status, list_id=list_id)


def refused(stage: Stage, own: str) -> bool:
    """Whether golden says that no mail may be sent to a member."""
    golden = stage.golden(MAIL, own)
    return golden is not None and golden.cell(MARKETING).value == "out"


def refusal_in(one: Tour, system: str, own: str) -> Callable[[], bool]:
    """Whether a tool shows a refusal."""
    return lambda: "out" in (one.stage.values(system, own).get("consent") or {}).values()


def phone_changed(one: Tour) -> None:
    """In support."""
    ids, began, number = next(one.people), time.monotonic(), "+447400123456"
    one.stage.edit(DESK, ids[DESK], phone=number)
    one.tell(one.title(DESK), f"user {ids[DESK]}: phone → {number}")
    one.watched(others(ids, DESK), "phone", number, began)
    one.why(DESK, ids[DESK], "phone")


def contact_created(one: Tour) -> None:
    """In the CRM: whoever has a place for such a customer gets one."""
    mail, number = "ines.newcomer@new.example.com", "+447400654321"
    name = {"given": "Ines", "family": "Newcomer"}
    stage, began = one.stage, time.monotonic()
    spec = stage.spec(CRM)
    fields = dict(spec.fields.give({"name": name, "email": mail, "phone": number}))
    own = stage.act(CRM, "act", op="create", object=spec.object, fields=fields)
    one.tell(one.title(CRM), f"contact {own}: Ines Newcomer, {mail}, {number}")
    elsewhere = {s: created(stage, own, s, mail) for s in stage.served if s != CRM}
    seen = one.follow(elsewhere, began)
    one.tell("created", one.times(seen))
    if (golden := stage.golden(CRM, own)) and (ids := stage.ids(golden)).get(MAIL):
        status = stage.read(MAIL, ids[MAIL][0]).app["status"]
        fact = golden.cells.get(MARKETING)
        because = f"consent is {fact.value}" if fact else "nobody has recorded an opt-in"
        one.tell("", f"in {one.title(MAIL)} as {status}: {because}")
    if careful := [one.title(s) for s in elsewhere if "email" not in stage.spec(s).unique]:
        one.tell(
            "", f"{', '.join(careful)} would take two of one address: looked first, then created"
        )
    one.why(CRM, own, "email")


def created(stage: Stage, own: str, system: str, mail: str) -> Callable[[], bool]:
    """Whether a tool shows the new customer."""

    def come() -> bool:
        golden = stage.golden(CRM, own)
        made = stage.ids(golden).get(system) if golden else None
        return made is not None and stage.values(system, made[0]).get("email") == mail

    return come


def clash(one: Tour) -> None:
    """Two people, two tools, one field, at once: one value wins, the other stays in the history."""
    ids = next(one.people)
    said = {CRM: "+447400111111", DESK: "+447400222222"}
    began = time.monotonic()
    with unheard(one.stage, said):  # or the hub may have shown the one to the other in between
        for system, number in said.items():
            one.stage.edit(system, ids[system], phone=number)
            one.tell(one.title(system), f"{ids[system]}: phone → {number}")
    seen = one.follow({s: as_golden(one, s, i, said.values()) for s, i in ids.items()}, began)
    one.tell("agreed", f"on {agreed(one.stage, ids)}: {one.times(seen)}")
    one.why(CRM, ids[CRM], "phone")


@contextmanager
def unheard(stage: Stage, systems: Iterable[str]) -> Iterator[None]:
    """No program hears from these tools meanwhile; people work on."""
    served = [stage.served[system] for system in systems]
    for tool in served:
        tool.down = True
    try:
        yield
    finally:
        for tool in served:
            tool.down = False


def as_golden(one: Tour, system: str, own: str, said: Collection[str]) -> Callable[[], bool]:
    """Whether a tool shows the telephone number on which the hub has decided."""

    def look() -> bool:
        golden = one.stage.golden(system, own)
        value = golden.cell("phone").value if golden and golden.cell("phone").conflict else None
        return value in said and one.shows(system, own, "phone", value)()

    return look


def agreed(stage: Stage, ids: Mapping[str, str]) -> Any:
    """What golden says of the telephone number."""
    golden = stage.golden(CRM, ids[CRM])
    return golden.cell("phone").value if golden else None


def tool_down(one: Tour) -> None:
    """Billing is not there for a while; people work on elsewhere."""
    stage, numbers = one.stage, [f"+44740033333{n}" for n in range(3)]
    edits = list(zip((CRM, DESK, MAIL), (next(one.people) for _ in numbers), numbers, strict=True))
    with unheard(stage, [BILLING]):
        began = time.monotonic()
        for system, ids, number in edits:
            stage.edit(system, ids[system], phone=number)
        told = ", ".join(one.title(s) for s, _, _ in edits)
        one.tell(one.title(BILLING), "hangs up on everybody")
        one.tell("meanwhile", f"a phone is changed in {told}")
        seen = one.follow({s: both(one, s, edits) for s in (CRM, DESK, MAIL)}, began)
        one.tell("arrived", f"all three: {one.times(seen)}")
        wait_for(lambda: trouble(stage), PATIENCE)
        time.sleep(max(0, DOWN_SECONDS - (time.monotonic() - began)))
        one.tell("why not", f"{one.title(BILLING)}: {trouble(stage)}")
    back = time.monotonic()
    seen = one.follow({BILLING: both(one, BILLING, edits)}, back)
    one.tell("back", f"after {back - began:.0f} s; all three are there: {one.times(seen)} later")
    one.why(CRM, edits[0][1][CRM], "phone")


def both(
    one: Tour, system: str, edits: Iterable[tuple[str, dict[str, str], str]]
) -> Callable[[], bool]:
    """Whether a tool shows every one of these numbers."""
    looks = [one.shows(system, ids[system], "phone", number) for _, ids, number in edits]
    return lambda: all(look() for look in looks)


def trouble(stage: Stage) -> str:
    """What the hub says of billing."""
    found = status(stage.hub)["systems"][BILLING]
    return str(found["last_failure"]) if found["failing_since"] else ""


def duplicate_judged(one: Tour) -> None:
    """Two customers that may be one: a person says *same*, and from then on they are."""
    stage = one.stage
    task = next(same_by_the_generator(stage), None)
    if task is None:
        one.tell("nobody", "looks like somebody else here: more customers would")
        return
    left, right = task["natives"]
    for side, (system, own) in zip(task["sides"], task["natives"], strict=True):
        known = (
            f"{n} {shown.in_words(v)}" for n, v in side.items() if n in ("name", "email", "phone")
        )
        one.tell(one.title(system), f"{own}: {', '.join(known)}")
    one.tell("asked", f"may be one customer: {task['why']}")
    began = time.monotonic()
    commands.review(stage.hub, "same", task["task"], "the demo")
    wait_for(lambda: linked(stage, left, right), PATIENCE)
    took = time.monotonic() - began
    if not linked(stage, left, right):
        one.missed.append("the duplicate")
    one.tell("judged", f"same: one customer after {took:.2f} s")
    seen = one.follow({s: alike(one, s, left) for s in stage.served}, began)
    one.tell("agreed", one.times(seen))
    one.why(left[0], left[1], "name")


def linked(stage: Stage, left: tuple[str, str], right: tuple[str, str]) -> bool:
    """Whether two records are one customer."""
    found = [stage.golden(*one) for one in (left, right)]
    return None not in found and len({g.uid for g in found if g}) == 1


def alike(one: Tour, system: str, left: tuple[str, str]) -> Callable[[], bool]:
    """Whether a tool has the customer, and shows golden's name and telephone number of them."""

    def look() -> bool:
        golden = one.stage.golden(*left)
        held = one.stage.ids(golden).get(system, []) if golden else []
        wanted = {n: golden.cell(n).value for n in ("name", "phone") if golden}
        known = {n: v for n, v in wanted.items() if v is not None}
        return bool(held) and all(
            one.shows(system, i, n, v)() for i in held for n, v in known.items()
        )

    return look


def same_by_the_generator(stage: Stage) -> Iterator[dict[str, Any]]:
    """Open questions whose two sides are one person in truth, and nobody's double besides."""
    owner = {(s, own): n for n, records in stage.natives() for s, own, _ in records}
    for task in commands.review(stage.hub)["tasks"]:
        sides = [stage.ids(g) for g in stage.sides(task["task"]) if len(g.asks) == 1]
        mailed = any("email" in side for side in task["sides"])  # else not every tool has a place
        if len(sides) != 2 or set(sides[0]) & set(sides[1]) or not mailed:  # noqa: PLR2004
            continue
        natives = [next(iter((s, own[0]) for s, own in side.items())) for side in sides]
        owners = {owner.get((s, own)) for side in sides for s, held in side.items() for own in held}
        if len(owners) == 1 and None not in owners:
            yield {**task, "natives": natives}


EVENTS: Mapping[str, Callable[[Tour], None]] = {
    "An address is corrected in billing": address_corrected,
    "Somebody unsubscribes in e-mail marketing": unsubscribed,
    "A telephone number is changed in support": phone_changed,
    "A new contact is entered in the CRM": contact_created,
    "Two people change one field at once": clash,
    "A tool is down for a while": tool_down,
    "Two customers are judged to be one": duplicate_judged,
}
