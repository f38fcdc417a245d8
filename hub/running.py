"""A hub that is up: loops, listeners, and their orderly end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from socket import socket
from typing import cast

import structlog
from starlette.applications import Starlette

from hub import switches
from hub.listeners import Listener, command_app, public_app, tcp, unix
from hub.loops import Loops
from hub.opening import Folder, Opened, opened
from hub.private import private_app
from hub.settings import BadSettings
from hub.wiring import RealEnv, check_account


@dataclass
class Running:
    """What is up."""

    opened: Opened
    loops: Loops
    listeners: tuple[Listener, ...]

    @property
    def private(self) -> Listener:
        """Where operators look."""
        return self.listeners[0]

    @property
    def webhooks(self) -> Listener:
        """Where webhooks arrive; raises IndexError in a process that takes none."""
        return self.listeners[1]

    def applied(self) -> bool:
        """Whether writes flow."""
        return self.opened.hub.env.view(lambda rows: switches.read(rows, "applied")) is not None


@contextmanager
def running(
    folder: Folder, role: str = "", public: int | None = None, private: int | None = None
) -> Iterator[Running]:
    """A hub that is up, until the block ends, or its part of one `role`.

    `public`, `private`: other ports to listen at than in hub.yaml. Raises what `opened` raises, and
    OSError.
    """
    with ExitStack() as stack:
        one = stack.enter_context(opened(folder, anchored=role in ("", "sweep")))
        if role and one.settings.postgres is None:
            raise BadSettings(
                "hub.yaml names no postgres and no kafka: all of this hub runs in one process, "
                "`synchub up`"
            )
        if one.differs:
            structlog.get_logger().warning(
                "rules_differ",
                hint="rules.yaml is not what is published; synchub check --publish publishes it",
            )
        if role != "console":
            refuse_other_accounts(one)
        env = cast("RealEnv", one.hub.env)
        loops = Loops(one.hub, env, role)
        env.here = loops.runs
        yield Running(one, loops, listen(stack, Part(one, folder, loops, public, private)))


@dataclass(frozen=True)
class Part:
    """What this process is to do; `public` and `private` are ports other than in hub.yaml."""

    one: Opened
    folder: Folder
    loops: Loops
    public: int | None = None
    private: int | None = None

    def at_private(self) -> socket:
        """Where operators look."""
        own = self.one.settings.private
        return tcp(own.host, own.port if self.private is None else self.private, "private.port")

    def at_public(self) -> socket:
        """Where webhooks arrive."""
        public = self.one.settings.public
        return tcp(public.host, public.port if self.public is None else self.public, "public.port")


def listen(stack: ExitStack, part: Part) -> tuple[Listener, ...]:
    """Take every place to listen at, then work, then listen; it ends in the reverse order.

    Operators are answered first, and to the last: they may ask why it is not ready.
    """
    one, role = part.one, part.loops.role
    hub, settings = one.hub, one.settings
    at_own = stack.enter_context(part.at_private())
    operators = private_app(hub, settings.private, part.folder.path)
    apps: list[tuple[Starlette, socket]] = []
    hub.listening["operators"] = settings.private.url or address(at_own)
    if role in ("", "capture"):
        at_public = stack.enter_context(part.at_public())
        url = settings.public.url or address(at_public)
        apps.append((public_app(hub, url), at_public))
        hub.listening["webhooks"] = url
    if not role:
        at_socket = stack.enter_context(unix(part.folder.socket()))
        apps.append((command_app(hub), at_socket))
        hub.listening["commands"] = str(part.folder.socket())
    private = started(stack, Listener(operators, at_own))
    part.loops.start()
    stack.callback(part.loops.stop)
    others = [started(stack, Listener(app, bound)) for app, bound in apps]
    stack.callback(hub.process.drain)
    return (private, *others)


def started(stack: ExitStack, listener: Listener) -> Listener:
    """A listener that serves until the stack ends."""
    stack.callback(listener.stop)
    return listener.start()


def address(bound: socket) -> str:
    """Where this is reached over HTTP."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def refuse_other_accounts(one: Opened) -> None:
    """A system whose credentials lead to another account is not written to, nor read."""
    for name, settings in one.settings.systems.items():
        system = one.hub.systems[name]
        why = check_account(
            system.connector.account(system.api), settings, one.settings.environment
        )
        if why:
            message = f"{name}: {why}"
            raise LookupError(message)
