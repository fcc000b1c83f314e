"""Carries out, in the key process, what was ordered in the main database: destroys the keys of shredded records, those of retention
buckets that have ended, and those of blind indexes that were replaced.

An order is a committed row whose event has leaves that name every revision: whatever they don't name is not destroyed. Each step may be
repeated, so whoever ends in between goes on at its next start. Each chore, order and bucket is done for itself: one that fails is logged,
and keeps no other from being done.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Engine

from hub.crypto.destruction import Bucket, Destruction
from hub.crypto.keyring import Keyring
from hub.db import transaction
from hub.errors import HubError
from hub.records import Record
from hub.sharing.retention import ends_of
from hub.workers.covering import names_all
from hub.workers.matching import Matching

T = TypeVar("T")
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
        self._indexes = [Matching(name, dataset, keyring, main, None) for name, dataset in datasets.items()]
        self._next_look = 0.0
        self._doubted: set[int] = set()
        self._told: set[str] = set()

    def run(self) -> int:
        """Does what there is to do; how many orders were carried out. Raises nothing: what fails is logged, and comes again."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + BUCKETS_S
            self._told.clear()
            self._tried("forget keys", self._keyring.forget_destroyed)
            self._tried("end buckets", self.end_buckets)
            self._tried("end former indexes", self.end_indexes)
            self._tried("complete orders", self._complete)
        return sum(self._tried(f"orders of {name}", partial(self._orders, name)) or 0 for name in self._names)

    def _tried(self, what: str, chore: Callable[[], T]) -> T | None:
        """What a chore gives; None where it failed, which is told once until the next look."""
        try:
            return chore()
        except Exception as error:
            if what not in self._told:
                self._told.add(what)
                if isinstance(error, HubError):
                    _log.error("waits", what=what, error=error.detail)
                else:
                    _log.exception("waits", what=what)
            return None

    def end_buckets(self) -> int:
        """Destroys the keys of every bucket whose end has come and whose records are shredded, or live on for a reason; how many."""
        ended = 0
        for bucket in self._destruction.buckets():
            end = ends_of(bucket.name)
            if end is None:
                _log.error("a retention bucket whose name tells no day is left alone", owner=str(bucket.owner), bucket=bucket.name)
            elif end <= self._today():
                ended += self._tried(f"end {bucket.name} of {bucket.owner}", partial(self._end, bucket)) or 0
        while self._destruction.sweep():
            pass
        return ended

    def end_indexes(self) -> int:
        """Destroys the keys of blind indexes that another version has replaced; how many."""
        labels = set(self._destruction.mac_labels())
        former = [label for index in self._indexes for label in index.former(labels)]
        if former:
            self._destruction.end_macs(former)
            _log.info("keys of former indexes destroyed", labels=former)
        return len(former)

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
            ((shred, ids, numbers, leaves, owner),) = rows
            after = shred
            done += self._tried(f"order {shred}", partial(self._order, name, shred, ids, numbers, leaves, owner)) or 0

    def _order(self, name: str, shred: int, ids: Sequence[object], numbers: Sequence[int], leaves: Sequence[str], owner: str) -> bool:
        if not names_all(leaves, name, owner, numbers):
            if shred not in self._doubted:
                _log.error("an order to destroy is not in the log as it stands in the store", shred=shred)
            self._doubted.add(shred)
            return False
        self._destruction.shred([UUID(str(i)) for i in ids])
        with transaction(self._main) as tx:
            tx.rows("select hub.shred_done(%s)", (shred,))
        return True

    def _complete(self) -> None:
        oldest = self._destruction.oldest_backup()
        with transaction(self._main) as tx:
            tx.rows("select hub.shreds_complete(%s, %s)", (self._days, oldest))

    def _today(self) -> date:
        return self._clock().date()
