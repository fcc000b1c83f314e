"""`POST /oauth/token`: who gets a token, who doesn't, and what the audit log learns of it."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from hub.errors import InvalidRequest, NotAuthenticated, Refused, Unavailable
from hub.identity.server import Issued, TokenServer
from hub.identity.tokens import TokenKey, Verifier
from tests import assertion

from .asking import decoded, refused, token_form
from .conftest import Clock
from .forgery import (
    AUDIENCE,
    ISSUER,
    NOW,
    PURPOSE,
    TOKEN_ENDPOINT,
    Partner,
    PrivateKey,
    private_pem,
    public_pem,
)

pytestmark = pytest.mark.db

AT = int(NOW.timestamp())
Ask = Callable[..., Issued]
Register = Callable[..., Partner]


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "Ed25519"])
def test_a_registered_client_gets_a_token_the_hub_believes(algorithm: str, register: Register, ask: Ask, token_key: TokenKey) -> None:
    partner = register(algorithm)
    issued = ask(partner.assertion())

    assert issued.status == 200
    assert issued.headers == {"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache"}
    assert issued.body.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (issued.body["token_type"], issued.body["expires_in"]) == ("Bearer", 300)
    believed = Verifier(ISSUER, AUDIENCE, token_key.public).verify(f"Bearer {issued.body['access_token']}", NOW)
    assert believed.client_id == partner.client.client_id
    assert believed.organisation == partner.client.organisation.slug
    assert believed.organisation_id == partner.client.organisation.id
    assert (believed.purpose, believed.scopes) == (PURPOSE, {"publish", "query"})
    assert believed.expires_at == NOW + timedelta(seconds=300)


def test_the_audit_log_learns_who_got_which_token_and_why(partner: Partner, ask: Ask) -> None:
    issued = ask(partner.assertion())
    assert issued.client == partner.client
    assert issued.client_id == partner.client.client_id
    assert issued.organisation == partner.client.organisation.slug
    assert (issued.purpose, issued.scopes, issued.reason) == (PURPOSE, {"publish", "query"}, None)
    payload = issued.body["access_token"].split(".")[1]
    assert json.loads(decoded(payload))["jti"] == issued.session
    assert payload not in repr(issued)


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "Ed25519"])
def test_the_commands_own_assertion_is_accepted_once(algorithm: str, register: Register, ask: Ask) -> None:
    partner = register(algorithm)
    made = assertion.make(private_pem(partner.key), partner.client.client_id, ISSUER, NOW)
    assert ask(made).status == 200
    refused(ask(made), "invalid_client", "used before")


def test_an_assertion_is_made_only_with_a_usable_private_key(private_keys: dict[str, PrivateKey]) -> None:
    wrong = ["", b"\xff", public_pem(private_keys["ES256"]), private_pem(ec.generate_private_key(ec.SECP384R1()))]
    for pem in wrong[:3]:
        with pytest.raises(InvalidRequest, match="private key must be"):
            assertion.make(pem, "a-client", ISSUER, NOW)
    with pytest.raises(InvalidRequest, match="private key must be"):
        assertion.make(wrong[3], "a-client", ISSUER, NOW)


def test_eddsa_is_taken_as_the_older_name_of_ed25519(register: Register, ask: Ask) -> None:
    assert ask(register("Ed25519").assertion({"alg": "EdDSA"})).status == 200


def test_the_audience_of_an_issued_token_is_the_api_and_not_the_client(partner: Partner, ask: Ask) -> None:
    issued = ask(partner.assertion())
    claims = json.loads(decoded(issued.body["access_token"].split(".")[1]))
    assert claims["aud"] == AUDIENCE
    assert claims["sub"] == claims["client_id"] == partner.client.client_id


def test_an_issued_token_is_typed_and_names_its_key(partner: Partner, ask: Ask, token_key: TokenKey) -> None:
    header = json.loads(decoded(ask(partner.assertion()).body["access_token"].split(".")[0]))
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": token_key.kid}


def test_no_log_line_holds_a_token_or_an_assertion(partner: Partner, ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sent = partner.assertion()
    issued = ask(sent)
    refused(ask(sent), "invalid_client")
    assert "assertion replayed" in caplog.text
    assert sent.split(".")[1] not in caplog.text
    assert issued.body["access_token"].split(".")[1] not in caplog.text


# The form.


@pytest.mark.parametrize("name", ["grant_type", "scope", "purpose", "client_assertion", "client_id", "other"])
def test_a_duplicated_form_field_is_refused(name: str, partner: Partner, server: TokenServer) -> None:
    pairs = list(token_form(client_assertion=partner.assertion()).items())
    twice = [*pairs, (name, "query"), *([] if name in dict(pairs) else [(name, "query")])]
    refused(server.issue(twice, {}), "invalid_request", name)


def test_a_multi_mapping_does_not_hide_a_duplicate(partner: Partner, server: TokenServer) -> None:
    class Multi(dict[str, str]):
        def multi_items(self) -> list[tuple[str, str]]:
            return [*self.items(), ("purpose", "enforcement")]

    refused(server.issue(Multi(token_form(client_assertion=partner.assertion())), {}), "invalid_request", "purpose")


def test_the_raw_body_is_read_as_atoken_form(partner: Partner, server: TokenServer) -> None:
    body = urlencode(token_form(client_assertion=partner.assertion())).encode()
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    refused(server.issue(body, {"content-type": "application/json"}), "invalid_request", "x-www-form-urlencoded")
    refused(server.issue(body + b"&purpose=x", form), "invalid_request", "purpose")
    assert server.issue(body, form).status == 200


@pytest.mark.parametrize("body", [b"\xff", b"a=%ff", b"&".join(b"a%d=" % i for i in range(21)), b"x" * 16385, b"", b"{}"])
def test_a_body_that_is_no_form_is_refused(body: bytes, server: TokenServer) -> None:
    refused(server.issue(body, {}), "invalid_request")


def test_a_duplicated_name_is_shown_only_if_it_is_harmless(server: TokenServer) -> None:
    for name in ['"', "\\", "é", "x" * 41, "", "a\r\nb"]:
        refused(server.issue([(name, "a"), (name, "b")], {}), "invalid_request", "(unnamed)")


def test_a_file_in_place_of_a_parameter_is_refused(server: TokenServer) -> None:
    refused(server.issue({"grant_type": object()}, {}), "invalid_request", "text")


@pytest.mark.parametrize("grant_type", ["password", "authorization_code", "refresh_token", "client_credentials ", 'é"'])
def test_another_grant_type_is_refused(grant_type: str, partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(), grant_type=grant_type), "unsupported_grant_type", "client_credentials")


def test_a_request_without_a_grant_type_is_refused(partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(), grant_type=None), "invalid_request", "grant_type")
    refused(ask(partner.assertion(), grant_type=""), "invalid_request", "grant_type")


def test_a_secret_or_no_authentication_at_all_is_refused(partner: Partner, ask: Ask, server: TokenServer) -> None:
    form = {"grant_type": "client_credentials", "client_id": partner.client.client_id, "client_secret": "guess"}
    refused(server.issue(form, {}), "invalid_client", "private_key_jwt")
    refused(ask("", client_id=partner.client.client_id), "invalid_client", "private_key_jwt")
    refused(ask(partner.assertion(), client_assertion_type="urn:other"), "invalid_client", "private_key_jwt")


def test_an_authorization_header_is_refused_with_401(partner: Partner, server: TokenServer) -> None:
    issued = server.issue(token_form(client_assertion=partner.assertion()), {"Authorization": "Basic YTpi"})
    refused(issued, "invalid_client", "Authorization", status=401)
    assert issued.headers["WWW-Authenticate"].startswith("Basic ")


# Scope and purpose.


def test_without_a_scope_the_token_has_all_of_the_clients(register: Register, ask: Ask) -> None:
    issued = ask(register("ES256", "publish", "query", "audit").assertion())
    assert issued.body["scope"] == "audit publish query"


def test_a_client_may_ask_for_less(partner: Partner, ask: Ask) -> None:
    issued = ask(partner.assertion(), scope="publish", purpose=None)
    assert (issued.body["scope"], issued.scopes, issued.purpose) == ("publish", {"publish"}, None)


@pytest.mark.parametrize("scope", ["audit", "publish audit", "admin", "publish,query", " ", "QUERY", "é", '"', "query\x00"])
def test_a_scope_the_client_does_not_have_is_refused(scope: str, partner: Partner, ask: Ask) -> None:
    issued = ask(partner.assertion(), scope=scope)
    refused(issued, "invalid_scope", "scope")
    assert issued.client == partner.client  # proven, so the log may name it
    assert issued.scopes == frozenset()


@pytest.mark.parametrize("scope", ["query", "publish query", None])
def test_a_token_for_queries_needs_a_purpose(scope: str | None, partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(), scope=scope, purpose=None), "invalid_request", "purpose")
    refused(ask(partner.assertion(), scope=scope, purpose=""), "invalid_request", "purpose")


@pytest.mark.parametrize("purpose", ["Public", "a b", ".a", "a.", "a..b", "a-", "-a", "a_b", "é", "a\n", "x" * 101, "a\x00", "*", 'a"'])
def test_a_garbled_purpose_is_refused(purpose: str, partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(), purpose=purpose), "invalid_request", "purpose")
    refused(ask(partner.assertion(), purpose=purpose, scope="publish"), "invalid_request", "purpose")


@pytest.mark.parametrize("purpose", ["a", "public-health.outreach", "a.b-c.d1", "x" * 100])
def test_a_well_formed_purpose_is_accepted(purpose: str, partner: Partner, ask: Ask) -> None:
    assert ask(partner.assertion(), purpose=purpose).purpose == purpose


# The case.


@pytest.mark.parametrize("case", ["7", "2026/17", "Fall Müller, Nr. 12", "x" * 100, "<b>{{7*7}}</b>"])
def test_a_token_says_for_which_case_it_is(case: str, partner: Partner, ask: Ask, token_key: TokenKey) -> None:
    issued = ask(partner.assertion(), case=case)
    believed = Verifier(ISSUER, AUDIENCE, token_key.public).verify(f"Bearer {issued.body['access_token']}", NOW)
    assert (issued.case, believed.case, believed.purpose) == (case, case, PURPOSE)


@pytest.mark.parametrize("case", [None, ""])
def test_without_a_case_the_token_has_none(case: str | None, partner: Partner, ask: Ask, token_key: TokenKey) -> None:
    issued = ask(partner.assertion(), case=case)
    believed = Verifier(ISSUER, AUDIENCE, token_key.public).verify(f"Bearer {issued.body['access_token']}", NOW)
    assert (issued.status, issued.case, believed.case) == (200, None, None)


@pytest.mark.parametrize(
    "case", ["x" * 101, " ", " 7", "7 ", "a\tb", "a\nb", "a\x00b", "a\x7fb", "a\u202eb", "a\u200bb", "a\u2028b", "a\u00a0b", "\ud800"]
)
def test_a_case_that_would_not_read_as_it_looks_is_refused(case: str, partner: Partner, ask: Ask) -> None:
    issued = ask(partner.assertion(), case=case)
    refused(issued, "invalid_request", "case")
    assert (issued.client, issued.purpose, issued.case) == (partner.client, None, None)


def test_a_case_needs_a_purpose(partner: Partner, ask: Ask) -> None:
    refused(ask(partner.assertion(), scope="publish", purpose=None, case="7"), "invalid_request", "case")
    assert ask(partner.assertion(), scope="publish", case="7").case == "7"


# The rest.


def test_a_database_that_is_down_gives_no_token(token_key: TokenKey, partner: Partner, clock: Clock) -> None:
    nowhere = sa.create_engine("postgresql+psycopg2://hub@127.0.0.1:1/hub")
    server = TokenServer(nowhere, token_key, ISSUER, TOKEN_ENDPOINT, AUDIENCE, 300, clock)
    with pytest.raises(Unavailable):
        server.issue(token_form(client_assertion=partner.assertion()), {})


@pytest.mark.parametrize("ttl_s", [0, -1, 901, 10**9])
def test_a_doubtful_lifetime_stops_the_hub(ttl_s: int, writer: Engine, token_key: TokenKey) -> None:
    with pytest.raises(Refused, match="lifetime"):
        TokenServer(writer, token_key, ISSUER, TOKEN_ENDPOINT, AUDIENCE, ttl_s)


def test_on_loopback_the_issuer_may_be_plain_http(writer: Engine, token_key: TokenKey, partner: Partner) -> None:
    issuer = "http://127.0.0.1:8000"
    server = TokenServer(writer, token_key, issuer, f"{issuer}/oauth/token", issuer)
    now = datetime.now(UTC)  # the hub's own clock, for once
    made = assertion.make(private_pem(partner.key), partner.client.client_id, issuer, now)
    issued = server.issue(token_form(client_assertion=made), {})
    assert issued.status == 200
    with pytest.raises(NotAuthenticated):
        Verifier(ISSUER, issuer, token_key.public).verify(f"Bearer {issued.body['access_token']}", now)
    assert Verifier(issuer, issuer, token_key.public).verify(f"Bearer {issued.body['access_token']}", now)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parameters=st.dictionaries(st.sampled_from(["scope", "purpose", "case", "client_id", "grant_type"]), st.text(max_size=30)))
def test_whatever_a_form_holds_the_answer_is_an_answer(parameters: dict[str, str], partner: Partner, ask: Ask) -> None:
    issued = ask(partner.assertion(), **parameters)
    assert issued.status in (200, 400)
    json.dumps(issued.body)
