"""The map: what it shows is what the pages show, at the released place; above the limit it counts."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hub.audit.leaf import revisions_in
from hub.crypto.remote import RemoteKeys
from hub.geo import Point, snap
from hub.sharing import overview, query
from tests.world import World, feature, grant

MAP = "/collections/incidents/map"
START = datetime(2024, 5, 6, 7, 8, 9, 250_000, tzinfo=UTC)
# category → how its place is released
TIERS: dict[str, Any] = {"theft": {"grid_m": 100}, "fire": {"grid_m": 500}, "fraud": {"grid_m": 2000}, "burglary": "clear", "medical": None}
GRID_M = {"theft": 100, "fire": 500, "fraud": 2000, "burglary": 0, "medical": None}
CITY, WIDE, WORLD = "-79.45,43.60,-79.30,43.75", "-81,42,-78,45", "-180,-90,180,90"
BOXES = [CITY, WIDE, WORLD, "-79.384,43.64,-79.37,43.66", "179.9,-18,-179.9,-17", "10,-80,9,80"]
FILTERS: list[dict[str, str]] = [
    {},
    {"category": "theft,fraud"},
    {"status": "open"},
    {"datetime": "2024-05-08T00:00:00Z/.."},
    {"datetime": "2024-05-08T00:00:00Z/2024-05-12T00:00:00Z"},  # short enough for the access path `time`
]


def _records(provider: str) -> list[dict[str, Any]]:
    random = Random(provider)
    places = [(-79.3838, 43.6534), (-79.36, 43.70), (-79.9, 43.2), (179.9995, -17.7), (-179.9995, -17.7)]
    found = []
    for n in range(60):
        lon, lat = random.choice(places)
        place = (round(lon + random.uniform(-0.0004, 0.0004), 7), round(lat + random.uniform(-0.02, 0.02), 7))
        at = START + timedelta(minutes=random.randrange(60 * 24 * 12))
        found.append(feature(f"{provider}-{n}", *place, category=random.choice(list(TIERS)), occurred_at=at.isoformat(), status="open"))
    return found


def _grant(category: str, place: Any) -> dict[str, Any]:
    fields = {"category": "clear", "occurred_at": {"round_to": "PT1H"}, "narrative": "clear"} | ({"place": place} if place else {})
    return grant(category, fields=fields, where=[{"field": "category", "one_of": [category]}])


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "ambulance", "other", "reader", "lawless"):
        world.organisation(slug)
    world.mou(folder, "MOU-1", "police", "reader", [_grant(category, place) for category, place in TIERS.items()])
    world.mou(folder, "MOU-2", "ambulance", "reader", [grant(fields={"place": {"grid_m": 500}, "category": "clear"})])
    for provider in ("police", "ambulance", "other"):
        assert world.publish(provider, *_records(provider)).status_code == 201
    return world


def _map(world: World, box: str = WORLD, **filters: str) -> dict[str, Any]:
    answer = world.get("reader", "research", MAP, bbox=box, **filters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def _seen(item: dict[str, Any]) -> list[Any]:
    """A feature of a page as a map shows it."""
    lon, lat = item["geometry"]["coordinates"]
    p = item["properties"]
    grid_m = p["place_grid_m"]
    place = [lon, lat] if grid_m else list(snap(Point(lon, lat), 100))
    at = p["occurred_at"].replace("+00:00", "Z") if "occurred_at" in p else None
    return [item["id"], *place, grid_m or 100, p["category"], at, p.get("occurred_at_round_to")]


@pytest.fixture(params=["walk", "seek"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the area is read follows from the share of the dataset that the reader sees; here it is forced."""
    way: str = request.param
    monkeypatch.setattr(query.Querying, "_sees_little", lambda *_: way == "seek")
    return way


