"""What a mapping may say of its dataset: each check yields the places that are wrong, and why."""

from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ValidationError

from hub.mapping import times
from hub.mapping.header import near
from hub.mapping.maker import EXTERNAL_ID
from hub.mapping.model import LATITUDE, LONGITUDE, Mapping, Value
from hub.mapping.places import projection
from hub.mapping.shapes import Shape, adapter_of, choices_of, part_of, shape_of
from hub.records import Record

Place = tuple[int | str, ...]
Fault = tuple[Place, str]
CSV_ONLY = ("encoding", "delimiter", "header")
MODIFIERS: dict[Shape, tuple[str, ...]] = {
    "text": ("map", "otherwise", "date"),
    "words": ("map", "otherwise"),
    "number": ("map", "otherwise"),
    "time": ("time", "zone", "ambiguous", "take"),
}


def faults(mapping: Mapping, dataset: type[Record]) -> Iterator[Fault]:
    """Each place in the mapping that is wrong, and why."""
    yield from _of_format(mapping)
    yield from _of_id(mapping)
    yield from _of_place(mapping)
    yield from _of_fields(mapping, dataset)
    yield from _of_columns(mapping)
    if mapping.zone is not None:
        yield from _of_zone(mapping.zone, ("zone",))


def _of_format(mapping: Mapping) -> Iterator[Fault]:
    if mapping.format == "geojson-seq":
        for word in CSV_ONLY:
            if word in mapping.model_fields_set:
                yield (word,), "is said of csv only; GeoJSON is in UTF-8 and names its members"
    if mapping.decimal == mapping.delimiter:
        yield ("decimal",), "is the delimiter too"
    words = [word.strip() for word in mapping.empty]
    for n, word in enumerate(words):
        if word in words[:n]:
            yield ("empty", n), "is there twice"


def _of_id(mapping: Mapping) -> Iterator[Fault]:
    said = mapping.external_id
    if not said.sources:
        yield ("external_id",), "needs a `column`, or a `hash` of the columns that tell rows apart, or both"
    yield from _twice(("external_id", "hash"), said.hash or ())
    if said.column is not None and said.column in (said.hash or ()):
        yield ("external_id", "hash"), f"names {said.column!r}, which is empty whenever the hash is made"


def _of_place(mapping: Mapping) -> Iterator[Fault]:
    said = mapping.place
    if said is None or not said.model_fields_set - {"zero"}:
        if mapping.format == "csv":
            yield ("place",), "must name the columns: `lon` and `lat` in degrees, or `x`, `y` and their `crs`"
        return
    words = said.model_fields_set - {"zero"}
    if words not in ({"lon", "lat"}, {"x", "y", "crs"}):
        yield ("place",), "must be `lon` and `lat` (degrees, WGS 84), or `x`, `y` and `crs`"
        return
    if len(set(said.sources)) < 2:
        yield ("place",), "takes both coordinates from one column"
    if said.crs is not None:
        try:
            projection(said.crs)
        except ValueError as error:
            yield ("place", "crs"), str(error)


def _of_fields(mapping: Mapping, dataset: type[Record]) -> Iterator[Fault]:
    place = dataset.named("place")[0].name
    own = {EXTERNAL_ID, place}
    known = [f.name for f in dataset.fields if f.name not in own]
    for name, said in mapping.fields.items():
        at: Place = ("fields", name)
        if name in own:
            yield at, f"has a section of its own, beside `fields`: `{name if name == EXTERNAL_ID else 'place'}`"
        elif name not in known:
            yield at, f"is not a field of {mapping.dataset}{near(name, known) or '; they are ' + ', '.join(known)}"
        elif isinstance(said, Value):
            yield from _of_value(mapping, said, dataset, name, at)
        elif shape_of(dataset, name) != "list":
            yield at, "takes one value, not a list"
        else:
            yield from _of_parts(mapping, said, part_of(dataset, name), at)
    for field in dataset.fields:
        if field.required and field.name in known and field.name not in mapping.fields:
            yield ("fields",), f"lacks {field.name}, which every record needs"


def _of_parts(mapping: Mapping, parts: Iterable[dict[str, Value]], model: type[BaseModel], at: Place) -> Iterator[Fault]:
    for n, part in enumerate(parts):
        for name, value in part.items():
            if name not in model.model_fields:
                yield (*at, n, name), f"is not known here{near(name, model.model_fields) or '; known are ' + ', '.join(model.model_fields)}"
            else:
                yield from _of_value(mapping, value, model, name, (*at, n, name))
        if all(value.constant is not None for value in part.values()):
            yield (*at, n), "takes nothing from the file"


