"""What publishing and reading keep beside the records: shared maps, saved searches, imports, replies."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from hub.tables.base import metadata, now_column, organisations
from hub.tables.identity import people

shared_maps = sa.Table(
    "shared_maps",
    metadata,
    sa.Column("id", pg.UUID, primary_key=True, server_default=sa.func.gen_random_uuid()),
    sa.Column("organisation", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("person", pg.UUID, sa.ForeignKey(people.c.id), nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("query", pg.JSONB, nullable=False),
    now_column("created_at"),
)
sa.Index("shared_maps_organisation", shared_maps.c.organisation, shared_maps.c.created_at.desc())
saved_searches = sa.Table(  # of the log
    "saved_searches",
    metadata,
    sa.Column("id", pg.UUID, primary_key=True, server_default=sa.func.gen_random_uuid()),
    sa.Column("organisation", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("person", pg.UUID, sa.ForeignKey(people.c.id), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("query", pg.JSONB, nullable=False),  # what is filled in of the log's form: no word of a record
    sa.Column("shared", sa.Boolean, nullable=False),  # with the organisation
    now_column("created_at"),
)
sa.Index("saved_searches_organisation", saved_searches.c.organisation)
imports = sa.Table(
    "imports",
    metadata,
    sa.Column("id", pg.UUID, primary_key=True),
    sa.Column("provider", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("dataset", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("order_mac", sa.LargeBinary, nullable=False),  # keyed: of the mapping and the file's digest
    sa.Column("digest_mac", sa.LargeBinary),
    sa.Column("order_sealed", sa.LargeBinary),  # gone when the import ends
    sa.Column("length", sa.BigInteger),
    sa.Column("position", pg.JSONB, nullable=False),
    sa.Column("counts", pg.JSONB, nullable=False),
    sa.Column("problem", pg.JSONB),
    now_column("created_at"),
    now_column("updated_at"),
    sa.CheckConstraint("state in ('open', 'done', 'failed', 'cancelled')", name="imports_state"),
)
sa.Index("imports_provider", imports.c.provider, imports.c.created_at.desc())
import_batches = sa.Table(
    "import_batches",
    metadata,
    sa.Column("import", pg.UUID, sa.ForeignKey(imports.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("first_row", sa.BigInteger, primary_key=True),
    sa.Column("outcomes", sa.Text, nullable=False),  # a letter for each row
    sa.Column("revisions", pg.ARRAY(sa.BigInteger), nullable=False),  # of the rows that were not refused
    sa.Column("notes", pg.JSONB, nullable=False),
    sa.Column("equals", sa.LargeBinary, nullable=False),  # 8 bytes a row whose external id is a keyed hash; gone when the import ends
    sa.Column("event", pg.UUID),
    sa.Column("leaf", sa.Text),
)
replies = sa.Table(
    "replies",
    metadata,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("key_mac", sa.LargeBinary, primary_key=True),
    sa.Column("request_mac", sa.LargeBinary, nullable=False),  # keyed: a plain hash of a short body could be guessed by trying
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("headers", pg.JSONB, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    now_column("at"),
)
sa.Index("replies_at", replies.c.at)
blind_index = sa.Table(  # of each dataset: how many bits the tags of its index have, and those of the one that is being made
    "blind_index",
    metadata,
    sa.Column("dataset", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("bits", sa.Integer, nullable=False),
    sa.Column("next_version", sa.Integer),
    sa.Column("next_bits", sa.Integer),
    sa.Column("reached", pg.UUID),  # how far the new one is filled, in the order of records' ids
    sa.CheckConstraint("bits between 1 and 31 and next_bits between 1 and 31", name="blind_index_bits"),
    sa.CheckConstraint("(next_version is null) = (next_bits is null)", name="blind_index_next"),
)
