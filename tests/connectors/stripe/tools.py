"""What the Stripe tests share: localstripe, a server written by others, in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.services import lacking

ROOT = Path(__file__).parents[3]
LOCK = Path(__file__).with_name("localstripe.lock")
PLACE = ROOT / ".venv" / "localstripe"  # an environment of its own, cached between runs
SERVE = (
    "from aiohttp import web; from localstripe.server import app; "
    "web.run_app(app, host='127.0.0.1', port=%d, print=None)"
)


def python() -> Path:
    """The interpreter of localstripe's environment, which is made when it is first asked for."""
    binary = PLACE / "bin" / "python"
    done = PLACE / "done"
    if not done.exists() or done.read_text() != LOCK.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PLACE)], check=True)  # noqa: S603
        subprocess.run(  # noqa: S603
            [str(binary), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(LOCK)],
            check=True, timeout=240)  # fmt: skip
        done.write_text(LOCK.read_text())
    return binary


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def localstripe() -> Iterator[str]:
    """Its address while it runs; skips with the reason where it cannot be had."""
    try:
        binary = python()
    except (subprocess.SubprocessError, OSError) as error:
        lacking("localstripe", f"it cannot be installed: {error}")
    port = free_port()
    process = subprocess.Popen(  # noqa: S603
        [str(binary), "-c", SERVE % port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def wait_for(address: str) -> None:
    """Until it answers."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            httpx.get(f"{address}/v1/customers", auth=("sk_test_12345", ""), trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("localstripe did not start")
