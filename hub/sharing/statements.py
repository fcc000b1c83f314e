"""The SQL of the access paths, over the released views. Every condition tests a masked column.

A statement fetches the fields that the reader's live grants release on any record, and no others: masking a column that is
withheld everywhere would cost its time for nothing. Statements are prepared once per session: planning a released view costs more
than reading a page of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from hub.geo import Box, CellRange
from hub.records import Field, Record
from hub.released import EXACT_M
from hub.sharing.live import LiveGrant
from hub.tables import clear_fields, sealed_column, sealed_fields

NIL = UUID(int=0)
# Parameters of the pages: $1-$4 ranges (low, high, inside, after), $5 limit, $6-$11 west, east, west, east, south, north,
# $12-$13 times, then one list per filterable field.
_PARAMETERS = ["int[]", "int[]", "bool[]", "uuid[]", "int", *["float8"] * 6, "timestamptz", "timestamptz"]
_IN_BOX = "(ST_Y(v.{place}) between $10 and $11 and (ST_X(v.{place}) between $6 and $7 or ST_X(v.{place}) between $8 and $9))"
_RANGES = "unnest($1, $2, $3, $4) with ordinality r(low, high, inside, after, n)"
_WHOLE_EARTH = Box(-180.0, -90.0, 180.0, 90.0)
MAP_FIELDS = ("category", "occurred_at", "occurred_at_round_to")  # what a map shows of a record besides its place; never a sealed one
# What a map gets of the records of its area: each, or how many there are in each 2 km cell, or at each released place.
_OVERVIEWS = {
    "records": ("v.id::text, v.provider, v.revision_no, v.grants, {place}, {fields}", "order by v.k2, v.id"),
    "coarse": ("v.provider, v.grants, v.k2, count(*)::int", "group by v.k2, v.provider, v.grants"),
    "fine": ("v.provider, v.grants, {place}, count(*)::int", "group by {place}, v.provider, v.grants"),
}


CUTS = ("round_to", "bands", "last")  # treatments of clear fields that a column beside the value tells of


def filterable(dataset: type[Record]) -> tuple[Field, ...]:
    """The fields whose exact value a query may name."""
    return tuple(f for f in clear_fields(dataset) if f.kind in ("text", "number"))


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields that some live grant releases: `clear` columns, the columns that say how these are `cut`, `sealed` fields to be opened,
    and those of them that some grant releases by their `ends` alone.
    """

    clear: tuple[Field, ...]
    cut: tuple[str, ...]
    sealed: tuple[Field, ...]
    ends: frozenset[str]

    @classmethod
    def of(cls, dataset: type[Record], grants: Sequence[LiveGrant]) -> "Shape":
        given = {(name, t.word) for g in grants for name, t in g.fields.items()}
        names = {name for name, _ in given}
        return cls(
            tuple(f for f in clear_fields(dataset) if f.name in names),
            tuple(f"{f.name}_{word}" for f in clear_fields(dataset) for word in CUTS if (f.name, word) in given),
            tuple(f for f in sealed_fields(dataset) if (f.name, "clear") in given or (f.name, "last") in given),
            frozenset(f.name for f in sealed_fields(dataset) if (f.name, "last") in given),
        )

    @property
    def key(self) -> str:
        """Names the shape in a prepared statement."""
        said = repr(([f.number for f in self.clear], self.cut, [f.number for f in self.sealed]))
        return sha256(said.encode()).hexdigest()[:16]


