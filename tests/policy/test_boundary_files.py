"""Boundary files: what an MOU pins, and what is no area. Nothing changes when one is refused."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.policy.spoiling import AREA, GOOD, edited, refused, write
from tests.world import World


def _with(content: Any) -> Callable[[Path], None]:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda folder: (folder / "boundaries" / "harbour.geojson").write_bytes(text) and None


BOWTIE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
BAD_BOUNDARIES: dict[str, tuple[Any, str]] = {
    "self-intersecting": (BOWTIE, "Self-intersection"),
    "a hole outside": ({"type": "Polygon", "coordinates": [AREA["coordinates"][0], [[0, 0], [1, 0], [1, 1], [0, 0]]]}, "not a valid area"),
    "a line": ({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}, "Polygon or MultiPolygon, not LineString"),
    "a point": ({"type": "Point", "coordinates": [0, 0]}, "not Point"),
    "empty": ({"type": "Polygon", "coordinates": []}, "not an empty one"),
    "two corners": ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "not GeoJSON"),
    "of no known type": ({"type": "Circle", "coordinates": [0, 0], "radius": 5}, "not GeoJSON"),
    "off the earth": ({"type": "Polygon", "coordinates": [[[200, 0], [201, 0], [201, 1], [200, 0]]]}, "longitude, latitude"),
    "in metres": ({"type": "Polygon", "coordinates": [[[630000, 4833000], [631000, 4833000], [631000, 4834000]]]}, "degrees"),
    "of text": ({"type": "Polygon", "coordinates": [[["a", "b"], ["c", "d"], ["e", "f"], ["a", "b"]]]}, "not GeoJSON"),
    "infinite": (b'{"type": "Polygon", "coordinates": [[[1e999, 0], [1, 0], [1, 1], [1e999, 0]]]}', "not GeoJSON"),
    "two features": ({"type": "FeatureCollection", "features": [AREA, AREA]}, "one feature, it has 2"),
    "a feature without geometry": ({"type": "Feature", "geometry": None, "properties": {}}, "no geometry"),
    "a list": ([AREA], "no object"),
    "not JSON": (b"<kml/>", "not GeoJSON"),
    "nothing": (b"", "not GeoJSON"),
    "nested deep": (b"[" * 100_000, "not GeoJSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_BOUNDARIES)
def test_a_bad_boundary_is_named_with_its_reason(hub: World, folder: Path, name: str) -> None:
    content, reason = BAD_BOUNDARIES[name]
    _with(content)(folder)
    (problem,) = refused(hub, write(folder, GOOD)).problems
    assert problem.field == "jurisdictions.harbour.file"
    assert reason in problem.reason, problem


def test_a_changed_boundary_is_refused_with_both_hashes(hub: World, folder: Path) -> None:
    path = write(folder, GOOD)
    pinned = hashlib.sha256((folder / "boundaries" / "harbour.geojson").read_bytes()).hexdigest()
    _with(json.dumps(AREA, indent=1).encode())(folder)  # the same area, other bytes
    (problem,) = refused(hub, path).problems
    assert problem.field == "jurisdictions.harbour.sha256"
    assert "has changed" in problem.reason
    assert pinned in problem.reason


@pytest.mark.parametrize(
    "file", ["../harbour.geojson", "boundaries/../../harbour.geojson", "boundaries/link.geojson", "link/harbour.geojson"]
)
def test_a_boundary_outside_the_folder_is_refused_links_included(hub: World, folder: Path, file: str) -> None:
    outside = folder.parent / f"{folder.name}-outside"
    outside.mkdir()
    for place in (outside / "harbour.geojson", folder.parent / "harbour.geojson"):
        place.write_text(json.dumps(AREA))
    (folder / "boundaries" / "link.geojson").symlink_to(outside / "harbour.geojson")
    (folder / "link").symlink_to(outside)
    (problem,) = refused(hub, write(folder, edited(("boundaries/harbour.geojson", file)))).problems
    assert problem.field == "jurisdictions.harbour.file"
    assert "outside the folder" in problem.reason


@pytest.mark.parametrize(
    ("file", "reason"), [("/etc/passwd", "pattern"), ("boundaries/none.geojson", "No such file"), ("boundaries", "Is a directory")]
)
def test_a_boundary_that_can_not_be_read_is_named(hub: World, folder: Path, file: str, reason: str) -> None:
    (problem,) = refused(hub, write(folder, edited(("boundaries/harbour.geojson", file)))).problems
    assert problem.field == "jurisdictions.harbour.file"
    assert reason in problem.reason
