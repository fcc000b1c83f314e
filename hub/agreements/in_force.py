"""The agreements for their readers: what is loaded and not replaced, its areas, and what an organisation may choose to do under it.

What a query shows is decided elsewhere (hub/sharing), by the grants in the database; here the file's own words are read again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Engine

from hub.agreements.texts import Texts
from hub.db import transaction
from hub.policy.clauses import Grant
from hub.policy.mou import Mou
from hub.policy.vocabulary import Action
from hub.records import Record

State = Literal["in force", "not yet in force", "suspended", "ended"]
Case = Literal["never", "sometimes", "always"]
_AGREEMENTS = "select sha256, source, provider, consumer, loaded_at, state = 'suspended' from hub.agreements(%s)"
_AREAS = "select mou, name, area from hub.agreement_areas(%s)"


@dataclass(frozen=True, slots=True)
class Agreement:
    """One MOU that is in force or suspended, whatever its period. `provider_id` and `consumer_id` number the parties, whose slugs are in
    the MOU.
    """

    mou: Mou
    provider_id: int
    consumer_id: int
    loaded_at: datetime
    suspended: bool = False

    def state(self, now: datetime) -> State:
        since, until = self.mou.in_force.period
        if now < since:
            return "not yet in force"
        if now >= until:
            return "ended"
        return "suspended" if self.suspended else "in force"


@dataclass(frozen=True, slots=True)
class Area:
    """A jurisdiction of an MOU; `geojson` is its geometry, (lon, lat) in degrees, WGS 84."""

    mou: str
    name: str
    geojson: str


@dataclass(frozen=True, slots=True)
class Purpose:
    """For what an organisation may query now. `case`: whether the grants for it need a case reference: none, some or all of them.
    `mous`: (MOU, version, title) of those.
    """

    word: str
    case: Case
    mous: tuple[tuple[str, int, str], ...]


class Agreements:
    """Reads agreements; safe to use from several threads."""

    def __init__(self, engine: Engine, datasets: Mapping[str, type[Record]]) -> None:
        self._engine = engine
        self.texts = Texts(datasets)

    def of(self, organisation_id: int | None) -> list[Agreement]:
        """The agreements that an organisation is a party of, by name; None: everybody's.

        Raises:
            Tampered: a stored file is not the one that was loaded.
        """
        with transaction(self._engine) as tx:
            rows = tx.rows(_AGREEMENTS, (organisation_id,))
        return [Agreement(self.texts.terms(sha256, source), *others) for sha256, source, *others in rows]

    def areas(self, organisation_id: int | None) -> list[Area]:
        """The areas of those agreements."""
        with transaction(self._engine) as tx:
            return [Area(*row) for row in tx.rows(_AREAS, (organisation_id,))]

    def purposes(self, organisation_id: int, now: datetime) -> list[Purpose]:
        """The purposes for which some grant in force lets the organisation query, by their words."""
        found: dict[str, list[tuple[Mou, Grant]]] = {}
        for mou, grant in self._granted(organisation_id, "query", now):
            for word in grant.purposes:
                found.setdefault(word, []).append((mou, grant))
        return [_purpose(word, found[word]) for word in sorted(found)]

    def may_export(self, organisation_id: int, purpose: str, now: datetime) -> bool:
        """Whether some grant in force lets the organisation export for that purpose, perhaps with a case reference only."""
        return any(purpose in grant.purposes for _, grant in self._granted(organisation_id, "export", now))

    def _granted(self, organisation_id: int, action: Action, now: datetime) -> Iterator[tuple[Mou, Grant]]:
        for agreement in self.of(organisation_id):
            if agreement.consumer_id == organisation_id and agreement.state(now) == "in force":
                yield from ((agreement.mou, grant) for grant in agreement.mou.grants if action in grant.actions)


def _purpose(word: str, granted: list[tuple[Mou, Grant]]) -> Purpose:
    needing = sum(grant.needs_case for _, grant in granted)
    case: Case = "never" if not needing else "always" if needing == len(granted) else "sometimes"
    mous = {mou.mou: (mou.mou, mou.version, mou.title) for mou, _ in granted}
    return Purpose(word, case, tuple(mous[name] for name in sorted(mous)))
