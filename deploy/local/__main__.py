"""`python -m deploy.local`: Kafka, a registry and PostgreSQL in the foreground, for a developer.

python -m deploy.local [FOLDER]    what they keep lies in FOLDER (.services), for the next time
python -m deploy.local --fetch     only what they are made of, where this machine can run them
"""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from deploy.local import fetched
from deploy.local.parts import Kafka, NotStarted, Part, Postgres, Registry
from deploy.local.process import Missing

TOLD = """
ready; put this into hub.yaml, and end with Ctrl-C

postgres:
  url: "{postgres}"
kafka:
  bootstrap: "{kafka}"
  replication: 1
registry:
  url: "{registry}"

"""


def main(words: list[str]) -> int:
    """Do what was asked; 1 when a part did not start, or ended by itself."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return fetch() if words == ["--fetch"] else run(Path(*words or [".services"]))
    except KeyboardInterrupt:
        return 0
    except (NotStarted, Missing) as error:
        say(f"{error}\n")
        return 1


def interrupt(*_: object) -> NoReturn:
    """Take another signal for a Ctrl-C."""
    raise KeyboardInterrupt


def run(folder: Path) -> int:
    """All three, until somebody ends them or one ends itself."""
    with ExitStack() as stack:
        parts: list[Part] = [Postgres(folder / "postgres"), Kafka(folder / "kafka"),
                             Registry(folder / "registry")]  # fmt: skip
        for part in parts:
            say(f"{part.name} … ")
            stack.enter_context(part)
        say(TOLD.format_map({part.name: part.address for part in parts}))
        while all(part.runs for part in parts):
            time.sleep(0.5)
        ended = ", ".join(str(part.log) for part in parts if not part.runs)
        say(f"a part has ended by itself, so all are stopped; see {ended}\n")
        return 1


def fetch() -> int:
    """What Java runs and Go builds, so that no test waits for it; a machine can do without."""
    try:
        fetched.java()
        fetched.libraries()
    except Missing as error:
        say(f"no Kafka and no registry here, tests of them are skipped: {error}\n")
    try:
        for name in fetched.wanted():
            fetched.build(name)
    except Missing as error:
        say(f"what is deployed is not checked by every tool, those tests are skipped: {error}\n")
    return 0


def say(text: str) -> None:
    """To whoever looks, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
