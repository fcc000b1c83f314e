"""The private cluster: made once, found again, stopped only by whoever started it, refused in plain words."""

import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from hub import localdb
from hub.errors import Refused

pytestmark = pytest.mark.db

# Not tmp_path: pytest keeps that to the user who runs the tests, and for root the server runs as `postgres`.
SCRATCH = Path(__file__).parent.parent / ".local"


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    if os.environ.get("HUB_DATABASE_URL"):
        pytest.skip("an existing server is used, so this machine needs none of its own")
    SCRATCH.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="localdb-", dir=SCRATCH))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(scratch: Path) -> Iterator[localdb.Cluster]:
    started = localdb.ensure(scratch / "shared", durable=False)
    yield started
    localdb.stop(started, "immediate")


def ask(cluster: localdb.Cluster, sql: str, password: str | None = None, **where: Any) -> Any:
    place: dict[str, Any] = {"host": "127.0.0.1", "port": cluster.port, "user": "postgres", "dbname": "postgres"}
    with closing(psycopg2.connect(**(place | where), password=password or cluster.password)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_a_new_cluster_answers_and_says_that_it_was_started_here(cluster: localdb.Cluster) -> None:
    assert cluster.started_here
    assert ask(cluster, "select count(*) from pg_available_extensions where name = 'postgis'") == 1


def test_its_url_is_one_that_sqlalchemy_reads(cluster: localdb.Cluster) -> None:
    from sqlalchemy import create_engine, text

    engine = create_engine(cluster.url("template1"))
    with engine.connect() as connection:
        assert connection.scalar(text("select current_database()")) == "template1"
    engine.dispose()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("listen_addresses", "127.0.0.1"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("lc_collate", "C.UTF-8"),
        ("jit", "off"),
        ("TimeZone", "UTC"),
        ("log_statement", "none"),
        ("log_min_error_statement", "panic"),
        ("password_encryption", "scram-sha-256"),
        ("fsync", "off"),
    ],
)
def test_the_settings_are_those_written_down(cluster: localdb.Cluster, setting: str, value: str) -> None:
    sql = "select datcollate from pg_database where datname = 'template0'" if setting == "lc_collate" else None
    assert ask(cluster, sql or f"show {setting}") == value


@pytest.mark.parametrize("through", ["the port", "the socket"])
def test_a_wrong_password_does_not_get_in(cluster: localdb.Cluster, through: str) -> None:
    where = {} if through == "the port" else {"host": ask(cluster, "show unix_socket_directories")}
    assert ask(cluster, "select 1", **where) == 1
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        ask(cluster, "select 1", password="guess", **where)


def test_a_failing_statement_does_not_reach_the_log(cluster: localdb.Cluster) -> None:
    with pytest.raises(psycopg2.errors.UndefinedTable):
        ask(cluster, "select 'a-canary-in-a-literal' from no_such_table")
    log = (cluster.home / "log").read_text()
    assert "no_such_table" in log
    assert "a-canary-in-a-literal" not in log


def test_nobody_else_can_read_its_files(cluster: localdb.Cluster) -> None:
    assert {name: mode(cluster.home / name) for name in (".", "data", "superuser-password", "lock", "log")} == {
        ".": "0o700",
        "data": "0o700",
        "superuser-password": "0o600",
        "lock": "0o600",
        "log": "0o600",
    }


def test_the_password_is_not_in_what_a_log_would_show(cluster: localdb.Cluster) -> None:
    assert cluster.password not in repr(cluster)


def test_the_server_never_runs_as_root(cluster: localdb.Cluster) -> None:
    pid = cluster.pid()
    assert pid is not None
    owner = Path(f"/proc/{pid}").stat().st_uid
    assert owner == (pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else os.geteuid())
    assert cluster.home.stat().st_uid == owner
    assert cluster.home.parent.stat().st_uid == os.geteuid()


def test_asking_again_finds_the_running_server(cluster: localdb.Cluster) -> None:
    again = localdb.ensure(cluster.home)
    assert (again.port, again.pid(), again.started_here) == (cluster.port, cluster.pid(), False)


