"""One GeoJSON Feature (RFC 7946) as a record: by a mapping, or directly. Reasons name members, never values."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from hub.errors import Problem
from hub.mapping.maker import EXTRA, Maker, extra_columns
from hub.mapping.model import FEATURE_ID, LATITUDE, LONGITUDE
from hub.mapping.model import Mapping as Spec
from hub.mapping.rows import Made, refused
from hub.mapping.unfit import Unfit
from hub.mapping.values import Watch, refuse_zero, trimmer
from hub.mapping.verdicts import MAX_NAME, place_flags, record_of, refusal
from hub.records import Record

POINT = ("type", "coordinates", "bbox")
MEMBERS = ("type", "geometry", "properties", "bbox")
GEOMETRY = "geometry.coordinates"
NOT_JSON = "is not JSON"


class Misplaced(Unfit):
    """A place in a feature, and what is wrong there."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(reason)
        self.place = place[:MAX_NAME]


def json_of(text: bytes) -> Any:
    """What one text of a sequence holds; Made when it must be refused."""
    try:
        data = orjson.loads(text)
        colons = orjson.dumps(data).count(b":")
    except orjson.JSONDecodeError as error:
        return refused("text", f"{NOT_JSON} at character {error.pos + 1:,}")
    except orjson.JSONEncodeError:
        return refused("text", "is nested too deeply")
    # Of a member given twice the parser drops one. Then the text has more colons than `data` written anew; only such a text, and
    # one in which a colon may be escaped, is read a second time, slowly.
    if b"\\u003" in text or colons != text.count(b":"):
        try:
            json.loads(text, object_pairs_hook=_once)
        except Misplaced as wrong:
            return refused(wrong.place, str(wrong))
    return data


def direct(dataset: type[Record]) -> Callable[[Any], Made]:
    """What makes records of features whose properties are the dataset's own fields."""
    place = dataset.named("place")[0].name

    def label(field: str) -> str:
        return GEOMETRY if field == place else f"properties.{field}"

    def make(feature: Any) -> Made:
        try:
            properties = _properties(feature)
            if "id" in feature:
                raise Misplaced("id", "the hub gives ids; put your own into properties.external_id")
            if place in properties:
                raise Misplaced(f"properties.{place}", "belongs into geometry")
            lon, lat = _point(feature)
        except Misplaced as wrong:
            return refused(wrong.place, str(wrong))
        record = record_of({**properties, place: (lon, lat)}, dataset, label)
        return record if isinstance(record, Made) else Made(record, flags=place_flags(lon, lat, GEOMETRY))

    return make


class FeatureMaker:
    """Makes records of features by a mapping: properties are its columns, the feature's own id is the column `feature.id`."""

    def __init__(self, mapping: Spec, dataset: type[Record], watch: Watch | None = None) -> None:
        self._mapping = mapping
        self._columns = tuple(dict.fromkeys((*mapping.kept_besides(EXTRA), *(mapping.external_id.hash or ()))))
        self._maker = Maker(mapping, dataset, self._columns, watch)
        self._trim = trimmer(mapping.empty)
        self._place = None if mapping.place is not None and mapping.place.sources else dataset.named("place")[0].name
        self._keep_zero = mapping.place is not None and mapping.place.zero == "keep"
        self._extra = frozenset(extra_columns(mapping, ()))
        self._known = frozenset({*mapping.kept, *mapping.drop, LONGITUDE, LATITUDE})

    def make(self, feature: Any) -> Made:
        """The record of one feature, or why there is none."""
        try:
            columns = self._columns_of(feature)
            more: dict[str, Any] = {}
            if self._place is not None:
                more[self._place] = lon, lat = _point(feature)
                refuse_zero(lon, lat, self._keep_zero)
                columns |= {LONGITUDE: lon, LATITUDE: lat}
            if extra := self._extra_of(columns):
                more[EXTRA] = extra
            cells = self._trim([_text(columns.get(name), name) for name in self._columns])
        except Misplaced as wrong:
            return refused(wrong.place, str(wrong))
        except Unfit as unfit:
            return refused(GEOMETRY, str(unfit))
        return self._unsaid(columns) or self._maker.make(cells, more)

    def _columns_of(self, feature: Any) -> dict[str, Any]:
        columns = {name.strip(): value for name, value in _properties(feature).items()}
        if len(columns) != len(feature["properties"]):
            raise Misplaced("properties", "has two members whose names differ in blanks only")
        for name in (FEATURE_ID, LONGITUDE, LATITUDE):
            if name in columns:
                raise Misplaced(f"properties.{name}", "has a name that is kept for the feature itself")
        return columns | {FEATURE_ID: feature["id"]} if "id" in feature else columns

    def _extra_of(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        rest = self._mapping.unmapped == "extra"
        found = {n: v for n, v in columns.items() if n in self._extra or (rest and n not in self._known)}
        return {n: v for n, v in found.items() if v is not None and not (isinstance(v, str) and self._trim([v]) == [None])}

    def _unsaid(self, columns: Mapping[str, Any]) -> Made | None:
        if self._mapping.unmapped == "extra" or columns.keys() <= self._known:
            return None
        reason = "is neither mapped nor named under `drop`; `unmapped: extra` keeps such members"
        return refusal(Problem(f"properties.{n}"[:MAX_NAME], reason) for n in columns if n not in self._known)


def _text(value: Any, name: str) -> str:
    """A property as a cell has it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    raise Misplaced(f"properties.{name}", "is a list or an object; only `extra` takes such")


def _properties(feature: Any) -> dict[str, Any]:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise Misplaced("type", "must be Feature")
    _refuse_others(feature, (*MEMBERS, "id"), "")
    if not isinstance(feature.get("id", ""), str | int | float) or isinstance(feature.get("id"), bool):
        raise Misplaced("id", "must be text or a number (RFC 7946 §3.2)")
    properties = feature.get("properties")
    if not isinstance(properties, dict):
        raise Misplaced("properties", "is missing")
    return properties


def _point(feature: Mapping[str, Any]) -> tuple[float, float]:
    """(lon, lat) in degrees."""
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict):
        raise Misplaced("geometry", "is missing; a Point is needed")
    if geometry.get("type") != "Point":
        raise Misplaced("geometry.type", "must be Point")
    _refuse_others(geometry, POINT, "geometry.")
    coordinates = geometry.get("coordinates")
    if not isinstance(coordinates, list) or len(coordinates) != 2:
        count = len(coordinates) if isinstance(coordinates, list) else "none"
        raise Misplaced(GEOMETRY, f"must be two numbers, longitude and latitude; there are {count}")
    for value in coordinates:
        if type(value) not in (int, float):
            raise Misplaced(GEOMETRY, f"must be numbers, not {type(value).__name__}")
    try:
        return float(coordinates[0]), float(coordinates[1])
    except OverflowError:
        raise Misplaced(GEOMETRY, "must be degrees") from None


def _refuse_others(found: Mapping[str, Any], known: tuple[str, ...], path: str) -> None:
    for member in found:
        if member not in known:
            raise Misplaced(path + member, "is not a member of a GeoJSON feature here")
    if "bbox" in found:
        # It is not kept: the point says it all. But what is no box says that something is wrong.
        box = found["bbox"]
        if not isinstance(box, list) or len(box) not in (4, 6) or any(type(n) not in (int, float) for n in box):
            raise Misplaced(f"{path}bbox", "must be four or six numbers (RFC 7946 §5)")


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in members:
        if name in found:
            raise Misplaced("text", "has an object with one member twice")
        found[name] = value
    return found
