"""`hub mou load`: an MOU file comes into force. Signatures, proposals and the effect diff come before this step later on.

One transaction: rules are changed while nobody stores (advisory lock 2), records are relabelled, then, once every disclosure that
has begun is in the log (lock 1), the policy epoch moves on. Readers are not kept waiting by the relabelling.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import shapely

from hub.agreements.boundaries import read_boundaries
from hub.audit.leaf import By, Event, Share, event_id
from hub.audit.log import append
from hub.db import Transaction
from hub.errors import Conflict, InvalidPolicy, Problem
from hub.policy.clauses import Grant
from hub.policy.conditions import Condition, Within
from hub.policy.mou import Mou, read_mou, unbuilt
from hub.policy.playing import failures
from hub.policy.treatments import WITHHOLD
from hub.records import Record
from hub.sharing.labels import rule_columns


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading did: `unchanged` when this very file was in force already; `labelled` records changed their labels."""

    mou: Mou
    unchanged: bool
    labelled: int
    superseded: int | None


def check(path: Path, datasets: Mapping[str, type[Record]]) -> tuple[Mou, dict[str, shapely.Geometry]]:
    """The MOU at `path` and its areas; boundary files are read from its folder.

    Raises:
        InvalidPolicy: the file or a boundary is not acceptable, it says what nothing would follow, or one of its own tests fails.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InvalidPolicy(f"{path}: {error.strerror}", problems=[Problem(str(path), str(error.strerror))]) from None
    mou = read_mou(source, datasets)
    areas = read_boundaries(mou, path.parent)
    _refuse(unbuilt(mou) or failures(mou, areas, datasets))
    return mou, areas


def load(tx: Transaction, path: Path, datasets: Mapping[str, type[Record]], now: datetime, by: By) -> Loaded:
    """Puts the MOU at `path` in force; boundary files are read from its folder. `tx` runs as the owner; this commits it.

    Raises:
        InvalidPolicy: the file, a boundary, or a party is not acceptable; nothing changed.
        Conflict: this version exists with other content, or a newer one does.
    """
    mou, areas = check(path, datasets)
    tx.rows("select pg_advisory_xact_lock(7201, 2)")
    parties = _parties(tx, mou)
    versions = tx.rows("select version, sha256, state, id, provider from hub.mous where mou = %s order by version", (mou.mou,))
    same = [number for version, digest, state, number, _ in versions if (version, digest, state) == (mou.version, mou.sha256, "active")]
    if same:
        _keep_areas(tx, same[0], mou, areas)  # a hub that loaded it before it kept areas has none
        tx.rows("commit")
        return Loaded(mou, True, 0, None)
    if versions and versions[-1][0] >= mou.version:
        raise Conflict(f"version: {mou.mou} has version {versions[-1][0]} already; a change is a new version")
    _check_supersedes(mou, versions[-1][:2] if versions else None)
    old = [number for _, _, state, number, _ in versions if state == "active"]
    tx.rows("update hub.mous set state = 'superseded' where id = any(%s)", (old,))
    grants = _insert(tx, mou, parties, areas, datasets)
    labelled = _relabel(tx, {parties[mou.parties.provider], *(p for *_, p in versions)}, grants, _grants_of(tx, old), datasets)
    _advance(tx, mou, now, by)
    return Loaded(mou, False, labelled, versions[-1][0] if old else None)


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


def _insert(
    tx: Transaction, mou: Mou, parties: Mapping[str, int], areas: Mapping[str, shapely.Geometry], datasets: Mapping[str, type[Record]]
) -> dict[str, list[int]]:
    """Adds the MOU with its grants and rules; gives the new grants' ids by dataset."""
    since, until = mou.in_force.period
    provider = parties[mou.parties.provider]
    mou_id = tx.rows(
        "insert into hub.mous (mou, version, sha256, source, provider, consumer, in_force_from, in_force_until, state) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, 'active') returning id",
        (mou.mou, mou.version, mou.sha256, mou.source.decode(), provider, parties[mou.parties.consumer], since, until),
    )[0][0]
    _keep_areas(tx, mou_id, mou, areas)
    added: dict[str, list[int]] = {}
    for grant in mou.grants:
        dataset = datasets[grant.dataset]
        number = _insert_grant(tx, mou_id, grant, dataset)
        _insert_rule(tx, number, provider, grant, dataset, areas)
        added.setdefault(grant.dataset, []).append(number)
    return added


