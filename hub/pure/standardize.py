"""Raw values to standard values: what golden holds. A value that fails is refused with a reason.

The raw value is always kept beside the standard one by the caller. Nothing here guesses: a phone
number that cannot be read, a placeholder in place of a name is quarantined, not repaired.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache

import phonenumbers
import pycountry
from email_validator import EmailNotValidError, validate_email

from hub.pure.model import Value
from hub.pure.rules import Rules

FILLERS = frozenset(
    {
        "n/a",
        "na",
        "none",
        "null",
        "nil",
        "unknown",
        "-",
        "--",
        ".",
        "?",
        "xxx",
        "test",
        "tbd",
        "no email",
        "not provided",
    }
)
LONGEST_TEXT = 10_000


class Invalid(ValueError):
    """The value cannot be golden; the text says why."""


def tidy(raw: str) -> str:
    """One line of text: composed characters, single spaces, no control characters."""
    shown = (" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in raw)
    return " ".join(unicodedata.normalize("NFC", "".join(shown)).split())


def text(raw: Value, _rules: Rules) -> str | None:
    """Any text that is not a filler; None for one that shows nothing."""
    line = tidy(str(raw))
    if line.casefold() in FILLERS:
        message = f"{line!r} is a filler, not a value"
        raise Invalid(message)
    if len(line) > LONGEST_TEXT:
        message = f"longer than {LONGEST_TEXT} characters"
        raise Invalid(message)
    return line or None


@lru_cache(100_000)
def _email(line: str) -> str:
    try:
        found = validate_email(line, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        message = f"no valid e-mail address: {error}"
        raise Invalid(message) from error
    return found.normalized.lower()


def email(raw: Value, rules: Rules) -> str:
    """An address in lower case; placeholders such as noone@none.com are refused."""
    line = _email(tidy(str(raw)))
    if line in rules.placeholders or "@" + line.partition("@")[2] in rules.placeholders:
        message = f"{line!r} is a placeholder, not somebody's address"
        raise Invalid(message)
    return line


@lru_cache(100_000)
def _phone(line: str, region: str) -> str:
    try:
        number = phonenumbers.parse(line, region)
    except phonenumbers.NumberParseException as error:
        message = f"no telephone number: {error}"
        raise Invalid(message) from error
    if not phonenumbers.is_possible_number(number):
        message = f"{line!r} has too few or too many digits for a telephone number"
        raise Invalid(message)
    form = phonenumbers.PhoneNumberFormat.E164
    extension = f";ext={number.extension}" if number.extension else ""
    return phonenumbers.format_number(number, form) + extension


def phone(raw: Value, rules: Rules) -> str:
    """E.164, with the extension where there is one."""
    return _phone(tidy(str(raw)), rules.region)


def _has_parts(raw: Value, what: str) -> None:
    if not isinstance(raw, Mapping):
        message = f"{raw!r} is not {what} in its parts"
        raise Invalid(message)


def name(raw: Value, rules: Rules) -> Value:
    """Given and family name, each tidied; None where neither shows anything."""
    _has_parts(raw, "a name")
    parts = {part: tidy(str(raw.get(part) or "")) for part in ("given", "family")}
    return parts if text(" ".join(parts.values()), rules) else None


@lru_cache(10_000)
def country(line: str) -> str:
    """ISO 3166 alpha-2 where the country is known, else the text as it is."""
    if not line:
        return ""
    try:
        found = pycountry.countries.lookup(line)
    except LookupError:
        return line
    return str(found.alpha_2)


def address(raw: Value, _rules: Rules) -> Value:
    """The parts of an address, tidied, with the country as a code; None where all are empty."""
    _has_parts(raw, "an address")
    parts = ("line1", "line2", "city", "region", "postcode")
    held = {part: tidy(str(raw.get(part) or "")) for part in parts}
    held["country"] = country(tidy(str(raw.get("country") or "")))
    return held if any(held.values()) else None


def date(raw: Value, _rules: Rules) -> str:
    """A day in ISO form, not before 1800."""
    try:
        day = dt.date.fromisoformat(str(raw))
    except ValueError as error:
        message = f"{raw!r} is no date"
        raise Invalid(message) from error
    if day.year < 1800:  # noqa: PLR2004 the year is the point
        message = f"{day} cannot be right"
        raise Invalid(message)
    return day.isoformat()


def domain(raw: Value, rules: Rules) -> str | None:
    """A bare host name in lower case, without scheme, www and path; None where none is left."""
    line = re.sub(r"^(https?://|www\.)+", "", tidy(str(raw)).lower())
    return text(line.partition("/")[0], rules)


def as_it_is(raw: Value, _rules: Rules) -> Value:
    """Values whose shape was checked on the way in."""
    return raw


STANDARD: Mapping[str, Callable[[Value, Rules], Value]] = {
    "text": text,
    "email": email,
    "phone": phone,
    "name": name,
    "address": address,
    "date": date,
    "domain": domain,
    "category": text,
}


def standard(kind: str, raw: Value, rules: Rules) -> Value:
    """The standard value of a raw one, None where it is nothing. Raises `Invalid` with the reason.

    A text of control characters alone is nothing: golden never holds an empty one.
    """
    if raw is None or raw is True:
        return raw
    return STANDARD.get(kind, as_it_is)(raw, rules)
