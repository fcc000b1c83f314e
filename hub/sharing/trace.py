"""The whole trace of a record, for its owner and for auditors: every clause of its provider, whether it holds and if not for what, and who
therefore gets which fields in which treatment. Values of the record are not told. A reader's own explanation is hub/sharing/explain.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Engine

from hub.audit.leaf import instant
from hub.db import transaction
from hub.errors import NotShared
from hub.policy.treatments import WITHHOLD, Treatment, told, window
from hub.records import WINDOW_FIELD, Record

COMING, SUSPENDED, PERIOD = "is coming into force", "its MOU is suspended", "its MOU is outside its period"
ENDED = "its MOU was ended or replaced"
CONDITIONS, WINDOW = "the record does not meet its conditions", "the record is outside its window"
WHY_NOT = (COMING, SUSPENDED, ENDED, PERIOD, CONDITIONS, WINDOW)  # all that a trace can say
_STATES = {"activating": COMING, "suspended": SUSPENDED}


@dataclass(frozen=True, slots=True)
class _Clause:
    """One row of `<dataset>_trace`; `refuses` None: a grant. `missed`: the conditions that the record doesn't meet."""

    mou: str
    version: int
    state: str
    since: datetime
    until: datetime
    recipient: str
    name: str
    purposes: Sequence[str]
    actions: Sequence[str]
    fields: dict[str, Treatment]
    lookback: timedelta | None
    embargo: timedelta | None
    case: bool
    whole: bool
    refuses: frozenset[str] | None
    missed: Sequence[str]

    def why_not(self, at: datetime, now: datetime) -> str | None:
        """What keeps it from holding on the record now; None: it holds."""
        if self.state != "active":  # the rules of what ended are there for a moment more, or until a hub that was cut off serves again
            return _STATES.get(self.state, ENDED)
        if not self.since <= now < self.until:
            return PERIOD
        if self.missed:
            return CONDITIONS
        since, until = window(now, self.lookback, self.embargo, self.fields.get(WINDOW_FIELD, WITHHOLD).step)
        if (since is not None and at < since) or (until is not None and at >= until):
            return WINDOW
        return None

    def told(self, reason: str | None) -> dict[str, Any]:
        kind = "grant" if self.refuses is None else "refusal"
        said: dict[str, Any] = {
            "mou": self.mou,
            "version": self.version,
            kind: self.name,
            "recipient": self.recipient,
            "holds": reason is None,
        }
        said |= {"why_not": reason, "missed": list(self.missed)} if reason else {}
        if self.refuses is not None:
            return said | {"fields": None if self.whole else sorted(self.refuses)}
        return said | {
            "purposes": list(self.purposes),
            "actions": list(self.actions),
            "case_required": self.case,
            "until": instant(self.until),
        }


class Tracing:
    """Traces records of one dataset; `engine` is the auditor's."""

    def __init__(self, name: str, dataset: type[Record], engine: Engine) -> None:
        self._name, self._dataset, self._engine = name, dataset, engine

    def trace(self, record: UUID, owner: str | None, now: datetime) -> bytes:
        """The trace, as JSON; `owner` None: an auditor asks.

        Raises:
            NotShared: there is no such record, or it is another owner's: one answer.
        """
        with transaction(self._engine) as tx:
            rows = tx.rows(f"select * from hub.{self._name}_trace(%s::uuid, %s)", (str(record), owner))
        if not rows:
            raise NotShared
        provider, at = rows[0][:2]
        clauses = [(c, c.why_not(at, now)) for c in map(_clause, rows) if c is not None]
        holding = [c for c, reason in clauses if reason is None]
        return orjson.dumps(
            {
                "id": str(record),
                "provider": provider,
                "readers": list(self._readers(holding)),
                "clauses": [c.told(reason) for c, reason in clauses],
            }
        )

    def _readers(self, holding: Sequence[_Clause]) -> Iterable[dict[str, Any]]:
        """Who gets the record now, for what, and how; readers who name a case, where a grant wants one."""
        grants = [c for c in holding if c.refuses is None]
        for recipient in sorted({g.recipient for g in grants}):
            refused = [None if c.whole else c.refuses for c in holding if c.refuses is not None and c.recipient == recipient]
            mine = [g for g in grants if g.recipient == recipient]
            for purpose, action in sorted({pair for g in mine for pair in product(g.purposes, g.actions)}):
                giving = [g for g in mine if purpose in g.purposes and action in g.actions]
                found = told(self._dataset, action, [g.fields for g in giving], refused)
                if found is None:
                    continue
                yield {
                    "organisation": recipient,
                    "purpose": purpose,
                    "action": action,
                    "case_required": all(g.case for g in giving),
                    "fields": {name: str(treatment) for name, treatment in found.items()},
                }


def _clause(row: tuple[Any, ...]) -> _Clause | None:
    """None: the provider shares nothing with anybody."""
    mou, version, state, since, until, recipient, name, purposes, actions, fields, lookback, embargo, case, refusal, refuses, missed = row[
        2:
    ]
    if mou is None:
        return None
    return _Clause(
        mou, version, state, since, until, recipient, name, purposes or (), actions or (),
        {field: Treatment.parse(text) for field, text in (fields or {}).items()}, _span(lookback), _span(embargo),
        bool(case), refusal and refuses is None, frozenset(refuses or ()) if refusal else None, missed,
    )  # fmt: skip


def _span(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
