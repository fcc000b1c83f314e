"""The file of a backup of the keys: frames, each authenticated in its place, under a key that only the root key opens.

    header    "HUBBAK1\\0" | backup 16 | wrapped key 62          the file's own random key, wrapped by the root key (AAD: what is before it)
    frame     last u8 (0 or 1) | length u32 | ciphertext          AES-256-GCM; nonce: number of the frame u64 | 00 00 00 | last; AAD: header
    trailer   SHA-256 over all before                             tells a damaged copy without any key

A frame that is altered, left out, put elsewhere or taken from another backup doesn't open; one that is cut off misses its last frame.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.crypto.providers import RootKey
from hub.errors import Refused, Tampered

MAGIC: Final = b"HUBBAK1\0"
_HEADER_BYTES: Final = 8 + 16 + 62
MAX_FRAME_BYTES: Final = 1 << 24


class Writer:
    """Writes to `file`; `backup` is 16 random bytes that name it."""

    def __init__(self, file: BinaryIO, root: RootKey, backup: bytes, random: Callable[[int], bytes] = os.urandom) -> None:
        key, subject = random(32), MAGIC + backup
        self._file, self._hash, self._frames = file, hashlib.sha256(), 0
        self._aead, self._header = AESGCM(key), subject + root.wrap(key, subject)
        self._put(self._header)

    def frame(self, content: bytes, *, last: bool = False) -> None:
        """Raises ValueError for more than 16 MiB."""
        if len(content) > MAX_FRAME_BYTES:
            raise ValueError("a frame of a backup is at most 16 MiB")
        sealed = self._aead.encrypt(_nonce(self._frames, last), content, self._header)
        self._put(bytes([last]) + len(sealed).to_bytes(4, "big") + sealed)
        self._frames += 1

    def end(self) -> bytes:
        """Writes the trailer; gives the SHA-256 of the whole file, trailer included."""
        self._put(self._hash.digest())
        return self._hash.digest()

    def _put(self, part: bytes) -> None:
        self._file.write(part)
        self._hash.update(part)


class Reader:
    """Reads from `file`, which is at its beginning.

    Raises:
        Refused: it is no backup, is damaged or cut off, or was made under another root key.
    """

    def __init__(self, file: BinaryIO, root: RootKey) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.digest = b""
        """SHA-256 of the whole file, once the frames are read."""
        self._header = self._take(_HEADER_BYTES)
        if self._header[:8] != MAGIC:
            raise Refused("This is not a backup of keys, or of a version that this hub does not know.")
        try:
            self._aead = AESGCM(root.unwrap(self._header[24:], self._header[:24]))
        except Tampered as error:
            raise Refused(f"This root key does not open the backup: it was made under another one, or altered. {error.detail}") from None

    def frames(self) -> Iterator[bytes]:
        """The frames in their order; when the last is given, the file is known to be whole."""
        number, last = 0, False
        while not last:
            head = self._take(5)
            length, last = int.from_bytes(head[1:], "big"), head[0] == 1
            if head[0] > 1 or length > MAX_FRAME_BYTES + 16:
                raise Refused("The backup is damaged: a part of it has no length that it can have.")
            try:
                content = self._aead.decrypt(_nonce(number, last), self._take(length), self._header)
            except InvalidTag:
                raise Refused(f"The backup is damaged or was altered: part {number + 1} of it does not verify.") from None
            if last:
                self._end()
            yield content
            number += 1

    def _end(self) -> None:
        expected = self._hash.digest()
        if self._take(32) != expected or self._file.read(1):
            raise Refused("The backup is damaged: its SHA-256 does not fit.")
        self.digest = self._hash.digest()

    def _take(self, count: int) -> bytes:
        part = self._file.read(count)
        if len(part) != count:
            raise Refused("The backup is damaged: it ends too early.")
        self._hash.update(part)
        return part


def _nonce(number: int, last: bool) -> bytes:
    """A key is used for one file, so a number is enough."""
    return number.to_bytes(8, "big") + b"\0\0\0" + bytes([last])
