"""What an agreement wants of its parties now: to be renewed before it ends, and to be reviewed by the day that they agreed on.

Pure: time comes in. Pages, the command line and HTTP tell what `due` decides, and nothing else decides it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, Protocol, TypeVar, get_args

from hub.policy.mou import Mou
from hub.policy.words import day

Duty = Literal["renewal", "review"]
DUTIES: tuple[Duty, ...] = get_args(Duty)
LIVE = ("active", "suspended")  # in force, unless the period has it otherwise
ON_ITS_WAY = ("proposed", "signed", "activating")  # a draft binds nobody to anything


class Step(Protocol):
    """A version of an agreement, as far as it matters here; `until` is the first moment at which it is no longer in force."""

    @property
    def mou(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def until(self) -> datetime: ...


S = TypeVar("S", bound=Step)


@dataclass(frozen=True, slots=True)
class Renewal:
    """The version that goes on where the one in force ends, and where it stands: proposed, signed, activating or active."""

    version: int
    state: str


@dataclass(frozen=True, slots=True)
class Due:
    """`renew_by`: the last day in force; `notice_from`: the day from which its renewal is due, None where no notice was agreed;
    `review_by`: the last day for its review. `renewal`: the next version, if one is under way. All days are UTC's.
    """

    due: tuple[Duty, ...]
    notice_from: date | None
    renew_by: date
    review_by: date
    renewal: Renewal | None

    def days_left(self, now: datetime) -> int:
        """Days that begin before it ends, today's among them; 0 or less: it has ended."""
        return (self.renew_by - _today(now)).days + 1

    def in_notice(self, now: datetime) -> bool:
        """Whether it is in the days before its end in which its parties wanted to know."""
        return self.notice_from is not None and self.notice_from <= _today(now) <= self.renew_by

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        renewal = self.renewal and {"version": self.renewal.version, "state": self.renewal.state}
        days = {name: at and at.isoformat() for name, at in _days(self).items()}
        return {"due": list(self.due), **days, "renewal": renewal}


def due(terms: Mou, state: str, now: datetime, others: Iterable[Step] = ()) -> Due:
    """What the version with these terms wants; `state` as it is stored (hub/agreements/lifecycle.py). `others`: versions of the same
    agreement; a newer one that is proposed or further, and goes on for longer, is its renewal.

    Renewal falls due on the first instant of the notice and stays so to the end of the last day, while the version is in force; with a
    notice of 0 days never. A review falls due on the day after `review_by`, also of a version that is suspended or begins later.
    """
    period, today, end = terms.in_force, _today(now), terms.in_force.period[1]
    later = [o for o in others if o.version > terms.version and o.state in (*ON_ITS_WAY, "active") and o.until > end]
    renewal = Renewal(later[-1].version, later[-1].state) if later else None
    notice = _before(period.until, period.notice_days - 1) if period.notice_days else None
    over = state not in LIVE or today > period.until
    wants: dict[Duty, bool] = {
        "renewal": state == "active" and period.since <= today and notice is not None and notice <= today and renewal is None,
        "review": today > terms.review_by,
    }
    found = () if over else tuple(duty for duty in DUTIES if wants[duty])
    return Due(found, notice, period.until, terms.review_by, renewal)


def due_of(version: S, all_: Sequence[S], terms: Callable[[S], Mou], now: datetime) -> Due | None:
    """What one of all versions wants; None: it is neither in force nor suspended, so nothing can be due of it."""
    if version.state not in LIVE:
        return None
    return due(terms(version), version.state, now, [other for other in all_ if other.mou == version.mou])


def sentences(found: Due, now: datetime) -> list[str]:
    """What is due, and what is on its way, as the rest of a sentence whose subject is the agreement."""
    said = []
    if "renewal" in found.due:
        said.append(f"{ending(found, now)}, and no next version is on its way")
    elif found.in_notice(now) and found.renewal:
        said.append(f"{ending(found, now)}; renewal under way: version {found.renewal.version} is {found.renewal.state}")
    if "review" in found.due:
        said.append(f"its review is overdue since {day(found.review_by)}")
    return said


def ending(found: Due, now: datetime) -> str:
    left = found.days_left(now)
    return "ends today" if left == 1 else f"ends in {left} days"


def from_told(told: Mapping[str, Any]) -> Due | None:
    """What `Due.told` told of a version; None: nothing was."""
    if told["renew_by"] is None:
        return None
    days = {name: told[name] and date.fromisoformat(told[name]) for name in ("notice_from", "renew_by", "review_by")}
    return Due(tuple(told["due"]), **days, renewal=told["renewal"] and Renewal(**told["renewal"]))


NOTHING: Mapping[str, Any] = {"due": [], "notice_from": None, "renew_by": None, "review_by": None, "renewal": None}


def _days(found: Due) -> dict[str, date | None]:
    return {"notice_from": found.notice_from, "renew_by": found.renew_by, "review_by": found.review_by}


def _today(now: datetime) -> date:
    return now.astimezone(UTC).date()


def _before(last: date, days: int) -> date:
    """So many days before, or the first day that there is."""
    return date.fromordinal(max(1, last.toordinal() - days))
