"""Every condition says the same thing twice. Here PostgreSQL and Python decide side by side, on the edges."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from random import Random
from typing import Any

import pytest
import shapely
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.datasets import DATASETS
from hub.geo import Cell, Point, cell
from hub.policy.conditions import CONDITIONS, AtLeast, AtMost, Condition, OneOf, Within
from hub.sharing.labels import rule_columns
from tests.policy import oracle
from tests.world import World

few = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
INT = st.sampled_from([-(2**31), -1, 0, 1, 4, 5, 6, 2**31 - 1])
TEXT = st.sampled_from(["theft", "Theft", "theft ", "", "thef", "théft", "the'ft", 'the"ft', "the\\ft", "{theft}", "NULL", "a,b", "\u2028"])


@pytest.fixture(scope="module")
def connection(world: World) -> Iterator[sa.Connection]:
    with world.superuser() as found:
        yield found


def in_sql(connection: sa.Connection, condition: Condition, kind: str, values: Sequence[Any], argument: Any = ...) -> list[bool]:
    """What PostgreSQL says of each value; a null is no permit."""
    types = {"text": "text", "number": "int", "place": "public.geometry"}
    test = type(condition).sql("r.argument", "v.value")
    statement = sa.text(
        f"select coalesce({test}, false) from unnest(cast(:given as {types[kind]}[])) with ordinality v(value, n), "
        f"(select cast(:argument as {type(condition).column_types[kind]}) as argument) r order by v.n"
    )
    said = condition.argument if argument is ... else argument
    return list(connection.scalars(statement, {"given": list(values), "argument": list(said) if isinstance(said, tuple) else said}))


def around(bounds: Sequence[int]) -> list[int | None]:
    """Each bound and its neighbours, and nothing."""
    near = {b + d for b in bounds for d in (-1, 0, 1)}
    return [*sorted(n for n in near if -(2**31) <= n < 2**31), None]


@few
@given(bound=INT, kind=st.sampled_from([AtMost, AtLeast]))
def test_a_bound_on_a_number(connection: sa.Connection, bound: int, kind: type[Condition]) -> None:
    condition, values = kind(field="severity", **{kind.word: bound}), around([bound])
    found = in_sql(connection, condition, "number", values)
    assert found == [condition.holds(v) for v in values]
    assert any(found)
    assert not found[-1]


@few
@given(wanted=st.lists(INT, min_size=1, max_size=4), repeated=st.booleans())
def test_one_of_several_numbers(connection: sa.Connection, wanted: list[int], repeated: bool) -> None:
    condition = OneOf(field="severity", one_of=(*wanted, *wanted[: int(repeated)]))
    values = around(wanted)
    assert in_sql(connection, condition, "number", values) == [condition.holds(v) for v in values]


@few
@given(wanted=st.lists(TEXT, min_size=1, max_size=4), values=st.lists(TEXT | st.none(), min_size=1, max_size=8))
def test_one_of_several_texts(connection: sa.Connection, wanted: list[str], values: list[str | None]) -> None:
    """Compared byte by byte: neither case, nor space, nor a quote or brace in an array literal makes a difference."""
    condition = OneOf(field="category", one_of=tuple(wanted))
    assert in_sql(connection, condition, "text", values) == [condition.holds(v) for v in values]


@few
@given(one=st.lists(INT, min_size=1, max_size=3), other=st.lists(INT, min_size=1, max_size=3))
def test_two_conditions_on_one_field_are_both_asked(connection: sa.Connection, one: list[int], other: list[int]) -> None:
    values = around([*one, *other])
    pairs: list[tuple[Condition, Condition]] = [
        (OneOf(field="severity", one_of=tuple(one)), OneOf(field="severity", one_of=tuple(other))),
        (AtMost(field="severity", at_most=one[0]), AtMost(field="severity", at_most=other[0])),
        (AtLeast(field="severity", at_least=one[0]), AtLeast(field="severity", at_least=other[0])),
    ]
    for a, b in pairs:
        found = in_sql(connection, a.both(b), "number", values)
        assert found == [a.holds(v) and b.holds(v) for v in values]


def test_no_condition_holds_where_a_rule_names_none(connection: sa.Connection) -> None:
    """A null argument is a rule without that condition: it keeps nobody out. It must never come from a condition that is there."""
    for kind, values in ((AtMost(field="severity", at_most=1), [1, None]), (OneOf(field="severity", one_of=(1,)), [1, None])):
        assert in_sql(connection, kind, "number", values, argument=None) == [True, True]


def test_every_condition_is_compared() -> None:
    """A new condition needs its edges here."""
    assert set(CONDITIONS) == {"one_of", "at_most", "at_least", "within"}
    kinds = {(c.word, f.kind) for f, c in rule_columns(DATASETS["incidents"])}
    assert kinds == {("one_of", "text"), ("one_of", "number"), ("at_most", "number"), ("at_least", "number"), ("within", "place")}


# Places


def areas_through(centres: Sequence[Point]) -> list[shapely.Geometry]:
    """Areas with borders, corners and holes through centres of cells: upright ones, a wedge, a ring, and two at once."""
    (west, south), (east, north) = centres[0], centres[-1]
    block = shapely.box(west, south, east, north)
    wedge = shapely.Polygon([(west, south), (east, south), (east, north)])
    ring = shapely.box(west, south, east, north).difference(shapely.box(*centres[len(centres) // 3], *centres[2 * len(centres) // 3]))
    return [block, wedge, ring, shapely.MultiPolygon([block, shapely.box(east + 1, south, east + 2, north)])]


def grid_of(start: Cell, size: int) -> list[Point]:
    """Centres of `size` × `size` cells, the diagonal ones first from the south-west."""
    every = [Cell(start.grid_m, start.row + r, start.column + c).centre for r in range(size) for c in range(size)]
    return sorted(every)


@pytest.mark.parametrize("grid_m", [100, 500, 2000])
@pytest.mark.parametrize("spot", [Point(-79.38, 43.65), Point(18.95, 69.65), Point(-0.001, -0.001), Point(178.9, -17.4)])
def test_within_says_the_same_for_centres_inside_outside_and_on_borders(connection: sa.Connection, grid_m: int, spot: Point) -> None:
    seen = set()
    for area, centre, found in in_and_around(connection, Within(field="place", within="a"), grid_m, spot):
        assert found == Within.covers([area], centre)
        assert found == oracle.covers(oracle.area(shapely.geometry.mapping(area)), centre)
        seen.add((found, area.boundary.covers(shapely.Point(centre))))
    assert seen == {(True, True), (True, False), (False, False)}  # borders, insides and outsides, and no border left out


def in_and_around(connection: sa.Connection, condition: Within, grid_m: int, spot: Point) -> Iterator[tuple[shapely.Geometry, Point, bool]]:
    """Areas, centres in and around them, and whether PostgreSQL lets those meet the condition."""
    start = cell(spot, grid_m)
    inner = [Cell(grid_m, start.row + n, start.column + n).centre for n in range(6)]
    centres = [*grid_of(Cell(grid_m, start.row - 1, start.column - 1), 8), *inner]
    for area in areas_through(inner):
        assert area.is_valid
        found = in_sql(connection, condition, "place", [wkb(shapely.Point(c)) for c in centres], argument=[wkb(area)])
        yield from ((area, c, f) for c, f in zip(centres, found, strict=True))


def wkb(shape: shapely.Geometry) -> str:
    return str(shapely.to_wkb(shapely.set_srid(shape, 4326), hex=True, include_srid=True))


def test_within_several_areas_asks_for_all_of_them(connection: sa.Connection) -> None:
    start = cell(Point(-79.38, 43.65), 500)
    centres = [Cell(500, start.row, start.column + n).centre for n in range(6)]
    (west, south) = centres[0]
    areas = [shapely.box(west, south, centres[3].lon, south + 1), shapely.box(centres[2].lon, south, centres[5].lon, south + 1)]
    places = [*(wkb(shapely.Point(c)) for c in centres), None]
    found = in_sql(connection, Within(field="place", within=("a", "b")), "place", places, argument=[wkb(a) for a in areas])
    assert found == [*(Within.covers(areas, c) for c in centres), False] == [False, False, True, True, False, False, False]


def test_slanted_borders_are_told_alike_a_centimetre_away(connection: sa.Connection) -> None:
    """Doubles hardly ever lie on a slanted border; a centimetre (1e-7°, the last digit of a centre) either side is as near as can be."""
    rng = Random(5)
    corners = [(rng.uniform(-79.5, -79.2), rng.uniform(43.5, 43.8)) for _ in range(40)]
    area = shapely.convex_hull(shapely.MultiPoint(corners))
    ring = list(area.exterior.coords)
    middles = [((ax + bx) / 2, (ay + by) / 2) for (ax, ay), (bx, by) in pairwise(ring)]
    centres = list(chain.from_iterable([Point(x + dx, y + dy) for dx in (-1e-7, 1e-7) for dy in (-1e-7, 1e-7)] for x, y in middles))
    found = in_sql(connection, Within(field="place", within="a"), "place", [wkb(shapely.Point(c)) for c in centres], argument=[wkb(area)])
    assert found == [Within.covers([area], c) for c in centres]
    assert len(set(found)) == 2


# Controls: what the comparison must notice


class _Below(AtMost):
    """Leaves its bound out, in SQL only."""

    @classmethod
    def sql(cls, column: str, value: str) -> str:
        return f"({column} is null or {value} < {column})"


class _Inner(Within):
    """Leaves the border out, in SQL only."""

    @classmethod
    def sql(cls, column: str, value: str) -> str:
        return super().sql(column, value).replace("ST_Covers", "ST_Contains")


class _Insensitive(OneOf):
    """Overlooks case, in SQL only."""

    @classmethod
    def sql(cls, column: str, value: str) -> str:
        return f"({column} is null or lower({value}) = any(select lower(x) from unnest({column}) x))"


def test_the_edges_show_a_bound_left_out(connection: sa.Connection) -> None:
    condition, values = _Below(field="severity", at_most=3), around([3])
    assert in_sql(connection, condition, "number", values) != [condition.holds(v) for v in values]


def test_the_edges_show_a_border_left_out(connection: sa.Connection) -> None:
    compared = in_and_around(connection, _Inner(field="place", within="a"), 500, Point(-79.38, 43.65))
    assert any(found != Within.covers([area], centre) for area, centre, found in compared)


def test_the_edges_show_case_overlooked(connection: sa.Connection) -> None:
    condition, values = _Insensitive(field="category", one_of=("theft",)), ["theft", "Theft", None]
    assert in_sql(connection, condition, "text", values) != [condition.holds(v) for v in values]
