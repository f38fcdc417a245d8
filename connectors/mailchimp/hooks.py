"""The sandbox's webhooks: who is told of what, and when it is told again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from connectors._kit.webhooks import sign
from connectors.mailchimp.answers import ADDRESS, hash_of
from connectors.mailchimp.audience import Happening, Member
from connectors.mailchimp.webhooks import EVENTS

RETRY_MS: Final = (60_000, 300_000, 900_000, 3_240_000)  # 75 minutes in all
SOURCES: Final = ("user", "admin", "api")

Body = dict[str, Any]


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
    """Where a list's events are sent, which ones, and of whose doing."""

    id: str
    url: str
    secret: str
    events: dict[str, bool]
    sources: dict[str, bool]

    def wants(self, happening: Happening) -> bool:
        """Whether it is told of this."""
        return self.events.get(happening.event, False) and self.sources[happening.source]


@dataclass
class Told:
    """A request on its way to a hook: an event, or the GET by which an address is tried."""

    hook: Hook
    due: int
    body: bytes
    method: str = "POST"
    attempt: int = 0


@dataclass
class Hooks:
    """All of a list's webhooks."""

    list_id: str
    secret: str
    clock: Callable[[], int]
    held: dict[str, Hook] = field(default_factory=dict)
    waiting: dict[str, Told] = field(default_factory=dict)
    made: int = 0

    def add(self, url: str, secret: str, events: Body, sources: Body) -> Hook:
        """One more; the switch for what comes through the API is off unless it is put on."""
        self.made += 1
        on = {"user": True, "admin": True, "api": False, **sources}
        own = f"{self.made:010x}"
        wanted = {e: bool(events.get(e)) for e in (*EVENTS, "campaign")}
        switches = {s: bool(on[s]) for s in SOURCES}
        self.held[own] = Hook(own, url, secret or self.secret, wanted, switches)
        return self.held[own]

    def verify(self, hook: Hook) -> None:
        """An address that was given through the API is tried by a GET."""
        self.waiting[f"{hook.id}/try"] = Told(hook, self.clock(), b"", "GET")

    def take(self, happening: Happening) -> None:
        """Something happened: whoever wants to know is told."""
        body = urlencode(form(happening, self.list_id, self.clock())).encode()
        for hook in self.held.values():
            if hook.wants(happening):
                self.made += 1
                self.waiting[f"{hook.id}/{self.made}"] = Told(hook, self.clock(), body)

    def due(self, now: int) -> list[Outgoing]:
        """What to send now."""
        found = []
        for own, told in self.waiting.items():
            if told.due <= now:
                told.due = now + RETRY_MS[min(told.attempt, len(RETRY_MS) - 1)]
                told.attempt += 1
                headers = self.signed(told.hook.url, told.body) if told.method == "POST" else {}
                found.append(Outgoing(own, told.method, told.hook.url, headers, told.body))
        return found

    def signed(self, url: str, body: bytes) -> Mapping[str, str]:
        """The headers of a webhook to this address."""
        secret = next((h.secret for h in self.held.values() if h.url == url), self.secret)
        return {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Mailchimp-Signature": sign(secret, self.clock() // 1000, body),
        }

    def settle(self, own: str, status: int) -> None:
        """Done by a 2xx; others come again for 75 minutes. A hook that fails its trial goes."""
        told = self.waiting.get(own)
        if told is None:
            return
        good = 200 <= status < 300  # noqa: PLR2004
        if told.method == "GET" and not good:
            self.held.pop(told.hook.id, None)
        if good or told.method == "GET" or told.attempt > len(RETRY_MS):
            del self.waiting[own]

    def hasten(self) -> None:
        """Everything that waits is due now."""
        for told in self.waiting.values():
            told.due = self.clock()


def form(happening: Happening, list_id: str, now_ms: int) -> dict[str, str]:
    """A webhook's body. The time is GMT, and does not say so."""
    member = happening.member
    fired = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    data = {"list_id": list_id, **about(happening, member)}
    named = {k if k.startswith("[") else f"[{k}]": v for k, v in data.items()}
    return {
        "type": happening.event,
        "fired_at": fired,
        **{f"data{name}": value for name, value in named.items()},
    }


def about(happening: Happening, member: Member) -> Mapping[str, str]:
    """What an event tells of its member."""
    if happening.event == "upemail":
        old = happening.extra["old_email"]
        return {"new_id": unique_id(member.email), "new_email": member.email, "old_email": old}
    merges = {
        f"[merges][{tag}]": value if tag != ADDRESS else " ".join(dict(value or {}).values())
        for tag, value in member.merge.items()
    }
    return {
        "id": unique_id(member.email),
        "email": member.email,
        "email_type": member.email_type,
        "[merges][EMAIL]": member.email,
        **{k: str(v) for k, v in merges.items()},
        **happening.extra,
    }


def unique_id(email: str) -> str:
    """Mailchimp's id of an address, the same in all lists."""
    return hash_of(f"all lists {email}")[:10]