@pytest.mark.parametrize("filters", FILTERS, ids=lambda f: ",".join(f) or "all")
@pytest.mark.parametrize("box", BOXES)
def test_a_map_shows_the_records_of_the_pages_at_their_released_places(shared: World, way: str, box: str, filters: dict[str, str]) -> None:
    found = _map(shared, box, **filters)
    assert (found["kind"], found["fields"]) == ("records", ["category", "occurred_at"])
    shown = [[*r[:4], *r[5:]] for r in found["records"]]
    assert sorted(shown) == sorted(map(_seen, shared.items("reader", "research", bbox=box, **filters)))


def test_the_records_are_of_every_tier_but_withheld(shared: World) -> None:
    found = _map(shared)
    tiers = {r[5]: r[3] for r in found["records"] if found["under"][r[4]]["provider"] == "police"}
    assert tiers == {"theft": 100, "fire": 500, "fraud": 2000, "burglary": 100}  # exact is seen at 100 m; medical nowhere
    assert any(i["properties"].get("category") == "medical" for i in shared.items("reader", "research"))


def test_each_record_names_the_grant_that_gives_its_place(shared: World) -> None:
    found = _map(shared)
    assert [(u["mou"], u["grant"], u["provider"], u["grid_m"]) for u in found["under"]] == [
        ("MOU-1", "burglary", "police", 0),
        ("MOU-1", "fire", "police", 500),
        ("MOU-1", "fraud", "police", 2000),
        ("MOU-1", "theft", "police", 100),
        ("MOU-2", "all", "ambulance", 500),
    ]
    assert all(u["version"] == 1 for u in found["under"])
    for _, _, _, grid_m, under, category, *_ in found["records"]:
        clause = found["under"][under]
        assert clause["grant"] in (category, "all")
        assert grid_m == (clause["grid_m"] or 100)


