"""Access reviews: set up by an organisation, opened when a period is over, decided line by line by whom they are assigned to, signed off.

The figures of a run are fixed when it is opened, and can be made from the log again; what is signed never changes. Every step has a leaf,
in its transaction.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import rfc8785
from sqlalchemy import Engine

from hub.audit.gathering import gathered
from hub.audit.leaf import By, Event, Share, event_id, instant
from hub.audit.log import append
from hub.audit.periods import MONTHS, end_of
from hub.audit.review import Decision, Review, Run, Summary
from hub.db import Transaction, transaction
from hub.errors import Conflict, Forbidden, InvalidRequest, NoSuchResource

ABSENT = "There is no such access review, or it is not your organisation's."
LATE = timedelta(minutes=10)  # after the end of a period: until then leaves of it may still be on their way
DECISIONS = ("in-order", "question", "revoke")
MAX_NOTE, MAX_TITLE, MAX_DAYS = 2_000, 200, 90
_REVIEW = "r.id::text, r.organisation, r.title, r.scope, r.every, r.within_days, r.assignee::text, r.next_from, r.set_up_at, r.ended_at"
_RUN = "u.id::text, u.since, u.until, u.due_at, u.assignee::text, u.opened_at, u.figures, u.signed, u.signed_at"
_SUMMARIES = f"""
select {_REVIEW}, u.id::text, u.since, u.until, u.due_at, u.assignee::text, u.signed_at, jsonb_array_length(u.figures::jsonb->'lines'),
       (select count(distinct m.line) from hub.review_marks m where m.run = u.id)
