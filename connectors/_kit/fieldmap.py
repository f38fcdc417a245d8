"""One field map, read in both directions: the tool's fields on one side, ours on the other.

A `Field` is a lens. `take` reads our value out of the tool's, `give` writes it into the tool's,
and `put` says what a person meant who edited a copy that had lost something (a truncated text, a
name squeezed into one line): the laws, checked by the tests for every field of every connector,
with n(x) = take(give(x)) the tool's *normal form* of x:

    n(n(x)) = n(x)        give(n(x)) = give(x)        put(x, n(x)) = x
    n(x) = x              where the field is declared `lossless`

What a tool has no place for is never lost by an edit there: short of a clear, `put` keeps it.

Shapes of our values (None means cleared; a name that is absent was not spoken of; texts are
trimmed):

    text, email, phone, category   str, never ""
    name      {"given": str, "family": str}, either may be "", never both
    address   {"line1", "line2", "city", "region", "postcode", "country"}: str, any may be ""
    date      "YYYY-MM-DD", without zone          instant   int, milliseconds since 1970 UTC
    money     {"minor": int, "currency": "EUR"}   integer   int        flag   bool
    set       sorted list of str, without doubles: a complete statement of all elements
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

Value = None | bool | int | str | list[str] | Mapping[str, str | int]
App = Mapping[str, object]
ADDRESS_PARTS = ("line1", "line2", "city", "region", "postcode", "country")


class BadValue(ValueError):
    """The tool holds something that our type cannot hold; the text says what and why."""


def as_seen(_base: Value, seen: Value) -> Value:
    """The `edit` of a field that hides nothing: what is seen is what was meant."""
    return seen


def for_all(_key: str) -> bool:
    """The `room` of a field that has a place for every key."""
    return True


@dataclass(frozen=True, slots=True)
class Field:
    """One field of ours and the tool's fields (`app`) that hold it.

    `edit(base, seen)` is asked only where the tool shows something else than our copy of `base`.
    `room(key)`, of a set or of consent: whether the tool has a place for this element, or for
    consent to this channel and purpose.
    """

    name: str
    kind: str
    app: tuple[str, ...]
    take: Callable[[App], Value]
    give: Callable[[Value], App]
    edit: Callable[[Value, Value], Value] = as_seen
    lossless: bool = True
    writable: bool = True
    room: Callable[[str], bool] = for_all

    def normal(self, value: Value) -> Value:
        """The form in which this tool can hold the value."""
        return self.take(self.give(value))

    def put(self, base: Value, seen: Value) -> Value:
        """What is meant by what is seen where our copy of `base` was: itself, if nobody edited."""
        return base if seen == self.normal(base) else self.edit(base, seen)


@dataclass(frozen=True, slots=True)
class Taken:
    """A reading in our terms: values (None = cleared), what could not be read, and the rest."""

    values: Mapping[str, Value]
    unknown: Mapping[str, str]
    ext: Mapping[str, str]


@dataclass(frozen=True)
class FieldMap:
    """All fields of one object of one tool."""

    fields: tuple[Field, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """Our name to field."""
        return {f.name: f for f in self.fields}

    @cached_property
    def app_names(self) -> tuple[str, ...]:
        """The tool's field names to ask for, each once, in the map's order."""
        return tuple(dict.fromkeys(name for f in self.fields for name in f.app))

    @cached_property
    def version(self) -> str:
        """Changes when the map's shape changes: stored with each input."""
        shape = [(f.name, f.kind, f.app, f.lossless, f.writable) for f in self.fields]
        return sha256(repr(shape).encode()).hexdigest()[:12]

    def take(self, app: App) -> Taken:
        """A reading's fields in our terms; a field is covered when all of its names are there."""
        values: dict[str, Value] = {}
        unknown: dict[str, str] = {}
        for f in self.fields:
            if all(name in app for name in f.app):
                try:
                    values[f.name] = f.take(app)
                except BadValue as error:
                    unknown[f.name] = str(error)
        mapped = set(self.app_names)
        ext = {k: str(v) for k, v in app.items() if k not in mapped and v is not None}
        return Taken(values, unknown, ext)

    def give(self, values: Mapping[str, Value]) -> dict[str, object]:
        """The tool's fields for these values of ours; unwritable ones are left out."""
        changes: dict[str, object] = {}
        for name, value in values.items():
            f = self.by_name[name]
            if f.writable:
                changes.update(f.give(value))
        return changes


