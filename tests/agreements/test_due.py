"""What is due of an agreement, and from when to when: properties of the one function that decides it, and HTTP, which tells it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.agreements.due import LIVE, NOTHING, Renewal, due, due_of, from_told, sentences
from hub.datasets import DATASETS
from hub.policy.mou import Mou, read_mou
from tests.agreements.parties import Party, agree, party
from tests.world import World, grant, mou_data
from tests.written import yaml_of

TERMS = read_mou(yaml_of(mou_data("MOU-1", "police", "health", [grant()])), DATASETS)
FAR = date(9998, 12, 31)
INSTANT = timedelta(microseconds=1)
DAY = timedelta(days=1)
DAYS = st.dates(date(2000, 1, 1), date(2400, 12, 31)) | st.sampled_from(
    [date(y, m, d) for y in (2000, 2028, 2100) for m, d in ((2, 28), (3, 1))]
)
NOTICES = st.integers(0, 366)


@dataclass(frozen=True)
class Step:
    version: int
    state: str
    until: datetime
    mou: str = "MOU-1"


def terms(until: date, notice_days: int = 30, since: date = date(1990, 1, 1), review_by: date = FAR, version: int = 1) -> Mou:
    period = TERMS.in_force.model_copy(update={"since": since, "until": until, "notice_days": notice_days})
    return TERMS.model_copy(update={"in_force": period, "review_by": review_by, "version": version})


def start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def wants(of: Mou, now: datetime, state: str = "active", others: Sequence[Step] = ()) -> tuple[str, ...]:
    return due(of, state, now, others).due


@given(DAYS, st.integers(1, 366))
def test_renewal_is_due_from_the_first_instant_of_the_notice_to_the_last_of_the_last_day(until: date, notice: int) -> None:
    of = terms(until, notice)
    first, end = start(until) + DAY - notice * DAY, start(until) + DAY
    assert wants(of, first - INSTANT) == ()
    assert wants(of, first) == ("renewal",)
    assert wants(of, end - INSTANT) == ("renewal",)
    assert wants(of, end) == ()
    assert end == of.in_force.period[1]  # the end is the same as the one after which nothing is shared
    found = due(of, "active", first)
    assert (found.notice_from, found.renew_by, found.days_left(first)) == (first.date(), until, notice)
    assert (found.days_left(end - INSTANT), found.days_left(end)) == (1, 0)


@given(DAYS, NOTICES, st.integers(-800, 30), st.integers(0, 86_399_999_999))
def test_at_any_moment_it_is_due_exactly_while_so_few_days_are_left(until: date, notice: int, days: int, microseconds: int) -> None:
    now = start(until) + days * DAY + timedelta(microseconds=microseconds)
    left = (start(until) + DAY - now) / DAY  # days, and parts of one
    found = due(terms(until, notice), "active", now)
    assert ("renewal" in found.due) == (0 < left <= notice)
    assert found.in_notice(now) == ("renewal" in found.due)


@given(DAYS, st.integers(0, 400))
def test_without_a_notice_nothing_is_due_until_the_end(until: date, before: int) -> None:
    of = terms(until, 0)
    assert wants(of, start(until) - before * DAY) == ()
    assert wants(of, start(until) + DAY - INSTANT) == ()
    assert due(of, "active", start(until)).notice_from is None


@pytest.mark.parametrize(
    ("until", "notice", "first"),
    [
        (date(2028, 2, 29), 1, date(2028, 2, 29)),
        (date(2028, 3, 1), 2, date(2028, 2, 29)),
        (date(2027, 3, 1), 2, date(2027, 2, 28)),
        (date(2028, 12, 31), 366, date(2028, 1, 1)),
        (date(2027, 12, 31), 366, date(2026, 12, 31)),
        (date(2100, 3, 1), 2, date(2100, 2, 28)),  # no leap year
        (date(2000, 3, 1), 2, date(2000, 2, 29)),
        (date(1, 1, 5), 30, date(1, 1, 1)),  # there is no day before
    ],
)
def test_the_notice_counts_days_of_the_calendar(until: date, notice: int, first: date) -> None:
    of = terms(until, notice, since=date(1, 1, 1))
    assert due(of, "active", start(until)).notice_from == first
    assert wants(of, start(first)) == ("renewal",)


def test_it_is_not_due_before_it_begins_though_its_notice_is_longer() -> None:
    of = terms(date(2026, 6, 10), 30, since=date(2026, 6, 5))
    assert wants(of, start(date(2026, 6, 5)) - INSTANT) == ()
    assert wants(of, start(date(2026, 6, 5))) == ("renewal",)


@given(DAYS)
def test_a_review_is_due_after_its_day_and_until_the_agreement_ends(review_by: date) -> None:
    of = terms(review_by + timedelta(days=500), 0, review_by=review_by)
    after = start(review_by) + DAY
    assert wants(of, after - INSTANT) == ()
    assert wants(of, after) == wants(of, after + 499 * DAY) == ("review",)
    assert wants(of, start(of.in_force.until) + DAY) == ()
    assert wants(of, after, "suspended") == ("review",)
    assert wants(terms(of.in_force.until, 0, since=review_by + timedelta(days=30), review_by=review_by), after) == ("review",)


@given(st.sampled_from(["draft", "proposed", "signed", "activating", "superseded", "terminated", "withdrawn"]))
def test_of_a_version_that_is_not_in_force_nothing_is_due(state: str) -> None:
    now = start(date(2026, 6, 10))
    of = terms(date(2026, 6, 10), review_by=date(2026, 1, 1))
    assert wants(of, now) == ("renewal", "review")  # control
    assert wants(of, now, state) == ()
    assert state not in LIVE
    assert due_of(Step(1, state, now), [], lambda _: of, now) is None


def test_while_it_is_suspended_its_renewal_is_not_due_for_no_version_could_follow() -> None:
    assert wants(terms(date(2026, 6, 10)), start(date(2026, 6, 10)), "suspended") == ()


@given(st.sampled_from(["proposed", "signed", "activating", "active"]))
def test_with_a_next_version_under_way_no_renewal_is_due(state: str) -> None:
    of, now = terms(date(2026, 6, 10), version=3), start(date(2026, 6, 1))
    found = due(of, "active", now, [Step(4, state, start(date(2027, 6, 11)))])
    assert (found.due, found.renewal) == ((), Renewal(4, state))
    assert sentences(found, now) == [f"ends in 10 days; renewal under way: version 4 is {state}"]
    assert sentences(found, start(date(2026, 1, 1))) == []  # long before there is nothing to tell


@pytest.mark.parametrize(
    "other",
    [
        Step(4, "draft", start(date(2027, 6, 11))),
        Step(4, "withdrawn", start(date(2027, 6, 11))),
        Step(4, "terminated", start(date(2027, 6, 11))),
        Step(2, "superseded", start(date(2027, 6, 11))),
        Step(2, "signed", start(date(2027, 6, 11))),
        Step(4, "signed", start(date(2026, 6, 11))),  # ends with this one: it changes something, and renews nothing
    ],
)
def test_what_binds_nobody_or_goes_on_no_longer_is_no_renewal(other: Step) -> None:
    found = due(terms(date(2026, 6, 10), version=3), "active", start(date(2026, 6, 10)), [other])
    assert (found.due, found.renewal) == (("renewal",), None)


def test_versions_of_other_agreements_renew_nothing() -> None:
    now, mine = start(date(2026, 6, 10)), Step(1, "active", start(date(2026, 6, 11)))
    others = [mine, Step(2, "signed", start(date(2027, 6, 11)), "MOU-2")]
    found = due_of(mine, others, lambda _: terms(date(2026, 6, 10)), now)
    assert found
    assert found.due == ("renewal",)


def test_days_are_those_of_utc_wherever_the_clock_stands() -> None:
    of, west = terms(date(2026, 6, 10), 1), timezone(timedelta(hours=-8))
    assert wants(of, datetime(2026, 6, 9, 16, tzinfo=west)) == ("renewal",)
    assert wants(of, datetime(2026, 6, 9, 15, 59, tzinfo=west)) == ()


def test_it_is_told_in_sentences() -> None:
    of = terms(date(2026, 6, 10), review_by=date(2026, 5, 1))
    told = [sentences(due(of, "active", start(at)), start(at)) for at in (date(2026, 6, 9), date(2026, 6, 10))]
    assert told == [
        ["ends in 2 days, and no next version is on its way", "its review is overdue since 1 May 2026"],
        ["ends today, and no next version is on its way", "its review is overdue since 1 May 2026"],
    ]


@given(DAYS, NOTICES, DAYS, DAYS, st.booleans())
def test_what_is_told_is_read_back(until: date, notice: int, review_by: date, today: date, renewed: bool) -> None:
    others = [Step(2, "signed", start(until) + 400 * DAY)] if renewed else []
    found = due(terms(until, notice, review_by=review_by), "active", start(today), others)
    assert from_told(found.told()) == found
    assert from_told(NOTHING) is None
    assert NOTHING.keys() == found.told().keys()


# Over HTTP


@pytest.fixture(scope="module")
def parties(world: World) -> tuple[Party, Party]:
    for slug in ("police", "health"):
        world.organisation(slug)
    return party(world, "police"), party(world, "health")


def _data(world: World, name: str, days: int, version: int = 1, **more: Any) -> dict[str, Any]:
    """An agreement whose last day is so many days ahead."""
    period = {"from": date(2020, 1, 1), "until": (world.clock() + timedelta(days=days)).date(), "notice_days": 10}
    return mou_data(name, "police", "health", [grant(purposes=[name.lower()])], in_force=period, version=version, **more)


def _wants(of: Party, name: str, version: int = 1) -> dict[str, Any]:
    told: dict[str, Any] = of.call("GET", f"/mous/{name}/{version}").json()
    (listed,) = [m for m in of.call("GET", "/mous").json()["mous"] if (m["mou"], m["version"]) == (name, version)]
    assert told == listed
    return {member: told[member] for member in NOTHING}


def test_both_parties_are_told_what_is_due_until_a_next_version_is_under_way(world: World, parties: tuple[Party, Party]) -> None:
    police, health = parties
    first = _data(world, "MOU-SOON", 5, review_by=date(2025, 3, 1))
    agree(police, health, first)
    until = first["in_force"]["until"]
    expected = {
        "due": ["renewal", "review"],
        "notice_from": (until - timedelta(days=9)).isoformat(),
        "renew_by": until.isoformat(),
        "review_by": "2025-03-01",
        "renewal": None,
    }
    assert _wants(police, "MOU-SOON") == _wants(health, "MOU-SOON") == expected
    following = _data(world, "MOU-SOON", 300, 2)
    assert health.draft(following).status_code == 201
    assert _wants(police, "MOU-SOON")["due"] == ["renewal", "review"]  # a draft is not yet under way
    assert health.step("proposal", "MOU-SOON", 2).json()["due"] == []
    assert _wants(police, "MOU-SOON") == expected | {"due": ["review"], "renewal": {"version": 2, "state": "proposed"}}
    assert _wants(police, "MOU-SOON", 2) == NOTHING
    assert health.step("withdrawal", "MOU-SOON", 2).status_code == 200
    assert _wants(police, "MOU-SOON") == expected


def test_an_agreement_that_goes_on_for_long_wants_nothing(world: World, parties: tuple[Party, Party]) -> None:
    found = agree(*parties, _data(world, "MOU-LONG", 11))
    assert (found["due"], found["renewal"]) == ([], None)  # its notice begins tomorrow or the day after
    assert _wants(parties[0], "MOU-LONG")["due"] == []


def test_the_document_describes_each_member(world: World) -> None:
    described = world.http.get("/api").json()["components"]["schemas"]["agreement"]["properties"]
    assert described.keys() == NOTHING.keys()
    assert all(member["description"] for member in described.values())


def test_a_notice_that_is_one_day_off_is_told_apart() -> None:
    """Control of the properties above."""
    now = start(date(2026, 5, 12))
    assert wants(terms(date(2026, 6, 10), 30), now) == ("renewal",)
    assert wants(terms(date(2026, 6, 10), 29), now) == ()
