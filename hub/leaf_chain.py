"""The chain of leaves that the key process signed. Pure.

chain 0   32 zero bytes
chain n   SHA-256("HUBCHAIN1\\0" | chain n-1 | n u64 | leaf hash)
signature Ed25519 (RFC 8032) of "HUBLEAF1\\0" | n u64 | leaf hash | chain n
"""

import hashlib
from typing import Final, NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NOTHING: Final = (0, bytes(32))


class Signed(NamedTuple):
    """A leaf as the key process signed it (hub/crypto/leaf_signer.py): its place in the chain, the public key (32 bytes), the signature
    (64). The chain covers every leaf that was signed before.
    """

    n: int
    event: UUID
    leaf_hash: bytes
    chain: bytes
    key: bytes
    signature: bytes


def chained(before: bytes, n: int, leaf_hash: bytes) -> bytes:
    """Chain n, from chain n-1 (32 bytes) and the RFC 6962 hash of the leaf (32 bytes)."""
    return hashlib.sha256(b"HUBCHAIN1\0" + before + n.to_bytes(8, "big") + leaf_hash).digest()


def statement(n: int, leaf_hash: bytes, chain: bytes) -> bytes:
    """What is signed."""
    return b"HUBLEAF1\0" + n.to_bytes(8, "big") + leaf_hash + chain


def verified(entry: Signed) -> bool:
    """Whether an entry is signed with the key that it names."""
    try:
        Ed25519PublicKey.from_public_bytes(entry.key).verify(entry.signature, statement(entry.n, entry.leaf_hash, entry.chain))
    except (InvalidSignature, ValueError):
        return False
    return True


def genuine(entry: Signed, n: int, chain: bytes) -> bool:
    """Whether an entry follows the one at place `n` with that chain, and is signed with the key that it names."""
    return (entry.n, entry.chain) == (n + 1, chained(chain, n + 1, entry.leaf_hash)) and verified(entry)
