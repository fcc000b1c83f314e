"""One's own account: passkeys, recovery codes, sessions; and that nobody reaches anybody else's."""

import re
from collections.abc import Callable

from hub.identity.people import Person
from tests.web.served import Served
from tests.web.visiting import Visitor, passkey_of, words

Visitors = Callable[[], Visitor]
Persons = Callable[..., Person]


def labels(served: Served, who: Person) -> list[str]:
    return [p.label for p in served.services.passkeys.of(who.id)]


def credential(served: Served, who: Person, label: str) -> str:
    return next(p.credential_id.hex() for p in served.services.passkeys.of(who.id) if p.label == label)


def test_the_page_says_who_one_is(visitor: Visitors, person: Persons) -> None:
    who = person("analyst", "agreement-lead")
    page = words(visitor().begin(who).get("/account"))
    for part in (who.name, who.handle, "Health", "analyst : looks at what agreements share", "agreement lead : answers for agreements"):
        assert part in page


def test_a_passkey_is_added_renamed_and_removed(served: Served, visitor: Visitors, person: Persons) -> None:
    who, here = person(), visitor()
    first = passkey_of(served, who, "Laptop")
    here.begin(who)
    cookie = here.cookie
    answer, second = here.make_passkey("/account/passkeys", "Key <ring>")
    assert answer.headers["location"] == "/account?done=added"
    assert here.cookie == cookie
    assert "Key &lt;ring&gt;" in here.get("/account").text
    assert labels(served, who) == ["Laptop", "Key <ring>"]
    here.post("/account/passkeys/rename", {"id": credential(served, who, "Laptop"), "label": "Old laptop"})
    here.post("/account/passkeys/remove", {"id": credential(served, who, "Old laptop")})
    assert labels(served, who) == ["Key <ring>"]
    assert visitor().sign_in(first).status_code == 401
    assert visitor().sign_in(second).status_code == 303
    changes = [leaf["asked"]["change"] for leaf in served.world.leaves(type="person") if leaf["by"].get("person") == str(who.id)]
    assert changes == ["add-passkey", "remove-passkey"]


def test_the_only_passkey_stays_and_the_page_says_why(served: Served, visitor: Visitors, person: Persons) -> None:
    who = person()
    passkey_of(served, who)
    here = visitor().begin(who)
    assert "Your only passkey can’t be removed" in words(here.get("/account"))
    answer = here.post("/account/passkeys/remove", {"id": credential(served, who, "Laptop")})
    assert answer.status_code == 400
    assert "add another one first" in words(answer)
    assert labels(served, who) == ["Laptop"]


def test_what_can_not_be_is_told_on_the_page(served: Served, visitor: Visitors, person: Persons) -> None:
    who = person()
    passkey_of(served, who)
    here = visitor().begin(who)
    id = credential(served, who, "Laptop")
    for path, fields in (
        ("rename", {"id": id, "label": ""}),
        ("rename", {"id": id, "label": "x" * 61}),
        ("rename", {"id": "no hex", "label": "x"}),
        ("remove", {"id": "00"}),
        ("remove", {}),
    ):
        answer = here.post(f"/account/passkeys/{path}", fields)
        assert answer.status_code == 400, fields
        assert 'role="alert"' in answer.text
        assert "Where you are signed in" in words(answer)


def test_nobody_renames_or_removes_anybody_elses_passkey(served: Served, visitor: Visitors, person: Persons) -> None:
    victim, who = person(), person()
    for label in ("A", "B"):
        passkey_of(served, victim, label)
        passkey_of(served, who, label)
    here = visitor().begin(who)
    id = credential(served, victim, "A")
    assert here.post("/account/passkeys/rename", {"id": id, "label": "Mine"}).status_code == 400
    assert here.post("/account/passkeys/remove", {"id": id}).status_code == 400
    assert labels(served, victim) == ["A", "B"]
    own = credential(served, who, "A")
    assert here.post("/account/passkeys/remove", {"id": own}).status_code == 303  # control


def test_new_codes_are_shown_once_and_void_the_old_ones(served: Served, visitor: Visitors, person: Persons) -> None:
    who = person()
    old = served.services.directory.new_codes(who.id)
    here = visitor().begin(who)
    answer = here.post("/account/codes")
    codes = re.findall(r"<li><code>([0-9A-Z-]{19})</code></li>", answer.text)
    assert len(codes) == 10
    assert answer.headers["cache-control"] == "no-store"
    page = here.get("/account")
    assert "You have 10 codes left" in words(page)
    assert not any(code in page.text for code in codes)
    assert visitor().post("/recover", {"handle": who.handle, "code": old[0]}).status_code == 401
    assert visitor().post("/recover", {"handle": who.handle, "code": codes[0]}).status_code == 303


def test_signing_out_everywhere_is_felt_by_the_other_browsers_next_request(served: Served, visitor: Visitors, person: Persons) -> None:
    who = person("analyst")
    here, there, another = visitor().begin(who), visitor().begin(who, "link"), visitor().begin(person("analyst"))
    page = words(here.get("/account"))
    assert page.count("Another browser") == 1
    assert "This browser with a passkey" in page
    assert there.get("/maps").status_code == 200
    assert here.post("/account/sign-out-everywhere").headers["location"] == "/sign-in?signed-out=1"
    assert there.get("/maps").headers["location"].startswith("/sign-in")
    assert there.get("/collections/incidents/items", headers={"Accept": "application/json"}).status_code == 401
    assert here.get("/home").headers["location"].startswith("/sign-in")
    assert another.get("/maps").status_code == 200
    (leaf,) = [leaf for leaf in served.world.leaves(type="sign-out") if leaf["by"].get("person") == str(who.id)]
    assert leaf["asked"] == {"everywhere": 2}
