"""A map as one file: opens from a disk, asks for nothing, runs only its own scripts, shows partners' text as text."""

import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser, Page

from hub.maps.snapshot import Export, snapshot
from tests.maps.strings import HOSTILE

ABOUT = Export(
    title="Incidents shared with Demo <Health>",
    viewer="Analyst",
    organisation="Demo <Health>",
    purpose="injury-prevention",
    case="C-17",
    at=datetime(2026, 11, 24, 4, 30, tzinfo=UTC),
    filters=[("Kinds", "assault,theft")],
    mous=[("MOU-DEMO-001", 2, "Injury prevention `${1}`")],
)


def feature(number: int, text: str = "plain", lon: float = -79.4, lat: float = 43.7, **more: Any) -> dict[str, Any]:
    said = {
        "provider": "police",
        "category": "theft",
        "occurred_at": "2021-03-04T13:00:00+00:00",
        "narrative": text,
        "extra": {text: [text]},
    }
    place = {"type": "Point", "coordinates": [lon, lat]}
    return {"type": "Feature", "id": f"00000000-0000-4000-8000-{number:012d}", "geometry": place, "properties": {**said, **more}}


def made(features: list[dict[str, Any]], about: Export = ABOUT) -> str:
    return snapshot(about, orjson.dumps(features).decode())


FILE = made([feature(n, text, place_grid_m=500) for n, text in enumerate(HOSTILE)])


def policy(text: str) -> dict[str, str]:
    found = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    assert found
    return dict(part.split(" ", 1) for part in found[1].replace("&#39;", "'").split("; "))


@pytest.mark.parametrize(("element", "directive"), [("script", "script-src"), ("style", "style-src")])
def test_the_policy_names_exactly_what_the_file_runs(element: str, directive: str) -> None:
    texts = re.findall(rf"<{element}>(.*?)</{element}>", FILE, re.S)
    assert texts
    hashes = ["'sha256-" + b64encode(sha256(text.encode()).digest()).decode() + "'" for text in texts]
    assert policy(FILE)[directive].split() == hashes


def test_everything_else_is_forbidden() -> None:
    given = policy(FILE)
    assert given["default-src"] == given["base-uri"] == given["form-action"] == "'none'"
    assert given["img-src"] == "data:"
    assert given.keys() == {"default-src", "base-uri", "form-action", "img-src", "script-src", "style-src"}


def test_the_file_points_nowhere() -> None:
    markup = re.sub(r"<(script|style)\b.*?</\1>", "", FILE, flags=re.S)
    assert not re.search(r"\b(src|href|action|srcset|data)=", markup)
    assert not any("url(" in text or "@import" in text for text in re.findall(r"<style>(.*?)</style>", FILE, re.S))


def test_data_can_not_end_its_element() -> None:
    held = re.findall(r'<script type="application/json" id="\w+">(.*?)</script>', FILE, re.S)
    assert len(held) == 2
    assert not any("<" in text for text in held)
    assert [f["properties"]["narrative"] for f in orjson.loads(held[1])["features"]] == list(HOSTILE)


def test_the_file_says_who_exported_it_when_for_what_and_under_what() -> None:
    said = ("Analyst", "injury-prevention", "C-17", "24 Nov 2026, 04:30 UTC", "MOU-DEMO-001 version 2", "Kinds: assault,theft")
    assert all(escape(text) in FILE for text in said)
    assert "Demo &lt;Health&gt;" in FILE
    assert "Demo <Health>" not in FILE


def test_the_strictest_label_of_its_records_comes_first() -> None:
    text = made([feature(1, handling="TLP:GREEN"), feature(2, handling="TLP:AMBER+STRICT"), feature(3)])
    assert "<strong>TLP:AMBER+STRICT, TLP:GREEN.</strong>" in text
    assert "<strong>For Demo &lt;Health&gt; only.</strong>" in made([feature(1)]), "none is released: not for whoever"


@pytest.fixture
def page(chromium: Browser, tmp_path: Path) -> Iterator[Page]:
    """The file as a browser opens it from a disk; anything asked for or said on the console is an error."""
    (tmp_path / "map.html").write_text(FILE)
    opened = chromium.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("file:") else None)
    opened.goto((tmp_path / "map.html").as_uri())
    opened.locator("#map-list [data-record]").first.wait_for()
    yield opened
    assert not wrong
    opened.close()


def test_each_record_opens_with_its_text_as_text(page: Page) -> None:
    for number, text in enumerate(HOSTILE):
        page.locator(f'[data-record$="{number:012d}"]').click()
        shown = page.locator("#map-detail dd").all_text_contents()
        assert text in shown
        page.keyboard.press("Escape")
    assert page.evaluate("window.alive") is None
    assert page.locator("#map-detail script, #map-detail img, #map-detail b").count() == 0


def test_a_script_that_is_put_into_it_does_not_run_and_nothing_can_be_sent(chromium: Browser, tmp_path: Path) -> None:
    spoilt = FILE.replace("</main>", "<script>window.alive = 1</script><img src='http://127.0.0.1:9/x'></main>")
    (tmp_path / "map.html").write_text(spoilt)
    opened = chromium.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.goto((tmp_path / "map.html").as_uri())
    opened.locator("#map-list [data-record]").first.wait_for()
    assert opened.evaluate("window.alive") is None
    assert opened.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')") == "refused"
    assert sum("Content Security Policy" in text for text in said) >= 3, "the script, the picture, the request: each was refused"
    opened.close()


def test_the_basemap_has_land_in_toronto_and_water_in_the_lake(page: Page) -> None:
    colour = """([lat, lon]) => {
      map_concord.setView([lat, lon], 11, {animate: false});
      return new Promise((done) => setTimeout(() => {
        const at = map_concord.getContainer().getBoundingClientRect(), point = map_concord.latLngToContainerPoint([lat, lon]);
        for (const tile of document.querySelectorAll('.leaflet-tile-pane canvas')) {
          const box = tile.getBoundingClientRect(), x = at.x + point.x - box.x, y = at.y + point.y - box.y;
          if (x >= 0 && y >= 0 && x < box.width && y < box.height)
            done(tile.getContext('2d').getImageData(x * tile.width / box.width, y * tile.height / box.height, 1, 1).data[3]);
        }
      }, 500));
    }"""
    assert page.evaluate(colour, [43.75, -79.4]) == 255
    assert page.evaluate(colour, [43.6, -79.25]) == 0, "nothing is drawn on water"
