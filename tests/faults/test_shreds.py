"""A sample of the long run in tests/faults/shreds.py (`make soak`): what is destroyed is destroyed whole, whatever is killed."""

import pytest

from tests.faults.shreds import campaign
from tests.faults.shreds import soak as soak  # for tests/soak

pytestmark = [pytest.mark.db, pytest.mark.unmeasured]
SEED = 20261127


def test_each_record_is_readable_or_destroyed_when_server_key_process_and_database_are_killed() -> None:
    found = campaign("shreds", SEED, 6)
    assert found["faults"] == []
    assert found["destroyed"] > 50


def test_keys_that_are_left_are_noticed() -> None:
    found = campaign("shreds-control", SEED, 1, careless=True)
    assert found["faults"]
    assert {fault.partition(":")[0] for fault in found["faults"]} == {"half"}
