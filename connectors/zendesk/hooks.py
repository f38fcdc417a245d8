"""The sandbox's webhooks: who wants which events, and what is on its way."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from connectors.zendesk.population import Record
from connectors.zendesk.webhooks import PREFIX, sign, stamp_of

RETRY_MS: Final = 5_000
# No answer is tried five times more, a conflict three times, other answers never.
TRIES: Final[Mapping[int, int]] = {0: 5, 409: 3, 429: 3, 503: 3}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A webhook to send now; tell its fate by `settle`."""

    id: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Hook:
    """Where events are sent."""

    id: str
    url: str
    secret: str
    events: list[str]
    name: str = "webhook"

    def wants(self, event: str) -> bool:
        """Whether it subscribed to an event, by name or by the beginning of it."""
        return not self.events or any(
            event == e or (e.endswith("*") and event.startswith(e[:-1])) for e in self.events
        )

    def shown(self, base: str) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "endpoint": self.url,
            "http_method": "POST",
            "request_format": "json",
            "status": "active",
            "subscriptions": self.events,
            "url": f"{base}/api/v2/webhooks/{self.id}",
        }


@dataclass
class Told:
    """An event on its way to one webhook."""

    body: bytes
    hook: str
    due: int
    attempt: int = 0


@dataclass
class Hooks:
    """All webhooks of an account."""

    account: int
    secret: str
    hooks: dict[str, Hook] = field(default_factory=dict)
    waiting: dict[str, Told] = field(default_factory=dict)
    count: int = 0

    def listen(self, url: str, secret: str, events: Iterable[str], name: str = "webhook") -> Hook:
        """Send these events there; none named means all."""
        own = f"01HOOK{len(self.hooks):020d}"
        self.hooks[own] = Hook(own, url, secret or self.secret, list(events), name)
        return self.hooks[own]

    def tell(self, word: str, name: str, record: Record, now: int, **inner: Any) -> None:
        """Something happened to a user or an organization."""
        event = f"{PREFIX}{word}.{name}"
        wanting = [h for h in self.hooks.values() if h.wants(event)]
        if not wanting:
            return
        self.count += 1
        body = {
            "type": event,
            "account_id": self.account,
            "id": str(uuid.UUID(int=(self.account << 64) + self.count)),
            "time": stamp_of(now),
            "zendesk_event_version": "2022-06-20",
            "subject": f"zen:{word}:{record.id}",
            "detail": detail(word, record),
            "event": inner,
        }
        for hook in wanting:
            self.waiting[f"{self.count}/{hook.id}"] = Told(orjson.dumps(body), hook.id, now)

    def due(self, now: int) -> list[Outgoing]:
        """What is to be sent now."""
        found = []
        for own, told in self.waiting.items():
            hook = self.hooks.get(told.hook)
            if hook and told.due <= now:
                told.due = now + RETRY_MS * 2**told.attempt
                told.attempt += 1
                headers = signed(hook, told.body, now)
                found.append(Outgoing(own, "POST", hook.url, headers, told.body))
        return found

    def settle(self, own: str, status: int) -> None:
        """What one was answered with: few answers are worth another try."""
        told = self.waiting.get(own)
        if told and told.attempt > TRIES.get(status, 0):
            del self.waiting[own]

    def signed(self, url: str, body: bytes, now: int) -> Mapping[str, str]:
        """The headers with which this body would be sent there."""
        hook = next((h for h in self.hooks.values() if h.url == url), None)
        return signed(hook or Hook("", url, self.secret, []), body, now)


def signed(hook: Hook, body: bytes, now: int) -> Mapping[str, str]:
    """The headers of a webhook."""
    stamp = stamp_of(now)
    return {
        "Content-Type": "application/json; charset=utf-8",
        "X-Zendesk-Webhook-Id": hook.id,
        "X-Zendesk-Webhook-Signature-Timestamp": stamp,
        "X-Zendesk-Webhook-Signature": sign(hook.secret, stamp, body),
    }


def detail(word: str, record: Record) -> dict[str, Any]:
    """What every event says of its subject."""
    held = record.values
    common = {
        "id": str(record.id),
        "external_id": held["external_id"] or "",
        "created_at": stamp_of(record.created),
        "updated_at": stamp_of(record.updated),
    }
    if word == "organization":
        return {**common, "name": held["name"], "group_id": "0"}
    first = held["memberships"][0]["organization_id"] if held["memberships"] else 0
    mail = next((i["value"] for i in held["identities"] if i["primary"]), "")
    return {**common, "email": mail, "organization_id": str(first), "role": held["role"]}
