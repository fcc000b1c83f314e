"""Places and the nested cells they are released in. (lon, lat) in degrees, WGS 84; cell sizes in metres.

**Cells nest.** Latitude is cut into 200,000 rows of 0.0009° (100.2 m): five make a 500 m row, twenty a 2 km row. The 2 km row
sets how many columns go round the earth; 500 m cuts each by 4, 100 m that by 5. The number of columns is

    80000 (10⁸ - m²) / (4·10⁸ + m²), rounded down,  m = 2 row + 1 - 10000

which is 20000 cos(latitude) by Bhaskara's rational approximation (within 2 % of it), so it needs no library cosine: whole numbers
only, the same in Python and in PostgreSQL on every machine (docs/decisions/0003). Longitude 180° is longitude -180°.
"""

from dataclasses import dataclass
from math import floor, isfinite
from typing import NamedTuple

ROWS_2K = 10_000
TIERS = {100: 1, 500: 5, 2000: 20}  # grid_m → how many 100 m cells make its side
FINEST_M = 100
_STRIDE = 32_768  # codes a 2 km cell as row * 32768 + column; fits int4


class Point(NamedTuple):
    """A position: longitude, then latitude, in degrees."""

    lon: float
    lat: float


class Box(NamedTuple):
    """west, south, east, north in degrees; west > east crosses the antimeridian (RFC 7946 §5.2)."""

    west: float
    south: float
    east: float
    north: float

    def holds(self, lon: float, lat: float) -> bool:
        """Whether (lon, lat) lies in the box or on its border."""
        between = self.west <= lon <= self.east if self.west <= self.east else lon >= self.west or lon <= self.east
        return between and self.south <= lat <= self.north

    def halves(self) -> tuple["Box", ...]:
        """One box, or the two either side of the antimeridian."""
        if self.west <= self.east:
            return (self,)
        return Box(self.west, self.south, 180.0, self.north), Box(-180.0, self.south, self.east, self.north)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the `grid_m` grid: its row from the south pole and its column from the antimeridian."""

    grid_m: int
    row: int
    column: int

    @classmethod
    def of_code(cls, code: int) -> "Cell":
        """The 2 km cell that has this code."""
        return cls(2000, *divmod(code, _STRIDE))

    @property
    def centre(self) -> Point:
        """Centre of the cell, degrees (lon, lat)."""
        side = 20 // TIERS[self.grid_m]
        width = columns(self.row // side) * side
        return Point(
            _seven((self.column + 0.5) * 360.0 / width - 180.0),
            _seven((self.row + 0.5) * 180.0 / (ROWS_2K * side) - 90.0),
        )

    @property
    def box(self) -> Box:
        """Its borders, in degrees."""
        side = 20 // TIERS[self.grid_m]
        width, height = 360.0 / (columns(self.row // side) * side), 180.0 / (ROWS_2K * side)
        west, south = self.column * width - 180.0, self.row * height - 90.0
        return Box(west, south, west + width, south + height)

    @property
    def code(self) -> int:
        """The 2 km cell as one number, ascending from south to north, then from west to east."""
        side = 20 // TIERS[self.grid_m]
        return self.row // side * _STRIDE + self.column // side


def columns(row: int) -> int:
    """How many 2 km cells go round the earth in 2 km row `row` (0 at the south pole): 3 at a pole, 19,999 at the equator."""
    m = 2 * row + 1 - ROWS_2K
    return 80_000 * (100_000_000 - m * m) // (400_000_000 + m * m)


def cell(place: Point, grid_m: int) -> Cell:
    """The cell of the `grid_m` grid (100, 500 or 2000) that holds `place`.

    A point on an edge belongs to the cell north or east of it, to within the rounding of a double; the north pole to the last row.
    """
    row, column = finest(place.lon, place.lat)
    side = TIERS[grid_m]
    return Cell(grid_m, row // side, column // side)


def finest(lon: float, lat: float) -> tuple[int, int]:
    """Row and column of the 100 m cell that holds (lon, lat)."""
    row = _row(lat)
    return row, _column(lon, columns(row // 20))


def snap(place: Point, grid_m: int) -> Point:
    """Centre of the cell of the `grid_m` grid that holds `place`."""
    return cell(place, grid_m).centre


def valid_place(lon: float, lat: float) -> bool:
    """Whether (lon, lat) are finite degrees on the earth."""
    return isfinite(lon) and isfinite(lat) and -180.0 <= lon <= 180.0 and -90.0 <= lat <= 90.0


class CellRange(NamedTuple):
    """Codes `low` to `high` (inclusive) of 2 km cells in one row; `inside` when each lies wholly in the box."""

    low: int
    high: int
    inside: bool


EVERYWHERE = CellRange(0, ROWS_2K * _STRIDE, True)
MAX_ROWS = 512  # a box taller than this many 2 km rows is walked as one range and tested row by row


def ranges(box: Box) -> list[CellRange]:
    """The 2 km cells that touch `box`: those wholly inside it first (their records need no further test), then its edge.

    Both parts run from south to north, so the order is fixed by the box and a cursor can name a place in it. A box too tall to
    list row by row is one range, tested record by record.
    """
    inside: list[CellRange] = []
    edge: list[CellRange] = []
    for half in box.halves():
        first, last = _row(half.south) // 20, _row(half.north) // 20
        if last - first > MAX_ROWS:
            edge.append(CellRange(first * _STRIDE, last * _STRIDE + _STRIDE - 1, False))
            continue
        for row in range(first, last + 1):
            _row_ranges(row, half, inside, edge)
    return _merged(inside) + _merged(edge)


def _row_ranges(row: int, box: Box, inside: list[CellRange], edge: list[CellRange]) -> None:
    count = columns(row)
    west = min(floor((box.west + 180.0) * count / 360.0), count - 1)
    east = min(floor((box.east + 180.0) * count / 360.0), count - 1)
    south_edge, north_edge = row * 180.0 / ROWS_2K - 90.0, (row + 1) * 180.0 / ROWS_2K - 90.0
    base = row * _STRIDE
    # A half-cell margin could be had; a cell that touches the box's border is simply left to the edge.
    whole = box.south < south_edge and north_edge < box.north
    if not whole or east - west < 2:
        edge.append(CellRange(base + west, base + east, False))
        return
    edge.append(CellRange(base + west, base + west, False))
    inside.append(CellRange(base + west + 1, base + east - 1, True))
    edge.append(CellRange(base + east, base + east, False))


def _merged(found: list[CellRange]) -> list[CellRange]:
    """Without overlaps, ascending: a cell that two halves of a box share must not be walked twice."""
    out: list[CellRange] = []
    for item in sorted(found):
        if out and item.low <= out[-1].high:
            out[-1] = CellRange(out[-1].low, max(out[-1].high, item.high), item.inside)
        else:
            out.append(item)
    return out


def _seven(degrees: float) -> float:
    # 1e-7° is 1 cm; short numbers make short answers, and both languages must round alike.
    return floor(degrees * 1e7 + 0.5) / 1e7


def _row(lat: float) -> int:
    return min(floor((lat + 90.0) * 200_000.0 / 180.0), 199_999)


def _column(lon: float, count: int) -> int:
    # 180° E and 180° W are one meridian.
    if lon == 180.0:
        return 0
    return min(floor((lon + 180.0) * (count * 20) / 360.0), count * 20 - 1)


def cells_sql(schema: str) -> str:
    """The same formula for PostgreSQL, as SQL functions in `schema`.

    `cell_row(lat)`, `cell_column(lon, row)` give the 100 m cell; `cell_centre(row, column, grid_m)` and `cell_code(row, column)`
    derive the released cells from it. The exact point never has to be sent to the database.
    """
    m = f"(2 * (r / 20) + 1 - {ROWS_2K})::bigint"
    return f"""
