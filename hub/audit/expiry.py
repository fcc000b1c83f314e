"""Bodies of old leaves go, a month at a time; their places, hashes and tiles stay, so that proofs go on (DESIGN §7)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hub.audit.bundle import BODIES_KEPT
from hub.audit.lists import LATE
from hub.db import Transaction
from hub.errors import InvalidRequest

_MONTHS = """
select c.relname, pg_get_expr(c.relpartbound, c.oid) from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'hub.audit_leaves'::regclass order by c.relname"""
_IN_THE_TREE = """
select max((h.leaf::jsonb->>'at')::timestamptz) from hub.heads_leaves h
where h.idx = (select max(idx) from hub.heads_leaves where idx < %s)"""
_WAIT: Final = "5s"
_END = re.compile(r"TO \('([0-9a-f-]{36})'\)")


@dataclass(frozen=True)
class Expired:
    """What went: partitions, leaves, and the place of the tree before which bodies may be gone."""

    parts: list[str]
    leaves: int
    before: int


def months_before(tx: Transaction, month: datetime, now: datetime) -> list[str]:
    """The partitions whose events are all of before `month`, which is given by its first day.

    Raises:
        InvalidRequest: what is younger than a year would go.
    """
    if month.replace(tzinfo=UTC) > now - BODIES_KEPT:
        raise InvalidRequest(f"Bodies stay for {BODIES_KEPT.days} days at least; {month:%Y-%m} is later than that.", field="before")
    ((first,),) = tx.rows("select hub.first_event(%s)::text", (month.date(),))
    ends = [(name, _END.search(bound)) for name, bound in tx.rows(_MONTHS)]
    return [name for name, end in ends if end is not None and end[1] <= first]


def expire(tx: Transaction, parts: list[str], month: datetime, logged: Callable[[int], object]) -> Expired:
    """Drops partitions, whose events are of before `month`, within `tx` as hub_owner. `logged` is told the place before which bodies go,
    before they do: an auditor believes that they expired because the log says so.

    Raises:
        InvalidRequest: one of them has leaves that are not in the tree yet, or came into it so late that they would seem to be younger.
    """
    leaves = before = 0
    tx.rows(f"set local lock_timeout = '{_WAIT}'")  # else all who add to the log would wait for whoever reads it
    for part in parts:
        ((count, placed, last),) = tx.rows(
            f"lock table hub.{part} in share mode;"
            f" select count(*), count(i.idx), coalesce(max(i.idx), -1) from hub.{part} l left join hub.log_index i on i.leaf = l.id"
        )
        if placed < count:
            raise InvalidRequest(f"{count - placed} leaves of {part} are not in the tree; nothing was removed.")
        leaves, before = leaves + count, max(before, last + 1)
    ((at,),) = tx.rows(_IN_THE_TREE, (before - 1,))
    if at is not None and at >= month.replace(tzinfo=UTC) + LATE:
        raise InvalidRequest(
            f"Leaves of before {month:%Y-%m} came into the tree on {at:%Y-%m-%d}, and verifiers would take them for that young: "
            f"they can be removed together with those of {at:%Y-%m}."
        )
    logged(before)
    for part in parts:
        tx.rows(f"drop table hub.{part}")
    return Expired(parts, leaves, before)
