"""Who may open which page: every page that the router has × every role × organisations that are party, stranger and auditor.

A page that nobody wrote into MAY fails the first test: who may open it has to be said.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from hub.identity.people import AUDITORS_ROLES, ROLES, Person
from tests.web.routes import address, routes
from tests.web.served import Served
from tests.web.visiting import Visitor
from tests.world import feature, grant

PARTNERS = ("health", "stranger")  # of which health has an agreement
SEATS = [(role, organisation) for organisation in PARTNERS for role in ROLES] + [(role, "watch") for role in sorted(AUDITORS_ROLES)]
EVERYBODY = frozenset(SEATS)
ANALYSTS = frozenset(seat for seat in SEATS if seat[0] == "analyst")
OWNERS = frozenset((role, organisation) for role in ("auditor", "agreement-lead") for organisation in PARTNERS)
LEADS = frozenset(seat for seat in SEATS if seat[0] == "agreement-lead")
VERSION = "/agreements/{mou}/versions/{version}"
AUDITORS = frozenset({("auditor", "watch")})
REVIEWERS = AUDITORS | frozenset(seat for seat in OWNERS if seat[0] == "auditor")
PUBLIC = "public"  # without signing in
BBOX = "?bbox=1,1,2,2"
MAY: dict[tuple[str, str], Any] = {
    ("GET", "/sign-in"): PUBLIC, ("POST", "/sign-in"): PUBLIC, ("POST", "/sign-in/options"): PUBLIC,
    ("GET", "/recover"): PUBLIC, ("POST", "/recover"): PUBLIC,
    ("GET", "/join/{ticket}"): PUBLIC, ("POST", "/join/{ticket}"): PUBLIC, ("POST", "/join/{ticket}/options"): PUBLIC,
    ("GET", "/enter/{ticket}"): PUBLIC, ("POST", "/enter/{ticket}"): PUBLIC,
    ("GET", "/assets/{path:path}"): PUBLIC, ("GET", "/map/page.js"): PUBLIC, ("GET", "/map/page.css"): PUBLIC,
    ("GET", "/unlock"): EVERYBODY, ("POST", "/unlock"): EVERYBODY, ("POST", "/unlock/options"): EVERYBODY, ("POST", "/sign-out"): EVERYBODY,
    ("GET", "/home"): EVERYBODY, ("GET", "/account"): EVERYBODY, ("GET", "/boundaries.json"): EVERYBODY,
    ("POST", "/account/passkeys"): EVERYBODY, ("POST", "/account/passkeys/options"): EVERYBODY,
    ("POST", "/account/passkeys/rename"): EVERYBODY, ("POST", "/account/passkeys/remove"): EVERYBODY,
    ("POST", "/account/codes"): EVERYBODY, ("POST", "/account/sign-out-everywhere"): EVERYBODY,
    ("GET", "/agreements"): EVERYBODY, ("GET", "/agreements/areas.json"): EVERYBODY, ("GET", "/agreements/{mou}"): EVERYBODY,
    ("GET", "/agreements/draft"): LEADS, ("POST", "/agreements/draft"): LEADS,
    ("GET", f"{VERSION}"): LEADS, ("GET", f"{VERSION}/{{part}}"): LEADS, ("POST", f"{VERSION}/{{step}}"): LEADS,
    ("GET", "/purpose"): ANALYSTS, ("POST", "/purpose"): ANALYSTS,
    ("GET", "/map"): ANALYSTS, ("POST", "/map/export"): ANALYSTS,
    ("GET", "/maps"): ANALYSTS, ("POST", "/maps"): ANALYSTS, ("GET", "/maps/{id}"): ANALYSTS, ("POST", "/maps/{id}/delete"): ANALYSTS,
    ("GET", "/audit"): AUDITORS, ("GET", "/audit.csv"): AUDITORS, ("GET", "/audit/access/{event}"): AUDITORS | OWNERS,
    ("GET", "/audit/records/{dataset}/{id}"): AUDITORS | OWNERS, ("GET", "/audit/state"): AUDITORS | OWNERS,
    ("GET", "/flags"): AUDITORS | OWNERS, ("GET", "/flags/{id}"): AUDITORS | OWNERS, ("POST", "/flags/{id}"): AUDITORS,
    ("GET", "/reviews"): AUDITORS | OWNERS, ("POST", "/reviews"): AUDITORS | OWNERS,
    ("POST", "/reviews/{review}/assign"): AUDITORS | OWNERS, ("POST", "/reviews/{review}/end"): AUDITORS | OWNERS,
    ("GET", "/reviews/runs/{run}"): AUDITORS | OWNERS, ("GET", "/reviews/runs/{run}/review.pdf"): AUDITORS | OWNERS,
    ("POST", "/reviews/runs/{run}"): REVIEWERS, ("POST", "/reviews/runs/{run}/sign"): REVIEWERS,
    ("GET", "/owner"): OWNERS, ("GET", "/owner.csv"): OWNERS, ("GET", "/owner.ndjson"): OWNERS, ("GET", "/owner/summary"): OWNERS,
    ("GET", "/audit.ndjson"): AUDITORS, ("GET", "/audit/summary"): AUDITORS,
    ("GET", "/audit/searches"): AUDITORS | OWNERS, ("POST", "/audit/searches"): AUDITORS | OWNERS,
    ("GET", "/audit/searches/{id}"): AUDITORS | OWNERS, ("POST", "/audit/searches/{id}/rename"): AUDITORS | OWNERS,
    ("POST", "/audit/searches/{id}/delete"): AUDITORS | OWNERS,
}  # fmt: skip
PAGES = sorted(MAY)


@dataclass(frozen=True)
class House:
    served: Served
    people: dict[tuple[str, str], Person]

    def visit(self, seat: tuple[str, str], method: str = "passkey") -> Visitor:
        return Visitor(self.served).begin(self.people[seat], method, "research" if seat[0] == "analyst" else None)


@pytest.fixture(scope="module")
def house(served: Served, person: Callable[..., Person], tmp_path_factory: pytest.TempPathFactory) -> House:
    world = served.world
    for slug in ("police", "health", "stranger"):
        world.organisation(slug)
    world.organisation("watch", "auditor", ["audit"])
    world.mou(tmp_path_factory.mktemp("mous"), "MOU-HEALTH", "police", "health", [grant(actions=["query", "export"])])
    assert world.publish("police", feature("one")).status_code == 201
    return House(served, {(role, slug): person(role, organisation=slug) for role, slug in SEATS})


def open_page(here: Visitor, method: str, path: str) -> Any:
    where = address(path) + (BBOX if path in ("/maps", "/map/export") and method == "POST" else "")
    if method == "GET":
        return here.get(where)
    return here.ask(where) if path.endswith("/options") else here.post(where, {"name": "x", "next": "/home"})


def turned_away(answer: Any) -> bool:
    """Refused, or sent to sign in or to unlock."""
    to = answer.headers.get("location", "")
    return answer.status_code == 403 or to.startswith(("/sign-in?next", "/unlock"))


def test_of_every_page_it_is_said_who_may_open_it() -> None:
    there = {(method, path) for method in ("GET", "POST") for path in routes(method)}
    assert there == set(MAY)


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_a_page_opens_for_whom_it_is_and_for_nobody_else(house: House, method: str, path: str) -> None:
    allowed = EVERYBODY if MAY[method, path] == PUBLIC else MAY[method, path]
    seen = {seat: open_page(house.visit(seat), method, path) for seat in SEATS}
    refused = {seat for seat, answer in seen.items() if answer.status_code == 403 and "agreement" not in _title(answer)}
    if path == "/map/export":  # who has no agreement is refused by that, whatever their role
        refused -= {("analyst", "stranger")}
    assert refused == EVERYBODY - allowed
    assert not any(turned_away(seen[seat]) for seat in allowed - {("analyst", "stranger")})
    assert all(answer.status_code < 500 for answer in seen.values())


def _title(answer: Any) -> str:
    return str(answer.text.partition("<h1>")[2].partition("</h1>")[0])


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_without_a_session_only_public_pages_open(house: House, method: str, path: str) -> None:
    answer = open_page(Visitor(house.served), method, path)
    if MAY[method, path] == PUBLIC:
        assert not (answer.headers.get("location") or "").startswith("/sign-in?next")
        assert answer.status_code != 403
    elif path == "/sign-out":
        assert answer.headers["location"] == "/sign-in?signed-out=1"
    else:
        assert (answer.status_code, answer.headers["location"][:14]) == (303, "/sign-in?next=")


@pytest.mark.parametrize(("method", "path"), [page for page in PAGES if MAY[page] != PUBLIC])
def test_a_session_of_a_recovery_code_opens_the_account_alone(house: House, method: str, path: str) -> None:
    here = house.visit(("analyst", "health"), "recovery-code")
    answer = open_page(here, method, path)
    if path in ("/account", "/account/passkeys", "/account/passkeys/options"):
        assert answer.status_code in (200, 401)  # 401: no passkey was sent
    elif path.startswith("/account"):
        assert answer.status_code == 403
    elif path == "/sign-out":
        assert answer.headers["location"] == "/sign-in?signed-out=1"
    elif path.startswith("/unlock"):
        assert answer.headers["location"] == "/home"  # it is not locked; from there to the account
    else:
        assert (answer.status_code, answer.headers["location"]) == (303, "/account")


@pytest.mark.parametrize("seat", SEATS)
def test_a_refusal_is_in_the_log_with_who_and_which_page(house: House, seat: tuple[str, str]) -> None:
    path = "/audit" if seat not in AUDITORS else "/map"
    assert house.visit(seat).get(path).status_code == 403
    who = str(house.people[seat].id)
    (leaf, *_) = [leaf for leaf in reversed(house.served.world.leaves(type="refusal")) if leaf["by"].get("person") == who]
    assert leaf["by"]["organisation"] == seat[1]
    assert leaf["decision"] == "refuse"


@pytest.mark.parametrize("role", ROLES)
def test_what_belongs_to_another_organisation_is_answered_as_if_it_were_not_there(house: House, role: str) -> None:
    """Of the agreement, and of the access to the records of its provider."""
    health, stranger = house.visit((role, "health")), house.visit((role, "stranger"))
    assert health.get("/agreements/MOU-HEALTH").status_code == 200  # control
    assert stranger.get("/agreements/MOU-HEALTH").text == stranger.get("/agreements/MOU-NOTHERE").text
    assert stranger.get("/agreements/MOU-HEALTH").status_code == 404
    assert health.get("/agreements/areas.json?mou=MOU-HEALTH").status_code == 200
    assert stranger.get("/agreements/areas.json?mou=MOU-HEALTH").status_code == 404
    if role in ("auditor", "agreement-lead"):
        (leaf, *_) = house.served.world.leaves(type="publish")
        assert house.visit(("auditor", "watch")).get(f"/audit/access/{leaf['event']}").status_code == 200  # control
        assert stranger.get(f"/audit/access/{leaf['event']}").status_code == 404


@pytest.mark.parametrize("role", ROLES)
def test_the_api_gives_a_session_what_its_role_gives_and_no_more(house: House, role: str) -> None:
    here = house.visit((role, "health"))
    asked = {"Accept": "application/json"}
    if role != "analyst":
        house.served.services.sessions.choose(here.session, "research", None)  # type: ignore[arg-type]
    assert here.get("/collections/incidents/items", headers=asked).status_code == (200 if role == "analyst" else 403)
    assert here.get("/audit/events", headers=asked).status_code == (200 if role in ("auditor", "agreement-lead") else 403)
