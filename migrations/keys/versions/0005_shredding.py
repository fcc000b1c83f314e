"""Keys are destroyed: of records, and of retention buckets at once; backups are tracked until none holds them."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute((Path(__file__).parent / "0005_keys.sql").read_text())
