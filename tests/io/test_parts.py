"""Log, seal, anchor, leases of calls: the small parts between the rules and the world."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._kit.contract import Denied, Limits, Unavailable, Unreadable
from hub.io.anchor import Anchor, BadAnchor, Line
from hub.io.http import Budget, HttpApi, retry_after_ms
from hub.io.rows import Rows, Store
from hub.io.seal import (
    BadKeyFile,
    CannotOpen,
    Seal,
    make_master,
    read_master,
    subject_key,
    subject_keys,
)
from hub.io.store import SqlStore
from hub.io.twin import DictStore

UID = "01a0c450-7f5a-75b1-a522-4a58b791f1d8"


@pytest.fixture(params=["sqlite", "twin"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each store in turn."""
    made: Store = SqlStore(tmp_path / "hub.db") if request.param == "sqlite" else DictStore()
    yield made
    made.close()


# -- seal --------------------------------------------------------------------------------------


@given(st.binary(max_size=500))
def test_sealed_bytes_open_only_for_their_record(plain: bytes) -> None:
    """What was sealed opens again, and nowhere else, and not when a bit was changed."""
    seal = Seal(b"m" * 32, os.urandom)
    key, other = seal.new_key(), "01a0c450-7f5a-75b1-a522-4a58b791f1d9"
    sealed = seal.seal(UID, key, plain)
    assert seal.open(UID, key, sealed) == plain
    bent = sealed[:-1] + bytes([sealed[-1] ^ 1])
    wrong = ((other, key, sealed), (UID, b"x" * 32, sealed), (UID, key, bent), (UID, key, b""))
    for uid, its_key, data in wrong:
        with pytest.raises(CannotOpen):
            seal.open(uid, its_key, data)


def test_many_threads_seal_and_open_at_once() -> None:
    """One seal serves every loop and listener of the process: each gets its own bytes back."""
    seal = Seal(b"m" * 32, os.urandom)
    key = seal.new_key()

    def rounds(n: int) -> bool:
        plain = f"what thread {n} keeps to itself ".encode() * 12
        sealed = [seal.seal(UID, key, plain) for _ in range(20)]
        return all(seal.open(UID, key, s) == plain for _ in range(1_000) for s in sealed)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(rounds, range(8)))


def forget(rows: Rows, uid: str) -> None:
    """Throw a record's key away."""
    rows.lock([uid])
    rows.update("subject_key", {"uid": uid}, {"wrapped": b""})


def test_an_erased_key_never_comes_back(store: Store) -> None:
    """A record whose key was dropped cannot be opened, and gets no new key."""
    seal = Seal(b"m" * 32, os.urandom)
    key = store.transact(lambda r: subject_key(r, UID, seal))
    assert store.transact(lambda r: subject_key(r, UID, seal)) == key
    store.transact(lambda r: forget(r, UID))
    with pytest.raises(CannotOpen, match="erased"):
        store.transact(lambda r: subject_key(r, UID, seal))


def test_keys_read_at_once_are_those_that_open(store: Store) -> None:
    """An erased key, one under another master key and one never made leave the others readable."""
    seal, other = Seal(b"m" * 32, os.urandom), Seal(b"n" * 32, os.urandom)
    erased, foreign, unmade = (UID[:-1] + end for end in "012")

    def work(rows: Rows) -> None:
        key = subject_key(rows, UID, seal)
        subject_key(rows, foreign, other)
        rows.lock([erased])
        rows.insert("subject_key", {"uid": erased, "wrapped": b""})
        assert subject_keys(rows, [UID, erased, foreign, unmade], seal) == {UID: key}

    store.transact(work)


