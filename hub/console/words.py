"""How the console says things: values, times and the words of the comparison, as safe HTML.

Whatever came from a tool is isolated (`<bdi>`), so that no name can turn the direction of what
stands beside it, and its control characters are written out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from hub import shown

LONG = 40  # characters from which a value is also shown in full when it is pointed at
STEPS = ((60, "s", 1), (3_600, "min", 60), (86_400, "h", 3_600), (86_400 * 60, "d", 86_400))

# Each word of hub/pure/compare.py: how it is coloured, and what it means to a person.
LEGEND: Mapping[str, tuple[str, str]] = {
    "agree": ("good", "the tool holds golden's value"),
    "hub ahead": ("busy", "the tool does not hold golden's value yet; the hub writes it"),
    "tool ahead": ("busy", "something new was entered in the tool; the hub is about to resolve it"),
    "conflict": ("bad", "two tools say different things, and no rule decides"),
    "pending": ("busy", "the value waits to be approved"),
    "quarantined": ("bad", "the value is not valid; golden keeps the last good one"),
    "rejected": ("bad", "the tool refused golden's value; it is not offered again as it is"),
    "ignored": ("calm", "the tool took the write and kept its old value"),
    "altered": ("calm", "the tool made something else of what was written; it is left as it is"),
    "unreadable": ("bad", "what the tool holds could not be understood"),
    "unwritable": ("calm", "the tool does not let the hub write this field"),
    "not applicable": ("calm", "this record is not to hold it"),
    "waits for link": ("busy", "the other end has no record in this tool yet"),
    "unexplained": ("bad", "nobody entered it, and it is not the hub's copy: a person must look"),
    "parked": ("bad", "the tool keeps changing it; not written until somebody edits it"),
}
# Words of the console's own.
TONES: Mapping[str, str] = {
    "in step": "good", "catching up": "busy", "first reading": "busy", "failing": "bad",
    "waits for a person": "warn", "live": "good", "creating": "busy", "done": "good",
    "open": "busy", "held": "warn", "planned": "calm", "applying": "busy", "same": "good",
    "differs": "bad", "only here": "calm", "settled": "good", "sent": "busy", "unknown": "warn",
    "deleted": "warn", "archived": "warn", "out": "warn", "in": "good", "different": "calm",
}  # fmt: skip


def value(found: Any) -> Markup:
    """A value of a customer."""
    if found in (None, "", {}, []):
        return Markup('<span class="none">empty</span>')
    return foreign(shown.in_words(found))


def foreign(text: Any) -> Markup:
    """A text that others wrote."""
    told = shown.visible(str(text))
    title = Markup(' title="{}"').format(told) if len(told) > LONG else Markup()
    return Markup('<bdi dir="auto"{}>{}</bdi>').format(title, told)


def told(text: str) -> Markup:
    """A text with `commands` in it."""
    parts = (foreign(p) if n % 2 == 0 else code(p) for n, p in enumerate(text.split("`")) if p)
    return Markup().join(parts)


def code(text: str) -> Markup:
    """A command, as it is typed."""
    return Markup("<code>{}</code>").format(shown.visible(text))


def cell(name: str, names: Mapping[str, str]) -> Markup:
    """The name of a cell; an element that is another customer is called by its name."""
    return foreign(shown.cell_name(name, names).replace("_", " "))


def word(found: str) -> Markup:
    """A state: its word, in its colour, with what it means."""
    tone, means = LEGEND.get(found, (TONES.get(found, "calm"), ""))
    title = Markup(' title="{}"').format(means) if means else Markup()
    return Markup('<span class="word {}"{}>{}</span>').format(tone, title, found)


def ago(at: int | None, now: int) -> Markup:
    """A time: how long ago, the exact time behind it."""
    if not at:
        return Markup('<span class="none">never</span>')
    exact = shown.when(at)
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(exact, since(at, now))


def since(at: int, now: int) -> str:
    """How long ago, in the largest unit that fits; the date when it is long ago."""
    seconds = max(0, now - at) // 1000
    for below, unit, size in STEPS:
        if seconds < below:
            return f"{seconds // size} {unit} ago" if seconds else "now"
    return time.strftime("%Y-%m-%d", time.gmtime(at / 1000))


def query(**given: Any) -> str:
    """The query of an address, without what is empty; "" where nothing is left."""
    told = urlencode({k: v for k, v in given.items() if v not in (None, "")})
    return f"?{told}" if told else ""


FILTERS = {
    "value": value,
    "foreign": foreign,
    "told": told,
    "cell": cell,
    "word": word,
    "ago": ago,
    "because": shown.because,
    "many": shown.many,
}
