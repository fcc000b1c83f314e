"""maps.usable_s: the map page with 10,000 incidents at 100 m, in headless Chromium, from the start of the navigation until the list and
the cells are there and a click on an incident is answered with its details.

Each run is a browser context of its own: nothing is cached. Every run is checked: 10,000 incidents said, listed and drawn, and details
that say under which agreement.
"""

import random
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import Browser, expect

from hub.api.services import SESSION_COOKIE
from hub.app import assemble
from hub.audit.leaf import By
from hub.datasets.incidents import Category, Incident
from hub.geo import Point
from hub.identity import organisations, people
from hub.settings import Settings
from hub.setup import Addresses
from hub.sharing.overview import MAX_RECORDS
from hub.sharing.publish import Publisher
from tests.bench import setting as bench
from tests.bench.server import running
from tests.bench.setting import BATCH, Setting
from tests.web.browser import chromium
from tests.world import keyd

NAME, PORT, RUNS, GOAL_S = "bench_maps", 8916, 9, 3.0
BOX = (-79.55, 43.60, -79.20, 43.82)  # west, south, east, north: about 28 × 24 km
MAP = f"/map?bbox={','.join(map(str, BOX))}"
# How many cells Leaflet has drawn; a cell is as large as what is known, so several incidents may share one.
DRAWN = "() => { let n = 0; map_concord.eachLayer(l => { if (l instanceof L.CircleMarker || l instanceof L.Rectangle) n++; }); return n; }"


def run(setting: Setting) -> list[dict[str, Any]]:
    """The figures of this part."""
    addresses, settings = bench.fresh_hub(setting, NAME)
    cookie = _prepared(settings, addresses)
    with running(settings, addresses, PORT), chromium() as browser:
        _once(browser, cookie)
        shown, answered = zip(*(_once(browser, cookie) for _ in range(RUNS)), strict=True)
    return [
        _figure("maps.usable_s", answered, GOAL_S, f"{MAX_RECORDS:,} incidents, until a click is answered"),
        _figure("maps.shown_s", shown, None, "until list and cells are there"),
    ]


def _figure(name: str, times: tuple[float, ...], goal: float | None, note: str) -> dict[str, Any]:
    p95 = sorted(times)[int(len(times) * 0.95)]
    return {
        "name": name,
        "value": round(p95, 2),
        "reference": goal or "-",
        "unit": "s",
        "ratio": round(p95 / goal, 2) if goal else "-",
        "goal": goal,
        "sign": "≤",
        "met": None if goal is None else p95 <= goal,
        "note": f"p95 of {len(times)} runs, median {statistics.median(times):.2f} s; {note}",
    }


def _once(browser: Browser, cookie: str) -> tuple[float, float]:
    """Seconds until the map is shown, and until the click is answered."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        address = f"https://localhost:{PORT}"  # Chromium takes a Secure cookie for https alone, and sends it to http://localhost too
        context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": address, "secure": True, "httpOnly": True}])
        page = context.new_page()
        began = time.perf_counter()
        page.goto(f"http://localhost:{PORT}{MAP}", wait_until="commit")
        page.wait_for_selector("#map-page[data-ready=records]", timeout=30_000)
        page.wait_for_selector("#map-list button")
        shown = time.perf_counter() - began
        page.locator("#map-list button").first.click()
        page.wait_for_selector("#map-detail h2")
        answered = time.perf_counter() - began
        expect(page.locator("#map-status")).to_contain_text(f"{MAX_RECORDS:,} incidents")
        expect(page.locator("#map-detail")).to_contain_text("BENCH-EVERYTHING")
        if page.evaluate(DRAWN) < MAX_RECORDS / 2:
            raise RuntimeError("void: the cells are not drawn")
        return shown, answered
    finally:
        context.close()


def _prepared(settings: Settings, addresses: Addresses) -> str:
    """Publishes; gives the cookie of an analyst's session."""
    with keyd(settings, addresses):
        return _published(settings, addresses)


def _published(settings: Settings, addresses: Addresses) -> str:
    called, database = assemble(settings, addresses)
    try:
        owner = organisations.get(database.writer, "bench-police")
        publisher = Publisher(owner.id, owner.uid, owner.slug, By(owner.slug, owner.slug))
        for batch in _batches():
            called.datasets["incidents"].publishing.publish(publisher, batch)
        person = people.add(database.writer, "everything", "analyst", "Analyst", ["analyst"])
        cookie, session = called.sessions.begin(person, "link")
        called.sessions.choose(session, "bench", None)
        return cookie
    finally:
        called.keys.close()
        database.dispose()


def _batches() -> Iterator[list[Incident]]:
    """As many as a map shows one by one, evenly over the box: hardly two share a cell of 100 m, which is the most there is to draw."""
    chance, kinds, first = random.Random(4), list(Category), datetime(2021, 1, 1, tzinfo=UTC)
    west, south, east, north = BOX
    for at in range(0, MAX_RECORDS, BATCH):
        yield [
            Incident(
                external_id=f"map-{n}",
                category=kinds[n % len(kinds)],
                occurred_at=first + timedelta(minutes=53 * n),
                place=Point(chance.uniform(west, east), chance.uniform(south, north)),
            )
            for n in range(at, at + BATCH)
        ]
