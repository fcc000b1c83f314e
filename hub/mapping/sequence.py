"""GeoJSON text sequences as rows with verdicts: a feature a line, or each after a record separator (RFC 8142)."""

from hub.errors import InvalidFile
from hub.mapping.features import NOT_JSON, FeatureMaker, direct, json_of
from hub.mapping.model import Mapping
from hub.mapping.rows import MAX_ROW_BYTES, Made, Row, State
from hub.mapping.values import Watch
from hub.records import Record

SEPARATOR = b"\x1e"
_BLANK = b" \t\r\n"
_UTF8_MARK = b"\xef\xbb\xbf"
_FIRST_ROWS = 5  # among which a FeatureCollection, printed over many lines, says what it is


class Sequence:
    """Reads features one by one. `next_row` gives None when it needs more data."""

    def __init__(self, mapping: Mapping | None, dataset: type[Record], state: State, watch: Watch | None) -> None:
        self._verdict = direct(dataset) if mapping is None else FeatureMaker(mapping, dataset, watch).make
        self._offset, self._row, self._line = state.offset, state.row, state.line
        self._raw = bytearray()
        self._at = 0  # where in `_raw` the next text begins
        self._searched = 0  # up to where no end of it was found
        self._ended = False

    @property
    def state(self) -> State:
        return State(self._offset, self._row, self._line, encoding="utf-8" if self._offset else None)

    @property
    def buffered(self) -> int:
        return len(self._raw) - self._at

    def feed(self, data: bytes) -> None:
        del self._raw[: self._at]
        self._searched -= self._at
        self._at = 0
        self._raw += data

    def end(self) -> None:
        self._ended = True

    def next_row(self) -> Row | None:
        """The next feature; None: feed more, or, after `end`, there is none.

        Raises:
            InvalidFile: the file can't be read on.
        """
        if not self._offset and not self._mark_is_read():
            return None
        while (text := self._text()) is not None:
            first = self._line + 1
            self._offset += len(text)
            self._line += text.count(b"\n")
            blank = len(text) - len(text.lstrip(_BLANK + SEPARATOR))
            first += text.count(b"\n", 0, blank)
            if blank < len(text):
                self._row += 1
                made = self._made(text[blank:].rstrip(_BLANK))
                return Row(self._row, first, made.record, made.key, made.problems, made.flags)
        return None

    def _mark_is_read(self) -> bool:
        """Passes over a byte order mark; false: too few bytes to know."""
        if len(self._raw) < len(_UTF8_MARK) and not self._ended:
            return False
        if not self._raw:
            raise InvalidFile("The file is empty.")
        if self._raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InvalidFile("The file is in UTF-16; GeoJSON is in UTF-8 (RFC 8259 §8.1).")
        if self._raw.startswith(_UTF8_MARK):
            self._at = self._searched = self._offset = len(_UTF8_MARK)
        return True

    def _text(self) -> bytes | None:
        """The next text with its separator or line end: begun by a record separator, it lasts until the next one."""
        if self._at == len(self._raw):
            return None
        separated = self._raw.startswith(SEPARATOR, self._at)
        start = max(self._searched, self._at + 1 if separated else self._at)
        found = self._raw.find(SEPARATOR if separated else b"\n", start)
        end = len(self._raw) if found < 0 else found + (not separated)
        if end - self._at > MAX_ROW_BYTES:
            raise InvalidFile(f"The text that begins on line {self._line + 1} is over {MAX_ROW_BYTES:,} bytes.")
        if found < 0 and not self._ended:
            self._searched = end
            return None
        text = bytes(self._raw[self._at : end])
        self._at = self._searched = end
        return text

    def _made(self, text: bytes) -> Made:
        data = json_of(text)
        if isinstance(data, Made):
            whole = data.problems[0].reason.startswith(NOT_JSON) and b'"FeatureCollection"' in text
        else:
            whole = isinstance(data, dict) and data.get("type") == "FeatureCollection"
        if whole and self._row <= _FIRST_ROWS:
            raise InvalidFile("The file is one FeatureCollection; a sequence has one Feature on each line, and nothing around them.")
        return data if isinstance(data, Made) else self._verdict(data)