class Statements:
    """The statements of one dataset, by path and shape."""

    def __init__(self, name: str, dataset: type[Record]) -> None:
        self._name, self._dataset = name, dataset
        self._place = dataset.named("place")[0].name
        self._known: dict[tuple[str, Shape | str], tuple[str, str]] = {}

    def prepared(self, path: str, shape: Shape) -> tuple[str, str]:
        """The name and the text to prepare. Its columns: id, provider, revision_no, rev, grants, the feature as JSON up to the last
        of its clear properties (without geometry where the exact place will be opened), then the ciphertext of each of
        `shape.sealed`, then the 2 km cell (null where the place is withheld).
        """
        if (path, shape) not in self._known:
            self._known[path, shape] = f"{self._name}_{path}_{shape.key}", getattr(self, f"_{path}")(shape)
        return self._known[path, shape]

    def overview(self, form: str, path: str) -> tuple[str, str]:
        """The same of a map's statement, whose columns are fixed whatever the reader is granted: nothing sealed. `form` is records,
        coarse or fine; `path` walk, seek or time.
        """
        if (form, path) not in self._known:
            self._known[form, path] = f"{self._name}_{form}_{path}", self._overview(form, path)
        return self._known[form, path]

    def _walk(self, shape: Shape) -> str:
        return f"""{self._head()} select {self._columns(shape, "x")}, x.k2 from {_RANGES}, lateral (
          select v.* from hub.{self._name}_page v where v.k2 between r.low and r.high and v.id > r.after
            and (r.inside or {self._in_box()}) and {self._filters()} order by v.k2, v.id limit $5) x
          order by r.n, x.k2, x.id limit $5"""

    def _seek(self, shape: Shape) -> str:
        return f"""{self._head()} select {self._columns(shape, "v")}, v.k2 from hub.{self._name}_seek v
          join {_RANGES} on v.k2 between r.low and r.high and v.id > r.after
          where (r.inside or {self._in_box()}) and {self._filters()} order by r.n, v.k2, v.id limit $5"""

    def _placeless(self, shape: Shape) -> str:
        return f"""{self._head()} select {self._columns(shape, "v")}, null from hub.{self._name}_placeless v
          where v.id > ($4)[1] and {self._filters()} order by v.id limit $5"""

    def _time(self, shape: Shape) -> str:
        """$1[1] is the cell of the cursor (null: among the placeless), $4[1] its id, $3[1] whether an area is asked for."""
        return f"""{self._head()} select {self._columns(shape, "v")}, v.k2 from hub.{self._name}_time v
          where case when ($1)[1] is null then v.k2 is null and v.id > ($4)[1]
                     else v.k2 is null or v.k2 > ($1)[1] or (v.k2 = ($1)[1] and v.id > ($4)[1]) end
            and (not ($3)[1] or {self._in_box()}) and {self._filters()} order by v.k2 nulls last, v.id limit $5"""

    def _item(self, shape: Shape) -> str:
        return f"(uuid) as select {self._columns(shape, 'v')}, v.k2 from hub.{self._name}_scan v where v.id = $1"

    def _match(self, shape: Shape) -> str:
        """$1: the records."""
        return f"(uuid[]) as select {self._columns(shape, 'v')}, v.k2 from hub.{self._name}_scan v where v.id = any($1) order by v.id"

    def _overview(self, form: str, path: str) -> str:
        """In the order of the released cells, whatever the path: that of the table, or of an index, would tell more than is released."""
        place = f"ST_X(v.{self._place}), ST_Y(v.{self._place}), v.{self._place}_grid_m"
        fields = ", ".join(f"v.{name}" for name in MAP_FIELDS)
        select, end = (part.format(place=place, fields=fields) for part in _OVERVIEWS[form])
        found = self._placed(path)
        if form == "records":
            found = f"(select v.* from {found} limit $5) v"
        return f"{self._head()} select {select} from {found} {end}"

    def _placed(self, path: str) -> str:
        """The records of an area, as `v`."""
        inside = f"(r.inside or {self._in_box()}) and {self._filters()}"
        return {
            "walk": f"""{_RANGES}, lateral (select v.* from hub.{self._name}_page v
              where v.k2 between r.low and r.high and {inside} offset 0) v""",
            "seek": f"hub.{self._name}_seek v join {_RANGES} on v.k2 between r.low and r.high where {inside}",
            "time": f"hub.{self._name}_time v where {self._in_box()} and {self._filters()}",
        }[path]

    def _head(self) -> str:
        lists = ["text[]" if f.kind == "text" else "int[]" for f in filterable(self._dataset)]
        return f"({', '.join([*_PARAMETERS, *lists])}) as"

    def _filters(self) -> str:
        times = "($12 is null or v.occurred_at >= $12) and ($13 is null or v.occurred_at <= $13)"
        first = len(_PARAMETERS) + 1
        values = [f"(${n} is null or v.{f.name} = any(${n}))" for n, f in enumerate(filterable(self._dataset), first)]
        return " and ".join([times, *values])

    def _in_box(self) -> str:
        return _IN_BOX.format(place=self._place)

    def _columns(self, shape: Shape, alias: str) -> str:
        members = [_member(f.name, alias) for f in shape.clear]
        members += [_member(name, alias) for name in shape.cut]
        members += [_member(f"{self._place}_grid_m", alias)]
        opening = f"""'{{"type":"Feature","id":"', {alias}.id, '"', {self._geometry(shape, alias)}, ',"properties":{{'"""
        head = f"concat({opening}, {', '.join(members)})"
        columns = [f"{alias}.{name}" for name in ("id::text", "provider", "revision_no", "rev", "grants")]
        return ", ".join([*columns, head, *(f"{alias}.{sealed_column(f)}" for f in shape.sealed)])

    def _geometry(self, shape: Shape, alias: str) -> str:
        place = f"{alias}.{self._place}"
        point = f"""',"geometry":{{"type":"Point","coordinates":[' || ST_X({place}) || ',' || ST_Y({place}) || ']}}'"""
        released = f"coalesce({point}, ',\"geometry\":null')"
        if all(f.kind != "place" for f in shape.sealed):
            return released
        return f"case when {place}_grid_m is distinct from {EXACT_M} then {released} end"


def page_arguments(
    dataset: type[Record], areas: Sequence[CellRange], after: UUID, limit: int, box: Box | None, times: Sequence[object],
    values: Mapping[str, tuple[str | int, ...]],
) -> list[object]:  # fmt: skip
    """The arguments of a page's statement, in the order of its parameters."""
    halves = (box or _WHOLE_EARTH).halves()
    one, two = halves[0], halves[1] if len(halves) > 1 else Box(1.0, 0.0, 0.0, 0.0)  # no longitude lies between 1 and 0
    return [
        array(a.low for a in areas), array(a.high for a in areas), array(a.inside for a in areas),
        array(after if n == 0 else NIL for n in range(len(areas))), limit,
        one.west, one.east, two.west, two.east, one.south, one.north, *times,
        *(list(values[f.name]) if f.name in values else None for f in filterable(dataset)),
    ]  # fmt: skip


def array(values: Iterable[object]) -> str:
    """An array literal of numbers, ids or booleans: EXECUTE takes it as whatever array its parameter is."""
    return "{" + ",".join("NULL" if v is None else str(v) for v in values) + "}"


def _member(name: str, alias: str) -> str:
    """A member with the comma that follows it; nothing where the value is withheld or null (concat skips null)."""
    return f"'\"{name}\":' || to_json({alias}.{name})::text || ','"
