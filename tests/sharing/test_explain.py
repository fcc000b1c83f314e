"""Why a record looks as it does: every field of the catalogue, its treatment, and the clauses of this reader's own agreements."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from hub.datasets import DATASETS
from tests.world import World, feature, grant

ITEM = "/collections/incidents/items/{}"
FIELDS = {
    "fine": {"category": "clear", "occurred_at": {"round_to": "P1D"}, "place": {"grid_m": 100}, "phone": "withhold"},
    "same": {"category": "clear", "occurred_at": {"round_to": "PT1H"}, "place": {"grid_m": 2000}, "narrative": "clear"},
    "fires": {"place": "clear"},
}


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """reader has two MOUs with police; of grants that hold for fires alone, and of another reader's, a theft says nothing."""
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "reader", "other"):
        world.organisation(slug)
    fires = [{"field": "category", "one_of": ["fire"]}]
    world.mou(folder, "MOU-1", "police", "reader", [grant("fine", fields=FIELDS["fine"]), grant("aside", ["planning"])], version=3)
    later = {"in_force": {"from": date(2021, 1, 1), "until": date(2031, 1, 1)}}
    grants = [grant("same", fields=FIELDS["same"]), grant("fires", fields=FIELDS["fires"], where=fires)]
    world.mou(folder, "MOU-2", "police", "reader", grants, **later)
    world.mou(folder, "MOU-3", "police", "other", [grant(fields={"phone": "clear"})])
    sent = [feature(c, category=c, narrative=f"A {c}.", phone="555 0100") for c in ("theft", "fire")]
    answer = world.publish("police", *sent)
    return {r["external_id"]: r["id"] for r in answer.json()["records"]}


def _explained(world: World, record: str) -> dict[str, Any]:
    answer = world.get("reader", "research", f"{ITEM.format(record)}/explain")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def _clause(mou: str, version: int, name: str) -> dict[str, Any]:
    return {"mou": mou, "version": version, "grant": name}


FINE, SAME, FIRES = _clause("MOU-1", 3, "fine"), _clause("MOU-2", 1, "same"), _clause("MOU-2", 1, "fires")


def test_every_field_has_its_treatment_and_the_clauses_that_give_it(world: World, shared: dict[str, str]) -> None:
    fields = {f["name"]: (f["treatment"], f["under"]) for f in _explained(world, shared["theft"])["fields"]}
    given = {
        "category": ("clear", [FINE, SAME]),
        "occurred_at": ("round_to:PT1H", [SAME]),
        "place": ("grid_m:100", [FINE]),
        "narrative": ("clear", [SAME]),
    }
    assert fields == {f.name: given.get(f.name, ("withhold", [])) for f in DATASETS["incidents"].fields}


def test_the_fields_are_in_the_order_of_the_catalogue(world: World, shared: dict[str, str]) -> None:
    assert [f["name"] for f in _explained(world, shared["theft"])["fields"]] == [f.name for f in DATASETS["incidents"].fields]


def test_a_grant_that_holds_for_this_record_alone_counts_for_it(world: World, shared: dict[str, str]) -> None:
    fields = {f["name"]: f for f in _explained(world, shared["fire"])["fields"]}
    assert (fields["place"]["treatment"], fields["place"]["under"]) == ("clear", [FIRES])


def test_the_feature_is_the_record_as_it_is_shared(world: World, shared: dict[str, str]) -> None:
    for record in shared.values():
        item = world.get("reader", "research", ITEM.format(record)).json()
        assert _explained(world, record)["feature"] == {n: v for n, v in item.items() if n != "links"}


def test_the_agreements_named_are_those_the_record_is_shared_under(world: World, shared: dict[str, str]) -> None:
    found = _explained(world, shared["theft"])
    assert found["mous"] == [
        {"mou": "MOU-1", "version": 3, "provider": "police", "until": "2100-01-01T00:00:00.000Z"},
        {"mou": "MOU-2", "version": 1, "provider": "police", "until": "2031-01-02T00:00:00.000Z"},
    ]


def test_nothing_of_an_agreement_that_does_not_hold_here_is_told(world: World, shared: dict[str, str]) -> None:
    """Neither another reader's MOU nor one's own grants for another purpose or for other records."""
    text = world.get("reader", "research", f"{ITEM.format(shared['theft'])}/explain").text
    for hidden in ("MOU-3", "aside", "fires", "555"):
        assert hidden not in text
    assert "MOU-2" in text


def test_what_holds_for_another_purpose_is_explained_for_it(world: World, shared: dict[str, str]) -> None:
    found = world.get("reader", "planning", f"{ITEM.format(shared['theft'])}/explain").json()
    assert {c["grant"] for f in found["fields"] for c in f["under"]} == {"aside"}
    assert [m["mou"] for m in found["mous"]] == ["MOU-1"]


def test_an_explanation_is_a_disclosure_like_the_record(world: World, shared: dict[str, str]) -> None:
    leaves = []
    for path in ("", "/explain"):
        before = len(world.leaves())
        world.get("reader", "research", ITEM.format(shared["theft"]) + path)
        (leaf,) = world.leaves()[before:]
        leaves.append({n: v for n, v in leaf.items() if n not in ("salt", "event", "at", "asked")})
    assert leaves[0] == leaves[1]
    assert leaves[0]["owner"] == "police"
    assert leaves[0]["shown"]["count"] == 1
