"""The life of an agreement: drafts, documents, signatures by keys that the parties hold, effect diffs, suspension."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"

PARTS = ("0007_tables.sql", "0007_core.sql", "0007_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
