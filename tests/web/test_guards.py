"""What watches the browser in the other tests notices what it is there to notice."""

import time

import pytest
from playwright.sync_api import Page

from hub.identity import people
from tests.web.fixtures import Open
from tests.web.hostile import ALIVE, PAYLOADS
from tests.web.served import Served
from tests.web.watching import Watched


@pytest.fixture
def watched(opened: Open, served: Served) -> Watched:
    found = people.find(served.world.database.writer, "reader")
    if found is None:
        served.world.organisation("guarded")
        found = people.add(served.world.database.writer, "guarded", "reader", "Reader", ["analyst"])
    watched = opened()
    watched.context.add_cookies([served.cookie(found)])  # type: ignore[list-item]
    return watched


def _noticed(page: Page, watched: Watched, *parts: str) -> None:
    """Each of `parts` is noted, soon: on a busy machine the browser tells late. Then forgets it, for the check at the end."""
    end = time.monotonic() + 10
    while time.monotonic() < end and not all(any(part in line for line in watched.wrong) for part in parts):
        page.wait_for_timeout(20)
    page.wait_for_timeout(200)  # what was told along with it is forgotten too
    for part in parts:
        assert any(part in line for line in watched.wrong), (part, watched.wrong)
    watched.wrong.clear()


def test_a_quiet_page_is_quiet(watched: Watched, served: Served) -> None:
    page = watched.context.new_page()
    page.goto(f"{served.base}/agreements")
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.evaluate(ALIVE) == []
    assert watched.wrong == []


@pytest.mark.parametrize("kind", ["error", "warn", "assert"])
def test_a_line_in_the_console_is_noticed(watched: Watched, served: Served, kind: str) -> None:
    page = watched.context.new_page()
    page.goto(f"{served.base}/agreements")
    page.evaluate("kind => kind === 'assert' ? console.assert(false, 'so') : console[kind]('so')", kind)
    _noticed(page, watched, "so")


def test_an_uncaught_error_and_a_dialog_are_noticed(watched: Watched, served: Served) -> None:
    page = watched.context.new_page()
    page.goto(f"{served.base}/agreements")
    page.evaluate("setTimeout(() => { throw new Error('broken') }, 0)")
    page.evaluate("alert('here')")
    _noticed(page, watched, "broken", "dialog: here")


@pytest.mark.parametrize(
    ("script", "report"),
    [
        ("document.body.insertAdjacentHTML('beforeend', '<p onclick=\"1\" style=\"color:red\">x</p>')", "style-src-attr"),
        ("document.body.insertAdjacentHTML('beforeend', '<img src=/none onerror=\"1\">')", "script-src-attr"),
        ("document.head.append(Object.assign(document.createElement('script'), {text: '1'}))", "script-src-elem"),
        ("fetch('https://elsewhere.example/').catch(() => 0)", "connect-src"),
        ("document.body.append(Object.assign(new Image(), {src: 'https://elsewhere.example/x.png'}))", "img-src"),
    ],
)
def test_what_the_policy_of_the_page_forbids_is_noticed(watched: Watched, served: Served, script: str, report: str) -> None:
    page = watched.context.new_page()
    page.goto(f"{served.base}/agreements")
    page.evaluate(f"() => {{ {script} }}")
    _noticed(page, watched, f"policy: {report}", "console error")  # each is told twice, in either order


def test_a_request_to_elsewhere_is_noticed_and_not_made(watched: Watched, served: Served) -> None:
    page = watched.context.new_page()
    page.goto(f"{served.base}/agreements")
    page.evaluate("() => { location = 'http://127.0.0.1:9/' }")
    _noticed(page, watched, "elsewhere: http://127.0.0.1:9/")


def test_a_page_that_writes_text_as_html_is_noticed_by_most_of_the_corpus(watched: Watched) -> None:
    """Without a policy, as in a page that had none; each payload in an element and in an attribute."""
    page = watched.context.new_page()
    page.route("**/broken", lambda route: route.fulfill(content_type="text/html", body="<!doctype html><title>x</title>"))
    alive = set()
    for payload in PAYLOADS:
        page.goto("http://localhost/broken", wait_until="commit")
        page.evaluate(
            "text => { document.open();"
            " document.write('<p>' + text + '</p><input value=\"' + text + '\"><a href=\"' + text + '\">x</a>') }",
            payload.text,
        )
        page.wait_for_timeout(10)
        if page.evaluate(ALIVE):
            alive.add(payload.name)
    watched.wrong.clear()
    assert {"script", "image", "svg", "frame", "end-of-elements", "end-of-script", "double-quote", "end-of-tag", "address", "deep"} <= alive
