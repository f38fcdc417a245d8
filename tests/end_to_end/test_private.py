"""The private listener over real HTTP: what it answers, whom it refuses, when it does not start."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub import commands
from hub.io.rows import Rows, StoreFull
from hub.listeners import Listener, tcp
from hub.private import private_app
from hub.running import running
from hub.settings import BadSettings, Private
from hub.status import status
from hub.tools.world import World
from tests.end_to_end.conftest import TOKEN, Site, set_private, up, wait


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Name and label values to value."""
    return {
        (s.name, *(v for _, v in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_what_operators_see(make_site: Callable[..., Site]) -> None:
    """Health, status and metrics say the same as the command line, each time anew."""
    site = make_site(6)
    with up(site.folder) as (one, client):
        hub = one.opened.hub
        assert wait(lambda: status(hub)["systems"]["stripe"]["changes_read_at"], 30)
        assert client.get("/readyz").headers["cache-control"] == "no-store"
        told = client.get("/status.json").json()
        assert told["up"] == hub.listening
        assert told.keys() == status(hub).keys()
        first = samples(client.get("/metrics").text)
        assert told["systems"]["stripe"]["records"] > 0
        assert first["synchub_writes_stopped",] == 0
        assert ("synchub_changes_read_age_seconds", "customers", "stripe") in first
        commands.stop_writes(hub)
        httpx.post(
            f"http://127.0.0.1:{one.webhooks.port}/webhooks/stripe", content=b"{}", trust_env=False
        )
        second = samples(client.get("/metrics").text)
        assert second["synchub_writes_stopped",] == second["synchub_alerts", "writes stopped"] == 1
        assert second["synchub_events_total", "webhooks forged", "stripe"] == 1


def test_who_is_refused(make_site: Callable[..., Site]) -> None:
    """A foreign Host, a foreign Origin and every method that could change something."""
    site = make_site(5)
    with up(site.folder) as (one, client):
        port = one.private.port
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "[", ""):
            assert client.get("/status.json", headers={"host": host}).status_code in (400, 403)
        for host in ("localhost", f"LOCALHOST:{port}", f"[::1]:{port}", f"127.0.0.1:{port}"):
            assert client.get("/status.json", headers={"host": host}).status_code == 200
        own = f"http://127.0.0.1:{port}"
        assert client.get("/status.json", headers={"origin": own}).status_code == 200
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", ""):
            for path in ("/status.json", "/livez"):
                assert client.get(path, headers={"origin": origin}).status_code == 403
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            refused = client.request(method, "/status.json")
            assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
        assert client.head("/metrics").status_code == 200
        assert client.get("/elsewhere").status_code == 404


def test_off_loopback_only_with_the_token(make_site: Callable[..., Site]) -> None:
    """Without the admin token nothing is answered, and without its file nothing starts."""
    site = make_site(5)
    set_private(site.folder, host="0.0.0.0", admin_token_file="secrets/admin")  # noqa: S104
    with pytest.raises(BadSettings, match="admin token"), running(site.folder):
        pass
    secret = site.folder.path / "secrets" / "admin"
    secret.write_text("short\n")
    secret.chmod(0o600)
    with pytest.raises(BadSettings, match="16 or more"), running(site.folder):
        pass
    secret.write_text(f"{TOKEN}\n")
    with up(site.folder) as (_, client):
        for given in ("", TOKEN, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
            refused = client.get("/metrics", headers={"authorization": given})
            assert refused.status_code == 401, given
            assert refused.headers["www-authenticate"] == "Bearer"
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/metrics", headers=bearer).status_code == 200
        by_address = {"host": "10.1.2.3:8411"}
        assert client.get("/metrics", headers={**bearer, **by_address}).status_code == 200
        for given in ("Bearer wrong", "Bearer", ""):
            headers = {**by_address, "authorization": given}
            assert client.get("/metrics", headers=headers).status_code == 403, given


def test_probes_are_open_and_tell_no_secret(make_site: Callable[..., Site]) -> None:
    """Machines ask without the token and by any address; what they hear is how the loops are."""
    site = make_site(5)
    set_private(site.folder, host="0.0.0.0", admin_token_file="secrets/admin")  # noqa: S104
    secret = site.folder.path / "secrets" / "admin"
    secret.write_text(f"{TOKEN}\n")
    secret.chmod(0o600)
    with up(site.folder) as (one, client):
        for path in ("/livez", "/healthz", "/readyz"):
            found = client.get(path, headers={"host": "10.1.2.3:8411"})
            assert found.status_code == 200, found.text
            assert not [s for s in (TOKEN, str(site.folder.path), "127.0.0.1") if s in found.text]
            assert client.post(path).status_code == 405
        ready = client.get("/readyz").json()
        assert (ready["ready"], ready["stage"], ready["reasons"]) == (True, "up", [])
        assert ready["leases"].keys() == one.opened.hub.process.pulses.keys()
        text = client.get("/readyz", headers={"accept": "text/plain"}).text
        assert text.startswith("ready: yes\n")
        assert "resolve: held (leases)" in text


def test_a_hanging_loop_and_a_lost_store_are_told(make_site: Callable[..., Site]) -> None:
    """The first takes the life of the process, the second only its readiness."""
    site = make_site(5)
    with up(site.folder) as (one, client):
        hub = one.opened.hub
        stuck = hub.process.pulse("capture:shop")
        stuck.due = stuck.clock() - 1
        sick = client.get("/livez")
        assert sick.status_code == 503
        assert sick.json()["reasons"] == ["capture:shop: hangs in a step, silent for 301 s"]
        assert client.get("/readyz").status_code == 200
        stuck.rest()

        def broken(_rows: Rows) -> None:
            raise StoreFull("/secret/place")

        view = hub.env.view
        env: Any = hub.env
        env.view = lambda _work: view(broken)
        lost = client.get("/readyz", headers={"accept": "text/html"})
        del env.view
        assert lost.status_code == 503
        assert lost.text.startswith("ready: no\nstore: cannot be reached (StoreFull)\n")
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200


def test_while_it_drains_it_lives_and_is_not_ready(make_site: Callable[..., Site]) -> None:
    """Until its last loop has finished its step it answers that it leaves."""
    site = make_site(5)
    finished = threading.Event()
    told: list[Any] = []
    with up(site.folder) as (one, _):
        hub, base = one.opened.hub, f"http://127.0.0.1:{one.private.port}"

        def ask() -> None:
            with httpx.Client(base_url=base, trust_env=False) as client:
                if wait(lambda: client.get("/readyz").status_code == 503, 10):
                    told.extend((client.get("/readyz").json(), client.get("/livez").status_code))
            finished.set()

        slow = threading.Thread(target=hub.env.commit, args=(lambda _: finished.wait(20), "slow"))
        asking = threading.Thread(target=ask)
        slow.start()
        asking.start()
    asking.join()
    slow.join()
    ready, live = told
    assert ready["stage"] == "draining"
    assert ready["reasons"][0].startswith("draining: it was told to stop")
    assert live == 200


def test_a_process_without_pages_answers_programs_only(tmp_path: Path) -> None:
    """Probes, metrics and status are there; nobody can sign in or send a form."""
    secret = tmp_path / "admin"
    secret.write_text(f"{TOKEN}\n")
    secret.chmod(0o600)
    private = Private(admin_token_file="admin")
    app = private_app(World({}).hub, private, tmp_path, pages=False)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    with tcp("127.0.0.1", 0, "") as bound:
        listener = Listener(app, bound).start()
        base = f"http://127.0.0.1:{listener.port}"
        with httpx.Client(base_url=base, trust_env=False) as client:
            ready = client.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["reasons"][0].startswith("starting")
            assert client.get("/metrics", headers=bearer).status_code == 200
            assert client.get("/status.json", headers=bearer).status_code == 200
            assert client.get("/metrics", headers={"accept": "text/html"}).status_code == 401
            for path in ("/", "/customers", "/sign-in"):
                assert client.get(path, headers=bearer).status_code == 404
            assert client.post("/sign-in", headers=bearer).status_code == 405
        listener.stop()


def test_another_name_has_to_be_set(make_site: Callable[..., Site]) -> None:
    """The name in private.url is one of the hub's own."""
    site = make_site(5)
    set_private(site.folder, url="https://hub.example.com")
    with up(site.folder) as (one, client):
        assert one.opened.hub.listening["operators"] == "https://hub.example.com"
        assert client.get("/status.json", headers={"host": "hub.example.com"}).status_code == 200


def test_a_port_in_use_stops_the_start(make_site: Callable[..., Site]) -> None:
    """The error names the port and the setting, and nothing is left behind."""
    site = make_site(5)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = site.folder.path / "hub.yaml"
        asked = site.folder.hub().private.port
        path.write_text(path.read_text().replace(f"port: {asked}", f"port: {port}"))
        done = site.call("up")
        assert done.returncode == 3
        assert f"port {port}" in done.stderr
        assert "private.port" in done.stderr
        assert not site.folder.socket().exists()


def test_the_command_socket_is_ours_alone(make_site: Callable[..., Site]) -> None:
    """Nobody else may open it, and too long a path is told."""
    site = make_site(5)
    with up(site.folder):
        assert os.stat(site.folder.socket()).st_mode & 0o777 == 0o600  # noqa: PTH116
    assert not site.folder.socket().exists()
    path = site.folder.path / "hub.yaml"
    path.write_text(path.read_text().replace("state: .synchub", f"state: {'deep/' * 30}state"))
    with pytest.raises(OSError, match="shorter path"), running(site.folder):
        pass
    assert Path(site.folder.path).exists()
