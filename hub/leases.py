"""Who may work on what: a lease is a name, its holder and an epoch that only grows.

A start raises the epoch of all its leases, so that whatever an older process still wants to commit
or to send is void at once, however long it was paused. A lease is checked in the transaction of
each effect and once more before a send; the check prolongs it. One that has run out still holds
until somebody else takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from connectors._kit.contract import Api
from hub.env import Env
from hub.io.http import HttpApi
from hub.io.rows import Row, Rows
from hub.pure.model import Uid

T = TypeVar("T")
TTL_MS = 10_000
UNSURE_MS = 1_000  # a lease that was held so short a time ago is held still

NOBODY = ""


class LeaseLost(Exception):
    """Another process does this now; the text names the lease. What was begun must not go on."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A right to do `name`, as it was taken."""

    name: str
    owner: Uid
    epoch: int


def take(
    rows: Rows,
    name: str,
    owner: Uid,
    now: int,
    *,
    at_once: bool = False,
    alive: Collection[Uid] = (),
) -> Lease | None:
    """The lease, None while somebody else holds it: until it runs out, or as long as he is `alive`.

    `at_once` takes it from anybody: only who holds the file's lock may do that.
    """
    now = rows.time(now)
    if not (at_once or free(rows.get("lease", name=name), owner, now, alive)):
        return None  # nobody has to wait for us to see that
    row = kept(rows, name)
    if not (at_once or free(row, owner, now, alive)):
        return None
    epoch = 1 + (row["epoch"] if row else 0)
    rows.upsert("lease", {"name": name, "owner": owner, "epoch": epoch, "expires": now + TTL_MS})
    return Lease(name, owner, epoch)


def free(row: Row | None, owner: Uid, now: int, alive: Collection[Uid]) -> bool:
    """Whether this owner may take it."""
    if row is None or row["owner"] == owner:
        return True
    return bool(row["expires"] <= now) and row["owner"] not in alive


def release(rows: Rows, lease: Lease) -> None:
    """Anybody may take it at once; the epoch stays, so that it keeps growing."""
    ours = {"name": lease.name, "owner": lease.owner, "epoch": lease.epoch}
    rows.update("lease", ours, {"owner": NOBODY, "expires": 0})


def kept(rows: Rows, name: str) -> Row | None:
    """The row of a lease, which nobody else changes until the transaction ends."""
    return next(iter(rows.select("lease", {"name": name}, keep=True)), None)


def check(rows: Rows, lease: Lease, now: int) -> None:
    """Raise `LeaseLost` unless it still holds; prolong it when half of its time is over."""
    if still_ours(kept(rows, lease.name), lease)["expires"] - now < TTL_MS // 2:
        rows.update("lease", {"name": lease.name}, {"expires": rows.time(now) + TTL_MS})


def still_ours(row: Row | None, lease: Lease) -> Row:
    """The row of a lease, if it holds; raises `LeaseLost`."""
    if row is None or (row["owner"], row["epoch"]) != (lease.owner, lease.epoch):
        raise LeaseLost(f"{lease.name} is done by another process now")
    return row


class Leased:
    """An `Env` whose every commit is void once the lease has moved."""

    def __init__(self, env: Env, lease: Lease) -> None:
        self.env = env
        self.lease = lease
        self.now, self.uid, self.sleep = env.now, env.uid, env.sleep
        self.view, self.wake = env.view, env.wake

    def commit(self, work: Callable[[Rows], T], point: str) -> T:
        """See `Env`. Raises `LeaseLost`, and then nothing was kept."""

        def checked(rows: Rows) -> T:
            check(rows, self.lease, self.now())
            return work(rows)

        return self.env.commit(checked, point)


def hold(env: Env) -> None:
    """Before a send: raise `LeaseLost` if this loop's lease has moved, or see that it stays.

    Nobody else gets it within half of its time from then on.
    """
    if isinstance(env, Leased):
        now = env.now()
        if env.env.view(lambda rows: left(rows, env.lease, now)) < TTL_MS // 2:
            env.commit(lambda _: None, "lease")


def left(rows: Rows, lease: Lease, now: int) -> int:
    """How long a lease lasts from now on (ms); raises `LeaseLost`."""
    row = still_ours(rows.get("lease", name=lease.name), lease)
    return int(row["expires"]) - rows.time(now)


def fenced(api: Api, env: Env) -> Api:
    """The way to a tool for one write, maybe of many calls: none goes out once the lease moved.

    It was held a moment ago. Whoever waits between two calls, or is paused, asks anew.
    """
    return api.fenced(Fence(env, env.now())) if isinstance(api, HttpApi) else api


@dataclass
class Fence:
    """Right before a call: raises `LeaseLost`. `held`: when that was asked last (ms)."""

    env: Env
    held: int

    def __call__(self) -> None:
        """Ask the store, where that is not too long ago."""
        if (now := self.env.now()) > self.held + UNSURE_MS:
            hold(self.env)
            self.held = now
