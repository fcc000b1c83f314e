"""Outlines for a map: thinned, cut into tiles, written small. (lon, lat) in degrees.

A line is written as text: whole thousandths of a degree, each point as the difference from the one before, each number zigzagged
and cut into five-bit groups, low group first, one printable character a group (the sixth bit says that another follows; 63 is
added). That is a third of the size of the same points as GeoJSON, and twenty lines of JavaScript read it.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

Points = NDArray[np.float64]  # n rows of lon, lat

PER_DEGREE = 1000
TILE = 10  # degrees


def encoded(points: Points) -> str:
    """`points` as text; points that fall together after rounding are written once."""
    whole = np.rint(points * PER_DEGREE).astype(np.int64)
    kept = np.r_[True, (np.diff(whole, axis=0) != 0).any(axis=1)]
    steps = np.diff(whole[kept], axis=0, prepend=np.zeros((1, 2), np.int64)).ravel()
    return "".join(_group(number) for number in ((steps << 1) ^ (steps >> 63)).tolist())


def _group(number: int) -> str:
    out = ""
    while number >= 32:
        out += chr((32 | number & 31) + 63)
        number >>= 5
    return out + chr(number + 63)


def decoded(text: str) -> list[tuple[float, float]]:
    """The points of `text`, as the browser reads them."""
    out, numbers = [], _numbers(text)
    lon = lat = 0
    for step in numbers:
        lon, lat = lon + step, lat + next(numbers)
        out.append((lon / PER_DEGREE, lat / PER_DEGREE))
    return out


def _numbers(text: str) -> Iterator[int]:
    number = shift = 0
    for letter in text:
        group = ord(letter) - 63
        number |= (group & 31) << shift
        shift += 5
        if group < 32:
            yield number >> 1 ^ -(number & 1)
            number = shift = 0


def area(ring: Points) -> float:
    """Area of a closed ring, square degrees, whichever way it turns."""
    x, y = ring[:, 0], ring[:, 1]
    return abs(float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2


def thinned(lines: Sequence[Points], tolerance: float) -> list[Points]:
    """The lines without the points that change them by less than `tolerance` degrees."""
    # As lines, not as areas: nothing here needs rings to be valid, and mending those of a continent takes minutes.
    drawn = [shapely.LineString(line) for line in lines]
    simple = shapely.simplify(drawn, tolerance, preserve_topology=False)
    return [shapely.get_coordinates(line) for line in simple]


def tiles(
    rings: Iterable[Points], west: int = -180, south: int = -90, east: int = 180, north: int = 90
) -> Iterator[tuple[int, int, Points]]:
    """(west, south, ring) of every piece of the rings in a tile of `TILE` degrees; degrees are whole multiples of `TILE`."""
    held = [ring for ring in rings if len(ring) > 2]
    if not held:
        return
    if east - west <= TILE and north - south <= TILE:
        for ring in held:
            yield west, south, ring
        return
    axis = 0 if east - west >= north - south else 1
    low, high = ((west, east), (south, north))[axis]
    middle = low + (high - low) // TILE // 2 * TILE
    below = (_below(ring, axis, middle) for ring in held)
    above = (-_below(-ring, axis, -middle) for ring in held)
    if axis == 0:
        yield from tiles(below, west, south, middle, north)
        yield from tiles(above, middle, south, east, north)
    else:
        yield from tiles(below, west, south, east, middle)
        yield from tiles(above, west, middle, east, north)


def _below(ring: Points, axis: int, limit: float) -> Points:
    """The part of a ring at or below `limit` on an axis (Sutherland and Hodgman's clipping against one edge)."""
    inside = ring[:, axis] <= limit
    if inside.all():
        return ring
    if not inside.any():
        return ring[:0]
    after = np.roll(ring, -1, axis=0)
    crosses = inside != np.roll(inside, -1)
    step = np.where(crosses, after[:, axis] - ring[:, axis], 1.0)
    crossing = ring + (after - ring) * ((limit - ring[:, axis]) / step)[:, None]
    crossing[:, axis] = limit
    pairs: Points = np.stack([ring, crossing], axis=1).reshape(-1, 2)
    kept: Points = pairs[np.stack([inside, crosses], axis=1).ravel()]
    return kept
