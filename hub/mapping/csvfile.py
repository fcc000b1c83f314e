"""Delimited text (RFC 4180, and what partners make of it) as rows with verdicts."""

import csv
import re
from collections.abc import Iterator
from itertools import chain

from hub.errors import InvalidFile, Problem
from hub.mapping.header import check_columns, columns_of
from hub.mapping.lines import Lines
from hub.mapping.maker import Maker
from hub.mapping.model import DELIMITERS, Mapping
from hub.mapping.rows import MAX_ROW_BYTES, Made, Row, State, refused
from hub.mapping.values import Watch, trimmer
from hub.records import Record

# No value is longer than its row. Past Python's own limit (131,072) a reader would go on inside the value, as if a row began there.
csv.field_size_limit(MAX_ROW_BYTES)

_SPOILT = re.compile("[\ud800-\udfff]")
NUL = "holds NUL characters: it is no text, or UTF-16 without a byte order mark (then the mapping must say utf-16-le or utf-16-be)"


class CsvFile:
    """Reads rows one by one. `next_row` gives None when it needs more data."""

    def __init__(self, mapping: Mapping, dataset: type[Record], state: State, watch: Watch | None) -> None:
        self._mapping, self._dataset, self._watch = mapping, dataset, watch
        self._trim = trimmer(mapping.empty)
        self._lines = Lines(mapping.encoding, state.encoding)
        self._offset, self._row, self._line = state.offset, state.row, state.line
        self._columns: tuple[str, ...] | None = None
        self._maker: Maker | None = None
        self._reader: Iterator[list[str]] | None = None
        self._starved = False
        self._done = 0  # lines of this batch that whole rows have used
        self._used = 0  # bytes of them
        if state.columns is not None:
            self._take_columns(state.columns)
        elif mapping.header is not True:
            self._take_columns(mapping.header)

    @property
    def state(self) -> State:
        # Before the first piece has settled the encoding nothing is used up, its mark neither.
        return State(self._offset, self._row, self._line, self._columns, self._lines.encoding if self._offset else None)

    @property
    def buffered(self) -> int:
        return self._lines.buffered - self._used

    def feed(self, data: bytes) -> None:
        self._lines.feed(data)

    def end(self) -> None:
        self._lines.ended = True

    def next_row(self) -> Row | None:
        """The next data row; None: feed more, or, after `end`, there is none.

        Raises:
            InvalidFile: the file can't be read on.
        """
        while (parsed := self._parse()) is not None:
            cells, reason, lines = parsed
            first = self._line + 1
            self._advance(lines, first)
            if cells == []:
                continue
            if self._maker is None:
                self._read_header(cells, reason, lines)
                continue
            self._row += 1
            made = self._made(cells, reason, lines)
            return Row(self._row, first, made.record, made.key, made.problems, made.flags)
        return None

    def _made(self, cells: list[str] | None, reason: str, lines: list[str]) -> Made:
        if cells is None:
            return refused("row", reason)
        columns = self._columns or ()
        if not self._lines.plain and (spoilt := self._spoilt(cells)):
            return Made(None, problems=spoilt)
        if len(cells) != len(columns):
            more = "more" if len(cells) > len(columns) else "fewer"
            return refused("row", f"has {more} values than there are columns: {len(cells):,} instead of {len(columns):,}")
        if self._row == 1 and columns_of(cells) == columns:
            raise InvalidFile("The first line holds the names of the columns: the mapping must say `header: true`.")
        trimmed = self._trim(cells)
        if self._maker is None or not any(trimmed):
            return refused("row", "holds no value")
        return self._maker.make(trimmed)

    def _spoilt(self, cells: list[str]) -> tuple[Problem, ...]:
        columns = self._columns or ()
        encoding = self._lines.encoding
        remedy = (
            "; if the file is in the older Windows encoding, the mapping must say `encoding: windows-1252`" if encoding == "utf-8" else ""
        )
        names = [columns[n] if n < len(columns) else "row" for n, cell in enumerate(cells) if _SPOILT.search(cell)]
        return tuple(Problem(name, f"holds bytes that are no {encoding}{remedy}") for name in names[:20])

    def _read_header(self, cells: list[str] | None, reason: str, lines: list[str]) -> None:
        if cells is None or _SPOILT.search("".join(cells)):
            why = reason if cells is None else f"holds bytes that are no {self._lines.encoding}"
            raise InvalidFile(f"The header {why}.")
        self._take_columns(columns_of(cells))

    def _take_columns(self, columns: tuple[str, ...]) -> None:
        check_columns(self._mapping, columns)
        self._columns, self._maker = columns, Maker(self._mapping, self._dataset, columns, self._watch)

    def _advance(self, lines: list[str], first: int) -> None:
        size = self._lines.size(lines)
        if size > MAX_ROW_BYTES:
            raise _too_long(first)
        if not self._lines.plain and any("\0" in line for line in lines):
            raise InvalidFile(f"Line {first} {NUL}.")
        self._used += size
        self._done += len(lines)
        self._offset += size + self._lines.mark
        self._lines.mark = 0
        self._line += len(lines)

    def _parse(self) -> tuple[list[str] | None, str, list[str]] | None:
        """The next row's cells, or the reason why it has none, and its lines."""
        while True:
            if self._reader is None:
                self._reader = csv.reader(
                    chain(self._lines.lines, self._starve()), delimiter=DELIMITERS[self._mapping.delimiter], strict=True
                )
            before: int = self._reader.line_num  # type: ignore[attr-defined]
            cells, reason = None, ""
            try:
                cells = next(self._reader)
            except (StopIteration, csv.Error):
                if self._starved:
                    if self._more():
                        continue
                    return None
                reason = "has a quote that ends before its value does: a quote inside a value must be doubled"
            return cells, reason, self._lines.lines[before : self._reader.line_num]  # type: ignore[attr-defined]

    def _starve(self) -> Iterator[str]:
        self._starved = True
        yield from ()

    def _more(self) -> bool:
        """Gets more lines; the row that is begun is parsed anew. False: there are none."""
        self._lines.taken(self._done, self._used)
        self._done = self._used = 0
        first = self._line + 1
        had = len(self._lines.lines)
        while len(self._lines.lines) == had:
            if self._lines.held > MAX_ROW_BYTES:
                raise _too_long(first)
            if not self._lines.more():
                if had and self._lines.ended:
                    raise InvalidFile(f"The row that begins on line {first} has a quote that is never closed.")
                if self._lines.ended and self._columns is None:
                    raise InvalidFile("The file is empty.")
                return False
        self._reader, self._starved = None, False
        return True


def _too_long(line: int) -> InvalidFile:
    return InvalidFile(f"The row that begins on line {line} is over {MAX_ROW_BYTES:,} bytes; is there a quote that is never closed?")
