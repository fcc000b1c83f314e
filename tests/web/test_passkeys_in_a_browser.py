"""Passkeys in Chromium with a software authenticator: who the device does not verify is refused, unlocking, recovery, errors in words."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Page, Route, expect

from hub.identity import tickets
from hub.identity.people import Person
from tests.web.browser import Authenticator, authenticator
from tests.web.fixtures import Open
from tests.web.served import Served
from tests.web.watching import Watched

Persons = Callable[..., Person]
Later = Callable[[timedelta], None]
IDLE = timedelta(minutes=31)


@pytest.fixture
def watched(opened: Open) -> Iterator[Watched]:
    """What answers 4xx says so in the console: that is how browsers are."""
    watched = opened()
    with watched.allowing("status of 40", "status of 42"):
        yield watched


@pytest.fixture
def joined(served: Served, person: Persons, watched: Watched) -> tuple[Page, Authenticator, Person]:
    """Somebody who has just made their passkey."""
    who = person("auditor", "agreement-lead")
    token = tickets.issue(served.world.database.writer, who.id, "invitation", served.world.clock(), timedelta(hours=1))
    page = watched.context.new_page()
    device = authenticator(page)
    page.goto(f"{served.base}/join/{token}")
    page.get_by_label("A name for it").fill("Work laptop")
    page.get_by_role("button", name="Make a passkey").click()
    page.get_by_label("I have kept them").check()
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What you can do here")
    return page, device, who


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_a_passkey_signs_in_only_while_the_device_knows_its_owner(served: Served, joined: tuple[Page, Authenticator, Person]) -> None:
    page, device, who = joined
    sign_out(page)
    device.verifies(False)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("No passkey was used", timeout=20_000)
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_focused()
    assert page.context.cookies() == []
    device.verifies(True)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page).to_have_url(f"{served.base}/home")
    expect(page.get_by_role("main")).to_contain_text(who.name)


def test_whoever_is_faster_than_the_script_waits_and_sends_no_form_without_a_passkey(
    served: Served, joined: tuple[Page, Authenticator, Person]
) -> None:
    page, _, _ = joined
    sign_out(page)
    held: list[Route] = []
    page.route("**/passkeys.js*", lambda route: held.append(route))
    page.goto(f"{served.base}/sign-in", wait_until="commit")
    button = page.get_by_role("button", name="Sign in with a passkey")
    expect(button).to_be_disabled()
    with page.expect_request("**/home") as went_on:
        held[0].fallback()
        button.click()
    assert went_on.value.redirected_from


def test_the_cookie_is_another_one_after_each_way_in(joined: tuple[Page, Authenticator, Person], later: Later) -> None:
    page, _, _ = joined
    seen = {page.context.cookies()[0]["value"]}
    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What you can do here")
    seen.add(page.context.cookies()[0]["value"])
    later(IDLE)
    page.reload()
    page.get_by_role("button", name="Unlock with your passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What you can do here")
    seen.add(page.context.cookies()[0]["value"])
    assert len(seen) == 3
    assert page.evaluate("document.cookie") == ""


def test_an_idle_session_is_locked_and_unlocked_where_it_was(
    served: Served, joined: tuple[Page, Authenticator, Person], later: Later
) -> None:
    page, device, who = joined
    page.goto(f"{served.base}/owner?type=query")
    later(IDLE)
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Locked")
    expect(page.get_by_role("main")).to_contain_text(who.name)
    device.verifies(False)
    page.get_by_role("button", name="Unlock with your passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("No passkey was used")
    device.verifies(True)
    page.get_by_role("button", name="Unlock with your passkey").click()
    expect(page).to_have_url(f"{served.base}/owner?type=query")


def test_a_session_that_ended_while_a_page_was_open_leads_to_sign_in(served: Served, joined: tuple[Page, Authenticator, Person]) -> None:
    page, _, who = joined
    page.goto(f"{served.base}/account")
    page.get_by_text("Add a passkey").first.click()
    served.services.sessions.end_all(who.id)
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_device_that_has_a_passkey_already_is_told_so(served: Served, joined: tuple[Page, Authenticator, Person]) -> None:
    page, device, _ = joined
    page.goto(f"{served.base}/account")
    page.get_by_text("Add a passkey").first.click()
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("This device has a passkey for you already")
    assert device.credentials() == 1


def test_a_lost_passkey_is_replaced_with_a_recovery_code(served: Served, person: Persons, watched: Watched) -> None:
    who = person()
    code = served.services.directory.new_codes(who.id)[3]
    page = watched.context.new_page()
    device = authenticator(page)
    page.goto(f"{served.base}/sign-in")
    page.get_by_role("link", name="Use one of your recovery codes").click()
    page.get_by_label("Your handle").fill(who.handle)
    page.get_by_label("One of your codes").fill("0000-0000-0000-0000")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_contain_text("don't fit together")
    expect(page.get_by_label("Your handle")).to_have_value(who.handle)
    page.get_by_label("One of your codes").fill(code.lower())
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
    expect(page.get_by_role("navigation")).to_have_count(0)
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("status").filter(has_text="The new passkey is ready")).to_be_visible()
    assert device.credentials() == 1
    page.get_by_role("link", name="Concord").click()
    expect(page).to_have_url(re.compile("/home$"))


def test_another_address_of_the_same_hub_sends_people_to_its_own(served: Served, watched: Watched) -> None:
    other = served.base.replace("localhost", "127.0.0.1")
    with watched.allowing("elsewhere: "):
        page = watched.context.new_page()
        page.route("**/*", lambda route: route.continue_())
        page.goto(f"{other}/sign-in")
    expect(page.get_by_text("You opened the hub under another address than its own.")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_hidden()
    expect(page.get_by_role("link", name=served.base)).to_have_attribute("href", served.base)


def test_recovery_codes_can_be_saved_and_copied(served: Served, joined: tuple[Page, Authenticator, Person]) -> None:
    page, _, who = joined
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{served.base}/account")
    page.get_by_role("button", name="Make ten new codes").click()
    codes = page.get_by_role("list", name="Recovery codes").get_by_role("listitem").all_inner_texts()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as a file").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status").filter(has_text="Copied.")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert saved.value.path().read_text() == copied
    assert all(code in copied for code in codes)
    assert who.handle in copied
