"""The life of an agreement over HTTP: who may take which step, what each needs, what it opens and closes, and what the log says."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from itertools import count
from typing import Any

import orjson
import psycopg2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from shapely.geometry import box, mapping

from hub.identity.party_keys import OFFER, STATEMENT, offer, sign
from tests.agreements.parties import OPERATOR, Party, agree, party, states
from tests.agreements.relabelling import DEAD, WRONG, activating, only_begun
from tests.agreements.relabelling import count as counted
from tests.world import World, feature, grant, mou_data

numbers = count(1)


@pytest.fixture(scope="module")
def hub(world: World) -> World:
    for slug in ("police", "health", "housing", "fire"):
        world.organisation(slug)
    some = [feature(f"L-{n}", category=("theft", "fire")[n % 2], severity=n % 5 + 1, title=f"Sealed {n}") for n in range(20)]
    assert world.publish("police", *some).status_code == 201
    return world


@pytest.fixture(scope="module")
def parties(hub: World) -> tuple[Party, Party, Party]:
    return party(hub, "police"), party(hub, "health"), party(hub, "housing")


@pytest.fixture
def data() -> Callable[..., dict[str, Any]]:
    """An agreement of this test's own, for a purpose of its own."""
    number = next(numbers)

    def made(version: int = 1, where: Any = "everything", **more: Any) -> dict[str, Any]:
        fields = {"category": "clear", "place": {"grid_m": 500}}
        grants = more.pop("grants", None) or [grant(purposes=[f"life-{number}"], where=where, fields=fields)]
        return mou_data(f"MOU-LIFE-{number}", "police", "health", grants, version=version, **more)

    return made


def seen(hub: World, data: dict[str, Any]) -> int | None:
    """How many records the consumer gets; None: it is refused."""
    answer = hub.get("health", data["grants"][0]["purposes"][0], "/collections/incidents/items", limit=1000)
    return len(answer.json()["features"]) if answer.status_code == 200 else None


def steps(hub: World, name: str) -> list[str]:
    """What the log of the provider says was done."""
    return [leaf["asked"]["step"] for leaf in hub.leaves(type="mou", owner="police", mou=name)]


def test_from_a_draft_to_its_end(hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]) -> None:
    police, health, _ = parties
    name = data()["mou"]
    assert health.draft(data()).status_code == 201
    assert seen(hub, data()) is None
    assert health.draft(data(title="Better words")).status_code == 201  # a draft may be replaced
    assert police.step("proposal", name).json()["state"] == "proposed"
    assert police.sign(name).json()["state"] == "proposed"
    assert health.sign(name).json()["state"] == "signed"
    assert seen(hub, data()) is None
    found, digest = police.diff(name)
    assert {k: of(found, data())[k] for k in ("before", "after", "gained")} == {"before": 0, "after": 20, "gained": 20}
    assert police.step("activation", name, diff_sha256=digest).json()["state"] == "active"
    assert seen(hub, data()) == 20
    assert health.step("suspension", name, reason="A doubt").json()["state"] == "suspended"
    assert seen(hub, data()) is None
    assert police.step("resumption", name).status_code == 403  # the consumer suspended it
    assert health.step("resumption", name).json()["state"] == "active"
    assert seen(hub, data()) == 20
    assert police.step("termination", name, reason="The project is over").json()["state"] == "terminated"
    assert seen(hub, data()) is None
    expected = [
        "drafted",
        "drafted",
        "proposed",
        "signed",
        "signed",
        "compared",
        "activating",
        "activated",
        "suspended",
        "resumed",
        "terminated",
    ]
    assert steps(hub, name) == expected
    assert [leaf["asked"]["step"] for leaf in hub.leaves(type="mou", owner="health", mou=name)] == expected
    assert (counted(hub, WRONG), counted(hub, DEAD)) == (0, 0)


def test_a_new_version_replaces_the_one_in_force(hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]) -> None:
    police, health, _ = parties
    first = agree(police, health, data())
    second = data(2, [{"field": "category", "one_of": ["theft"]}], supersedes=f"sha256:{first['sha256']}")
    assert agree(police, health, second)["state"] == "active"
    assert states(health, [second["mou"]]) == {(second["mou"], 1): "superseded", (second["mou"], 2): "active"}
    assert seen(hub, second) == 10
    assert (counted(hub, WRONG), counted(hub, DEAD)) == (0, 0)


