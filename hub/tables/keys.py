"""The database of keys: key-encryption keys, the wrapped data keys of records, what was shredded, what was backed up, and the leaves that
were signed before keys were lent.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from hub.tables.base import keys_metadata, now_column

kek = sa.Table(
    "kek",
    keys_metadata,
    sa.Column("kek_id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("owner", pg.UUID, nullable=False),
    sa.Column("class", sa.SmallInteger, nullable=False),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    now_column("created_at"),
    sa.Column("destroyed_at", sa.DateTime(timezone=True)),  # then `wrapped` is empty; the row goes when no DEK names it
    sa.CheckConstraint("destroyed_at is null or octet_length(wrapped) = 0", name="kek_destroyed"),
    sa.UniqueConstraint("owner", "class", "bucket", "epoch"),
)
dek = sa.Table(
    "dek",
    keys_metadata,
    sa.Column("record", pg.UUID, primary_key=True),
    sa.Column("class", sa.SmallInteger, primary_key=True),
    sa.Column("rev", sa.Integer, primary_key=True),
    sa.Column("kek_id", sa.Integer, nullable=False),  # a trigger asks for the key once a statement; a foreign key would, once a row
    sa.Column("row", sa.LargeBinary, nullable=False),
    sa.CheckConstraint('octet_length("row") = 98', name="dek_row"),
)
sa.Index("dek_kek", dek.c.kek_id)
shredded = sa.Table(  # records whose DEKs were deleted: none is taken for them again, nor brought back by a restored backup
    "shredded",
    keys_metadata,
    sa.Column("record", pg.UUID, primary_key=True),
    now_column("at"),
)
backups = sa.Table(  # copies of this database that the operator made, until they are destroyed
    "backups",
    keys_metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    now_column("made_at"),
    sa.Column("sha256", sa.LargeBinary),  # of one that was broken off: null
    sa.Column("note", sa.Text),
    sa.Column("destroyed_at", sa.DateTime(timezone=True)),
)
signed = sa.Table(
    "signed",
    keys_metadata,
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event", pg.UUID, nullable=False),
    sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
    sa.Column("chain", sa.LargeBinary, nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    now_column("at"),
)
