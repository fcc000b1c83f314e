"""Finding leaves in a long log: any conjunction of filters, newest first, at a price that doesn't depend on which.

No plan suits every question: what is frequent is found at once by walking back from the newest leaf, what is rare by an index, and
two frequent things that never meet by intersecting indexes. Which of these a question is, statistics don't tell (they know neither
how filters go together nor where in time something happened, and underestimate small areas). So it is tried, cheapest first, and
each try is bounded: a short walk; then an index, given up when it gives more than `MANY`; then windows of ids that are halved until
one can be listed. Times and ids run alike, but not exactly: a filter by time looks where it expects its leaves first, and checks that
there are none elsewhere.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg2
from pyroaring import BitMap64

from hub.audit.leaf import revisions_in
from hub.db import Transaction
from hub.geo import Box, Point

STRIDE = 40_000  # leaves that a walk looks at before something else is tried: some 30 ms
MANY = 5_000  # leaves that an index may give before they are too many to sort
SAMPLE = 5_000  # leaves looked at to learn where matches are
SCANNED = 2_000  # leaves whose bitmaps are looked at in one go
ALONG = "set local enable_seqscan = off; set local enable_bitmapscan = off"
CROSSED = (
    # Indexes are to be crossed even where the planner thinks that one of them would do: it underestimates areas.
    "set local enable_seqscan = off; set local enable_indexscan = off; set local work_mem = '32MB';"
    " set local random_page_cost = 100; set local seq_page_cost = 100"
)
# The base64 of a bitmap holds no quote. Taking it out here spares parsing leaves that show something else.
_SHOWN = "id, type, split_part(split_part(leaf, '\"revisions\":\"', 2), '\"', 1)"
_BITMAPS = f"select {_SHOWN} from hub.audit_leaves where id = any(%s)"
DECISIONS = ("permit", "refuse", "absent")
TERMS = ("type", "decision", "purpose", "case", "owner", "dataset", "organisation", "client", "person", "session", "mou", "grant")


@dataclass(frozen=True)
class Search:
    """What to look for in the log; every member narrows it. `owner`: leaves about that organisation's data. Both ends of the time are
    included. `box`, `polygon` (its corners, three or more): leaves that asked about an area touching it, with `placeless` also those that
    named none. `before` and `after` are ids; with `after` the leaves that follow it most closely are found. `revisions`: leaves that
    stored or disclosed one of them. `type`: several kinds with commas between them; `grant`: agreement/grant; `others`: what somebody
    else than the owner did.
    """

    owner: str | None = None
    organisation: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    revisions: frozenset[int] | None = None
    before: int | None = None
    limit: int = 100
    person: UUID | None = None
    client: str | None = None
    session: str | None = None
    mou: str | None = None
    purpose: str | None = None
    case: str | None = None
    decision: str | None = None
    dataset: str | None = None
    box: Box | None = None
    placeless: bool = False
    after: int | None = None
    grant: str | None = None
    others: bool = False
    polygon: tuple[Point, ...] | None = None

    @property
    def terms(self) -> list[str]:
        """Those that a leaf must have all of, as hub.leaf_terms writes them."""
        return [f"{n}:{v}" for n in TERMS if (v := getattr(self, n)) is not None and not (n == "type" and len(self.kinds) > 1)]

    @property
    def kinds(self) -> list[str]:
        return self.type.split(",") if self.type is not None else []


class Span(NamedTuple):
    """Ids from `low` to `high`, both included."""

    low: int
    high: int

    def cut(self, width: int, upward: bool) -> tuple["Span", "Span"]:
        """The part of at most `width` ids that is looked at first, and what is left."""
        if upward:
            edge = min(self.low + width - 1, self.high)
            return Span(self.low, edge), Span(edge + 1, self.high)
        edge = max(self.high - width + 1, self.low)
        return Span(edge, self.high), Span(self.low, edge - 1)


@dataclass(frozen=True)
class Condition:
    """A condition on a leaf, in SQL. `index`: what can find leaves by it."""

    index: str
    sql: str
    values: Mapping[str, Any]


def conditions(search: Search) -> list[Condition]:
    found = []
    if search.terms:
        found.append(Condition("terms", "terms @> %(terms)s::text[]", {"terms": search.terms}))
    if len(search.kinds) > 1:
        found.append(Condition("terms", "terms && %(kinds)s::text[]", {"kinds": [f"type:{kind}" for kind in search.kinds]}))
    if search.others:
        found.append(Condition("others", "organisation <> owner", {}))
    if search.since is not None:
        found.append(Condition("at", "at >= %(since)s", {"since": search.since}))
    if search.until is not None:
        found.append(Condition("at", "at <= %(until)s", {"until": search.until}))
    if search.box is not None:
        boxes = {f"{side}{n}": degrees for n, half in enumerate(search.box.halves()) for side, degrees in zip("wsen", half, strict=True)}
        touched = [f"extent && ST_MakeEnvelope(%(w{n})s, %(s{n})s, %(e{n})s, %(n{n})s, 4326)" for n in range(len(boxes) // 4)]
        found.append(_placed(" or ".join(touched), boxes, search))
    if search.polygon is not None:
        corners = ", ".join(f"{lon!r} {lat!r}" for lon, lat in (*search.polygon, search.polygon[0]))
        touches = "ST_Intersects(extent, ST_GeomFromText(%(polygon)s, 4326))"
        found.append(_placed(touches, {"polygon": f"POLYGON(({corners}))"}, search))
    return found


def _placed(touches: str, values: Mapping[str, Any], search: Search) -> Condition:
    return Condition("extent", f"({touches} or extent is null)" if search.placeless else f"({touches})", values)


class Finder:
    """One search. `batches` gives ids in order; `rest` is what has not been looked at yet; `shown`: of leaves of the last batch, where
    bitmaps will be looked at, what was read along the way: kind and bitmap.
    """

    def __init__(self, tx: Transaction, search: Search, deadline: float | None = None) -> None:
        """`deadline`: of time.monotonic()."""
        self._tx, self._search, self._deadline = tx, search, deadline
        self._upward = search.after is not None
        self._conditions = conditions(search)
        self._scanning = search.revisions is not None
        self.shown: dict[int, tuple[str, str]] = {}
        self._values: dict[str, Any] = {name: value for c in self._conditions for name, value in c.values.items()}
        ((newest,),) = self._ask("", "select coalesce(max(id), 0) from hub.audit_leaves")
        self.range = self.rest = Span((search.after or 0) + 1, min(newest, search.before - 1) if search.before is not None else newest)

    @property
    def stops(self) -> bool:
        """Whether the time that the search may take is over. It has got on a little in any case."""
        return self._deadline is not None and time.monotonic() >= self._deadline and self.rest != self.range

    @property
    def over(self) -> bool:
        """Whether everything was looked at."""
        return self.rest.low > self.rest.high

    def batches(self) -> Iterator[list[int]]:
        """Ids of leaves that match, in order; between two of them the caller may stop."""
        want = SCANNED if self._scanning else self._search.limit
        yield self._by_time()
        if not self._scanning and not self.over:
            yield self._walk(STRIDE, want)
        for index in self._indexes():
            if not self.over:
                yield self._list({index}, self.rest) or []
        if not self._scanning and self._indexes():
            yield from self._by_windows(want)
        while not self.over:
            yield self._walk(STRIDE, want)

    def end(self) -> None:
        """What is left need not be looked at."""
        self._cover(self.rest)

    def _indexes(self) -> list[str]:
        """What to try in turn. An area that includes the leaves without one is no help: those are too many."""
        useless = {"at", "others", *({"extent"} if self._search.placeless else ())}
        return sorted({c.index for c in self._conditions} - useless, reverse=True)

    def _by_windows(self, want: int) -> Iterator[list[int]]:
        width = 0
        while not self.over:
            part, _ = self.rest.cut(width or self._expected(), self._upward)
            listed = self._list({c.index for c in self._conditions} | {"id"}, part)
            if listed is not None:
                yield listed
            yield self._walk(STRIDE // 2, want)
            width = max((part.high - part.low) // 4, STRIDE) if listed is None else 0

    def _expected(self) -> int:
        """How many ids away matches become frequent: where the first one is in a sample of the log's pages, which stays the same."""
        low, high = self.rest
        percent = min(100.0, 100.0 * SAMPLE / max(self.range.high, 1))
        tests = " and ".join(["id between %(low)s and %(high)s", *(c.sql for c in self._conditions)])
        edge = "min(id) - %(low)s" if self._upward else "%(high)s - max(id)"
        sample = f"hub.audit_leaves tablesample system ({percent}) repeatable (1)"
        ((away,),) = self._ask("", f"select {edge} from {sample} where {tests}", low=low, high=high)
        return high - low + 1 if away is None else max(away, STRIDE)

    def _cover(self, part: Span) -> None:
        low, high = self.rest
        self.rest = Span(part.high + 1, high) if self._upward else Span(low, part.low - 1)

    def _walk(self, width: int, want: int) -> list[int]:
        """The first `want` matches among the next `width` ids."""
        part, _ = self.rest.cut(width, self._upward)
        # `is true` keeps the planner from another index and a sort.
        tests = "".join(f" and ({c.sql}) is true" for c in self._conditions)
        order = "asc" if self._upward else "desc"
        found = self._ask(
            "set local enable_bitmapscan = off; set local enable_seqscan = off; set local enable_sort = off",
            f"select {_SHOWN if self._scanning else 'id'} from hub.audit_leaves"
            f" where id between %(low)s and %(high)s{tests} order by id {order} limit %(want)s",
            low=part.low,
            high=part.high,
            want=want,
        )
        ids = [row[0] for row in found]
        self.shown = {i: (kind, text) for i, kind, text in found} if self._scanning else {}
        if len(ids) == want:
            part = Span(part.low, ids[-1]) if self._upward else Span(ids[-1], part.high)
        self._cover(part)
        return ids

    def _list(self, indexes: Collection[str], part: Span) -> list[int] | None:
        """All matches in `part`, found by `indexes`; None: these give too many leaves, or it takes too long."""
        # An area alone is walked along its index, which can stop; a bitmap of it would be made whole first.
        plan = ALONG if indexes == {"extent"} else CROSSED
        if self._deadline is not None:  # a walk is short; only this can take long
            plan += f"; set local statement_timeout = {max(1, int((self._deadline - time.monotonic()) * 1e3))}"
        try:
            count, found, _ = self._tested(plan, indexes, part)
        except psycopg2.errors.QueryCanceled:
            if self._deadline is None:
                raise
            return None
        self._settle()
        if count == self._most:
            return None
        self._cover(part)
        return found

    def _settle(self) -> None:
        """A time limit that is reached just as its statement ends strikes the next one. That is this."""
        if self._deadline is not None:
            with suppress(psycopg2.errors.QueryCanceled):
                self._tx.rows("select 1")

    def _by_time(self) -> list[int]:
        """With a filter by time: all matches, where it holds for few leaves. Else those that lie before the ids at which leaves of that
        time begin: there should be none, and what is left begins where they are.
        """
        if self.over or not any(c.index == "at" for c in self._conditions):
            return []
        count, found, first = self._tested(ALONG, {"at"}, self.rest, f" order by at {'asc' if self._upward else 'desc'}")
        if count < self._most:
            self._cover(self.rest)
            return found
        outside = first - self.rest.low if self._upward else self.rest.high - first
        if outside <= STRIDE:
            return []
        part, _ = self.rest.cut(outside, self._upward)
        return self._list({"terms", "at", "id"}, part) or []

    def _tested(self, plan: str, indexes: Collection[str], part: Span, order: str = "") -> tuple[int, list[int], int]:
        """How many leaves `indexes` give, at most one too many; which of these match; the id of the first of them."""
        every = [*self._conditions, Condition("id", "id between %(low)s and %(high)s", {})]
        where = " and ".join(c.sql for c in every if c.index in indexes)
        tests = " and ".join(c.sql for c in every if c.index not in indexes) or "true"
        ((count, found, first),) = self._ask(
            plan,
            f"select count(*), array_agg(id) filter (where matches), {'min' if self._upward else 'max'}(id)"
            f" from (select id, {tests} as matches from hub.audit_leaves where {where}{order} limit %(most)s) l",
            low=part.low,
            high=part.high,
            most=self._most,
        )
        return count, sorted(found or (), reverse=not self._upward), first

    @property
    def _most(self) -> int:
        return max(MANY, self._search.limit) + 1

    def _ask(self, settings: str, statement: str, **more: int) -> list[tuple[Any, ...]]:
        # One message is one transaction, and its settings end with it. One left open would keep its time limit, also for what ends it.
        return self._tx.rows(f"{settings}; {statement}", self._values | more)


def showing(tx: Transaction, finder: Finder, ids: Sequence[int], search: Search, most: int) -> list[int]:
    """The first `most` of `ids` whose leaves hold one of the revisions in their bitmap. Going back, the search ends with the leaf that
    published the first revision: before it nobody could have seen the record.
    """
    wanted = BitMap64(search.revisions or ())
    found: list[int] = []
    for start in range(0, len(ids), SCANNED):
        some = ids[start : start + SCANNED]
        # Looking a leaf up by its id asks every month for it: the walk, which has met it, brings its bitmap along.
        shown = {i: finder.shown[i] for i in some if i in finder.shown}
        if len(shown) < len(some):
            shown |= {i: (kind, text) for i, kind, text in tx.rows(_BITMAPS, ([i for i in some if i not in shown],))}
        bitmaps = {i: (kind, revisions_in(text)) for i, (kind, text) in shown.items() if text}
        found += [i for i in some if i in bitmaps and bitmaps[i][1].intersect(wanted)]
        if len(found) >= most:
            break
        if search.after is None and any(kind == "publish" and wanted and wanted.min() in shown for kind, shown in bitmaps.values()):
            finder.end()
    return found
