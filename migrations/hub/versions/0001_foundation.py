"""Roles, tables, the audit log, the sealed context, and the first dataset with its released views.

The SQL beside this file is frozen: it is what this revision did, whatever the catalogue says later.
"""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

PARTS = ("0001_tables.sql", "0001_core.sql", "0001_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute((here / "0001_roles.sql").read_text())
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
