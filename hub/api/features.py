"""GeoJSON in (RFC 7946): a Feature or FeatureCollection becomes records, or one error that names every wrong place."""

import json
from typing import Any

import orjson

from hub.errors import InvalidRecord, InvalidRequest, Problem, TooLarge
from hub.mapping.features import direct
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
    make = direct(dataset)
    for n, feature in enumerate(features):
        made = make(feature)
        if made.record is not None:
            records.append(made.record)
        here = path.format(n=n)
        problems += [Problem(f"{here}.{p.field}" if here else p.field, p.reason) for p in made.problems]
    if problems:
        count = len(problems)
        first = problems[0]
        more = f" and {count - 1} more" if count > 1 else ""
        raise InvalidRecord(f"{first.field}: {first.reason}{more}. Nothing was stored.", problems=problems[:MAX_PROBLEMS])
    return records


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
