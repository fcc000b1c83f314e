"""The pages of the log: an auditor's whole, an owner's part, one access in full, CSV; and who may open them."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest

from hub.api import audit_csv, audit_files
from hub.api.services import SESSION_COOKIE
from hub.identity import people
from hub.web import audit as pages
from tests.world import World, feature, grant

ITEMS = "/collections/incidents/items"
HOSTILE = '"><script>alert(1)</script>${7*7}`\u202e'


@dataclass(frozen=True)
class Scene:
    """police and ambulance publish; health saw police's records, housing both's. `ids`: of records, by external id."""

    world: World
    ids: dict[str, str]
    cookies: dict[str, str]

    def open(self, handle: str, path: str, **params: Any) -> Any:
        headers = {"Cookie": f"{SESSION_COOKIE}={self.cookies[handle]}", "Accept": "text/html"}
        return self.world.http.get(path, params=params or None, headers=headers, follow_redirects=False)

    def rows(self, handle: str, path: str, **params: Any) -> list[str]:
        """The rows of the table as text, newest first."""
        answer = self.open(handle, path, **params)
        assert answer.status_code == 200, answer.text
        found = re.findall(r'<tr role="row">\s*<td(.*?)</tr>', answer.text, re.DOTALL)
        return [" ".join(unescape(re.sub(r"<[^>]*>", " ", f"<td{r}")).split()) for r in found]

    def logged(self) -> list[dict[str, Any]]:
        return self.world.leaves(type="audit")


def person(world: World, organisation: str, handle: str, name: str, roles: Sequence[str]) -> str:
    """A new person's session cookie."""
    made = people.add(world.database.writer, organisation, handle, name, roles)
    cookie, _ = world.services.sessions.begin(made, "passkey")
    return cookie


