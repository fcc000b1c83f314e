"""How a grant releases a field: whole, cut to a cell, an hour, a band or its last characters, or not at all. What is not listed is
withheld.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Literal, get_args

from hub.geo import FINEST_M, TIERS
from hub.records import Field, Record

ROUND_TO = {"PT1H": timedelta(hours=1), "P1D": timedelta(days=1)}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_BANDS, MAX_LAST = 50, 20
Word = Literal["withhold", "match_only", "last", "bands", "grid_m", "round_to", "clear"]  # coarsest first


@dataclass(frozen=True, slots=True)
class Treatment:
    """One treatment; `str()` is the form kept in the database and in the log: clear, withhold, grid_m:500, round_to:PT1H, bands:1/3/5,
    last:4, match_only.
    """

    word: Word
    value: str = ""

    def __str__(self) -> str:
        return f"{self.word}:{self.value}" if self.value else self.word

    @classmethod
    def parse(cls, text: str) -> "Treatment":
        word, _, value = text.partition(":")
        return cls(word, value)  # type: ignore[arg-type]  # only what str() wrote comes back

    @property
    def shows(self) -> bool:
        """Whether anything of the field comes out."""
        return self.word not in ("withhold", "match_only")

    @property
    def grid_m(self) -> int:
        """The grid a place is tested on; an exact place is tested at the finest one."""
        return int(self.value) if self.word == "grid_m" else FINEST_M

    @property
    def step(self) -> timedelta:
        """What a time is cut to; zero when it is released whole."""
        return ROUND_TO[self.value] if self.word == "round_to" else timedelta(0)

    @property
    def edges(self) -> tuple[int, ...]:
        """Where each band begins, ascending; the last has no end. None but for bands."""
        return tuple(map(int, self.value.split("/"))) if self.word == "bands" else ()

    @property
    def last(self) -> int:
        """How many characters from the end are shown; 0 but for `last`."""
        return int(self.value) if self.word == "last" else 0

    @property
    def fineness(self) -> tuple[int, int, tuple[int, ...]]:
        """Orders the treatments of one field; the finest of a record's live grants applies. Of two bandings of as many bands, the one
        whose bands begin later.
        """
        return _RANKS[self.word], _WITHIN[self.word](self) if self.word in _WITHIN else 0, self.edges


_RANKS = {word: rank for rank, word in enumerate(get_args(Word))}
_WITHIN: dict[str, Callable[[Treatment], int]] = {
    "last": lambda t: t.last,
    "bands": lambda t: len(t.edges),
    "grid_m": lambda t: -t.grid_m,
    "round_to": lambda t: -int(t.step.total_seconds()),
}
WITHHOLD = Treatment("withhold")
MATCH_ONLY = Treatment("match_only")
CLEAR = Treatment("clear")
COMPARED = (MATCH_ONLY, CLEAR)  # a value may be matched with these: not with the end of a text, of which a match would tell the rest


Refused = Iterable[Collection[str] | None]  # the fields of each refusal that reaches a record; None: the whole record


def finest(field: str, grants: Iterable[Mapping[str, Treatment]], refused: Refused) -> Treatment:
    """How a record shows a field: in the finest treatment of the grants that reach it, and not at all where a refusal holds it back."""
    if any(fields is None or field in fields for fields in refused):
        return WITHHOLD
    return max((fields.get(field, WITHHOLD) for fields in grants), key=lambda t: t.fineness, default=WITHHOLD)


def shows(fields: Mapping[str, Treatment]) -> bool:
    """Whether a grant of these fields lets anybody see that a record is there; one for counts or matches alone doesn't."""
    return any(treatment.shows for treatment in fields.values())


