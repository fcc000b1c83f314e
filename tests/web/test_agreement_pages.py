"""The pages of agreements: whose they are, what they say, and that what a file or a name holds is shown as text."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from markupsafe import escape
from shapely.geometry import box, mapping, shape

from hub.api.services import SESSION_COOKIE
from hub.identity import organisations, people
from tests.world import World, grant

HOSTILE = """"><script>alert(1)</script>'{{7*7}}${7*7}`\\<img src=x onerror=alert(1)> & co"""
HARBOUR, ISLANDS = box(-79.41, 43.63, -79.36, 43.66), box(-79.40, 43.61, -79.36, 43.62)
ROLES = {"integrator", "analyst", "auditor", "agreement-lead", "operator"}
WHERE = [
    {"field": "category", "one_of": ["assault", "welfare-check"]},
    {"field": "place", "within": "harbour"},
    {"field": "severity", "at_least": 3},
]


@dataclass(frozen=True)
class Scene:
    world: World
    cookies: dict[str, str]

    def open(self, who: str | None, path: str, accept: str = "text/html", method: str = "GET") -> Any:
        cookie = {"Cookie": f"{SESSION_COOKIE}={self.cookies[who]}"} if who else {}
        return self.world.http.request(method, path, headers={"Accept": accept, **cookie}, follow_redirects=False)

    def text(self, who: str, path: str) -> str:
        answer = self.open(who, path)
        assert answer.status_code == 200, answer.text
        return words(answer.text)


