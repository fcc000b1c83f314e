"""The outline of a set of 500 m cells, in whole numbers only: the same bytes on every machine, whatever geometry library it has.

Positions are (x, y) in 10⁻⁷ degrees: longitude, latitude. Columns of one 2 km row don't meet those of the next, so a corner of one
cell may lie on the side of another; rows are compared as intervals, not cell by cell.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from itertools import pairwise

from hub.geo import Cell, columns

GRID_M = 500
PER_DEGREE = 10_000_000
_AROUND = 360 * PER_DEGREE
_ROW = 45_000  # height of a 500 m row
Position = tuple[int, int]
Ring = list[Position]
Run = tuple[int, int, int]  # row, west, east: neighbouring cells of one row


def outline(cells: Collection[Cell]) -> list[list[Ring]]:
    """The polygons of the union of `cells`: each an outer ring, counterclockwise, then its holes, clockwise, all closed (RFC 7946
    §3.1.6). Cells that touch in a corner only are different polygons. No cell may lie at the antimeridian.
    """
    parts = [_rings(part) for part in _parts(_runs(cells))]
    return sorted(sorted(rings, key=lambda ring: (_area(ring) < 0, ring)) for rings in parts)


def _runs(cells: Collection[Cell]) -> list[Run]:
    runs: list[Run] = []
    last = (-1, -1)
    for row, column in sorted((cell.row, cell.column) for cell in cells):
        west, east = _meridian(row, column), _meridian(row, column + 1)
        if last == (row, column - 1):
            runs[-1] = (row, runs[-1][1], east)
        else:
            runs.append((row, west, east))
        last = (row, column)
    return runs


def _meridian(row: int, column: int) -> int:
    """West side of a column, rounded to a whole 10⁻⁷ degree."""
    width = columns(row // 4) * 4
    return (2 * column * _AROUND + width) // (2 * width) - _AROUND // 2


def _parts(runs: list[Run]) -> list[list[Run]]:
    """Runs that share a side, directly or through others."""
    of_row: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        of_row[run[0]].append(run)
    parts, left = [], set(runs)
    for first in runs:
        if first not in left:
            continue
        left.discard(first)
        part = [first]
        for row, west, east in part:  # grows while it is walked
            beside = [run for n in (row - 1, row + 1) for run in of_row[n] if run in left and run[1] < east and west < run[2]]
            left.difference_update(beside)
            part += beside
        parts.append(sorted(part))
    return parts


def _rings(runs: list[Run]) -> list[Ring]:
    """The rings around runs; the inside is always on the left."""
    leaving: dict[Position, list[Position]] = defaultdict(list)
    for start, end in _sides(runs):
        leaving[start].append(end)
    found = []
    for start in sorted(leaving):
        while leaving[start]:
            ring, at = [start], leaving[start].pop()
            while at != start:
                ring.append(at)
                at = _onward(ring[-2], at, leaving[at])
            found += [_straight(simple) for simple in _simple(ring)]
    return found


def _sides(runs: list[Run]) -> Iterator[tuple[Position, Position]]:
    rows: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        rows[run[0]].append(run)
    for row, west, east in runs:
        south, north = _parallel(row), _parallel(row + 1)
        yield (east, south), (east, north)
        yield (west, north), (west, south)
    for line in sorted({n for row in rows for n in (row, row + 1)}):
        yield from _between(rows.get(line - 1, []), rows.get(line, []), _parallel(line))


def _between(below: list[Run], above: list[Run], y: int) -> Iterator[tuple[Position, Position]]:
    """The parts of a parallel with the inside on one side of it only."""
    turns: dict[int, int] = defaultdict(int)
    for runs, sign in ((above, 1), (below, -1)):
        for _, west, east in runs:
            turns[west] += sign
            turns[east] -= sign
    side = 0  # 1: only above, so the outline goes east; -1: only below, so it goes west; 0: both or neither
    for x, following in pairwise([*sorted(x for x, turn in turns.items() if turn), 0]):
        side += turns[x]
        if side > 0:
            yield (x, y), (following, y)
        elif side < 0:
            yield (following, y), (x, y)


def _parallel(row: int) -> int:
    return row * _ROW - 90 * PER_DEGREE


def _onward(before: Position, at: Position, ways: list[Position]) -> Position:
    """Where to go from `at`: left if there is a choice, so as to stay with the same cell."""
    (x0, y0), (x1, y1) = before, at
    way = max(ways, key=lambda to: (x1 - x0) * (to[1] - y1) - (y1 - y0) * (to[0] - x1))
    ways.remove(way)
    return way


def _simple(ring: Ring) -> Iterator[Ring]:
    """A ring that touches itself in a corner is several."""
    path: Ring = []
    for position in ring:
        if position in path:
            start = path.index(position)
            yield path[start:]
            del path[start:]
        path.append(position)
    yield path


def _straight(ring: Ring) -> Ring:
    """Closed, without corners that are none, from its lowest corner on."""
    corners = [
        b
        for a, b, c in zip(ring[-1:] + ring[:-1], ring, ring[1:] + ring[:1], strict=True)
        if not (a[0] == b[0] == c[0] or a[1] == b[1] == c[1])
    ]
    first = corners.index(min(corners))
    return [*corners[first:], *corners[: first + 1]]


def _area(ring: Ring) -> int:
    """Twice the signed area: positive when counterclockwise."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(ring))
