"""The trace of a record in words: by organisation, what it gets and under which clauses, and what keeps the other clauses from holding.

Pure: the trace is what `GET /collections/{dataset}/items/{id}/trace` answers; agreements, the names of organisations and the catalogue
come in as arguments. Text only: the page escapes it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hub.agreements.in_force import Agreement
from hub.agreements.rules import conditions
from hub.policy import words
from hub.policy.clauses import Grant
from hub.policy.treatments import Treatment
from hub.policy.words import Shown
from hub.records import WINDOW_FIELD, Record
from hub.sharing.trace import COMING, CONDITIONS, ENDED, PERIOD, SUSPENDED, WINDOW

ACTIONS = tuple(words.ACTION_WORDS)
Said = Mapping[str, Any]  # a reader or a clause, as the trace tells it

# What a grant that doesn't hold says for itself; what it would need follows it.
WHY = {
    COMING: "Its agreement is just coming into force; it gives nothing before it is.",
    SUSPENDED: "Its agreement is suspended: it gives nothing until it is resumed.",
    ENDED: "Its agreement was ended, or another version replaced it: it gives nothing any more.",
    PERIOD: "Today is outside the period of its agreement.",
    CONDITIONS: "The record is not one of those that this grant shares.",
    WINDOW: "The record is too old or too new for this grant now.",
}
SHORT = {
    COMING: "its agreement is coming into force",
    SUSPENDED: "its agreement is suspended",
    ENDED: "its agreement was ended or replaced",
    PERIOD: "outside the period of its agreement",
    CONDITIONS: "not one of the records that are shared with it",
    WINDOW: "too old or too new now",
}
CASE = {
    "never": "Not needed.",
    "sometimes": "Not needed for all of it. Below is what is shown to a reader who names a case; without one some of it stays away.",
    "always": "Needed: only a reader who names the case that they work on sees it.",
}


@dataclass(frozen=True, slots=True)
class Cited:
    """A clause of an agreement. `title` None: the agreement has no page to go to yet, or any more."""

    name: str
    mou: str
    version: int
    title: str | None


@dataclass(frozen=True, slots=True)
class Share:
    """What an organisation gets of the record for some purposes. `fields`: those that are shown, and how; `withheld`: the others."""

    purposes: tuple[str, ...]
    actions: tuple[str, ...]
    case: str
    fields: tuple[Shown, ...]
    withheld: tuple[str, ...]
    under: tuple[Cited, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """A grant that gives nothing of the record now. `short`, `why`: in a few words, in sentences; `asks`: what it asks of a record and this
    one doesn't meet.
    """

    clause: Cited
    purposes: tuple[str, ...]
    short: str
    why: tuple[str, ...]
    asks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A refusal that holds on the record. `fields` None: all of it is refused."""

    clause: Cited
    fields: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Partner:
    """An organisation with which the provider has an agreement. `kept`: where one refuses all of the record, those that do; `spared`:
    refusals that don't touch it.
    """

    slug: str
    name: str
    shares: tuple[Share, ...]
    missing: tuple[Missing, ...]
    kept: tuple[Kept, ...]
    spared: tuple[Cited, ...]

    @property
    def refused(self) -> bool:
        """Whether all of the record is refused, whatever else is agreed."""
        return any(kept.fields is None for kept in self.kept)

    @property
    def in_short(self) -> str:
        """For which purposes it gets the record, or in a few words why not."""
        if self.shares:
            return ", ".join(dict.fromkeys(p for share in self.shares for p in share.purposes))
        if self.refused:
            return "refused by an agreement"
        return "; ".join(dict.fromkeys(m.short for m in self.missing)) or "counts alone, or nothing that is left after what is refused"


