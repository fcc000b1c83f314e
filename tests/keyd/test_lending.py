"""A serving process that was taken over may say to the key process whatever it likes. Nothing is opened without a committed event that
names it; each attack has beside it the same request, honest, which is answered.
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import orjson
import pytest

from hub.audit.leaf import By, Event, Share, event_id
from hub.audit.log import append
from hub.crypto import keyring
from hub.crypto.keys import Lookup, NotCovered, Opening, OverLimit, Proof, Sealing, Shredded
from hub.crypto.leaf_signer import LeafSigner
from hub.crypto.remote import RemoteKeys
from hub.datasets.incidents import Incident
from hub.db import transaction
from hub.errors import HubError, NotAuthenticated, Tampered
from hub.identity import clients, people
from hub.records import SEALED_CLASSES
from hub.setup import keyd_socket
from hub.workers.lending import READS
from hub.workers.limits import TOGETHER, Limits
from tests.world import World, feature, grant

CANARY = "A canary sings at the harbour"
NARRATIVE = Incident.field("narrative")
FIELDS = {"category": "clear", "narrative": "clear", "place": "clear"}
assert NARRATIVE is not None


class Stored(NamedTuple):
    """A record in the store: what somebody who reads the main database knows."""

    id: UUID
    rev: int
    revision_no: int
    owner: UUID
    blob: bytes

    def opening(self, **changed: Any) -> Opening:
        asked = Opening(self.owner, self.id, self.rev, 1, SEALED_CLASSES["case"], NARRATIVE.number, self.blob, self.revision_no)  # type: ignore[union-attr]
        return replace(asked, **changed)


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("mous")
    for slug in ("police", "fire", "health", "housing"):
        world.organisation(slug)
    for provider in ("police", "fire"):
        world.mou(folder, f"MOU-{provider.upper()}", provider, "health", [grant(fields=FIELDS)])
        sent = [feature(f"{provider}-{n}", narrative=f"{CANARY} {provider} {n}") for n in range(3)]
        assert world.publish(provider, *sent).status_code == 201
    return world


@pytest.fixture(scope="module")
def stored(shared: World) -> dict[str, Stored]:
    with shared.superuser() as admin:
        rows = admin.exec_driver_sql(
            "select i.external_id, i.id, i.rev, i.revision_no, o.uid, i.narrative_sealed from hub.incidents i"
            " join hub.organisations o on o.id = i.provider"
        ).all()
    return {name: Stored(UUID(str(i)), rev, number, UUID(str(uid)), bytes(blob)) for name, i, rev, number, uid, blob in rows}


@pytest.fixture
def keys(shared: World) -> Iterator[RemoteKeys]:
    """The socket, in the hands of whoever owns a serving process."""
    made = RemoteKeys(keyd_socket(shared.settings))
    yield made
    made.close()


@pytest.fixture
def unwrapped(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the key process, in threads of this one, has unwrapped since: the contexts of data keys."""
    found: list[Any] = []
    unwrap = keyring.unwrap_dek

    def noted(kek: Any, row: bytes, context: Any) -> bytes:
        found.append(context)
        return unwrap(kek, row, context)

    monkeypatch.setattr(keyring, "unwrap_dek", noted)
    return found


def token(world: World, client: str = "health") -> str:
    return world.bearer(client, "research")["Authorization"].removeprefix("Bearer ")


def logged(world: World, *revisions: int, commit: bool = True, client: str = "health", **changed: Any) -> UUID:
    """An event as the flow would log it, or changed; nobody checks what a serving process logs."""
    verified = world.services.verifier.verify(f"Bearer {token(world, client)}", world.clock())
    by = By(verified.organisation, verified.client_id, verified.session)
    at = changed.pop("at", datetime.now(UTC))
    event = Event(event_id(at, os.urandom(10)), "query", at, by, "permit", "research", dataset="incidents")
    share = Share("police", (), revisions, {"fields": FIELDS})
    with transaction(world.database.writer) as tx:
        tx.rows("begin")
        append(tx, replace(event, **changed), [share], then="; commit" if commit else "")
        if not commit:
            with pytest.raises(NotCovered):  # asked while the transaction is open
                _ask(world, event.id)
    return event.id


def _ask(world: World, event: UUID) -> None:
    made = RemoteKeys(keyd_socket(world.settings))
    try:
        made.open_batch(Proof(token(world)), event, Incident.number, [Opening(uuid4(), uuid4(), 1, 1, 3, 4, b"", 1)])
    finally:
        made.close()


