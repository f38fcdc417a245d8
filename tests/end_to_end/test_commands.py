"""Every command, both while a hub is up and while none is, and what goes wrong, as it is told."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from connectors._kit import serve
from connectors._kit.serve import Served
from connectors.stripe.sandbox import customer_id
from hub import opening
from hub.cli import INTERRUPTED, app
from hub.commands import Wrong
from tests.end_to_end.conftest import CLI, ENV, Site, sites, wait

# A command as it is typed, and a key of its answer. Words in braces are looked up.
CASES = (
    ("check", "wrong"),
    ("check --publish", "version"),
    ("plan", "totals"),
    ("plan {run}", "rows"),
    ("plan --system stripe", "rows"),
    ("apply {new run}", "done"),
    ("status", "alerts"),
    ("explain {who}", "customers"),
    ("explain {who} email", "customers"),
    ("history {who}", "customers"),
    ("verify", "entries"),
    ("verify --refold", "differs"),
    ("review", "tasks"),
    ("review same {task}", "verdict"),
    ("review different {task}", "verdict"),
    ("parked", "parked"),
    ("parked keep {item}", "decided"),
    ("replay {item}", "replayed"),
    ("sweep --now", "since"),
    ("sweep --wait", "objects"),
    ("stop-writes", "writes_stopped"),
    ("stop-writes --release", "writes_stopped"),
)
# These have no hub to ask, or are one.
WITHOUT = {"sandbox", "init", "up", "simulate", "demo", "bench"}
# These have the store to themselves, and tests of their own.
ALONE = {"backup", "restore", "migrate", "migrate-store"}
# These are parts of one that has PostgreSQL and Kafka.
PARTS = {"capture", "resolve", "deliver", "console"}


@pytest.fixture(scope="module", params=[False, True], ids=["none is up", "a hub is up"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A hub's folder in which everything was applied and three customers were deleted since."""
    with sites(tmp_path_factory.mktemp("commands")) as make:
        one = make(80)
        one.asked("apply", one.asked("plan")["run"])
        for n in range(3):
            one.act("stripe", "delete", "customers", customer_id(n))
        if request.param:
            one.up()
            wait(lambda: len(one.asked("parked")["parked"]) == 3, 30)
        one.asked("plan")
        yield one


def looked_up(site: Site, word: str) -> str:
    """What stands in the place of a word in braces."""
    if word == "{run}":
        return str(opening.ask(site.folder, "plan")["run"])
    if word == "{new_run}":
        return str(opening.ask(site.folder, "plan")["run"])
    if word == "{task}":
        if site.process:  # a verdict closes other questions too, once it is resolved
            assert wait(lambda: not opening.ask(site.folder, "status")["pending_inputs"], 20)
        return str(opening.ask(site.folder, "review")["tasks"][0]["task"])
    if word == "{item}":
        return str(opening.ask(site.folder, "parked")["parked"][0]["id"])
    return "1001"


@pytest.mark.parametrize(("typed", "key"), CASES)
def test_every_command(site: Site, typed: str, key: str) -> None:
    """It answers with JSON, and the same command answers a person with text."""
    assert key in invoked(*words(site, typed), "--dir", str(site.folder.path))
    if "{task}" not in typed and "{item}" not in typed and "{new run}" not in typed:
        told = CliRunner().invoke(app, [*words(site, typed), "--dir", str(site.folder.path)])
        assert told.exit_code == 0, told.output
        assert told.stdout.strip()
        assert not told.stdout.startswith("{")


def words(site: Site, typed: str) -> list[str]:
    """The words of a command, looked up."""
    parts = typed.replace("{new run}", "{new_run}").split()
    return [looked_up(site, w) if w.startswith("{") else w for w in parts]


def test_no_command_is_left_out() -> None:
    """Every command is in the table above, or has no hub to ask."""
    names = {c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands}
    assert names == {typed.split()[0] for typed, _ in CASES} | WITHOUT | ALONE | PARTS | {"export"}


