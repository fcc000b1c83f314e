"""The way of the people of a partnership through the pages, with a mouse, in a real browser: from an invitation to the owner's look at it
all. What each is shown is compared with what a program of the same organisation gets.
"""

import csv
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from tests.web.browser import authenticator
from tests.web.fixtures import Open
from tests.web.scene import WHOLE, Scene
from tests.web.watching import map_drawn

CASE = "2026-0417"
SHARED = "Around the market"


def test_from_an_invitation_to_the_owners_look_at_it_all(scene: Scene, opened: Open, tmp_path: Path) -> None:
    page = opened().context.new_page()
    device = authenticator(page)
    join(page, scene)
    assert device.credentials() == 1
    sign_out(page)
    sign_in_with_passkey(page, scene)
    choose_purpose(page, "prevention", CASE)
    look_at_the_map(page, scene)
    record = open_a_record(page)
    address = share(page, scene)
    exported = export(page, tmp_path)
    opens_without_a_network(exported, opened)
    somebody_else_sees_less(scene, opened, address)
    the_auditor_finds_both(scene, opened, record, tmp_path)
    the_owner_finds_both(scene, opened)
    sign_out(page)
    nothing_shows_after_going_back(page)


def join(page: Page, scene: Scene) -> None:
    page.goto(scene.invitation("analyst@health"))
    expect(page.get_by_role("heading", level=1)).to_have_text("You are invited")
    expect(page.get_by_role("main")).to_contain_text("Analyst, Health of Health, as analyst")
    page.get_by_label("A name for it").fill("Work laptop")
    page.get_by_role("button", name="Make a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
    codes = page.get_by_role("list", name="Recovery codes").get_by_role("listitem")
    expect(codes).to_have_count(10)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as a file").click()
    assert codes.first.inner_text() in Path(saved.value.path()).read_text()
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")  # not before they are kept
    page.get_by_label("I have kept them").check()
    page.get_by_role("button", name="Go on").click()
    expect(page).to_have_url(re.compile("/purpose"))


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status").filter(has_text="You are signed out.")).to_be_visible()
    assert page.context.cookies() == []


def sign_in_with_passkey(page: Page, scene: Scene) -> None:
    """By way of the page that was wanted: it comes back to it."""
    page.goto(f"{scene.served.base}/map")
    expect(page).to_have_url(re.compile("/sign-in"))
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What do you look for, and why?")
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == ("__Host-session", True, True, "Lax")


def choose_purpose(page: Page, purpose: str, case: str | None = None) -> None:
    offered = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=purpose))
    if case:
        offered.get_by_label("Case reference").fill(case)
    offered.get_by_role("button", name="Choose this purpose").click()
    expect(page.get_by_role("status", name="Your purpose")).to_contain_text(f"Purpose: {purpose}")
    map_drawn(page)


def shown(page: Page) -> int:
    """How many incidents the page says it shows."""
    map_drawn(page)
    said = page.locator("#map-status").inner_text()
    found = re.match(r"([0-9,]+) incident", said)
    return int(found[1].replace(",", "")) if found else 0


def look_at_the_map(page: Page, scene: Scene) -> None:
    assert shown(page) == 90  # the grant that wants a case is open too
    expect(page.get_by_role("status", name="Your purpose")).to_contain_text(f"Case: {CASE}")
    expect(page.locator("#legend")).to_contain_text("To 500 m, under MOU-HEALTH, Injury prevention downtown")
    expect(page.locator("#legend")).to_contain_text("To the exact place when an incident is opened; here to 100 m")
    before = page.url
    pan(page, 0, -0.45)
    expect(page).not_to_have_url(before)
    expect(page.locator("#map-status")).not_to_contain_text("90 incidents")
    assert 0 < shown(page) < 90
    filter_by(page, scene)


def pan(page: Page, x: float, y: float) -> None:
    """Drags the map by parts of its width and height."""
    box = page.locator("#map_concord").bounding_box()
    assert box
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + x * box["width"], middle[1] + y * box["height"], steps=8)
    page.wait_for_timeout(250)  # a hand that rests: else the map glides on
    page.mouse.up()


