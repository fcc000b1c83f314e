"""An MOU in whole sentences, for those who sign it and those who read under it. Text only: whoever shows it escapes it.

Pure: the names of organisations and the catalogue come in as arguments. What has no words here yet fails a test, not a reader.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from hub.policy.clauses import COUNTED_M, Aggregates, Duties, Grant, Refusal, Window
from hub.policy.conditions import AtLeast, AtMost, Condition, OneOf, Within
from hub.policy.mou import Mou
from hub.policy.treatments import CLEAR, WITHHOLD, Treatment, shows
from hub.policy.vocabulary import Action
from hub.records import WINDOW_FIELD, Field, Record

FIELD_WORDS = {
    "external_id": "the provider's own number",
    "category": "the category",
    "status": "the status",
    "severity": "the severity (1 to 5)",
    "handling": "the handling label (TLP)",
    "occurred_at": "when it happened",
    "occurred_until": "when it ended",
    "reported_at": "when it was reported",
    "resolved_at": "when it was resolved",
    "place": "the place",
    "title": "the title",
    "narrative": "the narrative",
    "address": "the address",
    "people": "the people involved",
    "phone": "the phone number",
    "vehicles": "the vehicles involved",
    "extra": "whatever else the provider's own records hold",
}
ACTION_WORDS: dict[Action, tuple[str, str]] = {  # in the sentence, and in full
    "query": ("look at", "look at them, in lists and on maps"),
    "export": ("export", "export them as a file and keep it"),
    "subscribe": ("subscribe to", "be told of new ones (this hub does not do that yet)"),
    "match": ("match values against", "ask whether a phone number, a plate, or a name with its birth date that they know occurs in them"),
}
COUNT_ALONE = ("count", "count them, without being shown any")
REFRAIN_WORDS = {
    "NOREUSE": "It is used for the purpose that it was given for, and for no other.",
    "NORELINK": "It is not linked with other data to find out who somebody is.",
}
GRID_WORDS = {100: "100 m", 500: "500 m", 2000: "2 km"}
STEP_WORDS = {timedelta(hours=1): "hour", timedelta(days=1): "day"}
DAYS_OF_A_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Shown:
    """A released field: its name in the catalogue, in words, and how it is shown."""

    field: str
    words: str
    how: str


@dataclass(frozen=True, slots=True)
class Explained:
    """A grant in sentences. `records`: what each record meets, all of it; `withheld`: the fields nobody is shown, in words."""

    summary: str
    records: tuple[str, ...]
    period: str
    purposes: str
    actions: tuple[str, ...]
    case: str
    counts: str
    owed: tuple[str, ...]
    shown: tuple[Shown, ...]
    withheld: tuple[str, ...]


def explain(mou: Mou, grant: Grant, names: Mapping[str, str], dataset: type[Record]) -> Explained:
    """`grant` of `mou`. `names`: organisations by slug; one without a name keeps its slug."""
    provider, consumer = parties(mou, names)
    released = [field for field in dataset.fields if grant.treatment(field.name) != WITHHOLD]
    return Explained(
        summary=f"{provider} lets {consumer} {_listed(does for does, _ in _done(grant))} {provider}'s {grant.dataset}"
        f" for {_purposes(grant)}.",
        records=tuple(condition_words(c, grant) for c in grant.where) or (f"Every one of {provider}'s {grant.dataset}.",),
        period=window_words(grant.occurred, grant.treatment(WINDOW_FIELD)),
        purposes=f"Only for {_purposes(grant)}. A reader says for which before anything is shown, and the log keeps it.",
        actions=tuple(full for _, full in _done(grant)),
        case=case_words(grant),
        counts=count_words(grant.aggregates),
        owed=owed_words(grant.duties, parties(mou, names)[0]),
        shown=tuple(Shown(f.name, field_words(f.name), treatment_words(f, grant.treatment(f.name))) for f in released),
        withheld=tuple(field_words(f.name) for f in dataset.fields if f not in released),
    )


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal in sentences. `records`: what each record meets, all of it."""

    summary: str
    records: tuple[str, ...]


def explain_refusal(mou: Mou, refusal: Refusal, names: Mapping[str, str]) -> Refused:
    provider, consumer = parties(mou, names)
    what = "such records" if refusal.fields is None else f"{_listed([field_words(f) for f in refusal.fields], 'or')} of such records"
    return Refused(
        f"Whatever else is agreed, {provider} never shows {consumer} {what}: for no purpose, and under no other agreement of theirs.",
        tuple(_refused_words(c) for c in refusal.where) or (f"Every one of {provider}'s {refusal.dataset}.",),
    )


