"""What a map shows: each record of an area at its released place, or, where there are too many, how many there are in each cell.

Nothing sealed is read. A record that is granted exactly is shown at its 100 m cell, by which it is found; its exact place is opened
where one record is. Counts are of released places: a record that is released more coarsely than the cells of the map is counted in
its own, larger cell (docs/decisions/0016).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from hub.audit.leaf import Share, instant
from hub.geo import FINEST_M, Cell, CellRange, Point, snap
from hub.policy.treatments import WITHHOLD, Treatment
from hub.sharing.deliveries import Delivery, Given, deliveries, owed
from hub.sharing.disclosure import cited, finest, told
from hub.sharing.live import LiveGrant, Policy

MAX_RECORDS = 10_000
COARSE_M, FINE_M = 2_000, 500
FINE_CELLS = 100  # an area of at most so many 2 km cells is counted by cells of 500 m
_FIELDS = ("category", "occurred_at")
Clauses = tuple[int, ...]


class Spot(NamedTuple):
    """One record, as the statement `records` gives it: masked, with the live clauses that release it. `grid_m` is 0 when they release
    the exact place; lon, lat are then the centre of its 100 m cell.
    """

    id: str
    provider: int
    revision_no: int
    clauses: Clauses
    lon: float
    lat: float
    grid_m: int
    category: str | None
    occurred_at: datetime | None
    occurred_at_round_to: str | None


class Count(NamedTuple):
    """How many records of a provider, released by the same live clauses, lie in one cell: its centre (lon, lat) and width (m)."""

    provider: int
    clauses: Clauses
    place: Point
    grid_m: int
    number: int


@dataclass(frozen=True, slots=True)
class Overview:
    """What is answered, as JSON, and what of it the log tells each owner."""

    json: bytes
    shares: Sequence[Share]
    given: Sequence[Delivery] = ()


def spots(rows: Iterable[tuple[Any, ...]]) -> list[Spot]:
    """The rows of the statement `records`. Few sets of clauses come up, again and again: each is kept once."""
    known: dict[Clauses, Clauses] = {}
    return [Spot(i, p, no, known.setdefault(tuple(g), tuple(g)), *more) for i, p, no, g, *more in rows]


def form_of(areas: Iterable[CellRange]) -> str:
    """Which statement counts the records of an area."""
    return "fine" if sum(a.high - a.low + 1 for a in areas) <= FINE_CELLS else "coarse"


def counts(form: str, rows: Iterable[tuple[Any, ...]]) -> list[Count]:
    """The rows of the statement `coarse` or `fine`."""
    if form == "coarse":
        return [Count(provider, tuple(grants), _centre(k2), COARSE_M, n) for provider, grants, k2, n in rows]
    found: Counter[tuple[int, Clauses, Point, int]] = Counter()
    for provider, grants, lon, lat, grid_m, n in rows:
        place, width = (Point(lon, lat), grid_m) if grid_m > FINE_M else (snap(Point(lon, lat), FINE_M), FINE_M)
        found[provider, tuple(grants), place, width] += n
    return [Count(*where, n) for where, n in found.items()]


def of_records(policy: Policy, found: Sequence[Spot], at: datetime) -> Overview:
    """The map of single records."""
    under, index = _under(policy, {s.clauses for s in found})
    records = [
        (s.id, s.lon, s.lat, s.grid_m or FINEST_M, index[s.clauses], s.category, s.occurred_at, s.occurred_at_round_to) for s in found
    ]
    answer = {"kind": "records", "at": instant(at), "under": under, "fields": _FIELDS, "records": records}
    shares = []
    for provider in sorted({s.provider for s in found}):
        own = [s for s in found if s.provider == provider]
        sets = {s.clauses for s in own}
        more = {"fields": told({name: _words(policy, sets, name) for name in ("place", *_FIELDS)})}
        shares.append(Share(policy.names[provider], cited(policy, sets), [s.revision_no for s in own], more))
    shown = {
        c: {n: ",".join(t) for n in ("place", *_FIELDS) if (t := _words(policy, [c], n))}
        for c in {s.clauses for s in found}
        if owed(policy, c)
    }
    given = deliveries(policy, (Given(s.provider, s.id, s.clauses) for s in found), shown)
    return Overview(orjson.dumps(answer, option=orjson.OPT_UTC_Z), shares, given)


def of_counts(policy: Policy, found: Sequence[Count], form: str, at: datetime) -> Overview:
    """The map of counts. The log tells an owner how many of its records were counted, in how many cells."""
    under, _ = _under(policy, {c.clauses for c in found})
    cells = _by_cell(found)
    answer = {
        "kind": "counts",
        "at": instant(at),
        "grid_m": FINE_M if form == "fine" else COARSE_M,
        "total": sum(n for *_, n in cells),
        "under": under,
        "cells": cells,
    }
    shares = []
    for provider in sorted({c.provider for c in found}):
        own = [c for c in found if c.provider == provider]
        fields = told({"place": {f"grid_m:{c.grid_m}" for c in own}})
        more = {"count": sum(c.number for c in own), "cells": len({(c.place, c.grid_m) for c in own}), "fields": fields}
        shares.append(Share(policy.names[provider], cited(policy, {c.clauses for c in own}), (), more))
    return Overview(orjson.dumps(answer), shares)


@lru_cache(maxsize=100_000)
def _centre(k2: int) -> Point:
    return Cell.of_code(k2).centre


def _by_cell(found: Iterable[Count]) -> list[tuple[float, float, int, int]]:
    """lon, lat, grid_m and count of each cell, whoever's records are in it; in the order of their places."""
    sums: Counter[tuple[float, float, int]] = Counter()
    for c in found:
        sums[c.place.lon, c.place.lat, c.grid_m] += c.number
    return [(*cell, n) for cell, n in sorted(sums.items())]


def _under(policy: Policy, sets: Collection[Clauses]) -> tuple[list[dict[str, Any]], dict[Clauses, int]]:
    """The grants that give the finest place to some record, told in a fixed order; and which of them it is for each set of clauses."""
    giving = {clauses: [policy.grants[c] for c in clauses if c in policy.grants] for clauses in sets}
    chosen = {clauses: max(some, key=lambda g: (g.treatment("place").fineness, -g.id)) for clauses, some in giving.items()}
    ordered = sorted({g.id: g for g in chosen.values()}.values(), key=lambda g: (g.mou, g.version, g.name))
    index = {grant.id: n for n, grant in enumerate(ordered)}
    return [_clause(policy, grant) for grant in ordered], {clauses: index[grant.id] for clauses, grant in chosen.items()}


def _clause(policy: Policy, grant: LiveGrant) -> dict[str, Any]:
    """`grid_m` 0: this grant releases the exact place, which is opened where one record is."""
    treatment = grant.treatment("place")
    exact = treatment.word == "clear"
    return {
        "mou": grant.mou,
        "version": grant.version,
        "grant": grant.name,
        "provider": policy.names[grant.provider],
        "grid_m": 0 if exact else treatment.grid_m,
    }


def _words(policy: Policy, sets: Iterable[Clauses], name: str) -> set[str]:
    """The treatments in which a field was shown; an exact place is seen at the finest grid here."""
    given = {finest(policy, grants, name) for grants in sets} - {WITHHOLD}
    return {str(_seen(t)) if name == "place" else str(t) for t in given}


def _seen(place: Treatment) -> Treatment:
    return Treatment("grid_m", str(place.grid_m))
