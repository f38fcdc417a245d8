"""A server as a child of this process, which never outlives it."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

# Below the ports that systems give to outgoing connections: one of those could take the port of a
# server while it is stopped.
PORTS = range(20_000, 32_000)
SECONDS_TO_STOP = 30

# The kernel ends a child when the *thread* that made it ends: one thread makes them all, and lives
# as long as the process does.
_MAKER = ThreadPoolExecutor(1, thread_name_prefix="local-services")


class Missing(RuntimeError):
    """The machine lacks something that a part needs; the text says what, and what to do."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has."""
    while is_taken(port := PORTS[secrets.randbelow(len(PORTS))]):
        pass
    return port


def is_taken(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def begun(command: Sequence[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    """The command, started in the folder, with what it says added to the log.

    In a session of its own: a Ctrl-C is for us, who then stop it in good order.
    """

    def begin() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(  # noqa: S603
                [*bound(), *command], cwd=folder, stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, start_new_session=True)  # fmt: skip

    return _MAKER.submit(begin).result()


@cache
def bound() -> tuple[str, ...]:
    """What goes before a command so that it ends with us; nothing where there is no setpriv."""
    words = ("setpriv", "--pdeathsig", "KILL")
    return words if shutil.which("setpriv") and _works(*words, "true") else ()


@cache
def unprivileged() -> tuple[str, ...]:
    """What goes before a command that refuses to be root; it can still read and write all files."""
    if os.geteuid() != 0:
        return ()
    nobody = pwd.getpwnam("nobody")
    words = (
        "setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups",
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override",
        "--pdeathsig", "KILL",  # a change of user forgets it
    )  # fmt: skip
    if not (shutil.which("setpriv") and _works(*words, "true")):
        raise Missing("root may not start PostgreSQL here: do it as another user")
    return words


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603


def until(condition: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes]) -> bool:
    """Wait until something is so; not when the process has ended."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def ended(process: subprocess.Popen[bytes], by: signal.Signals) -> None:
    """Ask it to end; one that does not is killed."""
    process.send_signal(by)
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        killed(process)


def killed(process: subprocess.Popen[bytes]) -> None:
    """Kill -9, with the processes that it has made; when this returns they are gone."""
    family = [process.pid, *children(process.pid)]
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    while any(map(is_alive, family)):
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    """The processes that it has made."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    with suppress(FileNotFoundError):
        return [int(child) for child in listed.read_text().split()]
    found = subprocess.run(  # noqa: S603
        ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607  # fmt: skip
    return [int(child) for child in found.stdout.split()]


def is_alive(pid: int) -> bool:
    """Whether it runs; what has ended and was not yet taken note of does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
