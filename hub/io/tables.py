"""The tables, once, for every store: SQLite, PostgreSQL, and the plain dict twin read this file.

Times are integers, milliseconds since 1970 UTC. A `Uid` is 16 bytes in the database and its
canonical lower-case text (36 characters) in Python; both sort alike. A `Doc` is packed JSON.
A `Sealed` is ciphertext: only `hub/io/seal.py` opens it. Migrations only add columns and tables;
removal comes one version later.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any, ClassVar

import orjson
import sqlalchemy as sa

UIDS_KEPT = 1 << 14  # a batch names each of its uids dozens of times
LONGEST_NAME = 800  # bytes
LARGEST = 128 << 20  # bytes of one value: PostgreSQL ends at a GiB, with all copies of it
TOO_LARGE = f"a value of more than {LARGEST >> 20} MiB"


class Kind(sa.TypeDecorator[Any]):
    """A kind of column. `put` and `get` are the way of a value that is not null in and out."""

    impl: Any = sa.LargeBinary
    cache_ok = True
    get: ClassVar[Any] = None  # values come as they are stored

    @staticmethod
    def put(value: Any) -> Any:
        """As it is stored; raises TypeError, ValueError or AttributeError."""
        raise NotImplementedError

    def process_bind_param(self, value: Any, dialect: Any) -> Any:  # noqa: ARG002
        """The same, for SQLAlchemy."""
        return None if value is None else self.put(value)


class Uid(Kind):
    """UUID text in Python, 16 bytes in the database."""

    impl = sa.LargeBinary(16)

    @staticmethod
    @lru_cache(UIDS_KEPT)
    def put(value: Any) -> bytes:
        """Text to bytes; raises ValueError where it is no canonical UUID."""
        raw = bytes.fromhex(value.replace("-", ""))
        if uid_text(raw) != value:
            raise ValueError(f"{value!r} is no UUID in canonical lower-case form")
        return raw

    @staticmethod
    @lru_cache(UIDS_KEPT)
    def get(raw: bytes) -> str:
        """Bytes to text."""
        return uid_text(raw)


def uid_text(raw: bytes) -> str:
    """16 bytes as canonical UUID text; a quarter of the time that `uuid.UUID` takes."""
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


class Doc(Kind):
    """Any JSON value, packed by orjson. JSON's own null is the column's null; NaN becomes null."""

    @staticmethod
    def put(value: Any) -> bytes:
        """Pack; keys in order, so that equal values are equal bytes. Raises TypeError."""
        # A copy of the right size: orjson's own bytes carry a buffer of 4 kB.
        packed = memoryview(orjson.dumps(value, option=_ONLY_JSON)).tobytes()
        if len(packed) > LARGEST:
            raise ValueError(TOO_LARGE)
        return packed

    get = orjson.loads


class Text(Kind):
    """Text that every database can hold: no NUL, no half of a surrogate pair."""

    # By code points, as SQLite sorts it, whatever the database does by itself.
    impl = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

    @staticmethod
    def put(value: Any) -> str:
        """The same text, of type str exactly; raises TypeError or ValueError."""
        text = value if type(value) is str else _plain_text(value)
        if "\0" in text:
            raise ValueError("text with a NUL character")
        if not text.isascii():
            text.encode()  # raises UnicodeEncodeError, a ValueError
        if len(text) > LARGEST:
            raise ValueError(TOO_LARGE)
        return text


class Name(Text):
    """Text that stands in a key or an index: PostgreSQL takes so much in a row of its trees.

    Of two or three names together it is still less than the 2704 bytes that such a row may have.
    """

    @staticmethod
    def put(value: Any) -> str:
        """The same text; raises TypeError, or ValueError where it is too long."""
        text = Text.put(value)
        if len(text) > LONGEST_NAME or (not text.isascii() and len(text.encode()) > LONGEST_NAME):
            raise ValueError(f"a name of more than {LONGEST_NAME} bytes")
        return text


def is_name(text: str) -> bool:
    """Whether every store can hold and look up this name."""
    try:
        Name.put(text)
    except ValueError:
        return False
    return True


def name_of(text: str) -> str:
    """A name for this text: itself, or a digest where it is too long for one."""
    if len(text.encode(errors="replace")) <= LONGEST_NAME:
        return text
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


class Int(Kind):
    """A whole number of 64 bits with sign; a flag is none."""

    impl = sa.BigInteger

    @staticmethod
    def put(value: Any) -> int:
        """The same number, of type int exactly; raises TypeError or ValueError."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{type(value).__name__} in place of int")
        if not -_INT_END <= value < _INT_END:
            raise ValueError("an integer beyond 64 bits")
        return int(value)


class Serial(Int):
    """A key that the database counts up; never given out twice."""

    # SQLite counts in no other type than INTEGER; PostgreSQL's INTEGER would end at 2^31.
    impl = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # type: ignore[assignment]


class Flag(Kind):
    """True or False."""

    impl = sa.Boolean

    @staticmethod
    def put(value: Any) -> bool:
        """The same; raises TypeError where it is no bool."""
        if not isinstance(value, bool):
            raise TypeError(f"{type(value).__name__} in place of bool")
        return value

    get = bool  # SQLite's 0 and 1


