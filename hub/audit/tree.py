"""Merkle tree hashes of RFC 6962 §2.1 (the same in RFC 9162 §2.1.1). Pure."""

from collections.abc import Sequence
from hashlib import sha256


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of one leaf: SHA-256 over 0x00 and its bytes."""
    return sha256(b"\x00" + leaf).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Merkle tree hash over the bytes of `leaves`, in order; of no leaves the hash of nothing."""
    if not leaves:
        return sha256(b"").digest()
    # Pairing level by level and carrying an odd last one up gives the same tree as the recursive definition.
    level = [leaf_hash(leaf) for leaf in leaves]
    while len(level) > 1:
        paired = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) & ~1 :]
    return level[0]
