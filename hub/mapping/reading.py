"""A partner's file, fed in pieces of any size, becomes rows with verdicts; reading can stop after any row and go on elsewhere."""

from hub.errors import InvalidFile
from hub.mapping.csvfile import CsvFile
from hub.mapping.model import Mapping
from hub.mapping.rows import MAX_COLUMNS, MAX_ROW_BYTES, PLACEHOLDER, Row, State
from hub.mapping.sequence import Sequence
from hub.mapping.values import Watch
from hub.records import Record

__all__ = ["MAX_COLUMNS", "MAX_ROW_BYTES", "PLACEHOLDER", "Reading", "Row", "State"]


class Reading:
    """Reads one file. Without a mapping it is a GeoJSON text sequence whose properties are the dataset's own fields.

    What is held in memory is what was fed and not yet read, and a few MiB at most besides.

    Raises:
        InvalidFile: the columns of `state` don't fit the mapping.
    """

    def __init__(
        self,
        mapping: Mapping | None,
        dataset: type[Record],
        state: State = State(),  # noqa: B008 - frozen
        watch: Watch | None = None,
    ) -> None:
        """`watch` is told each value that a map doesn't hold, with its field: for whoever may see values."""
        self._file: CsvFile | Sequence
        if mapping is None or mapping.format == "geojson-seq":
            self._file = Sequence(mapping, dataset, state, watch)
        else:
            self._file = CsvFile(mapping, dataset, state, watch)
        self._ended = self._done = False
        self._error: InvalidFile | None = None

    def feed(self, data: bytes) -> None:
        """The next bytes of the file, cut anywhere."""
        self._file.feed(data)

    def end(self) -> None:
        """No more data comes."""
        self._ended = True
        self._file.end()

    def rows(self, most: int) -> list[Row]:
        """Up to `most` rows. Fewer: feed more, or, after `end`, that was all.

        Raises:
            InvalidFile: the file can't be read on. All rows before that place have been given.
        """
        found: list[Row] = []
        if self._error is not None:
            raise self._error
        try:
            while len(found) < most:
                row = self._file.next_row()
                if row is None:
                    self._done = self._ended
                    break
                found.append(row)
        except InvalidFile as error:
            self._error = error
            if not found:
                raise
        return found

    @property
    def state(self) -> State:
        """Where the next row begins, after the rows given so far."""
        return self._file.state

    @property
    def done(self) -> bool:
        """Whether all rows of an ended file have been given."""
        return self._done

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not yet read."""
        return self._file.buffered
