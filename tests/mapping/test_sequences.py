"""GeoJSON text sequences: one feature a line, or after record separators (RFC 8142); with a mapping and without."""

from typing import Any

import orjson
import pytest

from hub.datasets.incidents import Incident
from hub.errors import InvalidFile
from hub.mapping.reading import MAX_ROW_BYTES, Reading, Row
from tests.mapping.making import KIND, drained, kept, mapping, read, reasons

POINT = {"type": "Point", "coordinates": [-79.38, 43.65]}
OWN = {"external_id": "1", "category": "theft", "occurred_at": "2024-05-06T07:08:09Z"}
THEIRS = {"id": "1", "at": "2024-05-06T07:08:09Z", "note": "quiet"}
SPEC = mapping(format="geojson-seq", place=None)


def feature(properties: Any = OWN, geometry: Any = POINT, **more: Any) -> bytes:
    return orjson.dumps({"type": "Feature", "geometry": geometry, "properties": properties, **more})


def direct(text: bytes) -> Row:
    (row,) = read(None, text)
    return row


def mapped(text: bytes, **said: Any) -> Row:
    (row,) = read(mapping(**{"format": "geojson-seq", "place": None, **said}), text)
    return row


# --- texts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"%s\n%s\n", [1, 2]),
        (b"%s\r\n\r\n%s", [1, 3]),
        (b"\x1e%s\n\x1e%s\n", [1, 2]),
        (b"\x1e%s\x1e%s", [1, 1]),
        (b"\x1e\x1e\n%s\n\n\x1e%s\n", [2, 4]),
        (b"\n\n%s\n%s", [3, 4]),
        (b"\xef\xbb\xbf%s\n%s\n", [1, 2]),
    ],
)
def test_texts_are_lines_or_follow_record_separators(data: bytes, lines: list[int]) -> None:
    rows = read(None, data % (feature(), feature({**OWN, "external_id": "2"})))
    assert [(row.number, row.line, kept(row).external_id) for row in rows] == [(1, lines[0], "1"), (2, lines[1], "2")]


def test_a_text_after_a_separator_may_have_many_lines() -> None:
    pretty = orjson.dumps(orjson.loads(feature()), option=orjson.OPT_INDENT_2)
    rows = read(None, b"\x1e" + pretty + b"\n\x1e" + pretty)
    assert [row.line for row in rows] == [1, 2 + pretty.count(b"\n")]
    assert all(row.record for row in rows)


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        (b'{"type": "Feature"', "text", "is not JSON at character 19"),
        (b"NaN", "text", "is not JSON at character 1"),
        (feature().replace(b"43.65", b"NaN"), "text", "is not JSON at character 68"),
        (b'"\xff"', "text", "is not JSON at character 1"),
        (b"[" * 300 + b"]" * 300, "text", "is nested too deeply"),
        (feature().replace(b'"category"', b'"external_id"'), "text", "has an object with one member twice"),
        (feature().replace(b'"properties"', b'"a\\u003a":1,"a\\u003a":2,"properties"'), "text", "has an object with one member twice"),
        (b"null", "type", "must be Feature"),
        (b"{}", "type", "must be Feature"),
    ],
)
def test_a_bad_text_refuses_its_row_and_no_other(text: bytes, field: str, reason: str) -> None:
    first, second = read(None, text + b"\n" + feature() + b"\n")
    assert reasons(first) == [(field, reason)]
    assert second.record is not None


@pytest.mark.parametrize("digits", [20, 300])
def test_a_huge_number_in_a_text_that_is_read_twice_is_no_fault(digits: int) -> None:
    text = feature({**OWN, "title": "TITLE", "extra": {"n": "NUMBER"}})
    row = direct(text.replace(b"TITLE", b"a\\u003ab").replace(b'"NUMBER"', b"9" * digits))
    assert "text" not in [field for field, _ in reasons(row)]
    assert "too large to be kept exactly" in str(reasons(row))


@pytest.mark.parametrize("whole", [b'{"type":"FeatureCollection","features":[]}', b'{\n"type": "FeatureCollection",\n"features": [\n'])
def test_a_feature_collection_is_told_apart(whole: bytes) -> None:
    reading = Reading(None, Incident)
    reading.feed(whole)
    reading.rows(1)
    with pytest.raises(InvalidFile, match="one Feature on each line"):
        drained(reading, [])


