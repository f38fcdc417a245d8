"""The tools of a made-up world, as those see them who are not the hub: people, and monitors.

There are two kinds: a simulated tool, which is its own connector, and a production connector with
its vendor's sandbox, called over the production HTTP client in this process. Both are looked at
directly, past every API, and both note each change at the tool, with who made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

import httpx

from connectors._kit.contract import Api, ObjectSpec, Reading
from connectors._kit.sandbox import Clock, Fault, Host, HostTransport, Outgoing
from connectors._kit.simtool import LINK_FAULTS, Applied, Profile, SimTool
from hub import wiring
from hub.io.http import Budget, HttpApi
from hub.tools.shaky import LIMITED_MS, TROUBLES, Past, Shaky, Trouble

if TYPE_CHECKING:
    from hub.tools.world import WorldEnv

NO_API = cast("Api", None)  # simulated tools are called, not asked over HTTP
SANDBOX = "https://sandbox.example.com"
DOOR = "https://hub.example.com/webhooks/"
PATIENCE_S = 30  # how long the client waits for an answer


class Outside(Protocol):
    """A tool from outside of the hub.

    `failures` are the words for `fail`; `window_ms` is how old a webhook's signature may be, 0
    where nothing is signed; `ahead_ms` how far its clock is ahead of ours where it signs;
    `merges`: people can make one record of two.
    """

    name: str
    vendor: str
    connector: Any
    objects: tuple[ObjectSpec, ...]
    secrets: Mapping[str, str]
    failures: tuple[str, ...]
    window_ms: int
    ahead_ms: int
    merges: bool
    trouble: Trouble
    past: Past

    @property
    def log(self) -> Sequence[Applied]:
        """Every change so far, with who made it."""

    def api(self) -> Api:
        """A client for a hub that starts."""

    def holds(self, obj: str) -> Mapping[str, Reading]:
        """Every living record as it is now, by id."""

    def act(
        self, op: str, obj: str, native_id: str, fields: Mapping[str, Any], who: str = "person"
    ) -> str:
        """A person's act: create, update, delete, merge; fields in the tool's names. Its id.

        Also link and unlink, with the native id of a `company`, where the object has links.
        `who` may also be an automation, which only updates. Raises ValueError where the
        tool does not let them.
        """

    def fail(self, how: str, count: int) -> None:
        """From now on something does not work."""

    def heal(self) -> None:
        """All works again."""

    def writes(self) -> int:
        """Requests to write so far, failed ones too, counted here."""

    def due(self, now_ms: int) -> Sequence[Outgoing]:
        """Webhooks to send now."""

    def settle(self, own: str, status: int) -> None:
        """What a webhook was answered with, 0 for nothing."""


# -- a simulated tool ----------------------------------------------------------------------------


class Simulated:
    """A simulated tool from outside."""

    vendor = "simulated"
    secrets: Mapping[str, str] = {}
    failures: tuple[str, ...] = (
        *TROUBLES,
        *LINK_FAULTS,
        "answer lost",
        "error after",
        "error before",
        "busy",
        "down",
    )
    window_ms = ahead_ms = 0
    merges = True

    def __init__(self, name: str, profile: Profile, env: WorldEnv) -> None:
        self.name = name
        self.tool = SimTool(name, env.clock, profile)
        self.trouble, self.past = Trouble(), Past(env)
        self.connector = Shaky(self, self.tool, env)
        self.objects: tuple[ObjectSpec, ...] = self.tool.objects

    @property
    def log(self) -> Sequence[Applied]:
        """See `Outside`."""
        return self.tool.log

    def api(self) -> Api:
        """See `Outside`."""
        return NO_API

    def holds(self, obj: str) -> Mapping[str, Reading]:
        """See `Outside`."""
        return self.tool.holds(obj)

    def act(
        self, op: str, obj: str, native_id: str, fields: Mapping[str, Any], who: str = "person"
    ) -> str:
        """See `Outside`."""
        if op == "delete":
            self.tool.delete(native_id)
            return native_id
        if op == "merge":
            self.tool.merge(fields["other"], native_id)
            return native_id
        if op in ("link", "unlink"):
            firms = set((self.tool.latest(native_id) or {}).get("firms") or ())
            end = {fields["company"]}
            fields = {"firms": sorted(firms | end if op == "link" else firms - end)}
        own = native_id or f"{self.name}-p{len(self.tool.held) + 1}"
        return self.tool.act(own, fields, obj=obj, who=who)

    def fail(self, how: str, count: int) -> None:
        """See `Outside`."""
        if how in TROUBLES:
            self.trouble.begin(how, count, self.tool.living(), self.tool.clock())
        elif how == "down":
            self.tool.down = not self.tool.down
        else:
            self.tool.faults += [how] * count

    def heal(self) -> None:
        """See `Outside`."""
        self.tool.down = False
        left = dict.fromkeys(self.tool.faults)
        self.tool.faults = [f for f in left if f in LINK_FAULTS]  # still to come, each once
        self.trouble.heal()

    def writes(self) -> int:
        """See `Outside`."""
        return self.tool.calls["write"]

    def due(self, now_ms: int) -> Sequence[Outgoing]:
        """See `Outside`."""
        return self.tool.due(now_ms)

    def settle(self, own: str, status: int) -> None:
        """It tells everything once."""


# -- a vendor's sandbox --------------------------------------------------------------------------


FAULTS = {
    "answer lost": "cut_after",
    "error after": "error_after",
    "error before": "error_before",
    "busy": "throttle",
    "no answer in time": "hang_after",
    "slow": "slow",
}
LINKS: Mapping[str, str] = {"company": "firms"}  # the name of associations in a log
MERGING = ("hubspot", "zendesk")  # where people can make one record of two
WINDOWS_MS = {"hubspot": 300_000, "stripe": 300_000, "mailchimp": 300_000, "zendesk": 900_000}


class Wire(HostTransport):
    """The way to a sandbox: every request is a switch point before and after, and may break."""

    def __init__(self, hosted: Hosted, env: WorldEnv) -> None:
        super().__init__(hosted.host)
        self.hosted = hosted
        self.env = env

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx; what a request changed is noted at the tool."""
        request.read()
        what = f"{self.hosted.name} {request.method} {request.url.path}"
        self.env.at_point(f"{what} asked")
        try:
            return self._answer(request)
        except httpx.ReadTimeout:
            self.env.sleep(PATIENCE_S)
            raise
        finally:
            self.env.at_point(f"{what} answered")

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.hosted.down:
            raise httpx.ConnectError("the tool is down", request=request)
        if refused := self.hosted.refusal(request):
            return refused
        if wait := self.host.slow_seconds(request):
            self.env.sleep(wait)
        if self.host.sandbox.kind(request) != "write":
            return self.host.handle(request)
        with self.hosted.noting("hub"):
            return self.host.handle(request)