def filter_by(page: Page, scene: Scene) -> None:
    page.goto(f"{scene.served.base}/map?bbox={WHOLE}")
    assert shown(page) == 90
    page.get_by_role("checkbox", name="theft").check()
    expect(page.locator("#map-status")).to_contain_text("30 incidents")
    assert shown(page) == scene.counted("health", "prevention", category="theft")
    page.get_by_label("From").fill("2021-03-10")
    page.get_by_label("Until").fill("2021-03-19")
    page.get_by_role("button", name="Apply").click()
    within = scene.counted("health", "prevention", category="theft", datetime="2021-03-10T00:00:00Z/2021-03-19T23:59:59Z")
    expect(page.locator("#map-status")).to_contain_text(f"{within} incidents")
    assert 0 < within < 30
    page.go_back()  # each filter is a step
    page.go_back()
    expect(page.locator("#map-status")).to_contain_text("30 incidents")
    page.go_forward()
    page.go_forward()
    expect(page.locator("#map-status")).to_contain_text(f"{within} incidents")
    link = page.url
    page.goto("about:blank")
    page.goto(link)
    assert shown(page) == within
    expect(page.get_by_role("checkbox", name="theft")).to_be_checked()


def open_a_record(page: Page) -> str:
    """Gives its id. On the map a click on its cell leads to the same list."""
    page.get_by_role("list", name="Incidents, newest first").get_by_role("button").first.click()
    detail = page.locator("#map-detail")
    expect(detail.get_by_role("heading", name="theft")).to_be_focused()
    expect(detail).to_contain_text("under MOU-HEALTH, Injury prevention downtown")
    expect(detail).to_contain_text("Shown as the centre of the 500 m cell it lies in (MOU-HEALTH)")
    expect(detail).to_contain_text("Shown cut down to the hour (UTC) (MOU-HEALTH)")
    expect(detail).to_contain_text("[synthetic] What happened in case")
    expect(detail).to_contain_text("Not shown to you")
    expect(detail).to_contain_text(
        re.compile("No agreement that shares this incident with you for your purpose releases .*the phone number")
    )
    expect(detail).not_to_contain_text("+1 416")
    record = parse_qs(urlsplit(page.url).query)["record"][0]
    detail.get_by_role("button", name="Back to the list").click()
    expect(page.locator(f"[data-record='{record}']")).to_be_focused()
    click_its_cell(page)
    return record


def click_its_cell(page: Page) -> None:
    """The map says where a cell is drawn; a click there chooses it."""
    at = page.evaluate(
        """() => {
          let cell = null;
          map_concord.eachLayer((layer) => { if (layer instanceof L.Rectangle && !cell) cell = layer; });
          const point = map_concord.latLngToContainerPoint(cell.getBounds().getCenter());
          const box = map_concord.getContainer().getBoundingClientRect();
          return [box.x + point.x, box.y + point.y];
        }"""
    )
    page.mouse.click(*at)
    expect(page.get_by_role("heading", name=re.compile("incidents? in this 500 m cell"))).to_be_visible()
    page.get_by_role("button", name="Show all in the area").click()


def share(page: Page, scene: Scene) -> str:
    page.get_by_text("Share this map", exact=True).click()
    page.get_by_label("Name").fill(SHARED)
    page.get_by_role("button", name="Share", exact=True).click()
    expect(page).to_have_url(re.compile("/maps"))
    address = page.get_by_label("Address of the shared map").input_value()
    assert address.startswith(f"{scene.served.base}/maps/")
    page.get_by_role("link", name=SHARED).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(SHARED)
    map_drawn(page)
    return address


