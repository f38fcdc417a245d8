"""The tables of the core model."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# Text sorts by code points, as in SQLite, whatever the database does.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "alias",
        sa.Column("system", TEXT, autoincrement=False, nullable=False),
        sa.Column("object", TEXT, autoincrement=False, nullable=False),
        sa.Column("native_id", TEXT, autoincrement=False, nullable=False),
        sa.Column("uid", sa.LargeBinary(16), nullable=False),
        sa.PrimaryKeyConstraint("system", "object", "native_id"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_index("alias_by_uid", "alias", ["uid"], unique=False)
    op.create_table(
        "assoc",
        sa.Column("uid", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("entity", TEXT, autoincrement=False, nullable=False),
        sa.Column("other", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("uid", "entity", "other"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_index("assoc_by_other", "assoc", ["other"], unique=False)
    op.create_table(
        "counter",
        sa.Column("system", TEXT, autoincrement=False, nullable=False),
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("system", "name"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cursor",
        sa.Column("system", TEXT, autoincrement=False, nullable=False),
        sa.Column("stream", TEXT, autoincrement=False, nullable=False),
        sa.Column("shard", TEXT, autoincrement=False, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("system", "stream", "shard"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "edge",
        sa.Column("a", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("b", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, autoincrement=False, nullable=False),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("a", "b", "kind"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_index("edge_by_b", "edge", ["b"], unique=False)
    op.create_index("edge_by_outcome", "edge", ["outcome"], unique=False)
    op.create_table(
        "golden",
        sa.Column("uid", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("entity", TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("rules", sa.BigInteger(), nullable=False),
        sa.Column("merged_into", sa.LargeBinary(16), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index("golden_by_entity", "golden", ["entity"], unique=False)
    op.create_table(
        "hint",
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("system", TEXT, nullable=False),
        sa.Column("object", TEXT, nullable=False),
        sa.Column("native_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("answer", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index(
        "hint_by_system_state_not_before", "hint", ["system", "state", "not_before"], unique=False
    )
    op.create_table(
        "history",
        sa.Column("lane", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("golden", sa.LargeBinary(16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("lane", "n"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index("history_by_golden_version", "history", ["golden", "version"], unique=False)
    op.create_table(
        "input",
        sa.Column("uid", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=True),
        sa.Column("source_ms", sa.BigInteger(), nullable=True),
        sa.Column("map_version", TEXT, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("run", TEXT, nullable=True),
        sa.Column("by", TEXT, nullable=True),
        sa.Column("trace", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("uid", "seq"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index("input_by_status_at", "input", ["status", "at"], unique=False)
    op.create_table(
        "intent",
        sa.Column("uid", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("system", TEXT, nullable=False),
        sa.Column("object", TEXT, nullable=False),
        sa.Column("golden", sa.LargeBinary(16), nullable=False),
        sa.Column("op", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("run", TEXT, nullable=True),
        sa.Column("unknown_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("uid", "seq"),
        sa.UniqueConstraint("key", name="intent_key_once"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index("intent_by_golden", "intent", ["golden"], unique=False)
    op.create_index("intent_by_system_status", "intent", ["system", "status"], unique=False)
    op.create_table(
        "lane",
        sa.Column("lane", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("lane"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lease",
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log",
        sa.Column("topic", TEXT, autoincrement=False, nullable=False),
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "offset"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "match_key",
        sa.Column("entity", TEXT, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), autoincrement=False, nullable=False),
        sa.Column("uid", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("entity", "kind", "digest", "uid"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_index("match_key_by_uid", "match_key", ["uid"], unique=False)
    op.create_table(
        "meta",
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "parked",
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.LargeBinary(16), nullable=True),
        sa.Column("system", TEXT, nullable=True),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("doc", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index("parked_by_state", "parked", ["state"], unique=False)
    op.create_index("parked_by_uid", "parked", ["uid"], unique=False)
    op.create_table(
        "position",
        sa.Column("group", TEXT, autoincrement=False, nullable=False),
        sa.Column("topic", TEXT, autoincrement=False, nullable=False),
        sa.Column("partition", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("group", "topic", "partition"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "record",
        sa.Column("uid", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("local", sa.BigInteger(), nullable=False),
        sa.Column("entity", TEXT, nullable=False),
        sa.Column("system", TEXT, nullable=False),
        sa.Column("object", TEXT, nullable=False),
        sa.Column("native_id", TEXT, nullable=True),
        sa.Column("golden", sa.LargeBinary(16), nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("next_seq", sa.BigInteger(), nullable=False),
        sa.Column("folded", sa.BigInteger(), nullable=False),
        sa.Column("read_end", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("local", name="record_local_once"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index("record_by_entity_state", "record", ["entity", "state"], unique=False)
    op.create_index("record_by_golden", "record", ["golden"], unique=False)
    op.create_index(
        "record_by_system_object_state", "record", ["system", "object", "state"], unique=False
    )
    op.create_table(
        "ruleset",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("doc", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "run",
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("cause", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("doc", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "run_row",
        sa.Column("run", TEXT, autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("system", TEXT, nullable=False),
        sa.Column("golden", sa.LargeBinary(16), nullable=False),
        sa.Column("uid", sa.LargeBinary(16), nullable=True),
        sa.Column("op", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("doc", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run", "n"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index("run_row_by_run_state", "run_row", ["run", "state"], unique=False)
    op.create_table(
        "slot",
        sa.Column("uid", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("system", TEXT, nullable=False),
        sa.Column("object", TEXT, nullable=False),
        sa.Column("dirty", sa.BigInteger(), nullable=True),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("holds", sa.LargeBinary(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("run", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("uid"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index("slot_by_system_held_dirty", "slot", ["system", "held", "dirty"], unique=False)
    op.create_table(
        "subject_key",
        sa.Column("uid", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "system",
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("vendor", TEXT, nullable=False),
        sa.Column("account_id", TEXT, nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("writes", sa.Boolean(), nullable=False),
        sa.Column("time_zone", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_table(
        "task",
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.LargeBinary(16), nullable=True),
        sa.Column("other", sa.LargeBinary(16), nullable=True),
        sa.Column("system", TEXT, nullable=True),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("doc", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index("task_by_kind_state", "task", ["kind", "state"], unique=False)
    op.create_index("task_by_uid", "task", ["uid"], unique=False)
    op.create_table(
        "wanted",
        sa.Column("golden", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("system", TEXT, autoincrement=False, nullable=False),
        sa.Column("object", TEXT, autoincrement=False, nullable=False),
        sa.Column("dirty", sa.BigInteger(), nullable=True),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("holds", sa.LargeBinary(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("run", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("golden", "system", "object"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=True,
    )
    op.create_index(
        "wanted_by_system_held_dirty", "wanted", ["system", "held", "dirty"], unique=False
    )