@pytest.fixture(scope="module")
def scene(world: World, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    for slug in ("police", "ambulance", "health", "housing"):
        world.organisation(slug)
    world.organisation("watch", "auditor", ["audit"])
    folder = tmp_path_factory.mktemp("mous")
    world.mou(folder, "MOU-1", "police", "health", [grant()])
    world.mou(folder, "MOU-2", "police", "housing", [grant(purposes=["safety"])])
    world.mou(folder, "MOU-3", "ambulance", "housing", [grant(purposes=["safety"])])
    cookies = {
        "auditor": person(world, "watch", "auditor", "Independent auditor", ["auditor"]),
        "lead": person(world, "police", "lead", "Agreement lead", ["agreement-lead"]),
        "checker": person(world, "ambulance", "checker", "Own auditor", ["auditor"]),
        "analyst": person(world, "health", "analyst", "=Analyst <b>& co</b>", ["analyst"]),
        "operator": person(world, "watch", "operator", "Operator", ["operator"]),
    }
    ids = {}
    for client, name in (("police", "A"), ("police", "B"), ("ambulance", "C")):
        ids[name] = world.publish(client, feature(name)).json()["records"][0]["id"]
    assert world.get("health", "research", f"{ITEMS}/{ids['A']}").status_code == 200
    assert len(world.items("health", "research", bbox="-79.5,43.6,-79.3,43.7")) == 2
    assert len(world.items("housing", "safety")) == 3
    assert world.get("health", "research", f"{ITEMS}/{ids['C']}").status_code == 404
    return Scene(world, ids, cookies)


def test_an_auditor_sees_every_access_and_an_owner_those_to_its_own_records(scene: Scene) -> None:
    whole = " ".join(scene.rows("auditor", "/audit"))
    for part in ("MOU-1", "MOU-2", "MOU-3", "police", "ambulance", "got an access token", "opened one record", "listed 2 incidents"):
        assert part in whole
    own = " ".join(scene.rows("lead", "/owner"))
    assert "MOU-1" in own
    assert "MOU-2" in own
    for part in ("MOU-3", "ambulance", "token"):
        assert part not in own
    assert "MOU-3" in " ".join(scene.rows("checker", "/owner"))


def test_an_owner_can_not_ask_about_other_owners(scene: Scene) -> None:
    answer = scene.open("lead", "/owner", owner="ambulance")
    assert answer.status_code == 400
    assert "MOU-3" not in answer.text


@pytest.mark.parametrize(
    ("given", "some", "none"),
    [
        ({"organisation": "housing"}, "housing", "health"),
        ({"mou": "MOU-1"}, "MOU-1", "MOU-2"),
        ({"grant": "MOU-1/all"}, "MOU-1", "MOU-2"),
        ({"type": "query,export,match"}, "listed 2 incidents", "published"),
        ({"others": "true", "owner": "police"}, "health", "published 1 incident"),
        ({"polygon": "-79.6,43.55,-79.2,43.55,-79.4,43.75"}, "listed 2 incidents", "opened one record"),
        ({"purpose": "safety"}, "safety", "research"),
        ({"owner": "ambulance"}, "ambulance", "police"),
        ({"type": "publish"}, "published 1 incident", "listed"),
        ({"decision": "absent"}, "absent or not shared", "listed"),
        ({"bbox": "-79.4,43.6,-79.39,43.62"}, "listed 2 incidents", "opened one record"),
        ({"bbox": "-79.4,43.6,-79.39,43.62", "placeless": "true"}, "opened one record", "never"),
        ({"client": "health"}, "health", "housing"),
    ],
)
def test_a_filter_shows_what_it_names_and_nothing_else(scene: Scene, given: dict[str, str], some: str, none: str) -> None:
    rows = scene.rows("auditor", "/audit", **given)
    assert any(some in r for r in rows)
    assert not any(none in r for r in rows)


def test_an_area_where_nobody_looked_and_times_before_and_after_show_nothing(scene: Scene) -> None:
    for given in ({"bbox": "10,10,11,11"}, {"until": "2020-01-01T00:00"}, {"since": "2098-01-01T00:00"}):
        answer = scene.open("auditor", "/audit", **given)
        assert answer.status_code == 200
        assert "Nothing in the log fits all of these filters" in answer.text
    assert scene.rows("auditor", "/audit", since="2020-01-01T00:00", until="2098-01-01T00:00", mou="MOU-1")


def test_who_saw_a_record(scene: Scene) -> None:
    rows = scene.rows("auditor", "/audit", record=scene.ids["A"])
    assert [next(w for w in ("housing", "health", "police") if w in r) for r in rows] == ["housing", "health", "health", "police"]
    assert scene.rows("lead", "/owner", record=scene.ids["A"]) == [r.replace(" police allowed", " allowed") for r in rows]
    for record in (scene.ids["C"], str(uuid4()), "nonsense"):
        answer = scene.open("lead", "/owner", record=record)
        assert answer.status_code == 404
        assert "no such record or access of your organisation" in answer.text


def test_an_access_is_shown_in_full_with_its_leaves_as_far_as_one_may_read_them(scene: Scene) -> None:
    (entry, *_) = [e for e in scene.world.leaves(type="query", organisation="housing") if e.get("owner") == "police"]
    page = scene.open("auditor", f"/audit/access/{entry['event']}")
    assert page.status_code == 200
    text = unescape(page.text)
    both = [leaf for leaf in scene.world.leaves() if leaf["event"] == entry["event"]]
    assert [leaf["owner"] for leaf in both] == ["police", "ambulance"] or [leaf["owner"] for leaf in both] == ["ambulance", "police"]
    for leaf in both:
        assert json.dumps(leaf, separators=(",", ":"), ensure_ascii=False, sort_keys=True) in text
    own = unescape(scene.open("lead", f"/audit/access/{entry['event']}").text)
    assert json.dumps(entry, separators=(",", ":"), ensure_ascii=False, sort_keys=True) in own
    assert "ambulance" not in own
    assert "MOU-3" not in own


def test_an_access_that_is_not_ones_own_is_not_told_from_none(scene: Scene) -> None:
    (entry,) = [e for e in scene.world.leaves(type="publish") if e["owner"] == "ambulance"]
    answers = [scene.open("lead", f"/audit/access/{event}") for event in (entry["event"], uuid4(), "nonsense")]
    assert [a.status_code for a in answers] == [404] * 3
    shown = {re.sub(r"nonce-\S+", "", a.text) for a in answers}
    assert len(shown) == 1
    assert {leaf["decision"] for leaf in scene.logged()[-3:]} == {"absent"}
    assert scene.open("checker", f"/audit/access/{entry['event']}").status_code == 200


def test_who_else_saw_the_records_of_an_access(scene: Scene) -> None:
    (entry,) = [
        e for e in scene.world.leaves(type="query", organisation="health") if "limit" not in e["asked"] and e["decision"] == "permit"
    ]
    rows = scene.rows("lead", "/owner", seen_in=entry["event"])
    assert len(rows) == 4
    assert rows == scene.rows("lead", "/owner", record=scene.ids["A"])
    (theirs,) = [e for e in scene.world.leaves(type="publish") if e["owner"] == "ambulance"]
    assert scene.open("lead", "/owner", seen_in=theirs["event"]).status_code == 404
    assert scene.rows("checker", "/owner", seen_in=theirs["event"])


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/audit", {"auditor"}),
        ("/audit.csv", {"auditor"}),
        ("/audit.ndjson", {"auditor"}),
        ("/audit/summary", {"auditor"}),
        ("/owner/summary", {"lead", "checker"}),
        ("/audit/searches", {"auditor", "lead", "checker"}),
        ("/owner", {"lead", "checker"}),
        ("/owner.csv", {"lead", "checker"}),
    ],
)
def test_each_page_opens_for_its_roles_and_a_refusal_is_logged(scene: Scene, path: str, allowed: set[str]) -> None:
    for handle in scene.cookies:
        before = len(scene.world.leaves(type="refusal"))
        answer = scene.open(handle, path)
        assert answer.status_code == (200 if handle in allowed else 403), handle
        refused = scene.world.leaves(type="refusal")[before:]
        assert len(refused) == (0 if handle in allowed else 1), handle
        if refused:
            assert refused[0]["by"]["person"]
    nobody = scene.world.http.get(path, follow_redirects=False)
    assert (nobody.status_code, nobody.headers["location"].split("?")[0]) == (303, "/sign-in")


