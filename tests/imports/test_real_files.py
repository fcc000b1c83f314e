"""Real files of partners through the API: what the mapping's golden counts promise is what lands, and again nothing changes."""

import os

import pytest
from ruamel.yaml import YAML

from tests.imports.sending import run
from tests.mapping.test_real_files import CASES, DATA, Case
from tests.world import World

# Of 604 rows with a place and a Crime ID: csv.DictReader, set() of the ids.
OWN_IDS = {"uk_city_of_london_street_2018-10.csv": 601}
SMALL = [case for case in CASES if case.rows < 4_000]


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.file.rpartition("/")[2])
def test_a_real_file_lands_as_its_golden_counts_say_and_again_nothing_changes(partners: World, case: Case) -> None:
    if not DATA.is_dir() and not os.environ.get("CI"):
        pytest.skip("the shared test data are not beside this repository")
    mapping = YAML(typ="safe", pure=True).load(case.mapping.read_text())
    file = (DATA / case.file).read_bytes()
    first, again = run(partners, file, mapping), run(partners, file, mapping)
    assert (first["state"], first["rows"], first["refused"]) == ("done", case.rows, case.rows - case.kept)
    # Rows whose id is made of their columns are told apart by their ordinal; an id of the partner's own that comes twice is an update.
    own_ids = OWN_IDS.get(case.file.rpartition("/")[2], case.ids if case.keys == 0 else 0)
    assert first["landed"] == case.keys + own_ids
    assert first["landed"] + first["updated"] + first["unchanged"] == case.kept
    assert (again["landed"], again["refused"]) == (0, first["refused"])
    if first["updated"] == 0:
        assert again["unchanged"] == case.kept
