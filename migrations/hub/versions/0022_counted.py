"""The key process counts by person, not by session: whoever signs out and in again begins no new count."""

from pathlib import Path

from alembic import op

revision = "0022"
down_revision = "0021"

PARTS = ("0022_core.sql", "0022_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