class Telling:
    """Tells one trace. `agreements`: those that its reader may read; `names`: organisations by slug."""

    def __init__(self, trace: Mapping[str, Any], agreements: Iterable[Agreement], names: Mapping[str, str], dataset: type[Record]) -> None:
        self._trace, self._names, self._dataset = trace, names, dataset
        self._agreements = {(a.mou.mou, a.mou.version): a for a in agreements}

    def partners(self) -> list[Partner]:
        """Those who get the record first, then the others; each by name."""
        found = [self._partner(slug) for slug in {c["recipient"] for c in self._trace["clauses"]}]
        return sorted(found, key=lambda partner: (not partner.shares, partner.name.casefold(), partner.slug))

    def _partner(self, slug: str) -> Partner:
        clauses = [c for c in self._trace["clauses"] if c["recipient"] == slug]
        refusals = [c for c in clauses if "refusal" in c]
        kept = [Kept(self._cited(c), self._refused(c)) for c in refusals if c["holds"]]
        return Partner(
            slug,
            self._names.get(slug, slug),
            tuple(self._shares(slug, clauses)),
            tuple(self._missing(c) for c in clauses if "grant" in c and not c["holds"]),
            tuple([k for k in kept if k.fields is None] or kept),
            tuple(self._cited(c) for c in refusals if not c["holds"]),
        )

    def _shares(self, slug: str, clauses: Sequence[Said]) -> Iterator[Share]:
        """Purposes and actions for which the same is shown under the same clauses are told once."""
        alike: dict[Any, dict[str, list[str]]] = {}
        readers = [r for r in self._trace["readers"] if r["organisation"] == slug]
        for reader in sorted(readers, key=lambda r: (r["purpose"], ACTIONS.index(r["action"]))):
            giving = [c for c in clauses if c["holds"] and "grant" in c and _for(c, reader)]
            case = "never" if not any(c["case_required"] for c in giving) else "always" if reader["case_required"] else "sometimes"
            key = (tuple(reader["fields"].items()), case, tuple(self._cited(c) for c in giving))
            alike.setdefault(key, {}).setdefault(reader["purpose"], []).append(reader["action"])
        for (fields, case, under), actions in alike.items():
            for some in dict.fromkeys(map(tuple, actions.values())):
                purposes = tuple(p for p, those in actions.items() if tuple(those) == some)
                yield Share(purposes, tuple(_action(a) for a in some), CASE[case], self._shown(dict(fields)), self._withheld(fields), under)

    def _shown(self, fields: Mapping[str, str]) -> tuple[Shown, ...]:
        known = [f for f in self._dataset.fields if f.name in fields]
        return tuple(Shown(f.name, words.field_words(f.name), words.treatment_words(f, Treatment.parse(fields[f.name]))) for f in known)

    def _withheld(self, fields: Iterable[tuple[str, str]]) -> tuple[str, ...]:
        shown = dict(fields)
        return tuple(words.field_words(f.name) for f in self._dataset.fields if f.name not in shown)

    def _missing(self, clause: Said) -> Missing:
        reason, grant = clause["why_not"], self._grant(clause)
        why, missed = [WHY[reason]], clause["missed"]
        if reason == PERIOD and (agreement := self._agreement(clause)):
            since, until = agreement.mou.in_force.since, agreement.mou.in_force.until
            why.append(f"That is from {words.day(since)} to {words.day(until)}, both days included (UTC).")
        if reason == WINDOW and grant:
            why.append(f"Of its records it says: {words.window_words(grant.occurred, grant.treatment(WINDOW_FIELD))}")
        if missed and reason != CONDITIONS:
            why.append("Even then the record is not one of those that it shares.")
        return Missing(self._cited(clause), tuple(clause["purposes"]), SHORT[reason], tuple(why), tuple(self._asks(grant, missed)))

    def _asks(self, grant: Grant | None, missed: Iterable[str]) -> Iterator[str]:
        """Each missed condition as the agreement puts it; by its field where its text can't be read here."""
        known = conditions(grant) if grant else {}
        for name in missed:
            if grant and name in known:
                yield words.condition_words(known[name], grant)
            else:
                yield f"A condition on {words.field_words(name.partition('__')[0])}."

    def _grant(self, clause: Said) -> Grant | None:
        agreement = self._agreement(clause)
        return next((g for g in agreement.mou.grants if g.id == clause["grant"]), None) if agreement else None

    def _agreement(self, clause: Said) -> Agreement | None:
        return self._agreements.get((clause["mou"], clause["version"]))

    def _cited(self, clause: Said) -> Cited:
        agreement = self._agreement(clause)
        name = clause.get("grant") or clause["refusal"]
        return Cited(name, clause["mou"], clause["version"], agreement.mou.title if agreement else None)

    def _refused(self, clause: Said) -> tuple[str, ...] | None:
        return None if clause["fields"] is None else tuple(words.field_words(f) for f in clause["fields"])


def _for(clause: Said, reader: Said) -> bool:
    return reader["purpose"] in clause["purposes"] and reader["action"] in clause["actions"]


def _action(word: str) -> str:
    return f"{words.ACTION_WORDS[word][0]} it"  # type: ignore[index]
