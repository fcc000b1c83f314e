"""OGC API – Features, Part 1: the abstract tests of its annex A that apply, each by its name there."""

import os
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest

from hub.geo import Point, snap
from tests.api.asking import GEOJSON, ITEMS, ask
from tests.api.schemas import FOLDER, faults, read
from tests.world import BASE, World, feature

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
COUNT = 23


@pytest.fixture(scope="module")
def line(partners: World) -> World:
    """Records along a parallel, some of them in one cell."""
    made = [feature(f"O-{n}", -79.38 + n // 2 / 100, 43.65) for n in range(COUNT)]
    assert partners.publish("police", *made).status_code == 201
    return partners


def fits(value: Any, name: str) -> None:
    if not FOLDER.is_dir() and not os.environ.get("CI"):
        pytest.skip("the shared test data are not beside this repository")
    assert faults(value, read(FOLDER / "schemas" / f"{name}.yaml")) == []


def get(world: World, address: str) -> Any:
    answer = world.http.get(address.removeprefix(BASE), headers=world.bearer("health", "research"))
    assert answer.status_code == 200, answer.text
    return answer


def linked(document: Any, rel: str) -> list[dict[str, str]]:
    assert all({"href", "rel", "type", "title"} == link.keys() for link in document["links"])
    return [link for link in document["links"] if link["rel"] == rel]


def test_the_checker_of_schemas_sees_faults() -> None:
    """Control."""
    good = {"type": "Feature", "geometry": None, "properties": {}, "id": "1"}
    fits(good, "featureGeoJSON")
    for bad in ({"type": "feature"}, {"geometry": {"type": "Point", "coordinates": [1]}}, {"properties": []}, {"links": [{"rel": "self"}]}):
        with pytest.raises(AssertionError):
            fits(good | bad, "featureGeoJSON")


def test_root_success(line: World) -> None:
    landing = line.http.get("/")
    fits(landing.json(), "landingPage")
    for rel in ("self", "service-desc", "conformance", "data"):
        (link,) = linked(landing.json(), rel)
        there = line.http.get(link["href"].removeprefix(BASE))
        assert there.status_code == 200
        assert there.headers["content-type"] == link["type"]
    assert landing.headers["content-type"] == "application/json"


def test_conformance_success(line: World) -> None:
    found = line.http.get("/conformance").json()
    fits(found, "confClasses")
    assert set(found["conformsTo"]) == {f"http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/{c}" for c in ("core", "oas30", "geojson")}


def test_fc_md_success_and_sfc_md_success(line: World) -> None:
    found = line.http.get("/collections").json()
    fits(found, "collections")
    assert linked(found, "self")[0]["href"] == f"{BASE}/collections"
    (entry,) = found["collections"]
    assert (entry["id"], entry["itemType"], entry["crs"]) == ("incidents", "feature", [CRS84])
    assert [link["type"] for link in linked(entry, "items")] == [GEOJSON]
    own = line.http.get(linked(entry, "self")[0]["href"].removeprefix(BASE)).json()
    fits(own, "collection")
    assert own == entry


def test_fc_md_extent(line: World) -> None:
    """The extent holds every record without telling where any of them is: it is the earth."""
    extent = line.http.get("/collections/incidents").json()["extent"]
    assert extent == {"spatial": {"bbox": [[-180, -90, 180, 90]], "crs": CRS84}}


def test_what_is_said_of_a_collection_is_the_same_whatever_it_holds(line: World) -> None:
    before = line.http.get("/collections")
    assert line.publish("ambulance", feature("FAR", 170.0, -80.0, occurred_at="1901-01-01T00:00:00Z")).status_code == 201
    after = line.http.get("/collections")
    assert (after.content, after.headers) == (before.content, before.headers)


def test_fc_response_and_crs84(line: World) -> None:
    answer = ask(line, "limit=1000")
    assert answer.headers["content-type"] == GEOJSON
    page = answer.json()
    fits(page, "featureCollectionGeoJSON")
    assert page["type"] == "FeatureCollection"
    assert page["numberReturned"] == len(page["features"]) == COUNT
    assert "numberMatched" not in page  # counting costs more than the page; asked for explicitly, some day
    assert page["timeStamp"].endswith("Z")
    for found in page["features"]:
        lon, lat = found["geometry"]["coordinates"]
        assert -79.4 < lon < -79.2
        assert 43.64 < lat < 43.66
        UUID(found["id"])


def test_fc_links_self(line: World) -> None:
    page = ask(line, "bbox=-80,43,-79,44&datetime=../2021-03-04T13:00:00Z&category=theft,fraud&limit=5").json()
    (own,) = linked(page, "self")
    assert urlsplit(own["href"])[:3] == urlsplit(f"{BASE}{ITEMS}")[:3]
    assert get(line, own["href"]).json()["features"] == page["features"]


@pytest.mark.parametrize("query", ["", "bbox=-80,43,-79,44", "datetime=2021-03-04T13:00:00Z", "datetime=2021-03-04T00:00:00%2B01:00/.."])
@pytest.mark.parametrize("limit", [1, 7, COUNT, COUNT + 1])
def test_fc_links_next_walks_through_everything_once(line: World, query: str, limit: int) -> None:
    whole = [f["id"] for f in ask(line, f"{query}&limit=1000".lstrip("&")).json()["features"]]
    assert len(whole) == COUNT
    address: str | None = f"{ITEMS}?{query}&limit={limit}".replace("?&", "?")
    walked: list[str] = []
    while address:
        page = get(line, address).json()
        assert page["numberReturned"] == len(page["features"]) <= limit
        walked += [f["id"] for f in page["features"]]
        following = linked(page, "next")
        assert all(link["type"] == GEOJSON for link in following)
        if following:
            assert page["numberReturned"] == limit
            wanted = dict(parse_qsl(query)) | {"limit": str(limit)}
            given = dict(parse_qsl(urlsplit(following[0]["href"]).query))
            assert given.pop("cursor")
            assert given == wanted
        address = following[0]["href"] if following else None
    assert walked == whole


def test_fc_limit_response(line: World) -> None:
    for limit in (1, 2, 10):
        assert len(ask(line, f"limit={limit}").json()["features"]) == limit
    assert len(ask(line, "").json()["features"]) == 10  # the default that the definition gives


def test_fc_bbox_response(line: World) -> None:
    """What intersects is the released place: the centre of the cell, not the point in it."""
    everything = ask(line, "limit=1000").json()["features"]
    west, south, east, north = -79.36, 43.6, -79.33, 43.7
    inside = {f["id"] for f in everything if west <= f["geometry"]["coordinates"][0] <= east}
    assert 0 < len(inside) < COUNT
    assert {f["id"] for f in ask(line, f"bbox={west},{south},{east},{north}&limit=1000").json()["features"]} == inside
    lon, lat = snap(Point(-79.38, 43.65), 500)
    assert ask(line, f"bbox={lon},{lat},{lon},{lat}").json()["numberReturned"] == 2
    assert ask(line, "bbox=-79.38,43.65,-79.38,43.65").json()["numberReturned"] == 0


def test_fc_time_response(line: World) -> None:
    for query, wanted in (
        ("2021-03-04T13:00:00Z", COUNT),
        ("2021-03-04T12:00:00Z/2021-03-04T13:00:00Z", COUNT),
        ("2021-03-04T13:00:01Z/..", 0),
        ("../2021-03-04T12:59:59Z", 0),
    ):
        assert ask(line, f"datetime={query}&limit=1000").json()["numberReturned"] == wanted, query


def test_f_success_and_f_links(line: World) -> None:
    """One record, by its id, is what the page says it is, with links to itself and its collection."""
    for found in ask(line, "limit=3").json()["features"]:
        answer = get(line, f"{ITEMS}/{found['id']}")
        assert answer.headers["content-type"] == GEOJSON
        one = answer.json()
        fits(one, "featureGeoJSON")
        assert {k: v for k, v in one.items() if k != "links"} == found
        assert linked(one, "self")[0]["href"] == f"{BASE}{ITEMS}/{found['id']}"
        (parent,) = linked(one, "collection")
        assert line.http.get(parent["href"].removeprefix(BASE)).json()["id"] == "incidents"


def test_query_param_unknown_and_invalid(line: World) -> None:
    for query in ("unknown=1", "limit=x", "bbox=x", "datetime=x"):
        answer = ask(line, query)
        assert answer.status_code == 400
        fits(answer.json(), "exception")


def test_no_answer_may_be_kept_by_a_cache(line: World) -> None:
    headers = line.bearer("health", "research")
    for path in ("/", "/conformance", "/api", "/collections", ITEMS, f"{ITEMS}/7", "/healthz", "/oauth/jwks"):
        assert line.http.get(path, headers=headers).headers["cache-control"] == "no-store", path
