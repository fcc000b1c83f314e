import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.policy.spoiling import AREA
from tests.world import World, feature


@pytest.fixture(scope="module")
def hub(world: World) -> World:
    for slug in ("police", "health", "fire"):
        world.organisation(slug)
    at = (datetime.now(UTC) - timedelta(days=9)).isoformat()
    some = [feature("P-0", category="theft", severity=1, occurred_at=at), feature("P-1", category="fire", severity=5, occurred_at=at)]
    answer = world.publish("police", *some)
    assert answer.status_code == 201
    return world


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boundaries").mkdir()
    (tmp_path / "boundaries" / "harbour.geojson").write_text(json.dumps(AREA))
    return tmp_path
