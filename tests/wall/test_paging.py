"""Pages of any size give every record exactly once, in one order, on every access path; records of every tier side by side."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hub.geo import Box, Point, snap
from hub.sharing import query
from tests.wall.sending import Ask, send
from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"
START = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
# category → how its place is released: at a grid, exactly (0; found at 100 m), or not at all (None)
TIERS = {"theft": 100, "fire": 500, "fraud": 2000, "burglary": 0, "medical": None}
TREATMENTS: dict[int | None, Any] = {None: "withhold", 0: "clear"}
PLACES = [(-79.3838, 43.6534), (-79.3839, 43.6535), (179.9995, -17.7), (-179.9995, -17.7), (-79.2, 43.7), (-79.38, 43.66)]
BOXES: dict[str, Box | None] = {
    "no area": None,
    "an area": Box(-79.39, 43.60, -79.10, 43.75),
    "within a 2 km cell": Box(-79.395, 43.645, -79.375, 43.665),
    "across the antimeridian": Box(179.9, -17.9, -179.9, -17.5),
    "round the earth": Box(10.0, -80.0, 9.0, 80.0),
    "a tall area": Box(-80.0, -89.0, -79.0, 89.0),
}
PERIODS: dict[str, tuple[datetime | None, datetime | None]] = {
    "any time": (None, None),
    "since": (START + timedelta(days=3), None),
    "a week": (START + timedelta(days=2), START + timedelta(days=9)),  # short enough for the access path `time`
}


def _records() -> list[dict[str, Any]]:
    random = Random(5)
    found = []
    for n in range(40):
        lon, lat = random.choice(PLACES)
        place = (round(lon + random.uniform(-0.0004, 0.0004), 7), round(lat + random.uniform(-0.02, 0.02), 7))
        at = START + timedelta(minutes=random.randrange(60 * 24 * 12))
        found.append(feature(f"P-{n}", *place, category=random.choice(list(TIERS)), occurred_at=at.isoformat()))
    return found


@pytest.fixture(scope="module")
def sent(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What was published, by id. Half of it is shared as it stands above, half with somebody else."""
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "other", "reader"):
        world.organisation(slug)
    grants = [_grant(category, tier) for category, tier in TIERS.items()]
    world.mou(folder, "MOU-1", "police", "reader", grants)
    records = _records()
    answers = world.publish("police", *records), world.publish("other", *records)
    assert [a.status_code for a in answers] == [201, 201]
    return {r["id"]: record for r, record in zip(answers[0].json()["records"], records, strict=True)}


def _grant(category: str, tier: int | None) -> dict[str, Any]:
    place = TREATMENTS.get(tier, {"grid_m": tier})
    fields = {"category": "clear", "occurred_at": {"round_to": "PT1H"}, "place": place}
    return grant(category, fields=fields, where=[{"field": "category", "one_of": [category]}])


def _expected(sent: Mapping[str, dict[str, Any]], box: Box | None, period: tuple[datetime | None, datetime | None]) -> set[str]:
    return {i for i, record in sent.items() if _in_box(record, box) and _in_period(record, *period)}


def _in_box(record: Mapping[str, Any], box: Box | None) -> bool:
    tier = TIERS[record["properties"]["category"]]
    if box is None or tier is None:
        return box is None
    centre = snap(Point(*record["geometry"]["coordinates"]), tier or 100)
    around = box.west <= centre.lon <= box.east if box.west <= box.east else not box.east < centre.lon < box.west
    return around and box.south <= centre.lat <= box.north


def _in_period(record: Mapping[str, Any], since: datetime | None, until: datetime | None) -> bool:
    hour = datetime.fromisoformat(record["properties"]["occurred_at"]).replace(minute=0, second=0, microsecond=0)
    return (since is None or hour >= since) and (until is None or hour <= until)


def _parameters(box: Box | None, period: tuple[datetime | None, datetime | None]) -> dict[str, str]:
    found = {"bbox": ",".join(map(repr, box))} if box else {}
    since, until = (at.isoformat().replace("+00:00", "Z") if at else ".." for at in period)
    return found if period == (None, None) else found | {"datetime": f"{since}/{until}"}


