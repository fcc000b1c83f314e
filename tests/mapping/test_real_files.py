"""Real files of partners by their mappings: how many rows are kept, and why the others are not.

Every count was found a second time without this code, as is said beside it: by cut, awk and grep, or by the law on clocks.
"""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import cos, hypot, radians
from pathlib import Path

import pytest

from hub.datasets import DATASETS
from hub.datasets.incidents import Incident
from hub.mapping.reading import Reading, Row
from hub.mapping.spec import Mapping, load_mapping
from tests.mapping.making import drained, kept, read, reasons

pytestmark = pytest.mark.unmeasured

DATA = Path(__file__).parents[3] / "shared" / "data"
EXAMPLES = Path(__file__).parents[2] / "docs" / "mappings"
GOLDEN = Path(__file__).with_name("golden_mappings")
M_PER_DEGREE = 111_320

NO_PLACE = "Longitude, Latitude → place: has no value"
TWICE = "is a local time that there was twice: the clocks went back (`ambiguous` chooses)"


@dataclass(frozen=True)
class Case:
    file: str
    mapping: Path
    rows: int
    kept: int
    keys: int  # rows kept without an id of their own
    ids: int  # distinct external ids and keys among those kept
    refused: dict[str, int] = field(default_factory=dict)


CASES = [
    # No local time in it falls into an hour that the clocks skipped or went through twice.
    Case("incidents/us_montgomery_pa_911_calls_noheader.csv", EXAMPLES / "montgomery-911.yaml", 3_051, 3_051, 3_051, 3_040),
    # Twice: cut -d, -f3 | grep -cE '^11/(5/2017|4/2018|3/2019) 1:' (the first Sundays of November).
    Case(
        "incidents/us_chicago_crimes_2017_2019.csv",
        EXAMPLES / "chicago.yaml",
        rows=25_000,
        kept=24_996,
        keys=0,
        ids=24_996,
        refused={f"date → occurred_at: {TWICE}": 4},
    ),
    # Twice: hour 1 of the last Sunday of October (to 2006) or the first of November (from 2007), as the law has it.
    Case(
        "incidents/us_nypd_shooting_incidents_historic.csv",
        EXAMPLES / "nypd-shootings.yaml",
        rows=20_659,
        kept=20_642,
        keys=20_642,
        ids=18_094,
        refused={f"OCCUR_DATE, OCCUR_TIME → occurred_at: {TWICE}": 17},
    ),
    # Besides: grep -cE '"[0-9]{1,3},[0-9]{3}(,[0-9]{3})?"', thousands with commas; two rows are refused for both reasons.
    Case(
        "incidents/us_nypd_shooting_incidents_historic.csv",
        GOLDEN / "nypd-state-plane.yaml",
        rows=20_659,
        kept=19_693,
        keys=19_693,
        ids=18_672,
        refused={
            f"OCCUR_DATE, OCCUR_TIME → occurred_at: {TWICE}": 17,
            "X_COORD_CD, Y_COORD_CD → place: is not a number in plain digits": 951,
        },
    ),
    # Twice: cut -d, -f2 | grep -c '^2017-11-05 01'.
    Case(
        "incidents/us_minneapolis_police_stops_2017.csv",
        EXAMPLES / "minneapolis-stops.yaml",
        rows=51_920,
        kept=51_908,
        keys=0,
        ids=51_908,
        refused={f"date → occurred_at: {TWICE}": 12},
    ),
    Case("incidents/us_tempe_opioid_calls.csv", EXAMPLES / "tempe-ems.yaml", 3_379, 3_379, 3_379, 3_357),
    # No place: awk -F, 'NR>1 && $5==""'. Keys: rows with a place and without a Crime ID, all of anti-social behaviour.
    Case(
        "incidents/uk_nottinghamshire_street_2018-10.csv", EXAMPLES / "nottinghamshire.yaml", 11_900, 11_764, 2_634, 10_885, {NO_PLACE: 136}
    ),
    Case(
        "load/uk_nottinghamshire_street_2018-10_2019-02.csv",
        EXAMPLES / "nottinghamshire.yaml",
        rows=56_032,
        kept=55_416,
        keys=11_273,
        ids=51_717,
        refused={NO_PLACE: 616},
    ),
    Case("incidents/uk_city_of_london_street_2018-10.csv", EXAMPLES / "nottinghamshire.yaml", 782, 730, 126, 676, {NO_PLACE: 52}),
    # No place: awk -F, 'NR>1 && $5==""'. One row, placed, names no object of search.
    Case(
        "incidents/uk_city_of_london_stop_and_search_2019-06.csv",
        GOLDEN / "london-stop-and-search.yaml",
        rows=167,
        kept=139,
        keys=139,
        ids=139,
        refused={NO_PLACE: 27, "Object of search → category: has no value": 1},
    ),
    # No place: rows whose X Coordinate (State Plane) is empty; the same have no Latitude.
    Case(
        "incidents/us_nyc_311_service_requests_2022-05-01.csv",
        GOLDEN / "nyc-311.yaml",
        rows=924,
        kept=913,
        keys=0,
        ids=913,
        refused={"X Coordinate (State Plane), Y Coordinate (State Plane) → place: has no value": 11},
    ),
    # No place: grep -c ',NA,NA,NA,NA$'.
    Case(
        "incidents/us_charlottesville_addresses_geocoded.csv",
        GOLDEN / "charlottesville-addresses.yaml",
        rows=3_598,
        kept=3_544,
        keys=3_544,
        ids=3_544,
        refused={"lon, lat → place: has no value": 54},
    ),
]


