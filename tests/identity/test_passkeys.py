"""Passkeys: what a good device gets, and every way in which an answer that looks like one is refused."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from time import sleep
from typing import Any
from uuid import UUID

import cbor2
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from hub.errors import InvalidRequest, NotAuthenticated
from hub.identity import passkeys as module
from hub.identity import people
from hub.identity.challenges import MOST as MOST_CHALLENGES
from hub.identity.passkeys import PasskeyRefused, Passkeys, origin_of
from hub.identity.people import Person

from .asking import decoded
from .authenticator import PRESENT, VERIFIED, Authenticator, es256
from .conftest import Clock
from .forgery import base64url

pytestmark = pytest.mark.db

ORIGIN, RP_ID = "https://hub.example", "hub.example"
SENTENCE = "The passkey was not accepted: try again, or sign in another way."


@pytest.fixture
def passkeys(writer: Engine, clock: Clock) -> Passkeys:
    return Passkeys(writer, RP_ID, ORIGIN, clock)


@pytest.fixture
def device(passkeys: Passkeys, person: Person) -> Authenticator:
    """One that counts, registered for `person`."""
    made = Authenticator(ORIGIN, RP_ID, count=7)
    passkeys.register(person, made.create(passkeys.creation_options(person)), "Work phone")
    return made


class _Recorder:
    def __init__(self, logs: list[dict[str, Any]]) -> None:
        self._logs = logs

    def warning(self, event: str, **more: Any) -> None:
        self._logs.append({"event": event, **more})


def refused(call: Callable[[], Any], *words: str) -> None:
    """One neutral sentence; the reason in the log alone, told once."""
    logs: list[dict[str, Any]] = []
    kept, module._log = module._log, _Recorder(logs)  # structlog's own capture misses a logger that some other test has used already
    try:
        with pytest.raises(PasskeyRefused) as error:
            call()
    finally:
        module._log = kept
    assert isinstance(error.value, NotAuthenticated)
    assert (str(error.value), error.value.status) == (SENTENCE, 401)
    assert [line["event"] for line in logs] == ["passkey refused"]
    for word in words:
        assert word in logs[0]["reason"], logs


def test_a_person_signs_in_without_typing_a_name(passkeys: Passkeys, person: Person, device: Authenticator) -> None:
    assert json.loads(passkeys.request_options())["allowCredentials"] == []
    assert passkeys.verify(device.get(passkeys.request_options())) == person
    assert passkeys.verify(json.dumps(device.get(passkeys.request_options()))) == person


def test_a_device_that_does_not_count_signs_in_as_often_as_it_likes(passkeys: Passkeys, person: Person) -> None:
    device = Authenticator(ORIGIN, RP_ID)
    passkeys.register(person, device.create(passkeys.creation_options(person)), "Laptop")
    for _ in range(2):
        assert passkeys.verify(device.get(passkeys.request_options())) == person
    assert device.count == 0


def test_a_passkey_is_made_discoverable_verified_and_without_attestation(passkeys: Passkeys, person: Person) -> None:
    options = json.loads(passkeys.creation_options(person))
    assert options["rp"] == {"name": "Concord", "id": RP_ID}
    assert decoded(options["user"]["id"]) == person.id.bytes
    assert (options["user"]["name"], options["user"]["displayName"]) == (person.handle, person.name)
    assert options["authenticatorSelection"] == {"residentKey": "required", "requireResidentKey": True, "userVerification": "required"}
    assert options["attestation"] == "none"
    assert [p["alg"] for p in options["pubKeyCredParams"]] == [-7, -8, -257]
    assert options["excludeCredentials"] == []
    assert len(decoded(options["challenge"])) >= 32


def test_a_device_is_not_asked_for_a_second_passkey_of_the_same_person(passkeys: Passkeys, person: Person, device: Authenticator) -> None:
    (known,) = json.loads(passkeys.creation_options(person))["excludeCredentials"]
    assert decoded(known["id"]) == device.credential_id
    (allowed,) = json.loads(passkeys.request_options(person))["allowCredentials"]
    assert decoded(allowed["id"]) == device.credential_id


WRONG_MAKING: list[tuple[dict[str, Any], str]] = [
    ({"origin": "https://hub.example.evil.example"}, "origin"),
    ({"origin": "http://hub.example"}, "origin"),
    ({"origin": "https://hub.example:8443"}, "origin"),
    ({"rp_id": "evil.example"}, "RP ID"),
    ({"flags": PRESENT}, "User verification"),
    ({"flags": VERIFIED}, "presence"),
    ({"type": "webauthn.get"}, "client data type"),
    ({"crossOrigin": True}, "frame"),
    ({"fmt": "fido-u2f"}, ""),
    ({"fmt": "unheard-of"}, ""),
    ({"cose": es256(ec.generate_private_key(ec.SECP384R1()))}, "kind"),
    ({"cose": es256(ec.generate_private_key(ec.SECP256R1()))[:-1] + b"\0"}, ""),  # a point that is not on the curve
    ({"cose": b"\xa0"}, ""),
]


@pytest.mark.parametrize(("wrong", "word"), WRONG_MAKING, ids=lambda v: "" if isinstance(v, dict) else v)
def test_a_passkey_that_is_made_wrongly_is_refused(passkeys: Passkeys, person: Person, wrong: dict[str, Any], word: str) -> None:
    device = Authenticator(ORIGIN, RP_ID)
    refused(lambda: passkeys.register(person, device.create(passkeys.creation_options(person), **wrong), "Phone"), word)
    assert passkeys.of(person.id) == []
    passkeys.register(person, device.create(passkeys.creation_options(person)), "Phone")  # the control: without the fault
    assert len(passkeys.of(person.id)) == 1


WRONG_SIGNING: list[tuple[dict[str, Any], str]] = [
    ({"origin": "https://evil.example"}, "origin"),
    ({"rp_id": "evil.example"}, "RP ID"),
    ({"flags": PRESENT}, "User verification"),
    ({"flags": VERIFIED}, "not present"),
    ({"type": "webauthn.create"}, "client data type"),
    ({"crossOrigin": True}, "frame"),
    ({"spoilt": True}, "signature"),
    ({"user_handle": b""}, "another person"),
    ({"user_handle": UUID(int=1).bytes}, "another person"),
]


@pytest.mark.parametrize(("wrong", "word"), WRONG_SIGNING, ids=lambda v: "" if isinstance(v, dict) else v)
def test_an_answer_that_is_wrong_in_one_thing_is_refused(
    passkeys: Passkeys, person: Person, device: Authenticator, wrong: dict[str, Any], word: str
) -> None:
    refused(lambda: passkeys.verify(device.get(passkeys.request_options(), **wrong)), word)
    assert passkeys.of(person.id)[0].used_at is None
    assert passkeys.verify(device.get(passkeys.request_options())) == person  # the control: without the fault


def test_another_key_does_not_sign_for_a_passkey(passkeys: Passkeys, person: Person, device: Authenticator) -> None:
    forger = Authenticator(ORIGIN, RP_ID, credential_id=device.credential_id, user_handle=device.user_handle, count=900)
    refused(lambda: passkeys.verify(forger.get(passkeys.request_options())), "signature")
    assert passkeys.verify(device.get(passkeys.request_options())) == person  # nor does it move the counter


def test_an_unknown_passkey_gets_the_answer_of_a_wrong_signature(passkeys: Passkeys, person: Person, device: Authenticator) -> None:
    stranger = Authenticator(ORIGIN, RP_ID, user_handle=person.id.bytes)
    refused(lambda: passkeys.verify(stranger.get(passkeys.request_options())), "unknown credential")
    refused(lambda: passkeys.verify(device.get(passkeys.request_options(), spoilt=True)), "signature")


def test_an_answer_works_once(passkeys: Passkeys, person: Person) -> None:
    device = Authenticator(ORIGIN, RP_ID)  # one that doesn't count: the counter must not be what refuses the second
    made = device.create(passkeys.creation_options(person))
    passkeys.register(person, made, "Phone")
    refused(lambda: passkeys.register(person, made, "Phone"), "challenge")
    answer = device.get(passkeys.request_options())
    assert passkeys.verify(answer) == person
    refused(lambda: passkeys.verify(answer), "challenge")


def test_of_many_who_replay_an_answer_at_once_one_gets_in(passkeys: Passkeys, person: Person) -> None:
    device = Authenticator(ORIGIN, RP_ID)
    passkeys.register(person, device.create(passkeys.creation_options(person)), "Phone")
    answer = device.get(passkeys.request_options())

    def enter(_: int) -> bool:
        try:
            return passkeys.verify(answer) == person
        except PasskeyRefused:
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(enter, range(6))) == 1


def test_a_challenge_is_used_up_by_a_failure_too(passkeys: Passkeys, device: Authenticator) -> None:
    options = passkeys.request_options()
    refused(lambda: passkeys.verify(device.get(options, spoilt=True)), "signature")
    refused(lambda: passkeys.verify(device.get(options)), "challenge")


def test_a_challenge_that_the_hub_did_not_make_is_refused(passkeys: Passkeys, device: Authenticator) -> None:
    made_up = json.dumps({"challenge": "A" * 86, "userVerification": "required"})
    refused(lambda: passkeys.verify(device.get(made_up)), "challenge")


@pytest.mark.parametrize(("after", "good"), [(299, True), (300, False)])
def test_a_challenge_is_good_for_five_minutes(
    passkeys: Passkeys, clock: Clock, person: Person, device: Authenticator, after: int, good: bool
) -> None:
    answer = device.get(passkeys.request_options())
    clock.advance(after)
    if good:
        assert passkeys.verify(answer) == person
    else:
        refused(lambda: passkeys.verify(answer), "challenge")


def test_a_challenge_is_good_for_its_own_kind_and_person_alone(
    passkeys: Passkeys, person: Person, other: Person, device: Authenticator
) -> None:
    theirs = Authenticator(ORIGIN, RP_ID)
    to_make = passkeys.creation_options(person)
    refused(lambda: passkeys.register(other, theirs.create(to_make), "Phone"), "challenge")
    to_sign = passkeys.request_options(person)
    refused(lambda: passkeys.verify(device.get(to_sign)), "challenge")  # asked to unlock one's session, used to sign in
    refused(lambda: passkeys.verify(device.get(to_sign), other), "challenge")
    refused(lambda: passkeys.verify(device.get(passkeys.request_options()), person), "challenge")
    swapped = json.dumps(json.loads(to_make) | {"userVerification": "required"})
    refused(lambda: passkeys.verify(device.get(swapped), person), "challenge")  # to make a passkey, used to sign in
    assert passkeys.verify(device.get(to_sign), person) == person  # nobody else could use it up
    passkeys.register(person, theirs.create(to_make), "Phone")


def test_one_person_s_session_is_not_unlocked_by_another_s_passkey(
    passkeys: Passkeys, other: Person, device: Authenticator, person: Person
) -> None:
    refused(lambda: passkeys.verify(device.get(passkeys.request_options(other)), other), "somebody else")
    assert passkeys.verify(device.get(passkeys.request_options(person)), person) == person


def test_a_credential_belongs_to_whoever_registered_it_first(
    passkeys: Passkeys, person: Person, other: Person, device: Authenticator
) -> None:
    thief = Authenticator(ORIGIN, RP_ID, credential_id=device.credential_id)
    refused(lambda: passkeys.register(other, thief.create(passkeys.creation_options(other)), "Phone"), "already")
    assert passkeys.of(other.id) == []
    assert passkeys.verify(device.get(passkeys.request_options())) == person


@pytest.mark.parametrize(("back", "good"), [(0, False), (1, False), (-1, True)])
def test_a_counter_that_does_not_grow_is_taken_for_a_copy(
    passkeys: Passkeys, person: Person, device: Authenticator, back: int, good: bool
) -> None:
    assert passkeys.verify(device.get(passkeys.request_options())) == person
    device.count -= back + 1  # the device adds one
    if good:
        assert passkeys.verify(device.get(passkeys.request_options())) == person
    else:
        refused(lambda: passkeys.verify(device.get(passkeys.request_options())), "copy")
        device.count = 1_000
        assert passkeys.verify(device.get(passkeys.request_options())) == person  # the count that was known stood


def test_a_counter_that_falls_to_nought_is_taken_for_a_copy(passkeys: Passkeys, device: Authenticator) -> None:
    device.count = 0
    refused(lambda: passkeys.verify(device.get(passkeys.request_options())), "copy")


def test_a_forged_answer_raises_no_suspicion_of_a_copy(passkeys: Passkeys, device: Authenticator) -> None:
    device.count = 1
    refused(lambda: passkeys.verify(device.get(passkeys.request_options(), spoilt=True)), "signature")


def test_a_disabled_person_s_passkey_is_refused(
    writer: Engine, passkeys: Passkeys, clock: Clock, person: Person, device: Authenticator
) -> None:
    to_make = passkeys.creation_options(person)
    people.disable(writer, person.handle, clock() + timedelta(seconds=1))
    assert passkeys.verify(device.get(passkeys.request_options())).id == person.id
    clock.advance(1)
    refused(lambda: passkeys.verify(device.get(passkeys.request_options())), "disabled")
    refused(lambda: passkeys.register(person, Authenticator(ORIGIN, RP_ID).create(to_make), "Phone"), "disabled")


def test_a_device_that_attests_itself_is_taken_without_anybody_s_word(passkeys: Passkeys, person: Person) -> None:
    """Browsers leave `packed` self-attestation as it is, though `none` was asked for (WebAuthn §5.1.3)."""
    device = Authenticator(ORIGIN, RP_ID)
    options = passkeys.creation_options(person)
    unsigned = device.create(options)
    data = cbor2.loads(decoded(unsigned["response"]["attestationObject"]))["authData"]
    digest = hashes.Hash(hashes.SHA256())
    digest.update(decoded(unsigned["response"]["clientDataJSON"]))
    signature = device.key.sign(data + digest.finalize(), ec.ECDSA(hashes.SHA256()))
    passkeys.register(person, device.create(options, fmt="packed", statement={"alg": -7, "sig": signature}), "Key")
    assert passkeys.verify(device.get(passkeys.request_options())) == person


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["public-key", "e30", "AAAA"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "rawId", "type", "response", "clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made_up=JSON, raw=st.binary(max_size=60))
def test_whatever_is_sent_is_refused_in_the_same_words(passkeys: Passkeys, person: Person, made_up: Any, raw: bytes) -> None:
    for sent in (made_up, json.dumps(made_up), raw.decode("latin-1")):
        for call in (lambda s=sent: passkeys.verify(s), lambda s=sent: passkeys.register(person, s, "Phone")):
            refused(call)


MEMBER, PLACE, CHANGE = st.integers(0, 3), st.integers(0, 10_000), st.integers(1, 255)


def changed(credential: dict[str, Any], names: Sequence[str], member: int, place: int, change: int) -> dict[str, Any]:
    """The same with one byte of one of the members of these names another one."""
    name = names[member % len(names)]
    raw = bytearray(decoded(credential["response"][name]))
    raw[place % len(raw)] ^= change
    return credential | {"response": credential["response"] | {name: base64url(bytes(raw))}}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(member=MEMBER, place=PLACE, change=CHANGE)
def test_a_good_answer_with_any_byte_changed_is_refused(
    passkeys: Passkeys, person: Person, device: Authenticator, member: int, place: int, change: int
) -> None:
    names = ("clientDataJSON", "authenticatorData", "signature", "userHandle")
    answer = device.get(passkeys.request_options())
    refused(lambda: passkeys.verify(changed(answer, names, member, place, change)))
    assert passkeys.verify(device.get(passkeys.request_options())) == person


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(member=MEMBER, place=PLACE, change=CHANGE)
def test_a_new_passkey_with_any_byte_changed_is_never_a_defect(
    passkeys: Passkeys, person: Person, member: int, place: int, change: int
) -> None:
    """Nothing signs it (attestation none), so some changes make another passkey; that one nobody can sign with."""
    made = Authenticator(ORIGIN, RP_ID).create(passkeys.creation_options(person))
    with suppress(PasskeyRefused):
        passkeys.register(person, changed(made, ("clientDataJSON", "attestationObject"), member, place, change), "Phone")
    for passkey in passkeys.of(person.id)[1:]:
        passkeys.remove(person.id, passkey.credential_id)


def test_passkeys_are_listed_renamed_and_removed_but_never_the_last(
    passkeys: Passkeys, clock: Clock, person: Person, other: Person, device: Authenticator
) -> None:
    clock.advance(60)
    second = Authenticator(ORIGIN, RP_ID)
    passkeys.register(person, second.create(passkeys.creation_options(person)), "  Laptop ")
    assert [(k.credential_id, k.label, k.used_at) for k in passkeys.of(person.id)] == [
        (device.credential_id, "Work phone", None),
        (second.credential_id, "Laptop", None),
    ]
    passkeys.verify(second.get(passkeys.request_options()))
    assert passkeys.of(person.id)[1].used_at == clock()
    passkeys.rename(person.id, second.credential_id, "Old laptop")
    assert passkeys.of(person.id)[1].label == "Old laptop"
    for call in (
        lambda: passkeys.rename(other.id, second.credential_id, "Mine"),
        lambda: passkeys.remove(other.id, second.credential_id),
        lambda: passkeys.remove(person.id, b"unknown"),
    ):
        with pytest.raises(InvalidRequest, match="no such passkey"):
            call()
    passkeys.remove(person.id, device.credential_id)
    refused(lambda: passkeys.verify(device.get(passkeys.request_options())), "unknown credential")
    with pytest.raises(InvalidRequest, match="only passkey"):
        passkeys.remove(person.id, second.credential_id)
    assert passkeys.verify(second.get(passkeys.request_options())) == person


def test_of_two_passkeys_that_are_removed_at_once_one_stays(
    writer: Engine, passkeys: Passkeys, person: Person, device: Authenticator
) -> None:
    second = Authenticator(ORIGIN, RP_ID)
    passkeys.register(person, second.create(passkeys.creation_options(person)), "Laptop")

    def remove(credential_id: bytes) -> bool:
        try:
            passkeys.remove(person.id, credential_id)
        except InvalidRequest:
            return False
        return True

    def linger(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("delete from hub.passkeys"):
            sleep(0.2)  # the other one may look meanwhile, if it can

    sa.event.listen(writer, "before_cursor_execute", linger)
    try:
        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(remove, (device.credential_id, second.credential_id))) == [False, True]
    finally:
        sa.event.remove(writer, "before_cursor_execute", linger)
    assert len(passkeys.of(person.id)) == 1


@pytest.mark.parametrize("label", ["", "  ", "x" * 61, "two\nlines", "\u202eenohp", "a\0b", "\ud800"])
def test_a_bad_label_is_refused_by_name_before_the_challenge_is_used(passkeys: Passkeys, person: Person, label: str) -> None:
    device = Authenticator(ORIGIN, RP_ID)
    made = device.create(passkeys.creation_options(person))
    with pytest.raises(InvalidRequest) as error:
        passkeys.register(person, made, label)
    assert error.value.problems[0].field == "label"
    passkeys.register(person, made, "x" * 60)


def test_there_is_an_end_to_a_person_s_passkeys(
    passkeys: Passkeys, person: Person, device: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    for expected in (2, None):
        made = Authenticator(ORIGIN, RP_ID).create(passkeys.creation_options(person))
        if expected:
            passkeys.register(person, made, "Phone")
            assert len(passkeys.of(person.id)) == expected
        else:
            with pytest.raises(InvalidRequest, match="remove one first"):
                passkeys.register(person, made, "Phone")


def test_expired_challenges_do_not_pile_up(writer: Engine, passkeys: Passkeys, clock: Clock) -> None:
    for _ in range(5):
        passkeys.request_options()
    clock.advance(301)
    passkeys.request_options()
    with writer.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from hub.challenges where expires_at <= :now"), {"now": clock()}) == 0


def test_one_asker_holds_a_hundred_challenges_at_most_and_costs_nobody_else_any(
    writer: Engine, passkeys: Passkeys, device: Authenticator, person: Person, clock: Clock
) -> None:
    others = passkeys.request_options(asker=b"another source")
    first = passkeys.request_options(asker=b"a source")
    for _ in range(MOST_CHALLENGES + 5):
        clock.advance(0.1)
        last = passkeys.request_options(asker=b"a source")
    with writer.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from hub.challenges where asker = 'a source'")) == MOST_CHALLENGES
    refused(lambda: passkeys.verify(device.get(first)), "challenge")
    assert passkeys.verify(device.get(last)) == passkeys.verify(device.get(others)) == person


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://hub.example", "https://hub.example"),
        ("https://hub.example:443/below", "https://hub.example"),
        ("http://localhost:80", "http://localhost"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("https://HUB.Example:8443/", "https://hub.example:8443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(address: str, origin: str) -> None:
    assert origin_of(address) == origin
