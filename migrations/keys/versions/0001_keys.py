"""Key-encryption keys (wrapped by the root key) and wrapped data keys; one role that reaches nothing else."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute((Path(__file__).parent / "0001_keys.sql").read_text())
