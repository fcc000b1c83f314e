"""Flags with their triage, and access reviews with their sign-off."""

from pathlib import Path

from alembic import op

revision = "0019"
down_revision = "0018"

PARTS = ("0019_tables.sql", "0019_core.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
