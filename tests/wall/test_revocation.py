"""Revoked is revoked: the next query gives nothing, whichever pooled connection answers it."""

import time
from pathlib import Path

import pytest

from hub.identity import clients
from tests.wall.sending import Ask, send
from tests.wall.under_way import POOL, on_every_connection
from tests.world import World, feature, grant

ITEMS, MAP = "/collections/incidents/items", "/collections/incidents/map?bbox=-180,-90,180,90"
SHARED, ENDED = [200, 200, 200, 200], [403, 403, 404, 404]  # a page, a map, a record, an explanation


@pytest.fixture
def shared(world: World, tmp_path: Path) -> tuple[str, str]:
    """A reader of its own for each test, and the id of a record that is shared with it."""
    reader = f"reader-{time.time_ns()}"
    if "police" not in world.keys:
        world.organisation("police")
        assert world.publish("police", feature("A-1")).status_code == 201
    world.organisation(reader)
    world.mou(tmp_path, f"MOU-{reader.upper()}", "police", reader, [grant(), grant("second", ["planning"])])
    record = world.get(reader, "research", ITEMS).json()["features"][0]["id"]
    return reader, record


def _asked(world: World, reader: str, record: str) -> list[int]:
    return _asked_for(world, reader, record, "research")


def _asked_for(world: World, reader: str, record: str, purpose: str) -> list[int]:
    asks = [Ask("GET", path, reader, purpose) for path in (ITEMS, MAP, f"{ITEMS}/{record}", f"{ITEMS}/{record}/explain")]
    return [answer.status for (answer,) in send(world, asks)]


def test_a_version_without_the_grant_ends_it_on_every_connection(
    world: World, shared: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, record = shared
    asked = lambda: _asked(world, reader, record)  # noqa: E731
    assert on_every_connection(monkeypatch, asked) == [SHARED] * POOL
    world.mou(tmp_path, f"MOU-{reader.upper()}", "police", reader, [grant("second", ["planning"])], version=2)
    assert on_every_connection(monkeypatch, asked) == [ENDED] * POOL
    assert world.get(reader, "planning", ITEMS).status_code == 200  # what was not taken away stays


def test_a_version_without_a_field_ends_that_field(world: World, shared: tuple[str, str], tmp_path: Path) -> None:
    reader, record = shared
    assert "category" in world.get(reader, "research", f"{ITEMS}/{record}").json()["properties"]
    world.mou(tmp_path, f"MOU-{reader.upper()}", "police", reader, [grant(fields={"place": {"grid_m": 2000}})], version=2)
    found = world.get(reader, "research", f"{ITEMS}/{record}").json()["properties"]
    assert found == {"provider": "police", "place_grid_m": 2000}


def test_a_version_with_narrower_conditions_ends_the_others(world: World, shared: tuple[str, str], tmp_path: Path) -> None:
    reader, record = shared
    narrower = grant(where=[{"field": "category", "one_of": ["fire"]}])
    world.mou(tmp_path, f"MOU-{reader.upper()}", "police", reader, [narrower], version=2)
    assert world.items(reader, "research") == []
    assert _asked(world, reader, record) == [200, 200, 404, 404]


def test_an_mou_ends_at_its_instant_without_anybody_doing_anything(world: World, shared: tuple[str, str]) -> None:
    reader, record = shared
    with world.superuser() as admin:
        ends = "update hub.mous set in_force_until = clock_timestamp() + interval '4 s' where mou = %s"
        admin.exec_driver_sql("alter table hub.mous disable trigger guard")
        admin.exec_driver_sql(ends, (f"MOU-{reader.upper()}",))
        admin.exec_driver_sql("alter table hub.mous enable trigger guard")
        admin.exec_driver_sql("update hub.policy_epoch set epoch = epoch + 1")
    assert _asked(world, reader, record) == SHARED
    time.sleep(4.05)
    assert _asked(world, reader, record) == ENDED


def test_a_disabled_client_reads_nothing_with_the_token_it_has(world: World, shared: tuple[str, str]) -> None:
    reader, record = shared
    clients.disable(world.database.writer, reader, world.clock())
    assert _asked(world, reader, record) == [401] * 4


def test_a_purpose_that_was_not_granted_gives_nothing(world: World, shared: tuple[str, str]) -> None:
    reader, record = shared
    assert _asked_for(world, reader, record, "enforcement") == ENDED
