"""Rotation: DEKs are wrapped with the newest KEK of their group, former KEKs are destroyed once they wrap none, a root key is changed."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    connection = op.get_bind().connection.cursor()
    connection.execute((Path(__file__).parent / "0004_keys.sql").read_text())
