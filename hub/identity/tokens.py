"""Access tokens (RFC 9068): minting and verifying them, and remembering those already verified.

Tokens live minutes and cannot be revoked one by one: whatever can change meanwhile (grants, MOUs) isn't in them.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Annotated

from joserfc import jwt
from joserfc.jwk import ECKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hub.errors import NotAuthenticated
from hub.identity import jws
from hub.identity.clients import SCOPES, Client
from hub.identity.jws import Doubtful
from hub.identity.token_key import TokenKey, jwks

__all__ = ["MAX_LIFETIME_S", "AccessToken", "TokenKey", "Verifier", "jwks", "mint"]

MAX_LIFETIME_S = 900  # the hub mints none that live longer, so one that does is not the hub's
LEEWAY_S = 5  # clocks of the hub's own machines; only for "not yet", never for "expired"
TYPES = ("at+jwt", "application/at+jwt")  # RFC 9068 §4; anything else signed by this key is not an access token


Seconds = Annotated[int, Field(ge=0, lt=2**37)]  # since 1970; the bound keeps datetime from overflowing


@dataclass(frozen=True)
class AccessToken:
    """Who asks, for which purpose, and for which case of its own. `organisation` is the slug; `expires_at` is aware, UTC. Of a person
    who signed in, `client_id` is `session:` and the session's id. `brought` is the token itself, or the session's cookie: the key process
    asks for it.
    """

    client_id: str
    organisation: str
    organisation_id: int
    purpose: str | None
    scopes: frozenset[str]
    jti: str
    expires_at: datetime
    case: str | None = None
    brought: str = field(default="", repr=False, compare=False)

    @property
    def session(self) -> str:
        """What the audit log ties one client's requests together by."""
        return self.jti


class Claims(BaseModel):
    """The payload. Unknown claims are ignored (RFC 7519 §4), except `cnf`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    iss: str
    sub: str
    client_id: str
    aud: str
    exp: Seconds
    iat: Seconds
    nbf: Seconds | None = None
    jti: Annotated[str, Field(min_length=1, max_length=128)]
    scope: str
    org: str
    org_id: int
    purpose: str | None = None
    case: str | None = None


def mint(
    key: TokenKey,
    issuer: str,
    audience: str,
    client: Client,
    scopes: frozenset[str],
    purpose: str | None,
    now: datetime,
    ttl_s: int,
    jti: str,
    case: str | None = None,
) -> str:
    """A signed access token for `client`, of `ttl_s` seconds (at most `MAX_LIFETIME_S`)."""
    issued = int(now.timestamp())
    claims = Claims(
        iss=issuer,
        sub=client.client_id,
        client_id=client.client_id,
        aud=audience,
        exp=issued + ttl_s,
        iat=issued,
        jti=jti,
        scope=" ".join(sorted(scopes)),
        org=client.organisation.slug,
        org_id=client.organisation.id,
        purpose=purpose,
        case=case,
    )
    header = {"alg": "ES256", "typ": TYPES[0], "kid": key.kid}
    return jwt.encode(header, claims.model_dump(exclude_none=True), key.private, algorithms=["ES256"])


@dataclass(frozen=True)
class _Verified:
    token: AccessToken
    not_before: float
    expires: float

    def check_time(self, at: float) -> None:
        if at >= self.expires:
            raise Doubtful("The access token has expired.")
        if at < self.not_before:
            raise Doubtful("The access token is not valid yet.")


class Verifier:
    """Verifies `Authorization: Bearer …` against one issuer, one audience and one key. Thread-safe.

    `keep` tokens stay remembered, by SHA-256, so that a client's next requests cost microseconds; their time is
    checked each time all the same.
    """

    def __init__(self, issuer: str, audience: str, key: ECKey, keep: int = 4096) -> None:
        self._issuer, self._audience, self._key, self._keep = issuer, audience, key, keep
        self._kid = key.thumbprint()
        self._kept: OrderedDict[bytes, _Verified] = OrderedDict()
        self._lock = Lock()

    def verify(self, authorization_header: str | None, now: datetime) -> AccessToken:
        """Raises `NotAuthenticated` on anything doubtful; the message says what, and never quotes the token."""
        try:
            token = _bearer(authorization_header)
            digest = hashlib.sha256(token.encode()).digest()
            verified = self._kept.get(digest) or self._verified(jws.read(token))
            verified.check_time(now.timestamp())
        except Doubtful as reason:
            raise NotAuthenticated(str(reason)) from None
        self._remember(digest, verified)
        return verified.token

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        with self._lock:
            self._kept[digest] = verified
            self._kept.move_to_end(digest)
            if len(self._kept) > self._keep:
                self._kept.popitem(last=False)

    def _verified(self, unverified: jws.Unverified) -> _Verified:
        if unverified.header.get("typ", "").lower() not in TYPES:
            raise Doubtful("The token is not an access token (typ must be at+jwt).")
        if unverified.header.get("kid") != self._kid:
            raise Doubtful("The token is not signed with the hub's current key (kid).")
        unverified.check_signature(self._key, ("ES256",))
        if "cnf" in unverified.claims:
            # RFC 7800: bound to a key. Without checking the proof it would be worth as much stolen as not.
            raise Doubtful("The token is bound to a key (cnf), and the hub does not check such proofs yet.")
        return self._from(_claims(unverified), unverified.token)

    def _from(self, claims: Claims, brought: str) -> _Verified:
        if claims.iss != self._issuer:
            raise Doubtful("The token comes from another issuer (iss).")
        if claims.aud != self._audience:
            raise Doubtful("The token is meant for another audience (aud).")
        if not 0 < claims.exp - claims.iat <= MAX_LIFETIME_S:
            raise Doubtful("The token lives longer than the hub's tokens do (exp).")
        scopes = frozenset(claims.scope.split())
        aimless = not claims.purpose and ("query" in scopes or claims.case)
        if claims.sub != claims.client_id or scopes - SCOPES or aimless:
            raise Doubtful("The token's claims contradict each other (sub, client_id, scope, purpose, case).")
        token = AccessToken(
            claims.client_id,
            claims.org,
            claims.org_id,
            claims.purpose,
            scopes,
            claims.jti,
            datetime.fromtimestamp(claims.exp, UTC),
            claims.case,
            brought,
        )
        return _Verified(token, max(claims.iat, claims.nbf or 0) - LEEWAY_S, claims.exp)


def _bearer(header: str | None) -> str:
    """RFC 6750 §2.1: the scheme in any case, one token."""
    if not header:
        raise Doubtful("An access token is missing (Authorization: Bearer …).")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise Doubtful("The Authorization scheme must be Bearer.")
    if not token.isascii():
        raise Doubtful("The access token is not ASCII.")
    return token


def _claims(unverified: jws.Unverified) -> Claims:
    try:
        return Claims.model_validate(unverified.claims)
    except ValidationError as error:
        names = sorted({str(e["loc"][0]) for e in error.errors(include_url=False, include_input=False) if e["loc"]})
        raise Doubtful(f"A claim is missing or malformed: {', '.join(names)}.") from None
