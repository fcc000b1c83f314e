"""The log keeps the name that it was given first: witnesses and auditors know it by that."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.audit.leaf import By, Event, event_id
from hub.audit.log import Log
from hub.audit.notes import Note
from hub.errors import Refused
from hub.private_file import write_new
from hub.settings import Settings
from hub.setup import Addresses, log_verifier, open_database, prepare
from hub.workers.sequencing import Sequencing, log_key
from tests.world import log_files, socket_folder

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture
def settings(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path, tmp_path: Path) -> tuple[Settings, Addresses]:
    """A state folder of its own: the tests' hubs share theirs, and this log is called otherwise. Roles are of the whole server."""
    log_files(state, tmp_path / "log")
    for name in ("roles.key", "keyd/roles.key"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_new(tmp_path / name, (state / name).read_bytes())
    made = Settings(state_dir=tmp_path, base_url="https://hub.example/here"), Addresses(*databases())
    prepare(*made)
    return made


def test_another_base_url_later_does_not_rename_it(settings: tuple[Settings, Addresses]) -> None:
    first, addresses = settings
    assert log_key(first).key.name == log_verifier(first).name == "hub.example/here/audit"
    moved = first.model_copy(update={"base_url": "https://elsewhere.example"})
    prepare(moved, addresses)
    assert log_key(moved).key == log_verifier(moved) == log_key(first).key


def test_another_name_is_refused_and_the_same_is_not(settings: tuple[Settings, Addresses]) -> None:
    first, addresses = settings
    prepare(first.model_copy(update={"log_name": "hub.example/here/audit"}), addresses)
    with pytest.raises(Refused, match=r"is other/audit, and the audit log is called hub\.example/here/audit: a log's name never changes"):
        prepare(first.model_copy(update={"log_name": "other/audit"}), addresses)


def test_a_key_that_is_not_that_of_the_name_is_refused(settings: tuple[Settings, Addresses], tmp_path: Path) -> None:
    (tmp_path / "log" / "log.key").write_bytes(bytes(32))
    with pytest.raises(Refused, match="are not of one key"):
        log_key(settings[0])


def test_a_sequencer_without_the_name_is_refused(state: Path) -> None:
    with socket_folder() as folder:
        log_files(state, folder / "log")
        with pytest.raises(Refused, match="Run `hub migrate`"):
            log_key(Settings(state_dir=state, log_dir=folder / "log"))


def test_a_key_that_was_taken_to_another_machine_is_not_made_anew_and_signs_from_there(settings: tuple[Settings, Addresses]) -> None:
    """An upgrade runs where the database is administered; the log's key need not be there."""
    here, addresses = settings
    key = log_verifier(here)
    with socket_folder() as elsewhere:
        (here.state_dir / "log").rename(elsewhere / "log")
        prepare(here, addresses)
        assert not (here.state_dir / "log").exists()
        assert log_verifier(here) == key
        there = Settings(state_dir=elsewhere, log_dir=elsewhere / "log")
        working = Sequencing(there, addresses)
        try:
            log = Log(open_database(here, addresses).auditor)
            log.record(Event(event_id(NOW, bytes(10)), "test", NOW, By("x"), "permit"))
            assert working.sequencer.take() == 1
        finally:
            working.close()
        with sa.create_engine(addresses.main).connect() as admin:
            note = admin.exec_driver_sql("select note from hub.checkpoints order by size desc limit 1").scalar_one()
        assert Note.read(note).signed_by(key)
