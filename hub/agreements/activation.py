"""A version of an MOU comes into force while everybody reads and writes; until the switch the version before serves.

    begin    its rules are added while nobody stores (advisory lock 2, briefly): what is stored from now on has its labels too
    label    records that were there before get them, batch by batch; each batch commits with how far it came
    switch   one transaction: this version is active, the one before superseded, the step in the log, the policy epoch raised once
             every disclosure that has begun is in the log (advisory lock 1)
    sweep    rules of the version before go, then its labels, batch by batch

Nothing opens before the switch, and nothing of the version before after it: only clauses of active versions are live. Whatever was cut
off, even by kill -9, goes on from the last batch, in any process; two that work at it take turns (docs/decisions/0018).
"""

import os
import time
from collections.abc import Mapping
from datetime import datetime
from math import inf
from typing import Any

import orjson
import shapely
from sqlalchemy import Engine

from hub.agreements.rules import insert_rules
from hub.audit.leaf import By, Event, Share, event_id
from hub.audit.log import append
from hub.db import Transaction, transaction
from hub.policy.mou import Mou
from hub.records import Record

BATCH = 5_000  # records looked at in one transaction: a fraction of a second
_NEXT = "select dataset, provider, adds, takes, k2, id from hub.mou_work where mou_id = %s and not done order by dataset limit 1 for update"
_CLAUSES = "select dataset, id from hub.grants where mou_id = %s union all select dataset, id from hub.refusals where mou_id = %s"
_VERSIONS = "select id, state from hub.mous where mou = (select mou from hub.mous where id = %s) order by id for update"
_SWITCH = """
update hub.mous set state = 'active', stepped_at = %s where id = %s
  and not exists (select from hub.mou_work where mou_id = %s and not done) returning 1"""
_TOLD = """
select m.mou, m.version, m.sha256, o.slug, c.slug, m.ordered_by,
       array(select g.name from hub.grants g where g.mou_id = m.id order by g.id)
from hub.mous m join hub.organisations o on o.id = m.provider join hub.organisations c on c.id = m.consumer where m.id = %s"""


