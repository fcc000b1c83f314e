"""Numbers in bands and texts by their last characters: what is shown, by which measure, and what a filter meets."""

from pathlib import Path
from typing import Any

import pytest

from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"
SEEN = {"category": "clear", "place": {"grid_m": 500}}
FEW = SEEN | {"severity": {"bands": [2, 4]}, "phone": {"last": 2}, "title": {"last": 20}, "external_id": {"last": 3}}
MORE = SEEN | {"severity": {"bands": [2, 3, 4]}, "phone": {"last": 4}, "external_id": {"last": 1}}


@pytest.fixture(scope="module")
def shown(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Each record's properties, by category: thefts are under one grant, fires under two."""
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "reader"):
        world.organisation(slug)
    fires = [{"field": "category", "one_of": ["fire"]}]
    world.mou(folder, "MOU-1", "police", "reader", [grant("few", fields=FEW), grant("more", fields=MORE, where=fires)])
    values = {
        "theft": (3, "+1 416 555 0199", "Bike"),
        "fire": (3, '"\\ü', None),
        "medical": (1, None, None),
        "assault": (5, "7", "🚲 gone"),
    }
    records = [feature(f"R-{c}-{n:03}", category=c, severity=s, phone=p, title=t) for n, (c, (s, p, t)) in enumerate(values.items())]
    answer = world.publish("police", *records)
    assert answer.status_code == 201, answer.text
    found = world.items("reader", "research")
    return {f["properties"]["category"]: f["properties"] for f in found}


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("theft", {"severity": 2, "severity_bands": [2, 4], "phone": "…99", "phone_last": 2, "title": "…Bike", "title_last": 20}),
        ("fire", {"severity": 3, "severity_bands": [2, 3, 4], "phone": '…"\\ü', "phone_last": 4}),
        ("medical", {"severity_bands": [2, 4]}),  # below the first band: as if there were none
        ("assault", {"severity": 4, "severity_bands": [2, 4], "phone": "…7", "phone_last": 2, "title": "…🚲 gone", "title_last": 20}),
    ],
)
def test_the_finest_measure_of_a_records_grants_applies(shown: dict[str, Any], category: str, expected: dict[str, Any]) -> None:
    names = [n for n in shown[category] if n.startswith(("severity", "phone", "title"))]
    assert {n: shown[category][n] for n in names} == expected


def test_a_clear_text_ends_in_the_database_and_the_longer_end_applies(shown: dict[str, Any]) -> None:
    assert {(p["external_id"], p["external_id_last"]) for p in shown.values()} == {("…000", 3), ("…001", 3), ("…002", 3), ("…003", 3)}


@pytest.mark.parametrize(
    ("asked", "categories"),
    [
        (("severity", "2"), {"theft"}),
        (("severity", "3"), {"fire"}),  # the theft's 3 is not released
        (("severity", "5,1"), set()),
        (("external_id", "R-theft-000"), set()),
        (("external_id", "…000,…001"), {"theft", "fire"}),
    ],
)
def test_a_filter_meets_what_is_released(world: World, shown: dict[str, Any], asked: tuple[str, str], categories: set[str]) -> None:
    found = world.items("reader", "research", **{asked[0]: asked[1]})
    assert {f["properties"]["category"] for f in found} == categories


def test_the_explanation_and_the_log_name_the_measure(world: World, shown: dict[str, Any]) -> None:
    found = world.items("reader", "research", category="fire")
    said = world.get("reader", "research", f"{ITEMS}/{found[0]['id']}/explain").json()
    assert {f["name"]: f["treatment"] for f in said["fields"]}["severity"] == "bands:2/3/4"
    assert world.leaves(type="query")[-1]["shown"]["fields"]["phone"] == "last:4"
