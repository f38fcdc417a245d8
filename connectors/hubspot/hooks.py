"""The sandbox's webhooks: who wants to hear of what, and the payloads that tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from connectors.hubspot.portal import TYPE_IDS, WORDS, Event, Refusal
from connectors.hubspot.webhooks import sign

Body = dict[str, object]
USER: Final = 12_345  # the one person who works in this account
BATCH: Final = 100
FLIGHTS: Final = 10  # requests under way at once
RETRIES: Final = 10
RETRY_MS: Final = 60_000  # doubled each time: the last retry comes 17 hours after the first try


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A webhook to be sent now; tell its fate by `settle(id, status)`, 0 for no answer."""

    id: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """A payload on its way: when to send it."""

    due: int
    payload: Body


class Hooks:
    """Subscriptions of the app and what is to be told."""

    def __init__(self, portal_id: int) -> None:
        self.portal_id = portal_id
        self.secret = "sandbox-client-secret"  # noqa: S105
        self.app_id = 1
        self.wanted: dict[str, Body] = {}
        self.settings: Body = {}
        self.count = 0
        self.retry_ms = RETRY_MS
        self.waiting: list[Told] = []
        self.flights: dict[str, list[Body]] = {}

    def subscribe(self, given: Mapping[str, object], now: str) -> Body:
        """A new subscription; a property change needs its property."""
        event = str(given.get("eventType", ""))
        if event.endswith(".propertyChange") and not given.get("propertyName"):
            raise Refusal("propertyName is required for propertyChange subscriptions")
        own = str(len(self.wanted) + 1 + self.count)
        self.count += 1
        fields = {
            k: given[k] for k in ("eventType", "propertyName", "objectTypeId") if given.get(k)
        }
        made: Body = {
            "id": own,
            "active": given.get("active") is True,
            "createdAt": now,
            "updatedAt": now,
            **fields,
        }
        self.wanted[own] = made
        return made

    def held(self, own: str) -> Body:
        """One subscription."""
        if own not in self.wanted:
            raise Refusal(f"Subscription {own} does not exist", "OBJECT_NOT_FOUND", 404)
        return self.wanted[own]

    def told(self, event: Event) -> list[Body]:
        """One payload per subscription that this event concerns."""
        words = {f"{WORDS[event.kind]}.{event.name}", f"object.{event.name}"}
        return [
            self._payload(event, sub)
            for sub in self.wanted.values()
            if sub["active"]
            and sub["eventType"] in words
            and sub.get("objectTypeId", TYPE_IDS[event.kind]) == TYPE_IDS[event.kind]
            and sub.get("propertyName") in (None, event.extra.get("propertyName"))
        ]

    def _payload(self, event: Event, sub: Body) -> Body:
        self.count += 1
        own: Body = {} if event.name == "associationChange" else {"objectId": event.id}
        typed_by: Body = {"objectTypeId": sub["objectTypeId"]} if "objectTypeId" in sub else {}
        return {
            "eventId": self.count,
            "subscriptionId": int(str(sub["id"])),
            "portalId": self.portal_id,
            "appId": self.app_id,
            "occurredAt": event.at,
            "subscriptionType": sub["eventType"],
            "attemptNumber": 0,
            **own,
            **typed_by,
            "changeSource": event.source,
            "sourceId": str(self.app_id) if event.source == "INTEGRATION" else f"userId:{USER}",
            **event.extra,
        }

    def take(self, events: Iterable[Event]) -> None:
        """Turn what happened into payloads; without an address nothing is kept."""
        for event in events:
            if self.settings.get("targetUrl"):
                self.waiting += [Told(event.at, payload) for payload in self.told(event)]

    def hasten(self, now: int) -> None:
        """Everything that waits is due now."""
        self.waiting = [Told(min(told.due, now), told.payload) for told in self.waiting]

    def due(self, now: int) -> list[Outgoing]:
        """What to send now: batches of up to a hundred, ten requests at once, signed now."""
        ready = [told.payload for told in self.waiting if told.due <= now]
        room = max(0, FLIGHTS - len(self.flights)) * BATCH
        left = ready[room:]
        self.waiting = [t for t in self.waiting if t.due > now] + [Told(now, p) for p in left]
        ready = ready[:room]
        return [self._send(ready[n : n + BATCH], now) for n in range(0, len(ready), BATCH)]

    def settle(self, own: str, status: int, now: int) -> None:
        """Sent, or to be sent again: any answer but 2xx counts as a failure, also 4xx."""
        for payload in self.flights.pop(own, []):
            attempt = int(str(payload["attemptNumber"])) + 1
            if not 200 <= status < 300 and attempt <= RETRIES:  # noqa: PLR2004
                due = now + self.retry_ms * 2 ** (attempt - 1)
                self.waiting.append(Told(due, {**payload, "attemptNumber": attempt}))

    def _send(self, payloads: list[Body], now: int) -> Outgoing:
        self.count += 1
        own, url, body = str(self.count), str(self.settings["targetUrl"]), orjson.dumps(payloads)
        self.flights[own] = payloads
        return Outgoing(own, "POST", url, self.signed(url, body, now), body)

    def signed(self, url: str, body: bytes, now: int) -> dict[str, str]:
        """The headers of a webhook."""
        return {
            "Content-Type": "application/json",
            "X-HubSpot-Request-Timestamp": str(now),
            "X-HubSpot-Signature-v3": sign(self.secret, "POST", url, body, str(now)),
        }
