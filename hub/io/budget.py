"""One budget for all processes that speak to an account: portions of it are leased from the store.

A call takes as much of an account's time as the account allows calls in (`gap`), and no two calls
take the same time. The account's row says up to when its time is given away, by the store's clock.
Whoever leases a portion makes each of its calls at its time, or later while the portion holds. So
all processes together call no faster than one bucket would let one process. What is not used
within `HELD_MS` is lost: given back it might be used twice.

Time is given away for `AHEAD_MS` at most, and shared by those that have asked of late: one process
alone has all of it in hand, several have less each, and none more than it will need, judged by what
it has used. The next portion is on its way while the present one is used. What the tool said (429)
is in the row too: nobody gets a portion before then, and what is in hand ends within `HELD_MS`.
Without the store no call is made, once the portion in hand is used up.

Simultaneous connections are divided by those that have asked of late, at least one each: more
exactly would need the store for every call.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil

from connectors._kit.contract import Unavailable
from hub.io.http import LONGEST_WAIT_MS, Budget
from hub.io.rows import Conflict, Row, Rows, Store, StoreFull

AHEAD_MS = 250  # who wants a call while others want all waits for as long
HELD_MS = 500
TAKER_MS = 10_000
STORE_MS = 5_000  # that a call waits for the store
ROOM_S = 30  # that a call waits for a connection


@dataclass(frozen=True, slots=True)
class Asked:
    """A process, `by`, wants so many `calls` to an account, and knows how long that is `blocked`.

    Times in ms: `gap` is what one call takes, `old` how old time may be that is given away.
    """

    account: str
    by: str
    gap: float
    old: int
    calls: int
    blocked: int


@dataclass(frozen=True, slots=True)
class Granted:
    """So many calls, the first of them in `ahead` ms, where that is not over already.

    `blocked`: for how long (ms) nobody may call. `takers`: how many processes share the account.
    """

    calls: int
    ahead: int
    blocked: int
    takers: int


def lease(rows: Rows, asked: Asked, own: int) -> Granted:
    """The next portion of an account; `own` is the time where the store has no clock."""
    row = kept(rows, asked.account)
    changed, granted = share(row, asked, rows.time(own))
    rows.upsert("budget", changed)
    return granted


def kept(rows: Rows, account: str) -> Row:
    """The row of an account, which nobody else changes until the transaction ends."""
    while not (found := rows.select("budget", {"account": account}, keep=True)):
        try:
            rows.insert(
                "budget", {"account": account, "free_at": 0, "blocked_until": 0, "takers": {}}
            )
        except Conflict:
            continue  # somebody else has laid it
    return found[0]


def share(row: Row, asked: Asked, now: int) -> tuple[Row, Granted]:
    """The row as it is from now on (ms by the store), and what the asker gets.

    What lies too far ahead was written by a clock that has been set back since.
    """
    known: dict[str, int] = row["takers"]
    takers = {by: at for by, at in known.items() if at > now - TAKER_MS} | {asked.by: now}
    first = max(row["free_at"] - now, -asked.old)
    first = min(first, AHEAD_MS + ceil(asked.gap))
    blocked = max(row["blocked_until"] - now, asked.blocked, 0)
    blocked = min(blocked, LONGEST_WAIT_MS)
    calls = 0 if blocked else portion(asked, first, len(takers))
    changed = {
        "account": asked.account,
        "free_at": now + first + ceil(calls * asked.gap),
        "blocked_until": now + blocked,
        "takers": takers,
    }
    return changed, Granted(calls, first, blocked, len(takers))


def portion(asked: Asked, first: int, takers: int) -> int:
    """How many calls one of them gets, where the account's time is free in `first` ms."""
    if first > AHEAD_MS:
        return 0
    room = int((AHEAD_MS - first) / asked.gap) + 1
    fair = max(1, int(AHEAD_MS / asked.gap / takers))
    return min(asked.calls, fair, room)


@dataclass
class Portion:
    """So many calls that may be made: the next one `at`, none after `until` (ms, own clock)."""

    calls: int
    at: float
    until: int


