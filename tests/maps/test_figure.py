"""folium under our Content-Security-Policy: nothing foreign, nothing inline, and the same names in every process."""

import os
import subprocess
import sys
from html import unescape

import folium
import pytest
from folium.plugins import HeatMap, MarkerCluster
from playwright.sync_api import Browser

from hub.maps.figure import NotOurs, parts_of, safe_text
from hub.maps.live import live_map
from tests.maps.strings import HOSTILE


def a_map() -> folium.Map:
    return folium.Map(location=[0, 0], tiles=None)


def test_the_parts_name_only_files_of_the_hub() -> None:
    parts = live_map()
    assert parts.styles
    assert parts.scripts
    assert all(address.startswith("/assets/") for address in (*parts.styles, *parts.scripts))


def test_nothing_inline_is_left_in_the_page() -> None:
    body = live_map().body
    assert 'id="map_concord"' in body
    assert not any(mark in body for mark in ("<script", "<style", "style=", "onclick", "http"))


@pytest.mark.parametrize("plugin", [MarkerCluster(), HeatMap([[0, 0]])], ids=["markercluster", "heatmap"])
def test_a_file_that_the_hub_does_not_serve_is_refused(plugin: folium.map.Layer) -> None:
    made = a_map()
    plugin.add_to(made)
    with pytest.raises(NotOurs):
        parts_of(made, "x")


def test_tiles_of_somebody_else_are_refused() -> None:
    with pytest.raises(NotOurs):
        parts_of(folium.Map(location=[0, 0], tiles="OpenStreetMap"), "x")


def test_an_element_that_writes_into_the_page_is_refused() -> None:
    class Writes(folium.elements.MacroElement):
        _template = folium.template.Template("{% macro html(this, kwargs) %}<p onclick='x()'>hello</p>{% endmacro %}")

    made = a_map()
    made.add_child(Writes())
    with pytest.raises(NotOurs):
        parts_of(made, "x")


def test_a_link_by_an_unknown_name_is_refused() -> None:
    made = a_map()
    made.default_js = [*made.default_js, ("newcomer", "https://example.org/x.js")]
    with pytest.raises(NotOurs, match="newcomer"):
        parts_of(made, "x")


def test_the_page_and_its_script_agree_whoever_makes_them() -> None:
    code = "from hub.maps.live import live_map; p = live_map(); print(p.body, p.script, p.style)"
    made = [
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True)
        for seed in ("1", "2")
    ]
    assert made[0].stdout == made[1].stdout
    assert "map_concord = L.map(" in made[0].stdout


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_safe_text_holds_nothing_that_markup_or_a_template_literal_reads(text: str) -> None:
    safe = safe_text(text)
    assert not set(safe) & set("<>\"'`$\\")
    assert unescape(safe) == text


def test_a_browser_shows_safe_text_as_it_was_and_runs_none_of_it(chromium: Browser) -> None:
    page = chromium.new_page()
    read = "(() => {{ const e = document.createElement('div'); e.innerHTML = `{}`; return e.textContent }})()"
    assert [page.evaluate(read.format(safe_text(text))) for text in HOSTILE] == list(HOSTILE)
    assert page.evaluate("window.alive") is None
    # The control: without it, the text runs.
    page.evaluate(read.format("${window.alive = 1}"))
    assert page.evaluate("window.alive") == 1
    page.close()
