"""What a partner sends wrong: one clear answer that names field and reason, and nothing of it is stored."""

import asyncio
import gzip
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from hub.api.bodies import read_body
from hub.datasets.incidents import MAX_DEPTH
from hub.errors import InvalidRequest
from tests.api.asking import GEOJSON, ITEMS, bearer, collection, nothing_stored, problem, raw, send
from tests.world import World, feature


def without(name: str) -> dict[str, Any]:
    found = feature("X")
    del found["properties"][name]
    return found


def at(*coordinates: Any) -> dict[str, Any]:
    return feature("X") | {"geometry": {"type": "Point", "coordinates": list(coordinates)}}


def nested(depth: int) -> Any:
    return {"deeper": nested(depth - 1)} if depth else 1


PLACE, WHEN = "geometry.coordinates", "properties.occurred_at"

# A record that is JSON but not acceptable: the place in the feature, and a word of the reason.
RECORDS: dict[str, tuple[Any, str, str]] = {
    "no coordinates": (feature("X") | {"geometry": {"type": "Point"}}, PLACE, "two numbers"),
    "one coordinate": (at(-79.38), PLACE, "there are 1"),
    "no coordinate at all": (at(), PLACE, "there are 0"),
    "3-D": (at(-79.38, 43.65, 76.0), PLACE, "there are 3"),
    "coordinates as an object": (feature("X") | {"geometry": {"type": "Point", "coordinates": {"lon": 1, "lat": 2}}}, PLACE, "two numbers"),
    "swapped": (at(43.65, -179.38), PLACE, "swapped"),
    "longitude out of range": (at(-180.0000001, 43.65), PLACE, "degrees"),
    "latitude out of range": (at(-79.38, 90.0000001), PLACE, "swapped"),
    "both out of range": (at(200, 100), PLACE, "degrees"),
    "metres": (at(630084, 4833438), PLACE, "degrees"),
    "string coordinates": (at("-79.38", "43.65"), PLACE, "not str"),
    "boolean coordinates": (at(True, False), PLACE, "not bool"),
    "null coordinates": (at(None, None), PLACE, "not NoneType"),
    "nested coordinates": (at([-79.38, 43.65], [1, 2]), PLACE, "not list"),
    "no geometry": (feature("X") | {"geometry": None}, "geometry", "missing"),
    "a line": (feature("X") | {"geometry": {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}}, "geometry.type", "must be Point"),
    "a geometry of no type": (feature("X") | {"geometry": {"coordinates": [1, 2]}}, "geometry.type", "Point"),
    "a geometry with its own crs": (
        feature("X") | {"geometry": {"type": "Point", "coordinates": [1, 2], "crs": {"type": "name"}}},
        "geometry.crs",
        "not a member",
    ),
    "no time": (without("occurred_at"), WHEN, "has no value"),
    "a naive time": (feature("X", occurred_at="2021-03-04T13:37:11"), WHEN, "timezone"),
    "a date": (feature("X", occurred_at="2021-03-04"), WHEN, "RFC 3339"),
    "a number as time": (feature("X", occurred_at=1_700_000_000), WHEN, "RFC 3339"),
    "a number in quotes as time": (feature("X", occurred_at="1700000000"), WHEN, "RFC 3339"),
    "a day that is not": (feature("X", occurred_at="2021-02-29T00:00:00Z"), WHEN, "day"),
    "a month that is not": (feature("X", occurred_at="2021-13-01T00:00:00Z"), WHEN, "month"),
    "hour 25": (feature("X", occurred_at="2021-03-04T25:00:00Z"), WHEN, "valid datetime"),
    "an offset of a day": (feature("X", occurred_at="2021-03-04T13:37:11+24:00"), WHEN, "valid datetime"),
    "the year 0": (feature("X", occurred_at="0000-01-01T00:00:00Z"), WHEN, "year 0"),
    "before the year 1 in UTC": (feature("X", occurred_at="0001-01-01T00:00:00+00:01"), WHEN, "UTC"),
    "after the year 9999 in UTC": (feature("X", occurred_at="9999-12-31T23:59:59-00:01"), WHEN, "UTC"),
    "Unicode digits in a time": (feature("X", occurred_at="٢٠٢١-03-04T13:37:11Z"), WHEN, "RFC 3339"),
    "the end before the start": (
        feature("X", occurred_until="2021-03-04T14:37:10+01:00"),
        "properties.occurred_until",
        "before the start",
    ),
    "an unknown category": (feature("X", category="jaywalking"), "properties.category", "'theft'"),
    "an empty category": (feature("X", category=""), "properties.category", "'theft'"),
    "no category": (without("category"), "properties.category", "has no value"),
    "null for what is required": (feature("X", category=None), "properties.category", "'theft'"),
    "a category with NUL": (feature("X", category="theft\0"), "properties.category", "'theft'"),
    "an unknown status": (feature("X", status="gone"), "properties.status", "'open'"),
    "an unknown handling": (feature("X", handling="TLP:WHITE"), "properties.handling", "TLP:CLEAR"),
    "severity 6": (feature("X", severity=6), "properties.severity", "5"),
    "severity as text": (feature("X", severity="3"), "properties.severity", "integer"),
    "severity as a boolean": (feature("X", severity=True), "properties.severity", "integer"),
    "severity 3.0": (feature("X", severity=3.0), "properties.severity", "integer"),
    "an unknown member": (feature("X", colour="red"), "properties.colour", "extra"),
    "a place among the properties": (feature("X", place=[1, 2]), "properties.place", "geometry"),
    "an unknown member of the feature": (feature("X") | {"colour": "red"}, "colour", "not a member"),
    "an id of its own": (feature("X") | {"id": 7}, "id", "external_id"),
    "no properties": ({k: v for k, v in feature("X").items() if k != "properties"}, "properties", "missing"),
    "properties as a list": (feature("X") | {"properties": []}, "properties", "missing"),
    "no external id": (without("external_id"), "properties.external_id", "has no value"),
    "an empty external id": (feature(""), "properties.external_id", "1 character"),
    "a long external id": (feature("x" * 201), "properties.external_id", "200 characters"),
    "an external id with NUL": (feature("X\0"), "properties.external_id", "pattern"),
    "an external id with a line break": (feature("X\n"), "properties.external_id", "pattern"),
    "a number as external id": (
        feature("X") | {"properties": feature("X")["properties"] | {"external_id": 7}},
        "properties.external_id",
        "",
    ),
    "a long narrative": (feature("X", narrative="x" * 100_001), "properties.narrative", "100000"),
    "a person with an unknown member": (feature("X", people=[{"shoe_size": 42}]), "properties.people.0", "has a member that is not"),
    "a birth date that is not": (feature("X", people=[{"birth_date": "1990-02-30"}]), "properties.people.0.birth_date", "calendar"),
    "a birth date in other digits": (feature("X", people=[{"birth_date": "١٩٩٠-01-01"}]), "properties.people.0.birth_date", "pattern"),
    "extra as a list": (feature("X", extra=[1]), "properties.extra", "dictionary"),
    "extra too deep": (feature("X", extra=nested(MAX_DEPTH + 1)), "properties.extra", "deep"),
    "extra with a number that JSON readers round": (feature("X", extra={"n": 10**30}), "properties.extra", "exactly"),
    "no feature": ({"type": "Point", "coordinates": [1, 2]}, "type", "Feature"),
    "a string as feature": ("Feature", "type", "Feature"),
}


