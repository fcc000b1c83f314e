"""Ways to the database: one pool of connections per role, migrations, and the secrets that PostgreSQL shares with the hub.

Nobody runs as the owner: `reader` holds rights on released views only, `writer` fills inboxes, `auditor` reads the log,
`agreements` changes what MOUs are in force. The key process has roles and a password of its own: `keyd` looks up what the log shows,
`keys` reaches nothing but the keys database. So has the sequencer, whose role takes waiting leaves into the tree.
"""

import hmac
import secrets
import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from psycopg2 import sql
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from sqlalchemy.exc import DBAPIError, DisconnectionError, InvalidRequestError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hub.errors import Refused, Unavailable
from hub.private_file import write_new

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
ROLES = ("hub_reader", "hub_writer", "hub_auditor", "hub_agreements")
KEYD_ROLE, KEYS_ROLE, SEQUENCER_ROLE = "hub_keyd", "hub_keys", "hub_sequencer"
LEAST_VERSION = 15
_DEAD_AGAIN = "This connection is closed"  # the pool's, where the one that it made in a dead one's place is dead, too
# PostgreSQL's: server gone or starting, disk full, out of memory, statement ended, lock not had in time.
_PASSING = ("08", "53", "57", "58", "55P03")


# No such table, column, function, schema or type: another version's database, or an empty one.
_UNPREPARED = ("42P01", "42703", "42883", "3F000", "42704")
EXTENSIONS = {"postgis": "postgresql-NN-postgis-3", "intarray": "postgresql-contrib", "pgcrypto": "postgresql-contrib"}


@dataclass(frozen=True)
class Secrets:
    """What the hub and its databases both know. Made once, mode 0600, in the state folder."""

    roles: bytes
    context: bytes

    def password(self, role: str) -> str:
        return _password(self.roles, role)


@dataclass(frozen=True)
class RolesSecret:
    """What one process and the databases both know, and no serving process: the key process, or the sequencer. Kept in its own folder."""

    roles: bytes

    def password(self, role: str) -> str:
        return _password(self.roles, role)


def _password(secret: bytes, role: str) -> str:
    return hmac.digest(secret, role.encode(), "sha256").hex()


@dataclass(frozen=True)
class Database:
    """The engines of one process. None of them reaches the keys."""

    secrets: Secrets
    reader: sa.Engine
    writer: sa.Engine
    auditor: sa.Engine
    agreements: sa.Engine

    def dispose(self) -> None:
        for engine in (self.reader, self.writer, self.auditor, self.agreements):
            engine.dispose()


@dataclass(frozen=True)
class KeydDatabase:
    """The engines of the key process."""

    main: sa.Engine
    keys: sa.Engine

    def dispose(self) -> None:
        self.main.dispose()
        self.keys.dispose()


def read_secrets(folder: Path) -> Secrets:
    """The secrets in `folder`, made when they are missing.

    Raises:
        Refused: the folder can't be written, or a secret can be read by others.
    """
    return Secrets(secret_file(folder / "roles.key"), secret_file(folder / "context.key"))


def read_roles_secret(folder: Path) -> RolesSecret:
    """The secret in the `folder` of the key process or the sequencer, made when it is missing.

    Raises:
        Refused: as for `read_secrets`.
    """
    return RolesSecret(secret_file(folder / "roles.key"))


def secret_file(path: Path) -> bytes:
    """32 random bytes kept at `path` (mode 0600), made on first use."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with suppress(FileExistsError):  # a process that started together with this one was first
                write_new(path, secrets.token_bytes(32))
        if path.stat().st_mode & 0o077:
            raise Refused(f"{path} can be read by other users; make it mode 0600")
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"the state folder can't be used: {path}: {error.strerror}") from None


def connect(main: sa.URL, shared: Secrets, *, pool_size: int = 8, timeout_s: int = 30) -> Database:
    """Engines for every role of a serving process; `main` is the administrator's address, whose user and password are not used."""
    engines = (_engine(main, role, shared.password(role), pool_size, timeout_s) for role in ROLES)
    return Database(shared, *engines)


def connect_keyd(main: sa.URL, keys: sa.URL, secret: RolesSecret, *, pool_size: int = 8, timeout_s: int = 30) -> KeydDatabase:
    """Engines for the roles of the key process."""
    places = ((main, KEYD_ROLE), (keys, KEYS_ROLE))
    return KeydDatabase(*(_engine(url, role, secret.password(role), pool_size, timeout_s) for url, role in places))


def connect_sequencer(main: sa.URL, secret: RolesSecret) -> sa.Engine:
    """The engine of the sequencer: a connection that holds its lock, one for its work, one for its watch over the log."""
    return _engine(main, SEQUENCER_ROLE, secret.password(SEQUENCER_ROLE), 3, 30)


