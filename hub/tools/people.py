"""What people do in the tools of a simulated world while the hub works.

Whatever somebody types carries a token that nobody typed before, so that its way through the hub
can be followed from the place where it was typed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors._kit.contract import ObjectSpec, Reading
from hub.tools.outside import Outside
from hub.tools.world import World

NAMES = ("Ada Byron", "Bo Lind", "Cy Noor", "Di Costa", "Ed Zhou")
TYPED = {"person": ("job_title", "note", "phone", "address"), "company": ("legal_name", "phone")}
LATELY = 20  # changes of a tool that its people and workflows still react to
FEWEST = 2  # records that nobody deletes


@dataclass(frozen=True, slots=True)
class Typed:
    """A token, and where somebody typed it."""

    token: str
    system: str
    object: str
    native_id: str
    cell: str


@dataclass(frozen=True, slots=True)
class Place:
    """A record of a tool."""

    outside: Outside
    spec: ObjectSpec
    native_id: str
    reading: Reading

    def __str__(self) -> str:
        return f"{self.outside.name} {self.spec.object} {self.native_id}"

    def type(self, values: Mapping[str, Any], who: str = "person") -> bool:
        """Somebody types these values of ours, in the tool's own terms; whether it lets them."""
        fields = self.spec.fields.give(values)
        try:
            self.outside.act("update", self.spec.object, self.native_id, fields, who)
        except ValueError:
            return False
        return True

    def writable(self, name: str) -> bool:
        """Whether it has such a field, and the hub may write it."""
        field = self.spec.fields.by_name.get(name)
        return field is not None and field.writable

    def values(self) -> Mapping[str, Any]:
        """What it holds, in our terms."""
        return self.spec.fields.take(self.reading.app).values


