"""What agreements want of their parties, for pages: the mark on an agreement, and what an agreement lead is told wherever they are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from hub.agreements.due import Due, due_of, ending, sentences
from hub.agreements.store import Actor, Version
from hub.api.services import Services
from hub.audit.leaf import By
from hub.errors import InvalidPolicy, Tampered
from hub.policy.mou import Mou

LEAD = "agreement-lead"


@dataclass(frozen=True, slots=True)
class Reminder:
    """An agreement that wants something of its parties; `says`: what, each the rest of a sentence about it."""

    mou: str
    title: str
    says: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """How an agreement is marked. `ends`: "ends in 6 days" within its notice; `under_way`: the version that renews it, in words."""

    due: Due
    ends: str | None
    under_way: str | None

    @property
    def renewal(self) -> bool:
        return "renewal" in self.due.due

    @property
    def review(self) -> bool:
        return "review" in self.due.due


def marks(called: Services, organisation: str | None, now: datetime) -> dict[tuple[str, int], Mark]:
    """By name and version, of the agreements of an organisation; None: everybody's."""
    versions, terms = called.lifecycle.list(Actor(organisation, By())), _terms(called)
    found = {(v.mou, v.version): due_of(v, versions, terms, now) for v in versions}
    return {named: _mark(due, now) for named, due in found.items() if due}


def attention(called: Services, organisation: str, now: datetime) -> list[Reminder]:
    """The agreements of which something is due, those that end first before the others."""
    versions = called.lifecycle.list(Actor(organisation, By()))
    return [reminder for _, reminder in sorted(_reminders(called, versions, now), key=lambda pair: (pair[0], pair[1].mou))]


def _reminders(called: Services, versions: list[Version], now: datetime) -> Iterator[tuple[datetime, Reminder]]:
    terms = _terms(called)
    for version in versions:
        try:
            due = due_of(version, versions, terms, now)
            if due and due.due:
                yield version.until, Reminder(version.mou, terms(version).title, tuple(sentences(due, now)))
        except (Tampered, InvalidPolicy) as error:  # told in its place: it must not take every other page away
            yield version.until, Reminder(version.mou, "", (error.detail,))


def _mark(due: Due, now: datetime) -> Mark:
    noticed = due.in_notice(now)
    renewal = due.renewal
    under_way = f"version {renewal.version} is {renewal.state}" if noticed and renewal else None
    return Mark(due, ending(due, now) if "renewal" in due.due or under_way else None, under_way)


def _terms(called: Services) -> Callable[[Version], Mou]:
    return lambda version: called.agreements.texts.terms(version.sha256, version.source)
