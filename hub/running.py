"""A hub that is up: loops, listeners, and their orderly end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import structlog

from hub import switches
from hub.io.anchor import Anchor
from hub.listeners import Listener, command_app, public_app
from hub.loops import Loops
from hub.opening import Folder, Opened, opened
from hub.wiring import RealEnv, check_account


def be_quiet() -> None:
    """Only what is worth waking somebody for."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@dataclass
class Running:
    """What is up."""

    opened: Opened
    loops: Loops
    webhooks: Listener
    socket: Path

    def applied(self) -> bool:
        """Whether writes flow."""
        return self.opened.hub.env.view(lambda rows: switches.read(rows, "applied")) is not None


@contextmanager
def running(folder: Folder) -> Iterator[Running]:
    """A hub that is up, until the block ends. Raises what `opened` raises, and OSError."""
    with opened(folder) as one:
        if one.differs:
            structlog.get_logger().warning(
                "rules_differ",
                hint="rules.yaml is not what is published; synchub check --publish publishes it",
            )
        refuse_other_accounts(one)
        hub, public = one.hub, one.settings.public
        url = public.url or f"http://{public.host}:{public.port}"
        webhooks = Listener(public_app(hub, url), host=public.host, port=public.port).start()
        commands = Listener(command_app(hub), socket=folder.socket()).start()
        loops = Loops(hub, cast("RealEnv", hub.env), Anchor(folder.anchor()))
        loops.start()
        try:
            yield Running(one, loops, webhooks, folder.socket())
        finally:
            commands.stop()
            webhooks.stop()
            loops.stop()


def refuse_other_accounts(one: Opened) -> None:
    """A system whose credentials lead to another account is not written to, nor read."""
    for name, settings in one.settings.systems.items():
        system = one.hub.systems[name]
        why = check_account(system.connector.account(system.api), settings)
        if why:
            message = f"{name}: {why}"
            raise LookupError(message)
