"""Published GeoJSON cases, good and bad, at both doors: a request's body, and a row of a sequence."""

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.api.features import read_features
from hub.datasets.incidents import Incident
from hub.errors import HubError, InvalidFile
from hub.mapping.reading import Row
from tests.mapping.making import read

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "geojson"
OWN = {"external_id": "1", "category": "theft", "occurred_at": "2024-05-06T07:08:09Z"}

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir() and not os.environ.get("CI"), reason="the shared test data are not beside this repository"
)

COLLECTION = "chrieke/invalid_structure/invalid_featurecollection_no_features_member"
TYPE = ("geometry.type", "must be Point")
MISSING = ("geometry", "is missing; a Point is needed")
NO_NUMBER = ("geometry.coordinates", "must be numbers, not str")
BOX = ("geometry.bbox", "must be four or six numbers (RFC 7946 §5)")


def cases(*folders: str) -> list[str]:
    return sorted(str(p.relative_to(FOLDER)) for f in folders for p in (FOLDER / f).glob("**/*.geojson"))


def own(properties: Any) -> Any:
    """With what an incident needs: then only what the case is about can be wrong."""
    return {"extra": properties, **OWN} if isinstance(properties, dict) else properties


def features(name: str) -> list[Any]:
    """The features of a file; a bare geometry becomes one."""
    data = orjson.loads((FOLDER / name).read_bytes())
    whole = isinstance(data, dict) and str(data.get("type")).lower() == "featurecollection"
    found = data["features"] if whole else [data]
    return [wrapped(f) if isinstance(f, dict) else f for f in found]


def wrapped(data: dict[str, Any]) -> dict[str, Any]:
    if "properties" not in data and "geometry" not in data and data.get("type") != "FeatureCollection":
        return {"type": "Feature", "geometry": data, "properties": OWN}
    return {**data, "properties": own(data["properties"])} if "properties" in data else data


def rows(name: str) -> list[Row]:
    return read(None, b"".join(orjson.dumps(f) + b"\n" for f in features(name)))


def told(row: Row) -> tuple[str, str]:
    assert len(row.problems) == 1, row.problems
    return row.problems[0].field, row.problems[0].reason


# What geojsonhint's own .result names, and what the hub says. Where a case is about a geometry that the hub takes none of (rings,
# parts, directions), its type is the reason.
BAD = {
    "bad-duplicate-properties": ("duplicate members", ("text", "has an object with one member twice")),
    "bad-json": ("Parse error", ("text", "is not JSON at character 32")),
    "bad-polygon-interiorring-rhr": ("right-hand rule", TYPE),
    "bad-properties-as-array": ("should be object, but is an Array", ("properties", "is missing")),
    "badcoordtype": ("nested more deeply", TYPE),
    "badfeatureid": ("must have a string or number value", ("id", "must be text or a number (RFC 7946 §3.2)")),
    "bbox-contains-string": ("each element in a bbox", BOX),
    "different-first-last": ("first and last positions", TYPE),
    "excessive_precision_truncated": ("[]", TYPE),
    "false": ("must contain only geometry objects", TYPE),
    "featurecollection": ("member required", ("type", "must be Feature")),
    "featurecollection-obj": ("should be an array", ("type", "must be Feature")),
    "geometry_changed_semantics": ("cannot contain a", ("type", "must be Feature")),
    "geometrycollection_single": ("GeometryCollection with a single geometry", TYPE),
    "multipoint-multidimension": ("must be a number", TYPE),
    "nofeaturetype": ("must have a type=feature member", ("type", "must be Feature")),
    "point": ("member required", ("geometry.coordinates", "must be two numbers, longitude and latitude; there are none")),
    "point-labeled-as-a-multipolygon": ("nested more deeply", TYPE),
    "point-toofew": ("2 or more elements", ("geometry.coordinates", "must be two numbers, longitude and latitude; there are 1")),
    "rootstring": ("must be an object", ("type", "must be Feature")),
    "short-linearring": ("four or more positions", TYPE),
    "stringcoord": ("must be a number", NO_NUMBER),
}
READ_AS_TEXT = {"bad-duplicate-properties", "bad-json"}  # nothing else can show what is wrong with them
WHOLE = {"featurecollection", "featurecollection-obj"}  # a sequence has no collections: see below


