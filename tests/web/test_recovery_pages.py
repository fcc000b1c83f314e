"""Coming in with a recovery code: one new passkey, and nothing else before it."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from hub.identity import people
from hub.identity.attempts import MOST
from hub.identity.people import Person
from tests.web.served import Served
from tests.web.visiting import Visitor, passkey_of, words

Visitors = Callable[[], Visitor]
Persons = Callable[..., Person]
Later = Callable[[timedelta], None]


def recovering(here: Visitor, who: Person) -> Visitor:
    code = here.served.services.directory.new_codes(who.id)[0]
    answer = here.post("/recover", {"handle": who.handle, "code": code})
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    return here


def test_a_code_leads_to_a_new_passkey_and_that_to_everything(served: Served, visitor: Visitors, person: Persons) -> None:
    who, here = person("analyst"), visitor()
    recovering(here, who)
    before = here.cookie
    page = here.get("/account")
    assert "Make a new passkey" in words(page)
    assert "Where you are signed in" not in words(page)
    assert here.get("/home").headers["location"] == "/account"
    answer, device = here.make_passkey("/account/passkeys", "New phone")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?done=recovered")
    assert here.cookie != before
    assert served.services.sessions.find(str(before)) is None
    assert here.session
    assert here.session.method == "passkey"
    assert here.get("/home").status_code == 200
    assert visitor().sign_in(device).status_code == 303


def test_after_a_code_nothing_else_is_open(served: Served, visitor: Visitors, person: Persons) -> None:
    who = person("analyst", "auditor")
    passkey_of(served, who, "Old")
    passkey_of(served, who, "Older")
    here = recovering(visitor(), who)
    kept = served.services.passkeys.of(who.id)
    for path in ("/home", "/map", "/maps", "/owner", "/agreements", "/purpose"):
        assert here.get(path).headers["location"] == "/account", path
    for path in ("/collections/incidents/items", "/audit/events"):
        assert here.get(path, headers={"Accept": "application/json"}).status_code == 401, path
    here.served.services.sessions.choose(here.session, "research", None)  # type: ignore[arg-type]
    assert here.get("/collections/incidents/items", headers={"Accept": "application/json"}).status_code == 401
    forms = {
        "/account/codes": {},
        "/account/passkeys/remove": {"id": kept[0].credential_id.hex()},
        "/account/passkeys/rename": {"id": kept[0].credential_id.hex(), "label": "Mine now"},
        "/account/sign-out-everywhere": {},
    }
    for path, fields in forms.items():
        answer = here.post(path, fields)
        assert answer.status_code == 403, path
        assert "a new passkey comes first" in words(answer)
    assert here.post("/purpose", {"purpose": "research"}).headers["location"] == "/account"
    assert served.services.passkeys.of(who.id) == kept


def test_a_code_signs_the_person_out_everywhere_else(served: Served, visitor: Visitors, person: Persons) -> None:
    who = person()
    thief = visitor().begin(who)
    assert thief.get("/home").status_code == 200
    here = recovering(visitor(), who)
    assert thief.get("/home").headers["location"].startswith("/sign-in")
    assert here.get("/account").status_code == 200
    methods = [leaf["asked"].get("method") for leaf in served.world.leaves(type="sign-in") if leaf["by"].get("person") == str(who.id)]
    assert methods == ["recovery-code"]


def test_wrong_codes_unknown_handles_and_the_disabled_get_one_answer(served: Served, visitor: Visitors, person: Persons) -> None:
    who, gone = person(), person()
    code, *_ = served.services.directory.new_codes(who.id)
    others = served.services.directory.new_codes(gone.id)[0]
    people.disable(served.world.database.writer, gone.handle, served.world.clock())
    given = [
        (who.handle, "0000-0000-0000-0000"),
        (who.handle, others),
        ("nobody@nowhere", code),
        (gone.handle, others),
        ("", ""),
        ("\0", "\0"),
    ]
    answers = [visitor().post("/recover", {"handle": handle, "code": typed}) for handle, typed in given]
    assert {a.status_code for a in answers} == {401}
    assert len({words(a) for a in answers}) == 1
    assert not any("set-cookie" in a.headers for a in answers)
    assert visitor().post("/recover", {"handle": f" {who.handle.upper()} ", "code": code.lower().replace("-", " ")}).status_code == 303
    assert visitor().post("/recover", {"handle": who.handle, "code": code}).status_code == 401  # it was good once


@pytest.mark.parametrize("by", ["handle", "address"])
def test_guesses_are_limited_by_handle_and_by_address(served: Served, visitor: Visitors, person: Persons, by: str, later: Later) -> None:
    who = person()
    code, *_ = served.services.directory.new_codes(who.id)
    one = visitor()
    for n in range(MOST):
        here, handle = (visitor(), who.handle) if by == "handle" else (one, f"nobody-{n}")
        assert here.post("/recover", {"handle": handle, "code": "0000"}).status_code == 401
    here = visitor() if by == "handle" else one
    answer = here.post("/recover", {"handle": who.handle, "code": code})
    assert answer.status_code == 429
    assert "Try again in 15 minutes" in words(answer)
    later(timedelta(minutes=15))
    assert here.post("/recover", {"handle": who.handle, "code": code}).status_code == 303


def test_the_passkey_options_of_one_person_are_no_use_to_another(served: Served, visitor: Visitors, person: Persons) -> None:
    first, second = visitor().begin(person()), person()
    other = visitor().begin(second)
    credential = json.dumps(other.device().create(first.ask("/account/passkeys/options").text))
    assert other.post("/account/passkeys", {"credential": credential, "label": "x"}).status_code == 401
    assert served.services.passkeys.of(second.id) == []
