"""A sample of the long run in tests/faults/kills.py (`make soak`): nothing acknowledged is lost, nothing disclosed is unlogged."""

from collections.abc import Iterator

import pytest

from tests.faults import ledger_check
from tests.faults.kills import KILLS, POINTS, flowing, kill_often, leave_out_leaves, lose, strike
from tests.faults.kills import soak as soak  # for tests/soak
from tests.faults.ledger_check import faults
from tests.faults.load import Ledger, Load
from tests.faults.stand import Stand, stand
from tests.faults.tree_check import tree_faults

pytestmark = pytest.mark.db
SEED = 20261122


def test_nothing_acknowledged_is_lost_and_nothing_disclosed_unlogged_when_server_and_database_are_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = Ledger()
    with stand("kills") as where:
        kills = kill_often(where, ledger, SEED, 18)
        assert [*faults(where, ledger), *tree_faults(where)] == []
        hashes = ledger_check.signed(where)
        monkeypatch.setattr(ledger_check, "signed", lambda _: set(sorted(hashes)[::2]))
        unsigned = faults(where, ledger)
    assert {sentence.partition(":")[0] for sentence in unsigned} == {"unlogged"}, "the control: disclosures without a signature are noticed"
    assert set(kills) == {kill.__name__ for kill in KILLS}
    assert len(ledger.receipts) > 100
    assert sum(ledger.seen.values()) > 100


def test_at_no_named_point_is_anything_lost_or_disclosed_unlogged() -> None:
    """Of the sequencer, the server and the key process, one after the other."""
    ledger = Ledger()
    with stand("points") as where:
        with Load(where, ledger, SEED):
            for process, points in POINTS.items():
                for point in points:
                    flowing(ledger)
                    strike(where, process, point)
                    where.start()
            flowing(ledger)
        assert [*faults(where, ledger), *tree_faults(where)] == []


@pytest.fixture(scope="module")
def control() -> Iterator[Stand]:
    with stand("control") as where:
        yield where


def test_a_hub_that_leaves_pages_out_of_the_log_is_caught(control: Stand) -> None:
    control.server.kill()
    control.server.sabotage = leave_out_leaves
    control.server.start()
    ledger = Ledger()
    with Load(control, ledger, SEED):
        for _ in range(20):
            flowing(ledger)
    found = faults(control, ledger)
    control.server.kill()
    control.server.sabotage = None
    control.server.start()
    assert found
    assert {f.partition(":")[0] for f in found} == {"unlogged"}


def test_a_database_that_acknowledges_before_it_writes_does_lose(control: Stand) -> None:
    assert lose(control, Ledger(), SEED)
