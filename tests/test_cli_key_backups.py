"""`hub keys backup | restore | backups`: a lost keys database comes back as it was; what was shredded doesn't, half of it never does."""

import hashlib
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from hub.crypto import backup, restore
from hub.crypto.providers import FileRootKey
from hub.errors import Tampered
from hub.settings import read_settings
from hub.setup import addresses_of
from hub.workers import key_backups
from tests.commands import Run, environment, refused
from tests.test_cli_root_change import Killed, killed
from tests.world import World, build, feature, grant

CANARY = "A canary sings at the harbour"


@pytest.fixture
def shared(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path, tmp_path: Path) -> Iterator[World]:
    """A hub whose key process has a folder of its own: root keys are changed."""
    own = tmp_path / "state"
    own.mkdir()
    for name in ("roles.key", "context.key", "token.pem"):
        if (state / name).exists():
            shutil.copy(state / name, own)
    shutil.copytree(state / "keyd", own / "keyd")
    with build(*databases(), own) as world:
        for slug in ("police", "health"):
            world.organisation(slug)
        fields = {"category": "clear", "narrative": "clear", "place": {"grid_m": 500}}
        world.mou(tmp_path, "MOU-1", "police", "health", [grant(fields=fields)])
        assert world.publish("police", *(feature(f"P-{n}", narrative=CANARY) for n in range(5))).status_code == 201
        assert shown(world) == [CANARY] * 5
        world.keyd.copying = Idle()  # type: ignore[assignment]
        yield world


class Idle:
    """Stands for the copies of the hub's own key process, which tells on standard output when the keys database is lost."""

    behind_s = 0.0

    def run(self) -> None:
        return None


@pytest.fixture
def hub(shared: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in environment(shared).items():
        monkeypatch.setenv(name, value)
    return bare


@pytest.fixture
def file(hub: Run, tmp_path: Path) -> Path:
    """A backup."""
    ran = hub("keys", "backup", tmp_path / "keys.backup", "--note", "the safe")
    assert ran.code == 0, ran.err
    return tmp_path / "keys.backup"


def shown(world: World) -> list[str]:
    return [f["properties"].get("narrative") for f in world.items("health", "research")]


def keys(world: World) -> sa.Engine:
    return sa.create_engine(world.addresses.keys, poolclass=sa.NullPool)


def change(world: World, *statements: str) -> None:
    with keys(world).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def lose(world: World) -> None:
    """The keys database is made anew, as by `hub migrate`."""
    change(world, *(f"delete from keys.{table}" for table in ("dek", "kek", "signed", "shredded", "backups")))


def everything(world: World) -> dict[str, list[Any]]:
    with keys(world).begin() as connection:
        return {
            table: sorted(repr([_plain(value) for value in row]) for row in connection.exec_driver_sql(f"select * from keys.{table}"))
            for table in ("kek", "dek", "signed", "shredded", "backups")
        }


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def record(world: World, name: str) -> UUID:
    with world.superuser() as admin:
        return UUID(str(admin.exec_driver_sql(f"select id from hub.incidents where external_id = '{name}'").scalar_one()))


def test_a_lost_keys_database_comes_back_as_it_was(hub: Run, shared: World, file: Path) -> None:
    before = everything(shared)
    lose(shared)
    assert everything(shared)["dek"] == []
    ran = hub("keys", "restore", file)
    assert ran.code == 0, ran.err
    assert everything(shared) == before
    assert shown(shared) == [CANARY] * 5
    assert "nothing wrong." in hub("keys", "verify").out
    assert shared.publish("police", feature("P-9", narrative=CANARY)).status_code == 201  # numbers go on
    assert hub("keys", "rotate").code == 0
    assert shown(shared) == [CANARY] * 6


def test_the_file_shows_nothing_and_is_private(shared: World, file: Path) -> None:
    content = file.read_bytes()
    with keys(shared).begin() as connection:
        wrapped = [bytes(b) for (b,) in connection.exec_driver_sql("select row from keys.dek union all select wrapped from keys.kek")]
        ids = [UUID(str(r)).bytes for (r,) in connection.exec_driver_sql("select record from keys.dek")]
    assert len(wrapped) > 5
    assert not any(part[2:20] in content for part in (*wrapped, *ids))
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_list_tells_what_was_made_broken_off_and_destroyed(hub: Run, shared: World, file: Path, tmp_path: Path) -> None:
    refused(hub("keys", "backup", file), "is there already")
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, most[1]))
    try:
        ran = hub("keys", "backup", tmp_path / "too long")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    refused(ran, "too long can't be written")
    assert not list(tmp_path.glob("*too long*"))
    assert [line.split()[0:1] for line in hub("keys", "backups").out.splitlines()[1:]] == [["1"], ["2"]]
    listed = hub("keys", "backups").out.splitlines()
    assert hashlib.sha256(file.read_bytes()).hexdigest() in listed[1]
    assert "the safe" in listed[1]
    assert "kept" in listed[1]
    assert "broken off" in listed[2]
    assert hub("keys", "backups", "destroyed", 1).out == "Backup 1 is destroyed.\n"
    assert "destroyed 20" in hub("keys", "backups").out.splitlines()[1]
    refused(hub("keys", "backups", "destroyed", 7), "There is no backup 7")
    refused(hub("keys", "backups", "destroyed"), "Say which one")
    refused(hub("keys", "backup", "/proc/absent"), "can't be written")


