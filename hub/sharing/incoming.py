"""A partner's records on their way in: what is asked of them, how they are written for sealing and for the inbox."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel

from hub.geo import FINEST_M, Point, cell
from hub.records import Record
from hub.tables import clear_fields, sealed_column, sealed_fields


@dataclass(frozen=True, slots=True)
class Incoming:
    """One accepted record: its clear values, its sealed values as bytes, its 100 m cell, and the canonical form of all of it."""

    external_id: str
    clear: Mapping[str, Any]
    sealed: Mapping[int, tuple[int, bytes]]  # field number → (class, plaintext)
    cell: tuple[int, int]
    content: bytes


def incoming(record: Record) -> Incoming:
    """What the store needs of `record`."""
    dataset = type(record)
    place: Point = getattr(record, dataset.named("place")[0].name)
    clear = {f.name: _plain(getattr(record, f.name)) for f in clear_fields(dataset)}
    sealed = {
        f.number: (f.cls, orjson.dumps(_plain(value))) for f in sealed_fields(dataset) if (value := getattr(record, f.name)) is not None
    }
    content = orjson.dumps({**clear, **{str(n): text.decode() for n, (_, text) in sealed.items()}}, option=orjson.OPT_SORT_KEYS)
    finest = cell(place, FINEST_M)
    return Incoming(clear["external_id"], clear, sealed, (finest.row, finest.column), content)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value


@dataclass(frozen=True, slots=True)
class Revision:
    """A sealed record, ready for the inbox. `blobs`: field number → ciphertext."""

    id: UUID
    rev: int
    record: Incoming
    content_mac: bytes
    blobs: Mapping[int, bytes]

    @property
    def digest(self) -> bytes:
        """SHA-256 over the ciphertexts in the order of their fields, each with its field number and length (big-endian u16, u32)."""
        parts = (n.to_bytes(2, "big") + len(blob).to_bytes(4, "big") + blob for n, blob in sorted(self.blobs.items()))
        return hashlib.sha256(b"".join(parts)).digest()


def inbox(name: str, dataset: type[Record], batch: UUID, revisions: Sequence[Revision]) -> tuple[str, io.StringIO]:
    """The COPY statement of a batch and its text."""
    clear, sealed = clear_fields(dataset), sealed_fields(dataset)
    columns = [
        "batch",
        "ordinal",
        "id",
        "rev",
        "content_mac",
        "cell_row",
        "cell_column",
        *(f.name for f in clear),
        *(sealed_column(f) for f in sealed),
    ]
    out = io.StringIO()
    for ordinal, r in enumerate(revisions):
        values = [
            batch,
            ordinal,
            r.id,
            r.rev,
            r.content_mac,
            *r.record.cell,
            *(r.record.clear[f.name] for f in clear),
            *(r.blobs.get(f.number) for f in sealed),
        ]
        out.write("\t".join(map(_copy, values)) + "\n")
    out.seek(0)
    return f"copy hub.{name}_inbox ({', '.join(columns)}) from stdin", out


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copy(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).translate(_ESCAPES)
