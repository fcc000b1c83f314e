"""The store of agreements as its readers ask it: whose, since when, for which purposes, until when."""

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.agreements.in_force import Agreement, Agreements, Purpose
from hub.datasets import DATASETS
from hub.errors import Tampered
from hub.policy.mou import read_mou
from tests.world import World, grant

pytestmark = pytest.mark.unmeasured

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
YEAR = {"from": date(2026, 1, 1), "until": date(2026, 12, 31)}


@pytest.fixture(scope="module")
def numbers(world: World) -> dict[str, int]:
    """Organisations by slug."""
    return {slug: world.organisation(slug).id for slug in ("police", "health", "housing", "university", "clinic", "nobody")}


@pytest.fixture(scope="module")
def hub(world: World, numbers: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("mous")

    def put(name: str, provider: str, consumer: str, *grants: Any, **more: Any) -> None:
        world.mou(folder, name, provider, consumer, grants, **{"in_force": YEAR, **more})

    put(
        "MOU-HEALTH",
        "police",
        "health",
        grant("seen", ["outreach", "prevention"], actions=["query", "export"]),
        grant("cases", ["outreach"], case_reference="required"),
        grant("followed", ["planning"], case_reference="required"),
        grant("told", ["alerts"], actions=["subscribe"]),
        title="Health",
    )
    put("MOU-HOUSING", "housing", "health", grant("grant-b", ["planning"], case_reference="required"), title="Housing")
    put("MOU-BACK", "health", "police", grant("grant-c", ["response"]), title="Back")
    put(
        "MOU-ENDED",
        "police",
        "university",
        grant("grant-d", ["research"]),
        in_force={"from": date(2025, 1, 1), "until": date(2025, 12, 31)},
    )
    put(
        "MOU-LATER",
        "police",
        "university",
        grant("grant-e", ["teaching"]),
        in_force={"from": date(2027, 1, 1), "until": date(2027, 12, 31)},
    )
    put(
        "MOU-LONG",
        "police",
        "clinic",
        grant("seen", ["outreach", "prevention"]),
        grant("cases", ["outreach"], case_reference="required"),
        grant("followed", ["planning"], case_reference="required"),
        grant("told", ["alerts"], actions=["subscribe"]),
        in_force={"from": date(2020, 1, 1), "until": date(2099, 12, 31)},
    )
    put("MOU-CASES", "police", "housing", grant("grant-f", ["repairs"], actions=["export"]), version=1)
    put("MOU-CASES", "police", "housing", grant("grant-f", ["safety"]), version=2)
    return world


@pytest.fixture
def agreements(hub: World) -> Agreements:
    return hub.services.agreements


def names(found: list[Agreement]) -> list[str]:
    return [a.mou.mou for a in found]


def test_an_organisation_finds_the_agreements_it_is_a_party_of_and_no_other(agreements: Agreements, numbers: dict[str, int]) -> None:
    assert names(agreements.of(numbers["health"])) == ["MOU-BACK", "MOU-HEALTH", "MOU-HOUSING"]
    assert names(agreements.of(numbers["university"])) == ["MOU-ENDED", "MOU-LATER"]
    assert agreements.of(numbers["nobody"]) == []
    assert agreements.of(999_999) == []


def test_an_auditor_finds_everybodys(agreements: Agreements) -> None:
    every = ["MOU-BACK", "MOU-CASES", "MOU-ENDED", "MOU-HEALTH", "MOU-HOUSING", "MOU-LATER", "MOU-LONG"]
    assert names(agreements.of(None)) == every


def test_of_an_agreement_the_newest_version_alone_is_found(agreements: Agreements, numbers: dict[str, int]) -> None:
    (found,) = [a for a in agreements.of(numbers["housing"]) if a.mou.mou == "MOU-CASES"]
    assert found.mou.version == 2
    assert agreements.may_export(numbers["housing"], "repairs", NOW) is False


def test_an_agreement_says_who_its_parties_are_and_has_its_file(agreements: Agreements, numbers: dict[str, int]) -> None:
    found = agreements.of(numbers["police"])[0]
    assert (found.provider_id, found.consumer_id) == (numbers["health"], numbers["police"])
    assert (found.mou.parties.provider, found.mou.parties.consumer) == ("health", "police")
    assert b"MOU-BACK" in found.mou.source
    assert read_mou(found.mou.source, DATASETS) == found.mou
    assert abs(datetime.now(UTC) - found.loaded_at) < timedelta(minutes=10)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("2025-12-31T23:59:59.999999+00:00", "not yet in force"),
        ("2026-01-01T00:00:00+00:00", "in force"),
        ("2026-12-31T23:59:59.999999+00:00", "in force"),
        ("2027-01-01T00:00:00+00:00", "ended"),
    ],
)
def test_both_days_of_the_period_are_in_it(agreements: Agreements, numbers: dict[str, int], at: str, said: str) -> None:
    found = agreements.of(numbers["police"])[0]
    assert found.state(datetime.fromisoformat(at)) == said


