"""PUT and DELETE of one record: the revision that is meant must be named; what is withdrawn is gone at once, and only that."""

import json
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from hub import db
from hub.audit.leaf import revisions_in
from hub.audit.log import Search
from tests.api.asking import ITEMS, nothing_stored, problem, send, stored
from tests.imports.files import csv, mapping, row
from tests.imports.sending import counts, faults_of, path_of, rows, run, verdicts
from tests.world import World, feature, grant

pytestmark = pytest.mark.db
GEOJSON = {"Content-Type": "application/geo+json"}


def make(world: World, name: str, client: str = "police", **properties: Any) -> dict[str, Any]:
    """A new record's receipt."""
    answer = send(world, feature(name, **properties), client)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["records"][0]
    return found


def put(world: World, record: Any, body: Any, match: str | None = "*", client: str = "police", **headers: str) -> Any:
    sent = GEOJSON | ({"If-Match": match} if match is not None else {}) | headers
    return world.http.put(f"{ITEMS}/{_id(record)}", content=json.dumps(body), headers=world.bearer(client) | sent)


def delete(world: World, record: Any, match: str | None = "*", client: str = "police", **headers: str) -> Any:
    sent = ({"If-Match": match} if match is not None else {}) | headers
    return world.http.delete(f"{ITEMS}/{_id(record)}", headers=world.bearer(client) | sent)


def _id(record: Any) -> str:
    return str(record["id"]) if isinstance(record, dict) else str(record)