def released(
    fields: Iterable[str],
    grants: Sequence[Mapping[str, Treatment]],
    refused: Refused,
    gives: Callable[[Mapping[str, Treatment]], bool] = shows,
) -> dict[str, Treatment] | None:
    """How a record shows each of `fields`; None: it is not shown, because no grant that `gives` anything reaches it or a refusal of whole
    records does.
    """
    held, giving = list(refused), [grant for grant in grants if gives(grant)]
    if not giving or None in held:
        return None
    return {field: finest(field, giving, held) for field in fields}


def told(dataset: type[Record], action: str, grants: Sequence[Mapping[str, Treatment]], refused: Refused) -> dict[str, Treatment] | None:
    """As `released`, the fields of which `action` tells something: to match, also those that it compares; then a grant gives something if
    it has such a field.
    """
    matching = action == "match"

    def compares(fields: Mapping[str, Treatment]) -> bool:
        return any(fields.get(f.name) in COMPARED for f in dataset.matchable())

    found = released([f.name for f in dataset.fields], grants, refused, compares if matching else shows)
    return None if found is None else {name: t for name, t in found.items() if t.shows or (matching and t == MATCH_ONLY)}


def read_treatment(field: Field, value: Any) -> Treatment:
    """The treatment that an MOU file gives to `field`.

    Raises:
        ValueError: an unknown word, or one that does not fit the kind of field; the message says which do.
    """
    if value in ("clear", "withhold"):
        return Treatment(value)
    if value == "match_only" and field.matched:
        return MATCH_ONLY
    if isinstance(value, dict) and len(value) == 1:
        word, argument = next(iter(value.items()))
        if word == "grid_m" and field.kind == "place" and type(argument) is int and argument in TIERS:
            return Treatment("grid_m", str(argument))
        if word == "round_to" and field.kind == "time" and isinstance(argument, str) and argument in ROUND_TO:
            return Treatment("round_to", argument)
        if word == "bands" and field.kind == "number":
            return Treatment("bands", "/".join(map(str, _edges(argument))))
        if word == "last" and field.free_text and type(argument) is int and 1 <= argument <= MAX_LAST:
            return Treatment("last", str(argument))
    raise ValueError(f"{value!r} is not a treatment of {field.name}; it takes {_choices(field)}")


def _edges(argument: Any) -> list[int]:
    whole = isinstance(argument, list) and argument and all(type(edge) is int and abs(edge) < 2**31 for edge in argument)
    if not whole or len(argument) > MAX_BANDS or any(low >= high for low, high in pairwise(argument)):
        raise ValueError(f"bands: must be up to {MAX_BANDS} whole numbers, each the beginning of a band, ascending")
    return list(argument)


def _choices(field: Field) -> str:
    more = {
        "place": [f"{{grid_m: {m}}}" for m in TIERS],
        "time": [f"{{round_to: {iso}}}" for iso in ROUND_TO],
        "number": ["{bands: [1, 3, …]}"],
    }.get(field.kind, [])
    more += ["{last: 4}"] if field.free_text else []
    more += ["match_only"] if field.matched else []
    return ", ".join(["clear", *more, "withhold"])


def cut(at: datetime, step: timedelta) -> datetime:
    """`at` cut down to its step in UTC (the released value of a rounded time)."""
    return at - (at - EPOCH) % step if step else at


def cut_up(at: datetime, step: timedelta) -> datetime:
    """`at` raised to the next step in UTC, itself when it lies on one."""
    down = cut(at, step)
    return down if down == at else down + step


def window(
    now: datetime, lookback: timedelta | None, embargo: timedelta | None, step: timedelta
) -> tuple[datetime | None, datetime | None]:
    """From (inclusive) and until (exclusive) of the times that a window reaches at `now`; None: no bound. Both lie on the grid of
    `step`, so that testing the true time is testing the released one (docs/decisions/0005).
    """
    since = None if lookback is None else cut_up(before(now, lookback), step)
    until = None if embargo is None else cut(before(now, embargo), step)
    return since, until


def before(now: datetime, span: timedelta) -> datetime:
    """`span` before `now`, or the beginning of the calendar."""
    try:
        return now - span
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
