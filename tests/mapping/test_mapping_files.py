"""Mapping files: what is refused when one is loaded, by place, line and reason; and that the examples of the documentation load."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.datasets import DATASETS
from hub.datasets.incidents import Category, Incident
from hub.errors import InvalidMapping, Problem
from hub.mapping.spec import load_mapping, read_mapping
from tests.mapping.making import data, mapping

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted([*(ROOT / "docs/mappings").glob("*.yaml"), *Path(__file__).with_name("golden_mappings").glob("*.yaml")])


def faults(said: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidMapping) as caught:
        read_mapping(said, Incident)
    return [(p.field, p.reason) for p in caught.value.problems]


def fault(**changes: Any) -> tuple[str, str]:
    (found,) = faults(data(**changes))
    return found


def field(name: str, **value: Any) -> tuple[str, str]:
    return fault(fields={name: value})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_example_loads(path: Path) -> None:
    assert load_mapping(path.read_bytes(), DATASETS).dataset == "incidents"


def test_what_is_read_from_yaml_is_what_is_read_from_json() -> None:
    said = data(unmapped="extra", empty=["NA"], zone="UTC", fields={"people": [{"name": {"column": "who"}}]})
    # JSON is YAML.
    assert load_mapping(json.dumps(said).encode(), DATASETS) == read_mapping(said, Incident)


# --- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "place", "reason"),
    [
        ({"feilds": {}}, "feilds", "is not a word of the mapping vocabulary"),
        ({"external_id": None}, "external_id", "is missing"),
        ({"external_id": {"col": "id"}}, "external_id.col", "is not a word of the mapping vocabulary"),
        ({"external_id": {"column": 7}}, "external_id.column", "must be text: numbers, true and false are text in quotes"),
        ({"external_id": {"column": ""}}, "external_id.column", "is empty"),
        ({"external_id": {"hash": []}}, "external_id.hash", "Tuple should have at least 1 item"),
        ({"format": "xlsx"}, "format", "Input should be 'csv' or 'geojson-seq'"),
        ({"encoding": "cp437"}, "encoding", "Input should be"),
        ({"delimiter": "::"}, "delimiter", "Input should be"),
        ({"unmapped": "drop"}, "unmapped", "Input should be 'extra'"),
        ({"fields": {"title": {"colum": "note"}}}, "fields.title.colum", "is not a word of the mapping vocabulary"),
        ({"fields": {"title": "note"}}, "fields.title", "must hold keys and values"),
        ({"fields": {"people": ["note"]}}, "fields.people[0]", "must hold keys and values"),
        ({"fields": {"category": {"column": "note", "map": {1: "fire"}}}}, "fields.category.map[1]", "must be text"),
        ({"fields": {"category": {"column": "note", "map": {}}}}, "fields.category.map", "Dictionary should have at least 1 item"),
        ({"place": {"lon": "lon", "lat": "lat", "crs": "ESRI:102729"}}, "place.crs", "String should match pattern"),
    ],
)
def test_a_word_that_is_unknown_missing_or_of_the_wrong_kind_is_refused(changes: dict[str, Any], place: str, reason: str) -> None:
    found = faults(data(**changes))
    assert any(p.startswith(place) and r.startswith(reason) for p, r in found), found


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"dataset: incidents\nformat: csv\nformat: csv\n", "line 3, column 1"),
        (b"dataset: incidents\nfields: {a: 1\n", "line 3, column 1"),
        (b"dataset: &x incidents\n", "line 1"),
        (b"dataset: incidents\nfields: {category: {map: {Theft: theft, Theft: other}}}\n", "line 2, column 41"),
        (b"- dataset\n", "the file"),
        (b"\xff", "byte 0"),
        (b"#" * 200_001, "the file"),
    ],
)
def test_a_file_that_is_no_strict_yaml_names_its_line(text: bytes, place: str) -> None:
    with pytest.raises(InvalidMapping) as caught:
        load_mapping(text, DATASETS)
    assert [p.field for p in caught.value.problems] == [place]


@pytest.mark.parametrize("text", [b"format: csv\n", b"dataset: accidents\n", b"dataset: 7\n"])
def test_a_dataset_that_the_hub_lacks_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidMapping, match="dataset: must be one of the hub's: incidents"):
        load_mapping(text, DATASETS)


def test_a_fault_in_a_file_names_line_and_column() -> None:
    text = b"""dataset: incidents
