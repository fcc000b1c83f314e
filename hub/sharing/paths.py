"""Which access path a query takes, and its SQL over the released view. Every condition tests a masked column.

A page is in the order (cells wholly inside the area first, then its edge), (2 km cell, id); records whose place is withheld come
last and only when no area is asked for. `time` orders by (2 km cell, id), whatever the area. The path that fixes the order depends
on the query alone, so that a cursor stays good; `page` and `seek` share one order and may alternate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from hub.geo import EVERYWHERE, Box, CellRange, ranges
from hub.records import Field, Record
from hub.sharing.cursor import Position
from hub.tables import clear_fields, sealed_column, sealed_fields

SEEK_SHARE = 0.04  # below this share of the dataset a reader's own rows are fewer than those a walk would pass over
SEEK_KEYS = 4_000
TIME_SPAN = timedelta(days=8)
TIME_CELLS = 200  # an area of fewer cells is walked: reading its cells beats reading and sorting the whole period
NIL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: area (degrees), times (inclusive), exact values of clear fields, page size, cursor."""

    box: Box | None = None
    since: datetime | None = None
    until: datetime | None = None
    values: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    limit: int = 10
    cursor: str | None = None


def filterable(dataset: type[Record]) -> tuple[Field, ...]:
    """The fields whose exact value a query may name."""
    return tuple(f for f in clear_fields(dataset) if f.kind in ("text", "number"))


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


@dataclass(frozen=True, slots=True)
class Statements:
    """The prepared statements of a dataset: text by name. `…_open` also fetches ciphertext."""

    texts: Mapping[str, str]


def statements(name: str, dataset: type[Record]) -> Statements:
    """One statement for each path, with and without ciphertext."""
    texts = {}
    for sealed in (False, True):
        suffix = "_open" if sealed else ""
        texts[f"{name}_walk{suffix}"] = _walk(name, dataset, sealed)
        texts[f"{name}_seek{suffix}"] = _seek(name, dataset, sealed)
        texts[f"{name}_placeless{suffix}"] = _placeless(name, dataset, sealed)
        texts[f"{name}_time{suffix}"] = _time(name, dataset, sealed)
        texts[f"{name}_item{suffix}"] = _item(name, dataset, sealed)
    return Statements(texts)


# Parameters of the pages: $1-$4 ranges (low, high, inside, after), $5 limit, $6-$11 west, east, west, east, south, north,
# $12-$13 times, then one list per filterable field.
_PARAMETERS = ["int[]", "int[]", "bool[]", "uuid[]", "int", *["float8"] * 6, "timestamptz", "timestamptz"]
_IN_BOX = "(ST_Y(v.{place}) between $10 and $11 and (ST_X(v.{place}) between $6 and $7 or ST_X(v.{place}) between $8 and $9))"
_RANGES = "unnest($1, $2, $3, $4) with ordinality r(low, high, inside, after, n)"


def page_arguments(query: Query, areas: Sequence[CellRange], after: UUID, limit: int, dataset: type[Record]) -> list[object]:
    """The arguments of a page's statement, in the order of its parameters."""
    afters = array(after if n == 0 else NIL for n in range(len(areas)))
    halves = query.box.halves() if query.box else (Box(-180, -90, 180, 90),)
    one, two = halves[0], halves[1] if len(halves) > 1 else None
    box = [one.west, one.east, two.west if two else 1.0, two.east if two else 0.0, one.south, one.north]
    lists = [list(query.values[f.name]) if f.name in query.values else None for f in filterable(dataset)]
    return [
        array(a.low for a in areas),
        array(a.high for a in areas),
        array(a.inside for a in areas),
        afters,
        limit,
        *box,
        query.since,
        query.until,
        *lists,
    ]


def array(values: Iterable[object]) -> str:
    """An array literal of numbers, ids or booleans: EXECUTE takes it as whatever array its parameter is."""
    return "{" + ",".join("NULL" if v is None else str(v) for v in values) + "}"


