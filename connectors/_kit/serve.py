"""Sandboxes over real HTTP, their webhooks sent: for `synchub sandbox` and demo."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import orjson

from connectors._kit.sandbox import Clock, Host, for_admin

LOOPBACK = "127.0.0.1"
PUMP_SECONDS = 0.02
WEBHOOK_SECONDS = 5


def vendors() -> list[str]:
    """Every vendor that has a sandbox."""
    return sorted(
        p.parent.name
        for p in Path(__file__).parents[1].glob("*/sandbox.py")
        if p.parent.name != "_kit"
    )


def host(vendor: str, seed: int, customers: int) -> Host:
    """A seeded sandbox of a vendor, with its admin address; raises LookupError."""
    if vendor not in vendors():
        message = f"there is no sandbox for {vendor!r}; there are: {', '.join(vendors())}"
        raise LookupError(message)
    clock = Clock(lambda: time.time_ns() // 1_000_000)
    made = import_module(f"connectors.{vendor}.sandbox").SANDBOX(seed, customers, clock)
    return Host(made, clock)


@dataclass
class Served:
    """A sandbox behind a port, in threads of this process; `at`: the name or address that it has.

    While it is `down` it hangs up on every program and tells nobody of anything; people work on.
    """

    host: Host
    port: int = 0
    at: str = LOOPBACK
    down: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _stirred: threading.Event = field(default_factory=threading.Event)

    def start(self) -> Served:
        """Serve; the port is known when this returns."""
        try:
            self._server = ThreadingHTTPServer((self.at, self.port), gate(self))
        except OSError as error:
            where = f"{self.at} port {self.port}"
            raise OSError(f"cannot serve at {where}: {error.strerror}") from None
        self._server.daemon_threads = True
        self.port = self._server.server_port
        for work in (lambda: self._server.serve_forever(0.02), self._pump):
            threading.Thread(target=work, daemon=True).start()
        return self

    @property
    def base_url(self) -> str:
        """The address."""
        return f"http://{self.at}:{self.port}"

    def stop(self) -> None:
        """Serve no more."""
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: httpx.Request) -> httpx.Response:
        """One request at a time: a sandbox knows nothing of threads."""
        wait = self.host.slow_seconds(request)
        if wait:
            time.sleep(wait)
        if self.down and not for_admin(request):
            raise httpx.ConnectError("this tool is down", request=request)
        try:
            with self._lock:
                return self.host.handle(request)
        finally:
            self._stirred.set()  # what it has to tell is told at once

    def _pump(self) -> None:
        with httpx.Client(timeout=WEBHOOK_SECONDS, trust_env=False) as client:
            while not self._stop.is_set():
                self._stirred.wait(PUMP_SECONDS)
                self._stirred.clear()
                with self._lock:
                    due = [] if self.down else self.host.sandbox.due(self.host.clock())
                for one in due:
                    status = send(client, one)
                    with self._lock:
                        self.host.sandbox.settle(one.id, status)


def send(client: httpx.Client, one: Any) -> int:
    """Send a webhook; the status it was answered with, 0 for no answer."""
    try:
        return client.request(
            one.method, one.url, headers=dict(one.headers), content=one.body
        ).status_code
    except httpx.HTTPError:
        return 0


def gate(served: Served) -> type[BaseHTTPRequestHandler]:
    """The handler class that passes requests on."""

    class Gate(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            url = f"http://{self.headers.get('host', '127.0.0.1')}{self.path}"
            request = httpx.Request(
                self.command, url, headers=list(self.headers.items()), content=body
            )
            try:
                answer = served.answer(request)
            except httpx.TransportError:
                self.close_connection = True
                return
            self.reply(answer)

        def reply(self, answer: httpx.Response) -> None:
            content = answer.content
            head = [f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}"]
            head += [
                f"{k}: {v}"
                for k, v in answer.headers.items()
                if k.lower() not in ("content-length", "transfer-encoding", "connection")
            ]
            head.append(f"content-length: {len(content)}")
            self.wfile.write("\r\n".join([*head, "", ""]).encode() + content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Quiet: a sandbox keeps a log of its own."""

    return Gate


def start(
    systems: Iterable[str], seed: int, customers: int, port: int = 0, at: str = LOOPBACK
) -> dict[str, Served]:
    """Serve these vendors' sandboxes at this host, from `port` on (0: any free ones)."""
    found = {}
    for n, vendor in enumerate(systems):
        made = Served(host(vendor, seed, customers), port + n if port else 0, at)
        found[vendor] = made.start()
    return found


def described(served: Mapping[str, Served]) -> dict[str, Any]:
    """Addresses, credentials and admin acts, for programs."""
    return {
        vendor: {
            "base_url": one.base_url,
            "auth": dict(one.host.sandbox.auth),
            **one.host.settings(),
            "admin": one.host.admin(),
        }
        for vendor, one in served.items()
    }


def describe(served: Mapping[str, Served], path: Path) -> None:
    """Write the description, whole or not at all, once all of them answer."""
    for one in served.values():
        httpx.get(f"{one.base_url}/_sandbox/state", trust_env=False).raise_for_status()
    draft = path.with_name(path.name + ".new")
    draft.touch(mode=0o600)
    draft.write_bytes(orjson.dumps(described(served), option=orjson.OPT_INDENT_2))
    draft.replace(path)