class People:
    """All of them. `note` gets a line for each act; `typed` is what was typed, in its order."""

    def __init__(self, world: World, dice: random.Random, note: Callable[[str, str], None]) -> None:
        self.world = world
        self.dice = dice
        self.note = note
        self.typed: list[Typed] = []
        self.count = 0

    # -- who and where -------------------------------------------------------------------------

    def some_tool(self) -> Outside:
        """A tool."""
        return self.dice.choice(list(self.world.outside.values()))

    def some(self, entity: str = "person", field: str = "") -> Place | None:
        """A record of some tool that has such a field."""
        outside = self.some_tool()
        for spec in outside.objects:
            if spec.entity == entity and (not field or field in spec.fields.by_name):
                held = outside.holds(spec.object)
                if held:
                    native_id = self.dice.choice(list(held))
                    return Place(outside, spec, native_id, held[native_id])
        return None

    # -- what they do --------------------------------------------------------------------------

    def edit(self) -> None:
        """Somebody types a new value with a token of its own."""
        entity = "person" if self.dice.random() < 0.85 else "company"  # noqa: PLR2004
        place = self.some(entity)
        if place is None:
            return
        self.enter(place, self.dice.choice([n for n in TYPED[entity] if place.writable(n)]))

    def enter(self, place: Place, name: str, who: str = "person") -> None:
        """Into one field of a record, something that nobody typed before."""
        self.count += 1
        token, value = something_new(name, self.count)
        if not place.type({name: value}, who):
            return
        self.typed.append(
            Typed(token, place.outside.name, place.spec.object, place.native_id, name)
        )
        self.note(str(place), f"a {who} types {name} {token}")

    def clear(self) -> bool:
        """Somebody empties a field that held something; whether there was any."""
        place = self.some()
        held = {n: v for n, v in place.values().items() if v} if place else {}
        names = [n for n in TYPED["person"] if n in held and place and place.writable(n)]
        if not place or not names:
            return False
        name = self.dice.choice(names)
        if done := place.type({name: None}):
            self.note(str(place), f"a person clears {name}")
        return done

    def automate(self) -> bool:
        """A workflow of some tool rewrites what the hub wrote there last; whether there is any."""
        return self.rewrite("automation")

    def correct(self) -> None:
        """Somebody corrects what came from another tool."""
        self.rewrite("person")

    def rewrite(self, who: str) -> bool:
        """Type over what the hub wrote last in some tool; whether there is any."""
        outside = self.some_tool()
        for entry in reversed(outside.log[-LATELY:]):
            spec = next(s for s in outside.objects if s.object == entry.object)
            name = next((f.name for f in spec.fields.fields if entry.field in f.app), "")
            held = outside.holds(entry.object).get(entry.native_id)
            if entry.who == "hub" and name in TYPED[spec.entity] and held:
                self.enter(Place(outside, spec, entry.native_id, held), name, who)
                return True
        return False

    def create(self) -> None:
        """Somebody makes a record, maybe of a customer that others have too."""
        outside = self.some_tool()
        spec = next(s for s in outside.objects if s.entity == "person")
        values = self.some_customer()
        held = [spec.fields.take(r.app).values for r in outside.holds(spec.object).values()]
        if any(v["email"] == values["email"] for v in held):
            return
        try:
            own = outside.act("create", spec.object, "", spec.fields.give(values))
        except ValueError:
            return  # the tool knows the address, in other letters or from an archived record
        self.note(f"{outside.name} {spec.object} {own}", f"a person creates {values['email']}")

    def some_customer(self) -> dict[str, Any]:
        """Name and e-mail of somebody: new in this world, or from some tool."""
        place = self.some() if self.dice.random() < 0.5 else None  # noqa: PLR2004
        if place and (values := place.values())["email"] and values["name"]:
            return {n: values[n] for n in ("name", "email")}
        n = self.dice.randrange(len(NAMES))
        given, family = NAMES[n].split()
        return {
            "name": {"given": given, "family": family},
            "email": f"{given.lower()}{n}@example.com",
        }

    def delete(self) -> None:
        """Somebody deletes a record."""
        place = self.some()
        if place and len(place.outside.holds(place.spec.object)) > FEWEST:
            place.outside.act("delete", place.spec.object, place.native_id, {})
            self.note(str(place), "a person deletes it")

    def merge(self) -> None:
        """Somebody finds two records to be one customer, where the tool can make them one."""
        place = self.some()
        if place is None or not place.outside.merges:
            return
        held = place.outside.holds(place.spec.object)
        others = [i for i in held if i != place.native_id]
        if len(others) < FEWEST:
            return
        other = held[self.dice.choice(others)]
        fields = {"other": other.native_id}
        place.outside.act("merge", place.spec.object, place.native_id, fields)
        self.note(str(place), f"a person merges {other.native_id} into it")
        self.forget(place.outside.name, (place.reading, other))

    def forget(self, system: str, merged: Sequence[Reading]) -> None:
        """A person has carried what these two held from one to the other: it has no one place."""
        there = {(system, r.object, r.native_id) for r in merged}
        shown = repr([r.app for r in merged])
        self.typed = [
            t
            for t in self.typed
            if (t.system, t.object, t.native_id) not in there and t.token not in shown
        ]

    def refuse(self) -> None:
        """A customer unsubscribes in a tool."""
        place = self.some(field="consent")
        if place and place.type({"consent": {"email.marketing": "out"}}):
            self.note(str(place), "unsubscribes")

    def join(self) -> None:
        """Somebody says for which company a customer works, a new one where the tool has none."""
        place = self.some_linked()
        if place is None:
            return
        (firms,) = (s for s in place.outside.objects if s.entity == "company")
        if not place.outside.holds(firms.object):
            self.found()
        end = self.dice.choice(list(place.outside.holds(firms.object)))
        if end not in place.reading.links.get("company", ()):
            place.outside.act("link", place.spec.object, place.native_id, {"company": end})
            self.note(str(place), f"a person joins it to {end}")

    def found(self) -> None:
        """A company that is known wherever there are any."""
        self.count += 1
        values = {"legal_name": f"Firm {self.count}", "domain": f"firm{self.count}.example.com"}
        for outside in self.world.outside.values():
            for spec in (s for s in outside.objects if s.entity == "company"):
                outside.act("create", spec.object, "", spec.fields.give(values))

    def part(self) -> None:
        """A customer leaves a company."""
        place = self.some_linked()
        if place and (ends := place.reading.links.get("company")):
            end = self.dice.choice(ends)
            place.outside.act("unlink", place.spec.object, place.native_id, {"company": end})
            self.note(str(place), f"a person parts it from {end}")

    def some_linked(self) -> Place | None:
        """A record of some tool that knows associations."""
        place = self.some()
        return place if place and place.spec.links else None

    def opt_in(self) -> None:
        """A tool shows "subscribed" again, with no proof of anybody's act."""
        place = self.some(field="consent")
        if place is None or place.values()["consent"].get("email.marketing") == "out":
            return
        if place.type({"consent": {"email.marketing": {"state": "in"}}}):
            self.note(str(place), "shows a subscription")


def something_new(field: str, n: int) -> tuple[str, Any]:
    """A token of fixed length, and a value of this field that has it."""
    token = f"n{n:04d}"
    if field == "phone":
        number = f"+1 202 55{n // 10_000} {n % 10_000:04d}"
        return number, number
    if field == "address":
        parts = {"line1": f"1 {token} Lane", "line2": "", "city": "York", "region": "York"}
        return token, {**parts, "postcode": "YO1 7HH", "country": "GB"}
    return token, f"{field.partition('_')[0].capitalize()} {token}"
