"""A hint remembers the trace that a webhook came with."""

import sqlalchemy as sa
from alembic import op

from hub.io.tables import Text

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Hints from before have none; an older version beside this one leaves it empty."""
    op.add_column("hint", sa.Column("trace", Text(), nullable=True))
