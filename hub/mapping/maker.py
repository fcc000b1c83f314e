"""A mapping applied to rows: cells in, a record or the reasons against it out."""

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from typing import Any

from hub.errors import Problem
from hub.mapping.model import Mapping, Value
from hub.mapping.rows import PLACEHOLDER, Made
from hub.mapping.unfit import Unfit
from hub.mapping.values import NO_VALUE, Cells, Reader, Values, Watch
from hub.mapping.verdicts import place_flags, record_of, refusal
from hub.records import Record

EXTERNAL_ID = "external_id"
EXTRA = "extra"


class Maker:
    """Made once for a mapping and a file's columns; `make` is called for every row."""

    def __init__(self, mapping: Mapping, dataset: type[Record], columns: Sequence[str], watch: Watch | None = None) -> None:
        self._dataset = dataset
        self._place = dataset.named("place")[0].name
        self._required = [f.name for f in dataset.fields if f.required]
        self._labels = labels(mapping, self._place)
        values = Values(mapping, columns, watch)
        self._readers = self._compiled(mapping, values)
        self._in_degrees = mapping.place is None or mapping.place.crs is None
        self._hash = [(name, values.cell(name)) for name in sorted(mapping.external_id.hash or ())]

    def _compiled(self, mapping: Mapping, values: Values) -> list[tuple[str, Reader]]:
        found: list[tuple[str, Reader]] = []
        if mapping.external_id.column is not None:
            found.append((EXTERNAL_ID, values.cell(mapping.external_id.column)))
        if mapping.place is not None and mapping.place.sources:
            found.append((self._place, values.place(mapping.place)))
        found += [(name, values.field(self._dataset, name)) for name in mapping.fields if name != EXTRA or mapping.format == "csv"]
        if mapping.unmapped == "extra" and mapping.format == "csv":
            rest = extra_columns(mapping, tuple(values.index))
            found = [(n, r) for n, r in found if n != EXTRA] + [(EXTRA, values.members(rest))]
        return found

    def make(self, cells: Cells, more: Dict[str, Any] | None = None) -> Made:
        """The record of one row; `more` are values that are not in cells (a feature's geometry)."""
        values: dict[str, Any] = dict(more) if more else {}
        problems: list[Problem] = []
        for name, read in self._readers:
            try:
                value = read(cells)
            except Unfit as unfit:
                problems.append(Problem(self._labels[name], str(unfit)))
            else:
                if value is not None:
                    values[name] = value
        key = None
        if EXTERNAL_ID not in values and self._hash and not (key := self._key(cells)):
            problems.append(Problem(self._labels[EXTERNAL_ID], "none of its columns has a value"))
        elif key is not None:
            values[EXTERNAL_ID] = PLACEHOLDER
        return self._refused(values, problems) if problems else self._made(values, key)

    def _made(self, values: dict[str, Any], key: bytes | None) -> Made:
        record = record_of(values, self._dataset, self._label)
        if isinstance(record, Made):
            return record
        lon, lat = values[self._place]
        flags = place_flags(lon, lat, self._labels[self._place]) if self._in_degrees else ()
        return Made(record, key, flags=flags)

    def _refused(self, values: dict[str, Any], problems: list[Problem]) -> Made:
        told = {p.field for p in problems}
        missing = [Problem(self._label(n), NO_VALUE) for n in self._required if n not in values and self._label(n) not in told]
        return refusal(problems + missing)

    def _key(self, cells: Cells) -> bytes | None:
        """The named columns as bytes that no other values have: each name and value with its length before it, in the order of
        the names, so that the order in the mapping doesn't matter.
        """
        found = [(name, cell(cells)) for name, cell in self._hash]
        if all(value is None for _, value in found):
            return None
        return b"".join(_measured(name) + (b"-," if value is None else _measured(value)) for name, value in found)

    def _label(self, field: str) -> str:
        return self._labels.get(field, field)


def _measured(text: str) -> bytes:
    data = text.encode()
    return b"%d:%b," % (len(data), data)


def extra_columns(mapping: Mapping, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that go into `extra`: those it names, and with `unmapped: extra` those that nothing else names."""
    said = mapping.fields.get(EXTRA)
    named = said.sources if isinstance(said, Value) else ()
    taken = {*mapping.kept, *mapping.drop} - set(named)
    rest = (c for c in columns if c not in taken and c not in named) if mapping.unmapped == "extra" else ()
    return (*named, *rest)


def labels(mapping: Mapping, place: str) -> dict[str, str]:
    """`column → field` for each field."""
    found = {EXTERNAL_ID: mapping.external_id.sources, place: mapping.place.sources if mapping.place else ()}
    for (name, *_), value in mapping.values:
        found[str(name)] = found.get(str(name), ()) + value.sources
    return {name: _label(tuple(dict.fromkeys(columns)), name) for name, columns in found.items()}


def _label(columns: tuple[str, ...], field: str) -> str:
    if not columns:
        return field
    more = " …" if len(columns) > 3 else ""
    return f"{', '.join(columns[:3])}{more} → {field}"
