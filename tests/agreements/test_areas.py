"""The boundaries that an MOU pins, kept with it: what its map shows is what was agreed on."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import shapely
import sqlalchemy as sa
from shapely.geometry import mapping, shape

from hub.agreements.in_force import Agreements
from tests.world import World, grant

HARBOUR = shapely.box(-79.41, 43.63, -79.36, 43.66)
ISLANDS = shapely.MultiPolygon([shapely.box(-79.40, 43.61, -79.38, 43.62), shapely.box(-79.37, 43.61, -79.36, 43.62)])
KEPT = """
select a.name, a.sha256, ST_AsGeoJSON(a.area, 6) from hub.mou_areas a join hub.mous m on m.id = a.mou_id
where m.mou = :mou and m.version = :v"""


@pytest.fixture(scope="module")
def numbers(world: World) -> dict[str, int]:
    return {slug: world.organisation(slug).id for slug in ("police", "health", "housing")}


def pin(folder: Path, name: str, area: shapely.Geometry) -> dict[str, str]:
    content = json.dumps({"type": "Feature", "properties": {}, "geometry": mapping(area)}).encode()
    (folder / f"{name}.geojson").write_bytes(content)
    return {"file": f"{name}.geojson", "sha256": sha256(content).hexdigest()}


def kept(world: World, mou: str, version: int = 1) -> dict[str, tuple[str, shapely.Geometry]]:
    with world.superuser() as connection:
        rows = connection.execute(sa.text(KEPT), {"mou": mou, "v": version})
        return {name: (digest, shape(json.loads(area))) for name, digest, area in rows}


def within(*names: str) -> list[dict[str, Any]]:
    return [grant(where=[{"field": "place", "within": list(names)}])]


def test_loading_keeps_each_jurisdiction_with_its_hash(world: World, numbers: dict[str, int], tmp_path: Path) -> None:
    pinned = {"harbour": pin(tmp_path, "harbour", HARBOUR), "islands": pin(tmp_path, "islands", ISLANDS)}
    world.mou(tmp_path, "MOU-AREAS", "police", "health", within("harbour"), jurisdictions=pinned)
    found = kept(world, "MOU-AREAS")
    assert {name: digest for name, (digest, _) in found.items()} == {name: p["sha256"] for name, p in pinned.items()}
    assert found["harbour"][1].equals(HARBOUR)
    assert found["islands"][1].equals(ISLANDS)
    assert not found["harbour"][1].equals(ISLANDS)


def test_a_new_version_has_its_own_areas_and_the_old_ones_stay(world: World, numbers: dict[str, int], tmp_path: Path) -> None:
    for version, area in ((1, HARBOUR), (2, ISLANDS)):
        pinned = {"part": pin(tmp_path, f"part{version}", area)}
        world.mou(tmp_path, "MOU-MOVED", "police", "housing", within("part"), jurisdictions=pinned, version=version)
    assert kept(world, "MOU-MOVED", 1)["part"][1].equals(HARBOUR)
    assert kept(world, "MOU-MOVED", 2)["part"][1].equals(ISLANDS)
    (shown,) = world.services.agreements.areas(numbers["housing"])
    assert shape(json.loads(shown.geojson)).equals(ISLANDS)


def test_areas_are_those_of_ones_own_agreements_and_an_auditors_everybodys(world: World, numbers: dict[str, int], tmp_path: Path) -> None:
    world.mou(tmp_path, "MOU-OWN", "housing", "health", within("harbour"), jurisdictions={"harbour": pin(tmp_path, "harbour", HARBOUR)})
    agreements: Agreements = world.services.agreements
    own = {(a.mou, a.name) for a in agreements.areas(numbers["police"])}
    assert ("MOU-OWN", "harbour") not in own
    assert ("MOU-AREAS", "islands") in own
    every = {(a.mou, a.name) for a in agreements.areas(None)}
    assert every == own | {("MOU-OWN", "harbour")}
    assert ("MOU-OWN", "harbour") in {(a.mou, a.name) for a in agreements.areas(numbers["housing"])}
