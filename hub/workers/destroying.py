"""Carries out, in the key process, what was ordered in the main database: destroys the keys of shredded records, and those of retention
buckets that have ended.

An order is a committed row whose event has leaves that name every revision: whatever they don't name is not destroyed. Each step may be
repeated, so whoever ends in between goes on at its next start.
"""

import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Engine

from hub.crypto.destruction import Bucket, Destruction
from hub.crypto.keyring import Keyring
from hub.db import transaction
from hub.records import Record
from hub.sharing.retention import ends_of
from hub.workers.covering import names_all

BUCKETS_S: Final = 60.0
_LIVING = "select * from hub.{}_living(%s::uuid[])"
_ORDER = "select * from hub.{}_shred_order(%s)"
_log = structlog.get_logger("hub.keyd")


class Destroying:
    """`backups_kept_days`: for how long copies of the keys database are kept that were not registered."""

    def __init__(
        self,
        keyring: Keyring,
        destruction: Destruction,
        main: Engine,
        datasets: Mapping[str, type[Record]],
        clock: Callable[[], datetime],
        backups_kept_days: int,
    ) -> None:
        self._keyring, self._destruction, self._main, self._clock = keyring, destruction, main, clock
        self._names, self._days = list(datasets), backups_kept_days
        self._next_look = 0.0
        self._doubted: set[int] = set()

    def run(self) -> int:
        """Does what there is to do; how many orders were carried out.

        Raises:
            Unavailable: one of the databases can't be reached; what was done stays.
        """
        if time.monotonic() >= self._next_look:
            self.end_buckets()
            self._keyring.forget_destroyed()
            self._complete()
            self._next_look = time.monotonic() + BUCKETS_S
        return sum(self._orders(name) for name in self._names)

    def end_buckets(self) -> int:
        """Destroys the keys of every bucket whose end has come and whose records are shredded, or live on for a reason; how many."""
        ended = 0
        for bucket in self._destruction.buckets():
            end = ends_of(bucket.name)
            if end is not None and end <= self._today():
                ended += self._end(bucket)
        while self._destruction.sweep():
            pass
        return ended

    def _end(self, bucket: Bucket) -> bool:
        living: set[UUID] = set()
        for records in self._destruction.records_of(bucket):
            found = [self._living(name, records) for name in self._names]
            if any(due for one in found for due in one.values()):
                return False  # the retention has not come to them yet
            living |= set(records).intersection(*found)  # what is shredded is so in one dataset
        self._destruction.end(bucket, living)
        _log.info("retention bucket ended", owner=str(bucket.owner), bucket=bucket.name, living=len(living))
        return True

    def _living(self, name: str, records: list[UUID]) -> dict[UUID, bool]:
        with transaction(self._main) as tx:
            rows = tx.rows(_LIVING.format(name), ([str(r) for r in records],))
        return {UUID(str(record)): due for record, due in rows}

    def _orders(self, name: str) -> int:
        done = after = 0
        while True:
            with transaction(self._main) as tx:
                rows = tx.rows(_ORDER.format(name), (after,))
            if not rows:
                return done
            ((shred, ids, numbers, leaves),) = rows
            after = shred
            if not names_all(leaves, name, numbers):
                if shred not in self._doubted:
                    _log.error("an order to destroy is not in the log as it stands in the store", shred=shred)
                self._doubted.add(shred)
                continue
            self._destruction.shred([UUID(str(i)) for i in ids])
            with transaction(self._main) as tx:
                tx.rows("select hub.shred_done(%s)", (shred,))
            done += 1

    def _complete(self) -> None:
        oldest = self._destruction.oldest_backup()
        with transaction(self._main) as tx:
            tx.rows("select hub.shreds_complete(%s, %s)", (self._days, oldest))

    def _today(self) -> date:
        return self._clock().date()
