"""Times as partners write them: declared formats in a named zone become instants. A time that doesn't exist, or that there is
twice, is refused, never guessed.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from itertools import zip_longest
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from hub.mapping.unfit import Unfit

CACHED = 4_096  # texts of one field; files of months and days repeat them
ISO = "iso"
DIRECTIVES = "YymbBdHIpMSfzaA"
_DIRECTIVE = re.compile(r"%(.?)", re.S)
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)? ?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?")
_DIGITS = {  # the parts that are digits alone: what they are called, and how they are written
    "Y": ("year", "[0-9]{4}"),
    "m": ("month", "1[0-2]|0?[1-9]"),
    "d": ("day", "3[01]|[12][0-9]|[0 ]?[1-9]"),
    "H": ("hour", "2[0-3]|[01]?[0-9]"),
    "M": ("minute", "[0-5]?[0-9]"),
    "S": ("second", "[0-5]?[0-9]"),
}
Take = Literal["start", "end"]
Ambiguous = Literal["earlier", "later"]
_Unit = Literal["minute", "hour", "day", "month"]
_Naive = tuple[datetime, _Unit]


def directives(format: str) -> set[str]:
    """The letters that a format uses: `%d/%m/%Y` uses d, m and Y. `%%` is a percent sign."""
    return set(_DIRECTIVE.findall(format)) - {"%"}


def coarse(format: str) -> bool:
    """Whether it names no minute, so that what it reads is a period: an hour, a day, a month."""
    return format != ISO and "M" not in directives(format)


def faults(format: str) -> Iterator[str]:
    """Why a format can't be read by."""
    if format == ISO:
        return
    used = directives(format)
    for letter in sorted(used - set(DIRECTIVES)):
        yield f"%{letter} is not a part that formats know; they know {', '.join('%' + d for d in DIRECTIVES)}"
    if not used & {"Y", "y"}:
        yield "names no year (%Y)"
    if not used & {"m", "b", "B"}:
        yield "names no month (%m)"
    if used & {"H", "I", "p", "M", "S"} and "d" not in used:
        yield "names no day (%d)"
    if ("I" in used) != ("p" in used):
        yield "%I (hours to 12) and %p (AM or PM) need each other"
    if "M" in used and not used & {"H", "I"}:
        yield "names minutes but no hour (%H)"
    if "S" in used and "M" not in used:
        yield "names seconds but no minutes (%M)"
    if "f" in used and "S" not in used:
        yield "names parts of a second but no seconds (%S)"
    repeated = [d for d in sorted(used) if len(re.findall(f"%{d}", format.replace("%%", ""))) > 1]
    if repeated:
        yield f"says %{repeated[0]} twice"


@lru_cache(maxsize=64)
def zone_named(name: str) -> ZoneInfo:
    """The IANA zone, such as America/Toronto.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not a time zone of the IANA database, such as Europe/London") from None


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every zone's name."""
    return frozenset(available_timezones())


def time_reader(formats: Sequence[str], zone: str | None, ambiguous: Ambiguous | None, take: Take | None) -> Callable[[str], datetime]:
    """What reads one text as an instant (UTC). It raises Unfit."""
    readers = [_reader(f) for f in formats]
    known = zone_named(zone) if zone is not None else None
    if len(formats) == 1:
        return lru_cache(maxsize=CACHED)(partial(_read_one, readers[0], formats[0], known, ambiguous, take))

    def read(text: str) -> datetime:
        found = {_instant(naive, unit, known, ambiguous, take) for naive, unit in _fits(readers, text)}
        if not found:
            raise Unfit(f"is not a time as {' or '.join(formats)} says")
        if len(found) > 1:
            raise Unfit("fits more than one of the formats, and they don't agree on the time")
        return found.pop()

    return lru_cache(maxsize=CACHED)(read)


def _read_one(
    reader: Callable[[str], _Naive], format: str, zone: ZoneInfo | None, ambiguous: Ambiguous | None, take: Take | None, text: str
) -> datetime:
    try:
        naive, unit = reader(text)
    except (ValueError, OverflowError):
        raise Unfit(f"is not a time as {format} says") from None
    return _instant(naive, unit, zone, ambiguous, take)


def date_reader(format: str) -> Callable[[str], str]:
    """What reads one text as a day of the calendar, written 1990-12-31. It raises Unfit."""
    read_day = _reader(format)

    def read(text: str) -> str:
        try:
            return read_day(text)[0].date().isoformat()
        except (ValueError, OverflowError):
            raise Unfit(f"is not a day as {format} says") from None

    return lru_cache(maxsize=CACHED)(read)


def _fits(readers: Sequence[Callable[[str], _Naive]], text: str) -> Iterator[_Naive]:
    for reader in readers:
        try:
            yield reader(text)
        except (ValueError, OverflowError):
            continue


