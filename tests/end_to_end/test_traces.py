"""One trace from a webhook to the last write, and no customer in any line of the log."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import orjson
import pytest

from connectors._kit.serve import Served
from hub import opening
from hub.io import traces
from tests.end_to_end.conftest import ENV, Site, up, wait

OURS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = traces.trace_in(OURS)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        OURS.upper(),
        OURS[:-1],
        f"{OURS}-more",
        f"{OURS}\n",
        f"ff{OURS[2:]}",
        OURS.replace("0af7", "0ag7"),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{OURS},{OURS}",
        f"00-{TRACE[:-1]}٣-b7ad6b7169203331-01",
        "x" * 5_000,
    ],
)
def test_what_is_no_trace_is_not_taken_over(header: str) -> None:
    """Only what the W3C's form allows, so that nothing else gets into headers and logs."""
    assert traces.trace_in(header) == ""


def test_a_later_version_of_the_form_is_read() -> None:
    """Its first fields mean the same, whatever follows them."""
    assert traces.trace_in(OURS) == traces.trace_in(f"01{OURS[2:]}-what-follows") == TRACE


def test_what_is_done_for_nothing_carries_nothing() -> None:
    """Inside of an act without a trace, and after the end of one that has one."""
    with traces.following(TRACE, "an act"):
        assert traces.current() == TRACE
        with traces.following("", "another"):
            assert (traces.current(), traces.headers()) == ("", {})
        assert traces.trace_in(traces.headers()[traces.HEADER]) == TRACE
    assert not traces.headers()


@dataclass
class Traced(Served):
    """A tool whose webhooks come with a trace when it is told to, and that keeps what is sent."""

    telling: threading.Event = field(default_factory=threading.Event)
    taken: list[httpx.Request] = field(default_factory=list)

    def start(self) -> Served:
        """Serve, with a proxy before it that begins a trace."""
        sandbox: Any = self.host.sandbox
        due = sandbox.due
        sandbox.due = lambda now: [self.with_trace(one) for one in due(now)]
        return super().start()

    def with_trace(self, one: Any) -> Any:
        """A webhook, with the header of a trace where one is told."""
        more = {"traceparent": OURS} if self.telling.is_set() else {}
        return replace(one, headers={**dict(one.headers), **more})

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer, and keep the request."""
        self.taken.append(request)
        return super().answer(request)

    def followed(self) -> set[str]:
        """The traces of all writes of the hub."""
        sent = [
            r.headers.get("traceparent", "") for r in self.taken if "authorization" in r.headers
        ]
        return {traces.trace_in(header) for header in sent if header}


def test_a_trace_is_followed_from_the_webhook_to_the_last_write(
    make_site: Callable[..., Site],
) -> None:
    """Hint, input, event and version carry it, and so does the write into the other tool."""
    site = make_site(6, Traced)
    shop, crm = site.served["stripe"], site.served["hubspot"]
    assert isinstance(shop, Traced)
    assert isinstance(crm, Traced)
    with up(site.folder) as (one, _):
        site.connect()
        before = crm.followed()
        shop.telling.set()
        who = site.billed()[0]["id"]
        site.act("stripe", "update", "customers", who, phone="+12125550177")
        assert wait(lambda: TRACE in crm.followed(), 30)
        assert site.quiet()
        rows = one.opened.hub.env.view
        assert TRACE not in before
        assert rows(lambda r: r.select("hint", {"trace": TRACE}))
        kinds = {row["kind"] for row in rows(lambda r: r.select("input", {"trace": TRACE}))}
        assert {"observation", "intent", "receipt"} <= kinds
        heads = [row["head"]["trace"] for row in rows(lambda r: r.select("history"))]
        assert TRACE in heads
        told = [row for row in rows(lambda r: r.select("log")) if TRACE in str(row["headers"])]
        topics = {row["topic"].split(".")[0] for row in told}
        assert topics == {"cdc", "golden"}
    reads = [r for r in crm.taken if r.method == "GET" and "traceparent" in r.headers]
    assert not reads, "what is only read is part of nobody's change"


def test_a_debug_log_tells_every_change_and_no_customer(make_site: Callable[..., Site]) -> None:
    """A real hub under way, with all that it can log: each value of each customer is looked for."""
    site = make_site(12)
    ENV["SYNCHUB_LOG_LEVEL"] = "debug"
    try:
        site.up()
        site.connect()
        for customer in site.billed()[:3]:
            site.act("stripe", "update", "customers", customer["id"], phone="+12125550188")
        httpx.post(
            f"{opening.ask(site.folder, 'status')['up']['webhooks']}/webhooks/stripe",
            params={"email": "canary@example.com"}, content=b"canary", trust_env=False)  # fmt: skip
        assert site.quiet()
        assert site.stop() == 0
    finally:
        del ENV["SYNCHUB_LOG_LEVEL"]
    text = (site.folder.path / "up.log").read_text()
    lines = [orjson.loads(line) for line in text.splitlines() if line.startswith("{")]
    seen = {line["event"] for line in lines}
    assert {"input_taken", "message_taken", "webhook_taken", "written"} <= seen
    assert all(len(line["trace"]) == 32 for line in lines if line["event"] == "written")
    canaries = {"canary", "+12125550188", "2125550188"}
    for customer in site.billed():
        canaries |= {customer["id"], customer["email"] or "", customer["phone"] or ""}
        canaries |= set((customer["name"] or "").split())
    assert not {c for c in canaries if len(c) > 3 and c.lower() in text.lower()}
