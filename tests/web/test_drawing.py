"""An area drawn on the log's map, in a browser: what is drawn is what is asked, and it can be typed without the map."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.web.fixtures import Open
from tests.web.scene import WHOLE, Scene

pytestmark = pytest.mark.unmeasured
AREA = "-79.5,43.6,-79.2,43.8"  # around where people looked


@pytest.fixture
def page(scene: Scene, opened: Open) -> Page:
    """The auditor's page, its map at AREA."""
    scene.counted("health", "prevention")
    watched = opened()
    watched.context.add_cookies([scene.served.cookie(scene.people["auditor@watch"])])
    page: Page = watched.context.new_page()
    page.goto(f"{scene.served.base}/audit?bbox={AREA}")
    page.locator(".small-map").scroll_into_view_if_needed()
    return page


def click(page: Page, *places: tuple[float, float]) -> None:
    """Clicks on the map, at parts of its width and height."""
    box = page.locator(".small-map").bounding_box()
    assert box
    for x, y in places:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def numbers(page: Page, field: str) -> list[float]:
    text = page.locator(f"#f-{field}").input_value()
    return [float(n) for n in text.split(",")] if text else []


def found(page: Page) -> int:
    with page.expect_navigation():
        page.get_by_role("button", name="Show", exact=True).click()
    return page.locator("main tbody tr").count()


def test_two_clicks_draw_a_box_and_find_who_asked_about_it(page: Page) -> None:
    page.get_by_role("button", name="Draw a box").click()
    expect(page.get_by_role("status").filter(has_text="two opposite corners")).to_be_visible()
    click(page, (0.3, 0.8), (0.7, 0.2))
    west, south, east, north = numbers(page, "bbox")
    assert west < east
    assert south < north
    assert found(page) >= 1


def test_a_polygon_is_drawn_corner_by_corner_and_takes_the_place_of_a_box(page: Page) -> None:
    page.get_by_role("button", name="Draw a polygon").click()
    click(page, (0.2, 0.2), (0.8, 0.25))
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_text("three corners or more")).to_be_visible()
    click(page, (0.5, 0.8))
    page.get_by_role("button", name="Done").click()
    assert len(numbers(page, "polygon")) == 6
    assert numbers(page, "bbox") == []
    assert found(page) >= 1


def test_a_box_where_nobody_asked_finds_nobody(page: Page) -> None:
    """The control."""
    page.get_by_label(re.compile("^Area")).first.fill("10,10,11,11")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_text("Nothing in the log fits")).to_be_visible()


def test_escape_stops_drawing_and_no_area_empties_both_fields(page: Page) -> None:
    page.get_by_role("button", name="Draw a box").click()
    click(page, (0.3, 0.3))
    page.keyboard.press("Escape")
    click(page, (0.6, 0.6), (0.7, 0.7))
    assert numbers(page, "bbox") == [float(n) for n in AREA.split(",")]
    page.get_by_role("button", name="No area").click()
    assert (numbers(page, "bbox"), numbers(page, "polygon")) == ([], [])


def test_the_part_of_the_map_that_is_shown_can_be_used(page: Page) -> None:
    page.get_by_role("button", name="Use the area shown").click()
    west, south, east, north = numbers(page, "bbox")
    shown = [float(n) for n in WHOLE.split(",")]
    assert west < shown[0] < shown[2] < east
    assert south < shown[1] < shown[3] < north


def test_without_scripts_an_area_is_typed(scene: Scene, opened: Open) -> None:
    scene.counted("health", "prevention")
    watched = opened(java_script_enabled=False)
    watched.context.add_cookies([scene.served.cookie(scene.people["auditor@watch"])])
    page = watched.context.new_page()
    page.goto(f"{scene.served.base}/audit")
    page.get_by_text("Area, purpose, case and more").click()
    page.get_by_label(re.compile("^Corners of an area")).fill("-79.5,43.6,-79.2,43.6,-79.35,43.8")
    assert found(page) >= 1
