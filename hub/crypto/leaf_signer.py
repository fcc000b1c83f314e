"""Signs leaves before keys are lent, counts them and chains them, so that a leaf which goes missing later is missed.

    chain 0   32 zero bytes
    chain n   SHA-256("HUBCHAIN1\\0" | chain n-1 | n u64 | leaf hash)
    signature Ed25519 (RFC 8032) of "HUBLEAF1\\0" | n u64 | leaf hash | chain n

Each entry is durable in the keys database before its signature is given to anybody; a copy goes into the log (hub/workers/copying.py).
"""

import hashlib
from collections.abc import Sequence
from threading import Lock
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from hub.crypto.keys import Signed
from hub.db import passing_faults

NOTHING: Final = (0, bytes(32))
_HEAD = text("SELECT n, chain FROM keys.signed ORDER BY n DESC LIMIT 1")
_ADD = text("""
    INSERT INTO keys.signed (n, event, leaf_hash, chain, key, signature)
    SELECT u.n, CAST(:event AS uuid), u.leaf_hash, u.chain, :key, u.signature
    FROM unnest(CAST(:ns AS bigint[]), CAST(:hashes AS bytea[]), CAST(:chains AS bytea[]), CAST(:signatures AS bytea[]))
         AS u(n, leaf_hash, chain, signature)""")
_AFTER = text("SELECT n, event, leaf_hash, chain, key, signature FROM keys.signed WHERE n > :n ORDER BY n LIMIT :most")


def chained(before: bytes, n: int, leaf_hash: bytes) -> bytes:
    """Chain n, from chain n-1 (32 bytes) and the RFC 6962 hash of the leaf (32 bytes)."""
    return hashlib.sha256(b"HUBCHAIN1\0" + before + n.to_bytes(8, "big") + leaf_hash).digest()


def statement(n: int, leaf_hash: bytes, chain: bytes) -> bytes:
    """What is signed."""
    return b"HUBLEAF1\0" + n.to_bytes(8, "big") + leaf_hash + chain


def genuine(entry: Signed, n: int, chain: bytes) -> bool:
    """Whether an entry follows the one at place `n` with that chain, and is signed with the key that it names."""
    if (entry.n, entry.chain) != (n + 1, chained(chain, n + 1, entry.leaf_hash)):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(entry.key).verify(entry.signature, statement(entry.n, entry.leaf_hash, entry.chain))
    except (InvalidSignature, ValueError):
        return False
    return True


class LeafSigner:
    """Thread-safe; processes that sign at once for one keys database get places in one chain."""

    def __init__(self, seed: bytes, engine: Engine) -> None:
        self._key, self._engine, self._lock = Ed25519PrivateKey.from_private_bytes(seed), engine, Lock()
        self._storing = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._head: tuple[int, bytes] | None = None
        self.public = self._key.public_key().public_bytes_raw()
        """The public key, 32 bytes."""

    def sign(self, event: UUID, hashes: Sequence[bytes]) -> list[Signed]:
        """Signs the leaves of `event`; durable on return.

        Raises:
            Unavailable: the keys database can't be reached.
        """
        with self._lock, passing_faults():
            while True:
                head = self._head or self._read_head()
                made = self._made(head, event, hashes)
                self._head = None  # until it is known that they are there
                try:
                    self._store(event, made)
                except IntegrityError:
                    continue  # another process took these places
                self._head = (made[-1].n, made[-1].chain) if made else head
                return made

    def after(self, n: int, most: int) -> list[Signed]:
        """The entries after place `n`, `most` at most, in their order."""
        with passing_faults(), self._engine.connect() as connection:
            rows = connection.execute(_AFTER, {"n": n, "most": most}).all()
        return [Signed(r.n, UUID(str(r.event)), *(bytes(b) for b in r[2:])) for r in rows]

    def _made(self, head: tuple[int, bytes], event: UUID, hashes: Sequence[bytes]) -> list[Signed]:
        (n, chain), made, public = head, [], self.public
        for leaf_hash in hashes:
            n, chain = n + 1, chained(chain, n + 1, leaf_hash)
            made.append(Signed(n, event, leaf_hash, chain, public, self._key.sign(statement(n, leaf_hash, chain))))
        return made

    def _read_head(self) -> tuple[int, bytes]:
        with self._engine.connect() as connection:
            row = connection.execute(_HEAD).one_or_none()
        return (row.n, bytes(row.chain)) if row else NOTHING

    def _store(self, event: UUID, made: Sequence[Signed]) -> None:
        values = {
            "event": str(event),
            "key": self.public,
            "ns": [s.n for s in made],
            "hashes": [s.leaf_hash for s in made],
            "chains": [s.chain for s in made],
            "signatures": [s.signature for s in made],
        }
        with self._storing.connect() as connection:
            connection.execute(_ADD, values)
