"""MOUs come into force in batches, by a role of their own: nobody runs as the owner while the hub serves."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"

PARTS = ("0005_tables.sql", "0005_core.sql", "0005_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute((here / "0005_roles.sql").read_text())
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
