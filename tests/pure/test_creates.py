"""Where a golden record wants a record, and why not elsewhere."""

from __future__ import annotations

from msgspec.structs import replace

from connectors._kit import fieldmap as fm
from hub.pure import creates
from hub.pure.model import Golden, GoldenCell, Record, Version
from hub.pure.rules import Tool

FIELDS = fm.FieldMap((fm.email("email", "mail"), fm.text("job_title", "job"))).by_name
LIST = Tool("list", "person", "members", FIELDS, required=("email",))
HELD = [Record("a", "person", "crm", "people")]


def golden(**values: object) -> Golden:
    """A customer of whom this was entered in the CRM."""
    cells = {n: GoldenCell(v, Version(), ("a", 1), "newest") for n, v in values.items()}
    return Golden("g", "person", ("a",), cells)


def test_nobody_is_created_without_what_a_tool_requires() -> None:
    """A tool that keeps nobody without an e-mail address is offered those who have one."""
    why = creates.refusal(golden(job_title="Nurse"), HELD, LIST)
    assert "without email" in why
    assert creates.refusal(golden(job_title="Nurse", email=None), HELD, LIST) == why
    assert creates.refusal(golden(email="ann@x.com"), HELD, LIST) == ""


def test_no_second_record_is_made_where_a_double_has_one() -> None:
    """Two customers who are the same by evidence, kept apart as one tool has both."""
    doubled = replace(golden(email="ann@x.com"), beside=(("list", "members"),))
    assert "double" in creates.refusal(doubled, HELD, LIST)
    elsewhere = replace(doubled, beside=(("crm", "people"),))
    assert creates.refusal(elsewhere, HELD, LIST) == ""
