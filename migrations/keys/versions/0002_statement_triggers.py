"""A DEK's KEK is asked for once a statement instead of once a row: the foreign key cost as much as the rest of the insert."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute((Path(__file__).parent / "0002_keys.sql").read_text())
