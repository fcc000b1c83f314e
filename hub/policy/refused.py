"""The area that a refusal reaches: every 2 km cell that the jurisdiction touches.

A refusal is tested at the coarsest grid, so that it tells nothing finer than any grant releases; and it hides a whole cell rather than
leave a part of the area open. Pure; (lon, lat) in degrees, WGS 84.
"""

from collections.abc import Iterator
from functools import lru_cache

import shapely

from hub.geo import Cell, Point, cell, columns

COARSEST_M = 2_000


@lru_cache(maxsize=256)
def refused_area(area: shapely.Geometry) -> shapely.Geometry:
    """`area` and every 2 km cell that it touches. The centre of a cell lies in the result exactly if the cell touches `area`."""
    return shapely.union_all([shapely.union_all([part, *_touched(part)]) for part in shapely.get_parts(area)])


def _touched(part: shapely.Geometry) -> list[shapely.Geometry]:
    """The cells that the border of one polygon touches."""
    border = shapely.boundary(part)
    shapely.prepare(border)
    return [box for row in _rows(part) for box in row if shapely.intersects(border, box)]


def _rows(area: shapely.Geometry) -> Iterator[list[shapely.Geometry]]:
    """The cells of each 2 km row that may touch the polygon, as boxes."""
    west, south, east, north = shapely.bounds(area)
    first, last = cell(Point(0.0, south), COARSEST_M).row, cell(Point(0.0, north), COARSEST_M).row
    for row in range(max(first - 1, 0), last + 1):
        across = Cell(COARSEST_M, row, 0).box
        strip = shapely.clip_by_rect(area, west, across.south, east, across.north)
        if not strip.is_empty:
            yield list(_boxes(row, *shapely.bounds(strip)[[0, 2]]))


def _boxes(row: int, west: float, east: float) -> Iterator[shapely.Geometry]:
    count = columns(row)
    first, last = int((west + 180.0) * count / 360.0) - 1, int((east + 180.0) * count / 360.0) + 1
    for column in range(max(first, 0), min(last, count - 1) + 1):
        yield shapely.box(*Cell(COARSEST_M, row, column).box)
