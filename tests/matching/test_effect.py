"""What an agreement about matching would change is counted for its provider, like everything else that it would."""

from pathlib import Path
from typing import Any

import pytest

from tests.agreements.parties import Party, party
from tests.world import World, feature, grant, mou_data

ONLY = {"phone": "match_only", "people": "match_only", "vehicles": "match_only"}


def holding(external_id: str, **more: Any) -> dict[str, Any]:
    """A record that holds a value of each kind."""
    person = {"name": "Zoë O'Brien", "birth_date": "1990-12-31"}
    return feature(external_id, phone="+44 113 496 0000", vehicles=[{"plate": "AB12 CDE"}], people=[person], **more)


@pytest.fixture(scope="module")
def parties(world: World) -> tuple[Party, Party]:
    for slug in ("police", "health"):
        world.organisation(slug)
    sent = [holding("one"), holding("two", category="fire"), feature("three", category="fire")]
    assert world.publish("police", *sent).status_code == 201
    return party(world, "police"), party(world, "health")


def effects(parties: tuple[Party, Party], name: str, grants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    police, health = parties
    assert health.draft(mou_data(name, "police", "health", grants)).status_code == 201
    assert health.step("proposal", name).status_code == 200
    found: list[dict[str, Any]] = police.diff(name)[0]["effects"]
    return found


def test_records_that_may_be_matched_and_not_seen_are_counted(parties: tuple[Party, Party]) -> None:
    fires = [{"field": "category", "one_of": ["fire"]}]
    (said,) = effects(parties, "MOU-1", [grant(where=fires, fields={"phone": "match_only"}, actions=["match"])])
    assert (said["action"], said["before"], said["after"], said["gained"]) == ("match", 0, 2, 2)
    assert said["fields"] == [{"field": "phone", "from": "withhold", "to": "match_only", "count": 2}]


def test_for_looking_a_field_that_is_for_matching_alone_is_withheld(parties: tuple[Party, Party]) -> None:
    said = {e["action"]: e for e in effects(parties, "MOU-2", [grant(fields=ONLY | {"category": "clear"}, actions=["query", "match"])])}
    assert [f["field"] for f in said["query"]["fields"]] == ["category"]
    assert [f["field"] for f in said["match"]["fields"]] == ["category", "people", "phone", "vehicles"]


def test_a_grant_to_match_without_a_field_for_it_gives_nothing(parties: tuple[Party, Party]) -> None:
    (said,) = effects(parties, "MOU-3", [grant(fields={"category": "clear", "phone": {"last": 4}}, actions=["match"])])
    assert (said["after"], said["gained"], said["fields"]) == (0, 0, [])


def test_an_owner_is_told_who_may_match_a_record(parties: tuple[Party, Party], tmp_path: Path) -> None:
    world = parties[0].world
    world.mou(tmp_path, "MOU-4", "police", "health", [grant(fields={"phone": "match_only"}, actions=["match", "query"])])
    with world.superuser() as admin:
        record = admin.exec_driver_sql("select id from hub.incidents where external_id = 'one'").scalar_one()
    found = world.http.get(f"/collections/incidents/items/{record}/trace", headers=world.bearer("police")).json()
    told = [(r["organisation"], r["action"], r["fields"]) for r in found["readers"]]
    assert told == [("health", "match", {"phone": "match_only"})]
