"""A partner's side of `private_key_jwt` (RFC 7523): the short-lived JWT a program proves itself with."""

import secrets
from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from hub.errors import InvalidRequest
from hub.identity.keys import ALGORITHMS, Key

LIFETIME_S = 60


def make(private_pem: str | bytes, client_id: str, issuer: str, now: datetime, jti: str | None = None) -> str:
    """A client assertion, good once and for a minute, with the algorithm that fits the key.

    Raises:
        InvalidRequest: not an unencrypted PEM private key of a kind the hub takes; `field` is `private_key`.
    """
    key = _read_private(private_pem)
    issued = int(now.timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "iat": issued,
        "exp": issued + LIFETIME_S,
        "jti": jti or secrets.token_urlsafe(24),
    }
    algorithm = ALGORITHMS[key.key_type][0]
    try:
        return jwt.encode({"alg": algorithm, "kid": key.thumbprint()}, claims, key, algorithms=[algorithm])
    except (JoseError, ValueError):
        raise _refused() from None


def _read_private(pem: str | bytes) -> Key:
    try:
        private = load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _refused() from None
    match private:
        case EllipticCurvePrivateKey():
            return ECKey.import_key(private)
        case RSAPrivateKey() if private.key_size >= 2048:
            return RSAKey.import_key(private)
        case Ed25519PrivateKey():
            return OKPKey.import_key(private)
    raise _refused()


def _refused() -> InvalidRequest:
    reason = "The private key must be an unencrypted PEM key: EC P-256, Ed25519, or RSA of at least 2048 bits."
    return InvalidRequest(reason, field="private_key")
