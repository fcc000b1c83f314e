"""Dataset → PostGIS tables, and every other table of the hub: the metadata that Alembic reads.

A dataset `incidents` has three tables: `incidents` (current revisions, what the released view shows), `incidents_history`
(former ones) and `incidents_withdrawn` (a tombstone for each withdrawal: no values). Columns follow the marks: a clear field is a
column of its name, a sealed one `<name>_sealed`, the place three cell centres and a sealed exact point.
"""

from functools import cache
from typing import Any

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from hub.records import Field, Record

SCHEMA = "hub"
metadata = sa.MetaData(schema=SCHEMA)
keys_metadata = sa.MetaData(schema="keys")

CLEAR_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "text": sa.Text(),
    "number": sa.Integer(),
    "time": sa.DateTime(timezone=True),
}
CELL_COLUMNS = {100: "c100", 500: "c500", 2000: "c2k"}


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
clients = sa.Table(
    "clients",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("organisation", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("jwk", pg.JSONB, nullable=False),
    sa.Column("scopes", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("disabled_at", sa.DateTime(timezone=True)),
    now_column("created_at"),
)
assertions_seen = sa.Table(
    "assertions_seen",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("jti_hash", sa.LargeBinary, primary_key=True),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
)
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

people = sa.Table(
    "people",
    metadata,
    sa.Column("id", pg.UUID, primary_key=True, server_default=sa.func.gen_random_uuid()),
    sa.Column("organisation", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
    sa.Column("handle", sa.Text, unique=True, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("roles", pg.ARRAY(sa.Text), nullable=False),
    sa.Column("disabled_at", sa.DateTime(timezone=True)),
    now_column("created_at"),
    sa.CheckConstraint(
        "roles <> '{}' and roles <@ array['integrator', 'analyst', 'auditor', 'agreement-lead', 'operator']", name="people_roles"
    ),
)
passkeys = sa.Table(
    "passkeys",
    metadata,
    sa.Column("credential_id", sa.LargeBinary, primary_key=True),
    sa.Column("person", pg.UUID, sa.ForeignKey(people.c.id), nullable=False),
    sa.Column("public_key", sa.LargeBinary, nullable=False),
    sa.Column("sign_count", sa.BigInteger, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    now_column("created_at"),
    sa.Column("used_at", sa.DateTime(timezone=True)),
)
sa.Index("passkeys_person", passkeys.c.person)
recovery_codes = sa.Table(
    "recovery_codes",
    metadata,
    sa.Column("person", pg.UUID, sa.ForeignKey(people.c.id), primary_key=True),
    sa.Column("code_hash", sa.LargeBinary, primary_key=True),
    sa.Column("used_at", sa.DateTime(timezone=True)),
)
tickets = sa.Table(  # invitations, and the demo's one-time links: good once, until they expire
    "tickets",
    metadata,
    sa.Column("token_hash", sa.LargeBinary, primary_key=True),
    sa.Column("person", pg.UUID, sa.ForeignKey(people.c.id), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("used_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("kind in ('invitation', 'link')", name="tickets_kind"),
)
sa.Index("tickets_person", tickets.c.person)
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", pg.UUID, primary_key=True, server_default=sa.func.gen_random_uuid()),
    sa.Column("token_hash", sa.LargeBinary, unique=True, nullable=False),
    sa.Column("person", pg.UUID, sa.ForeignKey(people.c.id), nullable=False),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text),
    sa.Column("case_reference", sa.Text),
    now_column("created_at"),
    now_column("seen_at"),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.Column("proven_at", sa.DateTime(timezone=True)),  # when the person last proved themself
    sa.CheckConstraint("method in ('passkey', 'recovery-code', 'link', 'invitation')", name="sessions_method"),
)
sa.Index("sessions_person", sessions.c.person)
challenges = sa.Table(  # of WebAuthn: each good once, for minutes
    "challenges",
    metadata,
    sa.Column("challenge", sa.LargeBinary, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("person", pg.UUID, sa.ForeignKey(people.c.id)),
    sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("asker", sa.LargeBinary, nullable=False),
)
sa.Index("challenges_expires_at", challenges.c.expires_at)
sa.Index("challenges_asker", challenges.c.asker, challenges.c.expires_at)
attempts = sa.Table(  # failed tries to sign in, under a keyed hash of what they were counted by
    "attempts",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("counted_by", sa.LargeBinary, nullable=False),
    now_column("at"),
)
sa.Index("attempts_counted_by", attempts.c.counted_by, attempts.c.at)
sa.Index("attempts_at", attempts.c.at)
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


@cache
def clear_fields(dataset: type[Record]) -> tuple[Field, ...]:
    """The fields that are columns of their own name, in the order of their numbers."""
    return tuple(f for f in sorted(dataset.fields, key=lambda f: f.number) if f.kind in CLEAR_TYPES)


@cache
def sealed_fields(dataset: type[Record]) -> tuple[Field, ...]:
    """The fields that are stored as ciphertext, the exact place among them, in the order of their numbers."""
    return tuple(f for f in sorted(dataset.fields, key=lambda f: f.number) if f.kind in ("sealed", "place"))


def sealed_column(field: Field) -> str:
    return f"{field.name}_sealed"


def _value_columns(dataset: type[Record]) -> list["sa.Column[Any]"]:
    """Fresh columns for the values of one revision: clear fields, then ciphertext."""
    return [
        *(sa.Column(f.name, CLEAR_TYPES[f.kind], nullable=not f.required) for f in clear_fields(dataset)),
        *(sa.Column(sealed_column(f), sa.LargeBinary, nullable=not f.required) for f in sealed_fields(dataset)),
    ]


def _revision_columns(dataset: type[Record]) -> list["sa.Column[Any]"]:
    cells = [sa.Column(c, Geometry("POINT", srid=4326, spatial_index=False), nullable=False) for c in CELL_COLUMNS.values()]
    return [
        sa.Column("revision_no", sa.BigInteger, nullable=False, unique=True),
        sa.Column("provider", sa.Integer, nullable=False),  # no foreign key: the store asks once a batch, not once a row
        sa.Column("content_mac", sa.LargeBinary, nullable=False),
        sa.Column("k2", sa.Integer, nullable=False),
        *cells,
        *_value_columns(dataset),
        now_column("published_at"),
    ]


def tables_of(name: str, dataset: type[Record]) -> tuple[sa.Table, sa.Table, sa.Table]:
    """The current, history and withdrawn tables of a dataset, made on first use."""
    if f"{SCHEMA}.{name}" in metadata.tables:
        found = [metadata.tables[f"{SCHEMA}.{name}{part}"] for part in ("", "_history", "_withdrawn")]
        return found[0], found[1], found[2]
    current = sa.Table(
        name,
        metadata,
        sa.Column("id", pg.UUID, primary_key=True),
        sa.Column("rev", sa.Integer, nullable=False),
        *_revision_columns(dataset),
        sa.Column("released", pg.ARRAY(sa.Integer), nullable=False),
        sa.UniqueConstraint("provider", "external_id"),
    )
    sa.Index(f"{name}_k2_id", current.c.k2, current.c.id)
    sa.Index(f"{name}_occurred_at", current.c.occurred_at)
    history = sa.Table(
        f"{name}_history",
        metadata,
        sa.Column("id", pg.UUID, primary_key=True),
        sa.Column("rev", sa.Integer, primary_key=True),
        *_revision_columns(dataset),
    )
    withdrawn = sa.Table(
        f"{name}_withdrawn",
        metadata,
        sa.Column("id", pg.UUID, primary_key=True),
        sa.Column("rev", sa.Integer, primary_key=True),
        sa.Column("revision_no", sa.BigInteger, nullable=False, unique=True),
        sa.Column("provider", sa.Integer, sa.ForeignKey(organisations.c.id), nullable=False),
        sa.Column("external_id", sa.Text, nullable=False),
        sa.Column("released", pg.ARRAY(sa.Integer), nullable=False),  # who could see it until then, for notices of withdrawal
        now_column("withdrawn_at"),
    )
    sa.Index(f"{name}_withdrawn_external_id", withdrawn.c.provider, withdrawn.c.external_id)
    return current, history, withdrawn