def test_the_order_is_that_of_released_cells_on_every_path(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []
    for little in (False, True):
        monkeypatch.setattr(query.Querying, "_sees_little", lambda *_, little=little: little)
        orders.append([r[0] for r in _map(shared, CITY)["records"]])
    assert orders[0] == orders[1] != []


def test_nothing_sealed_is_opened_or_read_for_a_map(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader is granted the narrative and, of burglaries, the exact place."""
    opened: list[object] = []
    monkeypatch.setattr(RemoteKeys, "open_batch", lambda _self, *asked: opened.append(asked))
    assert any(r[5] == "burglary" for r in _map(shared)["records"])
    assert opened == []
    statements = shared.services.datasets["incidents"].querying._statements
    for form in ("records", "coarse", "fine"):
        for path in ("walk", "seek", "time"):
            assert "sealed" not in statements.overview(form, path)[1]


# --- counts ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than five records are too many for a map."""
    monkeypatch.setattr(overview, "MAX_RECORDS", 5)


def _counted(items: list[dict[str, Any]], width: int) -> Counter[tuple[float, float, int]]:
    """Cells of `width` with how many of these features they hold: from what the pages release, without SQL."""
    found: Counter[tuple[float, float, int]] = Counter()
    for item in items:
        grid_m = max(width, item["properties"]["place_grid_m"])
        found[*snap(Point(*_seen(item)[1:3]), grid_m), grid_m] += 1
    return found


@pytest.mark.parametrize(("box", "width"), [(CITY, 500), (WIDE, 2000), (WORLD, 2000)])
@pytest.mark.parametrize("filters", FILTERS, ids=lambda f: ",".join(f) or "all")
def test_above_the_limit_a_map_counts_released_places(
    shared: World, way: str, few: None, box: str, width: int, filters: dict[str, str]
) -> None:
    items = shared.items("reader", "research", bbox=box, **filters)
    found = _map(shared, box, **filters)
    if len(items) <= 5:
        assert found["kind"] == "records"
        return
    assert (found["kind"], found["grid_m"], found["total"]) == ("counts", width, len(items))
    assert {(lon, lat, grid_m): n for lon, lat, grid_m, n in found["cells"]} == _counted(items, width)
    assert "records" not in found


def test_a_place_released_coarser_than_the_map_keeps_its_own_cell(shared: World, few: None) -> None:
    assert {grid_m for _, _, grid_m, _ in _map(shared, CITY)["cells"]} == {500, 2000}


def test_the_limit_is_the_last_number_of_records_that_are_shown(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(_map(shared)["records"])
    for limit, kind in ((count, "records"), (count - 1, "counts")):
        monkeypatch.setattr(overview, "MAX_RECORDS", limit)
        assert _map(shared)["kind"] == kind


# --- the log -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def leaves(shared: World) -> Callable[[], list[dict[str, Any]]]:
    """What the log got since the test began."""
    before = len(shared.leaves())
    return lambda: shared.leaves()[before:]


def test_a_map_leaves_one_leaf_for_each_owner(shared: World, leaves: Any) -> None:
    found = _map(shared, WIDE, category="theft,fire,burglary")
    logged = {leaf["owner"]: leaf for leaf in leaves()}
    assert set(logged) == {"police", "ambulance"}
    assert len(leaves()) == 2
    for owner, leaf in logged.items():
        own = [r for r in found["records"] if found["under"][r[4]]["provider"] == owner]
        assert (leaf["type"], leaf["decision"], leaf["purpose"]) == ("query", "permit", "research")
        asked = {n: v for n, v in leaf["asked"].items() if n not in ("literals", "hash")}
        assert asked == {"as": "map", "extent": [-81, 42, -78, 45], "fields": ["category"]}
        assert leaf["shown"]["count"] == len(own) == len(revisions_in(leaf["shown"]["revisions"]))
    # only what the map shows, as it shows it: neither the narrative nor an exact place
    assert logged["police"]["shown"]["fields"] == {
        "category": "clear",
        "occurred_at": "round_to:PT1H",
        "place": "grid_m:100,grid_m:500",
    }
    assert logged["ambulance"]["shown"]["fields"] == {"category": "clear", "place": "grid_m:500"}
    assert logged["police"]["under"][0]["grants"] == ["theft", "fire", "burglary"]


def test_a_map_of_counts_names_no_record(shared: World, few: None, leaves: Any) -> None:
    found = _map(shared, CITY)
    logged = {leaf["owner"]: leaf["shown"] for leaf in leaves()}
    assert set(logged) == {"police", "ambulance"}
    assert sum(shown["count"] for shown in logged.values()) == found["total"]
    assert all(0 < shown["cells"] <= len(found["cells"]) for shown in logged.values())
    assert all(shown.keys() == {"count", "cells", "fields"} for shown in logged.values())
    assert logged["ambulance"]["fields"] == {"place": "grid_m:500"}
    assert logged["police"]["fields"] == {"place": "grid_m:2000,grid_m:500"}


def test_an_empty_map_is_in_the_hubs_own_log(shared: World, leaves: Any) -> None:
    assert _map(shared, "1,1,2,2")["records"] == []
    (leaf,) = leaves()
    assert leaf["decision"] == "permit"
    assert leaf.keys().isdisjoint({"owner", "shown"})


def test_without_an_agreement_there_is_no_map(shared: World, leaves: Any) -> None:
    answer = shared.get("lawless", "research", MAP, bbox=WORLD)
    assert answer.status_code == 403
    assert "No MOU in force" in answer.json()["detail"]
    assert [(leaf["type"], leaf["decision"], leaf["reason"]) for leaf in leaves() if leaf["type"] != "token"] == [
        ("query", "refuse", "no MOU in force")
    ]


def test_a_map_without_an_area_is_refused_by_name(shared: World) -> None:
    for given in ({}, {"bbox": WORLD, "limit": "5"}, {"bbox": WORLD, "cursor": "AAAA"}, {"bbox": "1,2,3"}):
        answer = shared.get("reader", "research", MAP, **given)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == next((n for n in ("limit", "cursor") if n in given), "bbox")