def _walk(world: World, parameters: Mapping[str, str], limits: list[int]) -> list[list[str]]:
    """The ids on each page, the page size taken from `limits` in turn."""
    pages: list[list[str]] = []
    ask = Ask("GET", ITEMS, "reader", "research", tuple({**parameters, "limit": str(limits[0])}.items()))
    while True:
        ((answer,),) = send(world, [ask])
        assert answer.status == 200, answer.body
        pages.append(answer.ids)
        if answer.following is None:
            return pages
        assert len(answer.ids) == limits[(len(pages) - 1) % len(limits)]  # only the last page may be short
        path, _, asked = answer.following.partition("?")
        given = dict(pair.split("=", 1) for pair in asked.split("&")) | {"limit": str(limits[len(pages) % len(limits)])}
        ask = Ask("GET", f"{path}?{'&'.join(f'{n}={v}' for n, v in given.items())}", "reader", "research")


WAYS = ["walk", "seek", "now one, now the other"]


def _force(patch: pytest.MonkeyPatch, way: str) -> None:
    """How pages of an area are read follows from the share of the dataset that the reader sees; here it is forced."""
    turns = iter(range(10**6))
    sees = {"walk": lambda *_: False, "seek": lambda *_: True}.get(way, lambda *_: next(turns) % 2 == 0)
    patch.setattr(query.Querying, "_sees_little", sees)


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize(("way", "area"), [(way, area) for way in WAYS for area in BOXES if way == "walk" or BOXES[area]])
def test_pages_of_any_size_give_every_record_once(
    world: World, sent: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, way: str, area: str, period: str
) -> None:
    _force(monkeypatch, way)
    parameters = _parameters(BOXES[area], PERIODS[period])
    expected = _expected(sent, BOXES[area], PERIODS[period])
    (whole,) = _walk(world, parameters, [1000])
    assert sorted(whole) == sorted(expected)
    for limits in ([3], [1, 7, 2]):
        pages = _walk(world, parameters, limits)
        assert [i for page in pages for i in page] == whole
    if way == "walk" and len(whole) < 15:
        assert [i for page in _walk(world, parameters, [1]) for i in page] == whole


def test_the_areas_hold_something_and_leave_something_out(sent: dict[str, dict[str, Any]]) -> None:
    for name, box in BOXES.items():
        found = _expected(sent, box, (None, None))
        assert len(found) >= 3, name
        assert (len(found) == len(sent)) == (box is None), name
    assert {TIERS[r["properties"]["category"]] for r in sent.values()} == set(TIERS.values())


def test_a_record_whose_place_is_withheld_is_in_no_area(world: World, sent: dict[str, dict[str, Any]]) -> None:
    placeless = {i for i, r in sent.items() if TIERS[r["properties"]["category"]] is None}
    (whole,) = _walk(world, {"bbox": "-180,-90,180,90"}, [1000])
    assert placeless
    assert set(whole) == set(sent) - placeless


def test_every_path_was_taken(world: World, sent: object, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = set()
    execute = query.Querying.execute

    def noting(self: Any, session: Any, name: str, arguments: Any, reach: Any) -> Any:
        taken.add(name)
        return execute(self, session, name, arguments, reach)

    monkeypatch.setattr(query.Querying, "execute", noting)
    for little in (False, True):
        monkeypatch.setattr(query.Querying, "_sees_little", lambda *_, little=little: little)
        for box in BOXES.values():
            for period in PERIODS.values():
                _walk(world, _parameters(box, period), [20])
    assert taken == {"walk", "seek", "placeless", "time"}


def test_a_page_that_is_short_of_one_record_is_found_out(
    world: World, sent: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: cursors that go on after the first record not shown."""
    page = query.Querying._rows

    def skipping(self: Any, session: Any, asked: Any, position: Any) -> Any:
        rows = page(self, session, asked, position)
        return rows[1:] if position else rows

    monkeypatch.setattr(query.Querying, "_rows", skipping)
    with pytest.raises(AssertionError):
        test_pages_of_any_size_give_every_record_once(world, sent, monkeypatch, "walk", "no area", "any time")