def could_ask(grant: Grant, dataset: type[Record]) -> tuple[str, ...]:
    """What its recipient could ask for beyond what a grant gives: from its text alone, so it says nothing of any record."""
    given = {f: grant.treatment(f.name) for f in dataset.fields}
    withheld = [field_words(f.name) for f, t in given.items() if not t.shows]
    coarse = [f"{field_words(f.name)} more finely than {treatment_words(f, t)}" for f, t in given.items() if t.shows and t != CLEAR]
    window = [window_words(grant.occurred, grant.treatment(WINDOW_FIELD))] if grant.occurred != Window() else []
    actions = [ACTION_WORDS[a][0] for a in ACTION_WORDS if a not in grant.actions]
    return (
        *([f"To be shown {_listed(withheld, 'or')}, which it withholds."] if withheld else []),
        *(f"To be shown {said}." for said in coarse),
        *(f"Other times than those of this rule: {said[0].lower()}{said[1:]}" for said in window),
        *(["Other records than those that meet its conditions."] if grant.where else []),
        *([f"To {_listed(actions, 'or')} them."] if actions else []),
    )


def lines(mou: Mou, names: Mapping[str, str], datasets: Mapping[str, type[Record]]) -> Iterator[str]:
    """All that is said of an MOU, a sentence a line."""
    yield from (headline(mou, names), in_force_words(mou), review_words(mou))
    for grant in mou.grants:
        said = explain(mou, grant, names, datasets[grant.dataset])
        yield from ("", f"# {grant.id}", said.summary, *(f"- {r}" for r in said.records), said.period, said.purposes)
        yield from (*(f"- {a}" for a in said.actions), said.case, said.counts, *said.owed)
        yield from (f"{s.words} ({s.field}): {s.how}" for s in said.shown)
        yield f"withheld: {', '.join(said.withheld)}"
    for refusal in mou.refuse:
        never = explain_refusal(mou, refusal, names)
        yield from ("", f"# {refusal.id}", never.summary, *(f"- {r}" for r in never.records))


def parties(mou: Mou, names: Mapping[str, str]) -> tuple[str, str]:
    """Provider and consumer by name."""
    return names.get(mou.parties.provider, mou.parties.provider), names.get(mou.parties.consumer, mou.parties.consumer)


def headline(mou: Mou, names: Mapping[str, str]) -> str:
    """Who gives what to whom, for which purposes, in one sentence."""
    provider, consumer = parties(mou, names)
    datasets = _listed(dict.fromkeys(g.dataset for g in mou.grants))
    purposes = dict.fromkeys(p for g in mou.grants for p in g.purposes)
    word = "purpose" if len(purposes) == 1 else "purposes"
    return f"{provider} shares {datasets} with {consumer} for the {word} {_listed(purposes)}."


def in_force_words(mou: Mou) -> str:
    since, until = mou.in_force.since, mou.in_force.until
    return (
        f"In force from {day(since)} to {day(until)}, both days included (UTC). It ends then, unless a new version comes into force before."
        f" The notice that its parties agreed on is {_count(mou.in_force.notice_days, 'day')}."
    )


def review_words(mou: Mou) -> str:
    return f"The parties review it by {day(mou.review_by)}."


def field_words(name: str) -> str:
    """A field of a record in words; one that has none of its own is told by its name."""
    return FIELD_WORDS.get(name) or f"the {name.replace('_', ' ')}"


def category(word: str) -> str:
    """A category in words: `missing-person` is a missing person."""
    return word.replace("-", " ")


def treatment_words(field: Field, treatment: Treatment) -> str:
    """How a field is shown under a treatment."""
    match treatment.word:
        case "withhold":
            return "withheld"
        case "grid_m":
            return f"as the centre of the {GRID_WORDS[treatment.grid_m]} cell it lies in"
        case "round_to":
            return f"cut down to the {STEP_WORDS[treatment.step]} (UTC)"
        case "bands":
            return f"as the band it lies in: {_listed(_bands(treatment), 'or')}; nothing below {treatment.edges[0]}"
        case "last":
            return f"its last {_count(treatment.last, 'character')} alone, behind an ellipsis"
        case "match_only":
            return "never shown; a search may only learn whether it is the same as a value that is known already"
        case "clear":
            return {
                "place": "as the exact point; searches and maps work with its 100 m cell",
                "sealed": "as it was reported; stored encrypted, and opened when it is shown",
            }.get(field.kind, "as it was reported")


def _bands(treatment: Treatment) -> list[str]:
    said = [str(low) if high == low + 1 else f"{low} to {high - 1}" for low, high in pairwise(treatment.edges)]
    return [*said, f"{treatment.edges[-1]} or more"]


def condition_words(condition: Condition, grant: Grant) -> str:
    """What a record must meet, as a sentence."""
    if isinstance(condition, Within):
        return _within(condition, grant)
    return CONDITION_WORDS[type(condition)](condition)


