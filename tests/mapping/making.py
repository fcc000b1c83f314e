"""Small mappings and files for tests."""

from collections.abc import Iterable
from typing import Any

from hub.datasets.incidents import Incident
from hub.mapping.reading import Reading, Row, State
from hub.mapping.spec import Mapping, read_mapping

PLACE = {"lon": "lon", "lat": "lat"}
AT = {"column": "at", "time": "iso"}
KIND = {"constant": "theft"}
HEADER = "id,at,lon,lat,note"
NOTE = {"column": "note"}


def data(**changes: Any) -> dict[str, Any]:
    """The words of a mapping for HEADER; a field that is None is left out."""
    fields = {"category": KIND, "occurred_at": AT, "narrative": NOTE, **changes.pop("fields", {})}
    said = {
        "dataset": "incidents",
        "format": "csv",
        "external_id": {"column": "id"},
        "place": PLACE,
        "fields": {name: value for name, value in fields.items() if value is not None},
        **changes,
    }
    return {word: value for word, value in said.items() if value is not None}


def mapping(**changes: Any) -> Mapping:
    return read_mapping(data(**changes), Incident)


def line(id: str = "1", at: str = "2024-05-06T07:08:09Z", lon: str = "-79.38", lat: str = "43.65", note: str = "quiet") -> str:
    return f"{id},{at},{lon},{lat},{note}"


def read(spec: Mapping | None, pieces: bytes | Iterable[bytes], state: State | None = None, most: int = 1_000) -> list[Row]:
    """All rows of a file."""
    return drained(Reading(spec, Incident, state or State()), [pieces] if isinstance(pieces, bytes) else pieces, most)


def drained(reading: Reading, pieces: Iterable[bytes], most: int = 1_000) -> list[Row]:
    found: list[Row] = []
    for piece in pieces:
        reading.feed(piece)
        while rows := reading.rows(most):
            found += rows
    reading.end()
    while rows := reading.rows(most):
        found += rows
    assert reading.done
    return found


def rows_of(spec: Mapping | None, *lines: str, header: str = HEADER, end: str = "\n", encoding: str = "utf-8") -> list[Row]:
    """The rows of a file of these lines."""
    return read(spec, "".join(one + end for one in (header, *lines)).encode(encoding))


def one(spec: Mapping, text: str, header: str = HEADER) -> Row:
    (row,) = rows_of(spec, text, header=header)
    return row


def reasons(row: Row) -> list[tuple[str, str]]:
    assert row.record is None
    return [(p.field, p.reason) for p in row.problems]


def kept(row: Row) -> Incident:
    assert isinstance(row.record, Incident), row.problems
    return row.record