def test_the_diff_says_what_changes(hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]) -> None:
    police, health, _ = parties
    agree(police, health, data())
    second = data(2)
    second["grants"][0] |= {
        "where": [{"field": "severity", "at_least": 3}],
        "fields": {"category": "clear", "place": {"grid_m": 100}, "title": "clear"},
    }
    second["refuse"] = [
        {"id": "arson", "dataset": "incidents", "where": [{"field": "category", "one_of": ["fire"]}], "fields": ["place"]},
        {"id": "worst", "dataset": "incidents", "where": [{"field": "severity", "at_least": 5}]},
    ]
    assert health.draft(second).status_code == 201
    found, _ = police.diff(second["mou"], 2)
    effect = of(found, second)
    # of 20 records 4 have each severity; 3 and 4 stay, half of them fires; 1, 2 and 5 go
    assert {k: effect[k] for k in ("before", "after", "gained", "lost", "changed")} == {
        "before": 20, "after": 8, "gained": 0, "lost": 12, "changed": 8
    }  # fmt: skip
    assert effect["fields"] == [
        {"field": "category", "from": "clear", "to": "withhold", "count": 12},
        {"field": "place", "from": "grid_m:500", "to": "grid_m:100", "count": 4},
        {"field": "place", "from": "grid_m:500", "to": "withhold", "count": 16},
        {"field": "title", "from": "withhold", "to": "clear", "count": 8},
    ]
    assert 1 <= len(effect["examples"]) <= 10
    mine = {f["id"] for f in hub.items("health", second["grants"][0]["purposes"][0])}
    assert {e["id"] for e in effect["examples"]} <= mine
    assert {e["change"] for e in effect["examples"]} == {"lost", "changed"}
    assert found["replaces"] == [{"version": 1, "sha256": states_sha(health, second["mou"], 1)}]
    assert health.step("diff", second["mou"], 2).status_code == 403  # the records are the provider's
    assert police.step("withdrawal", second["mou"], 2).json()["state"] == "withdrawn"


def of(found: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """The effect on the purpose of a test's own agreement."""
    (effect,) = [e for e in found["effects"] if e["purpose"] in data["grants"][0]["purposes"]]
    return dict(effect)


def states_sha(who: Party, mou: str, version: int) -> str:
    return str(who.call("GET", f"/mous/{mou}/{version}").json()["sha256"])


def test_the_diff_is_what_then_happens(hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]) -> None:
    """Conditions, areas, windows and refusals, counted before, against what readers then get."""
    police, health, _ = parties
    area = orjson.dumps(mapping(box(-79.3805, 43.6495, -79.37, 43.66)))
    digest = sha256(area).hexdigest()
    assert police.call("PUT", f"/mous/boundaries/{digest}", area, "application/geo+json").status_code == 201
    assert police.call("PUT", f"/mous/boundaries/{digest}", area, "application/geo+json").status_code == 200
    now = hub.clock()
    some = [
        feature(f"D-{n}", -79.385 + n / 1000, 43.65 + n / 2000, occurred_at=(now - timedelta(hours=7 * n)).isoformat(), severity=n % 5 + 1)
        for n in range(20)
    ]
    assert hub.publish("police", *some).status_code == 201
    mou = data(jurisdictions={"centre": {"file": "centre.geojson", "sha256": digest}})
    inside = {"field": "place", "within": "centre"}
    mou["grants"] = [
        grant("near", ["near", "both"], [inside, {"field": "severity", "at_most": 4}], occurred={"lookback": "P30D", "embargo": "PT30H"}),
        grant(
            "all", ["all", "both"], occurred={"embargo": "PT10H"}, fields={"occurred_at": {"round_to": "P1D"}, "place": {"grid_m": 2000}}
        ),
        grant("stats", ["both"], [{"field": "category", "one_of": ["fire"]}], actions=["export"]),
    ]
    mou["refuse"] = [{"id": "rare", "dataset": "incidents", "where": [{"field": "severity", "one_of": [2]}]}]
    assert health.draft(mou).status_code == 201
    found, _ = police.diff(mou["mou"])
    counts = {(e["purpose"], e["action"]): e["after"] for e in found["effects"]}
    police.step("withdrawal", mou["mou"])
    agree(police, health, mou | {"version": 2})
    for purpose in ("near", "all", "both"):
        assert counts[purpose, "query"] == len(hub.items("health", purpose)) > 0
    mine = {("near", "query"), ("all", "query"), ("both", "query"), ("both", "export")}
    touched = {(e["purpose"], e["action"]) for e in found["effects"] if e["lost"]}
    assert set(counts) == mine | touched
    assert not touched & mine  # its refusal takes something away from other agreements of the two
    police.step("termination", mou["mou"], 2, reason="done")