class Blob(Kind):
    """Bytes as they are."""

    @staticmethod
    def put(value: Any) -> bytes:
        """The same; raises TypeError where it is not bytes."""
        if not isinstance(value, bytes):
            raise TypeError(f"{type(value).__name__} in place of bytes")
        if len(value) > LARGEST:
            raise ValueError(TOO_LARGE)
        return value


class Digest(Blob):
    """Bytes that stand in a key."""

    @staticmethod
    def put(value: Any) -> bytes:
        """The same; raises TypeError, or ValueError where they are too many."""
        if len(Blob.put(value)) > LONGEST_NAME:
            raise ValueError(f"a key of more than {LONGEST_NAME} bytes")
        return bytes(value)


def _plain_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of str")
    return str.__str__(value)


_INT_END = 2**63
_ONLY_JSON = (
    orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)
Sealed = Blob
Ms = Int
METADATA = sa.MetaData()


def _key(name: str, kind: Any) -> sa.Column[Any]:
    # Else a lone whole number would count up by itself.
    return sa.Column(name, kind, primary_key=True, nullable=False, autoincrement=False)


def _must(name: str, kind: Any, default: Any = None) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, default=default)


def _may(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=True)


def _table(
    name: str,
    *parts: Any,
    index: tuple[tuple[str, ...], ...] = (),
    small: bool = False,
    of: tuple[str, ...] = (),
) -> sa.Table:
    """`small` rows live inside SQLite's tree of the primary key: one look-up, half the space.

    `of`: columns that name records; only who holds those may write the row (see `Rows.lock`).
    """
    named = [sa.Index(f"{name}_by_{'_'.join(columns)}", *columns) for columns in index]
    return sa.Table(
        name,
        METADATA,
        *parts,
        *named,
        sqlite_with_rowid=not small,
        sqlite_autoincrement=name == "outbox",
        info={"of": of},
    )


# -- what the tools are ------------------------------------------------------------------------
_table(
    "system",
    _key("name", Name),
    _must("vendor", Text),
    _must("account_id", Text),
    _must("live", Flag),
    _must("epoch", Int, 0),
    _must("writes", Flag, default=True),
    _must("time_zone", Text, "UTC"),
)
_table(
    "cursor",
    _key("system", Name),
    _key("stream", Name),
    _key("shard", Name),
    _must("value", Text),
    _must("at", Ms),
    small=True,
)
_table(
    "hint",
    _key("id", Name),
    _must("system", Name),
    _must("object", Text),
    _must("native_id", Name),
    _must("kind", Text),
    _must("state", Name),
    _must("at", Ms),
    _must("not_before", Ms, 0),
    _must("attempts", Int, 0),
    _may("answer", Text),
    _may("trace", Text),
    index=(("system", "state", "not_before"),),
)

# -- what was taken in: the truth --------------------------------------------------------------
_table(
    "input",
    _key("uid", Uid),
    _key("seq", Int),
    _must("kind", Text),
    _must("status", Name),
    _must("at", Ms),
    _must("start", Ms),
    _must("end", Ms),
    _may("revision", Int),
    _may("source_ms", Ms),
    _must("map_version", Text, ""),
    _must("cause", Text, ""),
    _may("run", Text),
    _may("by", Text),
    _must("trace", Text, ""),
    _must("body", Sealed),
    _may("raw", Sealed),
    index=(("status", "at"),),
    of=("uid",),
)
_table(
    "alias",
    _key("system", Name),
    _key("object", Name),
    _key("native_id", Name),
    _must("uid", Uid),
    index=(("uid",),),
    small=True,
)
_table("ruleset", _key("version", Int), _must("at", Ms), _must("by", Text), _must("doc", Doc))

