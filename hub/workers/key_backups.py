"""Backups of the keys as an operator makes and restores them: files and databases come together here."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import sqlalchemy as sa

from hub.crypto.backup import Backup, Backups
from hub.crypto.backup_parts import End
from hub.crypto.providers import RootKey
from hub.crypto.restore import AT_ONCE, Restore, Restored, verify
from hub.db import connect_keyd, passing_faults, read_roles_secret, transaction
from hub.errors import InvalidRequest, Refused
from hub.leaf_chain import Signed
from hub.private_file import growing
from hub.settings import Settings
from hub.setup import Addresses, keyd_folder, keyd_socket, open_root_key
from hub.workers.kept import listens
from hub.workers.upkeep import Held

_GONE = "select * from hub.{}_gone(%s::uuid, %s)"
_CONTINUED = f"select n, event, leaf_hash, chain, key, signature from hub.leaf_signatures where n > %s order by n limit {AT_ONCE}"  # noqa: S608


def back_up(keys: Held, path: Path, note: str | None) -> tuple[Backup, End]:
    """Writes a backup of the keys to `path`; durable on return. Raises InvalidRequest: it can't be written there."""
    made = Backups(keys.keys)
    try:
        with growing(path) as file:
            backup, end = made.make(file, keys.root, note, os.urandom)
    except FileExistsError:
        raise InvalidRequest(f"{path} is there already; a backup never overwrites a file.") from None
    except OSError as error:
        raise InvalidRequest(f"{path} can't be written: {error.strerror}.") from None
    made.made(backup)
    return backup, end


def restore(
    settings: Settings, addresses: Addresses, path: Path, *, replace: bool, former: RootKey | None, datasets: Iterable[str] = ()
) -> Restored:
    """Restores the keys database from `path`, all or nothing, wrapped with the root key of the settings. `former`: the root key that the
    backup was made under, where that is another one; `datasets`: whose shredded records the main database is asked for.

    Raises:
        Refused: the key process runs; there are keys and they aren't to be replaced; the backup isn't whole, or of another root key.
        Unavailable: a database can't be reached.
    """
    if listens(keyd_socket(settings)):
        raise Refused(f"A key process listens at {keyd_socket(settings)}: stop it, or the hub that runs it, first.")
    root = open_root_key(settings)
    with _reading(path) as file:
        verify(file, former or root)  # before anything is locked or deleted
        file.seek(0)
        engine = sa.create_engine(addresses.keys, poolclass=sa.NullPool, hide_parameters=True)
        database = connect_keyd(addresses.main, addresses.keys, read_roles_secret(keyd_folder(settings)), pool_size=1)
        try:
            with passing_faults(), engine.begin() as connection:
                work = Restore(connection, former or root, root, _gone(database.main, datasets), _continued(database.main))
                return work.run(file, replace=replace)
        finally:
            database.dispose()
            engine.dispose()


def _gone(main: sa.Engine, datasets: Iterable[str]) -> Iterator[UUID]:
    """Records that the main database knows as shredded."""
    for name in datasets:
        after = UUID(int=0)
        while True:
            with transaction(main) as tx:
                rows = tx.rows(_GONE.format(name), (str(after), AT_ONCE))
            if not rows:
                break
            found = [UUID(str(record)) for (record,) in rows]
            yield from found
            after = found[-1]


def _continued(main: sa.Engine) -> Callable[[int], Sequence[Signed]]:
    def after(n: int) -> list[Signed]:
        with transaction(main) as tx:
            return [Signed(r[0], UUID(str(r[1])), *(bytes(b) for b in r[2:])) for r in tx.rows(_CONTINUED, (n,))]

    return after


def _reading(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidRequest(f"{path} can't be read: {error.strerror}.") from None
