"""What may be lent within an hour: by client or person, and by organisation."""

import pytest

from hub.crypto.keys import OverLimit
from hub.workers import limits
from hub.workers.limits import HOUR_S, TOGETHER, Limits


def test_so_much_within_any_hour_and_no_more() -> None:
    made = Limits(10)
    made.lend("one", "health", 6, 0.0)
    made.lend("one", "health", 4, HOUR_S / 2)
    with pytest.raises(OverLimit, match="This client may open 10 classes"):
        made.lend("one", "health", 1, HOUR_S - 1)
    made.lend("one", "health", 6, HOUR_S)
    with pytest.raises(OverLimit):
        made.lend("one", "health", 1, HOUR_S)


def test_what_is_refused_is_not_counted() -> None:
    made = Limits(10)
    with pytest.raises(OverLimit):
        made.lend("one", "health", 11, 0.0)
    made.lend("one", "health", 10, 0.0)


def test_all_of_an_organisation_share_a_limit_however_many_they_are() -> None:
    made = Limits(10)
    for n in range(TOGETHER):
        made.lend(f"person:{n}", "health", 10, 0.0)
    with pytest.raises(OverLimit, match="all of your organisation 10 times as much"):
        made.lend("person:new", "health", 1, 0.0)
    made.lend("person:other", "housing", 10, 0.0)
    made.lend("person:new", "health", 10, HOUR_S)


def test_who_asked_least_recently_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT", 2)
    made = Limits(10)
    for whom in ("one", "two", "one", "three"):
        made.lend(whom, "health", 5, 0.0)
    with pytest.raises(OverLimit):
        made.lend("one", "health", 1, 0.0)
    made.lend("two", "health", 10, 0.0)
