"""An MOU file and its boundary files, as they lie in a folder: read and held to their own tests, without a hub."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import shapely

from hub.agreements.boundaries import read_boundaries
from hub.errors import InvalidPolicy, Problem
from hub.policy.mou import Mou, read_mou
from hub.policy.playing import failures
from hub.policy.purposes import unregistered
from hub.records import Record


def check(
    path: Path, datasets: Mapping[str, type[Record]], *, own_tests: bool = True, purposes: Mapping[str, str] | None = None
) -> tuple[Mou, dict[str, shapely.Geometry]]:
    """The MOU at `path` and its areas; boundary files are read from its folder. `own_tests`: whether it is held to its own tests.
    `purposes`: those that it may name; None: any.

    Raises:
        InvalidPolicy: the file or a boundary is not acceptable, it says what nothing would follow, or one of its own tests fails.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidPolicy(f"{path}: {error.strerror}", problems=[Problem(str(path), str(error.strerror))]) from None
    mou = read_mou(source, datasets)
    areas = read_boundaries(mou, path.parent)
    refuse(unregistered(mou, purposes) or (failures(mou, areas, datasets) if own_tests else ()))
    return mou, areas


def refuse(problems: Sequence[Problem]) -> None:
    """Raises InvalidPolicy if there are any."""
    if problems:
        raise InvalidPolicy("; ".join(f"{p.field}: {p.reason}" for p in problems[:5]), problems=problems)
