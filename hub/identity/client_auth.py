"""The hub's side of `private_key_jwt` (RFC 7523 §3): is this really the registered client?

Stricter than Authlib's own check, which takes RS256, refuses PS256 and Ed25519, and lets an assertion live for years
and name several audiences.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError
from sqlalchemy import Engine

from hub.identity import clients, jws, keys
from hub.identity.clients import Client
from hub.identity.jws import Doubtful
from hub.identity.replay import Replays

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_LIFETIME_S = 300
SKEW_S = 60  # how far a partner's clock may be off
MAX_JTI = 128
ACCEPTED = frozenset(name for names in keys.ALGORITHMS.values() for name in names)
TYPES = ("", "jwt", "client-authentication+jwt")

# One answer, so that nobody learns by trying which clients exist, or what keys they have.
UNPROVEN = "The client is unknown or disabled, or its registered key did not sign this assertion."


class Unproven(InvalidClientError):  # type: ignore[misc]  # Authlib ships no types
    """`description` goes to the caller; `reason`, for the log, may say more."""

    def __init__(self, description: str, reason: str | None = None) -> None:
        super().__init__(description=description)
        self.reason = reason or description


@dataclass(frozen=True)
class ClientAuthentication:
    engine: Engine
    issuer: str
    token_endpoint: str
    replays: Replays

    def authenticate(self, form: Mapping[str, str], now: datetime) -> Client:
        """Raises `Unproven`. Only an assertion that is right in everything else is used up."""
        try:
            assertion = _assertion(form)
            client = self._client(assertion, form.get("client_id"), now)
            _check_signature(assertion, client)
            self._check_claims(assertion.claims, client.client_id, now.timestamp())
        except Doubtful as doubt:
            raise Unproven(str(doubt)) from None
        self._use_up(assertion.claims, client.client_id, now)
        return client

    def _client(self, assertion: jws.Unverified, named: str | None, now: datetime) -> Client:
        client_id = assertion.claims.get("sub")
        if not isinstance(client_id, str) or assertion.claims.get("iss") != client_id:
            raise Doubtful("The assertion's iss and sub must both be the client id.")
        if named is not None and named != client_id:
            raise Doubtful("The parameter client_id is not the client of the assertion.")
        client = clients.find(self.engine, client_id)
        if client is None:
            raise Unproven(UNPROVEN, "unknown client")
        if client.disabled(now):
            raise Unproven(UNPROVEN, f"{client_id}: disabled")
        return client

    def _check_claims(self, claims: Mapping[str, Any], client_id: str, at: float) -> None:
        self._check_audience(claims.get("aud"))
        exp = _time(claims, "exp")
        if exp is None or at >= exp + SKEW_S:
            raise Doubtful("The assertion has expired, or has no exp.")
        iat, nbf = _time(claims, "iat"), _time(claims, "nbf")
        if exp > at + MAX_LIFETIME_S or (iat is not None and exp > iat + MAX_LIFETIME_S):
            raise Doubtful(f"The assertion is valid for too long: exp must be within {MAX_LIFETIME_S} seconds.")
        if iat is not None and iat > at + SKEW_S:
            raise Doubtful("The assertion was issued in the future (iat).")
        if nbf is not None and nbf > at + SKEW_S:
            raise Doubtful("The assertion is not valid yet (nbf).")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
            raise Doubtful(f"The assertion needs a jti of 1 to {MAX_JTI} characters.")

    def _check_audience(self, audience: object) -> None:
        if audience == self.token_endpoint != self.issuer:
            raise Doubtful("The assertion's aud must be the issuer, not the token endpoint.")
        if audience != self.issuer:
            raise Doubtful("The assertion's aud must be the hub's issuer, as a single string.")

    def _use_up(self, claims: Mapping[str, Any], client_id: str, now: datetime) -> None:
        until = datetime.fromtimestamp(claims["exp"], UTC) + timedelta(seconds=SKEW_S)
        if not self.replays.is_first(client_id, claims["jti"], until, now):
            raise Unproven("The assertion was used before (jti).", f"{client_id}: assertion replayed")


def _assertion(form: Mapping[str, str]) -> jws.Unverified:
    if form.get("client_assertion_type") != ASSERTION_TYPE or "client_assertion" not in form:
        raise Doubtful("The client must authenticate with private_key_jwt: client_assertion_type, client_assertion.")
    assertion = jws.read(form["client_assertion"])
    if assertion.header.get("alg") not in ACCEPTED:
        raise Doubtful("The assertion's algorithm (alg) must be ES256, PS256 or Ed25519.")
    if assertion.header.get("typ", "").lower() not in TYPES:
        raise Doubtful("The assertion's typ must be JWT or client-authentication+jwt.")
    return assertion


def _check_signature(assertion: jws.Unverified, client: Client) -> None:
    try:
        assertion.check_signature(keys.load(client.jwk), keys.ALGORITHMS[client.jwk["kty"]])
    except Doubtful as doubt:
        raise Unproven(UNPROVEN, f"{client.client_id}: {doubt}") from None


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 §2), or None if absent. NaN must not pass: every comparison with it is false."""
    value = claims.get(name)
    match value:
        case None | int() if not isinstance(value, bool):
            return value
        case float() if math.isfinite(value):
            return value
    raise Doubtful(f"The assertion's {name} is not a time in seconds.")
