"""Programs, people, and how they sign in."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from hub.tables.base import metadata, now_column, organisations

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