def test_every_bad_case_is_listed() -> None:
    assert {Path(name).stem for name in cases("geojsonhint/bad")} == set(BAD)


@pytest.mark.parametrize("name", [COLLECTION, "geojsonhint/bad/featurecollection", "geojsonhint/bad/featurecollection-obj"])
def test_a_collection_is_no_sequence(name: str) -> None:
    with pytest.raises(InvalidFile, match="one Feature on each line"):
        read(None, (FOLDER / f"{name}.geojson").read_bytes())


@pytest.mark.parametrize("name", sorted(BAD.keys() - WHOLE))
def test_a_bad_case_is_refused_for_the_reason_that_its_result_names(name: str) -> None:
    phrase, expected = BAD[name]
    file = FOLDER / "geojsonhint/bad" / f"{name}.geojson"
    assert phrase in file.with_suffix(".result").read_text().replace('\\"', "").replace("type ", "")
    found = read(None, b"\x1e" + file.read_bytes()) if name in READ_AS_TEXT else rows(f"geojsonhint/bad/{name}.geojson")
    assert expected in [told(row) for row in found if row.record is None]


@pytest.mark.parametrize("name", cases("geojsonhint/bad"))
def test_a_bad_case_is_no_body_of_a_request(name: str) -> None:
    with pytest.raises(HubError) as caught:
        read_features((FOLDER / name).read_bytes(), Incident, 5_000)
    assert 400 <= caught.value.status < 500


