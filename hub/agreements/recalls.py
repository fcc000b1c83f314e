"""What recipients hold under duties, recalls of it, and their answers: for the recipient and for the provider, whose records they are.

A party asks for its own side. To anybody else a recall is absent. Answers and attestations are in the logs of both.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from hub.agreements.store import Actor
from hub.audit.leaf import Event, Share, event_id, instant
from hub.audit.log import append
from hub.db import Transaction, transaction
from hub.errors import Conflict, InvalidRequest, NoSuchResource
from hub.sharing.recalled import held_sql

SIDES = ("recipient", "provider")
STATES = {"open": "r.acknowledged_at is null", "overdue": "r.acknowledged_at is null and r.due_at < %(now)s", "all": "true"}
ANSWERS = {"correction": ("corrected", "destroyed", "not-held")}
GONE = ("destroyed", "not-held")  # what a recall that isn't a correction can be answered by
PAGE = 1_000
ABSENT = "There is no such recall, or it is not for your organisation."
# A correction says that what was released is another value now: it is told while the agreement gives that value.
_TOLD = """
(r.kind <> 'correction' or r.provider = %(me)s or exists (select from hub.mous m where m.mou = r.mou and m.state = 'active'
  and m.in_force_from <= %(now)s and %(now)s < m.in_force_until))"""


@dataclass(frozen=True, slots=True)
class Recall:
    """A notice to those who hold a record (`record` None: all that was given under the MOU). Its answer is due at `due`."""

    id: UUID
    kind: str
    dataset: str | None
    record: UUID | None
    recipient: str
    provider: str
    mou: str
    at: datetime
    due: datetime
    acknowledged: datetime | None
    answer: str | None

    def told(self, now: datetime) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "kind": self.kind,
            "dataset": self.dataset,
            "record": None if self.record is None else str(self.record),
            "recipient": self.recipient,
            "provider": self.provider,
            "mou": self.mou,
            "at": instant(self.at),
            "due": instant(self.due),
            "overdue": self.acknowledged is None and self.due < now,
            "acknowledged_at": None if self.acknowledged is None else instant(self.acknowledged),
            "answer": self.answer,
        }


class Recalls:
    """`engine` is that of hub_agreements; `datasets`: names by number."""

    def __init__(self, engine: Engine, datasets: dict[int, str], clock: Callable[[], datetime]) -> None:
        self._engine, self._datasets, self._clock = engine, datasets, clock

    def notices(self, actor: Actor, side: str = "recipient", state: str = "open", after: UUID | None = None) -> list[Recall]:
        """Recalls to the actor's organisation, or, as provider, those of its records: up to 1,000 after the one named `after`, those that
        are due first first.

        Raises:
            InvalidRequest: there is no such side or state.
        """
        if side not in SIDES or state not in STATES:
            field, words = ("as", SIDES) if side not in SIDES else ("state", tuple(STATES))
            raise InvalidRequest(f"{field} is one of {', '.join(words)}.", field=field)
        with transaction(self._engine) as tx:
            rest = (
                f"(r.due_at, r.id) > (select a.due_at, a.id from hub.recalls a where a.id = %(after)s::uuid and a.{side} = %(me)s)"
                if after
                else "true"
            )
            return self._find(tx, actor, f"r.{side} = %(me)s and {STATES[state]} and {_TOLD} and {rest}", after=after and str(after))

    def acknowledge(self, actor: Actor, recall: UUID, answer: str) -> Recall:
        """The recipient says what it has done: corrected its copy, destroyed it, or that it holds none.

        Raises:
            NoSuchResource: there is none for the actor's organisation. Conflict: it was answered already.
            InvalidRequest: this kind of recall isn't answered so.
        """
        with transaction(self._engine) as tx:
            tx.rows("begin; select 1 from hub.recalls where id = %s::uuid for update", (str(recall),))
            found = self._find(tx, actor, f"r.recipient = %(me)s and r.id = %(id)s::uuid and {_TOLD}", id=str(recall))
            if not found:
                raise NoSuchResource(ABSENT)
            (one,) = found
            if one.acknowledged is not None:
                raise Conflict(f"It was answered already, at {instant(one.acknowledged)}: {one.answer}.")
            known = ANSWERS.get(one.kind, GONE)
            if answer not in known:
                raise InvalidRequest(f"A {one.kind} is answered by {' or '.join(known)}.", field="answer")
            now = self._clock()
            tx.rows("update hub.recalls set acknowledged_at = %s, answer = %s where id = %s::uuid", (now, answer, str(recall)))
            asked = {"step": "recall acknowledged", "recall": str(recall), "kind": one.kind, "answer": answer}
            self._log(tx, actor, one.provider, one.mou, now, asked)
            (after,) = self._find(tx, actor, "r.id = %(id)s::uuid", id=str(recall))
            tx.rows("commit")
            return after

    def held(self, actor: Actor, side: str = "recipient") -> list[dict[str, Any]]:
        """What was delivered under each MOU and is not attested to be gone: how many records, since when, how many of them should be."""
        if side not in SIDES:
            raise InvalidRequest(f"as is one of {', '.join(SIDES)}.", field="as")
        with transaction(self._engine) as tx:
            rows = tx.rows(
                f"""
                select c.slug, p.slug, d.mou, count(distinct n), min(d.at), max(d.at), min(d.retain_until),
                       count(distinct n) filter (where d.retain_until <= %(now)s)
                from hub.deliveries d join hub.organisations c on c.id = d.recipient join hub.organisations p on p.id = d.provider
                cross join unnest(d.records) n where {held_sql("n")}
                  and d.{side} = (select id from hub.organisations where slug = %(me)s) group by 1, 2, 3 order by 3, 1""",
                {"me": actor.organisation, "now": self._clock()},
            )
        return [_held(*row) for row in rows]

    def deliveries(self, actor: Actor, dataset: int, record: UUID) -> list[dict[str, Any]]:
        """The newest 1,000 deliveries of a record under a duty, to the actor's organisation or of its own records; none: there was
        none, whether or not there is such a record.
        """
        with transaction(self._engine) as tx:
            rows = tx.rows(
                f"""
                select d.event::text, c.slug, p.slug, d.mou, d.version, d.fields, d.at, d.retain_until, d.destroyed_at
                from hub.deliveries d join hub.organisations c on c.id = d.recipient join hub.organisations p on p.id = d.provider
                where %(me)s in (c.slug, p.slug) and d.records @> array[%(id)s::uuid] and d.dataset = %(dataset)s
                order by d.at desc, d.id desc limit {PAGE}""",
                {"me": actor.organisation, "dataset": dataset, "id": str(record)},
            )
        names = ("event", "recipient", "provider", "mou", "version", "fields")
        times = ("at", "retain_until", "destroyed_at")
        return [
            dict(zip(names, row, strict=False)) | {n: None if t is None else instant(t) for n, t in zip(times, row[6:], strict=True)}
            for row in rows
        ]

    def attest(self, actor: Actor, mou: str, until: datetime, statement: str) -> dict[str, Any]:
        """The recipient attests that it has destroyed all that it was given under an MOU until then; what was recalled of it is answered by
        that.

        Raises:
            InvalidRequest: `until` is to come. NoSuchResource: nothing was given to it under such an agreement until then.
        """
        now = self._clock()
        if until > now:
            raise InvalidRequest("until is to come: only what was given already can be destroyed.", field="until")
        with transaction(self._engine) as tx:
            asked = {"mou": mou, "me": actor.organisation, "until": until, "now": now}
            mine = "recipient = (select id from hub.organisations where slug = %(me)s)"
            rows = tx.rows(
                f"""begin; with gone as (update hub.deliveries set destroyed_at = %(now)s where mou = %(mou)s and {mine} and at <= %(until)s
                      and destroyed_at is null returning provider, records)
                select o.slug, count(distinct n) from gone g join hub.organisations o on o.id = g.provider, unnest(g.records) n
                group by 1""",
                asked,
            )
            if not rows:
                raise NoSuchResource("Nothing that your organisation still holds was given to it under such an agreement until then.")
            answered = tx.rows(
                f"update hub.recalls set acknowledged_at = %(now)s, answer = 'destroyed' where mou = %(mou)s and {mine} and at <= %(until)s"
                " and acknowledged_at is null returning 1",
                asked,
            )
            ((provider, records),) = rows
            said = {"mou": mou, "until": instant(until), "records": records, "recalls": len(answered), "statement": statement}
            self._log(tx, actor, provider, mou, now, {"step": "destruction attested", **said})
            tx.rows("commit")
        return said | {"provider": provider, "at": instant(now)}

    def _find(self, tx: Transaction, actor: Actor, where: str, **more: Any) -> list[Recall]:
        me = "(select id from hub.organisations where slug = %(me)s)"
        rows = tx.rows(
            "select r.id::text, r.kind, r.dataset, r.record::text, c.slug, p.slug, r.mou, r.at, r.due_at, r.acknowledged_at, r.answer"
            " from hub.recalls r join hub.organisations c on c.id = r.recipient join hub.organisations p on p.id = r.provider"
            f" where {where.replace('%(me)s', me)} order by r.due_at, r.id limit {PAGE}",
            {"me": actor.organisation, "now": self._clock(), **more},
        )
        return [
            Recall(UUID(i), kind, dataset and self._datasets[dataset], record and UUID(record), *rest)
            for i, kind, dataset, record, *rest in rows
        ]

    def _log(self, tx: Transaction, actor: Actor, provider: str, mou: str, now: datetime, asked: dict[str, Any]) -> None:
        event = Event(event_id(now, os.urandom(10)), "duty", now, actor.by, "permit", asked={"mou": mou, **asked})
        append(tx, event, [Share(party) for party in dict.fromkeys((provider, str(actor.organisation)))])


def recall_all(tx: Transaction, recipient: int, provider: int, mou: str, now: datetime) -> None:
    """An agreement was ended: whoever holds something that it gave under a duty is told, once for all of it."""
    tx.rows(
        "insert into hub.recalls (recipient, provider, kind, mou, at, due_at)"
        " select %(recipient)s, %(provider)s, 'revocation', %(mou)s, %(now)s, %(now)s + make_interval(secs => min(acknowledge_s))"
        " from hub.deliveries where recipient = %(recipient)s and provider = %(provider)s and mou = %(mou)s and destroyed_at is null"
        " having count(*) > 0",
        {"recipient": recipient, "provider": provider, "mou": mou, "now": now},
    )


def _held(
    recipient: str, provider: str, mou: str, records: int, first: datetime, last: datetime, soonest: datetime | None, late: int
) -> dict[str, Any]:
    return {
        "recipient": recipient,
        "provider": provider,
        "mou": mou,
        "records": records,
        "first": instant(first),
        "last": instant(last),
        "retain_until": None if soonest is None else instant(soonest),
        "late": late,
    }