@pytest.mark.parametrize("handle", ["analyst", "operator"])
def test_one_access_is_for_those_who_may_read_the_log(scene: Scene, handle: str) -> None:
    event = scene.world.leaves(type="publish")[0]["event"]
    assert scene.open(handle, f"/audit/access/{event}").status_code == 403
    assert scene.open("auditor", f"/audit/access/{event}").status_code == 200


@pytest.mark.parametrize(("handle", "path"), [("auditor", "/audit"), ("lead", "/owner"), ("auditor", "/audit.csv")])
def test_looking_at_the_log_is_in_the_log_with_who_and_by_what_it_was_filtered(scene: Scene, handle: str, path: str) -> None:
    before = len(scene.logged())
    assert scene.open(handle, path, type="query", since="2020-01-01T00:00").status_code == 200
    (leaf,) = scene.logged()[before:]
    assert leaf["decision"] == "permit"
    assert leaf["asked"]["fields"] == ["since", "type"]
    assert (leaf["asked"].get("as") == "csv") is path.endswith(".csv")
    assert UUID(leaf["by"]["person"])
    assert leaf["by"]["session"]


def test_a_log_that_can_not_be_written_is_not_shown(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from hub.audit.log import Log
    from hub.errors import Unavailable

    def broken(*_: Any) -> None:
        raise Unavailable("The audit log can't be written.")

    monkeypatch.setattr(Log, "record", broken)
    for path in ("/audit", "/audit.csv", f"/audit/access/{uuid4()}"):
        answer = scene.open("auditor", path)
        assert answer.status_code == 503
        assert "MOU-1" not in answer.text


def test_pages_go_older_and_newer_and_hold_everything_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scene.rows("lead", "/owner")
    monkeypatch.setattr(pages, "ROWS", 2)
    found, seen, path = [], [], "/owner"
    while path:
        answer = scene.open("lead", path)
        seen.append(path)
        found.append(scene.rows("lead", path))
        path = next((unescape(p) for p in re.findall(r'href="([^"]*)" rel="next"', answer.text)), "")
    assert [r for page in found for r in page] == whole
    assert len(found) > 2
    back = unescape(re.findall(r'href="([^"]*)" rel="prev"', scene.open("lead", seen[-1]).text)[0])
    assert scene.rows("lead", back) == found[-2]


def test_a_search_that_takes_long_says_how_far_it_got_and_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from hub.audit import search

    whole = scene.rows("lead", "/owner", record=scene.ids["A"])
    monkeypatch.setattr(pages, "SCANNING_S", 0.0)
    monkeypatch.setattr(search, "STRIDE", 3)
    monkeypatch.setattr(search, "MANY", 1)
    monkeypatch.setattr(pages, "ROWS", 3)
    found, path, rounds = [], f"/owner?record={scene.ids['A']}", 0
    while path:
        answer = scene.open("lead", path)
        found += scene.rows("lead", path)
        going = re.findall(r'href="([^"]*)">Go on from there', answer.text)
        assert ("Searched back to" in answer.text) is bool(going)
        going += re.findall(r'href="([^"]*)" rel="next"', answer.text)
        path, rounds = unescape(going[0]) if going else "", rounds + 1
        assert rounds < 200
    assert found == whole
    assert rounds > 3


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"person": "somebody"}, "Person is the id"),
        ({"bbox": "1,2"}, "Area needs four numbers"),
        ({"polygon": "1,2,3,4"}, "Corners of an area needs 3 to 100 corners"),
        ({"polygon": "0,0,1,1,1,0,0,1"}, "Corners of an area crosses itself"),
        ({"since": "yesterday"}, "Time needs times"),
        ({"since": "2021-01-02T00:00", "until": "2021-01-01T00:00"}, "ends before it begins"),
        ({"decision": "maybe"}, "Decision is one of"),
        ({"before": "x"}, "before must be a whole number"),
        ({"mou": "a\0b"}, "NUL"),
        ({"colour": "red"}, "is not a parameter here"),
    ],
)
def test_a_senseless_filter_is_named_on_the_page_with_the_form_as_it_was(scene: Scene, given: dict[str, str], words: str) -> None:
    before = len(scene.logged())
    answer = scene.open("auditor", "/audit", **given)
    assert answer.status_code == 400
    assert words in unescape(answer.text)
    assert "<form" in answer.text
    assert "data-fold" not in answer.text  # the field to mend is in sight, on a narrow screen too
    assert len(scene.logged()) == before


