"""The anchor: how long each lane of history was and where it ended, kept outside the state folder.

One JSON line per change, synced to disk. Somebody who cuts the tail off a lane would have to cut
this file as well, wherever it is kept.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import orjson

Heads = dict[int, tuple[int, str]]  # lane to its length and the digest of its last entry, in hex


class BadAnchor(ValueError):
    """The anchor file cannot be read; the text names file and line."""


@dataclass
class Anchor:
    """An append-only file of heads."""

    path: Path
    _last: Heads | None = None

    def write(self, heads: Heads, now: int) -> None:
        """Add a line, if anything has changed since the last one."""
        if heads == self._last or not heads:
            return
        line = orjson.dumps({"at": now, "heads": {str(k): v for k, v in heads.items()}}) + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._last = dict(heads)

    def last(self) -> Heads:
        """The heads that this process wrote last, else those in the file. Raises `BadAnchor`."""
        return self.read() if self._last is None else self._last

    def read(self) -> Heads:
        """The heads that were last anchored; {} where nothing was. Raises `BadAnchor`.

        A last line without its end was being written when the power went: the one before counts.
        """
        try:
            whole = self.path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return {}
        for number, line in reversed(list(enumerate(whole, 1))):
            try:
                found = orjson.loads(line)["heads"]
                return {int(k): (int(n), str(head)) for k, (n, head) in found.items()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                message = f"{self.path} line {number} is no anchor: {error}"
                raise BadAnchor(message) from error
        return {}
