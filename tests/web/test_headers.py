"""Every page of the router, of whoever: nothing foreign may run in it, frame it, guess its type or keep it."""

import re
from collections.abc import Callable

import pytest

from hub.identity.people import Person
from tests.web.routes import address, routes
from tests.web.served import Served
from tests.web.visiting import Visitor

STRICT = {
    "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data:", "connect-src": "'self'",
    "font-src": "'self'", "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
}  # fmt: skip
# What would run, or be styled, from within the page: elements with content of their own, and attributes.
INLINE = re.compile(r"<script(?![^>]*\ssrc=)(?![^>]*type=\"application/json\")|<style|\sstyle=|\son[a-z]+=|javascript:", re.I)
ABROAD = re.compile(r"\s(?:src|href|action)=\"(?:https?:)?//", re.I)
# Kept on purpose: files of the hub's own, and the map's, which hold no data; boundaries, which hold no records.
KEPT = ("/assets/{path:path}", "/map/page.js", "/map/page.css", "/boundaries.json")


@pytest.mark.parametrize("path", [*routes("GET"), "/nowhere"])
@pytest.mark.parametrize("role", [None, "analyst", "auditor"])
def test_every_page_is_under_the_strict_policy(served: Served, person: Callable[..., Person], role: str | None, path: str) -> None:
    here = Visitor(served)
    if role:
        here.begin(person(role), purpose="research" if role == "analyst" else None)
    answer = here.get(address(path))
    if answer.status_code in (302, 303):
        assert answer.headers["cache-control"] == "no-store"
        return
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "no-store" in answer.headers["cache-control"] or path in KEPT
    if not path.startswith("/assets") and not answer.headers["content-type"].startswith("text/csv"):
        given = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert given == STRICT
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    if answer.headers["content-type"].startswith("text/html"):
        assert not INLINE.search(answer.text), INLINE.search(answer.text)
        assert not ABROAD.search(answer.text.replace(f'"{served.base}', '"')), ABROAD.search(answer.text)


@pytest.mark.parametrize("wrong", ["<script>1</script>", "<p style='x'>", "<a onclick=1>", "<style>p{}</style>", '<a href="javascript:1">'])
def test_what_is_looked_for_would_be_found(wrong: str) -> None:
    assert INLINE.search(wrong)
    assert ABROAD.search('<script src="//elsewhere.example/x.js">')
    assert not INLINE.search('<script src="/assets/x.js" defer></script><script type="application/json">{}</script><p data-on="1">')
