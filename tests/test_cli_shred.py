"""`hub shred`, `hub hold`, `hub retention`: what an owner and an operator type, and what they are told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Run, environment, refused, serving
from tests.world import World, feature


@pytest.fixture(scope="module")
def served(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    world.organisation("police")
    with serving(world, tmp_path_factory.mktemp("profile"), "police") as profile:
        yield profile


@pytest.fixture
def hub(world: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)
    return bare


def published(world: World, *names: str, at: str = "2021-03-04T13:37:11Z") -> list[str]:
    answer = world.publish("police", *(feature(name, occurred_at=at) for name in names))
    return [record["id"] for record in answer.json()["records"]]


def test_records_are_destroyed_and_their_order_is_listed(world: World, served: Path, hub: Run) -> None:
    ids = published(world, "C-1", "C-2")
    said = hub("shred", "records", *ids, "--reference", "REQ-7", "--as", str(served)).out
    assert "2 records are absent to everybody from now on; their keys" in said
    listed = hub("shred", "status", "--as", str(served)).out
    assert "request" in listed
    refused(hub("shred", "records", *ids, "--as", str(served)), "no such record")


def test_a_rule_is_tried_out_and_then_carried_out(world: World, served: Path, hub: Run) -> None:
    published(world, "C-3", "C-4", at="2001-01-01T00:00:00Z")
    assert "2 records would be destroyed; a hold keeps 0." in hub("shred", "before", "2002-01-01", "--dry-run", "--as", str(served)).out
    assert "2 records are destroyed" in hub("shred", "before", "2002-01-01", "--as", str(served)).out
    assert "0 records are destroyed" in hub("shred", "before", "2002-01-01", "--as", str(served)).out


def test_a_hold_is_placed_listed_and_released(world: World, served: Path, hub: Run) -> None:
    (record,) = published(world, "C-5")
    said = hub("hold", "place", "Claim 4", "--record", record, "--as", str(served)).out
    number = said.split()[1]
    refused(hub("shred", "records", record, "--as", str(served)), "legal hold")
    hub("hold", "place", "Inquiry", "--since", "1999-01-01", "--as", str(served))
    listed = hub("hold", "list", "--as", str(served)).out
    assert record in listed
    assert "1999-01-01" in listed
    assert "Released." in hub("hold", "release", number, "--as", str(served)).out
    refused(hub("hold", "release", number, "--as", str(served)), "no such hold")


def test_a_retention_rule_is_set_listed_and_cleared(world: World, hub: Run) -> None:
    assert "24 full months" in hub("retention", "set", "police", "24").out
    assert "police" in hub("retention", "list").out
    assert "without end" in hub("retention", "clear", "police").out
    assert "police" not in hub("retention", "list").out
    assert [leaf["asked"]["months"] for leaf in world.leaves() if leaf["type"] == "retention"] == [24, 0]
    refused(hub("retention", "list", "--dataset", "weather"), "no dataset")