create function {schema}.cell_columns(r int) returns bigint language sql immutable strict parallel safe
  return 80000 * (100000000 - {m} * {m}) / (400000000 + {m} * {m});
create function {schema}.cell_row(lat float8) returns int language sql immutable strict parallel safe
  return least(floor((lat + 90.0::float8) * 200000.0::float8 / 180.0::float8)::int, 199999);
create function {schema}.cell_column(lon float8, r int) returns int language sql immutable strict parallel safe
  return case when lon = 180 then 0
    else least(floor((lon + 180.0::float8) * ({schema}.cell_columns(r) * 20)::float8 / 360.0::float8)::int,
               ({schema}.cell_columns(r) * 20 - 1)::int) end;
create function {schema}.cell_code(r int, c int) returns int language sql immutable strict parallel safe
  return r / 20 * {_STRIDE} + c / 20;
create function {schema}.cell_centre(r int, c int, grid_m int) returns public.geometry
  language plpgsql immutable strict parallel safe as $$
declare
  side int := grid_m / 100;
  width float8 := {schema}.cell_columns(r) * (20 / side);
  lon float8 := (c / side + 0.5::float8) * 360.0::float8 / width - 180.0::float8;
  lat float8 := (r / side + 0.5::float8) * 180.0::float8 / ({ROWS_2K} * (20 / side))::float8 - 90.0::float8;
begin
  return public.ST_SetSRID(public.ST_MakePoint(floor(lon * 1e7::float8 + 0.5::float8) / 1e7::float8,
                                               floor(lat * 1e7::float8 + 0.5::float8) / 1e7::float8), 4326);
end $$;
"""
