"""A software authenticator and the browser around it, for tests: makes passkeys (ES256, attestation none) and signs with them.

It does what a good device does; whatever a test wants to be wrong is said by name.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from .asking import decoded
from .forgery import base64url

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40  # flags of authenticator data (WebAuthn §6.1)
AAGUID = bytes.fromhex("00010203040506070809000b0c0d0e0f")


def es256(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A public key in COSE (RFC 9053 §7.1.1)."""
    numbers = key.public_key().public_numbers()
    size = (key.key_size + 7) // 8
    curve = {256: 1, 384: 2}[key.key_size]
    return cbor2.dumps({1: 2, 3: -7, -1: curve, -2: numbers.x.to_bytes(size, "big"), -3: numbers.y.to_bytes(size, "big")})


@dataclass
class Authenticator:
    """A device with one passkey, in a browser that shows `origin`. `count` is its signature counter; 0 stays 0."""

    origin: str
    rp_id: str
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    user_handle: bytes = b""
    count: int = 0

    def create(self, options: str, **wrong: Any) -> dict[str, Any]:
        """What `navigator.credentials.create` answers, as JSON (WebAuthn §5.1.4)."""
        asked = json.loads(options)
        assert asked["authenticatorSelection"]["userVerification"] == "required"
        self.user_handle = decoded(asked["user"]["id"])
        public = wrong.pop("cose", es256(self.key))
        attested = AAGUID + len(self.credential_id).to_bytes(2, "big") + self.credential_id + public
        data = self._data(wrong.pop("flags", PRESENT | VERIFIED) | ATTESTED, self.count, wrong.pop("rp_id", self.rp_id)) + attested
        fmt, statement = wrong.pop("fmt", "none"), wrong.pop("statement", {})
        return self._credential(
            clientDataJSON=base64url(self._client_data("webauthn.create", asked, **wrong)),
            attestationObject=base64url(cbor2.dumps({"fmt": fmt, "attStmt": statement, "authData": data})),
        )

    def get(self, options: str, **wrong: Any) -> dict[str, Any]:
        """What `navigator.credentials.get` answers, as JSON."""
        asked = json.loads(options)
        assert asked["userVerification"] == "required"
        self.count += bool(self.count)
        data = self._data(wrong.pop("flags", PRESENT | VERIFIED), self.count, wrong.pop("rp_id", self.rp_id))
        user_handle = wrong.pop("user_handle", self.user_handle)
        spoilt = wrong.pop("spoilt", False)
        client_data = self._client_data("webauthn.get", asked, **wrong)
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        if spoilt:
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        return self._credential(
            clientDataJSON=base64url(client_data),
            authenticatorData=base64url(data),
            signature=base64url(signature),
            userHandle=base64url(user_handle) if user_handle else None,
        )

    def _credential(self, **response: str | None) -> dict[str, Any]:
        id = base64url(self.credential_id)
        return {"id": id, "rawId": id, "type": "public-key", "clientExtensionResults": {}, "response": response}

    def _client_data(self, kind: str, asked: dict[str, Any], **wrong: Any) -> bytes:
        good = {"type": kind, "challenge": asked["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(good | wrong).encode()

    @staticmethod
    def _data(flags: int, count: int, rp_id: str) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + count.to_bytes(4, "big")
