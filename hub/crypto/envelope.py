"""The byte formats of field-level encryption, version 1. Pure: keys, nonces and contexts come in as arguments.

All integers are big-endian; `|` is concatenation; suite 01 is AES-256-GCM with HMAC-SHA-512 as key commitment.

    DEK row (98 B)   01 | suite | kek_id u32 | nonce 12 | ct 32 | tag 16 | commit 32
      wrap AAD       "HUBDEK1\\0" | owner 16 | record 16 | class u16 | kek_id u32 | rev u32
      K32 | commit   HMAC-SHA-512(DEK, "HUBK1" | wrap AAD without kek_id)
    field (+31 B)    01 | suite | padbucket u8 | nonce 12 | ct | tag 16
      AAD            "HUBFLD1\\0" | owner 16 | record 16 | class u16 | field u16 | schema u16 | rev u32
    KEK wrap AAD     "HUBKEK1\\0" | owner 16 | class u16 | epoch u32 | bucket (UTF-8, to the end)

The commitment leaves kek_id out, so a rewrap under another KEK keeps it, and with it every ciphertext. A field is
encrypted with K32, never with the DEK itself: AES-GCM does not commit to its key, the DEK row does.

Padding is ISO/IEC 7816-4: plaintext | 80 | 00 … up to the next power of two, from 16 B to 16 MiB; `padbucket` is that
power's exponent (4 … 24). It is not in the AAD (the format is fixed), but it must equal the length of the ciphertext,
which the tag covers. A reader accepts a larger bucket than needed, so a later sealer may pad more.
"""

from hashlib import sha512
from hmac import compare_digest
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.errors import Tampered, TooLarge

VERSION: Final = 1
SUITE: Final = 1
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
DEK_ROW_BYTES: Final = 98
FIELD_OVERHEAD_BYTES: Final = 31
MAX_PLAINTEXT_BYTES: Final = (1 << 24) - 1

_SUBJECT = Struct(">16s16sH").pack
_KEK_AND_REV = Struct(">II").pack
_REV = Struct(">I").pack
_FIELD_TAIL = Struct(">HHI").pack
_ROW_HEADER = Struct(">BBI").pack
_KEK_SUBJECT = Struct(">8s16sHI").pack
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
_INNER_PAD, _OUTER_PAD = b"\x36" * 96, b"\x5c" * 96  # what remains of SHA-512's block of 128
_BUCKETS: Final = range(4, 25)
_FIELD_HEADERS: Final = {b: bytes((VERSION, SUITE, b)) for b in _BUCKETS}
_HEADER_BY_LENGTH: Final = {FIELD_OVERHEAD_BYTES + (1 << b): header for b, header in _FIELD_HEADERS.items()}


class Context:
    """What a ciphertext belongs to: `owner` and `record` are 16 bytes, `cls` is a u16, `rev` a u32 (the record's own).

    Not to be changed once made. A plain class, because a frozen data class costs three times as much to make and
    one is made per record and class of every page.
    """

    __slots__ = ("cls", "field_aad", "owner", "record", "rev", "subject")

    def __init__(self, owner: bytes, record: bytes, cls: int, rev: int) -> None:
        if len(owner) != 16 or len(record) != 16:  # struct would pad or cut silently
            raise ValueError("owner and record are 16 bytes each")
        self.owner, self.record, self.cls, self.rev = owner, record, cls, rev
        self.subject = subject = _SUBJECT(owner, record, cls)
        self.field_aad = b"HUBFLD1\0" + subject

    def __repr__(self) -> str:
        return f"Context({self.owner.hex()}, {self.record.hex()}, cls={self.cls}, rev={self.rev})"


FieldKey = AESGCM
"""K32 of one DEK. Kept while a record's fields are sealed or opened: making the object costs more than using it."""


