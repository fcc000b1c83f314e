"""The log: one leaf for each event and owner; and what the key process signed of it."""

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

leaf_signatures = sa.Table(
    "leaf_signatures",
    metadata,
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event", pg.UUID, nullable=False),
    sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
    sa.Column("chain", sa.LargeBinary, nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False),  # the public half, so that a former key's signatures can be told apart
    sa.Column("signature", sa.LargeBinary, nullable=False),
    sa.CheckConstraint(
        "octet_length(leaf_hash) = 32 and octet_length(chain) = 32 and octet_length(key) = 32 and octet_length(signature) = 64",
        name="leaf_signatures_sizes",
    ),
)
sa.Index("leaf_signatures_leaf", leaf_signatures.c.leaf_hash)

leaf_entries = sa.Table(  # what the root in a publication's leaf was made of, and of which records: tells which one no longer fits
    "leaf_entries",
    metadata,
    sa.Column("event", pg.UUID, primary_key=True),
    sa.Column("entries", sa.LargeBinary, nullable=False),  # hub/audit/entries.py
)
