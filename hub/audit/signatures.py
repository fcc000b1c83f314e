"""The signatures of the key process in a bundle: each genuine, none left out, each signed leaf in the tree, each access signed. Pure.

A leaf is committed before it is signed, signed within a minute, and taken into the tree in the order in which leaves came. So a signed leaf
that is missing while leaves of minutes later are there was taken away before it got there.
"""

from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from hub.audit import bundle
from hub.leaf_chain import NOTHING, Signed, genuine, verified

SETTLED: Final = timedelta(minutes=2)
SILENT: Final = timedelta(minutes=10)
"""How long accesses may at most be logged after the last signature: the key process signs each before it is answered."""
TOLD: Final = 20


class Signatures:
    """`keys`: the public keys that are trusted as the key process's; `since`: the place from which on every access is signed; `every`:
    the bundle says that it has all signatures.
    """

    def __init__(self, keys: Collection[bytes], since: int, every: bool) -> None:
        self._keys, self._since, self._every = keys, since, every
        self._by_leaf: dict[bytes, int] = {}
        self._chains: dict[int, bytes] = {}
        self._until = 0
        self._at: dict[int, datetime] = {}
        self._unsigned: list[tuple[int, datetime]] = []
        self._last: tuple[int, datetime] | None = None
        self._before = NOTHING

    @property
    def count(self) -> int:
        return len(self._chains)

    @property
    def unsigned(self) -> list[int]:
        """Places of accesses that were not signed."""
        return [index for index, _ in self._unsigned]

    def read(self, line: bytes) -> Iterator[str]:
        """Takes the next signature; what is wrong with it."""
        said = orjson.loads(line)
        raw = {name: b64decode(said[name]) for name in ("leaf", "chain", "key", "signature")}
        entry = Signed(int(said["n"]), UUID(said["event"]), raw["leaf"], raw["chain"], raw["key"], raw["signature"])
        good = genuine(entry, *self._before) if self._every else verified(entry)
        if entry.key not in self._keys:
            yield f"Signature {entry.n} is by a key that is not trusted as the key process's."
        elif not good:
            yield f"Signature {entry.n} of the key process doesn't verify, or doesn't follow from number {self._before[0]}."
        else:
            self._by_leaf.setdefault(entry.leaf_hash, entry.n)
        self._before = entry.n, entry.chain
        self._chains[entry.n] = entry.chain

    def entry(self, index: int, at: datetime, leaf: Mapping[str, Any], digest: bytes) -> None:
        """Notes the leaf at a place and of a time, which is no heads leaf. Entries come in the order of the tree."""
        n, kind = self._by_leaf.get(digest), leaf["type"]
        if n is not None:
            self._at[n] = at
            self._last = index, at
        # The command line reads the log without the key process.
        elif kind in bundle.DISCLOSING and index >= self._since and (kind != "audit" or leaf["by"].get("client") != "cli"):
            self._unsigned.append((index, at))

    def heads(self, index: int, leaf: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong between a heads leaf and the signatures."""
        if "signed" in leaf and self._every:
            n, chain = leaf["signed"]
            self._until = max(self._until, n)
            if self._chains.get(n) != b64decode(chain):
                yield f"The signatures of the key process don't come to the chain that the tree tells at {index} (number {n})."

    def end(self, there: Collection[bytes], whole: bool) -> Iterator[str]:
        """What is wrong once all entries were seen. `there`: the hashes that the tree has; `whole`: the bundle has all accesses, of one
        owner or of all.
        """
        if self._every:
            yield from self._missing(there)
        if whole and self._unsigned:
            index, at = self._unsigned[-1]
            since = self._last or self._unsigned[0]
            if index > since[0] and at - since[1] >= SILENT:
                yield (
                    f"Since {since[1]:%Y-%m-%d %H:%M} UTC accesses were logged and none was signed by the key process, up to entry {index}:"
                    " its signatures were kept from the log, or it could not be reached."
                )

    def notes(self) -> Iterator[str]:
        if self._unsigned:
            places = ", ".join(str(index) for index, _ in self._unsigned[:TOLD])
            more = f" and {len(self._unsigned) - TOLD} more" if len(self._unsigned) > TOLD else ""
            yield (
                f"{len(self._unsigned)} accesses were not signed by the key process: they were never answered (it could not be reached), "
                f"or were added by somebody. Entries {places}{more}."
            )

    def _missing(self, there: Collection[bytes]) -> Iterator[str]:
        """Signed leaves that are not in the tree and would be if nobody had taken them away; from the last on."""
        latest = nearest = None  # times of leaves that were signed later and are there: of any, of the one that was signed next
        for digest, n in sorted(self._by_leaf.items(), key=lambda known: -known[1]):
            if digest in there:
                at = self._at.get(n)
                nearest = at or nearest
                latest = max(filter(None, (latest, at)), default=None)
            # What was signed after the last heads leaf, or just before, may come into the tree after this checkpoint.
            elif n <= self._until or (latest is not None and nearest is not None and latest - nearest >= SETTLED):
                yield f"The leaf that the key process signed as number {n} is not in the tree: it was deleted before it got there."
