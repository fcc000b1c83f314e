"""The same way as in test_journey, without a mouse: Tab, arrows, Enter, Space, Escape. The focus is visible, and never lost."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.web.browser import authenticator
from tests.web.fixtures import Open
from tests.web.keys import FOCUS, NO_MOUSE, Keys
from tests.web.scene import WHOLE, Scene

pytestmark = pytest.mark.unmeasured

CASE = "2026-0417"
SHARED = "By hand"


def _keys(opened: Open) -> Keys:
    context = opened().context
    context.add_init_script(NO_MOUSE)
    return Keys(context.new_page())


def test_from_an_invitation_to_the_owners_look_without_a_mouse(scene: Scene, opened: Open, tmp_path: Path) -> None:
    keys = _keys(opened)
    device = authenticator(keys.page)
    joined(keys, scene)
    assert device.credentials() == 1
    signed_out(keys)
    signed_in(keys, scene)
    purpose_chosen(keys)
    map_used(keys, scene)
    address = shared(keys)
    exported(keys, tmp_path)
    signed_out(keys)
    by_another_organisation(_keys(opened), scene, address)
    by_the_auditor(_keys(opened), scene, tmp_path)
    by_the_owner(_keys(opened), scene)


def joined(keys: Keys, scene: Scene) -> None:
    page = keys.page
    page.goto(scene.invitation("analyst@health"))
    keys.fill(page.get_by_label("A name for it"), "By hand")
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
    with page.expect_download():
        keys.enter(page.get_by_role("button", name="Save as a file"))
    keys.check()
    keys.to(page.get_by_label("I have kept them"))
    keys.press("Space")
    keys.enter(page.get_by_role("button", name="Go on"))
    expect(page).to_have_url(re.compile("/purpose"))


def signed_out(keys: Keys) -> None:
    keys.page.reload()
    keys.enter(keys.page.get_by_role("button", name="Sign out"))
    expect(keys.page).to_have_url(re.compile("signed-out"))


def signed_in(keys: Keys, scene: Scene) -> None:
    keys.page.goto(f"{scene.served.base}/map")
    keys.enter(keys.page.get_by_role("button", name="Sign in with a passkey"))
    expect(keys.page).to_have_url(re.compile("/purpose"))


def purpose_chosen(keys: Keys) -> None:
    page = keys.page
    page.wait_for_load_state()
    keys.press("Tab", "Enter")  # over the head of the page
    expect(page.locator("#main")).to_be_focused()
    keys.fill(page.get_by_label("Case reference"), CASE)
    keys.enter(page.get_by_role("button", name=re.compile("Choose this purpose.*prevention")))
    ready(page, "90 incidents")


def ready(page: Page, status: str) -> None:
    expect(page.locator("#map-status")).to_contain_text(status)
    expect(page.locator("#map-busy")).to_be_hidden()


def map_used(keys: Keys, scene: Scene) -> None:
    page = keys.page
    panned_and_zoomed(keys)
    page.goto(f"{scene.served.base}/map?bbox={WHOLE}")
    ready(page, "90 incidents")
    keys.to(page.get_by_role("checkbox", name="theft"))
    keys.press("Space")
    ready(page, "30 incidents")
    keys.check()
    keys.to(page.get_by_label("From"))
    keys.type("03032021")  # the 3rd of March, in whatever order this browser wants days and months
    expect(page.get_by_label("From")).to_have_value("2021-03-03")
    keys.enter(page.get_by_role("button", name="Apply"))
    count = scene.counted("health", "prevention", category="theft", datetime="2021-03-03T00:00:00Z/..")
    assert 0 < count < 30
    ready(page, f"{count} incidents")
    record_read(keys)


def panned_and_zoomed(keys: Keys) -> None:
    page = keys.page
    keys.to(page.locator("#map_concord"))
    before = page.url
    keys.press("ArrowDown")
    expect(page).not_to_have_url(before)
    keys.check()
    before = page.url
    keys.press("+")
    expect(page).not_to_have_url(before)
    keys.check()


def record_read(keys: Keys) -> None:
    """Down the list by arrows, in by Enter, out by Escape, back where one was."""
    page = keys.page
    rows = page.get_by_role("list", name="Incidents, newest first").get_by_role("button")
    keys.to(rows.first)
    keys.press("ArrowDown", "ArrowDown", "ArrowUp")
    keys.check()
    record = page.evaluate("document.activeElement.dataset.record")
    assert record == rows.nth(1).get_attribute("data-record")
    keys.press("Enter")
    detail = page.locator("#map-detail")
    expect(detail.get_by_role("heading", level=2)).to_be_focused()
    expect(detail).to_contain_text("Not shown to you")
    keys.press("Escape")
    expect(page.locator(f"[data-record='{record}']")).to_be_focused()
    keys.check()
    keys.press("Enter")
    expect(detail.get_by_role("heading", level=2)).to_be_focused()
    keys.enter(detail.get_by_role("button", name="Back to the list"), back=True)
    expect(page.locator(f"[data-record='{record}']")).to_be_focused()


def shared(keys: Keys) -> str:
    page = keys.page
    keys.enter(page.locator("#share-box > summary"), back=True)
    keys.fill(page.get_by_label("Name"), SHARED)
    keys.press("Enter")
    expect(page).to_have_url(re.compile("/maps"))
    address = page.get_by_label("Address of the shared map").input_value()
    keys.enter(page.get_by_role("link", name=SHARED))
    expect(page.get_by_role("heading", level=1)).to_have_text(SHARED)
    return address


def exported(keys: Keys, folder: Path) -> None:
    page = keys.page
    keys.enter(page.locator("#export-box > summary"))
    with page.expect_download() as download:
        keys.enter(page.get_by_role("button", name="Export what is shown"))
    download.value.save_as(folder / "map.html")
    assert (folder / "map.html").stat().st_size > 0
    keys.check()


def entered(keys: Keys, scene: Scene, handle: str) -> None:
    keys.page.goto(scene.link(handle))
    keys.enter(keys.page.get_by_role("button", name="Continue as"))
    expect(keys.page).not_to_have_url(re.compile("/enter/"))


def by_another_organisation(keys: Keys, scene: Scene, address: str) -> None:
    page = keys.page
    entered(keys, scene, "analyst@housing")
    page.goto(address)
    keys.enter(page.get_by_role("button", name=re.compile("Choose this purpose.*tenancy")))
    expect(page.get_by_role("heading", level=1)).to_have_text(SHARED)
    expect(page.locator("#legend")).to_contain_text("MOU-HOUSING")
    expect(page.locator("#legend")).not_to_contain_text("MOU-HEALTH")
    keys.enter(page.locator("#export-box > summary"))
    expect(page.get_by_text("No agreement lets your organisation export")).to_be_visible()


def by_the_auditor(keys: Keys, scene: Scene, folder: Path) -> None:
    page = keys.page
    entered(keys, scene, "auditor@watch")
    keys.enter(page.get_by_role("link", name="Audit", exact=True))
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit")
    for organisation, mou in (("health", "MOU-HEALTH"), ("housing", "MOU-HOUSING")):
        page.goto(f"{scene.served.base}/audit")
        keys.pick(page.get_by_label("Organisation that looked", exact=True), organisation)
        keys.fill(page.get_by_label("Agreement", exact=True), mou)
        keys.press("Enter")
        expect(page).to_have_url(re.compile(mou))
        expect(page.get_by_role("row").nth(1)).to_contain_text(mou)
    with page.expect_download() as download:
        keys.enter(page.get_by_role("link", name="Take away as CSV"))
    download.value.save_as(folder / "audit.csv")
    keys.enter(page.locator("main tbody a[href^='/audit/access/']").first)
    expect(page.get_by_role("heading", level=1)).to_have_text("One access")
    keys.enter(page.locator("main details > summary").first)
    expect(page.locator("main details pre").first).to_be_visible()
    keys.check()


def by_the_owner(keys: Keys, scene: Scene) -> None:
    page = keys.page
    entered(keys, scene, "lead@police")
    keys.enter(page.get_by_role("link", name="Who saw our data").first)
    expect(page.get_by_role("row").filter(has_text="Analyst, Housing").first).to_be_visible()
    signed_out(keys)
    page.go_back()
    expect(page).to_have_url(re.compile("/sign-in"))


@pytest.mark.parametrize(
    ("html", "wrong"),
    [
        ("<button>a</button>", ""),
        ("<button style='outline:none'>a</button>", "not drawn"),
        ("<button style='position:absolute;left:-999px'>a</button>", "out of sight"),
        ("<button>a</button><p style='position:fixed;inset:0;margin:0;background:white'>over it all</p>", "covered"),
        ("<p>nothing to go to</p>", "lost"),
    ],
)
def test_a_focus_that_is_lost_or_can_not_be_seen_is_noticed(opened: Open, html: str, wrong: str) -> None:
    page = opened().context.new_page()
    page.set_content(f"<style>:focus-visible{{outline:3px solid}}</style>{html}")
    page.keyboard.press("Tab")
    found = page.evaluate(FOCUS)
    assert found.startswith(wrong)
    assert bool(found) == bool(wrong)


def test_a_mouse_is_noticed(opened: Open) -> None:
    watched = opened()
    watched.context.add_init_script(NO_MOUSE)
    page = watched.context.new_page()
    page.goto("data:text/html,<button>a</button>")
    page.get_by_role("button").click()
    assert any("a mouse" in line for line in watched.wrong)
    watched.wrong.clear()
