"""A partner's records on their way in: what is asked of them, how they are written for sealing and for the store."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from psycopg2 import Binary
from pydantic import BaseModel

from hub.crypto.keys import Versions
from hub.geo import Point, finest
from hub.records import Record
from hub.sharing.recalled import FIELD_MAC
from hub.tables import clear_fields, sealed_fields


class Incoming(NamedTuple):
    """One accepted record: its clear values, its sealed values as bytes, its 100 m cell, and the canonical form of all of it."""

    external_id: str
    clear: Mapping[str, Any]
    sealed: Mapping[int, tuple[int, bytes]]  # field number → (class, plaintext)
    cell: tuple[int, int]
    content: bytes


def incoming(record: Record, external_id: str | None = None) -> Incoming:
    """What the store needs of `record`; `external_id` takes the place of its own."""
    clear_names, sealed_marks, place_name = _plan(type(record))
    values = record.__dict__
    clear = {name: values[name] for name in clear_names}
    if external_id is not None:
        clear["external_id"] = external_id
    sealed = {number: (cls, _written(value)) for name, number, cls in sealed_marks if (value := values[name]) is not None}
    content = orjson.dumps({**clear, **{str(n): text.decode() for n, (_, text) in sealed.items()}}, option=orjson.OPT_SORT_KEYS)
    return Incoming(clear["external_id"], clear, sealed, finest(*values[place_name]), content)


def macs_of(records: Sequence[Incoming], dataset: type[Record], macs: Callable[[str, list[bytes]], list[bytes]]) -> list[bytes]:
    """For each record the MAC of all of it, and, 8 bytes each, those of its sealed fields: they tell whether a field changed from one
    revision of the record to the next, and, bound to its external id, nothing about other records. `macs` takes a label and data.
    """
    numbers = [f.number for f in sealed_fields(dataset)]
    given = [
        record.external_id.encode() + b"\0" + number.to_bytes(2, "big") + record.sealed[number][1]
        for record in records
        for number in numbers
        if number in record.sealed
    ]
    wholes, fields = macs("content", [record.content for record in records]), iter(macs("field", given))
    absent = bytes(FIELD_MAC)
    return [
        whole + b"".join([next(fields)[:FIELD_MAC] if number in record.sealed else absent for number in numbers])
        for record, whole in zip(records, wholes, strict=True)
    ]


@cache
def _plan(dataset: type[Record]) -> tuple[tuple[str, ...], tuple[tuple[str, int, int], ...], str]:
    """Names of the clear fields; name, number and class of the sealed ones; the name of the place. Asked once, not once a record."""
    sealed = tuple((f.name, f.number, f.cls) for f in sealed_fields(dataset))
    return tuple(f.name for f in clear_fields(dataset)), sealed, dataset.named("place")[0].name


def _written(value: Any) -> bytes:
    """A sealed value as JSON."""
    if isinstance(value, str | dict):
        return orjson.dumps(value)
    if isinstance(value, Point):
        return orjson.dumps([value.lon, value.lat])
    return orjson.dumps(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value


@dataclass(slots=True)
class Revision:
    """A revision on its way into the store. `blobs`: field number → ciphertext, once it is sealed; `kept_until`: its retention bucket."""

    id: UUID
    rev: int
    record: Incoming
    content_mac: bytes
    kept_until: date | None = None
    blobs: Mapping[int, bytes] = field(default_factory=dict)
    versions: Versions | None = None  # of the index for lookups, that its batch has tags for
    text: str = ""  # the id as PostgreSQL writes it

    def __post_init__(self) -> None:
        self.text = str(self.id)

    @property
    def digest(self) -> bytes:
        """SHA-256 over the ciphertexts in the order of their fields, each with its field number and length (big-endian u16, u32)."""
        parts = (n.to_bytes(2, "big") + len(blob).to_bytes(4, "big") + blob for n, blob in sorted(self.blobs.items()))
        return hashlib.sha256(b"".join(parts)).digest()


def columns(dataset: type[Record], provider: int, revisions: Sequence[Revision]) -> list[Any]:
    """The arguments of the store function (hub/sharing/stored.py), a column at a time. One that is empty throughout is null."""
    places: list[str | None] = []
    ciphertext, at = [], 1
    for sealed in sealed_fields(dataset):
        blobs = [r.blobs.get(sealed.number) for r in revisions]
        starts: list[int | None] = []
        for blob in blobs:
            starts.append(None if blob is None else at)
            at += len(blob or b"")
        ciphertext += [b for b in blobs if b is not None]
        places += [_array(starts, str), _array([None if b is None else len(b) for b in blobs], str)]
    return [
        provider,
        _array([r.text for r in revisions], str),
        _array([r.rev for r in revisions], str),
        Binary(b"".join(r.content_mac for r in revisions)),
        _array([r.record.cell[0] for r in revisions], str),
        _array([r.record.cell[1] for r in revisions], str),
        _array([r.kept_until for r in revisions], date.isoformat),
        *(_array([r.record.clear[f.name] for r in revisions], _WRITTEN[f.kind]) for f in clear_fields(dataset)),
        Binary(b"".join(ciphertext)),
        *places,
    ]


def _array(values: Sequence[Any], written: Callable[[Any], str]) -> str | None:
    """PostgreSQL's array literal: the server reads one far faster than an ARRAY[…] of as many expressions."""
    if not any(v is not None for v in values):
        return None
    return "{" + ",".join(["NULL" if v is None else written(v) for v in values]) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_WRITTEN: dict[str, Callable[[Any], str]] = {"text": _quoted, "number": str, "time": datetime.isoformat}