from hub.review_runs u join hub.access_reviews r on r.id = u.review where r.organisation = %s order by u.due_at desc, u.id"""
Reached = Callable[[datetime], bool]


class SetUp(NamedTuple):
    """What a review is set up with. `scope`: of the words of hub.audit.figures.SCOPES; `begin`: of the first period."""

    title: str
    scope: Mapping[str, str]
    every: str
    within_days: int
    assignee: UUID
    begin: datetime


class Reviews:
    """`engine` is that of the auditor's role. An organisation asks for its own; what is another's is absent."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine, self._clock = engine, clock

    def set_up(self, by: By, new: SetUp) -> UUID:
        """A new review of the organisation that `by` names.

        Raises:
            InvalidRequest: a part of it makes no sense.
        """
        _check(new)
        number, scope = uuid4(), dict(new.scope)
        with transaction(self._engine) as tx:
            tx.rows(
                "begin; insert into hub.access_reviews (id, organisation, title, scope, every, within_days, assignee, next_from, set_up_at)"
                " values (%s::uuid, %s, %s, %s::jsonb, %s, %s, %s::uuid, %s, %s)",
                (
                    str(number),
                    by.organisation,
                    new.title,
                    rfc8785.dumps(scope).decode(),
                    new.every,
                    new.within_days,
                    str(new.assignee),
                    new.begin,
                    self._clock(),
                ),
            )
            asked = {"step": "set up", "review": str(number), "assignee": str(new.assignee), "every": new.every, "scope": scope}
            self._log(tx, by, asked, _part(by.organisation, scope))
        return number

    def of(self, organisation: str) -> list[Review]:
        """The reviews of an organisation that go on, by title."""
        with transaction(self._engine) as tx:
            rows = tx.rows(
                f"select {_REVIEW} from hub.access_reviews r where organisation = %s and ended_at is null order by title, id",
                (organisation,),
            )
        return [_review(row) for row in rows]

    def runs(self, organisation: str) -> list[Summary]:
        """All its runs, those that are due last first."""
        with transaction(self._engine) as tx:
            rows = tx.rows(_SUMMARIES, (organisation,))
        return [_summary(row) for row in rows]

    def run(self, number: UUID, organisation: str) -> Run:
        """Raises NoSuchResource: there is none, or it is another organisation's."""
        with transaction(self._engine) as tx:
            return _run(tx, number, organisation)

    def assign(self, by: By, number: UUID, assignee: UUID) -> None:
        """From now on somebody else reviews: what is not signed, and what comes. Raises NoSuchResource as `run`."""
        with transaction(self._engine) as tx:
            review = _locked(tx, number, by.organisation)
            tx.rows("update hub.access_reviews set assignee = %s::uuid where id = %s::uuid", (str(assignee), str(number)))
            tx.rows(
                "update hub.review_runs set assignee = %s::uuid where review = %s::uuid and signed_at is null", (str(assignee), str(number))
            )
            asked = {"step": "assigned", "review": str(number), "assignee": str(assignee)}
            self._log(tx, by, asked, _part(review.organisation, review.scope))

    def end(self, by: By, number: UUID) -> None:
        """No run is opened any more; what is open can still be signed. Raises NoSuchResource as `run`."""
        with transaction(self._engine) as tx:
            review = _locked(tx, number, by.organisation)
            tx.rows("update hub.access_reviews set ended_at = %s where id = %s::uuid", (self._clock(), str(number)))
            self._log(tx, by, {"step": "ended", "review": str(number)}, _part(review.organisation, review.scope))

    def open_due(self, reached: Reached) -> int:
        """Opens a run for each review whose period is over, the oldest period first; how many. `reached`: whether what was before a time
        has been looked at for flags. Of several processes one opens a run; interrupted, nothing of it is there.
        """
        now, opened = self._clock(), 0
        with transaction(self._engine) as tx:
            waiting = tx.rows(f"select {_REVIEW} from hub.access_reviews r where ended_at is null and next_from < %s", (now - LATE,))
        for review in map(_review, waiting):
            until = end_of(review.next_from, review.every)
            if until + LATE <= now and reached(until):
                opened += self._open(review, until, now)
        return opened

    def _open(self, review: Review, until: datetime, now: datetime) -> int:
        number, due = uuid4(), now + timedelta(days=review.within_days)
        with transaction(self._engine) as tx:
            free = tx.rows(
                f"begin; select {_REVIEW} from hub.access_reviews r where id = %s::uuid and next_from = %s and ended_at is null"
                " for update skip locked",
                (str(review.id), review.next_from),
            )
            if not free:
                return 0
            review = _review(free[0])
            figures = gathered(tx, review.scope, review.next_from, until)
            tx.rows(
                "insert into hub.review_runs (id, review, since, until, due_at, assignee, opened_at, figures)"
                " values (%s::uuid, %s::uuid, %s, %s, %s, %s::uuid, %s, %s)",
                (str(number), str(review.id), review.next_from, until, due, str(review.assignee), now, figures),
            )
            tx.rows("update hub.access_reviews set next_from = %s where id = %s::uuid", (until, str(review.id)))
            asked = {"step": "opened", "review": str(review.id), "run": str(number), "figures": sha256(figures.encode()).hexdigest()}
            self._log(
                tx, By(), asked | {"from": instant(review.next_from), "until": instant(until)}, _part(review.organisation, review.scope)
            )
        return 1

    def decide(self, by: By, number: UUID, decisions: Sequence[Decision]) -> None:
        """Adds what whom it is assigned to decided about lines; the last decision about a line holds.

        Raises:
            NoSuchResource: as `run`. Forbidden: it is somebody else's to decide. Conflict: it is signed off.
            InvalidRequest: there is no such line or decision, or nothing says why.
        """
        with transaction(self._engine) as tx:
            run = self._assigned(tx, by, number)
            lines, now = {line["line"] for line in run.lines}, self._clock()
            for decision in decisions:
                _check_decision(decision, lines)
                tx.rows(
                    "insert into hub.review_marks (run, line, decision, note, person, at) values (%s::uuid, %s, %s, %s, %s::uuid, %s)",
                    (str(number), decision.line, decision.decision, decision.note, by.person, now),
                )
            asked = {"step": "decided", "run": str(number), "lines": sorted(d.line for d in decisions)}
            self._log(tx, by, asked, _part(run.review.organisation, run.review.scope))

    def sign(self, by: By, number: UUID) -> Run:
        """Signs a run off, for good: figures, decisions, who and when, in the log by their SHA-256.

        Raises:
            NoSuchResource, Forbidden, Conflict: as `decide`; Conflict also while a line is not decided.
        """
        with transaction(self._engine) as tx:
            run, now = self._assigned(tx, by, number), self._clock()
            open_lines = [str(line["line"]) for line in run.lines if line["line"] not in run.decisions]
            if open_lines:
                raise Conflict(f"Not decided yet: line{'s' if len(open_lines) > 1 else ''} {', '.join(open_lines[:20])}.")
            text = rfc8785.dumps(_signed(run, by, now)).decode()
            tx.rows("update hub.review_runs set signed = %s, signed_at = %s where id = %s::uuid", (text, now, str(number)))
            counts = {word: sum(d.decision == word for d in run.decisions.values()) for word in DECISIONS}
            asked: dict[str, Any] = {"step": "signed", "run": str(number), "review": str(run.review.id), "figures": run.figures_sha256}
            asked |= {"sha256": sha256(text.encode()).hexdigest(), "decisions": counts}
            self._log(tx, by, asked, _part(run.review.organisation, run.review.scope))
        return self.run(number, run.review.organisation)

    def again(self, run: Run) -> str:
        """The figures of a run, made from the log as it is now."""
        with transaction(self._engine) as tx:
            return gathered(tx, run.review.scope, run.since, run.until)

    def _assigned(self, tx: Transaction, by: By, number: UUID) -> Run:
        """The run, locked, if it is to be decided by whoever asks."""
        tx.rows("begin; select 1 from hub.review_runs where id = %s::uuid for update", (str(number),))
        run = _run(tx, number, by.organisation or "")
        if by.person != str(run.assignee):
            raise Forbidden("This review is assigned to somebody else, who alone decides about it and signs it off.")
        if run.signed_at is not None:
            raise Conflict(f"This review was signed off at {instant(run.signed_at)}; nothing of it changes any more.")
        return run

    def _log(self, tx: Transaction, by: By, asked: Mapping[str, Any], owner: str | None) -> None:
        now = self._clock()
        append(tx, Event(event_id(now, os.urandom(10)), "review", now, by, "permit", asked=asked), [Share(owner)], then="; commit")