def words(html: str) -> str:
    """What a reader reads, entities and all."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def person(world: World, organisation: str, roles: Sequence[str]) -> str:
    made = people.add(world.database.writer, organisation, f"{roles[0]}.{organisation}", f"{roles[0]} of {organisation}", roles)
    return world.services.sessions.begin(made, "passkey")[0]


@pytest.fixture(scope="module")
def scene(world: World, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    for slug in ("police", "health", "housing", "newcomer", "newcomers"):
        world.organisation(slug)
    organisations.add(world.database.writer, "hostile", HOSTILE)
    world.organisation("watch", "auditor", ["audit"])
    folder, today = tmp_path_factory.mktemp("mous"), world.clock().date()
    areas = {name: _pin(folder, name, area) for name, area in (("harbour", HARBOUR), ("islands", ISLANDS))}

    def put(name: str, consumer: str, grants: list[dict[str, Any]], first: int = -9, last: int = 999, **more: Any) -> None:
        period = {"from": today + timedelta(days=first), "until": today + timedelta(days=last)}
        world.mou(folder, name, "police", consumer, grants, in_force=period, **more)

    seen = grant("harm-downtown", ["outreach", "prevention"], WHERE, actions=["query", "export"], case_reference="required")
    put("MOU-FULL", "health", [seen, grant("overview")], jurisdictions=areas, title="Full <em>title</em>")
    contacts = {
        "provider": {"name": "<b>Desk</b>", "email": "desk@police.example"},
        "consumer": {"name": "Front desk", "phone": "+1 555 0100"},
    }
    roles = {"provider": ["Publishes within a day"], "consumer": [HOSTILE]}
    human = {"objectives": ["Fewer injuries", HOSTILE], "communication": HOSTILE, "conflict_resolution": "They meet", "review": "Each June"}
    put("MOU-HUMAN", "newcomers", [grant()], contacts=contacts, roles=roles, **human)
    put("MOU-SOON", "health", [grant()], last=5, review_by=today - timedelta(days=1), title="Ends soon")
    put("MOU-OVER", "housing", [grant()], last=-2, title="Over already")
    put("MOU-NEXT", "housing", [grant()], first=3, title="Begins later")
    put("MOU-HOUSING", "housing", [grant()], jurisdictions={"harbour": areas["harbour"]}, title="Homes")
    put("MOU-HOSTILE", "hostile", [grant()], title=HOSTILE, legal_basis=HOSTILE)
    cookies = {slug: person(world, slug, ["analyst"]) for slug in ("police", "health", "housing", "newcomer", "hostile")}
    cookies |= {role: person(world, "health", [role]) for role in ROLES - {"analyst"}}
    return Scene(world, cookies | {"watch": person(world, "watch", ["auditor"]), "watch-operator": person(world, "watch", ["operator"])})


def _pin(folder: Path, name: str, area: Any) -> dict[str, str]:
    content = json.dumps(mapping(area)).encode()
    (folder / f"{name}.geojson").write_bytes(content)
    return {"file": f"{name}.geojson", "sha256": sha256(content).hexdigest()}


def listed(scene: Scene, who: str) -> list[str]:
    answer = scene.open(who, "/agreements")
    assert answer.status_code == 200, answer.text
    return re.findall(r'href="/agreements/([A-Z0-9-]+)"', answer.text)


# Whose


def test_an_organisation_reads_its_own_agreements_those_that_end_soon_first(scene: Scene) -> None:
    assert listed(scene, "health") == ["MOU-SOON", "MOU-FULL"]
    assert listed(scene, "housing") == ["MOU-HOUSING", "MOU-NEXT", "MOU-OVER"]
    assert listed(scene, "hostile") == ["MOU-HOSTILE"]


@pytest.mark.parametrize("role", sorted(ROLES - {"analyst"}))
def test_every_role_reads_them(scene: Scene, role: str) -> None:
    assert listed(scene, role) == ["MOU-SOON", "MOU-FULL"]
    assert scene.open(role, "/agreements/MOU-FULL").status_code == 200
    assert scene.open(role, "/agreements/areas.json").status_code == 200


@pytest.mark.parametrize("who", ["watch", "watch-operator"])
def test_an_auditors_people_read_everybodys(scene: Scene, who: str) -> None:
    every = {"MOU-FULL", "MOU-SOON", "MOU-OVER", "MOU-NEXT", "MOU-HOUSING", "MOU-HOSTILE", "MOU-HUMAN"}
    assert set(listed(scene, who)) == every
    assert all(scene.open(who, f"/agreements/{name}").status_code == 200 for name in every)
    assert "as an auditor you read every one" in scene.text(who, "/agreements")


def test_another_organisations_agreement_is_answered_like_one_that_is_absent(scene: Scene) -> None:
    foreign, absent = (scene.open("health", f"/agreements/{name}") for name in ("MOU-HOUSING", "MOU-NOTHERE"))
    assert (foreign.status_code, absent.status_code) == (404, 404)
    assert foreign.text == absent.text
    assert foreign.headers == absent.headers
    assert "not a party of it" in words(foreign.text)
    assert scene.open("housing", "/agreements/MOU-HOUSING").status_code == 200
    shared = [scene.open("health", f"/agreements/areas.json?mou={name}") for name in ("MOU-HOUSING", "MOU-NOTHERE")]
    assert [answer.status_code for answer in shared] == [404, 404]
    assert shared[0].text == shared[1].text


@pytest.mark.parametrize("path", ["/agreements", "/agreements/MOU-FULL", "/agreements/MOU-NOTHERE", "/agreements/areas.json"])
def test_who_is_not_signed_in_is_sent_to_sign_in_first(scene: Scene, path: str) -> None:
    answer = scene.open(None, path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={path.replace('/', '%2F')}")
    stranger = scene.world.http.get(path, headers={"Cookie": f"{SESSION_COOKIE}={'x' * 43}"}, follow_redirects=False)
    assert stranger.status_code == 303


@pytest.mark.parametrize("name", ["mou-full", "MOU-FULL ", "%00", "..%2fhealthz", "MOU-FULL'--", "x" * 3000, "%E2%80%AE"])
def test_a_name_that_is_none_is_absent(scene: Scene, name: str) -> None:
    assert scene.open("health", f"/agreements/{name}").status_code == 404


# What they say


def test_a_card_says_who_gives_what_to_whom_until_when(scene: Scene) -> None:
    text = scene.text("health", "/agreements")
    assert "Police shares incidents with Health for the purposes outreach, prevention and research." in text
    assert "you receive" in text
    assert "you give" in scene.text("police", "/agreements")
    assert "MOU-FULL, version 1" in text


def test_what_ends_soon_and_what_should_have_been_reviewed_is_told(scene: Scene) -> None:
    text = scene.text("health", "/agreements")
    assert "1 agreement ends within the notice" in text
    assert text.count("ends in 6 days") == 1
    assert text.count("review is overdue") == 1
    one = scene.text("health", "/agreements/MOU-SOON")
    assert "ends in 6 days" in one
    assert "meant to review this agreement before now" in one
    assert "ends in" not in scene.text("health", "/agreements/MOU-FULL")


def test_what_is_not_in_force_is_apart_and_says_that_nothing_is_shared(scene: Scene) -> None:
    text = scene.text("housing", "/agreements")
    assert text.index("Homes") < text.index("Nothing is shared under these now.") < text.index("Begins later")
    assert "it is ended" in scene.text("housing", "/agreements/MOU-OVER")
    assert "it is not yet in force" in scene.text("housing", "/agreements/MOU-NEXT")
    assert "Nothing is shared under" not in scene.text("housing", "/agreements/MOU-HOUSING")


def test_an_organisation_without_agreements_is_told_how_one_begins(scene: Scene) -> None:
    text = scene.text("newcomer", "/agreements")
    assert "No agreement with Newcomer is in force" in text
    assert "hub mou propose" in text


def test_an_agreement_is_readable_in_full(scene: Scene) -> None:
    text = scene.text("health", "/agreements/MOU-FULL")
    for said in (
        "Police lets Health look at and export Police's incidents for the purposes outreach and prevention.",
        "The category is assault or welfare check.",
        "The place lies in the area harbour, or on its border: the centre of its 500 m cell is what counts.",
        "The severity (1 to 5) is 3 or more.",
        "Only with the reference of the case",
        "the place as the centre of the 500 m cell it lies in place",
        "Everything not listed is withheld: the provider's own number,",
        "the phone number",
        "Every one of Police's incidents.",
        "None; this is a test",
        "Grant 1 of 2: harm-downtown",
        "Grant 2 of 2: overview",
    ):
        assert said in text, said


def test_what_people_act_on_is_shown_as_text_and_is_left_out_where_a_file_has_none(scene: Scene) -> None:
    page = scene.open("police", "/agreements/MOU-HUMAN").text
    assert "<script>alert" not in page
    said = words(page)
    for part in ("Fewer injuries", "What Newcomers does", "desk@police.example", "+1 555 0100", "They meet", "Each June"):
        assert part in said, part
    assert page.count(str(escape(HOSTILE))) == 3
    assert page.count(str(escape("<b>Desk</b>"))) == 2  # and once in the file itself
    assert "How the parties work together" not in scene.text("police", "/agreements/MOU-SOON")


def test_the_file_and_its_hash_are_there_to_compare(scene: Scene) -> None:
    html = scene.open("health", "/agreements/MOU-FULL").text
    (source,) = re.findall(r"<pre[^>]*>(.*?)</pre>", html, re.DOTALL)
    (stored,) = [a for a in scene.world.services.agreements.of(None) if a.mou.mou == "MOU-FULL"]
    assert unescape(source) == stored.mou.source.decode()
    assert sha256(unescape(source).encode()).hexdigest() in html
    assert stored.mou.jurisdictions["islands"].sha256 in html


# Areas


def areas(scene: Scene, who: str, query: str = "") -> dict[tuple[str, str, str], Any]:
    answer = scene.open(who, f"/agreements/areas.json{query}", "application/json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/geo+json")
    collection = answer.json()
    assert collection["type"] == "FeatureCollection"
    found = {tuple(f["properties"][k] for k in ("mou", "name", "title")): shape(f["geometry"]) for f in collection["features"]}
    assert len(found) == len(collection["features"])
    return found  # type: ignore[return-value]


def test_areas_are_those_of_ones_own_agreements(scene: Scene) -> None:
    found = areas(scene, "health")
    assert set(found) == {("MOU-FULL", "harbour", "Full <em>title</em>"), ("MOU-FULL", "islands", "Full <em>title</em>")}
    assert found["MOU-FULL", "islands", "Full <em>title</em>"].equals(ISLANDS)
    assert {key[0] for key in areas(scene, "police")} == {"MOU-FULL", "MOU-HOUSING"}
    assert {key[0] for key in areas(scene, "watch")} == {"MOU-FULL", "MOU-HOUSING"}
    assert areas(scene, "newcomer") == {}


def test_an_agreement_with_areas_has_a_map_of_them_and_one_without_says_so(scene: Scene) -> None:
    html = scene.open("health", "/agreements/MOU-FULL").text
    assert 'data-areas="/agreements/areas.json?mou=MOU-FULL"' in html
    assert 'download="MOU-FULL-areas.geojson"' in html
    html = scene.open("health", "/agreements/MOU-SOON").text
    assert "This agreement names no area" in html
    assert "data-areas" not in html
    assert "<script" not in html


def test_a_hub_that_kept_no_boundaries_says_why_there_is_no_map(scene: Scene) -> None:
    with scene.world.superuser() as connection:
        taken = "with gone as (delete from hub.mou_areas returning *) insert into hub.kept select * from gone"
        connection.execute(sa.text("create table hub.kept (like hub.mou_areas)"))
        connection.execute(sa.text(taken))
    text = scene.text("health", "/agreements/MOU-FULL")
    with scene.world.superuser() as connection:
        connection.execute(sa.text("insert into hub.mou_areas select * from hub.kept"))
        connection.execute(sa.text("drop table hub.kept"))
    assert "before it kept them" in text
    assert "before it kept them" not in scene.text("health", "/agreements/MOU-FULL")


def test_areas_of_one_agreement_are_asked_for_by_its_name(scene: Scene) -> None:
    assert {key[0] for key in areas(scene, "police", "?mou=MOU-HOUSING")} == {"MOU-HOUSING"}
    assert areas(scene, "health", "?mou=MOU-SOON") == {}


# Text stays text


def test_hostile_words_of_a_file_and_of_a_name_are_shown_as_text(scene: Scene) -> None:
    for path in ("/agreements", "/agreements/MOU-HOSTILE"):
        html = scene.open("hostile", path).text
        assert "<script>alert" not in html
        assert "<img src=x" not in html
        assert "{{7*7}}" in html  # not 49: no template inside a template
        assert HOSTILE in unescape(html)
    text = scene.open("hostile", "/agreements/MOU-HOSTILE").text
    assert len(re.findall(re.escape("&lt;script&gt;alert(1)"), text)) >= 4  # title, legal basis, name, file


@pytest.mark.parametrize("path", ["/agreements", "/agreements/MOU-FULL"])
def test_nothing_on_the_pages_is_inline_or_from_elsewhere(scene: Scene, path: str) -> None:
    answer = scene.open("health", path)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"<[^>]*\s(style|on\w+)\s*=", answer.text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", answer.text)
    assert all(url.startswith(("/", "#")) for url in re.findall(r'(?:src|href)="([^"]*)"', answer.text))
    assert answer.headers["cache-control"] == "no-store"
    assert len(re.findall(r"<h1", answer.text)) == 1


@pytest.mark.parametrize("path", ["/agreements", "/agreements/MOU-FULL", "/agreements/areas.json"])
def test_the_pages_are_read_and_not_written(scene: Scene, path: str) -> None:
    assert scene.open("health", path, method="HEAD").status_code == 200
    assert scene.open("health", path, method="POST").status_code == 405