@pytest.fixture(scope="module")
def data() -> Path:
    if not DATA.is_dir() and not os.environ.get("CI"):
        pytest.skip("the shared test data are not beside this repository")
    return DATA


def spec(path: Path) -> Mapping:
    return load_mapping(path.read_bytes(), DATASETS)


def rows_in(file: Path, mapping: Path) -> list[Row]:
    with file.open("rb") as opened:
        pieces: Iterator[bytes] = iter(lambda: opened.read(1 << 16), b"")
        return drained(Reading(spec(mapping), Incident), pieces, 500)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{Path(c.file).stem} by {c.mapping.stem}")
def test_a_real_file_is_read_as_it_was_counted(case: Case, data: Path) -> None:
    rows = rows_in(data / case.file, case.mapping)
    good = [row for row in rows if row.record is not None]
    refused = Counter(f"{p.field}: {p.reason}" for row in rows for p in row.problems)
    assert refused == case.refused
    assert (len(rows), len(good)) == (case.rows, case.kept)
    assert not any(row.flags for row in rows)
    assert sum(row.key is not None for row in good) == case.keys
    assert len({row.key or kept(row).external_id for row in good}) == case.ids


def metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    return hypot((a[0] - b[0]) * cos(radians(a[1])), a[1] - b[1]) * M_PER_DEGREE


