"""A hub where records were published, read, and asked for in vain."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.world import BASE, World, feature, grant

ITEMS = "/collections/incidents/items"


@dataclass(frozen=True)
class Story:
    """`ids`: of the records, by external id. police's A has two revisions, health saw both; housing saw P of both providers."""

    world: World
    ids: dict[str, str]

    def ask(self, client: str, /, **parameters: Any) -> Any:
        answer = self.world.token_response(client, None, "audit") if ("audit", client) not in self.world.tokens else None
        if answer is not None:
            self.world.tokens["audit", client] = answer.json()["access_token"]
        headers = {"Authorization": f"Bearer {self.world.tokens['audit', client]}"}
        return self.world.http.get("/audit/events", params=parameters, headers=headers)

    def events(self, client: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """Every entry, following `next`."""
        answer, found = self.ask(client, **parameters), []
        while True:
            assert answer.status_code == 200, answer.text
            found += answer.json()["events"]
            following = [link["href"] for link in answer.json()["links"] if link["rel"] == "next"]
            if not following:
                return found
            headers = {"Authorization": f"Bearer {self.world.tokens['audit', client]}"}
            answer = self.world.http.get(following[0].removeprefix(BASE), headers=headers)


@pytest.fixture(scope="module")
def story(world: World, tmp_path_factory: pytest.TempPathFactory) -> Story:
    for slug in ("police", "ambulance", "health", "housing"):
        world.organisation(slug)
    world.organisation("auditor", "auditor", ["audit"])
    folder = tmp_path_factory.mktemp("mous")
    world.mou(folder, "MOU-1", "police", "health", [grant()])
    world.mou(folder, "MOU-2", "police", "housing", [grant(purposes=["safety"])])
    world.mou(folder, "MOU-3", "ambulance", "housing", [grant(purposes=["safety"])])
    ids = {}
    for client, name in (("police", "A"), ("police", "B"), ("ambulance", "C")):
        ids[name] = world.publish(client, feature(name)).json()["records"][0]["id"]
    assert world.get("health", "research", f"{ITEMS}/{ids['A']}").status_code == 200
    world.publish("police", feature("A", severity=1))
    assert len(world.items("health", "research")) == 2
    assert len(world.items("housing", "safety")) == 3
    assert world.get("health", "research", f"{ITEMS}/{ids['C']}").status_code == 404
    return Story(world, ids)
