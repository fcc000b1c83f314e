"""Counts without a right to the records: of whole months that have ended, and none from which a small one could be worked out."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hub.datasets import DATASETS
from hub.geo import Cell, Point, cell
from hub.sharing.counting import counts_sql
from hub.sharing.query import Querying
from tests.world import World, feature, grant

COUNTS = "/collections/incidents/counts"
LEAST = 3
ROOT = Point(-79.38, 43.65)
NOW = datetime.now(UTC)
THIS_MONTH = NOW.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _months_ago(n: int) -> datetime:
    at = THIS_MONTH
    for _ in range(n):
        at = (at - timedelta(days=1)).replace(day=1)
    return at


def _centre(n: int) -> Point:
    return Cell(2000, cell(ROOT, 2000).row, cell(ROOT, 2000).column + n).centre


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    """Counts of all sizes around the least one, in few cells and months; some exactly on the edges of months."""
    random = Random(7)
    made = []
    for month in (0, 1, 2, 5):
        begin = _months_ago(month)
        for category in ("theft", "fire", "assault"):
            for at in range(5):
                for _ in range(random.choice([0, 3, 4, 7] if category == "assault" else [0, 1, 1, 2, 2, 3, 3, 4, 7])):
                    span = (NOW - begin if month == 0 else _months_ago(month - 1) - begin) - timedelta(microseconds=1)
                    when = begin + random.choice([timedelta(0), span, span * random.random()])
                    lon, lat = _centre(at)
                    made.append(feature(f"R-{len(made)}", lon, lat, category=category, occurred_at=when.isoformat()))
    return made


@pytest.fixture(scope="module")
def counting(world: World, records: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> World:
    """counter counts everything; refused is never shown fires, nor the category of assaults; windowed counts what is older than 20 days."""
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "counter", "refused", "windowed", "reader"):
        world.organisation(slug)
    alone = {"fields": {}, "aggregates": {"min_count": LEAST}}
    world.mou(folder, "MOU-1", "police", "counter", [grant("count", **alone)])
    never = [
        {"id": "fires", "dataset": "incidents", "where": [{"field": "category", "one_of": ["fire"]}]},
        {"id": "assaults", "dataset": "incidents", "where": [{"field": "category", "one_of": ["assault"]}], "fields": ["category"]},
    ]
    world.mou(folder, "MOU-2", "police", "refused", [grant("count", **alone)], refuse=never)
    world.mou(
        folder, "MOU-3", "police", "windowed", [grant("count", **alone, occurred={"lookback": f"P{(NOW - _months_ago(2)).days + 2}D"})]
    )
    world.mou(folder, "MOU-4", "police", "reader", [grant("see")])
    assert world.publish("police", *records).status_code == 201
    return world


def _counts(world: World, who: str) -> list[dict[str, Any]]:
    answer = world.get(who, "research", COUNTS)
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["grants"]
    found: list[dict[str, Any]] = one["counts"]
    return found


def _true(records: list[dict[str, Any]]) -> Counter[tuple[str, str, tuple[float, float]]]:
    return Counter((r["properties"]["occurred_at"][:7], r["properties"]["category"], tuple(r["geometry"]["coordinates"])) for r in records)


def test_each_count_is_true_and_large_enough(counting: World, records: list[dict[str, Any]]) -> None:
    true = _true(records)
    shown = _counts(counting, "counter")
    for line in shown:
        mine = {place: n for (month, kind, place), n in true.items() if (month, kind) == (line["month"], line["category"])}
        assert line["total"] == sum(mine.values()) >= LEAST
        assert all(c["count"] == mine[tuple(c["place"])] >= LEAST for c in line["cells"])
    assert 0 < sum(len(line["cells"]) for line in shown) < len(true)


def _told(line: dict[str, Any]) -> int:
    """How many records the total tells of beside the cells that show."""
    rest: int = line["total"] - sum(c["count"] for c in line["cells"])
    return rest


def test_what_a_total_says_beyond_its_cells_is_nothing_or_large_enough(counting: World) -> None:
    rests = [_told(line) for line in _counts(counting, "counter")]
    assert all(rest == 0 or rest >= LEAST for rest in rests)
    assert {rest == 0 for rest in rests} == {True, False}


def test_no_more_is_held_back_than_that_takes(counting: World, records: list[dict[str, Any]]) -> None:
    """Showing one more cell would tell a small number; only among cells of one size another could have been chosen."""
    true = _true(records)
    for line in _counts(counting, "counter"):
        held = [
            n
            for (month, kind, place), n in true.items()
            if (month, kind) == (line["month"], line["category"]) and list(place) not in [c["place"] for c in line["cells"]]
        ]
        large = [n for n in held if n >= LEAST]
        assert (
            not large
            or 0 < sum(held) - max(large) < LEAST
            or max(large) == min(c["count"] for c in [*line["cells"], {"count": max(large)}])
        )


def test_a_count_that_only_looks_at_its_own_size_would_be_noticed(counting: World, records: list[dict[str, Any]]) -> None:
    """The control: without the second rule a total gives small counts away."""
    text = counts_sql("incidents", DATASETS["incidents"]).replace("create function", "create or replace function")
    _run(counting, text.replace(" and (s.smaller = 0 or s.smaller >= s.least)", ""))
    try:
        with pytest.raises(AssertionError):
            test_what_a_total_says_beyond_its_cells_is_nothing_or_large_enough(counting)
    finally:
        _run(counting, text)


def _run(world: World, text: str) -> None:
    with world.superuser() as admin:
        admin.exec_driver_sql("set local role hub_owner")
        admin.exec_driver_sql(text)


def test_the_month_that_goes_on_is_not_counted(counting: World) -> None:
    assert {line["month"] for line in _counts(counting, "counter")} == {f"{_months_ago(n):%Y-%m}" for n in (1, 2, 5)}


def test_a_month_counts_once_all_of_it_lies_in_the_window(counting: World) -> None:
    assert {line["month"] for line in _counts(counting, "windowed")} == {f"{_months_ago(n):%Y-%m}" for n in (1, 2)}


def test_what_is_refused_is_not_counted(counting: World) -> None:
    assert {line["category"] for line in _counts(counting, "refused")} == {"theft"}


def test_who_may_count_sees_no_record(counting: World) -> None:
    """Nor that there is one: a page of records that are all withheld would tell how many there are, and where."""
    for path in ("items", "map?bbox=-180,-90,180,90"):
        answer = counting.http.get(f"/collections/incidents/{path}", headers=counting.bearer("counter", "research"))
        assert answer.status_code == 403, answer.text
    with counting.superuser() as admin:
        record = admin.exec_driver_sql("select id::text from hub.incidents limit 1").scalar_one()
    assert counting.get("counter", "research", f"/collections/incidents/items/{record}").status_code == 404


def test_a_context_for_counts_opens_no_view(counting: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is said in the transaction; the control is a context for records."""
    ask, seen = Querying._ask, []

    def also(self: Any, session: Any, *asked: Any) -> Any:
        rows = ask(self, session, *asked)
        seen.append(session.tx.rows("select count(*) from hub.incidents_scan")[0][0])
        return rows

    monkeypatch.setattr(Querying, "_ask", also)
    assert _counts(counting, "counter")
    assert seen == [0]
    counting.items("reader", "research")
    assert seen[-1] > 0


