"""One question for each pair of customers, found from either side."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Index the other side; each pair was asked of both sides, and one of the two is enough."""
    op.create_index("task_by_other", "task", ["other"], unique=False)
    op.execute("UPDATE task SET state = 'done' WHERE kind = 'duplicate' AND uid > other")
