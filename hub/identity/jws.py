"""Compact JWS (RFC 7515), read strictly: a token is ours to understand completely, or it is refused.

joserfc checks signatures. What it tolerates by default is refused here first: algorithms nobody chose, members it would
skip (`jku`, `x5c` …), unencoded payloads (RFC 7797), and JSON odd enough to raise something else than its own errors.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from hub.identity.keys import Key

MAX_BYTES = 8 * 1024
HEADER_MEMBERS = frozenset({"alg", "typ", "kid"})  # so `crit` is always unknown, and unknown is refused (§4.1.11)

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Doubtful(Exception):
    """The token is not one the hub accepts; `str(error)` is a sentence that is safe to show."""


@dataclass(frozen=True)
class Unverified:
    """What a token claims while nobody has checked its signature; header members are strings."""

    token: str
    header: dict[str, str]
    claims: dict[str, Any]

    def check_signature(self, key: Key, algorithms: Collection[str]) -> None:
        """Raises `Doubtful` unless `key` made the signature, with one of `algorithms`."""
        algorithm = self.header.get("alg")
        if algorithm not in algorithms:
            raise Doubtful("The signature algorithm (alg) does not fit the registered key.")
        try:
            jws.deserialize_compact(self.token, key, registry=_Registry(algorithms=list(algorithms)))
        except (JoseError, ValueError):
            raise Doubtful("The signature does not verify.") from None


def read(token: str) -> Unverified:
    """Splits a token without believing it. Raises `Doubtful`."""
    if len(token) > MAX_BYTES:
        raise Doubtful(f"The token is longer than {MAX_BYTES} bytes.")
    if not _SHAPE.fullmatch(token):
        raise Doubtful("The token is not a signed JWT (three parts in base64url).")
    head, payload, _ = token.split(".")
    return Unverified(token, read_header(head), _json_object(payload))


def read_header(part: str) -> dict[str, str]:
    """The header of a JWS. Raises `Doubtful`."""
    header = _json_object(part)
    if unknown := header.keys() - HEADER_MEMBERS:
        known = [name for name in ("crit", "b64", "jwk", "jku", "x5c", "x5u") if name in unknown]
        raise Doubtful(f"The token's header has a member the hub does not take ({', '.join(known) or 'unknown'}).")
    if not all(isinstance(value, str) for value in header.values()):
        raise Doubtful("The token's header has a member that is not a string.")
    return header


def _json_object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(urlsafe_b64decode(part.encode()))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Doubtful("The token's header or payload is not a JSON object.")
    return value


class _Registry(JWSRegistry):
    def get_alg(self, name: str) -> Any:
        # joserfc's own EdDSA would also take Ed448 keys, and warns; see hub.identity.keys.
        return super().get_alg("Ed25519" if name == "EdDSA" else name)