def _part(organisation: str | None, scope: Mapping[str, str]) -> str | None:
    """In whose part of the log a review is: an owner's that reviews its own data, else the hub's own."""
    return organisation if scope.get("owner") == organisation else None


def _check(new: SetUp) -> None:
    if not 0 < len(new.title) <= MAX_TITLE or not new.title.isprintable():
        raise InvalidRequest(f"A title is 1 to {MAX_TITLE} printable characters.", field="title")
    if new.every not in MONTHS:
        raise InvalidRequest(f"every is one of {', '.join(MONTHS)}.", field="every")
    if not 1 <= new.within_days <= MAX_DAYS:
        raise InvalidRequest(f"The time to sign it off is 1 to {MAX_DAYS} days.", field="within_days")


def _check_decision(decision: Decision, lines: Iterable[int]) -> None:
    if decision.line not in lines:
        raise InvalidRequest(f"There is no line {decision.line}.", field="line")
    if decision.decision not in DECISIONS:
        raise InvalidRequest(f"A decision is one of {', '.join(DECISIONS)}.", field="decision")
    if len(decision.note) > MAX_NOTE or not (decision.note or decision.decision == "in-order"):
        raise InvalidRequest(f"Line {decision.line} needs a note of 1 to {MAX_NOTE:,} characters that says why.", field="note")


def _signed(run: Run, by: By, now: datetime) -> dict[str, Any]:
    review = run.review
    decided = [
        {"line": d.line, "decision": d.decision, "note": d.note, "person": d.person, "at": instant(d.at)}
        for _, d in sorted(run.decisions.items())
    ]
    return {
        "v": 1,
        "review": {
            "id": str(review.id),
            "organisation": review.organisation,
            "title": review.title,
            "scope": dict(review.scope),
            "every": review.every,
        },
        "run": str(run.id),
        "from": instant(run.since),
        "until": instant(run.until),
        "due": instant(run.due_at),
        "figures_sha256": run.figures_sha256,
        "decisions": decided,
        "signed": {"organisation": by.organisation, "person": by.person, "at": instant(now)},
    }


def _locked(tx: Transaction, number: UUID, organisation: str | None) -> Review:
    rows = tx.rows(
        f"begin; select {_REVIEW} from hub.access_reviews r where id = %s::uuid and organisation = %s and ended_at is null for update",
        (str(number), organisation),
    )
    if not rows:
        raise NoSuchResource(ABSENT)
    return _review(rows[0])


def _review(row: Sequence[Any]) -> Review:
    number, organisation, title, scope, every, within_days, assignee, next_from, set_up_at, ended_at = row
    return Review(UUID(number), organisation, title, scope, every, within_days, UUID(assignee), next_from, set_up_at, ended_at)


def _summary(row: Sequence[Any]) -> Summary:
    number, since, until, due_at, assignee, signed_at, lines, decided = row[10:]
    return Summary(_review(row[:10]), UUID(number), since, until, due_at, UUID(assignee), signed_at, lines, decided)


def _run(tx: Transaction, number: UUID, organisation: str) -> Run:
    rows = tx.rows(
        f"select {_REVIEW}, {_RUN} from hub.review_runs u join hub.access_reviews r on r.id = u.review"
        " where u.id = %s::uuid and r.organisation = %s",
        (str(number), organisation),
    )
    if not rows:
        raise NoSuchResource(ABSENT)
    marks = tx.rows("select line, decision, note, person::text, at from hub.review_marks where run = %s::uuid order by id", (str(number),))
    _, since, until, due_at, assignee, opened_at, figures, signed, signed_at = rows[0][10:]
    decisions = {mark[0]: Decision(*mark) for mark in marks}
    review = _review(rows[0][:10])
    return Run(number, review, since, until, due_at, UUID(assignee), opened_at, figures, signed, signed_at, decisions)
