"""Until when a record is kept, and the retention bucket that its keys lie in. Pure."""

from datetime import UTC, date, datetime
from typing import Final

from hub.errors import InvalidRecord, Problem

BUCKET: Final = "default"
"""The retention bucket of what is kept without end."""
_LAST: Final = 9999 * 12 + 11


def kept_until(occurred_at: datetime, months: int | None) -> date | None:
    """The day with whose beginning (UTC) the retention ends: of the month after the one `months` later. The same as `hub.kept_until`."""
    if months is None:
        return None
    at = occurred_at.astimezone(UTC)
    month = min(12 * at.year + at.month - 1 + months + 1, _LAST)
    return date(month // 12, month % 12 + 1, 1)


def bucket_of(until: date | None) -> str:
    """The name of a retention bucket: all that is kept until one day."""
    return BUCKET if until is None else f"until-{until.isoformat()}"


def ends_of(bucket: str) -> date | None:
    """The day that a bucket's name tells; None for other buckets, and for what is no bucket's name."""
    try:
        end = date.fromisoformat(bucket.removeprefix("until-"))
    except ValueError:
        return None
    return end if bucket_of(end) == bucket else None


def over(occurred_at: datetime, months: int | None, now: datetime) -> bool:
    """Whether a record's retention has ended before it came."""
    until = kept_until(occurred_at, months)
    return until is not None and until <= now.astimezone(UTC).date()


def problem(field: str, months: int) -> Problem:
    """What a provider is told of a record that came too late."""
    return Problem(field, f"is longer ago than your organisation keeps such records ({months} months)")


def refuse(problems: list[Problem]) -> None:
    """Raises InvalidRecord if there are any."""
    if problems:
        raise InvalidRecord("The retention of some records has ended already. Nothing was stored.", problems=problems[:100])