def export(page: Page, folder: Path) -> Path:
    page.get_by_text("Export as one file", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export what is shown").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def opens_without_a_network(exported: Path, opened: Open) -> None:
    """It says what it is, for whom and under what, shows the records, and asks nobody for anything: what would is noted as elsewhere."""
    watched = opened(offline=True)
    asked: list[str] = []
    watched.context.on("request", lambda request: asked.append(request.url))
    page = watched.context.new_page()
    page.goto(exported.as_uri())
    main = page.locator("body")
    for part in ("MOU-HEALTH", "Injury prevention downtown", "prevention", CASE, "Analyst, Health", "UTC", "pass"):
        expect(main).to_contain_text(part)
    page.get_by_role("list", name="Incidents, newest first").get_by_role("button").first.click()
    expect(page.locator("#map-detail")).to_contain_text("[synthetic] What happened in case")
    assert "+1 416" not in exported.read_text()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def somebody_else_sees_less(scene: Scene, opened: Open, address: str) -> None:
    """The same address, as another organisation: other rights, other treatment, no narrative, no export."""
    page = opened().context.new_page()
    page.goto(scene.link("analyst@housing"))
    page.get_by_role("button", name="Continue as Analyst, Housing").click()
    page.goto(address)
    choose_purpose(page, "tenancy")
    expect(page.get_by_role("heading", level=1)).to_have_text(SHARED)
    expected = scene.counted("housing", "tenancy", category="theft", datetime="2021-03-10T00:00:00Z/2021-03-19T23:59:59Z")
    assert shown(page) == expected
    expect(page.locator("#legend")).to_contain_text("To 2 km, under MOU-HOUSING, Safe homes")
    expect(page.locator("#legend")).not_to_contain_text("500 m")
    page.get_by_role("button", name="Clear").first.click()
    expect(page.locator("#map-status")).to_contain_text("30 incidents")  # of 90: only one kind is theirs
    page.get_by_role("list", name="Incidents, newest first").get_by_role("button").first.click()
    detail = page.locator("#map-detail")
    expect(detail).to_contain_text("Not shown to you")
    expect(detail).not_to_contain_text("[synthetic]")
    expect(detail).not_to_contain_text("MOU-HEALTH")
    page.get_by_text("Export as one file", exact=True).click()
    expect(page.get_by_text("No agreement lets your organisation export for this purpose.")).to_be_visible()


def the_auditor_finds_both(scene: Scene, opened: Open, record: str, folder: Path) -> None:
    page = opened().context.new_page()
    page.goto(scene.link("auditor@watch"))
    page.get_by_role("button", name="Continue as Auditor, Watch").click()
    page.get_by_role("link", name="Audit", exact=True).click()
    for person, organisation, mou in (("Analyst, Health", "health", "MOU-HEALTH"), ("Analyst, Housing", "housing", "MOU-HOUSING")):
        page.get_by_label("Organisation that looked", exact=True).select_option(organisation)
        page.get_by_label("Agreement", exact=True).fill(mou)
        page.get_by_role("button", name=re.compile("^(Filter|Show|Search|Find|Apply)")).click()
        row = page.get_by_role("row").filter(has_text=person).first
        expect(row).to_contain_text(mou)
        expect(row).to_contain_text("police")
    page.goto(f"{scene.served.base}/audit?record={record}&type=query")
    rows = page.get_by_role("row").filter(has_text="Analyst, Health")
    expect(rows.first).to_be_visible()
    rows.filter(has_text="one record").first.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("One access")
    main = page.get_by_role("main")
    for part in ("Analyst, Health", "prevention", CASE, "MOU-HEALTH", "Leaf hash"):
        expect(main).to_contain_text(part)
    page.go_back()
    events = page.eval_on_selector_all("main tbody a[href^='/audit/access/']", "links => links.map(a => a.href.split('/').pop())")
    with page.expect_download() as download:
        page.get_by_role("link", name="Take away as CSV").click()
    download.value.save_as(folder / "audit.csv")
    with (folder / "audit.csv").open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["event"] for line in lines] == events
    assert len(events) > 1


def the_owner_finds_both(scene: Scene, opened: Open) -> None:
    page = opened().context.new_page()
    page.goto(scene.link("lead@police"))
    page.get_by_role("button", name="Continue as Agreement lead, Police").click()
    page.get_by_role("link", name="Who saw our data").first.click()
    for person in ("Analyst, Health", "Analyst, Housing"):
        expect(page.get_by_role("row").filter(has_text=person).first).to_be_visible()
    exports = page.get_by_role("row").filter(has_text=re.compile("export", re.I))
    expect(exports).to_have_count(1)
    expect(exports).to_contain_text("Analyst, Health")


def nothing_shows_after_going_back(page: Page) -> None:
    page.go_back()
    expect(page).to_have_url(re.compile("/sign-in"))
    expect(page.locator("body")).not_to_contain_text("incident in")
    expect(page.locator("body")).not_to_contain_text(SHARED)
