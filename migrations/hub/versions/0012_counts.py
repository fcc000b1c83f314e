"""Counts without a right to the records."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"

PARTS = ("0012_tables.sql", "0012_core.sql", "0012_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
