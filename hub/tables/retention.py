"""How long records are kept, what keeps them longer, and what was destroyed."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from hub.tables.base import metadata, now_column, organisations

retention = sa.Table(  # an organisation's rule for one dataset; without one its records are kept until it shreds them
    "retention",
    metadata,
    sa.Column("provider", sa.Integer, sa.ForeignKey(organisations.c.id), primary_key=True),
    sa.Column("dataset", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("months", sa.Integer, nullable=False),
    now_column("since"),
    sa.CheckConstraint("months between 1 and 1200", name="retention_months"),
)
holds = sa.Table(  # legal holds: of one record, or (record null) of all that occurred from `since` to before `until`
    "holds",
    metadata,
    sa.Column("id", pg.UUID, primary_key=True),
    sa.Column("provider", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("dataset", sa.SmallInteger, nullable=False),
    sa.Column("record", pg.UUID),
    sa.Column("since", sa.DateTime(timezone=True)),
    sa.Column("until", sa.DateTime(timezone=True)),
    sa.Column("reference", sa.Text, nullable=False),  # of the case or order, in the owner's words
    now_column("placed_at"),
    sa.Column("released_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("record is null or (since is null and until is null)", name="holds_one_or_many"),
)
sa.Index("holds_in_force", holds.c.provider, holds.c.dataset, holds.c.record, postgresql_where=holds.c.released_at.is_(None))
shreds = sa.Table(  # orders to destroy; each has one leaf. The key process carries them out
    "shreds",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("event", pg.UUID, nullable=False, unique=True),
    sa.Column("provider", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("dataset", sa.SmallInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("records", sa.Integer, nullable=False),
    now_column("at"),
    sa.Column("keys_gone_at", sa.DateTime(timezone=True)),
    sa.Column("complete_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("kind in ('request', 'rule', 'retention')", name="shreds_kind"),
)
sa.Index("shreds_pending", shreds.c.id, postgresql_where=shreds.c.keys_gone_at.is_(None))
sa.Index("shreds_provider", shreds.c.provider, shreds.c.id)
