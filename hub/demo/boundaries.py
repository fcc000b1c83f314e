"""Boundaries drawn around the places of reported incidents, because the demo's data have none. They are approximate, and say so.

A 500 m cell belongs to the neighbourhood that most of its incidents name; cells without any go with what lies around them. Whole
numbers only (hub/demo/outline.py), so the files that the demo's MOUs pin can be made again, byte for byte:

    .venv/bin/python -c "from hub.demo.boundaries import main; main()"
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import orjson

from hub.demo.outline import GRID_M, PER_DEGREE, outline
from hub.demo.sources import SOURCES, TORONTO, WEST_YORKSHIRE, Source, fetch
from hub.geo import TIERS, Cell, Point, cell, columns
from hub.settings import read_settings

POLICIES = Path(__file__).resolve().parents[2] / "policies" / "demo"
NOTE = "Approximate: 500 m cells in which most reported incidents name these places; drawn for a demonstration, not official"
LEAST_INCIDENTS = 100  # that name a place: fewer are of a neighbouring force's area
FILLED_ROUNDS = 2
_AROUND_2K = TIERS[2000] // TIERS[GRID_M]

# The areas of the demo's MOUs: file, title, and the places that are its parts.
AREAS: Mapping[str, tuple[Source, str, tuple[str, ...]]] = {
    "downtown": (
        TORONTO,
        "Downtown Toronto",
        (
            "Bay Street Corridor",
            "Cabbagetown-South St.James Town",
            "Church-Yonge Corridor",
            "Kensington-Chinatown",
            "Moss Park",
            "North St.James Town",
            "Regent Park",
            "University",
            "Waterfront Communities-The Island",
        ),
    ),
    "downtown-east": (
        TORONTO,
        "Downtown East, Toronto",
        ("Cabbagetown-South St.James Town", "Moss Park", "North St.James Town", "Regent Park"),
    ),
    "church-yonge": (TORONTO, "Church-Yonge Corridor and Moss Park, Toronto", ("Church-Yonge Corridor", "Moss Park")),
    "leeds-bradford": (WEST_YORKSHIRE, "Leeds and Bradford", ("Bradford", "Leeds")),
}


def placed(source: Source, folder: Path) -> Iterator[tuple[str, Point]]:
    """The neighbourhood or district and the place, (lon, lat) in degrees, of each row that has both."""
    for row in source.read(folder):
        place, name = source.place(row), source.place_name(row)
        if place is not None and name:
            yield name, place


def assigned(incidents: Iterable[tuple[str, Point]], wide: bool) -> dict[Cell, str]:
    """Each 500 m cell with the name that it goes with. `wide`: see Source."""
    votes: dict[Cell, Counter[str]] = defaultdict(Counter)
    around: dict[Cell, Counter[str]] = defaultdict(Counter)
    for (name, place), count in Counter(incidents).items():  # many have the same place: that of the nearest corner
        votes[cell(place, GRID_M)][name] += count
        if wide:
            around[cell(place, 2000)][name] += count
    names = {inner: _most(found) for outer, found in around.items() for inner in _within(outer)}
    names |= {where: _most(found) for where, found in votes.items()}
    for _ in range(FILLED_ROUNDS):
        names |= _surrounded(names)
    return names


def _most(votes: Counter[str]) -> str:
    """The commonest; of equals the first in the alphabet."""
    return min(votes, key=lambda name: (-votes[name], name))


def _within(outer: Cell) -> Iterator[Cell]:
    for row in range(_AROUND_2K):
        for column in range(_AROUND_2K):
            yield Cell(GRID_M, outer.row * _AROUND_2K + row, outer.column * _AROUND_2K + column)


def _surrounded(names: Mapping[Cell, str]) -> dict[Cell, str]:
    """Cells that have no name, while five of the eight around them have one."""
    found = {}
    for where in {near for named in names for near in _neighbours(named)} - names.keys():
        near = Counter(names[beside] for beside in _neighbours(where) if beside in names)
        if near.total() >= 5:
            found[where] = _most(near)
    return found


def _neighbours(where: Cell) -> Iterator[Cell]:
    width = columns(where.row // _AROUND_2K)
    for row in (where.row - 1, where.row, where.row + 1):
        middle = (2 * where.column + 1) * columns(row // _AROUND_2K) // (2 * width)
        for column in (middle - 1, middle, middle + 1):
            if (row, column) != (where.row, where.column):
                yield Cell(GRID_M, row, column)


def area_file(title: str, names: Collection[str], cells: Mapping[Cell, str]) -> bytes:
    """A boundary file of the union of places: one GeoJSON feature.

    Raises:
        ValueError: no cell goes with one of the places.
    """
    if missing := set(names) - set(cells.values()):
        raise ValueError(f"no cell goes with {', '.join(sorted(missing))}")
    inside = [where for where, name in cells.items() if name in names]
    about = {"name": title, "approximate": True, "note": NOTE, "places": sorted(names)}
    return _dumped({"type": "Feature", "properties": about, "geometry": _geometry(inside)})


def reference_file(found: Iterable[tuple[Source, Path]]) -> bytes:
    """Every neighbourhood and district, for maps."""
    features = []
    for source, folder in found:
        incidents = list(placed(source, folder))
        often = {name for name, count in Counter(name for name, _ in incidents).items() if count >= LEAST_INCIDENTS}
        by_name: dict[str, list[Cell]] = defaultdict(list)
        for where, name in assigned(incidents, source.wide).items():
            by_name[name].append(where)
        features += [
            {"type": "Feature", "properties": {"name": name}, "geometry": _geometry(by_name[name])}
            for name in sorted(often & by_name.keys())
        ]
    return _dumped({"type": "FeatureCollection", "approximate": True, "note": NOTE, "features": features})


def _geometry(cells: Collection[Cell]) -> dict[str, object]:
    return {
        "type": "MultiPolygon",
        "coordinates": [[[[x / PER_DEGREE, y / PER_DEGREE] for x, y in ring] for ring in rings] for rings in outline(cells)],
    }


def _dumped(data: object) -> bytes:
    return orjson.dumps(data) + b"\n"


def area_files(folder: Path) -> dict[str, bytes]:
    """The boundary files that the demo's MOUs pin, by name, made from the packages in `folder`."""
    cells = {source: assigned(placed(source, folder), source.wide) for source in SOURCES}
    return {f"{stem}.geojson": area_file(title, names, cells[source]) for stem, (source, title, names) in AREAS.items()}


def main() -> None:
    """Writes the boundary files anew."""
    folder = read_settings().state_dir / "demo"
    fetch(folder)
    for name, content in area_files(folder).items():
        (POLICIES / "boundaries" / name).write_bytes(content)
