"""One budget per account, whoever speaks to it: never more than it allows, and little less.

Each caller here has a store and a client of its own, as processes have; only the database and the
account are shared.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import NoReturn, TypeVar

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._kit.contract import Limits, Unavailable
from deploy.local.parts import Postgres
from hub.io.budget import AHEAD_MS, HELD_MS, STORE_MS, Asked, SharedBudget, share
from hub.io.http import Budget, HttpApi
from hub.io.postgres import PostgresStore
from hub.io.rows import Row, Rows, above
from hub.io.store import SqlStore
from hub.wiring import Clock, RealEnv, budget

T = TypeVar("T")
LIMITS = Limits(50, 1_000)
GAP = LIMITS.per_ms / LIMITS.calls
OLD_MS = 500
LATE_MS = 100  # that a call may be on its way, on a busy machine
NEW: Row = {"account": "tool", "free_at": 0, "blocked_until": 0, "takers": {}}


class Account:
    """A tool that answers 429 when it is called more often than its limits and burst allow."""

    def __init__(self, limits: Limits = LIMITS, took_s: float = 0) -> None:
        self.gap = limits.per_ms / limits.calls
        self.took_s = took_s
        self.retry_after = 0
        self.calls: list[tuple[float, str, int]] = []
        self.busy: list[int] = []
        self._busy = 0
        self._full = -1_000.0 - LATE_MS
        self._lock = threading.Lock()

    def answer(self, request: httpx.Request) -> httpx.Response:
        """One call of whoever the path names."""
        with self._lock:
            status = self._judged(now := time.monotonic() * 1000)
            self.calls.append((now, request.url.path[1:], status))
            self._busy += 1
            self.busy.append(self._busy)
        time.sleep(self.took_s)
        with self._lock:
            self._busy -= 1
        return httpx.Response(status, headers={"Retry-After": str(self.retry_after)}, json={})

    def _judged(self, now: float) -> int:
        if self.retry_after:
            return 429
        self._full = max(self._full, now - 1_000 - LATE_MS)
        if self._full > now:
            return 429
        self._full += self.gap
        return 200

    def count(self, since: float = 0) -> Counter[str]:
        """Calls by who made them, from a time on."""
        return Counter(by for at, by, _ in self.calls if at >= since)

    @property
    def refused(self) -> int:
        """How many calls were too many."""
        return sum(status == 429 for _, _, status in self.calls)


@contextmanager
def process(url: str, name: str, account: Account, limits: Limits = LIMITS) -> Iterator[HttpApi]:
    """What one process has."""
    with closing(PostgresStore(url, connections=2)) as store:
        shared = SharedBudget(limits, Clock().now, time.sleep, account="tool", by=name, store=store)
        transport = httpx.MockTransport(account.answer)
        with closing(HttpApi("http://tool", dict, shared, transport)) as api:
            yield api


@contextmanager
def hammering(*callers: Callable[[], object]) -> Iterator[None]:
    """Each calls again and again meanwhile, in a thread of its own."""
    over = threading.Event()

    def run(call: Callable[[], object]) -> None:
        while not over.is_set():
            try:
                call()
            except Unavailable:
                over.wait(0.1)

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in callers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def reader(api: HttpApi, name: str) -> Callable[[], object]:
    """Reads as whoever it is."""
    return lambda: api.get(f"/{name}")


def send_on(api: HttpApi) -> NoReturn:
    """Write after write, until it is refused."""
    while True:
        api.send("POST", "/a")


def now_ms() -> float:
    """As the account counts."""
    return time.monotonic() * 1000


# -- how it is shared ------------------------------------------------------------------------------


def asked(by: str = "a", calls: int = 1, blocked: int = 0) -> Asked:
    """One process wants some."""
    return Asked("tool", by, GAP, OLD_MS, calls, blocked)


@given(
    st.lists(
        st.tuples(st.just(0) | st.integers(0, 700), st.sampled_from("abcd"), st.integers(1, 80)),
        max_size=40,
    )
)
def test_no_time_is_given_away_twice(asks: list[tuple[int, str, int]]) -> None:
    """Portions follow one another, none is older than the burst, none lies too far ahead."""
    row, now, given_away = NEW, 1_000_000, []
    for later, by, calls in asks:
        now += later
        row, granted = share(row, asked(by, calls), now)
        assert granted.calls <= calls
        if granted.calls:
            begin = now + granted.ahead
            last = begin + (granted.calls - 1) * GAP
            assert now - OLD_MS <= begin
            assert last <= now + AHEAD_MS
            given_away.append((begin, last + GAP))
    assert all(one[1] <= other[0] for one, other in pairwise(given_away))


def test_a_portion_is_smaller_where_several_want_some() -> None:
    """One alone gets a quarter of a second's calls at once; of four each gets a quarter of it."""
    alone = share(NEW, asked(calls=100), 1_000_000)[1].calls
    taken = {**NEW, "takers": dict.fromkeys("bcd", 999_000)}
    assert (alone, share(taken, asked(calls=100), 1_000_000)[1].calls) == (12, 3)
    gone = {**NEW, "takers": dict.fromkeys("bcd", 900_000)}
    assert share(gone, asked(calls=100), 1_000_000)[1].calls == alone


