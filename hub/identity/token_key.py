"""The hub's own signing key for access tokens: ES256, one PEM file that only the hub may read."""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from joserfc.jwk import ECKey

from hub.errors import Refused
from hub.private_file import write_new


@dataclass(frozen=True)
class TokenKey:
    """`kid` is the RFC 7638 thumbprint; `public` is what a `Verifier` needs."""

    private: ECKey = field(repr=False)
    public: ECKey = field(repr=False)
    kid: str

    @classmethod
    def of(cls, private: EllipticCurvePrivateKey) -> Self:
        key = ECKey.import_key(private)
        return cls(key, ECKey.import_key(private.public_key()), key.thumbprint())

    @classmethod
    def generate(cls) -> Self:
        """A key that lives as long as the process."""
        return cls.of(generate_private_key(SECP256R1()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises `Refused`: missing, readable by others, or not an unencrypted EC P-256 private key."""
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                pem = file.read(16 * 1024)
        except OSError as error:
            raise Refused(f"The token key {path} cannot be read: {error.strerror}.") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Refused(f"The token key {path} is open to other users; make it private: chmod 600 {path}")
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, EllipticCurvePrivateKey) or not isinstance(private.curve, SECP256R1):
            raise Refused(f"The token key {path} is not an unencrypted EC P-256 private key in PEM.")
        return cls.of(private)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """The key in the file, made first if there is none; processes that start together end up with the same one."""
        if not path.exists():
            _create(path)
        return cls.load(path)


def write_public(key: TokenKey, path: Path) -> None:
    """Writes the public half to `path` (PEM), for processes that verify tokens and don't make any; replaces another key's.

    Raises:
        Refused: the folder can't be written.
    """
    pem = key.public.as_pem(private=False)
    try:
        if path.exists() and path.read_bytes() == pem:
            return
        path.unlink(missing_ok=True)
        with suppress(FileExistsError):  # a process that started together with this one was first
            write_new(path, pem)
    except OSError as error:
        raise Refused(f"The public half of the token key can't be written to {path}: {error.strerror}.") from None


def read_public(path: Path) -> ECKey:
    """What a `Verifier` needs, from where `write_public` wrote it.

    Raises:
        Refused: it is missing, or not an EC P-256 public key.
    """
    try:
        public = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise Refused(f"The public half of the token key {path} can't be read: {error.strerror}. Run `hub migrate`.") from None
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, EllipticCurvePublicKey) or not isinstance(public.curve, SECP256R1):
        raise Refused(f"{path} is not an EC P-256 public key in PEM. Run `hub migrate`.")
    return ECKey.import_key(public)


def jwks(key: TokenKey) -> dict[str, Any]:
    """The public key set (RFC 7517 §5) that partners may verify the hub's tokens with."""
    public = key.public.as_dict(private=False)
    member = {name: public[name] for name in ("kty", "crv", "x", "y")}
    return {"keys": [{**member, "kid": key.kid, "use": "sig", "alg": "ES256"}]}


def _create(path: Path) -> None:
    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # a process that started together with this one was first
            write_new(path, pem)
    except OSError as error:
        raise Refused(f"The token key {path} cannot be created: {error.strerror}.") from None
