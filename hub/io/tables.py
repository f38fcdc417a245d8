"""The tables, once, for every store: SQLite, PostgreSQL, and the plain dict twin read this file.

Times are integers, milliseconds since 1970 UTC. A `Uid` is 16 bytes in the database and its
canonical lower-case text (36 characters) in Python; both sort alike. A `Doc` is packed JSON.
A `Sealed` is ciphertext: only `hub/io/seal.py` opens it. Migrations only add columns and tables;
removal comes one version later.
"""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import sqlalchemy as sa


class Uid(sa.TypeDecorator[str]):
    """UUID text in Python, 16 bytes in the database."""

    impl = sa.LargeBinary(16)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> bytes | None:  # noqa: ARG002
        """Text to bytes; raises ValueError where it is no UUID."""
        return None if value is None else uuid.UUID(value).bytes

    def process_result_value(self, value: bytes | None, dialect: Any) -> str | None:  # noqa: ARG002
        """Bytes to text."""
        return None if value is None else str(uuid.UUID(bytes=bytes(value)))


class Doc(sa.TypeDecorator[Any]):
    """Any JSON value, packed by orjson."""

    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> bytes | None:  # noqa: ARG002
        """Pack; keys in order, so that equal values are equal bytes."""
        return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS)

    def process_result_value(self, value: bytes | None, dialect: Any) -> Any:  # noqa: ARG002
        """Unpack."""
        return None if value is None else orjson.loads(value)


Sealed = sa.LargeBinary
Ms = sa.BigInteger
METADATA = sa.MetaData()


def _key(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, nullable=False)


def _must(name: str, kind: Any, default: Any = None) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, default=default)


def _may(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=True)


def _table(name: str, *parts: Any, index: tuple[tuple[str, ...], ...] = ()) -> sa.Table:
    named = [sa.Index(f"{name}_by_{'_'.join(columns)}", *columns) for columns in index]
    return sa.Table(name, METADATA, *parts, *named)


Text, Int, Flag, Blob = sa.Text, sa.BigInteger, sa.Boolean, sa.LargeBinary

# -- what the tools are ------------------------------------------------------------------------
_table("system", _key("name", Text), _must("vendor", Text), _must("account_id", Text),
       _must("live", Flag), _must("epoch", Int, 0), _must("writes", Flag, True),
       _must("time_zone", Text, "UTC"))
_table("cursor", _key("system", Text), _key("stream", Text), _key("shard", Text),
       _must("value", Text), _must("at", Ms))
_table("hint", _key("id", Text), _must("system", Text), _must("object", Text),
       _must("native_id", Text), _must("kind", Text), _must("state", Text), _must("at", Ms),
       _must("not_before", Ms, 0), _must("attempts", Int, 0), _may("answer", Text),
       _may("detail", Text), index=(("system", "state", "not_before"),))

# -- what was taken in: the truth --------------------------------------------------------------
_table("input", _key("uid", Uid), _key("seq", Int), _must("kind", Text), _must("status", Text),
       _must("at", Ms), _must("start", Ms), _must("end", Ms), _may("revision", Int),
       _may("source_ms", Ms), _must("map_version", Text, ""), _must("cause", Text, ""),
       _may("run", Text), _may("by", Text), _must("body", Sealed), _may("raw", Sealed),
       index=(("status",),))
_table("alias", _key("system", Text), _key("object", Text), _key("native_id", Text),
       _must("uid", Uid), index=(("uid",),))
_table("verdict", _key("id", Text), _must("a", Uid), _must("b", Uid), _must("same", Flag),
       _must("at", Ms), _must("by", Text), index=(("a",), ("b",)))
_table("ruleset", _key("version", Int), _must("at", Ms), _must("by", Text), _must("doc", Doc))

# -- the fold of it: records, golden records, links --------------------------------------------
_table("record", _key("uid", Uid), _must("local", Int), _must("entity", Text),
       _must("system", Text), _must("object", Text), _may("native_id", Text),
       _must("golden", Uid), _must("role", Text), _must("state", Text),
       _must("next_seq", Int), _must("folded", Int), _must("read_end", Ms, 0), _must("doc", Doc),
       sa.UniqueConstraint("local"),
       index=(("golden",), ("system", "object", "state"), ("entity", "state")))
