"""Dataset → PostGIS tables.

A dataset `incidents` has four tables: `incidents` (current revisions, what the released view shows), `incidents_history` (former ones),
`incidents_withdrawn` (a tombstone for each withdrawal: no values) and `incidents_shredded` (what proves that revisions were here, once they
are destroyed: no values either). Columns follow the marks: a clear field is a column of its name, a sealed one `<name>_sealed`, the place
three cell centres and a sealed exact point.
"""

from functools import cache
from typing import Any

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy.dialects import postgresql as pg

from hub.records import Field, Record
from hub.tables.base import SCHEMA, metadata, now_column, organisations
from hub.tables.retention import shreds

CLEAR_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "text": sa.Text(),
    "number": sa.Integer(),
    "time": sa.DateTime(timezone=True),
}
CELL_COLUMNS = {100: "c100", 500: "c500", 2000: "c2k"}


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
        sa.Column("content_mac", sa.LargeBinary, nullable=False),  # of all of it, then of each sealed field (hub/sharing/incoming.py)
        sa.Column("k2", sa.Integer, nullable=False),
        *cells,
        *_value_columns(dataset),
        now_column("published_at"),
    ]


def tables_of(name: str, dataset: type[Record]) -> tuple[sa.Table, sa.Table, sa.Table]:
    """The current, history and withdrawn tables of a dataset; they and the shredded one are made on first use."""
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
        sa.Column("kept_until", sa.Date),  # its retention ends with this day's beginning (UTC); null: it has no end
        sa.UniqueConstraint("provider", "external_id"),
    )
    sa.Index(f"{name}_k2_id", current.c.k2, current.c.id)
    sa.Index(f"{name}_occurred_at", current.c.occurred_at)
    sa.Index(f"{name}_kept_until", current.c.kept_until, postgresql_where=current.c.kept_until.is_not(None))
    history = sa.Table(
        f"{name}_history",
        metadata,
        sa.Column("id", pg.UUID, primary_key=True),
        sa.Column("rev", sa.Integer, primary_key=True),
        *_revision_columns(dataset),
        sa.Column("kept_until", sa.Date),
    )
    sa.Index(f"{name}_history_kept_until", history.c.kept_until, postgresql_where=history.c.kept_until.is_not(None))
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
    shredded = sa.Table(
        f"{name}_shredded",
        metadata,
        sa.Column("id", pg.UUID, primary_key=True),
        sa.Column("rev", sa.Integer, primary_key=True),
        sa.Column("revision_no", sa.BigInteger, nullable=False, unique=True),
        sa.Column("provider", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),  # of its ciphertexts, as its publication's leaf has it
        sa.Column("shred", sa.BigInteger, sa.ForeignKey(shreds.c.id), nullable=False),
    )
    sa.Index(f"{name}_shredded_shred", shredded.c.shred)
    _blind_table(name)
    return current, history, withdrawn


def _blind_table(name: str) -> None:
    """Under which tags a revision is found by exact lookups: one row for each value of a field. Two columns, of two versions of the index.
    The key process writes them before the revision is stored; no serving process reads them.
    """
    blind = sa.Table(
        f"{name}_blind",
        metadata,
        sa.Column("id", pg.UUID, nullable=False),
        sa.Column("rev", sa.Integer, nullable=False),
        sa.Column("provider", sa.Integer, nullable=False),
        sa.Column("field", sa.SmallInteger, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("tag", sa.Integer, nullable=False),
        sa.Column("next_version", sa.Integer),
        sa.Column("next_tag", sa.Integer),
    )
    sa.Index(f"{name}_blind_id", blind.c.id)
    sa.Index(f"{name}_blind_tag", blind.c.field, blind.c.tag, blind.c.provider)
    sa.Index(f"{name}_blind_next_tag", blind.c.field, blind.c.next_tag, blind.c.provider)
