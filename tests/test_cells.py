"""Cells: they nest, are about square and about their size, are the same in Python and PostgreSQL, and an area finds its cells."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import cos, inf, nextafter, radians, sin, sqrt
from random import Random

import pytest
import sqlalchemy as sa
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from hub.geo import ROWS_2K, TIERS, Box, Cell, CellRange, Point, cell, columns, ranges, snap
from tests.policy import oracle
from tests.world import World

GRIDS = tuple(TIERS)
Bounds = tuple[Fraction, Fraction, Fraction, Fraction]  # west, south, east, north
Ranges = Callable[[Box], list[CellRange]]


def bounds(index: tuple[int, int], grid_m: int) -> Bounds:
    """Exact borders of a cell, in degrees, from the rule: 2 km rows set the columns, finer grids divide."""
    row, column = index
    in_2k = 20 // TIERS[grid_m]
    width, height = Fraction(360, columns(row // in_2k) * in_2k), Fraction(180, ROWS_2K * in_2k)
    return column * width - 180, row * height - 90, (column + 1) * width - 180, (row + 1) * height - 90


def nearby(exact: Fraction, most: float) -> list[float]:
    """Doubles at a border: the nearest, its neighbours, and some a little farther off."""
    at = float(exact)
    found = [at, nextafter(at, inf), nextafter(at, -inf), *(at + d for d in (1e-9, -1e-9, 1e-7, -1e-7))]
    return [x for x in found if -most <= x <= most]


@st.composite
def edge_points(draw: st.DrawFn) -> Point:
    """Positions on and beside borders of cells, poles and the antimeridian among them."""
    row = draw(st.sampled_from([0, 1, 9_999, 10_000, 99_999, 100_000, 199_980, 199_999]) | st.integers(0, 199_999))
    around = columns(row // 20) * 20
    column = draw(st.sampled_from([0, 1, around // 2, around - 1]) | st.integers(0, around - 1))
    west, south, east, north = bounds((row, column), 100)
    lat = draw(st.sampled_from(nearby(south, 90.0) + nearby(north, 90.0) + [float((south + north) / 2)]))
    lon = draw(st.sampled_from(nearby(west, 180.0) + nearby(east, 180.0) + [float((west + east) / 2), 0.0, -180.0, 180.0]))
    return Point(lon, lat)


# Nesting


@given(edge_points())
def test_cells_nest(place: Point) -> None:
    finest, middle, coarsest = (cell(place, m) for m in GRIDS)
    assert _within(bounds((finest.row, finest.column), 100), bounds((middle.row, middle.column), 500))
    assert _within(bounds((middle.row, middle.column), 500), bounds((coarsest.row, coarsest.column), 2000))
    assert len({c.code for c in (finest, middle, coarsest)}) == 1


def _within(inner: Bounds, outer: Bounds) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


@given(st.integers(0, ROWS_2K - 1), st.sampled_from([(2000, 500), (500, 100), (2000, 100)]), st.integers(0, 10**6))
@example(0, (2000, 100), 0)
@example(ROWS_2K - 1, (2000, 100), 2)
def test_the_cells_of_a_finer_grid_tile_a_coarser_one(row: int, grids: tuple[int, int], number: int) -> None:
    coarse, fine = grids
    times, in_2k = TIERS[coarse] // TIERS[fine], 20 // TIERS[coarse]
    r, c = row * in_2k, number % (columns(row) * in_2k)
    parts = [bounds((r * times + i, c * times + j), fine) for i in range(times) for j in range(times)]
    assert all(_within(part, bounds((r, c), coarse)) for part in parts)
    assert sum(_surface(part) for part in parts) == _surface(bounds((r, c), coarse))


def _surface(b: Bounds) -> Fraction:
    return (b[2] - b[0]) * (b[3] - b[1])


def test_a_grid_whose_rows_each_set_their_own_columns_would_not_nest() -> None:
    """The control: were the columns of a 500 m row its own, as in most grids, some of its cells would straddle two 2 km cells."""
    row, own = 7_500, Fraction(360, 4 * columns(7_501))
    straddling = 0
    for column in range(columns(row)):
        part = (column * own - 180, Fraction(0), (column + 1) * own - 180, Fraction(0))
        west, _, east, _ = bounds((row, int((part[0] + 180) * columns(row) / 360)), 2000)
        straddling += not _within(part, (west, Fraction(0), east, Fraction(0)))
    assert straddling


@given(edge_points(), st.sampled_from(GRIDS))
def test_the_centre_of_a_cell_lies_in_it_and_snaps_to_itself(place: Point, grid_m: int) -> None:
    found = cell(place, grid_m)
    assert cell(found.centre, grid_m) == found
    assert snap(found.centre, grid_m) == found.centre
    west, south, east, north = bounds((found.row, found.column), grid_m)
    assert west < found.centre.lon < east
    assert south < found.centre.lat < north


@given(edge_points(), st.sampled_from(GRIDS))
def test_a_position_lies_in_its_cell_to_within_the_rounding_of_a_double(place: Point, grid_m: int) -> None:
    found = cell(place, grid_m)
    west, south, east, north = bounds((found.row, found.column), grid_m)
    lon = -180.0 if place.lon == 180.0 else place.lon
    slack = Fraction(1, 10**12)  # degrees; a ten-thousandth of a millimetre
    assert west - slack <= Fraction(lon) <= east + slack
    assert south - slack <= Fraction(place.lat) <= north + slack


@given(edge_points(), st.sampled_from(GRIDS))
def test_cells_are_those_of_the_formula_in_fractions(place: Point, grid_m: int) -> None:
    assume(oracle.margin(place.lon, place.lat) > Fraction(1, 10**8))
    row, column = oracle.cell(place.lon, place.lat, grid_m)
    assert cell(place, grid_m) == Cell(grid_m, row, column)
    assert snap(place, grid_m) == oracle.centre(row, column, grid_m)


def test_the_antimeridian_is_one_meridian_and_the_poles_have_cells() -> None:
    for grid_m in GRIDS:
        assert cell(Point(180.0, 12.3), grid_m) == cell(Point(-180.0, 12.3), grid_m)
        assert cell(Point(0.0, 90.0), grid_m).row == ROWS_2K * 20 // TIERS[grid_m] - 1
        assert cell(Point(0.0, -90.0), grid_m).row == 0
    assert (columns(0), columns(ROWS_2K - 1), columns(ROWS_2K // 2)) == (3, 3, 19_999)


# Size


def _metres(lat: float) -> tuple[float, float]:
    """Length of a degree of longitude and of latitude on WGS 84."""
    flattening = 1 / 298.257223563
    squared = flattening * (2 - flattening)
    w = sqrt(1 - squared * sin(radians(lat)) ** 2)
    return radians(1) * 6_378_137.0 / w * cos(radians(lat)), radians(1) * 6_378_137.0 * (1 - squared) / w**3


def test_2_km_cells_are_two_kilometres_and_square_within_2_percent_and_6_percent_in_the_six_rows_at_a_pole() -> None:
    for row in range(ROWS_2K):
        west, south, east, north = bounds((row, 0), 2000)
        lon_m, lat_m = _metres(float((south + north) / 2))
        width, height = float(east - west) * lon_m, float(north - south) * lat_m
        bound = 0.06 if row < 6 or row >= ROWS_2K - 6 else 0.02
        assert abs(width / 2000 - 1) < bound, row
        assert abs(height / 2000 - 1) < 0.01, row
        assert abs(width / height - 1) < bound, row


@pytest.mark.parametrize("grid_m", GRIDS)
def test_every_cell_up_to_89_degrees_is_its_size_within_3_percent(grid_m: int) -> None:
    rows = ROWS_2K * 20 // TIERS[grid_m]
    for row in Random(1).sample(range(int(rows / 180) + 1, rows - int(rows / 180) - 1), 2_000):
        west, south, east, north = bounds((row, 0), grid_m)
        lon_m, lat_m = _metres(float((south + north) / 2))
        assert abs(float(east - west) * lon_m / grid_m - 1) < 0.03
        assert abs(float(north - south) * lat_m / grid_m - 1) < 0.03


# The same formula in PostgreSQL


def _many_edge_points(seed: int, count: int) -> list[Point]:
    rng = Random(seed)
    points = [Point(lon, lat) for lon in (-180.0, 180.0, 0.0, -0.0, 179.9999999) for lat in (-90.0, 90.0, 0.0, 89.9999999, -89.991)]
    for _ in range(count):
        row = rng.choice([rng.randrange(200_000), rng.choice([0, 19, 20, 99_999, 100_000, 199_980, 199_999])])
        around = columns(row // 20) * 20
        west, south, _, _ = bounds((row, rng.choice([0, around - 1, rng.randrange(around)])), 100)
        points.append(Point(rng.choice(nearby(west, 180.0)), rng.choice(nearby(south, 90.0))))
    return points + [Point(rng.uniform(-180, 180), rng.uniform(-90, 90)) for _ in range(count)]


_IN_SQL = """
select r, c, hub.cell_code(r, c), ST_X(g100), ST_Y(g100), ST_X(g500), ST_Y(g500), ST_X(g2k), ST_Y(g2k)
from unnest(cast(:lons as float8[]), cast(:lats as float8[])) with ordinality p(lon, lat, n)
cross join lateral (select hub.cell_row(lat) as r offset 0) a cross join lateral (select hub.cell_column(lon, r) as c offset 0) b
cross join lateral (select hub.cell_centre(r, c, 100) as g100, hub.cell_centre(r, c, 500) as g500, hub.cell_centre(r, c, 2000) as g2k) d
order by n"""


def test_postgresql_finds_the_same_cells_and_centres_bit_for_bit(world: World) -> None:
    points = _many_edge_points(2, 4_000)
    with world.superuser() as connection:
        rows = connection.execute(sa.text(_IN_SQL), {"lons": [p.lon for p in points], "lats": [p.lat for p in points]}).all()
    for place, found in zip(points, rows, strict=True):
        finest, middle, coarsest = (cell(place, m) for m in GRIDS)
        expected = (finest.row, finest.column, finest.code, *finest.centre, *middle.centre, *coarsest.centre)
        assert tuple(found) == expected, place


def test_the_points_would_show_another_rounding(world: World) -> None:
    """The control: a formula that differs in the last bit (multiplying by the size of a cell's inverse) gives other rows."""
    points = _many_edge_points(2, 4_000)
    statement = sa.text(
        "select floor((lat + 90) * (1 / 0.0009::float8))::int from unnest(cast(:lats as float8[])) with ordinality p(lat, n) order by n"
    )
    with world.superuser() as connection:
        rows = connection.scalars(statement, {"lats": [p.lat for p in points]}).all()
    assert any(found != cell(place, 100).row for place, found in zip(points, rows, strict=True))


# The cells of an area


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Boxes with borders through centres of cells, just beside them, near borders of cells, at the poles and the antimeridian."""
    row = draw(st.sampled_from([0, 1, 4_999, 5_000, 9_998, 9_999]) | st.integers(0, ROWS_2K - 1))
    top = min(row + draw(st.integers(0, 5)), ROWS_2K - 1)
    column = draw(st.sampled_from([0, 1, columns(row) - 1]) | st.integers(0, columns(row) - 1))
    span = draw(st.sampled_from([0, 1, 2, 3, 7, columns(row) - 1, columns(row) - 2]))
    south, north = draw(_latitude(row)), draw(_latitude(top))
    west, east = draw(_longitude(row, column)), draw(_longitude(row, (column + span) % columns(row)))
    assume(south <= north)
    return Box(west, south, east, north)


def _latitude(row: int) -> st.SearchStrategy[float]:
    _, south, _, north = bounds((row, 0), 2000)
    return st.sampled_from(_values(south, north, 90.0))


def _longitude(row: int, column: int) -> st.SearchStrategy[float]:
    west, _, east, _ = bounds((row, column), 2000)
    return st.sampled_from(_values(west, east, 180.0))


def _values(low: Fraction, high: Fraction, most: float) -> list[float]:
    centres = [low + (high - low) * f for f in (Fraction(1, 2), Fraction(1, 8), Fraction(1, 40), Fraction(39, 40))]
    found = [*(round(float(c), 7) for c in centres), float(low) + 1e-8, float(high) - 1e-8]
    exact = [float(b) for b in (low, high) if b in (-180, 0, 180, -90, 90)]
    return [v for v in found + exact if -most <= v <= most]


def misses(find: Ranges, box: Box) -> Iterator[str]:
    """Everything that is wrong with the cells found for a box."""
    found = find(box)
    codes = [(low, high) for low, high, _ in found]
    for one, (low, high) in enumerate(codes):
        if low > high or any(low <= other[1] and other[0] <= high for other in codes[:one]):
            yield f"{(low, high)} is empty or walked twice"
    inside = [f.inside for f in found]
    if inside != sorted(inside, reverse=True):
        yield "cells of the edge come before cells inside"
    for part in (True, False):
        lows = [f.low for f in found if f.inside is part]
        if lows != sorted(lows):
            yield "cells don't run from south to north"
    yield from _misplaced(found, box)


def _misplaced(found: list[CellRange], box: Box) -> Iterator[str]:
    first = max(cell(Point(0.0, box.south), 2000).row - 1, 0)
    last = min(cell(Point(0.0, box.north), 2000).row + 1, ROWS_2K - 1)
    for row in range(first, last + 1):
        for column in _columns_near(row, box):
            code = Cell(2000, row, column).code
            there = next((f for f in found if f.low <= code <= f.high), None)
            exact = bounds((row, column), 2000)
            if (there is not None) != any(_touches(exact, half) for half in box.halves()):
                yield f"cell {row}, {column} is {'there' if there else 'missing'}"
            if there and there.inside and not any(_holds(half, exact) for half in box.halves()):
                yield f"cell {row}, {column} is not wholly inside"


def _columns_near(row: int, box: Box) -> set[int]:
    """The columns about the borders of the box and the antimeridian, and some in between; all where there are few."""
    count = columns(row)
    if count <= 40:
        return set(range(count))
    at = [cell(Point(lon, -90 + (row + 0.5) * 0.018), 2000).column for lon in (box.west, box.east, 0.0, (box.west + box.east) / 2)]
    return {(c + d) % count for c in [*at, 0, count - 1] for d in range(-3, 4)}


def _touches(b: Bounds, box: Box) -> bool:
    """A cell holds its west and south borders, those at the north pole and at 180° E too."""
    east = box.west < b[2] or b[2] == 180
    north = box.south < b[3] or b[3] == 90
    return b[0] <= Fraction(box.east) and east and b[1] <= Fraction(box.north) and north


def _holds(box: Box, b: Bounds) -> bool:
    return box.west <= b[0] and b[2] <= box.east and box.south <= b[1] and b[3] <= box.north


@settings(max_examples=300)
@given(boxes())
@example(Box(-180.0, -90.0, 180.0, -89.9))
@example(Box(10.0, 43.6, 9.999, 43.7))
@example(Box(179.99, -17.41, -179.99, -17.39))
@example(Box(180.0, 0.001, -180.0, 0.002))
@example(Box(0.0, 0.0, 0.0, 0.0))
def test_an_area_finds_exactly_the_cells_that_touch_it_once_and_those_inside_first(box: Box) -> None:
    assert not list(misses(ranges, box))


@given(boxes(), st.sampled_from(GRIDS), st.integers(0, 19), st.integers(0, 19))
def test_no_released_place_in_a_box_is_outside_its_cells(box: Box, grid_m: int, up: int, right: int) -> None:
    """What safety needs of it: a centre of any grid that lies in the box, its border included, is in a cell that is walked."""
    found = ranges(box)
    for lon, lat in ((box.west, box.south), (box.east, box.north), (box.west, box.north), (box.east, box.south)):
        corner = cell(Point(lon, lat), 100)
        near = Cell(100, max(corner.row - up, 0), max(corner.column - right, 0))
        if near.column >= columns(near.row // 20) * 20:
            continue
        for centre in (snap(near.centre, grid_m), snap(Point(lon, lat), grid_m)):
            walked = any(f.low <= cell(centre, 2000).code <= f.high for f in found)
            assert walked or not box.holds(*centre), (box, centre)


@given(st.floats(-180, 180), st.floats(-180, 180), st.floats(-90, 70), st.floats(10, 20), st.sampled_from(GRIDS))
def test_a_tall_area_is_one_range_that_misses_no_row(west: float, east: float, south: float, height: float, grid_m: int) -> None:
    box = Box(west, south, east, south + height)
    (only,) = ranges(box)
    assert not only.inside
    for lat in (south, south + height / 2, south + height):
        place = snap(Point(west, lat), grid_m)
        assert only.low <= cell(place, 2000).code <= only.high


def _rounding(box: Box) -> list[CellRange]:
    """Cells from rounded instead of cut columns."""
    return [r._replace(low=r.low + 1) if not r.inside and r.high > r.low else r for r in ranges(box)]


def _all_inside(box: Box) -> list[CellRange]:
    return [r._replace(inside=True) for r in ranges(box)]


def _each_half(box: Box) -> list[CellRange]:
    """Both halves of a box, their cells not made one."""
    return sorted((r for half in box.halves() for r in ranges(half)), key=lambda r: not r.inside)


def _without_last(box: Box) -> list[CellRange]:
    return ranges(box)[:-1]


@pytest.mark.parametrize(
    ("wrong", "box"),
    [
        (_rounding, Box(-79.39, 43.641, -79.37, 43.642)),
        (_all_inside, Box(-79.39, 43.641, -79.37, 43.642)),
        (_each_half, Box(10.0, 43.641, 9.999, 43.642)),
        (_without_last, Box(-79.39, 43.6, -79.37, 43.7)),
    ],
    ids=["a cell missing", "edge taken for inside", "a cell twice", "the last cells missing"],
)
def test_the_test_of_an_area_notices_a_wrong_formula(wrong: Ranges, box: Box) -> None:
    assert not list(misses(ranges, box))
    assert list(misses(wrong, box))
