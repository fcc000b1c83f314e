"""Whoever has stolen a session's cookie can't change how its person signs in: that takes a passkey within the last five minutes."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from hub.identity import tickets
from hub.identity.people import Person
from hub.identity.sessions import PROVEN
from tests.web.browser import authenticator
from tests.web.fixtures import Open
from tests.web.served import Served
from tests.web.visiting import Visitor, links, passkey_of, words

Visitors = Callable[[], Visitor]
Persons = Callable[..., Person]
Later = Callable[[timedelta], None]
TICK = timedelta(seconds=1)
CONFIRM = "/account?confirm=1"


def _ids(served: Served, who: Person) -> list[str]:
    return [passkey.credential_id.hex() for passkey in served.services.passkeys.of(who.id)]


@pytest.mark.parametrize("method", ["passkey", "invitation", "link", "recovery-code"])
def test_with_a_stolen_cookie_no_passkey_is_added(served: Served, visitor: Visitors, person: Persons, later: Later, method: str) -> None:
    who, victim, thief = person(), visitor(), visitor()
    passkey_of(served, who)
    before = _ids(served, who)
    thief.cookie = victim.begin(who, method).cookie
    made_in_time = thief.device().create(thief.ask("/account/passkeys/options").text)
    later(PROVEN)
    assert thief.ask("/account/passkeys/options").headers["location"] == CONFIRM
    answer = thief.post("/account/passkeys", {"credential": json.dumps(made_in_time), "label": "Mine"})
    assert answer.headers["location"] == CONFIRM
    assert _ids(served, who) == before
    page = thief.get("/account").text
    assert 'action="/account/passkeys"' not in page
    assert thief.session
    assert not thief.session.proven


def test_with_a_stolen_cookie_no_passkey_is_removed_and_no_codes_are_made(
    served: Served, visitor: Visitors, person: Persons, later: Later
) -> None:
    who, thief = person(), visitor()
    for label in ("Laptop", "Phone"):
        passkey_of(served, who, label)
    codes = served.services.directory.new_codes(who.id)
    thief.begin(who)
    later(PROVEN)
    assert thief.post("/account/passkeys/remove", {"id": _ids(served, who)[0]}).headers["location"] == CONFIRM
    assert thief.post("/account/codes").headers["location"] == CONFIRM
    assert len(_ids(served, who)) == 2
    assert visitor().post("/recover", {"handle": who.handle, "code": codes[0]}).status_code == 303
    page = words(visitor().begin(who).get(CONFIRM))
    assert "Nothing was changed" not in page  # whoever is proven has nothing to confirm


def test_within_five_minutes_of_signing_in_nothing_is_to_be_confirmed(
    served: Served, visitor: Visitors, person: Persons, later: Later
) -> None:
    """The control, a second before the others."""
    who, here = person(), visitor()
    for label in ("Laptop", "Phone"):
        passkey_of(served, who, label)
    here.begin(who)
    later(PROVEN - TICK)
    assert here.post("/account/passkeys/remove", {"id": _ids(served, who)[0]}).headers["location"] == "/account?done=removed"
    assert here.make_passkey("/account/passkeys")[0].headers["location"] == "/account?done=added"
    assert "Your recovery codes" in words(here.post("/account/codes"))


def test_using_the_session_or_making_a_passkey_proves_nothing(visitor: Visitors, served: Served, person: Persons, later: Later) -> None:
    who, here = person(), visitor()
    passkey_of(served, who)
    here.begin(who)
    for _ in range(2):
        later(PROVEN / 2)
        here.get("/account")
    assert here.post("/account/codes").headers["location"] == CONFIRM


def test_a_passkey_confirms_and_the_stolen_cookie_is_void(served: Served, visitor: Visitors, person: Persons, later: Later) -> None:
    who, here, thief = person("analyst"), visitor(), visitor()
    device = passkey_of(served, who)
    thief.cookie = here.begin(who, purpose="research").cookie
    later(PROVEN)
    assert "more than five minutes since you proved" in words(here.get(CONFIRM))
    (way,) = {link for link in links(here.get("/account")) if link.startswith("/unlock")}
    assert "Confirm that it is you" in words(here.get(way))
    answer = here.sign_in(device, "/unlock", "/account?done=confirmed")
    assert answer.headers["location"] == "/account?done=confirmed"
    assert "Confirmed: for five minutes" in words(here.get("/account?done=confirmed"))
    assert here.make_passkey("/account/passkeys")[0].headers["location"] == "/account?done=added"
    assert here.session
    assert here.session.purpose == "research"
    assert thief.get("/account").headers["location"].startswith("/sign-in")
    (leaf,) = [leaf for leaf in served.world.leaves(type="sign-in") if leaf["by"].get("person") == str(who.id)]
    assert leaf["asked"] == {"method": "passkey", "change": "confirm"}
    auditor = visitor().begin(person("auditor", organisation="watchers", kind="auditor"))
    log = words(auditor.get(f"/audit?person={who.id}"))
    assert "confirmed who they are with a passkey" in log
    assert "added a passkey" in log
    later(PROVEN)
    assert "Confirmed" not in words(here.get("/account?done=confirmed"))


def test_nobody_elses_passkey_confirms(served: Served, visitor: Visitors, person: Persons, later: Later) -> None:
    who, thief = person(), visitor()
    passkey_of(served, who)
    own = passkey_of(served, person())
    thief.begin(who)
    later(PROVEN)
    answer = thief.sign_in(own, "/unlock")
    assert answer.status_code == 401
    assert "Confirm that it is you" in words(answer)
    assert thief.post("/account/codes").headers["location"] == CONFIRM


def test_renaming_and_signing_out_everywhere_need_no_passkey(served: Served, visitor: Visitors, person: Persons, later: Later) -> None:
    """Whoever sees something strange can end all sessions at once."""
    who, here = person(), visitor()
    passkey_of(served, who)
    here.begin(who)
    later(PROVEN)
    assert here.post("/account/passkeys/rename", {"id": _ids(served, who)[0], "label": "X"}).headers["location"] == "/account?done=renamed"
    assert here.post("/account/sign-out-everywhere").headers["location"] == "/sign-in?signed-out=1"


@pytest.mark.parametrize(("method", "says"), [("link", "with another one-time link"), ("recovery-code", "Use another of your codes")])
def test_without_a_passkey_the_page_says_how_to_go_on(visitor: Visitors, person: Persons, later: Later, method: str, says: str) -> None:
    here = visitor().begin(person(), method)
    later(PROVEN)
    page = here.get(CONFIRM)
    assert says in words(page)
    assert "Confirm with your passkey" not in words(page)


def test_in_a_browser_a_page_left_open_leads_to_confirming_and_back(served: Served, person: Persons, opened: Open, later: Later) -> None:
    watched, who = opened(), person()
    token = tickets.issue(served.world.database.writer, who.id, "invitation", served.world.clock(), timedelta(hours=1))
    page = watched.context.new_page()
    authenticator(page)
    page.goto(f"{served.base}/join/{token}")
    page.get_by_role("button", name="Make a passkey").click()
    page.get_by_label("I have kept them").check()
    page.get_by_role("button", name="Go on").click()
    page.goto(f"{served.base}/account")
    page.get_by_text("Add a passkey").first.click()
    later(PROVEN)
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("status").filter(has_text="Nothing was changed")).to_be_visible()
    page.get_by_role("link", name="Confirm with your passkey").first.click()
    page.get_by_role("button", name="Confirm with your passkey").click()
    expect(page.get_by_role("status").filter(has_text="Confirmed: for five minutes")).to_be_visible()
    page.get_by_role("button", name="Make ten new codes").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
