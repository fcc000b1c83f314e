"""Signed notes and checkpoints as C2SP defines them (signed-note, tlog-checkpoint, tlog-cosignature). Pure.

checkpoint      origin LF size LF base64(root) LF
note            text, an empty line, then for each signature: "— " name " " base64(key id | signature) LF
key id          first 4 bytes of SHA-256(name | 0A | type | public key), big-endian; type 01 Ed25519, 04 cosignature
cosigned        "cosignature/v1" LF "time " seconds LF, then the text; the signature is seconds u64 | Ed25519 signature
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

LOG, WITNESS = 0x01, 0x04
MAX_BYTES: Final = 65_536
MAX_SIGNATURES: Final = 64
LATEST: Final = 253_402_300_799
"""The last second of the year 9999: a cosignature of later than that tells no time, and counts for nothing."""
_NAME = re.compile(r"[^\s+]+")
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


class BadNote(ValueError):
    """What is wrong with a note, a checkpoint or a key, in a sentence."""


class Signature(NamedTuple):
    """One signature line: whose, which key (4 bytes), the bytes after that."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        return f"— {self.name} {b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A name and its public key; written `name+key id+base64(type | key)`."""

    name: str
    kind: int
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise BadNote(f"{self.name!r} can't name a key: it must not be empty, nor hold a space or a plus")
        if self.kind not in (LOG, WITNESS) or len(self.public) != 32:
            raise BadNote(f"the key of {self.name} is not of a kind that is known here")

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(bytes([self.kind]) + self.public).decode()}"

    @classmethod
    def read(cls, text: str) -> "VerifierKey":
        """Raises BadNote."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = _decoded(encoded)
        if not raw or len(raw) != 33:
            raise BadNote(f"{text!r} is not a verifier key: name+key id+base64")
        found = cls(name, raw[0], raw[1:])
        if found.id.hex() != key_id:
            raise BadNote(f"the key id of {name} is {found.id.hex()}, and {key_id} is written")
        return found


@dataclass(frozen=True, slots=True)
class Note:
    """A text, which ends with a line feed, and its signatures, not verified yet."""

    text: str
    signatures: Sequence[Signature]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(signature.line() for signature in self.signatures)

    @classmethod
    def read(cls, note: str) -> "Note":
        """Raises BadNote."""
        if len(note) > MAX_BYTES or any(ord(c) < 0x20 and c != "\n" for c in note):
            raise BadNote("a note is text of at most 64 KiB without control characters")
        text, found, rest = note.rpartition("\n\n")
        lines = rest.split("\n")
        if not found or lines[-1] != "" or len(lines) < 2:
            raise BadNote("a note has a text, an empty line and at least one signature, each on a line of its own")
        if len(lines) - 1 > MAX_SIGNATURES:
            raise BadNote(f"a note has at most {MAX_SIGNATURES} signatures")
        return cls(text + "\n", [_signature(line) for line in lines[:-1]])

    def signed_by(self, key: VerifierKey) -> bool:
        """Whether one of the signatures is a good one of `key`."""
        return any(verified(self.text, s, key) for s in self.signatures)

    def cosigned_at(self, key: VerifierKey) -> int | None:
        """When the witness `key` says that it cosigned (seconds since 1970); None: it didn't, or the signature is no good."""
        times = [int.from_bytes(s.value[:8], "big") for s in self.signatures if verified(self.text, s, key)]
        return max((at for at in times if at <= LATEST), default=None) if key.kind == WITNESS else None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree as a log claims it."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def read(cls, text: str) -> "Checkpoint":
        """From the text of a note; lines after the third are extensions, and let be.

        Raises:
            BadNote
        """
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0]:
            raise BadNote("a checkpoint has an origin, a size and a root, each on a line of its own")
        if not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
            raise BadNote(f"{lines[1]!r} is not the size of a tree")
        tree = _decoded(lines[2])
        if tree is None or len(tree) != 32:
            raise BadNote("a checkpoint's root is 32 bytes in base64")
        return cls(lines[0], int(lines[1]), tree)


class Signer:
    """Signs as a log does. The seed is 32 bytes."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = VerifierKey(name, LOG, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> Signature:
        return Signature(self.key.name, self.key.id, self._key.sign(text.encode()))


class Cosigner:
    """Signs as a witness does."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.key = VerifierKey(name, WITNESS, self._key.public_key().public_bytes_raw())

    def sign(self, text: str, at: int) -> Signature:
        """Cosigns at `at`, seconds since 1970."""
        return Signature(self.key.name, self.key.id, at.to_bytes(8, "big") + self._key.sign(_cosigned(text, at)))


def verified(text: str, signature: Signature, key: VerifierKey) -> bool:
    """Whether it is a good signature of `key` over `text`."""
    if (signature.name, signature.key_id) != (key.name, key.id):
        return False
    value, said = signature.value, text.encode()
    if key.kind == WITNESS:
        if len(value) != 72:
            return False
        said, value = _cosigned(text, int.from_bytes(value[:8], "big")), value[8:]
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(value, said)
    except (InvalidSignature, ValueError):
        return False
    return True


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _signature(line: str) -> Signature:
    match = _SIGNATURE.fullmatch(line)
    raw = _decoded(match[2]) if match else None
    if match is None or raw is None or len(raw) < 5:
        raise BadNote(f"{line[:80]!r} is not a signature line: — name base64")
    return Signature(match[1], raw[:4], raw[4:])


def _decoded(text: str) -> bytes | None:
    """Base64 in its one canonical form; None for anything else."""
    try:
        raw = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        return None
    return raw if b64encode(raw).decode() == text else None
