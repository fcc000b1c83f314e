"""Questions of the log that take one click: who saw our data, every use of a grant, counts of any search; searches kept under a name."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest

from hub.audit.log import Log
from hub.audit.saved import MAX_NAME, MOST
from hub.errors import Unavailable
from hub.identity.people import Person
from hub.web import audit_summary
from tests.web.served import Served
from tests.web.visiting import Visitor
from tests.world import World, feature, grant

Somebody = Callable[[str], Visitor]


@pytest.fixture(scope="module")
def world(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """police and ambulance publish; health and housing read; housing reads both."""
    for slug in ("police", "ambulance", "health", "housing"):
        world.organisation(slug)
    world.organisation("watch", "auditor", ["audit"])
    folder: Path = tmp_path_factory.mktemp("mous")
    world.mou(folder, "MOU-1", "police", "health", [grant("harm"), grant("unused", ["safety"])])
    world.mou(folder, "MOU-2", "police", "housing", [grant("harm", ["safety"])])
    world.mou(folder, "MOU-3", "ambulance", "housing", [grant("harm", ["safety"])])
    assert world.publish("police", feature("A"), feature("B")).status_code == 201
    assert world.publish("ambulance", feature("C")).status_code == 201
    for _ in range(3):
        assert len(world.items("health", "research")) == 2
    assert len(world.items("housing", "safety")) == 3
    return world


@pytest.fixture(scope="module")
def people(served: Served, person: Callable[..., Person]) -> dict[str, Person]:
    return {
        "auditor": person("auditor", organisation="watch"),
        "colleague": person("auditor", organisation="watch"),
        "lead": person("agreement-lead", organisation="police"),
        "checker": person("auditor", organisation="police"),
        "consumer": person("agreement-lead", organisation="health"),
        "analyst": person("analyst", organisation="health"),
    }


@pytest.fixture
def somebody(served: Served, people: dict[str, Person]) -> Somebody:
    return lambda handle: Visitor(served).begin(people[handle])


def words(page: Any) -> str:
    assert page.status_code == 200, page.text
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.text.partition("<main")[2])).split())


def link(page: Any, text: str) -> str:
    """Where the link of that text leads."""
    found = [
        to for to, inner in re.findall(r'<a[^>]*href="([^"]*)"[^>]*>(.*?)</a>', page.text, re.DOTALL) if text in re.sub("<.*?>", "", inner)
    ]
    assert len(found) == 1, found
    return unescape(found[0])


def numbers(page: Any) -> dict[str, dict[str, int]]:
    """The tables of a page of counts: heading → first column → entries."""
    assert page.status_code == 200, page.text
    found = {}
    for heading, body in re.findall(r"<h3[^>]*>(.*?)</h3>.*?<tbody>(.*?)</tbody>", page.text, re.DOTALL):
        rows = re.findall(r'<th scope="row"><bdi>(.*?)</bdi>.*?<td class="number"><a [^>]*>([\d,]+)</a>', body, re.DOTALL)
        found[heading] = {unescape(name): int(count.replace(",", "")) for name, count in rows}
    return found


# --- who saw our data ----------------------------------------------------------------------------------------------------------------


def test_who_saw_our_data_is_one_click_and_counts_others_alone(somebody: Somebody) -> None:
    lead = somebody("lead")
    to = link(lead.get("/owner"), "Who saw our data, counted")
    found = numbers(lead.get(to))
    assert found["Organisation"] == {"health": 3, "housing": 1}
    assert found["Client"] == {"health": 3, "housing": 1}
    assert found["Purpose"] == {"research": 3, "safety": 1}
    assert found["Grant"] == {"MOU-1/harm": 3, "MOU-2/harm": 1}
    assert found["What happened"] == {"Records looked at": 4}
    assert "ambulance" not in words(lead.get(to))
    assert "police" in numbers(lead.get("/owner/summary"))["Organisation"]  # control: without `others` they are in it themselves


def test_each_number_leads_to_its_entries(somebody: Somebody) -> None:
    lead = somebody("lead")
    page = lead.get("/owner/summary?others=true&type=query,export,match")
    to = unescape(re.findall(r'<a href="([^"]*)" aria-label="3 entries: health"', page.text)[0])
    assert parse_qs(urlsplit(to).query) == {"others": ["true"], "type": ["query,export,match"], "organisation": ["health"]}
    rows = re.findall(r'<tr role="row">\s*<td', lead.get(to).text)
    assert len(rows) == 3


def test_people_are_counted_by_name(somebody: Somebody, people: dict[str, Person]) -> None:
    somebody("consumer").get("/owner")
    auditor = somebody("auditor")
    page = auditor.get("/audit/summary?type=audit&organisation=health")
    assert people["consumer"].name in numbers(page)["Person"]
    one = auditor.get(f"/audit/summary?type=audit&person={people['consumer'].id}")
    assert f"Person: {people['consumer'].name}" in words(one)


def test_a_count_that_is_not_complete_says_so(somebody: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    from hub.audit import log, search

    auditor = somebody("auditor")
    assert "Not everything is counted" not in words(auditor.get("/audit/summary?decision=permit"))
    monkeypatch.setattr(audit_summary, "SUMMING_S", 0.0)
    monkeypatch.setattr(search, "STRIDE", 3)
    monkeypatch.setattr(search, "MANY", 1)
    monkeypatch.setattr(log, "AT_ONCE", 2)
    told = words(auditor.get("/audit/summary?decision=permit"))
    assert "Not everything is counted. The log was read back to" in told
    assert "so far" in told


def test_counting_is_in_the_log_before_it_is_told(somebody: Somebody, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(world.leaves(type="audit"))
    assert somebody("lead").get("/owner/summary?others=true").status_code == 200
    (leaf,) = world.leaves(type="audit")[before:]
    assert leaf["asked"] == {"as": "summary", "fields": ["others"]}

    def broken(*_: Any) -> None:
        raise Unavailable("The audit log can't be written.")

    monkeypatch.setattr(Log, "record", broken)
    answer = somebody("lead").get("/owner/summary?others=true")
    assert answer.status_code == 503
    assert "health" not in answer.text.partition("<main")[2]


# --- every use of a grant ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("handle", "base"), [("auditor", "/audit"), ("lead", "/owner")])
def test_every_use_of_a_grant_is_one_click_from_its_agreement(somebody: Somebody, handle: str, base: str) -> None:
    here = somebody(handle)
    to = link(here.get("/agreements/MOU-1"), "Every use of this grant harm")
    assert to == f"{base}?grant=MOU-1%2Fharm"
    told = words(here.get(to))
    assert told.count("listed 2 incidents") == 3
    assert "MOU-2" not in told.partition("Entries of the log")[2]
    nobody = words(here.get(link(here.get("/agreements/MOU-1"), "Every use of this grant unused")))
    assert "listed" not in nobody


def test_who_receives_under_an_agreement_has_no_way_to_its_providers_log(somebody: Somebody) -> None:
    for handle in ("consumer", "analyst"):
        page = somebody(handle).get("/agreements/MOU-1")
        assert page.status_code == 200
        assert "Every use of this grant" not in page.text


def test_an_access_leads_to_every_use_of_its_grants(somebody: Somebody, world: World) -> None:
    (entry, *_) = world.leaves(type="query", owner="police", organisation="housing")
    lead = somebody("lead")
    to = link(lead.get(f"/audit/access/{entry['event']}"), "Every use of MOU-2/harm")
    assert "listed 2 incidents" in words(lead.get(to))
    auditors = somebody("auditor").get(f"/audit/access/{entry['event']}")
    assert {"Every use of MOU-2/harm", "Every use of MOU-3/harm"} <= set(re.findall(r"Every use of [^<]+", auditors.text))


# --- saved searches ------------------------------------------------------------------------------------------------------------------


def save(here: Visitor, name: str, query: str, **more: str) -> Any:
    return here.post(f"/audit/searches?{query}", {"name": name, **more})


def saved(here: Visitor) -> dict[str, str]:
    """Those that somebody sees: name → address."""
    found = re.findall(r'<h2><a href="(/audit/searches/[0-9a-f-]{36})">(.*?)</a></h2>', here.get("/audit/searches").text)
    return {unescape(name): to for to, name in found}


def test_a_saved_search_is_run_with_the_filters_it_had_and_logged_as_a_look(somebody: Somebody, world: World) -> None:
    here = somebody("auditor")
    answer = save(here, "Health’s looks", "organisation=health&type=query&bbox=&since=2020-01-01T00:00")
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit/searches")
    before = len(world.leaves(type="audit"))
    answer = here.get(saved(here)["Health’s looks"])
    assert answer.status_code == 303
    to = answer.headers["location"]
    assert parse_qs(urlsplit(to).query) == {"organisation": ["health"], "type": ["query"], "since": ["2020-01-01T00:00"]}
    assert len(world.leaves(type="audit")) == before  # nothing was read yet
    assert words(here.get(to)).count("listed 2 incidents") == 3
    (leaf,) = world.leaves(type="audit")[before:]
    assert leaf["asked"] == {"fields": ["organisation", "since", "type"]}


def test_a_search_is_ones_own_unless_it_is_shared_and_then_ones_organisations(somebody: Somebody) -> None:
    save(somebody("lead"), "Mine", "type=query")
    save(somebody("lead"), "Ours", "type=publish", shared="true")
    assert {"Mine", "Ours"} <= saved(somebody("lead")).keys()
    assert "Ours" in saved(somebody("checker"))
    assert "Mine" not in saved(somebody("checker"))
    for handle in ("auditor", "consumer"):
        assert not {"Mine", "Ours"} & saved(somebody(handle)).keys()
    to = saved(somebody("lead"))
    assert somebody("checker").get(to["Ours"]).headers["location"] == "/owner?type=publish"
    absent = somebody("checker").get(f"/audit/searches/{uuid4()}")
    for answer in (somebody("checker").get(to["Mine"]), somebody("consumer").get(to["Ours"]), somebody("checker").get("/audit/searches/x")):
        assert (answer.status_code, answer.text.partition("<main")[2]) == (404, absent.text.partition("<main")[2])


def test_only_who_saved_a_search_renames_or_deletes_it(somebody: Somebody) -> None:
    lead = somebody("lead")
    save(lead, "To be kept", "type=query", shared="true")
    to = saved(lead)["To be kept"]
    for handle in ("checker", "auditor"):
        assert somebody(handle).post(f"{to}/rename", {"name": "Taken over"}).status_code == 404
        assert somebody(handle).post(f"{to}/delete").status_code == 404
    assert "To be kept" in saved(somebody("checker"))
    assert lead.post(f"{to}/rename", {"name": "Another name"}).status_code == 303
    assert saved(somebody("checker"))["Another name"] == to
    assert lead.post(f"{to}/delete").status_code == 303
    assert to not in saved(lead).values()
    assert lead.get(to).status_code == 404


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("", "type=query"),
        (" ", ""),
        ("x" * (MAX_NAME + 1), ""),
        ("a\nb", ""),
        ("x", "bbox=1,2"),
        ("x", "person=nobody"),
        ("x", "colour=red"),
    ],
)
def test_what_could_not_be_asked_or_has_no_name_is_not_saved(somebody: Somebody, name: str, query: str) -> None:
    before = saved(somebody("auditor"))
    assert save(somebody("auditor"), name, query).status_code == 400
    assert saved(somebody("auditor")) == before


def test_an_owner_saves_no_search_of_others_data(somebody: Somebody) -> None:
    assert save(somebody("lead"), "x", "owner=ambulance").status_code == 400
    assert save(somebody("auditor"), "Ambulance", "owner=ambulance").status_code == 303  # control


def test_the_form_of_another_session_saves_nothing(somebody: Somebody) -> None:
    here, before = somebody("auditor"), saved(somebody("auditor"))
    answer = here.send("POST", "/audit/searches?type=query", data={"csrf": somebody("auditor").csrf, "name": "Forged"})
    assert answer.status_code == 403
    assert saved(here) == before


def test_hostile_names_are_text(somebody: Somebody) -> None:
    hostile = '"><script>alert(1)</script>'
    here = somebody("colleague")
    assert save(here, hostile, "purpose=%3Cscript%3Ealert(2)").status_code == 303
    page = here.get("/audit/searches").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_person_has_so_many_saved_searches_and_no_more(served: Served, people: dict[str, Person]) -> None:
    searches, somebody = served.services.searches, people["consumer"]
    for n in range(MOST):
        searches.add(somebody.organisation.id, somebody.id, f"No {n}", {}, False)
    assert save(Visitor(served).begin(somebody), "One too many", "").status_code == 409


def test_what_is_kept_of_a_search_is_the_form_and_nothing_else(somebody: Somebody, world: World) -> None:
    record = str(UUID(int=7))
    save(somebody("colleague"), "A record", f"record={record}&before=5")
    with world.superuser() as connection:
        (kept,) = connection.exec_driver_sql("select query::text from hub.saved_searches where name = 'A record'").scalars()
    assert json.loads(kept) == {"record": record}