@pytest.mark.parametrize(("bad", "field", "word"), RECORDS.values(), ids=RECORDS.keys())
def test_a_bad_record_is_refused_by_place_and_reason_and_takes_the_good_one_with_it(
    partners: World, bad: Any, field: str, word: str
) -> None:
    with nothing_stored(partners):
        answer = send(partners, collection(feature("GOOD"), bad))
        body = problem(answer, 422, f"features[1].{field}", word)
        assert body["detail"].endswith("Nothing was stored.")
        if isinstance(bad, dict) and bad["type"] == "Feature":
            problem(send(partners, bad), 422, field, word)


def with_members(text: str) -> str:
    return json.dumps(feature("X")).replace('"category"', f'{text}, "category"')


# A body that is not readable as records at all: status, field, a word.
BODIES: dict[str, tuple[Any, int, str, str]] = {
    "empty": (b"", 400, "body", "empty"),
    "white space": (b" \n", 400, "body", "empty"),
    "not JSON": (b"<feature/>", 400, "body", "not JSON"),
    "cut off": (json.dumps(feature("X"))[:-1], 400, "body", "not JSON"),
    "two documents": (json.dumps(feature("X")) * 2, 400, "body", "not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(feature("X")).encode(), 400, "body", "not JSON"),
    "UTF-16": (json.dumps(feature("X")).encode("utf-16"), 400, "body", "not JSON"),
    "Latin-1": (json.dumps(feature("X", narrative="é"), ensure_ascii=False).encode("latin-1"), 400, "body", "not JSON"),
    "a lone surrogate": (json.dumps(feature("X", narrative="?")).replace("?", "\\ud800"), 400, "body", "surrogate"),
    "a control character in a string": (json.dumps(feature("X", narrative="?")).replace("?", "\0"), 400, "body", "control character"),
    "NaN": (raw("[NaN, 43.65]"), 400, "body", "not JSON"),
    "Infinity": (raw("[-79.38, Infinity]"), 400, "body", "not JSON"),
    "-Infinity": (raw("[-Infinity, 43.65]"), 400, "body", "not JSON"),
    "1e400": (raw("[1e400, 43.65]"), 400, "body", "infinity"),
    "10**400": (raw(f"[-79.38, {10**400}]"), 400, "body", "infinity"),
    "nested too deeply to read": (b"[" * 100_000 + b"]" * 100_000, 400, "body", "depth limit"),
    "nested too deeply to write": (feature("X", extra=nested(500)), 400, "body", "nested"),
    "a list": ([feature("X")], 400, "type", "FeatureCollection"),
    "a string": ('"Feature"', 400, "type", "FeatureCollection"),
    "null": ("null", 400, "type", "FeatureCollection"),
    "a bare geometry": ({"type": "Point", "coordinates": [1, 2]}, 400, "type", "FeatureCollection"),
    "no features": ({"type": "FeatureCollection"}, 400, "features", "at least one"),
    "an empty collection": (collection(), 400, "features", "at least one"),
    "features as an object": ({"type": "FeatureCollection", "features": {}}, 400, "features", "at least one"),
    "another coordinate system": (collection(feature("X"), crs={"type": "name"}), 400, "crs", "WGS 84"),
    "an unknown member of the collection": (collection(feature("X"), colour="red"), 400, "colour", "not a member"),
    "a member twice": (with_members('"severity": 1, "severity": 2'), 400, "severity", "twice"),
    "a member twice, far in": (json.dumps(feature("X", extra={"a": {}})).replace("{}", '{"b": 1, "c": 2, "b": 1}'), 400, "b", "twice"),
    "a member twice, once escaped": (with_members('"stat\\u0075s": null, "status": null'), 400, "status", "twice"),
    "a member twice, hidden by an escaped colon": (
        with_members('"narrative": "\\u003A", "status": null, "status": null'),
        400,
        "status",
        "twice",
    ),
    "too many features": (collection(*[feature(f"X-{n}") for n in range(5_001)]), 413, "features", "5,001"),
    "too large": (json.dumps(feature("X")) + " " * (10 * 1024 * 1024), 413, "body", "10,485,760"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "field", "word"), BODIES.values(), ids=BODIES.keys())
def test_an_unreadable_body_is_refused_whole(partners: World, body: Any, status: int, field: str, word: str) -> None:
    with nothing_stored(partners):
        problem(send(partners, body), status, field, word)


HEADERS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no type": ({"Content-Type": ""}, 415, "Content-Type"),
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "Content-Type"),
    "a part of the type": ({"Content-Type": "application/geo"}, 415, "Content-Type"),
    "text": ({"Content-Type": "text/plain; charset=utf-8"}, 415, "Content-Type"),
    "compressed": ({"Content-Encoding": "gzip"}, 415, "Content-Encoding"),
    "a length that is no number": ({"Content-Length": "many"}, 400, "Content-Length"),
    "a length below nothing": ({"Content-Length": "-1"}, 400, "Content-Length"),
    "a length beyond all": ({"Content-Length": "9" * 5_000}, 413, "body"),
}