def test_a_property_may_be_called_feature_collection() -> None:
    assert kept(direct(feature({**OWN, "title": "FeatureCollection"})))


@pytest.mark.parametrize(("data", "words"), [(b"", "empty"), (b"\xff\xfe{\0}\0", "UTF-16"), (b"\xfe\xff\0{\0}", "UTF-16")])
def test_a_file_that_is_no_sequence_is_told(data: bytes, words: str) -> None:
    with pytest.raises(InvalidFile, match=words):
        read(None, data)


@pytest.mark.parametrize("start", [b"{", b"\x1e{"])
def test_a_text_of_a_gigabyte_is_refused_after_a_megabyte(start: bytes) -> None:
    reading = Reading(None, Incident)
    fed: list[int] = []

    def pieces() -> Any:
        yield start
        for _ in range(10**9 // 65_536):
            fed.append(reading.buffered)
            yield b"x" * 65_536

    with pytest.raises(InvalidFile, match="line 1 is over"):
        drained(reading, pieces())
    assert max(fed) <= MAX_ROW_BYTES + 65_536


# --- without a mapping -------------------------------------------------------------------------------------------------


def test_without_a_mapping_properties_are_the_hubs_own_fields() -> None:
    record = kept(direct(feature({**OWN, "people": [{"name": "Jo"}], "extra": {"a": [1, {"b": None}]}})))
    assert (record.external_id, record.place) == ("1", (-79.38, 43.65))
    assert record.extra == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        (feature(id=7), "id", "the hub gives ids; put your own into properties.external_id"),
        (feature(crs=None), "crs", "is not a member of a GeoJSON feature here"),
        (feature(None), "properties", "is missing"),
        (feature({**OWN, "place": [0, 0]}), "properties.place", "belongs into geometry"),
        (feature(geometry=None), "geometry", "is missing; a Point is needed"),
        (feature(geometry={"type": "Polygon", "coordinates": []}), "geometry.type", "must be Point"),
        (feature(geometry={**POINT, "crs": 1}), "geometry.crs", "is not a member of a GeoJSON feature here"),
        (feature(geometry={"type": "Point"}), "geometry.coordinates", "must be two numbers, longitude and latitude; there are none"),
        (
            feature(geometry={"type": "Point", "coordinates": [1, 2, 3]}),
            "geometry.coordinates",
            "must be two numbers, longitude and latitude; there are 3",
        ),
        (feature(geometry={"type": "Point", "coordinates": [1, "2"]}), "geometry.coordinates", "must be numbers, not str"),
        (feature(geometry={"type": "Point", "coordinates": [True, 2]}), "geometry.coordinates", "must be numbers, not bool"),
        (
            feature(geometry={"type": "Point", "coordinates": [43.6, -179.4]}),
            "geometry.coordinates",
            "looks swapped: coordinates are [longitude, latitude]",
        ),
        (
            feature({**OWN, "colour": "grey"}),
            "properties.colour",
            "is not a member of Incident; what has no field of its own goes into extra",
        ),
        (feature({"category": "theft", "occurred_at": OWN["occurred_at"]}), "properties.external_id", "has no value"),
        (feature({**OWN, "category": "arson"}), "properties.category", "must be 'assault'"),
        (feature({**OWN, "people": [{"nickname": "Jo"}]}), "properties.people.0", "has a member that is not of this dataset"),
        (feature({**OWN, "people": [{"birth_date": "x"}]}), "properties.people.0.birth_date", "String should match pattern"),
    ],
)
def test_a_feature_is_refused_by_place_and_reason(text: bytes, field: str, reason: str) -> None:
    ((place, why),) = reasons(direct(text))
    assert place == field
    assert why.startswith(reason)


def test_many_problems_of_one_feature_are_counted_not_listed() -> None:
    row = direct(feature({**OWN, **{f"c{n}": 1 for n in range(1_000)}}))
    assert len(row.problems) == 20
    assert row.problems[-1].reason == "has 981 problems more"


