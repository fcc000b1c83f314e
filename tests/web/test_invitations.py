"""Invitations and one-time links: looked at as often as one likes, used once, and one answer for all that are no good."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from hub.identity import people, tickets
from hub.identity.people import Person
from tests.web.served import Served, serve
from tests.web.visiting import Visitor, words

Visitors = Callable[[], Visitor]
Persons = Callable[..., Person]
Later = Callable[[timedelta], None]
Issue = Callable[..., str]


@pytest.fixture
def issue(served: Served) -> Issue:
    """The path of a new ticket."""

    def issued(who: Person, kind: tickets.Kind = "invitation") -> str:
        token = tickets.issue(served.world.database.writer, who.id, kind, served.world.clock(), timedelta(hours=1))
        return f"/{'join' if kind == 'invitation' else 'enter'}/{token}"

    return issued


def test_an_invitation_makes_a_passkey_shows_codes_once_and_signs_in(
    served: Served, visitor: Visitors, person: Persons, issue: Issue
) -> None:
    who, here = person("analyst", "auditor"), visitor()
    path = issue(who)
    page = words(here.get(path))
    assert f"{who.name} of Health , as analyst, auditor" in page
    assert who.handle in page
    answer, device = here.make_passkey(path, "Work laptop")
    assert answer.status_code == 200
    assert len(set(codes_in(answer.text))) == 10
    assert here.session
    assert (here.session.person.id, here.session.method) == (who.id, "invitation")
    assert [p.label for p in served.services.passkeys.of(who.id)] == ["Work laptop"]
    mine = [leaf for leaf in served.world.leaves() if leaf["by"].get("person") == str(who.id)]
    assert [(leaf["type"], leaf["asked"].get("change") or leaf["asked"]["method"]) for leaf in mine] == [
        ("person", "add-passkey"),
        ("person", "new-codes"),
        ("sign-in", "invitation"),
    ]
    assert visitor().sign_in(device).status_code == 303
    assert visitor().get("/account").headers["location"].startswith("/sign-in")


def codes_in(page: str) -> list[str]:
    return re.findall(r"<li><code>([0-9A-Z-]{19})</code></li>", page)


def test_looking_at_an_invitation_does_not_use_it(visitor: Visitors, person: Persons, issue: Issue) -> None:
    path = issue(person())
    for _ in range(3):
        assert visitor().get(path).status_code == 200
        assert visitor().send("HEAD", path).status_code == 200
        assert visitor().ask(f"{path}/options").status_code == 200
    assert visitor().make_passkey(path)[0].status_code == 200


def test_used_void_expired_disabled_and_made_up_invitations_are_one_answer(
    served: Served, visitor: Visitors, person: Persons, issue: Issue, later: Later
) -> None:
    used, replaced, gone = issue(person()), person(), person()
    visitor().make_passkey(used)
    void = issue(replaced)
    issue(replaced)
    disabled = issue(gone)
    people.disable(served.world.database.writer, gone.handle, served.world.clock())
    old = issue(person())
    later(timedelta(hours=1))
    link = issue(person(), "link").replace("enter", "join")
    for method in ("GET", "POST"):
        answers = [
            visitor().send(method, path, data={} if method == "POST" else None)
            for path in (used, void, disabled, old, link, "/join/" + "x" * 43, "/join/nonsense")
        ]
        assert {a.status_code for a in answers} == {404}
        assert len({a.text for a in answers}) == 1
    assert "ask the operator of the hub for a new invitation" in words(answers[0])


def test_of_two_with_one_invitation_one_gets_in(served: Served, visitor: Visitors, person: Persons, issue: Issue) -> None:
    who = person()
    path, browsers = issue(who), [visitor() for _ in range(4)]
    made = [json.dumps(here.device().create(here.ask(f"{path}/options").text)) for here in browsers]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda here, credential: here.post(path, {"credential": credential}).status_code, browsers, made))
    assert sorted(answers) == [200, 404, 404, 404]
    assert len(served.services.passkeys.of(who.id)) == 1


@pytest.mark.parametrize("wrong", [{"flags": 0x01}, {"origin": "https://elsewhere.example"}])
def test_a_passkey_that_is_refused_gives_no_session_and_leaves_the_invitation_good(
    served: Served, visitor: Visitors, person: Persons, issue: Issue, wrong: dict[str, object]
) -> None:
    who, here = person(), visitor()
    path = issue(who)
    answer, _ = here.make_passkey(path, **wrong)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "The passkey was not accepted: try again" in words(answer)
    assert served.services.passkeys.of(who.id) == []
    assert here.make_passkey(path)[0].status_code == 200


@pytest.mark.parametrize(("typed", "kept"), [("  ", "My passkey"), ("a\u202eb\n", "ab"), ("x" * 200, "x" * 60), ("<b>&", "<b>&")])
def test_any_name_for_a_passkey_will_do(served: Served, visitor: Visitors, person: Persons, issue: Issue, typed: str, kept: str) -> None:
    who = person()
    assert visitor().make_passkey(issue(who), typed)[0].status_code == 200
    assert [p.label for p in served.services.passkeys.of(who.id)] == [kept]


def test_a_link_signs_in_once_by_its_button_alone(served: Served, visitor: Visitors, person: Persons, issue: Issue) -> None:
    who, here = person("auditor"), visitor()
    path = issue(who, "link")
    for _ in range(3):
        assert f"Continue as {who.name}" in words(visitor().get(path))
        assert visitor().send("HEAD", path).status_code == 200
    answer = here.post(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/home")
    assert here.session
    assert here.session.method == "link"
    assert visitor().post(path).status_code == 404
    assert visitor().get(path).status_code == 404


def test_a_link_tells_whoever_is_signed_in_that_they_will_be_signed_out(visitor: Visitors, person: Persons, issue: Issue) -> None:
    first, second = person(), person()
    here = visitor().begin(first)
    path = issue(second, "link")
    assert f"In this browser {first.name} is signed in" in words(here.get(path))
    here.post(path)
    assert here.session
    assert here.session.person.id == second.id


def test_a_hub_that_is_no_demo_has_no_links(served: Served, person: Persons, issue: Issue) -> None:
    path = issue(person(), "link")
    with serve(served.world, sign_in_links=False) as strict:
        here = Visitor(strict)
        absent = here.get("/enter/" + "x" * 43)
        assert (here.get(path).status_code, here.post(path).status_code) == (404, 404)
        assert here.get(path).text == absent.text
        assert here.session is None
    assert Visitor(served).get(path).status_code == 200  # it is still good where links are
