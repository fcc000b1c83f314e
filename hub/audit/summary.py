"""What a search of the log finds, counted: by who did it, for what purpose, under what, of what kind.

The leaves' terms are counted where the leaves lie, some at a time, in the order and with the steps of any search (hub/audit/search.py):
what is kept here is one number for each word, however many leaves there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hub.audit.search import Finder, Search, showing
from hub.db import Transaction

COUNTED_BY = ("organisation", "person", "client", "purpose", "mou", "grant", "type", "decision")
AT_ONCE = 5_000  # leaves
_TERMS = (
    "select t, count(*), min(at), max(at) from hub.audit_leaves l, lateral (select distinct unnest(l.terms)) u(t)"
    " where id = any(%s) and split_part(t, ':', 1) = any(%s) group by t"
)


@dataclass(frozen=True, slots=True)
class Group:
    """How many leaves say `value`, and the times of the first and the last of them."""

    value: str
    entries: int
    first: datetime
    last: datetime

    def with_(self, other: "Group") -> "Group":
        return Group(self.value, self.entries + other.entries, min(self.first, other.first), max(self.last, other.last))


@dataclass(frozen=True)
class Summary:
    """`groups`: of each of COUNTED_BY, most frequent first; a leaf under two agreements counts for both. `complete`: everything was
    looked at; else what is older than `back_to` was not.
    """

    entries: int
    complete: bool
    groups: Mapping[str, Sequence[Group]] = field(default_factory=dict)
    back_to: datetime | None = None


def summarise(tx: Transaction, finder: Finder, search: Search) -> Summary:
    """Counts until everything is looked at, or the finder's time is over."""
    entries, found = 0, {name: dict[str, Group]() for name in COUNTED_BY}
    for batch in finder.batches():
        ids = batch if search.revisions is None else showing(tx, finder, batch, search, len(batch) + 1)
        entries += len(ids)
        for term, count, first, last in tx.rows(_TERMS, (ids, list(COUNTED_BY))) if ids else ():
            name, _, value = term.partition(":")
            group = Group(value, count, first, last)
            found[name][value] = found[name][value].with_(group) if value in found[name] else group
        if finder.stops:
            break
    groups = {name: sorted(those.values(), key=lambda g: (-g.entries, g.value)) for name, those in found.items()}
    return Summary(entries, finder.over, groups)
