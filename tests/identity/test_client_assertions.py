"""How a client proves itself: signed by its registered key, for this hub, for minutes, once."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from hub.identity import clients
from hub.identity.client_auth import UNPROVEN
from hub.identity.server import Issued, TokenServer
from hub.identity.tokens import TokenKey

from .asking import refused, token_form
from .conftest import Clock
from .forgery import (
    AUDIENCE,
    ISSUER,
    NOW,
    TOKEN_ENDPOINT,
    Partner,
    PrivateKey,
    base64url,
    forge,
    public_pem,
)

pytestmark = pytest.mark.db

AT = int(NOW.timestamp())
Ask = Callable[..., Issued]
Register = Callable[..., Partner]


# What Authlib accepts by default, and the hub must not.


def test_an_assertion_signed_with_rs256_is_refused(register: Register, ask: Ask) -> None:
    refused(ask(register("PS256").assertion({"alg": "RS256"})), "invalid_client", "alg")


def test_an_assertion_valid_for_ten_years_is_refused(partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(exp=AT + 10 * 365 * 86400)), "invalid_client", "too long")


def test_an_assertion_for_several_audiences_is_refused(partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(aud=[ISSUER, "https://evil.example"])), "invalid_client", "aud")
    refused(ask(partner.assertion(aud=[ISSUER])), "invalid_client", "aud")


# Who signed it.


def test_an_assertion_with_alg_none_is_refused(partner: Partner, ask: Ask) -> None:
    refused(ask(forge({"alg": "none"}, partner.claims(), None)), "invalid_client", "three parts")
    refused(ask(forge({"alg": "none"}, partner.claims(), b"x")), "invalid_client", "alg")


def test_an_assertion_hmacked_with_the_registered_public_key_is_refused(partner: Partner, ask: Ask) -> None:
    secret = public_pem(partner.key).encode()
    refused(ask(forge({"alg": "HS256"}, partner.claims(), secret)), "invalid_client", "alg")


def test_an_assertion_signed_with_a_foreign_key_is_refused(partner: Partner, ask: Ask) -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    refused(ask(forge({"alg": "ES256"}, partner.claims(), own)), "invalid_client", UNPROVEN)


def test_an_assertion_that_brings_its_own_key_is_refused(partner: Partner, ask: Ask) -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    jwk = TokenKey.of(own).public.as_dict(private=False)
    refused(ask(forge({"alg": "ES256", "jwk": jwk}, partner.claims(), own)), "invalid_client", "jwk")


@pytest.mark.parametrize(("registered", "claimed"), [("ES256", "PS256"), ("PS256", "ES256"), ("ES256", "EdDSA")])
def test_an_algorithm_that_does_not_fit_the_registered_key_is_refused(
    registered: str, claimed: str, register: Register, private_keys: dict[str, PrivateKey], ask: Ask
) -> None:
    partner, other = register(registered), private_keys["Ed25519" if claimed == "EdDSA" else claimed]
    issued = ask(forge({"alg": claimed}, partner.claims(), other))
    refused(issued, "invalid_client", UNPROVEN)
    assert "does not fit" in str(issued.reason)


def test_an_assertion_with_a_tampered_payload_is_refused(partner: Partner, ask: Ask) -> None:
    header, _, signature = partner.assertion().split(".")
    body = base64url(json.dumps(partner.claims(jti="another")).encode())
    refused(ask(f"{header}.{body}.{signature}"), "invalid_client", UNPROVEN)


def test_one_client_cannot_sign_for_another(register: Register, ask: Ask) -> None:
    one, other = register("ES256"), register("Ed25519")
    forged = forge({"alg": "ES256"}, other.claims(), one.key)
    refused(ask(forged), "invalid_client", UNPROVEN)
    refused(ask(one.assertion(iss=other.client.client_id)), "invalid_client", "iss and sub")
    refused(ask(one.assertion(), client_id=other.client.client_id), "invalid_client", "client_id")
    assert ask(one.assertion(), client_id=one.client.client_id).status == 200


@pytest.mark.parametrize("name", ["no-such-client", "", "UPPER", "a\x00b", "x" * 500, "\ud800", 5, None, ["a"], {}])
def test_an_unknown_client_is_refused(name: object, partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(iss=name, sub=name)), "invalid_client")


def test_unknown_disabled_and_foreign_get_the_same_answer(partner: Partner, writer: Engine, ask: Ask, clock: Clock) -> None:
    unknown = ask(partner.assertion(iss="no-such-client", sub="no-such-client"))
    foreign = ask(forge({"alg": "ES256"}, partner.claims(), ec.generate_private_key(ec.SECP256R1())))
    clients.disable(writer, partner.client.client_id, clock())
    disabled = ask(partner.assertion())
    assert unknown.body == foreign.body == disabled.body
    assert len({unknown.reason, foreign.reason, disabled.reason}) == 3


def test_a_disabled_client_gets_no_token_from_that_moment_on(partner: Partner, writer: Engine, ask: Ask, clock: Clock) -> None:
    clients.disable(writer, partner.client.client_id, NOW + timedelta(seconds=10))
    assert ask(partner.assertion()).status == 200
    clock.advance(10)
    refused(ask(partner.assertion()), "invalid_client", UNPROVEN)


# What it claims.


@pytest.mark.parametrize("audience", [TOKEN_ENDPOINT, AUDIENCE, f"{ISSUER}/", "https://evil.example", "", None, 5, {}])
def test_an_assertion_for_another_audience_is_refused(audience: object, partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(aud=audience)), "invalid_client", "aud")


def test_the_lifetime_of_an_assertion_ends_at_five_minutes(partner: Partner, ask: Ask) -> None:
    assert ask(partner.assertion(exp=AT + 300)).status == 200
    refused(ask(partner.assertion(exp=AT + 301, iat=AT + 1)), "invalid_client", "too long")  # after now
    refused(ask(partner.assertion(exp=AT + 300, iat=AT - 1)), "invalid_client", "too long")  # after iat
    assert ask(partner.assertion(exp=AT + 300, iat=None)).status == 200


def test_an_expired_assertion_is_refused(partner: Partner, ask: Ask) -> None:
    assert ask(partner.assertion(exp=AT - 59, iat=AT - 100)).status == 200  # a clock may be a minute off
    refused(ask(partner.assertion(exp=AT - 60, iat=AT - 100)), "invalid_client", "expired")
    refused(ask(partner.assertion(exp=None)), "invalid_client", "exp")


def test_an_assertion_from_the_future_is_refused(partner: Partner, ask: Ask) -> None:
    assert ask(partner.assertion(iat=AT + 60, nbf=AT + 60, exp=AT + 200)).status == 200
    refused(ask(partner.assertion(iat=AT + 61, exp=AT + 200)), "invalid_client", "future")
    refused(ask(partner.assertion(nbf=AT + 61, exp=AT + 200)), "invalid_client", "not valid yet")


@pytest.mark.parametrize("odd", ["1", True, [], {}, float("nan"), float("inf"), -float("inf"), 10**400, -(10**400)])
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
def test_a_claim_that_is_no_time_is_refused(claim: str, odd: object, partner: Partner, ask: Ask) -> None:
    issued = ask(partner.assertion(**{claim: odd}))
    if claim == "nbf" and odd == -(10**400):
        assert issued.status == 200  # long ago: a time all the same
    else:
        refused(issued, "invalid_client")


def test_a_fraction_of_a_second_is_a_time(partner: Partner, ask: Ask) -> None:
    assert ask(partner.assertion(exp=AT + 60.5, iat=AT - 0.5)).status == 200


@pytest.mark.parametrize("jti", [None, "", 5, "x" * 129, ["a"]])
def test_an_assertion_without_a_usable_jti_is_refused(jti: object, partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(jti=jti)), "invalid_client", "jti")


@pytest.mark.parametrize("jti", ["x" * 128, "\x00", "\ud800", "é" * 128])
def test_any_text_of_128_characters_is_a_jti_and_works_once(jti: str, partner: Partner, ask: Ask) -> None:
    assert ask(partner.assertion(jti=jti)).status == 200
    refused(ask(partner.assertion(jti=jti)), "invalid_client", "used before")


def test_an_access_token_is_no_assertion(partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion({"typ": "at+jwt"})), "invalid_client", "typ")
    assert ask(partner.assertion({"typ": "JWT"})).status == 200
    assert ask(partner.assertion({"typ": "client-authentication+jwt"})).status == 200


@pytest.mark.parametrize("extra", [{"crit": ["x"]}, {"crit": 5}, {"b64": False, "crit": ["b64"]}, {"x5u": "https://e.example"}])
def test_an_assertion_with_an_unknown_header_member_is_refused(extra: dict[str, Any], partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(extra)), "invalid_client", "header")


def test_an_assertion_longer_than_8_kib_is_refused(partner: Partner, ask: Ask) -> None:
    assert ask(partner.assertion(note="x" * 5000)).status == 200
    refused(ask(partner.assertion(note="x" * 6000)), "invalid_client", "longer")


@pytest.mark.parametrize("garbage", ["a", "a.b.c", "..", "é.é.é", "a.b", "a.b.c.d", "\x00", " "])
def test_what_is_no_assertion_is_refused(garbage: str, ask: Ask) -> None:
    refused(ask(garbage), "invalid_client")


# Once.


def test_a_replayed_assertion_is_refused(partner: Partner, ask: Ask, clock: Clock) -> None:
    sent = partner.assertion()
    assert ask(sent).status == 200
    refused(ask(sent), "invalid_client", "used before")
    clock.advance(119)  # still within its life and the allowance for clocks
    refused(ask(sent), "invalid_client", "used before")
    clock.advance(1)
    refused(ask(sent), "invalid_client", "expired")


def test_the_same_jti_of_another_client_is_no_replay(register: Register, ask: Ask) -> None:
    assert ask(register().assertion(jti="shared")).status == 200
    assert ask(register().assertion(jti="shared")).status == 200


def test_of_two_threads_with_one_assertion_exactly_one_wins(partner: Partner, server: TokenServer) -> None:
    together = Barrier(2)

    def send(sent: str) -> int:
        form = token_form(client_assertion=sent)
        together.wait()
        return server.issue(form, {}).status

    with ThreadPoolExecutor(2) as pool:
        for _ in range(50):
            sent = partner.assertion()
            assert sorted(pool.map(send, [sent, sent])) == [200, 400]


def test_a_refused_assertion_is_not_used_up_unless_its_client_was_proven(partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(jti="kept", aud="https://evil.example")), "invalid_client")
    refused(
        ask(forge({"alg": "ES256"}, partner.claims(jti="kept"), ec.generate_private_key(ec.SECP256R1()))),
        "invalid_client",
    )
    assert ask(partner.assertion(jti="kept")).status == 200


def test_forgotten_assertions_could_not_be_accepted_any_more(
    partner: Partner, writer: Engine, server: TokenServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.identity.replay.PURGE_EVERY_S", 0)

    def remembered() -> int:
        with writer.connect() as connection:
            count = sa.text("select count(*) from hub.assertions_seen where client_id = :c")
            found: int = connection.scalar(count, {"c": partner.client.client_id})
            return found

    assert server.issue(token_form(client_assertion=partner.assertion(exp=AT + 300)), {}).status == 200
    other = partner.assertion(exp=AT + 450, iat=AT + 400)
    clock.advance(419)  # exp, the allowance for clocks, and another machine's clock
    assert server.issue(token_form(client_assertion=other), {}).status == 200
    assert remembered() == 2
    clock.advance(2)
    server.issue(token_form(client_assertion=partner.assertion(exp=AT + 450, iat=AT + 400)), {})
    assert remembered() == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "other"]), value=JSON)
def test_whatever_a_client_claims_the_answer_is_an_answer(name: str, value: Any, partner: Partner, ask: Ask) -> None:
    claims = {**partner.claims(), name: value}
    assert ask(forge({"alg": "ES256"}, claims, partner.key)).status in (200, 400)
