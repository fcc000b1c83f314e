"""A sample of the long run in tests/imports/kills.py (`ONLY=imports make soak`)."""

import pytest

from tests.imports.kills import campaign, position_apart, small_batches
from tests.imports.kills import soak as soak  # for tests/soak

pytestmark = pytest.mark.db
SEED = 20261122


@pytest.mark.parametrize("ids", ["in a column", "hashed"])
def test_an_import_that_is_killed_and_resumed_lands_each_row_exactly_once(ids: str) -> None:
    found = campaign("import-kills", SEED, 3, 5_000, ids == "hashed", 0.6, small_batches)
    assert found["faults"] == []
    assert sum(found["kills"].values()) == 3


def test_a_position_that_is_committed_apart_from_its_rows_is_found_out() -> None:
    """Control."""
    assert campaign("import-control", SEED, 5, 5_000, False, 0.3, position_apart)["faults"]
