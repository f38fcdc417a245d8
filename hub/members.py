"""Who runs which loop, where several processes share them.

Every process of a role says that it is there (a member, in the table of leases), and looks who else
is. Each takes so many of the role's loops as are its share, gives up what is more, and takes over
what a process that is gone has left: one that says nothing for `TTL_MS` is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil

from hub import leases
from hub.env import Env
from hub.io.rows import Row, Rows
from hub.leases import TTL_MS, Lease
from hub.pure.model import Uid

BEAT_MS = 2_000
KIND = "member"


@dataclass
class Member:
    """One process among those that share some loops. `held`: what it may run, by name.

    `role`: what the processes that share them have in common. `late`: what it still runs and is to
    give up when its step is done.
    """

    env: Env
    role: str
    names: tuple[str, ...]
    owner: Uid
    held: dict[str, Lease] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Under which it is known to the others."""
        return f"{KIND}:{self.role}:{self.owner}"

    def beat(self) -> set[str]:
        """Say that this process is there, and take what it may run; returns what is new."""
        before = dict(self.held)
        found, self.late = self.env.commit(self._looked, "members")
        self.held = found
        return {n for n, lease in found.items() if before.get(n) != lease}

    def _looked(self, rows: Rows) -> tuple[dict[str, Lease], set[str]]:
        now = rows.time(self.env.now())
        mine = {"name": self.name, "owner": self.owner, "epoch": 1, "expires": now + TTL_MS}
        rows.upsert("lease", mine)
        known = {row["name"]: row for row in rows.select("lease")}
        alive = {row["owner"] for row in members(known.values(), now)}
        others = {row["owner"] for row in members(known.values(), now, self.role)}
        held = {n: lease for n, lease in self.held.items() if holds(known.get(n), lease)}
        share = ceil(len(self.names) / len(others))
        for name in self.names:
            if len(held) >= share:
                break
            if name not in held and leases.free(known.get(name), self.owner, now, alive):
                lease = leases.take(rows, name, self.owner, now, alive=alive)
                held |= {name: lease} if lease else {}
        return held, set(list(held)[share:])

    def give_up(self, name: str) -> None:
        """The loop has ended its step: somebody else may have it at once."""
        if lease := self.held.pop(name, None):
            self.env.commit(lambda rows: leases.release(rows, lease), "members")

    def forget(self, name: str, lease: Lease) -> None:
        """Somebody else has it: it is not ours to give up."""
        if self.held.get(name) == lease:
            del self.held[name]

    def leave(self) -> None:
        """End in good order: others may have all of it at once. Raises StoreFull: not at once."""
        held, self.held = list(self.held.values()), {}

        def gone(rows: Rows) -> None:
            for lease in held:
                leases.release(rows, lease)
            rows.delete("lease", {"name": self.name})

        self.env.commit(gone, "members")


def members(rows: Iterable[Row], now: int, role: str = "") -> list[Row]:
    """The processes that are there, of this role or of any."""
    kind = f"{KIND}:{role}:" if role else f"{KIND}:"
    return [row for row in rows if row["name"].startswith(kind) and row["expires"] > now]


def present(rows: Rows, now: int) -> list[str]:
    """The names of the processes that are there."""
    return [row["name"] for row in members(rows.select("lease"), rows.time(now))]


def roles(rows: Rows, now: int) -> dict[str, int]:
    """How many processes of each role are there, where several share a hub."""
    return dict(Counter(name.split(":")[1] for name in present(rows, now)))


def holds(row: Row | None, lease: Lease) -> bool:
    """Whether a lease is still the one that was taken."""
    return row is not None and (row["owner"], row["epoch"]) == (lease.owner, lease.epoch)


def tidy(rows: Rows, now: int) -> None:
    """Forget processes that have been gone for an hour."""
    for row in rows.select("lease"):
        if row["name"].startswith(f"{KIND}:") and row["expires"] < now - 3_600_000:
            rows.delete("lease", {"name": row["name"]})
