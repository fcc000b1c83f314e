"""Root keys: what wraps the KEKs. One small interface; a provider per place where a root key can live.

    key file (78 B)     01 | suite | salt 16 | nonce 12 | ct 32 | tag 16
      AAD               "HUBROOT1" | 01 | suite | salt
    wrapped KEK (62 B)  01 | suite | nonce 12 | ct 32 | tag 16        (AAD: `envelope.kek_aad`)

Suite 01 of the key file: scrypt (RFC 7914) with n = 2^15, r = 8, p = 1 over the passphrase (NFC, UTF-8), then
AES-256-GCM. The parameters belong to the suite and are not in the file: a doctored file can't weaken or inflate them.
"""

import os
import stat
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hub.errors import Refused, Tampered
from hub.private_file import write_new

Random = Callable[[int], bytes]

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
        root, salt, nonce = random(32), random(16), random(12)
        sealed = _file_cipher(passphrase, salt).encrypt(nonce, root, _file_aad(salt))
        _write_new(path, _HEADER + salt + nonce + sealed)
        return cls(root, random)

    @classmethod
    def open(cls, path: Path, passphrase: str, random: Random = os.urandom) -> Self:
        """Raises Refused, in one sentence for the operator: file not private, damaged, or the passphrase wrong."""
        content = _read_private(path)
        if len(content) != _FILE_BYTES:
            raise Refused(f"The root key file {path} is truncated or not a root key file.")
        if content[:2] != _HEADER:
            raise Refused(f"The root key file {path} has a format that this version does not know.")
        salt, nonce = content[2:18], content[18:30]
        try:
            root = _file_cipher(passphrase, salt).decrypt(nonce, content[30:], _file_aad(salt))
        except InvalidTag:
            raise Refused(f"The passphrase does not open the root key file {path}, or the file is damaged.") from None
        return cls(root, random)

    def wrap(self, kek: bytes, aad: bytes) -> bytes:
        if len(kek) != 32:
            raise ValueError("a KEK is 32 bytes")
        nonce = self._random(12)
        return _HEADER + nonce + self._aead.encrypt(nonce, kek, aad)

    def unwrap(self, blob: bytes, aad: bytes) -> bytes:
        if len(blob) != _WRAPPED_BYTES or blob[:2] != _HEADER:
            raise Tampered("A wrapped key-encryption key has an unknown format.")
        try:
            return self._aead.decrypt(blob[2:14], blob[14:], aad)
        except InvalidTag:
            raise Tampered("A wrapped key-encryption key does not verify under this root key.") from None


def _file_aad(salt: bytes) -> bytes:
    return b"HUBROOT1" + _HEADER + salt


def _file_cipher(passphrase: str, salt: bytes) -> AESGCM:
    if not passphrase:
        raise Refused("The passphrase of the root key file is empty.")
    secret = unicodedata.normalize("NFC", passphrase).encode()
    return AESGCM(Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(secret))


def _read_private(path: Path) -> bytes:
    """Checks the opened file, not its name, so that nothing can be swapped in between."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"The root key file {path} is not a regular file.")
            if status.st_mode & 0o077:
                raise Refused(f"The root key file {path} is open to others than its owner: set its mode to 0600.")
            return file.read(_FILE_BYTES + 1)
    except OSError as error:
        raise Refused(f"The root key file {path} cannot be read: {error.strerror}.") from None


def _write_new(path: Path, content: bytes) -> None:
    try:
        write_new(path, content)
    except FileExistsError:
        raise Refused(f"The root key file {path} exists already and is never overwritten.") from None
    except OSError as error:
        raise Refused(f"The root key file {path} cannot be written: {error.strerror}.") from None