def test_purposes_are_those_of_grants_in_force_that_let_one_query(agreements: Agreements, numbers: dict[str, int]) -> None:
    health, housing = ("MOU-HEALTH", 1, "Health"), ("MOU-HOUSING", 1, "Housing")
    assert agreements.purposes(numbers["health"], NOW) == [
        Purpose("outreach", "sometimes", (health,)),
        Purpose("planning", "always", (health, housing)),
        Purpose("prevention", "never", (health,)),
    ]


def test_an_organisation_that_gives_may_not_query_for_what_it_gives(agreements: Agreements, numbers: dict[str, int]) -> None:
    assert [p.word for p in agreements.purposes(numbers["police"], NOW)] == ["response"]


def test_purposes_begin_and_end_with_the_agreement(agreements: Agreements, numbers: dict[str, int]) -> None:
    asked = {
        datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC): ["research"],
        datetime(2026, 1, 1, tzinfo=UTC): [],
        datetime(2027, 1, 1, tzinfo=UTC): ["teaching"],
        datetime(2028, 1, 1, tzinfo=UTC): [],
    }
    assert {now: [p.word for p in agreements.purposes(numbers["university"], now)] for now in asked} == asked


def test_exporting_is_for_the_purposes_of_grants_that_say_so(agreements: Agreements, numbers: dict[str, int]) -> None:
    found = {p: agreements.may_export(numbers["health"], p, NOW) for p in ("outreach", "prevention", "planning", "alerts", "nothing")}
    assert found == {"outreach": True, "prevention": True, "planning": False, "alerts": False, "nothing": False}
    assert not agreements.may_export(numbers["health"], "outreach", datetime(2027, 1, 1, tzinfo=UTC))
    assert not agreements.may_export(numbers["police"], "outreach", NOW)


def test_what_may_be_chosen_is_what_a_query_opens(hub: World, numbers: dict[str, int]) -> None:
    """The file's words and the database's grants agree: each purpose offered is answered, any other refused."""
    offered = hub.services.agreements.purposes(numbers["clinic"], hub.clock())
    assert [p.case for p in offered] == ["sometimes", "always", "never"]
    for purpose in {p.word for p in offered} | {"alerts", "research", "nothing"}:
        answer = hub.get("clinic", purpose, "/collections/incidents/items")
        case = next((p.case for p in offered if p.word == purpose), None)
        assert answer.status_code == (403 if case in (None, "always") else 200), purpose
        assert ("case reference" in answer.text) == (case == "always"), purpose


def test_a_stored_file_that_was_changed_is_noticed(hub: World, numbers: dict[str, int]) -> None:
    fresh = Agreements(hub.database.reader, DATASETS)
    change = "alter table hub.mous disable trigger guard; update hub.mous set source = replace(source, :old, :new) where mou = 'MOU-BACK';"
    change += "alter table hub.mous enable trigger guard"
    with hub.superuser() as connection:
        connection.execute(sa.text(change), {"old": "title: Back", "new": "title: Best"})
    with pytest.raises(Tampered, match="MOU-BACK version 1"):
        fresh.of(numbers["police"])
    with hub.superuser() as connection:
        connection.execute(sa.text(change), {"old": "title: Best", "new": "title: Back"})
    assert names(fresh.of(numbers["police"]))[0] == "MOU-BACK"


def test_fifty_agreements_cost_no_parsing_once_they_are_known(hub: World, numbers: dict[str, int], tmp_path: Path) -> None:
    many = hub.organisation("many").id
    for n in range(50):
        hub.mou(tmp_path, f"MOU-MANY-{n}", "police", "many", [grant(f"g{k}", ["research"]) for k in range(4)])
    agreements = Agreements(hub.database.reader, DATASETS)
    assert len(agreements.of(many)) == 50
    took = []
    for _ in range(20):
        began = time.perf_counter()
        assert len(agreements.of(many)) == 50
        took.append(time.perf_counter() - began)
    print(f"50 agreements: {sorted(took)[10] * 1000:.1f} ms")
    assert min(took) < 0.02  # parsing them would be 400 ms