format: csv
external_id: {column: id}
place: {lon: a, lat: b}
fields:
  category:
    column: kind
    map:
      Theft: theft
      Fire: fires
  occured_at: {column: at, time: iso}
  occurred_at: {column: at, time: iso}
"""
    with pytest.raises(InvalidMapping) as caught:
        load_mapping(text, DATASETS)
    assert [(p.field, p.reason) for p in caught.value.problems] == [
        ("fields.category.map.Fire", "'fires' is not a word of category; did you mean 'fire'? (line 10, column 7)"),
        ("fields.occured_at", "is not a field of incidents; did you mean 'occurred_at' or 'occurred_until'? (line 11, column 3)"),
    ]


# --- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "place", "reason"),
    [
        ("titel", {"column": "note"}, "", "is not a field of incidents; did you mean 'title'?"),
        ("zzz", {"column": "note"}, "", "is not a field of incidents; they are category, status"),
        ("external_id", {"column": "id"}, "", "has a section of its own, beside `fields`: `external_id`"),
        ("place", {"column": "id"}, "", "has a section of its own, beside `fields`: `place`"),
        ("title", {}, "", "needs exactly one of `column`, `columns`, `constant`; it has none"),
        ("title", {"column": "a", "constant": "b"}, "", "needs exactly one of `column`, `columns`, `constant`; it has column and constant"),
        ("title", {"columns": ["a", "a"]}, ".columns", "names 'a' twice"),
        ("title", {"column": "a", "join": ", "}, ".join", "has no meaning here"),
        ("title", {"column": "a", "otherwise": "b"}, ".otherwise", "has no meaning here"),
        ("title", {"column": "a", "time": "iso"}, ".time", "has no meaning here"),
        ("title", {"constant": "a", "map": {"b": "c"}}, ".map", "has no meaning here"),
        ("title", {"column": "a", "map": {"b": "c"}, "date": "%d/%m/%Y"}, ".date", "has no meaning here"),
        ("title", {"column": "a", "date": "%d/%m/%Y %H:%M"}, ".date", "'%d/%m/%Y %H:%M' must name a day and no time, such as %d/%m/%Y"),
        ("title", {"column": "a", "date": "%m/%Y"}, ".date", "'%m/%Y' must name a day and no time, such as %d/%m/%Y"),
        ("title", {"constant": ""}, ".constant", "'' does not fit title: String should have at least 1 character"),
        ("title", {"constant": 3}, ".constant", "3 does not fit title: Input should be a valid string"),
        ("extra", {"column": "a", "map": {"b": "c"}}, ".map", "has no meaning here"),
        ("extra", {"constant": "a"}, ".constant", "'a' does not fit extra"),
        ("category", {"constant": "thefts"}, ".constant", "'thefts' is not a word of category; did you mean 'theft'?"),
        ("category", {"constant": "zzz"}, ".constant", "'zzz' is not a word of category; its words are assault, "),
        ("category", {"column": "a", "map": {"x": "fires"}}, ".map.x", "'fires' is not a word of category; did you mean 'fire'?"),
        ("category", {"column": "a", "map": {"x": "fire"}, "otherwise": "zzz"}, ".otherwise", "'zzz' is not a word of category"),
        ("severity", {"column": "a", "map": {"x": 6}}, ".map.x", "6 does not fit severity: Input should be less than or equal to 5"),
        ("severity", {"column": "a", "map": {"x": "5"}}, ".map.x", "'5' does not fit severity: Input should be a valid integer"),
        ("occurred_at", {"constant": "2024-01-01"}, ".constant", "'2024-01-01' does not fit occurred_at: must be text such as"),
        ("people", {"column": "a"}, "", "must be a list"),
        ("title", [{"column": {"column": "a"}}], "", "takes one value, not a list"),
        ("people", [{"nmae": {"column": "a"}}], "[0].nmae", "is not known here; did you mean 'name'?"),
        ("people", [{"role": {"constant": "victim"}}], "[0]", "takes nothing from the file"),
        ("people", [{"name": {"column": "a", "zone": "UTC"}}], "[0].name.zone", "has no meaning here"),
        ("people", [{"birth_date": {"constant": "1990"}, "name": {"column": "a"}}], "[0].birth_date.constant", "'1990' does not fit"),
    ],
)
def test_a_field_that_can_not_be_so_is_refused(name: str, value: Any, place: str, reason: str) -> None:
    found = faults(data(unmapped="extra", fields={name: value}))
    assert [p for p, _ in found] == [f"fields.{name}{place}"], found
    assert found[0][1].startswith(reason), found


@pytest.mark.parametrize("name", ["category", "occurred_at"])
def test_a_field_that_every_record_needs_must_be_mapped(name: str) -> None:
    assert fault(fields={name: None}) == ("fields", f"lacks {name}, which every record needs")


def test_keys_of_a_map_that_are_equal_when_trimmed_are_refused() -> None:
    found = faults(data(fields={"category": {"column": "note", "map": {"Theft": "theft", " Theft": "other"}}}))
    assert found == [(f"fields.category.map.{k}", "is there twice, but for blanks, which are trimmed") for k in ("Theft", " Theft")]


@pytest.mark.parametrize("word", ["", " ", "NA"])
def test_a_key_of_a_map_that_means_no_value_is_refused(word: str) -> None:
    value = {"column": "note", "map": {word: "theft"}}
    assert fault(empty=["NA"], fields={"category": value})[1] == "means that there is no value (`empty`), so the map never sees it"


# --- times -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "more", "reason"),
    [
        ("%d/%m %H:%M", {}, "names no year (%Y)"),
        ("%Y %H:%M", {}, "names no month (%m)"),
        ("%Y-%m %H:%M", {}, "names no day (%d)"),
        ("%Y-%m-%d %I:%M", {}, "%I (hours to 12) and %p (AM or PM) need each other"),
        ("%Y-%m-%d %H:%M %p", {}, "%I (hours to 12) and %p (AM or PM) need each other"),
        ("%Y-%m-%d %H:%M %Z", {}, "%Z is not a part that formats know"),
        ("%Y-%m-%d %T", {"take": "start"}, "%T is not a part that formats know"),
        ("%Y-%m-%d %H:%M %", {}, "% is not a part that formats know"),
        ("%Y-%m-%d %H:%S", {"take": "start"}, "names seconds but no minutes (%M)"),
        ("%Y-%m-%d :%M", {}, "names minutes but no hour (%H)"),
        ("%Y-%m-%d %d %H:%M", {}, "says %d twice"),
        ("%Y-%m", {}, "names no minute, so it is a period: `take: start` or `take: end` says which end of it is meant"),
        ("%Y-%m-%d", {}, "names no minute, so it is a period"),
        ("%Y-%m-%d %H", {}, "names no minute, so it is a period"),
    ],
)
def test_a_format_that_leaves_something_open_is_refused(format: str, more: dict[str, str], reason: str) -> None:
    found = faults(data(zone="UTC", fields={"occurred_at": {"column": "at", "time": format, **more}}))
    assert ("fields.occurred_at.time", True) in [(p, r.startswith(f"{format!r} {reason}")) for p, r in found], found


def test_a_format_without_zone_is_refused_unless_it_says_the_offset() -> None:
    place, reason = field("occurred_at", column="at", time="%Y-%m-%d %H:%M")
    assert place == "fields.occurred_at.time"
    assert reason.endswith("needs a `zone` such as Europe/London: it says no offset from UTC")
    assert mapping(fields={"occurred_at": {"column": "at", "time": "%Y-%m-%d %H:%M %z"}})


def test_take_is_for_periods() -> None:
    assert field("occurred_at", column="at", time="iso", take="start") == ("fields.occurred_at.take", "is for formats that name no minute")


def test_a_time_needs_a_format() -> None:
    place, reason = field("occurred_at", column="at")
    assert (place, reason[:12]) == ("fields.occurred_at", "needs `time`")


@pytest.mark.parametrize(
    ("zone", "near"),
    [
        ("America/Torono", "; did you mean 'America/Toronto'"),
        ("EST5", ""),
        ("../../etc/passwd", ""),
        ("/etc/localtime", ""),
        ("", ""),
        ("a\0b", ""),
    ],
)
def test_a_zone_that_is_none_is_refused(zone: str, near: str) -> None:
    for place, reason in (fault(zone=zone), field("occurred_at", column="at", time="iso", zone=zone)):
        assert place.endswith("zone")
        assert reason.startswith(f"is not a time zone of the IANA database, such as Europe/London{near}")


# --- places, ids, columns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [None, {}, {"zero": "keep"}, {"lon": "a"}, {"lon": "a", "y": "b"}, {"x": "a", "y": "b"}, {"lon": "a", "lat": "b", "crs": "EPSG:4326"}],
)
def test_a_place_needs_both_coordinates_and_projected_ones_their_system(place: Any) -> None:
    assert fault(place=place)[0] == "place"


@pytest.mark.parametrize(
    ("crs", "reason"),
    [
        ("EPSG:9999", "is not a coordinate reference system that PROJ knows"),
        ("EPSG:5703", "is not a system of two coordinates, x and y"),
        ("EPSG:4978", "is not a system of two coordinates, x and y"),
        ("EPSG:7405", "is not a system of two coordinates, x and y"),
    ],
)
def test_a_coordinate_reference_system_must_be_one_of_places(crs: str, reason: str) -> None:
    assert fault(place={"x": "lon", "y": "lat", "crs": crs}) == ("place.crs", reason)


def test_both_coordinates_from_one_column_are_refused() -> None:
    assert fault(place={"lon": "lon", "lat": "lon"}) == ("place", "takes both coordinates from one column")


@pytest.mark.parametrize(
    ("said", "place"),
    [({}, "external_id"), ({"hash": ["a", "a"]}, "external_id.hash"), ({"column": "a", "hash": ["a", "b"]}, "external_id.hash")],
)
def test_an_id_needs_a_column_or_a_hash_of_others(said: Any, place: str) -> None:
    assert fault(external_id=said)[0] == place


@pytest.mark.parametrize(
    ("changes", "place", "reason"),
    [
        ({"drop": ["note"]}, "drop[0]", "'note' is mapped too"),
        ({"drop": ["a", "a"]}, "drop", "names 'a' twice"),
        ({"header": ["id", "at", "lon", "lat", "notes"]}, "header", "lacks 'note', which the mapping names; did you mean 'notes'?"),
        ({"header": ["id", "at", "lon", "lat", "note", "age"]}, "header[5]", "'age' is neither mapped nor named under `drop`"),
        ({"header": ["id", "at", "lon", "lat", "note", "id"]}, "header", "names 'id' twice"),
        ({"empty": ["NA", " NA"]}, "empty[1]", "is there twice"),
        ({"decimal": ","}, "decimal", "is the delimiter too"),
        ({"format": "geojson-seq", "place": None, "encoding": "utf-8"}, "encoding", "is said of csv only"),
        ({"format": "geojson-seq", "place": None, "header": ["a"]}, "header", "is said of csv only"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(changes: dict[str, Any], place: str, reason: str) -> None:
    assert any(p == place and r.startswith(reason) for p, r in faults(data(**changes)))


def test_every_fault_is_told_at_once() -> None:
    found = faults(data(drop=["note"], zone="Nowhere", fields={"titel": {"column": "a"}, "category": {"constant": "x"}}))
    assert [p for p, _ in found] == ["fields.category.constant", "fields.titel", "drop[0]", "zone"]


def test_the_text_of_the_error_tells_the_first_five() -> None:
    with pytest.raises(InvalidMapping) as caught:
        mapping(fields={f"f{n}": {"column": "a"} for n in range(7)})
    assert len(caught.value.problems) == 7
    assert str(caught.value).count("fields.f") == 5


WORDS = st.sampled_from(["column", "columns", "constant", "map", "otherwise", "time", "zone", "take", "date", "join", "x"])
SAID = st.recursive(
    st.sampled_from(["a", "iso", "", 1, None, True, "EPSG:2272"]), lambda i: st.lists(i, max_size=2) | st.dictionaries(WORDS, i, max_size=3)
)
TOP = st.sampled_from([*data(), "encoding", "header", "drop", "empty", "zone", "decimal", "unmapped"])


@given(st.dictionaries(TOP, SAID, max_size=4), st.dictionaries(st.sampled_from([f.name for f in Incident.fields]), SAID, max_size=3))
def test_whatever_is_said_is_read_or_refused_by_name(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    said = {**data(), **changes}
    if isinstance(said["fields"], dict):
        said["fields"] = {**said["fields"], **fields}
    problems = [Problem("a", "b")]
    try:
        read_mapping(said, Incident)
    except InvalidMapping as error:
        problems = list(error.problems)
    assert problems
    assert all(p.field and p.reason for p in problems)


def test_the_examples_reach_most_categories() -> None:
    said = "".join(path.read_text() for path in EXAMPLES)
    assert {c for c in Category if f": {c.value}" not in said} <= {Category.MISSING_PERSON}
