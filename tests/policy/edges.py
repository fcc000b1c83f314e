"""Values on the edges: places in and beside the cells that a boundary's border runs through, times at the bounds of windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any

from tests.policy.oracle import CELLS_PER_SIDE, STEPS, Grant, Spot, cell, centre, columns_2k, margin, rounded, span

MICROSECOND = timedelta(microseconds=1)
SITES: dict[str, Spot] = {
    "dateline": (179.9991, -17.4013),
    "toronto": (-79.3807, 43.6511),
    "null": (-0.0004, -0.0004),
    "tromso": (18.9553, 69.6489),
    "quito": (-78.5003, -0.1807),
    "ushuaia": (-68.3029, -54.8019),
    "pole": (12.3456, 89.9531),
}
GeoJson = dict[str, Any]
Index = tuple[int, int]


@dataclass(frozen=True)
class Site:
    """A neighbourhood, with its boundaries for each grid."""

    name: str
    spot: Spot

    def base(self, grid_m: int) -> Index:
        return cell(*self.spot, grid_m)

    def cells(self, grid_m: int) -> Iterator[Index]:
        """The cells in and around the boundaries of the grid."""
        row, column = self.base(grid_m)
        for r in range(row - 1, min(row + 7, rows(grid_m))):
            yield from ((r, (column + c) % around(r, grid_m)) for c in range(-1, 7))

    def areas(self, grid_m: int) -> dict[str, GeoJson]:
        """Boundaries whose borders, corners and holes run through centres of cells."""
        row, column = self.base(grid_m)
        found = {"block": _rectangle(row, column, grid_m, 2, 3), "ring": _ring(row, column, grid_m)}
        if self.name not in ("dateline", "pole"):
            corners = [centre(row, column, grid_m), centre(row, column + 4, grid_m), centre(row + 3, column + 2, grid_m)]
            found["wedge"] = {"type": "Polygon", "coordinates": [[list(c) for c in [*corners, corners[0]]]]}
        return {f"{self.name}-{grid_m}-{shape}": geometry for shape, geometry in found.items()}


def rows(grid_m: int) -> int:
    return 10_000 * (20 // CELLS_PER_SIDE[grid_m])


def around(row: int, grid_m: int) -> int:
    """How many cells of the grid go round the earth in a row."""
    in_2k = 20 // CELLS_PER_SIDE[grid_m]
    return columns_2k(row // in_2k) * in_2k


def _box(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def _corner(row: int, column: int, grid_m: int) -> Spot:
    return centre(min(row, rows(grid_m) - 1), column % around(row, grid_m), grid_m)


def _rectangle(row: int, column: int, grid_m: int, up: int, right: int) -> GeoJson:
    """Cut in two at the antimeridian (RFC 7946 §3.1.9)."""
    west, south = _corner(row, column, grid_m)
    east, north = _corner(row, column + right, grid_m)[0], _corner(row + up, column, grid_m)[1]
    if west <= east:
        return {"type": "Polygon", "coordinates": [_box(west, south, east, north)]}
    return {"type": "MultiPolygon", "coordinates": [[_box(west, south, 180.0, north)], [_box(-180.0, south, east, north)]]}


def _ring(row: int, column: int, grid_m: int) -> GeoJson:
    """Five cells by five with a hole of two by two."""
    outer, above = _rectangle(row, column, grid_m, 5, 5), _corner(row + 1, column, grid_m)[1]
    # Columns begin elsewhere in another 2 km row: the hole begins in the cell that lies above the second of the base row.
    first = cell(_corner(row, column + 1, grid_m)[0], above, grid_m)
    hole = _rectangle(*first, grid_m, 2, 2)
    if outer["type"] == "Polygon" and hole["type"] == "Polygon" and row < rows(grid_m) - 100:
        outer["coordinates"].append(hole["coordinates"][0])
    return outer


def spot_in(rng: Random, index: Index, grid_m: int) -> Spot:
    """A position in a cell, as a rule at one of its corners, well away from where a double's rounding could decide."""
    row, column = index
    count = around(row, grid_m)
    for _ in range(100):
        up, right = (rng.choice(["low", "high", "middle"]) for _ in range(2))
        lat = _along(rng, up, row, Fraction(180, rows(grid_m)), 90)
        lon = _along(rng, right, column, Fraction(360, count), 180)
        if -90 <= lat <= 90 and -180 <= lon <= 180 and cell(lon, lat, grid_m) == index and margin(lon, lat) > Fraction(1, 10**8):
            return lon, lat
    raise AssertionError(f"no certain position in cell {index} of {grid_m} m")


def _along(rng: Random, where: str, number: int, size: Fraction, offset: int) -> float:
    inset = Fraction(rng.choice([2, 30, 500]), 10**9)  # degrees; 1e-9° is a tenth of a millimetre
    low, high = number * size - offset, (number + 1) * size - offset
    exact = {"low": low + inset, "high": high - inset, "middle": low + size * Fraction(rng.randint(1, 999), 1000)}[where]
    return round(float(exact), 9)


def window_bounds(grant: Grant, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The first and the last time (µs) that the grant's window shows at `now`."""
    window, step = grant.data.get("occurred", {}), STEPS.get(grant.treatment("occurred_at"), timedelta(0))
    first = last = None
    if "lookback" in window:
        since = now - span(window["lookback"])
        first = rounded(since, step) if rounded(since, step) == since else rounded(since, step) + step
    if "embargo" in window:
        last = rounded(now - span(window["embargo"]), step) - MICROSECOND
    return first, last


def times_around(rng: Random, grant: Grant, now: datetime) -> Sequence[datetime]:
    """Times at the bounds of the grant's window, a microsecond and a step either side of them, and on hours and days."""
    bounds = [b for b in window_bounds(grant, now) if b is not None]
    bounds = bounds or [rounded(now - timedelta(hours=rng.randint(1, 400)), STEPS[rng.choice(["PT1H", "P1D"])])]
    near = [timedelta(0), MICROSECOND, -MICROSECOND, timedelta(hours=1), -timedelta(hours=1), timedelta(minutes=rng.randint(1, 59))]
    return [b + d for b in bounds for d in near]
