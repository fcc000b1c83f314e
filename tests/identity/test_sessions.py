"""Sessions: a new cookie each time, a lock after half an hour, an end that is felt everywhere."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from hub.errors import NotAuthenticated
from hub.identity import people
from hub.identity.people import Person
from hub.identity.sessions import IDLE, LIFETIME, PROVEN, SEEN_EVERY, Session, Sessions

from .conftest import Clock

pytestmark = pytest.mark.db

TICK = timedelta(microseconds=1)
KEY = b"k" * 32


@pytest.fixture
def sessions(writer: Engine, clock: Clock) -> Sessions:
    return Sessions(writer, KEY, clock)


def found(sessions: Sessions, cookie: str) -> Session:
    session = sessions.find(cookie)
    assert session
    return session


def row_of(writer: Engine, session: Session) -> Any:
    with writer.connect() as connection:
        return connection.execute(sa.text("select * from hub.sessions where id = :id"), {"id": session.id}).one()


def test_who_signed_in_is_found_by_their_cookie(sessions: Sessions, clock: Clock, person: Person) -> None:
    cookie, session = sessions.begin(person, "passkey")
    assert session == found(sessions, cookie)
    assert (session.person, session.method, session.purpose, session.case, session.locked) == (person, "passkey", None, None, False)
    assert (session.created_at, session.seen_at, session.expires_at) == (clock(), clock(), clock() + LIFETIME)


def test_every_sign_in_has_a_new_cookie_and_session(sessions: Sessions, person: Person) -> None:
    begun = [sessions.begin(person, "passkey") for _ in range(5)]
    assert len({cookie for cookie, _ in begun}) == len({session.id for _, session in begun}) == len({s.csrf for _, s in begun}) == 5
    assert [found(sessions, cookie).id for cookie, _ in begun] == [session.id for _, session in begun]


def test_at_rest_there_is_a_hash_alone_and_no_csrf_token(writer: Engine, sessions: Sessions, person: Person) -> None:
    cookie, session = sessions.begin(person, "passkey")
    row = row_of(writer, session)
    assert bytes(row.token_hash) == hashlib.sha256(cookie.encode()).digest()
    assert cookie not in str(row)
    assert session.csrf not in str(row)
    assert cookie not in session.csrf
    assert session.csrf not in repr(session)
    assert len(session.csrf) == 64
    assert found(Sessions(writer, b"another key" * 3, lambda: session.created_at), cookie).csrf != session.csrf


@given(cookie=st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{43}", fullmatch=True))
def test_a_cookie_that_the_hub_did_not_make_is_nobody_s(writer: Engine, cookie: str) -> None:
    assert Sessions(writer, KEY, lambda: datetime.now(UTC)).find(cookie) is None


@pytest.mark.parametrize(("after", "locked"), [(IDLE - TICK, False), (IDLE, True), (IDLE + timedelta(hours=3), True)])
def test_a_session_locks_when_nobody_used_it_for_half_an_hour(
    writer: Engine, sessions: Sessions, clock: Clock, person: Person, after: timedelta, locked: bool
) -> None:
    cookie, session = sessions.begin(person, "passkey")
    clock.now += after
    assert found(sessions, cookie).locked is locked
    assert found(sessions, cookie).locked is locked  # looking at a locked one doesn't open it
    assert row_of(writer, session).seen_at == (session.seen_at if locked else clock())


def test_a_session_that_is_used_does_not_lock_but_ends_after_twelve_hours(sessions: Sessions, clock: Clock, person: Person) -> None:
    cookie, session = sessions.begin(person, "passkey")
    while clock() < session.expires_at - TICK:
        clock.now = min(clock.now + timedelta(minutes=29), session.expires_at - TICK)
        assert not found(sessions, cookie).locked
    clock.now += TICK
    assert sessions.find(cookie) is None


def test_use_is_noted_at_most_once_a_minute(writer: Engine, sessions: Sessions, clock: Clock, person: Person) -> None:
    cookie, session = sessions.begin(person, "passkey")
    began = clock()
    for after, noted in ((SEEN_EVERY - TICK, began), (SEEN_EVERY, began + SEEN_EVERY), (2 * SEEN_EVERY - TICK, began + SEEN_EVERY)):
        clock.now = began + after
        sessions.find(cookie)
        assert row_of(writer, session).seen_at == noted


def test_finding_a_session_is_one_statement(writer: Engine, sessions: Sessions, clock: Clock, person: Person) -> None:
    cookie, _ = sessions.begin(person, "passkey")
    asked: list[bool] = []

    def note(connection: sa.Connection, *_: object) -> None:
        asked.append(connection.connection.dbapi_connection.autocommit)  # type: ignore[union-attr]

    sa.event.listen(writer, "before_cursor_execute", note)
    try:
        clock.advance(90)
        sessions.find(cookie)
        sessions.find("not a cookie")
    finally:
        sa.event.remove(writer, "before_cursor_execute", note)
    assert asked == [True]  # and no begin and commit around it


def test_a_disabled_person_has_no_session_and_gets_none(writer: Engine, sessions: Sessions, clock: Clock, person: Person) -> None:
    cookie, _ = sessions.begin(person, "passkey")
    with writer.begin() as connection:  # the person alone: the session itself is left as it is
        connection.execute(sa.text("update hub.people set disabled_at = :at where id = :p"), {"p": person.id, "at": clock() + TICK})
    assert sessions.find(cookie)
    clock.now += TICK
    assert sessions.find(cookie) is None
    assert sessions.of(person.id) == []
    with pytest.raises(NotAuthenticated):
        sessions.begin(person, "passkey")


def test_unlocking_gives_a_new_cookie_and_keeps_the_session(sessions: Sessions, clock: Clock, person: Person) -> None:
    old, begun = sessions.begin(person, "link")
    sessions.choose(begun, "research", "case 7")
    clock.advance(3600)
    locked = found(sessions, old)
    assert locked.locked
    new, unlocked = sessions.unlock(locked, "passkey")
    assert sessions.find(old) is None
    assert found(sessions, new) == unlocked
    assert (unlocked.id, unlocked.purpose, unlocked.case) == (begun.id, "research", "case 7")
    assert (unlocked.method, unlocked.locked, unlocked.seen_at) == ("passkey", False, clock())
    assert unlocked.expires_at == begun.expires_at  # twelve hours are twelve hours
    assert unlocked.csrf not in ("", locked.csrf)


@pytest.mark.parametrize("method", ["passkey", "invitation", "link", "recovery-code"])
def test_a_session_is_proven_for_five_minutes_and_again_by_unlocking(sessions: Sessions, clock: Clock, person: Person, method: str) -> None:
    cookie, begun = sessions.begin(person, method)
    began = clock()
    assert begun.proven
    for after, proven in ((PROVEN - TICK, True), (PROVEN, False), (IDLE, False)):
        clock.now = began + after
        assert found(sessions, cookie).proven is proven
        assert sessions.of(person.id)[0].proven is proven
    cookie, unlocked = sessions.unlock(found(sessions, cookie), "passkey")
    assert unlocked.proven
    clock.now += PROVEN
    assert not found(sessions, cookie).proven


def test_a_session_from_before_there_were_proofs_has_none(writer: Engine, sessions: Sessions, person: Person) -> None:
    cookie, session = sessions.begin(person, "passkey")
    with writer.begin() as connection:
        connection.execute(sa.text("update hub.sessions set proven_at = null where id = :id"), {"id": session.id})
    assert found(sessions, cookie).proven is False


@pytest.mark.parametrize("how", ["ended", "expired", "disabled"])
def test_a_session_that_is_over_is_not_unlocked(writer: Engine, sessions: Sessions, clock: Clock, person: Person, how: str) -> None:
    cookie, session = sessions.begin(person, "passkey")
    {
        "ended": lambda: sessions.end(session),
        "expired": lambda: clock.advance(LIFETIME.total_seconds()),
        "disabled": lambda: people.disable(writer, person.handle, clock()),
    }[how]()
    with pytest.raises(NotAuthenticated, match="sign in again"):
        sessions.unlock(session, "passkey")
    assert sessions.find(cookie) is None


def test_the_purpose_that_was_chosen_stays_with_the_session(sessions: Sessions, person: Person) -> None:
    cookie, session = sessions.begin(person, "passkey")
    other_cookie, _ = sessions.begin(person, "passkey")
    assert sessions.choose(session, "research", None) == found(sessions, cookie)
    assert found(sessions, cookie).purpose == "research"
    assert found(sessions, other_cookie).purpose is None
    sessions.choose(session, "response", "2026/17")
    assert (found(sessions, cookie).purpose, found(sessions, cookie).case) == ("response", "2026/17")
    sessions.end(session)
    with pytest.raises(NotAuthenticated):
        sessions.choose(session, "research", None)


def test_signing_out_ends_one_session_for_good(writer: Engine, sessions: Sessions, clock: Clock, person: Person) -> None:
    (cookie, session), (stays, _) = sessions.begin(person, "passkey"), sessions.begin(person, "passkey")
    sessions.end(session)
    ended = clock()
    clock.advance(60)
    sessions.end(session)
    assert row_of(writer, session).ended_at == ended
    assert sessions.find(cookie) is None
    assert sessions.find(stays)


def test_signing_out_everywhere_may_leave_one_session(sessions: Sessions, person: Person, other: Person) -> None:
    mine = [sessions.begin(person, "passkey") for _ in range(3)]
    theirs, _ = sessions.begin(other, "passkey")
    assert sessions.end_all(person.id, mine[1][1].id) == 2
    assert [sessions.find(cookie) is not None for cookie, _ in mine] == [False, True, False]
    assert sessions.end_all(person.id) == 1
    assert sessions.end_all(person.id) == 0
    assert sessions.find(mine[1][0]) is None
    assert sessions.find(theirs)


def test_a_person_s_live_sessions_are_listed_the_last_used_first(sessions: Sessions, clock: Clock, person: Person, other: Person) -> None:
    sessions.begin(other, "passkey")
    _, expired = sessions.begin(person, "passkey")
    clock.advance((LIFETIME - timedelta(minutes=45)).total_seconds())
    _, idle = sessions.begin(person, "recovery-code")
    _, ended = sessions.begin(person, "passkey")
    clock.advance(45 * 60)
    _, newest = sessions.begin(person, "passkey")
    sessions.end(ended)
    assert [(s.id, s.locked, s.method) for s in sessions.of(person.id)] == [
        (newest.id, False, "passkey"),
        (idle.id, True, "recovery-code"),
    ]
    assert expired.expires_at == clock()
    assert {s.csrf for s in sessions.of(person.id)} == {""}  # a token is for whoever has the cookie


def test_a_session_that_is_unlocked_twice_at_once_has_one_cookie(sessions: Sessions, person: Person) -> None:
    _, session = sessions.begin(person, "passkey")
    with ThreadPoolExecutor(4) as pool:
        cookies = [cookie for cookie, _ in pool.map(lambda _: sessions.unlock(session, "passkey"), range(4))]
    assert sum(sessions.find(cookie) is not None for cookie in cookies) == 1


def test_an_unheard_of_method_is_a_defect(sessions: Sessions, person: Person) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        sessions.begin(person, "password")


SEEN = (-IDLE - TICK, -IDLE, -IDLE + TICK, timedelta(0))
EDGE = (-TICK, timedelta(0), TICK)


def test_the_database_admits_exactly_the_sessions_that_are_found_unlocked(writer: Engine, person: Person) -> None:
    """hub.admit says the same in SQL. Its clock is the transaction's, which the session's times are set around."""
    cookie, session = Sessions(writer, KEY, lambda: datetime.now(UTC)).begin(person, "passkey")
    verdicts: dict[bool, int] = {True: 0, False: 0}
    for seen, expires, disabled, ended in product(SEEN, EDGE, (None, *EDGE), (None, -TICK)):
        with writer.begin() as connection:
            now: datetime = connection.scalar(sa.text("select now()"))

            def at(offset: timedelta | None, now: datetime = now) -> datetime | None:
                return None if offset is None else now + offset

            times = {
                "seen": at(seen),
                "expires": at(expires),
                "ended": at(ended),
                "disabled": at(disabled),
                "id": session.id,
                "p": person.id,
            }
            change = "update hub.sessions set seen_at = :seen, expires_at = :expires, ended_at = :ended where id = :id"
            connection.execute(sa.text(change), times)
            connection.execute(sa.text("update hub.people set disabled_at = :disabled where id = :p"), times)
            admitted = connection.scalar(sa.text("select active from hub.admit(:who)"), {"who": f"session:{session.id}"})
        with_same_clock: Callable[[], datetime] = lambda now=now: now  # noqa: E731
        known = Sessions(writer, KEY, with_same_clock).find(cookie)
        assert admitted is (known is not None and not known.locked), (seen, expires, disabled, ended)
        verdicts[admitted] += 1
    assert verdicts == {True: 4, False: 92}  # 2 of the times seen, 1 of the ends, 2 of the disablings, 1 of the endings


def test_the_database_admits_no_session_that_there_is_not(writer: Engine) -> None:
    with writer.connect() as connection:
        assert connection.scalar(sa.text("select active from hub.admit(:who)"), {"who": f"session:{UUID(int=5)}"}) is False
