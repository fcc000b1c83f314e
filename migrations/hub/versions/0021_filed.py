"""A leaf is filed under what it says, and what has expired is what a leaf says; months are made without keeping the log waiting."""

from pathlib import Path

from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in ("0021_tables.sql", "0021_core.sql"):
        connection.execute((Path(__file__).parent / part).read_text())
    connection.execute("reset role")
