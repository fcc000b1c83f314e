"""How a grant releases a field: whole, cut to a cell or an hour, or not at all. What is not listed is withheld."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from hub.geo import FINEST_M, TIERS
from hub.records import Field

ROUND_TO = {"PT1H": timedelta(hours=1), "P1D": timedelta(days=1)}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Treatment:
    """One treatment; `str()` is the form kept in the database and in the log: clear, withhold, grid_m:500, round_to:PT1H."""

    word: Literal["clear", "withhold", "grid_m", "round_to"]
    value: str = ""

    def __str__(self) -> str:
        return f"{self.word}:{self.value}" if self.value else self.word

    @classmethod
    def parse(cls, text: str) -> "Treatment":
        word, _, value = text.partition(":")
        return cls(word, value)  # type: ignore[arg-type]  # only what str() wrote comes back

    @property
    def grid_m(self) -> int:
        """The grid a place is tested on; an exact place is tested at the finest one."""
        return int(self.value) if self.word == "grid_m" else FINEST_M

    @property
    def step(self) -> timedelta:
        """What a time is cut to; zero when it is released whole."""
        return ROUND_TO[self.value] if self.word == "round_to" else timedelta(0)

    @property
    def fineness(self) -> int:
        """Orders the treatments of one field; the finest of a record's live grants applies."""
        order = ["withhold", "grid_m:2000", "grid_m:500", "grid_m:100", "round_to:P1D", "round_to:PT1H", "clear"]
        return order.index(str(self))


WITHHOLD = Treatment("withhold")
CLEAR = Treatment("clear")


def read_treatment(field: Field, value: Any) -> Treatment:
    """The treatment that an MOU file gives to `field`.

    Raises:
        ValueError: an unknown word, or one that does not fit the kind of field; the message says which do.
    """
    if value in ("clear", "withhold"):
        return Treatment(value)
    if isinstance(value, dict) and len(value) == 1:
        word, argument = next(iter(value.items()))
        if word == "grid_m" and field.kind == "place" and type(argument) is int and argument in TIERS:
            return Treatment("grid_m", str(argument))
        if word == "round_to" and field.kind == "time" and isinstance(argument, str) and argument in ROUND_TO:
            return Treatment("round_to", argument)
    raise ValueError(f"{value!r} is not a treatment of {field.name}; it takes {_choices(field)}")


def _choices(field: Field) -> str:
    more = {
        "place": [f"{{grid_m: {m}}}" for m in TIERS],
        "time": [f"{{round_to: {iso}}}" for iso in ROUND_TO],
    }.get(field.kind, [])
    return ", ".join(["clear", *more, "withhold"])


def cut(at: datetime, step: timedelta) -> datetime:
    """`at` cut down to its step in UTC (the released value of a rounded time)."""
    return at - (at - EPOCH) % step if step else at


def cut_up(at: datetime, step: timedelta) -> datetime:
    """`at` raised to the next step in UTC, itself when it lies on one."""
    down = cut(at, step)
    return down if down == at else down + step
