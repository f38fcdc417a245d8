"""What several processes need that write into one store."""

import sqlalchemy as sa
from alembic import op

from hub.io.history import LANES, START
from hub.io.tables import Blob, Doc, Int, Text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """SQLite has one writer: it counts in the table `meta`, and lays lanes when it needs them."""
    op.create_table(
        "recheck",
        sa.Column("id", Text(), autoincrement=False, nullable=False),
        sa.Column("at", Int(), nullable=False),
        sa.Column("uids", Doc(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE number_local")
        lane = sa.table("lane", sa.column("lane", Int()), sa.column("n", Int()),
                        sa.column("head", Blob()))  # fmt: skip
        op.bulk_insert(lane, [{"lane": n, "n": 0, "head": START} for n in range(LANES)])
