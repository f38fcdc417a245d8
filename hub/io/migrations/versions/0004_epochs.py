"""A position belongs to whoever was given its partition last: the epoch tells who that is."""

import sqlalchemy as sa
from alembic import op

from hub.io.tables import Int

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Positions of the embedded log have one reader, and stay at epoch 0."""
    op.add_column("position", sa.Column("epoch", Int(), nullable=False, server_default="0"))
