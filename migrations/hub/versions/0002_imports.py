"""Withdrawal (tombstones), import jobs, replies kept for Idempotency-Key; the store takes arrays instead of an inbox."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

PARTS = ("0002_tables.sql", "0002_core.sql", "0002_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