def window_words(window: Window, treatment: Treatment) -> str:
    """How old and how new a record may be; `treatment` is that of its time, which the window tests."""
    if window.lookback is None and window.embargo is None:
        return "However old or new they are."
    oldest = None if window.lookback is None else f"happened within the last {span(window.lookback)}"
    newest = None if window.embargo is None else f"at least {span(window.embargo)} ago"
    said = f"{oldest}, and {newest}" if oldest and newest else oldest or f"happened {newest}"
    whole = f" A record shows once its whole {STEP_WORDS[treatment.step]} lies in that time." if treatment.step else ""
    return f"They {said}.{whole}"


def case_words(grant: Grant) -> str:
    if grant.needs_case:
        return "Only with the reference of the case that the reader works on; the log keeps it."
    return "No case reference is needed; one that is given is kept in the log."


def count_words(aggregates: Aggregates | None) -> str:
    """What may be counted, in a sentence."""
    if aggregates is None:
        return "No counts are given but of the records that are shown."
    return (
        "How many there are is given by 2 km cell, calendar month (UTC) and category, for whole months that have ended; no count below"
        f" {aggregates.min_count}, and none from which a smaller one could be worked out."
    )


def _done(grant: Grant) -> list[tuple[str, str]]:
    """What a grant lets its recipient do with records: in a sentence, and in full."""
    shown = shows(grant.fields)
    found = [ACTION_WORDS[action] for action in grant.actions if shown or action == "match"]
    return found if shown or grant.aggregates is None else [*found, COUNT_ALONE]


def owed_words(duties: Duties | None, provider: str) -> tuple[str, ...]:
    """What a recipient owes for what it is given, each a sentence."""
    if duties is None:
        return ("It asks for no duties of whoever is given them.",)
    kept = "is kept as long as its recipient needs it" if duties.retain is None else f"is deleted {span(duties.retain)} after it was given"
    return (
        f"What is given {kept}. It is not passed on to anybody else.",
        *(REFRAIN_WORDS[word] for word in duties.refrain),
        f"When {provider} corrects a record or takes it back, the recipient does the same with its copy and says so within"
        f" {span(duties.acknowledge)}.",
    )


def span(length: timedelta) -> str:
    """A length of time in days, hours and minutes; of two years and more also about how many."""
    minutes = length // timedelta(minutes=1)
    parts = [(minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute")]
    said = _listed([_count(n, unit) for n, unit in parts if n]) or "0 minutes"
    years = length.days / DAYS_OF_A_YEAR
    return f"{said} (about {round(years, 1):g} years)" if years > 1.95 else said


def day(at: date) -> str:
    """A day such as 31 January 2026."""
    return f"{at.day} {at:%B %Y}"


def _one_of(condition: Condition) -> str:
    values = [_value(condition.field, v) for v in condition.argument]
    return f"{_subject(condition)} is {_listed(values, 'or')}."


def _at_most(condition: Condition) -> str:
    return f"{_subject(condition)} is {condition.argument} or less."


def _at_least(condition: Condition) -> str:
    return f"{_subject(condition)} is {condition.argument} or more."


def _within(condition: Condition, grant: Grant) -> str:
    names, one = _listed(condition.argument), len(condition.argument) == 1
    areas = f"the area {names}, or on its border" if one else f"each of the areas {names}, or on their borders"
    cell = GRID_WORDS[grant.tested_m(condition.field) or COUNTED_M]
    return f"{_subject(condition)} lies in {areas}: the centre of its {cell} cell is what counts."


def _refused_words(condition: Condition) -> str:
    """A refusal tests no grant's cell: it reaches whole 2 km cells."""
    if not isinstance(condition, Within):
        return CONDITION_WORDS[type(condition)](condition)
    names, one = _listed(condition.argument), len(condition.argument) == 1
    return (
        f"{_subject(condition)} lies in a 2 km cell that the area {names} touches."
        if one
        else (f"{_subject(condition)} lies in a 2 km cell that each of the areas {names} touches.")
    )


CONDITION_WORDS: dict[type[Condition], Callable[[Condition], str]] = {  # `within` depends on the clause it is in
    OneOf: _one_of,
    AtMost: _at_most,
    AtLeast: _at_least,
}


def _subject(condition: Condition) -> str:
    words = field_words(condition.field)
    return words[0].upper() + words[1:]


def _value(field: str, value: Any) -> str:
    """Categories alone are hyphenated words; what a partner numbers its records by stays as it is."""
    return category(value) if field == "category" else str(value)


def _purposes(grant: Grant) -> str:
    return f"the purpose {grant.purposes[0]}" if len(grant.purposes) == 1 else f"the purposes {_listed(grant.purposes)}"


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def _listed(words: Iterable[str], last: str = "and") -> str:
    found: Sequence[str] = list(words)
    return f"{', '.join(found[:-1])} {last} {found[-1]}" if len(found) > 1 else "".join(found)
