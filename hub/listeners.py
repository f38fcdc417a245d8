"""The two ways in over the network: webhooks from the tools, and commands from this machine.

A webhook is answered 2xx only after its hints are committed. The command socket is a Unix socket of
mode 0600 in the state folder: who may open it may command the hub.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors._kit.contract import ConnectorError, Forged, Hint, Inbound, Malformed, Stale
from hub import capture, inputs
from hub.commands import COMMANDS, Wrong
from hub.env import Hub, System
from hub.io import state, traces
from hub.io.rows import Refused, Rows, StoreFull

LOG = structlog.get_logger()
LARGEST_WEBHOOK = 1024 * 1024
LARGEST_COMMAND = 16 * 1024 * 1024


class TooLarge(Exception):
    """A body longer than anybody has reason to send."""


async def body_of(request: Request, largest: int) -> bytes:
    """The whole body; raises `TooLarge` before it is all in memory."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > largest:
            raise TooLarge
        parts.append(part)
    return b"".join(parts)


# -- webhooks ----------------------------------------------------------------------------------


def public_app(hub: Hub, public_url: str) -> Starlette:
    """POST /webhooks/<system>, GET of the same for tools that try an address, and GET /healthz."""

    async def webhook(request: Request) -> Response:
        name = request.path_params["system"]
        system = hub.systems.get(name)
        if system is None:
            return JSONResponse({"error": f"no system {name!r} here"}, 404)
        if not system.webhooks:
            why = f"no webhooks are taken from {name!r}: hub.yaml says webhooks: false"
            return JSONResponse({"error": why}, 404)
        if request.method in ("GET", "HEAD"):
            return JSONResponse({"result": "webhooks are taken here, by POST"})
        try:
            body = await body_of(request, LARGEST_WEBHOOK)
        except TooLarge:
            await run_in_threadpool(counted, hub, name, "webhooks too large")
            return JSONResponse({"error": "too large"}, 413)
        except ClientDisconnect:
            return Response(status_code=400)
        url = public_url.rstrip("/") + request.url.path
        inbound = Inbound(
            request.method,
            url + (f"?{request.url.query}" if request.url.query else ""),
            {k.lower(): v for k, v in request.headers.items()},
            body,
            hub.env.now(),
        )
        status, why = await run_in_threadpool(receive, hub, system, inbound)
        return JSONResponse({"result": why}, status)

    async def health(_request: Request) -> Response:
        return JSONResponse({"up": True})

    return Starlette(
        routes=[
            Route("/webhooks/{system}", webhook, methods=["GET", "POST"]),
            Route("/healthz", health),
        ]
    )


def receive(hub: Hub, system: System, inbound: Inbound) -> tuple[int, str]:
    """Check and keep one webhook; the status to answer with, and a word."""
    trace = traces.trace_in(inbound.headers.get(traces.HEADER, ""))
    try:
        hints = system.connector.hints(inbound, system.secrets)
        new = hub.env.commit(
            lambda rows: capture.accept(rows, hub, system, hints, trace), "webhook"
        )
    except Forged as error:
        counted(hub, system.name, "webhooks forged")
        return 401, str(error)
    except Stale as error:
        reread(hub, system, error.hints, trace)
        return 400, f"{error}; the records it names are read again"
    except (Malformed, Refused) as error:
        keep_malformed(hub, system, inbound, str(error))
        return 400, str(error)
    except StoreFull:
        return 503, "cannot keep it now; send it again"
    LOG.debug("webhook_taken", system=system.name, count=new, trace=trace)
    if new:
        hub.env.wake(f"capture:{system.name}")
    return 200, f"{new} new"


def counted(hub: Hub, system: str, name: str) -> None:
    """Count something that happened to a system."""
    hub.env.commit(lambda rows: state.count(rows, system, name), "count")


def reread(hub: Hub, system: System, hints: tuple[Hint, ...], trace: str) -> None:
    """A replayed or late webhook is refused, but what it names is read again."""

    def keep(rows: Rows) -> None:
        state.count(rows, system.name, "webhooks too old")
        for h in hints:
            if capture.names_a_record(system, h):
                inputs.hint(
                    rows,
                    system.name,
                    h.object,
                    h.native_id,
                    f"{system.name}:old:{h.key}",
                    hub.env.now(),
                    kind="too old",
                    trace=trace or None,
                )

    hub.env.commit(keep, "webhook")
    hub.env.wake(f"capture:{system.name}")