_table("match_key", _key("entity", Text), _key("kind", Text), _key("digest", Blob),
       _key("uid", Uid), index=(("uid",),))
_table("edge", _key("a", Uid), _key("b", Uid), _key("kind", Text), _must("outcome", Text),
       _must("why", Text, ""), _must("at", Ms, 0), _must("by", Text, ""), _must("epoch", Int, 0),
       index=(("b",), ("outcome",)))
_table("golden", _key("uid", Uid), _must("entity", Text), _must("version", Int),
       _must("rules", Int), _may("merged_into", Uid), _must("at", Ms), _must("doc", Doc),
       index=(("entity",),))
_table("assoc", _key("uid", Uid), _key("entity", Text), _key("other", Uid), index=(("other",),))
_table("consent", _key("uid", Uid), _key("seq", Int), _key("cell", Text), _must("kind", Text),
       _must("at", Ms), _may("address", Blob), _must("doc", Doc), index=(("address",),))

# -- what is to be written, and what was -------------------------------------------------------
_table("slot", _key("uid", Uid), _must("system", Text), _must("object", Text),
       _may("dirty", Ms), _must("rank", Int, 0), _must("not_before", Ms, 0),
       _must("attempts", Int, 0), _must("holds", Doc),
       index=(("system", "dirty"),))
_table("wanted", _key("golden", Uid), _key("system", Text), _key("object", Text),
       _may("dirty", Ms), _must("not_before", Ms, 0), _must("attempts", Int, 0),
       _must("holds", Doc), index=(("system", "dirty"),))
_table("intent", _key("uid", Uid), _key("seq", Int), _must("system", Text),
       _must("object", Text), _must("golden", Uid), _must("op", Text), _must("status", Text),
       _must("at", Ms), _must("key", Text), _may("run", Text), _may("unknown_at", Ms),
       sa.UniqueConstraint("key"), index=(("system", "status"), ("golden",)))
_table("run", _key("id", Text), _must("kind", Text), _must("cause", Text), _must("state", Text),
       _must("at", Ms), _must("doc", Doc))
_table("run_row", _key("run", Text), _key("n", Int), _must("system", Text),
       _must("golden", Uid), _may("uid", Uid), _must("op", Text), _must("state", Text),
       _must("doc", Doc), index=(("run", "state"),))

# -- evidence ----------------------------------------------------------------------------------
_table("history", _key("lane", Int), _key("n", Int), _must("golden", Uid), _must("version", Int),
       _must("at", Ms), _must("digest", Blob), _must("head", Doc), _must("body", Sealed),
       index=(("golden", "version"),))
_table("lane", _key("lane", Int), _must("n", Int), _must("head", Blob))
_table("subject_key", _key("uid", Uid), _must("wrapped", Blob))

# -- transport, work, and what a person must see -----------------------------------------------
_table("outbox", sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
       _must("topic", Text), _must("key", Blob), _may("value", Blob), _must("headers", Doc),
       _must("at", Ms))
_table("log", _key("topic", Text), _key("partition", Int), _key("offset", Int),
       _must("key", Blob), _may("value", Blob), _must("headers", Doc), _must("at", Ms))
_table("position", _key("group", Text), _key("topic", Text), _key("partition", Int),
       _must("offset", Int))
_table("lease", _key("name", Text), _must("owner", Text), _must("epoch", Int),
       _must("expires", Ms))
_table("task", _key("id", Text), _must("kind", Text), _must("state", Text), _must("at", Ms),
       _may("uid", Uid), _may("other", Uid), _may("system", Text), _must("why", Text),
       _must("doc", Doc), index=(("kind", "state"), ("uid",)))
_table("parked", _key("id", Text), _must("kind", Text), _must("state", Text), _must("at", Ms),
       _may("uid", Uid), _may("system", Text), _must("why", Text), _may("body", Sealed),
       _must("doc", Doc), index=(("state",), ("uid",)))
_table("counter", _key("system", Text), _key("name", Text), _must("n", Int))
_table("meta", _key("name", Text), _must("value", Text))
