"""Keys that parties sign agreements with: EC P-256 or Ed25519, made and kept by the party; the hub holds the public half and verifies.

A signature is a JWS in compact form with detached content (RFC 7515, Appendix F): `header..signature`. Its header is
`{"alg", "kid", "typ"}`, `kid` the RFC 7638 thumbprint of the key, `typ` what is signed: `mou+jws` a statement of an agreement,
`party-key+jws` the offer of the key itself, which proves that whoever offers it holds it.
"""

from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from joserfc import jws

from hub.errors import InvalidRequest
from hub.identity.jws import MAX_BYTES, Doubtful, Unverified, read_header
from hub.identity.keys import ALGORITHMS, load, read_public
from hub.private_file import write_new

STATEMENT, OFFER = "mou+jws", "party-key+jws"
KINDS = ("EC", "OKP")


def new_key(path: Path, passphrase: str | None) -> dict[str, str]:
    """Makes an Ed25519 key at `path` (PKCS #8 in PEM, mode 0600, encrypted if there is a passphrase); gives its public JWK.

    Raises:
        FileExistsError: there is a file already; it stays.
    """
    private = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    write_new(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return read_public(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def read_party_key(key: str | bytes) -> dict[str, str]:
    """The JWK of a public key that agreements may be signed with.

    Raises:
        InvalidRequest: it is unreadable, private, weak, or RSA; `field` is `public_key`.
    """
    jwk = read_public(key)
    if jwk["kty"] not in KINDS:
        raise InvalidRequest("Agreements are signed with an EC P-256 or an Ed25519 key.", field="public_key")
    return jwk


def offer(organisation: str, jwk: dict[str, str]) -> bytes:
    """What an organisation signs to offer a key: RFC 8785."""
    return rfc8785.dumps({"v": 1, "organisation": organisation, "kid": jwk["kid"]})


def sign(private_pem: bytes, passphrase: str | None, content: bytes, typ: str) -> str:
    """A detached JWS over `content`.

    Raises:
        InvalidRequest: the key can't be read, or is of another kind.
    """
    private = _private(private_pem, passphrase)
    _, jwk = public_of(private_pem, passphrase)
    key = type(load(jwk)).import_key(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    algorithm = ALGORITHMS[jwk["kty"]][0]
    header = {"alg": algorithm, "kid": jwk["kid"], "typ": typ}
    head, _, signature = jws.serialize_compact(header, content, key, algorithms=[algorithm]).split(".")
    return f"{head}..{signature}"


def public_of(private_pem: bytes, passphrase: str | None) -> tuple[str, dict[str, str]]:
    """The public half of a key, in PEM and as a JWK.

    Raises:
        InvalidRequest: the key can't be read, or is of another kind.
    """
    public = _private(private_pem, passphrase).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public.decode(), read_party_key(public)


def _private(pem: bytes, passphrase: str | None) -> Any:
    try:
        return load_pem_private_key(pem, passphrase.encode() if passphrase else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidRequest(f"The key can't be read: {error}", field="key") from None


def kid_of(signature: str, typ: str) -> str:
    """Which key a detached JWS names, before anybody has checked it.

    Raises:
        InvalidRequest: it is none, or signs something else; `field` is `signature`.
    """
    head, middle, end = _parts(signature)
    try:
        header = read_header(head)
    except Doubtful as doubt:
        raise _refused(str(doubt)) from None
    if middle or not end or header.keys() != {"alg", "kid", "typ"}:
        raise _refused("The signature is not a detached JWS with the header members alg, kid and typ.")
    if header["typ"] != typ:
        raise _refused(f"The signature is of another kind: its typ is {header['typ'][:40]!r}, not {typ!r}.")
    return header["kid"]


def check(signature: str, typ: str, content: bytes, jwk: dict[str, str]) -> None:
    """Raises InvalidRequest unless the key made this signature over exactly this content; `field` is `signature`."""
    if kid_of(signature, typ) != jwk["kid"]:
        raise _refused("The signature names another key.")
    head, _, end = _parts(signature)
    payload = urlsafe_b64encode(content).rstrip(b"=").decode()
    algorithms = [a for a in ALGORITHMS[jwk["kty"]] if a != "EdDSA"]
    try:
        Unverified(f"{head}.{payload}.{end}", read_header(head), {}).check_signature(load(jwk), algorithms)
    except Doubtful as doubt:
        raise _refused(f"{doubt} It must be over exactly the statement that the hub gives.") from None


def _parts(signature: str) -> tuple[str, str, str]:
    parts = signature.split(".")
    if len(signature) > MAX_BYTES or len(parts) != 3:
        raise _refused("The signature is not a detached JWS (header..signature).")
    return parts[0], parts[1], parts[2]


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(reason, field="signature")
