"""Which version of an agreement gives: how far each came, and its state at a moment. A part of the oracle: nothing of `hub` is imported."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

CAME_INTO_FORCE = ("active", "suspended", "terminated")
LABELLED = ("activating", "active", "suspended")  # their clauses' labels are on the records; only those of `active` give anything


class Clause(Protocol):
    """A grant or a refusal, with the period of its agreement."""

    @property
    def came(self) -> str: ...
    @property
    def since(self) -> datetime: ...
    @property
    def until(self) -> datetime: ...


def came(mous: Sequence[Mapping[str, Any]], steps: Mapping[tuple[str, int], str]) -> dict[tuple[str, int], str]:
    """How far each version came: one that is in force is superseded by the next that came into force."""
    found = {(m["mou"], m["version"]): steps.get((m["mou"], m["version"]), "active") for m in mous}
    newest = {name: version for name, version in sorted(found) if found[name, version] in CAME_INTO_FORCE}
    return {key: "superseded" if how == "active" and key[1] < newest[key[0]] else how for key, how in found.items()}


def state(clause: Clause, now: datetime) -> str:
    """The state of its version at a moment: one that is in force gives nothing before its period or after it."""
    if clause.came != "active":
        return clause.came
    return "not yet begun" if now < clause.since else "expired" if now >= clause.until else "active"
