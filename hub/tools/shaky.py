"""Between the hub and a tool of a made-up world: what stumbles there, and what passed.

Every call of a connector is a switch point before and after, and may go wrong in ways that no
vendor's sandbox knows. What the hub was shown and what it sent is kept for the monitors, who
believe neither the hub nor its counters.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from connectors._kit.contract import (
    Answer,
    Denied,
    ObjectSpec,
    Page,
    Reading,
    Unavailable,
    Unreadable,
    Write,
)

if TYPE_CHECKING:
    from hub.tools.outside import Outside
    from hub.tools.world import WorldEnv

TROUBLES = (
    "record refused",
    "record unreadable",
    "empty listing",
    "truncated page",
    "token expired",
    "endpoint limited",
)
CALLS = ("listing", "changes", "read", "find", "write")
WHILE_MS = 20_000  # a trouble that lasts: so long for each time that was asked for
LIMITED_MS = 60_000  # what a limited endpoint asks us to wait


# -- what goes wrong -----------------------------------------------------------------------------


@dataclass
class Trouble:
    """What is wrong at a tool now. Times are until when (ms); the others count calls."""

    refused: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    limited: dict[str, int] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def begin(self, how: str, count: int, ids: Sequence[str], now: int) -> None:
        """One of `TROUBLES`, `count` times or so long; a record's is that of one of `ids`."""
        until = now + count * WHILE_MS
        own = ids[count % len(ids)] if ids else ""
        if how == "record refused":
            self.refused[own] = until
        elif how == "record unreadable":
            self.unreadable[own] = until
        elif how == "endpoint limited":
            self.limited["write" if count % 2 else "read"] = now + count * LIMITED_MS
        else:
            self.calls[how] += count

    def meets(self, how: str) -> bool:
        """Whether this call meets it; then it is over for one call."""
        met = self.calls[how] > 0
        self.calls[how] -= met
        return met

    def heal(self) -> None:
        """Nothing is wrong any more."""
        self.__init__()  # type: ignore[misc]


def spoiled(page: Page, trouble: Trouble, now: int) -> Page:
    """A page with what nobody can read of it put aside."""
    good = tuple(r for r in page.readings if trouble.unreadable.get(r.native_id, 0) <= now)
    bad = [r.native_id for r in page.readings if r not in good]
    broken = tuple((f"{own}: no such thing", own.encode()) for own in bad)
    return replace(page, readings=good, broken=page.broken + broken)


# -- what passed ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Seen:
    """What the hub was shown of a record, in the tool's terms, and when (ms).

    `kept`: when the loop that was shown it made its next commit, 0 where it never did.
    """

    start: int
    end: int
    app: Mapping[str, Any]
    kept: int = 0


@dataclass(slots=True)
class Sent:
    """A write that was asked for: when its pass began, when it was committed and asked (ms).

    `before`: what the hub had been shown of the record before the look that this pass took.
    `applied`: whether the tool did it, whatever it answered.
    """

    spec: ObjectSpec
    write: Write
    begun: int
    checked: int
    asked: int
    before: Seen | None
    applied: bool = False


@dataclass
class Past:
    """All that passed between the hub and one tool."""

    env: WorldEnv
    seen: dict[tuple[str, str], list[Seen]] = field(default_factory=lambda: defaultdict(list))
    sent: list[Sent] = field(default_factory=list)

    def show(self, readings: Sequence[Reading]) -> None:
        """The hub is given these."""
        for r in readings:
            for own in (r.native_id, *r.aliases):
                self.note(r.object, own, Seen(r.start_ms, r.end_ms, r.app))

    def note(self, obj: str, native_id: str, seen: Seen) -> None:
        """It is shown; whether the hub keeps it is up to the loop that runs now.

        A field that it does not speak of is as it was shown before.
        """
        before = self.seen[obj, native_id]
        seen.app = {**(before[-1].app if before else {}), **seen.app}
        before.append(seen)
        self.env.show(seen)

    def shown(self, obj: str, native_id: str, by: int) -> Seen | None:
        """What the hub had been shown last, of what it had kept by then."""
        found = [s for s in self.seen[obj, native_id] if 0 < s.kept <= by]
        return found[-1] if found else None

    def send(self, spec: ObjectSpec, write: Write) -> Sent:
        """The hub asks for this."""
        point = "deliver:create" if write.op == "create" else "deliver:settle"
        begun, checked = self.env.committed(f"before {point}"), self.env.committed(point)
        before = self.shown(spec.object, write.native_id, checked - 1)
        self.sent.append(Sent(spec, write, begun, checked, self.env.clock.time, before))
        return self.sent[-1]

    def answer(self, sent: Sent, answer: Answer, now: int) -> None:
        """The hub is told what came of it, and with it what the record holds.

        An answer may well show nothing but the fields that were sent.
        """
        if answer.outcome != "done":
            return
        sent.applied = True
        own = answer.native_id or sent.write.native_id
        told = answer.reading.app if answer.reading else {}
        self.note(sent.spec.object, own, Seen(sent.asked, now, {**sent.write.changes, **told}))