def test_fields_of_the_form_that_were_left_empty_are_no_filters(scene: Scene) -> None:
    empty = dict.fromkeys(("organisation", "person", "mou", "since", "until", "bbox", "record", "case"), "")
    assert scene.rows("auditor", "/audit", **empty, type="publish") == scene.rows("auditor", "/audit", type="publish")


def test_people_are_named_on_the_page_by_the_name_that_the_hub_knows(scene: Scene) -> None:
    """Not in the leaf: there it is the id, which stays when the name is forgotten."""
    scene.open("auditor", "/audit")
    scene.open("analyst", "/audit")
    page = scene.open("auditor", "/audit", type="audit").text
    assert "Independent auditor" in page
    assert "Independent auditor" not in json.dumps(scene.world.leaves())
    refused = scene.open("auditor", "/audit", type="refusal").text
    assert "=Analyst &lt;b&gt;&amp; co&lt;/b&gt;" in refused
    assert "<b>& co" not in refused


@pytest.mark.parametrize("name", ["purpose", "case", "client", "mou", "grant", "organisation", "type", "owner", "session", "dataset"])
def test_hostile_text_in_a_filter_is_shown_as_text(scene: Scene, name: str) -> None:
    page = scene.open("auditor", "/audit", **{name: HOSTILE}).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;${7*7}" in page


