"""The database under a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from hub import db
from hub.settings import read_settings
from hub.setup import addresses_of, open_database


@contextmanager
def opened() -> Iterator[db.Database]:
    """The hub's database as the settings have it, disposed of at the end."""
    settings = read_settings()
    database = open_database(settings, addresses_of(settings))
    try:
        yield database
    finally:
        database.dispose()
