"""The sandbox's webhooks: who wants to hear of what, and the payloads that tell it."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.hubspot.portal import TYPE_IDS, WORDS, Event, Refusal

Body = dict[str, object]


class Hooks:
    """Subscriptions of the app and what is to be told."""

    def __init__(self, portal_id: int) -> None:
        self.portal_id = portal_id
        self.secret = "sandbox-client-secret"  # noqa: S105
        self.app_id = 1
        self.wanted: dict[str, Body] = {}
        self.settings: Body = {}
        self.count = 0

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
            **event.extra,
        }
