"""A hub of several processes on Kafka and PostgreSQL, with sandboxes behind it."""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.process import free_port
from hub import opening, runs, traps
from hub.env import Hub
from hub.io.rows import Rows
from hub.opening import Opened
from tests.end_to_end.conftest import CLI, ENV, Site, wait

ROLES = ("capture", "resolve", "deliver", "sweep")


@dataclass
class Part:
    """One process of a role. `log`: where it says what it does; `trap`: see hub/traps.py.

    `public`: the port at which it takes webhooks, if it does.
    """

    role: str
    process: subprocess.Popen[bytes]
    log: Path
    trap: Path
    public: int = 0

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def set_trap(self, what: str) -> None:
        """Let it fall where it passes next, as "KILL after resolve:commit"; "" for nowhere."""
        draft = self.trap.with_suffix(".draft")
        draft.write_text(what)
        draft.replace(self.trap)

    @property
    def said(self) -> str:
        """Everything it has said so far."""
        return self.log.read_text()

    def fell(self, how: str) -> bool:
        """Whether it was struck: killed, or stopped by its trap."""
        return not self.runs if how == "KILL" else not self.trap.exists()

    def send(self, number: signal.Signals) -> None:
        """Pause it, let it go on, or end it."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)


@dataclass
class Cluster:
    """A site's folder on shared parts, and the processes of its hub.

    `opened` looks into it from this process, without a loop of its own.
    """

    site: Site
    opened: Opened | None = None
    parts: list[Part] = field(default_factory=list)

    @property
    def hub(self) -> Hub:
        """The hub in this process."""
        assert self.opened
        return self.opened.hub

    def start(self, role: str, trap: str = "", code: str = "") -> Part:
        """One more process of a role, maybe with a trap, or of other `code`; returns at once."""
        path = self.site.folder.path
        name = f"{role}-{len(self.parts)}"
        log, file = path / f"{name}.log", path / f"{name}.trap"
        port = free_port() if role == "capture" else 0
        words = [*CLI, role, "--private", "0", *(["--public", str(port)] if port else [])]
        if trap:
            file.write_text(trap)
        environment = {**ENV, traps.FILE: str(file), **({"PYTHONPATH": code} if code else {})}
        with log.open("ab") as said:
            process = subprocess.Popen(  # noqa: S603
                words, cwd=path, env=environment, stdout=said, stderr=said
            )
        self.parts.append(part := Part(role, process, log, file, port))
        return part

    def up(self, *roles: str) -> list[Part]:
        """Processes of these roles, all of them up."""
        started = [self.start(role) for role in roles or ROLES]
        for part in started:
            self.wait_for(part)
        return started

    def wait_for(self, part: Part, seconds: float = 60) -> None:
        """Until it is up; one that has ended fails the test with what it said."""
        assert wait(lambda: "console:" in part.said or not part.runs, seconds), part.said
        assert part.runs, part.said

    def alive(self, role: str) -> list[Part]:
        """The processes of a role, the oldest first."""
        return [part for part in self.parts if part.role == role and part.runs]

    def view(self, work: Any) -> Any:
        """What the store holds."""
        return self.hub.env.view(work)

    def quiet(self, seconds: float = 60) -> bool:
        """Wait until nothing is on its way."""
        return wait(lambda: self.view(runs.quiet), seconds)

    def connect(self) -> None:
        """Plan and apply everything that was read."""

        def read(rows: Rows) -> bool:
            done = rows.count("cursor", {"stream": "snapshot", "value": "done"})
            objects = sum(len(s.specs) for s in self.hub.systems.values())
            return done == objects and not rows.count("input", {"status": "pending"})

        assert wait(lambda: self.view(read), 60)
        run = opening.ask(self.site.folder, "plan")["run"]
        opening.ask(self.site.folder, "apply", run=run)
        assert self.quiet(120)

    def end(self) -> None:
        """Nothing of it is left running."""
        for part in self.parts:
            if part.runs:
                part.send(signal.SIGCONT)
                part.kill()


def addresses(
    folder: Path, postgres: str, kafka: str, registry: str = "", prefix: str = "", **more: Any
) -> None:
    """Name the shared parts in hub.yaml; what is there of others is none of ours."""
    prefix = prefix or f"t{uuid.uuid4().hex[:12]}."
    lines = [
        "postgres:", f"  url: {postgres}",
        "kafka:", f"  bootstrap: {kafka}", f"  prefix: {prefix}",
        "  replication: 1", *(f"  {key}: {value}" for key, value in more.items()),
        *(["registry:", f"  url: {registry}"] if registry else []),
    ]  # fmt: skip
    with (folder / "hub.yaml").open("a") as file:
        file.write("\n".join(lines) + "\n")


@contextmanager
def cluster(site: Site, postgres: str, kafka: str, **more: Any) -> Iterator[Cluster]:
    """A cluster, of which no process is up yet."""
    addresses(site.folder.path, postgres, kafka, **more)
    with opening.opened(site.folder) as one:
        made = Cluster(site, one)
        try:
            yield made
        finally:
            made.end()
