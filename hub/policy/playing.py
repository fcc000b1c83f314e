"""Playing an MOU's own tests: what its grants and refusals make of a made-up record. Pure; says what hub/sharing does in PostgreSQL."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import shapely

from hub.errors import Problem
from hub.geo import FINEST_M, Point, snap
from hub.policy.clauses import Clause, Grant, Refusal
from hub.policy.conditions import Within
from hub.policy.mou import Mou
from hub.policy.own_tests import As, OwnTest, TestedRecord
from hub.policy.refused import COARSEST_M, refused_area
from hub.policy.treatments import Treatment, before, released, window
from hub.records import WINDOW_FIELD, Record

Areas = Mapping[str, shapely.Geometry]
NOON = timedelta(hours=12)


class _Made(NamedTuple):
    """The record of a test, with a place and a time; `values` of its clear fields."""

    place: Point
    at: datetime
    values: Mapping[str, Any]


def failures(mou: Mou, areas: Areas, datasets: Mapping[str, type[Record]]) -> list[Problem]:
    """One for each test whose expectation is not what the MOU does, at noon of its first day."""
    now = mou.in_force.period[0] + NOON
    found = []
    for n, test in enumerate(mou.tests):
        reason = _failure(test, outcome(mou, test, areas, datasets, now))
        found += [Problem(f"tests[{n}].expect", reason)] if reason else []
    return found


def outcome(mou: Mou, test: OwnTest, areas: Areas, datasets: Mapping[str, type[Record]], now: datetime) -> dict[str, Treatment] | None:
    """How each field of the record is released; None: the record is hidden."""
    dataset = datasets[test.dataset]
    record = _Made(_position(test.record, areas), before(now, test.record.ago), _defaults(dataset) | test.record.values)
    asked = [g for g in mou.grants if g.dataset == test.dataset and _is_for(mou, g, test.as_)]
    holding = [g for g in asked if _reaches(g, record, areas, now)]
    refused = [r for r in mou.refuse if r.dataset == test.dataset and _refuses(mou, r, test.as_, record, areas)]
    return released([field.name for field in dataset.fields], [g.fields for g in holding], [r.fields for r in refused])


def _failure(test: OwnTest, got: dict[str, Treatment] | None) -> str | None:
    if isinstance(test.expect, str):
        shown = "hidden" if got is None else "shown"
        return None if shown == test.expect else f"expects the record to be {test.expect}; it is {shown}"
    if got is None:
        return "expects the record to be shown; it is hidden"
    wrong = [f"{name}: expected {wanted}, it is {got[name]}" for name, wanted in test.expect.items() if got[name] != wanted]
    return "; ".join(wrong) or None


def _is_for(mou: Mou, grant: Grant, who: As) -> bool:
    asked = who.organisation == mou.parties.consumer and who.purpose in grant.purposes and "query" in grant.actions
    return asked and (who.case is not None or not grant.needs_case)


def _reaches(grant: Grant, record: _Made, areas: Areas, now: datetime) -> bool:
    since, until = window(now, grant.occurred.lookback, grant.occurred.embargo, grant.treatment(WINDOW_FIELD).step)
    inside = (since is None or since <= record.at) and (until is None or record.at < until)
    return inside and _meets(grant, record, snap(record.place, grant.tested_m("place") or FINEST_M), areas)


def _refuses(mou: Mou, refusal: Refusal, who: As, record: _Made, areas: Areas) -> bool:
    wider = {name: refused_area(areas[name]) for name in refusal.areas}
    return who.organisation == mou.parties.consumer and _meets(refusal, record, snap(record.place, COARSEST_M), wider)


def _meets(clause: Clause, record: _Made, centre: Point, areas: Areas) -> bool:
    return all(
        Within.covers([areas[name] for name in c.argument], centre) if isinstance(c, Within) else c.holds(record.values.get(c.field))
        for c in clause.where
    )


def _defaults(dataset: type[Record]) -> dict[str, Any]:
    """What a record holds that leaves these fields out."""
    return {f.name: dataset.model_fields[f.name].default for f in dataset.fields if not f.required and f.kind in ("text", "number")}


def _position(record: TestedRecord, areas: Areas) -> Point:
    if record.at is not None:
        return Point(*record.at)
    inside = shapely.point_on_surface(areas[record.area or ""])
    return Point(inside.x, inside.y)
