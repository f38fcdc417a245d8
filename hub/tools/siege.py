"""P12, at the end of a run: one tool is dead or one record poisoned, and all others go on.

People type while the trouble lasts. In a bounded number of rounds every other record of every
other tool has to show what golden says; when the trouble is over, the rest of the promises are
asked of this world as well.
"""

from __future__ import annotations

import random

from hub.io import state
from hub.tools import monitors
from hub.tools.monitors import Broken
from hub.tools.outside import Outside
from hub.tools.people import TYPED, People, Place
from hub.tools.world import World

HOWS = ("dead tool", "record refused", "record unreadable")
ACTS = 5
ROUNDS_MOST = 40  # what a tool shows a minute late has come by then
FOREVER_MS = 10**15


def lay(world: World, people: People, dice: random.Random) -> str:
    """Lay siege to a tool or a record while people type, and lift it; which kind it was.

    Raises `Broken` where others are not served meanwhile. Nothing else may be wrong in the world.
    """
    place, how = people.some(), dice.choice(HOWS)
    if place is None:
        return ""
    begin(place, how)
    people.note(f"{how}: {place}", "all others go on")
    for sibling in siblings(world, place):
        people.enter(sibling, dice.choice([n for n in TYPED["person"] if sibling.writable(n)]))
    for _ in range(ACTS):
        people.edit()
    people.create()
    hold_out(world, place, how)
    place.outside.heal()
    return how


def begin(place: Place, how: str) -> None:
    """From now on it is so."""
    trouble = place.outside.trouble
    if how == "dead tool":
        place.outside.fail("down", 1)
    else:
        kept = trouble.refused if how == "record refused" else trouble.unreadable
        kept[place.native_id] = FOREVER_MS


def siblings(world: World, place: Place) -> list[Place]:
    """Where the same customer is in other tools: our next writes are for the besieged one, too."""
    uid = world.uid(place.outside.name, place.native_id, place.spec.object)
    golden = uid and world.store.view(lambda r: state.golden_of(r, uid))
    if not golden:
        return []
    found = world.store.view(lambda r: state.members_of(r, golden))
    return [
        Place(outside, spec, m.native_id, held)
        for m in found
        if m.system != place.outside.name
        for outside in [world.outside[m.system]]
        for spec in outside.objects
        if spec.object == m.object and (held := outside.holds(m.object).get(m.native_id))
    ]


def hold_out(world: World, place: Place, how: str) -> None:
    """Rounds until all others are served."""
    why = ""
    for _ in range(ROUNDS_MOST):
        world.round()
        why = unserved(world, place, how)
        if not why:
            return
    raise Broken(f"P12 {how}: {place}, and for {ROUNDS_MOST} rounds {why}")


def unserved(world: World, place: Place, how: str) -> str:
    """What is wrong with any record but the besieged ones, "" for nothing."""
    others = [o for o in world.outside.values() if o is not place.outside or how != "dead tool"]
    try:
        for outside in others:
            monitors.converged(world, outside, but=besieged(outside, place))
    except Broken as broken:
        return str(broken)
    return ""


def besieged(outside: Outside, place: Place) -> str:
    """The record that nobody may count on in this tool."""
    return place.native_id if outside is place.outside else ""
