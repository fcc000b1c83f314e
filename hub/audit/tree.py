"""Merkle tree hashes and proofs of RFC 6962 §2.1 (the same in RFC 9162 §2.1). Pure.

A *range* is what proofs are put together from: the hash over the leaves from `start` up to, not including, `end`, where `start` is a
multiple of a power of two that is not smaller than its length. Who has a tree says how to get one (hub/audit/tiles.py).
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

Range = Callable[[int, int], bytes]
EMPTY = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of one leaf: SHA-256 over 0x00 and its bytes."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256 over 0x01 and its two hashes."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Merkle tree hash over the bytes of `leaves`, in order; of no leaves the hash of nothing."""
    return root_of([leaf_hash(leaf) for leaf in leaves])


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Merkle tree hash over leaves with these hashes."""
    if not hashes:
        return EMPTY
    # Pairing level by level and carrying an odd last one up gives the same tree as the recursive definition.
    level = list(hashes)
    while len(level) > 1:
        paired = [sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) & ~1 :]
    return level[0]


def split(size: int) -> int:
    """The largest power of two smaller than `size` (at least 2): where RFC 9162 §2.1.1 parts a tree."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion(index: int, size: int, ranged: Range) -> list[bytes]:
    """The proof that leaf `index` is in the tree of the first `size` leaves (RFC 9162 §2.1.3.1).

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(ranged(middle, end))
            end = middle
        else:
            path.append(ranged(start, middle))
            start = middle
    return path[::-1]


def consistency(first: int, second: int, ranged: Range) -> list[bytes]:
    """The proof that the tree of `first` leaves is the beginning of the one of `second` (RFC 9162 §2.1.4.1).

    Raises:
        ValueError: not 0 < first ≤ second.
    """
    if not 0 < first <= second:
        raise ValueError(f"a tree of {first} leaves has no proof in one of {second}")
    path, start, end, whole = [], 0, second, True
    while first != end:
        middle = start + split(end - start)
        if first <= middle:
            path.append(ranged(middle, end))
            end = middle
        else:
            path.append(ranged(start, middle))
            start, whole = middle, False
    return ([] if whole else [ranged(start, end)]) + path[::-1]


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree: bytes) -> bool:
    """Whether `proof` shows that the leaf with the hash `leaf` is at `index` in the tree of `size` leaves with the hash `tree` (RFC 9162
    §2.1.3.2).
    """
    if not 0 <= index < size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == tree


def consistent(first: int, first_tree: bytes, second: int, second_tree: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `first` leaves is the beginning of the one of `second` (RFC 9162 §2.1.4.2). The empty tree is
    the beginning of every tree, without a proof.
    """
    if first == 0 or first == second:
        return not proof and 0 <= first <= second and first_tree == (second_tree if first == second else EMPTY)
    if not 0 < first < second or not proof:
        return False
    path = [first_tree, *proof] if first & (first - 1) == 0 else list(proof)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_tree and sr == second_tree