# -- the fold of it: records, golden records, links --------------------------------------------
_table(
    "record",
    _key("uid", Uid),
    _must("local", Int),
    _must("entity", Name),
    _must("system", Name),
    _must("object", Name),
    _may("native_id", Name),
    _must("golden", Uid),
    _must("role", Text),
    _must("state", Name),
    _must("next_seq", Int),
    _must("folded", Int),
    _must("read_end", Ms, 0),
    _must("doc", Blob),
    sa.UniqueConstraint("local", name="record_local_once"),
    index=(("golden",), ("system", "object", "state"), ("entity", "state")),
    of=("uid",),
)
_table(
    "match_key",
    _key("entity", Name),
    _key("kind", Name),
    _key("digest", Digest),
    _key("uid", Uid),
    index=(("uid",),),
    small=True,
    of=("uid",),
)
_table(
    "edge",
    _key("a", Uid),
    _key("b", Uid),
    _key("kind", Name),
    _must("outcome", Name),
    _must("why", Text, ""),
    _must("at", Ms, 0),
    _must("by", Text, ""),
    _must("epoch", Int, 0),
    index=(("b",), ("outcome",)),
    small=True,
    of=("a", "b"),
)
_table(
    "golden",
    _key("uid", Uid),
    _must("entity", Text),
    _must("version", Int),
    _must("rules", Int),
    _may("merged_into", Uid),
    _must("at", Ms),
    _must("doc", Blob),
    index=(("merged_into", "uid"),),
    of=("uid",),
)
_table(
    "ended",  # golden records whose tombstone is not published yet
    _key("uid", Uid),
    _must("entity", Text),
    _must("at", Ms),
    index=(("at",),),
    small=True,
)
_table(
    "assoc",
    _key("uid", Uid),
    _key("entity", Name),
    _key("other", Uid),
    index=(("other",),),
    small=True,
    of=("uid",),
)
# -- what is to be written, and what was -------------------------------------------------------
_table(
    "slot",
    _key("uid", Uid),
    _must("system", Name),
    _must("object", Text),
    _may("dirty", Ms),
    _must("rank", Int, 0),
    _must("not_before", Ms, 0),
    _must("attempts", Int, 0),
    _must("holds", Doc),
    _must("held", Flag, default=False),
    _may("run", Text),
    index=(("system", "held", "dirty"),),
    of=("uid",),
)
_table(
    "wanted",
    _key("golden", Uid),
    _key("system", Name),
    _key("object", Name),
    _may("dirty", Ms),
    _must("not_before", Ms, 0),
    _must("attempts", Int, 0),
    _must("holds", Doc),
    _must("held", Flag, default=False),
    _may("run", Text),
    index=(("system", "held", "dirty"),),
    of=("golden",),
)
_table(
    "intent",
    _key("uid", Uid),
    _key("seq", Int),
    _must("system", Name),
    _must("object", Text),
    _must("golden", Uid),
    _must("op", Text),
    _must("status", Name),
    _must("at", Ms),
    _must("key", Name),
    _may("run", Text),
    _may("unknown_at", Ms),
    sa.UniqueConstraint("key", name="intent_key_once"),
    index=(("system", "status"), ("golden",)),
    of=("uid",),
)
_table(
    "run",
    _key("id", Name),
    _must("kind", Text),
    _must("cause", Text),
    _must("state", Text),
    _must("at", Ms),
    _must("doc", Doc),
)
_table(
    "run_row",
    _key("run", Name),
    _key("n", Int),
    _must("system", Text),
    _must("golden", Uid),
    _may("uid", Uid),
    _must("op", Text),
    _must("state", Name),
    _must("doc", Doc),
    index=(("run", "state"),),
)

# -- evidence ----------------------------------------------------------------------------------
_table(
    "history",
    _key("lane", Int),
    _key("n", Int),
    _must("golden", Uid),
    _must("version", Int),
    _must("at", Ms),
    _must("digest", Blob),
    _must("head", Doc),
    _must("body", Sealed),
    index=(("golden", "version"),),
)
_table("lane", _key("lane", Int), _must("n", Int), _must("head", Blob), small=True)
_table("subject_key", _key("uid", Uid), _must("wrapped", Blob), small=True, of=("uid",))

# -- transport, work, and what a person must see -----------------------------------------------
_table(
    "outbox",
    sa.Column("id", Serial, primary_key=True, autoincrement=True),
    _must("topic", Text),
    _must("key", Blob),
    _may("value", Blob),
    _must("headers", Doc),
    _must("at", Ms),
)
_table(
    "log",
    _key("topic", Name),
    _key("partition", Int),
    _key("offset", Int),
    _must("key", Blob),
    _may("value", Blob),
    _must("headers", Doc),
    _must("at", Ms),
)
_table(
    "position",
    _key("group", Name),
    _key("topic", Name),
    _key("partition", Int),
    _must("offset", Int),
    _must("epoch", Int, 0),
    small=True,
)
_table(
    "lease",
    _key("name", Name),
    _must("owner", Text),
    _must("epoch", Int),
    _must("expires", Ms),
    small=True,
)
_table(
    "budget",  # what is given out of an account's calls, and to whom (hub/io/budget.py)
    _key("account", Name),
    _must("free_at", Ms),
    _must("blocked_until", Ms),
    _must("takers", Doc),
    small=True,
)
_table(
    "task",
    _key("id", Name),
    _must("kind", Name),
    _must("state", Name),
    _must("at", Ms),
    _may("uid", Uid),
    _may("other", Uid),
    _may("system", Text),
    _must("why", Text),
    _must("doc", Doc),
    index=(("state", "kind", "at"), ("uid",), ("other",)),
)
_table(
    "parked",
    _key("id", Name),
    _must("kind", Name),
    _must("state", Name),
    _must("at", Ms),
    _may("uid", Uid),
    _may("system", Text),
    _must("why", Text),
    _may("body", Sealed),
    _must("doc", Doc),
    index=(("state", "kind", "at"), ("uid",)),
)
_table("recheck", _key("id", Name), _must("at", Ms), _must("uids", Doc))
# By what a transaction of PostgreSQL is known, when the answer to its commit was lost.
_table("mark", _key("id", Name), _must("n", Int), _must("at", Ms), small=True)
_table("counter", _key("system", Name), _key("name", Name), _must("n", Int), small=True)
_table("meta", _key("name", Name), _must("value", Text), small=True)
