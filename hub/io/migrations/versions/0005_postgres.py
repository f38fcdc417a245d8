"""What only PostgreSQL needs: numbers that several processes count."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """SQLite counts in the table `meta`, which one process has for itself."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE number_local")
