"""`hub mapping init` and `hub mapping check`, as a records clerk uses them."""

from pathlib import Path

import pytest

from hub.datasets import DATASETS
from hub.errors import InvalidMapping
from hub.mapping.spec import load_mapping
from tests.commands import Run

HEADER = "Case Number,Date,Time,Offense,Block,Longitude,Latitude,Notes\n"


@pytest.fixture
def hub(bare: Run) -> Run:
    return lambda *words: bare("mapping", *words)


def row(n: int, day: str = "19/07/2017", time: str = "13:45", kind: str = "Burglary", lon: str = "-79.3812", note: str = "quiet") -> str:
    return f"A{n},{day},{time},{kind},{n} Main St,{lon},43.6512,{note}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cases.csv"
    kinds = ["Burglary", "Auto Theft", "Loitering", "Arson", "Kite flying"]
    path.write_text(HEADER + "".join(row(n, day=f"{n % 28 + 1:02}/07/2017", kind=kinds[n % 5]) for n in range(60)))
    return path


def decided(text: str) -> str:
    """What the clerk decides."""
    return text.replace('zone: "?"', "zone: America/Toronto").replace('"?"', "other")


def test_a_proposal_is_refused_until_its_doubts_are_decided_and_then_reads_every_row(hub: Run, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "mapping.yaml"
    ran = hub("init", file, "--out", out)
    assert ran.code == 0
    assert f"Wrote {out} with" in ran.out
    text = out.read_text()
    assert "external_id: {column: Case Number}" in text
    assert "place: {lon: Longitude, lat: Latitude}" in text
    assert 'occurred_at: {columns: [Date, Time], time: "%d/%m/%Y %H:%M"}' in text
    assert "Auto Theft: vehicle-theft" in text
    assert 'Kite flying: "?"  # ? 12 rows' in text
    with pytest.raises(InvalidMapping) as caught:
        load_mapping(text.encode(), DATASETS)
    assert [p.field for p in caught.value.problems] == ["fields.category.map.Kite flying", "zone"]
    out.write_text(decided(text))
    ran = hub("check", out, file)
    assert (ran.code, ran.err) == (0, "")
    assert "60 rows: 60 would be stored, 0 refused." in ran.out


def test_a_mapping_that_is_there_is_not_overwritten(hub: Run, file: Path, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("mine")
    ran = hub("init", file, "--out", tmp_path / "m.yaml")
    assert (ran.code, "not overwritten" in ran.err) == (1, True)
    assert (tmp_path / "m.yaml").read_text() == "mine"


def test_without_out_the_proposal_is_printed(hub: Run, file: Path) -> None:
    assert hub("init", file).out.startswith("# Proposed by `hub mapping init` from 60 rows.")


def test_days_that_fit_both_orders_are_left_to_the_clerk(hub: Run, tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_text(HEADER + "".join(row(n, day=f"{n % 12 + 1:02}/{n % 11 + 1:02}/2017") for n in range(40)))
    text = hub("init", file).out
    assert "Every day is 12 or less, so %d/%m/%Y %H:%M and %m/%d/%Y %H:%M both fit: which is it?" in text
    assert 'time: "?"' in text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((HEADER + row(1, note="Jürgen") + row(2)).encode("cp1252"), ["encoding: windows-1252"]),
        ((HEADER + row(1) + row(2)).replace(",", ";").encode("utf-8-sig"), ['delimiter: ";"']),
        ((HEADER + row(1) + row(2)).encode("utf-16-le"), ["encoding: utf-16-le"]),
        ((HEADER + row(1) + row(2)).encode("utf-16"), ["external_id: {column: Case Number}"]),
        ((HEADER + row(1, note="NA") + row(2)).encode(), ["# ? Read as no value: NA.", "empty: [NA]"]),
        ((HEADER + row(1) + row(1)).encode(), ["In Case Number, 0 rows have no value, and 1 have one that an earlier row has."]),
        ((HEADER + row(1) + row(2) + "x,y\n").encode(), ["1 rows have more or fewer values"]),
        ((row(1) + row(2)).encode(), ["header: [column 1, column 2,", "column 6 and column 7 look like degrees. Which is the longitude"]),
        ((row(1, lon="-95.3812") + row(2)).encode(), ["place: {lon: column 6, lat: column 7}"]),
        (
            (HEADER.replace("Longitude", "X").replace("Latitude", "Y") + row(1, lon="1161120").replace("43.65", "1858829")).encode(),
            ['crs: "?"', "coordinate reference system"],
        ),
        ((HEADER.replace("Longitude", "X").replace("Latitude", "Y") + row(1)).encode(), ['{lon: X, lat: "Y"}', "look like degrees"]),
        (b"Month,Kind\n2018-10,a\n2018-11,b\n", ['time: "%Y-%m", take: start', "take: end", 'place: {lon: "?", lat: "?"}']),
        (
            b'{"type":"Feature","geometry":{"type":"Point","coordinates":[1.5,2]},"properties":{"type":"Theft","at":"2020-01-02T03:04:05"}}\n',
            ["format: geojson-seq", "category:", 'time: "%Y-%m-%dT%H:%M:%S"'],
        ),
    ],
    ids=[
        "windows",
        "semicolon",
        "utf-16",
        "marked",
        "na",
        "repeated",
        "ragged",
        "no header",
        "west",
        "projected",
        "degrees",
        "months",
        "geojson",
    ],
)
def test_what_is_seen_in_a_file_is_proposed(hub: Run, tmp_path: Path, data: bytes, words: list[str]) -> None:
    file = tmp_path / "f.csv"
    file.write_bytes(data)
    ran = hub("init", file)
    assert ran.code == 0, ran.err
    assert [w for w in words if w not in ran.out] == [], ran.out
    with pytest.raises(InvalidMapping):  # readable YAML that the hub refuses for its doubts
        load_mapping(ran.out.encode(), DATASETS)


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "The file is empty"), (b'{"type":"FeatureCollection","features":[]}', "one Feature on each line")]
)
def test_a_file_that_holds_no_rows_is_told(hub: Run, tmp_path: Path, data: bytes, words: str) -> None:
    file = tmp_path / "f"
    file.write_bytes(data)
    ran = hub("init", file)
    assert (ran.code, words in ran.err) == (1, True)


