"""Shredding: an owner has records destroyed, by their ids or by a rule; those whose retention ends go by themselves. A legal hold keeps
both off.

In one transaction every revision leaves the tables and a leaf names them all: from then on the record is absent. Its keys are destroyed by
the key process, which finds the order in the store (hub/workers/destroying.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg2
import structlog

from hub.audit.leaf import Share, instant
from hub.audit.log import append
from hub.db import Transaction, transaction
from hub.errors import Conflict, HubError, NoSuchResource, NotShared, Problem
from hub.sharing.publish import RETRIES, Publisher, Publishing
from hub.sharing.shredded import ABSENT, HELD

AT_ONCE: Final = 1_000
"""Records of one order: its leaf names every revision."""
_log = structlog.get_logger("hub.sharing")
_COLUMNS = "s.id, s.event, s.kind, s.records, s.at, s.keys_gone_at, s.complete_at"


class Held(Conflict):
    """A legal hold keeps some of the records; nothing was destroyed."""

    slug, title = "held", "A legal hold keeps these records"


class Shred(NamedTuple):
    """An order to destroy records, and how far it is. `leaf`: RFC 6962 hash, hex, where it has just been given."""

    id: int
    event: UUID
    kind: str
    records: int
    at: datetime
    keys_gone_at: datetime | None = None
    complete_at: datetime | None = None
    leaf: str | None = None

    def told(self) -> dict[str, Any]:
        """As JSON has it. `state`: ordered, keys-destroyed, complete."""
        state = "complete" if self.complete_at else "keys-destroyed" if self.keys_gone_at else "ordered"
        times = {"at": self.at, "keys_destroyed_at": self.keys_gone_at, "complete_at": self.complete_at}
        return {
            "id": self.id,
            "event": str(self.event),
            **({"leaf": self.leaf} if self.leaf else {}),
            "because": self.kind,
            "records": self.records,
            "state": state,
            **{name: instant(at) for name, at in times.items() if at},
        }


@dataclass(frozen=True)
class Shredding:
    """The way out, for one dataset."""

    publishing: Publishing

    def shred(
        self,
        publisher: Publisher,
        records: Sequence[UUID],
        reference: str | None = None,
        kind: str = "request",
        finish: Callable[[Transaction, Shred], None] = lambda _tx, _made: None,
    ) -> Shred:
        """Destroys records, all of them or none; `reference` (of a request, an order of a court) goes into the leaf. `finish` is called
        before the commit. A publisher without a client is the hub itself, or its operator.

        Raises:
            NotShared: one of them is not the publisher's, or not there.
            Held: a legal hold keeps one of them.
            Conflict: others keep changing them. Unavailable: nothing is destroyed.
        """
        for _ in range(RETRIES):
            try:
                with transaction(self.publishing.engine) as tx:
                    begin(tx, self.publishing, publisher)
                    made = self._order(tx, publisher, list(dict.fromkeys(records)), kind, reference)
                    finish(tx, made)
                    tx.rows("commit")
                return made
            except (psycopg2.errors.SerializationFailure, psycopg2.errors.DeadlockDetected):
                continue
        raise Conflict("These records are being changed by another request; try again.")

    def matching(self, publisher: Publisher, before: datetime) -> tuple[list[UUID], int]:
        """Records of the publisher that occurred before a time and that nothing holds, the first 1,000; and how many a hold keeps."""
        name = self.publishing.name
        with transaction(self.publishing.engine) as tx:
            self.publishing.admit(tx, publisher)
            ((ids, held),) = tx.rows(f"select ids::text[], held from hub.{name}_before(%s, %s, %s)", (publisher.number, before, AT_ONCE))
        return [UUID(record) for record in ids], held

    def due(self, publisher_of: Callable[[int], Publisher], left: set[UUID]) -> int:
        """Destroys records whose retention has ended, 1,000 at most; how many were looked at. `publisher_of`: an organisation by its
        number; `left`: records that can't be destroyed, to which it adds: the others go all the same.
        """
        name = self.publishing.name
        with transaction(self.publishing.engine) as tx:
            rows = tx.rows(f"select * from hub.{name}_due(%s, %s::uuid[])", (AT_ONCE, [str(record) for record in left]))
        if not rows:
            return 0
        try:
            left |= self._destroyed(publisher_of(rows[0][0]), [UUID(str(record)) for _, record in rows])
        except (NotShared, Conflict):
            return 0  # another process was faster, or a hold was placed meanwhile
        return len(rows)

    def _destroyed(self, publisher: Publisher, records: Sequence[UUID]) -> set[UUID]:
        """Destroys those of them that can be; gives the others, of which the process's own log tells."""
        try:
            self.shred(publisher, records, kind="retention")
        except psycopg2.Error as error:
            if len(records) == 1:
                _log.error("a record whose retention has ended can't be destroyed", record=str(records[0]), cause=type(error).__name__)
                return set(records)
            middle = len(records) // 2
            return self._destroyed(publisher, records[:middle]) | self._destroyed(publisher, records[middle:])
        return set()

    def get(self, publisher: Publisher, number: int) -> Shred:
        """Raises NoSuchResource: the publisher's organisation gave no such order."""
        found = self._find(publisher, "s.id = %s", (number,))
        if not found:
            raise NoSuchResource("Your organisation gave no such order.")
        return found[0]

    def recent(self, publisher: Publisher, limit: int = 100) -> list[Shred]:
        """The newest first."""
        return self._find(publisher, "true order by s.id desc limit %s", (limit,))

    def _find(self, publisher: Publisher, where: str, arguments: tuple[Any, ...]) -> list[Shred]:
        values = (publisher.number, self.publishing.dataset.number, *arguments)
        with transaction(self.publishing.engine) as tx:
            self.publishing.admit(tx, publisher)
            rows = tx.rows(f"select {_COLUMNS} from hub.shreds s where s.provider = %s and s.dataset = %s and {where}", values)
        return [Shred(*row) for row in rows]

    def _order(self, tx: Transaction, publisher: Publisher, records: Sequence[UUID], kind: str, reference: str | None) -> Shred:
        publishing = self.publishing
        event = publishing.event("shred", publisher, {"records": len(records), "because": kind} | _present(reference=reference))
        values = (publisher.number, [str(r) for r in records], str(event.id), kind)
        try:
            numbers = [n for (n,) in tx.rows(f"select * from hub.{publishing.name}_shred(%s, %s::uuid[], %s::uuid, %s)", values)]
        except psycopg2.Error as error:
            raise _refused(error, records) from None
        leaf = append(tx, event, [Share(publisher.slug, (), numbers)])[0]
        ((number, at),) = tx.rows("select s.id, s.at from hub.shreds s where s.event = %s::uuid", (str(event.id),))
        return Shred(number, event.id, kind, len(records), at, leaf=leaf.hash.hex())


def begin(tx: Transaction, publishing: Publishing, publisher: Publisher) -> None:
    """Begins a transaction; a client must be active."""
    if publisher.by.client is None:
        tx.rows("begin")
    else:
        publishing.admit(tx, publisher, "begin; ")


def _refused(error: psycopg2.Error, records: Sequence[UUID]) -> HubError | psycopg2.Error:
    if error.pgcode == ABSENT:
        return NotShared()
    if error.pgcode != HELD:
        return error
    places = {record: n for n, record in enumerate(records)}
    held = sorted(UUID(r) for r in (error.diag.message_detail or "").split())
    problems = [Problem(f"records[{places[r]}]", f"{r} is under a legal hold") for r in held[:100]]
    return Held(f"A legal hold keeps {len(held):,} of these records; nothing was destroyed.", problems=problems)


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
