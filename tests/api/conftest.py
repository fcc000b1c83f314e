"""A hub with two providers, a reader, a reader of another purpose, and an auditor."""

import pytest

from tests.world import World, grant

pytest.register_assert_rewrite("tests.api.asking")

SHOWN = {
    "category": "clear",
    "severity": "clear",
    "external_id": "clear",
    "occurred_at": {"round_to": "PT1H"},
    "place": {"grid_m": 500},
    "narrative": "clear",
}


@pytest.fixture(scope="module")
def partners(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """police and ambulance publish; police shares with health (for research), both share with housing (for safety)."""
    for slug in ("police", "ambulance", "health", "housing"):
        world.organisation(slug)
    world.organisation("auditor", "auditor", ["audit"])
    folder = tmp_path_factory.mktemp("mous")
    world.mou(folder, "MOU-1", "police", "health", [grant(fields=SHOWN)])
    world.mou(folder, "MOU-2", "police", "housing", [grant(purposes=["safety"], fields={"place": {"grid_m": 2000}})])
    world.mou(folder, "MOU-3", "ambulance", "housing", [grant(purposes=["safety"], fields=SHOWN)])
    for client in ("police", "ambulance"):
        world.bearer(client)
    return world
