"""Grants among the terms by which the log is reviewed; saved searches."""

from pathlib import Path

from alembic import op

revision = "0018"
down_revision = "0017"

PARTS = ("0018_tables.sql", "0018_core.sql", "0018_terms.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
