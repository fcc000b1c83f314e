"""The table's other two axes: the state of the version that a clause stands in, and how many grants are open on the record; and which of
its cells can hold no permits, or no denials, and why."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

Cell = tuple[str, str, str]  # condition, edge, treatment
Full = tuple[str, str, str, str, str]  # and state of the version, number of grants
Counted = Counter[tuple[Full, bool]]  # by cell, and whether it was a permit
LIFE = ("draft", "proposed", "signed", "activating", "active", "suspended", "terminated", "superseded", "withdrawn")
STATES = (*LIFE, "not yet begun", "expired")
GRANTS = ("0", "1", "2", "many")
REQUESTS = ("bbox", "since", "until", "filter")
REFUSALS = ("refusal", "refused fields")  # of whole records, of fields


def placed(cell: Cell, permit: bool, state: str, grants: int) -> Iterator[tuple[Full, bool]]:
    """The cell that a decision belongs to. `permit`: what it would be were the version in force; where it isn't, a decision hangs on that
    alone if the clause would have acted: a grant would have given, a refusal refused.
    """
    full = (*cell, state, GRANTS[min(grants, 3)])
    if state == "active":
        yield full, permit
    elif permit != (cell[0] in REFUSALS):
        yield full, not permit


def impossible(cell: Full) -> dict[bool, str]:
    """Why a cell can hold no permits (True), or no denials (False)."""
    condition, _, _, state, grants = cell
    if reason := _empty(cell):
        return {True: reason, False: reason}
    found = {}
    if condition in REFUSALS:
        if state != "active":
            found[False] = "a version that is not in force refuses nothing"
        elif "moment" in cell[1]:
            found[True] = "within its period a refusal holds"
        return found
    if state != "active":
        found[True] = "a version that is not in force gives nothing"
    elif "moment" in cell[1]:
        found[False] = "within its period a grant gives"
    if grants == "0":
        found[True] = "without an open grant nothing is given"
    elif grants == "1" and condition == "several grants":
        found[True] = "several grants are more than one"
    return found


def _empty(cell: Full) -> str | None:
    """Why a cell holds no decision at all."""
    condition, edge, _, state, grants = cell
    if condition in REQUESTS and state != "active":
        return "a request is compared with what is released, and a version that is not in force releases nothing"
    if condition in (*REQUESTS, *REFUSALS, "several grants") and grants == "0":
        return "of a record that no grant gives nothing is compared, refused or coarser"
    if edge == "over its own MOU's grants" and state != "active":
        return "the grants of the same version are not in force either"
    if "moment" in edge and state == ("expired" if edge.startswith("first") else "not yet begun"):
        return "a period is longer than a moment"
    return None


def never(found: Counted, cells: Iterable[Cell]) -> list[str]:
    """What could have been, and never was."""
    sides = ((*full, permit) for full in every(cells) for permit in (True, False) if permit not in impossible(full))
    return [" | ".join((*side[:5], "permits" if side[5] else "denials")) for side in sides if not found[side[:5], side[5]]]


def every(cells: Iterable[Cell]) -> Iterator[Full]:
    return ((*cell, state, grants) for cell, state, grants in product(cells, STATES, GRANTS))


def excluded(cells: Iterable[Cell]) -> dict[str, int]:
    """The reasons why there can be no permits, or no denials, and of how many cells."""
    return dict(Counter(f"{'permits' if p else 'denials'}: {why}" for full in every(cells) for p, why in impossible(full).items()))


def rows(found: Counted, cells: Iterable[Cell]) -> dict[str, str]:
    """The table, a row for each condition, edge, treatment and state: permits/denials under each number of grants, – where there can be
    none.
    """
    named = {" | ".join((*cell, state)): [(*cell, state, n) for n in GRANTS] for cell, state in product(cells, STATES)}
    return {name: _row(found, fulls) for name, fulls in named.items()}


def _row(found: Counted, fulls: Sequence[Full]) -> str:
    return "  ".join(f"{full[4]}: {_side(found, full, True)}/{_side(found, full, False)}" for full in fulls)


def _side(found: Counted, full: Full, permit: bool) -> str:
    return "–" if permit in impossible(full) else str(found[full, permit])


def summed(found: Counted, *axes: int) -> Counter[tuple[tuple[str, ...], bool]]:
    """The counts by some of the axes alone, by their places in a cell."""
    sums: Counter[tuple[tuple[str, ...], bool]] = Counter()
    for (full, permit), count in found.items():
        sums[tuple(full[axis] for axis in axes), permit] += count
    return sums
