"""A first mapping for a file, written by looking at it. What could not be decided is left so that the hub refuses it until it is."""

import json
import re
from collections.abc import Iterator, Sequence

from hub.mapping.header import near
from hub.mapping.looking import HOURS, Column, Looked
from hub.mapping.maker import EXTERNAL_ID
from hub.mapping.shapes import choices_of, shape_of
from hub.mapping.times import coarse, directives
from hub.records import Record

MAX_WORDS = 200  # distinct values that can be a list of categories
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 /()&+-]*(?<! )")
_YAML_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_CALLED = {  # which names columns of a field have, without blanks, digits and case; the likeliest first
    "lon": "lon long lng longitude xlong",
    "lat": "lat latitude ylat",
    "x": "x xcoord xcoordinate xcoordcd xcoordinatestateplane easting eastings",
    "y": "y ycoord ycoordinate ycoordcd ycoordinatestateplane northing northings",
    "id": "id incidentid incidentnumber casenumber caseid crimeid eventid uniquekey recordid reportnumber idnum objectid incidentkey number",
    "category": "category crimetype primarytype incidenttype calltype complainttype offensetype offense offence problem mci type nature title "
    "description",
    "status": "status casestatus state",
    "address": "address incidentaddress block addr location street streetname",
    "narrative": "narrative notes remarks comments details",
    "phone": "phone telephone phonenumber callbacknumber",
    "occurred": "occur incident event happen offense offence created date time month start",
}
NAMES = {kind: tuple(names.split()) for kind, names in _CALLED.items()}
SYNONYMS: dict[str, tuple[str, ...]] = {  # parts of partner words, in the order they are tried
    "overdose": ("overdose", "opioid", "narcan"),
    "domestic-violence": ("domestic",),
    "homicide": ("homicide", "murder", "manslaughter"),
    "sexual-offence": ("sex", "rape", "indecent"),
    "vehicle-theft": ("auto theft", "vehicle theft", "motor vehicle theft", "stolen vehicle"),
    "robbery": ("robbery", "mugging"),
    "burglary": ("burglar", "break and enter", "breaking"),
    "weapons": ("weapon", "firearm", "knife", "gun"),
    "fraud": ("fraud", "decepti", "forgery", "counterfeit", "embezzle"),
    "drugs": ("drug", "narcotic", "cannabis"),
    "property-damage": ("damage", "vandal", "graffiti"),
    "fire": ("fire", "arson", "smoke", "gas-odor"),
    "traffic": ("traffic", "vehicle accident", "collision", "parking", "disabled vehicle"),
    "theft": ("theft", "larceny", "shoplift", "stolen"),
    "assault": ("assault", "battery", "violence", "shooting"),
    "missing-person": ("missing", "runaway"),
    "welfare-check": ("welfare", "wellness"),
    "disorder": ("disorder", "anti-social", "noise", "public order", "public peace", "drunk", "loiter"),
    "medical": ("ems", "medical", "ambulance", "cardiac", "injury"),
}


def propose(looked: Looked, dataset_name: str, dataset: type[Record]) -> str:
    """The text of a mapping. Lines that begin `# ?` are doubts; `?` as a value must be replaced."""
    return "\n".join(_lines(looked, dataset_name, dataset)) + "\n"


def _lines(looked: Looked, dataset_name: str, dataset: type[Record]) -> Iterator[str]:
    seen = f"{looked.rows:,} rows" if looked.whole else f"the first {looked.rows:,} rows"
    yield f"# Proposed by `hub mapping init` from {seen}. Lines that begin `# ?` are doubts: decide them, then run `hub mapping check`."
    yield f"dataset: {dataset_name}"
    yield f"format: {looked.format}"
    yield from _form(looked)
    columns = {c.name: c for c in looked.columns}
    times = _times(looked.columns)
    place = list(_place(looked))
    yield from _id(looked, {n for line in place for n in columns if _quoted(n) in line})
    yield from place
    yield "fields:"
    taken: set[str] = set()
    yield from _category(looked.columns, dataset, taken)
    yield from _occurred(times, columns, taken)
    yield from _others(looked.columns, dataset, taken)
    yield ""
    yield "# ? Columns that are not named above are sealed in `extra`; name those that nobody needs under `drop: […]`."
    yield "unmapped: extra"


