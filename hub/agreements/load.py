"""`hub mou load`: an MOU file comes into force. Signatures, proposals and the effect diff come before this step later on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import shapely
from sqlalchemy import Engine

from hub.agreements.activation import Activation
from hub.agreements.boundaries import read_boundaries
from hub.agreements.rules import keep_areas
from hub.audit.leaf import By
from hub.db import Transaction, transaction
from hub.errors import Conflict, InvalidPolicy, Problem
from hub.policy.mou import Mou, read_mou, unbuilt
from hub.policy.playing import failures
from hub.records import Record


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading did: `unchanged` when this very file was in force already; `labelled` records got labels of its grants."""

    mou: Mou
    unchanged: bool
    labelled: int
    superseded: int | None


def check(path: Path, datasets: Mapping[str, type[Record]], *, own_tests: bool = True) -> tuple[Mou, dict[str, shapely.Geometry]]:
    """The MOU at `path` and its areas; boundary files are read from its folder. `own_tests`: whether it is held to its own tests.

    Raises:
        InvalidPolicy: the file or a boundary is not acceptable, it says what nothing would follow, or one of its own tests fails.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidPolicy(f"{path}: {error.strerror}", problems=[Problem(str(path), str(error.strerror))]) from None
    mou = read_mou(source, datasets)
    areas = read_boundaries(mou, path.parent)
    _refuse(unbuilt(mou) or (failures(mou, areas, datasets) if own_tests else ()))
    return mou, areas


def load(engine: Engine, path: Path, datasets: Mapping[str, type[Record]], now: datetime, by: By) -> Loaded:
    """Puts the MOU at `path` in force; boundary files are read from its folder. What was cut off goes on when it is loaded again.

    Raises:
        InvalidPolicy: the file, a boundary, or a party is not acceptable; nothing changed.
        Conflict: this version exists with other content, or a newer one does, or another is coming into force.
    """
    mou, areas = check(path, datasets)
    activation = Activation(engine, datasets)
    with transaction(engine) as tx:
        tx.rows("begin; select pg_advisory_xact_lock(7201, 2)")
        parties = _parties(tx, mou)
        versions = [_Version(*row) for row in tx.rows(_VERSIONS, (mou.mou,))]
        same = next((v for v in versions if (v.version, v.sha256) == (mou.version, mou.sha256)), None)
        if same and same.state == "active":
            keep_areas(tx, same.id, mou, areas)  # a hub that loaded it before it kept areas has none
            tx.rows("commit")
            return Loaded(mou, True, 0, None)
        if not (same and same.state == "activating"):
            _check_versions(mou, versions)
            mou_id = _insert(tx, mou, parties)
            keep_areas(tx, mou_id, mou, areas)
            activation.begin(tx, mou_id, mou, parties[mou.parties.provider], areas, by)
        else:
            mou_id = same.id
        tx.rows("commit")
    return Loaded(mou, False, activation.finish(mou_id, now), next((v.version for v in versions if v.state == "active"), None))


@dataclass(frozen=True, slots=True)
class _Version:
    version: int
    sha256: str
    state: str
    id: int


_VERSIONS = "select version, sha256, state, id from hub.mous where mou = %s order by version"


def _check_versions(mou: Mou, versions: Sequence[_Version]) -> None:
    newest = versions[-1] if versions else None
    if newest and newest.version >= mou.version:
        raise Conflict(f"version: {mou.mou} has version {newest.version} already; a change is a new version")
    if newest and newest.state == "activating":
        raise Conflict(f"version: version {newest.version} of {mou.mou} is coming into force; load it again to finish that")
    _check_supersedes(mou, (newest.version, newest.sha256) if newest else None)


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise InvalidPolicy("; ".join(f"{p.field}: {p.reason}" for p in problems[:5]), problems=problems)


def _check_supersedes(mou: Mou, before: tuple[int, str] | None) -> None:
    """`supersedes` may be left out; if it is there, it names the newest version that the hub has."""
    if mou.supersedes is None or (before and mou.supersedes == before[1]):
        return
    has = f"the newest version here is {before[0]}, SHA-256 {before[1]}" if before else "the hub has no version of it"
    _refuse([Problem("supersedes", f"names a version that the hub doesn't have or that is not the newest; {has}")])


def _parties(tx: Transaction, mou: Mou) -> dict[str, int]:
    names = {"parties.provider": mou.parties.provider, "parties.consumer": mou.parties.consumer}
    known: dict[str, int] = dict(tx.rows("select slug, id from hub.organisations where slug = any(%s)", (list(names.values()),)))
    problems = [Problem(place, f"the hub knows no organisation {slug}") for place, slug in names.items() if slug not in known]
    _refuse(problems)
    return known


def _insert(tx: Transaction, mou: Mou, parties: Mapping[str, int]) -> int:
    since, until = mou.in_force.period
    number: int = tx.rows(
        "insert into hub.mous (mou, version, sha256, source, provider, consumer, in_force_from, in_force_until, state) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, 'activating') returning id",
        (
            mou.mou,
            mou.version,
            mou.sha256,
            mou.source.decode(),
            parties[mou.parties.provider],
            parties[mou.parties.consumer],
            since,
            until,
        ),
    )[0][0]
    return number
