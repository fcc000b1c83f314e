"""A hub with two organisations that import, a reader of both, and an auditor."""

import pytest

from tests.world import World, grant

SHOWN = {
    "category": "clear",
    "external_id": "clear",
    "occurred_at": {"round_to": "PT1H"},
    "place": {"grid_m": 500},
    "narrative": "clear",
}


@pytest.fixture(scope="module")
def partners(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "ambulance", "health"):
        world.organisation(slug)
    world.organisation("auditor", "auditor", ["audit"])
    folder = tmp_path_factory.mktemp("mous")
    for provider in ("police", "ambulance"):
        world.mou(folder, f"MOU-{provider.upper()}", provider, "health", [grant(fields=SHOWN)])
        world.bearer(provider)
    return world
