"""The retention rule of an organisation for a dataset: its operator sets it, what is stored already follows batch by batch."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hub.audit.leaf import Share
from hub.audit.log import append
from hub.db import transaction
from hub.sharing.publish import Publisher, Publishing

AT_ONCE: Final = 5_000


@dataclass(frozen=True)
class Rule:
    """Records are kept until the month is over that comes `months` after the one in which they occurred."""

    organisation: str
    months: int
    since: datetime


@dataclass(frozen=True)
class Keeping:
    """Rules of one dataset."""

    publishing: Publishing

    def set(self, publisher: Publisher, months: int | None) -> None:
        """Sets the rule of an organisation, or takes it away. What is stored follows with `apply`; until then it is kept as before."""
        values: tuple[Any, ...] = (publisher.number, self.publishing.dataset.number)
        with transaction(self.publishing.engine) as tx:
            tx.rows("begin")
            if months is None:
                tx.rows("delete from hub.retention where provider = %s and dataset = %s", values)
            else:
                tx.rows(
                    "insert into hub.retention (provider, dataset, months) values (%s, %s, %s)"
                    " on conflict (provider, dataset) do update set months = excluded.months, since = now()",
                    (*values, months),
                )
            append(tx, self.publishing.event("retention", publisher, {"months": months or 0}), [Share(publisher.slug)], then="; commit")

    def apply(self, publisher: Publisher) -> None:
        """Has what is stored follow the rule, in batches; interrupted, it may be called again."""
        with transaction(self.publishing.engine) as tx:
            tx.rows("select pg_advisory_xact_lock(7201, 2)")  # what is being stored under the rule of before is there by then
        after = UUID(int=0)
        while True:
            with transaction(self.publishing.engine) as tx:
                values = (publisher.number, str(after), AT_ONCE)
                ((reached,),) = tx.rows(f"select hub.{self.publishing.name}_keep(%s, %s::uuid, %s)", values)
            if reached is None:
                return
            after = UUID(str(reached))

    def rules(self) -> list[Rule]:
        """Every organisation's rule, by its name."""
        with transaction(self.publishing.engine) as tx:
            rows = tx.rows(
                "select o.slug, r.months, r.since from hub.retention r join hub.organisation_names() o on o.id = r.provider"
                " where r.dataset = %s order by o.slug",
                (self.publishing.dataset.number,),
            )
        return [Rule(*row) for row in rows]
