"""Parties of agreements: each with a program of its own that may act for it, and a key that it signs with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hub.agreements.store import Actor
from hub.audit.leaf import By
from hub.identity import clients
from hub.identity.party_keys import OFFER, STATEMENT, offer, read_party_key, sign
from tests.world import World
from tests.written import yaml_of

OPERATOR = Actor(None, By(client="cli"))
YAML_TYPE = "application/yaml"


@dataclass(frozen=True)
class Party:
    """One organisation; `key` is the private half (PEM) of its key for signatures, `kid` its thumbprint."""

    world: World
    slug: str
    key: bytes
    kid: str

    @property
    def client(self) -> str:
        return f"{self.slug}-lead"

    def call(
        self, method: str, path: str, body: Any = None, media: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> Any:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = self.world.bearer_for(self.client, "agreements") | ({"Content-Type": media} if content is not None else {}) | (headers or {})
        return self.world.http.request(method, path, content=content, headers=sent)

    def draft(self, data: Mapping[str, Any]) -> Any:
        return self.call("POST", "/mous", yaml_of(data), YAML_TYPE)

    def step(self, name: str, mou: str, version: int = 1, **body: Any) -> Any:
        return self.call("POST", f"/mous/{mou}/{version}/{name}", body)

    def sign(self, mou: str, version: int = 1, key: bytes | None = None, content: bytes | None = None, typ: str = STATEMENT) -> Any:
        statement = content if content is not None else self.call("GET", f"/mous/{mou}/{version}/statement").content
        return self.step("signatures", mou, version, signature=sign(key or self.key, None, statement, typ))

    def diff(self, mou: str, version: int = 1) -> tuple[dict[str, Any], str]:
        answer = self.call("POST", f"/mous/{mou}/{version}/diff", {})
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content), sha256(answer.content).hexdigest()


def party(world: World, slug: str, confirmed: bool = True) -> Party:
    """An organisation that is there already gets a program and a key."""
    signing, program = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    world.keys[f"{slug}-lead"] = _pem(program)
    clients.add(world.database.writer, slug, f"{slug}-lead", _public(program), ["agreements"])
    jwk = read_party_key(_public(signing))
    made = Party(world, slug, _pem(signing), jwk["kid"])
    proof = sign(made.key, None, offer(slug, jwk), OFFER)
    answer = made.call("POST", "/party-keys", {"public_key": json.dumps(jwk), "proof": proof})
    assert answer.status_code == 201, answer.text
    if confirmed:
        world.services.party_keys.confirm(OPERATOR, made.kid)
    return made


def agree(provider: Party, consumer: Party, data: Mapping[str, Any]) -> dict[str, Any]:
    """All steps, until the agreement is in force."""
    name, version = data["mou"], data["version"]
    for answer in (
        consumer.draft(data),
        consumer.step("proposal", name, version),
        provider.sign(name, version),
        consumer.sign(name, version),
    ):
        assert answer.status_code in (200, 201), answer.text
    _, digest = provider.diff(name, version)
    answer = provider.step("activation", name, version, diff_sha256=digest)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["state"] == "active"
    return found


def states(party: Party, names: Sequence[str] | None = None) -> dict[tuple[str, int], str]:
    found = party.call("GET", "/mous").json()["mous"]
    return {(m["mou"], m["version"]): m["state"] for m in found if names is None or m["mou"] in names}


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
