"""The anchor: how long each lane of history was and where it ended, kept outside the state folder.

One JSON line per change, synced to disk. Somebody who cuts the tail off a lane would have to cut
this file as well, wherever it is kept. A line is only added while history still holds what the last
line saw; else nothing is added, and `WORDS` says what is so, until it is mended or somebody who
knows why accepts history as it is. That is a line too, with their name.

History may be ahead of its anchor: after a crash between a commit and its line, or with an older
copy of the file. Who is erased loses keys, and the sealed entries stay: that breaks nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from hub.io import history
from hub.io.history import Finding, Heads
from hub.io.rows import Rows
from hub.io.store import synced

if TYPE_CHECKING:
    from hub.env import Hub

TAIL = 1 << 16  # bytes of the file's end that surely hold its last line
NAME = "anchor"  # where the store keeps the name under which its lines are written
IN_ORDER, CUT, DIFFERS = "in order", "history cut", "history differs"
MISSING, OTHERS, DAMAGED = "anchor missing", "anchor of another hub", "anchor unreadable"
WORDS: Mapping[str, str] = {
    CUT: "history is shorter than it was anchored: its end was cut off, or an older copy of the "
    "state folder was put back",
    DIFFERS: "history is not the one that was anchored: it was rewritten, or an older copy of the "
    "state folder was put back and has gone on",
    MISSING: "this history was anchored before, and the file is gone: put it back, or let `anchor` "
    "in hub.yaml name the place where it is now",
    OTHERS: "the file is the anchor of another hub, or of a state folder that was here before: "
    "give each hub a file of its own, `anchor` in hub.yaml, or put the state folder back",
    DAMAGED: "the last line of the file cannot be read: put a copy of it back",
}
WAY_OUT = (
    "nothing more is anchored until then; if you know why it is so, `synchub verify --accept` lets "
    "history count as it is now, and keeps your name"
)
Lane = Annotated[int, msgspec.Meta(ge=0, lt=history.LANES)]
Length = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class BadAnchor(ValueError):
    """The anchor file cannot be read; the text names it."""


class Accepted(msgspec.Struct, frozen=True):
    """Who let history count as it was, what was so, and what the anchor held until then."""

    by: str
    was: str
    instead_of: dict[Lane, tuple[Length, str]]


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """The heads at a time (ms). `hub`: the name that the store gave itself for this file."""

    at: int
    heads: dict[Lane, tuple[Length, str]]
    hub: str = ""
    accepted: Accepted | None = None


@dataclass(frozen=True)
class Anchor:
    """An append-only file of lines."""

    path: Path

    def add(self, line: Line) -> None:
        """Add a line; it is on the disk when this returns. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" * bool(torn) + msgspec.json.encode(line) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not size:
            synced(self.path.parent)  # else a power cut may take a new file with it

    def last(self) -> Line | None:
        """The line that counts; None where there is none. Raises `BadAnchor`.

        A last line without its end was being written when the power went: the one before counts.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
                ended = file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadAnchor(f"{self.path} cannot be read: {error.strerror}") from error
        return parsed(self.path, ended[-1]) if ended else None

    def accepted(self) -> Iterator[Line]:
        """The lines in which somebody accepted history as it was, oldest first."""
        with suppress(OSError), self.path.open("rb") as file:
            for line in file:
                if b'"accepted"' in line:
                    with suppress(BadAnchor):  # one that was torn was never acted on
                        yield parsed(self.path, line)


def parsed(path: Path, line: bytes) -> Line:
    """A line; raises `BadAnchor`."""
    try:
        return msgspec.json.decode(line, type=Line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise BadAnchor(f"the last line of {path} is no anchor: {error}") from error


# -- a history and its anchor ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stand:
    """How history stands to its anchor.

    `word`: IN_ORDER or one of `WORDS`. `wrong`: the lanes that are. `heads`: of history now.
    `last`: the line that counts. `name`: the one that the store has given itself, "" before its
    first line.
    """

    word: str
    wrong: tuple[Finding, ...]
    heads: Heads
    last: Line | None
    name: str

    @property
    def anchored(self) -> Heads:
        """The heads in the line that counts."""
        return self.last.heads if self.last else {}

    def ahead(self) -> dict[int, int]:
        """Lane to how many of its entries are not in the anchor yet."""
        more = {
            lane: n - self.anchored.get(lane, (0, ""))[0] for lane, (n, _) in self.heads.items()
        }
        return {lane: n for lane, n in more.items() if n > 0}


def look(hub: Hub) -> Stand:
    """Compare what is committed with the file; that is read first, so that it is never ahead.

    A process that does not have the file cannot tell: to it all is in order.
    """
    if hub.anchor is None:
        return hub.env.view(lambda rows: judged(rows, None, IN_ORDER))
    try:
        last = hub.anchor.last()
    except BadAnchor:
        return hub.env.view(lambda rows: judged(rows, None, DAMAGED))
    return hub.env.view(lambda rows: judged(rows, last))


def judged(rows: Rows, last: Line | None, word: str = "") -> Stand:
    """How history stands to this line; `word`: it is known already."""
    row = rows.get("meta", name=NAME)
    name, heads = str(row["value"]) if row else "", history.heads(rows)
    wrong = tuple(history.check_anchor(rows, last.heads)) if last else ()
    word = word or word_for(last, wrong, name, heads)
    return Stand(word, () if word == OTHERS else wrong, heads, last, name)


def word_for(last: Line | None, wrong: tuple[Finding, ...], name: str, heads: Heads) -> str:
    """What these findings mean."""
    if last is None:
        return MISSING if name else IN_ORDER
    if not wrong:
        return IN_ORDER
    known = last.hub and name
    if (known and last.hub != name) or not (known or heads):
        return OTHERS
    return DIFFERS if any(f.why == history.BESIDE for f in wrong) else CUT


def told(found: Stand) -> dict[str, str]:
    """The word, and what to do about it."""
    why = WORDS.get(found.word, "")
    return {"word": found.word, "todo": f"{why}; {WAY_OUT}" if why else ""}


def keep(hub: Hub) -> None:
    """Anchor what history has grown to, while it is the history that was anchored."""
    found = look(hub)
    if hub.anchor and found.word == IN_ORDER and found.heads != found.anchored:
        add(hub, found, found.name or (found.last.hub if found.last else ""))


def accept(hub: Hub, found: Stand, who: str) -> None:
    """Let history count as it is now, whatever was anchored; the line tells who said so."""
    add(hub, found, found.name, Accepted(who, found.word, found.anchored))


def add(hub: Hub, found: Stand, name: str, accepted: Accepted | None = None) -> None:
    """Write the line, then let the store know its own name in it.

    In this order: a store that knows a name misses its file, and a crash between the two leaves a
    line that agrees with history.
    """
    own = name or hub.env.uid()
    if hub.anchor:
        hub.anchor.add(Line(hub.env.now(), found.heads, own, accepted))
    if own != found.name:
        hub.env.commit(lambda rows: rows.upsert("meta", {"name": NAME, "value": own}), "anchor")