def test_what_is_suspended_gives_nothing_by_way_of_its_next_version(
    hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]
) -> None:
    """Not one that was signed already, nor one that is coming into force at that moment."""
    police, health, _ = parties
    name = data()["mou"]
    agree(police, health, data())
    for answer in (police.draft(data(2)), police.step("proposal", name, 2), police.sign(name, 2), health.sign(name, 2)):
        assert answer.status_code in (200, 201)
    hub.services.lifecycle.suspend(OPERATOR, name, 1, "A court order")
    _, digest = police.diff(name, 2)
    answer = police.step("activation", name, 2, diff_sha256=digest)
    assert (answer.status_code, "version 1 is suspended" in answer.json()["detail"]) == (409, True)
    hub.services.lifecycle.resume(OPERATOR, name, 1)
    _, digest = police.diff(name, 2)
    with only_begun():
        assert police.step("activation", name, 2, diff_sha256=digest).status_code == 202
    hub.services.lifecycle.suspend(OPERATOR, name, 1, "A court order")
    activating(hub).resume(hub.clock())
    assert states(police, [name]) == {(name, 1): "suspended", (name, 2): "activating"}
    assert seen(hub, data()) is None
    hub.services.lifecycle.resume(OPERATOR, name, 1)
    activating(hub).resume(hub.clock())
    assert states(police, [name]) == {(name, 1): "superseded", (name, 2): "active"}


def test_what_is_coming_into_force_can_still_be_withdrawn(
    hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]
) -> None:
    police, health, _ = parties
    name = data()["mou"]
    for answer in (police.draft(data()), police.step("proposal", name), police.sign(name), health.sign(name)):
        assert answer.status_code in (200, 201)
    _, digest = police.diff(name)
    with only_begun():
        assert police.step("activation", name, diff_sha256=digest).json()["state"] == "activating"
    assert health.step("withdrawal", name).json()["state"] == "withdrawn"
    activating(hub).resume(hub.clock())
    assert states(police, [name]) == {(name, 1): "withdrawn"}
    assert seen(hub, data()) is None
    assert (counted(hub, WRONG), counted(hub, DEAD)) == (0, 0)


def test_who_waits_for_a_version_that_is_compared_keeps_nobody_from_publishing(
    hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]
) -> None:
    """An effect diff looks at all records, and holds the version as long."""
    police, _, _ = parties
    name = data()["mou"]
    assert police.draft(data()).status_code == 201
    with ThreadPoolExecutor(1) as pool, hub.superuser() as comparing:
        comparing.exec_driver_sql("select from hub.mous where mou = %s for update", (name,))
        withdrawn = pool.submit(police.step, "withdrawal", name)
        waits = "select count(*) from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0"
        until = time.monotonic() + 20
        while comparing.exec_driver_sql(waits).scalar_one() == 0:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert hub.publish("fire", feature(f"W-{name}")).status_code == 201
        assert not withdrawn.done()
        comparing.rollback()
        assert withdrawn.result(20).json()["state"] == "withdrawn"


@pytest.mark.parametrize("who", ["consumer", "provider"])
def test_one_signature_is_not_enough(hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any], who: str) -> None:
    police, health, _ = parties
    name = data()["mou"]
    police.draft(data())
    police.step("proposal", name)
    (health if who == "consumer" else police).sign(name)
    _, digest = police.diff(name)
    answer = police.step("activation", name, diff_sha256=digest)
    assert answer.status_code == 409
    assert "it must be signed" in answer.json()["detail"]
    assert seen(hub, data()) is None


def test_signatures_that_are_none(hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]) -> None:
    police, health, housing = parties
    name, other = data()["mou"], data()["mou"] + "-B"
    police.draft(data())
    police.draft(data() | {"mou": other})
    for mou in (name, other):
        police.step("proposal", mou)
    good = police.call("GET", f"/mous/{name}/1/statement").content
    foreign = police.call("GET", f"/mous/{other}/1/statement").content
    weak = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(Exception, match="EC P-256 or an Ed25519"):
        sign(weak, None, good, STATEMENT)
    right = sign(police.key, None, good, STATEMENT)
    head, _, end = right.split(".")
    wrong = {
        "over another statement": sign(police.key, None, foreign, STATEMENT),
        "over one byte more": sign(police.key, None, good + b" ", STATEMENT),
        "by another party's key": sign(health.key, None, good, STATEMENT),
        "of another kind": sign(police.key, None, good, OFFER),
        "with its content": f"{head}.e30.{end}",
        "without a signature": f"{head}..",
        "with a byte changed": f"{head}..{'A' if end[0] != 'A' else 'B'}{end[1:]}",
        "no signature at all": "hello",
    }
    for what, signature in wrong.items():
        answer = police.step("signatures", name, signature=signature)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "signature"), what
    assert housing.sign(name, content=good).status_code == 404  # other people's is absent
    assert police.call("GET", f"/mous/{name}/1").json()["signatures"] == []
    assert police.step("signatures", name, signature=right).status_code == 200


