"""Root keys: what wraps the KEKs. One small interface; a provider per place where a root key can live.

    key file (78 B)     01 | suite | salt 16 | nonce 12 | ct 32 | tag 16
      AAD               "HUBROOT1" | 01 | suite | salt
    wrapped KEK (62 B)  01 | suite | nonce 12 | ct 32 | tag 16        (AAD: `envelope.kek_aad`)

A wrapped KEK's suite says where its root key is: 01 in a key file, 02 in an HSM (`hsm.py`). Both are AES-256-GCM.

Suite 01 of the key file: scrypt (RFC 7914) with n = 2^15, r = 8, p = 1 over the passphrase (NFC, UTF-8), then
AES-256-GCM. The parameters belong to the suite and are not in the file: a doctored file can't weaken or inflate them.
"""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hub.errors import Refused, Tampered
from hub.private_file import read_private, write_new

Random = Callable[[int], bytes]

IN_FILE: Final = b"\1\1"
IN_HSM: Final = b"\1\2"
"""How a wrapped KEK begins: version and suite."""
_PLACES: Final = {IN_FILE: "in a key file", IN_HSM: "in an HSM"}
_HEADER: Final = b"\1\1"
_FILE_BYTES: Final = 78
_WRAPPED_BYTES: Final = 62


class RootKey(Protocol):
    """Wraps 32-byte keys, bound to `aad`. `unwrap` raises Tampered for what this root key did not wrap."""

    def wrap(self, kek: bytes, aad: bytes) -> bytes: ...

    def unwrap(self, blob: bytes, aad: bytes) -> bytes: ...


class FileRootKey:
    """A random root key in a file of mode 0600, itself encrypted under a passphrase."""

    __slots__ = ("_aead", "_random")

    def __init__(self, root: bytes, random: Random = os.urandom) -> None:
        if len(root) != 32:
            raise ValueError("a root key is 32 bytes")
        self._aead, self._random = AESGCM(root), random

    def __repr__(self) -> str:
        return "FileRootKey(hidden)"

    @classmethod
    def create(cls, path: Path, passphrase: str, random: Random = os.urandom) -> Self:
        """Write a new key file; durable on return. Never overwrites: raises Refused."""
        root = random(32)
        write_root(path, passphrase, root, random)
        return cls(root, random)

    @classmethod
    def open(cls, path: Path, passphrase: str, random: Random = os.urandom) -> Self:
        """Raises Refused, in one sentence for the operator: file not private, damaged, or the passphrase wrong."""
        return cls(read_root(path, passphrase), random)

    def wrap(self, kek: bytes, aad: bytes) -> bytes:
        if len(kek) != 32:
            raise ValueError("a KEK is 32 bytes")
        nonce = self._random(12)
        return IN_FILE + nonce + self._aead.encrypt(nonce, kek, aad)

    def unwrap(self, blob: bytes, aad: bytes) -> bytes:
        nonce, sealed = parts(blob, IN_FILE)
        try:
            return self._aead.decrypt(nonce, sealed, aad)
        except InvalidTag:
            raise Tampered("A wrapped key-encryption key does not verify under this root key.") from None


def parts(blob: bytes, header: bytes) -> tuple[bytes, bytes]:
    """Nonce and ciphertext with tag of a wrapped KEK that begins with `header`.

    Raises:
        Tampered: it has another length or begins otherwise; said if it is for a root key in another place.
    """
    if len(blob) == _WRAPPED_BYTES and blob[:2] == header:
        return blob[2:14], blob[14:]
    if len(blob) == _WRAPPED_BYTES and blob[:2] in _PLACES:
        raise Tampered(f"A key-encryption key was wrapped by a root key {_PLACES[blob[:2]]}, and this one is {_PLACES[header]}.")
    raise Tampered("A wrapped key-encryption key has an unknown format.")


def write_root(path: Path, passphrase: str, root: bytes, random: Random = os.urandom) -> None:
    """Write the 32 bytes of `root` to a new key file; durable on return. Never overwrites: raises Refused."""
    salt, nonce = random(16), random(12)
    sealed = _file_cipher(passphrase, salt).encrypt(nonce, root, _file_aad(salt))
    _write_new(path, _HEADER + salt + nonce + sealed)


def read_root(path: Path, passphrase: str) -> bytes:
    """The 32 bytes of the root key itself. Raises Refused as `FileRootKey.open` does."""
    content = read_private(path, "root key file", _FILE_BYTES)
    if len(content) != _FILE_BYTES:
        raise Refused(f"The root key file {path} is truncated or not a root key file.")
    if content[:2] != _HEADER:
        raise Refused(f"The root key file {path} has a format that this version does not know.")
    salt, nonce = content[2:18], content[18:30]
    try:
        return _file_cipher(passphrase, salt).decrypt(nonce, content[30:], _file_aad(salt))
    except InvalidTag:
        raise Refused(f"The passphrase does not open the root key file {path}, or the file is damaged.") from None


def _file_aad(salt: bytes) -> bytes:
    return b"HUBROOT1" + _HEADER + salt


def _file_cipher(passphrase: str, salt: bytes) -> AESGCM:
    if not passphrase:
        raise Refused("The passphrase of the root key file is empty.")
    secret = unicodedata.normalize("NFC", passphrase).encode()
    return AESGCM(Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(secret))


def _write_new(path: Path, content: bytes) -> None:
    try:
        write_new(path, content)
    except FileExistsError:
        raise Refused(f"The root key file {path} exists already and is never overwritten.") from None
    except OSError as error:
        raise Refused(f"The root key file {path} cannot be written: {error.strerror}.") from None
