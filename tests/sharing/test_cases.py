"""Grants that need a case reference: live only for requests that have one, and the log says which."""

from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from hub.audit.log import Search
from hub.errors import Forbidden, InvalidRequest, NotShared
from hub.geo import Box
from hub.sharing.paths import Query
from tests.sharing.test_export import querying, reader_of
from tests.world import World, feature, grant

AREA = Box(-80.0, 43.0, -79.0, 44.0)
CASE = "2026/17"


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """reader: 2 km for everybody, the exact place and the narrative for a case. detective: for a case or not at all."""
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "reader", "detective"):
        world.organisation(slug)
    fine = {"category": "clear", "place": "clear", "narrative": "clear"}
    for_case = grant("case", fields=fine, actions=["query", "export"], case_reference="required")
    world.mou(folder, "MOU-1", "police", "reader", [grant("all", fields={"place": {"grid_m": 2000}}), dict(for_case)])
    world.mou(folder, "MOU-2", "police", "detective", [dict(for_case)])
    assert world.publish("police", *(feature(f"A-{n}", narrative="A canary") for n in range(5))).status_code == 201
    return world


def _properties(world: World, slug: str, case: str | None) -> dict[str, Any]:
    page = querying(world).page(reader_of(world, slug, case=case), Query(box=AREA))
    found: dict[str, Any] = orjson.loads(page.features[0])["properties"]
    return found


def _record(world: World) -> UUID:
    with world.superuser() as admin:
        return UUID(str(admin.exec_driver_sql("select id from hub.incidents limit 1").scalar_one()))


def test_a_grant_for_a_case_opens_with_a_case_alone(shared: World) -> None:
    assert _properties(shared, "reader", None) == {"provider": "police", "place_grid_m": 2000}
    assert _properties(shared, "reader", CASE) == {"provider": "police", "category": "theft", "place_grid_m": 0, "narrative": "A canary"}


def test_the_case_is_in_the_leaf(shared: World) -> None:
    for case in (CASE, None):
        _properties(shared, "reader", case)
        assert shared.services.log.find(Search(limit=1))[0].body.get("case") == case


@pytest.mark.parametrize("ask", ["page", "map", "export"])
def test_who_could_see_with_a_case_is_told_so(shared: World, ask: str) -> None:
    asked = getattr(querying(shared), ask)
    with pytest.raises(Forbidden, match="only with a case reference"):
        asked(reader_of(shared, "detective"), Query(box=AREA))
    leaf = shared.services.log.find(Search(limit=1))[0].body
    assert (leaf["decision"], leaf["reason"], leaf["type"]) == ("refuse", "no case reference", "export" if ask == "export" else "query")
    assert leaf.keys().isdisjoint({"case", "owner", "shown"})
    assert asked(reader_of(shared, "detective", case=CASE), Query(box=AREA))


def test_for_a_purpose_that_nobody_granted_a_case_makes_no_difference(shared: World) -> None:
    for case in (None, CASE):
        reader = reader_of(shared, "detective", case=case)
        with pytest.raises(Forbidden, match="No MOU in force"):
            querying(shared).page(type(reader)(reader.organisation, reader.client, "tourism", reader.by, case), Query(box=AREA))


def test_one_record_without_a_case_is_absent(shared: World) -> None:
    record = _record(shared)
    for ask in (querying(shared).item, querying(shared).explained):
        with pytest.raises(NotShared):
            ask(reader_of(shared, "detective"), record)
        assert shared.services.log.find(Search(limit=1))[0].body["decision"] == "absent"
        assert ask(reader_of(shared, "detective", case=CASE), record)


def test_a_cursor_made_with_a_case_is_of_no_use_without(shared: World) -> None:
    asked = Query(box=AREA, limit=2)
    for one, other in ((CASE, None), (None, CASE)):
        held = querying(shared).page(reader_of(shared, "reader", case=one), asked).next
        going_on = Query(box=AREA, limit=2, cursor=held)
        assert len(querying(shared).page(reader_of(shared, "reader", case=one), going_on).features) == 2
        with pytest.raises(InvalidRequest):
            querying(shared).page(reader_of(shared, "reader", case=other), going_on)


def test_another_case_goes_on_where_the_page_ended(shared: World) -> None:
    """Which case it is changes nothing of what is shared; the log tells the two apart."""
    held = querying(shared).page(reader_of(shared, "reader", case=CASE), Query(box=AREA, limit=2)).next
    assert querying(shared).page(reader_of(shared, "reader", case="2026/18"), Query(box=AREA, limit=2, cursor=held)).features
    assert shared.services.log.find(Search(limit=1))[0].body["case"] == "2026/18"


def test_a_client_without_a_case_is_told_over_http(shared: World) -> None:
    answer = shared.get("detective", "research", "/collections/incidents/items")
    assert answer.status_code == 403
    assert "case reference" in answer.json()["detail"]
