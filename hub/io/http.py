"""The one HTTP client: a budget per account, retries of reads, and errors that tell what is known.

A read may be repeated, never before the tool allows it. A write is sent once: whatever breaks on
its way, the error says whether the tool may have seen it. Nothing secret gets into a message:
headers are never shown, and of an address only the path.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import urlencode

import httpx
import orjson
import tenacity

from connectors._kit.contract import Denied, Limits, Reply, Unavailable, Unreadable
from hub.io import traces

LARGEST = 32 * 1024 * 1024
READ_TRIES = 4
LONGEST_WAIT_MS = 3_600_000
PATIENCE_MS = 1_000  # of a write: what was checked longer ago is checked anew before it is sent
TOO_MANY, UNAUTHORIZED, FORBIDDEN, SERVER_ERROR = 429, 401, 403, 500
LOCKED = (423, 477)


@dataclass
class Budget:
    """How many calls an account allows; one for all that speak to it. Thread-safe.

    A bucket of `calls` per `per_ms`, handed out in portions of a second. What the tool says of its
    own limit (`wait`) is believed over our count.
    """

    limits: Limits
    now: Callable[[], int]
    sleep: Callable[[float], None]
    free_at: float = 0.0
    blocked_until: int = 0
    taken: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, what: str = "", patience_ms: float = math.inf) -> None:
        """Wait for one call's share of the budget, then spend it on `what`.

        Raises Unavailable, unsent, where the tool wants to be left alone for longer than that.
        """
        while (wait := self._try()) > 0:
            if (blocked := self.blocked_ms) > patience_ms:
                message = f"{what}: not sent, the tool asked to be left alone"
                raise Unavailable(message, after_ms=blocked, sent=False)
            self.sleep(wait / 1000)

    def connection(self) -> AbstractContextManager[None]:
        """Room for a call beside those that are on their way; one process has its client's."""
        return nullcontext()

    def close(self) -> None:
        """Nobody calls any more."""

    @property
    def blocked_ms(self) -> int:
        """How long the tool wants to be left alone from now on."""
        return max(0, self.blocked_until - self.now())

    @property
    def left(self) -> int:
        """How many calls could be made at once now, without a wait."""
        now, gap, burst = self.now(), self._gap, self._burst
        return 0 if self.blocked_ms else max(0, int((now - max(self.free_at, now - burst)) / gap))

    @property
    def _gap(self) -> float:
        return self.limits.per_ms / self.limits.calls

    @property
    def _burst(self) -> int:
        return min(self.limits.per_ms, 1_000)

    def _try(self) -> float:
        gap, burst = self._gap, self._burst
        with self._lock:
            now = self.now()
            if self.blocked_until > now:
                return self.blocked_until - now
            self.free_at = max(self.free_at, now - burst)
            if self.free_at > now:
                return self.free_at - now
            self.free_at += gap
            self.taken += 1
            return 0

    def wait(self, after_ms: int) -> None:
        """The tool said: nobody calls before then."""
        with self._lock:
            self.blocked_until = max(self.blocked_until, self.now() + after_ms)


def retry_after_ms(headers: Mapping[str, str], now: int) -> int:
    """What a Retry-After header asks for, in seconds or as a date; 0 where it asks nothing.

    Nobody is left alone for longer than `LONGEST_WAIT_MS`: then it is asked again.
    """
    text = headers.get("retry-after", "").strip()
    try:
        asked = asked_for_ms(text, now)
    except (ValueError, TypeError, OverflowError):
        return 0
    return int(min(max(0, asked), LONGEST_WAIT_MS))


def asked_for_ms(text: str, now: int) -> float:
    """Seconds, or the time until a date; raises where it is neither."""
    try:
        seconds = float(text)
    except ValueError:
        return parsedate_to_datetime(text).timestamp() * 1000 - now
    return 0 if math.isnan(seconds) else seconds * 1000


@dataclass
class Counts:
    """Calls by kind, for plans that promise to write nothing."""

    reads: int = 0
    searches: int = 0
    writes: int = 0


