"""An access review, one run of it, and what was decided about its lines: the values that hub/audit/reviews.py keeps. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Review:
    """What an organisation reviews, how often, and who does it. `within_days`: until a run is to be signed off; `next_from`: the beginning
    of the period of which no run was opened yet.
    """

    id: UUID
    organisation: str
    title: str
    scope: Mapping[str, str]
    every: str
    within_days: int
    assignee: UUID
    next_from: datetime
    set_up_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class Decision:
    """What a person decided about one line, and why. Without `person` and `at`: about to be."""

    line: int
    decision: str
    note: str
    person: str = ""
    at: datetime = datetime.min


@dataclass(frozen=True)
class Summary:
    """A run as a list of them tells it."""

    review: Review
    id: UUID
    since: datetime
    until: datetime
    due_at: datetime
    assignee: UUID
    signed_at: datetime | None
    lines: int
    decided: int

    def overdue(self, now: datetime) -> bool:
        return self.signed_at is None and self.due_at < now


@dataclass(frozen=True)
class Run:
    """One period of a review. `until` is not included; `figures` and `signed` are canonical JSON; `decisions`: the last of each line."""

    id: UUID
    review: Review
    since: datetime
    until: datetime
    due_at: datetime
    assignee: UUID
    opened_at: datetime
    figures: str
    signed: str | None
    signed_at: datetime | None
    decisions: Mapping[int, Decision] = field(default_factory=dict)

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.figures)["lines"]
        return found

    @property
    def people(self) -> set[UUID]:
        """Whom it names: in its lines, whom it is assigned to, and who decided."""
        lines = {UUID(line["person"]) for line in self.lines if "person" in line}
        return lines | {self.assignee, *(UUID(d.person) for d in self.decisions.values())}

    @property
    def figures_sha256(self) -> str:
        return sha256(self.figures.encode()).hexdigest()

    @property
    def signed_sha256(self) -> str | None:
        return None if self.signed is None else sha256(self.signed.encode()).hexdigest()

    def overdue(self, now: datetime) -> bool:
        return self.signed_at is None and self.due_at < now