class Kek:
    """A key-encryption key, unwrapped, with the id that its DEK rows name."""

    __slots__ = ("decrypt", "encrypt", "kek_id", "row_header")

    def __init__(self, kek_id: int, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a KEK is 32 bytes")
        aead = AESGCM(key)
        self.encrypt, self.decrypt = aead.encrypt, aead.decrypt
        self.kek_id, self.row_header = kek_id, _ROW_HEADER(VERSION, SUITE, kek_id)

    def __repr__(self) -> str:
        return f"Kek(kek_id={self.kek_id}, key hidden)"


def kek_aad(owner: bytes, cls: int, bucket: str, epoch: int) -> bytes:
    """What a root key binds a wrapped KEK to. The bucket comes last, so no length is needed to tell the parts apart."""
    if len(owner) != 16:
        raise ValueError("owner is 16 bytes")
    return _KEK_SUBJECT(b"HUBKEK1\0", owner, cls, epoch) + bucket.encode()


def wrap_dek(kek: Kek, dek: bytes, nonce: bytes, context: Context) -> tuple[bytes, bytes]:
    """The DEK row to store, and K32: the key to seal this revision's fields of this class with, as a `FieldKey`."""
    if len(dek) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise ValueError("a DEK is 32 bytes, its nonce 12")
    subject = context.subject
    wrapped = kek.encrypt(nonce, dek, b"HUBDEK1\0" + subject + _KEK_AND_REV(kek.kek_id, context.rev))
    derived = _derive(dek, b"HUBK1HUBDEK1\0" + subject + _REV(context.rev))
    return kek.row_header + nonce + wrapped + derived[32:], derived[:32]


def unwrap_dek(kek: Kek, row: bytes, context: Context) -> bytes:
    """K32 of a DEK row. Raises Tampered for a row of another KEK or context, or a broken commitment (compared in constant time)."""
    if len(row) != DEK_ROW_BYTES or row[:6] != kek.row_header:
        raise Tampered("A wrapped key has an unknown format or names another key.")
    subject = context.subject
    try:
        dek = kek.decrypt(row[6:18], row[18:66], b"HUBDEK1\0" + subject + _KEK_AND_REV(kek.kek_id, context.rev))
    except InvalidTag:
        raise Tampered("A wrapped key does not verify.") from None
    derived = _derive(dek, b"HUBK1HUBDEK1\0" + subject + _REV(context.rev))
    if not compare_digest(derived[32:], row[66:]):
        raise Tampered("A wrapped key breaks its commitment.")
    return derived[:32]


def rewrap_dek(old: Kek, new: Kek, row: bytes, nonce: bytes, context: Context) -> bytes:
    """The DEK row under another KEK: the same DEK, so the same commitment and the same ciphertexts. Raises Tampered, as `unwrap_dek`; the
    commitment is left to whoever unwraps the DEK for use.
    """
    if len(row) != DEK_ROW_BYTES or row[:6] != old.row_header:
        raise Tampered("A wrapped key has an unknown format or names another key.")
    head = b"HUBDEK1\0" + context.subject
    try:
        dek = old.decrypt(row[6:18], row[18:66], head + _KEK_AND_REV(old.kek_id, context.rev))
    except InvalidTag:
        raise Tampered("A wrapped key does not verify.") from None
    return new.row_header + nonce + new.encrypt(nonce, dek, head + _KEK_AND_REV(new.kek_id, context.rev)) + row[66:]


def seal_field(key: FieldKey, plaintext: bytes, nonce: bytes, context: Context, field: int, schema: int) -> bytes:
    """`field` and `schema` are the catalogue's numbers (u16). Raises TooLarge over 16 MiB - 1."""
    bucket = len(plaintext).bit_length()
    if bucket < 4:
        bucket = 4
    header = _FIELD_HEADERS.get(bucket)
    if header is None:
        raise TooLarge("A sealed field may hold at most 16,777,215 bytes.")
    if len(nonce) != NONCE_BYTES:
        raise ValueError("a nonce is 12 bytes")
    padded = (plaintext + b"\x80").ljust(1 << bucket, b"\0")
    aad = context.field_aad + _FIELD_TAIL(field, schema, context.rev)
    return header + nonce + key.encrypt(nonce, padded, aad)


def open_field(key: FieldKey, blob: bytes, context: Context, field: int, schema: int) -> bytes:
    """Raises Tampered for anything that was not sealed with this key, for exactly this place."""
    if _HEADER_BY_LENGTH.get(len(blob)) != blob[:3]:
        raise Tampered("A sealed field has an unknown format or a wrong length.")
    aad = context.field_aad + _FIELD_TAIL(field, schema, context.rev)
    try:
        padded = key.decrypt(blob[3:15], blob[15:], aad)
    except InvalidTag:
        raise Tampered("A sealed field does not verify.") from None
    marked = padded.rstrip(b"\0")
    if not marked or marked[-1] != 0x80:
        raise Tampered("A sealed field is padded wrongly.")
    return marked[:-1]


def _derive(dek: bytes, message: bytes) -> bytes:
    """HMAC-SHA-512 (RFC 2104) for a 32-byte key: `hmac.digest` takes a third longer, and this is the dearest step."""
    inner = sha512(dek.translate(_INNER) + _INNER_PAD + message).digest()
    return sha512(dek.translate(_OUTER) + _OUTER_PAD + inner).digest()
