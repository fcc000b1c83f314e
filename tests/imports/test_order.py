"""Rows take effect in the order of the file, though batches are prepared ahead of each other."""

import pytest

from tests.imports.files import csv, row
from tests.imports.sending import path_of, rows, run, verdicts
from tests.world import World

pytestmark = pytest.mark.db
BATCH = 2_000


def test_a_record_that_comes_back_to_what_it_was_in_a_later_batch_ends_as_the_file_says(partners: World) -> None:
    """The second batch is prepared while the first is under way: what it found in the store then is not what it meets."""
    run(partners, csv([row(0, "BACK")]))
    filler = [row(n, "BACK") for n in range(1, BATCH)]
    changed = row(0, "BACK", story="changed")
    job = run(partners, csv([changed, *filler, row(0, "BACK")]))
    said = [v for v in verdicts(partners, path_of(job)) if v["row"] in (1, BATCH + 1)]
    assert [(v["outcome"], v["revision"]) for v in said] == [("updated", 2), ("updated", 3)]
    assert rows(partners, "select rev from hub.incidents where external_id = 'BACK-0'") == [(3,)]
