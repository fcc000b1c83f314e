"""The operator's boundaries (HUB_BOUNDARIES_FILE): drawn for whoever is signed in, as the file has them."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
