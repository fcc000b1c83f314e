"""A disk that is full: 503, nothing half-stored; with room again the hub goes on. The cluster lies on a small disk in memory."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg2
import pytest

from tests.faults.kills import flowing
from tests.faults.ledger_check import faults, stored
from tests.faults.load import ITEMS, Client, Ledger, Load
from tests.faults.stand import CantMount, Stand, small_disk, stand, wait_until
from tests.faults.test_database_down import assert_unavailable, record_body, until_it_works

pytestmark = pytest.mark.db
MEGABYTE = 1 << 20
SEED = 20261122


@pytest.fixture(scope="module")
def where() -> Iterator[Stand]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(stand("full", disk=small_disk))
        except CantMount as error:  # in a container without rights, say; the long run ends with this error instead
            pytest.skip(f"NOT TESTED: a full disk: {error}")
        yield made


def fill(where: Stand) -> Path:
    """A file that takes all the room there is."""
    ballast = where.main.home / "socket" / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(where.main.home).free - MEGABYTE)
    return ballast


def test_a_full_disk_is_503_and_with_room_again_the_hub_goes_on(where: Stand) -> None:
    ledger = Ledger()
    with Load(where, ledger, SEED):
        flowing(ledger)
        ballast = fill(where)
        wait_until(lambda: ledger.statuses[503] > 20, f"503 while the disk is full {ledger.wrong[:3]}")
        ballast.unlink()
        where.raise_databases()
        flowing(ledger)
    assert faults(where, ledger) == []


def test_a_disk_too_full_for_the_write_ahead_log_loses_nothing(where: Stand) -> None:
    """PostgreSQL ends by itself then; started again, with room, it holds all that was acknowledged."""
    ledger = Ledger()
    with Load(where, ledger, SEED):
        flowing(ledger)
    before = set(stored(where))
    ballast = fill(where)

    def has_ended() -> bool:
        with suppress(psycopg2.Error):  # that is the fault
            where.sql("select pg_logical_emit_message(false, 'fill', 'it'), pg_switch_wal()")
        return where.main.pid() is None

    wait_until(has_ended, "PostgreSQL ends when it can't write its log")
    police = Client(where, "police")
    assert_unavailable(police.ask("POST", ITEMS, record_body("full")))
    ballast.unlink()
    where.raise_databases()
    until_it_works(police, "POST", ITEMS, record_body("room"))
    police.close()
    assert before <= set(stored(where))
    assert faults(where, ledger) == []
