"""What every sandbox has beside its vendor's laws: faults, a clock to move, an address to act at.

A sandbox is two functions over a seeded state, `handle(request)` and `due(now)`. A `Host` stands
before it and adds what a test or a demo wants to do to any vendor, under `/_sandbox/…`: it counts
calls, makes them fail, moves the clock, and lets a person act in the tool. No thread, no clock of
its own; one sandbox serves as a transport in this process and over real HTTP alike.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
import orjson

from connectors._kit.contract import Reading

LOG_LENGTH = 10_000
ADMIN: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "throttle": ("POST", {"count": "{count}", "retry_after": "{retry_after}"}),
    "advance_clock": ("POST", {"seconds": "{seconds}"}),
    "flush_webhooks": ("POST", {}),
    "register_webhook": ("POST", {"url": "{url}", "secret": "{secret}", "events": "{events}"}),
    "act": ("POST", {"op": "{op}", "object": "{object}", "id": "{id}", "fields": "{fields}"}),
    "fault": ("POST", {"kind": "{kind}", "count": "{count}", "seconds": "{seconds}"}),
    "state": ("GET", {}),
}


@dataclass(frozen=True)
class Act:
    """Something more that a sandbox lets a person do: the names of its body, and the doing."""

    names: tuple[str, ...]
    do: Callable[[Mapping[str, Any]], Any]

    @property
    def body(self) -> Mapping[str, str]:
        """Its body, with the places to fill in."""
        return {name: "{" + name + "}" for name in self.names}


class Outgoing(Protocol):
    """A webhook to send now."""

    @property
    def id(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class Sandbox(Protocol):
    """A vendor's laws. Times in ms. `auth`: the credentials of this account."""

    vendor: str

    @property
    def auth(self) -> Mapping[str, str]:
        """Names as in the connector's `secret_names`."""

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer any request of the vendor's API."""

    def due(self, now_ms: int) -> list[Any]:
        """Webhooks to send now (`Outgoing`)."""

    def settle(self, own: str, status: int) -> None:
        """What a webhook was answered with, 0 for nothing."""

    def signed(self, url: str, body: bytes) -> Mapping[str, str]:
        """The headers with which the vendor would send this body now."""

    def kind(self, request: httpx.Request) -> str:
        """read, search or write."""

    def limited(self, retry_after: int) -> httpx.Response:
        """The vendor's way to say: too many calls."""

    def register_webhook(self, url: str, secret: str, events: list[str]) -> None:
        """Tell this address of these events; no events means all."""

    def flush_webhooks(self) -> None:
        """Everything that waits to be told or told again is due now."""

    def act(self, op: str, obj: str, native_id: str, fields: Mapping[str, Any]) -> str:
        """A person does this in the tool: create, update, delete, merge, …; the record's id."""

    def native_id(self, place: int) -> str:
        """The id of the person at a place of the population, as the sandbox starts with them."""

    def holds(self, obj: str) -> Mapping[str, Reading]:
        """Every live record of an object as it is now, by id: for those who watch from outside.

        It goes past the vendor's API, its lag, limits and counters; `app` has the vendor's names.
        """

    def summary(self) -> Mapping[str, Any]:
        """Numbers of records and webhooks, for a person."""


def for_admin(request: httpx.Request) -> bool:
    """Whether a request is none of the vendor's API, but for whoever plays with the sandbox."""
    return request.url.path.startswith("/_sandbox/")


class Clock:
    """The time of a sandbox: another clock, moved ahead."""

    def __init__(self, base: Callable[[], int]) -> None:
        self.base = base
        self.ahead_ms = 0

    def __call__(self) -> int:
        """Milliseconds since 1970."""
        return self.base() + self.ahead_ms


@dataclass
class Fault:
    """A way to fail, for the next `count` calls that can."""

    kind: str
    count: int
    seconds: float = 0


WRITE_FAULTS = ("error_after", "cut_after", "hang_after")
FAULTS = ("error_before", "slow", "throttle", *WRITE_FAULTS)


