"""Five failed tries in fifteen minutes, whoever counts them and however many come at once."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from hub.errors import TooMany
from hub.identity.attempts import Attempts

from .conftest import Clock

pytestmark = pytest.mark.db

KEY = b"k" * 32


@pytest.fixture
def attempts(writer: Engine, clock: Clock) -> Attempts:
    return Attempts(writer, KEY, clock)


@pytest.fixture
def source() -> str:
    return f"source {uuid4()}"


def fail(attempts: Attempts, *counted_by: str) -> None:
    attempts.check(*counted_by)
    attempts.failed(*counted_by)


def refusal(attempts: Attempts, *counted_by: str) -> TooMany:
    with pytest.raises(TooMany) as refused:
        attempts.check(*counted_by)
    return refused.value


def test_the_sixth_failed_try_is_not_looked_at(attempts: Attempts, source: str) -> None:
    for _ in range(5):
        fail(attempts, source)
    error = refusal(attempts, source)
    assert (error.status, error.slug) == (429, "too-many-tries")
    assert error.headers == {"Retry-After": "900"}
    assert "15 minutes" in str(error)
    attempts.check(f"{source}, another")  # the control


def test_a_try_that_nobody_ended_counts_as_failed(attempts: Attempts, source: str) -> None:
    for _ in range(5):
        attempts.check(source)
    refusal(attempts, source)


def test_of_tries_that_succeed_at_once_each_is_given_back(attempts: Attempts, source: str, writer: Engine) -> None:
    """Behind one address many people sign in at the same time in the morning."""
    held = sa.text("select pg_advisory_xact_lock(k) from unnest(cast(:locks as bigint[])) k")
    for _ in range(4):
        attempts.check(source)
    with ThreadPoolExecutor(4) as pool, writer.connect() as other:
        other.execute(held, {"locks": [int.from_bytes(attempts.key(source)[:8], "big", signed=True)]})
        passed = [pool.submit(attempts.passed, source) for _ in range(4)]
        time.sleep(0.3)
        assert not any(one.done() for one in passed)  # each waits for its turn
        other.rollback()
        for one in passed:
            one.result(20)
    for _ in range(5):
        attempts.check(source)
    refusal(attempts, source)


def test_who_signs_in_as_often_as_they_like_is_never_refused(attempts: Attempts, source: str) -> None:
    for _ in range(12):
        attempts.check(source)
        attempts.passed(source)


def test_signing_in_does_not_buy_more_guesses(attempts: Attempts, source: str) -> None:
    for _ in range(4):
        fail(attempts, source)
    attempts.check(source)
    attempts.passed(source)
    fail(attempts, source)
    refusal(attempts, source)


def test_what_is_given_back_is_the_try_that_succeeded_not_an_older_failure(attempts: Attempts, clock: Clock, source: str) -> None:
    for _ in range(4):
        fail(attempts, source)
    clock.advance(600)
    attempts.check(source)
    attempts.passed(source)
    clock.advance(300)  # the failures are out of the window: were one of them given back, the success would still count
    for _ in range(5):
        fail(attempts, source)


def test_a_try_may_go_on_when_the_oldest_failure_is_fifteen_minutes_old(attempts: Attempts, clock: Clock, source: str) -> None:
    for _ in range(5):
        fail(attempts, source)
        clock.advance(60)
    error = refusal(attempts, source)  # the first was five minutes ago
    assert error.headers["Retry-After"] == "600"
    assert "in 10 minutes" in str(error)
    clock.advance(599.5)
    assert refusal(attempts, source).headers["Retry-After"] == "1"
    clock.advance(0.5)
    fail(attempts, source)
    assert "in 1 minute." in str(refusal(attempts, source))


def test_a_refused_try_does_not_lengthen_the_wait(attempts: Attempts, clock: Clock, source: str) -> None:
    for _ in range(5):
        fail(attempts, source)
    for _ in range(10):
        clock.advance(80)
        refusal(attempts, source)
    clock.advance(100)
    attempts.check(source)


def test_tries_are_counted_by_each_of_what_they_are_counted_by(attempts: Attempts, source: str) -> None:
    person = f"person {uuid4()}"
    for n in range(5):
        fail(attempts, f"{source} {n}", person)  # one person tried from everywhere
    refusal(attempts, f"{source} 5", person)
    attempts.check(f"{source} 5")  # the refused try was counted for neither
    for n in range(5):
        fail(attempts, source, f"{person} {n}")  # everybody tried from one place
    refusal(attempts, source, f"{person} 5")
    assert refusal(attempts, source, person)


def test_the_longest_of_the_waits_is_told(attempts: Attempts, clock: Clock, source: str) -> None:
    for _ in range(5):
        fail(attempts, source)
    clock.advance(300)
    for _ in range(5):
        fail(attempts, f"{source} later")
    assert refusal(attempts, source, f"{source} later").headers["Retry-After"] == "900"
    assert refusal(attempts, source).headers["Retry-After"] == "600"


@pytest.mark.parametrize("before", [0, 3])
def test_many_tries_at_once_can_not_be_more_than_five(attempts: Attempts, source: str, before: int) -> None:
    for _ in range(before):
        fail(attempts, source)
    person = f"person {uuid4()}"

    def looked_at(n: int) -> bool:
        try:
            attempts.check(*((source, person) if n % 2 else (person, source)))
        except TooMany:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(looked_at, range(30))) == 5 - before


def test_the_count_is_that_of_every_process(writer: Engine, clock: Clock, source: str) -> None:
    for _ in range(5):
        fail(Attempts(writer, KEY, clock), source)
    refusal(Attempts(writer, KEY, clock), source)


def test_the_table_names_nobody_and_forgets(writer: Engine, attempts: Attempts, clock: Clock, source: str) -> None:
    for _ in range(3):
        fail(attempts, source, "\ud800")
    rows = sa.text("select counted_by, a::text as line from hub.attempts a")
    with writer.connect() as connection:
        kept = connection.execute(rows).all()
    assert kept
    assert {len(row.counted_by) for row in kept} == {32}
    assert not any(source in row.line or source.encode().hex() in row.line for row in kept)
    clock.advance(timedelta(minutes=15).total_seconds())
    attempts.check(source)
    with writer.connect() as connection:
        assert (
            connection.scalar(sa.text("select count(*) from hub.attempts where at <= :old"), {"old": clock() - timedelta(minutes=15)}) == 0
        )


def test_a_try_that_is_counted_by_nothing_is_a_defect(attempts: Attempts) -> None:
    with pytest.raises(ValueError, match="counted by something"):
        attempts.check()
