"""A leaf is filed under what it says; months are made without keeping the log waiting."""

from pathlib import Path

from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    connection.execute((Path(__file__).parent / "0021_core.sql").read_text())
    connection.execute("reset role")