def test_a_clock_that_is_set_back_stops_nobody_for_long() -> None:
    """A row from the future is believed as far as one that could have been written now."""
    row = {**NEW, "free_at": 9_000_000}
    row, first = share(row, asked(), 1_000_000)
    assert first.calls == 0
    assert share(row, asked(), 1_000_000 + int(GAP))[1].calls == 1


def test_one_process_alone_asks_no_store(tmp_path: Path) -> None:
    """With a file of its own a hub counts for itself."""
    with closing(SqlStore(tmp_path / "hub.db")) as store:
        assert type(budget("tool", LIMITS, RealEnv(store))) is Budget


class Counted(SqlStore):
    """A store that counts what it is asked, and answers while it is `open`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked = 0
        self.open = threading.Event()
        self.open.set()

    def transact(self, work: Callable[[Rows], T]) -> T:
        """See `Store`."""
        self.asked += 1
        self.open.wait(10)
        return super().transact(work)


class Slow:
    """Time that passes by sleeping."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now(self) -> int:
        """The time."""
        return self.ms

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.ms += ceil(seconds * 1000)


def shares(store: SqlStore, clock: Slow, by: str) -> SharedBudget:
    """A process's share, in a time of its own."""
    return SharedBudget(LIMITS, clock.now, clock.sleep, account="tool", by=by, store=store)


def test_what_is_in_hand_ends_with_what_another_was_told(tmp_path: Path) -> None:
    """A portion is used for half a second, whatever comes; then the store is heard."""
    clock = Slow()
    with (
        closing(SqlStore(tmp_path / "hub.db")) as store,
        closing(shares(store, clock, "a")) as one,
        closing(shares(store, clock, "b")) as other,
    ):
        for _ in range(20):
            one.take()
        other.wait(60_000)
        until = time.monotonic() + 10
        while not store.view(lambda r: r.select("budget", {"blocked_until": above(clock.ms)})):
            assert time.monotonic() < until
        one.take(patience_ms=1_000)
        clock.ms += HELD_MS + 1
        with pytest.raises(Unavailable, match="left alone"):
            one.take(patience_ms=1_000)


def test_a_portion_is_for_many_calls(tmp_path: Path) -> None:
    """Who calls all the time asks the store a few times a second, who calls seldom once a call."""
    clock = Slow()
    with (
        closing(Counted(tmp_path / "hub.db")) as store,
        closing(shares(store, clock, "a")) as shared,
    ):
        for _ in range(5):
            clock.sleep(10)
            shared.take()
        assert store.asked == 5
        began = clock.ms
        for _ in range(500):
            shared.take()
        assert store.asked <= 5 + (clock.ms - began) / 1000 * 15
        assert shared.taken == 505


def test_the_next_portion_comes_while_the_present_one_is_used(tmp_path: Path) -> None:
    """No call waits for a store that takes its time."""
    clock = Slow()
    with (
        closing(Counted(tmp_path / "hub.db")) as store,
        closing(shares(store, clock, "a")) as shared,
    ):
        for _ in range(30):
            shared.take()
            time.sleep(0.01)
        store.open.clear()
        before = store.asked
        while store.asked == before:
            shared.take()
            time.sleep(0.05)
        shared.take()
        assert store.asked == before + 1
        store.open.set()


# -- on PostgreSQL ---------------------------------------------------------------------------------


def test_four_processes_never_exceed_and_use_it_up(postgres: str) -> None:
    """Hammering for ten seconds they are never told 429, use their budget, and share it alike."""
    account, names = Account(), "abcd"
    with ExitStack() as stack:
        apis = [stack.enter_context(process(postgres, name, account)) for name in names]
        with hammering(*map(reader, apis, names)):
            time.sleep(10)
    shares = account.count()
    assert account.refused == 0
    assert shares.total() >= 0.85 * 10 * LIMITS.calls
    assert min(shares.values()) >= 0.6 * max(shares.values()), shares


def test_one_that_hammers_leaves_the_other_its_calls(postgres: str) -> None:
    """Who wants little gets that, and takes hardly more from the one who wants all."""
    account = Account()
    with (
        process(postgres, "heavy", account) as heavy,
        process(postgres, "light", account) as light,
        hammering(reader(heavy, "heavy")),
    ):
        time.sleep(2)  # the burst is over
        since, waited = now_ms(), []
        for _ in range(6):
            began = now_ms()
            light.get("/light")
            waited.append(now_ms() - began)
            time.sleep(0.8)
        passed = now_ms() - since
    found = account.count(since)
    assert account.refused == 0
    assert found["light"] == 6
    assert max(waited) < AHEAD_MS + 500
    assert found.total() >= 0.85 * passed / GAP


