"""What reading a file gives: rows with their verdicts, and the place where the next one begins."""

from dataclasses import dataclass
from typing import NamedTuple

from hub.errors import Problem
from hub.records import Record

MAX_ROW_BYTES = 1 << 20
MAX_COLUMNS = 2_000
MAX_PROBLEMS = 20  # told of one row
PLACEHOLDER = "-"  # external_id of a record whose id the hub makes from `Row.key`


@dataclass(frozen=True, slots=True)
class State:
    """Where the next row begins. `Reading(mapping, dataset, state)` goes on exactly there, fed from byte `offset` of the file."""

    offset: int = 0  # bytes of the file that whole rows have used up: mark, header and blank lines included
    row: int = 0  # data rows read so far; header and blank lines are none
    line: int = 0  # physical lines used up
    columns: tuple[str, ...] | None = None  # from the header
    encoding: str | None = None  # as the byte order mark or the mapping says


@dataclass(frozen=True, slots=True)
class Row:
    """One data row: a record, or the reasons why there is none. No text in it but the record's and the key's is of the file."""

    number: int  # from 1
    line: int  # physical line, from 1, on which it begins
    record: Record | None
    key: bytes | None = None  # what external_id is to be made of (canonical, unambiguous); the record says PLACEHOLDER
    problems: tuple[Problem, ...] = ()  # why it is refused; `field` is "column → field" or the field alone
    flags: tuple[Problem, ...] = ()  # doubts about a row that is kept


class Made(NamedTuple):
    """What a row's values came to."""

    record: Record | None
    key: bytes | None = None
    problems: tuple[Problem, ...] = ()
    flags: tuple[Problem, ...] = ()


def refused(field: str, reason: str) -> Made:
    """A row that is no record, for one reason."""
    return Made(None, problems=(Problem(field, reason),))
