"""`hub publish`: a file goes in as its mapping says, every refused row is named, and what was interrupted goes on."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hub.client import Client
from tests.commands import Run, refused, serving
from tests.world import World, feature

MAPPING = {
    "dataset": "incidents",
    "format": "csv",
    "zone": "America/Toronto",
    "external_id": {"column": "id"},
    "place": {"lon": "lon", "lat": "lat"},
    "fields": {
        "category": {"column": "kind", "map": {"THEFT": "theft", "FIRE": "fire"}},
        "occurred_at": {"column": "at", "time": "%Y-%m-%d %H:%M"},
        "narrative": {"column": "note"},
    },
}
HEAD = ("id", "at", "kind", "lon", "lat", "note")


@pytest.fixture(scope="module")
def served(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    world.organisation("police")
    with serving(world, tmp_path_factory.mktemp("profile"), "police") as profile:
        yield profile


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.yaml"
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(MAPPING, file)
    return path


def rows(prefix: str, count: int, **odd: dict[str, str]) -> bytes:
    """A CSV file of `count` rows; `odd` gives other values to the row of a number (`r7={"kind": "?"}`)."""
    out = io.StringIO()
    file = csv.DictWriter(out, HEAD)
    file.writeheader()
    for n in range(1, count + 1):
        row = {"id": f"{prefix}-{n}", "at": "2021-03-04 13:37", "kind": "THEFT", "lon": "-79.38", "lat": "43.65", "note": f"Note {n}"}
        file.writerow(row | odd.get(f"r{n}", {}))
    return out.getvalue().encode()


def stored(world: World, prefix: str) -> dict[str, tuple[int, str]]:
    """External id → revision and category, as they are in the store."""
    with world.superuser() as connection:
        found = connection.exec_driver_sql(
            "select external_id, rev, category from hub.incidents where external_id like %s", (f"{prefix}-%",)
        )
        return {name: (rev, category) for name, rev, category in found}


def test_a_file_is_published_and_again_changes_nothing(world: World, bare: Run, served: Path, mapping: Path, tmp_path: Path) -> None:
    file = tmp_path / "incidents.csv"
    file.write_bytes(rows("A", 4_321, r2={"kind": "FIRE"}))
    ran = bare("publish", file, "--mapping", mapping, "--as", served)
    assert (ran.code, ran.err) == (0, "")
    assert "4,321 rows: 4,321 landed, 0 updated, 0 unchanged, 0 refused" in ran.out
    found = stored(world, "A")
    assert len(found) == 4_321
    assert (found["A-2"], found["A-3"]) == ((1, "fire"), (1, "theft"))
    ran = bare("publish", file, "--mapping", mapping, "--as", served)
    assert ran.code == 0
    assert "0 landed, 0 updated, 4,321 unchanged, 0 refused" in ran.out
    assert stored(world, "A") == found


def test_refused_rows_are_named_counted_and_copied_out_to_be_mended(
    world: World, bare: Run, served: Path, mapping: Path, tmp_path: Path
) -> None:
    file, left = tmp_path / "incidents.csv", tmp_path / "left.csv"
    file.write_bytes(rows("B", 30, r3={"kind": "ARSON"}, r7={"at": "yesterday", "note": "two\nlines"}, r30={"kind": "ARSON"}))
    ran = bare("publish", file, "--mapping", mapping, "--as", served, "--refused", left)
    assert ran.code == 3
    assert "30 rows: 27 landed" in ran.out
    assert "ARSON" not in ran.out  # the hub keeps no value of a refused row
    reasons = [line.split() for line in ran.out.splitlines() if "→" in line]
    assert [r[:6] for r in reasons if "category" in r] == [["kind", "→", "category", "2", "4,", "32"]]
    assert left.read_bytes() == rows("B", 30, r3={"kind": "ARSON"}, r7={"at": "yesterday", "note": "two\nlines"}, r30={"kind": "ARSON"})[
        : len(",".join(HEAD)) + 2
    ] + b"".join(
        row
        for row in (
            b"B-3,2021-03-04 13:37,ARSON,-79.38,43.65,Note 3\r\n",
            b'B-7,yesterday,THEFT,-79.38,43.65,"two\nlines"\r\n',
            b"B-30,2021-03-04 13:37,ARSON,-79.38,43.65,Note 30\r\n",
        )
    )
    mended = tmp_path / "mended.csv"
    mended.write_bytes(left.read_bytes().replace(b"ARSON", b"FIRE").replace(b"yesterday", b"2021-03-03 10:00"))
    assert bare("publish", mended, "--mapping", mapping, "--as", served).code == 0
    assert len(stored(world, "B")) == 30
    assert bare("publish", file, "--mapping", mapping, "--as", served, "--refused", left).code == 1  # it is not overwritten


def test_a_dry_run_tells_and_stores_nothing(world: World, bare: Run, served: Path, mapping: Path, tmp_path: Path) -> None:
    file = tmp_path / "incidents.csv"
    file.write_bytes(rows("C", 2_500, r9={"lat": "x"}))
    ran = bare("publish", file, "--mapping", mapping, "--as", served, "--dry-run")
    assert ran.code == 3
    assert "2,500 rows: 2,499 would land, 0 updated, 0 unchanged, 1 refused" in ran.out
    assert stored(world, "C") == {}


def test_what_was_interrupted_goes_on_where_it_was(
    world: World, bare: Run, served: Path, mapping: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "incidents.csv"
    file.write_bytes(rows("D", 12_000))
    part, offsets = Client._part, []

    def interrupted(self: Client, address: str, source: Any, job: Any, *rest: Any) -> Any:
        offsets.append(job["offset"])
        if len(offsets) > 1:
            return part(self, address, source, job, *rest)
        headers = {"Upload-Offset": "0", "Upload-Complete": "?0"}
        self._send("PATCH", address, content=file.read_bytes()[:400_000], headers=headers)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Client, "_part", interrupted)
        ran = bare("publish", file, "--mapping", mapping, "--as", served)
        assert ran.code == 130
        assert "run the same command again" in ran.out
        some = stored(world, "D")
        assert 0 < len(some) < 12_000
        ran = bare("publish", file, "--mapping", mapping, "--as", served)
    assert ran.code == 0
    assert "12,000 rows: 12,000 landed" in ran.out
    assert offsets[0] == 0 < offsets[1] <= 400_000
    found = stored(world, "D")
    assert len(found) == 12_000
    assert {rev for rev, _ in found.values()} == {1}


def test_geojson_needs_no_mapping_as_a_collection_or_one_feature_a_line(world: World, bare: Run, served: Path, tmp_path: Path) -> None:
    features = [feature(f"E-{n}") for n in range(3)]
    collection, lines = tmp_path / "all.geojson", tmp_path / "lines.geojsonl"
    collection.write_text(json.dumps({"type": "FeatureCollection", "features": features}, indent=1))
    lines.write_text("".join(json.dumps(f) + "\n" for f in [*features, feature("E-3"), feature("E-4", category="jaywalking")]))
    assert "3 rows: 3 landed" in bare("publish", collection, "--as", served).out
    ran = bare("publish", lines, "--as", served)
    assert ran.code == 3
    assert "5 rows: 1 landed, 0 updated, 3 unchanged, 1 refused" in ran.out


def test_mistakes_are_one_sentence(bare: Run, served: Path, mapping: Path, tmp_path: Path) -> None:
    file = tmp_path / "incidents.csv"
    file.write_bytes(rows("F", 3))
    refused(bare("publish", tmp_path / "none.csv", "--mapping", mapping, "--as", served), "none.csv can't be read")
    refused(bare("publish", file, "--mapping", tmp_path / "none.yaml", "--as", served), "none.yaml can't be read")
    odd = tmp_path / "odd.yaml"
    odd.write_text(mapping.read_text().replace("category", "catgory"))
    refused(bare("publish", file, "--mapping", odd, "--as", served), "catgory", "line")
    file.write_bytes(rows("F", 3).replace(b"kind", b"sort"))
    ran = bare("publish", file, "--mapping", mapping, "--as", served)
    assert ran.code == 1
    assert "kind" in ran.err
    assert "Traceback" not in ran.err


def test_imports_are_listed_and_an_open_one_is_cancelled(bare: Run, served: Path, mapping: Path, tmp_path: Path) -> None:
    file = tmp_path / "incidents.csv"
    file.write_bytes(rows("G", 7))
    assert bare("publish", file, "--mapping", mapping, "--as", served).code == 0
    newest = bare("imports", "list", "--as", served).out.splitlines()[1].split()
    assert newest[3:] == ["done", "7", "7", "0", "0", "0"]
    refused(bare("imports", "cancel", newest[2], "--as", served), "the hub answered 409", "it is done")
    about = json.loads(served.read_text())
    with Client(about["base_url"], "police", served.with_name("police.pem").read_bytes(), scope="publish") as client:
        job = client._send("POST", "/collections/incidents/imports", json={"mapping": MAPPING})
    assert "Cancelled. 0 rows" in bare("imports", "cancel", job["id"], "--as", served).out
    assert bare("imports", "list", "--as", served).out.splitlines()[1].split()[2:4] == [job["id"], "cancelled"]
    assert "There are no imports." not in bare("imports", "list", "--as", served).out