def test_the_master_key_is_private(tmp_path: Path) -> None:
    """A key file that others can read, or of the wrong size, stops with what to do."""
    path = tmp_path / "secrets" / "master.key"
    assert read_master(path) == made if (made := make_master(path, os.urandom)) else False
    path.chmod(0o644)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        read_master(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(BadKeyFile, match="32"):
        read_master(path)
    with pytest.raises(BadKeyFile, match="backup"):
        read_master(tmp_path / "none")


# -- anchor ------------------------------------------------------------------------------------


def test_the_anchor_survives_a_power_cut(tmp_path: Path) -> None:
    """A half-written last line is passed over, and the next one does not run on from it."""
    anchor = Anchor(tmp_path / "a" / "anchor.jsonl")
    assert anchor.last() is None
    for line in (lines := [Line(5, {1: (2, "aa")}), Line(7, {1: (3, "bb")}, "hub")]):
        anchor.add(line)
    with anchor.path.open("a") as file:
        file.write('{"at": 8, "hea')
    assert anchor.last() == lines[1]
    anchor.add(lines[0])
    assert anchor.last() == lines[0]


@pytest.mark.parametrize(
    "line",
    [
        b'{"at": 8, "hea',
        b'{"at": 8}',
        b'{"at": 8, "heads": {"8": [1, "aa"]}}',
        b'{"at": 8, "heads": {"0": [-1, "aa"]}}',
        b'{"at": 8, "heads": {"0": [9223372036854775808, "aa"]}}',
        b'{"at": 8, "heads": {}, "hub": "\xff"}',
        b"[" * 50_000,
        b"",
    ],
)
def test_a_line_that_is_no_anchor_is_refused(tmp_path: Path, line: bytes) -> None:
    """Whoever can write the file cannot break those who read it."""
    (tmp_path / "anchor").write_bytes(line + b"\n")
    with pytest.raises(BadAnchor, match="anchor"):
        Anchor(tmp_path / "anchor").last()


def test_a_line_of_an_older_version_counts(tmp_path: Path) -> None:
    """It has no name of a hub."""
    (tmp_path / "anchor").write_bytes(b'{"at":5,"heads":{"1":[2,"aa"]}}\n')
    assert Anchor(tmp_path / "anchor").last() == Line(5, {1: (2, "aa")})


# -- HTTP --------------------------------------------------------------------------------------


class Clock:
    """Time that passes by sleeping."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now(self) -> int:
        """The time."""
        return self.ms

    def sleep(self, seconds: float) -> None:
        """Let it pass."""
        self.ms += int(seconds * 1000) + 1


def api(handler: Callable[[httpx.Request], httpx.Response], clock: Clock) -> HttpApi:
    """A client to a handler."""
    budget = Budget(Limits(10, 1_000), clock.now, clock.sleep)
    return HttpApi("http://tool", lambda: {"Authorization": "Bearer secret-token"}, budget,
                   httpx.MockTransport(handler))  # fmt: skip


def test_reads_are_repeated_and_writes_never() -> None:
    """A failing read is tried again; a failing write is sent once, its outcome unknown."""
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.method)
        return httpx.Response(503 if len(seen) < 3 else 200, json={})

    assert api(handler, Clock()).get("/x").status == 200
    assert len(seen) == 3
    seen.clear()
    with pytest.raises(Unavailable) as failure:
        api(handler, Clock()).send("POST", "/x", json={})
    assert failure.value.sent
    assert seen == ["POST"]


def test_the_tools_own_limit_is_believed() -> None:
    """Nobody calls before the Retry-After of a 429 is over."""
    clock, times = Clock(), []

    def handler(_request: httpx.Request) -> httpx.Response:
        times.append(clock.ms)
        limited = len(times) == 1
        return httpx.Response(429 if limited else 200, headers={"Retry-After": "7"}, json={})

    api(handler, clock).get("/x")
    assert times[1] - times[0] >= 7_000


def test_a_write_is_not_kept_waiting() -> None:
    """While the tool wants to be left alone it is not sent, and whoever asked hears when it may."""
    clock, times = Clock(), []

    def handler(_request: httpx.Request) -> httpx.Response:
        times.append(clock.ms)
        limited = len(times) == 1
        return httpx.Response(429 if limited else 200, headers={"Retry-After": "600"}, json={})

    client, start = api(handler, clock), clock.ms
    for _ in range(3):
        with pytest.raises(Unavailable) as failure:
            client.send("POST", "/x", json={})
        assert not failure.value.sent
        assert 599_000 <= failure.value.after_ms <= 600_000
    assert (len(times), clock.ms < start + 1_000) == (1, True)
    clock.sleep(600)
    assert client.send("POST", "/x", json={}).status == 200


def test_the_budget_is_kept() -> None:
    """Ten calls a second are ten calls a second."""
    clock, times = Clock(), []

    def handler(_request: httpx.Request) -> httpx.Response:
        times.append(clock.ms)
        return httpx.Response(200, json={})

    client = api(handler, clock)
    for _ in range(60):
        client.get("/x")
    worst = max(sum(t <= u < t + 1_000 for u in times) for t in times)
    assert worst <= 21, "a burst of one second's portion, then the pace"
    assert times[-1] - times[0] >= 4_500


@pytest.mark.parametrize("broken", [httpx.ReadTimeout, httpx.ReadError, httpx.ConnectError])
def test_a_broken_write_says_whether_it_was_sent(broken: type[httpx.TransportError]) -> None:
    """Only a connection that was never made is surely not sent; no secret is in the message."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise broken("secret-token", request=request)

    with pytest.raises(Unavailable) as failure:
        api(handler, Clock()).send("POST", "/x?token=secret-token", json={})
    assert failure.value.sent == (broken is not httpx.ConnectError)
    assert "Bearer" not in str(failure.value)


def test_denied_and_unreadable_answers() -> None:
    """Credentials stop the connector; what is no JSON is unreadable."""
    with pytest.raises(Denied, match="secrets/"):
        api(lambda _: httpx.Response(401, text="no"), Clock()).get("/x")
    with pytest.raises(Unreadable):
        api(lambda _: httpx.Response(200, text="<html>"), Clock()).get("/x").json()


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("3", 3_000), ("0.5", 500), ("", 0), ("soon", 0), ("-3", 0), ("nan", 0), ("-inf", 0),
        ("inf", HOUR_MS), ("1e400", HOUR_MS), ("9" * 20, HOUR_MS),
        ("Fri, 31 Dec 9999 23:59:59 GMT", HOUR_MS),
    ],
)  # fmt: skip
def test_retry_after_in_all_its_forms(text: str, wanted: int) -> None:
    """Seconds, fractions, dates, nothing, nonsense; never longer than an hour."""
    assert retry_after_ms({"retry-after": text}, 0) == wanted