MAPPING = """dataset: incidents
format: csv
zone: America/Toronto
external_id: {column: Case Number}
place: {lon: Longitude, lat: Latitude}
fields:
  category: {column: Offense, map: {Burglary: burglary}, otherwise: other}
  occurred_at: {columns: [Date, Time], time: "%d/%m/%Y %H:%M"}
  narrative: {column: Notes}
unmapped: extra
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text(MAPPING)
    return path


def test_a_check_shows_rows_with_where_each_value_came_from(hub: Run, spec: Path, file: Path) -> None:
    out = hub("check", spec, file).out
    head, under, first, *_ = out.splitlines()
    assert head.split()[:4] == ["line", "external_id", "category", "occurred_at"]
    assert "← Date, Time" in under
    assert first.split()[:4] == ["2", "A0", "burglary", "2017-07-01"]
    assert "2017-07-01 17:45:00Z" in first
    assert "-79.381200, 43.651200" in first
    assert len([line for line in out.splitlines() if "43.651200" in line]) == 10


def test_a_check_tells_every_doubt_with_its_count_and_exits_with_1_when_a_row_is_refused(hub: Run, spec: Path, tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    bad = [
        row(1),
        row(2, lon="-79").replace("43.6512", "43"),
        row(1),
        row(3, day="31/02/2017"),
        row(4, day="32/13/2017"),
        row(5, kind="Kite [x]"),
    ]
    file.write_text(HEADER + "".join(bad))
    ran = hub("check", spec, file)
    assert ran.code == 1
    assert "6 rows: 4 would be stored, 2 refused." in ran.out
    said = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert "Date, Time → occurred_at 2 5, 6 is not a time as %d/%m/%Y %H:%M says" in said
    assert "external_id 1 4 an id that an earlier row has: the later row replaces it" in said
    assert any(line.startswith("Longitude, Latitude → place 1 3 both coordinates are whole degrees") for line in said)
    assert "Kite [x] category 1" in said
    assert "occurred_at: 2017-07-19 17:45Z to 2017-07-19 17:45Z" in said
    assert "places: -79.3812, 43.0000 to -79.0000, 43.6512 (lon, lat)" in said


def test_a_file_that_can_not_be_read_on_is_told_after_what_was_seen(hub: Run, spec: Path, tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_text(HEADER + row(1) + row(2, note='"oh'))
    ran = hub("check", spec, file)
    assert ran.code == 1
    assert "1 rows: 1 would be stored" in ran.out
    assert "hub: The row that begins on line 3 has a quote that is never closed." in ran.err


def test_hashed_rows_that_are_equal_are_counted(hub: Run, spec: Path, tmp_path: Path) -> None:
    spec.write_text(MAPPING.replace("{column: Case Number}", "{hash: [Date, Block]}"))
    file = tmp_path / "f.csv"
    file.write_text(HEADER + row(1) + row(1) + row(2))
    ran = hub("check", spec, file)
    assert ran.code == 0
    assert "(hash)" in ran.out
    assert "equal in the hashed columns to an earlier row: told apart by order" in ran.out


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ("place: {lon: Longitude, lat: Latitude}", "place: {x: Longitude, y: Latitude, crs: 'EPSG:2263'}", "converted to within about 4 m"),
        ("%d/%m/%Y %H:%M", "%d/%m/%y %H:%M", "years of two digits"),
        ('{columns: [Date, Time], time: "%d/%m/%Y %H:%M"}', '{column: Date, time: "%d/%m/%Y", take: start}', "nothing says when it ended"),
    ],
)
def test_doubts_of_the_mapping_itself_are_notes(hub: Run, spec: Path, file: Path, old: str, new: str, note: str) -> None:
    assert old in MAPPING
    spec.write_text(MAPPING.replace(old, new))
    assert note in hub("check", spec, file).out


def test_mistakes_are_one_sentence_and_exit_code_1(hub: Run, spec: Path, file: Path, tmp_path: Path) -> None:
    for words in (
        ("init", tmp_path / "none"),
        ("check", tmp_path / "none", file),
        ("check", spec, tmp_path / "none"),
        ("check", spec, tmp_path),
    ):
        ran = hub(*words)
        assert (ran.code, ran.err.startswith("hub: "), "Traceback" in ran.err) == (1, True, False)
    assert "no dataset 'x'" in hub("init", file, "--dataset", "x").err
    assert "can't be written" in hub("init", file, "--out", tmp_path / "no" / "m.yaml").err
    spec.write_text(MAPPING.replace("unmapped", "unmaped"))
    ran = hub("check", spec, file)
    assert "unmaped: is not a word of the mapping vocabulary (line 10, column 1)" in ran.err
    assert ran.code == 1


def test_a_file_with_other_columns_names_those_that_are_near(hub: Run, spec: Path, tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    file.write_text(HEADER.replace("Offense", "Offence") + row(1))
    ran = hub("check", spec, file)
    assert "hub: The file lacks columns that the mapping names: Offense." in ran.err
    assert "did you mean 'Offence'?" in ran.err