def _reader(format: str) -> Callable[[str], _Naive]:
    if format == ISO:
        return _iso
    used = directives(format)
    unit: _Unit = "minute" if "M" in used else "hour" if used & {"H", "I"} else "day" if "d" in used else "month"
    parse = _parser(format) if used <= _DIGITS.keys() else partial(_strptime, format)

    def read(text: str) -> _Naive:
        return parse(text), unit

    return read


def _parser(format: str) -> Callable[[str], datetime]:
    """What strptime does with a format of digits only, in a quarter of the time."""
    pieces = re.split("%([^%])", format.replace("%%", "\0"))
    names = [_DIGITS[letter][0] for letter in pieces[1::2]]
    plain = [re.sub(r"(\\?\s)+", r"\\s+", re.escape(piece.replace("\0", "%"))) for piece in pieces[::2]]
    digits = [f"({_DIGITS[letter][1]})" for letter in pieces[1::2]]
    pattern = re.compile("".join(part for pair in zip_longest(plain, digits, fillvalue="") for part in pair))

    def parse(text: str) -> datetime:
        found = pattern.fullmatch(text)
        if found is None:
            raise ValueError
        return datetime(**{"day": 1, **dict(zip(names, map(int, found.groups()), strict=True))})  # type: ignore[arg-type]

    return parse


def _strptime(format: str, text: str) -> datetime:
    at = datetime.strptime(text, format)
    weekday = next((f"%{d}" for d in "aA" if f"%{d}" in format), None)
    if weekday is not None and at.strftime(weekday).casefold() not in text.casefold():
        raise ValueError  # strptime reads a weekday and doesn't compare it
    return at


def _iso(text: str) -> _Naive:
    # fromisoformat alone would also take days, weeks and run-together digits.
    if not _ISO.fullmatch(text):
        raise ValueError
    return datetime.fromisoformat(text.replace(" ", "T", 1).replace(" ", "")), "minute"


def _instant(at: datetime, unit: _Unit, zone: ZoneInfo | None, ambiguous: Ambiguous | None, take: Take | None) -> datetime:
    try:
        begin = _begin(at, unit, zone, ambiguous)
        if take != "end" or unit == "minute":
            return begin
        if unit == "hour":
            return begin + timedelta(seconds=3_599)
        return _first_instant(_next(at, unit), zone) - timedelta(seconds=1)
    except OverflowError:
        raise Unfit("is not a time that can be told in UTC") from None


def _next(at: datetime, unit: _Unit) -> datetime:
    if unit == "day":
        return at + timedelta(days=1)
    if (at.year, at.month) == (9999, 12):
        raise OverflowError
    return at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)


def _begin(at: datetime, unit: _Unit, zone: ZoneInfo | None, ambiguous: Ambiguous | None) -> datetime:
    if at.tzinfo is None and zone is None:
        raise Unfit("says no offset from UTC, and the mapping names no zone")
    if unit in ("minute", "hour"):
        return at.astimezone(UTC) if at.tzinfo is not None or zone is None else _local(at, zone, ambiguous)
    begin = _first_instant(at, zone)
    if unit == "day" and begin.astimezone(at.tzinfo or zone).date() != at.date():
        raise Unfit("is a day that did not exist: the date line was moved over it")
    return begin


def _local(at: datetime, zone: ZoneInfo, ambiguous: Ambiguous | None) -> datetime:
    first, second = at.replace(tzinfo=zone), at.replace(tzinfo=zone, fold=1)
    before, after = _offset(first), _offset(second)
    if before < after:
        raise Unfit("is a local time that did not exist: the clocks went forward")
    if before > after and ambiguous is None:
        raise Unfit("is a local time that there was twice: the clocks went back (`ambiguous` chooses)")
    return (second if ambiguous == "later" else first).astimezone(UTC)


def _first_instant(day: datetime, zone: ZoneInfo | None) -> datetime:
    """When a local day begins: at the first of two midnights; where midnight was skipped, when the clocks went forward."""
    if day.tzinfo is not None or zone is None:
        return day.astimezone(UTC)
    before, after = _offset(day.replace(tzinfo=zone)), _offset(day.replace(tzinfo=zone, fold=1))
    if before >= after:
        return (day - before).replace(tzinfo=UTC)
    earliest = (day - after).replace(tzinfo=UTC)

    def has_changed(seconds: int) -> bool:
        return _offset((earliest + timedelta(seconds=seconds)).astimezone(zone)) == after

    skipped_s = int((after - before).total_seconds())
    return earliest + timedelta(seconds=bisect_left(range(skipped_s), True, key=has_changed))


def _offset(at: datetime) -> timedelta:
    offset = at.utcoffset()
    if offset is None:
        raise OverflowError
    return offset
