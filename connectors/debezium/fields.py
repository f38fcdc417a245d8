"""From a column to a field of ours: one lens for each kind, over plain values.

Nothing is written, so `give` only says how the table would hold a value: by it a golden value is
compared with what is there.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from connectors._kit import fieldmap as fm
from connectors._kit.fieldmap import ADDRESS_PARTS, App, BadValue, Field, FieldMap, Value
from connectors._kit.source import Kinds, Misdeclared, Table, meant
from connectors.debezium.values import DECLARED, Shape, moved

Parts = Mapping[str, str]
COLUMN: Final = ("column", "type", "scale")
CURRENCY: Final = re.compile("[A-Z]{3}")
FLAGS: Final = {"": None, "true": True, "false": False, "1": True, "0": False}
DIGITS_MOST: Final = 60  # of an amount; more is no money, whatever the column holds
# Digits behind the point (ISO 4217), where they are not two.
NO_DIGITS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
THREE_DIGITS: Final = "BHD IQD JOD KWD LYD OMR TND"


@dataclass(frozen=True)
class Columns:
    """How a table's columns are our fields, and what they are declared as where nothing tells."""

    fields: FieldMap
    shapes: Mapping[str, Shape] = field(default_factory=dict)


def columns(table: Table, kinds: Kinds, place: tuple[str, ...]) -> Columns:
    """What a table declares; raises `Misdeclared`."""
    known, found = kinds.get(table.entity, {}), list[Field]()
    shapes: dict[str, Shape] = {}
    for name, parts in table.fields.items():
        here = (*place, "fields", name)
        if name not in known:
            near = meant(name, known)
            raise Misdeclared(f"rules.yaml has no field {name!r} of {table.entity}{near}", *here)
        found.append(lens(name, known[name], parts, here))
        shapes |= declared(parts, here)
    return Columns(FieldMap(tuple(found)), shapes)


def lens(name: str, kind: str, parts: Parts, place: tuple[str, ...]) -> Field:
    """One field; raises `Misdeclared`."""
    if kind not in KINDS:
        raise Misdeclared(f"a field of kind {kind} is not read from a column", *place)
    takes, make = KINDS[kind]
    if odd := next((part for part in parts if part not in takes), ""):
        why = f"{kind} has no part {odd!r}{meant(odd, takes)}; it may have: {', '.join(takes)}"
        raise Misdeclared(why, *place, odd)
    try:
        return make(name, kind, parts)
    except KeyError as error:
        raise Misdeclared(f"{kind} needs {error.args[0]!r}", *place) from None


def declared(parts: Parts, place: tuple[str, ...]) -> dict[str, Shape]:
    """The type that a column is declared to have."""
    if "type" not in parts:
        return {}
    word, scale = parts["type"], parts.get("scale", "0")
    if word not in DECLARED:
        why = f"there is no type {word!r}{meant(word, DECLARED)}; there are: {', '.join(DECLARED)}"
        raise Misdeclared(why, *place, "type")
    if not scale.isdecimal():
        raise Misdeclared(f"{scale!r} is no number of digits", *place, "scale")
    return {parts.get("column") or parts["amount"]: Shape(DECLARED[word], int(scale))}


# -- the kinds -------------------------------------------------------------------------------------


def line(name: str, kind: str, parts: Parts) -> Field:
    """Anything that is one text."""
    return fm.text(name, parts["column"], kind=kind)


def person(name: str, _kind: str, parts: Parts) -> Field:
    """A name in two columns, or in one."""
    if "column" in parts:
        return fm.full_name(name, parts["column"])
    return fm.name(name, parts["given"], parts["family"])


def place(name: str, _kind: str, parts: Parts) -> Field:
    """An address in as many columns as there are."""
    return fm.address(name, parts)


def day(name: str, _kind: str, parts: Parts) -> Field:
    """A day without zone."""
    return fm.date(name, parts["column"], clear=None)


def number(name: str, _kind: str, parts: Parts) -> Field:
    """A whole number."""
    return fm.integer(name, parts["column"])


def tags(name: str, _kind: str, parts: Parts) -> Field:
    """A list, or a text with something between the elements."""
    return fm.elements(name, parts["column"], join=parts.get("join", ""))


def flag(name: str, _kind: str, parts: Parts) -> Field:
    """Yes or no, also as 1 and 0."""
    column = parts["column"]

    def take(app: App) -> Value:
        found = "" if app[column] is None else str(app[column]).strip().lower()
        if found not in FLAGS:
            raise BadValue(f"{column}: {found[:40]!r} is neither true nor false")
        return FLAGS[found]

    return Field(name, "flag", (column,), take, lambda v: {column: v})


def instant(name: str, _kind: str, parts: Parts) -> Field:
    """A moment: a text with zone, or milliseconds since 1970."""
    column = parts["column"]

    def take(app: App) -> Value:
        found = app[column]
        if found is None or type(found) is int:
            return found
        try:
            moment = dt.datetime.fromisoformat(str(found))
        except ValueError as error:
            raise BadValue(f"{column}: {str(found)[:40]!r} is no time") from error
        if moment.tzinfo is None:
            raise BadValue(f"{column}: {str(found)[:40]!r} has no zone")
        return round(moment.timestamp() * 1000)

    return Field(name, "instant", (column,), take, lambda v: {column: v})


def digits(currency: str) -> int:
    """How many digits stand behind the point."""
    return 0 if currency in NO_DIGITS else 3 if currency in THREE_DIGITS else 2


def money(name: str, _kind: str, parts: Parts) -> Field:
    """An amount, or one in minor units, of a currency that is named or stands in a column."""
    minor, unit = "minor" in parts, parts["currency"]
    column = parts["minor"] if minor else parts["amount"]
    fixed = bool(CURRENCY.fullmatch(unit))

    def take(app: App) -> Value:
        currency = unit if fixed else str(app[unit] or "").strip().upper()
        if app[column] in (None, "") or not currency:
            return None
        shift = 0 if minor else digits(currency)
        return {"minor": in_minor(column, app[column], shift), "currency": currency}

    def give(value: Value) -> App:
        held = value if isinstance(value, Mapping) else {}
        shift = 0 if minor else digits(unit if fixed else str(held.get("currency")))
        amount = held and f"{moved(Decimal(held['minor']), -shift):f}"
        return {column: amount or None, **({} if fixed else {unit: held.get("currency")})}

    app = (column,) if fixed else (column, unit)
    return Field(name, "money", app, take, give, lossless=not fixed, writable=False)


def in_minor(column: str, amount: object, shift: int) -> int:
    """A decimal number in minor units; raises `BadValue`."""
    try:
        scaled = moved(Decimal(str(amount)), shift)
        if scaled.adjusted() < DIGITS_MOST and scaled == int(scaled):
            return int(scaled)
    except (ArithmeticError, TypeError, ValueError):
        pass  # no number, or none that ends
    raise BadValue(f"{column}: {str(amount)[:40]!r} is no amount of money")


Make = Callable[[str, str, Parts], Field]
KINDS: Mapping[str, tuple[tuple[str, ...], Make]] = {
    **dict.fromkeys(("text", "email", "phone", "domain", "category"), (COLUMN, line)),
    "name": (("given", "family", "column"), person),
    "address": (ADDRESS_PARTS, place),
    "date": (COLUMN, day),
    "instant": (COLUMN, instant),
    "integer": (COLUMN, number),
    "flag": (COLUMN, flag),
    "money": (("amount", "minor", "currency", "type", "scale"), money),
    "set": (("column", "join"), tags),
}