def receipt(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["records"]
    return dict(found)


def test_put_makes_the_next_revision_and_says_it_in_its_tag(partners: World) -> None:
    first = make(partners, "PUT-1", narrative="One.")
    answer = put(partners, first, feature("PUT-1", narrative="Two."), '"1"')
    second = receipt(answer)
    assert (second["id"], second["revision"], second["outcome"]) == (first["id"], 2, "updated")
    assert answer.headers["etag"] == '"2"'
    (found,) = partners.items("health", "research", external_id="PUT-1")
    assert found["properties"]["narrative"] == "Two."
    same = put(partners, first, feature("PUT-1", narrative="Two."), '"2"')
    assert (receipt(same)["outcome"], same.headers["etag"]) == ("unchanged", '"2"')


@pytest.mark.parametrize(
    ("match", "status"),
    [
        (None, 428),
        ("*", 200),
        ('"1"', 412),
        ('"2"', 200),
        ('"7", "2"', 200),
        ('"7","3"', 412),
        ('W/"2"', 412),  # a weak tag never matches here (RFC 9110 §8.8.3.2)
        ('W/"2", "2"', 200),
        ('"two"', 412),
        ('""', 412),
        ('"02"', 412),
        ('"2 "', 400),
        ("2", 400),
        ("", 400),
        ('"2', 400),
        ('*, "2"', 400),
        ('"99999999999999999999999"', 412),
        ('"2";"3"', 400),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_if_match_names_the_revision_that_is_meant(partners: World, match: str | None, status: int, method: str) -> None:
    name = f"MATCH-{uuid4().hex[:8]}"
    record = make(partners, name)
    put(partners, record, feature(name, narrative="Two."), '"1"')
    before = stored(partners)
    answer = put(partners, record, feature(name, narrative="Three."), match) if method == "PUT" else delete(partners, record, match)
    assert answer.status_code == status, answer.text
    if status != 200:
        problem(answer, status, "If-Match")
        assert stored(partners) == before
    else:
        assert receipt(answer)["revision"] == 3


def test_two_if_match_lines_are_one_list(partners: World) -> None:
    record = make(partners, "MATCH-LINES")
    headers = [*partners.bearer("police").items(), ("If-Match", '"9"'), ("If-Match", '"1"')]
    assert partners.http.delete(f"{ITEMS}/{record['id']}", headers=headers).status_code == 200


def test_an_external_id_never_changes(partners: World) -> None:
    record = make(partners, "FIXED")
    make(partners, "FIXED-OTHER")
    for name in ("FIXED-NEW", "FIXED-OTHER"):
        with nothing_stored(partners):
            problem(put(partners, record, feature(name), '"1"'), 422, "properties.external_id")


@pytest.mark.parametrize("body", [{}, {"type": "FeatureCollection", "features": []}, [], "x"], ids=str)
def test_put_takes_one_feature(partners: World, body: Any) -> None:
    record = make(partners, f"BODY-{uuid4().hex[:8]}")
    with nothing_stored(partners):
        problem(put(partners, record, body, '"1"'), 400)
    two = {"type": "FeatureCollection", "features": [feature("A"), feature("B")]}
    problem(put(partners, record, two, '"1"'), 413)


# --- absent and not one's own are one answer ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def absent(partners: World) -> dict[str, str]:
    """Why there is nothing to change → an id."""
    withdrawn = make(partners, "ABSENT-W")
    receipt(delete(partners, withdrawn))
    return {
        "nobody's": str(uuid4()),
        "another organisation's": make(partners, "ABSENT-A", "ambulance")["id"],
        "withdrawn": withdrawn["id"],
        "no id": "A-1",
    }


def heard(monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]) -> tuple[Any, list[str]]:
    statements: list[str] = []
    say = db.Transaction.rows

    def listening(tx: db.Transaction, statement: str, *arguments: Any) -> Any:
        if threading.current_thread().name not in ("keyd", "sequencer"):  # which go on, whoever asks for what
            statements.append(statement)
        return say(tx, statement, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(db.Transaction, "rows", listening)
        return ask(), statements


@pytest.mark.parametrize("match", ["*", '"1"'])
@pytest.mark.parametrize("why", ["another organisation's", "withdrawn", "no id"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_absent_and_anothers_have_one_answer_one_kind_of_leaf_and_the_same_statements(
    partners: World, absent: dict[str, str], monkeypatch: pytest.MonkeyPatch, method: str, why: str, match: str
) -> None:
    def ask(identifier: str) -> Callable[[], Any]:
        if method == "PUT":
            return lambda: put(partners, identifier, feature("ABSENT-A"), match)
        return lambda: delete(partners, identifier, match)

    expected, statements = heard(monkeypatch, ask(absent["nobody's"]))
    leaf = partners.services.log.find(Search(limit=1))[0]
    answer, its_statements = heard(monkeypatch, ask(absent[why]))
    its_leaf = partners.services.log.find(Search(limit=1))[0]
    problem(answer, 404)
    assert (answer.content, dict(answer.headers)) == (expected.content, dict(expected.headers))
    assert its_statements == statements
    assert len(its_leaf.text) == len(leaf.text)
    assert its_leaf.body["decision"] == "absent"
    assert "owner" not in its_leaf.body
    assert {n for n in leaf.body if leaf.body[n] != its_leaf.body[n]} == {"at", "event", "salt"}


def test_one_more_look_would_be_noticed(partners: World, absent: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    _, statements = heard(monkeypatch, lambda: delete(partners, absent["nobody's"]))
    _, others = heard(monkeypatch, lambda: (delete(partners, absent["nobody's"]), delete(partners, absent["no id"])))
    assert statements != others


# --- withdrawal --------------------------------------------------------------------------------------------------------------------


def paths(world: World, record: dict[str, Any], name: str) -> dict[str, bool]:
    """Whether a reader is shown the record, by each way to ask."""
    asked = {
        "page": {"limit": "1000"},
        "area": {"bbox": "-79.39,43.64,-79.37,43.66", "limit": "1000"},
        "time": {"datetime": "2021-03-04T13:00:00Z/2021-03-04T14:00:00Z", "limit": "1000"},
        "seek": {"external_id": name},
        "long time": {"datetime": "2000-01-01T00:00:00Z/..", "limit": "1000"},
    }
    found = {way: record["id"] in {f["id"] for f in world.items("health", "research", **more)} for way, more in asked.items()}
    return found | {"item": world.get("health", "research", f"{ITEMS}/{record['id']}").status_code == 200}


def test_what_is_withdrawn_is_invisible_on_every_path_at_once(partners: World) -> None:
    record = make(partners, "GONE", narrative="x")
    assert set(paths(partners, record, "GONE").values()) == {True}
    answer = delete(partners, record, '"1"')
    gone = receipt(answer)
    assert (gone["id"], gone["revision"], gone["outcome"], gone["external_id"]) == (record["id"], 2, "withdrawn", "GONE")
    assert "etag" not in answer.headers
    assert set(paths(partners, record, "GONE").values()) == {False}


def test_a_cursor_that_stands_before_it_does_not_bring_it(partners: World) -> None:
    records = [make(partners, f"CURSOR-{n}", lon=-79.0 - n / 100) for n in range(4)]
    first = partners.get("health", "research", ITEMS, limit=1).json()
    following = next(link["href"] for link in first["links"] if link["rel"] == "next")
    for record in records:
        receipt(delete(partners, record))
    shown = set()
    while following:
        page = partners.http.get(following.removeprefix("http://127.0.0.1:8000"), headers=partners.bearer("health", "research")).json()
        shown |= {f["id"] for f in page["features"]}
        following = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert not shown & {r["id"] for r in records}


def test_a_tombstone_keeps_no_content(partners: World) -> None:
    record = make(partners, "TOMB", narrative="x")
    gone = receipt(delete(partners, record))
    assert rows(partners, "select count(*) from hub.incidents where id = :i", i=record["id"]) == [(0,)]
    assert rows(partners, "select rev from hub.incidents_history where id = :i", i=record["id"]) == [(1,)]
    tombstone = "select rev, revision_no, external_id from hub.incidents_withdrawn where id = :i"
    ((rev, number, name),) = rows(partners, tombstone, i=record["id"])
    assert (rev, number, name) == (2, gone["revision_no"], "TOMB")


def test_withdrawing_is_logged_with_the_tombstones_number(partners: World) -> None:
    record = make(partners, "LOGGED")
    answer = delete(partners, record)
    leaf = partners.leaves(type="withdraw", owner="police")[-1]
    assert leaf["event"] == answer.json()["event"]
    assert (leaf["decision"], leaf["owner"]) == ("permit", "police")
    assert list(revisions_in(leaf["shown"]["revisions"])) == [receipt(answer)["revision_no"]]


@pytest.mark.parametrize("way", ["post", "import"])
def test_published_again_it_goes_on_with_its_id_and_the_next_revision(partners: World, way: str) -> None:
    name = f"BACK-{way}-0"
    record = make(partners, name, narrative="x")
    receipt(delete(partners, record))
    if way == "post":
        answer = send(partners, feature(name, narrative="x"))
        again = receipt(answer)
        assert again["outcome"] == "updated"
    else:
        job = run(partners, csv([row(0, f"BACK-{way}")]))
        assert counts(job) == (1, 0, 1, 0, 0)
        (again,) = verdicts(partners, path_of(job))
    assert (again["id"], again["revision"]) == (record["id"], 3)
    assert partners.get("health", "research", f"{ITEMS}/{record['id']}").status_code == 200
    gone = receipt(delete(partners, record, '"3"'))
    assert gone["revision"] == 4
    assert receipt(send(partners, feature(name, narrative="y")))["revision"] == 5
    assert faults_of(partners) == []


def test_loading_an_agreement_does_not_bring_a_withdrawn_record_back(partners: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    record, kept = make(partners, "NOT-BACK"), make(partners, "STAYS")
    receipt(delete(partners, record))
    partners.organisation("newcomer")
    partners.mou(tmp_path_factory.mktemp("mou"), "MOU-NEW", "police", "newcomer", [grant()])
    shown = {f["id"] for f in partners.items("newcomer", "research")}
    assert kept["id"] in shown
    assert record["id"] not in shown
    assert partners.get("newcomer", "research", f"{ITEMS}/{record['id']}").status_code == 404


def test_the_log_still_says_who_saw_a_record_that_is_withdrawn(partners: World) -> None:
    record = make(partners, "SEEN", narrative="x")
    assert partners.get("health", "research", f"{ITEMS}/{record['id']}").status_code == 200
    receipt(delete(partners, record))
    for client in ("police", "auditor"):
        answer = partners.http.get("/audit/events", params={"record": record["id"], "limit": "100"}, headers=audit(partners, client))
        assert answer.status_code == 200, answer.text
        kinds = [event["leaf"]["type"] for event in answer.json()["events"]]
        assert {"publish", "query", "withdraw"} <= set(kinds)


def audit(world: World, client: str) -> dict[str, str]:
    if client == "police":
        return world.bearer(client)
    answer = world.token_response(client, scope="audit")
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_a_dry_run_knows_that_a_record_is_withdrawn(partners: World) -> None:
    first = run(partners, csv([row(0, "DRY-GONE")]))
    (verdict,) = verdicts(partners, path_of(first))
    receipt(delete(partners, verdict))
    assert counts(run(partners, csv([row(0, "DRY-GONE")]), mapping(), dry_run=True)) == (1, 0, 1, 0, 0)


def test_withdrawing_leaves_the_store_as_it_must_be(partners: World) -> None:
    """Runs last in this module."""
    assert faults_of(partners) == []
