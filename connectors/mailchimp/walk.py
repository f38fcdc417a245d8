"""The way through a list that people edit meanwhile, and where it stands.

Mailchimp pages by offset, and whoever is edited moves to the end of a list in the order of
`last_changed`: what stood behind moves forward, past an offset. So the way leads along the time
stamps: the next page is asked for from the second in which the last one ended, and an offset counts
only within that second, where a bulk job may have put thousands. There a page overlaps the one
before; where the seam does not fit, the second is begun anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import orjson

from connectors._kit.contract import Unreadable
from connectors.mailchimp.answers import iso

TAIL: Final = 50
ANEW_MOST: Final = 3
OVERLAP_S: Final = 120  # stamps are whole seconds, and may become visible late

Stamp = tuple[str, int]  # contact id, second of the last change


@dataclass(frozen=True, slots=True)
class Walk:
    """Members changed in the second `t` or later come next.

    `n` of that second were read, `tail` being the last of them; `anew` counts how often it was
    begun again.
    """

    t: int = 0
    n: int = 0
    tail: tuple[str, ...] = ()
    anew: int = 0

    @property
    def params(self) -> list[tuple[str, str]]:
        """What to ask for: `since_last_changed` does not include its own second."""
        since = [("since_last_changed", iso(self.t - 1))] if self.t else []
        order = [("sort_field", "last_changed"), ("sort_dir", "ASC")]
        return [*since, *order, ("offset", str(self.offset))]

    @property
    def offset(self) -> int:
        """Where in that second."""
        return max(0, self.n - TAIL)

    def fits(self, page: Sequence[Stamp]) -> bool:
        """Whether a page begins where it should; raises `Unreadable` where it is out of order."""
        seconds = [second for _, second in page]
        if seconds != sorted(seconds) or min(seconds, default=self.t) < self.t:
            raise Unreadable("Mailchimp: a page of members that is not in the order of time")
        return not self.offset or (bool(page) and page[0][0] in self.tail)

    def again(self) -> Walk:
        """The same second from its beginning; raises `Unreadable` when that does not help."""
        if self.anew == ANEW_MOST:
            raise Unreadable("Mailchimp: pages of members that make no progress")
        return Walk(self.t, anew=self.anew + 1)

    def past(self, page: Sequence[Stamp], size: int) -> Walk:
        """After a page of `size` members, of which these could be understood."""
        if not page:
            raise Unreadable("Mailchimp: a page of members without any time stamp")
        last = page[-1][1]
        here = [own for own, second in page if second == last]
        if last == self.t:
            return Walk(last, self.offset + size, tuple(here[-TAIL:]), self.anew)
        return Walk(last, len(here), tuple(here[-TAIL:]))


@dataclass(frozen=True, slots=True)
class Round:
    """Where `changes` stands. Times are Mailchimp's, in seconds.

    A round goes through the members changed since `since`, then through those archived since then;
    it began at `until` (0: not yet), from where the next one starts, less the overlap.
    """

    since: int
    until: int = 0
    archived: bool = False
    walk: Walk = field(default_factory=Walk)

    def next(self) -> Round:
        """What follows when a walk has come to its end."""
        if not self.archived:
            return replace(self, archived=True, walk=Walk(self.since))
        return begun(self.until)


def begun(now_s: int) -> Round:
    """A round of what changes from now on."""
    return Round(now_s - OVERLAP_S, walk=Walk(now_s - OVERLAP_S))


# -- as text -----------------------------------------------------------------------------------


def text(at: Walk | Round) -> str:
    """As it is stored."""
    return orjson.dumps(asdict(at)).decode()


def walk_of(stored: str) -> Walk:
    """A walk of ours, a new one where nothing is stored; raises `Unreadable`."""
    return _walk(_loaded(stored, stored), stored) if stored else Walk()


def round_of(stored: str) -> Round:
    """A round of ours; raises `Unreadable`."""
    found = _loaded(stored, stored)
    walk = _walk(_loaded(orjson.dumps(found.pop("walk", None)), stored), stored)
    _same(found, {"since": 0, "until": 0, "archived": False}, stored)
    return Round(**found, walk=walk)


def _walk(found: dict[str, Any], stored: str) -> Walk:
    _same(found, {"t": 0, "n": 0, "tail": [], "anew": 0}, stored)
    return Walk(**{**found, "tail": tuple(map(str, found["tail"]))})


def _loaded(part: str | bytes, stored: str) -> dict[str, Any]:
    try:
        found = orjson.loads(part)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise _damaged(stored)
    return found


def _same(found: Mapping[str, Any], like: Mapping[str, Any], stored: str) -> None:
    """Whether names and types are those of ours, and no number is out of its range."""
    if found.keys() != like.keys() or any(type(v) is not type(like[k]) for k, v in found.items()):
        raise _damaged(stored)
    if any(type(v) is int and not 0 <= v < 2**33 for v in found.values()):
        raise _damaged(stored)


def _damaged(stored: str) -> Unreadable:
    return Unreadable(f"Mailchimp: the stored cursor is damaged: {stored[:80]!r}")