def _head(dataset: type[Record]) -> str:
    lists = ["text[]" if f.kind == "text" else "int[]" for f in filterable(dataset)]
    return f"({', '.join([*_PARAMETERS, *lists])}) as "


def _filters(dataset: type[Record]) -> str:
    times = "($12 is null or v.occurred_at >= $12) and ($13 is null or v.occurred_at <= $13)"
    first = len(_PARAMETERS) + 1
    values = [f"(${first + n} is null or v.{f.name} = any(${first + n}))" for n, f in enumerate(filterable(dataset))]
    return " and ".join([times, *values])


def _in_box(dataset: type[Record]) -> str:
    return _IN_BOX.format(place=dataset.named("place")[0].name)


def _columns(dataset: type[Record], sealed: bool, alias: str) -> str:
    """id, provider, revision_no, rev, grants, geometry, properties, then ciphertext."""
    place = dataset.named("place")[0].name
    geometry = f"'{{\"type\":\"Point\",\"coordinates\":[' || ST_X({alias}.{place}) || ',' || ST_Y({alias}.{place}) || ']}}'"
    members = [_member(f.name, alias) for f in clear_fields(dataset) if f.kind != "time"]
    for f in clear_fields(dataset):
        if f.kind == "time":
            members += [_member(f.name, alias), _member(f"{f.name}_round_to", alias)]
    members.append(_member(f"{place}_grid_m", alias))
    cipher = [f"{alias}.{sealed_column(f)}" for f in sealed_fields(dataset)] if sealed else []
    return ", ".join(
        [
            f"{alias}.id",
            f"{alias}.provider",
            f"{alias}.revision_no",
            f"{alias}.rev",
            f"{alias}.grants",
            geometry,
            f"concat_ws(',', {', '.join(members)})",
            *cipher,
        ]
    )


def _member(name: str, alias: str) -> str:
    return f"'\"{name}\":' || to_json({alias}.{name})::text"


def _walk(name: str, dataset: type[Record], sealed: bool) -> str:
    return (
        _head(dataset)
        + f"""select {_columns(dataset, sealed, "x")}, x.k2 from {_RANGES}, lateral (
      select v.* from hub.{name}_page v where v.k2 between r.low and r.high and v.id > r.after
        and (r.inside or {_in_box(dataset)}) and {_filters(dataset)} order by v.k2, v.id limit $5) x
      order by r.n, x.k2, x.id limit $5"""
    )


def _seek(name: str, dataset: type[Record], sealed: bool) -> str:
    return (
        _head(dataset)
        + f"""select {_columns(dataset, sealed, "v")}, v.k2 from hub.{name}_seek v
      join {_RANGES} on v.k2 between r.low and r.high and v.id > r.after
      where (r.inside or {_in_box(dataset)}) and {_filters(dataset)} order by r.n, v.k2, v.id limit $5"""
    )


def _placeless(name: str, dataset: type[Record], sealed: bool) -> str:
    return (
        _head(dataset)
        + f"""select {_columns(dataset, sealed, "v")}, null from hub.{name}_placeless v
      where v.id > ($4)[1] and {_filters(dataset)} order by v.id limit $5"""
    )


def _time(name: str, dataset: type[Record], sealed: bool) -> str:
    """$1[1] is the cell of the cursor (null: among the placeless), $4[1] its id, $3[1] whether an area is asked for."""
    return (
        _head(dataset)
        + f"""select {_columns(dataset, sealed, "v")}, v.k2 from hub.{name}_time v
      where case when ($1)[1] is null then v.k2 is null and v.id > ($4)[1]
                 else v.k2 is null or v.k2 > ($1)[1] or (v.k2 = ($1)[1] and v.id > ($4)[1]) end
        and (not ($3)[1] or {_in_box(dataset)}) and {_filters(dataset)} order by v.k2 nulls last, v.id limit $5"""
    )


def _item(name: str, dataset: type[Record], sealed: bool) -> str:
    return f"(uuid) as select {_columns(dataset, sealed, 'v')}, v.k2 from hub.{name}_scan v where v.id = $1"
