"""What several processes need that write into one store."""

import sqlalchemy as sa
from alembic import op

from hub.io.history import LANES, START
from hub.io.tables import Doc, Int, Text

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
        columns: tuple[sa.ColumnClause[object], ...] = (
            sa.column("lane"),
            sa.column("n"),
            sa.column("head", sa.LargeBinary()),
        )
        lanes = [{"lane": n, "n": 0, "head": START} for n in range(LANES)]
        op.bulk_insert(sa.table("lane", *columns), lanes)
