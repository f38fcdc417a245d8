"""A hub's folder with sandboxes behind it, and the hub as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from connectors._kit import serve
from connectors._kit.serve import Served
from hub import opening
from hub.logs import be_quiet
from hub.opening import Folder
from hub.running import Running, running

CLI = [sys.executable, "-c", "from hub.start import main; main()"]
BEFORE = [sys.executable, "-c", "from hub.cli import main; main()"]  # there was a hub/start.py
# The tree of these tests, whichever one the environment was installed from.
ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@dataclass
class Site:
    """Sandboxes, a folder connected to them, and the hub's process while it is up.

    `code`: where another version of the program lies that is to be run in place of this one.
    """

    served: dict[str, Served]
    folder: Folder
    process: subprocess.Popen[str] | None = None
    starts: int = 0
    code: Path | None = None

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command, run to its end."""
        return subprocess.run(  # noqa: S603
            [*self.cli, *words], cwd=self.folder.path, env=self.environment(), capture_output=True,
            text=True, check=False, timeout=120)  # fmt: skip

    @property
    def cli(self) -> list[str]:
        """How its program is called."""
        older = self.code and not (self.code / "hub/start.py").exists()
        return BEFORE if older else CLI

    def environment(self) -> dict[str, str]:
        """Ours, with the code of this tree, or of another version, in front."""
        return {**ENV, **({"PYTHONPATH": str(self.code)} if self.code else {})}

    def asked(self, *words: str) -> Any:
        """The JSON answer of a command that succeeds."""
        done = self.call(*words, "--json")
        assert done.returncode == 0, done.stderr
        return orjson.loads(done.stdout)

    def up(self) -> None:
        """Start the hub and wait until it takes commands."""
        self.starts += 1
        with (self.folder.path / "up.log").open("a") as log:
            self.process = subprocess.Popen(  # noqa: S603
                [*self.cli, "up"], cwd=self.folder.path, env=self.environment(), stdout=log,
                stderr=log, text=True)  # fmt: skip
        assert wait(self.alive, 30)

    def alive(self) -> bool:
        """Whether the hub answers; a hub that has ended fails the test with what it said."""
        assert self.process is not None
        assert self.process.poll() is None, (self.folder.path / "up.log").read_text()[-2000:]
        return opening.hub_is_up(self.folder)

    def kill(self) -> None:
        """Kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.folder.socket().unlink(missing_ok=True)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(40)

    def quiet(self, seconds: float = 60) -> bool:
        """Wait until nothing is on its way."""
        return wait(lambda: opening.ask(self.folder, "progress", run="")["quiet"], seconds)

    def act(self, system: str, op: str, obj: str, native: str = "", **fields: Any) -> str:
        """A person does something in a tool."""
        answer = httpx.post(
            f"{self.served[system].base_url}/_sandbox/act", trust_env=False,
            json={"op": op, "object": obj, "id": native, "fields": fields})  # fmt: skip
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def billed(self) -> list[dict[str, Any]]:
        """Every customer in billing, over its API."""
        answer = httpx.get(
            f"{self.served['stripe'].base_url}/v1/customers", params={"limit": "100"},
            headers={"Authorization": "Bearer sk_test_sandbox"}, trust_env=False)  # fmt: skip
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    def connect(self) -> None:
        """Plan and apply everything, with the hub up."""
        assert wait(lambda: not opening.ask(self.folder, "status")["pending_inputs"], 60)
        time.sleep(1)
        run = opening.ask(self.folder, "plan")["run"]
        opening.ask(self.folder, "apply", run=run)
        assert self.quiet(120)


def wait(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Sites with so many customers; `kind` may be another class of server."""
    with sites(tmp_path) as make:
        yield make


@contextmanager
def sites(place: Path) -> Iterator[Callable[..., Site]]:
    """What `make_site` gives, for any scope."""
    made: list[Site] = []

    def make(
        customers: int = 12,
        kind: type[Served] = Served,
        vendors: tuple[str, ...] = ("hubspot", "stripe"),
    ) -> Site:
        served = {v: kind(serve.host(v, 3, customers)).start() for v in vendors}
        folder = Folder(place / f"hub{len(made)}")
        opening.init(folder, serve.described(served), (0, 0))
        made.append(Site(served, folder))
        return made[-1]

    try:
        yield make
    finally:
        for site in made:
            if site.process and site.process.poll() is None:
                site.kill()
            for one in site.served.values():
                one.stop()


# -- a hub in this process ---------------------------------------------------------------------

TOKEN = "a-token-of-an-operator"


@contextmanager
def up(folder: Folder) -> Iterator[tuple[Running, httpx.Client]]:
    """The hub, and a client of its private listener."""
    be_quiet()
    with (
        running(folder) as one,
        httpx.Client(base_url=f"http://127.0.0.1:{one.private.port}", trust_env=False) as client,
    ):
        yield one, client


def set_private(folder: Folder, **settings: str) -> None:
    """Change the private part of hub.yaml."""
    path = folder.path / "hub.yaml"
    lines = "".join(f"  {key}: {value}\n" for key, value in settings.items())
    path.write_text(path.read_text().replace("private:\n", f"private:\n{lines}"))
