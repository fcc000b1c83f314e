"""A record whose keys are gone is shown without its sealed fields, and hides no other."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.world import World, feature, grant


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "health", "fire"):
        world.organisation(slug)
    fields = {"external_id": "clear", "category": "clear", "narrative": "clear", "title": {"last": 3}}
    world.mou(folder, "MOU-1", "police", "health", [grant(fields=fields | {"place": {"grid_m": 500}})])
    world.mou(folder, "MOU-2", "police", "fire", [grant(fields=fields | {"place": "clear"})])
    sent = (feature(f"P-{n}", narrative=f"narrative {n}", title=f"title {n}") for n in range(4))
    assert world.publish("police", *sent).status_code == 201
    return world


def lose(world: World, *names: str) -> None:
    with world.superuser() as admin:
        found = admin.exec_driver_sql("select id::text from hub.incidents where external_id = any(%s)", (list(names),))
        records = [record for (record,) in found]
    with sa.create_engine(world.addresses.keys, poolclass=sa.NullPool).begin() as keys:
        assert keys.exec_driver_sql("delete from keys.dek where record = any(%s::uuid[])", (records,)).rowcount > 0


def told(world: World, reader: str) -> dict[str, tuple[Any, Any, bool]]:
    return {
        f["properties"]["external_id"]: (f["properties"].get("narrative"), f["properties"].get("title"), f["geometry"] is not None)
        for f in world.items(reader, "research")
    }


def test_the_others_are_shown_whole(shared: World) -> None:
    whole = {f"P-{n}": (f"narrative {n}", f"…e {n}", True) for n in range(4)}
    assert told(shared, "health") == told(shared, "fire") == whole
    lose(shared, "P-1", "P-3")
    bare = dict.fromkeys(("P-1", "P-3"), (None, None, True))
    assert told(shared, "health") == whole | bare
    assert told(shared, "fire") == whole | dict.fromkeys(bare, (None, None, False))  # the exact place was sealed too


def test_alone_it_is_shown_with_what_is_left(shared: World) -> None:
    lose_id = next(f["id"] for f in shared.items("health", "research") if f["properties"]["external_id"] == "P-1")
    answer = shared.get("health", "research", f"/collections/incidents/items/{lose_id}")
    assert answer.status_code == 200
    assert "narrative" not in answer.json()["properties"]
    assert answer.json()["properties"]["category"] == "theft"


def test_with_every_key_gone_a_page_is_still_a_page(shared: World) -> None:
    lose(shared, "P-0", "P-2")
    assert set(told(shared, "health").values()) == {(None, None, True)}
