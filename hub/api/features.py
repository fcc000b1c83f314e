"""GeoJSON in (RFC 7946): a Feature or FeatureCollection becomes records, or one error that names every wrong place."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from hub.errors import InvalidRecord, InvalidRequest, Problem, TooLarge
from hub.records import Record

MEDIA_TYPES = ("application/geo+json", "application/json")
MAX_PROBLEMS = 100
MAX_NAME = 200  # of a place in an answer: partners name their own members


def read_features(body: bytes, dataset: type[Record], max_features: int) -> list[Record]:
    """The records in a request's body.

    Raises:
        InvalidRequest: it is not JSON, or neither Feature nor FeatureCollection.
        TooLarge: it has more than `max_features` features.
        InvalidRecord: some records are not acceptable; up to 100 places and reasons are named.
    """
    data = _json(body)
    _refuse_repeats(body, data)
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


def _refuse_repeats(body: bytes, data: Any) -> None:
    """Of a member given twice the parser drops one. Then the body has more colons than `data` written anew, so only such a body,
    and one in which a colon may be escaped, is read a second time, slowly.

    Raises:
        InvalidRequest: a member is given twice, or the body is nested too deeply to be written.
    """
    try:
        colons = orjson.dumps(data).count(b":")
    except orjson.JSONEncodeError:
        raise InvalidRequest("The body is nested too deeply.", field="body") from None
    if b"\\u003" in body or colons != body.count(b":"):
        json.loads(body, object_pairs_hook=_once)


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise InvalidRequest(f"One JSON object has the member {name[:MAX_NAME]!r} twice.", field=name[:MAX_NAME])
        found[name] = value
    return found


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
    for member in data:
        # `name` is the layer's, as GDAL writes it; it says nothing of the records.
        if member not in ("type", "features", "bbox", "name"):
            reason = f"{member[:MAX_NAME]!r} is not a member of a GeoJSON FeatureCollection here."
            raise InvalidRequest(reason, field=member[:MAX_NAME])
    return features, "features[{n}]"


def _record(feature: Any, dataset: type[Record]) -> Record:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise _Wrong("type", "must be Feature")
    if "id" in feature:
        raise _Wrong("id", "the hub gives ids; put your own into properties.external_id")
    _refuse_others(feature, ("type", "geometry", "properties", "bbox"), "")
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        raise _Wrong("properties", "is missing")
    place = dataset.named("place")[0].name
    if place in properties:
        raise _Wrong(f"properties.{place}", "belongs into geometry")
    return dataset.model_validate({**properties, place: _point(feature.get("geometry"))})


def _refuse_others(found: Mapping[str, Any], known: tuple[str, ...], path: str) -> None:
    for member in found:
        if member not in known:
            raise _Wrong(_join(path, member), "is not a member of a GeoJSON feature here")


def _point(geometry: Any) -> tuple[float, float]:
    if not isinstance(geometry, dict):
        raise _Wrong("geometry", "is missing; a Point is needed")
    if geometry.get("type") != "Point":
        raise _Wrong("geometry.type", f"must be Point, not {str(geometry.get('type'))[:50]}")
    _refuse_others(geometry, ("type", "coordinates", "bbox"), "geometry")
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
        yield Problem(_join(path, error.place)[:MAX_NAME], error.reason)
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
        yield Problem(_join(path, where)[:MAX_NAME], reason)


def _join(path: str, place: str) -> str:
    return f"{path}.{place}" if path else place
