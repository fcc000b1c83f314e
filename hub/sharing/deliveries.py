"""Who was given which record under grants with duties, and until when it may be kept: kept in the transaction of the access itself, so
that a recall finds everybody who holds a record (hub/sharing/recalled.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from hub.audit.leaf import Event, instant
from hub.db import Transaction
from hub.policy.duties import Owed, strictest
from hub.sharing.live import Policy


class Given(NamedTuple):
    """A record that is shown: its provider, its id, and the clauses that release it and hold some of it back."""

    provider: int
    id: str
    clauses: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a recipient is given under one MOU with duties: records of one provider, all shown alike."""

    provider: int
    mou: str
    version: int
    grants: tuple[int, ...]
    fields: dict[str, str]
    owed: Owed
    records: list[str]


def owed(policy: Policy, clauses: tuple[int, ...]) -> Owed | None:
    """What is owed for a record with these live clauses."""
    return policy.remember(("owed", *clauses), lambda: strictest(policy.grants[c].duties for c in clauses if c in policy.grants))


def member(policy: Policy, clauses: tuple[int, ...], at: datetime) -> str:
    """The member of a feature that tells its reader what is owed for it, behind a comma; nothing where nothing is."""
    found = owed(policy, clauses)
    if found is None:
        return ""
    until = found.until(at)
    said = {"onward": "forbid", "refrain": list(found.refrain), "retain_until": until and instant(until)}
    return f',"duties":{orjson.dumps(said).decode()}'


def deliveries(policy: Policy, given: Iterable[Given], fields: dict[tuple[int, ...], dict[str, str]]) -> list[Delivery]:
    """What is to be kept of an access; `fields`: how records with these clauses are shown, for those under a duty."""
    alike: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for record in given if fields else ():
        if record.clauses in fields:
            alike.setdefault((record.provider, record.clauses), []).append(record.id)
    found = []
    for (provider, clauses), records in alike.items():
        due = [policy.grants[c] for c in clauses if c in policy.grants and policy.grants[c].duties is not None]
        for mou, version in sorted({(g.mou, g.version) for g in due}):
            ids = tuple(g.id for g in due if (g.mou, g.version) == (mou, version))
            if total := strictest(g.duties for g in due):
                found.append(Delivery(provider, mou, version, ids, fields[clauses], total, records))
    return found


def keep(tx: Transaction, event: Event, recipient: int, dataset: int, found: Sequence[Delivery]) -> None:
    """Writes them within the transaction of the access."""
    if found:
        arguments = (str(event.id), recipient, dataset, event.at, orjson.dumps([_row(d) for d in found]).decode())
        tx.rows("select hub.deliver(%s::uuid, %s, %s::smallint, %s, %s::jsonb)", arguments)


def _row(delivery: Delivery) -> dict[str, Any]:
    owes = delivery.owed.kept()
    return {
        "provider": delivery.provider,
        "mou": delivery.mou,
        "version": delivery.version,
        "grants": delivery.grants,
        "fields": delivery.fields,
        "retain_s": owes["retain_s"],
        "acknowledge_s": owes["acknowledge_s"],
        "records": delivery.records,
    }
