"""`case_reference: required`: such a grant opens nothing without a case, and the log keeps the case that was named."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.policy.oracle import Reader
from tests.policy.playing import bearer
from tests.world import World, feature, grant


@pytest.fixture(scope="module")
def hub(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "health"):
        world.organisation(slug)
    grants = [
        grant("thefts", ["research", "casework"], [{"field": "category", "one_of": ["theft"]}]),
        grant("assaults", ["research"], [{"field": "category", "one_of": ["assault"]}], case_reference="required"),
        grant("fires", ["fires"], [{"field": "category", "one_of": ["fire"]}], case_reference="required"),
    ]
    world.mou(tmp_path_factory.mktemp("mou"), "MOU-CASE", "police", "health", grants)
    some = [feature(f"C-{category}", category=category) for category in ("theft", "assault", "fire", "drugs")]
    assert world.publish("police", *some).status_code == 201
    return world


def ask(hub: World, purpose: str, case: str | None) -> Any:
    headers = bearer(hub, Reader("health", purpose, case))
    return hub.http.get("/collections/incidents/items", params={"limit": 100}, headers=headers)


def categories(answer: Any) -> set[str]:
    assert answer.status_code == 200, answer.text
    return {f["properties"]["category"] for f in answer.json()["features"]}


def test_a_grant_that_needs_a_case_opens_with_one_only(hub: World) -> None:
    assert categories(ask(hub, "research", None)) == {"theft"}
    assert categories(ask(hub, "research", "2026/17")) == {"theft", "assault"}


def test_where_every_grant_needs_a_case_one_is_asked_for(hub: World) -> None:
    answer = ask(hub, "fires", None)
    assert answer.status_code == 403
    assert "case reference" in answer.json()["detail"]
    assert categories(ask(hub, "fires", "2026/17")) == {"fire"}


def test_the_log_keeps_the_case_with_the_token_and_with_the_query(hub: World) -> None:
    ask(hub, "fires", "2026/18, Ärmel")
    token, query = [leaf for leaf in hub.leaves() if leaf.get("case") == "2026/18, Ärmel"]
    assert (token["type"], token["purpose"], token["decision"]) == ("token", "fires", "permit")
    assert (query["type"], query["purpose"], query["shown"]["count"]) == ("query", "fires", 1)
    ask(hub, "casework", None)
    assert [leaf["type"] for leaf in hub.leaves() if leaf.get("purpose") == "casework" and "case" not in leaf] == ["token", "query"]


def test_what_the_database_holds_is_what_the_file_says(hub: World) -> None:
    with hub.superuser() as connection:
        rows = connection.execute(sa.text("select name, case_required from hub.grants order by name")).all()
    assert [tuple(row) for row in rows] == [("assaults", True), ("fires", True), ("thefts", False)]


def test_a_new_version_that_no_longer_asks_for_a_case_opens_without(hub: World, tmp_path: Path) -> None:
    where = [{"field": "category", "one_of": ["fire"]}]
    hub.mou(tmp_path, "MOU-CASE", "police", "health", [grant("fires", ["fires"], where)], version=2)
    assert categories(ask(hub, "fires", None)) == {"fire"}
