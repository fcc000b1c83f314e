"""Each detector finds a planted case and cites its leaves; ordinary use raises nothing; what is just within the limits neither."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from hub.audit import flags
from hub.audit.accesses import access_of, given
from hub.audit.flags import DETECTORS, Flag, Limits, Past, look
from hub.audit.leaf import TESTED, By
from tests.oversight.ordinary import ANALYST, MONDAY, PROGRAM, Leaf, flagged, leaf, month

END = MONDAY + timedelta(days=30)
AT_WORK = END + timedelta(hours=10)
CITY = (-79.40, 43.64, -79.36, 43.67)


def kinds(found: list[Flag]) -> list[str]:
    return [flag.kind for flag in found]


def cells(rows: int, columns: int, size: float = 0.01, apart: float = 1.0) -> list[tuple[float, ...]]:
    """A grid of areas, row by row; `apart` 1: side by side."""
    corners = [(-79.40 + c * size * apart, 43.60 + r * size * apart) for r in range(rows) for c in range(columns)]
    return [(lon, lat, lon + size, lat + size) for lon, lat in corners]


PLANTED: dict[str, list[Leaf]] = {
    "volume": [leaf(AT_WORK + timedelta(minutes=n), records=2_000, extent=CITY) for n in range(30)],
    "hour": [leaf(END + timedelta(hours=2, minutes=40), records=3, extent=CITY)],
    "area": [leaf(AT_WORK, records=3, extent=(-75.75, 45.35, -75.60, 45.45))],
    "purpose": [leaf(AT_WORK, records=3, extent=CITY, purpose="marketing")],
    "export": [leaf(AT_WORK, By("fire", "fire-sync"), records=5_000, kind="export", extent=CITY)],
    "refusals": [leaf(AT_WORK + timedelta(seconds=n), By("fire", "fire-sync"), decision="absent", fields=["id"]) for n in range(10)],
    "walk": [leaf(AT_WORK + timedelta(seconds=9 * n), records=1, extent=cell) for n, cell in enumerate(cells(3, 3))],
}


@pytest.fixture(scope="module")
def ordinary() -> list[Leaf]:
    """The month of one analyst and one program: enough to compare with."""
    return [body for body in month(1) if body["by"] in (ANALYST.member(), PROGRAM.member())]


def test_of_every_detector_there_is_a_planted_case() -> None:
    assert PLANTED.keys() == DETECTORS.keys()


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_planted_case_after_a_month_of_ordinary_use_is_found_and_its_leaves_are_cited(ordinary: list[Leaf], kind: str) -> None:
    found = flagged([*ordinary, *PLANTED[kind]])
    assert kinds(found) == [kind]
    numbers = range(len(ordinary) + 1, len(ordinary) + 1 + len(PLANTED[kind]))
    assert {cite.leaf for cite in found[0].cites} <= set(numbers)
    assert {cite.event for cite in found[0].cites} <= {body["event"] for body in PLANTED[kind]}
    assert f" {found[0].cites[-1].leaf} of the log." in found[0].reason
    assert found[0].owner == PLANTED[kind][-1].get("owner")


@pytest.mark.parametrize("seed", range(6))
def test_a_month_of_ordinary_use_raises_nothing(seed: int) -> None:
    made = month(seed)
    assert len(made) > 4_000
    assert flagged(made) == []


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_detector_that_is_taken_out_is_missed(ordinary: list[Leaf], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: nothing else finds its case."""
    monkeypatch.delitem(flags.DETECTORS, kind)
    assert flagged([*ordinary, *PLANTED[kind]]) == []


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        ("volume", Limits(volume_times=100)),
        ("volume", Limits(volume_records=60_001)),
        ("hour", Limits(hour_percent=0)),
        ("area", Limits(area_km=1_000)),
        ("export", Limits(export_records=5_001)),
        ("refusals", Limits(refusals=11)),
        ("walk", Limits(walk_cells=10)),
        ("walk", Limits(walk_minutes=1)),
    ],
)
def test_a_limit_is_what_it_says(ordinary: list[Leaf], kind: str, limits: Limits) -> None:
    assert kind not in kinds(flagged([*ordinary, *PLANTED[kind]], limits))


@pytest.mark.parametrize("kind", ["volume", "hour", "area", "purpose"])
def test_who_has_no_past_is_not_compared_with_it(kind: str) -> None:
    assert flagged(PLANTED[kind]) == []


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_kind_is_raised_once_a_day_and_again_on_the_next_if_it_goes_on(ordinary: list[Leaf], kind: str) -> None:
    again = [body | {"at": _later(body, timedelta(minutes=5))} for body in PLANTED[kind]]
    tomorrow = [body | {"at": _later(body, timedelta(days=1))} for body in PLANTED[kind]]
    assert kinds(flagged([*ordinary, *PLANTED[kind], *again])) == [kind]
    known = kind in ("area", "purpose")  # from then on it has been there
    assert kinds(flagged([*ordinary, *PLANTED[kind], *tomorrow])) == ([kind] if known else [kind, kind])


