"""The published versions of rules.yaml: the last one is in force from the next start on."""

from __future__ import annotations

from hub.io.rows import Rows
from hub.settings import RulesSettings


def published(rows: Rows) -> tuple[int, RulesSettings | None]:
    """The last published version and its rules; 0 and None where there is none."""
    latest = rows.select("ruleset", order=("-version",), limit=1)
    if not latest:
        return 0, None
    return int(latest[0]["version"]), RulesSettings.model_validate(latest[0]["doc"])


def publish(rows: Rows, rules: RulesSettings, who: str, now: int) -> int:
    """Make these the rules from the next start on, unless they are; returns the version."""
    version, last = published(rows)
    if rules == last:
        return version
    doc = rules.model_dump(mode="json")
    rows.insert("ruleset", {"version": version + 1, "at": now, "by": who, "doc": doc})
    return version + 1


# -- several processes -----------------------------------------------------------------------------

IN_FORCE = "rules"


class OtherRules(Exception):
    """Rules were published since this process has started; the text says what happens."""


def announce(rows: Rows, version: int) -> None:
    """From here on nobody resolves under other rules."""
    rows.upsert("meta", {"name": IN_FORCE, "value": str(version)})


def check(rows: Rows, version: int) -> None:
    """Raise `OtherRules` where others are in force than a process runs under."""
    row = None if rows.alone else rows.get("meta", name=IN_FORCE)
    if row is not None and int(row["value"]) != version:
        raise OtherRules(
            f"version {row['value']} of the rules is in force, this process has version {version}: "
            "it ends, to be started again"
        )
