"""Lookups, from a serving process that was taken over: it may say to the key process what it likes, learns no tags in bulk and opens
nothing.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import orjson
import psycopg2
import pytest
import sqlalchemy as sa

from hub.audit.leaf import By, Event, Share, event_id
from hub.audit.log import append
from hub.crypto.keys import Lookup, NotCovered, Opening, OverLimit, Proof, Sealing, Versions
from hub.crypto.remote import RemoteKeys
from hub.datasets.incidents import Incident
from hub.db import transaction
from hub.errors import InvalidRequest, NotAuthenticated
from hub.setup import keyd_socket
from hub.workers.limits import Limits
from tests.world import World, feature, grant

PHONE = Incident.field("phone")
assert PHONE is not None
NUMBER = "+441134960000"
ASKED = Lookup(Incident.number, PHONE.number, {"value": NUMBER})
OTHER = Lookup(Incident.number, PHONE.number, {"value": "+441134960001"})


class Stored(NamedTuple):
    id: UUID
    rev: int
    revision_no: int
    owner: UUID

    def opening(self, **changed: Any) -> Opening:
        assert PHONE is not None
        said = {"owner": self.owner, "record": self.id, "rev": self.rev, "revision_no": self.revision_no} | changed
        return Opening(schema=1, cls=PHONE.cls, field=PHONE.number, blob=b"", **said)


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    for slug in ("police", "fire", "health", "housing"):
        world.organisation(slug)
    for provider in ("police", "fire"):
        grants = [grant(actions=["match"], fields={"phone": "match_only"})]
        world.mou(tmp_path_factory.mktemp("mous"), f"MOU-{provider.upper()}", provider, "health", grants)
        assert world.publish(provider, feature(f"{provider}-1", phone=NUMBER), feature(f"{provider}-2")).status_code == 201
    return world


@pytest.fixture(scope="module")
def stored(shared: World) -> dict[str, Stored]:
    with shared.superuser() as admin:
        found = admin.exec_driver_sql(
            "select i.external_id, i.id, i.rev, i.revision_no, o.uid from hub.incidents i join hub.organisations o on o.id = i.provider"
        ).all()
    return {name: Stored(UUID(str(i)), rev, number, UUID(str(uid))) for name, i, rev, number, uid in found}


@pytest.fixture
def keys(shared: World) -> Iterator[RemoteKeys]:
    made = RemoteKeys(keyd_socket(shared.settings))
    yield made
    made.close()


def proof(world: World, client: str = "health") -> Proof:
    answer = world.token_response(client, "research")
    return Proof(answer.json()["access_token"])


def logged(world: World, brought: Proof, numbers: list[int], lookup: Lookup = ASKED, **changed: Any) -> UUID:
    """Commits the leaf of a test, as a serving process could: of whom, of what and when it likes."""
    token = world.services.verifier.verify(f"Bearer {brought.token}", world.clock())
    at = changed.pop("at", datetime.now(UTC))
    event = event_id(at, uuid4().bytes[:10])
    sealed, digest = world.services.keys.literals(event, at, orjson.dumps({"phone": [lookup.said["value"]]}))
    asked = {"as": "tested", "fields": ["phone"], "literals": "sealed:", "hash": "hmac:" + digest.hex()}
    assert sealed
    fields = changed.pop("fields", {"phone": "tested"})
    owner = changed.pop("owner", "police")
    by = changed.pop("by", By(token.organisation, token.client_id, token.session))
    said = {"type": "match", "decision": "permit", "purpose": "research", "dataset": "incidents"} | changed
    kind, decision = said.pop("type"), said.pop("decision")
    made = Event(event, kind, at, by, decision, asked=asked, **said)
    with transaction(world.database.writer) as tx:
        tx.rows("begin")
        append(tx, made, [Share(owner, (), numbers, {"fields": fields})], then="; commit")
    return event


def test_what_a_committed_leaf_says_was_tested_is_compared(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    """The honest twin of all that follows."""
    brought, wanted = proof(shared), [stored["police-1"], stored["police-2"]]
    event = logged(shared, brought, [w.revision_no for w in wanted])
    hits, signed = keys.confirm(brought, event, ASKED, [w.opening() for w in wanted])
    assert hits == [True, False]
    assert signed == shared.keyd.signer.after(signed.n - 1, 1)[0]
    other = logged(shared, brought, [w.revision_no for w in wanted], OTHER)
    assert keys.confirm(brought, other, OTHER, [w.opening() for w in wanted])[0] == [False, False]


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        ({"type": "query"}, {}),
        ({"decision": "refuse"}, {}),
        ({"dataset": "other"}, {}),
        ({"purpose": "other"}, {}),
        ({"owner": "fire"}, {}),
        ({"fields": {"phone": "match_only"}}, {}),
        ({"fields": {"people": "tested"}}, {}),
        ({"at": datetime.now(UTC) - timedelta(hours=1)}, {}),
        ({"by": By("housing", "housing", "s")}, {}),
        ({"lookup": OTHER}, {}),
        ({"numbers": []}, {}),
        ({}, {"revision_no": 1_000_000}),
        ({}, {"rev": 2}),
    ],
    ids=[
        "another type", "refused", "another dataset", "another purpose", "another owner", "told, not tested", "another field",
        "an hour ago", "somebody else's", "another question", "no revisions", "another number", "another revision",
    ],
)  # fmt: skip
def test_a_leaf_that_says_something_else_compares_nothing(
    shared: World, keys: RemoteKeys, stored: dict[str, Stored], changed: dict[str, Any], asked: dict[str, Any]
) -> None:
    brought, own = proof(shared), stored["police-1"]
    numbers = changed.pop("numbers", [own.revision_no])
    event = logged(shared, brought, numbers, changed.pop("lookup", ASKED), **changed)
    with pytest.raises(NotCovered):
        keys.confirm(brought, event, ASKED, [own.opening(**asked)])


def test_an_event_that_is_not_there_compares_nothing(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    with pytest.raises(NotCovered):
        keys.confirm(proof(shared), uuid4(), ASKED, [stored["police-1"].opening()])


def test_a_leaf_of_a_test_lends_no_key(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    brought, own = proof(shared), stored["police-1"]
    event = logged(shared, brought, [own.revision_no])
    with pytest.raises(NotCovered):
        keys.open_batch(brought, event, Incident.number, [own.opening()])


def test_without_a_good_proof_there_are_no_candidates(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    owner = [stored["police-1"].owner]
    assert keys.candidates(proof(shared), ASKED, owner) == [stored["police-1"].id]
    for bad in (Proof(), Proof("x"), Proof(cookie="nobody"), Proof("x", "y")):
        with pytest.raises(NotAuthenticated):
            keys.candidates(bad, ASKED, owner)


@pytest.mark.parametrize("field", [4, 12, 99, 0])
def test_a_field_that_cannot_be_looked_up_has_no_candidates(shared: World, keys: RemoteKeys, stored: dict[str, Stored], field: int) -> None:
    with pytest.raises(NotCovered):
        keys.candidates(proof(shared), Lookup(Incident.number, field, {"value": "x"}), [stored["police-1"].owner])
    with pytest.raises(NotCovered):
        keys.candidates(proof(shared), Lookup(77, 5, {"value": "x"}), [stored["police-1"].owner])


def test_a_value_that_is_none_names_its_member(shared: World, keys: RemoteKeys) -> None:
    with pytest.raises(InvalidRequest) as refused:
        keys.candidates(proof(shared), Lookup(Incident.number, 5, {"value": "none"}), [])
    assert refused.value.problems[0].field == "value"
    with pytest.raises(InvalidRequest):
        keys.candidates(proof(shared), Lookup(Incident.number, 5, {"plate": "A"}), [])


def test_questions_are_counted_by_client_and_end(shared: World, keys: RemoteKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    lending = shared.keyd.lending
    monkeypatch.setattr(lending, "_questions", Limits(3, "ask {most} times"))
    brought = proof(shared)
    for _ in range(3):
        keys.candidates(brought, ASKED, [])
    with pytest.raises(OverLimit, match="ask 3 times"):
        keys.candidates(brought, OTHER, [])
    answer = shared.http.post(
        "/collections/incidents/match", json={"field": "phone", "value": NUMBER}, headers=shared.bearer("health", "research")
    )
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:concord:problem:over-limit")
    keys.candidates(proof(shared, "housing"), ASKED, [])  # another client has its own


def test_comparing_is_counted_too_for_who_writes_leaves_without_asking(
    shared: World, keys: RemoteKeys, stored: dict[str, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A serving process that was taken over could name every record in a leaf, and compare each with value after value."""
    monkeypatch.setattr(shared.keyd.lending, "_questions", Limits(3, "ask {most} times"))
    brought, own = proof(shared), stored["police-1"]
    for _ in range(3):
        assert keys.confirm(brought, logged(shared, brought, [own.revision_no]), ASKED, [own.opening()])[0] == [True]
    event = logged(shared, brought, [own.revision_no])
    with pytest.raises(OverLimit, match="ask 3 times"):
        keys.confirm(brought, event, ASKED, [own.opening()])
    keys.candidates(brought, ASKED, [])  # asking is counted apart


