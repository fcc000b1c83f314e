"""New leaves are looked at for what is unusual, batch by batch: what was found, what is remembered, and how far it got are one transaction.

So it goes on where it was interrupted, no leaf is looked at twice, and of several processes one does it at a time. A leaf is looked at a
while after it was seen: until then one with a smaller number may still be on its way (docs/decisions/0030).
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from hub.audit.accesses import KINDS, Access, access_of
from hub.audit.flags import Flag, Limits, Past, look
from hub.audit.leaf import By, Event, Share, event_id
from hub.audit.log import append
from hub.db import Transaction, transaction

AT_ONCE = 1_000
SETTLED = timedelta(minutes=1)
_PROGRESS = "begin; select reached, seen, seen_at from hub.flag_progress for update skip locked"
_SEE = """
update hub.flag_progress set seen = l.newest, seen_at = %s
from (select coalesce(max(id), 0) as newest from hub.audit_leaves) l where l.newest > reached; commit"""
_NEXT = """
select id, case when type = any(%s) then leaf end from hub.audit_leaves where id > %s and id <= %s order by id limit %s"""
_PASTS = """
select p.subject, p.owner, p.past from unnest(%s::text[], %s::text[]) u(subject, owner) join hub.flag_pasts p using (subject, owner)"""
_KEEP = """
insert into hub.flag_pasts (subject, owner, past) select * from unnest(%s::text[], %s::text[], %s::jsonb[])
on conflict (subject, owner) do update set past = excluded.past"""
_RAISE = """
insert into hub.flags (kind, organisation, subject, owner, at, reason, leaves, events, raised_at)
values (%s, %s, %s, %s, %s, %s, %s, %s::uuid[], %s) returning id"""
Part = tuple[str, str]
"""A subject, and the owner whose part of the log it is ('': the hub's own)."""


@dataclass(frozen=True)
class Flagging:
    """`engine` is that of the auditor's role."""

    engine: Engine
    limits: Limits

    def step(self, now: datetime) -> bool:
        """Looks at the next leaves; whether there are more that can be looked at now."""
        with transaction(self.engine) as tx:
            progress = tx.rows(_PROGRESS)
            if not progress:  # another process is at it
                return False
            ((reached, seen, seen_at),) = progress
            if reached >= seen or seen_at > now:  # or the clock was set back
                tx.rows(_SEE, (now,))
                return False
            if now < seen_at + SETTLED:
                return False
            rows = tx.rows(_NEXT, (list(KINDS), reached, seen, AT_ONCE))
            self._look(tx, [a for i, text in rows if text and (a := access_of(i, json.loads(text)))], now)
            more = len(rows) == AT_ONCE
            tx.rows("update hub.flag_progress set reached = %s; commit", (rows[-1][0] if more else seen,))
            return more

    def reached(self, until: datetime) -> bool:
        """Whether every leaf of before `until` that is in the log was looked at."""
        with transaction(self.engine) as tx:
            return not tx.rows(
                "select 1 from hub.audit_leaves where id > (select reached from hub.flag_progress) and at < %s limit 1", (until,)
            )

    def _look(self, tx: Transaction, accesses: Sequence[Access], now: datetime) -> None:
        parts = sorted({_part(a) for a in accesses})
        known = {(subject, owner): past for subject, owner, past in tx.rows(_PASTS, _columns(parts))}
        pasts = {part: Past.read(known.get(part, {})) for part in parts}
        for access in accesses:
            for flag in look(pasts[_part(access)], access, self.limits):
                _raise(tx, flag, now)
        tx.rows(_KEEP, (*_columns(parts), [json.dumps(pasts[part].kept()) for part in parts]))


def _part(access: Access) -> Part:
    return access.subject, access.owner or ""


def _columns(parts: Sequence[Part]) -> tuple[list[str], list[str]]:
    return [subject for subject, _ in parts], [owner for _, owner in parts]


def _raise(tx: Transaction, flag: Flag, now: datetime) -> None:
    """Keeps a flag, and says so in the part of the log that it is about."""
    leaves, events = [c.leaf for c in flag.cites], [c.event for c in flag.cites]
    kept = (flag.kind, flag.organisation, flag.subject, flag.owner, flag.at, flag.reason, leaves, events, now)
    ((number,),) = tx.rows(_RAISE, kept)
    asked: dict[str, Any] = {"step": "raised", "flag": number, "kind": flag.kind}
    append(tx, Event(event_id(now, os.urandom(10)), "flag", now, By(), "permit", asked=asked), [Share(flag.owner)])