CHILD = """
import sys, time
from connectors._kit.contract import Limits
from hub.io.budget import SharedBudget
from hub.io.postgres import PostgresStore
from hub.wiring import Clock

store = PostgresStore(sys.argv[1], connections=2)
budget = SharedBudget(
    Limits(50, 1_000), Clock().now, time.sleep, account="tool", by="child", store=store
)
taken = 0
while True:
    budget.take()
    taken += 1
    if taken == 60:
        print("now", flush=True)
    """


def test_a_process_that_dies_takes_only_its_portion_along(postgres: str) -> None:
    """Killed while it uses half of the budget, the other has all of it soon."""
    account = Account()
    with process(postgres, "a", account) as api:
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", CHILD, postgres], stdout=subprocess.PIPE, text=True
        )
        try:
            assert child.stdout is not None
            with hammering(reader(api, "a")):
                assert child.stdout.readline() == "now\n"
                child.kill()
                since = now_ms()
                time.sleep(4)
                passed = now_ms() - since
        finally:
            child.kill()
            child.communicate()
    assert account.refused == 0
    assert account.count(since)["a"] >= 0.85 * passed / GAP


def test_what_the_tool_tells_one_is_told_to_all(postgres: str) -> None:
    """After a 429 all are quiet within half a second, until it is over."""
    account = Account()
    with (
        process(postgres, "a", account) as one,
        process(postgres, "b", account) as other,
        hammering(reader(other, "b")),
    ):
        for _ in range(30):
            one.get("/a")
        one._budget.wait(4_000)  # noqa: SLF001
        told = now_ms()
        time.sleep(6)
    after = [at - told for at, by, _ in account.calls if at > told]
    quiet = [at for at in after if HELD_MS + LATE_MS < at < 3_900]
    assert not quiet
    assert [at for at in after if at > 3_900], "when it is over they go on"
    assert account.refused == 0


def test_a_write_hears_what_another_was_told(postgres: str) -> None:
    """It is not kept waiting: whoever asked hears when it may be sent."""
    account = Account()
    account.retry_after = 600
    with process(postgres, "a", account) as one, process(postgres, "b", account) as other:
        with pytest.raises(Unavailable, match="too many calls"):
            one.send("POST", "/a")
        time.sleep(0.3)
        with pytest.raises(Unavailable, match="left alone") as failure:
            other.send("POST", "/b")
    assert not failure.value.sent
    assert 590_000 < failure.value.after_ms <= 600_000
    assert account.count() == {"a": 1}


def test_connections_are_divided(postgres: str) -> None:
    """Those who call at the same time have as many connections together as one alone has."""
    limits = Limits(1_000, 1_000, connections=4)
    account = Account(limits, took_s=0.05)
    with ExitStack() as stack:
        apis = [stack.enter_context(process(postgres, name, account, limits)) for name in "ab"]
        with hammering(*[reader(apis[0], "a")] * 6):
            time.sleep(2)
        alone, account.busy = max(account.busy), []
        apis[1].get("/b")
        time.sleep(1.5)
        with hammering(*[reader(apis[0], "a")] * 6, *[reader(apis[1], "b")] * 6):
            time.sleep(1)
            account.busy = []
            time.sleep(1)
    assert (alone, max(account.busy)) == (4, 4)


def test_a_store_that_hangs_stops_calls(postgres: str) -> None:
    """Whoever waits for a portion hears why there is none, and the one that comes late is void."""
    account = Account()
    with process(postgres, "a", account) as api, psycopg.connect(postgres) as other:
        api.send("POST", "/a")
        other.execute("SELECT * FROM synchub.budget FOR UPDATE")
        held = threading.Timer(STORE_MS / 1000 + 1, other.rollback)
        held.start()
        with pytest.raises(Unavailable, match="gives out no calls to tool") as failure:
            send_on(api)
        held.join()
        assert not failure.value.sent
        before = account.count().total()
        api.send("POST", "/a")
        assert account.count().total() == before + 1


def test_without_the_store_calls_stop(own_postgres: Callable[..., Postgres]) -> None:
    """What is in hand is used, then nothing is sent, and the reason is told; later it goes on."""
    server = own_postgres()
    account = Account()
    with process(server.address, "a", account) as api:
        for _ in range(30):
            api.send("POST", "/a")
        server.stop()
        stopped = now_ms()
        with pytest.raises(Unavailable, match="gives out no calls to tool") as failure:
            send_on(api)
        assert not failure.value.sent
        assert not [at for at, _, _ in account.calls if at > stopped + 1_000]
        assert now_ms() - stopped < STORE_MS + 2_000
        server.start()
        until = time.monotonic() + 30
        with hammering(lambda: api.send("POST", "/a")):
            while account.calls[-1][0] < stopped + 1_000:
                assert time.monotonic() < until, "it goes on when the store is back"
                time.sleep(0.1)
