"""The log as a Merkle tree: by months, with what waits to be taken in, checkpoints, witnesses."""

from pathlib import Path

from alembic import op

revision = "0017"
down_revision = "0016"

PARTS = ("0017_tables.sql", "0017_core.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute((here / "0017_roles.sql").read_text())
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
