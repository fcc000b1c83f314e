"""Refusals: clauses that win over every grant, labelled as grants are."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"

PARTS = ("0006_tables.sql", "0006_core.sql", "0006_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
