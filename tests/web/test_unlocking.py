"""A session that nobody used for half an hour: locked, unlocked by its own person's passkey alone, under a new cookie."""

import json
from collections.abc import Callable
from datetime import timedelta

from hub.identity.people import Person
from tests.web.served import Served
from tests.web.visiting import Visitor, passkey_of, words

Visitors = Callable[[], Visitor]
Persons = Callable[..., Person]
Later = Callable[[timedelta], None]
IDLE = timedelta(minutes=30)


def test_a_page_asked_for_after_half_an_hour_leads_to_unlocking_and_back(
    served: Served, visitor: Visitors, person: Persons, later: Later
) -> None:
    who, here = person("analyst"), visitor()
    device = passkey_of(served, who)
    here.begin(who, purpose="research")
    before = here.cookie
    later(IDLE - timedelta(minutes=1))
    assert here.get("/agreements").status_code == 200  # which is a use: the half hour begins again
    later(IDLE)
    asked = here.get("/agreements?x=1")
    assert (asked.status_code, asked.headers["location"]) == (303, "/unlock?next=%2Fagreements%3Fx%3D1")
    assert f"Signed in: {who.name}" in words(here.get("/unlock"))
    answer = here.sign_in(device, "/unlock", "/agreements?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/agreements?x=1")
    assert here.cookie != before
    assert served.services.sessions.find(str(before)) is None
    assert here.session
    assert (here.session.purpose, here.session.locked) == ("research", False)
    (leaf,) = [leaf for leaf in served.world.leaves(type="sign-in") if leaf["by"].get("person") == str(who.id)]
    assert leaf["asked"] == {"method": "passkey", "change": "unlock"}


def test_a_locked_session_opens_no_page_and_no_data(served: Served, visitor: Visitors, person: Persons, later: Later) -> None:
    here = visitor().begin(person("analyst"), purpose="research")
    items = "/collections/incidents/items"
    assert here.get(items, headers={"Accept": "application/json"}).status_code == 403  # no agreement, but somebody
    later(IDLE)
    assert here.get(items, headers={"Accept": "application/json"}).status_code == 401
    for path in ("/home", "/map", "/account", "/purpose", "/agreements", "/maps"):
        assert here.get(path).headers["location"].startswith("/unlock?next="), path
    assert here.post("/account/codes").headers["location"].startswith("/unlock")
    assert here.post("/purpose", {"purpose": "research"}).headers["location"].startswith("/unlock")


def test_looking_at_a_locked_page_does_not_keep_it_open(visitor: Visitors, person: Persons, later: Later) -> None:
    here = visitor().begin(person())
    later(IDLE)
    assert here.get("/unlock").status_code == 200
    assert here.get("/home").headers["location"].startswith("/unlock")


def test_only_the_passkey_of_its_person_unlocks_a_session(served: Served, visitor: Visitors, person: Persons, later: Later) -> None:
    who, other, here = person(), person(), visitor()
    own, others = passkey_of(served, who), passkey_of(served, other)
    here.begin(who)
    later(IDLE)
    answer = here.sign_in(others, "/unlock")
    assert answer.status_code == 401
    assert "The passkey was not accepted" in words(answer)
    assert "set-cookie" not in answer.headers
    assert here.sign_in(own, "/unlock", flags=0x01).status_code == 401  # whose owner the device did not check
    assert here.sign_in(own, "/unlock").status_code == 303


def test_the_answer_to_signing_in_does_not_unlock(served: Served, visitor: Visitors, person: Persons, later: Later) -> None:
    """A challenge is for one purpose: what was asked of anybody is no answer for this session."""
    who, here = person(), visitor()
    device = passkey_of(served, who)
    here.begin(who)
    later(IDLE)
    options = here.ask("/sign-in/options").text
    assert here.post("/unlock", {"credential": json.dumps(device.get(options))}).status_code == 401


def test_tries_to_unlock_are_limited(served: Served, visitor: Visitors, person: Persons, later: Later) -> None:
    who, here = person(), visitor()
    device = passkey_of(served, who)
    here.begin(who)
    later(IDLE)
    assert [here.sign_in(device, "/unlock", flags=0x01).status_code for _ in range(6)] == [401] * 5 + [429]


def test_without_a_passkey_the_page_says_how_to_come_in_again(visitor: Visitors, person: Persons, later: Later) -> None:
    here = visitor().begin(person(), "link")
    later(IDLE)
    page = here.get("/unlock")
    assert "another one-time link" in words(page)
    assert "data-passkey" not in page.text
    assert here.post("/sign-out").headers["location"] == "/sign-in?signed-out=1"
    assert here.get("/home").headers["location"].startswith("/sign-in")


def test_after_twelve_hours_there_is_nothing_to_unlock(served: Served, visitor: Visitors, person: Persons, later: Later) -> None:
    here = visitor().begin(person())
    later(timedelta(hours=12))
    assert here.get("/unlock?next=/agreements").headers["location"] == "/sign-in?next=%2Fagreements"
    assert here.get("/home").headers["location"].startswith("/sign-in")


def test_what_is_not_locked_is_not_unlocked(visitor: Visitors, person: Persons) -> None:
    here = visitor().begin(person())
    assert here.get("/unlock?next=/agreements").headers["location"] == "/agreements"
    assert here.get("/unlock?next=https://elsewhere.example/").headers["location"] == "/home"
