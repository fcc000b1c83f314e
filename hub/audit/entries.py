"""What the root in a publication's leaf is made of: one entry for each revision, in the order of their numbers. Pure.

    in the tree     revision_no u64 | digest 32                    (big-endian)
    kept, 52 B      record 16 | rev u32 | digest 32                the numbers are in the leaf's bitmap, in the same order

A root alone tells that one of thousands of revisions doesn't fit, not which. So the entries are kept beside the leaf (`hub.leaf_entries`):
as long as they give the leaf's root they are what was stored then, however the database was altered since. Record and rev are not in the
tree: they are a hint, by which a revision that is gone can be named.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

SIZE = 52
NO_CIPHERTEXT = sha256(b"").digest()
"""The digest of a revision without ciphertext: a tombstone."""


class Entry(NamedTuple):
    """One revision: its hub-wide number, its record, its own revision, SHA-256 over its ciphertexts."""

    number: int
    id: UUID
    rev: int
    digest: bytes


def leaf_input(entry: Entry) -> bytes:
    """What goes into the tree."""
    return entry.number.to_bytes(8, "big") + entry.digest


def written(entries: Sequence[Entry]) -> bytes:
    return b"".join(entry.id.bytes + entry.rev.to_bytes(4, "big") + entry.digest for entry in entries)


def read(kept: bytes, numbers: Sequence[int]) -> list[Entry] | None:
    """The entries of these revisions; None if there isn't one for each."""
    if len(kept) != SIZE * len(numbers):
        return None
    pieces = (kept[SIZE * n : SIZE * (n + 1)] for n in range(len(numbers)))
    return [
        Entry(number, UUID(bytes=piece[:16]), int.from_bytes(piece[16:20], "big"), piece[20:])
        for number, piece in zip(numbers, pieces, strict=True)
    ]
