"""A partner's public key: which ones the hub accepts, and which signature algorithm goes with which.

One algorithm per kind of key, so that a token cannot choose a weaker one: ES256 for EC P-256, PS256 for RSA, Ed25519
for Ed25519. `EdDSA` is taken as another word for Ed25519, for Ed25519 keys only: RFC 9864 deprecates it as ambiguous
between curves, yet it is what most libraries still write, and here the key fixes the curve.
"""

import json
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.util import base64_to_int

from hub.errors import InvalidRequest

Key = ECKey | OKPKey | RSAKey

ALGORITHMS = {"EC": ("ES256",), "RSA": ("PS256",), "OKP": ("Ed25519", "EdDSA")}
RSA_BITS = range(2048, 4096 + 1)
MAX_KEY_BYTES = 8 * 1024

_CLASSES: dict[str, type[Key]] = {"EC": ECKey, "RSA": RSAKey, "OKP": OKPKey}
_MEMBERS: tuple[str, ...] = ("kty", "crv", "x", "y", "n", "e")
_SECRET_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
_ACCEPTED = "Accepted are EC P-256, Ed25519 and RSA (2048 to 4096 bits) public keys, as JWK or PEM (BEGIN PUBLIC KEY)."
_PRIVATE = "This is a private key. Keep it where it was made, and register only its public half."


def read_public(key: str | bytes) -> dict[str, str]:
    """The JWK (RFC 7517) of a public key: its required members and `kid`, the RFC 7638 thumbprint; nothing else.

    Raises:
        InvalidRequest: unreadable, private, weak, or of another kind; `field` is `public_key`.
    """
    text = _text(key)
    if "PRIVATE KEY" in text:
        raise _refused(_PRIVATE)
    try:
        public = _from_jwk(json.loads(text)) if text.startswith("{") else load_pem_public_key(text.encode())
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, RecursionError):
        raise _refused(f"The key cannot be read. {_ACCEPTED}") from None
    return _jwk(_accepted(public))


def load(jwk: dict[str, str]) -> Key:
    """The key of a stored JWK (one that `read_public` made)."""
    return _CLASSES[jwk["kty"]].import_key(jwk)  # type: ignore[arg-type]  # joserfc wants a TypedDict


def _text(key: str | bytes) -> str:
    if len(key) > MAX_KEY_BYTES:
        raise _refused(f"The key is longer than {MAX_KEY_BYTES} bytes.")
    try:
        text = key.decode("ascii") if isinstance(key, bytes) else key
        text.encode("ascii")
    except UnicodeError:
        raise _refused(f"The key is not text. {_ACCEPTED}") from None
    return text.strip()


def _from_jwk(jwk: dict[str, Any]) -> object:
    if _SECRET_MEMBERS & jwk.keys() or jwk.get("kty") == "oct":
        raise _refused(_PRIVATE)
    if jwk.get("use", "sig") != "sig":
        raise _refused("The key is marked for encryption (use); a signature key is needed.")
    if jwk["kty"] == "RSA":
        _check_size(base64_to_int(jwk["n"]).bit_length())  # before the import, which only warns
    return _CLASSES[jwk["kty"]].import_key(jwk).public_key


def _accepted(public: object) -> Key:
    match public:
        case EllipticCurvePublicKey() if isinstance(public.curve, SECP256R1):
            return ECKey.import_key(public)
        case RSAPublicKey():
            _check_size(public.key_size)
            if public.public_numbers().e < 65537:  # FIPS 186-5 §A.1.1
                raise _refused("The RSA key is too weak: its exponent must be at least 65537.")
            return RSAKey.import_key(public)
        case Ed25519PublicKey():
            if _anyone_can_sign(public.public_bytes_raw()):
                raise _refused("The Ed25519 key is too weak: a point of small order, so anyone can sign with it.")
            return OKPKey.import_key(public)
    raise _refused(f"The hub does not take this kind of key. {_ACCEPTED}")


def _check_size(bits: int) -> None:
    if bits not in RSA_BITS:
        reason = "too weak" if bits < RSA_BITS.start else "too large"
        raise _refused(f"The RSA key is {reason}: {bits} bits. {_ACCEPTED}")


@lru_cache(1024)  # a party signs with the same key again and again
def _anyone_can_sign(raw: bytes) -> bool:
    # For a point of order 1, 2, 4 or 8 the signature (R = identity, S = 0) verifies for at least one message in eight
    # (RFC 8032 §5.1.7 doesn't exclude such keys, and OpenSSL accepts them). 256 messages leave 1e-15 of doubt.
    public, signature = Ed25519PublicKey.from_public_bytes(raw), b"\x01" + bytes(63)
    return any(_verifies(public, signature, bytes([i])) for i in range(256))


def _verifies(public: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _jwk(key: Key) -> dict[str, str]:
    members = key.as_dict(private=False)
    kept: dict[str, str] = {name: str(members[name]) for name in _MEMBERS if name in members}
    return kept | {"kid": key.thumbprint()}


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(reason, field="public_key")
