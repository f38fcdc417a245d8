"""The way through a list that people edit meanwhile, and where it stands.

Mailchimp pages by offset, and whoever is edited moves to the end of a list in the order of
`last_changed`: what stood behind moves forward, past an offset. So the way leads along the time
stamps: the next page is asked for from the second in which the last one ended, and an offset counts
only within that second, where a bulk job may have put thousands. There a page overlaps the one
before; where the seam does not fit, the second is begun anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from connectors._kit.contract import Unreadable
from connectors._kit.cursors import Cursor, damaged
from connectors.mailchimp.answers import iso

TAIL: Final = 50
ANEW_MOST: Final = 3
LARGEST: Final = 2**33  # a number of a stored cursor
OVERLAP_S: Final = 120  # stamps are whole seconds, and may become visible late

Kind = TypeVar("Kind", bound=Cursor)
Stamp = tuple[str, int]  # contact id, second of the last change


@dataclass(frozen=True, slots=True)
class Walk(Cursor):
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
            raise Unreadable("a page of members that is not in the order of time")
        return not self.offset or (bool(page) and page[0][0] in self.tail)

    def again(self) -> Walk:
        """The same second from its beginning; raises `Unreadable` when that does not help."""
        if self.anew == ANEW_MOST:
            raise Unreadable("pages of members that make no progress")
        return Walk(self.t, anew=self.anew + 1)

    def past(self, page: Sequence[Stamp], size: int) -> Walk:
        """After a page of `size` members, of which these could be understood."""
        if not page:
            raise Unreadable("a page of members without any time stamp")
        last = page[-1][1]
        here = [own for own, second in page if second == last]
        if last == self.t:
            return Walk(last, self.offset + size, tuple(here[-TAIL:]), self.anew)
        return Walk(last, len(here), tuple(here[-TAIL:]))


@dataclass(frozen=True, slots=True)
class Round(Cursor):
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


# -- as it was stored --------------------------------------------------------------------------


def walk_of(stored: str) -> Walk:
    """A walk of ours, a new one where nothing is stored; raises `Unreadable`."""
    found = Walk.of(stored) if stored else Walk()
    return _in_range(found, stored, found.t, found.n, found.anew)


def round_of(stored: str) -> Round:
    """A round of ours; raises `Unreadable`."""
    found = Round.of(stored)
    at = found.walk
    return _in_range(found, stored, found.since, found.until, at.t, at.n, at.anew)


def _in_range(found: Kind, stored: str, *numbers: int) -> Kind:
    if not all(0 <= n < LARGEST for n in numbers):
        raise damaged(stored)
    return found
