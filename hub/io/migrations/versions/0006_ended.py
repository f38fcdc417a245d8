"""Golden records that ended, until their tombstone is published."""

import sqlalchemy as sa
from alembic import op

from hub.io.tables import Text

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Those that ended before this version get one as well."""
    op.create_table(
        "ended",
        sa.Column("uid", sa.LargeBinary(16), autoincrement=False, nullable=False),
        sa.Column("entity", Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sqlite_autoincrement=False,
        sqlite_with_rowid=False,
    )
    op.create_index("ended_by_at", "ended", ["at"], unique=False)
    op.execute(
        "INSERT INTO ended (uid, entity, at) "
        "SELECT uid, entity, at FROM golden WHERE merged_into IS NOT NULL"
    )