def test_the_key_of_a_tag_cannot_be_asked_for_by_its_name(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    owner = stored["police-1"].owner
    for label in ("blind:1:5:1", "mac:blind:1:5:1", "blind"):
        with pytest.raises(NotCovered):
            keys.macs(label, owner, [NUMBER.encode()])


def test_no_tag_leaves_the_key_process_and_no_serving_role_reads_one(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    """A serving process that pretends to publish a number learns nothing of who has it."""
    owner = stored["police-1"].owner
    sealed = keys.seal_records(Incident.number, [Sealing(owner, uuid4(), 1, 1, "default", {5: (2, orjson.dumps(NUMBER))})])
    assert sealed[1] == Versions(1, None)
    assert len(sealed) == 2
    for engine in (shared.database.reader, shared.database.writer, shared.database.auditor, shared.database.agreements):
        for statement in (
            "select tag from hub.incidents_blind",
            f"select hub.incidents_candidates(5, 1, '{{1}}', array['{owner}'::uuid])",
            f"select hub.incidents_tag('{owner}', 1, null, '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege), transaction(engine) as tx:
                tx.rows(statement)


def test_tags_of_two_owners_for_one_number_have_nothing_in_common(shared: World) -> None:
    rows = "select o.slug, b.tag from hub.incidents_blind b join hub.organisations o on o.id = b.provider where b.field = 5"
    for n in range(40):
        for provider in ("police", "fire"):
            shared.publish(provider, feature(f"same-{n}", phone=f"+44 20 7946 {n:04d}"))
    with shared.superuser() as admin:
        found = admin.exec_driver_sql(rows).all()
    tags = {slug: [tag for whose, tag in found if whose == slug] for slug in ("police", "fire")}
    assert all(0 <= tag < 256 for _, tag in found)
    assert len(tags["police"]) >= 40
    assert len(set(tags["police"]) & set(tags["fire"])) < 25, "as many as by chance"


def test_what_is_sealed_and_never_stored_is_no_candidate(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    own = stored["police-2"]
    text = orjson.dumps("+44 20 7946 0999")
    keys.seal_records(Incident.number, [Sealing(own.owner, own.id, 2, 1, "default", {5: (2, text)})])
    keys.seal_records(Incident.number, [Sealing(own.owner, uuid4(), 1, 1, "default", {5: (2, text)})])
    asked = Lookup(Incident.number, PHONE.number, {"value": "+442079460999"})  # type: ignore[union-attr]
    assert own.id not in keys.candidates(proof(shared), asked, [own.owner])


def test_no_value_that_can_be_looked_up_is_in_any_table(shared: World) -> None:
    forms = (NUMBER, NUMBER[1:], "1134960000", NUMBER.encode().hex())
    for url in (shared.addresses.main, shared.addresses.keys):
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            names = connection.exec_driver_sql("select schemaname, tablename from pg_tables where schemaname in ('hub', 'keys')").all()
            for schema, table in names:
                for (row,) in connection.exec_driver_sql(f'select t::text from {schema}."{table}" t'):
                    assert not [form for form in forms if form in row], table
        engine.dispose()