def test_a_key_counts_once_an_operator_confirmed_it_and_until_it_is_revoked(
    hub: World, data: Callable[..., Any], parties: tuple[Party, Party, Party]
) -> None:
    _, health, _ = parties
    fire = party(hub, "fire", confirmed=False)
    mou = data() | {"parties": {"provider": "fire", "consumer": "health"}}
    name = mou["mou"]
    fire.draft(mou)
    fire.step("proposal", name)
    assert "not confirmed by an operator yet" in fire.sign(name).json()["detail"]
    hub.services.party_keys.confirm(OPERATOR, fire.kid)
    assert fire.sign(name).status_code == 200
    assert health.sign(name).status_code == 200
    _, digest = fire.diff(name)
    assert health.call("POST", f"/party-keys/{fire.kid}/revocation", {}).status_code == 404
    assert fire.call("POST", f"/party-keys/{fire.kid}/revocation", {}).json()["state"] == "revoked"
    answer = fire.step("activation", name, diff_sha256=digest)
    assert (answer.status_code, "was revoked" in answer.json()["detail"]) == (409, True)
    assert [leaf["asked"]["step"] for leaf in hub.leaves(type="party-key", owner="fire")] == ["offered", "confirmed", "revoked"]


def test_a_key_is_offered_by_who_holds_it(hub: World, parties: tuple[Party, Party, Party]) -> None:
    police, health, _ = parties
    jwk = {"kty": "EC", "crv": "P-256"}
    known = police.call("GET", "/party-keys").json()["keys"][0]["jwk"]
    stolen = {"public_key": orjson.dumps(known).decode(), "proof": sign(health.key, None, offer("health", known), OFFER)}
    assert health.call("POST", "/party-keys", stolen).status_code == 400  # police's public half, without the private one
    again = {"public_key": orjson.dumps(known).decode(), "proof": sign(police.key, None, offer("police", known), OFFER)}
    assert police.call("POST", "/party-keys", again).status_code == 409
    assert health.call("POST", "/party-keys", again).status_code == 400  # an offer names its organisation
    assert health.call("POST", "/party-keys", {"public_key": orjson.dumps(jwk).decode(), "proof": "a..b"}).status_code == 400


def test_what_was_acknowledged_must_be_what_is_known_now(hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]) -> None:
    police, health, _ = parties
    name = data()["mou"]
    for answer in (police.draft(data()), police.step("proposal", name), police.sign(name), health.sign(name)):
        assert answer.status_code in (200, 201)
    _, digest = police.diff(name)
    other = data() | {"mou": f"{name}-OTHER"}
    other["grants"][0] |= {"purposes": [f"{name.lower()}-other"]}
    agree(police, health, other)
    for given in (digest, "0" * 64):
        answer = police.step("activation", name, diff_sha256=given)
        assert answer.status_code == 409, answer.text
    _, digest = police.diff(name)
    hub.clock.ahead = timedelta(hours=25)
    try:
        hub.tokens.clear()
        assert "too long ago" in police.step("activation", name, diff_sha256=digest).json()["detail"]
    finally:
        hub.clock.ahead = timedelta(0)
        hub.tokens.clear()
    assert health.step("activation", name, diff_sha256=digest).status_code == 403  # the provider brings it into force
    assert police.step("activation", name, diff_sha256=digest).json()["state"] == "active"


def test_others_see_nothing_of_an_agreement(hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]) -> None:
    police, _, housing = parties
    name = data()["mou"]
    police.draft(data())
    police.step("proposal", name)
    absent = housing.call("GET", "/mous/MOU-NOBODY/1").json()
    paths = [("GET", p) for p in ("", "/source", "/document", "/statement")]
    paths += [("POST", f"/{s}") for s in ("diff", "proposal", "resumption", "withdrawal")]
    for method, path in paths:
        answer = housing.call(method, f"/mous/{name}/1{path}", {} if method == "POST" else None)
        assert (answer.status_code, answer.json()) == (404, absent)
    assert housing.call("GET", "/mous").json() == {"mous": []}
    assert housing.draft(data()).status_code == 403
    stolen = data() | {"parties": {"provider": "housing", "consumer": "health"}, "version": 2}
    assert housing.draft(stolen).status_code == 409  # the name is taken


