"""The trace of a record: every clause of its provider, and what the record doesn't meet."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    connection.execute((Path(__file__).parent / "0008_incidents.sql").read_text())
    connection.execute("reset role")
