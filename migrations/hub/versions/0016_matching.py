"""Exact lookups by blind indexes."""

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0015"

PARTS = ("0016_tables.sql", "0016_core.sql", "0016_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
