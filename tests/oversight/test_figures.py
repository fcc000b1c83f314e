"""The figures of a review follow from the leaves and flags of its period, whatever their order, and from nothing else."""

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from hub.audit.figures import text_of
from hub.audit.leaf import TESTED, By
from hub.audit.periods import MONTHS, before, begin_of, end_of, named
from tests.oversight.ordinary import ANALYST, MONDAY, PROGRAM, Leaf, leaf, month


def lines(leaves: list[Leaf], flags: Any = (), **scope: str) -> list[dict[str, Any]]:
    text = text_of(scope, "2026-03-01T00:00:00.000Z", "2026-04-01T00:00:00.000Z", leaves, flags)
    found: list[dict[str, Any]] = json.loads(text)["lines"]
    return found


def flag(number: int, **more: Any) -> dict[str, Any]:
    said = {
        "id": number,
        "kind": "walk",
        "state": "new",
        "organisation": "health",
        "client": "health-sync",
        "at": "2026-03-02T00:00:00.000Z",
    }
    return said | {"raised_at": "2026-03-02T00:02:00.000Z", "reason": "Because.", "leaves": []} | more


def test_a_line_says_who_for_what_under_which_grants_and_how_much() -> None:
    made = [leaf(MONDAY, PROGRAM, 5, first=10), leaf(MONDAY + timedelta(hours=1), PROGRAM, 3, first=12, kind="export")]
    assert lines(made) == [
        {
            "line": 1,
            "organisation": "health",
            "client": "health-sync",
            "owner": "police",
            "dataset": "incidents",
            "purpose": "research",
            "under": [{"mou": "MOU-1", "version": 1, "grants": ["all"]}],
            "accesses": 2,
            "exports": 1,
            "records": 8,
            "revisions": 5,  # 10 to 14; 12 to 14 were given twice
            "first": "2026-03-02T00:00:00.000Z",
            "last": "2026-03-02T01:00:00.000Z",
            "flags": [],
        }
    ]


def test_each_person_client_owner_purpose_and_set_of_grants_is_a_line_of_its_own() -> None:
    other = leaf(MONDAY, PROGRAM, 1)
    made = [
        leaf(MONDAY, PROGRAM, 1),
        leaf(MONDAY, ANALYST, 1),
        leaf(MONDAY, PROGRAM, 1, owner="ambulance"),
        leaf(MONDAY, PROGRAM, 1, purpose="prevention"),
        other | {"under": [other["under"][0] | {"version": 2}]},
    ]
    assert len(lines(made)) == 5
    assert len(lines([*made, *made])) == 5


def test_what_gave_nothing_is_no_line() -> None:
    given = leaf(MONDAY, PROGRAM, 1)
    nothing = [
        leaf(MONDAY, PROGRAM),
        leaf(MONDAY, PROGRAM, decision="absent"),
        leaf(MONDAY, By("health"), 1),
        given | {"type": "publish"},
        given | {"decision": "refuse"},
        given | {"shown": given["shown"] | {"fields": {"phone": TESTED}}},
        given | {"shown": {"count": 7, "cells": 2}},
    ]
    assert lines(nothing) == []
    assert len(lines([given, *nothing])) == 1  # the control


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_leaves_changes_no_byte(seed: int) -> None:
    made = month(seed, 8)
    flags = [flag(n) for n in range(3)]
    whole = text_of({}, "a", "b", made, flags)
    shuffled = list(made)
    Random(seed).shuffle(shuffled)
    assert text_of({}, "a", "b", shuffled, flags) == whole
    used = next(n for n, body in enumerate(made) if "shown" in body)
    assert text_of({}, "a", "b", made[:used] + made[used + 1 :], flags) != whole  # the control: one leaf less


def test_parts_of_a_long_leaf_are_one_access() -> None:
    one = leaf(MONDAY, PROGRAM, 4)
    two = leaf(MONDAY, PROGRAM, 4, first=5) | {"event": one["event"], "part": 2}
    (line,) = lines([one, two])
    assert (line["accesses"], line["records"], line["revisions"]) == (1, 8, 8)


def test_a_flag_stands_on_each_line_of_whom_and_whose_data_it_is_about() -> None:
    made = [leaf(MONDAY, PROGRAM, 1), leaf(MONDAY, PROGRAM, 1, owner="ambulance"), leaf(MONDAY, ANALYST, 1)]
    found = lines(made, [flag(7, owner="police"), flag(8)])
    assert [(line.get("client"), line["owner"], [f["id"] for f in line["flags"]]) for line in found] == [
        ("health-sync", "ambulance", [8]),
        ("health-sync", "police", [7, 8]),
        (None, "police", []),
    ]
    assert found[1]["flags"][0] == {"id": 7, "kind": "walk", "at": "2026-03-02T00:00:00.000Z", "reason": "Because."}


def test_a_flag_of_somebody_who_was_given_nothing_is_a_line_of_its_own_unless_an_agreement_is_reviewed() -> None:
    (line,) = lines([], [flag(1), flag(2)])
    assert (line["client"], line["accesses"], [f["id"] for f in line["flags"]]) == ("health-sync", 0, [1, 2])
    assert len(lines([], [flag(1)], owner="police", organisation="health")) == 1
    assert lines([], [flag(1)], mou="MOU-1") == []
    assert lines([], [flag(1)], purpose="research", owner="police") == []


@pytest.mark.parametrize("every", MONTHS)
def test_periods_follow_each_other_without_gap_and_hold_their_times(every: str) -> None:
    at = datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)
    for _ in range(500):
        begin = begin_of(at, every)
        end = end_of(begin, every)
        assert begin <= at < end
        assert begin_of(end, every) == end
        assert before(end, every) == begin
        assert begin_of(end - timedelta(microseconds=1), every) == begin
        at += timedelta(days=9, seconds=1)


def test_periods_have_names() -> None:
    begins = {
        "month": datetime(2026, 3, 1),
        "quarter": datetime(2026, 4, 1),
        "half-year": datetime(2026, 7, 1),
        "year": datetime(2026, 1, 1),
    }
    assert [named(begin, every) for every, begin in begins.items()] == [
        "March 2026",
        "2nd quarter of 2026",
        "2nd half-year of 2026",
        "2026",
    ]
