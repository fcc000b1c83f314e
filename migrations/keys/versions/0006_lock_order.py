"""One order in which keys are locked: whoever publishes, rotates and shreds at once never waits in a circle."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute((Path(__file__).parent / "0006_keys.sql").read_text())
