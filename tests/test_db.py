"""Which faults of a database pass by themselves: they are told as such, and what is a defect stays one."""

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, DisconnectionError, InvalidRequestError

from hub import db, localdb
from hub.db import lost, passing_faults, transaction
from hub.errors import Unavailable

SILENT = psycopg2.DatabaseError("error with status PGRES_TUPLES_OK and no message from the libpq")
GONE = [
    psycopg2.OperationalError("server closed the connection unexpectedly"),
    psycopg2.InterfaceError("connection already closed"),
    SILENT,
]
DEFECTS = [psycopg2.DataError("invalid input"), psycopg2.IntegrityError("duplicate key"), psycopg2.ProgrammingError("no results to fetch")]


@pytest.mark.parametrize("error", GONE, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_connection_that_goes_whatever_psycopg2_calls_it_passes(error: psycopg2.Error, wrapped: bool) -> None:
    assert lost(error)
    with pytest.raises(Unavailable, match="nothing was disclosed"), passing_faults():
        raise DBAPIError("select 1", {}, error) if wrapped else error


@pytest.mark.parametrize("error", DEFECTS, ids=lambda e: type(e).__name__)
def test_a_defect_stays_one(error: psycopg2.Error) -> None:
    assert not lost(error)
    with pytest.raises(type(error)), passing_faults():
        raise error


def test_a_pool_whose_new_connections_are_dead_at_once_passes(cluster: localdb.Cluster) -> None:
    engine, refused = sa.create_engine(cluster.url()), []

    def refuse(connection: object, *_: object) -> None:
        if len(refused) < 2:
            refused.append(connection)
            raise DisconnectionError

    sa.event.listen(engine, "checkout", refuse)
    with pytest.raises(Unavailable, match="closes its connections"), transaction(engine):
        pass
    assert len(set(map(id, refused))) == 2
    with transaction(engine) as tx:
        assert tx.rows("select 1") == [(1,)]
    engine.dispose()


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "does not end"])
def test_a_connection_whose_transaction_does_not_end_is_given_to_nobody_else(
    cluster: localdb.Cluster, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """A time limit may strike the very statement that ends it."""
    engine = sa.create_engine(cluster.url(), pool_size=1, max_overflow=0)
    with transaction(engine) as tx:
        ((first,),) = tx.rows("begin; select pg_backend_pid()")
        if not ends:
            monkeypatch.setattr(db, "_rolled_back", lambda _connection: False)
    monkeypatch.undo()
    with transaction(engine) as tx:
        assert (tx.rows("select pg_backend_pid()") == [(first,)]) is ends
        assert tx.rows("begin") == []
    engine.dispose()


def test_another_misuse_of_the_pool_stays_a_defect() -> None:
    with pytest.raises(InvalidRequestError, match="Can't operate"), passing_faults():
        raise InvalidRequestError("Can't operate on closed transaction inside context manager.")
