"""Use it or lose it: what was read under each grant, from the log, and a narrower next version."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.datasets import DATASETS
from hub.policy.mou import read_mou
from tests.agreements.parties import Party, party
from tests.commands import Run, serving
from tests.world import World, feature, grant

FIELDS = {"category": "clear", "occurred_at": "clear", "place": {"grid_m": 500}, "severity": "clear", "title": "clear"}


@pytest.fixture(scope="module")
def parties(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Party, Party]:
    for slug in ("police", "health", "stranger"):
        world.organisation(slug)
    many = [
        grant(
            "read",
            ["research"],
            [{"field": "category", "one_of": ["theft", "fire", "fraud"]}],
            fields=dict(FIELDS),
            occurred={"embargo": "PT1H"},
        ),
        grant("map-only", ["map"], fields=dict(FIELDS)),
        grant("never", ["never"], fields=dict(FIELDS)),
    ]
    world.mou(tmp_path_factory.mktemp("mous"), "MOU-USE", "police", "health", many)
    some = [feature(f"U-{n}", category=("theft", "fire")[n % 2], severity=3, title="Sealed") for n in range(6)]
    assert world.publish("police", *some).status_code == 201
    made = party(world, "police"), party(world, "health")
    assert len(world.items("health", "research")) == 6
    assert world.get("health", "map", "/collections/incidents/map", bbox="-80,43,-79,44").status_code == 200
    return made


def use(who: Party, query: str = "") -> Any:
    answer = who.call("GET", f"/mous/MOU-USE/1/use{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_each_grant_says_what_was_read_under_it(parties: tuple[Party, Party]) -> None:
    found = {g["grant"]: g for g in use(parties[0])["grants"]}
    read, mapped, never = found["read"], found["map-only"], found["never"]
    assert (read["accesses"], read["records"], read["categories"]) == (1, 6, {"fire": 3, "theft": 3})
    assert (read["fields_read"], read["fields_unread"]) == (sorted(FIELDS), [])
    assert (mapped["accesses"], mapped["fields_unread"]) == (1, ["severity", "title"])
    assert (never["accesses"], never["last"], never["fields_unread"]) == (0, None, sorted(FIELDS))
    assert use(parties[0])["complete"]


def test_the_narrower_version_loses_what_nobody_read_and_nothing_else(world: World, parties: tuple[Party, Party]) -> None:
    found = use(parties[0])["narrower"]
    assert "\n-- id: never\n" in found["diff"]
    source = parties[0].call("GET", "/mous/MOU-USE/1/source").text
    narrow = read_mou(found["file"].encode(), DATASETS)
    before = read_mou(source.encode(), DATASETS)
    assert [g.id for g in narrow.grants] == ["read", "map-only"]
    assert set(narrow.grants[0].fields) == set(FIELDS)
    assert set(narrow.grants[1].fields) == {"category", "occurred_at", "place"}
    assert narrow.grants[0].where[0].argument == ("theft", "fire")
    assert narrow.grants[0].occurred == before.grants[0].occurred
    assert (narrow.mou, narrow.parties, narrow.in_force) == (before.mou, before.parties, before.in_force)
    assert (narrow.version, narrow.supersedes) == (2, before.sha256)


def test_the_consumer_is_told_no_category_that_it_was_not_shown(world: World, parties: tuple[Party, Party], tmp_path: Path) -> None:
    """Two records that differ in a withheld field alone: the consumer's answers about its own reading are the same."""
    police, health = parties
    world.mou(tmp_path, "MOU-BLIND", "police", "health", [grant("blind", ["blind"], fields={"place": {"grid_m": 500}})])
    answers = []
    for category in ("theft", "fire"):
        assert world.publish("police", feature("twin", category=category)).status_code in (200, 201)
        for wanted in ("items", "map"):
            assert world.get("health", "blind", f"/collections/incidents/{wanted}", bbox="-80,43,-79,44").status_code == 200
        found = [who.call("GET", "/mous/MOU-BLIND/1/use").json() for who in (health, police)]
        answers.append([{k: v for k, v in one["grants"][0].items() if k not in ("last", "accesses", "records")} for one in found])
    (first, owner), (second, later) = answers
    assert first == second
    assert "categories" not in first
    assert owner["categories"] != later["categories"]  # its own records' categories the provider knows
    assert health.call("GET", "/mous/MOU-USE/1/use").json()["narrower"]["file"].count("fraud") == 1


def test_the_command_writes_the_narrower_version(world: World, parties: tuple[Party, Party], bare: Run, tmp_path: Path) -> None:
    with serving(world, tmp_path, parties[0].client, None) as profile:
        ran = bare("mou", "use", "MOU-USE", 1, "--as", profile, "--out", tmp_path / "narrower.yaml")
    assert ran.code == 0, ran.err
    assert "never" in ran.out
    assert "\n-- id: never\n" in ran.out
    assert [g.id for g in read_mou((tmp_path / "narrower.yaml").read_bytes(), DATASETS).grants] == ["read", "map-only"]


def test_a_period_without_accesses_proposes_nothing(parties: tuple[Party, Party]) -> None:
    found = use(parties[0], "?datetime=2020-01-01T00:00:00Z/2020-12-31T00:00:00Z")
    assert {g["accesses"] for g in found["grants"]} == {0}
    assert found["narrower"] is None
    assert parties[0].call("GET", "/mous/MOU-USE/1/use?datetime=yesterday").status_code == 400


def test_others_learn_nothing_and_asking_is_in_the_log(world: World, parties: tuple[Party, Party]) -> None:
    stranger = party(world, "stranger")
    assert stranger.call("GET", "/mous/MOU-USE/1/use").status_code == 404
    before = len(world.leaves(type="mou", owner="police"))
    use(parties[1])
    leaf = world.leaves(type="mou", owner="police")[-1]
    assert len(world.leaves(type="mou", owner="police")) == before + 1
    assert (leaf["asked"], leaf["by"]["organisation"]) == ({"step": "use read"}, "health")


def test_a_page_of_the_map_counts_as_use_in_its_period_alone(world: World, parties: tuple[Party, Party]) -> None:
    since = (world.clock() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert {g["accesses"] for g in use(parties[0], f"?datetime={since}/..")["grants"]} == {0}