def signed(world: World) -> int:
    return len(world.keyd.signer.after(0, 100_000))


def test_what_a_committed_event_names_is_opened(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    wanted = [stored["police-0"], stored["police-1"]]
    event = logged(shared, *(w.revision_no for w in wanted))
    opened, signed = keys.open_batch(Proof(token(shared)), event, Incident.number, [w.opening() for w in wanted])
    assert opened == [f'"{CANARY} police {n}"'.encode() for n in range(2)]
    assert signed is not None
    assert (signed.event, signed) == (event, shared.keyd.signer.after(signed.n - 1, 1)[0])


def test_its_leaf_is_signed_before(shared: World, keys: RemoteKeys, stored: dict[str, Stored], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the keys database, from where another session sees it, at the moment at which the first key is unwrapped."""
    seen: list[bytes] = []
    unwrap = keyring.unwrap_dek

    def looking(*key: Any) -> bytes:
        seen.append(shared.keyd.signer.after(0, 100_000)[-1].leaf_hash)
        return unwrap(*key)

    monkeypatch.setattr(keyring, "unwrap_dek", looking)
    event = logged(shared, stored["police-0"].revision_no)
    keys.open_batch(Proof(token(shared)), event, Incident.number, [stored["police-0"].opening()])
    (entry,) = shared.services.log.access(event, None)
    assert [found.hex() for found in seen] == [entry.hash]


def test_where_the_leaf_cant_be_signed_nothing_is_lent(
    shared: World, keys: RemoteKeys, stored: dict[str, Stored], monkeypatch: pytest.MonkeyPatch, unwrapped: list[Any]
) -> None:
    monkeypatch.setattr(LeafSigner, "sign", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
    with pytest.raises(HubError):
        keys.open_batch(
            Proof(token(shared)), logged(shared, stored["police-0"].revision_no), Incident.number, [stored["police-0"].opening()]
        )
    assert unwrapped == []


@pytest.mark.parametrize(
    "changed",
    [
        {"at": datetime.now(UTC) - timedelta(minutes=3)},
        {"at": datetime.now(UTC) + timedelta(minutes=3)},
        {"type": "audit"},
        {"type": "publish"},
        {"decision": "absent"},
        {"decision": "refuse"},
        {"dataset": "alerts"},
        {"purpose": "outreach"},
        {"by": By("health", "health", "another session")},
        {"client": "housing"},
        {"commit": False},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_event_opens_nothing(
    shared: World, keys: RemoteKeys, stored: dict[str, Stored], changed: dict[str, Any], unwrapped: list[Any]
) -> None:
    wanted, proof = stored["police-0"], Proof(token(shared))
    event, before = logged(shared, wanted.revision_no, **changed), signed(shared)
    with pytest.raises(NotCovered):
        keys.open_batch(proof, event, Incident.number, [wanted.opening()])
    assert (signed(shared), unwrapped) == (before, [])
    keys.open_batch(proof, logged(shared, wanted.revision_no), Incident.number, [wanted.opening()])
    assert len(unwrapped) == 1  # control


@pytest.mark.parametrize(
    "changed",
    [
        lambda own, other: other.opening(),  # a record that the event doesn't name
        lambda own, other: other.opening(revision_no=own.revision_no),  # under the number of one that it does
        lambda own, other: own.opening(record=other.id),
        lambda own, other: own.opening(rev=2),
        lambda own, other: own.opening(owner=other.owner),
        lambda own, other: own.opening(owner=uuid4()),
        lambda own, other: own.opening(cls=SEALED_CLASSES["contact"]),
        lambda own, other: own.opening(cls=SEALED_CLASSES["identity"]),
        lambda own, other: own.opening(cls=0),
        lambda own, other: own.opening(cls=32767),
    ],
)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside what is covered"])
def test_what_the_event_doesnt_name_stays_shut(
    shared: World, keys: RemoteKeys, stored: dict[str, Stored], changed: Any, beside: bool
) -> None:
    own = stored["police-0"]
    for other in (stored["police-1"], stored["fire-0"]):
        asked = changed(own, other)
        if asked == own.opening():
            continue
        event = logged(shared, own.revision_no)
        with pytest.raises(NotCovered):
            keys.open_batch(Proof(token(shared)), event, Incident.number, [*([own.opening()] if beside else []), asked])


def test_whoever_is_refused_leaves_no_reading_that_others_wait_for(
    shared: World, keys: RemoteKeys, stored: dict[str, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrapped keys are read while the event is looked up: as many at once as there are places, and the rest is dropped with its request."""
    own, going_on, read, wrapped = stored["police-0"], threading.Event(), list[int](), keyring.Keyring.wrapped

    def slow(ring: keyring.Keyring, wanted: Any) -> Any:
        read.append(len(wanted))
        assert going_on.wait(30)
        return wrapped(ring, wanted)

    monkeypatch.setattr(keyring.Keyring, "wrapped", slow)
    for _ in range(READS + 5):
        with pytest.raises(NotCovered):
            keys.open_batch(Proof(token(shared)), uuid4(), Incident.number, [own.opening()])
    going_on.set()
    keys.open_batch(Proof(token(shared)), logged(shared, own.revision_no), Incident.number, [own.opening()])
    assert len(read) == READS + 1


@pytest.mark.parametrize("dataset", [0, 2, 65535])
def test_there_is_no_other_dataset_to_ask_for(shared: World, keys: RemoteKeys, stored: dict[str, Stored], dataset: int) -> None:
    own = stored["police-0"]
    with pytest.raises(NotCovered):
        keys.open_batch(Proof(token(shared)), logged(shared, own.revision_no), dataset, [own.opening()])


def test_an_event_that_is_in_no_log_opens_nothing(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    with pytest.raises(NotCovered, match="No such event"):
        keys.open_batch(Proof(token(shared)), uuid4(), Incident.number, [stored["police-0"].opening()])


@pytest.mark.parametrize("proof", ["none", "both", "nobody's token", "nobody's cookie", "no scheme", "expired"])
def test_without_a_good_proof_nothing_is_opened(shared: World, keys: RemoteKeys, stored: dict[str, Stored], proof: str) -> None:
    own, good = stored["police-0"], token(shared)
    brought = {
        "none": Proof(),
        "both": Proof(good, "x" * 43),
        "nobody's token": Proof(good[:-6] + "AAAAAA"),
        "nobody's cookie": Proof(cookie="x" * 43),
        "no scheme": Proof(""),
        "expired": Proof(good),
    }[proof]
    event = logged(shared, own.revision_no)
    if proof == "expired":
        shared.clock.ahead += timedelta(hours=1)
    try:
        with pytest.raises(NotAuthenticated):
            keys.open_batch(brought, event, Incident.number, [own.opening()])
    finally:
        if proof == "expired":
            shared.clock.ahead -= timedelta(hours=1)
    assert keys.open_batch(Proof(good), logged(shared, own.revision_no), Incident.number, [own.opening()])[0]


def test_a_disabled_client_opens_nothing(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    own, brought = stored["police-0"], Proof(token(shared))
    event = logged(shared, own.revision_no)
    clients.disable(shared.database.writer, "health", datetime.now(UTC) - timedelta(seconds=1))
    try:
        with pytest.raises(NotAuthenticated, match="disabled"):
            keys.open_batch(brought, event, Incident.number, [own.opening()])
    finally:
        with shared.superuser() as admin:
            admin.exec_driver_sql("update hub.clients set disabled_at = null")


def test_sealing_under_a_key_that_is_there_opens_nothing(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    """A publish that is tried again seals under the key of the first attempt; what comes back is ciphertext alone."""
    own = stored["police-0"]
    (sealed,) = keys.seal_batch([Sealing(own.owner, own.id, own.rev, 1, "default", {4: (SEALED_CLASSES["case"], b"guess")})])
    assert set(sealed) == {4}
    assert len(sealed[4]) == 31 + 16
    assert b"guess" not in sealed[4]


@pytest.mark.parametrize("label", ["literals", "blind:phone", "sign:leaves", "", "content\0"])
def test_there_is_no_other_keyed_hash_to_ask_for(shared: World, keys: RemoteKeys, label: str) -> None:
    assert len(keys.macs("content", uuid4(), [b"x"])[0]) == 32
    with pytest.raises(NotCovered):
        keys.macs(label, uuid4(), [b"x"])


def test_a_note_is_opened_for_its_owners_client_alone(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    owner, note = stored["police-0"].owner, uuid4()
    blob = keys.seal_note(owner, note, b"what was ordered")
    police = Proof(shared.bearer("police")["Authorization"].removeprefix("Bearer "))
    assert keys.open_note(police, owner, note, blob) == b"what was ordered"
    for proof in (Proof(token(shared)), Proof(shared.bearer("fire")["Authorization"].removeprefix("Bearer "))):
        with pytest.raises(NotCovered):
            keys.open_note(proof, owner, note, blob)
    with pytest.raises(Shredded):
        keys.open_note(police, owner, uuid4(), blob)


def test_a_field_of_a_record_doesnt_open_as_a_note(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    own = stored["police-0"]
    police = Proof(shared.bearer("police")["Authorization"].removeprefix("Bearer "))
    with pytest.raises(Tampered):
        keys.open_note(police, own.owner, own.id, own.blob)


def test_a_person_opens_by_the_session_that_is_in_the_leaf(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    own = stored["police-0"]
    one, other = (_session(shared, f"{name}@health.example") for name in ("one", "other"))
    event = logged(shared, own.revision_no, by=By("health", session=one[1], person=one[2]))
    assert keys.open_batch(Proof(cookie=one[0]), event, Incident.number, [own.opening()])[0]
    with pytest.raises(NotCovered):
        keys.open_batch(Proof(cookie=other[0]), event, Incident.number, [own.opening()])
    with pytest.raises(NotCovered):
        keys.open_batch(Proof(token(shared)), event, Incident.number, [own.opening()])
    session = shared.services.sessions.find(one[0])
    assert session is not None
    shared.services.sessions.end(session)
    with pytest.raises(NotAuthenticated):
        keys.open_batch(Proof(cookie=one[0]), event, Incident.number, [own.opening()])


def _session(world: World, handle: str) -> tuple[str, str, str]:
    return _again(world, people.add(world.database.writer, "health", handle.partition("@")[0], handle, ["analyst"]))


def _again(world: World, person: people.Person) -> tuple[str, str, str]:
    cookie, session = world.services.sessions.begin(person, "passkey")
    return cookie, str(session.id), str(person.id)


def test_a_person_is_lent_so_many_keys_an_hour_in_whatever_session(
    shared: World, keys: RemoteKeys, stored: dict[str, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = stored["police-0"]
    monkeypatch.setattr(shared.keyd.lending, "_limits", Limits(2))
    one, other = (people.add(shared.database.writer, "health", n, f"{n}@health.example", ["analyst"]) for n in ("busy", "idle"))

    def opened(session: tuple[str, str, str]) -> list[bytes]:
        event = logged(shared, own.revision_no, by=By("health", session=session[1], person=session[2]))
        return keys.open_batch(Proof(cookie=session[0]), event, Incident.number, [own.opening()])[0]

    assert opened(_again(shared, one)) == opened(_again(shared, one))
    with pytest.raises(OverLimit, match="within an hour"):
        opened(_again(shared, one))
    assert opened(_again(shared, other))


def test_questions_of_a_person_are_counted_in_whatever_session_and_those_of_an_organisation_together(
    shared: World, keys: RemoteKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.keyd.lending, "_questions", Limits(1))
    asked = Lookup(Incident.number, 5, {"value": "+441134960000"})
    for n in range(TOGETHER):
        person = people.add(shared.database.writer, "health", f"p{n}", f"p{n}@health.example", ["analyst"])
        keys.candidates(Proof(cookie=_again(shared, person)[0]), asked, [])
        with pytest.raises(OverLimit, match="This client may"):
            keys.candidates(Proof(cookie=_again(shared, person)[0]), asked, [])
    with pytest.raises(OverLimit, match="all of your organisation"):
        keys.candidates(Proof(token(shared)), asked, [])
    keys.candidates(Proof(token(shared, "housing")), asked, [])


def test_a_client_is_lent_so_many_keys_an_hour_and_no_more(
    shared: World, keys: RemoteKeys, stored: dict[str, Stored], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = stored["police-0"]
    monkeypatch.setattr(shared.keyd.limits, "_most", 0)
    with pytest.raises(OverLimit, match="within an hour"):
        keys.open_batch(Proof(token(shared)), logged(shared, own.revision_no), Incident.number, [own.opening()])
    answer = shared.get("health", "research", "/collections/incidents/items")
    assert answer.status_code == 429
    assert CANARY not in answer.text
    assert orjson.loads(answer.content)["type"].endswith("over-limit")


def test_an_earlier_revision_opens_for_the_event_that_showed_it(shared: World, keys: RemoteKeys, stored: dict[str, Stored]) -> None:
    """A record may change between the leaf and the opening."""
    own = stored["police-2"]
    event = logged(shared, own.revision_no)
    assert shared.publish("police", feature("police-2", narrative="Another text")).status_code == 200
    assert keys.open_batch(Proof(token(shared)), event, Incident.number, [own.opening()])[0] == [f'"{CANARY} police 2"'.encode()]
