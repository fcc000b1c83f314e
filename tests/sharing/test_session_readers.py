"""People read like clients do: by their session, for the purpose they chose, and no longer than it lasts."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from hub.api.services import SESSION_COOKIE
from hub.crypto.remote import RemoteKeys
from hub.identity import people
from hub.identity.people import Person
from hub.identity.sessions import Session, Sessions
from tests.world import World, feature, grant

ITEMS, MAP = "/collections/incidents/items", "/collections/incidents/map?bbox=-180,-90,180,90"


@dataclass
class SignedIn:
    """Somebody's session and its cookie."""

    world: World
    session: Session
    cookie: str

    def get(self, path: str, method: str = "GET", **headers: str) -> Any:
        return self.world.http.request(method, path, headers={"Cookie": f"{SESSION_COOKIE}={self.cookie}"} | headers)

    def all(self, record: str) -> list[int]:
        return [self.get(path).status_code for path in (ITEMS, MAP, f"{ITEMS}/{record}", f"{ITEMS}/{record}/explain")]


@pytest.fixture(scope="module")
def analyst(world: World, tmp_path_factory: pytest.TempPathFactory) -> Person:
    for slug in ("police", "health"):
        world.organisation(slug)
    fine = {"category": "clear", "place": "clear", "narrative": "clear"}
    grants = [grant(), grant("case", fields=fine, case_reference="required"), grant("other", ["planning"])]
    world.mou(tmp_path_factory.mktemp("mous"), "MOU-1", "police", "health", grants)
    assert world.publish("police", feature("A-1", narrative="A canary")).status_code == 201
    return people.add(world.database.writer, "health", "analyst", "Analyst", ["analyst"])


@pytest.fixture
def record(world: World, analyst: Person) -> str:
    with world.superuser() as admin:
        return str(admin.exec_driver_sql("select id from hub.incidents").scalar_one())


def sign_in(world: World, person: Person, purpose: str | None = "research", case: str | None = None) -> SignedIn:
    cookie, session = world.services.sessions.begin(person, "passkey")
    return SignedIn(world, world.services.sessions.choose(session, purpose, case) if purpose else session, cookie)


def newest(world: World) -> dict[str, Any]:
    return world.leaves()[-1]


def test_a_person_reads_what_a_client_of_the_organisation_reads(world: World, analyst: Person, record: str) -> None:
    visit = sign_in(world, analyst)
    headers = world.bearer("health", "research")
    for path in (ITEMS, MAP, f"{ITEMS}/{record}", f"{ITEMS}/{record}/explain"):
        found, expected = visit.get(path).json(), world.http.get(path, headers=headers).json()
        assert {n: v for n, v in found.items() if n not in ("timeStamp", "at")} == {
            n: v for n, v in expected.items() if n not in ("timeStamp", "at")
        }
        assert visit.get(path, "HEAD").status_code == 200


def test_the_log_names_the_person_and_the_session(world: World, analyst: Person, record: str) -> None:
    visit = sign_in(world, analyst)
    for path in (ITEMS, MAP, f"{ITEMS}/{record}/explain"):
        visit.get(path)
        leaf = newest(world)
        assert leaf["by"] == {
            "organisation": "health", "person": str(analyst.id), "session": str(visit.session.id), "from": "testclient",
        }  # fmt: skip
        assert (leaf["type"], leaf["decision"], leaf["purpose"], leaf["owner"]) == ("query", "permit", "research", "police")


def test_the_case_that_was_chosen_opens_its_grants_and_is_in_the_log(world: World, analyst: Person, record: str) -> None:
    path = f"{ITEMS}/{record}"
    assert "narrative" not in sign_in(world, analyst).get(path).json()["properties"]
    assert "case" not in newest(world)
    assert sign_in(world, analyst, case="2026/17").get(path).json()["properties"]["narrative"] == "A canary"
    assert newest(world)["case"] == "2026/17"


def test_without_a_purpose_nothing_is_read_and_the_answer_says_so(world: World, analyst: Person, record: str) -> None:
    visit = sign_in(world, analyst, None)
    for path in (ITEMS, MAP, f"{ITEMS}/{record}", f"{ITEMS}/{record}/explain"):
        answer = visit.get(path)
        assert answer.status_code == 403
        assert "No purpose is chosen" in answer.json()["detail"]
        leaf = newest(world)
        assert (leaf["type"], leaf["decision"], leaf["by"]["person"]) == ("refusal", "refuse", str(analyst.id))
        assert leaf["reason"].startswith("No purpose is chosen")


