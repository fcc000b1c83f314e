"""What all tables share: the schemas, columns of the same kind, and the organisations that others point to."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

SCHEMA = "hub"
metadata = sa.MetaData(schema=SCHEMA)
keys_metadata = sa.MetaData(schema="keys")


def now_column(name: str) -> "sa.Column[Any]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


organisations = sa.Table(
    "organisations",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("uid", pg.UUID, unique=True, nullable=False, server_default=sa.func.gen_random_uuid()),
    sa.Column("slug", sa.Text, unique=True, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("area", pg.ARRAY(sa.Float)),
    now_column("created_at"),
    sa.CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{1,62}$'", name="organisations_slug"),
    sa.CheckConstraint("kind in ('partner', 'auditor')", name="organisations_kind"),
)
