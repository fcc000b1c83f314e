"""What auditors and owners do about the log: flags with their triage, and access reviews with their sign-off."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from hub.tables.base import metadata, now_column
from hub.tables.identity import people

flags = sa.Table(  # what somebody should look at (hub/audit/flags.py); never changed
    "flags",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("organisation", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),  # `person:` or `client:` and the id, as hub.leaf_terms writes them
    sa.Column("owner", sa.Text),  # whose data the leaves are about; null: the hub's own log
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("leaves", pg.ARRAY(sa.BigInteger), nullable=False),
    sa.Column("events", pg.ARRAY(pg.UUID), nullable=False),
    sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("cardinality(leaves) > 0 and cardinality(leaves) = cardinality(events)", name="flags_cites"),
)
sa.Index("flags_owner", flags.c.owner, flags.c.id)
sa.Index("flags_at", flags.c.at)

flag_steps = sa.Table(  # the triage of a flag: only ever added to, the last one holds
    "flag_steps",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("flag", sa.BigInteger, sa.ForeignKey(flags.c.id), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("organisation", sa.Text, nullable=False),
    sa.Column("person", pg.UUID),
    sa.Column("client", sa.Text),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("state in ('looked-at', 'explained', 'escalated')", name="flag_steps_state"),
)
sa.Index("flag_steps_flag", flag_steps.c.flag, flag_steps.c.id)

flag_pasts = sa.Table(  # what detectors remember of a subject, in one owner's part of the log ('': the hub's own)
    "flag_pasts",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("past", pg.JSONB, nullable=False),
)

flag_progress = sa.Table(  # the last leaf that detectors have looked at; the last one that there was a while ago
    "flag_progress",
    metadata,
    sa.Column("one", sa.Boolean, primary_key=True, server_default=sa.true()),
    sa.Column("reached", sa.BigInteger, nullable=False),
    sa.Column("seen", sa.BigInteger, nullable=False),
    sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("one", name="flag_progress_one"),
)

access_reviews = sa.Table(  # what is reviewed, how often, by whom
    "access_reviews",
    metadata,
    sa.Column("id", pg.UUID, primary_key=True),
    sa.Column("organisation", sa.Text, nullable=False),  # that reviews
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("scope", pg.JSONB, nullable=False),
    sa.Column("every", sa.Text, nullable=False),
    sa.Column("within_days", sa.Integer, nullable=False),
    sa.Column("assignee", pg.UUID, sa.ForeignKey(people.c.id), nullable=False),
    sa.Column("next_from", sa.DateTime(timezone=True), nullable=False),  # where the period begins of which no run was opened yet
    now_column("set_up_at"),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("every in ('month', 'quarter', 'half-year', 'year')", name="access_reviews_every"),
    sa.CheckConstraint("within_days between 1 and 90", name="access_reviews_within_days"),
)
sa.Index("access_reviews_organisation", access_reviews.c.organisation)

review_runs = sa.Table(  # one period of a review; nothing of it changes once it is signed
    "review_runs",
    metadata,
    sa.Column("id", pg.UUID, primary_key=True),
    sa.Column("review", pg.UUID, sa.ForeignKey(access_reviews.c.id), nullable=False),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    sa.Column("until", sa.DateTime(timezone=True), nullable=False),
    sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("assignee", pg.UUID, sa.ForeignKey(people.c.id), nullable=False),
    sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("figures", sa.Text, nullable=False),  # canonical JSON (hub/audit/figures.py), fixed when it is opened
    sa.Column("signed", sa.Text),  # canonical JSON: figures, decisions, who and when
    sa.Column("signed_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("since < until and until <= opened_at", name="review_runs_period"),
    sa.CheckConstraint("(signed is null) = (signed_at is null)", name="review_runs_signed"),
    sa.UniqueConstraint("review", "since"),
)

review_marks = sa.Table(  # decisions about lines: only ever added to, the last one of a line holds
    "review_marks",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("run", pg.UUID, sa.ForeignKey(review_runs.c.id), nullable=False),
    sa.Column("line", sa.Integer, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("person", pg.UUID, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("decision in ('in-order', 'question', 'revoke')", name="review_marks_decision"),
)
sa.Index("review_marks_run", review_marks.c.run, review_marks.c.id)
