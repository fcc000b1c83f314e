"""Exact lookups: whether a value that the reader knows occurs in what its grants let it ask about (docs/decisions/0028-matching.md).

    admit → live grants → candidates by the blind index, of those the ones that are released → leaf "tested", commit
          → the key process opens and compares → leaf "disclosed", commit → what the grants show of those that match

A value that occurs nowhere and one that occurs in what is not shared run the same statements and give the same answer.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from hub.audit.log import PolicyChanged
from hub.crypto.keys import Keys, Lookup, Opening
from hub.db import transaction
from hub.errors import Forbidden
from hub.leaf_chain import Signed
from hub.policy.treatments import COMPARED, shows
from hub.records import Field
from hub.sharing.context import Reach
from hub.sharing.disclosure import Logged, Row, finest
from hub.sharing.live import MATCH
from hub.sharing.query import Querying, Session, wait_out
from hub.sharing.reader import Reader
from hub.sharing.statements import array


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether it matched, at which providers, and the features that the grants show of what did; `signed` as of a page."""

    match: bool
    providers: Sequence[str]
    features: Sequence[str]
    signed: Signed


class Matching:
    """Lookups in one dataset."""

    def __init__(self, querying: Querying, keys: Keys) -> None:
        self._querying, self._writer, self._keys = querying, querying.writer, keys

    def match(self, reader: Reader, lookup: Lookup) -> Answer:
        """Asks for one value of one field.

        Raises:
            Forbidden: no MOU in force lets the reader ask for this field, for its purpose.
            InvalidRequest: it can't be a value of that field.
            OverLimit: the client has asked too often within the hour.
            NotAuthenticated, Unavailable: as for a page.
        """
        began = time.monotonic()
        try:
            return self._querying.again(lambda _first: self._match(replace(reader, action=MATCH), lookup))
        finally:
            wait_out(began)

    def _match(self, reader: Reader, lookup: Lookup) -> Answer:
        querying, (field,) = self._querying, [f for f in self._querying.dataset.matchable() if f.number == lookup.field]
        with transaction(querying.engine) as tx:
            session = querying.admit(tx, reader)
            tested = self._writer.test_event(reader, lookup, session.admitted.wall)
            querying.needs_a_grant(session, tested)
            grants = [g for g in session.grants if g.matches(field.name)]
            if not grants:
                querying.refuse(session, tested.refused("no grant matches this field"))
                raise Forbidden(f"No MOU in force lets your organisation ask for values of {field.name} for the purpose {reader.purpose}.")
            rows = self._candidates(session, lookup, field, sorted({g.provider for g in grants}))
            self._writer.log(tx, tested, session.policy, self._writer.tests(session.policy, grants, lookup, rows))
        hits, signed = self._keys.confirm(reader.proof, tested.event.id, lookup, [_opening(session, field, r) for r in rows])
        found = [row for row, hit in zip(rows, hits, strict=True) if hit]
        if not found:
            return Answer(False, (), (), signed)
        return self._disclose(session, lookup, tested.event.id, found)

    def _candidates(self, session: Session, lookup: Lookup, field: Field, providers: Sequence[int]) -> list[Row]:
        """Records that are released to the reader and may hold the value, and whose clauses let it ask for the field."""
        policy = session.policy
        found = self._keys.candidates(session.reader.proof, lookup, [policy.uids[p] for p in providers])
        rows = self._querying.execute(session, MATCH, [array(found)], Reach())
        return [r for r in rows if finest(policy, r.clauses, field.name) in COMPARED]

    def _disclose(self, before: Session, lookup: Lookup, tested: UUID, rows: Sequence[Row]) -> Answer:
        """Says in the log which records matched, under the grants by which they were compared, and shows what these release."""
        querying = self._querying
        with transaction(querying.engine) as tx:
            session = querying.admit(tx, before.reader)
            if (session.policy.epoch, session.grants, session.refusals) != (before.policy.epoch, before.grants, before.refusals):
                raise PolicyChanged("The agreements changed while this was answered; try again.")
            event = self._writer.match_event(session.reader, lookup, tested, session.admitted.wall)
            shown = [r for r in rows if _shows(session, r)]
            shares, given = self._writer.matches(session.policy, lookup, rows), self._writer.given(session.policy, shown)
            hashes = self._writer.log(tx, event, session.policy, shares, given)
        logged = Logged(session.reader.proof, event.event.id, hashes, session.admitted.wall, lost=True)
        features, signed = self._writer.features(session.policy, session.shape, shown, logged)
        names = sorted({session.policy.names[r.provider] for r in rows})
        return Answer(True, names, features, signed)


def _opening(session: Session, field: Field, r: Row) -> Opening:
    return Opening(session.policy.uids[r.provider], UUID(r.id), r.rev, 0, field.cls, field.number, b"", r.revision_no)


def _shows(session: Session, r: Row) -> bool:
    """Whether the grants show anything of a record; else it is told that there is one, and no more."""
    return any(shows(session.policy.grants[c].fields) for c in r.clauses if c in session.policy.grants)
