"""What the Mailchimp tests share: a sandbox, the connector on it, and short words for acts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors._kit.contract import Answer, Connector, Inbound, Reading, Write
from connectors._kit.trial import Bend, Line, VirtualClock, World, maker
from connectors.mailchimp.audience import Audience
from connectors.mailchimp.sandbox import MailchimpSandbox
from hub.io.http import Budget, HttpApi


def connect(
    connector: Connector, transport: Any, secrets: Mapping[str, str], clock: VirtualClock
) -> HttpApi:
    """The hub's own client, on virtual time."""
    budget = Budget(connector.limits, clock, clock.sleep)
    return HttpApi(
        "http://mailchimp.test", lambda: connector.authorize(secrets), budget, transport, secrets
    )


def world(customers: int = 0) -> World:
    """A fresh world."""
    return maker("mailchimp", "members", connect)(customers)


def sandbox_of(one: World) -> MailchimpSandbox:
    """Its sandbox."""
    found = one.host.sandbox
    assert isinstance(found, MailchimpSandbox)
    return found


def audience_of(one: World) -> Audience:
    """The list in it."""
    return sandbox_of(one).audience


def bending(one: World, bend: Bend) -> World:
    """The same world, seen through a line that bends answers."""
    secrets = one.host.sandbox.auth
    one.api = connect(one.connector, Line(one.host, bend), secrets, one.clock)
    return one


def new(mail: str, **changes: Any) -> Write:
    """A create."""
    return Write("create", "", {"email_address": mail, **changes}, f"id-{mail}", f"key-{mail}")


def change(native: str, before: Mapping[str, Any] | None = None, /, **changes: Any) -> Write:
    """An update, of which the hub knows what was there before where it is said."""
    return Write("update", native, changes, "", "key", before=before or {})


def written(one: World, write: Write) -> Answer:
    """The answer to a write."""
    (answer,) = one.write(write)
    return answer


def made(one: World, mail: str, **changes: Any) -> str:
    """The contact id of a member that the connector creates."""
    answer = written(one, new(mail, **changes))
    assert answer.outcome == "done", answer.why
    return answer.native_id


def seen(one: World, native: str) -> Reading:
    """A member as it is read now."""
    return one.read(native)[native]


def consent(one: World, native: str) -> Any:
    """What a reading says of consent to marketing mails."""
    taken: Any = one.values(native)["consent"]
    return taken["email.marketing"]


def hooked(one: World, url: str = "https://hub.example/webhooks/mailchimp") -> list[Inbound]:
    """The webhooks that are due now, as they arrive."""
    due = sandbox_of(one).due(one.host.clock())
    return [
        Inbound(o.method, o.url or url, {k.lower(): v for k, v in o.headers.items()}, o.body,
                one.clock())
        for o in due
    ]  # fmt: skip
