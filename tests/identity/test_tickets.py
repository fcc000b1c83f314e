"""Tickets: good once, for one person, until they expire; and nothing of them at rest that lets anybody in."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from hub.errors import InvalidRequest
from hub.identity import people, tickets
from hub.identity.people import Person
from hub.identity.tickets import Kind

from .forgery import NOW

pytestmark = pytest.mark.db

WEEK = timedelta(days=7)
TICK = timedelta(microseconds=1)


@pytest.mark.parametrize("kind", ["invitation", "link"])
def test_a_ticket_is_looked_at_often_and_used_once(writer: Engine, person: Person, kind: Kind) -> None:
    token = tickets.issue(writer, person.id, kind, NOW, WEEK)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
    assert [tickets.look(writer, token, kind, NOW) for _ in range(2)] == [person, person]
    assert tickets.use(writer, token, kind, NOW) == person
    assert tickets.use(writer, token, kind, NOW) is None
    assert tickets.look(writer, token, kind, NOW) is None


def test_a_ticket_of_one_kind_is_none_of_the_other(writer: Engine, person: Person) -> None:
    link = tickets.issue(writer, person.id, "link", NOW, WEEK)
    invitation = tickets.issue(writer, person.id, "invitation", NOW, WEEK)
    assert tickets.use(writer, link, "invitation", NOW) is None
    assert tickets.look(writer, invitation, "link", NOW) is None
    assert tickets.use(writer, link, "link", NOW) == person
    assert tickets.use(writer, invitation, "invitation", NOW) == person


def test_a_ticket_expires_to_the_microsecond(writer: Engine, person: Person) -> None:
    token = tickets.issue(writer, person.id, "invitation", NOW, WEEK)
    for ask in (tickets.look, tickets.use):
        assert ask(writer, token, "invitation", NOW + WEEK) is None
    assert tickets.use(writer, token, "invitation", NOW + WEEK - TICK) == person


def test_of_many_who_use_a_ticket_at_once_one_gets_in(writer: Engine, person: Person) -> None:
    for _ in range(5):
        token = tickets.issue(writer, person.id, "link", NOW, WEEK)
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _: tickets.use(writer, token, "link", NOW), range(6)))  # noqa: B023
        assert sorted(f is None for f in found) == [False, *[True] * 5]


def test_a_new_invitation_voids_the_older_ones_of_that_person_and_no_link(writer: Engine, person: Person, other: Person) -> None:
    old, link = (tickets.issue(writer, person.id, kind, NOW, WEEK) for kind in ("invitation", "link"))
    theirs = tickets.issue(writer, other.id, "invitation", NOW, WEEK)
    new = tickets.issue(writer, person.id, "invitation", NOW, WEEK)
    second_link = tickets.issue(writer, person.id, "link", NOW, WEEK)
    assert tickets.use(writer, old, "invitation", NOW) is None
    assert tickets.use(writer, theirs, "invitation", NOW) == other
    assert tickets.use(writer, new, "invitation", NOW) == person
    assert [tickets.use(writer, t, "link", NOW) for t in (link, second_link)] == [person, person]


def test_a_disabled_person_s_ticket_is_refused_even_one_that_was_not_voided(writer: Engine, person: Person) -> None:
    token = tickets.issue(writer, person.id, "invitation", NOW, WEEK)
    with writer.begin() as connection:
        connection.execute(
            sa.text("update hub.people set disabled_at = :at where id = :p"), {"p": person.id, "at": NOW + timedelta(hours=1)}
        )
    for ask in (tickets.look, tickets.use):
        assert ask(writer, token, "invitation", NOW + timedelta(hours=1)) is None
    assert tickets.use(writer, token, "invitation", NOW + timedelta(hours=1) - TICK) == people.get(writer, person.handle)


def test_nobody_and_nobody_disabled_is_invited(writer: Engine, person: Person) -> None:
    people.disable(writer, person.handle, NOW)
    for id in (person.id, uuid4()):
        with pytest.raises(InvalidRequest):
            tickets.issue(writer, id, "invitation", NOW, WEEK)


@pytest.mark.parametrize(
    "token", ["", "x", "A" * 42, "A" * 43, "A" * 44, "../../etc/passwd", "A" * 42 + "=", "A" * 42 + "\n", "é" * 43, "\0" * 43]
)
def test_a_token_that_is_none_is_nobody_s(writer: Engine, token: str) -> None:
    assert tickets.look(writer, token, "invitation", NOW) is None
    assert tickets.use(writer, token, "link", NOW) is None


def test_at_rest_there_is_a_hash_alone(writer: Engine, person: Person) -> None:
    token = tickets.issue(writer, person.id, "invitation", NOW, WEEK)
    with writer.connect() as connection:
        rows = connection.execute(sa.text("select t::text, token_hash from hub.tickets t where person = :p"), {"p": person.id}).all()
    assert [bytes(row.token_hash) for row in rows] == [hashlib.sha256(token.encode()).digest()]
    assert token not in rows[0][0]