# -- reading the tool's side -------------------------------------------------------------------


def _text(app: App, name: str) -> str:
    found = app[name]
    if found is None:
        return ""
    if isinstance(found, bool | list | dict):
        raise BadValue(f"{name}: expected text, got {type(found).__name__}")
    return str(found).strip()


def _integer(app: App, name: str) -> int | None:
    text = _text(app, name)
    try:
        return int(text) if text else None
    except ValueError as error:
        raise BadValue(f"{name}: expected a whole number, got {text[:40]!r}") from error


# -- writing it --------------------------------------------------------------------------------


def _cut(line: str, max_length: int) -> str:
    """What a tool keeps of a text: all of it where `max_length` is 0."""
    return line.strip()[: max_length or None].strip()


def _with_tail(edited: str, whole: str, max_length: int) -> str:
    """An edited beginning, and what the tool could not show of the whole."""
    return edited + whole[len(_cut(whole, max_length)) :]


# -- the kinds ---------------------------------------------------------------------------------


def text(
    name: str,
    app: str,
    *,
    kind: str = "text",
    max_length: int = 0,
    clear: object = "",
    writable: bool = True,
) -> Field:
    """A text. With `max_length` the tool cuts it off; an edit there keeps what was cut off."""

    def keep_tail(base: Value, seen: Value) -> Value:
        return seen and _with_tail(str(seen), str(base or "").strip(), max_length)

    return Field(
        name,
        kind,
        (app,),
        take=lambda a: _text(a, app) or None,
        give=lambda v: {app: _cut(str(v or ""), max_length) or clear},
        edit=keep_tail,
        lossless=not max_length,
        writable=writable,
    )


def email(name: str, app: str, **options: Any) -> Field:
    """An e-mail address, as typed; the hub standardises it."""
    return text(name, app, kind="email", **options)


def phone(name: str, app: str, **options: Any) -> Field:
    """A telephone number, as typed; the hub standardises it."""
    return text(name, app, kind="phone", **options)


def category(name: str, app: str, *, words: Mapping[str, str]) -> Field:
    """One of a fixed list: `words` maps the tool's word to ours; others are unreadable."""
    back = {ours: theirs for theirs, ours in words.items()}

    def take(a: App) -> Value:
        found = _text(a, app)
        if found and found not in words:
            raise BadValue(f"{app}: {found[:40]!r} is none of the words mapped")
        return words[found] if found else None

    return Field(
        name, "category", (app,), take, lambda v: {app: back.get(str(v), "")}, lossless=False
    )


def name(field: str, given: str, family: str, *, clear: object = "") -> Field:
    """A person's name in two fields."""

    def take(a: App) -> Value:
        value = {"given": _text(a, given), "family": _text(a, family)}
        return value if any(value.values()) else None

    def give(v: Value) -> App:
        return {t: _part(v, o) or clear for o, t in (("given", given), ("family", family))}

    return Field(field, "name", (given, family), take, give)


def _part(value: Value, name: str) -> str:
    """One part of a value that has several."""
    return str(value.get(name) or "").strip() if isinstance(value, Mapping) else ""


def split_name(line: str) -> dict[str, str]:
    """A name in one line: the last word is the family name, except after a comma."""
    if "," in line:
        family, given = (part.strip() for part in line.split(",", 1))
        return {"given": given, "family": family}
    given, _, family = line.strip().rpartition(" ")
    return {"given": given.strip(), "family": family}


def _words(text: str) -> str:
    """A name in one line has single spaces and no commas, which would turn it round."""
    return " ".join(text.replace(",", " ").split())


def _one_line(value: Value) -> str:
    return _words(f"{_part(value, 'given')} {_part(value, 'family')}")


def edited_name(base: Value, seen: Value, line: str) -> Value:
    """The name that `line` means, with the boundary and the spelling that `base` had."""
    given, family = _part(base, "given"), _part(base, "family")
    first, last = _words(given), _words(family)
    if last and f" {line}".endswith(f" {last}"):
        return {"given": line.removesuffix(last).strip(), "family": family}
    if first and f"{line} ".startswith(f"{first} "):
        return {"given": given, "family": line.removeprefix(first).strip()}
    return seen if line == _one_line(seen) else split_name(line)


