"""Chains of owners: how an owner, or an auditor, sees that a list of leaves about its data is complete. Pure.

    chain 0   SHA-256("HUBOWNER1\\0" | owner)            owner in UTF-8; empty for the hub's own log
    chain n   SHA-256(chain n-1 | n u64 | index u64 | leaf hash)

`index` is the leaf's place in the tree. Each batch that goes into the tree ends with a *heads leaf*, which tells (n, chain) of every owner
to whose list it added; once an hour (WHOLE_EVERY) one tells those of all (`whole`). So the tree commits to each list: whoever leaves an
entry out, adds one or moves one changes every later head; and whoever shows an old head can't show one of the last hour. Inclusion proofs
alone can't show that all entries were presented.
"""

from collections.abc import Iterable
from datetime import timedelta
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple

TYPE: Final = "heads"
WHOLE_EVERY: Final = timedelta(hours=1)
_PLACES: Final = Struct(">QQ")


class Head(NamedTuple):
    """How many leaves an owner's list has, and the chain over them."""

    n: int
    chain: bytes

    def follow(self, links: Iterable[tuple[int, bytes]]) -> "Head":
        """With more leaves; of each its place in the tree and its hash."""
        n, chain = self
        for index, leaf_hash in links:
            n += 1
            chain = sha256(chain + _PLACES.pack(n, index) + leaf_hash).digest()
        return Head(n, chain)


def start(owner: str) -> Head:
    """The head of a list without leaves; `owner` is empty for the hub's own log."""
    return Head(0, sha256(b"HUBOWNER1\0" + owner.encode()).digest())
