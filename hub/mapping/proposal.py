"""A first mapping for a file, written by looking at it. What could not be decided is left so that the hub refuses it until it is."""

import json
import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

from hub.mapping.header import near
from hub.mapping.looking import HOURS, Column, Looked
from hub.mapping.maker import EXTERNAL_ID
from hub.mapping.shapes import choices_of, shape_of
from hub.mapping.times import coarse, directives
from hub.records import Record

MAX_WORDS = 200  # distinct values that can be a list of categories
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_. /()&+-]*(?<! )")
_YAML_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_CALLED = {  # which names columns of a field have, without blanks, digits and case; the likeliest first
    "lon": "lon long lng longitude xlong",
    "lat": "lat latitude ylat",
    "x": "x xcoord xcoordinate xcoordcd xcoordinatestateplane easting eastings",
    "y": "y ycoord ycoordinate ycoordcd ycoordinatestateplane northing northings",
    "id": "id incidentid incidentnumber incidentno casenumber caseid caseno crimeid eventid uniquekey recordid reportnumber reportno idnum "
    "number reference ref objectid incidentkey",
    "category": "category crimetype primarytype incidenttype calltype complainttype offensetype offense offence problem mci type nature",
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
    yield from _id(looked)
    yield from _place(looked)
    if any("z" not in directives(format) for _, formats in times[:1] for format in formats):
        yield "# ? In which zone are local times? Write an IANA name such as America/Toronto or Europe/London."
        yield 'zone: "?"'
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
        yield f"header: {_list([c.name for c in looked.columns], 2)}"
    if looked.ragged:
        yield f"# ? {looked.ragged:,} rows have more or fewer values than there are columns; the hub refuses them."
    if looked.empty:
        yield f"# ? Read as no value: {', '.join(looked.empty)}."
        yield f"empty: [{', '.join(_quoted(w) for w in looked.empty)}]"
    if looked.delimiter == ";" and any("," in v for c in looked.columns for v in c.values[:50] if c.numbers()):
        yield '# ? Numbers are written with a decimal comma.\ndecimal: ","'


def _id(looked: Looked) -> Iterator[str]:
    named = next(iter(_called(looked.columns, "id")), None)
    repeated = len(named.values) - len(named.distinct) if named else 0
    if named is not None and not repeated and not named.empty:
        if not looked.whole:
            yield "# ? Different in each row looked at; `hub mapping check` tells whether it is in all."
        yield f"{EXTERNAL_ID}: {{column: {_quoted(named.name)}}}"
        return
    if named is not None:
        yield f"# ? In {named.name}, {named.empty:,} rows have no value, and {repeated:,} have one that an earlier row has."
    yield "# ? Rows without an id of their own are told apart by these columns. Leave out what may change later, such as a status:"
    yield "# ? a row in which one of them has changed becomes a new record."
    # An id that is seldom repeated is one all the same: a later row with it replaces the earlier.
    partly = named is not None and repeated * 100 <= len(named.values)
    names = [c.name for c in looked.columns if c.values and not (partly and c is named)][:20]
    if partly and named is not None:
        yield f"{EXTERNAL_ID}:\n  column: {_quoted(named.name)}"
        yield f"  hash: {_list(names, 4)}"
    else:
        yield f"{EXTERNAL_ID}:\n  hash: {_list(names, 4)}"


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
    if x and y and all(0 < max(map(abs, c.numbers() or [0])) <= most for c, most in ((x[0], 180), (y[0], 90))):
        yield f"# ? {x[0].name} and {y[0].name} look like degrees."
        yield f"place: {{lon: {_quoted(x[0].name)}, lat: {_quoted(y[0].name)}}}"
        return
    if x and y:
        yield "# ? In which coordinate reference system? Write its EPSG number, such as EPSG:2272 or EPSG:27700."
        yield f'place: {{x: {_quoted(x[0].name)}, y: {_quoted(y[0].name)}, crs: "?"}}'
        return
    yield from _place_by_value(looked.columns)


def _place_by_value(columns: Sequence[Column]) -> Iterator[str]:
    pair = _by_value(columns)
    if pair is None:
        yield "# ? No columns look like coordinates. Name them: lon and lat in degrees, or x, y and crs."
        yield 'place: {lon: "?", lat: "?"}'
        return
    lon = next((c for c in pair if max(map(abs, c.numbers())) > 90), None)  # no latitude reaches that
    if lon is None:
        yield f"# ? {pair[0].name} and {pair[1].name} look like degrees. Which is the longitude, which the latitude?"
        yield 'place: {lon: "?", lat: "?"}'
        return
    lat = pair[1] if lon is pair[0] else pair[0]
    yield f"place: {{lon: {_quoted(lon.name)}, lat: {_quoted(lat.name)}}}"


def _by_value(columns: Sequence[Column]) -> tuple[Column, Column] | None:
    """The two columns, when there are just two, that hold degrees with three digits or more behind the point."""
    found = [
        c for c in columns if (n := c.numbers()) and max(map(abs, n)) <= 180 and all(len(v.partition(".")[2]) > 2 for v in c.values[:50])
    ]
    return (found[0], found[1]) if len(found) == 2 else None


def _category(columns: Sequence[Column], dataset: type[Record], taken: set[str]) -> Iterator[str]:
    if "category" not in dataset.model_fields:
        return
    choices = choices_of(dataset, "category")
    found = next((c for c in (*_called(columns, "category"), *_like_category(columns, choices)) if 1 <= len(c.distinct) <= MAX_WORDS), None)
    yield "  category:"
    yield f"    # ? Its words: {_list(choices, 4, '# ')}"
    if found is None:
        yield "    # ? No column looks like a category. Name one with its `map`, or say one word for all."
        yield '    constant: "?"'
        return
    taken.add(found.name)
    yield f"    column: {_quoted(found.name)}"
    yield "    map:"
    for word, count in sorted(found.distinct.items()):
        guess = guess_category(word, choices)
        note = "" if guess else f"  # ? {count:,} rows"
        yield f"      {_quoted(word)}: {guess or _quoted('?')}{note}"


def _like_category(columns: Sequence[Column], choices: Sequence[str]) -> list[Column]:
    """Columns of words of which a third and more can be guessed, the best first."""
    shares = [
        (sum(guess_category(w, choices) is not None for w in c.distinct) / len(c.distinct), -n, c)
        for n, c in enumerate(columns)
        if 1 < len(c.distinct) <= MAX_WORDS
    ]
    return [c for share, _, c in sorted(shares, key=lambda s: s[:2], reverse=True) if share > 1 / 3]


def guess_category(word: str, choices: Sequence[str]) -> str | None:
    """The choice that a partner's word most likely means."""
    plain = word.casefold()
    for choice, parts in SYNONYMS.items():
        if choice in choices and any(re.search(rf"\b{part}", plain) for part in parts):
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


def _list(names: Sequence[str], indent: int, comment: str = "") -> str:
    """A list as YAML writes it, on as many lines as it takes."""
    text = ", ".join(n if comment else _quoted(n) for n in names)
    lines = wrap(text, 120, break_long_words=False, break_on_hyphens=False) if comment else _folded(names)
    joined = f"\n{' ' * indent}{comment}".join(lines)
    return joined if comment else f"[{joined}]"


def _folded(names: Sequence[str]) -> list[str]:
    # Not by textwrap: it would change blanks inside names.
    lines = [""]
    for n, name in enumerate(names):
        piece = _quoted(name) + ("," if n + 1 < len(names) else "")
        if len(lines[-1]) + len(piece) > 110:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + piece
    return lines


def _quoted(text: str) -> str:
    """As YAML writes it."""
    return text if _PLAIN.fullmatch(text) and text.casefold() not in _YAML_WORDS else json.dumps(text, ensure_ascii=False)
