"""A real keys database, made by the real migration, reached as the role that the hub uses; and real tokens of SoftHSM."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from hub import localdb
from hub.crypto.hsm import HsmRootKey
from hub.crypto.keyring import Keyring
from hub.crypto.providers import FileRootKey
from hub.db import KEYS_ROLE, MIGRATIONS
from tests.softhsm import Token, tokens

ROOT = bytes(range(32))
# Not tmp_path: pytest keeps that to the user who runs the tests, and for root the server runs as `postgres`.
SCRATCH = Path(__file__).parent.parent.parent / ".local"


@pytest.fixture(scope="session")
def keys_cluster() -> Iterator[localdb.Cluster]:
    SCRATCH.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="crypto-", dir=SCRATCH))
    folder.chmod(0o755)
    cluster = localdb.ensure(folder / "cluster", durable=False)
    yield cluster
    localdb.stop(cluster)
    shutil.rmtree(folder)


@pytest.fixture
def keys_admin(keys_cluster: localdb.Cluster) -> Iterator[sa.Engine]:
    """A fresh, migrated keys database, as its administrator (the attacker of the tamper tests)."""
    name = f"keys_{uuid4().hex}"
    server = sa.create_engine(keys_cluster.url(), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
    admin = sa.create_engine(keys_cluster.url(name), poolclass=sa.NullPool)
    with admin.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS / "keys"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.exec_driver_sql(f"ALTER ROLE {KEYS_ROLE} PASSWORD 'made-up'")
    yield admin
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def keys_engine(keys_admin: sa.Engine) -> Iterator[sa.Engine]:
    """The engine that the hub would have: the keys role, whose rights are part of what is tested."""
    url = keys_admin.url.set(username=KEYS_ROLE, password="made-up")
    engine = sa.create_engine(url, pool_size=8, hide_parameters=True)
    yield engine
    engine.dispose()


@pytest.fixture
def new_process(keys_engine: sa.Engine) -> Callable[[], Keyring]:
    """Makes keyrings that remember nothing: each is what a process has just after its start."""
    return lambda: Keyring(FileRootKey(ROOT), keys_engine)


@pytest.fixture
def keyring(new_process: Callable[[], Keyring]) -> Keyring:
    return new_process()


@pytest.fixture
def new_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Token]:
    return tokens(tmp_path / "hsm", monkeypatch)


@pytest.fixture
def token(new_token: Callable[..., Token]) -> Token:
    return new_token()


@pytest.fixture
def root(token: Token) -> HsmRootKey:
    return HsmRootKey.create(*token.place())
