"""Agreements: their versions and steps, the clauses that PostgreSQL decides by, the keys and signatures of their parties."""

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from hub.tables.base import metadata, now_column, organisations

mous = sa.Table(
    "mous",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("mou", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("provider", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("consumer", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("in_force_from", sa.DateTime(timezone=True), nullable=False),
    sa.Column("in_force_until", sa.DateTime(timezone=True), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    now_column("loaded_at"),
    sa.Column("ordered_by", pg.JSONB),  # who had it come into force, as a leaf tells it
    sa.Column("document", sa.LargeBinary),  # what people read before they sign: made once, when it is proposed
    sa.Column("statement", sa.Text),  # what is signed (RFC 8785)
    sa.Column("suspended_by", sa.Integer, sa.ForeignKey(organisations.c.id)),  # null: the operator, or nobody
    now_column("stepped_at"),
    sa.UniqueConstraint("mou", "version"),
    sa.CheckConstraint(
        "state in ('draft', 'proposed', 'signed', 'activating', 'active', 'suspended', 'terminated', 'withdrawn', 'superseded')",
        name="mous_state",
    ),
)
party_keys = sa.Table(  # public halves; good for signatures once the party has offered one and an operator confirmed it
    "party_keys",
    metadata,
    sa.Column("kid", sa.Text, primary_key=True),
    sa.Column("organisation", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("jwk", pg.JSONB, nullable=False),
    sa.Column("proof", sa.Text, nullable=False),
    now_column("offered_at"),
    sa.Column("confirmed_at", sa.DateTime(timezone=True)),
    sa.Column("revoked_at", sa.DateTime(timezone=True)),
)
boundaries = sa.Table(  # boundary files by what they hold: an MOU pins them by this hash
    "boundaries",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("organisation", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    now_column("at"),
)
mou_signatures = sa.Table(
    "mou_signatures",
    metadata,
    sa.Column("mou_id", sa.Integer, sa.ForeignKey(mous.c.id), primary_key=True),
    sa.Column("organisation", sa.Integer, sa.ForeignKey(organisations.c.id), primary_key=True),
    sa.Column("kid", sa.Text, sa.ForeignKey(party_keys.c.kid), nullable=False),
    sa.Column("jws", sa.Text, nullable=False),
    now_column("at"),
)
mou_diffs = sa.Table(  # the newest effect diff of a version, and what it was worked out against
    "mou_diffs",
    metadata,
    sa.Column("mou_id", sa.Integer, sa.ForeignKey(mous.c.id), primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("basis", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)
mou_work = sa.Table(  # labels to put on or take off, one row a dataset: how far it is, in the order (2 km cell, id)
    "mou_work",
    metadata,
    sa.Column("mou_id", sa.Integer, sa.ForeignKey(mous.c.id), primary_key=True),
    sa.Column("dataset", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("provider", sa.Integer, nullable=False),
    sa.Column("adds", pg.ARRAY(sa.Integer), nullable=False),
    sa.Column("takes", pg.ARRAY(sa.Integer), nullable=False),
    sa.Column("k2", sa.Integer, nullable=False, server_default="-1"),
    sa.Column("id", pg.UUID, nullable=False, server_default="00000000-0000-0000-0000-000000000000"),
    sa.Column("touched", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("done", sa.Boolean, nullable=False, server_default=sa.false()),
)
grants = sa.Table(
    "grants",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("mou_id", sa.Integer, sa.ForeignKey(mous.c.id), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("dataset", sa.SmallInteger, nullable=False),
    sa.Column("purposes", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("actions", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("fields", pg.JSONB, nullable=False),
    sa.Column("lookback_s", sa.BigInteger),
    sa.Column("embargo_s", sa.BigInteger),
    sa.Column("case_required", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("duties", pg.JSONB),  # hub/policy/duties.py
    sa.Column("min_count", sa.Integer),  # of the counts that it gives; null: none
    sa.UniqueConstraint("mou_id", "name"),
)
refusals = sa.Table(  # ids count down from -1: labels hold those of grants too
    "refusals",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(start=-1, increment=-1), primary_key=True),
    sa.Column("mou_id", sa.Integer, sa.ForeignKey(mous.c.id), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("dataset", sa.SmallInteger, nullable=False),
    sa.Column("fields", pg.ARRAY(sa.Text)),  # null: whole records
    sa.UniqueConstraint("mou_id", "name"),
)
deliveries = sa.Table(  # what was given under grants with duties: one row for each access, MOU and way in which records were shown
    "deliveries",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("event", pg.UUID, nullable=False),
    sa.Column("recipient", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("provider", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("dataset", sa.SmallInteger, nullable=False),
    sa.Column("mou", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("grants", pg.ARRAY(sa.Integer), nullable=False),
    sa.Column("fields", pg.JSONB, nullable=False),  # how each was shown
    sa.Column("records", pg.ARRAY(pg.UUID), nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("retain_until", sa.DateTime(timezone=True)),
    sa.Column("acknowledge_s", sa.BigInteger, nullable=False),
    sa.Column("destroyed_at", sa.DateTime(timezone=True)),  # when the recipient attested that it is gone
)
sa.Index("deliveries_records", deliveries.c.records, postgresql_using="gin")
sa.Index("deliveries_recipient", deliveries.c.recipient, deliveries.c.mou, deliveries.c.at)
sa.Index("deliveries_provider", deliveries.c.provider, deliveries.c.mou)
recalls = sa.Table(  # notices to those who hold what was corrected, taken back or is no longer shared; `record` null: all of the MOU
    "recalls",
    metadata,
    sa.Column("id", pg.UUID, primary_key=True, server_default=sa.func.gen_random_uuid()),
    sa.Column("recipient", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("provider", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("dataset", sa.SmallInteger),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("record", pg.UUID),
    sa.Column("mou", sa.Text, nullable=False),
    now_column("at"),
    sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("acknowledged_at", sa.DateTime(timezone=True)),
    sa.Column("answer", sa.Text),
    sa.CheckConstraint("kind in ('correction', 'withdrawal', 'revocation', 'erasure')", name="recalls_kind"),
    sa.CheckConstraint("answer in ('corrected', 'destroyed', 'not-held')", name="recalls_answer"),
    sa.CheckConstraint("(answer is null) = (acknowledged_at is null)", name="recalls_answered"),
)
sa.Index("recalls_recipient", recalls.c.recipient, recalls.c.at)
sa.Index("recalls_provider", recalls.c.provider, recalls.c.at)
mou_areas = sa.Table(  # the boundaries an MOU pins, as they were when it was loaded: for maps of agreements; rules have their own
    "mou_areas",
    metadata,
    sa.Column("mou_id", sa.Integer, sa.ForeignKey(mous.c.id), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("area", Geometry("GEOMETRY", srid=4326, spatial_index=False), nullable=False),
)
policy_epoch = sa.Table(
    "policy_epoch",
    metadata,
    sa.Column("one", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.CheckConstraint("one", name="policy_epoch_one"),
)
seal_key = sa.Table("seal_key", metadata, sa.Column("k", sa.LargeBinary, nullable=False))