@pytest.mark.parametrize(("headers", "status", "field"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_cannot_be_meant_is_refused_by_name(partners: World, headers: dict[str, Any], status: int, field: str) -> None:
    body = json.dumps(feature("X")).encode()
    with nothing_stored(partners):
        problem(send(partners, gzip.compress(body) if "Content-Encoding" in headers else body, **headers), status, field)


@pytest.mark.parametrize("length", [b"\xb2", b"\xb9\xb3", b"+5", b" 5", b"5 ", b"0x5", b"5_0", b""])
def test_a_length_that_only_looks_like_a_number_is_refused(length: bytes) -> None:
    """As a server that reads less strictly than ours would hand it on: the test client and our own server do not."""
    request = Request({"type": "http", "method": "POST", "headers": [(b"content-length", length)]}, receive=never)
    with pytest.raises(InvalidRequest, match="Content-Length is not a number"):
        asyncio.run(read_body(request, 1_000))


async def never() -> Message:
    raise AssertionError("the body was read")


@pytest.mark.parametrize("media_type", ["application/geo+json", "application/json", "Application/GEO+JSON; charset=utf-8"])
def test_geojson_by_any_of_its_names_is_read(partners: World, media_type: str) -> None:
    answer = send(partners, feature("NAMES", narrative=media_type), **{"Content-Type": media_type})
    assert answer.status_code in (200, 201), answer.text


def test_a_body_without_a_type_is_refused(partners: World) -> None:
    answer = partners.http.post(ITEMS, content=b"{}", headers=bearer(partners, "police", "publish"))
    problem(answer, 415, "Content-Type", "without Content-Type")


def test_external_ids_that_are_twice_in_one_request_are_each_named(partners: World) -> None:
    with nothing_stored(partners):
        answer = send(partners, collection(feature("A"), feature("B"), feature("A"), feature("B", severity=1), feature("A")))
        body = problem(answer, 422)
        assert [e["field"] for e in body["errors"]] == [f"features[{n}].properties.external_id" for n in (2, 3, 4)]
        assert [e["reason"].rpartition("features")[2] for e in body["errors"]] == ["[0]", "[1]", "[0]"]


def test_every_wrong_place_is_named_up_to_a_hundred(partners: World) -> None:
    with nothing_stored(partners):
        body = problem(send(partners, collection(*[feature(f"X-{n}", category="?", severity=9) for n in range(70)])), 422)
    assert len(body["errors"]) == 100
    assert "139 more" in body["detail"]
    assert {e["field"] for e in body["errors"][:2]} == {"features[0].properties.category", "features[0].properties.severity"}


def test_a_long_name_of_a_member_is_not_sent_back_whole(partners: World) -> None:
    for body in (feature("X") | {"x" * 100_000: 1}, feature("X", **{"x" * 100_000: 1}), collection(feature("X"), **{"x" * 100_000: 1})):
        assert len(send(partners, body).content) < 2_000


def test_a_refusal_quotes_no_value(partners: World) -> None:
    secret = "a canary"
    for bad in (
        feature("X", narrative=[secret]),
        feature("X", phone={"number": secret}),
        feature("X", people=[{"name": [secret]}]),
        feature("X", people=secret),
        feature("X", occurred_at=secret),
        feature("X", category=secret),
        feature(secret, category="?"),
        feature("X", extra={"a": {"b": 10**30, "c": secret}}),
    ):
        assert secret not in problem(send(partners, bad), 422)["detail"]


def test_text_that_is_sealed_may_hold_what_clear_text_may_not(partners: World) -> None:
    """Sealed text never reaches the database as text: NUL, line breaks and every script come back as they went in."""
    text = "a\0b\n\t\\N \\. \u2028 عربى 🚓"
    assert send(partners, feature("SEALED", narrative=text, extra={"a\0b": ["\0", "\\"]})).status_code == 201
    found = [f for f in partners.items("health", "research") if f["properties"]["external_id"] == "SEALED"]
    assert found[0]["properties"]["narrative"] == text


def test_clear_text_with_the_marks_of_the_copy_format_is_stored_as_it_is(partners: World) -> None:
    names = ["\\N", "\\.", "a\\tb", "tab\\", '"quoted"', "{a,b}", "NULL", "%s", "'; select 1 --", "é", "🚓", " spaces "]
    assert send(partners, collection(*[feature(name) for name in names])).status_code == 201
    found = {f["properties"]["external_id"] for f in partners.items("health", "research")}
    assert set(names) <= found


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:00:00+00:00"),
        ("9999-12-31T23:59:59+14:00", "9999-12-31T09:00:00+00:00"),
        ("2021-03-04t13:37:11z", "2021-03-04T13:00:00+00:00"),
        ("2021-03-04T13:37:11.1234567+05:30", "2021-03-04T08:00:00+00:00"),
    ],
)
def test_the_edges_of_time_are_stored(partners: World, given: str, told: str) -> None:
    assert send(partners, feature("EDGE", occurred_at=given)).status_code in (200, 201)
    (found,) = [f for f in partners.items("health", "research") if f["properties"]["external_id"] == "EDGE"]
    assert found["properties"]["occurred_at"] == told


