"""A partner with its private key, and a forger who signs anything with anything."""

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hub.identity.clients import Client

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ISSUER = "https://hub.example"
TOKEN_ENDPOINT = f"{ISSUER}/oauth/token"
AUDIENCE = f"{ISSUER}/api"
PURPOSE = "public-health.outreach"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Partner:
    """A registered client together with what only its owner has: the private key."""

    client: Client
    key: PrivateKey
    algorithm: str

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good assertion; a change to None leaves the claim out."""
        at, client_id = int(NOW.timestamp()), self.client.client_id
        good = {"iss": client_id, "sub": client_id, "aud": ISSUER, "iat": at, "exp": at + 60}
        return {k: v for k, v in {**good, "jti": secrets.token_hex(8), **changes}.items() if v is not None}

    def assertion(self, header: dict[str, Any] | None = None, **changes: Any) -> str:
        return forge({"alg": self.algorithm, **(header or {})}, self.claims(**changes), self.key)


def forge(header: dict[str, Any], payload: dict[str, Any] | bytes, key: PrivateKey | bytes | None) -> str:
    """A compact JWS whose header says whatever it likes: nothing is checked. Bytes as key: HMAC; None: no signature."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{base64url(json.dumps(header).encode())}.{base64url(body)}"
    return f"{signed}.{base64url(_signature(signed.encode(), str(header.get('alg')), key))}"


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _signature(message: bytes, algorithm: str, key: PrivateKey | bytes | None) -> bytes:
    match key:
        case None:
            return b""
        case bytes():
            return hmac.digest(key, message, hashlib.sha256)
        case ec.EllipticCurvePrivateKey():
            size = (key.key_size + 7) // 8
            r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        case rsa.RSAPrivateKey() if algorithm == "PS256":
            return key.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        case rsa.RSAPrivateKey():
            return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        case ed25519.Ed25519PrivateKey():
            return key.sign(message)
    raise AssertionError(key)


def public_pem(key: PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
