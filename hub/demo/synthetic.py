"""Sensitive fields that open data has not: made up, the same for the same row each time, and every value says so itself.

They come from a hash of the row, not from a stream of random numbers, so the order of the rows doesn't matter. Phone numbers are of
ranges kept for fiction; nobody has a name.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from hub.demo.sources import TORONTO, Row, Source

MARK = "[synthetic]"
COLUMNS = ("made-up narrative", "made-up phone", "made-up person", "made-up role", "made-up plate", "made-up vehicle", "made-up address")
CARS = frozenset({"Auto Theft", "Vehicle crime"})
_SEEN = (
    "heard shouting",
    "saw somebody run off",
    "came home and found it",
    "was told by a neighbour",
    "passed by",
    "watched from a window",
)
_THEN = ("nobody was there", "two people had left", "the street was quiet", "a statement was taken", "photographs were taken")
_VEHICLES = ("grey hatchback", "white van", "blue saloon", "black estate car", "red pickup", "silver motorcycle")


class Chooser:
    """Numbers that follow from a row's content alone."""

    def __init__(self, row: Row, ordinal: int) -> None:
        """`ordinal` tells equal rows apart: 1 for the first."""
        said = "\x1f".join((*row.values(), str(ordinal)))
        self._left = int.from_bytes(hashlib.blake2b(said.encode(), digest_size=24, person=b"concord demo").digest())

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1."""
        self._left, found = divmod(self._left, limit)
        return found

    def of(self, choices: Sequence[str]) -> str:
        return choices[self.below(len(choices))]


def made_up(source: Source, row: Row, ordinal: int) -> tuple[str, ...]:
    """The values of COLUMNS for one row; empty where there is none."""
    chosen = Chooser(row, ordinal)
    narrative = f"{MARK} The caller {chosen.of(_SEEN)}; {2 + chosen.below(58)} minutes later {chosen.of(_THEN)}."
    phone = _phone(source, chosen)
    person, role = f"{MARK} Person {1 + chosen.below(99_999):05d}", f"{MARK} {chosen.of(('caller', 'victim', 'witness'))}"
    address = f"{MARK} {1 + chosen.below(900)} Example Street" if source is TORONTO else ""  # West Yorkshire's data name the street
    plate, vehicle = (f"{MARK} ZZZ {chosen.below(10_000):04d}", f"{MARK} {chosen.of(_VEHICLES)}") if CARS & set(row.values()) else ("", "")
    return narrative, phone, person, role, plate, vehicle, address


def _phone(source: Source, chosen: Chooser) -> str:
    return f"{MARK} +1 416 555 01{chosen.below(100):02d}" if source is TORONTO else f"{MARK} +44 113 496 0{chosen.below(1000):03d}"


def export(source: Source, rows: Iterable[Row]) -> Iterator[bytes]:
    """The CSV file that the organisation sends: its rows as they are, with the made-up columns after them."""
    equals: Counter[tuple[str, ...]] = Counter()
    text = io.StringIO()
    writer = csv.writer(text)
    for number, row in enumerate(rows):
        values = tuple(row.values())
        equals[values] += 1
        if number == 0:
            writer.writerow((*row, *COLUMNS))
        writer.writerow((*values, *made_up(source, row, equals[values])))
        if text.tell() > 1 << 20:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()