def keep_malformed(hub: Hub, system: System, inbound: Inbound, why: str) -> None:
    """A rightly signed body that nobody understands is kept for a person."""

    def keep(rows: Rows) -> None:
        state.count(rows, system.name, "webhooks malformed")
        rows.upsert(
            "parked",
            {
                "id": f"webhook:{system.name}:{inbound.received_ms}",
                "kind": "webhook",
                "state": "open",
                "at": inbound.received_ms,
                "system": system.name,
                "why": why,
                "doc": {"body": inbound.body.decode("utf-8", "replace")[:20_000]},
            },
        )

    hub.env.commit(keep, "webhook")


# -- commands ----------------------------------------------------------------------------------


def command_app(hub: Hub) -> Starlette:
    """POST /call/<command> with a JSON object of arguments."""

    async def call(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in COMMANDS:
            return JSONResponse({"error": f"no command {name!r}"}, 404)
        try:
            arguments = orjson.loads(await body_of(request, LARGEST_COMMAND) or b"{}")
            answer = await run_in_threadpool(COMMANDS[name], hub, **arguments)
        except (Wrong, Refused, TypeError, ValueError, TooLarge) as error:
            return JSONResponse({"error": str(error)}, 400)
        except (ConnectorError, StoreFull, OSError) as error:
            return JSONResponse({"error": str(error)}, 503)
        except Exception as error:
            LOG.exception("command_failed")
            return JSONResponse({"error": f"{name} failed ({error!r}); the hub goes on"}, 500)
        return Response(orjson.dumps(answer), media_type="application/json")

    return Starlette(routes=[Route("/call/{name}", call, methods=["POST"])])


def ask_running(place: Path, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Put a command to the hub behind a socket; raises `Wrong`, or OSError when it cannot do it."""
    transport = httpx.HTTPTransport(uds=str(place))
    try:
        with httpx.Client(transport=transport, base_url="http://hub", timeout=600) as client:
            response = client.post(f"/call/{name}", content=orjson.dumps(arguments))
        answer: dict[str, Any] = orjson.loads(response.content)
    except (httpx.TransportError, orjson.JSONDecodeError) as error:
        raise OSError(f"the hub at {place} did not answer ({type(error).__name__})") from None
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise OSError(answer["error"])
    if response.status_code != httpx.codes.OK:
        raise Wrong(answer["error"])
    return answer


# -- serving -----------------------------------------------------------------------------------


class Listener:
    """A server in a thread of its own. `port` is the real one where 0 was asked for."""

    def __init__(self, app: Starlette, bound: socket.socket) -> None:
        """On a socket that `tcp` or `unix` has bound."""
        self.address = bound.getsockname()
        config = uvicorn.Config(
            app, ws="none", log_config=None, lifespan="off", access_log=False, server_header=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([bound],), daemon=True)

    def start(self, seconds: float = 10) -> Listener:
        """Serve; returns once connections are taken. Raises OSError when that fails."""
        self._thread.start()
        wait_for(lambda: self._server.started or not self._thread.is_alive(), seconds)
        if not self._server.started:
            raise OSError(f"the listener at {self.address} did not start")
        return self

    @property
    def port(self) -> int:
        """The TCP port that is served."""
        return int(self.address[1])

    def stop(self) -> None:
        """Finish what is being answered, then close."""
        self._server.should_exit = True
        self._thread.join(10)


def tcp(host: str, port: int, setting: str) -> socket.socket:
    """A socket at this port; raises OSError that says what to do. `setting`: where it is set."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named in full: asyncio lets no answer wait for an ACK (40 ms) only where it knows it is TCP.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen()
    except OSError as error:
        bound.close()
        raise OSError(
            f"cannot listen at {host} port {port} ({error.strerror}): stop the program that uses "
            f"it, or set another {setting} in hub.yaml (port 0 takes a free one)"
        ) from None
    return bound


@contextmanager
def unix(path: Path) -> Iterator[socket.socket]:
    """A socket of mode 0600 in the file system, until the block ends.

    It gets its name when it listens: one that refuses is taken for that of a killed hub. Raises
    OSError that says what to do.
    """
    bound = named(path)
    try:
        with bound:
            yield bound
    finally:
        path.unlink(missing_ok=True)


def named(path: Path) -> socket.socket:
    """The socket, listening under this name."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # a hub on PostgreSQL has no file
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        bound.bind(str(beside))
        bound.listen()
        beside.replace(path)
    except OSError as error:
        bound.close()
        raise OSError(
            f"cannot make the command socket {path} ({error}): set `state` in hub.yaml to a "
            "folder of this machine with a shorter path"
        ) from None
    finally:
        os.umask(mask)
    return bound


def wait_for(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until something is so; whether it came to be in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())
