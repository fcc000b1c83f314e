"""Live clauses: which grants of active MOUs hold for an organisation, a purpose and an action at this moment, and which refusals hold
for it whatever it asks for.

The clauses of an epoch never change, so each process keeps the last epoch's; whether an MOU is in force is asked at each request.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Literal, TypeVar
from uuid import UUID

from hub.db import Transaction
from hub.policy.duties import Owed
from hub.policy.treatments import COMPARED, WITHHOLD, Treatment, shows

T = TypeVar("T")
MATCH: Literal["match"] = "match"
COUNT: Literal["count"] = "count"  # what `aggregates` lets a recipient do; a part of the action query


@dataclass(frozen=True, slots=True)
class LiveGrant:
    """One grant as the database holds it. `since` ≤ now < `until` is when its MOU is in force; `case_required`: it holds only for
    requests with a case reference; `duties`: what its recipient owes for what it gives; `min_count`:
    the least of the counts that it gives; None: it gives none.
    """

    id: int
    name: str
    dataset: int
    provider: int
    recipient: int
    purposes: frozenset[str]
    actions: frozenset[str]
    fields: Mapping[str, Treatment]
    lookback: timedelta | None
    embargo: timedelta | None
    mou: str
    version: int
    sha256: str
    since: datetime
    until: datetime
    case_required: bool = False
    duties: Owed | None = None
    min_count: int | None = None

    def covers(self, recipient: int, purpose: str, action: str, dataset: int) -> bool:
        """Whether this grant is for that organisation, purpose, action and dataset: `count`, one that shows records, or `match`. A grant
        that shows nothing must not reach a released view otherwise: that a record is there would show.
        """
        gives = self.min_count is not None if action == COUNT else action == MATCH or shows(self.fields)
        action = "query" if action == COUNT else action
        return gives and self.recipient == recipient and self.dataset == dataset and purpose in self.purposes and action in self.actions

    def treatment(self, name: str) -> Treatment:
        return self.fields.get(name, WITHHOLD)

    def matches(self, name: str) -> bool:
        """Whether its recipient may ask for values of this field."""
        return MATCH in self.actions and self.treatment(name) in COMPARED


@dataclass(frozen=True, slots=True)
class LiveRefusal:
    """One refusal as the database holds it: of whole records of a provider, or of these `fields` of them."""

    id: int
    name: str
    dataset: int
    provider: int
    recipient: int
    fields: frozenset[str] | None
    mou: str
    version: int
    sha256: str
    since: datetime
    until: datetime

    def holds_back(self, field: str) -> bool:
        return self.fields is None or field in self.fields


@dataclass(frozen=True)
class Policy:
    """The clauses of one policy epoch: ids of grants are positive, of refusals negative. The organisations' names, and their ids in
    ciphertexts, by number.
    """

    epoch: int
    grants: Mapping[int, LiveGrant]
    refusals: Mapping[int, LiveRefusal]
    names: Mapping[int, str]
    uids: Mapping[int, UUID]
    shares: Mapping[int, float]
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False)

    def live(self, recipient: int, purpose: str, action: str, dataset: int, now: datetime, case: bool = False) -> tuple[LiveGrant, ...]:
        """The grants that hold now, in the order of their ids; `case`: whether the request has a case reference."""
        key = (recipient, purpose, action, dataset)
        candidates: tuple[LiveGrant, ...] = self._memo.get(key, ())
        if not candidates:
            candidates = tuple(g for g in self.grants.values() if g.covers(recipient, purpose, action, dataset))
        if candidates:  # a purpose that nobody granted is not worth remembering, however many are asked for
            self._memo[key] = candidates
        return tuple(g for g in candidates if g.since <= now < g.until and (case or not g.case_required))

    def refused(self, recipient: int, dataset: int, now: datetime) -> tuple[LiveRefusal, ...]:
        """The refusals that hold for an organisation now or will, for whatever purpose and under whichever MOU of their provider."""
        candidates = self.remember(
            ("refusals", recipient, dataset),
            lambda: tuple(r for r in self.refusals.values() if (r.recipient, r.dataset) == (recipient, dataset)),
        )
        return tuple(r for r in candidates if now < r.until)

    def remember(self, key: tuple[object, ...], work_out: Callable[[], T]) -> T:
        """What follows from grants alone, worked out once an epoch; `key` begins with what it is."""
        if key not in self._memo:
            self._memo[key] = work_out()
        found: T = self._memo[key]
        return found

    def share(self, grants: tuple[LiveGrant, ...]) -> float:
        """Roughly which part of a dataset these grants reach (0 … 1), as the planner's statistics have it."""
        return min(1.0, sum(self.shares.get(g.id, 0.0) for g in grants))


class Policies:
    """The policy of the newest epoch seen by this process; safe to use from several threads."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._lock = Lock()
        self._known: tuple[Policy, datetime] | None = None

    def at(self, tx: Transaction, epoch: int, now: datetime) -> Policy:
        """The policy of `epoch`, or of a newer one. Statistics are read anew each minute."""
        known = self._known
        if known and known[0].epoch == epoch and now - known[1] < timedelta(minutes=1):
            return known[0]
        with self._lock:
            policy = _read(tx, epoch, self._table)
            self._known = (policy, now)
            return policy


def _read(tx: Transaction, epoch: int, table: str) -> Policy:
    rows = tx.rows("select * from hub.policy_snapshot()")
    refusals = tx.rows("select * from hub.refusal_snapshot()")
    organisations = tx.rows("select * from hub.organisation_names()")
    shares = dict(tx.rows("select * from hub.grant_shares(%s)", (table,)))
    # No row, no epoch in it: then the one just read stands. What was read under another one is of no use: the log refuses to append.
    return Policy(
        rows[0][0] if rows else epoch,
        {row[1]: _grant(row[1:]) for row in rows},
        {row[0]: _refusal(row) for row in refusals},
        {number: slug for number, slug, _ in organisations},
        {number: uid for number, _, uid in organisations},
        shares,
    )


def _grant(row: tuple[Any, ...]) -> LiveGrant:
    number, name, dataset, provider, recipient, purposes, actions, fields, lookback, embargo, mou, version, digest, *more = row
    since, until, case, duties, min_count = more
    return LiveGrant(
        number,
        name,
        dataset,
        provider,
        recipient,
        frozenset(purposes),
        frozenset(actions),
        {f: Treatment.parse(t) for f, t in fields.items()},
        _seconds(lookback),
        _seconds(embargo),
        mou,
        version,
        digest,
        since,
        until,
        case,
        None if duties is None else Owed.read(duties),
        min_count,
    )


def _refusal(row: tuple[Any, ...]) -> LiveRefusal:
    number, name, dataset, provider, recipient, fields, *mou = row
    return LiveRefusal(number, name, dataset, provider, recipient, None if fields is None else frozenset(fields), *mou)


def _seconds(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(seconds=value)
