"""Outlines of cells, compared with a geometry library: the same area, valid, and turning the right way."""

import shapely
from hypothesis import given
from hypothesis import strategies as st

from hub.demo.outline import GRID_M, PER_DEGREE, outline
from hub.geo import Cell, Point, cell, columns

# Around a line where columns of one 2 km row don't meet those of the next; such a line is every fourth row.
HOME = cell(Point(-79.38, 43.65), GRID_M)
SOUTH = HOME.row // 4 * 4 - 3


def near(row: int, column: int) -> Cell:
    """The cell `column` columns from the meridian of HOME, in row `row` from SOUTH."""
    first = (2 * HOME.column + 1) * columns((SOUTH + row) // 4) // (2 * columns(HOME.row // 4))
    return Cell(GRID_M, SOUTH + row, first + column)


def square(of: Cell) -> shapely.Polygon:
    """The cell's own four corners, rounded as the outline's are."""
    width = columns(of.row // 4) * 4
    west, east = (round(c * 360 / width - 180, 7) for c in (of.column, of.column + 1))
    south, north = (round(r * 0.0045 - 90, 7) for r in (of.row, of.row + 1))
    return shapely.box(west, south, east, north)


def polygons(cells: set[Cell]) -> shapely.MultiPolygon:
    degrees = [[[(x / PER_DEGREE, y / PER_DEGREE) for x, y in ring] for ring in rings] for rings in outline(cells)]
    return shapely.MultiPolygon([(rings[0], rings[1:]) for rings in degrees])


some_cells = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=30).map(
    lambda found: {near(row, column) for row, column in found}
)


@given(some_cells)
def test_an_outline_is_what_a_geometry_library_says_the_union_is(cells: set[Cell]) -> None:
    found, union = polygons(cells), shapely.union_all([square(c) for c in cells])
    assert found.is_valid, shapely.is_valid_reason(found)
    # 10⁻⁷ degrees are a centimetre; the library's corners are sums of doubles.
    assert found.symmetric_difference(union).area < 1e-11
    assert abs(found.area - sum(square(c).area for c in cells)) < 1e-11


@given(some_cells)
def test_it_holds_the_centres_of_its_cells_and_of_no_others(cells: set[Cell]) -> None:
    found = polygons(cells)
    for row in range(7):
        for column in range(6):
            here = near(row, column)
            assert found.covers(shapely.Point(*here.centre)) == (here in cells)


@given(some_cells)
def test_outer_rings_turn_left_and_holes_right_and_no_corner_is_idle(cells: set[Cell]) -> None:
    for rings in outline(cells):
        turning = [shapely.LinearRing(ring).is_ccw for ring in rings]
        assert turning == [True] + [False] * (len(rings) - 1)
        for ring in rings:
            assert ring[0] == ring[-1]
            for a, b, c in zip(ring, ring[1:], [*ring[2:], ring[1]], strict=False):
                assert (a[0] == b[0]) != (b[0] == c[0]), "two sides in one line"


def test_cells_in_any_order_give_the_same_outline() -> None:
    cells = [near(row, column) for row in range(6) for column in range(5) if (row * 5 + column) % 3]
    assert outline(cells) == outline(cells[::-1])


def test_a_ring_of_cells_has_a_hole_and_cells_that_meet_in_a_corner_are_two_polygons() -> None:
    ring = {near(row, column) for row in range(3) for column in range(3)} - {near(1, 1)}
    assert [len(rings) for rings in outline(ring)] == [2]
    # Rows 4 and 5 from SOUTH are of one 2 km row, so their columns meet.
    assert [len(rings) for rings in outline({near(4, 1), near(5, 2)})] == [1, 1]
    assert [len(rings) for rings in outline({near(4, 1), near(5, 1)})] == [1]
