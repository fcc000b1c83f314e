"""Retention, legal holds, and records that are destroyed for good."""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"

PARTS = ("0014_tables.sql", "0014_core.sql", "0014_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
