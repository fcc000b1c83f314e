"""Makes a backup of the keys database: one snapshot, page by page; and keeps the list of backups.

A backup is in the list before the first byte of it is written, and its snapshot is taken after: so whatever is shredded later, and may be
in it, waits until somebody says that it is destroyed. One that was broken off stays in the list, without a SHA-256.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text

from hub.crypto import backup_parts as parts
from hub.crypto.backup_file import Writer
from hub.crypto.envelope import kek_aad
from hub.crypto.providers import RootKey
from hub.db import passing_faults
from hub.errors import InvalidRequest

AT_ONCE: Final = 5_000
_ADD = text("insert into keys.backups (note) values (:note) returning id, made_at")
_MADE = text("update keys.backups set sha256 = :sha256 where id = :id")
_LIST = text("select id, made_at, sha256, note, destroyed_at from keys.backups order by id")
_DESTROYED = text("update keys.backups set destroyed_at = coalesce(destroyed_at, now()) where id = :id returning id")
_SNAPSHOT = text("set transaction isolation level repeatable read, read only")
_KEKS = text("select * from keys.kek order by epoch, kek_id")
_DEKS = text("select record, class, rev, row from keys.dek where kek_id = :kek_id")
_SIGNED = text("select n, event, leaf_hash, chain, key, signature, at from keys.signed order by n")
_SHREDDED = text("select record, at from keys.shredded")
_Row = Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Backup:
    """An entry in the list. `sha256`: None if it was broken off; `destroyed_at`: None while it may exist."""

    number: int
    made_at: datetime
    sha256: bytes | None
    note: str | None
    destroyed_at: datetime | None


class Backups:
    """The list, and making one. Every method raises Unavailable when the keys database can't be reached."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all_of(self) -> list[Backup]:
        """Oldest first."""
        with passing_faults(), self._engine.begin() as connection:
            return [Backup(r.id, r.made_at, _bytes(r.sha256), r.note, r.destroyed_at) for r in connection.execute(_LIST)]

    def destroyed(self, number: int) -> None:
        """Notes that every copy of it is gone. Raises InvalidRequest if there is no such backup."""
        with passing_faults(), self._engine.begin() as connection:
            if connection.execute(_DESTROYED, {"id": number}).first() is None:
                raise InvalidRequest(f"There is no backup {number} in the list.")

    def make(self, file: BinaryIO, root: RootKey, note: str | None, random: Callable[[int], bytes]) -> tuple[Backup, parts.End]:
        """Writes a backup to `file`; what it holds is told besides. Raises Tampered if `root` isn't what wraps the KEKs, or no longer."""
        with passing_faults(), self._engine.begin() as connection:
            number, made_at = connection.execute(_ADD, {"note": note}).one()
        writer = Writer(file, root, random(16), random)
        with passing_faults(), self._engine.begin() as connection:
            connection.execute(_SNAPSHOT)
            end = _write(writer, connection, root, parts.About(number, made_at))
        writer.frame(parts.written(end), last=True)
        return Backup(number, made_at, writer.end(), note, None), end

    def made(self, backup: Backup) -> None:
        """Keeps the SHA-256 of a backup whose file is durable."""
        with passing_faults(), self._engine.begin() as connection:
            connection.execute(_MADE, {"id": backup.number, "sha256": backup.sha256})


def _write(writer: Writer, connection: Connection, root: RootKey, about: parts.About) -> parts.End:
    def put(part: parts.Part) -> None:
        writer.frame(parts.written(part))

    put(about)
    put(parts.Listed([(r.id, r.made_at, _bytes(r.sha256), r.note, r.destroyed_at) for r in connection.execute(_LIST)]))
    deks = signed = shredded = 0
    for page in _pages(connection, _SHREDDED):
        put(parts.Tombstones(b"".join(_id(r.record) for r in page), [r.at for r in page]))
        shredded += len(page)
    keks = connection.execute(_KEKS).all()
    for kek in keks:
        owner, cls, wrapped = _id(kek.owner), getattr(kek, "class"), bytes(kek.wrapped)
        if kek.destroyed_at is None:
            root.unwrap(wrapped, kek_aad(owner, cls, kek.bucket, kek.epoch))
        put(parts.Kek(kek.kek_id, owner, cls, kek.bucket, kek.epoch, wrapped, kek.created_at, kek.destroyed_at))
        for page in _pages(connection, _DEKS, kek_id=kek.kek_id):
            records, classes, revs, rows = zip(*page, strict=True)
            put(parts.Deks(kek.kek_id, b"".join(map(_id, records)), list(classes), list(revs), b"".join(map(bytes, rows))))
            deks += len(page)
    for page in _pages(connection, _SIGNED):
        put(parts.Signatures([(r.n, _id(r.event), *(bytes(b) for b in r[2:6]), r.at) for r in page]))
        signed += len(page)
    return parts.End(len(keks), deks, signed, shredded)


def _pages(connection: Connection, query: Any, **values: object) -> Iterator[Sequence[_Row]]:
    """A cursor on the server: nothing is sorted, and a page at a time is fetched."""
    result = connection.execution_options(stream_results=True, max_row_buffer=AT_ONCE).execute(query, values)
    yield from result.partitions(AT_ONCE)


def _id(value: object) -> bytes:
    return UUID(str(value)).bytes


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