# The rest: kept, or why not. A number is how many of its features are kept.
OTHERS: dict[str, int | tuple[str, str]] = {
    "geojsonhint/good/good-feature": 1,
    "geojsonhint/good/good-feature-with-id": ("id", "the hub gives ids; put your own into properties.external_id"),
    "geojsonhint/good/good-featurecollection": 1,  # of three: the others are a LineString and a Polygon
    "geojsonhint/good/good-featurecollection-bbox3d": 0,  # three features with altitudes
    "geojsonhint/good/good-linestring": TYPE,
    "geojsonhint/good/good-multipoint": TYPE,
    "geojsonhint/good/good-point": 1,
    "geojsonhint/good/issue82": TYPE,
    "geojsonhint/good/nullgeometry": MISSING,
    "chrieke/valid/valid_feature": 1,
    "chrieke/valid/valid_feature_null_properties": ("properties", "is missing"),
    "chrieke/valid/valid_feature_with_id": ("id", "the hub gives ids; put your own into properties.external_id"),
    "chrieke/valid/valid_featurecollection": 0,
    "chrieke/valid/valid_featurecollection_empty_features": 0,
    "chrieke/valid/valid_featurecollection_with_geometrycollection": TYPE,
    "chrieke/valid/valid_geometry_3d_coordinates": (
        "geometry.coordinates",
        "must be two numbers, longitude and latitude; there are 3",
    ),
    "chrieke/valid/valid_geometry_geometrycollection": TYPE,
    "chrieke/valid/valid_geometry_linestring": TYPE,
    "chrieke/valid/valid_geometry_multipoint": TYPE,
    "chrieke/valid/valid_geometry_point": 1,
    "chrieke/invalid_geometries/invalid_exterior_not_ccw": TYPE,
    "chrieke/invalid_geometries/invalid_interior_not_cw": TYPE,
    "chrieke/invalid_geometries/invalid_unclosed": TYPE,
    "chrieke/invalid_structure/invalid_feature_geometry_is_string": MISSING,
    "chrieke/invalid_structure/invalid_feature_no_properties": ("properties", "is missing"),
    "chrieke/invalid_structure/invalid_feature_properties_is_int": ("properties", "is missing"),
    "chrieke/invalid_structure/invalid_featurecollection_feature_nullfeature": ("type", "must be Feature"),
    "chrieke/invalid_structure/invalid_featurecollection_type_lowercase": 0,  # no feature in it; at the other door it is refused
    "chrieke/invalid_structure/invalid_geometry_bbox_not4or6": BOX,
    "chrieke/invalid_structure/invalid_geometry_bbox_not_numbers": BOX,
    "chrieke/invalid_structure/invalid_geometry_coordinates_empty_position": TYPE,
    "chrieke/invalid_structure/invalid_geometry_coordinates_string": NO_NUMBER,
    "chrieke/invalid_structure/invalid_geometry_depth_deep_polygon": TYPE,
    "chrieke/invalid_structure/invalid_geometry_depth_shallow_multipolygon": TYPE,
    "chrieke/invalid_structure/invalid_geometry_geometrycollection_null_geometry": TYPE,
    "chrieke/invalid_structure/invalid_geometry_missing_type": TYPE,
    "chrieke/problematic_geometries/problematic_3d_coordinates": ("id", "the hub gives ids; put your own into properties.external_id"),
    "chrieke/problematic_geometries/problematic_crosses_antimeridian": TYPE,
    "chrieke/problematic_geometries/problematic_excessive_coordinate_precision": TYPE,
    "chrieke/problematic_geometries/problematic_feature_null_geometry": MISSING,
    "chrieke/problematic_geometries/problematic_inner_and_exterior_ring_intersect": TYPE,
    "chrieke/problematic_geometries/problematic_outside_lat_lon_boundaries": TYPE,
    "chrieke/problematic_geometries/problematic_self_intersection_small": TYPE,
    "chrieke/problematic_geometries/problematic_zero_length_linestring": TYPE,
    "chrieke/problematic_structure/problematic_crs_defined": TYPE,
    "chrieke/problematic_structure/problematic_geometrycollection_single": TYPE,
    "geojson-fixtures/feature/one": TYPE,
    "geojson-fixtures/featurecollection/one": 1,  # of three: the others are a LineString and a Polygon
    "geojson-fixtures/geometry/point": 1,
    "geojson-fixtures/geometry/point-xyz": ("geometry.coordinates", "must be two numbers, longitude and latitude; there are 3"),
    **{
        f"geojson-fixtures/geometry/{kind}{suffix}": TYPE
        for kind in ("geometrycollection", "linestring", "multilinestring", "multipoint", "multipolygon", "polygon")
        for suffix in ("", "-xyz")
    },
}


def test_every_other_case_is_listed() -> None:
    found = {name.removesuffix(".geojson") for name in cases("geojsonhint/good", "chrieke", "geojson-fixtures")}
    assert found - {COLLECTION} == set(OTHERS)


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_a_case_is_kept_or_refused_as_is_explained(name: str) -> None:
    expected = OTHERS[name]
    found = rows(f"{name}.geojson") if features(f"{name}.geojson") else []
    if isinstance(expected, int):
        assert sum(row.record is not None for row in found) == expected
        assert all(told(row) for row in found if row.record is None)
    else:
        assert {told(row) for row in found} == {expected}


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_what_a_sequence_keeps_a_request_keeps(name: str) -> None:
    """Both doors judge a feature alike (a request's box is not looked at)."""
    for feature, row in zip(features(f"{name}.geojson"), rows(f"{name}.geojson") if features(f"{name}.geojson") else [], strict=True):
        if OTHERS[name] == BOX:
            continue
        body = orjson.dumps(feature)
        if row.record is not None:
            assert read_features(body, Incident, 1) == [row.record]
        else:
            with pytest.raises(HubError):
                read_features(body, Incident, 1)
