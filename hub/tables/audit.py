"""The log: one leaf for each event and owner."""

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from hub.tables.base import metadata

audit_leaves = sa.Table(
    "audit_leaves",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("event", pg.UUID, nullable=False),
    sa.Column("part", sa.Integer, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("organisation", sa.Text),
    sa.Column("owner", sa.Text),
    sa.Column("extent", Geometry("POLYGON", srid=4326, spatial_index=False)),
    sa.Column("leaf", sa.Text, nullable=False),
    sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
    sa.Column("terms", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),  # hub.leaf_terms(leaf): what a review filters by
    sa.UniqueConstraint("event", "owner", "part", postgresql_nulls_not_distinct=True),
    sa.CheckConstraint("octet_length(leaf) <= 65535", name="audit_leaves_size"),
)
sa.Index("audit_leaves_owner_at", audit_leaves.c.owner, audit_leaves.c.at.desc())
sa.Index("audit_leaves_at", audit_leaves.c.at.desc())
sa.Index("audit_leaves_extent", audit_leaves.c.extent, postgresql_using="gist")
sa.Index("audit_leaves_terms", audit_leaves.c.terms, postgresql_using="gin")
