"""The log: one leaf for each event and owner; what the key process signed of it; the tree over it, its checkpoints and witnesses."""

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from hub.tables.base import metadata, now_column

audit_leaves = sa.Table(
    "audit_leaves",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("event", pg.UUID, primary_key=True),  # begins with its time, so that a range of ids is a month
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
    postgresql_partition_by="RANGE (event)",
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

log_pending = sa.Table(  # what waits to be taken into the tree
    "log_pending",
    metadata,
    sa.Column("leaf", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),  # empty: the hub's own log
    sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
)

log_index = sa.Table(  # the leaves of the tree, in its order; what is here outlives the leaf's body
    "log_index",
    metadata,
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("leaf", sa.BigInteger),  # null: a heads leaf, which is in no list
    sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("n", sa.BigInteger),  # its place in the list of its owner
)
sa.Index("log_index_leaf_hash", log_index.c.leaf_hash)
sa.Index("log_index_leaf", log_index.c.leaf, postgresql_where=log_index.c.leaf.is_not(None))
sa.Index("log_index_owner_n", log_index.c.owner, log_index.c.n, postgresql_where=log_index.c.owner.is_not(None))

heads_leaves = sa.Table(  # the sequencer's own leaves, by their place in the tree: they are no events
    "heads_leaves",
    metadata,
    sa.Column("idx", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("leaf", sa.Text, nullable=False),
    sa.CheckConstraint("octet_length(leaf) <= 65535", name="heads_leaves_size"),
)

log_tiles = sa.Table(  # hub/audit/tiles.py: of level 0 those that are full
    "log_tiles",
    metadata,
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)

log_heads = sa.Table(  # hub/audit/heads.py: of each owner the last
    "log_heads",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("chain", sa.LargeBinary, nullable=False),
)

log_state = sa.Table(
    "log_state",
    metadata,
    sa.Column("one", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("whole_at", sa.DateTime(timezone=True), nullable=False),  # when a heads leaf last told of every owner
    sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),  # when the sequencer last looked
    sa.CheckConstraint("one", name="log_state_one"),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

witnesses = sa.Table(
    "witnesses",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),  # its verifier key
    now_column("added_at"),
    sa.Column("removed_at", sa.DateTime(timezone=True)),
)

cosignatures = sa.Table(
    "cosignatures",
    metadata,
    sa.Column("witness", sa.Text, sa.ForeignKey("hub.witnesses.name"), primary_key=True),
    sa.Column("size", sa.BigInteger, sa.ForeignKey("hub.checkpoints.size"), primary_key=True, autoincrement=False),
    sa.Column("line", sa.Text, nullable=False),
    now_column("at"),
)
sa.Index("cosignatures_size", cosignatures.c.size)

log_alarms = sa.Table(
    "log_alarms",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("about", sa.Text, primary_key=True),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), primary_key=True, server_default=sa.func.now()),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
)