@pytest.mark.parametrize("coordinates", ["[180, 90]", "[-180, -90]", "[180, -90]", "[-180, 90]", "[0, 0]", "[-0.0, -0.0]", "[1e-300, 1E0]"])
def test_the_edges_of_the_earth_are_stored(partners: World, coordinates: str) -> None:
    assert send(partners, raw(coordinates)).status_code in (200, 201)
    (found,) = [f for f in partners.items("health", "research") if f["properties"]["external_id"] == "RAW"]
    lon, lat = found["geometry"]["coordinates"]
    assert -180 < lon < 180
    assert -90 < lat < 90


def test_members_that_say_nothing_of_a_record_are_taken(partners: World) -> None:
    """bbox (RFC 7946 §5) follows from the geometry; `name` is what GDAL calls the layer."""
    body = collection(feature("BBOX") | {"bbox": [-79.38, 43.65, -79.38, 43.65]}, name="incidents", bbox=[-180, -90, 180, 90])
    assert send(partners, body).status_code == 201


def test_a_colon_that_is_escaped_is_not_taken_for_a_repetition(partners: World) -> None:
    body = json.dumps(feature("COLON", narrative="?", extra={"a:b": ":"})).replace("?", "\\u003a:\\u003A")
    assert send(partners, body).status_code == 201


def test_a_media_type_is_checked_before_the_body_is_read(partners: World) -> None:
    answer = send(partners, b" " * (11 * 1024 * 1024), **{"Content-Type": "text/csv"})
    problem(answer, 415, "Content-Type", GEOJSON)
