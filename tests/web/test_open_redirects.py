"""Where somebody is sent after signing in: a page of this hub, whatever the address said and however a browser reads it."""

import re
from collections.abc import Callable
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from playwright.sync_api import Browser

from hub.identity.people import Person
from hub.web.shell import next_path
from tests.web.served import Served
from tests.web.visiting import Visitor, passkey_of

HOST = "elsewhere.example"
GOOD = ["/", "/home", "/map?bbox=1,2,3,4&category=theft%2Cassault", "/audit?since=2026-01-01T00:00", "/agreements/MOU-1#areas", "/é?ü=ß"]
# What stands before the host; browsers drop tabs and line ends, and read a backslash as a slash (WHATWG URL §4.4).
BEFORE = [
    *("", "http:", "https:", "HTTPS://", "http:/", "//", "///", "////", "/" * 50, "/\\", "\\\\", "\\/", "/\\/", "\\", "//\\", "///\\"),
    *("/\t/", "/\n/", "/\r\n/", "\t//", " //", "\x00//", "/\x00/", "/\t\\", "\n\\\\", "///\t", "/\x0b/", "/\x1f/", "/\x7f/", "/\x85/"),
    *("javascript:alert(1)//", "JaVaScRiPt://", "java\nscript://", "data:text/html,", "blob:", "ftp://", "//localhost@", "//[::1", "/[//"),
    *("/..//", "/.//", "/;//", "/@", "/%09/", "/%5c", "/%2f%2f", "/%00//", "?next=//", "#//", ";//", ".//", "../", "%2f%2f", "%5c%5c"),
    *("/\u2028/", "/\u3000/", "/\u200b/", "/\ufeff/", "/\u202e//", "/\uff0f", "\uff0f\uff0f", "//\u3002", "/\u2215/", "/\u29f8/"),
]
EVIL = [
    *(before + HOST for before in BEFORE),
    "//",
    "///",
    "/\\",
    "/home\r\nSet-Cookie: a=b",
    "/%0d%0aSet-Cookie:a=b",
    "x" * 9_000,
    "/\ud83d",
]
PIECES = ["/", "\\", "\t", "\r", "\n", "\x00", ":", "@", "#", "?", "%2f", "%5c", ".", "..", ";", "a", "é", "\u2028", "http", "javascript:"]
ORIGINS = """paths => paths.map(path => {
  try { return new URL(path, location.href).origin } catch { return "none" }
})"""


@pytest.mark.parametrize("path", GOOD)
def test_a_path_of_the_hub_is_kept(path: str) -> None:
    assert next_path(path) in (path, "/%C3%A9?%C3%BC=%C3%9F")


def inside(path: str) -> bool:
    """A path, and nothing that a browser could read as a host: one slash first, then neither a slash nor anything it reads as one."""
    return re.fullmatch(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?", path) is not None


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=30))
@example(f"///{HOST}")
def test_whatever_is_asked_the_way_leads_inside(wanted: str) -> None:
    assert inside(next_path(wanted))


def test_the_browser_reads_each_as_an_address_of_the_hub(chromium: Browser, served: Served) -> None:
    page = chromium.new_page()
    page.goto(f"{served.base}/sign-in")
    assert set(page.evaluate(ORIGINS, [next_path(evil) for evil in EVIL])) == {served.base}
    as_they_were = page.evaluate(ORIGINS, [evil.encode("utf-8", "replace").decode() for evil in EVIL])
    assert as_they_were.count(f"http://{HOST}") >= 20
    page.close()


def test_no_page_sends_anybody_elsewhere(served: Served, visitor: Callable[[], Visitor], person: Callable[..., Person]) -> None:
    nobody, somebody = visitor(), visitor().begin(person("analyst"))
    for evil in EVIL:
        given = {"next": evil.encode("utf-8", "replace").decode()}
        (hidden,) = re.findall(r'name="next" value="([^"]*)"', nobody.send("GET", "/sign-in", params=given).text)
        assert inside(unescape(hidden)), evil
        for path in ("/sign-in", "/unlock"):
            to = somebody.send("GET", path, params=given).headers["location"]
            assert inside(to), evil
            assert all(inside(value) for value in parse_qs(urlsplit(to).query).get("next", [])), evil


def test_signing_in_itself_sends_nobody_elsewhere(served: Served, visitor: Callable[[], Visitor], person: Callable[..., Person]) -> None:
    device = passkey_of(served, person("auditor"))
    for evil in (f"//{HOST}", f"///{HOST}", f"/\\{HOST}", f"https://{HOST}", "/home\r\nSet-Cookie: a=b", ""):
        answer = visitor().sign_in(device, wanted=evil)
        assert (answer.status_code, answer.headers["location"]) == (303, "/home")
    assert visitor().sign_in(device, wanted="/audit?type=query").headers["location"] == "/audit?type=query"
