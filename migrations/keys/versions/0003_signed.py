"""The key process counts and chains the leaves that it signs before it lends a key."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute((Path(__file__).parent / "0003_keys.sql").read_text())
