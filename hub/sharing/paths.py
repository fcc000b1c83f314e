"""What a query asks, and which access path answers it.

A page is in the order (cells wholly inside the area first, then its edge), (2 km cell, id); records whose place is withheld come
last and only when no area is asked for. `time` orders by (2 km cell, id), whatever the area. The path that fixes the order depends
on the query alone, so that a cursor stays good; `page` and `seek` share one order and may alternate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from hub.geo import EVERYWHERE, Box, CellRange, ranges
from hub.sharing.cursor import Position
from hub.sharing.statements import NIL

SEEK_SHARE = 0.04  # below this share of the dataset a reader's own rows are fewer than those a walk would pass over
SEEK_KEYS = 4_000
SEEK_RATE = 0.2  # one key of the index costs as much as walking past five records
TIME_SPAN = timedelta(days=8)
TIME_CELLS = 200  # an area of fewer cells is walked: reading its cells beats reading and sorting the whole period


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: area (degrees), times (inclusive), exact values of clear fields, page size, cursor."""

    box: Box | None = None
    since: datetime | None = None
    until: datetime | None = None
    values: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    limit: int = 10
    cursor: str | None = None


def is_time_path(query: Query, areas: Sequence[CellRange]) -> bool:
    """Whether the query names a short period and a large area."""
    if query.since is None or query.until is None or query.until - query.since > TIME_SPAN:
        return False
    return query.box is None or sum(r.high - r.low + 1 for r in areas) > TIME_CELLS


def areas_of(query: Query) -> list[CellRange]:
    return ranges(query.box) if query.box else [EVERYWHERE]


def remaining(areas: Sequence[CellRange], position: Position | None) -> tuple[list[CellRange], UUID]:
    """The ranges still to walk after `position`, and the id after which the first of them goes on."""
    if position is None or position.k2 is None:
        return list(areas) if position is None else [], NIL
    cell = position.k2
    for n, area in enumerate(areas):
        if area.low <= cell <= area.high:
            here = CellRange(cell, cell, area.inside)
            after = [CellRange(cell + 1, area.high, area.inside)] if cell < area.high else []
            return [here, *after, *areas[n + 1 :]], position.id
    return [], NIL


def cells_of(areas: Sequence[CellRange]) -> list[int] | None:
    """Every 2 km cell of `areas`, or None when they are too many to list."""
    if sum(a.high - a.low + 1 for a in areas) > SEEK_KEYS:
        return None
    return [cell for a in areas for cell in range(a.low, a.high + 1)]
