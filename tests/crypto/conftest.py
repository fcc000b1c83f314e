"""A real keys database, and real tokens of SoftHSM."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub import localdb
from hub.crypto.hsm import HsmRootKey
from hub.crypto.keyring import Keyring
from hub.crypto.providers import FileRootKey
from tests.crypto.database import as_the_hub, new_cluster, new_database
from tests.softhsm import Token, tokens

ROOT = bytes(range(32))


@pytest.fixture(scope="session")
def keys_cluster() -> Iterator[localdb.Cluster]:
    with new_cluster() as cluster:
        yield cluster


@pytest.fixture
def keys_admin(keys_cluster: localdb.Cluster) -> Iterator[sa.Engine]:
    """A fresh, migrated keys database, as its administrator (the attacker of the tamper tests)."""
    with new_database(keys_cluster) as admin:
        yield admin


@pytest.fixture
def keys_engine(keys_admin: sa.Engine) -> Iterator[sa.Engine]:
    """The engine that the hub would have."""
    engine = as_the_hub(keys_admin)
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
