"""What is said over the socket of the key process. Pure: bytes in, bytes out.

A message is its length (u32, big-endian) and so many bytes of MessagePack: an array that begins with the word for its kind. Ids are 16
bytes. What doesn't fit its kind is refused as a whole.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

MAX_BYTES: Final = 1 << 28
LENGTH: Final = 4
Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
Number = Annotated[int, Meta(ge=0, lt=1 << 16)]
Revision = Annotated[int, Meta(ge=0, lt=1 << 31)]
Bucket = Annotated[str, Meta(pattern=r"^(default|until-(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-01)\Z")]
"""A name that hub/sharing/retention.py gives. Any other would stand in the keys database for good."""


class Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """One request or reply."""


class Check(Message, tag="check"):
    """Is the key process ready?"""


class SealItem(Message):
    """A record revision: its field numbers, each with its class and plaintext."""

    owner: Id
    record: Id
    rev: Revision
    schema: Number
    bucket: Bucket
    fields: dict[Number, tuple[Number, bytes]]


class Seal(Message, tag="seal"):
    """`dataset`: of which they are records, 0: of none."""

    items: list[SealItem]
    dataset: Number = 0


class Macs(Message, tag="macs"):
    label: str
    owner: Id
    data: list[bytes]


class Literals(Message, tag="literals"):
    """`at`: seconds since 1970."""

    event: Id
    at: Annotated[float, Meta(ge=0, lt=253_402_300_800)]
    text: bytes


class Wanted(Message):
    """The key of one class of one record revision."""

    owner: Id
    record: Id
    rev: Revision
    revision_no: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
    cls: Number


class Open(Message, tag="open"):
    token: str | None
    cookie: str | None
    event: Id
    dataset: Number
    wanted: list[Wanted]


Said = dict[Annotated[str, Meta(max_length=20)], Annotated[str, Meta(max_length=500)]]


class Ask(Message, tag="ask"):
    """Which records of these owners may hold a value."""

    token: str | None
    cookie: str | None
    dataset: Number
    field: Number
    said: Said
    owners: list[Id]


class Confirm(Message, tag="confirm"):
    """Which of these revisions hold a value."""

    token: str | None
    cookie: str | None
    event: Id
    dataset: Number
    field: Number
    said: Said
    wanted: list[Wanted]


class Sign(Message, tag="sign"):
    """The leaves of a committed event that opens nothing, by their hashes."""

    event: Id
    hashes: Annotated[list[Annotated[bytes, Meta(min_length=32, max_length=32)]], Meta(min_length=1, max_length=10_000)]


class SealNote(Message, tag="seal-note"):
    owner: Id
    note: Id
    text: bytes


class OpenNote(Message, tag="open-note"):
    token: str | None
    cookie: str | None
    owner: Id
    note: Id
    blob: bytes


Request = Check | Seal | Macs | Literals | Open | Ask | Confirm | Sign | SealNote | OpenNote


class Ready(Message, tag="ready"):
    pass


class Sealed(Message, tag="sealed"):
    """Of each record its field numbers with their ciphertexts; `versions`: of the index that tags were made for."""

    items: list[dict[int, bytes]]
    versions: tuple[int, int | None] | None = None


class Confirmed(Message, tag="confirmed"):
    """Of each revision whether it holds the value; and the last leaf of the event, as it is signed."""

    hits: list[bool]
    n: int
    leaf_hash: bytes
    chain: bytes
    key: bytes
    signature: bytes


class Bytes(Message, tag="bytes"):
    """As many as were asked for, in their order: MACs, keys, a text."""

    items: list[bytes]


class Lent(Message, tag="lent"):
    """Keys in the order in which they were asked for, and the last leaf of the event, as it is signed."""

    items: list[bytes]
    n: int
    leaf_hash: bytes
    chain: bytes
    key: bytes
    signature: bytes


class Failed(Message, tag="failed"):
    """`slug` as in hub/errors.py; `records`: those whose keys are gone."""

    slug: str
    detail: str
    records: list[bytes] = []


Reply = Ready | Sealed | Bytes | Lent | Confirmed | Failed

_encode = msgspec.msgpack.Encoder().encode
_request = msgspec.msgpack.Decoder(Request).decode
_reply = msgspec.msgpack.Decoder(Reply).decode


class Malformed(ValueError):
    """Not a message."""


def encode(message: Request | Reply) -> bytes:
    """The message with its length before it. Raises ValueError over 256 MiB."""
    body = _encode(message)
    if len(body) > MAX_BYTES:
        raise ValueError("a message may hold at most 256 MiB")
    return len(body).to_bytes(LENGTH, "big") + body


def length_of(head: bytes) -> int:
    """Raises Malformed for a message that is longer than any may be."""
    length = int.from_bytes(head, "big")
    if length > MAX_BYTES:
        raise Malformed("The message is too long.")
    return length


def request_of(body: bytes) -> Request:
    """Raises Malformed."""
    try:
        found: Request = _request(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The message is malformed: {error}") from None
    return found


def reply_of(body: bytes) -> Reply:
    """Raises Malformed."""
    try:
        found: Reply = _reply(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The message is malformed: {error}") from None
    return found
