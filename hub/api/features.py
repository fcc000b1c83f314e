"""GeoJSON in (RFC 7946): a Feature or FeatureCollection becomes records, or one error that names every wrong place."""

from collections.abc import Iterator
from typing import Any

import orjson
from pydantic import ValidationError

from hub.errors import InvalidRecord, InvalidRequest, Problem, TooLarge
from hub.records import Record

MEDIA_TYPES = ("application/geo+json", "application/json")
MAX_PROBLEMS = 100


def read_features(body: bytes, dataset: type[Record], max_features: int) -> list[Record]:
    """The records in a request's body.

    Raises:
        InvalidRequest: it is not JSON, or neither Feature nor FeatureCollection.
        TooLarge: it has more than `max_features` features.
        InvalidRecord: some records are not acceptable; up to 100 places and reasons are named.
    """
    data = _json(body)
    features, path = _features(data)
    if len(features) > max_features:
        raise TooLarge(f"There are {len(features):,} features; one request holds at most {max_features:,}.", field="features")
    records: list[Record] = []
    problems: list[Problem] = []
    for n, feature in enumerate(features):
        try:
            records.append(_record(feature, dataset))
        except (ValidationError, _Wrong) as error:
            problems += _problems(error, dataset, path.format(n=n))
    if problems:
        count = len(problems)
        first = problems[0]
        more = f" and {count - 1} more" if count > 1 else ""
        raise InvalidRecord(f"{first.field}: {first.reason}{more}. Nothing was stored.", problems=problems[:MAX_PROBLEMS])
    return records


class _Wrong(Exception):
    """A place in a feature, and what is wrong there."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place, self.reason = place, reason


def _json(body: bytes) -> Any:
    try:
        # orjson refuses NaN, Infinity, bad UTF-8 and lone surrogates, as RFC 8259 does.
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        what = "is empty" if not body.strip() else f"is not JSON: {error}"
        raise InvalidRequest(f"The body {what}.", field="body") from None


def _features(data: Any) -> tuple[list[Any], str]:
    kind = data.get("type") if isinstance(data, dict) else None
    if kind == "Feature":
        return [data], ""
    if kind != "FeatureCollection":
        raise InvalidRequest("The body must be a GeoJSON Feature or FeatureCollection.", field="type")
    features = data.get("features")
    if not isinstance(features, list) or not features:
        raise InvalidRequest("A FeatureCollection needs at least one feature.", field="features")
    if "crs" in data:
        raise InvalidRequest("GeoJSON is in WGS 84 (RFC 7946 §4); a crs member is not read.", field="crs")
    return features, "features[{n}]"


def _record(feature: Any, dataset: type[Record]) -> Record:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise _Wrong("type", "must be Feature")
    for member in feature:
        if member == "id":
            raise _Wrong("id", "the hub gives ids; put your own into properties.external_id")
        if member not in ("type", "geometry", "properties", "bbox"):
            raise _Wrong(member, "is not a member of a GeoJSON feature here")
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        raise _Wrong("properties", "is missing")
    place = dataset.named("place")[0].name
    if place in properties:
        raise _Wrong(f"properties.{place}", "belongs into geometry")
    return dataset.model_validate({**properties, place: _point(feature.get("geometry"))})


def _point(geometry: Any) -> tuple[float, float]:
    if not isinstance(geometry, dict):
        raise _Wrong("geometry", "is missing; a Point is needed")
    if geometry.get("type") != "Point":
        raise _Wrong("geometry.type", f"must be Point, not {str(geometry.get('type'))[:50]}")
    coordinates = geometry.get("coordinates")
    if not isinstance(coordinates, list) or len(coordinates) != 2:
        count = len(coordinates) if isinstance(coordinates, list) else "none"
        raise _Wrong("geometry.coordinates", f"must be two numbers, longitude and latitude; there are {count}")
    for value in coordinates:
        if type(value) not in (int, float):
            raise _Wrong("geometry.coordinates", f"must be numbers, not {type(value).__name__}")
    try:
        return float(coordinates[0]), float(coordinates[1])
    except OverflowError:
        raise _Wrong("geometry.coordinates", "must be degrees") from None


def _problems(error: ValidationError | _Wrong, dataset: type[Record], path: str) -> Iterator[Problem]:
    if isinstance(error, _Wrong):
        yield Problem(_join(path, error.place), error.reason)
        return
    place = dataset.named("place")[0].name
    for item in error.errors(include_url=False, include_input=False):
        steps = [str(s) for s in item["loc"]]
        reason = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            reason = f"is not a member of {dataset.__name__}; what has no field of its own goes into extra"
        where = "geometry.coordinates" if steps[:1] == [place] else ".".join(["properties", *steps])
        if not steps and ": " in reason:
            name, reason = reason.split(": ", 1)
            where = f"properties.{name}"
        yield Problem(_join(path, where), reason)


def _join(path: str, place: str) -> str:
    return f"{path}.{place}" if path else place
