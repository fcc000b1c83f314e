"""Sessions that skip the hub and speak SQL to PostgreSQL with the application's own passwords, and seals made by hand."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
import sqlalchemy as sa

from hub.datasets import DATASETS
from hub.db import Transaction
from hub.sharing.context import Admission, Reach, seal
from hub.sharing.live import LiveGrant, LiveRefusal, Policies
from tests.world import World

INCIDENT = DATASETS["incidents"]
ENGINES = {
    "hub_reader": "reader",
    "hub_writer": "writer",
    "hub_auditor": "auditor",
    "hub_agreements": "agreements",
    "hub_keyd": "main",
    "hub_keys": "keys",
    "hub_sequencer": "engine",
}
KEYD_ROLES = ("hub_keyd", "hub_keys")


@contextmanager
def session(world: World, role: str, database: str | None = None) -> Iterator[Any]:
    """A psycopg2 connection as `role`, in autocommit, to the database that role works in, or to another."""
    held = world.keyd.database if role in KEYD_ROLES else world.sequencing if role == "hub_sequencer" else world.database
    url: sa.URL = getattr(held, ENGINES[role]).url
    connection = psycopg2.connect(
        host=url.host, port=url.port, user=role, password=url.password, dbname=database or url.database, connect_timeout=5
    )
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def rows(connection: Any, statement: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of the last statement in `statement`."""
    with connection.cursor() as cursor:
        cursor.execute(statement, tuple(arguments) or None)
        return cursor.fetchall() if cursor.description else []


def begin(connection: Any, client: str) -> Admission:
    """Begins a transaction; gives what the hub would be told."""
    return Admission(*rows(connection, "begin; select * from hub.admit(%s)", (client,))[0])


def live(world: World, connection: Any, organisation: str, purpose: str = "research") -> tuple[LiveGrant, ...]:
    """The grants that hold now; `connection` is in a transaction of hub_reader."""
    return clauses(world, connection, organisation, purpose)[0]


def clauses(
    world: World, connection: Any, organisation: str, purpose: str = "research"
) -> tuple[tuple[LiveGrant, ...], tuple[LiveRefusal, ...]]:
    """The grants and the refusals that hold now."""
    admitted = Admission(*rows(connection, "select * from hub.admit(%s)", (organisation,))[0])
    policy = Policies("incidents").at(Transaction(connection, {}), admitted.epoch, admitted.wall)
    number = next(n for n, slug in policy.names.items() if slug == organisation)
    grants = policy.live(number, purpose, "query", INCIDENT.number, admitted.wall)
    return grants, policy.refused(number, INCIDENT.number, admitted.wall)


def sealed(
    world: World,
    connection: Any,
    organisation: str,
    purpose: str = "research",
    *,
    reach: Reach | None = None,
    ttl_s: int = 5,
    key: bytes | None = None,
) -> str:
    """Begins a transaction and gives the context that the hub would enter it with."""
    admitted = begin(connection, organisation)
    grants, refusals = clauses(world, connection, organisation, purpose)
    return seal(key or world.database.secrets.context, INCIDENT, admitted, 1, purpose, grants, refusals, ttl_s, reach or Reach())


@contextmanager
def refused() -> Iterator[list[str]]:
    """Expects PostgreSQL to say insufficient_privilege (42501)."""
    codes: list[str] = []
    try:
        yield codes
    except psycopg2.Error as error:
        codes.append(error.pgcode or "")
    assert codes == ["42501"]
