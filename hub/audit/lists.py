"""The lists of owners in a bundle: each must be dense, come to the heads that the tree tells, and reach up to its end. Pure.

What may be missing of a list are bodies that have expired, and of those only what a leaf of the tree says: who removed them, which months,
before which place. How old a place is shows by the leaves before it; heads leaves never expire.
"""

from base64 import b64decode
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any, Final

from hub.audit import bundle
from hub.audit.heads import WHOLE_EVERY, Head, start

EXPIRY: Final = "log-expiry"
NEVER: Final = datetime.fromtimestamp(0, UTC)
SLACK: Final = timedelta(minutes=1)
LATE: Final = timedelta(days=7)
"""How long after its month a leaf may at most have come into the tree."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Of a complete list: how many leaves; the heads leaf that tells so, its time; how many bodies are there, how many have expired."""

    count: int
    index: int
    at: datetime
    bodies: int
    expired: int

    @property
    def missing(self) -> int:
        """Bodies that are neither there nor expired."""
        return self.count - self.bodies - self.expired


@dataclass(frozen=True, slots=True)
class _Expiry:
    """Bodies of before the place `before` and the month `month` were removed, says the leaf at `index`."""

    index: int
    before: int
    month: datetime


class Lists:
    """`at`: the hash that the tree of `size` leaves has at a place, None where the bundle lacks it; `pinned`: heads verified before."""

    def __init__(self, size: int, at: Callable[[int], bytes | None], pinned: Mapping[str, Head]) -> None:
        self._size, self._at, self._pinned = size, at, pinned
        self.links: dict[str, list[tuple[int, bytes]]] = {}
        self._places: dict[str, set[int]] = {}
        self._known: dict[str, Head] = {}  # the last that was worked out: heads leaves tell of ever later ones
        self._told: dict[str, tuple[int, int, datetime]] = {}
        self._heads: set[int] = set()
        self._last = (-1, NEVER)  # of the heads leaves
        self._seen: list[int] = []
        self._times: list[datetime] = []  # of `_seen`; once all were seen, the latest up to there
        self._expired: list[_Expiry] = []
        self._owners: Counter[int] = Counter()

    def read(self, owner: str, raw: bytes) -> Iterator[str]:
        """Takes the list of an owner; what is wrong with it."""
        rest = len(raw) % bundle.LINK.size
        links = list(bundle.LINK.iter_unpack(raw[: len(raw) - rest]))
        if rest or any(a >= b for (a, _), (b, _) in pairwise(links)):
            yield f"The list of {whose(owner)} is not in the order of the tree."
        for index, digest in links:
            there = self._at(index)
            if index >= self._size or (there is not None and there != digest):
                yield f"The list of {whose(owner)} has a leaf at {index} which the tree doesn't have there."
        self.links[owner], self._places[owner] = links, {index for index, _ in links}
        self._owners.update(self._places[owner])
        pinned = self._pinned.get(owner)
        if pinned is not None and (len(links) < pinned.n or self._head(owner, pinned.n) != pinned):
            yield f"The list of {whose(owner)} does not go on from the {pinned.n} leaves that were verified before."

    def entry(self, index: int, at: datetime, leaf: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong between the leaf at a place and of a time, which is no heads leaf, and the lists."""
        self._note(index, at)
        owner = leaf.get("owner") or ""
        if index not in self._places.get(owner, (index,)):
            yield f"Entry {index} is about {whose(owner)} and is not in that list."
        if leaf["type"] == EXPIRY and leaf["decision"] == "permit":
            yield from self._expiry(index, at, leaf)

    def heads(self, index: int, at: datetime, leaf: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong between a heads leaf of a time and the lists. Entries come in the order of the tree."""
        if index in self._owners:
            yield f"Entry {index} says that it is a heads leaf, and is in the list of an owner."
            return
        self._heads.add(index)
        self._last = index, at
        self._note(index, at)
        for owner, (n, chain) in leaf["heads"].items():
            if owner not in self.links:
                continue
            links = self.links[owner]
            right = (
                0 <= n <= len(links)
                and (n == len(links) or links[n][0] > index)
                and (n == 0 or links[n - 1][0] < index)
                and self._head(owner, n).chain == b64decode(chain)
            )
            if not right:
                head = f"does not come to the head that the tree tells at {index}"
                yield f"The list of {whose(owner)} {head}: a leaf was left out, added or moved."
            self._told[owner] = index, n, at

    def end(self, bodies: Collection[int], complete: Collection[str]) -> Iterator[str]:
        """What is wrong once all entries were seen, which had these places; `complete`: whose lists the bundle says it has."""
        if self._size and self._last[0] != self._size - 1:
            yield "The last leaf of the tree, which tells how far the lists go, is not in the bundle."
        end = self._last[1]
        # What says that it is of later than the end of the log says nothing of how old its neighbours are.
        self._times = list(accumulate((at if at <= end + SLACK else NEVER for at in self._times), max))
        for owner, links in self.links.items():
            index, n, at = self._told.get(owner, (-1, 0, NEVER))
            if n != len(links) or index < 0:
                yield f"No heads leaf of the bundle tells of the whole list of {whose(owner)}."
            elif at < end - WHOLE_EVERY - SLACK:
                yield (
                    f"The newest head of the list of {whose(owner)} is of {at:%Y-%m-%d %H:%M} UTC, and there must be one of the last hour "
                    f"before {end:%Y-%m-%d %H:%M}: what came later was left out."
                )
        for owner in complete:
            if owner not in self.links:
                yield f"The bundle says that the list of {whose(owner)} is complete, and doesn't have it."

    def reach(self, owner: str, bodies: Set[int]) -> Reach:
        """How far a list that holds goes."""
        index, n, at = self._told[owner]
        places = self._places[owner]
        gone = places - bodies
        return Reach(n, index, at, len(places) - len(gone), sum(map(self.expired, gone)))

    @property
    def complete(self) -> list[str]:
        """Whose lists are told of to their end."""
        return [owner for owner, links in self.links.items() if owner in self._told and self._told[owner][1] == len(links)]

    def whole(self, bodies: Collection[int]) -> Iterator[str]:
        """What is wrong with the lists of a whole log: every place is in one of them or is a heads leaf, and every body is there."""
        for index in sorted(index for index, lists in self._owners.items() if lists > 1):
            yield f"Place {index} is in more than one list."
        for index in range(self._size):
            if index in self._heads:
                continue
            if index not in self._owners:
                there = "is no heads leaf" if index in bodies else "its leaf is missing"
                yield f"Place {index} is in nobody's list, and {there}."
            elif index not in bodies and not self.expired(index):
                yield f"The leaf at {index} is missing: its body was deleted."

    def notes(self) -> Iterator[str]:
        """What was removed, by whose word."""
        for gone in self._expired:
            yield (
                f"Bodies before place {gone.before}, of before {gone.month:%Y-%m}, were removed by the hub's operator, says entry "
                f"{gone.index}. Their places and hashes are verified."
            )

    def expired(self, index: int) -> bool:
        """Whether the body at a place may be gone: a leaf says so, and the place is not younger than what that removed."""
        latest = max((gone.month for gone in self._expired if index < gone.before), default=None)
        before = bisect_left(self._seen, index)
        return latest is not None and (before == 0 or self._times[before - 1] < latest + LATE)

    def _note(self, index: int, at: datetime) -> None:
        self._seen.append(index)
        self._times.append(at)

    def _expiry(self, index: int, at: datetime, leaf: Mapping[str, Any]) -> Iterator[str]:
        asked = leaf["asked"]
        before, month = int(asked["places"]), datetime.strptime(asked["before"], "%Y-%m").replace(tzinfo=UTC)
        if before > index or "owner" in leaf:
            yield f"Entry {index} says that bodies before place {before} were removed, which can't be."
        elif month > at - bundle.BODIES_KEPT:
            yield f"Entry {index} says that bodies of before {asked['before']} were removed, which were not a year old."
        else:
            self._expired.append(_Expiry(index, before, month))

    def _head(self, owner: str, n: int) -> Head:
        head = self._known.get(owner)
        if head is None or head.n > n:
            head = start(owner)
        self._known[owner] = head = head.follow(self.links[owner][head.n : n])
        return head

    def head_of(self, owner: str) -> Head:
        """Of the whole list."""
        return self._head(owner, len(self.links[owner]))


def whose(owner: str) -> str:
    return owner or "the hub itself"
