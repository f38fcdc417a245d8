"""What is only read is compared like anything else, and never written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors._kit import fieldmap as fm
from hub.pure import compare
from hub.pure.compare import Links
from hub.pure.model import Cell, Golden, GoldenCell, Record, Value, Version, element
from hub.pure.rules import Tool

FIELDS = fm.FieldMap((fm.email("email", "mail"),)).by_name
TOOL = Tool("shop", "person", "customers", FIELDS, links=("companies",), widens=True)
FIRM = element("companies", "f")
LINKS = Links({"f": "f"}, {"f": "f"})


def words(tool: Tool, held: dict[str, Value], wanted: dict[str, Value], links: Links) -> set[str]:
    """The words for cells of which golden wants something else than is held."""
    record = Record("a", "person", "shop", "customers", cells={
        n: Cell(observed=v, known=True) for n, v in held.items()})  # fmt: skip
    cells = {n: GoldenCell(v, Version(), ("b", 1), "newest") for n, v in wanted.items()}
    golden = Golden("g", "person", ("a", "b"), cells)
    return {one.word for one in compare.compare(record, golden, tool, links)}


@pytest.mark.parametrize(
    ("held", "wanted", "links"),
    [
        ({"email": "old@x.com"}, {"email": "new@x.com"}, LINKS),
        ({}, {FIRM: True}, LINKS),
        ({}, {FIRM: True}, Links({"f": "f"}, {})),
        ({FIRM: True}, {FIRM: None}, LINKS),
    ],
)
def test_a_tool_that_is_only_read_is_never_behind(
    held: dict[str, Value], wanted: dict[str, Value], links: Links
) -> None:
    """Values and associations that it lacks, or has too many of, cannot be written."""
    assert words(TOOL, held, wanted, links) & {"hub ahead", "waits for link"}
    assert words(replace(TOOL, writes=False), held, wanted, links) == {"unwritable"}