def _of_value(mapping: Mapping, value: Value, model: type[BaseModel], name: str, at: Place) -> Iterator[Fault]:
    shape = shape_of(model, name)
    said = [word for word in ("column", "columns", "constant") if getattr(value, word) is not None]
    if shape == "list":
        yield at, "must be a list"
        return
    if len(said) != 1:
        yield at, f"needs exactly one of `column`, `columns`, `constant`; it has {' and '.join(said) or 'none'}"
        return
    yield from _twice((*at, "columns"), value.columns or ())
    yield from _of_words(value, shape, at)
    if shape == "time" and value.constant is None:
        yield from _of_time(mapping, value, at)
    if value.date is not None:
        yield from (((*at, "date"), f"{value.date!r} {why}") for why in _of_day(value.date))
    if value.map is not None and "map" in MODIFIERS.get(shape, ()):
        yield from _of_map(mapping, value, model, name, at)
    if value.constant is not None:
        yield from _of_said(value.constant, model, name, (*at, "constant"))
    if value.otherwise is not None:
        yield from _of_said(value.otherwise, model, name, (*at, "otherwise"))


def _of_words(value: Value, shape: Shape, at: Place) -> Iterator[Fault]:
    """Words that have no meaning here: they would be passed over in silence."""
    fitting = set() if value.constant is not None else set(MODIFIERS.get(shape, ()))
    if value.columns is not None and fitting:
        fitting.add("join")
    fitting -= {"otherwise"} if value.map is None else {"date"}
    for word in sorted(value.model_fields_set - {"column", "columns", "constant"} - fitting):
        yield (*at, word), "has no meaning here"


def _of_time(mapping: Mapping, value: Value, at: Place) -> Iterator[Fault]:
    if not value.formats:
        yield (*at,), 'needs `time`: the format, such as "%d/%m/%Y %H:%M", or `iso`'
    zone = value.zone or mapping.zone
    if value.zone is not None:
        yield from _of_zone(value.zone, (*at, "zone"))
    yield from _twice((*at, "time"), value.formats)
    for n, format in enumerate(value.formats):
        here: Place = (*at, "time") if isinstance(value.time, str) else (*at, "time", n)
        yield from ((here, f"{format!r} {why}") for why in times.faults(format))
        if zone is None and format != times.ISO and "z" not in times.directives(format):
            yield here, f"{format!r} needs a `zone` such as Europe/London: it says no offset from UTC"
        if times.coarse(format) and value.take is None:
            yield here, f"{format!r} names no minute, so it is a period: `take: start` or `take: end` says which end of it is meant"
    if value.take is not None and not any(times.coarse(f) for f in value.formats):
        yield (*at, "take"), "is for formats that name no minute"


def _of_day(format: str) -> Iterator[str]:
    yield from times.faults(format)
    if format == times.ISO or "d" not in times.directives(format) or times.directives(format) & set("HIpMSfz"):
        yield "must name a day and no time, such as %d/%m/%Y"


def _of_zone(zone: str, at: Place) -> Iterator[Fault]:
    try:
        times.zone_named(zone)
    except ValueError as error:
        yield at, f"{error!s}{near(zone, times.zone_names())}"


def _of_map(mapping: Mapping, value: Value, model: type[BaseModel], name: str, at: Place) -> Iterator[Fault]:
    words = value.map or {}
    trimmed = Counter(word.strip() for word in words)
    nothing = {"", *(word.strip() for word in mapping.empty)}
    for word, said in words.items():
        here: Place = (*at, "map", word)
        if trimmed[word.strip()] > 1:
            yield here, "is there twice, but for blanks, which are trimmed"
        if word.strip() in nothing:
            yield here, "means that there is no value (`empty`), so the map never sees it"
        yield from _of_said(said, model, name, here)


def _of_said(said: str | int, model: type[BaseModel], name: str, at: Place) -> Iterator[Fault]:
    """Whether the field takes the value that the mapping gives it."""
    choices = choices_of(model, name)
    if choices and said not in choices:
        yield at, f"{said!r} is not a word of {name}{near(str(said), choices) or '; its words are ' + ', '.join(choices)}"
        return
    try:
        adapter_of(model, name).validate_python(said)
    except ValidationError as error:
        reason = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        yield at, f"{said!r} does not fit {name}: {reason}"


def _of_columns(mapping: Mapping) -> Iterator[Fault]:
    used, kept = set(mapping.used), set(mapping.kept)
    yield from _twice(("drop",), mapping.drop)
    for n, column in enumerate(mapping.drop):
        if column in kept:
            yield ("drop", n), f"{column!r} is mapped too"
    if mapping.format == "geojson-seq":
        hashed = set(mapping.external_id.hash or ())
        for column in used & {LONGITUDE, LATITUDE} - hashed:
            yield ("fields",), f"{column!r} can be hashed only: the geometry is the place already"
    if mapping.header is True:
        return
    yield from _twice(("header",), mapping.header)
    for column in (*mapping.used, *mapping.drop):
        if column not in mapping.header:
            yield ("header",), f"lacks {column!r}, which the mapping names{near(column, mapping.header)}"
    if mapping.unmapped is None:
        for n, column in enumerate(mapping.header):
            if column not in kept and column not in mapping.drop:
                yield ("header", n), f"{column!r} is neither mapped nor named under `drop`; `unmapped: extra` keeps such columns"


def _twice(at: Place, names: Iterable[str]) -> Iterator[Fault]:
    for name, count in Counter(names).items():
        if count > 1:
            yield at, f"names {name!r} twice"
