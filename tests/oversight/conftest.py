"""A partnership whose accesses are flagged: health walks through police's cells, fire is refused again and again."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.app import flagging_of
from hub.audit.flagging import SETTLED, Flagging
from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"
CELLS = [(-79.40 + c * 0.01, 43.60 + r * 0.01) for r in range(3) for c in range(3)]  # their south-west corners


@dataclass(frozen=True)
class Story:
    """police and ambulance publish; health reads police's records, housing those of both."""

    world: World
    watch: Flagging

    def walk(self, client: str = "health") -> None:
        """Nine areas side by side, an incident in each."""
        for lon, lat in CELLS:
            answer = self.world.get(client, "research", ITEMS, bbox=f"{lon},{lat},{lon + 0.01},{lat + 0.01}")
            assert answer.status_code == 200, answer.text

    def refused(self) -> None:
        for _ in range(10):
            assert self.world.get("fire", "research", ITEMS).status_code == 403

    def look(self) -> None:
        """At all leaves that there are."""
        now = self.world.clock()
        for _ in range(3):  # what was seen before, what is there now
            while self.watch.step(now):
                pass
            now += SETTLED + timedelta(seconds=1)

    def ask(self, who: str, path: str = "/audit/flags", **params: Any) -> Any:
        return self.world.http.get(path, params=params or None, headers=self.world.bearer_for(who, "audit"))

    def flags(self, who: str, **params: Any) -> list[dict[str, Any]]:
        answer = self.ask(who, **params)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["flags"]
        return found

    def logged(self, kind: str = "audit") -> list[dict[str, Any]]:
        return self.world.leaves(type=kind)


def partnership(world: World, folder: Path) -> Story:
    for slug in ("police", "ambulance", "health", "housing", "fire"):
        world.organisation(slug)
    world.organisation("watch", "auditor", ["audit"])
    world.mou(folder, "MOU-1", "police", "health", [grant(fields={"category": "clear", "place": {"grid_m": 100}})])
    world.mou(folder, "MOU-2", "police", "housing", [grant(fields={"category": "clear", "place": {"grid_m": 100}})])
    world.mou(folder, "MOU-3", "ambulance", "housing", [grant(fields={"category": "clear", "place": {"grid_m": 100}})])
    for owner in ("police", "ambulance"):
        features = [feature(f"{owner}-{n}", lon + 0.005, lat + 0.005) for n, (lon, lat) in enumerate(CELLS)]
        assert world.publish(owner, *features).status_code == 201
    return Story(world, flagging_of(world.settings, world.database))


@pytest.fixture(scope="module")
def story(world: World, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return partnership(world, tmp_path_factory.mktemp("mous"))
