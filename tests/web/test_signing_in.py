"""Signing in with a passkey, over HTTP: the cookie, fixation, refusals, the limit on tries, what is logged; and signing out."""

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from hub.api.services import SESSION_COOKIE
from hub.identity import people
from hub.identity.attempts import MOST
from hub.identity.people import Person
from hub.web.entry import source_key
from tests.web.served import Served
from tests.web.visiting import Visitor, passkey_of, words
from tests.world import World

Visitors = Callable[[], Visitor]
Persons = Callable[..., Person]
Later = Callable[[timedelta], None]


def leaves(served: Served, person: Person, kind: str) -> list[dict[str, Any]]:
    return [leaf for leaf in served.world.leaves(type=kind) if leaf["by"].get("person") == str(person.id)]


def test_a_passkey_signs_its_person_in_and_the_log_says_so(served: Served, visitor: Visitors, person: Persons) -> None:
    who, here = person(), visitor()
    device = passkey_of(served, who)
    answer = here.sign_in(device, wanted="/agreements?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/agreements?x=1")
    assert here.session
    assert here.session.person.id == who.id
    (leaf,) = leaves(served, who, "sign-in")
    assert leaf["decision"] == "permit"
    assert leaf["asked"] == {"method": "passkey"}
    assert leaf["by"] == {"organisation": "health", "person": str(who.id), "session": str(here.session.id), "from": here.source}
    assert here.get("/home").status_code == 200


def test_the_cookie_is_bound_to_this_host_and_hidden_from_scripts(served: Served, visitor: Visitors, person: Persons) -> None:
    answer = visitor().sign_in(passkey_of(served, person()))
    name_value, *attributes = [part.strip() for part in answer.headers["set-cookie"].split(";")]
    assert name_value.startswith(f"{SESSION_COOKIE}=")
    assert SESSION_COOKIE.startswith("__Host-")
    assert {a.lower() for a in attributes} == {"httponly", "path=/", "samesite=lax", "secure"}  # no Domain, no Max-Age


def test_an_analyst_comes_to_choose_a_purpose_first(served: Served, visitor: Visitors, person: Persons) -> None:
    answer = visitor().sign_in(passkey_of(served, person("analyst")), wanted="/map?bbox=1,2,3,4")
    assert answer.headers["location"] == "/purpose?next=%2Fmap%3Fbbox%3D1%2C2%2C3%2C4"


def test_a_cookie_that_somebody_planted_is_not_adopted(served: Served, visitor: Visitors, person: Persons) -> None:
    planted, here = "A" * 43, visitor()
    here.cookie = planted
    here.sign_in(passkey_of(served, person()))
    assert here.cookie not in (None, planted)
    assert served.services.sessions.find(planted) is None
    assert here.session


def test_a_session_of_the_browser_ends_when_another_begins_in_it(served: Served, visitor: Visitors, person: Persons) -> None:
    """Also one that an attacker began as themselves and planted."""
    attacker, who, here = person(), person(), visitor()
    here.begin(attacker)
    planted = str(here.cookie)
    assert here.send("GET", "/home", cookie=planted).status_code == 200
    assert here.sign_in(passkey_of(served, who)).status_code == 303
    assert here.cookie != planted
    assert served.services.sessions.find(planted) is None
    assert [leaf["asked"] for leaf in leaves(served, attacker, "sign-out")] == [{"instead": "a new session"}]


@pytest.mark.parametrize("wrong", [{"flags": 0x01}, {"spoilt": True}, {"origin": "https://elsewhere.example"}, {"challenge": "AAAA"}])
def test_a_wrong_answer_of_a_passkey_signs_nobody_in(served: Served, visitor: Visitors, person: Persons, wrong: dict[str, Any]) -> None:
    here, device = visitor(), passkey_of(served, person())
    answer = here.sign_in(device, **wrong)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "The passkey was not accepted" in words(answer)
    assert here.sign_in(device).status_code == 303  # the same device doing it right


def test_every_refusal_reads_the_same(served: Served, visitor: Visitors, person: Persons) -> None:
    who = person()
    known = passkey_of(served, who)
    people.disable(served.world.database.writer, who.handle, served.world.clock())
    stranger = visitor().device()
    stranger.user_handle = person().id.bytes
    good = passkey_of(served, person())
    answers = [visitor().sign_in(known), visitor().sign_in(stranger), visitor().sign_in(good, spoilt=True)]
    assert {a.status_code for a in answers} == {401}
    assert len({a.text for a in answers}) == 1


def test_the_refusal_of_a_known_person_is_logged_with_the_reason_that_they_are_not_told(
    served: Served, visitor: Visitors, person: Persons
) -> None:
    who = person()
    visitor().sign_in(passkey_of(served, who), flags=0x01)
    (leaf,) = leaves(served, who, "sign-in")
    assert leaf["decision"] == "refuse"
    assert "verif" in leaf["reason"].lower()
    assert "session" not in leaf["by"]