def _engine(url: sa.URL, role: str, password: str, pool_size: int, timeout_s: int) -> sa.Engine:
    made = sa.create_engine(
        url.set(username=role, password=password),
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_use_lifo=True,
        connect_args={"connect_timeout": 5, "application_name": role, "options": f"-c statement_timeout={timeout_s}s"},
    )
    sa.event.listen(made, "checkout", _refuse_dead)
    return made


def _refuse_dead(connection: Any, _record: object, _proxy: object) -> None:
    """Has the pool replace a connection whose server ended: that shows in the socket, and looking costs no round trip."""
    waiting = select.poll()
    if not connection.closed:
        waiting.register(connection, select.POLLIN)
    if connection.closed or waiting.poll(0):
        raise DisconnectionError("PostgreSQL closed this connection.")


class Transaction:
    """One transaction on a raw psycopg2 connection."""

    def __init__(self, connection: Any, known: dict[str, Any]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._prepared: set[str] = known.setdefault("prepared", set())

    def rows(self, statement: str, arguments: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Runs one message; of several statements in it the rows of the last are given."""
        self._cursor.execute(statement, arguments)
        return self._cursor.fetchall() if self._cursor.description else []

    def prepare(self, name: str, text: str) -> None:
        """Prepares `text` as `name` in this session, once: planning a released view costs more than reading a page of it."""
        if name not in self._prepared:
            self._cursor.execute(f"prepare {name} {text}")
            self._prepared.add(name)

    def copy(self, statement: str, file: Any) -> None:
        self._cursor.copy_expert(statement, file)


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[Transaction]:
    """A raw connection of `engine` in autocommit: the caller says BEGIN and COMMIT, in the message where they cost nothing. A
    transaction that is open at the end is rolled back.

    Raises:
        Unavailable: the database is down, restarting, full, or too busy to give a connection in time.
    """
    with passing_faults():
        pooled = engine.raw_connection()
        connection = pooled.dbapi_connection
        try:
            if connection is None:
                raise Unavailable("The database gave no connection.")
            connection.autocommit = True
            yield Transaction(connection, pooled.info)
        finally:
            # Nobody else is given a connection that failed mid-way, or whose transaction would not end.
            if connection is not None and not _rolled_back(connection):
                pooled.invalidate()
            elif connection is not None:
                connection.autocommit = False
            pooled.close()


def _rolled_back(connection: Any) -> bool:
    if connection.closed:
        return False
    if connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
        try:
            with connection.cursor() as cursor:
                cursor.execute("rollback")
        except psycopg2.Error:
            return False
    return True


@contextmanager
def passing_faults() -> Iterator[None]:
    """Turns a fault of the database that passes by itself into Unavailable (503); others are defects and stay what they are."""
    try:
        yield
    except PoolTimeout:
        raise Unavailable("All database connections are busy; try again shortly.") from None
    except InvalidRequestError as error:
        if str(error) == _DEAD_AGAIN:
            raise Unavailable("The database closes its connections; nothing was disclosed. Try again shortly.") from error
        raise
    except (psycopg2.Error, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "pgcode", None) or ""
        if code.startswith(_UNPREPARED):
            raise Unavailable("The database is not set up for this version of the hub: run `hub migrate`.") from error
        if (isinstance(cause, psycopg2.Error) and lost(cause)) or code.startswith(_PASSING):
            raise Unavailable("The database is not reachable or out of room; nothing was disclosed. Try again shortly.") from error
        raise


def lost(error: psycopg2.Error) -> bool:
    """Whether the connection went, so that nobody knows what became of the last statement. Where it breaks at some moments libpq has no
    message, and psycopg2 raises a DatabaseError of no further kind.
    """
    known = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) or type(error) is psycopg2.DatabaseError
    return known and error.pgcode is None


def risky_settings(engine: sa.Engine) -> list[str]:
    """Settings of the server under which a committed transaction may be lost in a crash; none when it can't be asked just now."""
    try:
        with transaction(engine) as tx:
            return [name for name in ("fsync", "synchronous_commit", "full_page_writes") if tx.rows(f"show {name}") == [("off",)]]
    except Unavailable:
        return []


def migrate(main: sa.URL, keys: sa.URL, shared: Secrets, keyd: RolesSecret, sequencer: RolesSecret | None) -> None:
    """Brings both databases to this version, making them when missing. Run as their administrator; doing it twice is harmless. `sequencer`:
    None where its secret is on another machine; its password stays.

    Raises:
        Refused: the server is too old, lacks an extension, or the user may not do it; one sentence each.
    """
    for url in (main, keys):
        _create_database(url)
    with _one_at_a_time(main):
        _migrate(main, keys, shared, keyd, sequencer)


@contextmanager
def _one_at_a_time(url: sa.URL) -> Iterator[None]:
    # Roles belong to the whole server, and PostgreSQL refuses two changes of one at once ("tuple concurrently updated"); an advisory
    # lock holds within one database, so all take it in the same.
    with _administrator(url.set(database="postgres")) as connection:
        connection.execute(sa.text("select pg_advisory_xact_lock(7201, 4)"))
        yield


def _migrate(main: sa.URL, keys: sa.URL, shared: Secrets, keyd: RolesSecret, sequencer: RolesSecret | None) -> None:
    _upgrade(main, "hub")
    _upgrade(keys, "keys")
    with _administrator(main) as connection:
        _close(connection, main, "temporary")
        for role in ROLES:
            _set_password(connection, role, shared.password(role))
        _set_password(connection, KEYD_ROLE, keyd.password(KEYD_ROLE))
        if sequencer is not None:
            _set_password(connection, SEQUENCER_ROLE, sequencer.password(SEQUENCER_ROLE))
        connection.execute(sa.text("delete from hub.seal_key"))
        connection.execute(sa.text("insert into hub.seal_key values (:k)"), {"k": shared.context})
    with _administrator(keys) as connection:
        _close(connection, keys, "temporary, connect")
        raw = connection.connection.cursor()
        raw.execute(sql.SQL("grant connect on database {} to {}").format(sql.Identifier(str(keys.database)), sql.Identifier(KEYS_ROLE)))
        _set_password(connection, KEYS_ROLE, keyd.password(KEYS_ROLE))


def _close(connection: sa.Connection, url: sa.URL, rights: str) -> None:
    # Rights on a database are neither in its dump nor in a copy made from a template: said again each time.
    raw = connection.connection.cursor()
    raw.execute(sql.SQL("revoke {} on database {} from public").format(sql.SQL(rights), sql.Identifier(str(url.database))))


def _set_password(connection: sa.Connection, role: str, password: str) -> None:
    # A password can't be a parameter of ALTER ROLE.
    raw = connection.connection.cursor()
    raw.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(password)))


