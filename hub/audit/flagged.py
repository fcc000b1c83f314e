"""Flags as they are kept: found, read, triaged. A triage is added to the history of a flag, never changed, and has a leaf of its own."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from hub.audit.flags import STATES
from hub.audit.leaf import Event, Share, instant
from hub.audit.log import append
from hub.db import Transaction, transaction
from hub.errors import InvalidRequest, NoSuchResource

ABSENT = "There is no such flag, or it is not about the data of your organisation."
TRIAGED = STATES[1:]
MAX_NOTE = 2_000
SELECT = """
select f.id, f.kind, f.organisation, f.subject, f.owner, f.at, f.reason, f.leaves, f.events::text[], f.raised_at, coalesce(s.state, 'new')
from hub.flags f left join lateral (select state from hub.flag_steps where flag = f.id order by id desc limit 1) s on true"""


@dataclass(frozen=True)
class FlagSearch:
    """Which flags; every member narrows it. `owner`: about that organisation's data. Both ends of the time, that of their last leaf, are
    included; `before` is an id.
    """

    owner: str | None = None
    organisation: str | None = None
    subject: str | None = None
    kind: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True)
class Flagged:
    """A flag that was raised. `subject`: `person:` or `client:` and the id; `state`: of STATES."""

    id: int
    kind: str
    organisation: str
    subject: str
    owner: str | None
    at: datetime
    reason: str
    leaves: list[int]
    events: list[str]
    raised_at: datetime
    state: str

    def told(self) -> dict[str, Any]:
        kind, _, named = self.subject.partition(":")
        owner = {} if self.owner is None else {"owner": self.owner}
        cites = [{"id": leaf, "event": event} for leaf, event in zip(self.leaves, self.events, strict=True)]
        said = {"id": self.id, "kind": self.kind, "state": self.state, "organisation": self.organisation, kind: named, **owner}
        return said | {"at": instant(self.at), "raised_at": instant(self.raised_at), "reason": self.reason, "leaves": cites}


@dataclass(frozen=True)
class Step:
    """What somebody made of a flag, and why."""

    state: str
    note: str
    organisation: str
    person: str | None
    client: str | None
    at: datetime

    def told(self) -> dict[str, Any]:
        by = {"person": self.person} if self.person else {"client": self.client}
        return {"state": self.state, "note": self.note, "organisation": self.organisation, **by, "at": instant(self.at)}


class Flags:
    """The flags. `owner`, where it is asked for, narrows to flags about that organisation's data; None: an auditor asks."""

    def __init__(self, engine: Engine) -> None:
        """`engine` is that of the auditor's role."""
        self._engine = engine

    def find(self, search: FlagSearch) -> list[Flagged]:
        """Flags that match, newest first."""
        columns = {"owner": "f.owner", "organisation": "f.organisation", "subject": "f.subject", "kind": "f.kind"}
        asked = {"state": "coalesce(s.state, 'new') = %(state)s", "since": "f.at >= %(since)s", "until": "f.at <= %(until)s"}
        tests = asked | {"before": "f.id < %(before)s"} | {name: f"{column} = %({name})s" for name, column in columns.items()}
        values = {name: value for name in tests if (value := getattr(search, name)) is not None}
        where = " and ".join(tests[name] for name in values) or "true"
        with transaction(self._engine) as tx:
            rows = tx.rows(f"{SELECT} where {where} order by f.id desc limit %(limit)s", values | {"limit": search.limit})
        return [Flagged(*row) for row in rows]

    def get(self, number: int, owner: str | None) -> Flagged:
        """Raises NoSuchResource: there is none, or it is about another owner's data."""
        with transaction(self._engine) as tx:
            return _get(tx, number, owner)

    def history(self, number: int) -> list[Step]:
        """What was made of it, oldest first."""
        with transaction(self._engine) as tx:
            rows = tx.rows(
                "select state, note, organisation, person::text, client, at from hub.flag_steps where flag = %s order by id", (number,)
            )
        return [Step(*row) for row in rows]

    def triage(self, number: int, event: Event, state: str, note: str) -> Flagged:
        """Adds what somebody, who is told by `event`, made of a flag; the event is in the same transaction.

        Raises:
            InvalidRequest: there is no such state, or nothing says why. NoSuchResource: there is no such flag.
        """
        if state not in TRIAGED:
            raise InvalidRequest(f"state is one of {', '.join(TRIAGED)}.", field="state")
        if len(note) > MAX_NOTE or not (note or state == "looked-at"):
            raise InvalidRequest(f"note says why, in 1 to {MAX_NOTE:,} characters; only what was looked at needs none.", field="note")
        by = event.by
        with transaction(self._engine) as tx:
            tx.rows("begin")
            found = _get(tx, number, None)
            tx.rows(
                "insert into hub.flag_steps (flag, state, note, organisation, person, client, at)"
                " values (%s, %s, %s, %s, %s::uuid, %s, %s)",
                (number, state, note, by.organisation, by.person, by.client, event.at),
            )
            append(tx, event, [Share(found.owner)], then="; commit")
        return self.get(number, None)


def _get(tx: Transaction, number: int, owner: str | None) -> Flagged:
    rows = tx.rows(f"{SELECT} where f.id = %s and (%s::text is null or f.owner = %s)", (number, owner, owner))
    if not rows:
        raise NoSuchResource(ABSENT)
    return Flagged(*rows[0])
