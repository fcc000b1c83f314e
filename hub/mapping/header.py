"""The names of a file's columns, held against the mapping before any row is read."""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from hub.errors import InvalidFile, Problem
from hub.mapping.model import Mapping
from hub.mapping.rows import MAX_COLUMNS

MAX_NAMED = 20


def columns_of(cells: Sequence[str]) -> tuple[str, ...]:
    """The names that a header's cells give; a column without one is called by its number, from 1: `column 3`."""
    return tuple(cell.strip() or f"column {n}" for n, cell in enumerate(cells, start=1))


def check_columns(mapping: Mapping, columns: Sequence[str]) -> None:
    """Raises InvalidFile unless every column that the mapping uses is there once, and nothing is left unsaid."""
    if len(columns) > MAX_COLUMNS:
        raise InvalidFile(f"The file has {len(columns):,} columns; at most {MAX_COLUMNS:,} are read.")
    known = set(columns)
    if missing := [c for c in mapping.used if c not in known]:
        # Where few names fit, the first line may be no header but somebody's data, which must not be told.
        offered = columns if len(missing) * 2 <= len(mapping.used) else ()
        raise _wrong("The file lacks columns that the mapping names", [Problem(c, _lacking(c, offered)) for c in missing])
    if twice := [c for c, n in Counter(columns).items() if n > 1]:
        raise _wrong("The file has columns of one name", [Problem(c, "is the name of more than one column") for c in twice])
    accounted = {*mapping.kept, *mapping.drop}
    if mapping.unmapped is None and (rest := [c for c in columns if c not in accounted]):
        reason = "is neither mapped nor named under `drop`; `unmapped: extra` keeps such columns"
        raise _wrong("The mapping does not say what becomes of some columns", [Problem(c, reason) for c in rest])


def near(name: str, names: Iterable[str]) -> str:
    """` (did you mean …?)`, or nothing."""
    by_case = {n.casefold(): n for n in names}
    found = get_close_matches(name.strip().casefold(), by_case, n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(repr(by_case[f]) for f in found)}?" if found else ""


def _lacking(column: str, offered: Sequence[str]) -> str:
    return f"is not a column of the file{near(column, offered)}"


def _wrong(sentence: str, problems: list[Problem]) -> InvalidFile:
    names = ", ".join(p.field for p in problems[:5])
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    return InvalidFile(f"{sentence}: {names}{more}.", problems=problems[:MAX_NAMED])
