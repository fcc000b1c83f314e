"""What a backup of the keys holds: MessagePack, part after part, each small enough for memory. Pure.

    about | backups | shredded… | keks, deks… (of each key-encryption key, oldest epochs first) | signed… | end

Former key-encryption keys come first: the database takes no data key under one that has a successor.
"""

from datetime import datetime

import msgspec


class Part(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """One part."""


class About(Part, tag="about"):
    """Of which entry in the list of backups, and when."""

    number: int
    at: datetime


class Kek(Part, tag="kek"):
    """`wrapped` is empty once it is destroyed."""

    kek_id: int
    owner: bytes
    cls: int
    bucket: str
    epoch: int
    wrapped: bytes
    created_at: datetime
    destroyed_at: datetime | None


class Deks(Part, tag="deks"):
    """Data keys that one KEK wraps: records 16 bytes each, rows 98 bytes each."""

    kek_id: int
    records: bytes
    classes: list[int]
    revs: list[int]
    rows: bytes


class Signatures(Part, tag="signed"):
    """Places in the chain of signed leaves: (n, event, leaf hash, chain, key, signature, at)."""

    entries: list[tuple[int, bytes, bytes, bytes, bytes, bytes, datetime]]


class Tombstones(Part, tag="shredded"):
    """Records, 16 bytes each, and when they were shredded."""

    records: bytes
    at: list[datetime]


class Listed(Part, tag="backups"):
    """Backups known when this one was made: (id, made, SHA-256, note, destroyed)."""

    entries: list[tuple[int, datetime, bytes | None, str | None, datetime | None]]


class End(Part, tag="end"):
    """How many of each there must have been."""

    keks: int
    deks: int
    signed: int
    shredded: int


Any = About | Kek | Deks | Signatures | Tombstones | Listed | End
_decoder = msgspec.msgpack.Decoder(Any)


def written(part: Part) -> bytes:
    return msgspec.msgpack.encode(part)


def read(content: bytes) -> Any:
    """Raises ValueError for what is no part."""
    found: Any = _decoder.decode(content)
    return found
