"""The rules of an MOU version: its clauses as rows that PostgreSQL decides by. A rule opens nothing until its MOU is active."""

from collections.abc import Mapping
from typing import Any

import orjson
import shapely

from hub.db import Transaction
from hub.policy.clauses import Clause, Grant, Refusal
from hub.policy.conditions import Condition, Within
from hub.policy.duties import Owed
from hub.policy.mou import Mou
from hub.policy.refused import COARSEST_M, refused_area
from hub.policy.treatments import WITHHOLD
from hub.records import Record
from hub.sharing.labels import rule_columns


def insert_rules(
    tx: Transaction,
    mou_id: int,
    mou: Mou,
    provider: int,
    areas: Mapping[str, shapely.Geometry],
    datasets: Mapping[str, type[Record]],
) -> dict[str, list[int]]:
    """Adds the clauses of a version and their rules; gives the new ids by dataset. Whoever calls it keeps stores away (lock 2)."""
    added: dict[str, list[int]] = {}
    for grant in mou.grants:
        dataset = datasets[grant.dataset]
        number = _insert_grant(tx, mou_id, grant, dataset)
        _insert_rule(tx, number, provider, grant, dataset, grant.tested_m(dataset.named("place")[0].name), areas)
        added.setdefault(grant.dataset, []).append(number)
    wider = {name: refused_area(areas[name]) for name in dict.fromkeys(name for refusal in mou.refuse for name in refusal.areas)}
    for refusal in mou.refuse:
        dataset = datasets[refusal.dataset]
        number = _insert_refusal(tx, mou_id, refusal, dataset)
        _insert_rule(tx, number, provider, refusal, dataset, COARSEST_M, wider)
        added.setdefault(refusal.dataset, []).append(number)
    return added


def conditions(clause: Clause) -> dict[str, Condition]:
    """What a clause requires, by the columns of its rule: several conditions of one kind on one field are one there."""
    merged: dict[str, Condition] = {}
    for condition in clause.where:
        key = f"{condition.field}__{condition.word}"
        merged[key] = merged[key].both(condition) if key in merged else condition
    return merged


def keep_areas(tx: Transaction, mou_id: int, mou: Mou, areas: Mapping[str, shapely.Geometry]) -> None:
    """Keeps each jurisdiction as it is now, beside the hash that pins it, for maps of the agreement; what is kept already stays."""
    for name, pinned in mou.jurisdictions.items():
        tx.rows(
            "insert into hub.mou_areas (mou_id, name, sha256, area) values (%s, %s, %s, %s::public.geometry) on conflict do nothing",
            (mou_id, name, pinned.sha256, ewkb(areas[name])),
        )


def _insert_grant(tx: Transaction, mou_id: int, grant: Grant, dataset: type[Record]) -> int:
    fields = {name: str(t) for name, t in grant.fields.items() if t != WITHHOLD}
    spans = [None if s is None else int(s.total_seconds()) for s in (grant.occurred.lookback, grant.occurred.embargo)]
    number: int = tx.rows(
        "insert into hub.grants (mou_id, name, dataset, purposes, actions, fields, lookback_s, embargo_s, case_required, duties,"
        " min_count) values (%s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s, %s::jsonb, %s) returning id",
        (
            mou_id,
            grant.id,
            dataset.number,
            list(grant.purposes),
            list(grant.actions),
            orjson.dumps(fields).decode(),
            *spans,
            grant.needs_case,
            None if grant.duties is None else orjson.dumps(Owed.of(grant.duties).kept()).decode(),
            None if grant.aggregates is None else grant.aggregates.min_count,
        ),
    )[0][0]
    return number


def _insert_refusal(tx: Transaction, mou_id: int, refusal: Refusal, dataset: type[Record]) -> int:
    number: int = tx.rows(
        "insert into hub.refusals (mou_id, name, dataset, fields) values (%s, %s, %s, %s::text[]) returning id",
        (mou_id, refusal.id, dataset.number, None if refusal.fields is None else list(refusal.fields)),
    )[0][0]
    return number


def _insert_rule(
    tx: Transaction,
    number: int,
    provider: int,
    clause: Clause,
    dataset: type[Record],
    grid_m: int | None,
    areas: Mapping[str, shapely.Geometry],
) -> None:
    """`grid_m`: where the clause tests a place; None: nowhere."""
    merged = conditions(clause)
    columns, values = ["clause", "provider", "grid_m"], [number, provider, grid_m]
    marks = ["%s", "%s", "%s"]
    for field, kind in rule_columns(dataset):
        column = kind.column(field)
        if (found := merged.get(column)) is not None:
            columns.append(column)
            values.append(_argument(found, areas))
            marks.append(f"%s::{kind.column_types[field.kind]}")
    tx.rows(f"insert into hub.{clause.dataset}_rules ({', '.join(columns)}) values ({', '.join(marks)})", values)


def _argument(condition: Condition, areas: Mapping[str, shapely.Geometry]) -> Any:
    if isinstance(condition, Within):
        return [ewkb(areas[name]) for name in condition.argument]
    return list(condition.argument) if isinstance(condition.argument, tuple) else condition.argument


def ewkb(area: shapely.Geometry) -> str:
    return str(shapely.to_wkb(shapely.set_srid(area, 4326), hex=True, include_srid=True))
