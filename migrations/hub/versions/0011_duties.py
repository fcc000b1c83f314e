"""Duties: what was delivered under them, and recalls of it."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"

PARTS = ("0011_tables.sql", "0011_core.sql", "0011_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