def test_a_backup_under_a_root_key_that_was_changed_meanwhile_is_none(hub: Run, shared: World, tmp_path: Path) -> None:
    made = backup.Backups(keys(shared))
    with pytest.raises(Tampered), (tmp_path / "b").open("wb") as file:
        made.make(file, FileRootKey(bytes(32)), None, os.urandom)
    assert [b.sha256 for b in made.all_of()] == [None]


@pytest.mark.parametrize("known_to", ["the backup", "the keys database", "the main database"])
def test_a_record_that_was_shredded_stays_so_whoever_knows_it(hub: Run, shared: World, tmp_path: Path, known_to: str) -> None:
    gone = record(shared, "P-2")
    # The backup that knows it has its keys all the same: as one that was made while they were being shredded.
    buried = f"insert into keys.shredded (record) values ('{gone}')"
    if known_to == "the backup":
        change(shared, "alter table keys.dek disable trigger user", buried)
    assert hub("keys", "backup", tmp_path / "b").code == 0
    lose(shared)
    change(shared, "alter table keys.dek enable trigger user", *([buried] if known_to == "the keys database" else []))
    if known_to == "the main database":
        with shared.superuser() as admin:
            admin.exec_driver_sql("set session_replication_role = replica")  # past the trigger that wants a leaf
            admin.exec_driver_sql(
                "with o as (insert into hub.shreds (event, provider, dataset, kind, records, keys_gone_at)"
                " select gen_random_uuid(), provider, 1, 'request', 1, now() from hub.incidents where id = %(r)s returning id)"
                " insert into hub.incidents_shredded (id, rev, revision_no, provider, digest, shred)"
                " select i.id, i.rev, i.revision_no, i.provider, '', o.id from hub.incidents i, o where i.id = %(r)s",
                {"r": str(gone)},
            )
    ran = hub("keys", "restore", tmp_path / "b")
    assert "2 data keys of shredded records were left out." in ran.out, ran  # of two classes
    with keys(shared).begin() as connection:
        assert connection.exec_driver_sql(f"select count(*) from keys.dek where record = '{gone}'").scalar_one() == 0
        assert connection.exec_driver_sql(f"select count(*) from keys.shredded where record = '{gone}'").scalar_one() == 1
    assert "nothing wrong." in hub("keys", "verify").out


def test_keys_that_are_there_are_not_replaced_unasked(hub: Run, shared: World, file: Path) -> None:
    assert shared.publish("police", feature("P-9", narrative=CANARY)).status_code == 201
    before = everything(shared)
    refused(hub("keys", "restore", file), "The keys database is not empty", "With --replace they are given up")
    assert everything(shared) == before
    assert hub("keys", "restore", file, "--replace").code == 0
    assert everything(shared) != before
    with keys(shared).begin() as connection:
        newest = f"select count(*) from keys.dek where record = '{record(shared, 'P-9')}'"
        assert connection.exec_driver_sql(newest).scalar_one() == 0


def test_keys_that_wrap_nothing_yet_are_no_keys(hub: Run, shared: World, file: Path) -> None:
    before = everything(shared)
    lose(shared)
    hub("keys", "status")  # makes the key of signatures
    assert hub("keys", "restore", file).code == 0
    assert everything(shared)["kek"] == before["kek"]