def test_who_may_see_records_may_not_count_what_it_does_not_see(counting: World) -> None:
    answer = counting.get("reader", "research", COUNTS)
    assert (answer.status_code, "lets your organisation count" in answer.json()["detail"]) == (403, True)
    assert counting.get("counter", "other-purpose", COUNTS).status_code == 403
    assert counting.get("counter", "research", COUNTS, bbox="0,0,1,1").status_code == 400


def test_the_owner_reads_in_its_log_how_many_were_counted(counting: World) -> None:
    shown = _counts(counting, "counter")
    leaf = counting.leaves(type="query", owner="police")[-1]
    assert leaf["asked"] == {"as": "counts"}
    assert leaf["shown"]["count"] == sum(line["total"] for line in shown)
    assert leaf["shown"]["cells"] == sum(len(line["cells"]) for line in shown)
    assert leaf["under"][0]["grants"] == ["count"]
    assert "revisions" not in leaf["shown"]


def test_counts_within_an_area_test_the_cell_that_is_counted(world: World, counting: World, tmp_path: Path) -> None:
    """A grant that gives counts alone shows no place: its `within` tests the 2 km cell."""
    import json
    from hashlib import sha256

    here = _centre(0)
    d = 0.004  # the centre of the first cell, and of no other
    ring = [[here.lon - d, here.lat - d], [here.lon + d, here.lat - d], [here.lon + d, here.lat + d], [here.lon - d, here.lat + d]]
    content = json.dumps({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}).encode()
    (tmp_path / "here.geojson").write_bytes(content)
    world.organisation("local")
    pinned = {"here": {"file": "here.geojson", "sha256": sha256(content).hexdigest()}}
    one = grant("count", fields={}, aggregates={"min_count": 2}, where=[{"field": "place", "within": "here"}])
    world.mou(tmp_path, "MOU-5", "police", "local", [one], jurisdictions=pinned)
    assert {tuple(c["place"]) for line in _counts(counting, "local") for c in line["cells"]} == {(here.lon, here.lat)}