def _form(looked: Looked) -> Iterator[str]:
    if looked.encoding is not None:
        yield f"# ? The file is not UTF-8. It is read as {looked.encoding}: look whether accented letters are right."
        yield f"encoding: {looked.encoding}"
    if looked.format == "csv" and looked.delimiter != ",":
        yield f'delimiter: "{looked.delimiter}"'
    if not looked.header:
        yield "# ? The first line seems to be data, not names of columns. Give them names, in their order, here and below."
        yield f"header: [{', '.join(_quoted(c.name) for c in looked.columns)}]"
    if looked.ragged:
        yield f"# ? {looked.ragged:,} rows have more or fewer values than there are columns; the hub refuses them."
    if looked.empty:
        yield f"# ? Read as no value: {', '.join(looked.empty)}."
        yield f"empty: [{', '.join(_quoted(w) for w in looked.empty)}]"
    if looked.delimiter == ";" and any("," in v for c in looked.columns for v in c.values[:50] if c.numbers()):
        yield '# ? Numbers are written with a decimal comma.\ndecimal: ","'


def _id(looked: Looked, place: set[str]) -> Iterator[str]:
    named = _called(looked.columns, "id")
    unique = next((c for c in named if c.values and len(c.distinct) == len(c.values) and not c.empty), None)
    if unique is not None:
        if not looked.whole:
            yield "# ? Different in each row looked at; `hub mapping check` tells whether it is in all."
        yield f"{EXTERNAL_ID}: {{column: {_quoted(unique.name)}}}"
        return
    if named:
        first = named[0]
        repeated, empty = len(first.values) - len(first.distinct), first.empty
        yield f"# ? {first.name!r} is no id of a row: {empty:,} rows have none, {repeated:,} repeat one that is there already."
    else:
        yield "# ? No column is an id. Rows are told apart by what is in these columns: leave out those that may change later, such as"
        yield "# ? a status, because a row in which one of them has changed becomes a new record."
    names = [c.name for c in looked.columns if c.values][:20]
    yield f"{EXTERNAL_ID}: {{hash: [{', '.join(_quoted(n) for n in names)}]}}"


def _place(looked: Looked) -> Iterator[str]:
    if looked.geometry:
        return
    lon, lat = _called(looked.columns, "lon"), _called(looked.columns, "lat")
    if lon and lat:
        east, north = lon[0], lat[0]
        values = north.numbers()
        if values and max(map(abs, values)) > 90:
            yield f"# ? Latitudes reach {max(map(abs, values)):g}: are the two swapped, or in metres?"
        yield f"place: {{lon: {_quoted(east.name)}, lat: {_quoted(north.name)}}}"
        return
    x, y = _called(looked.columns, "x"), _called(looked.columns, "y")
    if x and y:
        yield "# ? In which coordinate reference system? Write its EPSG number, such as EPSG:2272 or EPSG:27700."
        yield f'place: {{x: {_quoted(x[0].name)}, y: {_quoted(y[0].name)}, crs: "?"}}'
        return
    yield "# ? No columns look like coordinates. Name them: lon and lat in degrees, or x, y and crs."
    yield 'place: {lon: "?", lat: "?"}'


def _category(columns: Sequence[Column], dataset: type[Record], taken: set[str]) -> Iterator[str]:
    if "category" not in dataset.model_fields:
        return
    choices = choices_of(dataset, "category")
    found = next((c for c in _called(columns, "category") if 1 <= len(c.distinct) <= MAX_WORDS), None)
    yield "  category:"
    if found is None:
        yield f"    # ? No column looks like a category. Name one with its `map`, or say one word for all: {', '.join(choices)}."
        yield '    constant: "?"'
        return
    taken.add(found.name)
    yield f"    # ? Its words are {', '.join(choices)}."
    yield f"    column: {_quoted(found.name)}"
    yield "    map:"
    for word, count in sorted(found.distinct.items()):
        guess = guess_category(word, choices)
        note = "" if guess else f"  # ? {count:,} rows"
        yield f"      {_quoted(word)}: {guess or _quoted('?')}{note}"


