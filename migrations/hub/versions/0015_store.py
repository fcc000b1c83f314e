"""What a publication's root was made of is kept beside its leaf, and the auditor may compare the store with it."""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0014"

PARTS = ("0015_tables.sql", "0015_core.sql", "0015_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
