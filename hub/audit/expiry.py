"""Bodies of old leaves go, a month at a time; their places, hashes and tiles stay, so that proofs go on (DESIGN §7)."""

import re
from dataclasses import dataclass
from datetime import date

from hub.db import Transaction
from hub.errors import InvalidRequest

_MONTHS = """
select c.relname, pg_get_expr(c.relpartbound, c.oid) from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'hub.audit_leaves'::regclass order by c.relname"""
_END = re.compile(r"TO \('([0-9a-f-]{36})'\)")


@dataclass(frozen=True)
class Expired:
    """What went: partitions, leaves, and the place of the tree before which bodies may be gone."""

    parts: list[str]
    leaves: int
    before: int


def months_before(tx: Transaction, month: date) -> list[str]:
    """The partitions whose events are all of before `month`, which is given by its first day."""
    ((first,),) = tx.rows("select hub.first_event(%s)::text", (month,))
    ends = [(name, _END.search(bound)) for name, bound in tx.rows(_MONTHS)]
    return [name for name, end in ends if end is not None and end[1] <= first]


def expire(tx: Transaction, parts: list[str]) -> Expired:
    """Drops partitions, within `tx` as hub_owner.

    Raises:
        InvalidRequest: one of them has leaves that are not in the tree yet.
    """
    leaves = before = 0
    for part in parts:
        ((count, placed, last),) = tx.rows(
            f"select count(*), count(i.idx), coalesce(max(i.idx), -1) from hub.{part} l left join hub.log_index i on i.leaf = l.id"
        )
        if placed < count:
            raise InvalidRequest(f"{count - placed} leaves of {part} are not in the tree; nothing was removed.")
        leaves, before = leaves + count, max(before, last + 1)
        tx.rows(f"drop table hub.{part}")
    tx.rows("update hub.log_state set expired = greatest(expired, %s)", (before,))
    return Expired(parts, leaves, before)