def guess_category(word: str, choices: Sequence[str]) -> str | None:
    """The choice that a partner's word most likely means."""
    plain = word.casefold()
    for choice, parts in SYNONYMS.items():
        if choice in choices and any(part in plain for part in parts):
            return choice
    return next((c for c in choices if near(plain, [c])), None)


def _times(columns: Sequence[Column]) -> list[tuple[Column, list[str]]]:
    """Columns of days or months, with the formats that they fit; the likeliest time of the incident first."""
    found = [(c, fits) for c in columns if (fits := c.formats()) and not c.numbers()]

    def rank(item: tuple[Column, list[str]]) -> tuple[int, int]:
        plain = _squeezed(item[0].name)
        words = NAMES["occurred"]
        return next((n for n, w in enumerate(words) if w in plain), len(words)), item[0].empty

    return sorted(found, key=rank)


def _occurred(times: list[tuple[Column, list[str]]], columns: dict[str, Column], taken: set[str]) -> Iterator[str]:
    if not times:
        yield "  # ? No column looks like a time. Name one with its format."
        yield '  occurred_at: {column: "?", time: "?"}'
        return
    column, formats = times[0]
    taken.add(column.name)
    others = [c.name for c, _ in times[1:]]
    if others:
        yield f"  # ? These look like times too: {', '.join(others)}."
    source = f"column: {_quoted(column.name)}"
    hours = next((c for c in columns.values() if "time" in _squeezed(c.name) and c.formats(HOURS) and c is not column), None)
    if hours is not None and all("d" in directives(f) and coarse(f) for f in formats):
        taken.add(hours.name)
        source = f"columns: [{_quoted(column.name)}, {_quoted(hours.name)}]"
        formats = [f"{f} {hours.formats(HOURS)[0]}" for f in formats]
    yield from _time("occurred_at", source, formats, "start")
    if coarse(formats[0]):
        yield from _time("occurred_until", source, formats, "end")


def _time(field: str, source: str, formats: list[str], take: str) -> Iterator[str]:
    format = formats[0]
    orders = {"".join(d for d in re.findall("%([a-zA-Z])", f) if d in "md") for f in formats}
    if {"dm", "md"} <= orders:
        yield f"  # ? Every day is 12 or less, so {' and '.join(formats[:2])} both fit: which is it?"
        format = "?"
    said = [source, f"time: {json.dumps(format)}"]
    if "z" not in directives(formats[0]):
        yield "  # ? In which zone are these local times? An IANA name such as America/Toronto or Europe/London."
        said.append('zone: "?"')
    if coarse(formats[0]):
        yield "  # Only a period is known: the record says from its start to its end."
        said.append(f"take: {take}")
    yield f"  {field}: {{{', '.join(said)}}}"


def _others(columns: Sequence[Column], dataset: type[Record], taken: set[str]) -> Iterator[str]:
    for field in ("status", "address", "narrative", "phone"):
        found = next((c for c in _called(columns, field) if c.name not in taken and c.values and not c.numbers()), None)
        if found is None or field not in dataset.model_fields:
            continue
        if shape_of(dataset, field) != "words":
            yield f"  {field}: {{column: {_quoted(found.name)}}}"
        elif len(found.distinct) <= 20:
            choices = choices_of(dataset, field)
            words = {w: next((c for c in choices if c == w.casefold()), "?") for w in sorted(found.distinct)}
            if "?" in words.values():
                yield f"  # ? Its words are {', '.join(choices)}."
            said = ", ".join(f"{_quoted(w)}: {_quoted(c) if c == '?' else c}" for w, c in words.items())
            yield f"  {field}: {{column: {_quoted(found.name)}, map: {{{said}}}}}"


def _called(columns: Sequence[Column], kind: str) -> list[Column]:
    """Columns whose name is one of the kind's, in the order of those names."""
    order = {name: n for n, name in enumerate(NAMES[kind])}
    found = [c for c in columns if _squeezed(c.name) in order]
    return sorted(found, key=lambda c: order[_squeezed(c.name)])


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.casefold())


def _quoted(text: str) -> str:
    """As YAML writes it."""
    return text if _PLAIN.fullmatch(text) and text.casefold() not in _YAML_WORDS else json.dumps(text, ensure_ascii=False)
