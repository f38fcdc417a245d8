"""hub.yaml and rules.yaml: whatever is wrong stops the start, with line, key and what was meant."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from connectors._kit.contract import Account
from hub import settings
from hub.settings import BadSettings, HubSettings, SystemSettings
from hub.wiring import check_account

GOOD = HubSettings(
    systems={"crm": SystemSettings(vendor="hubspot", account="7"),
             "billing": SystemSettings(vendor="stripe", base_url="http://127.0.0.1:1")},
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file is written."""
    return tmp_path / "hub.yaml"


def test_what_is_written_reads_back_equal(path: Path) -> None:
    """`init` writes files that `check` accepts, and nothing is lost on the way."""
    path.write_text(settings.render_hub(GOOD))
    assert settings.load_hub(path) == GOOD
    rules = settings.default_rules(("crm", "billing"))
    path.write_text(settings.render_rules(rules))
    assert settings.load_rules(path, ("crm", "billing")) == rules
    assert settings.to_rules(rules, 3, "DE").of("person", "tags[vip]") is not None


def test_a_test_hub_takes_no_live_account(path: Path) -> None:
    """The error stands at the line of the mode; without the mark the same file loads as before."""
    text = settings.render_hub(GOOD).replace('mode: "test"', 'mode: "live"', 1)
    path.write_text(text.replace("# environment: test", "environment: test"))
    (line,) = (n for n, found in enumerate(text.splitlines(), 1) if 'mode: "live"' in found)
    wanted = rf"hub\.yaml line {line}: systems\.crm\.mode: environment is test, so no live account"
    with pytest.raises(BadSettings, match=wanted):
        settings.load_hub(path)
    path.write_text(text)
    assert settings.load_hub(path).environment == "production"
    made = HubSettings(environment="test", systems=GOOD.systems)
    path.write_text(settings.render_hub(made))
    assert settings.load_hub(path) == made


def test_an_account_that_turns_out_to_be_live_is_refused() -> None:
    """Also where the tool has no id to pin, and nobody wrote down that it is live."""
    one = SystemSettings(vendor="stripe")
    found = Account("none", live=True)
    assert "environment: test" in check_account(found, one, "test")
    assert check_account(found, one, "production") == ""
    assert check_account(Account("none", live=False), one, "test") == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("poll_seconds:", "pol_seconds:"), "did you mean poll_seconds?"),
        (('vendor: "hubspot"', 'vendr: "hubspot"'), "did you mean vendor?"),
        (("port: 8411", "port: 99999"), "private.port"),
        (("create:", "# create:"), ""),
        (('mode: "test"', 'mode: "prod"'), "'live' or 'test'"),
        (("poll_seconds: 30", "poll_seconds: 0"), "greater than 0"),
        (("  crm:", "  CRM-1:"), "is no name"),
        (("anchor: synchub-anchor.jsonl", "anchor: .synchub/anchor.jsonl"), "outside"),
        (("private:\n", "private:\n  host: 0.0.0.0\n"), "admin_token_file"),
        (("# environment: test", "environment: staging"), "'production' or 'test'"),
    ],
)
def test_what_is_wrong_is_named(path: Path, change: tuple[str, str], said: str) -> None:
    """Each error names the file, the line and the key."""
    text = settings.render_hub(GOOD)
    assert change[0] in text
    path.write_text(text.replace(change[0], change[1], 1))
    if not said:
        settings.load_hub(path)
        return
    with pytest.raises(BadSettings, match=r"hub\.yaml") as failure:
        settings.load_hub(path)
    assert said in str(failure.value)


def test_keys_of_older_files_are_passed_over(path: Path) -> None:
    """A file that an older hub wrote still loads, with the key that never did anything."""
    path.write_text("name: synchub\n" + settings.render_hub(GOOD))
    assert settings.load_hub(path) == GOOD


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("kind: email", "kind: emial"),
            "email.kind: there is no kind 'emial'; did you mean email?",
        ),
        (("[crm, billing]", "[crm, biling]"), "no system 'biling'; did you mean billing?"),
        (("strategy: newest", "strategy: latest"), "'newest'"),
        (("strategy: newest", "strategy: consent"), "go together"),
    ],
)
def test_rules_that_would_do_nothing_are_refused(
    path: Path, change: tuple[str, str], said: str
) -> None:
    """A mistyped kind or system is named; what was published once stays readable."""
    text = settings.render_rules(settings.default_rules(("crm", "billing")))
    path.write_text(text.replace(*change, 1))
    with pytest.raises(BadSettings, match=r"line \d+: entities\.person") as failure:
        settings.load_rules(path, ("crm", "billing"))
    assert said in str(failure.value)
    published = settings.default_rules(("gone",)).model_dump(mode="json")
    kept = settings.RulesSettings.model_validate(published)
    assert kept.entities["person"]["email"].authority == ("gone",)


def test_every_allowed_word_is_explained() -> None:
    """Where only some words are taken, the description names each."""
    models = (settings.SystemSettings, settings.FieldSettings)
    for name, field in ((n, f) for m in models for n, f in m.model_fields.items()):
        for word in get_args(field.annotation) if get_origin(field.annotation) is Literal else ():
            assert word in re.findall(r"\w+", field.description or ""), (name, word)


def test_all_errors_come_at_once(path: Path) -> None:
    """Nobody has to start five times to learn of five errors."""
    path.write_text("state: x\nsystems:\n  a: {vendor: v, x: 1}\n  b: {}\nfoo: 1\n")
    with pytest.raises(BadSettings) as failure:
        settings.load_hub(path)
    assert len(str(failure.value).splitlines()) == 3
    assert "line 3" in str(failure.value)


@pytest.mark.parametrize(
    "text",
    ["", "- a", "just text", "a: [", "a: 1\na: 2", "\ta: 1", "a: &x [1]\nb: *x", "a: \x00",
     "systems: 7", "x" * 2_000_000],
)  # fmt: skip
def test_hostile_files_are_refused(path: Path, text: str) -> None:
    """No file breaks the reader."""
    path.write_text(text)
    with pytest.raises(BadSettings):
        settings.load_hub(path)


@pytest.mark.parametrize(
    ("owner", "mode", "open_"),
    [
        (0, 0o600, False),
        (0, 0o400, False),
        (0, 0o640, True),
        (0, 0o604, True),
        (1, 0o440, False),
        (1, 0o444, True),
    ],
)
def test_a_secret_is_for_its_owner_or_the_group_it_was_given_through(
    owner: int, mode: int, *, open_: bool
) -> None:
    """Our own file is for us alone; one of another user, `owner` steps from us, for its group."""
    found = os.stat_result((mode, 0, 0, 0, os.geteuid() + owner, 0, 0, 0, 0, 0))
    assert settings.open_to_others(found) == open_


def test_credentials_are_private(tmp_path: Path) -> None:
    """Files that others can read are refused, existing ones are never written over."""
    path = tmp_path / "secrets" / "crm"
    settings.write_secrets(path, {"token": "a"})
    settings.write_secrets(path, {"token": "a"})
    assert settings.read_secrets(path) == {"token": "a"}
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadSettings, match="other credentials"):
        settings.write_secrets(path, {"token": "b"})
    path.chmod(0o640)
    with pytest.raises(BadSettings, match="chmod 600"):
        settings.read_secrets(path)
    path.chmod(0o600)
    path.write_text("[1]")
    with pytest.raises(BadSettings, match="names and texts"):
        settings.read_secrets(path)
