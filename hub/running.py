"""A hub that is up: loops, listeners, and their orderly end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from socket import socket
from typing import cast

import structlog

from hub import switches
from hub.listeners import Listener, command_app, public_app, tcp, unix
from hub.loops import Loops
from hub.opening import Folder, Opened, opened
from hub.private import private_app
from hub.wiring import RealEnv, check_account


@dataclass
class Running:
    """What is up."""

    opened: Opened
    loops: Loops
    webhooks: Listener
    private: Listener

    def applied(self) -> bool:
        """Whether writes flow."""
        return self.opened.hub.env.view(lambda rows: switches.read(rows, "applied")) is not None


@contextmanager
def running(folder: Folder) -> Iterator[Running]:
    """A hub that is up, until the block ends. Raises what `opened` raises, and OSError."""
    with ExitStack() as stack:
        one = stack.enter_context(opened(folder))
        if one.differs:
            structlog.get_logger().warning(
                "rules_differ",
                hint="rules.yaml is not what is published; synchub check --publish publishes it",
            )
        refuse_other_accounts(one)
        loops = Loops(one.hub, cast("RealEnv", one.hub.env))
        webhooks, private = listen(stack, one, folder, loops)
        yield Running(one, loops, webhooks, private)


def listen(
    stack: ExitStack, one: Opened, folder: Folder, loops: Loops
) -> tuple[Listener, Listener]:
    """Take every place to listen at, then work, then listen; it ends in the reverse order.

    Operators are answered first, and to the last: they may ask why it is not ready.
    """
    hub, public, own = one.hub, one.settings.public, one.settings.private
    at_public = stack.enter_context(tcp(public.host, public.port, "public.port"))
    at_own = stack.enter_context(tcp(own.host, own.port, "private.port"))
    at_socket = stack.enter_context(unix(folder.socket()))
    url = public.url or address(at_public)
    apps = (
        (private_app(hub, own, folder.path), at_own),
        (public_app(hub, url), at_public),
        (command_app(hub), at_socket),
    )
    # Probes are answered while the loops begin, and until the last one has finished.
    private = started(stack, Listener(*apps[0]))
    loops.start()
    stack.callback(loops.stop)
    webhooks, _ = (started(stack, Listener(app, bound)) for app, bound in apps[1:])
    stack.callback(hub.process.drain)
    hub.listening.update(
        webhooks=url, operators=own.url or address(at_own), commands=str(folder.socket())
    )
    return webhooks, private


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