def full_name(field: str, app: str, *, clear: object = "", max_length: int = 0) -> Field:
    """A person's name in one line. An edit keeps the boundary that we know, where it can."""

    def take(a: App) -> Value:
        line = " ".join(_text(a, app).split())
        return split_name(line) if line.strip(", ") else None

    def give(v: Value) -> App:
        return {app: _cut(_one_line(v), max_length) or clear}

    def edit(base: Value, seen: Value) -> Value:
        if base is None or seen is None:
            return seen
        line = _with_tail(_one_line(seen), _one_line(base), max_length)
        return edited_name(base, seen, line)

    return Field(field, "name", (app,), take, give, edit, lossless=False)


def address(field: str, parts: Mapping[str, str], *, clear: object = "") -> Field:
    """A postal address that moves as a whole; `parts` maps our part names to the tool's fields."""

    def take(a: App) -> Value:
        value = {part: _text(a, parts[part]) if part in parts else "" for part in ADDRESS_PARTS}
        return value if any(value.values()) else None

    def give(v: Value) -> App:
        return {theirs: _part(v, ours) or clear for ours, theirs in parts.items()}

    def keep_missing(base: Value, seen: Value) -> Value:
        if not isinstance(seen, Mapping):
            return seen
        return {p: seen[p] if p in parts else _part(base, p) for p in ADDRESS_PARTS}

    lossless = set(parts) == set(ADDRESS_PARTS)
    app = tuple(parts.values())
    return Field(field, "address", app, take, give, keep_missing, lossless=lossless)


def date(name: str, app: str, *, clear: object = "") -> Field:
    """A day without zone, in ISO form on both sides."""

    def take(a: App) -> Value:
        found = _text(a, app)
        try:
            return dt.date.fromisoformat(found).isoformat() if found else None
        except ValueError as error:
            raise BadValue(f"{app}: {found[:40]!r} is no date") from error

    return Field(name, "date", (app,), take, lambda v: {app: clear if v is None else v})


def integer(
    name: str, app: str, *, kind: str = "integer", scale: int = 1, writable: bool = True
) -> Field:
    """A whole number; an `instant` in seconds has scale 1000."""

    def take(a: App) -> Value:
        found = _integer(a, app)
        return None if found is None else found * scale

    def give(v: Value) -> App:
        return {app: None if v is None else int(str(v)) // scale}

    return Field(name, kind, (app,), take, give, lossless=scale == 1, writable=writable)


def flag(name: str, app: str, *, writable: bool = True) -> Field:
    """Yes or no, also where the tool says it as text."""
    words = {"": None, "true": True, "false": False}

    def take(a: App) -> Value:
        found = "" if a[app] is None else str(a[app]).strip().lower()
        if found not in words:
            raise BadValue(f"{app}: {found[:40]!r} is neither true nor false")
        return words[found]

    return Field(name, "flag", (app,), take, lambda v: {app: v}, writable=writable)


def money(name: str, minor: str, currency: str, *, writable: bool = False) -> Field:
    """An amount in minor units and its currency; never converted."""

    def take(a: App) -> Value:
        amount, unit = _integer(a, minor), _text(a, currency).upper()
        return None if amount is None or not unit else {"minor": amount, "currency": unit}

    def give(v: Value) -> App:
        held = v if isinstance(v, Mapping) else {"minor": None, "currency": None}
        return {minor: held["minor"], currency: held["currency"]}

    return Field(name, "money", (minor, currency), take, give, writable=writable)


def elements(
    name: str, app: str, *, join: str = "", kind: str = "set", room: Callable[[str], bool] = for_all
) -> Field:
    """A set of texts: a list on the tool's side, or one text joined by `join`.

    A joined text has no place for an element that contains `join`; `room` may know of others that
    the tool would not keep as they are.
    """

    def fits(element: str) -> bool:
        return room(element) and (not join or join not in element)

    def ordered(found: Iterable[object]) -> list[str]:
        return sorted({str(item).strip() for item in found} - {""})

    def take(a: App) -> Value:
        found = a[app]
        if isinstance(found, str) and join:
            found = found.split(join)
        if found is not None and not isinstance(found, list | tuple):
            raise BadValue(f"{app}: expected a list, got {type(found).__name__}")
        return ordered(found or ())

    def give(v: Value) -> App:
        held = [e for e in ordered(v) if fits(e)] if isinstance(v, list) else []
        return {app: join.join(held) if join else held}

    lossless = not join and room is for_all
    return Field(name, kind, (app,), take, give, lossless=lossless, room=fits)
