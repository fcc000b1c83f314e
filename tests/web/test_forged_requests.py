"""What another site, or somebody without the page, has a browser send: every form of every page refuses it, and takes the page's own."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from hub.identity.people import Person
from tests.web.routes import address, routes
from tests.web.served import Served
from tests.web.visiting import Visitor, passkey_of, words

Visitors = Callable[[], Visitor]
Persons = Callable[..., Person]
POSTS = routes("POST")
# Forms of pages that need no session have no token of one; what they have is the browser's word for where they come from.
WITHOUT_SESSION = {
    "/sign-in", "/sign-in/options", "/recover", "/join/{ticket}", "/join/{ticket}/options", "/enter/{ticket}",
}  # fmt: skip
LOCKED = {"/unlock", "/unlock/options"}
BBOX = "?bbox=1,1,2,2"
FOREIGN: list[dict[str, str | None]] = [
    {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": None},
    {"Origin": None, "Sec-Fetch-Site": "cross-site"},
    {"Origin": None, "Sec-Fetch-Site": "same-site"},
    {"Origin": "null", "Sec-Fetch-Site": None},
    {"Origin": "http://localhost", "Sec-Fetch-Site": None},  # another port
    {"Origin": "http://localhost.elsewhere.example", "Sec-Fetch-Site": None},
]


@pytest.fixture(scope="module")
def analyst(person: Persons) -> Person:
    return person("analyst", "auditor", "agreement-lead")


def signed_in(visitor: Visitors, served: Served, who: Person, path: str) -> Visitor:
    here = visitor().begin(who, purpose="research")
    if path in LOCKED:
        with served.world.superuser() as connection:
            connection.exec_driver_sql("update hub.sessions set seen_at = now() - interval '31 minutes' where ended_at is null")
    return here


def post(here: Visitor, path: str, token: str | None, **more: Any) -> Any:
    """Sends the form, or what the script sends, with this token."""
    where = address(path) + (BBOX if path in ("/maps", "/map/export") else "")
    if path.endswith("/options"):
        headers = {"Accept": "application/json", **({"X-CSRF-Token": token} if token is not None else {}), **more.pop("headers", {})}
        return here.send("POST", where, json={}, headers=headers, **more)
    return here.send("POST", where, data={"next": "/home", **({"csrf": token} if token is not None else {})}, **more)


def refused_as_forged(answer: Any) -> bool:
    return answer.status_code == 403 and ("not made by this hub" in answer.text or "sent by another site" in answer.text)


@pytest.mark.parametrize("path", [path for path in POSTS if path not in WITHOUT_SESSION])
def test_a_form_needs_the_token_of_its_own_session(served: Served, visitor: Visitors, analyst: Person, path: str) -> None:
    other = signed_in(visitor, served, analyst, path).csrf
    here = signed_in(visitor, served, analyst, path)
    own = here.csrf
    for wrong in (None, "", other, own[:-1], own.upper(), str(here.cookie)):
        answer = post(here, path, wrong)
        assert refused_as_forged(answer), (path, wrong, answer.status_code)
        assert here.csrf == own  # nothing has happened to the session
    assert not refused_as_forged(post(here, path, own))


@pytest.mark.parametrize("path", POSTS)
def test_what_another_site_sends_is_refused_even_with_the_right_token(
    served: Served, visitor: Visitors, analyst: Person, path: str
) -> None:
    here = signed_in(visitor, served, analyst, path)
    for headers in FOREIGN:
        answer = post(here, path, here.csrf, headers=headers)
        assert refused_as_forged(answer), (path, headers, answer.status_code)
        assert "set-cookie" not in answer.headers
    assert not refused_as_forged(post(here, path, here.csrf))


@pytest.mark.parametrize("path", POSTS)
def test_a_form_sent_by_hand_or_by_an_old_browser_needs_no_origin(served: Served, visitor: Visitors, analyst: Person, path: str) -> None:
    here = signed_in(visitor, served, analyst, path)
    assert not refused_as_forged(post(here, path, here.csrf, headers={"Origin": None, "Sec-Fetch-Site": None}))


def test_nobody_is_signed_in_as_somebody_else_by_another_site(served: Served, visitor: Visitors, person: Persons) -> None:
    """Login CSRF: the attacker's own good passkey, sent from the attacker's site with the victim's browser."""
    attacker, victim = person(), visitor()
    device = passkey_of(served, attacker)
    options = victim.ask("/sign-in/options").text
    fields = {"credential": json.dumps(device.get(options))}
    answer = victim.post("/sign-in", fields, headers={"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert "sent by another site" in words(answer)
    assert victim.cookie is None
    assert victim.post("/sign-in", fields).status_code == 303


def test_a_cookie_alone_changes_nothing_through_the_api(visitor: Visitors, analyst: Person) -> None:
    """There a browser's cookie stands for a token in GET and HEAD alone."""
    here = visitor().begin(analyst, purpose="research")
    for method, path in (("POST", "/collections/incidents/items"), ("DELETE", "/collections/incidents/items/x")):
        answer = here.send(method, path, headers={"Content-Type": "application/geo+json"}, content=b"{}" if method == "POST" else None)
        assert answer.status_code == 401, path
    assert (
        here.get("/collections/incidents/items", headers={"Accept": "application/json"}).status_code == 403
    )  # somebody, with no agreement


@pytest.mark.parametrize("path", routes("GET"))
def test_reading_a_page_never_takes_what_only_a_form_may_do(visitor: Visitors, analyst: Person, path: str) -> None:
    """Pages have GET and HEAD, forms POST; nothing else is taken."""
    here = visitor().begin(analyst)
    for method in ("PUT", "PATCH", "DELETE"):
        assert here.send(method, address(path)).status_code == 405
