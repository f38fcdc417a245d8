"""Everything the steps of the path are given: the one door to clock, chance, disk and sockets.

`Env` is implemented twice: by hub/wiring.py with the real world, and by hub/tools/simulate.py with
a seeded one. `commit`, `sleep` and the calls of an `Api` are the only points where another loop
may run or the process may die, and no lock is held across them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from connectors._kit.contract import Api, Connector, ObjectSpec
from hub.io.anchor import Anchor
from hub.io.codec import Codec
from hub.io.log import Log
from hub.io.rows import Rows
from hub.io.state import Vault
from hub.process import Process
from hub.pure.decide import Context
from hub.pure.model import Uid
from hub.pure.rules import Tool

T = TypeVar("T")
DAY_MS = 24 * 3_600_000


def uuid7(now_ms: int, entropy: Callable[[int], bytes]) -> Uid:
    """A UUID of version 7: 48 bits of time, then chance."""
    raw = bytearray(now_ms.to_bytes(6) + entropy(10))
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Env(Protocol):
    """The world. Times in ms since 1970 UTC unless named seconds."""

    def now(self) -> int:
        """The hub's clock."""

    def uid(self) -> Uid:
        """A fresh UUIDv7."""

    def sleep(self, seconds: float) -> None:
        """Let others run for a while."""

    def commit(self, work: Callable[[Rows], T], point: str) -> T:
        """Run in one durable transaction; `point` names the place for crashes and traces."""

    def view(self, work: Callable[[Rows], T]) -> T:
        """Run on a snapshot, without writing."""

    def wake(self, loop: str, at: int = 0) -> None:
        """Tell a loop that there is work: "resolve", "deliver:<system>", "capture:<system>".

        `at` (ms): what is in no hurry may wait until then for others of its kind.
        """


@dataclass(frozen=True)
class System:
    """One configured tool, wired up. Times in ms. `webhooks`: whether any are taken from it."""

    name: str
    connector: Connector
    api: Api
    secrets: Mapping[str, str]
    specs: Mapping[str, ObjectSpec]
    tools: Mapping[str, Tool]
    poll_ms: int = 30_000
    sweep_ms: int = 3_600_000
    epoch: int = 0
    webhooks: bool = True
    close: Callable[[], None] = lambda: None

    def spec_for(self, entity: str) -> ObjectSpec | None:
        """The object that holds an entity here."""
        return next((s for s in self.specs.values() if s.entity == entity), None)


@dataclass
class Hub:
    """One hub, wired up: what every step is given.

    `anchor` is where the heads of the history are kept, in the real world. `listening` says where
    a hub that is up can be reached, by purpose. `process` is how this process is. For
    `points_on_ms` the golden topic tells of an ended golden record where its customer is now.
    """

    env: Env
    vault: Vault
    log: Log
    codec: Codec
    context: Context
    systems: Mapping[str, System] = field(default_factory=dict)
    anchor: Anchor | None = None
    listening: dict[str, str] = field(default_factory=dict)
    process: Process = field(default_factory=Process)
    points_on_ms: int = 30 * DAY_MS

    def tool(self, system: str, obj: str) -> Tool:
        """The core's view of an object."""
        return self.context.tools[system, obj]