def test_the_refusal_of_nobody_known_is_counted_and_not_logged_alone(served: Served, visitor: Visitors, person: Persons) -> None:
    stranger = visitor().device()
    stranger.user_handle = person().id.bytes
    before = len(served.world.leaves())
    visitor().sign_in(stranger)
    served.services.failures.flush(served.world.clock())
    new = served.world.leaves()[before:]
    assert [leaf["type"] for leaf in new] == ["unauthenticated"] * len(new)
    assert sum(leaf["asked"]["counts"].get("sign-in", 0) for leaf in new) >= 1


def test_the_sixth_try_in_fifteen_minutes_from_one_address_waits(served: Served, visitor: Visitors, person: Persons, later: Later) -> None:
    here, device = visitor(), passkey_of(served, person())
    stranger = visitor().device()
    stranger.user_handle = person().id.bytes
    for _ in range(MOST):
        assert here.sign_in(stranger).status_code == 401
    answer = here.sign_in(device)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) in range(1, 901)
    assert "Try again in 15 minutes" in words(answer)
    assert visitor().sign_in(device).status_code == 303  # from elsewhere
    later(timedelta(minutes=15))
    assert here.sign_in(device).status_code == 303


def test_five_failures_of_one_person_stop_their_passkey_everywhere(
    served: Served, visitor: Visitors, person: Persons, later: Later
) -> None:
    device = passkey_of(served, person())
    for _ in range(MOST):
        assert visitor().sign_in(device, flags=0x01).status_code == 401
    assert visitor().sign_in(device).status_code == 429
    assert visitor().sign_in(passkey_of(served, person())).status_code == 303
    later(timedelta(minutes=15))
    assert visitor().sign_in(device).status_code == 303


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "source 192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "source 2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "source 2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "source 192.0.2.7"),
        ("testclient", "source testclient"),
    ],
)
def test_tries_are_counted_by_what_one_machine_has(address: str, key: str) -> None:
    assert source_key(SimpleNamespace(client=SimpleNamespace(host=address))) == key  # type: ignore[arg-type]


def test_a_disabled_person_is_out_with_the_next_request(served: Served, visitor: Visitors, person: Persons) -> None:
    who, here = person(), visitor()
    here.sign_in(passkey_of(served, who))
    assert here.get("/home").status_code == 200
    people.disable(served.world.database.writer, who.handle, served.world.clock())
    assert here.get("/home").headers["location"].startswith("/sign-in")


def test_a_changed_role_is_felt_by_the_next_request(served: Served, visitor: Visitors, person: Persons) -> None:
    who, here = person("analyst"), visitor()
    here.begin(who)
    assert here.get("/maps").status_code == 200
    people.set_roles(served.world.database.writer, who.handle, ["integrator"])
    assert here.get("/maps").status_code == 403


def test_signing_out_ends_the_session_and_takes_the_cookie_away(served: Served, visitor: Visitors, person: Persons) -> None:
    who, here = person(), visitor()
    here.begin(who)
    cookie = str(here.cookie)
    answer = here.post("/sign-out")
    assert answer.headers["location"] == "/sign-in?signed-out=1"
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert served.services.sessions.find(cookie) is None
    assert here.send("GET", "/home", cookie=cookie).headers["location"].startswith("/sign-in")
    assert len(leaves(served, who, "sign-out")) == 1
    assert "You are signed out" in words(here.get("/sign-in?signed-out=1"))


def test_whoever_is_signed_in_does_not_sign_in_again(visitor: Visitors, person: Persons) -> None:
    here = visitor().begin(person())
    assert here.get("/sign-in?next=/agreements").headers["location"] == "/agreements"
    assert here.get("/sign-in?next=//elsewhere.example").headers["location"] == "/home"


def test_a_log_that_can_not_be_written_signs_nobody_in(
    served: Served, visitor: Visitors, person: Persons, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, device = visitor(), passkey_of(served, person())
    with served.world.superuser() as connection:
        connection.exec_driver_sql("revoke execute on function hub.audit_append from hub_auditor")
    try:
        answer = here.sign_in(device)
    finally:
        with served.world.superuser() as connection:
            connection.exec_driver_sql("grant execute on function hub.audit_append to hub_auditor")
    assert answer.status_code == 503
    assert "set-cookie" not in answer.headers
    assert here.sign_in(device).status_code == 303


def test_a_hub_at_an_ip_address_says_why_there_are_no_passkeys_and_where_to_go(world: World) -> None:
    answer = world.http.get("/sign-in", headers={"Accept": "text/html"})  # the world is at http://127.0.0.1:8000
    assert answer.status_code == 200
    assert "http://localhost:8000" in answer.text
    assert "data-passkey" not in answer.text


def test_a_page_of_a_hub_with_a_host_name_has_the_button(visitor: Visitors) -> None:
    answer = visitor().get("/sign-in")
    assert 'data-passkey="get"' in answer.text
    assert "Passkeys need JavaScript" in answer.text.partition("<noscript>")[2].partition("</noscript>")[0]
    assert "/recover" in answer.text
