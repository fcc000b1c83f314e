"""What the rest of the hub asks of the keys: everything goes through the key process (hub/workers/keyd.py), which alone holds them.

A reader's fields are opened with the id of an audit event that is committed, and with the proof that the reader brought: the key process
looks both up itself. Publishing needs neither: whoever seals learns nothing that it didn't say.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from hub.errors import HubError, NotShared
from hub.leaf_chain import Signed

HUB: Final = UUID(int=0)
"""Owner of the hub's own keys: of MAC keys (class 0) and of the audit log's literals."""
MAC_LABELS: Final = ("content", "external-id", "field", "idempotency-key", "import", "import-digest", "request")
"""What keyed hashes may be asked for. A blind index is not among them: whoever could ask for one could try out every phone number
in all records at once."""


class Shredded(NotShared):
    """The keys of `records` are gone for good: to a reader the same as absent."""

    def __init__(self, records: Collection[UUID]) -> None:
        super().__init__()
        self.records = frozenset(records)


class NotCovered(HubError):
    """The key process found no committed event that covers what was to be opened: a defect, or an attack from within."""

    slug = "not-covered"


class Ended(HubError):
    """The retention of a record ended while it was on its way in, or a key was destroyed: nothing is sealed under it any more."""

    status, slug, title = 409, "ended", "The retention of a record has ended meanwhile"


class OverLimit(HubError):
    """A client has opened as much as it may within an hour."""

    status, slug, title = 429, "over-limit", "This client has opened as much as it may for now"


@dataclass(slots=True)
class Sealing:
    """One record revision to seal. `bucket` is its retention bucket; `fields` is field number → (class, plaintext). Not to be changed
    once made; not frozen, because that makes it three times as dear and there is one for each row of an import.
    """

    owner: UUID
    record: UUID
    rev: int
    schema: int
    bucket: str
    fields: Mapping[int, tuple[int, bytes]] = attribute(repr=False)


@dataclass(frozen=True, slots=True)
class Opening:
    """One sealed field to open; `schema` and `field` as it was sealed; `revision_no` is the hub-wide number by which the log names it."""

    owner: UUID
    record: UUID
    rev: int
    schema: int
    cls: int
    field: int
    blob: bytes = attribute(repr=False)
    revision_no: int = 0


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows who reads: the access token of a client, or the cookie of a person's session. One of the two."""

    token: str | None = attribute(default=None, repr=False)
    cookie: str | None = attribute(default=None, repr=False)


NO_PROOF: Final = Proof()


class Tag(NamedTuple):
    """Under what a record is found by a value of one of its fields: the field's number and the truncated tags of two index versions."""

    field: int
    tag: int
    next_tag: int | None


class Versions(NamedTuple):
    """For which versions of an index tags were made; `next`: of the one that is being filled, if one is."""

    version: int
    next: int | None


@dataclass(frozen=True, slots=True)
class Lookup:
    """A question: the dataset's number, the field's, and what is looked up, member by member (hub/normalised.py)."""

    dataset: int
    field: int
    said: Mapping[str, str] = attribute(repr=False)


class Keys(Protocol):
    """Every method raises Unavailable when the keys can't be reached, and Tampered for what doesn't verify."""

    def check(self) -> None:
        """Whether the key process can open its keys."""

    def seal_batch(self, items: Sequence[Sealing]) -> list[dict[int, bytes]]:
        """Per item its field number → ciphertext. The keys are durable on return; the record may be committed after. Raises Ended."""

    def open_batch(self, proof: Proof, event: UUID, dataset: int, items: Sequence[Opening]) -> tuple[list[bytes], Signed]:
        """Plaintexts in the order of `items` (one at least), which are revisions of one dataset that the committed `event` shows to who has
        `proof`; and the event's last leaf, signed.

        Raises:
            Shredded: a key is gone; nothing is opened.
            NotCovered: the event doesn't cover all of it; nothing is opened.
            NotAuthenticated: the proof is not, or no longer, good.
            OverLimit: the client has opened more than it may within the hour.
        """

    def sign(self, event: UUID, hashes: Sequence[bytes]) -> Signed:
        """The last leaf of a committed event, signed with all of its leaves, which have these hashes (one at least). For an event that
        opens nothing; one that does is signed before it is opened.
        """

    def seal_records(self, dataset: int, items: Sequence[Sealing]) -> tuple[list[dict[int, bytes]], Versions | None]:
        """As `seal_batch`, for records of a dataset: also makes and keeps the tags under which they are to be found, and says for which
        versions of the index (None: none of the records has anything that can be looked up).
        """

    def candidates(self, proof: Proof, lookup: Lookup, owners: Sequence[UUID]) -> list[UUID]:
        """Records of these owners that may hold a value, some by chance. Counted for the client.

        Raises:
            InvalidRequest: it can't be a value of that field.
            NotAuthenticated, OverLimit
        """

    def confirm(self, proof: Proof, event: UUID, lookup: Lookup, items: Sequence[Opening]) -> tuple[list[bool], Signed]:
        """Which of the revisions hold the value, in the order of `items` (whose `blob` is not used). Opened and compared in the key
        process, for a committed event that says that these were tested with this very question.

        Raises:
            NotCovered, NotAuthenticated, Shredded
        """

    def macs(self, label: str, owner: UUID, data: Sequence[bytes]) -> list[bytes]:
        """HMAC-SHA-256 of each, stable over restarts; unrelated between labels and between owners."""

    def literals(self, event: UUID, at: datetime, text: bytes) -> tuple[bytes, bytes]:
        """An audit event's literals, sealed under the key of its month (UTC; `at` is aware), and their keyed hash."""

    def seal_note(self, owner: UUID, note: UUID, text: bytes) -> bytes:
        """Seals what an organisation's own work keeps at the hub, such as the order of an import."""

    def open_note(self, proof: Proof, owner: UUID, note: UUID, blob: bytes) -> bytes:
        """Opens what `seal_note` sealed, for a client of its owner alone."""
