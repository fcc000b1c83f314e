"""The basemap that set-up makes: from made-up packages exactly, and the real one in its size and in what it shows."""

import zipfile
from pathlib import Path

import orjson
import pytest

from hub.maps import basemap
from hub.maps.outlines import decoded

MADE = Path(basemap.__file__).parents[1] / "web/static/vendor/basemap"


@pytest.fixture
def packages(tmp_path: Path) -> tuple[Path, Path]:
    """A square of land from (5, 5) to (15, 9) with a lake in it, two countries that share one border, a town and a city."""
    land = [[[5, 5], [15, 5], [15, 9], [5, 9], [5, 5]], [[6, 6], [7, 6], [7, 7], [6, 7], [6, 6]]]
    write(tmp_path / basemap.LAND, {"geometries": [{"type": "MultiPolygon", "coordinates": [land]}]})
    shared = {"transform": {"scale": [1, 1], "translate": [0, 0]}, "arcs": [[[8, 5], [0, 4]], [[8, 9], [-3, 0], [0, -4], [3, 0]]]}
    both = [{"arcs": [[0, 1]]}, {"arcs": [[-1]]}]
    for name, collection in basemap.BORDERS.items():
        write(tmp_path / name, {**shared, "objects": {collection: {"geometries": both if collection == "countries" else []}}})
    wheel = tmp_path / "places.whl"
    cities = {"1": city("Town", 12, 7, 20_000, 1), "2": city("City", 6.5, 8, 5_000_000, 2)}
    with zipfile.ZipFile(wheel, "w") as package:
        package.writestr(basemap.PLACES, orjson.dumps(cities))
    return tmp_path, wheel


def city(name: str, lon: float, lat: float, people: int, number: int) -> dict[str, object]:
    return {"name": name, "longitude": lon, "latitude": lat, "population": people, "geonameid": number}


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(content))


def test_land_borders_and_names_are_on_the_sheets_they_lie_on(packages: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    basemap.main(*packages, out)
    made = {path.stem: orjson.loads(path.read_bytes()) for path in out.iterdir()}
    assert made.keys() == {"world", "0_0", "10_0"}
    assert made["world"]["sheets"] == ["0_0", "10_0"]
    assert [place[0] for place in made["world"]["places"]] == ["City"]
    assert [len(made[name]["land"]) for name in ("world", "0_0", "10_0")] == [2, 2, 1]
    assert set(decoded(made["10_0"]["land"][0])) == {(10, 5), (15, 5), (15, 9), (10, 9)}
    assert [decoded(text) for text in made["0_0"]["borders"]] == [[(8, 5), (8, 9)]], "only what two countries share"
    assert made["10_0"]["places"] == [["Town", 12, 7, 10]]


def test_the_same_packages_make_the_same_bytes(packages: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        basemap.main(*packages, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_the_basemap_is_small() -> None:
    sizes = sorted(path.stat().st_size for path in MADE.glob("*.json"))
    assert sum(sizes) < 6_000_000
    assert sum(sizes[-5:]) < 1_000_000, "what a page may need at once: the world and four sheets"


def test_every_sheet_that_the_world_names_is_there_and_no_other() -> None:
    named = orjson.loads((MADE / "world.json").read_bytes())["sheets"]
    assert {f"{name}.json" for name in named} == {path.name for path in MADE.glob("*.json")} - {"world.json"}


@pytest.mark.parametrize(("sheet", "place"), [("-80_40", "Toronto"), ("-10_50", "Leeds")])
def test_the_places_of_the_demo_have_names(sheet: str, place: str) -> None:
    assert place in [name for name, *_ in orjson.loads((MADE / f"{sheet}.json").read_bytes())["places"]]


def test_whose_data_it_is_stands_beside_it() -> None:
    notice = (MADE / "NOTICE.txt").read_text()
    assert all(word in notice for word in ("OpenStreetMap", "Open Database License", "Natural Earth", "Census", "GeoNames"))
