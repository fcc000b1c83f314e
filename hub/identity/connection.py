"""One transaction on the hub's database."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from hub.db import passing_faults


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Commits on leaving, rolls back on any error.

    Raises:
        Unavailable: the database is down, or too busy to give a connection in time.
    """
    with passing_faults(), engine.begin() as connection:
        yield connection