def test_feet_of_new_yorks_state_plane_lie_where_its_degrees_do(data: Path) -> None:
    file = data / "incidents/us_nypd_shooting_incidents_historic.csv"
    degrees = {row.number: kept(row).place for row in rows_in(file, EXAMPLES / "nypd-shootings.yaml") if row.record}
    feet = {row.number: kept(row).place for row in rows_in(file, GOLDEN / "nypd-state-plane.yaml") if row.record}
    apart = sorted(metres(place, degrees[n]) for n, place in feet.items())
    assert len(apart) == 19_693
    assert apart[len(apart) // 2] < 1
    assert apart[-1] < 5


def test_feet_of_service_requests_lie_where_their_degrees_do(data: Path) -> None:
    rows = rows_in(data / "incidents/us_nyc_311_service_requests_2022-05-01.csv", GOLDEN / "nyc-311.yaml")
    for record in (kept(row) for row in rows if row.record):
        extra = record.extra or {}
        assert metres(record.place, (float(str(extra["Longitude"])), float(str(extra["Latitude"])))) < 5


def test_nothing_of_a_row_is_lost(data: Path) -> None:
    """Each value of Nottinghamshire's file is in the record."""
    file = data / "incidents/uk_nottinghamshire_street_2018-10.csv"
    rows = rows_in(file, EXAMPLES / "nottinghamshire.yaml")
    with file.open(newline="") as opened:
        for cells, row in zip(csv.DictReader(opened), rows, strict=True):
            if row.record is None:
                continue
            record = kept(row)
            assert [float(cells["Longitude"]), float(cells["Latitude"])] == list(record.place)
            assert f"{record.occurred_until:%Y-%m}" == cells["Month"]
            told = {*(record.extra or {}).values(), record.external_id, record.title, record.address}
            assert {v for name, v in cells.items() if v and name not in ("Longitude", "Latitude", "Month")} <= told


# --- the traps of the demo's packages, in rows made up in their form ---------------------------------------------------

TORONTO = (
    "occurrencedate,occurrencehour,premises_type,occurrencemonth,occurrencedayofweek,MCI,Neighbourhood,occurrenceday,"
    "occurrencedayofyear,Pub_Id,Park_Id,PS_Id,Lat,Long\n"
)


def toronto(date: str, hour: str, kind: str = "Assault") -> str:
    return f"{date},{hour},House,March,Sunday    ,{kind},Somewhere (1),2,61,0,0,0,43.7,-79.6\n"


def test_torontos_hours_are_local_and_its_midnights_utc() -> None:
    text = TORONTO + toronto("2014/03/02 05:00:00+00", "8") + toronto("2014/07/02 04:00:00+00", "23", "Auto Theft")
    winter, summer = (kept(row) for row in read(spec(EXAMPLES / "toronto.yaml"), text.encode()))
    assert (winter.occurred_at.isoformat(), str(winter.occurred_until)) == ("2014-03-02T13:00:00+00:00", "2014-03-02 13:59:59+00:00")
    assert (summer.occurred_at.isoformat(), summer.category) == ("2014-07-03T03:00:00+00:00", "vehicle-theft")
    assert summer.extra == {"Neighbourhood": "Somewhere (1)", "premises_type": "House"}


@pytest.mark.parametrize(
    ("date", "hour", "reason"),
    [
        ("2014/03/09 05:00:00+00", "2", "did not exist"),
        ("2014/11/02 04:00:00+00", "1", "there was twice"),
        ("2014/11/02 03:00:00+00", "5", "is not a time as"),
        ("2014/11/02 04:00:00+00", "", "in some of its columns only"),
    ],
)
def test_torontos_doubtful_hours_are_refused(date: str, hour: str, reason: str) -> None:
    (row,) = read(spec(EXAMPLES / "toronto.yaml"), (TORONTO + toronto(date, hour)).encode())
    assert [reason in why for _, why in reasons(row)] == [True, True]


def test_west_yorkshires_rows_without_id_or_place() -> None:
    header = (
        "Crime ID,Month,Reported by,Falls within,Longitude,Latitude,Location,LSOA code,LSOA name,Crime type,Last outcome category,Context\n"
    )
    force = "West Yorkshire Police,West Yorkshire Police"
    text = header + f",2018-07,{force},-1.5,53.6,On or near A Street,E1,Leeds 1,Anti-social behaviour,,\n"
    text += f"ab12,2018-07,{force},,,No Location,,,Burglary,Under investigation,\n"
    first, second = read(spec(EXAMPLES / "west-yorkshire.yaml"), text.encode())
    assert first.key is not None
    assert kept(first).category == "disorder"
    assert reasons(second) == [("Longitude, Latitude → place", "has no value")]
