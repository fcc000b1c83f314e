"""Keys databases for tests: real ones, by the real migration, reached as the role that the hub uses."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from hub import localdb
from hub.db import KEYS_ROLE, MIGRATIONS

# Not a folder of pytest's: it keeps that to the user who runs the tests, and for root the server runs as `postgres`.
SCRATCH = Path(__file__).parent.parent.parent / ".local"


@contextmanager
def new_cluster() -> Iterator[localdb.Cluster]:
    """A cluster without fsync, gone at the end."""
    SCRATCH.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="crypto-", dir=SCRATCH))
    folder.chmod(0o755)
    cluster = localdb.ensure(folder / "cluster", durable=False)
    try:
        yield cluster
    finally:
        localdb.stop(cluster)
        shutil.rmtree(folder)


@contextmanager
def new_database(cluster: localdb.Cluster) -> Iterator[sa.Engine]:
    """A fresh, migrated keys database, as its administrator."""
    name = f"keys_{uuid4().hex}"
    server = sa.create_engine(cluster.url(), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
    admin = sa.create_engine(cluster.url(name), poolclass=sa.NullPool)
    with admin.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS / "keys"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.exec_driver_sql(f"ALTER ROLE {KEYS_ROLE} PASSWORD 'made-up'")
    try:
        yield admin
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def as_the_hub(admin: sa.Engine) -> sa.Engine:
    """The engine that the hub would have: the keys role, whose rights are part of what is tested."""
    return sa.create_engine(admin.url.set(username=KEYS_ROLE, password="made-up"), pool_size=8, hide_parameters=True)
