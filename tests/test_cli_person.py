"""`hub person …`: what it does, what it refuses, and that the log has it before the operator is told."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from hub.audit.log import Log
from hub.errors import Unavailable
from hub.identity import people, recovery, tickets
from hub.identity.passkeys import Passkeys
from hub.identity.people import Person
from hub.identity.sessions import Sessions
from tests.commands import Run, environment, refused
from tests.identity.authenticator import Authenticator
from tests.world import World


@pytest.fixture
def hub(world: World, bare: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)
    return bare


@pytest.fixture(scope="module")
def health(world: World) -> str:
    return world.organisation("health").slug


@pytest.fixture
def handle() -> str:
    return f"ana.{uuid4().hex[:8]}@health.example"


def invited(out: str) -> str:
    """The token in the address that was printed."""
    (address,) = [line for line in out.splitlines() if "/join/" in line]
    found = re.fullmatch(r"http://127\.0\.0\.1:8000/join/([A-Za-z0-9_-]{43})", address)
    assert found, out
    return found[1]


def changes(world: World, person: Person) -> list[dict[str, Any]]:
    """What the log says of this person."""
    leaves = [leaf for leaf in world.leaves(type="person") if leaf["asked"]["person"] == str(person.id)]
    assert all((leaf["by"], leaf["decision"]) == ({"client": "cli"}, "permit") for leaf in leaves)
    told = [{k: v for k, v in leaf.items() if k != "salt"} for leaf in leaves]  # a random salt may spell a short name
    assert not any(word in str(leaf) for leaf in told for word in (person.handle, person.name))
    return [{k: v for k, v in leaf["asked"].items() if k != "person"} for leaf in leaves]


def with_passkey(world: World, handle: str) -> tuple[Person, Callable[[], Person]]:
    """Registers a passkey; gives what signs in with it."""
    person = people.get(world.database.writer, handle)
    passkeys = Passkeys(world.database.writer, "localhost", "http://localhost:8000", world.clock)
    device = Authenticator("http://localhost:8000", "localhost")
    passkeys.register(person, device.create(passkeys.creation_options(person)), "Phone")
    return person, lambda: passkeys.verify(device.get(passkeys.request_options()))


def test_a_person_is_invited_once_for_a_week(world: World, hub: Run, health: str, handle: str) -> None:
    ran = hub("person", "invite", health, handle, "--name", "[bold]Ana[/]", "--role", "analyst", "--role", "auditor")
    assert ran.code == 0, ran
    assert f"{handle} of health is invited, as analyst, auditor." in ran.out
    person = people.get(world.database.writer, handle)
    assert (person.name, person.roles) == ("[bold]Ana[/]", {"analyst", "auditor"})
    token, now = invited(ran.out), datetime.now(UTC)
    assert tickets.look(world.database.writer, token, "invitation", now + timedelta(days=7, minutes=-1)) == person
    assert tickets.look(world.database.writer, token, "invitation", now + timedelta(days=7, minutes=1)) is None
    assert changes(world, person) == [{"change": "invite", "roles": ["analyst", "auditor"]}]


def test_who_has_no_passkey_yet_is_invited_again_and_the_older_address_is_void(world: World, hub: Run, health: str, handle: str) -> None:
    old = invited(hub("person", "invite", health, handle, "--name", "Ana", "--role", "analyst").out)
    new = invited(hub("person", "invite", health, handle).out)
    now = datetime.now(UTC)
    assert tickets.use(world.database.writer, old, "invitation", now) is None
    assert tickets.use(world.database.writer, new, "invitation", now)
    assert [c["change"] for c in changes(world, people.get(world.database.writer, handle))] == ["invite", "invite"]


def test_who_has_a_passkey_is_invited_again_only_by_giving_it_up(world: World, hub: Run, health: str, handle: str) -> None:
    hub("person", "invite", health, handle, "--name", "Ana", "--role", "analyst")
    person, sign_in = with_passkey(world, handle)
    recovery.new_codes(world.database.writer, person.id)
    sessions = Sessions(world.database.writer, world.database.secrets.context, world.clock)
    cookie, _ = sessions.begin(person, "passkey")
    refused(hub("person", "invite", health, handle), "has a passkey", "--again")
    assert sign_in() == person
    assert sessions.find(cookie)
    token = invited(hub("person", "invite", health, handle, "--again").out)
    with pytest.raises(Exception, match="passkey was not accepted"):
        sign_in()
    assert recovery.left(world.database.writer, person.id) == 0
    assert sessions.find(cookie) is None
    assert tickets.use(world.database.writer, token, "invitation", datetime.now(UTC)) == person


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["health", "ana.x"], "printable"),
        (["health", "ana.x", "--name", "Ana"], "integrator, analyst"),
        (["health", "ana.x", "--name", "Ana", "--role", "boss"], "integrator, analyst"),
        (["health", "Ana", "--name", "Ana", "--role", "analyst"], "lower-case"),
        (["nowhere", "ana.x", "--name", "Ana", "--role", "analyst"], "no organisation"),
        (["watchers", "ana.x", "--name", "Ana", "--role", "analyst"], "no part in what they look into"),
    ],
)
def test_an_invitation_that_cannot_be_is_refused(world: World, hub: Run, health: str, words: list[str], word: str) -> None:
    if words[0] == "watchers":
        world.organisation("watchers", "auditor")
    before = len(world.leaves(type="person"))
    refused(hub("person", "invite", *words), word)
    assert people.find(world.database.writer, words[1]) is None
    assert len(world.leaves(type="person")) == before


def test_a_known_person_keeps_organisation_name_and_roles(world: World, hub: Run, health: str, handle: str) -> None:
    hub("person", "invite", health, handle, "--name", "Ana", "--role", "analyst")
    world.organisation("fire")
    refused(hub("person", "invite", "fire", handle, "--name", "Ana", "--role", "analyst"), "another organisation")
    refused(hub("person", "invite", health, handle, "--role", "auditor"), "hub person roles")
    refused(hub("person", "invite", health, handle, "--name", "Anna"), "leave out")
    assert people.get(world.database.writer, handle).roles == {"analyst"}


def test_a_disabled_person_is_out_at_once_and_stays_out(world: World, hub: Run, health: str, handle: str) -> None:
    token = invited(hub("person", "invite", health, handle, "--name", "Ana", "--role", "analyst").out)
    person, sign_in = with_passkey(world, handle)
    sessions = Sessions(world.database.writer, world.database.secrets.context, world.clock)
    cookie, _ = sessions.begin(person, "passkey")
    assert hub("person", "disable", handle).out == f"Disabled {handle}.\n"
    assert sessions.find(cookie) is None
    assert tickets.use(world.database.writer, token, "invitation", datetime.now(UTC)) is None
    with pytest.raises(Exception, match="passkey was not accepted"):
        sign_in()
    for more in ((), ("--again",)):
        refused(hub("person", "invite", health, handle, *more), "disabled for good")
    assert [c["change"] for c in changes(world, person)] == ["invite", "disable"]
    refused(hub("person", "disable", "nobody.here"), "no person 'nobody.here'")


def test_roles_are_replaced(world: World, hub: Run, health: str, handle: str) -> None:
    hub("person", "invite", health, handle, "--name", "Ana", "--role", "analyst")
    assert hub("person", "roles", handle, "--role", "operator", "--role", "auditor").out == f"{handle} is auditor, operator now.\n"
    person = people.get(world.database.writer, handle)
    assert person.roles == {"auditor", "operator"}
    assert changes(world, person)[-1] == {"change": "roles", "roles": ["auditor", "operator"]}
    refused(hub("person", "roles", handle), "one or more of")
    refused(hub("person", "roles", handle, "--role", "boss"), "one or more of")
    assert people.get(world.database.writer, handle).roles == {"auditor", "operator"}


def test_people_are_listed_with_what_they_may_do(world: World, hub: Run, health: str, handle: str) -> None:
    hub("person", "invite", health, handle, "--name", "[red]Ana[/]", "--role", "analyst", "--role", "operator")
    line = f"{handle} {health} analyst operator {{}} [red]Ana[/]"

    def lines(*words: str) -> list[str]:
        return [" ".join(found.split()) for found in hub("person", "list", *words).out.splitlines()]

    assert lines(health)[0] == "handle organisation roles passkeys name"
    assert line.format(0) in lines(health)
    with_passkey(world, handle)
    assert line.format(1) in lines()
    hub("person", "disable", handle)
    assert line.format("disabled") in lines()
    empty = world.organisation(f"empty-{uuid4().hex[:6]}").slug
    assert hub("person", "list", empty).out == "There are no people yet: hub person invite.\n"
    refused(hub("person", "list", "nowhere"), "no organisation")


def test_nothing_is_told_and_nothing_is_given_when_the_log_can_not_be_written(
    world: World, hub: Run, health: str, handle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub("person", "invite", health, handle, "--name", "Ana", "--role", "analyst")
    person = people.get(world.database.writer, handle)

    def fail(*_: object) -> None:
        raise Unavailable("The log can't be written.")

    with monkeypatch.context() as broken:
        broken.setattr(Log, "record", fail)
        refused(hub("person", "invite", health, handle), "log can't be written")
        refused(hub("person", "invite", health, f"new.{handle}", "--name", "New", "--role", "analyst"), "log can't be written")
        refused(hub("person", "roles", handle, "--role", "operator"), "log can't be written")
    assert people.get(world.database.writer, handle) == person
    with world.superuser() as connection:
        open_ones = (
            "select count(*) from hub.tickets t join hub.people p on p.id = t.person where p.handle like '%' || :h and used_at is null"
        )
        assert connection.scalar(sa.text(open_ones), {"h": handle}) == 1  # the first invitation's
    with monkeypatch.context() as broken:
        broken.setattr(Log, "record", fail)
        refused(hub("person", "disable", handle), "log can't be written")
    disabled = people.get(world.database.writer, handle)
    assert disabled.disabled(datetime.now(UTC))  # the way in is shut all the same