TOKEN = re.compile(r"\bn(\d{4})\b|20255(\d{5})\b")


def token_of(value: Any) -> str:
    """The token that a person typed into a value, in whatever form a tool keeps it; "" for none."""
    text = str(value or "").lower()
    found = TOKEN.search(text) or TOKEN.search(re.sub(r"[\s+]", "", text))
    return f"{int(found.group(1) or found.group(2)):05d}" if found else ""


# -- the connector -------------------------------------------------------------------------------


class Shaky:
    """A connector that stumbles, and what passed through it."""

    def __init__(self, outside: Outside, connector: Any, env: WorldEnv) -> None:
        self._outside = outside
        self._inner = connector
        self._env = env

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in CALLS:
            return found

        def call(*given: Any) -> Any:
            what = f"{self._outside.name} {name}"
            self._env.at_point(f"{what} asked")
            try:
                self._refuse(name)
                return getattr(self, f"_{name}")(found, *given)
            finally:
                self._env.at_point(f"{what} answered")

        return call

    def _refuse(self, name: str) -> None:
        """Troubles of any call; a vendor's are met on the way to its sandbox."""
        trouble, now = self._outside.trouble, self._env.clock.time
        if self._outside.vendor != "simulated":
            return
        if trouble.limited.get("write" if name == "write" else "read", 0) > now:
            raise Unavailable("too many calls of this kind", after_ms=LIMITED_MS, sent=False)
        if trouble.meets("token expired"):
            raise Denied("the token has expired")

    def _listing(self, found: Callable[..., Page], api: Any, spec: Any, cursor: str) -> Page:
        trouble = self._outside.trouble
        if trouble.meets("empty listing"):
            return Page((), cursor, done=True)
        page = found(api, spec, cursor)
        if trouble.meets("truncated page"):
            page = replace(page, readings=page.readings[: len(page.readings) // 2])
        return self._paged(page)

    def _changes(self, found: Callable[..., Page], *given: Any) -> Page:
        return self._paged(found(*given))

    def _paged(self, page: Page) -> Page:
        page = spoiled(page, self._outside.trouble, self._env.clock.time)
        self._outside.past.show(page.readings)
        return page

    def _read(
        self, found: Callable[..., tuple[Reading, ...]], api: Any, spec: Any, ids: Sequence[str]
    ) -> tuple[Reading, ...]:
        now, unreadable = self._env.clock.time, self._outside.trouble.unreadable
        if bad := [own for own in ids if unreadable.get(own, 0) > now]:
            raise Unreadable(f"{bad[0]}: no such thing", bad[0].encode())
        readings = found(api, spec, ids)
        self._outside.past.show(readings)
        return readings

    def _find(self, found: Callable[..., tuple[Reading, ...]], *given: Any) -> Any:
        readings = found(*given)
        self._outside.past.show(readings)
        return readings

    def _write(
        self,
        found: Callable[..., tuple[Answer, ...]],
        api: Any,
        spec: ObjectSpec,
        writes: Sequence[Write],
    ) -> tuple[Answer, ...]:
        """Those for a record that is refused never reach the tool."""
        past, refused, now = self._outside.past, self._outside.trouble.refused, self._env.clock.time
        sent = [past.send(spec, w) for w in writes]
        bad = [n for n, w in enumerate(writes) if refused.get(w.native_id, 0) > now]
        left = [n for n in range(len(writes)) if n not in bad]
        began = len(self._outside.log)
        try:
            answered = found(api, spec, [writes[n] for n in left]) if left else ()
        finally:
            done = {e.native_id for e in self._outside.log[began:] if e.who == "hub"}
            for n in left:
                sent[n].applied = writes[n].native_id in done
        answers = dict(zip(left, answered, strict=True))
        for n in left:
            past.answer(sent[n], answers[n], self._env.now())
        no = Answer("rejected", why="this record cannot be saved")
        return tuple(answers.get(n, no) for n in range(len(writes)))
