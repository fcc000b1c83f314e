"""People: who they are, which roles they may have, and how they are shut out."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from hub.errors import Conflict, HubError, InvalidRequest
from hub.identity import organisations, people, recovery, tickets
from hub.identity.organisations import Organisation
from hub.identity.passkeys import Passkeys
from hub.identity.people import Named, Person
from hub.identity.sessions import Sessions

from .authenticator import Authenticator
from .conftest import Clock
from .forgery import NOW

pytestmark = pytest.mark.db


@pytest.fixture
def auditor(writer: Engine) -> Organisation:
    return organisations.add(writer, f"oversight-{uuid4().hex[:12]}", "Oversight Board", "auditor")


def field_of(call: Callable[[], Any], kind: type[HubError] = InvalidRequest) -> str:
    with pytest.raises(kind) as refused:
        call()
    return refused.value.problems[0].field


def test_a_person_is_found_by_handle_and_by_id(writer: Engine, organisation: Organisation, person: Person) -> None:
    assert people.get(writer, person.handle) == people.find(writer, person.handle) == people.by_id(writer, person.id) == person
    assert person.organisation == organisation
    assert person.roles == {"analyst"}
    assert person.disabled_at is None
    assert people.by_id(writer, uuid4()) is None
    assert people.find(writer, "nobody.here") is None
    assert field_of(lambda: people.get(writer, "nobody.here")) == "handle"


def test_people_are_listed_by_organisation_and_handle(writer: Engine, organisation: Organisation, person: Person, other: Person) -> None:
    elsewhere = organisations.add(writer, f"elsewhere-{uuid4().hex[:12]}", "Elsewhere")
    third = people.add(writer, elsewhere.slug, f"third.{uuid4().hex}", "Third", ["operator"])
    assert people.all_of(writer, organisation.slug) == sorted([person, other], key=lambda p: p.handle)
    assert people.all_of(writer, elsewhere.slug) == [third]
    assert people.all_of(writer, "nobody-here") == []
    everybody = people.all_of(writer, None)
    assert {person, other, third} <= set(everybody)
    assert [(p.organisation.slug, p.handle) for p in everybody] == sorted((p.organisation.slug, p.handle) for p in everybody)


def test_names_are_told_for_ids_that_are_somebody_s(writer: Engine, person: Person, other: Person) -> None:
    found = people.names(writer, [person.id, other.id, uuid4()])
    assert found == {p.id: Named(p.name, p.organisation.slug) for p in (person, other)}
    assert people.names(writer, []) == {}


@pytest.mark.parametrize("handle", ["", "a", "Upper", "a b", "a/b", "é1", "a" * 101, "ab\n", "a\0b", "ab\ud800", "<b>"])
def test_a_bad_handle_is_refused_by_name(writer: Engine, organisation: Organisation, handle: str) -> None:
    assert field_of(lambda: people.add(writer, organisation.slug, handle, "Name", ["analyst"])) == "handle"
    assert field_of(lambda: people.get(writer, handle)) == "handle"
    assert people.find(writer, handle) is None


@pytest.mark.parametrize("handle", ["a1", "._@+-", "0" * 100])
def test_a_handle_at_the_edge_is_accepted_here_and_by_the_database(writer: Engine, organisation: Organisation, handle: str) -> None:
    assert people.add(writer, organisation.slug, handle, "Name", ["analyst"]).handle == handle


def test_a_handle_belongs_to_one_person_of_the_hub(writer: Engine, person: Person, auditor: Organisation) -> None:
    assert field_of(lambda: people.add(writer, auditor.slug, person.handle, "Another", ["auditor"]), Conflict) == "handle"
    assert people.get(writer, person.handle) == person


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "two\nlines", "x" * 201, "\ud800", "\u202eenoyna"])
def test_a_bad_name_is_refused_by_name(writer: Engine, organisation: Organisation, name: str) -> None:
    assert field_of(lambda: people.add(writer, organisation.slug, "some.handle", name, ["analyst"])) == "name"


def test_a_name_may_be_in_any_script_and_hold_any_mark(writer: Engine, organisation: Organisation) -> None:
    for name in ("محلل", "<script>alert(1)</script>", "${x} `y`", "x" * 200):
        assert people.add(writer, organisation.slug, f"h.{uuid4().hex}", name, ["analyst"]).name == name


@pytest.mark.parametrize("roles", [[], ["admin"], ["analyst", "Auditor"], ["analyst,auditor"]])
def test_bad_roles_are_refused_by_name(writer: Engine, organisation: Organisation, person: Person, roles: list[str]) -> None:
    assert field_of(lambda: people.add(writer, organisation.slug, "some.handle", "Name", roles)) == "roles"
    assert field_of(lambda: people.set_roles(writer, person.handle, roles)) == "roles"
    assert people.get(writer, person.handle).roles == {"analyst"}


def test_somebody_of_a_partner_may_have_every_role(writer: Engine, organisation: Organisation) -> None:
    assert people.add(writer, organisation.slug, f"all.{uuid4().hex}", "All", people.ROLES).roles == set(people.ROLES)


@pytest.mark.parametrize("role", people.ROLES)
def test_an_auditor_s_people_are_auditor_or_operator_only(writer: Engine, auditor: Organisation, role: str) -> None:
    handle = f"watch.{uuid4().hex}"
    if role in ("auditor", "operator"):
        watcher = people.add(writer, auditor.slug, handle, "Watcher", [role])
        with pytest.raises(InvalidRequest, match="no part in what they look into"):
            people.set_roles(writer, watcher.handle, [role, "analyst"])
    else:
        with pytest.raises(InvalidRequest, match="no part in what they look into"):
            people.add(writer, auditor.slug, handle, "Watcher", ["auditor", role])
        assert people.find(writer, handle) is None


def test_a_person_of_an_unknown_organisation_is_refused_by_name(writer: Engine) -> None:
    assert field_of(lambda: people.add(writer, "nobody-here", "some.handle", "Name", ["analyst"])) == "organisation"


def test_roles_are_replaced_and_the_session_has_the_new_ones(writer: Engine, clock: Clock, person: Person, other: Person) -> None:
    sessions = Sessions(writer, b"k" * 32, clock)
    cookie, _ = sessions.begin(person, "passkey")
    changed = people.set_roles(writer, person.handle, ["auditor", "operator"])
    assert changed.roles == {"auditor", "operator"}
    found = sessions.find(cookie)
    assert found
    assert found.person == changed
    assert people.get(writer, other.handle) == other
    assert field_of(lambda: people.set_roles(writer, "nobody.here", ["analyst"])) == "handle"


def test_disabling_ends_sessions_and_voids_tickets_of_that_person_alone(
    writer: Engine, clock: Clock, person: Person, other: Person
) -> None:
    sessions = Sessions(writer, b"k" * 32, clock)
    cookies = [sessions.begin(p, "passkey")[0] for p in (person, other)]
    invited = [tickets.issue(writer, p.id, "invitation", NOW, timedelta(days=7)) for p in (person, other)]
    disabled = people.disable(writer, person.handle, NOW)
    assert disabled.disabled(NOW)
    assert not disabled.disabled(NOW - timedelta(microseconds=1))
    assert [sessions.find(cookie) is None for cookie in cookies] == [True, False]
    assert [tickets.look(writer, ticket, "invitation", NOW) is None for ticket in invited] == [True, False]
    with writer.connect() as connection:  # not only hidden by the person's state: ended, and void
        count = "select (select count(*) from hub.sessions where person = :p and ended_at is null) + (select count(*) from hub.tickets"
        assert connection.scalar(sa.text(f"{count} where person = :p and used_at is null)"), {"p": person.id}) == 0


def test_disabling_again_later_does_not_give_time_back(writer: Engine, person: Person) -> None:
    people.disable(writer, person.handle, NOW)
    assert people.disable(writer, person.handle, NOW + timedelta(days=1)).disabled_at == NOW
    assert people.disable(writer, person.handle, NOW - timedelta(days=1)).disabled_at == NOW - timedelta(days=1)
    assert field_of(lambda: people.disable(writer, "nobody.here", NOW)) == "handle"


def test_revoking_takes_every_way_in_away_but_leaves_the_person(writer: Engine, clock: Clock, person: Person, other: Person) -> None:
    passkeys = Passkeys(writer, "hub.example", "https://hub.example", clock)
    sessions = Sessions(writer, b"k" * 32, clock)
    cookies, invited = [], []
    for p in (person, other):
        device = Authenticator("https://hub.example", "hub.example")
        passkeys.register(p, device.create(passkeys.creation_options(p)), "Phone")
        recovery.new_codes(writer, p.id)
        cookies.append(sessions.begin(p, "passkey")[0])
        invited.append(tickets.issue(writer, p.id, "link", NOW, timedelta(days=7)))

    def ways(p: Person, at: int) -> list[bool]:
        ticket = tickets.look(writer, invited[at], "link", NOW)
        return [bool(passkeys.of(p.id)), bool(recovery.left(writer, p.id)), sessions.find(cookies[at]) is not None, ticket is not None]

    assert ways(person, 0) == ways(other, 1) == [True] * 4
    people.revoke(writer, person.id, NOW)
    assert (ways(person, 0), ways(other, 1)) == ([False] * 4, [True] * 4)
    assert people.get(writer, person.handle) == person
    assert sessions.begin(person, "invitation")
