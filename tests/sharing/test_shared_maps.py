"""Shared maps: a name and a question, kept for an organisation; never a record."""

from uuid import UUID, uuid4

import pytest

from hub.errors import Conflict, InvalidRequest
from hub.identity.people import add
from hub.sharing import shared_maps
from hub.sharing.shared_maps import SharedMaps
from tests.world import World

QUERY = {"bbox": "-79.5,43.6,-79.3,43.7", "datetime": "2024-01-01T00:00:00Z/..", "filters": {"category": "theft,fire"}, "zoom": 12}


@pytest.fixture(scope="module")
def maps(world: World) -> SharedMaps:
    world.organisation("police")
    world.organisation("health")
    return SharedMaps(world.database.writer)


@pytest.fixture(scope="module")
def people(world: World, maps: SharedMaps) -> list[tuple[int, UUID]]:
    """(organisation, person): two of one organisation, one of another."""
    who = [("one", "police"), ("two", "police"), ("three", "health")]
    added = [add(world.database.writer, slug, handle, "Analyst", ["analyst"]) for handle, slug in who]
    return [(person.organisation.id, person.id) for person in added]


def test_a_map_comes_back_as_it_was_kept(maps: SharedMaps, people: list[tuple[int, UUID]]) -> None:
    organisation, person = people[0]
    number = maps.add(organisation, person, "incidents", "Harbour, <b>nights</b>", QUERY)
    found = maps.get(number)
    assert found is not None
    assert (found.id, found.organisation_id, found.person, found.dataset, found.name) == (
        number,
        organisation,
        person,
        "incidents",
        "Harbour, <b>nights</b>",
    )
    assert found.query == QUERY
    assert found.created_at.tzinfo is not None
    assert maps.get(uuid4()) is None


def test_an_organisation_has_its_own_maps_newest_first(maps: SharedMaps, people: list[tuple[int, UUID]]) -> None:
    (police, one), (_, two), (health, three) = people
    first, second = maps.add(police, one, "incidents", "First", {}), maps.add(police, two, "incidents", "Second", {})
    foreign = maps.add(health, three, "incidents", "Theirs", {})
    found = [m.id for m in maps.of(police)]
    assert found[:2] == [second, first]
    assert foreign not in found
    assert [m.id for m in maps.of(health)] == [foreign]


def test_only_who_shared_a_map_deletes_it(maps: SharedMaps, people: list[tuple[int, UUID]]) -> None:
    (police, one), (_, two), _ = people
    number = maps.add(police, one, "incidents", "Mine", {})
    assert not maps.delete(number, two)
    assert maps.get(number)
    assert maps.delete(number, one)
    assert maps.get(number) is None
    assert not maps.delete(number, one)


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\nb", "a\0b", "\u202eb", "\ud800"])
def test_a_name_that_is_none_is_refused(maps: SharedMaps, people: list[tuple[int, UUID]], name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        maps.add(*people[0], "incidents", name, {})
    assert caught.value.problems[0].field == "name"


@pytest.mark.parametrize(
    "query",
    [
        {"records": []},
        {"bbox": [1, 2, 3, 4]},
        {"bbox": None},
        {"datetime": 7},
        {"filters": ["category"]},
        {"filters": {"category": ["theft"]}},
        {"filters": {"category": {"a": "b"}}},
        {"filters": {"category": "a\0b"}},
        {"filters": {"category": "\ud800"}},
        {"zoom": 1.5},
        {"zoom": "12"},
        {"zoom": True},
        {"zoom": -1},
        {"zoom": 25},
        {"filters": {"external_id": "x" * 8_192}},
    ],
    ids=str,
)
def test_a_question_that_is_none_is_refused(maps: SharedMaps, people: list[tuple[int, UUID]], query: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        maps.add(*people[0], "incidents", "A map", query)
    assert caught.value.problems[0].field == "query"


def test_the_longest_question_is_kept(maps: SharedMaps, people: list[tuple[int, UUID]]) -> None:
    text = "é" * 4_000
    number = maps.add(*people[0], "incidents", "x" * 200, {"filters": {"external_id": text}})
    found = maps.get(number)
    assert found is not None
    assert found.query["filters"]["external_id"] == text


def test_a_person_has_no_end_of_maps_but_the_next(
    maps: SharedMaps, people: list[tuple[int, UUID]], monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation, person = people[2]
    monkeypatch.setattr(shared_maps, "MOST", len(maps.of(organisation)) + 1)
    last = maps.add(organisation, person, "incidents", "The last", {})
    with pytest.raises(Conflict, match="delete one"):
        maps.add(organisation, person, "incidents", "One more", {})
    assert maps.delete(last, person)
    assert maps.add(organisation, person, "incidents", "Instead", {})