@contextmanager
def _administrator(url: sa.URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        raise Refused(f"The database {url.database} at {url.host or 'the local socket'} can't be reached: {_first_line(error)}") from None
    except (DBAPIError, psycopg2.Error) as error:
        raise Refused(f"The database {url.database} can't be set up: {_first_line(error)}") from None
    finally:
        engine.dispose()


def _first_line(error: DBAPIError | psycopg2.Error) -> str:
    return str(error.orig if isinstance(error, DBAPIError) else error).strip().splitlines()[0].removeprefix("ERROR:").strip()


@contextmanager
def owner_transaction(url: sa.URL) -> Iterator[Transaction]:
    """A transaction as hub_owner, for the operator's commands; `url` is the administrator's address. The caller commits.

    Raises:
        Unavailable: the database can't be reached.
    """
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with transaction(engine) as tx:
            tx.rows("begin; set local role hub_owner; set local search_path = pg_catalog, public; set local timezone = 'UTC'")
            yield tx
    finally:
        engine.dispose()


def _create_database(url: sa.URL) -> None:
    engine = sa.create_engine(url.set(database="postgres"), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            version = connection.scalar(sa.text("select current_setting('server_version_num')::int / 10000"))
            if version is None or version < LEAST_VERSION:
                raise Refused(f"PostgreSQL {LEAST_VERSION} or newer is needed; this server is {version}")
            offered = set(connection.scalars(sa.text("select name from pg_available_extensions")))
            for extension, package in EXTENSIONS.items():
                if extension not in offered:
                    raise Refused(f"This PostgreSQL server lacks the extension {extension}; install {package} of its version.")
            if not connection.scalar(sa.text("select true from pg_database where datname = :n"), {"n": url.database}):
                name = sql.Identifier(str(url.database)).as_string(connection.connection.dbapi_connection)  # type: ignore[arg-type]
                connection.exec_driver_sql(f"create database {name} encoding 'UTF8' template template0")
    except OperationalError as error:
        raise Refused(f"The database server at {url.host or 'the local socket'} can't be reached: {_first_line(error)}") from None
    except DBAPIError as error:
        raise Refused(f"The database {url.database} can't be made: {_first_line(error)}") from None
    finally:
        engine.dispose()


def _upgrade(url: sa.URL, branch: str) -> None:
    with _administrator(url) as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS / branch))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
