"""Shredding is whole: what destroys, or lets destroy, is in the log; no tag is written of what is shredded; a first revision is of a record
that never was, so nothing stands in the way of its shredding.
"""

from pathlib import Path

from alembic import op

revision = "0023"
down_revision = "0022"

PARTS = ("0023_core.sql", "0023_incidents.sql")


def upgrade() -> None:
    here = Path(__file__).parent
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    for part in PARTS:
        connection.execute((here / part).read_text())
    connection.execute("reset role")