def _ensure_elsewhere(home: Path, answers: Any) -> None:
    found = localdb.ensure(home, durable=False)
    answers.put((found.port, found.pid(), found.password, found.started_here))


def test_two_processes_at_once_get_one_server_and_one_of_them_started_it(scratch: Path) -> None:
    home = scratch / "two"
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    processes = [spawn.Process(target=_ensure_elsewhere, args=(home, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = (answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(10)
        process.close()
    assert first[:3] == second[:3]
    assert sorted((first[3], second[3])) == [False, True]
    localdb.stop(localdb.ensure(home))


@pytest.fixture(scope="module")
def stopped(scratch: Path) -> Iterator[localdb.Cluster]:
    """A cluster of its own for the tests that stop it: they start and stop it as they like."""
    made = localdb.ensure(scratch / "stopped", durable=False)
    ask(made, "create table kept as select 42 as answer")
    localdb.stop(made)
    yield made
    localdb.stop(made, "immediate")


def test_data_and_port_outlive_a_restart(stopped: localdb.Cluster) -> None:
    assert stopped.pid() is None
    again = localdb.ensure(stopped.home)
    assert (again.started_here, again.port, again.password) == (True, stopped.port, stopped.password)
    assert ask(again, "select answer from kept") == 42
    localdb.stop(again)
    localdb.stop(again)  # stopping what is down is no error


def test_a_taken_port_is_exchanged_for_a_free_one(stopped: localdb.Cluster) -> None:
    with socket.create_server(("127.0.0.1", stopped.port)):
        again = localdb.ensure(stopped.home)
    assert again.port != stopped.port
    assert ask(again, "select answer from kept") == 42
    localdb.stop(again)


def test_a_killed_server_is_seen_as_down_and_starts_again(stopped: localdb.Cluster) -> None:
    first = localdb.ensure(stopped.home)
    pid = first.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}/cwd").is_symlink() and first.pid():
        time.sleep(0.01)
    again = localdb.ensure(stopped.home)
    assert again.started_here
    assert ask(again, "select answer from kept") == 42
    localdb.stop(again)


def test_a_folder_too_deep_for_a_socket_gets_a_short_one_that_does_not_stay(scratch: Path) -> None:
    cluster = localdb.ensure(scratch / ("deep-" * 20) / "cluster", durable=False)
    sockets = Path(ask(cluster, "show unix_socket_directories"))
    assert len(str(sockets)) < 100
    assert mode(sockets) == "0o700"
    assert ask(cluster, "select 1", host=str(sockets)) == 1
    localdb.stop(cluster)
    assert not sockets.exists()


def test_shared_buffers_come_from_the_environment(stopped: localdb.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_PG_SHARED_BUFFERS", "64MB")
    cluster = localdb.ensure(stopped.home)
    assert ask(cluster, "show shared_buffers") == "64MB"
    localdb.stop(cluster)
    monkeypatch.setenv("HUB_PG_SHARED_BUFFERS", "lots")
    with pytest.raises(Refused, match="HUB_PG_SHARED_BUFFERS is 'lots'"):
        localdb.ensure(stopped.home)


@pytest.fixture
def as_ordinary_user() -> Iterator[None]:
    """For root the permission bits mean nothing, so be somebody else for the length of a test."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    yield
    os.seteuid(0)


@pytest.mark.usefixtures("as_ordinary_user")
def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(Refused, match=r"The folder /usr/lib/concord can't be written: Permission denied\."):
        localdb.ensure(Path("/usr/lib/concord"))


def test_a_folder_with_other_things_in_it_is_left_alone(scratch: Path) -> None:
    (scratch / "used").mkdir()
    (scratch / "used" / "thesis.txt").write_text("years of work")
    with pytest.raises(Refused, match=r"holds other things \(thesis\.txt\)"):
        localdb.ensure(scratch / "used")
    assert mode(scratch / "used") == "0o755"


def test_a_folder_that_the_server_cannot_reach_is_named(scratch: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's server runs as that user")
    (scratch / "closed").mkdir(mode=0o700)
    with pytest.raises(Refused, match=r"can't enter .*/closed: run `chmod o\+x"):
        localdb.ensure(scratch / "closed" / "cluster")


def programs(folder: Path, version: str, parts: str) -> Path:
    """A folder with programs that only know what to say when asked; `parts` are those of PostGIS that are there."""
    (folder / "bin").mkdir(parents=True)
    answers = {"postgres": f"postgres (PostgreSQL) {version} (Some 1.2)", "pg_config": f"{folder}/$1"}
    for name, answer in answers.items():
        (folder / "bin" / name).write_text(f'#!/bin/sh\necho "{answer}"\n')
        (folder / "bin" / name).chmod(0o755)
    for part, file in (("control", "--sharedir/extension/postgis.control"), ("library", "--pkglibdir/postgis-3.so")):
        if part in parts:
            (folder / file).parent.mkdir(parents=True)
            (folder / file).touch()
    return folder / "bin"


@pytest.mark.parametrize(
    ("installed", "sentence"),
    [
        ([], "PostgreSQL is not installed"),
        ([("14.9", "control library")], "PostgreSQL 14 is too old: the hub needs version 15 or newer"),
        ([("9.6.24", "control library")], "PostgreSQL 9 is too old"),
        ([("77.1", "")], "PostgreSQL 77 has no PostGIS"),
        ([("77.1", "control")], "PostgreSQL 77 has no PostGIS"),
        ([("77.1", "library")], "PostgreSQL 77 has no PostGIS"),
        ([("77beta1", ""), ("14.9", "control library")], "PostgreSQL 77 has no PostGIS"),
    ],
)
def test_an_unfit_server_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: list[tuple[str, str]], sentence: str
) -> None:
    folders = [programs(tmp_path / version, version, parts) for version, parts in installed]
    monkeypatch.setattr(localdb, "_candidates", lambda: folders)
    with pytest.raises(Refused, match=sentence):
        localdb.find_binaries()


def test_the_newest_server_with_postgis_is_taken_and_an_old_cluster_gets_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {v: programs(tmp_path / v, v, "control" if v == "78.0" else "control library") for v in ("77.2", "76.4", "78.0")}
    monkeypatch.setattr(localdb, "_candidates", lambda: list(folders.values()))
    assert localdb.find_binaries() == folders["77.2"]
    assert localdb.find_binaries(76) == folders["76.4"]
    with pytest.raises(Refused, match="made by PostgreSQL 75, which is no longer installed"):
        localdb.find_binaries(75)


def test_without_a_server_no_half_cluster_is_left(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localdb, "_candidates", list)
    with pytest.raises(Refused, match="run scripts/setup, or set HUB_DATABASE_URL"):
        localdb.ensure(scratch / "none")
    assert [path.name for path in (scratch / "none").iterdir()] == ["lock"]


def test_a_server_that_does_not_start_says_why(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = localdb.ensure(scratch / "broken", durable=False)
    localdb.stop(cluster, "immediate")
    with (cluster.data / "postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 1\n")
    monkeypatch.setattr(localdb, "ATTEMPTS", 1)
    with pytest.raises(Refused, match=r'does not start: .*configuration file ".*postgresql\.conf" contains errors'):
        localdb.ensure(cluster.home)


def test_a_lost_password_is_named(stopped: localdb.Cluster) -> None:
    (stopped.home / "superuser-password").rename(stopped.home / "elsewhere")
    try:
        with pytest.raises(Refused, match="has lost its superuser-password"):
            localdb.ensure(stopped.home)
    finally:
        (stopped.home / "elsewhere").rename(stopped.home / "superuser-password")


def test_a_folder_that_is_no_cluster_is_not_overwritten(scratch: Path) -> None:
    (scratch / "odd" / "data").mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(scratch / "odd" / "data", "postgres")
    with pytest.raises(Refused, match="is not a PostgreSQL cluster: move it away"):
        localdb.ensure(scratch / "odd")