@dataclass
class Host:
    """A sandbox with its admin address, counters and faults."""

    sandbox: Sandbox
    clock: Clock
    faults: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    log: deque[tuple[str, str, str, int]] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH))

    def handle(self, request: httpx.Request) -> httpx.Response:
        """A vendor's request or an admin's. Raises httpx.TransportError where a fault cuts off."""
        if for_admin(request):
            return self._admin(request)
        kind = self.sandbox.kind(request)
        fault = self._next_fault(kind)
        early = self._before(fault)
        response = early or self.sandbox.handle(request)
        self.counts[kind] += 1
        self.log.append((request.method, request.url.path, kind, response.status_code))
        if early is None and fault is not None:
            return self._after(fault, request, response)
        return response

    def _next_fault(self, kind: str) -> Fault | None:
        for fault in self.faults:
            if kind == "write" or fault.kind not in WRITE_FAULTS:
                fault.count -= 1
                self.faults = [f for f in self.faults if f.count > 0]
                return fault
        return None

    def _before(self, fault: Fault | None) -> httpx.Response | None:
        if fault is None:
            return None
        if fault.kind == "throttle":
            return self.sandbox.limited(int(fault.seconds))
        if fault.kind == "error_before":
            return httpx.Response(503, json={"message": "sandbox: failed before applying"})
        return None

    def _after(
        self, fault: Fault, request: httpx.Request, response: httpx.Response
    ) -> httpx.Response:
        if fault.kind == "error_after":
            return httpx.Response(502, json={"message": "sandbox: failed after applying"})
        if fault.kind == "cut_after":
            raise httpx.ReadError("sandbox: cut off after applying", request=request)
        if fault.kind == "hang_after":
            raise httpx.ReadTimeout("sandbox: no answer after applying", request=request)
        return response

    def slow_seconds(self, request: httpx.Request) -> float:
        """How long the adaptor waits before it answers, where a fault says so."""
        if for_admin(request):
            return 0
        return next((f.seconds for f in self.faults if f.kind == "slow"), 0)

    # -- admin ---------------------------------------------------------------------------------

    def _admin(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/_sandbox/").strip("/")
        acts: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
            "throttle": self._throttle,
            "advance_clock": self._advance,
            "flush_webhooks": lambda _: self.sandbox.flush_webhooks(),
            "register_webhook": self._register,
            "act": self._act,
            "fault": self._fault,
            "state": lambda _: self.state(),
            **{name: act.do for name, act in self.own_acts().items()},
        }
        if name not in acts:
            return httpx.Response(
                404, json={"error": f"no admin act {name!r}; there are: {', '.join(acts)}"}
            )
        try:
            given = orjson.loads(request.content or b"{}")
            return httpx.Response(200, json=acts[name](given) or {"ok": True})
        except (LookupError, TypeError, ValueError) as error:
            return httpx.Response(400, json={"error": f"{name}: {error!r}"})

    def _throttle(self, given: Mapping[str, Any]) -> None:
        self.faults.append(
            Fault("throttle", int(given.get("count", 1)), float(given.get("retry_after", 1)))
        )

    def _advance(self, given: Mapping[str, Any]) -> Any:
        self.clock.ahead_ms += int(float(given["seconds"]) * 1000)
        return {"now": self.clock()}

    def _register(self, given: Mapping[str, Any]) -> None:
        events = given.get("events") or []
        listed = events.split(",") if isinstance(events, str) else list(events)
        self.sandbox.register_webhook(
            str(given["url"]),
            str(given.get("secret") or ""),
            [e for e in listed if e and "{" not in e],
        )

    def _act(self, given: Mapping[str, Any]) -> Any:
        return {
            "id": self.sandbox.act(
                str(given["op"]),
                str(given["object"]),
                str(given.get("id") or ""),
                given.get("fields") or {},
            )
        }

    def _fault(self, given: Mapping[str, Any]) -> None:
        if given["kind"] not in FAULTS:
            message = f"no fault {given['kind']!r}; there are: {', '.join(FAULTS)}"
            raise ValueError(message)
        self.faults.append(
            Fault(
                str(given["kind"]), int(given.get("count") or 1), float(given.get("seconds") or 0)
            )
        )

    def own_acts(self) -> Mapping[str, Act]:
        """What this sandbox has beside the acts that every one has."""
        return getattr(self.sandbox, "acts", {})

    def settings(self) -> dict[str, Any]:
        """What this sandbox tells of itself.

        It may allow more calls than the vendor does, and have names that programs need.
        """
        allowed = getattr(self.sandbox, "calls_per_second", None)
        told: Mapping[str, str] = getattr(self.sandbox, "told", {})
        return {**told, **({} if allowed is None else {"calls_per_second": allowed})}

    def admin(self) -> dict[str, dict[str, Any]]:
        """Every act: method, address and body, for programs."""
        every = {**ADMIN, **{name: ("POST", act.body) for name, act in self.own_acts().items()}}
        return {
            name: {
                "method": method,
                "url": f"/_sandbox/{name}",
                **({"json": dict(body)} if method == "POST" else {}),
            }
            for name, (method, body) in every.items()
        }

    def state(self) -> dict[str, Any]:
        """Counters by kind of call, and the sandbox's own numbers."""
        return {
            "calls": {k: self.counts[k] for k in ("read", "search", "write")},
            "clock": self.clock(),
            "faults": len(self.faults),
            **self.sandbox.summary(),
        }


class HostTransport(httpx.BaseTransport):
    """A sandbox as the other end of an httpx client, without a socket."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx."""
        request.read()
        return self.host.handle(request)
