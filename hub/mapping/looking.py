"""A partner's file looked at: how it is written, and what its columns hold. Guesses, each with its doubt."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from hub.errors import InvalidFile
from hub.mapping.header import columns_of
from hub.mapping.model import DELIMITERS
from hub.mapping.rows import MAX_COLUMNS

LOOKED_AT_BYTES = 4 << 20
MAX_ROWS = 20_000
FITTING = 0.98  # of the values that there are: a few may be spoilt
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?([eE][+-]?[0-9]+)?")
NOTHING = ("NA", "N/A", "NULL", "null", "None", "none", "nan", "NaN", "-", "\\N")
_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%d/%m/%y", "%m/%d/%y",
         "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y")  # fmt: skip
_HOURS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", "T%H:%M:%S", "T%H:%M", " %H:%M:%S%z", "T%H:%M:%S%z", "T%H:%M:%S.%f",
          " %H:%M:%S.%f", " %H%M")  # fmt: skip
FORMATS = (*(day + hour for day in _DAYS for hour in _HOURS), "%Y-%m", "%m/%Y", "%b %Y")
HOURS = ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")


@dataclass
class Column:
    """The values of one column, trimmed, without those that stand for nothing."""

    name: str
    values: list[str]
    empty: int

    @property
    def distinct(self) -> Counter[str]:
        return Counter(self.values)

    def numbers(self) -> list[float]:
        """The values as numbers; none when more than a few are not."""
        found = [float(v.replace(",", ".")) for v in self.values if _NUMBER.fullmatch(v)]
        return found if len(found) >= FITTING * max(len(self.values), 1) else []

    def formats(self, known: Sequence[str] = FORMATS) -> list[str]:
        """The time formats that nearly all values fit."""
        sample = list(self.distinct)[:300]
        if not sample or sum(any(c.isdigit() for c in v) for v in sample) < FITTING * len(sample):
            return []
        return [f for f in known if _fit(sample, f)]


@dataclass
class Looked:
    """What was seen."""

    format: str
    encoding: str | None = None  # None: UTF-8, or what the byte order mark says
    delimiter: str = ","
    header: bool = True
    columns: list[Column] = field(default_factory=list)
    rows: int = 0
    whole: bool = True  # false: only the beginning of the file was looked at
    empty: list[str] = field(default_factory=list)
    ragged: int = 0
    geometry: bool = False


def look(data: bytes, whole: bool) -> Looked:
    """Looks at the beginning of a file.

    Raises:
        InvalidFile: there is nothing in it that could be rows.
    """
    encoding, text = _decoded(data)
    if not whole:
        text = text[: text.rfind("\n") + 1] or text
    if text.lstrip("\ufeff\x1e \t\r\n").startswith("{"):
        return _features(text, whole)
    delimiter, rows = _delimited(text)
    if not rows:
        raise InvalidFile("The file is empty.")
    header = _is_header(rows[0])
    names = columns_of(rows[0]) if header else tuple(f"column {n}" for n in range(1, len(rows[0]) + 1))
    body = rows[1:] if header else rows
    even = [r for r in body if len(r) == len(names)]
    found = Looked("csv", encoding, delimiter, header, rows=len(body), whole=whole, ragged=len(body) - len(even))
    _columns(found, names, even)
    return found


def _decoded(data: bytes) -> tuple[str | None, str]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None, data.decode("utf-16", "replace")
    zeros = data[:2_000].count(0)
    if zeros > len(data[:2_000]) // 4:
        name = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        return name, data.decode(name, "replace")
    try:
        return None, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3:
            return None, data.decode("utf-8-sig", "ignore")
        return "windows-1252", data.decode("cp1252", "replace")


def _delimited(text: str) -> tuple[str, list[list[str]]]:
    """The delimiter by which most of the first lines have the same number of values, more than one; and the rows."""

    def score(word: str) -> float:
        lengths = Counter(len(r) for r in _parsed(text[:200_000], word)[:200])
        if not lengths:
            return 0
        length, count = lengths.most_common(1)[0]
        return count / lengths.total() * min(length - 1, 3)

    best = max(DELIMITERS, key=score)
    return best, _parsed(text, best)[:MAX_ROWS]


def _parsed(text: str, delimiter: str) -> list[list[str]]:
    rows = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=DELIMITERS[delimiter]):
            if row:
                rows.append(row[:MAX_COLUMNS])
    except csv.Error:
        pass  # what comes after is found by `hub mapping check`
    return rows


def _is_header(cells: Sequence[str]) -> bool:
    """A header's names are all different, and none is a number or a time."""
    texts = [c.strip() for c in cells if c.strip()]
    return len(set(texts)) == len(texts) and not any(_NUMBER.fullmatch(t) or any(_fits(t, f) for f in FORMATS) for t in texts)


def _columns(found: Looked, names: Sequence[str], rows: list[list[str]]) -> None:
    words: Counter[str] = Counter()
    for n, name in enumerate(names):
        texts = [row[n].strip() for row in rows]
        values = [t for t in texts if t and t not in NOTHING]
        words.update(t for t in texts if t in NOTHING)
        found.columns.append(Column(name, values, len(texts) - len(values)))
    found.empty = sorted(words)


def _features(text: str, whole: bool) -> Looked:
    """Features of a sequence: their properties as columns."""
    separated = text.lstrip("\ufeff").startswith("\x1e")
    texts = text.lstrip("\ufeff").split("\x1e") if separated else text.lstrip("\ufeff").split("\n")
    seen: list[dict[str, object]] = []
    found = Looked("geojson-seq", whole=whole)
    for one in texts[:MAX_ROWS]:
        try:
            data = orjson.loads(one)
        except orjson.JSONDecodeError:
            continue
        if isinstance(data, dict) and data.get("type") == "FeatureCollection":
            raise InvalidFile("The file is one FeatureCollection; a sequence has one Feature on each line, and nothing around them.")
        if isinstance(data, dict) and isinstance(data.get("properties"), dict):
            own = {"feature.id": data["id"]} if "id" in data else {}
            seen.append({**own, **data["properties"]})
            found.geometry = found.geometry or isinstance(data.get("geometry"), dict)
    if not seen:
        raise InvalidFile("The file has no GeoJSON features, one on each line.")
    names = tuple(dict.fromkeys(name for one in seen for name in one))
    found.rows = len(seen)
    _columns(found, names, [[_cell(one.get(name)) for name in names] for one in seen])
    return found


def _cell(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()


def _fits(text: str, format: str) -> bool:
    try:
        datetime.strptime(text, format)
    except ValueError:
        return False
    return True


def _fit(texts: Sequence[str], format: str) -> bool:
    """Whether nearly all texts do."""
    spoilt = 0
    for text in texts:
        spoilt += not _fits(text, format)
        if spoilt > (1 - FITTING) * len(texts):
            return False
    return True
