"""Real PostgreSQL from real migrations: one private cluster, one template, a clone of it for each test module."""

import fcntl
import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from coverage import Coverage

# Before anything imports them: their assertions are to explain themselves, too.
pytest.register_assert_rewrite("tests.imports.sending", "tests.api.asking")

from hub import db, localdb  # noqa: E402
from hub.crypto import providers  # noqa: E402
from hub.settings import Settings  # noqa: E402
from hub.setup import Addresses, prepare  # noqa: E402
from tests.commands import Run, in_process  # noqa: E402
from tests.world import World, build  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
HOME = ROOT / ".local" / "test"


def pytest_configure() -> None:
    """Whatever a shell starts in the background ignores SIGINT, and so would the processes that tests start and end by it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that uses a database is marked so; `make check` leaves those out."""
    for item in items:
        if {"cluster", "world", "databases"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("db")


@pytest.fixture(scope="module", autouse=True)
def _measuring(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measuring coverage makes a test take up to three times as long. A module marked `unmeasured` runs again, thousands of times, what
    others run too: it is not measured, from before its hub starts until that has stopped.
    """
    measuring: list[Coverage] = []
    if request.node.get_closest_marker("unmeasured"):
        while current := Coverage.current():  # in a worker of xdist there are two: where one stops, the other goes on
            current.stop()
            measuring.append(current)
    yield
    for one in reversed(measuring):
        one.start()


@pytest.fixture(scope="session", autouse=True)
def _stretched_once() -> Iterator[None]:
    """Each hub opens the root key twice, by the same passphrase, which is slow to stretch on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(providers, "_file_cipher", cache(providers._file_cipher))
        yield


@pytest.fixture(scope="session")
def cluster() -> localdb.Cluster:
    """The private cluster of the tests: without fsync, shared by all workers, left running for the next run."""
    return localdb.ensure(HOME / "pg", durable=False)


@pytest.fixture(scope="session")
def state(cluster: localdb.Cluster) -> Path:
    """Secrets of the tests' hubs. Role passwords belong to the whole server, so all workers share them."""
    folder = HOME / "state"
    folder.mkdir(parents=True, exist_ok=True)
    with (HOME / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        db.read_secrets(folder)
        _make_template(cluster, folder)
    return folder


def _template() -> str:
    digest = hashlib.sha256()
    for path in sorted((ROOT / "migrations").rglob("*.*")):
        if path.suffix in (".py", ".sql"):
            digest.update(path.read_bytes())
    return f"template_{digest.hexdigest()[:12]}"


def _stale(database: str, template: str) -> bool:
    """Left by an ended process, or a template of other migrations; never a running process's."""
    kind, _, rest = database.partition("_")
    if kind == "test":
        return not Path(f"/proc/{rest.partition('_')[0]}").exists()
    return kind == "template" and not database.startswith(template)


def _make_template(cluster: localdb.Cluster, folder: Path) -> None:
    name = _template()
    engine = sa.create_engine(cluster.url(), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        names = set(connection.scalars(sa.text("select datname from pg_database")))
        stale = sorted(n for n in names if _stale(n, name))
        threading.Thread(target=_drop, args=(cluster, stale), daemon=True).start()  # hundreds, after a whole run: nobody waits for them
        if f"{name}_done" not in names:
            for part in (name, f"{name}_keys"):
                connection.exec_driver_sql(f'drop database if exists "{part}" with (force)')
            prepare(Settings(state_dir=folder), Addresses(sa.make_url(cluster.url(name)), sa.make_url(cluster.url(f"{name}_keys"))))
            connection.exec_driver_sql(f"create database {name}_done")
    engine.dispose()


def _drop(cluster: localdb.Cluster, names: list[str]) -> None:
    """What another process drops at the same time, or what is left when the tests end, is no matter."""
    engine = sa.create_engine(cluster.url(), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with suppress(sa.exc.DBAPIError), engine.connect() as connection:
        for name in names:
            connection.exec_driver_sql(f'drop database if exists "{name}" with (force)')


@pytest.fixture(scope="session")
def databases(cluster: localdb.Cluster, state: Path) -> Callable[[], tuple[sa.URL, sa.URL]]:
    """Makes a fresh pair of migrated databases."""

    def clone() -> tuple[sa.URL, sa.URL]:
        name = f"test_{os.getpid()}_{uuid4().hex[:8]}"
        engine = sa.create_engine(cluster.url(), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection, (HOME / "template.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for part, template in ((name, _template()), (f"{name}_keys", f"{_template()}_keys")):
                connection.exec_driver_sql(f'create database "{part}" template "{template}" strategy file_copy')
        engine.dispose()
        return sa.make_url(cluster.url(name)), sa.make_url(cluster.url(f"{name}_keys"))

    return clone


@pytest.fixture(scope="module")
def world(databases: Callable[[], tuple[sa.URL, sa.URL]], state: Path) -> Iterator[World]:
    """A hub with no partners yet, for one test module."""
    main, keys = databases()
    with build(main, keys, state) as built:
        yield built


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command as the entry point does, in this process, with nothing set."""
    return in_process(monkeypatch, capsys)
