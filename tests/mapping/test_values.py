"""What becomes of values: times in zones, places in coordinate reference systems, words, lists, ids."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import InvalidFile
from hub.mapping.reading import PLACEHOLDER, Row
from hub.mapping.times import _parser
from tests.mapping.making import HEADER, kept, line, mapping, one, reasons, rows_of

LABEL = "at → occurred_at"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc]


def timed(at: str, time: Any, **said: Any) -> Row:
    return one(mapping(fields={"occurred_at": {"column": "at", "time": time, **said}}), line(at=f'"{at}"'))


# --- times -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "format", "expected"),
    [
        ("19/07/2017 13:45", "%d/%m/%Y %H:%M", utc(2017, 7, 19, 17, 45)),
        ("7/9/2017 3:05", "%m/%d/%Y %H:%M", utc(2017, 7, 9, 7, 5)),
        ("7/9/2017 3:05", "%d/%m/%Y %H:%M", utc(2017, 9, 7, 7, 5)),
        ("07/09/17 3:05", "%d/%m/%y %H:%M", utc(2017, 9, 7, 7, 5)),
        ("05/01/2022 12:00:03 AM", "%m/%d/%Y %I:%M:%S %p", utc(2022, 5, 1, 4, 0, 3)),
        ("2016-01-15 12:01", "%Y-%m-%d %H:%M", utc(2016, 1, 15, 17, 1)),
        ("20160115 1201", "%Y%m%d %H%M", utc(2016, 1, 15, 17, 1)),
        ("Fri Jan 15 2016 12:01", "%a %b %d %Y %H:%M", utc(2016, 1, 15, 17, 1)),
        ("2019/09/27 01:14:27+00", "%Y/%m/%d %H:%M:%S+00", utc(2019, 9, 27, 5, 14, 27)),
        ("2019-09-27 01:14:27 +0200", "%Y-%m-%d %H:%M:%S %z", utc(2019, 9, 26, 23, 14, 27)),
        ("2019-09-27T01:14:27Z", "iso", utc(2019, 9, 27, 1, 14, 27)),
        ("2019-09-27 01:14:27.123456+00", "iso", datetime(2019, 9, 27, 1, 14, 27, 123456, UTC)),
        ("2019-09-27T01:14", "iso", utc(2019, 9, 27, 5, 14)),
    ],
)
def test_a_time_is_read_by_its_format_in_its_zone(at: str, format: str, expected: datetime) -> None:
    assert kept(timed(at, format, zone="America/Toronto")).occurred_at == expected


@pytest.mark.parametrize(
    ("at", "format"),
    [
        ("13/13/2017 10:00", "%d/%m/%Y %H:%M"),
        ("19/07/2017 13:45", "%m/%d/%Y %H:%M"),
        ("31/02/2017 10:00", "%d/%m/%Y %H:%M"),
        ("19/07/2017 24:00", "%d/%m/%Y %H:%M"),
        ("19/07/2017", "%d/%m/%Y %H:%M"),
        ("19/07/2017 13:45 h", "%d/%m/%Y %H:%M"),
        ("Sat Jan 15 2016 12:01", "%a %b %d %Y %H:%M"),
        ("1700000000", "iso"),
        ("2019-09-27", "iso"),
        ("2019-W39-5T01:14", "iso"),
        ("20190927T011427", "iso"),
        ("2019-09-27T25:14", "iso"),
    ],
)
def test_a_value_that_is_no_such_time_refuses_the_row_and_is_not_told(at: str, format: str) -> None:
    assert reasons(timed(at, format, zone="America/Toronto")) == [(LABEL, f"is not a time as {format} says")]


def test_a_time_that_the_clocks_skipped_is_refused() -> None:
    row = timed("2024-03-10 02:30", "%Y-%m-%d %H:%M", zone="America/Toronto")
    assert reasons(row) == [(LABEL, "is a local time that did not exist: the clocks went forward")]


def test_a_time_that_there_was_twice_is_refused_unless_the_mapping_chooses() -> None:
    at, format = "2024-11-03 01:30", "%Y-%m-%d %H:%M"
    row = timed(at, format, zone="America/Toronto")
    assert reasons(row) == [(LABEL, "is a local time that there was twice: the clocks went back (`ambiguous` chooses)")]
    assert kept(timed(at, format, zone="America/Toronto", ambiguous="earlier")).occurred_at == utc(2024, 11, 3, 5, 30)
    assert kept(timed(at, format, zone="America/Toronto", ambiguous="later")).occurred_at == utc(2024, 11, 3, 6, 30)


@pytest.mark.parametrize("at", ["2024-03-10 01:59", "2024-03-10 03:00", "2024-11-03 00:59", "2024-11-03 02:00"])
def test_times_beside_a_change_of_clocks_are_read(at: str) -> None:
    assert kept(timed(at, "%Y-%m-%d %H:%M", zone="America/Toronto"))


@pytest.mark.parametrize(
    ("at", "format", "zone", "start", "end"),
    [
        ("2018-10", "%Y-%m", "Europe/London", utc(2018, 9, 30, 23), utc(2018, 10, 31, 23, 59, 59)),
        ("2018-12", "%Y-%m", "Europe/London", utc(2018, 12, 1), utc(2018, 12, 31, 23, 59, 59)),
        ("2018-02-28", "%Y-%m-%d", "America/Phoenix", utc(2018, 2, 28, 7), utc(2018, 3, 1, 6, 59, 59)),
        ("2024-03-10", "%Y-%m-%d", "America/Toronto", utc(2024, 3, 10, 5), utc(2024, 3, 11, 3, 59, 59)),
        ("2024-03-10 01", "%Y-%m-%d %H", "America/Toronto", utc(2024, 3, 10, 6), utc(2024, 3, 10, 6, 59, 59)),
        # Midnight was skipped: the day began at one. It was there twice: the day began with the first.
        ("2018-11-04", "%Y-%m-%d", "America/Sao_Paulo", utc(2018, 11, 4, 3), utc(2018, 11, 5, 1, 59, 59)),
        ("2018-11-03", "%Y-%m-%d", "America/Sao_Paulo", utc(2018, 11, 3, 3), utc(2018, 11, 4, 2, 59, 59)),
        ("2018-02-17", "%Y-%m-%d", "America/Sao_Paulo", utc(2018, 2, 17, 2), utc(2018, 2, 18, 2, 59, 59)),
        ("2020-11-01", "%Y-%m-%d", "America/Havana", utc(2020, 11, 1, 4), utc(2020, 11, 2, 4, 59, 59)),
        ("1919-03-31", "%Y-%m-%d", "America/Toronto", utc(1919, 3, 31, 4, 30), utc(1919, 4, 1, 3, 59, 59)),
    ],
)
def test_a_period_is_its_first_or_its_last_second(at: str, format: str, zone: str, start: datetime, end: datetime) -> None:
    assert kept(timed(at, format, zone=zone, take="start")).occurred_at == start
    assert kept(timed(at, format, zone=zone, take="end")).occurred_at == end


def test_a_day_that_the_date_line_skipped_is_refused() -> None:
    for take in ("start", "end"):
        row = timed("2011-12-30", "%Y-%m-%d", zone="Pacific/Apia", take=take)
        assert reasons(row) == [(LABEL, "is a day that did not exist: the date line was moved over it")]
    assert kept(timed("2011-12-29", "%Y-%m-%d", zone="Pacific/Apia", take="end")).occurred_at == utc(2011, 12, 30, 9, 59, 59)


def test_a_time_without_offset_needs_a_zone() -> None:
    row = timed("2019-09-27T01:14", "iso")
    assert reasons(row) == [(LABEL, "says no offset from UTC, and the mapping names no zone")]


def test_several_formats_are_tried_and_must_agree() -> None:
    formats = ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"]
    assert kept(timed("19/07/2017 13:45", formats, zone="UTC")).occurred_at == utc(2017, 7, 19, 13, 45)
    assert kept(timed("07/19/2017 13:45", formats, zone="UTC")).occurred_at == utc(2017, 7, 19, 13, 45)
    assert kept(timed("07/07/2017 13:45", formats, zone="UTC")).occurred_at == utc(2017, 7, 7, 13, 45)
    assert reasons(timed("2017-07-19", formats, zone="UTC")) == [(LABEL, f"is not a time as {' or '.join(formats)} says")]
    reason = "fits more than one of the formats, and they don't agree on the time"
    assert reasons(timed("07/08/2017 13:45", formats, zone="UTC")) == [(LABEL, reason)]


def test_half_a_time_is_no_time() -> None:
    spec = mapping(fields={"occurred_at": {"columns": ["at", "note"], "time": "%Y-%m-%d %H:%M", "zone": "UTC"}, "narrative": None})
    assert kept(one(spec, line(at="2024-01-02", note="03:04"))).occurred_at == utc(2024, 1, 2, 3, 4)
    assert reasons(one(spec, line(at="2024-01-02", note=""))) == [("at, note → occurred_at", "has a value in some of its columns only")]


@pytest.mark.parametrize(("at", "zone"), [("0001-01-01 00:00", "Asia/Tokyo"), ("9999-12-31 23:59", "America/Toronto")])
def test_a_time_beyond_the_calendar_of_utc_is_refused(at: str, zone: str) -> None:
    assert [field for field, _ in reasons(timed(at, "%Y-%m-%d %H:%M", zone=zone))] == [LABEL]


@pytest.mark.parametrize("at", ["9999-12-31", "9999-12"])
def test_a_period_that_ends_beyond_the_calendar_is_refused(at: str) -> None:
    format = "%Y-%m-%d" if at.count("-") == 2 else "%Y-%m"
    assert [field for field, _ in reasons(timed(at, format, zone="UTC", take="end"))] == [LABEL]


FORMATS = ["%Y-%m-%d %H:%M:%S", "%m/%d/%Y %H:%M", "%Y%m%d", "%d.%m.%Y  %H", "%Y/%m/%d 05:00:00+00 %H", "%%%Y-%m", "%d%m%Y%H%M%S"]


@given(st.sampled_from(FORMATS), st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.data())
def test_formats_of_digits_are_read_as_strptime_reads_them(format: str, at: datetime, draw: st.DataObject) -> None:
    text = at.replace(microsecond=0).strftime(format.replace("%Y", f"{at.year:04}"))
    place = draw.draw(st.integers(0, len(text) - 1))
    text = text[:place] + draw.draw(st.sampled_from(["", text[place], "0", "1", "9", " ", "-", "x"])) + text[place + 1 :]

    def read(parse: Any) -> datetime | None:
        try:
            found: datetime = parse(text)
        except ValueError:
            return None
        return found

    assert read(_parser(format)) == read(lambda t: datetime.strptime(t, format))


# --- places ------------------------------------------------------------------------------------------------------------


def placed(lon: str, lat: str, place: dict[str, str] | None = None, **said: Any) -> Row:
    return one(mapping(place=place or {"lon": "lon", "lat": "lat"}, **said), line(lon=lon, lat=lat))


@pytest.mark.parametrize(
    ("lon", "lat", "reason"),
    [
        ("", "43.65", "has no value"),
        ("NA", "NA", "has no value"),
        ("0", "0", "is (0, 0), which many programs write for no place (`zero: keep` takes it as one)"),
        ("0.000", "-0.0", "is (0, 0), which many programs write for no place (`zero: keep` takes it as one)"),
        ("43.65", "-179.38", "looks swapped: coordinates are [longitude, latitude]"),
        ("190", "95", "must be [longitude -180 … 180, latitude -90 … 90] in degrees"),
        ("west", "43.65", "is not a number in plain digits"),
        ("nan", "43.65", "is not a number in plain digits"),
        ("inf", "43.65", "is not a number in plain digits"),
        ("1_0", "43.65", "is not a number in plain digits"),
        ("\u0661", "43.65", "is not a number in plain digits"),
        ('"-79,38"', "43.65", "is not a number in plain digits"),
        ("79°22'W", "43.65", "is not a number in plain digits"),
        ("1e999", "43.65", "must be [longitude -180 … 180, latitude -90 … 90] in degrees"),
    ],
)
def test_a_doubtful_place_refuses_the_row(lon: str, lat: str, reason: str) -> None:
    assert reasons(placed(lon, lat, empty=["NA"])) == [("lon, lat → place", reason)]


def test_zero_zero_is_kept_when_said_and_doubted() -> None:
    row = placed("0", "0", {"lon": "lon", "lat": "lat", "zero": "keep"})
    assert kept(row).place == (0.0, 0.0)
    assert [(f.field, f.reason) for f in row.flags] == [("lon, lat → place", "is (0, 0), which many programs write for no place")]


@pytest.mark.parametrize(("lon", "lat", "doubted"), [("-79", "43", True), ("-79.0", "43.000", True), ("-79", "43.5", False)])
def test_whole_degrees_are_kept_and_doubted(lon: str, lat: str, doubted: bool) -> None:
    row = placed(lon, lat)
    assert kept(row)
    assert [f.reason for f in row.flags] == ["both coordinates are whole degrees: a place within 50 km or so, or none"] * doubted


def test_a_decimal_comma_is_read_when_said() -> None:
    spec = mapping(decimal=",", delimiter=";")
    text = "1;2024-05-06T07:08:09Z;{};43,65;x"
    header = HEADER.replace(",", ";")
    assert kept(one(spec, text.format("-79,38"), header=header)).place == (-79.38, 43.65)
    assert reasons(one(spec, text.format("-79.38"), header=header))[0][1] == "is not a number in plain digits"


# Known without PROJ: a definition, the Ordnance Survey's worked example, degrees that stay degrees.
@pytest.mark.parametrize(
    ("crs", "x", "y", "lon", "lat", "within"),
    [
        ("EPSG:32617", "500000", "0", -81.0, 0.0, 1e-7),  # UTM 17N: 500 km is its central meridian
        ("EPSG:27700", "651409.903", "313177.270", 1.716073973, 52.658007833, 1e-4),
        ("EPSG:4269", "-75.0", "40.0", -75.0, 40.0, 1e-5),  # NAD83: x is to the east, whatever the system's own order
    ],
)
def test_projected_coordinates_become_degrees(crs: str, x: str, y: str, lon: float, lat: float, within: float) -> None:
    assert kept(placed(x, y, {"x": "lon", "y": "lat", "crs": crs})).place == pytest.approx((lon, lat), abs=within)


def test_feet_are_feet() -> None:
    # Pennsylvania South counts US survey feet from 39°20' N, 77°45' W: 250,000 of them are 76,200.15 m; a degree here is 111,023 m.
    row = placed("1968500", "250000", {"x": "lon", "y": "lat", "crs": "EPSG:2272"})
    lon, lat = kept(row).place
    assert lon == pytest.approx(-77.75, abs=1e-6)
    assert lat == pytest.approx(39 + 1 / 3 + 76_200.15 / 111_023, abs=2e-4)


@pytest.mark.parametrize(
    ("crs", "x", "y", "reason"),
    [
        ("EPSG:2272", "235000", "2693000", "lies outside the area that EPSG:2272 is made for"),
        ("EPSG:32617", "1e30", "1e30", "can't be a place in EPSG:32617"),
        ("EPSG:2272", "-75.16", "39.95", "lies outside the area that EPSG:2272 is made for"),
        ("EPSG:2272", "0", "0", "is (0, 0), which many programs write for no place (`zero: keep` takes it as one)"),
    ],
)
def test_coordinates_that_the_system_does_not_have_refuse_the_row(crs: str, x: str, y: str, reason: str) -> None:
    assert reasons(placed(x, y, {"x": "lon", "y": "lat", "crs": crs})) == [("lon, lat → place", reason)]


# --- words, lists, ids -------------------------------------------------------------------------------------------------


def test_a_map_turns_words_into_the_fields_own() -> None:
    spec = mapping(fields={"category": {"column": "note", "map": {"Break and Enter": "burglary", " Theft ": "theft"}}, "narrative": None})
    assert kept(one(spec, line(note=" Break and Enter "))).category == "burglary"
    assert kept(one(spec, line(note="Theft"))).category == "theft"
    assert reasons(one(spec, line(note="Arson"))) == [("note → category", "is a word that the map does not hold")]
    assert reasons(one(spec, line(note=""))) == [("note → category", "has no value")]


def test_otherwise_is_for_words_that_the_map_does_not_hold_not_for_no_word() -> None:
    fields = {"category": {"column": "note", "map": {"Theft": "theft"}, "otherwise": "other"}, "narrative": None}
    assert kept(one(mapping(fields=fields), line(note="Arson"))).category == "other"
    assert reasons(one(mapping(fields=fields), line(note=""))) == [("note → category", "has no value")]


def test_numbers_come_from_digits_or_from_a_map() -> None:
    plain = mapping(fields={"severity": {"column": "note"}, "narrative": None})
    assert kept(one(plain, line(note="3"))).severity == 3
    assert [r for _, r in reasons(one(plain, line(note="3.0")))] == ["is not a whole number"]
    assert [r for _, r in reasons(one(plain, line(note="9")))] == ["Input should be less than or equal to 5"]
    assert kept(one(plain, line(note=""))).severity is None
    mapped = mapping(fields={"severity": {"column": "note", "map": {"low": 1}, "otherwise": 5}, "narrative": None})
    assert [kept(one(mapped, line(note=n))).severity for n in ("low", "high")] == [1, 5]


def test_several_columns_make_one_text_and_empty_ones_are_passed_over() -> None:
    spec = mapping(fields={"title": {"columns": ["note", "street", "town"], "join": ", "}, "narrative": None})
    header = HEADER + ",street,town"
    assert kept(one(spec, line(note="a") + ",b,c", header=header)).title == "a, b, c"
    assert kept(one(spec, line(note="a") + ",,c", header=header)).title == "a, c"
    assert kept(one(spec, line(note="") + ",,", header=header)).title is None


def test_people_are_those_of_whom_something_is_said() -> None:
    victim = {"name": {"column": "victim"}, "birth_date": {"column": "born", "date": "%d/%m/%Y"}, "role": {"constant": "victim"}}
    caller = {"name": {"column": "caller"}, "role": {"constant": "caller"}}
    spec = mapping(fields={"people": [victim, caller]})
    header = HEADER + ",victim,born,caller"
    people = kept(one(spec, line() + ",Jo Roe,31/12/1990,", header=header)).people
    assert [p.model_dump() for p in people or ()] == [{"name": "Jo Roe", "birth_date": "1990-12-31", "role": "victim"}]
    assert kept(one(spec, line() + ",,,", header=header)).people is None
    (field, reason) = reasons(one(spec, line() + ",Jo,1990,", header=header))[0]
    assert (field, reason) == ("victim, born, caller → people", "is not a day as %d/%m/%Y says")


def test_extra_takes_named_columns_and_with_unmapped_the_others_too() -> None:
    header = HEADER + ",a,b,c"
    named = mapping(fields={"extra": {"columns": ["note", "a"]}}, drop=["b", "c"])
    assert kept(one(named, line() + ",1,2,", header=header)).extra == {"note": "quiet", "a": "1"}
    rest = mapping(fields={"extra": {"column": "note"}}, unmapped="extra", drop=["b"])
    assert kept(one(rest, line() + ",1,2,", header=header)).extra == {"note": "quiet", "a": "1"}


def test_every_problem_of_a_row_is_told_at_once() -> None:
    row = one(mapping(), line(id="", at="yesterday", lon="x"))
    assert reasons(row) == [
        ("lon, lat → place", "is not a number in plain digits"),
        ("at → occurred_at", "is not a time as iso says"),
        ("id → external_id", "has no value"),
    ]


def test_what_the_dataset_refuses_is_told_by_column() -> None:
    spec = mapping(fields={"occurred_until": {"column": "note", "time": "iso"}, "narrative": None})
    row = one(spec, line(note="2024-05-06T07:08:08Z"))
    assert reasons(row) == [("note → occurred_until", "the end is before the start (occurred_at)")]


HASHED = {"hash": ["note", "at"]}


def test_a_hashed_row_has_a_key_and_a_placeholder() -> None:
    row = one(mapping(external_id=HASHED, drop=["id"]), line(note="é"))
    assert kept(row).external_id == PLACEHOLDER
    assert row.key == "2:at,20:2024-05-06T07:08:09Z,4:note,2:é,".encode()


def test_the_order_of_the_hashed_columns_does_not_matter() -> None:
    keys = [one(mapping(external_id={"hash": names}, drop=["id"]), line()).key for names in (["note", "at"], ["at", "note"])]
    assert keys[0] == keys[1]


@given(
    st.lists(
        st.tuples(st.text("a:,0- 1", max_size=4), st.text("a:,0- 1", max_size=4)),
        min_size=2,
        max_size=5,
        unique_by=lambda p: (p[0].strip(), p[1].strip()),
    )
)
def test_other_values_make_another_key(pairs: list[tuple[str, str]]) -> None:
    spec = mapping(external_id={"hash": ["a", "b"]}, drop=["id", "note", "a", "b"], fields={"narrative": None})
    rows = rows_of(spec, *(line() + f',"{a}","{b}"' for a, b in pairs), header=HEADER + ",a,b")
    keys = [row.key for row in rows if row.record is not None]
    assert len(set(keys)) == len(keys)


def test_a_row_with_an_id_keeps_it_and_one_without_gets_a_key() -> None:
    spec = mapping(external_id={"column": "id", "hash": ["note"]})
    first, second = rows_of(spec, line(id="A1"), line(id=""))
    assert (kept(first).external_id, first.key) == ("A1", None)
    assert (kept(second).external_id, second.key) == (PLACEHOLDER, b"4:note,5:quiet,")


def test_to_be_hashed_alone_does_not_keep_a_value() -> None:
    header = HEADER + ",a"
    said = {"external_id": {"hash": ["a"]}, "drop": ["id"]}
    with pytest.raises(InvalidFile, match="what becomes of some columns: a"):
        one(mapping(**said), line() + ",1", header=header)
    assert kept(one(mapping(**said, unmapped="extra"), line() + ",1", header=header)).extra == {"a": "1"}
    assert kept(one(mapping(**{**said, "drop": ["id", "a"]}), line() + ",1", header=header)).extra is None


def test_a_row_with_nothing_to_hash_is_refused() -> None:
    row = one(mapping(external_id={"hash": ["note"]}, drop=["id"]), line(note=""))
    assert reasons(row) == [("note → external_id", "none of its columns has a value")]
