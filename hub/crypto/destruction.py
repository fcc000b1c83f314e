"""Destroying keys: those of records, at the end of a retention bucket all that it holds, by its KEKs, and those of former blind indexes.
Each step may be repeated.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import IntegrityError

from hub.crypto.envelope import Kek
from hub.crypto.keyring import MAC_BUCKET, MAC_CLASS, Keyring, array
from hub.crypto.keys import HUB
from hub.crypto.rotation import rewrap_rows
from hub.db import passing_faults

AT_ONCE: Final = 5_000
BUCKET: Final = "default"  # of what is kept without end
_ALONE = text("select pg_advisory_xact_lock(7203, 1)")  # nobody adds a DEK meanwhile (keys.dek_has_its_kek)
_BURY = text("insert into keys.shredded (record) select unnest(cast(:records as uuid[])) on conflict do nothing")
# DEKs are locked by their key, KEKs by their number, as everywhere: of two that want the same ones, one waits for the other.
_DELETE = text("""
    with locked as materialized (
      select record, class, rev from keys.dek where record = any(cast(:records as uuid[])) order by record, class, rev for update)
    delete from keys.dek d using locked l where (d.record, d.class, d.rev) = (l.record, l.class, l.rev)""")
_BUCKETS = text("""
    select k.owner, k.bucket, array_agg(k.kek_id order by k.kek_id) as ids from keys.kek k
    where k.bucket like 'until-%' and k.destroyed_at is null group by k.owner, k.bucket order by k.bucket, k.owner""")
_RECORDS = text("""
    select distinct d.record from keys.dek d where d.kek_id = any(cast(:ids as int[])) and d.record > cast(:after as uuid)
    order by d.record limit :most""")
_GROUPS = text("""
    select distinct d.kek_id, d.class from keys.dek d
    where d.kek_id = any(cast(:ids as int[])) and d.record = any(cast(:records as uuid[]))""")
_LEFT = text("""
    select d.record, d.class, d.rev, d.row, d.kek_id from keys.dek d
    where d.kek_id = any(cast(:ids as int[])) and d.record = any(cast(:records as uuid[]))
    order by d.record, d.class, d.rev for update""")
_DESTROY = text("""
    with locked as materialized (
      select kek_id from keys.kek where kek_id = any(cast(:ids as int[])) order by kek_id for no key update)
    update keys.kek k set wrapped = '', destroyed_at = now() from locked l where k.kek_id = l.kek_id""")
_SWEEP = text("""
    delete from keys.dek d where d.ctid = any(array(
      select x.ctid from keys.dek x join keys.kek k using (kek_id) where k.destroyed_at is not null
      limit :most for update of x skip locked))""")
_MACS = text("select k.bucket from keys.kek k where k.owner = cast(:owner as uuid) and k.class = :cls and k.destroyed_at is null")
_MACS_NAMED = text("""
    select k.kek_id from keys.kek k
    where k.owner = cast(:owner as uuid) and k.class = :cls and k.bucket = any(:buckets) and k.destroyed_at is null""")
_OF_MACS: Final = {"owner": str(HUB), "cls": MAC_CLASS}
_OLDEST = text("select min(made_at) from keys.backups where destroyed_at is null")
_NO_KEK: Final = "23503"
_Row = Row[*tuple[Any, ...]]


class Bucket(NamedTuple):
    """A retention bucket of one owner, and its KEKs."""

    owner: UUID
    name: str
    keks: Sequence[int]


class Destruction:
    """Every method raises Unavailable when the keys database can't be reached."""

    def __init__(self, keyring: Keyring, engine: Engine, random: Callable[[int], bytes] = os.urandom) -> None:
        self._keyring, self._engine, self._random = keyring, engine, random

    def shred(self, records: Collection[UUID]) -> int:
        """Deletes every DEK of these records, and sees to it that they get none again; how many there were."""
        values = {"records": array(sorted(records))}
        with self._alone() as connection:
            connection.execute(_BURY, values)
            return connection.execute(_DELETE, values).rowcount

    def buckets(self) -> list[Bucket]:
        """The retention buckets whose keys are there."""
        with passing_faults(), self._engine.begin() as connection:
            return [Bucket(UUID(str(r.owner)), r.bucket, list(r.ids)) for r in connection.execute(_BUCKETS)]

    def records_of(self, bucket: Bucket) -> Iterator[list[UUID]]:
        """The records with a DEK in the bucket, some thousands at a time."""
        after = UUID(int=0)
        while True:
            with passing_faults(), self._engine.begin() as connection:
                values = {"ids": array(bucket.keks), "after": str(after), "most": AT_ONCE}
                found = [UUID(str(r)) for r in connection.execute(_RECORDS, values).scalars()]
            if not found:
                return
            yield found
            after = found[-1]

    def end(self, bucket: Bucket, living: Collection[UUID]) -> None:
        """Destroys the KEKs of a bucket, and with them every DEK in it but for those of the records that live on: they are wrapped with
        the KEKs of what is kept without end. All of it or nothing.
        """
        try:
            self._end(bucket, living)
        except IntegrityError as error:
            if getattr(error.orig, "pgcode", None) != _NO_KEK:
                raise
            self._keyring.forget_destroyed()  # a rotation came to its end, and took the KEK that was remembered
            self._end(bucket, living)
        self._keyring.forget(bucket.keks)

    def _end(self, bucket: Bucket, living: Collection[UUID]) -> None:
        # Asked before nobody else may add keys: who waits for that holds connections, of which asking needs one.
        for kek_id, cls in self._groups(bucket, living) if living else ():
            self._pair(bucket, kek_id, cls)
        with self._alone() as connection:
            if living:
                self._take_out(connection, bucket, living)
            connection.execute(_DESTROY, {"ids": array(bucket.keks)})

    def mac_labels(self) -> list[str]:
        """Of the keyed hashes whose keys are there."""
        with passing_faults(), self._engine.begin() as connection:
            return [bucket.removeprefix(MAC_BUCKET) for bucket in connection.execute(_MACS, _OF_MACS).scalars()]

    def end_macs(self, labels: Collection[str]) -> None:
        """Destroys the keys of keyed hashes: none is made under these labels any more."""
        with passing_faults(), self._engine.begin() as connection:
            values = {**_OF_MACS, "buckets": [f"{MAC_BUCKET}{label}" for label in labels]}
            keks = [int(kek_id) for kek_id in connection.execute(_MACS_NAMED, values).scalars()]
            connection.execute(_DESTROY, {"ids": array(keks)})
        self._keyring.forget(keks)

    def sweep(self) -> int:
        """Deletes DEKs that no key opens any more, a batch; how many."""
        with passing_faults(), self._engine.begin() as connection:
            return connection.execute(_SWEEP, {"most": AT_ONCE}).rowcount

    def oldest_backup(self) -> datetime | None:
        """When the oldest registered backup that still exists was made."""
        with passing_faults(), self._engine.begin() as connection:
            found: datetime | None = connection.execute(_OLDEST).scalar_one()
        return found

    def _take_out(self, connection: Connection, bucket: Bucket, living: Collection[UUID]) -> None:
        values = {"ids": array(bucket.keks), "records": array(living)}
        groups: dict[tuple[int, int], list[_Row]] = {}
        for row in connection.execute(_LEFT, values):
            groups.setdefault((row.kek_id, getattr(row, "class")), []).append(row)
        for (kek_id, cls), rows in groups.items():
            old, new = self._pair(bucket, kek_id, cls)
            rewrap_rows(connection, old, new, bucket.owner, rows, self._random)

    def _groups(self, bucket: Bucket, living: Collection[UUID]) -> set[tuple[int, int]]:
        """The KEKs, with their classes, under which records that live on have keys."""
        values = {"ids": array(bucket.keks), "records": array(living)}
        with passing_faults(), self._engine.begin() as connection:
            return {(row.kek_id, getattr(row, "class")) for row in connection.execute(_GROUPS, values)}

    def _pair(self, bucket: Bucket, kek_id: int, cls: int) -> tuple[Kek, Kek]:
        """A KEK of the bucket, and the one of what is kept without end."""
        return self._keyring.kek(kek_id), self._keyring.kek_of(bucket.owner, cls, BUCKET)

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        with passing_faults(), self._engine.begin() as connection:
            connection.execute(_ALONE)
            yield connection
