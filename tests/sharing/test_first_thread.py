"""A record goes in, comes out under an MOU, and the log shows it."""

from pathlib import Path

import pytest

from hub.geo import Point, snap
from tests.world import World, feature, grant


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "health", "housing"):
        world.organisation(slug)
    world.organisation("auditor", "auditor", ["audit"])
    world.mou(
        folder,
        "MOU-1",
        "police",
        "health",
        [grant(fields={"category": "clear", "occurred_at": {"round_to": "PT1H"}, "place": {"grid_m": 500}, "narrative": "clear"})],
    )
    world.mou(folder, "MOU-2", "police", "housing", [grant(fields={"place": "clear"})])
    answer = world.publish("police", feature("A-1", narrative="A canary sings."))
    assert answer.status_code == 201, answer.text
    return world


def test_a_partner_sees_the_record_as_its_mou_releases_it(shared: World) -> None:
    (found,) = shared.items("health", "research")
    assert found["properties"] == {
        "provider": "police",
        "category": "theft",
        "occurred_at": "2021-03-04T13:00:00+00:00",
        "occurred_at_round_to": "PT1H",
        "place_grid_m": 500,
        "narrative": "A canary sings.",
    }
    assert found["geometry"]["coordinates"] == list(snap(Point(-79.38, 43.65), 500))


def test_the_exact_place_is_opened_only_where_it_is_granted(shared: World) -> None:
    (found,) = shared.items("housing", "research")
    assert found["geometry"]["coordinates"] == [-79.38, 43.65]
    assert found["properties"] == {"provider": "police", "place_grid_m": 0}


def test_every_disclosure_is_in_the_log_of_its_owner(shared: World) -> None:
    shared.items("health", "research")
    leaf = shared.leaves(owner="police", type="query")[-1]
    assert leaf["by"]["organisation"] == "health"
    assert leaf["under"][0]["mou"] == "MOU-1"
    assert leaf["shown"]["fields"]["place"] == "grid_m:500"
