"""The boundary files of the demo's MOUs are what the rows of the packages come to, byte for byte."""

from collections import Counter
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
import shapely
from shapely.geometry import shape

from hub.demo.boundaries import AREAS, POLICIES, area_file, area_files, assigned, placed, reference_file
from hub.demo.sources import SOURCES, TORONTO, WEST_YORKSHIRE
from hub.geo import Cell, Point, cell

BOUNDARIES = POLICIES / "boundaries"


@pytest.fixture(scope="module")
def reference(packages: Path) -> dict[str, shapely.Geometry]:
    data = orjson.loads(reference_file((source, packages) for source in SOURCES))
    assert data["approximate"] is True
    return {feature["properties"]["name"]: shape(feature["geometry"]) for feature in data["features"]}


def test_the_committed_files_can_be_made_again_byte_for_byte(packages: Path) -> None:
    made = area_files(packages)
    assert {name: sha256(content).hexdigest() for name, content in made.items()} == {
        path.name: sha256(path.read_bytes()).hexdigest() for path in BOUNDARIES.iterdir()
    }


def test_every_boundary_says_that_it_is_approximate() -> None:
    for path in BOUNDARIES.iterdir():
        about = orjson.loads(path.read_bytes())["properties"]
        assert about["approximate"] is True
        assert about["note"].startswith("Approximate: ")
        assert about["name"] == AREAS[path.stem][1]


def test_every_neighbourhood_and_district_has_a_boundary_and_none_overlap(reference: dict[str, shapely.Geometry]) -> None:
    assert len(reference) == 140 + 5
    assert {"Leeds", "Bradford", "Kirklees", "Wakefield", "Calderdale", "Moss Park"} < reference.keys()
    assert all(area.is_valid for area in reference.values())
    together = shapely.union_all(list(reference.values()))
    assert together.area == pytest.approx(sum(area.area for area in reference.values()), rel=1e-9)


def test_most_incidents_lie_within_the_boundary_of_the_neighbourhood_that_they_name(
    packages: Path, reference: dict[str, shapely.Geometry]
) -> None:
    """At 500 m a boundary can't follow streets: eight of ten in Toronto, more in districts of many kilometres."""
    for source, least in ((TORONTO, 0.8), (WEST_YORKSHIRE, 0.98)):
        found: Counter[tuple[str, Cell]] = Counter()
        for (name, place), count in Counter(placed(source, packages)).items():
            if name in reference:
                found[name, cell(place, 500)] += count
        inside = sum(count for (name, where), count in found.items() if reference[name].covers(shapely.Point(*where.centre)))
        assert inside / found.total() > least


def test_a_cell_goes_with_the_name_that_most_of_its_incidents_have_and_of_equals_with_the_first() -> None:
    here, there = Point(-79.38, 43.65), Point(-79.30, 43.65)
    names = assigned([("B", here), ("B", here), ("A", here), ("D", there), ("C", there)], wide=False)
    assert names == {cell(here, 500): "B", cell(there, 500): "C"}


def test_a_cell_without_incidents_goes_with_the_five_or_more_around_it() -> None:
    middle = cell(Point(-79.38, 43.655), 500)  # the second row of its 2 km row: its neighbours' columns meet
    assert middle.row % 4 in (1, 2)
    around = [Cell(500, middle.row + r, middle.column + c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)]
    for count, filled in ((4, False), (5, True), (8, True)):
        incidents = [("A", where.centre) for where in around[:count]]
        assert (middle in assigned(incidents, wide=False)) is filled


def test_wide_districts_take_the_2_km_around_a_lonely_incident() -> None:
    lonely = Point(-1.55, 53.8)
    assert Counter(assigned([("Leeds", lonely)], wide=False).values()) == {"Leeds": 1}
    assert Counter(assigned([("Leeds", lonely)], wide=True).values()) == {"Leeds": 16}


def test_an_area_of_a_place_that_nobody_names_is_refused() -> None:
    with pytest.raises(ValueError, match="no cell goes with Atlantis"):
        area_file("An area", ["Atlantis", "A"], assigned([("A", Point(-79.38, 43.65))], wide=False))
