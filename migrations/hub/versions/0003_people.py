"""People, their passkeys and sessions; shared maps; areas of agreements; terms by which the log is reviewed."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"

PARTS = ("0003_tables.sql", "0003_core.sql", "0003_terms.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
