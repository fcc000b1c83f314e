"""Exports: all that matches, under the grants that allow it; and what ten thousand records mean for the log."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.audit.leaf import MAX_BYTES, revisions_in
from hub.audit.log import Search
from hub.crypto.remote import RemoteKeys
from hub.errors import Forbidden, InvalidRequest
from hub.geo import Box
from hub.sharing import query
from hub.sharing.paths import Query
from hub.sharing.query import Querying
from hub.sharing.reader import Reader
from tests.world import World, feature, grant

FIELDS = {"category": "clear", "place": {"grid_m": 500}, "narrative": "clear"}
AREA = Box(-80.0, 43.0, -79.0, 44.0)


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Thefts may be looked at and exported, fires only looked at."""
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "reader", "looker"):
        world.organisation(slug)
    thefts, fires = ([{"field": "category", "one_of": [c]}] for c in ("theft", "fire"))
    grants = [grant("both", actions=["query", "export"], where=thefts, fields=FIELDS), grant("look", where=fires, fields=FIELDS)]
    world.mou(folder, "MOU-1", "police", "reader", json.loads(json.dumps(grants)))  # copies: no YAML aliases
    world.mou(folder, "MOU-2", "police", "looker", [grant()])
    sent = [feature(f"A-{n}", category="theft" if n % 2 else "fire", narrative=f"Canary {n}") for n in range(20)]
    assert world.publish("police", *sent).status_code == 201
    return world


def querying(world: World) -> Querying:
    return world.services.datasets["incidents"].querying


def reader_of(world: World, slug: str, **more: Any) -> Reader:
    return replace(world.reader(slug, "research", more.pop("case", None)), **more)


def newest(world: World, count: int = 1) -> list[Any]:
    return [entry.body for entry in world.services.log.find(Search(limit=count))]


def test_an_export_is_everything_that_matches_under_the_grants_that_allow_it(shared: World) -> None:
    page = querying(shared).export(reader_of(shared, "reader"), Query(box=AREA, limit=1))
    found = [orjson.loads(text)["properties"] for text in page.features]
    assert len(found) == 10
    assert page.next is None
    assert {p["category"] for p in found} == {"theft"}
    assert all(p["narrative"].startswith("Canary") for p in found)
    assert len(shared.items("reader", "research")) == 20


def test_an_export_is_a_disclosure_of_its_own_kind(shared: World) -> None:
    querying(shared).export(reader_of(shared, "reader"), Query(box=AREA, values={"category": ("theft",)}))
    (leaf,) = newest(shared)
    assert (leaf["type"], leaf["decision"], leaf["owner"], leaf["shown"]["count"]) == ("export", "permit", "police", 10)
    assert leaf["under"][0]["grants"] == ["both"]
    assert leaf["asked"].keys() == {"extent", "fields", "literals", "hash"}
    assert leaf["shown"]["fields"] == {"category": "clear", "narrative": "clear", "place": "grid_m:500"}


def test_who_may_only_look_exports_nothing_and_the_refusal_is_logged(shared: World) -> None:
    with pytest.raises(Forbidden, match="lets your organisation export incidents"):
        querying(shared).export(reader_of(shared, "looker"), Query(box=AREA))
    (leaf,) = newest(shared)
    assert (leaf["type"], leaf["decision"], leaf["reason"]) == ("export", "refuse", "no MOU in force")
    assert leaf.keys().isdisjoint({"owner", "shown"})


def test_a_cursor_of_looking_is_of_no_use_to_export(shared: World) -> None:
    looking = querying(shared).page(reader_of(shared, "reader"), Query(box=AREA, values={"category": ("theft",)}, limit=3))
    assert looking.next
    exporting = reader_of(shared, "reader", action="export")
    with pytest.raises(InvalidRequest, match="cursor"):
        querying(shared).page(exporting, Query(box=AREA, values={"category": ("theft",)}, limit=3, cursor=looking.next))


def test_more_records_than_an_export_holds_are_refused_before_any_is_opened(shared: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(query, "MAX_EXPORT", 9)
        patch.setattr(RemoteKeys, "open_batch", lambda *_: pytest.fail("opened"))
        with pytest.raises(InvalidRequest, match="More than 9 records match; narrow"):
            querying(shared).export(reader_of(shared, "reader"), Query(box=AREA))
    (leaf,) = newest(shared)
    assert (leaf["type"], leaf["decision"], leaf["reason"]) == ("export", "refuse", "too many records")
    monkeypatch.setattr(query, "MAX_EXPORT", 10)
    assert len(querying(shared).export(reader_of(shared, "reader"), Query(box=AREA)).features) == 10


@pytest.fixture(scope="module")
def many(world: World, shared: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """10,001 records of another owner, of which one is of another category. Some were published twice: the numbers have gaps."""
    world.organisation("large")
    world.organisation("mapper")
    fields = {"category": "clear", "place": {"grid_m": 500}}
    world.mou(tmp_path_factory.mktemp("mous"), "MOU-3", "large", "mapper", [grant(actions=["query", "export"], fields=fields)])
    sent = [feature(f"L-{n}", -79.5 + n % 100 / 500, 43.6 + n // 100 / 1000, category="theft" if n else "fire") for n in range(10_001)]
    for part in (sent[:4000], sent[4000:8000], sent[8000:], sent[::4]):
        changed = [f | {"properties": f["properties"] | {"severity": 1 + (len(part) == 4000)}} for f in part]
        assert world.publish("large", *changed).status_code in (200, 201)
    return world


def test_ten_thousand_records_are_a_map_and_one_more_is_counted(many: World) -> None:
    mapper = reader_of(many, "mapper")
    counted = orjson.loads(querying(many).map(mapper, Query(box=AREA)).json)
    assert (counted["kind"], counted["total"], sum(n for *_, n in counted["cells"])) == ("counts", 10_001, 10_001)
    shown = orjson.loads(querying(many).map(mapper, Query(box=AREA, values={"category": ("theft",)})).json)
    assert (shown["kind"], len(shown["records"])) == ("records", 10_000)


@pytest.mark.parametrize("action", ["map", "export"])
def test_the_leaf_of_ten_thousand_records_holds_them_all(many: World, action: str) -> None:
    asked = Query(box=AREA, values={"category": ("theft",)})
    before = len(many.leaves(owner="large"))
    getattr(querying(many), action)(reader_of(many, "mapper"), asked)
    entries = [e for e in many.services.log.find(Search(owner="large")) if e.body["type"] in ("query", "export")]
    event = entries[0].body["event"]
    parts = [e for e in entries if e.body["event"] == event]
    assert len(many.leaves(owner="large")) == before + len(parts)
    assert all(len(e.text) <= MAX_BYTES for e in parts)
    assert sum(e.body["shown"]["count"] for e in parts) == 10_000
    with many.superuser() as admin:
        numbers = admin.exec_driver_sql(
            "select revision_no from hub.incidents where external_id like 'L-%%' and category = 'theft'"
        ).scalars()
        assert set().union(*(revisions_in(e.body["shown"]["revisions"]) for e in parts)) == set(numbers)


def test_more_than_ten_thousand_are_not_exported(many: World) -> None:
    with pytest.raises(InvalidRequest, match="More than 10,000 records match"):
        querying(many).export(reader_of(many, "mapper"), Query(box=AREA))
