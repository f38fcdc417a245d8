"""The command line as a person or a program uses it, with a hub up and with none."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from hub import opening
from hub.cli import app
from hub.io.rows import Row, Rows
from tests.end_to_end.conftest import Site


def writes(site: Site) -> int:
    """Writes that the sandboxes have counted."""
    return sum(s.host.counts["write"] for s in site.served.values())


def test_plan_apply_and_look_around_without_a_hub(make_site: Callable[..., Site]) -> None:
    """Everything works while no hub is up, and a plan writes nothing."""
    site = make_site(10)
    assert site.call("check").returncode == 0
    plan = site.asked("plan")
    assert plan["rows"]
    assert plan["totals"]
    assert writes(site) == 0, "reads and searches only"
    assert all(row["cells"] and row["cells"][0]["why"] for row in plan["rows"])
    done = site.asked("apply", plan["run"])
    assert done["done"] == done["rows"] == len(plan["rows"])
    assert writes(site) > 0
    assert site.asked("plan")["rows"] == [], "nothing is left to write"
    again = site.call("apply", plan["run"])
    assert again.returncode == 2
    assert "applied already" in again.stderr
    assert site.asked("verify", "--refold")["differs"] == []
    lines = site.call("export").stdout.splitlines()
    assert len(lines) >= 8
    assert site.asked("status")["pending_inputs"] == 0


def test_the_same_commands_reach_a_hub_that_is_up(make_site: Callable[..., Site]) -> None:
    """Commands go over the socket while a hub holds the file, and it stops within 30 s."""
    site = make_site(8)
    site.up()
    site.connect()
    assert site.asked("status")["applied"]
    who = next(c["email"] for c in _people(site))
    told = site.asked("explain", who.upper(), "email")
    fields = told["customers"][0]["fields"]
    assert fields["email"]["value"] == who.lower()
    assert fields["email"]["from"]["system"] in ("hubspot", "stripe")
    assert site.asked("history", who)["customers"][0]["versions"]
    assert site.call("stop-writes").returncode == 0
    assert site.asked("status")["writes_stopped"]
    assert site.call("stop-writes", "--release").returncode == 0
    assert site.asked("parked") == {"parked": []}
    assert "tasks" in site.asked("review")
    assert site.call("sweep", "--now").returncode == 0
    assert site.stop() == 0


def _people(site: Site) -> list[dict[str, str]]:
    sandbox: Any = site.served["stripe"].host.sandbox
    return [c for c in sandbox._customers({}) if c["email"]]  # noqa: SLF001


def test_an_edited_history_is_detected(make_site: Callable[..., Site]) -> None:
    """Verify names the lane and entry of a row that was changed, removed, or cut off."""
    site = make_site(6)
    plan = site.asked("plan")
    site.asked("apply", plan["run"])
    assert site.asked("verify")["findings"] == []
    with opening.opened(site.folder) as one:
        row = one.store.view(lambda r: r.select("history", order=("lane", "n")))[0]
        key = {"lane": row["lane"], "n": row["n"]}
        one.store.transact(lambda r: r.update("history", key, {"at": 1, "body": b"forged"}))
    assert site.call("verify").returncode == 1
    with opening.opened(site.folder) as one:
        one.store.transact(lambda r: r.delete("history", {}))
        one.store.transact(lambda r: r.delete("lane", {}))
    told = site.call("verify")
    assert told.returncode == 1
    assert "cut off" in told.stdout


def put(rows: Rows, golden: Row) -> None:
    """Change a golden record beside all rules."""
    rows.lock([golden["uid"]])
    rows.upsert("golden", golden)


def test_an_edited_golden_record_is_detected(make_site: Callable[..., Site]) -> None:
    """A value that was changed in the file is not what the recorded inputs make of it."""
    site = make_site(6)
    site.asked("plan")
    with opening.opened(site.folder) as one:
        row = next(
            r for r in one.store.view(lambda r: r.select("golden")) if b'"given":"' in r["doc"]
        )
        row["doc"] = row["doc"].replace(b'"given":"', b'"given":"Forged ', 1)
        one.store.transact(lambda r: put(r, row))
    assert site.call("verify").returncode == 0, "the history itself was not touched"
    told = site.call("verify", "--refold")
    assert told.returncode == 1
    assert "stored differently" in told.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["plan"], 2, "synchub init"),
        (["init", "--from", "nowhere.json"], 2, "synchub sandbox --describe"),
        (["explain"], 2, "Missing argument"),
        (["frobnicate"], 2, "No such command"),
        (["demo", "--customers", "x"], 2, "Invalid value"),
        (["sandbox", "--describe", "x.json", "--systems", "nope"], 2, "no sandbox for 'nope'"),
    ],
)
def test_wrong_use_says_what_would_be_right(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    """Wrong arguments give one clear message and exit code 2."""
    with contextlib.chdir(tmp_path):
        done = CliRunner().invoke(app, words)
    assert done.exit_code == code
    assert said in done.output


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ('{"hubspot": {"auth": {"token": "x"}}}', "access_token is missing, token is not known"),
        ('{"hubspot": {"auth": {"token": "x"}}}', "client_secret: optional: "),
        ('{"mailchimp": {"auth": {"api_key": "x"}}}', "mailchimp: an api_key of Mailchimp ends in"),
        ('{"zendesk": {"auth": {"email": "a", "api_token": "b"}}}', "need a subdomain"),
        ('{"hubspot": {"auth": {"access_token": 5}}}', "names and texts"),
        ('{"hubspot": {"auth": {}, "base_url": 5}}', "base_url are texts"),
        ('{"Hub-Spot": {"auth": {}}}', "'Hub-Spot' is no name"),
        ('{"crm": {"auth": {}}}', "there is no connector for 'crm'"),
        ('{"crm": 5}', "expected"),
    ],
)
def test_an_account_that_is_described_wrongly_is_told(
    tmp_path: Path, described: str, said: str
) -> None:
    """Nothing is asked and nothing written; the text says what the file may hold."""
    (tmp_path / "accounts.json").write_text(described)
    words = ["init", "--from", str(tmp_path / "accounts.json"), "--dir", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.exception
    assert said in done.output
    assert not (tmp_path / "hub.yaml").exists()


def test_a_check_tells_what_a_tool_lacks(make_site: Callable[..., Site]) -> None:
    """What apply makes is missing before, and not afterwards; wrong credentials stop the start."""
    site = make_site(5)
    assert "contacts: property synchub_id: apply makes it" in site.call("check").stdout
    assert not site.asked("check")["wrong"]
    opening.ask(site.folder, "apply", run=opening.ask(site.folder, "plan")["run"])
    assert site.asked("check")["missing"] == []
    secrets = site.folder.path / "secrets" / "hubspot"
    secrets.write_text('{"token": "x"}')
    assert site.call("check").returncode == 1
    up = site.call("up")
    assert up.returncode == 2
    assert "access_token is missing" in up.stderr


def test_nothing_is_prepared_where_nothing_may_be_written(make_site: Callable[..., Site]) -> None:
    """`writes: false` holds for the place for our ids, too."""
    site = make_site(5)
    path = site.folder.path / "hub.yaml"
    path.write_text(path.read_text().replace("  hubspot:\n", "  hubspot:\n    writes: false\n"))
    opening.ask(site.folder, "apply", run=opening.ask(site.folder, "plan")["run"])
    assert writes(site) == 0
    assert site.asked("check")["missing"] == []


def test_every_command_has_help() -> None:
    """Help teaches: each command says in one sentence what it is for."""
    for command in app.registered_commands:
        assert command.callback is not None
        assert (command.callback.__doc__ or "").strip().endswith(".")


def test_help_shows_what_holds_where_nothing_is_said() -> None:
    """What stands in square brackets would be taken for a style, and not be shown."""
    shown = CliRunner().invoke(app, ["bench", "--help"]).output
    assert "2500" in shown
    assert "10000" in shown


def test_a_mistyped_key_stops_the_start(make_site: Callable[..., Site]) -> None:
    """An unknown key in hub.yaml is named with its line and the nearest known one."""
    site = make_site(5)
    path = site.folder.path / "hub.yaml"
    path.write_text(path.read_text().replace("poll_seconds", "pol_seconds", 1))
    done = site.call("up")
    assert done.returncode == 2
    assert "did you mean poll_seconds?" in done.stderr
    assert "line" in done.stderr


def test_the_demo_proves_itself(tmp_path: Path) -> None:
    """`synchub demo --once` ends with every field of every tool equal to golden."""
    del tmp_path
    done = CliRunner().invoke(app, ["demo", "--once", "--customers", "60"])
    assert done.exit_code == 0, done.output
    assert "All is proven." in done.output


def test_simulate_gives_the_same_trace_twice() -> None:
    """A seed can be looked at again and again."""
    words = ["simulate", "--seed", "5", "--steps", "40", "--trace"]
    one, two = (CliRunner().invoke(app, words) for _ in range(2))
    assert one.exit_code == 0
    assert one.output == two.output


def test_a_benchmark_tells_machine_and_figures() -> None:
    """Every benchmark answers in one form, with the unit in each figure's name."""
    words = ["bench", "resolve", "--records", "300", "--edits", "40", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = orjson.loads(done.stdout)
    assert found["bench"] == "resolve"
    assert found["machine"]["cpus"]
    assert found["figures"]["resolved_per_s"] > 0
    assert 0 < found["shares"]["decide"] < 1


def test_a_backlog_costs_hardly_more_calls_than_it_must() -> None:
    """One batched read and one batched write where there is a batch, else one each a record."""
    words = ["bench", "calls", "--customers", "120", "--edits", "20", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    figures = orjson.loads(done.stdout)["figures"]
    assert figures["stripe_calls"] == figures["stripe_calls_least"]
    assert figures["hubspot_calls"] <= figures["hubspot_calls_least"] + 1, "associations are read"


def test_an_edit_arrives_in_every_other_tool() -> None:
    """The hub is slower than a bare script, and no edit is missing."""
    words = ["bench", "latency", "--customers", "40", "--edits", "20", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    figures = orjson.loads(done.stdout)["figures"]
    assert figures["missing"] == 0
    assert 0 < figures["floor_ms_p50"] < figures["edit_to_visible_ms_p50"]
    assert figures["edit_to_visible_ms_p50"] <= figures["edit_to_visible_ms_p99"]


def test_an_interrupt_while_it_is_loaded_is_no_traceback() -> None:
    """Ctrl-C counts from the first moment on."""
    slow = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    slow += "from hub.start import main; print(end='.', flush=True); main()"
    with subprocess.Popen([sys.executable, "-c", slow, "status"],  # noqa: S603  our own words
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout
        assert process.stdout.read(1) == b"."
        time.sleep(0.1)  # it is being loaded now, which takes several times that
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in told


def test_an_unknown_benchmark_names_the_known_ones() -> None:
    """Wrong use is told as such."""
    done = CliRunner().invoke(app, ["bench", "speed"])
    assert done.exit_code == 2
    assert "resolve, calls, path, latency" in done.output


def test_a_pipeline_is_told_what_changed_files_would_do(make_site: Callable[..., Site]) -> None:
    """With no hub up and with one, 0 or 1; no run is stored, and nobody's values are shown."""
    site = make_site(8)
    site.asked("apply", site.asked("plan")["run"])
    told = site.call("plan", "--ci")
    assert told.returncode == 0, told.stdout
    assert "judged: rules.yaml as it is published; hub.yaml on disk" in told.stdout
    rules = site.folder.path / "rules.yaml"
    text = rules.read_text()
    rules.write_text(text.replace("placeholders:\n", 'placeholders:\n  - "@mail.example.com"\n'))
    runs = site.asked("plan", "--ci", "--fail-on", "deletes")
    assert runs["changed_rules"]
    assert runs["counts"]
    with opening.opened(site.folder) as one:
        stored = one.store.view(lambda r: r.count("run"))
    assert stored == 1, "the one that was applied"
    before = writes(site)
    site.up()
    failed = site.call("plan", "--ci", "--fail-on", "updates, creates,clears", "--json")
    assert failed.returncode == 1, failed.stderr
    answer = orjson.loads(failed.stdout)
    assert answer["verdict"] == "fail"
    assert answer["hub_yaml"] == "of the hub that is up"
    assert {k for row in answer["failing"] for k in row["kinds"]} & {"updates", "creates", "clears"}
    people = [word for c in _people(site) for word in (c["email"], c["name"], c["phone"]) if word]
    assert not [word for word in people if word in failed.stdout]
    assert site.stop() == 0
    assert writes(site) == before
    rules.write_text("entities: {person: {name: {kind: nome}}}\n")
    wrong = site.call("plan", "--ci")
    assert wrong.returncode == 2
    assert "rules.yaml line 1" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ci", "--fail-on", "clear"], "did you mean clears?"),
        (["--fail-on", "clears"], "--fail-on belongs to --ci"),
        (["--ci", "some-run"], "takes no run"),
        (["--ci", "--all"], "takes no run"),
    ],
)
def test_a_verdict_asked_for_wrongly(words: list[str], said: str) -> None:
    """Exit code 2 before anything is read, so that no pipeline takes a mistake for a pass."""
    done = CliRunner().invoke(app, ["plan", *words])
    assert done.exit_code == 2
    assert said in done.output
