"""What tells whether a commit was kept whose answer was lost; only PostgreSQL has such."""

import sqlalchemy as sa
from alembic import op

from hub.io.tables import Int, Text

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """A row for each connection."""
    op.create_table(
        "mark",
        sa.Column("id", Text(), autoincrement=False, nullable=False),
        sa.Column("n", Int(), nullable=False),
        sa.Column("at", Int(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
