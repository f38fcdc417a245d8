"""One budget for all processes that speak to an account."""

import sqlalchemy as sa
from alembic import op

from hub.io.tables import Doc, Int, Text

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Whoever asks first lays the row of an account; a process alone with its file needs none."""
    op.create_table(
        "budget",
        sa.Column("account", Text(), autoincrement=False, nullable=False),
        sa.Column("free_at", Int(), nullable=False),
        sa.Column("blocked_until", Int(), nullable=False),
        sa.Column("takers", Doc(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