def test_a_step_out_of_turn_is_refused(hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any]) -> None:
    police, health, _ = parties
    name = data()["mou"]
    police.draft(data())
    bodies: dict[str, dict[str, Any]] = {
        "signatures": {"signature": sign(police.key, None, b"{}", STATEMENT)},
        "activation": {"diff_sha256": "0" * 64},
        "suspension": {"reason": "x"},
        "termination": {"reason": "x"},
    }

    def refused(*wanted: str) -> None:
        for step in wanted:
            answer = police.step(step, name, **bodies.get(step, {}))
            assert answer.status_code == 409, (step, answer.text)
            assert "it must be" in answer.json()["detail"]

    refused("signatures", "activation", "suspension", "resumption", "termination")
    police.step("proposal", name)
    assert police.draft(data(title="Other words")).status_code == 409
    refused("proposal", "activation", "suspension", "resumption", "termination")
    police.sign(name)
    health.sign(name)
    refused("proposal", "signatures", "suspension", "resumption", "termination")
    police.step("withdrawal", name)
    refused("proposal", "signatures", "activation", "suspension", "resumption", "termination", "withdrawal")
    assert police.draft(data()).status_code == 409
    assert police.draft(data(2)).status_code == 201


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], int, str]] = {
    "an unknown party": (lambda d: d | {"parties": {"provider": "police", "consumer": "nobody"}}, 422, "parties.consumer"),
    "a boundary that the hub wasn't sent": (
        lambda d: d | {"jurisdictions": {"centre": {"file": "c.geojson", "sha256": "0" * 64}}}, 422, "jurisdictions.centre.sha256",
    ),
    "a key of nobody's": (lambda d: d | {"colour": "blue"}, 422, "colour"),
    "a missing key": (lambda d: {k: v for k, v in d.items() if k != "legal_basis"}, 422, "legal_basis"),
    "a version that it can't supersede": (lambda d: d | {"supersedes": "sha256:" + "1" * 64}, 422, "supersedes"),
    "a test that fails": (
        lambda d: d | {"tests": [{"as": {"organisation": "health", "purpose": "x"}, "record": {"at": [0, 0]}, "expect": "shown"}]},
        422, "tests[0].expect",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_no_draft(hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any], what: str) -> None:
    police, _, _ = parties
    spoil, status, place = BAD[what]
    answer = police.draft(spoil(data()))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (status, place)
    assert states(police, [data()["mou"]]) == {}


def test_a_boundary_is_what_its_hash_says_and_an_area(parties: tuple[Party, Party, Party]) -> None:
    police, _, _ = parties
    crossed = orjson.dumps({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]})
    assert police.call("PUT", f"/mous/boundaries/{'0' * 64}", b"{}", "application/geo+json").status_code == 400
    for content in (crossed, b"{}", b"no", b'{"type": "Polygon", "coordinates": []}'):
        answer = police.call("PUT", f"/mous/boundaries/{sha256(content).hexdigest()}", content, "application/geo+json")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "boundary")


def test_a_program_without_the_scope_takes_no_step(hub: World, parties: tuple[Party, Party, Party]) -> None:
    for path in ("/mous", "/party-keys", "/mous/MOU-1/1"):
        answer = hub.http.get(path, headers=hub.bearer("police"))
        assert (answer.status_code, "scope agreements" in answer.json()["detail"]) == (403, True)
        assert hub.http.get(path).status_code == 401


CHANGES = [
    "update hub.mous set source = source || ' '", "update hub.mous set in_force_until = 'infinity'",
    "update hub.mous set statement = '{}' where statement is not null", "update hub.mous set document = 'x' where document is not null",
    "insert into hub.mous (mou, version, sha256, source, provider, consumer, in_force_from, in_force_until, state)"
    " select mou, 99, sha256, source, provider, consumer, in_force_from, in_force_until, 'active' from hub.mous limit 1",
    "update hub.mous set state = 'active' where state = 'withdrawn'", "update hub.mous set state = 'draft' where state = 'proposed'",
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_not_even_the_database_changes_what_was_proposed(
    hub: World, parties: tuple[Party, Party, Party], data: Callable[..., Any], change: str
) -> None:
    police, _, _ = parties
    for name in (data()["mou"], data()["mou"] + "-W"):
        police.draft(data() | {"mou": name})
        police.step("proposal", name)
    police.step("withdrawal", name)
    with hub.superuser() as admin, pytest.raises(Exception, match="never") as found:
        admin.exec_driver_sql(change)
    assert isinstance(found.value.orig, psycopg2.errors.InsufficientPrivilege)  # type: ignore[attr-defined]
