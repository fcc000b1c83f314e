"""Values of a mapping compiled into closures over a row's cells: this is the hot path of every import."""

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from hub.mapping.model import Mapping, PlaceColumns, Value
from hub.mapping.places import number, projection
from hub.mapping.shapes import Shape, part_of, shape_of
from hub.mapping.times import date_reader, time_reader
from hub.mapping.unfit import Unfit
from hub.records import Record

Cells = Sequence[str | None]  # trimmed; None: there is no value
Reader = Callable[[Cells], Any]  # None: there is no value; raises Unfit
Watch = Callable[[str, str], None]  # told the field and the value that a map doesn't hold
NO_VALUE = "has no value"


def trimmer(empty: Sequence[str]) -> Callable[[Sequence[str]], list[str | None]]:
    """What trims cells, and takes those that hold nothing, or a word for nothing, as no value."""
    nothing = frozenset(("", *(word.strip() for word in empty)))

    def trim(cells: Sequence[str]) -> list[str | None]:
        return [None if (text := cell.strip()) in nothing else text for cell in cells]

    return trim


class Values:
    """Makes readers for one mapping and the columns of one file."""

    def __init__(self, mapping: Mapping, columns: Sequence[str], watch: Watch | None = None) -> None:
        self.mapping, self._watch = mapping, watch
        self.index = {name: n for n, name in enumerate(columns)}

    def field(self, dataset: type[Record], name: str) -> Reader:
        """What makes the value of one field."""
        found = self.mapping.fields[name]
        shape = shape_of(dataset, name)
        if not isinstance(found, Value):
            part = part_of(dataset, name)
            return self._list([{n: self.value(v, shape_of(part, n), f"{name}.{n}") for n, v in p.items()} for p in found], found)
        return self.value(found, shape, name)

    def value(self, value: Value, shape: Shape, name: str) -> Reader:
        """What makes one value; `name` is the field's, for whoever watches."""
        if value.constant is not None:
            constant = value.constant
            return lambda cells: constant
        if shape == "object":
            return self.members(value.sources)
        source = self.text(value)
        if value.map is not None:
            return _then(source, self._mapped(value, name))
        if value.formats:
            return _then(source, time_reader(value.formats, value.zone or self.mapping.zone, value.ambiguous, value.take))
        if value.date is not None:
            return _then(source, date_reader(value.date))
        return _then(source, _whole_number) if shape == "number" else source

    def text(self, value: Value) -> Callable[[Cells], str | None]:
        """The trimmed text of one column, or of several in one."""
        if value.column is not None:
            return self.cell(value.column)
        cells_of = [self.cell(c) for c in value.sources]
        join = " " if value.join is None else value.join

        def joined(cells: Cells) -> str | None:
            return join.join([text for cell in cells_of if (text := cell(cells)) is not None]) or None

        def complete(cells: Cells) -> str | None:
            # Half a time is no time.
            texts = [text for cell in cells_of if (text := cell(cells)) is not None]
            if texts and len(texts) < len(cells_of):
                raise Unfit("has a value in some of its columns only")
            return join.join(texts) or None

        return complete if value.formats or value.date else joined

    def cell(self, column: str) -> Callable[[Cells], str | None]:
        return itemgetter(self.index[column])

    def members(self, columns: Sequence[str]) -> Reader:
        """An object of those columns that have a value, by their names."""
        places = [(c, self.index[c]) for c in columns]

        def read(cells: Cells) -> dict[str, str] | None:
            return {name: text for name, at in places if (text := cells[at]) is not None} or None

        return read

    def place(self, place: PlaceColumns) -> Callable[[Cells], tuple[float, float]]:
        """(lon, lat) in degrees."""
        east, north = (self.index[c] for c in place.sources)
        keep, decimal = place.zero == "keep", self.mapping.decimal
        degrees = projection(place.crs).degrees if place.crs else None

        def read(cells: Cells) -> tuple[float, float]:
            x_text, y_text = cells[east], cells[north]
            if x_text is None or y_text is None:
                raise Unfit(NO_VALUE)
            x, y = number(x_text, decimal), number(y_text, decimal)
            refuse_zero(x, y, keep)
            return (x, y) if degrees is None else degrees(x, y)

        return read

    def _mapped(self, value: Value, name: str) -> Callable[[str], Any]:
        words = {partner.strip(): said for partner, said in (value.map or {}).items()}
        otherwise, watch = value.otherwise, self._watch

        def read(text: str) -> Any:
            said = words.get(text)
            if said is not None:
                return said
            if watch is not None:
                watch(name, text)
            if otherwise is None:
                raise Unfit("is a word that the map does not hold")
            return otherwise

        return read

    def _list(self, parts: list[dict[str, Reader]], said: Sequence[dict[str, Value]]) -> Reader:
        # A part of which only the constants are there says nothing: nobody was there.
        readers = [
            ({n: r for n, r in p.items() if s[n].constant is None}, {n: v.constant for n, v in s.items() if v.constant is not None})
            for p, s in zip(parts, said, strict=True)
        ]
        return partial(_parts, readers)


def _parts(parts: list[tuple[dict[str, Reader], dict[str, Any]]], cells: Cells) -> list[dict[str, Any]] | None:
    made = []
    for readers, constants in parts:
        found = {name: value for name, read in readers.items() if (value := read(cells)) is not None}
        if found:
            made.append({**constants, **found})
    return made or None


def _then(source: Callable[[Cells], str | None], convert: Callable[[str], Any]) -> Reader:
    def read(cells: Cells) -> Any:
        text = source(cells)
        return None if text is None else convert(text)

    return read


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20):
        raise Unfit("is not a whole number")
    return int(text)


def refuse_zero(x: float, y: float, keep: bool) -> None:
    """(0, 0) is what many programs write for no place."""
    if x == 0 == y and not keep:
        raise Unfit("is (0, 0), which many programs write for no place (`zero: keep` takes it as one)")