def _later(body: Leaf, by: timedelta) -> str:
    return (datetime.fromisoformat(body["at"]) + by).isoformat()


def test_walking_over_overlapping_areas_is_panning() -> None:
    panned = [leaf(AT_WORK + timedelta(seconds=n), records=1, extent=cell) for n, cell in enumerate(cells(5, 5, apart=0.6))]
    scattered = [leaf(AT_WORK + timedelta(seconds=n), records=1, extent=cell) for n, cell in enumerate(cells(5, 5, apart=2))]
    repeated = [leaf(AT_WORK + timedelta(seconds=n), records=1, extent=CITY) for n in range(40)]
    assert flagged(panned) == flagged(scattered) == flagged(repeated) == []
    assert kinds(flagged(PLANTED["walk"])) == ["walk"]  # the control; it needs no past


def test_a_walk_in_any_order_is_one() -> None:
    shuffled = [PLANTED["walk"][n] for n in (4, 0, 8, 2, 6, 1, 3, 5, 7)]
    assert kinds(flagged([body | {"at": PLANTED["walk"][n]["at"]} for n, body in enumerate(shuffled)])) == ["walk"]


def test_one_persons_accesses_say_nothing_of_anothers() -> None:
    """Nine cells by two people, alternately."""
    people = [By("health", person="00000000-0000-0000-0000-00000000000a"), By("health", person="00000000-0000-0000-0000-00000000000b")]
    made = [leaf(AT_WORK + timedelta(seconds=n), people[n % 2], 1, extent=cell) for n, cell in enumerate(cells(3, 3))]
    assert flagged(made) == []


def test_what_is_about_one_owners_data_is_looked_at_apart_from_anothers(ordinary: list[Leaf]) -> None:
    """A flag tells an owner nothing of what was asked about another's: half of the walk was over each one's records."""
    made = [
        leaf(AT_WORK + timedelta(seconds=n), records=1, extent=c, owner=("police", "ambulance")[n % 2]) for n, c in enumerate(cells(3, 3))
    ]
    assert flagged([*ordinary, *made]) == []
    (found,) = flagged([*made, *[leaf(AT_WORK, By("fire", "x"), records=6_000, kind="export", owner="ambulance")]])
    assert (found.kind, found.owner) == ("export", "ambulance")


def test_the_same_leaves_give_the_same_flags_also_when_the_past_was_kept_in_between(ordinary: list[Leaf]) -> None:
    made = [*ordinary[-2_000:], *(body for planted in PLANTED.values() for body in planted)]
    whole = flagged(made)
    pasts: dict[tuple[str, str | None], str] = {}
    found: list[Flag] = []
    for number, body in enumerate(made, 1):
        access = access_of(number, body)
        assert access
        past = Past.read(json.loads(pasts.get((access.subject, access.owner), "{}")))
        found += look(past, access, Limits())
        pasts[access.subject, access.owner] = json.dumps(past.kept())
    assert found == whole
    assert whole
    assert max(map(len, pasts.values())) < 40_000


def test_a_past_stays_small_however_much_is_asked() -> None:
    past = Past()
    for n in range(3_000):
        extent = (n % 170, 10.0, n % 170 + 0.001, 10.001)
        body = leaf(MONDAY + timedelta(minutes=n * 7), PROGRAM, 1, extent=extent, purpose=f"p-{n}", decision=("permit", "refuse")[n % 2])
        access = access_of(n, body)
        assert access
        look(past, access, Limits())
    assert len(json.dumps(past.kept())) < 60_000


def test_what_was_compared_or_counted_was_not_given() -> None:
    body = leaf(MONDAY, records=5)
    assert given(body) == 5
    assert given({**body, "type": "match", "shown": {**body["shown"], "fields": {"phone": TESTED}}}) == 0
    assert given({**body, "shown": {"count": 900, "cells": 7}}) == 0
    assert given({**body, "type": "publish"}) == 0


def test_a_leaf_of_something_else_or_of_nobody_is_no_access() -> None:
    assert access_of(1, leaf(MONDAY, kind="sign-in")) is None
    assert access_of(1, leaf(MONDAY, By("health"))) is None
    assert access_of(1, leaf(MONDAY, By())) is None
    assert access_of(1, leaf(MONDAY)) is not None


def test_further_parts_of_a_long_leaf_are_the_same_access() -> None:
    past, body = Past(), leaf(MONDAY, ANALYST, 10, extent=CITY)
    one, two = access_of(1, body | {"parts": 2}), access_of(2, body | {"part": 2, "parts": 2})
    assert one
    assert two
    look(past, one, Limits())
    look(past, two, Limits())
    assert (past.accesses, past.days) == (1, {"2026-03-02": [20, 1]})
    assert replace(one, leaf=2, first=False) == two