def test_a_backup_that_was_altered_changes_nothing(hub: Run, shared: World, file: Path) -> None:
    content, before = file.read_bytes(), everything(shared)
    for place in (3, 20, 60, 200, len(content) // 2, len(content) - 40, len(content) - 1):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        refused(hub("keys", "restore", file, "--replace"), "backup")
    file.write_bytes(content[:-500])
    refused(hub("keys", "restore", file, "--replace"), "The backup is damaged: it ends too early.")
    assert everything(shared) == before
    refused(hub("keys", "restore", file.with_name("absent")), "absent can't be read")


def test_restoring_that_breaks_off_anywhere_changes_nothing(hub: Run, shared: World, file: Path, tmp_path: Path) -> None:
    before, broken = everything(shared), 0
    settings = read_settings()
    for at in range(1, 100):
        with killed(tmp_path / "nowhere", at) as seen, suppress(Killed):
            key_backups.restore(settings, addresses_of(settings), file, replace=True, former=None)
        if seen.seen < at:
            break
        broken += 1
        assert everything(shared) == before
    assert broken > 10
    assert everything(shared)["dek"] == before["dek"]


def test_data_keys_of_former_keys_come_back_too(hub: Run, shared: World, tmp_path: Path) -> None:
    assert hub("keys", "rotate", "--class", "case").code == 0
    assert shared.publish("police", feature("P-9", narrative=CANARY)).status_code == 201
    assert hub("keys", "backup", tmp_path / "b").code == 0
    before = everything(shared)
    lose(shared)
    assert hub("keys", "restore", tmp_path / "b").code == 0
    assert {name: before[name] for name in ("kek", "dek", "signed")} == {
        name: everything(shared)[name] for name in ("kek", "dek", "signed")
    }
    assert shown(shared) == [CANARY] * 6


def test_a_backup_of_a_former_root_key_needs_that_key(hub: Run, shared: World, file: Path) -> None:
    assert hub("root-key", "change", "--to", "file").code == 0
    lose(shared)
    refused(hub("keys", "restore", file), "This root key does not open the backup: it was made under another one")
    (former,) = (shared.settings.state_dir / "keyd").glob("root.former-*.key")
    ran = hub("keys", "restore", file, "--former-key", former)
    assert ran.code == 0, ran.err
    former.unlink()
    assert "nothing wrong." in hub("keys", "verify").out
    assert shown(shared) == [CANARY] * 5


def test_the_chain_of_signatures_goes_on_where_it_was(hub: Run, shared: World, file: Path) -> None:
    for _ in range(3):
        shown(shared)
    with keys(shared).begin() as connection:
        head = connection.exec_driver_sql("select max(n) from keys.signed").scalar_one()
    wait_for_copies(shared, head)
    lose(shared)
    ran = hub("keys", "restore", file)
    assert "3 signatures made since were taken over from the log." in ran.out
    assert "nothing wrong." in hub("keys", "verify").out
    with keys(shared).begin() as connection:
        assert connection.exec_driver_sql("select max(n) from keys.signed").scalar_one() == head


def test_signatures_in_the_log_that_do_not_verify_are_not_taken_over(hub: Run, shared: World, file: Path) -> None:
    for _ in range(3):
        shown(shared)
    with keys(shared).begin() as connection:
        head = connection.exec_driver_sql("select max(n) from keys.signed").scalar_one()
    wait_for_copies(shared, head)
    with shared.superuser() as admin:
        admin.exec_driver_sql("set session_replication_role = replica")
        admin.exec_driver_sql(
            f"update hub.leaf_signatures set signature = set_byte(signature, 0, get_byte(signature, 0) # 1) where n = {head - 1}"
        )
    lose(shared)
    assert "1 signatures made since were taken over" in hub("keys", "restore", file).out


def wait_for_copies(world: World, head: int) -> None:
    from hub.workers.copying import copy

    copy(world.keyd.signer, world.keyd.database.main)
    with world.superuser() as admin:
        assert admin.exec_driver_sql("select max(n) from hub.leaf_signatures").scalar_one() == head


def test_the_lists_of_two_lives_of_a_database_go_together(hub: Run, shared: World, file: Path, tmp_path: Path) -> None:
    lose(shared)
    change(shared, "alter sequence keys.backups_id_seq restart")
    assert hub("keys", "backup", tmp_path / "of the second life").code == 0
    assert hub("keys", "restore", file).code == 0
    with keys(shared).begin() as connection:
        found = connection.exec_driver_sql("select id, note, sha256 is not null from keys.backups order by id").all()
    assert [tuple(row) for row in found] == [(1, None, True), (2, "the safe (was number 1)", True)]


def test_a_snapshot_is_of_one_moment_and_read_page_by_page(
    hub: Run, shared: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "AT_ONCE", 2)
    original, written = backup._pages, list[int]()

    def pages(*arguments: Any, **more: Any) -> Iterator[Any]:
        for page in original(*arguments, **more):
            written.append(len(page))
            shared.publish("police", feature(f"late-{len(written)}", narrative=CANARY))
            yield page

    monkeypatch.setattr(backup, "_pages", pages)
    assert hub("keys", "backup", tmp_path / "b").code == 0
    assert max(written) == 2
    late = sum(1 for _ in written)
    assert late > 5
    with (tmp_path / "b").open("rb") as content:
        found = restore.verify(content, shared.keyd.keyring._root)
    assert (found.deks, found.end.deks if found.end else 0) == (10, 10)
    lose(shared)
    assert hub("keys", "restore", tmp_path / "b").code == 0
    told = hub("keys", "verify").out.splitlines()
    assert len([line for line in told if "its keys are gone" in line]) == late
    assert told[-1].startswith("10 data keys, ")


def test_a_running_key_process_is_not_restored_under(hub: Run, shared: World, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_KEYD_SOCKET", str(shared.settings.keyd_socket))
    refused(hub("keys", "restore", file), "A key process listens at")
