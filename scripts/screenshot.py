"""`make screenshot`: the pictures of the README and of the guides, from a demo that runs at HUB_BASE_URL or is started for it.

Each page is taken at 1280 and at 390 px, into docs/pictures/NAME.png and NAME-390.png. A page that asks for anything elsewhere, or
writes an error to the console, is no picture to show: the script ends with its name.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from small_png import small

from hub.api.services import SESSION_COOKIE, Services
from hub.app import assemble
from hub.settings import read_settings
from hub.setup import addresses_of

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
CHROMIUM = "/usr/bin/chromium"
OPTIONS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]
WIDTHS = {1280: (800, ""), 390: (844, "-390")}
MAX_BYTES = 150_000
MAP = "/map?bbox=-79.39,43.645,-79.35,43.67&datetime=2019-05-01T00:00:00Z/2019-05-31T23:59:59Z"


@dataclass(frozen=True)
class Picture:
    """A page as somebody sees it; `{record}` in its path is a record of Demo Toronto Police's. `then` is done before it is taken."""

    name: str
    path: str
    who: str | None = None
    purpose: str | None = None
    then: Callable[[Page], None] = lambda _: None


def first_access(page: Page) -> None:
    page.locator("main a[href^='/audit/access/']").first.click()


def an_incident(page: Page) -> None:
    page.locator("#map-list .records button").first.click()
    page.locator("#map-detail h3").scroll_into_view_if_needed()  # what is not shown, and why


SHOWN = (
    Picture("sign-in", "/sign-in"),
    Picture("purpose", "/purpose", "analyst@health-demo"),
    Picture("map", MAP, "analyst@health-demo", "public-health.prevention"),
    Picture("map-why", MAP, "analyst@health-demo", "public-health.prevention", an_incident),
    Picture("map-neighbours", MAP, "analyst@neighbours-demo", "community.safety"),
    Picture("audit", "/audit?type=query", "auditor@auditor-demo"),
    Picture("access", "/audit?type=query", "auditor@auditor-demo", then=first_access),
    Picture("owner", "/owner", "lead@toronto-police-demo"),
    Picture("trace", "/audit/records/incidents/{record}", "lead@toronto-police-demo"),
    Picture("agreements", "/agreements", "analyst@health-demo"),
    Picture("agreement", "/agreements/MOU-DEMO-001", "analyst@health-demo"),
)


def main() -> None:
    """Takes every picture, or those that are named."""
    os.environ.setdefault("HUB_BASE_URL", "http://localhost:8000")
    wanted = [shown for shown in SHOWN if not sys.argv[1:] or shown.name in sys.argv[1:]]
    PICTURES.mkdir(parents=True, exist_ok=True)
    with running(), sync_playwright() as playwright:
        settings = read_settings()
        called, database = assemble(settings, addresses_of(settings))
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS, *root])
        try:
            for shown in wanted:
                for width in WIDTHS:
                    take(shown, width, browser, called)
        finally:
            browser.close()
            database.dispose()


@contextmanager
def running() -> Iterator[None]:
    """The demo at HUB_BASE_URL; one that is not there is started, and ended afterwards."""
    base = os.environ["HUB_BASE_URL"]
    if _answers(base):
        yield
        return
    command = [str(Path(sys.prefix) / "bin" / "hub"), "demo", "--port", base.rpartition(":")[2]]
    with tempfile.NamedTemporaryFile() as out, subprocess.Popen(command, cwd=ROOT, stdout=out) as started:
        try:
            while "audit list" not in Path(out.name).read_text():  # opened anew: the demo writes where its own file stands
                if started.poll() is not None:
                    raise SystemExit("The demo does not start; its messages are above.")
                time.sleep(0.5)
            yield
        finally:
            started.terminate()


def _answers(base: str) -> bool:
    with suppress(httpx2.TransportError):
        return httpx2.get(f"{base}/readyz").status_code == 200
    return False


def take(shown: Picture, width: int, browser: Browser, called: Services) -> None:
    height, suffix = WIDTHS[width]
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", locale="en-GB", timezone_id="UTC")
    try:
        sign_in(context, shown, called)
        page = context.new_page()
        wrong = watched(page, called.settings.base_url)
        page.goto(called.settings.base_url + address(shown, called), wait_until="networkidle")
        shown.then(page)
        page.wait_for_load_state("networkidle")
        picture = PICTURES / f"{shown.name}{suffix}.png"
        taken = small(page.screenshot(animations="disabled"), context.new_page())
        size = len(taken)
        if size > MAX_BYTES:
            wrong.append(f"{size:,} bytes")
        if wrong:
            raise SystemExit(f"{picture.name}: {'; '.join(wrong)}")
        picture.write_bytes(taken)
        print(f"{picture.relative_to(ROOT)}: {size:,} bytes")
    finally:
        context.close()


def address(shown: Picture, called: Services) -> str:
    if "{record}" not in shown.path:
        return shown.path
    cookie = session(called, "analyst@health-demo", "public-health.prevention")
    asked = MAP.replace("/map?", f"{called.settings.base_url}/collections/incidents/items?limit=1&")
    found = httpx2.get(asked, headers={"Cookie": f"{SESSION_COOKIE}={cookie}"}).raise_for_status().json()
    return shown.path.format(record=found["features"][0]["id"])


def session(called: Services, who: str, purpose: str | None) -> str:
    """The cookie of a new session of that person, with the purpose chosen."""
    person = next(person for person in called.directory.people() if person.handle == who)
    cookie, begun = called.sessions.begin(person, "link")
    if purpose:
        called.sessions.choose(begun, purpose, None)
    return cookie


def sign_in(context: BrowserContext, shown: Picture, called: Services) -> None:
    """Gives the browser a session of that person, with the purpose chosen."""
    if shown.who is None:
        return
    cookie = session(called, shown.who, shown.purpose)
    # Chromium sends a Secure cookie to http://localhost, but takes one by this way for an https address only.
    address = called.settings.base_url.replace("http:", "https:")
    context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": address, "secure": True, "httpOnly": True}])


def watched(page: Page, base: str) -> list[str]:
    """What a page does that it must not do, as it happens."""
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith((base, "data:", "blob:")) else None)
    page.on("response", lambda response: wrong.append(f"{response.status} {response.url}") if response.status >= 400 else None)
    return wrong


if __name__ == "__main__":
    main()
