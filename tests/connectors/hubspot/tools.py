"""What the HubSpot tests share: an `Api` over any handler, signed webhooks, a virtual clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import httpx
import orjson

from connectors._kit.contract import Inbound, Json, Reply, Unavailable
from connectors.hubspot.sandbox import HubSpotSandbox
from connectors.hubspot.webhooks import sign

Handler = Callable[[httpx.Request], httpx.Response]
BASE = "http://hubspot.test"
SECRET = "client-secret"
T0 = 1_790_000_000_000


class Clock:
    """Milliseconds that move only when told to."""

    def __init__(self, now_ms: int = T0) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """The time."""
        return self.now_ms

    def sleep(self, ms: int) -> None:
        """Let time pass."""
        self.now_ms += ms


class DirectApi:
    """The contract's `Api` over a handler in this process; it counts calls by path."""

    def __init__(self, handler: Handler, clock: Clock) -> None:
        self.client = httpx.Client(
            transport=httpx.MockTransport(handler),
            base_url=BASE,
            headers={"Authorization": "Bearer token"},
        )
        self.clock = clock
        self.secrets: Mapping[str, str] = {}
        self.calls: list[str] = []

    def get(self, path: str, params: Sequence[tuple[str, str]] = ()) -> Reply:
        """A read."""
        return self._call("GET", path, params=list(params))

    def search(self, path: str, json: Json) -> Reply:
        """A read that needs POST."""
        return self._call("POST", path, json=json)

    def send(
        self,
        method: str,
        path: str,
        *,
        json: Json = None,
        form: Sequence[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """A write."""
        assert form is None
        return self._call(method, path, json=json, headers=dict(headers or {}))

    def pause(self, ms: int) -> None:
        """Time passes."""
        self.clock.sleep(ms)

    def _call(self, method: str, path: str, **options: object) -> Reply:
        start = self.clock()
        self.calls.append(f"{method} {path}")
        got = self.client.request(method, path, **options)  # type: ignore[arg-type]
        if got.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise Unavailable(got.text, sent=False)
        if got.is_server_error:
            raise Unavailable(got.text)
        return Reply(got.status_code, got.headers, got.content, start, self.clock())


def answering(*answers: tuple[int, Json]) -> Handler:
    """A handler that gives these answers in turn, the last one for ever."""
    left = list(answers)

    def handle(_: httpx.Request) -> httpx.Response:
        status, body = left.pop(0) if len(left) > 1 else left[0]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.Response(status, content=content)

    return handle


def delivery(events: Json, *, at: int = T0, url: str = "https://hub.example/hooks") -> Inbound:
    """A webhook as HubSpot sends it, signed now."""
    body = orjson.dumps(events)
    headers = {
        "x-hubspot-signature-v3": sign(SECRET, "POST", url, body, str(at)),
        "x-hubspot-request-timestamp": str(at),
    }
    return Inbound("POST", url, headers, body, at)


def new_sandbox(clock: Clock, customers: int = 0) -> HubSpotSandbox:
    """A sandbox, without customers unless wanted."""
    return HubSpotSandbox(seed=1, customers=customers, clock=clock)