def test_export_is_json_lines(site: Site) -> None:
    """Each line is one golden record."""
    lines = site.call("export").stdout.splitlines()
    assert len(lines) > 10
    assert all(orjson.loads(line) for line in lines)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("plan nope", "there is no run 'nope'"),
        ("plan --system nope", "there are: hubspot, stripe"),
        ("apply nope", "there is no run 'nope'"),
        ("review same nope", "there is no open task 'nope'"),
        ("review maybe nope", "review can list, same, different"),
        ("parked keep nope", "nothing open is parked as 'nope'"),
        ("parked burn nope", "parked can list, keep, unlink, recreate"),
        ("replay nope", "nothing open is parked as 'nope'"),
        ("explain nobody@nowhere.example", "nobody here is known"),
        ("history nobody@nowhere.example", "nobody here is known"),
        ("export everything", "`golden` can"),
    ],
)
def test_what_does_not_exist(site: Site, typed: str, said: str) -> None:
    """Exit code 2 and one line that says what would be right."""
    done = CliRunner().invoke(app, [*typed.split(), "--dir", str(site.folder.path)])
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_plan_beside_another(make_site: Callable[..., Site]) -> None:
    """While a run is under way another waits, and while writes are stopped none begins."""
    site = make_site(8)
    first, second = (site.asked("plan")["run"] for _ in range(2))
    site.asked("stop-writes")
    stopped = site.call("apply", first)
    assert stopped.returncode == 2
    assert "stop-writes --release" in stopped.stderr
    site.asked("stop-writes", "--release")
    opening.ask(site.folder, "apply", run=first)  # where no hub is up, nobody delivers
    with pytest.raises(Wrong, match="is being applied, 0 of"):
        opening.ask(site.folder, "apply", run=first)
    with pytest.raises(Wrong, match=f"synchub plan {first}"):
        opening.ask(site.folder, "apply", run=second)
    beside = site.asked("apply", second, "--anyway")
    assert beside["done"] == beside["rows"] > 0


def test_a_socket_left_behind(make_site: Callable[..., Site]) -> None:
    """After kill -9 of a hub the next command clears its socket away and does the work itself."""
    site = make_site(8)
    run = site.asked("plan")["run"]
    site.up()
    assert site.process is not None
    site.process.kill()
    site.process.wait()
    assert site.folder.socket().exists()
    done = site.asked("apply", run)
    assert done["done"] == done["rows"] > 0
    assert not site.folder.socket().exists()


class Slow(Served):
    """A sandbox that takes its time."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a moment later."""
        time.sleep(0.3)
        return super().answer(request)


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_ctrl_c_says_what_state_things_are_in(make_site: Callable[..., Site], command: str) -> None:
    """No traceback, a text, and the work can be taken up again."""
    site = make_site(8, Slow)
    args = [command] if command == "plan" else [command, site.asked("plan")["run"]]
    with subprocess.Popen(  # noqa: S603
        [*CLI, *args], cwd=site.folder.path, env=ENV, stderr=subprocess.PIPE, text=True
    ) as process:
        reads = site.served["stripe"].host.counts["read"]
        assert wait(lambda: site.served["stripe"].host.counts["read"] > reads, 20)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, told
    assert "interrupted" in told
    assert "Traceback" not in told
    assert site.asked("status")["systems"]["stripe"]["records"] > 0
    assert site.call("plan", *args[1:]).returncode == 0


def test_a_file_of_settings_that_cannot_be_used(make_site: Callable[..., Site]) -> None:
    """No systems, and credentials that cannot be read, are told with the file's name."""
    site = make_site(5)
    secret = site.folder.path / "secrets" / "stripe"
    kept = secret.read_bytes()
    secret.unlink()
    secret.mkdir(mode=0o700)
    done = site.call("up")
    assert done.returncode == 2
    assert "secrets/stripe cannot be read: Is a directory" in done.stderr
    assert "secrets/stripe" in site.call("check").stdout
    secret.rmdir()
    secret.write_bytes(kept)
    path = site.folder.path / "hub.yaml"
    path.write_text("systems: {}\n")
    done = site.call("status")
    assert done.returncode == 2
    assert "no system is connected" in done.stderr


def test_a_tool_that_cannot_be_reached(make_site: Callable[..., Site]) -> None:
    """Exit code 3, and which call failed."""
    site = make_site(5)
    site.served["stripe"].stop()
    done = site.call("plan")
    assert done.returncode == 3
    assert "no connection" in done.stderr


def test_init_and_simulate_answer_programs(make_site: Callable[..., Site]) -> None:
    """Both print JSON when asked."""
    site = make_site(5)
    described = site.folder.path / "described.json"
    serve.describe(site.served, described)
    found = invoked("init", "--from", str(described), "--dir", str(site.folder.path / "another"))
    assert set(found["systems"]) == {"hubspot", "stripe"}
    assert invoked("simulate", "--seed", "5", "--steps", "20")["ok"]


def invoked(*typed: str) -> Any:
    """The JSON answer of a command, run in this process."""
    done = CliRunner().invoke(app, [*typed, "--json"])
    assert done.exit_code == 0, done.output
    return orjson.loads(done.stdout)


def test_help_lists_the_exit_codes() -> None:
    """A script's author finds them where commands are listed."""
    text = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert "Exit codes: 0 done" in text
    assert "130 interrupted" in text
