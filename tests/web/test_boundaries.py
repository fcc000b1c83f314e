"""The operator's boundaries (HUB_BOUNDARIES_FILE): drawn for whoever is signed in, as the file has them."""

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from hub.identity.people import Person
from tests.web.served import Served, serve
from tests.web.visiting import Visitor

AREAS = '{"type":"FeatureCollection","approximate":true,"features":[]}'


def _asked(served: Served, person: Callable[..., Person], file: Path) -> tuple[int, str]:
    with serve(served.world, boundaries_file=file) as other:
        answer = Visitor(other).begin(person()).get("/boundaries.json")
        assert Visitor(other).get("/boundaries.json").status_code == 303  # nobody is signed in
        return answer.status_code, answer.text


def test_the_file_is_served_as_it_is(served: Served, person: Callable[..., Person], tmp_path: Path) -> None:
    file = tmp_path / "areas.geojson"
    file.write_text(AREAS)
    assert _asked(served, person, file) == (200, AREAS)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"type":"Feature"}', "\x00"])
def test_a_file_that_is_no_collection_is_not_served(served: Served, person: Callable[..., Person], tmp_path: Path, content: str) -> None:
    file = tmp_path / "areas.geojson"
    file.write_text(content)
    status, text = _asked(served, person, file)
    assert status == 404
    assert "tell its operator" in text


def test_a_hub_without_a_file_has_none(served: Served, person: Callable[..., Person]) -> None:
    assert Visitor(served).begin(person()).get("/boundaries.json").status_code == 404


def test_the_map_asks_for_them_where_there_are_some_alone(served: Served, person: Callable[..., Person], tmp_path: Path) -> None:
    file = tmp_path / "areas.geojson"
    file.write_text(AREAS)
    with serve(served.world, boundaries_file=file) as other:
        pages = [Visitor(there).begin(person("analyst"), purpose="research").get("/map").text for there in (served, other)]
    assert ["data-boundaries" in page for page in pages] == [False, True]


def test_names_of_areas_never_lie_on_each_other(chromium: Browser, served: Served, person: Callable[..., Person], tmp_path: Path) -> None:
    """Nine areas of 200 m with long names: where there is no room for all, some are shown."""
    names = [f"A neighbourhood with a long name {n}" for n in range(9)]
    corners = [(-79.386 + 0.0025 * (n % 3), 43.648 + 0.0018 * (n // 3)) for n in range(9)]
    features = [
        {"type": "Feature", "properties": {"name": name}, "geometry": {"type": "Polygon", "coordinates": [_square(*corner)]}}
        for name, corner in zip(names, corners, strict=True)
    ]
    file = tmp_path / "areas.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with serve(served.world, boundaries_file=file) as other:
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        context.add_cookies([other.cookie(person("analyst"), "research")])  # type: ignore[list-item]
        page = context.new_page()
        page.goto(f"{other.base}/map?bbox=-79.39,43.645,-79.37,43.655")
        labels = page.locator(".area-label")
        expect(labels).to_have_count(len(names))
        boxes = [box for label in labels.all() if (box := label.bounding_box())]
        context.close()
    assert 1 < len(boxes) < len(names)
    for a, b in combinations(boxes, 2):
        beside = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
        assert beside or a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"]


def _square(west: float, south: float) -> list[list[float]]:
    east, north = west + 0.0025, south + 0.0018
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]
