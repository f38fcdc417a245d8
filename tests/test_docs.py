"""What is documented is what is there."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from connectors._kit.conformance import CHECKS
from connectors._kit.contract import ObjectSpec
from hub import metrics, settings
from hub.cli import app
from hub.tools.world import World
from tests.stories.runner import tell

ROOT = Path(__file__).parents[1]
CONNECTORS = ROOT / "connectors"


def test_every_setting_is_documented() -> None:
    """hub/SETTINGS.md is made from the code; `python -c` in the message makes it anew."""
    wanted = settings.reference()
    held = (ROOT / "hub" / "SETTINGS.md").read_text()
    assert held == wanted, "write hub.settings.reference() to hub/SETTINGS.md"


def test_every_metric_is_documented() -> None:
    """hub/METRICS.md is made from the code, too."""
    wanted = metrics.reference(World({}).hub)
    held = (ROOT / "hub" / "METRICS.md").read_text()
    assert held == wanted, "write hub.metrics.reference(World({}).hub) to hub/METRICS.md"


def test_every_command_is_documented() -> None:
    """The changelog names every command there is."""
    text = (ROOT / "CHANGELOG.md").read_text()
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        assert f"`{name}`" in text, name


def how_to_connect() -> str:
    """The page that says how to write a connector."""
    return (CONNECTORS / "README.md").read_text()


def lines_of(code: str) -> str:
    """Lines that say something, without their indent: a method is quoted without its class."""
    return "\n".join(line.strip() for line in code.splitlines() if line.strip())


def test_the_connector_explained_is_the_one_that_runs() -> None:
    """Every piece of Python on the page stands in the connector that it explains."""
    quoted = re.findall(r"```python\n(.*?)```", how_to_connect(), re.DOTALL)
    real = lines_of((CONNECTORS / "acme" / "connector.py").read_text())
    assert quoted
    for piece in quoted:
        assert lines_of(piece) in real, f"connectors/acme/connector.py has no such piece:\n{piece}"


def test_every_decision_about_a_tool_is_explained() -> None:
    """The page names every word of an object's description."""
    for one in fields(ObjectSpec):
        assert f"`{one.name}`" in how_to_connect() or f"`{one.name}=" in how_to_connect(), one.name


def test_the_contract_is_exact_about_each() -> None:
    """The docstring says of every field of an object's description what it means."""
    for one in fields(ObjectSpec):
        assert f"`{one.name}`" in (ObjectSpec.__doc__ or ""), one.name


def test_checks_that_are_explained_exist() -> None:
    """A check that the page tells how to put right is one of the suite."""
    _, table = how_to_connect().split("| check that fails |")
    named = re.findall(r"^\| `(\w+)` \|", table.split("\n\n")[0], re.MULTILINE)
    assert named
    assert set(named) <= {check.__name__ for check in CHECKS}


def test_every_connector_is_listed() -> None:
    """The page lists each connector, with the way to its own page."""
    for file in CONNECTORS.glob("*/connector.py"):
        assert f"({file.parent.name}/README.md)" in how_to_connect()


# -- events ----------------------------------------------------------------------------------------


def records() -> dict[str, dict[str, str]]:
    """The fields of every record in the schemas, each with its type in words."""
    files = [json.loads(f.read_text()) for f in sorted((ROOT / "schemas").glob("*.avsc"))]
    found = [one for file in files for one in (file if isinstance(file, list) else [file])]
    return {r["name"]: {f["name"]: in_words(f["type"]) for f in r["fields"]} for r in found}


def in_words(kind: Any) -> str:
    """A type of Avro's as the page writes it."""
    if isinstance(kind, list):
        return " or ".join(in_words(one) for one in sorted(kind, key=lambda one: one == "null"))
    if isinstance(kind, str):
        return kind.removeprefix("synchub.")
    if kind["type"] in ("array", "map"):
        return f"{kind['type']} of {in_words(kind.get('items') or kind.get('values'))}"
    return f"{kind['type']} ({kind['logicalType']})"


def documented() -> dict[str, dict[str, str]]:
    """The fields that the page explains, by record, each with its type; all columns are filled.

    A table for several records says ` / ` between types that differ.
    """
    page = (ROOT / "schemas" / "README.md").read_text()
    found = {}
    for section in re.split(r"^###? ", page, flags=re.MULTILINE):
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| .+? \| .+ \|$", section, re.MULTILINE)
        names = section.partition("\n")[0].split(" and ") if rows else []
        for n, name in enumerate(names):
            found[name] = {field: (2 * kind.split(" / "))[n] for field, kind in rows}
    return found


def test_every_field_of_an_event_is_documented() -> None:
    """The page explains each field of each schema, in its order, and no other."""
    told, real = documented(), records()
    assert told.keys() == real.keys()
    for name in real:
        assert list(told[name].items()) == list(real[name].items()), name


def test_every_header_is_documented() -> None:
    """The page lists the headers that messages have, and no other."""
    page = (ROOT / "schemas" / "README.md").read_text().partition("## Reading them")[0]
    table = page.partition("| header |")[2]
    world = tell(POISONED).world
    rows = world.store.view(lambda r: r.select("log"))
    assert any(row["topic"].startswith("dead.") for row in rows)
    assert set(re.findall(r"^\| `(\S+)` \|", table, re.MULTILINE)) == {
        header for row in rows for header in row["headers"]
    }


POISONED = """
tools A B
A.jane name="Jane Doe" email=jane@x.com
sync
A.jane note=news
capture A
A.jane poisoned
resolve
expect parked input
"""
