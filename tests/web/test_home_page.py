"""Everybody's start page: what it offers by role, and that nothing on any page leads nowhere."""

from collections.abc import Callable

import pytest

from hub.identity.people import AUDITORS_ROLES, ROLES, Person
from tests.web.served import Served
from tests.web.visiting import Visitor, links, passkey_of, words

Visitors = Callable[[], Visitor]
Persons = Callable[..., Person]
SEATS = [(role, "health", "partner") for role in ROLES] + [(role, "watch", "auditor") for role in sorted(AUDITORS_ROLES)]
OFFERED = {
    ("analyst", "health"): {"/purpose?next=/map", "/maps"},
    ("integrator", "health"): {"/collections", "/api"},
    ("auditor", "health"): {"/owner"},
    ("agreement-lead", "health"): {"/owner"},
    ("auditor", "watch"): {"/audit"},
}


@pytest.mark.parametrize(("role", "organisation", "kind"), SEATS)
def test_the_page_offers_what_the_role_is_for(visitor: Visitors, person: Persons, role: str, organisation: str, kind: str) -> None:
    here = visitor().begin(person(role, organisation=organisation, kind=kind))
    page = here.get("/home")
    main = page.text.partition("<main")[2]
    offered = links(page) & {"/purpose?next=/map", "/map", "/maps", "/collections", "/api", "/owner", "/audit"}
    here_only = {href for href in offered if f'href="{href}"' in main}
    assert here_only == OFFERED.get((role, organisation), set())
    assert ("hub person invite" in words(page)) == (role == "operator")
    assert ("hub client key" in words(page)) == (role == "integrator")
    assert {"/agreements", "/account"} <= links(page)


@pytest.mark.parametrize(("role", "organisation", "kind"), SEATS)
def test_no_link_leads_nowhere(visitor: Visitors, person: Persons, role: str, organisation: str, kind: str) -> None:
    """From the start page on, two steps far."""
    here = visitor().begin(person(role, organisation=organisation, kind=kind), purpose="research" if role == "analyst" else None)
    seen, ahead = set(), {"/home"}
    for _ in range(3):
        found: set[str] = set()
        for href in sorted(ahead - seen):
            answer = here.get(href)
            assert answer.status_code in (200, 303), href
            seen.add(href)
            if "text/html" in answer.headers.get("content-type", ""):
                assert answer.text.count("<h1") == 1, href
                found |= {link for link in links(answer) if not link.startswith("#")}
        ahead = found
    assert {"/home", "/account", "/agreements"} <= seen


def test_a_browser_at_the_root_comes_to_the_start_page_and_a_program_to_the_api(visitor: Visitors, person: Persons) -> None:
    here = visitor().begin(person())
    assert here.get("/").headers["location"] == "/home"
    assert here.get("/", headers={"Accept": "application/json"}).json()["links"]


def test_few_recovery_codes_and_a_missing_passkey_are_said(served: Served, visitor: Visitors, person: Persons) -> None:
    who = person()
    here = visitor().begin(who, "link")
    assert "You have no passkey yet" in words(here.get("/home"))
    passkey_of(served, who)
    assert "You have 0 recovery codes left" in words(here.get("/home"))
    served.services.directory.new_codes(who.id)
    assert "left" not in words(here.get("/home"))


@pytest.mark.parametrize("path", ["/nowhere", "/map/nowhere", "/join/", "/audit/access/"])
def test_a_page_that_is_not_there_says_so_and_leads_on(visitor: Visitors, person: Persons, path: str) -> None:
    for here, way_on in ((visitor().begin(person()), "/home"), (visitor(), "/sign-in")):
        answer = here.get(path)
        assert answer.status_code == 404
        assert "There is no such page" in words(answer)
        assert way_on in links(answer)
