"""A version of an MOU begins as a draft, whoever adds it; one that comes into force can be withdrawn; none replaces a suspended one."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    connection.execute((Path(__file__).parent / "0009_core.sql").read_text())
    connection.execute("reset role")
