"""The key process looks up what the log shows, and signs it."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"

PARTS = ("0013_tables.sql", "0013_core.sql", "0013_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute((here / "0013_roles.sql").read_text())
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