def test_hostile_text_in_a_leaf_is_shown_as_text(scene: Scene) -> None:
    """Whatever came to be logged: a client's words, a partner's names."""
    called = scene.world.services
    from hub.audit.leaf import By

    by = By(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    words = dict.fromkeys(("purpose", "case", "dataset", "reason"), HOSTILE)
    called.log.record(called.event("hostile", by, "refuse", asked={"fields": [HOSTILE]}, **words))
    (entry,) = scene.world.leaves(type="hostile")
    for path in ("/audit?type=hostile", f"/audit/access/{entry['event']}"):
        page = scene.open("auditor", path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert page.text.count("&lt;script&gt;alert(1)") >= 4


def test_the_csv_is_exactly_what_is_filtered(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_files, "CHUNK", 2)
    answer = scene.open("lead", "/owner.csv", type="query", before="1")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in answer.content
    header, *rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert tuple(header) == audit_csv.COLUMNS
    wanted = scene.world.services.log.find(pages.Search(owner="police", type="query", limit=1_000))
    assert len(wanted) > 2
    assert [r[0] for r in rows] == [str(e.id) for e in wanted]
    assert [r[-1] for r in rows] == [e.hash for e in wanted]
    assert {len(r) for r in rows} == {len(audit_csv.COLUMNS)}
    placed = [dict(zip(header, r, strict=True)) for r in rows if r[header.index("west")]]
    assert {(r["west"], r["north"]) for r in placed} == {("-79.5", "43.7")}
    assert all(r["at"].endswith("Z") for r in placed)


@pytest.mark.parametrize(
    ("value", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),  # noqa: RUF001
        ("", ""),
        ("a=1", "a=1"),
        ("'=1", "'=1"),
    ],
)
def test_no_cell_of_the_csv_is_a_formula(value: str, safe: str) -> None:
    assert audit_csv.defused(value) == safe


def test_a_cell_can_not_break_out_of_its_quotes(scene: Scene) -> None:
    called = scene.world.services
    from hub.audit.leaf import By

    reason = 'x",=1+1\r\n=2,"y'
    called.log.record(called.event("breaking", By("=1+1"), "refuse", reason=reason))
    answer = scene.open("auditor", "/audit.csv", type="breaking")
    header, row = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    cells = dict(zip(header, row, strict=True))
    assert (cells["reason"], cells["organisation"]) == (reason, "'=1+1")


def test_csv_names_people_as_the_page_does_and_defuses_their_names(scene: Scene) -> None:
    scene.open("analyst", "/audit")
    answer = scene.open("auditor", "/audit.csv", type="refusal")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert "'=Analyst <b>& co</b>" in {r["person_name"] for r in rows}


def test_a_stream_ends_when_the_session_does(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    world = scene.world
    made = people.add(world.database.writer, "watch", "leaver", "Leaver", ["auditor"])
    cookie, session = world.services.sessions.begin(made, "passkey")
    monkeypatch.setattr(audit_files, "CHUNK", 2)
    named = audit_csv.people_in

    def people_in(*given: Any) -> set[UUID]:
        world.services.sessions.end(session)
        return named(*given)

    monkeypatch.setattr(audit_csv, "people_in", people_in)
    headers = {"Cookie": f"{SESSION_COOKIE}={cookie}"}
    answer = world.http.get("/audit.csv", headers=headers)
    shown = answer.content.decode("utf-8-sig", "replace").count("\r\n")
    assert shown <= 3
    assert world.leaves(type="refusal")[-1]["by"]["session"] == str(session.id)


def test_head_of_the_csv_reads_nothing_but_is_logged(scene: Scene) -> None:
    before = len(scene.logged())
    headers = {"Cookie": f"{SESSION_COOKIE}={scene.cookies['auditor']}"}
    answer = scene.world.http.head("/audit.csv", headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert len(scene.logged()) == before + 1


def test_the_api_answers_a_signed_in_person_as_the_page_does(scene: Scene) -> None:
    def events(handle: str, **params: str) -> Any:
        headers = {"Cookie": f"{SESSION_COOKIE}={scene.cookies[handle]}"}
        return scene.world.http.get("/audit/events", params=params, headers=headers)

    own = events("lead", limit="1000").json()["events"]
    assert {e["leaf"]["owner"] for e in own} == {"police"}
    assert len(scene.rows("lead", "/owner")) == len(own)
    assert scene.logged()[-2]["by"]["person"]
    assert {e["leaf"].get("owner") for e in events("auditor", type="publish").json()["events"]} == {"police", "ambulance"}
    assert events("lead", owner="ambulance").status_code == 403
    assert events("analyst").status_code == 403