class HttpApi:
    """`contract.Api` over httpx."""

    def __init__(
        self,
        base_url: str,
        headers: Callable[[], Mapping[str, str]],
        budget: Budget,
        transport: httpx.BaseTransport | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """`headers` gives the ones that authenticate; `transport` may lead to a sandbox."""
        self.secrets = secrets or {}
        self._client = httpx.Client(
            base_url=base_url,
            transport=transport,
            follow_redirects=False,
            timeout=httpx.Timeout(30, connect=10),
            trust_env=False,
            limits=httpx.Limits(max_connections=budget.limits.connections),
        )
        self._headers = headers
        self.budget = self._budget = budget
        self.counts = Counts()
        self._fence: Callable[[], None] = lambda: None

    def fenced(self, fence: Callable[[], None]) -> HttpApi:
        """The same way, where `fence` is asked right before each call, and raises to prevent it."""
        made = copy(self)
        made._fence = fence  # noqa: SLF001  our own
        return made

    def get(self, path: str, params: Sequence[tuple[str, str]] = ()) -> Reply:
        """A read; repeated while the tool cannot answer."""
        self.counts.reads += 1
        return self._again(lambda: self._call("GET", path, params=list(params)))

    def search(self, path: str, json: Any) -> Reply:
        """A read by POST; repeated like `get`."""
        self.counts.searches += 1
        return self._again(lambda: self._call("POST", path, json=json))

    def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Sequence[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """A write; sent once, and not at all while the tool wants to be left alone for long.

        It carries the trace of the change that it is part of.
        """
        self.counts.writes += 1
        more: dict[str, Any] = {"headers": {**traces.headers(), **(headers or {})}}
        if form is not None:
            more["content"] = urlencode(list(form)).encode()
            more["headers"]["Content-Type"] = "application/x-www-form-urlencoded"
        elif json is not None:
            more["json"] = json
        return self._call(method, path, PATIENCE_MS, **more)

    def pause(self, ms: int) -> None:
        """Let time pass while the tool works on something."""
        self._budget.sleep(ms / 1000)

    def close(self) -> None:
        """Let go of the connections."""
        self._budget.close()
        self._client.close()

    def _again(self, call: Callable[[], Reply]) -> Reply:
        retrying = tenacity.Retrying(
            sleep=self._budget.sleep,
            stop=tenacity.stop_after_attempt(READ_TRIES),
            reraise=True,
            retry=tenacity.retry_if_exception(_worth_a_retry),
            wait=_as_the_tool_says(tenacity.wait_exponential(multiplier=0.2, max=5)),
        )
        return retrying(call)

    def _call(self, method: str, path: str, patience_ms: float = math.inf, **more: Any) -> Reply:
        with self._budget.connection():
            self._budget.take(f"{method} {path}", patience_ms)
            return self._called(method, path, **more)

    def _called(self, method: str, path: str, **more: Any) -> Reply:
        self._fence()
        start = self._budget.now()
        headers = {**self._headers(), **more.pop("headers", {})}
        if not more.get("params"):
            more.pop("params", None)
        try:
            with self._client.stream(method, path, headers=headers, **more) as response:
                body = _whole_body(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            message = f"{method} {path}: no connection ({type(error).__name__})"
            raise Unavailable(message, sent=False) from error
        except httpx.HTTPError as error:
            message = f"{method} {path}: broken off ({type(error).__name__})"
            raise Unavailable(message) from error
        return self._judge(method, path, response, body, start)

    def _judge(
        self, method: str, path: str, response: httpx.Response, body: bytes, start: int
    ) -> Reply:
        now = self._budget.now()
        status = response.status_code
        wait = retry_after_ms(response.headers, now)
        if status == TOO_MANY or status in LOCKED or self._is_bare_403(status, body):
            self._budget.wait(max(wait, 1_000))
            message = f"{method} {path}: too many calls ({status})"
            raise Unavailable(message, after_ms=max(wait, 1_000), sent=False)
        if status >= SERVER_ERROR:
            message = f"{method} {path}: the tool failed ({status})"
            raise Unavailable(message, after_ms=wait)
        if status in (UNAUTHORIZED, FORBIDDEN):
            _deny(method, path, status, body)
        return Reply(status, response.headers, body, start, now)

    def _is_bare_403(self, status: int, body: bytes) -> bool:
        return status == FORBIDDEN and self._budget.limits.bare_403 and not _is_json(body)


def _deny(method: str, path: str, status: int, body: bytes) -> NoReturn:
    told = body[:300].decode("utf-8", "replace")
    what = "the credentials are not accepted" if status == UNAUTHORIZED else "a scope is missing"
    message = f"{method} {path}: {what} ({status}); check the file in secrets/. It said: {told}"
    raise Denied(message)


def _whole_body(response: httpx.Response) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes():
        size += len(part)
        if size > LARGEST:
            message = f"the answer is longer than {LARGEST} bytes"
            raise Unreadable(message)
        parts.append(part)
    return b"".join(parts)


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _worth_a_retry(error: BaseException) -> bool:
    return isinstance(error, Unavailable)


class _as_the_tool_says(tenacity.wait.wait_base):  # noqa: N801  named like tenacity's own
    """Back off, but never less than what the tool asked for."""

    def __init__(self, back_off: tenacity.wait.wait_base) -> None:
        self._back_off = back_off

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        outcome = retry_state.outcome
        error = outcome.exception() if outcome else None
        asked = error.after_ms / 1000 if isinstance(error, Unavailable) else 0.0
        return max(asked, self._back_off(retry_state))
