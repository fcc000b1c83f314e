"""Page cursors: opaque, and of no use to another reader, for another purpose or filter, or under other grants."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from uuid import UUID

from hub.errors import InvalidRequest

_NO_CELL = -1


@dataclass(frozen=True, slots=True)
class Position:
    """The last record of a page: its 2 km cell (None among records whose place is withheld) and its id."""

    k2: int | None
    id: UUID


def write(key: bytes, bound_to: bytes, position: Position) -> str:
    """The cursor that goes on after `position`; `bound_to` says for whom, for what and under which grants."""
    cell = _NO_CELL if position.k2 is None else position.k2
    body = cell.to_bytes(4, "big", signed=True) + position.id.bytes
    return _text(body + _mac(key, bound_to, body))


def read(key: bytes, bound_to: bytes, text: str) -> Position:
    """The position in a cursor.

    Raises:
        InvalidRequest: it was not made by this hub, or for another reader, purpose, filter or set of grants.
    """
    try:
        raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError:
        raw = b""
    body, mac = raw[:20], raw[20:]
    # Base64 spells the same bytes in several ways; a cursor is what was given out.
    if len(raw) != 36 or _text(raw) != text or not hmac.compare_digest(mac, _mac(key, bound_to, body)):
        raise InvalidRequest(
            "This cursor is not for this request: it belongs to another reader, purpose or filter, or the "
            "agreements changed since. Begin again without it.",
            field="cursor",
        )
    cell = int.from_bytes(body[:4], "big", signed=True)
    return Position(None if cell == _NO_CELL else cell, UUID(bytes=body[4:]))


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(key: bytes, bound_to: bytes, body: bytes) -> bytes:
    return hmac.digest(key, b"HUBCUR1\0" + bound_to + b"\0" + body, "sha256")[:16]
