"""Query parameters, read strictly: an unknown, repeated or senseless one is refused by name (OGC API – Features 1.0.1, 7.2–7.15)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import shapely
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from hub.errors import InvalidRequest
from hub.geo import Box, Point, valid_place
from hub.records import Record, Time
from hub.sharing.paths import Query
from hub.sharing.statements import filterable

DEFAULT_LIMIT = 10
MAX_VALUES = 100
MAX_CORNERS = 100
MAX_TEXT = 8_000  # all of a parameter: what was asked has to fit into one leaf of the log
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TIME = TypeAdapter(Time)


def only(request: Request, allowed: Collection[str]) -> dict[str, str]:
    """The query parameters of a request.

    Raises:
        InvalidRequest: one is not among `allowed`, or is given twice.
    """
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in allowed:
            raise InvalidRequest(
                f"{name[:100]!r} is not a parameter here; there are {', '.join(sorted(allowed)) or 'none'}.", field=name[:100]
            )
        if name in found:
            raise InvalidRequest(f"{name!r} is given twice.", field=name)
        found[name] = value
    return found


def page_query(request: Request, dataset: type[Record], max_limit: int) -> Query:
    """The query of a page."""
    given = only(request, {"limit", "cursor", *filters(dataset)})
    return replace(
        _filtered(dataset, given),
        limit=whole("limit", given.get("limit", str(DEFAULT_LIMIT)), 1, max_limit),
        cursor=text("cursor", given["cursor"]) if "cursor" in given else None,
    )


def map_query(request: Request, dataset: type[Record]) -> Query:
    """The query of a map, or of an export: what a page may be filtered by, and always an area."""
    given = only(request, filters(dataset))
    if "bbox" not in given:
        raise InvalidRequest("bbox is missing: a map has an area (west,south,east,north in degrees).", field="bbox")
    return _filtered(dataset, given)


def filters(dataset: type[Record]) -> set[str]:
    """The names of the parameters that filter records."""
    return {"bbox", "datetime", *(f.name for f in filterable(dataset))}


def _filtered(dataset: type[Record], given: Mapping[str, str]) -> Query:
    since, until = interval(given["datetime"]) if "datetime" in given else (None, None)
    return Query(
        box=bbox(given["bbox"]) if "bbox" in given else None,
        since=since,
        until=until,
        values={f.name: values(f.name, f.kind, f.choices, given[f.name]) for f in filterable(dataset) if f.name in given},
    )


def bbox(text: str) -> Box:
    """`west,south,east,north` in degrees; west > east crosses the antimeridian. A box with heights is refused: records have none."""
    parts = text.split(",")
    if len(parts) != 4:
        raise InvalidRequest(f"bbox needs four numbers (west,south,east,north), not {len(parts)}.", field="bbox")
    if not all(_NUMBER.fullmatch(part) for part in parts):
        raise InvalidRequest("bbox needs four numbers: west,south,east,north in degrees.", field="bbox")
    west, south, east, north = (float(part) for part in parts)
    if not (valid_place(west, south) and valid_place(east, north)):
        raise InvalidRequest("bbox lies outside longitude -180 … 180, latitude -90 … 90.", field="bbox")
    if south > north:
        raise InvalidRequest("bbox is upside down: south is greater than north.", field="bbox")
    return Box(west, south, east, north)


def polygon(text: str) -> tuple[Point, ...]:
    """`lon,lat,lon,lat,…` in degrees: the corners of an area, each once, in the order of its border. It doesn't cross the antimeridian."""
    parts = text.split(",")
    if len(parts) % 2 or not 6 <= len(parts) <= 2 * MAX_CORNERS or not all(_NUMBER.fullmatch(part) for part in parts):
        raise InvalidRequest(f"polygon needs 3 to {MAX_CORNERS} corners: lon,lat,lon,lat,… in degrees.", field="polygon")
    degrees = [float(part) for part in parts]
    corners = tuple(Point(lon, lat) for lon, lat in zip(degrees[::2], degrees[1::2], strict=True))
    if not all(valid_place(*corner) for corner in corners):
        raise InvalidRequest("polygon lies outside longitude -180 … 180, latitude -90 … 90.", field="polygon")
    if not shapely.Polygon(corners).is_valid:
        raise InvalidRequest("polygon crosses itself, or has no area.", field="polygon")
    return corners


def interval(text: str) -> tuple[datetime | None, datetime | None]:
    """An RFC 3339 instant, or `from/until` with `..` or nothing for an open end. Both ends are included."""
    ends = text.split("/")
    if len(ends) == 1:
        at = _instant(ends[0])
        return at, at
    if len(ends) != 2 or all(end in ("", "..") for end in ends):
        raise InvalidRequest("datetime is a time, or an interval such as 2026-01-01T00:00:00Z/..", field="datetime")
    since, until = (None if end in ("", "..") else _instant(end) for end in ends)
    if since and until and since > until:
        raise InvalidRequest("datetime ends before it begins.", field="datetime")
    return since, until


def _instant(text: str) -> datetime:
    try:
        if "T" not in text.upper():
            raise ValueError
        return _TIME.validate_python(text).astimezone(UTC)
    except (ValidationError, ValueError, OverflowError):
        raise InvalidRequest("datetime needs times with a zone, such as 2026-01-31T13:05:00Z (RFC 3339).", field="datetime") from None


def text(name: str, given: str) -> str:
    """A parameter that PostgreSQL can be asked about, of a length that the log can hold."""
    if not given:
        raise InvalidRequest(f"{name} is empty.", field=name)
    if len(given) > MAX_TEXT:
        raise InvalidRequest(f"{name} is longer than {MAX_TEXT:,} characters.", field=name)
    if "\0" in given:
        raise InvalidRequest(f"{name} holds a NUL character.", field=name)
    return given


def values(name: str, kind: str, choices: Collection[str] | None, given: str) -> tuple[str | int, ...]:
    """Comma-separated exact values of a field."""
    parts = text(name, given).split(",")
    if len(parts) > MAX_VALUES:
        raise InvalidRequest(f"{name} has more than {MAX_VALUES} values.", field=name)
    if kind == "number":
        return tuple(whole(name, part, -(2**31), 2**31 - 1) for part in parts)
    unknown = [part for part in parts if choices is not None and part not in choices]
    if unknown:
        raise InvalidRequest(f"{name} is never {unknown[0][:100]!r}; it is one of {', '.join(sorted(choices or ()))}.", field=name)
    return tuple(parts)


def whole(name: str, text: str, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    try:
        if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit() or len(text) > 12:
            raise ValueError
        value = int(text)
    except ValueError:
        raise InvalidRequest(f"{name} must be a whole number, not {text[:50]!r}.", field=name) from None
    if not least <= value <= most:
        raise InvalidRequest(f"{name} must be from {least} to {most}.", field=name)
    return value


def record_id(text: str) -> UUID:
    """The id in a path. One that can't be an id names no record: it is looked up, logged and answered like one that is not there."""
    try:
        found = UUID(text)
    except ValueError:
        return UUID(int=0)
    return found if str(found) == text else UUID(int=0)