class Activation:
    """Brings versions into force; safe to use from several processes. `engine` is that of hub_agreements."""

    def __init__(self, engine: Engine, datasets: Mapping[str, type[Record]]) -> None:
        self._engine = engine
        self._datasets = datasets
        self._names = {dataset.number: name for name, dataset in datasets.items()}

    def begin(self, tx: Transaction, mou_id: int, mou: Mou, provider: int, areas: Mapping[str, shapely.Geometry], by: By) -> None:
        """Adds the rules of a version that is there in the state `activating`. `tx` holds lock 2; the caller commits."""
        for name, clauses in insert_rules(tx, mou_id, mou, provider, areas, self._datasets).items():
            self._order(tx, mou_id, name, provider, clauses, [])
        tx.rows("update hub.mous set ordered_by = %s::jsonb where id = %s", (orjson.dumps(by.member()).decode(), mou_id))

    def finish(self, mou_id: int, now: datetime, patience_s: float = inf) -> int:
        """Labels, switches and sweeps; gives the number of records that got labels. What is done already is not done again. Gives up
        after `patience_s` seconds, with what it has done kept.
        """
        end = time.monotonic() + patience_s
        labelled = self._work(mou_id, end)
        for former in self._switch(mou_id, now):
            self.sweep(former, end - time.monotonic())
        return labelled

    def call_off(self, tx: Transaction, mou_id: int) -> None:
        """Takes the rules of a version away that doesn't come into force after all. `tx` holds lock 2; the caller commits, then sweeps."""
        self._delete_rules(tx, mou_id)
        self.order_sweep(tx, mou_id)

    def sweep(self, mou_id: int, patience_s: float = inf) -> None:
        """Takes the labels of a version off that is no longer active; gives up after `patience_s` seconds, as `finish` does."""
        end = time.monotonic() + patience_s
        with transaction(self._engine) as tx:
            tx.rows("begin; select pg_advisory_xact_lock(7201, 2)")
            self._delete_rules(tx, mou_id)
            tx.rows("commit")
        self._work(mou_id, end)

    def unfinished(self) -> list[tuple[int, bool]]:
        """Versions that something is to be done for, and whether they are yet to come into force."""
        with transaction(self._engine) as tx:
            return tx.rows(
                "select m.id, m.state = 'activating' from hub.mous m where m.state = 'activating'"
                " or exists (select from hub.mou_work w where w.mou_id = m.id and not w.done) order by m.id"
            )

    def resume(self, now: datetime) -> int:
        """Finishes what was cut off; gives how many versions that were."""
        found = self.unfinished()
        for mou_id, coming in found:
            if coming:
                self.finish(mou_id, now)
            else:
                self.sweep(mou_id)
        return len(found)

    def _order(self, tx: Transaction, mou_id: int, name: str, provider: int, adds: list[int], takes: list[int]) -> None:
        tx.rows(
            "insert into hub.mou_work (mou_id, dataset, provider, adds, takes) values (%s, %s, %s, %s::int[], %s::int[])"
            " on conflict (mou_id, dataset) do update set adds = excluded.adds, takes = excluded.takes, k2 = default, id = default,"
            " touched = 0, done = false",
            (mou_id, self._datasets[name].number, provider, adds, takes),
        )

    def _work(self, mou_id: int, end: float) -> int:
        """Batches that are left, until `end`; gives the number of records touched, by former attempts too."""
        with transaction(self._engine) as tx:
            while time.monotonic() < end and self._batch(tx, mou_id):
                pass
            return int(tx.rows("select coalesce(sum(touched), 0) from hub.mou_work where mou_id = %s", (mou_id,))[0][0])

    def _batch(self, tx: Transaction, mou_id: int) -> bool:
        """One batch and its position, committed together; false when there is none left. Another process waits for the row."""
        found = tx.rows(f"begin; {_NEXT}", (mou_id,))
        if not found:
            tx.rows("commit")
            return False
        number, provider, adds, takes, k2, record = found[0]
        k2, record, touched = tx.rows(
            f"select * from hub.{self._names[number]}_relabel(%s, %s::int[], %s::int[], %s, %s, %s)",
            (provider, adds, takes, k2, record, BATCH),
        )[0]
        to, values = ("done = true", ()) if record is None else ("k2 = %s, id = %s", (k2, record))
        tx.rows(
            f"update hub.mou_work set {to}, touched = touched + %s where mou_id = %s and dataset = %s; commit",
            (*values, touched, mou_id, number),
        )
        return True

    def _switch(self, mou_id: int, now: datetime) -> list[int]:
        """The version becomes active, the one before it superseded: gives that. Nothing while a version of the agreement is suspended, or
        if this one is no longer coming into force.
        """
        with transaction(self._engine) as tx:
            states = dict(tx.rows(f"begin; {_VERSIONS}", (mou_id,)))
            waits = states[mou_id] != "activating" or "suspended" in states.values()
            if waits or not tx.rows(_SWITCH, (now, mou_id, mou_id)):
                tx.rows("rollback")
                return []
            former = [number for number, state in states.items() if state == "active"]
            for number in former:
                tx.rows("update hub.mous set state = 'superseded', stepped_at = %s where id = %s", (now, number))
                self.order_sweep(tx, number)
            tx.rows("select pg_advisory_xact_lock(7201, 1)")  # before the log, as everywhere
            self._log(tx, mou_id, now)
            tx.rows("update hub.policy_epoch set epoch = epoch + 1; commit")
            return former

    def order_sweep(self, tx: Transaction, mou_id: int) -> None:
        """Has the labels of a version taken off, later: see `sweep`. The caller commits."""
        clauses: dict[str, list[int]] = {}
        for dataset, number in tx.rows(f"{_CLAUSES} order by id", (mou_id, mou_id)):
            clauses.setdefault(self._names[dataset], []).append(number)
        provider = tx.rows("select provider from hub.mous where id = %s", (mou_id,))[0][0]
        for name, numbers in clauses.items():
            self._order(tx, mou_id, name, provider, [], numbers)

    def _delete_rules(self, tx: Transaction, mou_id: int) -> None:
        for name in self._datasets:
            tx.rows(f"delete from hub.{name}_rules where clause in (select id from ({_CLAUSES}) c)", (mou_id, mou_id))

    def _log(self, tx: Transaction, mou_id: int, now: datetime) -> None:
        mou, version, digest, provider, consumer, by, names = tx.rows(_TOLD, (mou_id,))[0]
        event = Event(event_id(now, os.urandom(10)), "mou", now, _by(by), "permit", asked={"step": "activated"})
        under = [{"mou": mou, "version": version, "sha256": digest, "grants": names}]
        append(tx, event, [Share(party, under) for party in (provider, consumer)])


def _by(member: Mapping[str, Any]) -> By:
    """Who, from the form that a leaf has it in."""
    return By(*(member.get(name) for name in ("organisation", "client", "session", "from", "person")))
