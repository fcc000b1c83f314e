"""Holds what a leaf says was shown against the agreements that it cites, as their files stood then. Needs no database.

That a record lay in a grant's area and met its conditions can't be replayed: the values are not in the log. That the grant existed, was of
this organisation, for this purpose and action, in its period, and gave each field no finer than it was shown, can.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import combinations
from typing import Any

from hub.audit.bundle import GIVING
from hub.audit.leaf import TESTED
from hub.errors import InvalidPolicy
from hub.policy.clauses import Grant
from hub.policy.mou import Mou, read_mou
from hub.records import Record

COUNTS = "counts"


class Replay:
    """Calling it gives what does not fit between a leaf and the files that it cites (by name and version), a sentence each; a file that is
    missing is somebody else's to tell.
    """

    def __init__(self, datasets: Mapping[str, type[Record]]) -> None:
        self._datasets = datasets
        self._known: dict[bytes, Mou | None] = {}

    def __call__(self, leaf: Mapping[str, Any], files: Mapping[tuple[str, int], bytes]) -> Iterator[str]:
        if leaf["type"] not in GIVING or leaf["decision"] != "permit" or "under" not in leaf:
            return
        cited: list[Grant] = []
        for under in leaf["under"]:
            source = files.get((under["mou"], under["version"]))
            if source is None:
                continue
            mou, name = self._read(source), f"{under['mou']} version {under['version']}"
            if mou is None:
                yield f"{name} is not an agreement that can be read"
                continue
            yield from _parties(leaf, mou, name)
            for grant in under["grants"]:
                found = next((g for g in mou.grants if g.id == grant), None)
                if found is None:
                    yield f"{name} has no grant {grant}"
                else:
                    cited.append(found)
                    yield from _allowed(leaf, found, f"the grant {grant} of {name}")
        yield from _shown(leaf, cited)

    def _read(self, source: bytes) -> Mou | None:
        if source not in self._known:
            try:
                self._known[source] = read_mou(source, self._datasets)
            except InvalidPolicy:
                self._known[source] = None
        return self._known[source]


def _parties(leaf: Mapping[str, Any], mou: Mou, name: str) -> Iterator[str]:
    if (mou.parties.provider, mou.parties.consumer) != (leaf.get("owner"), leaf["by"].get("organisation")):
        yield f"{name} is between {mou.parties.provider} and {mou.parties.consumer}"
    since, until = mou.in_force.period
    if not since <= datetime.fromisoformat(leaf["at"]) < until:
        yield f"{name} was not in force then"


def _allowed(leaf: Mapping[str, Any], grant: Grant, name: str) -> Iterator[str]:
    if grant.dataset != leaf["dataset"]:
        yield f"{name} is about {grant.dataset}"
    if leaf.get("purpose") not in grant.purposes:
        yield f"{name} is not for the purpose {leaf.get('purpose')}"
    if leaf.get("asked", {}).get("as") != COUNTS and leaf["type"] not in grant.actions:
        yield f"{name} does not allow to {leaf['type']}"
    if grant.case_reference and "case" not in leaf:
        yield f"{name} wants a case reference"


def _shown(leaf: Mapping[str, Any], grants: Iterable[Grant]) -> Iterator[str]:
    """Each field in treatments that the cited grants give it."""
    if leaf.get("asked", {}).get("as") == COUNTS:
        return  # by 2 km cell, month and category, whatever the grant releases else
    for field, words in leaf.get("shown", {}).get("fields", {}).items():
        given = {str(grant.treatment(field)) for grant in grants}
        given |= {TESTED, "match_only"} if {"match_only", "clear"} & given else set()
        told = (",".join(some) for count in range(1, len(given) + 1) for some in combinations(sorted(given), count))
        if words not in told:
            yield f"{field} was shown as {words}, and the grants that it cites give {' or '.join(sorted(given)) or 'nothing'}"
