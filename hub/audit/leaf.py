"""The audit leaf: one per (event, owner of the data), canonical JSON (RFC 8785). Pure; the format is docs/reference/audit-leaf.md.

A leaf says what, when, from where, who, for which organisation and purpose, under which MOU, what was asked (extent and times in
clear, literals sealed plus a keyed hash) and what was shown (revisions as a 64-bit portable Roaring bitmap, treatments). It holds
no personal data of the subjects. Members that do not apply are left out. A leaf over 65,535 bytes is split into parts.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import rfc8785
from pyroaring import BitMap64

from hub.audit.tree import leaf_hash

VERSION = 1
MAX_BYTES = 65_535
TESTED = "tested"
"""What a leaf says of a field whose values were compared, and not given."""


@dataclass(frozen=True, slots=True)
class By:
    """Who did it: a client, or a person by the id that the hub gave (names can be forgotten, a leaf can't). `source` is the address
    the request came from.
    """

    organisation: str | None = None
    client: str | None = None
    session: str | None = None
    source: str | None = None
    person: str | None = None

    def member(self) -> dict[str, Any]:
        said = {"organisation": self.organisation, "client": self.client, "person": self.person, "session": self.session}
        return _present({**said, "from": self.source})


@dataclass(frozen=True, slots=True)
class Share:
    """What one owner's data had to do with the event: the part of a leaf that differs between owners. Where `more` has a count of its
    own, records were counted and none was shown: then no revisions are told.
    """

    owner: str | None = None
    under: Sequence[Mapping[str, Any]] = ()
    revisions: Sequence[int] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One access, publication, refusal or token. `at` is aware; `decision` is permit, refuse or absent."""

    id: UUID
    type: str
    at: datetime
    by: By
    decision: str
    purpose: str | None = None
    case: str | None = None
    dataset: str | None = None
    asked: Mapping[str, Any] | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf as it is stored: `text` is its canonical form, `hash` its RFC 6962 leaf hash."""

    owner: str | None
    part: int
    text: str
    hash: bytes


def leaves(event: Event, shares: Sequence[Share], salt: bytes) -> list[Leaf]:
    """The leaves of an event; `salt` (16 random bytes) keeps hashes of guessable leaves from being guessed."""
    return [leaf for share in shares or [Share()] for leaf in _parts(event, share, salt)]


def _parts(event: Event, share: Share, salt: bytes) -> Iterator[Leaf]:
    """One leaf, or as many as are needed to keep each under the limit, each with its part of the revisions."""
    count = 1
    while True:
        size = -(-len(share.revisions) // count) or 1
        slices = [share.revisions[i : i + size] for i in range(0, len(share.revisions), size)] or [()]
        texts = [_text(event, share, part, len(slices), n, salt) for n, part in enumerate(slices, 1)]
        if all(len(text) <= MAX_BYTES for text in texts):
            break
        if count >= max(1, len(share.revisions)):
            raise ValueError("a leaf does not fit even when split")
        count *= 2
    for n, text in enumerate(texts, 1):
        yield Leaf(share.owner, n, text.decode(), leaf_hash(text))


def _text(event: Event, share: Share, revisions: Sequence[int], parts: int, part: int, salt: bytes) -> bytes:
    counted = {} if "count" in share.more else {"count": len(revisions), "revisions": bitmap(revisions)}
    shown = {**counted, **share.more} if revisions or share.more else None
    return _canonical(
        _present(
            {
                "v": VERSION,
                "salt": b64encode(salt).decode(),
                "event": str(event.id),
                "part": part,
                "parts": parts,
                "type": event.type,
                "at": instant(event.at),
                "by": event.by.member(),
                "purpose": event.purpose,
                "case": event.case,
                "owner": share.owner,
                "dataset": event.dataset,
                "under": [dict(u) for u in share.under] or None,
                "asked": dict(event.asked) if event.asked else None,
                "shown": shown,
                "decision": event.decision,
                "reason": event.reason,
            }
        )
    )


def _canonical(body: dict[str, Any]) -> bytes:
    """RFC 8785. Keys are ASCII and numbers whole, where orjson's sorted form is the canonical one and fifty times faster; the one
    place for fractions is the extent.
    """
    extent = body.get("asked", {}).get("extent")
    if extent is not None:
        body = {**body, "asked": {**body["asked"], "extent": orjson.Fragment(rfc8785.dumps(extent))}}
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def instant(at: datetime) -> str:
    """RFC 3339 in UTC to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def bitmap(revisions: Sequence[int]) -> str:
    """`roaring64:` and the base64 of the portable serialisation of a 64-bit Roaring bitmap."""
    return "roaring64:" + b64encode(BitMap64(revisions).serialize()).decode()


def revisions_in(text: str) -> BitMap64:
    """The bitmap in a leaf's `revisions` member."""
    return BitMap64.deserialize(b64decode(text.removeprefix("roaring64:")))


def revision_count(leaf: Mapping[str, Any]) -> int:
    """How many revisions a parsed leaf (one part of it) is about."""
    count: int = leaf.get("shown", {}).get("count", 0)
    return count


def event_id(at: datetime, random: bytes) -> UUID:
    """A UUIDv7 (RFC 9562 §5.7) of `at` and 10 random bytes, so that events arrive in the order of their index."""
    head = int(at.timestamp() * 1000).to_bytes(6, "big")
    return UUID(bytes=head + bytes([0x70 | random[0] & 0x0F, random[1], 0x80 | random[2] & 0x3F]) + random[3:10])
