"""Bad input: each way to bring into force what was not agreed gets one clear error; nothing changes."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from hub.identity.party_keys import STATEMENT, sign
from tests.agreements.parties import YAML_TYPE, Party, party
from tests.world import World, grant, mou_data

SHAPES: dict[str, Any] = {
    "crossing itself": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
    "empty": {"type": "Polygon", "coordinates": []},
    "a line": {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
    "off the earth": {"type": "Polygon", "coordinates": [[[0, 0], [200, 0], [200, 1], [0, 0]]]},
    "two features": {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": None}] * 2},
}
STATE = """
select json_build_array((select json_agg(m order by id) from hub.mous m), (select json_agg(b order by sha256) from hub.boundaries b),
  (select json_agg(s) from hub.mou_signatures s), (select json_agg(k order by kid) from hub.party_keys k),
  (select json_agg(g order by id) from hub.grants g), (select json_agg(r order by id) from hub.refusals r),
  (select epoch from hub.policy_epoch), (select count(*) from hub.audit_leaves where type in ('mou', 'party-key')))::text"""


@pytest.fixture(scope="module")
def parties(world: World) -> tuple[Party, Party]:
    for slug in ("police", "health"):
        world.organisation(slug)
    return party(world, "police"), party(world, "health")


@pytest.fixture
def nothing_changes(world: World) -> Iterator[None]:
    before = state(world)
    yield
    assert state(world) == before


def state(world: World) -> str:
    with world.superuser() as connection:
        return str(connection.scalar(sa.text(STATE)))


@pytest.mark.usefixtures("nothing_changes")
def test_ten_megabytes_are_not_read(parties: tuple[Party, Party]) -> None:
    answer = parties[0].call("POST", "/mous", b"#" * 10_000_000, YAML_TYPE)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:concord:problem:too-large")
    assert parties[0].call("POST", "/mous", b"mou: MOU-1", "text/plain").status_code == 415


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.usefixtures("nothing_changes")
def test_a_boundary_that_is_no_area_is_refused(parties: tuple[Party, Party], name: str) -> None:
    content = orjson.dumps(SHAPES[name])
    answer = parties[0].call("PUT", f"/mous/boundaries/{sha256(content).hexdigest()}", content, "application/geo+json")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:concord:problem:invalid-policy"), answer.text


def test_versions_that_overlap_or_go_round_in_a_circle(world: World, parties: tuple[Party, Party]) -> None:
    police, _ = parties
    data = mou_data("MOU-CIRCLE", "police", "health", [grant()])
    assert police.draft(data | {"version": 2}).status_code == 201
    police.step("proposal", "MOU-CIRCLE", 2)
    own = police.call("GET", "/mous/MOU-CIRCLE/2").json()["sha256"]
    before = state(world)
    for changed, word in (
        (data | {"version": 2, "title": "Other words"}, "never changes"),
        (data, "has version 2 already"),
        (data | {"version": 3}, "withdraw it first"),
        (data | {"version": 3, "supersedes": f"sha256:{own}"}, "withdraw it first"),  # it was never in force
    ):
        answer = police.draft(changed)
        assert (answer.status_code, word in answer.json()["detail"]) == (409, True), answer.text
    assert state(world) == before
    police.step("withdrawal", "MOU-CIRCLE", 2)
    answer = police.draft(data | {"version": 3, "supersedes": f"sha256:{own}"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "supersedes")


def _change(table: str, change: str) -> Callable[[World, str], None]:
    """Somebody with the database's own rights, past its triggers."""

    def run(world: World, name: str) -> None:
        with world.superuser() as connection:
            connection.exec_driver_sql("set session_replication_role = replica")
            connection.execute(sa.text(f"update hub.{table} set {change}"), {"mou": name})

    return run


MINE = "where mou = :mou"
SIGNATURES = "where mou_id = (select id from hub.mous where mou = :mou)"
TAMPERED: dict[str, tuple[Callable[[World, str], None], int, str]] = {
    "a byte of the file": (_change("mous", f"source = replace(source, 'A test', 'A tesT') {MINE}"), 500, "not what was signed"),
    "a grant of the file": (_change("mous", f"source = replace(source, 'grid_m: 500', 'grid_m: 100') {MINE}"), 500, "not what was signed"),
    "the document": (_change("mous", f"document = 'other words' {MINE}"), 500, "not what was signed"),
    "the statement": (_change("mous", f"statement = replace(statement, 'police', 'health') {MINE}"), 500, "not what was signed"),
    "a signature": (
        _change("mou_signatures", f"jws = overlay(jws placing 'AAAA' from length(jws) - 8) {SIGNATURES}"),
        409,
        "not good any more",
    ),
    "a boundary": (_change("boundaries", "content = content || ' '::bytea"), 422, "not the one that is pinned"),
    "the state": (_change("mous", f"state = 'proposed' {MINE}"), 409, "it must be signed"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_changed_behind_the_parties_backs_never_comes_into_force(world: World, parties: tuple[Party, Party], what: str) -> None:
    police, health = parties
    tamper, status, word = TAMPERED[what]
    name = f"MOU-T-{sorted(TAMPERED).index(what)}"
    area = orjson.dumps({"type": "Polygon", "coordinates": [[[-80, 43], [-79, 43], [-79, 44 + len(what) / 100], [-80, 43]]]})
    digest = sha256(area).hexdigest()
    assert police.call("PUT", f"/mous/boundaries/{digest}", area, "application/geo+json").status_code == 201
    data = mou_data(name, "police", "health", [grant(where=[{"field": "place", "within": "a-place"}])])
    police.draft(data | {"jurisdictions": {"a-place": {"file": "a.geojson", "sha256": digest}}})
    police.step("proposal", name)
    for who in (police, health):
        assert who.sign(name).status_code == 200
    _, effect = police.diff(name)
    tamper(world, name)
    before = state(world)
    answer = police.step("activation", name, diff_sha256=effect)
    assert (answer.status_code, word in answer.json()["detail"]) == (status, True), answer.text
    assert state(world) == before
    assert world.get("health", "research", "/collections/incidents/items").status_code == 403


@pytest.mark.usefixtures("nothing_changes")
def test_a_signature_of_one_version_is_none_of_another(parties: tuple[Party, Party]) -> None:
    """Over another hash: of a statement that the hub never gave."""
    police, _ = parties
    forged = sign(police.key, None, b'{"v":1,"mou":"MOU-CIRCLE","version":2}', STATEMENT)
    answer = police.step("signatures", "MOU-CIRCLE", 2, signature=forged)
    assert answer.status_code == 409  # it was withdrawn; over another statement it is 400 (test_lifecycle)
