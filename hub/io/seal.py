"""Sealing: personal data in append-only tables is encrypted under a key of its own record.

A record's key is kept wrapped under the master key, which is a file outside the database. Erasing
a person drops the wrapped key: what was sealed under it can never be opened again. Bytes are
compressed before they are sealed; the record's uid is bound in, so that sealed bytes cannot be
moved to another record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.io.rows import Row, Rows, among
from hub.settings import open_to_others

VERSION = b"\x01"
NONCE, KEY = 12, 32
LARGEST = 64 * 1024 * 1024  # of what was sealed: a bomb must not fill the memory


class CannotOpen(ValueError):
    """Sealed bytes that do not open; the text says why."""


class BadKeyFile(ValueError):
    """The master key's file is missing, damaged or open to others; the text says what to do."""


def read_master(path: Path) -> bytes:
    """The master key; raises `BadKeyFile`."""
    try:
        found, key = path.stat(), path.read_bytes()
    except OSError as error:
        message = f"cannot read the master key {path}: {error.strerror}; restore it from a backup"
        raise BadKeyFile(message) from error
    if open_to_others(found):
        message = f"{path} is readable by others: chmod 600 {path}"
        raise BadKeyFile(message)
    if len(key) != KEY:
        message = f"{path} holds {len(key)} bytes, a master key has {KEY}"
        raise BadKeyFile(message)
    return key


def make_master(path: Path, entropy: Callable[[int], bytes]) -> bytes:
    """Write a new master key with mode 0600, never over an existing one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    key = entropy(KEY)
    path.write_bytes(key)
    return key


def sign_of(master: bytes) -> str:
    """By what a key is known again, without telling anything of it."""
    return blake2b(b"synchub master key", key=master, digest_size=16).hexdigest()


@lru_cache(4096)
def _cipher(key: bytes) -> AESGCM:
    return AESGCM(key)


class Press(threading.local):
    """Compresses and back. Each thread has its own pair: shared, they crash the process."""

    def __init__(self) -> None:
        self.down = zstandard.ZstdCompressor(level=3).compress
        self.up = zstandard.ZstdDecompressor().decompress


class Seal:
    """Seals and opens, for many threads. `entropy(n)` gives n unpredictable bytes."""

    def __init__(self, master: bytes, entropy: Callable[[int], bytes]) -> None:
        """`master`: 32 bytes."""
        self._master = AESGCM(master)
        self._entropy = entropy
        self._press = Press()

    def seal(self, uid: str, key: bytes, plain: bytes) -> bytes:
        """Compress, then encrypt; bound to the uid."""
        nonce = self._entropy(NONCE)
        closed = _cipher(key).encrypt(nonce, self._press.down(plain), uid.encode())
        return VERSION + nonce + closed

    def open(self, uid: str, key: bytes, sealed: bytes) -> bytes:
        """What was sealed; raises `CannotOpen`."""
        if sealed[:1] != VERSION or len(sealed) <= 1 + NONCE:
            message = "not sealed by this version"
            raise CannotOpen(message)
        try:
            pressed = _cipher(key).decrypt(sealed[1 : 1 + NONCE], sealed[1 + NONCE :], uid.encode())
            return self._press.up(pressed, max_output_size=LARGEST)
        except InvalidTag as error:
            message = f"the bytes of {uid} were changed, or belong to another record or key"
            raise CannotOpen(message) from error
        except zstandard.ZstdError as error:
            raise CannotOpen(str(error)) from error

    def wrap(self, uid: str, key: bytes) -> bytes:
        """A record's key under the master key."""
        nonce = self._entropy(NONCE)
        return nonce + self._master.encrypt(nonce, key, b"key of " + uid.encode())

    def unwrap(self, uid: str, wrapped: bytes) -> bytes:
        """A record's key; raises `CannotOpen` when the master key is another one."""
        try:
            return self._master.decrypt(wrapped[:NONCE], wrapped[NONCE:], b"key of " + uid.encode())
        except InvalidTag as error:
            message = f"the key of {uid} does not open with this master key"
            raise CannotOpen(message) from error

    def new_key(self) -> bytes:
        """A fresh key for a record."""
        return self._entropy(KEY)


def subject_key(rows: Rows, uid: str, seal: Seal) -> bytes:
    """The key of a record, made when it is first needed. Raises `CannotOpen` once it was erased."""
    row = rows.get("subject_key", uid=uid)
    if row is None and rows.lock([uid]):
        row = rows.get("subject_key", uid=uid)
    if row is not None:
        return _unwrapped(row, seal)
    key = seal.new_key()
    rows.insert("subject_key", {"uid": uid, "wrapped": seal.wrap(uid, key)})
    return key


def _unwrapped(row: Row, seal: Seal) -> bytes:
    if not row["wrapped"]:
        message = f"{row['uid']} was erased"
        raise CannotOpen(message)
    return seal.unwrap(row["uid"], row["wrapped"])


def subject_keys(rows: Rows, uids: Iterable[str], seal: Seal) -> dict[str, bytes]:
    """The keys of these records, read at once, without any that `subject_key` would refuse."""
    keys: dict[str, bytes] = {}
    for row in rows.select("subject_key", {"uid": among(uids)}):
        with suppress(CannotOpen):
            keys[row["uid"]] = _unwrapped(row, seal)
    return keys