class Noting:
    """While it is open, whatever changes in the sandbox was done by `who`."""

    def __init__(self, hosted: Hosted, who: str) -> None:
        self.hosted = hosted
        self.who = who

    def __enter__(self) -> None:
        self.before = self.hosted.everything()

    def __exit__(self, *_: object) -> None:
        now = self.hosted.host.clock()
        after = self.hosted.everything()
        self.hosted.note(changes(self.before, after, now, self.who))


Everything = Mapping[tuple[str, str], Reading]


def changes(before: Everything, after: Everything, at: int, who: str) -> Iterator[Applied]:
    """What is different, field by field; a new record also under the name ""."""
    for (obj, own), reading in after.items():
        old = before.get((obj, own))
        op = "update" if old else "create"
        if old is None:
            yield Applied(at, who, own, "", None, own, op, reading.external_id, obj)
        for name, value in reading.app.items():
            was = old.app.get(name) if old else None
            if value != was:
                yield Applied(at, who, own, name, was, value, op, object=obj)
        for entity, ends in reading.links.items():
            were = old.links.get(entity, ()) if old else ()
            if ends != were:
                yield Applied(at, who, own, LINKS[entity], were, ends, op, object=obj)


class Hosted:
    """A vendor's sandbox, and the production connector that the hub speaks to it with."""

    failures: tuple[str, ...] = ("down", *TROUBLES, *FAULTS)

    def __init__(
        self, vendor: str, seed: int, customers: int, env: WorldEnv, ahead_ms: int = 0
    ) -> None:
        clock = Clock(env.clock)
        clock.ahead_ms = self.ahead_ms = ahead_ms
        sandbox = import_module(f"connectors.{vendor}.sandbox").SANDBOX(seed, customers, clock)
        self.name = self.vendor = vendor
        self.host = Host(sandbox, clock)
        self.trouble, self.past = Trouble(), Past(env)
        self.connector = Shaky(self, wiring.connector(vendor), env)
        self.objects = self.connector.objects
        self.secrets = sandbox.auth
        self.env = env
        self.merges = vendor in MERGING
        self.window_ms = WINDOWS_MS[vendor]
        self.down = False
        self._log: list[Applied] = []
        sandbox.register_webhook(DOOR + vendor, "", [])
        self.connector.prepare(self.api())

    def api(self) -> HttpApi:
        """See `Outside`: the production client, by the clock of this world."""
        budget = Budget(self.connector.limits, self.env.now, self.env.sleep)
        headers, wire = (lambda: self.connector.authorize(self.secrets)), Wire(self, self.env)
        return HttpApi(SANDBOX, headers, budget, wire, self.secrets)

    def holds(self, obj: str) -> Mapping[str, Reading]:
        """See `Outside`."""
        return self.host.sandbox.holds(obj)

    def everything(self) -> Everything:
        """All living records of all objects."""
        return {(s.object, i): r for s in self.objects for i, r in self.holds(s.object).items()}

    @property
    def log(self) -> Sequence[Applied]:
        """See `Outside`."""
        return self._log

    def note(self, made: Iterable[Applied]) -> None:
        """Keep what somebody changed."""
        self._log += made

    def noting(self, who: str) -> Noting:
        """A context in which changes are noted as somebody's."""
        return Noting(self, who)

    def act(
        self, op: str, obj: str, native_id: str, fields: Mapping[str, Any], who: str = "person"
    ) -> str:
        """See `Outside`."""
        with self.noting(who):
            return self.host.sandbox.act(op, obj, native_id, fields)

    def fail(self, how: str, count: int) -> None:
        """See `Outside`."""
        if how in TROUBLES:
            ids = sorted(i for s in self.objects for i in self.holds(s.object))
            self.trouble.begin(how, count, ids, self.env.now())
        elif how == "down":
            self.down = not self.down
        else:
            kind = FAULTS[how]
            self.host.faults.append(
                Fault(kind, count, count if kind in ("throttle", "slow") else 0)
            )

    def heal(self) -> None:
        """See `Outside`."""
        self.down, self.host.faults = False, []
        self.trouble.heal()

    def refusal(self, request: httpx.Request) -> httpx.Response | None:
        """What a request is told that the tool does not even look at."""
        kind = "write" if self.host.sandbox.kind(request) == "write" else "read"
        if self.trouble.limited.get(kind, 0) > self.env.clock.time:
            return self.host.sandbox.limited(LIMITED_MS // 1000)
        if self.trouble.meets("token expired"):
            return httpx.Response(401, json={"message": "the token has expired"})
        return None

    def writes(self) -> int:
        """See `Outside`."""
        return self.host.counts["write"]

    def due(self, now_ms: int) -> Sequence[Outgoing]:
        """See `Outside`."""
        return self.host.sandbox.due(now_ms + self.ahead_ms)

    def settle(self, own: str, status: int) -> None:
        """See `Outside`."""
        self.host.sandbox.settle(own, status)
