"""For tests: a process that kills or stops itself at a named point of its work.

HUB_TRAP names a file. While that says "KILL after resolve:commit", the process sends itself this
signal when it next passes there, and removes the file first: so the point was reached. *Before*
means that the work of a transaction is done and nothing of it is kept yet; *after*, that all is
kept and nobody knows. Where the variable is not set there is no trap.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hub.io.rows import Rows, Store

T = TypeVar("T")
FILE = "HUB_TRAP"


@dataclass(frozen=True)
class Trapped:
    """Transactions of a store, with a trap at both ends of each."""

    store: Store
    path: Path

    def transact(self, work: Callable[[Rows], T], point: str) -> T:
        """See `Store`."""

        def whole(rows: Rows) -> T:
            done = work(rows)
            self.passed(f"before {point}")
            return done

        done = self.store.transact(whole)
        self.passed(f"after {point}")
        return done

    def passed(self, where: str) -> None:
        """Fall into the trap, where there is one."""
        try:
            sent, _, wanted = self.path.read_text().partition(" ")
        except FileNotFoundError:
            return
        if wanted == where:
            self.path.unlink(missing_ok=True)
            # To this very thread: it takes no step further.
            signal.pthread_kill(threading.get_ident(), signal.Signals[f"SIG{sent}"])


def trapped(store: Store, environment: Mapping[str, str] = os.environ) -> Trapped | None:
    """The traps of this process, None where nobody has asked for any."""
    return Trapped(store, Path(environment[FILE])) if FILE in environment else None
