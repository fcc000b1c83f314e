"""The periods of access reviews: calendar months, quarters, half-years and years, UTC. Pure."""

from datetime import UTC, datetime

MONTHS = {"month": 1, "quarter": 3, "half-year": 6, "year": 12}


def begin_of(at: datetime, every: str) -> datetime:
    """The beginning of the period in which `at` lies."""
    at = at.astimezone(UTC)
    return datetime(at.year, (at.month - 1) // MONTHS[every] * MONTHS[every] + 1, 1, tzinfo=UTC)


def end_of(begin: datetime, every: str) -> datetime:
    """The beginning of the period after the one that begins then."""
    month = begin.month - 1 + MONTHS[every]
    return datetime(begin.year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def before(begin: datetime, every: str) -> datetime:
    """The beginning of the period before the one that begins then."""
    month = begin.month - 1 - MONTHS[every]
    return datetime(begin.year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def named(begin: datetime, every: str) -> str:
    """How a period is called: March 2026, 1st quarter of 2026."""
    if every == "month":
        return f"{begin:%B %Y}"
    if every == "year":
        return f"{begin:%Y}"
    number = (begin.month - 1) // MONTHS[every]
    return f"{('1st', '2nd', '3rd', '4th')[number]} {every} of {begin:%Y}"