def _keep_areas(tx: Transaction, mou_id: int, mou: Mou, areas: Mapping[str, shapely.Geometry]) -> None:
    """Keeps each jurisdiction as it is now, beside the hash that pins it, for maps of the agreement; what is kept already stays."""
    for name, pinned in mou.jurisdictions.items():
        tx.rows(
            "insert into hub.mou_areas (mou_id, name, sha256, area) values (%s, %s, %s, %s::public.geometry) on conflict do nothing",
            (mou_id, name, pinned.sha256, _ewkb(areas[name])),
        )


def _insert_grant(tx: Transaction, mou_id: int, grant: Grant, dataset: type[Record]) -> int:
    fields = {name: str(t) for name, t in grant.fields.items() if t != WITHHOLD}
    spans = [None if s is None else int(s.total_seconds()) for s in (grant.occurred.lookback, grant.occurred.embargo)]
    number: int = tx.rows(
        "insert into hub.grants (mou_id, name, dataset, purposes, actions, fields, lookback_s, embargo_s, case_required) "
        "values (%s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s) returning id",
        (
            mou_id,
            grant.id,
            dataset.number,
            list(grant.purposes),
            list(grant.actions),
            orjson.dumps(fields).decode(),
            *spans,
            grant.needs_case,
        ),
    )[0][0]
    return number


def _insert_rule(
    tx: Transaction, number: int, provider: int, grant: Grant, dataset: type[Record], areas: Mapping[str, shapely.Geometry]
) -> None:
    merged: dict[tuple[str, str], Condition] = {}
    for condition in grant.where:
        key = (condition.field, condition.word)
        merged[key] = merged[key].both(condition) if key in merged else condition
    place = grant.treatment(dataset.named("place")[0].name)
    columns, values = ["grant_id", "provider", "grid_m"], [number, provider, None if place == WITHHOLD else place.grid_m]
    marks = ["%s", "%s", "%s"]
    for field, kind in rule_columns(dataset):
        if (found := merged.get((field.name, kind.word))) is not None:
            columns.append(kind.column(field))
            values.append(_argument(found, areas))
            marks.append(f"%s::{kind.column_types[field.kind]}")
    tx.rows(f"insert into hub.{grant.dataset}_rules ({', '.join(columns)}) values ({', '.join(marks)})", values)


def _argument(condition: Condition, areas: Mapping[str, shapely.Geometry]) -> Any:
    if isinstance(condition, Within):
        return [_ewkb(areas[name]) for name in condition.argument]
    return list(condition.argument) if isinstance(condition.argument, tuple) else condition.argument


def _ewkb(area: shapely.Geometry) -> str:
    return str(shapely.to_wkb(shapely.set_srid(area, 4326), hex=True, include_srid=True))


def _grants_of(tx: Transaction, mous: Sequence[int]) -> list[int]:
    return [number for (number,) in tx.rows("select id from hub.grants where mou_id = any(%s)", (list(mous),))]


def _relabel(
    tx: Transaction, providers: set[int], new: Mapping[str, list[int]], old: list[int], datasets: Mapping[str, type[Record]]
) -> int:
    """Relabels the records of `providers`: a former version may have had another one."""
    touched = 0
    for name in datasets:
        tx.rows(f"delete from hub.{name}_rules where grant_id = any(%s)", (old,))
        for provider in sorted(providers):
            touched += tx.rows(f"select hub.{name}_relabel(%s, %s::int[], %s::int[])", (provider, new.get(name, []), old))[0][0]
    return touched


def _advance(tx: Transaction, mou: Mou, now: datetime, by: By) -> None:
    event = Event(event_id(now, os.urandom(10)), "mou-loaded", now, by, "permit")
    under = [{"mou": mou.mou, "version": mou.version, "sha256": mou.sha256, "grants": [g.id for g in mou.grants]}]
    append(tx, event, [Share(mou.parties.provider, under)])
    tx.rows("select pg_advisory_xact_lock(7201, 1)")
    tx.rows("update hub.policy_epoch set epoch = epoch + 1; commit")
