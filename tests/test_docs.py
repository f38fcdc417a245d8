"""What is documented is what is there."""

from __future__ import annotations

from pathlib import Path

from hub import settings
from hub.cli import app

ROOT = Path(__file__).parents[1]


def test_every_setting_is_documented() -> None:
    """hub/SETTINGS.md is made from the code; `python -c` in the message makes it anew."""
    wanted = settings.reference()
    held = (ROOT / "hub" / "SETTINGS.md").read_text()
    assert held == wanted, "write hub.settings.reference() to hub/SETTINGS.md"


def test_every_command_is_documented() -> None:
    """The changelog names every command there is."""
    text = (ROOT / "CHANGELOG.md").read_text()
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        assert f"`{name}`" in text, name
