"""Every table of the hub and of its keys, one module for each part of the house: the metadata that Alembic reads."""

from hub.tables import agreements, audit, identity, keys, oversight, records, retention, sharing
from hub.tables.base import SCHEMA, keys_metadata, metadata
from hub.tables.records import CELL_COLUMNS, CLEAR_TYPES, clear_fields, sealed_column, sealed_fields, tables_of

__all__ = [
    "CELL_COLUMNS",
    "CLEAR_TYPES",
    "SCHEMA",
    "agreements",
    "audit",
    "clear_fields",
    "identity",
    "keys",
    "keys_metadata",
    "metadata",
    "oversight",
    "records",
    "retention",
    "sealed_column",
    "sealed_fields",
    "sharing",
    "tables_of",
]