@pytest.mark.parametrize(("place", "reason"), [([-79, 43], "both coordinates are whole degrees"), ([0, 0], "is (0, 0)")])
def test_a_doubtful_place_is_flagged(place: list[int], reason: str) -> None:
    row = direct(feature(geometry={"type": "Point", "coordinates": place}))
    assert kept(row)
    assert [(f.field, f.reason.startswith(reason)) for f in row.flags] == [("geometry.coordinates", True)]


# --- with a mapping ----------------------------------------------------------------------------------------------------


def test_with_a_mapping_properties_are_columns() -> None:
    record = kept(mapped(feature(THEIRS)))
    assert (record.external_id, record.narrative, record.place) == ("1", "quiet", (-79.38, 43.65))


def test_values_that_are_not_text_are_read_as_they_are_written() -> None:
    spec = {"fields": {"category": {"column": "ok", "map": {"true": "fire", "false": "theft"}}, "severity": {"column": "level"}}}
    record = kept(mapped(feature({**THEIRS, "id": 17, "note": 1.5, "ok": True, "level": 3}), **spec))
    assert (record.external_id, record.narrative, record.category, record.severity) == ("17", "1.5", "fire", 3)
    assert kept(mapped(feature({**THEIRS, "note": None}))).narrative is None


def test_a_list_or_an_object_is_for_extra_only() -> None:
    ((field, reason),) = reasons(mapped(feature({**THEIRS, "note": ["a"]})))
    assert (field, reason) == ("properties.note", "is a list or an object; only `extra` takes such")
    record = kept(mapped(feature({**THEIRS, "more": {"a": [1, None]}, "none": None, "blank": " "}), unmapped="extra"))
    assert record.extra == {"more": {"a": [1, None]}}


def test_a_property_that_nothing_names_refuses_the_row() -> None:
    ((field, reason),) = reasons(mapped(feature({**THEIRS, "colour": "grey"})))
    assert field == "properties.colour"
    assert reason.startswith("is neither mapped nor named under `drop`")
    assert kept(mapped(feature({**THEIRS, "colour": "grey"}), drop=["colour"])).extra is None


def test_the_features_own_id_is_a_column() -> None:
    text = feature({k: v for k, v in THEIRS.items() if k != "id"}, id="A-7")
    assert kept(mapped(text, external_id={"column": "feature.id"})).external_id == "A-7"
    assert reasons(mapped(feature(THEIRS, id="A-7")))[0][0] == "properties.feature.id"
    assert kept(mapped(feature(THEIRS, id="A-7"), unmapped="extra")).extra == {"feature.id": "A-7"}


def test_the_point_can_be_hashed() -> None:
    spec = {"external_id": {"hash": ["at", "geometry.lon", "geometry.lat"]}, "drop": ["id"]}
    row = mapped(feature(THEIRS), **spec)
    assert kept(row).extra is None
    assert row.key == b"2:at,20:2024-05-06T07:08:09Z,12:geometry.lat,5:43.65,12:geometry.lon,6:-79.38,"


@pytest.mark.parametrize("name", ["feature.id", "geometry.lon"])
def test_a_property_must_not_pass_as_what_is_the_features(name: str) -> None:
    assert reasons(mapped(feature({**THEIRS, name: "1"}), unmapped="extra"))[0][1] == "has a name that is kept for the feature itself"


def test_names_that_differ_in_blanks_only_refuse_the_row() -> None:
    assert reasons(mapped(feature({**THEIRS, " note": "loud"})))[0][1] == "has two members whose names differ in blanks only"


def test_zero_zero_is_refused_unless_kept() -> None:
    text = feature(THEIRS, {"type": "Point", "coordinates": [0, 0]})
    ((field, reason),) = reasons(mapped(text))
    assert field == "geometry.coordinates"
    assert reason.startswith("is (0, 0)")
    assert kept(mapped(text, place={"zero": "keep"})).place == (0, 0)


def test_coordinates_can_come_from_properties() -> None:
    text = feature({**THEIRS, "x": 630084, "y": 4833438}, None)
    row = mapped(text, place={"x": "x", "y": "y", "crs": "EPSG:32617"})
    assert kept(row).place == pytest.approx((-79.387, 43.6426), abs=1e-3)


def test_constants_need_no_column() -> None:
    assert kept(mapped(feature(THEIRS), fields={"status": {"constant": "closed"}, "category": KIND})).status == "closed"
