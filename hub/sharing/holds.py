"""Legal holds: what an owner has to keep is destroyed neither by a request, nor by a rule, nor by the end of its retention."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.audit.leaf import Share, instant
from hub.audit.log import append
from hub.db import Transaction, transaction
from hub.errors import NoSuchResource, NotShared
from hub.sharing.publish import Publisher, Publishing
from hub.sharing.shredding import begin

_HOLD = "id, reference, placed_at, record, since, until, released_at"


@dataclass(frozen=True)
class Hold:
    """What a legal hold keeps: one record, or all that occurred within a period (open where it has no end)."""

    id: UUID
    reference: str
    placed_at: datetime
    record: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    released_at: datetime | None = None

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        times = {"from": self.since, "until": self.until, "placed_at": self.placed_at, "released_at": self.released_at}
        record = {"record": str(self.record)} if self.record else {}
        return {"id": str(self.id), "reference": self.reference, **record, **{n: instant(at) for n, at in times.items() if at}}


Finish = Callable[[Transaction, Hold], None]


@dataclass(frozen=True)
class Holds:
    """Legal holds of one dataset: its owner places and releases them; each is in the log."""

    publishing: Publishing

    def place(
        self,
        publisher: Publisher,
        reference: str,
        record: UUID | None,
        since: datetime | None = None,
        until: datetime | None = None,
        finish: Finish | None = None,
    ) -> Hold:
        """`finish` is called before the commit. Raises NotShared: the record is not the publisher's, or not there."""
        number = self.publishing.random_id()
        with transaction(self.publishing.engine) as tx:
            begin(tx, self.publishing, publisher)
            values = (str(number), publisher.number, self.publishing.dataset.number, record and str(record), since, until, reference)
            ((placed_at,),) = tx.rows(
                "insert into hub.holds (id, provider, dataset, record, since, until, reference)"
                " values (%s::uuid, %s, %s, %s::uuid, %s, %s, %s) returning placed_at",
                values,
            )
            if record is not None and not tx.rows(f"select * from hub.{self.publishing.name}_held(%s::uuid[])", ([str(record)],)):
                raise NotShared
            return self._ended(tx, publisher, Hold(number, reference, placed_at, record, since, until), {"reference": reference}, finish)

    def release(self, publisher: Publisher, number: UUID, finish: Finish | None = None) -> Hold:
        """Raises NoSuchResource: the publisher's organisation has no such hold, or it was released already."""
        with transaction(self.publishing.engine) as tx:
            begin(tx, self.publishing, publisher)
            gone = tx.rows(
                "update hub.holds set released_at = now() where id = %s::uuid and provider = %s and dataset = %s and released_at is null"
                f" returning {_HOLD}",
                (str(number), publisher.number, self.publishing.dataset.number),
            )
            if not gone:
                raise NoSuchResource("Your organisation has no such hold in force.")
            return self._ended(tx, publisher, _hold(gone[0]), {"released": True}, finish)

    def all(self, publisher: Publisher) -> list[Hold]:
        """Those in force first, then those released, newest first."""
        values = (publisher.number, self.publishing.dataset.number)
        with transaction(self.publishing.engine) as tx:
            begin(tx, self.publishing, publisher)
            order = "order by released_at is not null, placed_at desc limit 1000"
            return [_hold(row) for row in tx.rows(f"select {_HOLD} from hub.holds where provider = %s and dataset = %s {order}", values)]

    def _ended(self, tx: Transaction, publisher: Publisher, hold: Hold, said: Mapping[str, Any], finish: Finish | None) -> Hold:
        append(tx, self.publishing.event("hold", publisher, {"hold": str(hold.id), **said}), [Share(publisher.slug)])
        if finish is not None:
            finish(tx, hold)
        tx.rows("commit")
        return hold


def _hold(row: tuple[Any, ...]) -> Hold:
    number, reference, placed_at, record, *rest = row
    return Hold(UUID(str(number)), reference, placed_at, record and UUID(str(record)), *rest)
