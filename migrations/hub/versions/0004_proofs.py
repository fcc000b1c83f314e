"""When a session's person last proved themself; who asked for a challenge, so that nobody fills the table."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    connection.execute(Path(__file__).with_name("0004_tables.sql").read_text())
    connection.execute("reset role")