def test_an_ended_session_reads_nothing_more(world: World, analyst: Person, record: str) -> None:
    visit, other = sign_in(world, analyst), sign_in(world, analyst)
    assert visit.all(record) == [200] * 4
    world.services.sessions.end(visit.session)
    before = world.leaves()
    assert visit.all(record) == [401] * 4
    assert world.leaves() == before  # nobody is known to ask: such failures are counted by the minute
    assert other.all(record) == [200] * 4


@pytest.mark.parametrize("how", ["ended", "person disabled", "half an hour without use"])
def test_a_session_that_ends_while_it_asks_is_refused_by_the_query_itself_and_logged(
    world: World, analyst: Person, record: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The page has found the session good; the query asks again, in the transaction that would disclose."""
    person = people.add(world.database.writer, "health", f"leaver-{how.replace(' ', '-')}", "Analyst", ["analyst"])
    visit = sign_in(world, person)
    assert visit.all(record) == [200] * 4
    found = world.services.sessions.find(visit.cookie)
    monkeypatch.setattr(Sessions, "find", lambda *_: found)
    monkeypatch.setattr(RemoteKeys, "open_batch", lambda *_: pytest.fail("opened"))
    with world.superuser() as admin:
        admin.exec_driver_sql(
            {
                "ended": "update hub.sessions set ended_at = now() where id = %s",
                "person disabled": "update hub.people set disabled_at = now() where id = (select person from hub.sessions where id = %s)",
                "half an hour without use": "update hub.sessions set seen_at = now() - interval '31 minutes' where id = %s",
            }[how],
            (str(visit.session.id),),
        )
    for path in (ITEMS, MAP, f"{ITEMS}/{record}", f"{ITEMS}/{record}/explain"):
        answer = visit.get(path)
        assert answer.status_code == 401
        assert "sign in again" in answer.json()["detail"]
        leaf = newest(world)
        assert (leaf["type"], leaf["decision"], leaf["by"]["session"]) == ("refusal", "refuse", str(visit.session.id))
        assert leaf.keys().isdisjoint({"owner", "shown"})


def test_a_locked_session_reads_nothing(world: World, analyst: Person, record: str) -> None:
    visit = sign_in(world, analyst)
    world.clock.ahead = timedelta(minutes=31)
    try:
        assert visit.all(record) == [401] * 4
    finally:
        world.clock.ahead = timedelta(0)


@pytest.mark.parametrize("roles", [["auditor"], ["agreement-lead"], ["integrator"], ["operator"]])
def test_only_analysts_read_records(world: World, analyst: Person, record: str, roles: list[str]) -> None:
    person = people.add(world.database.writer, "health", f"only-{roles[0]}", "Somebody", roles)
    visit = sign_in(world, person)
    for path in (ITEMS, MAP, f"{ITEMS}/{record}", f"{ITEMS}/{record}/explain"):
        assert visit.get(path).status_code == 403
        assert newest(world)["reason"] == "the roles give no scope query"


def test_a_cursor_is_of_no_use_in_another_session(world: World, analyst: Person) -> None:
    assert world.publish("police", feature("A-2")).status_code == 201
    one, other = sign_in(world, analyst), sign_in(world, analyst)
    following = next(link["href"] for link in one.get(f"{ITEMS}?limit=1").json()["links"] if link["rel"] == "next")
    path = following[following.index("/collections") :]
    assert one.get(path).status_code == 200
    assert other.get(path).status_code == 400
    world.services.sessions.choose(one.session, "planning", None)
    assert one.get(path).status_code == 400


def test_a_token_counts_before_a_cookie_and_a_cookie_publishes_nothing(world: World, analyst: Person) -> None:
    visit = sign_in(world, analyst)
    assert visit.get(ITEMS, Authorization="Bearer x").status_code == 401
    answer = world.http.post(ITEMS, json=feature("B-1"), headers={"Cookie": f"{SESSION_COOKIE}={visit.cookie}"})
    assert answer.status_code == 401
