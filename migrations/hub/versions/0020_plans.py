"""What each access asks of the log, by functions whose plans are kept: PostgreSQL plans one in SQL anew at each call, which took longer
than the call.
"""

from pathlib import Path

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute("set role hub_owner")
    connection.execute((Path(__file__).parent / "0020_core.sql").read_text())
    connection.execute("reset role")