@dataclass(kw_only=True)
class SharedBudget(Budget):
    """`Budget` of an account that several processes speak to; `by` is the one of this process.

    `free_at` is what the store said of the account's time when it was asked last.
    """

    account: str
    by: str
    store: Store
    _hand: deque[Portion] = field(default_factory=deque)
    _got: int = 0
    _asked_at: int = 0
    _taken_before: int = 0
    _called_at: int = 0
    _not_before: float = 0
    _calling: int = 0
    _room: int = 1

    def __post_init__(self) -> None:
        """Nothing is asked for before the first call."""
        self._changed = threading.Condition(self._lock)
        self._worker = ThreadPoolExecutor(1, f"budget:{self.account}")
        self._coming: Future[None] = Future()
        self._coming.set_result(None)

    # -- for callers -------------------------------------------------------------------------------

    def wait(self, after_ms: int) -> None:
        """See `Budget`; the other processes hear of it at once."""
        super().wait(after_ms)
        with self._lock:
            self._coming = self._worker.submit(self._exchange)

    @contextmanager
    def connection(self) -> Iterator[None]:
        """See `Budget`. Raises Unavailable, unsent, where none is free for long."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._calling < self._room, ROOM_S):
                message = f"not sent, all {self._room} connections to {self.account} are in use"
                raise Unavailable(message, sent=False)
            self._calling += 1
        try:
            yield
        finally:
            with self._changed:
                self._calling -= 1
                self._changed.notify()

    def close(self) -> None:
        """See `Budget`."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    # -- what is in hand ---------------------------------------------------------------------------

    def _try(self) -> float:
        until = self.now() + STORE_MS
        while (wait := self._from_hand()) is None:
            self._fetch(max(0, until - self.now()))
        return wait

    def _from_hand(self) -> float | None:
        """0: a call is spent; else how long to wait, None where the store has to be asked."""
        with self._lock:
            now = self.now()
            if self.blocked_until > now:
                return self.blocked_until - now
            if (first := self._first(now)) is None:
                return self._not_before - now if self._not_before > now else None
            if first.at > now:
                return first.at - now
            first.calls -= 1
            first.at += self._gap
            self._spent(now)
            return 0

    def _first(self, now: int) -> Portion | None:
        while self._hand and not (self._hand[0].calls and now <= self._hand[0].until):
            self._hand.popleft()
        return self._hand[0] if self._hand else None

    def _spent(self, now: int) -> None:
        """Who has called a moment ago will call again: the next portion is sent for in time."""
        busy = now - self._called_at < AHEAD_MS and now >= self._not_before
        self.taken += 1
        self._called_at = now
        if busy and sum(held.calls for held in self._hand) <= self._got // 2:
            self._send_for()

    # -- what is asked for -------------------------------------------------------------------------

    def _send_for(self) -> Future[None]:
        if self._coming.done():
            self._coming = self._worker.submit(self._exchange)
        return self._coming

    def _fetch(self, patience_ms: int) -> None:
        with self._lock:
            coming = self._send_for()
        try:
            coming.result(patience_ms / 1000)
        except (TimeoutError, StoreFull) as error:
            why = str(error) or f"no answer that was in time for {STORE_MS} ms"
            message = f"not sent, the store gives out no calls to {self.account}: {why}"
            raise Unavailable(message, after_ms=1_000, sent=False) from error

    def _exchange(self) -> None:
        """Tell the store what the tool said, hear what others heard, and lease a portion."""
        with self._lock:
            began = self.now()
            old = max(0, self._burst - HELD_MS)
            wanted, blocked = self._wanted(began), self.blocked_ms
            asked = Asked(self.account, self.by, self._gap, old, wanted, blocked)
            self._asked_at, self._taken_before = began, self.taken
        granted = self.store.transact(lambda rows: lease(rows, asked, began))
        with self._changed:
            self._take_in(granted, began)

    def _wanted(self, now: int) -> int:
        """What is used in `AHEAD_MS` at the pace since the last time, at most twice as many."""
        used, past = self.taken - self._taken_before, max(1, now - self._asked_at)
        return max(1, ceil(min(2 * used, used * AHEAD_MS / past)))

    def _take_in(self, granted: Granted, began: int) -> None:
        """Times count from the answer: the store's clock was no later then."""
        now = self.now()
        self.free_at = now + granted.ahead + granted.calls * self._gap
        if granted.blocked:
            self.blocked_until = max(self.blocked_until, now + granted.blocked)
        elif granted.calls:
            self._got = granted.calls
            self._hand.append(Portion(granted.calls, now + granted.ahead, began + HELD_MS))
        else:
            self._not_before = now + granted.ahead - AHEAD_MS + 1
        self._room = max(1, self.limits.connections // granted.takers)
        self._changed.notify_all()
